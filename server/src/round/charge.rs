//! What a charge must say before it becomes a leaf of the log.
//!
//! The invariant: a charge in the log is signed by the merchant that uploads, belongs to the running round and to
//! exactly the masked bytes that follow, and says what the plan says. Whether the merchant can afford it was the
//! merchant's own decision; here only contradictions are turned away.

use forecastle_crypto::{
    dp::plan::PrivacyPlan,
    identity::{BadSignature, Sha256Digest},
    ledger::entry::{Sampler, SignedCharge},
    secagg::VerifiedOffer,
};
use forecastle_proto::limits::CHARGE_BYTES_MAX;

use crate::identity::merchants::Merchant;

/// The longest name of a noise source or a software version, in bytes.
const NAME_BYTES_MAX: usize = 128;

/// Why a charge was turned away. The masked update it came with is not accepted either.
#[derive(Debug, thiserror::Error)]
pub enum ChargeError {
    /// Too large.
    #[error("the charge has {0} bytes; at most {CHARGE_BYTES_MAX} are accepted")]
    TooLarge(usize),
    /// Not a signed charge in canonical form.
    #[error("the charge is not readable: {0}")]
    Format(String),
    /// Not signed by the merchant.
    #[error("the charge is not signed by the merchant's enrolled identity: {0}")]
    Signature(#[from] BadSignature),
    /// A field contradicts the offer, the plan or the upload.
    #[error("the charge's `{0}` differs from the round's offer, the plan or the upload")]
    Differs(&'static str),
    /// It counts fewer earlier charges than the log holds.
    #[error(
        "the charge counts {counted} earlier charges, the log holds {logged}: this state was restored or copied; run `forecastle ledger pull` before the next round"
    )]
    Forgotten {
        /// Earlier charges that the merchant counts.
        counted: u32,
        /// Earlier charges in the log.
        logged: u32,
    },
}

/// What a charge is held against.
pub struct Expected<'a> {
    /// Who uploads.
    pub merchant: &'a Merchant,
    /// The running round.
    pub offer: &'a VerifiedOffer,
    /// The federation's plan.
    pub plan: &'a PrivacyPlan,
    /// Digest that the upload's header announces.
    pub masked_sha256: Sha256Digest,
    /// Charges of this merchant in the log.
    pub logged: u32,
}

/// Parses and checks a charge.
///
/// # Errors
/// [`ChargeError`] names the field.
pub fn check(bytes: &[u8], expected: &Expected<'_>) -> Result<SignedCharge, ChargeError> {
    if bytes.len() > CHARGE_BYTES_MAX {
        return Err(ChargeError::TooLarge(bytes.len()));
    }
    let signed: SignedCharge = serde_json::from_slice(bytes).map_err(|e| ChargeError::Format(e.to_string()))?;
    if serde_json::to_vec(&signed).map_err(|e| ChargeError::Format(e.to_string()))? != bytes {
        return Err(ChargeError::Format("it is not in canonical form".into()));
    }
    signed.verify(&expected.merchant.identity)?;

    let (charge, plan, terms) = (&signed.charge, expected.plan, expected.offer.terms());
    let event = plan.effective_noise_multiplier(terms.dimension).ok().and_then(|sigma| plan.step_event(sigma).ok());
    let names = [&charge.noise_source, &charge.software];
    let claims = [
        ("merchant", charge.merchant == expected.merchant.name),
        ("run", charge.run == terms.run),
        ("round", charge.round == terms.round),
        ("sid", charge.sid == expected.offer.sid()),
        ("masked-sha256", charge.masked_sha256 == expected.masked_sha256),
        ("plan-sha256", charge.plan_sha256 == terms.plan_sha256),
        ("unit", charge.unit == plan.privacy.unit),
        ("relation", charge.relation == plan.relation()),
        ("bounds", charge.bounds == plan.bounds),
        ("period-start", charge.period_start == plan.rounds.period_start),
        ("period-end", charge.period_end == plan.rounds.period_end),
        ("noise", charge.noise == plan.noise_mode()),
        ("event", Some(&charge.event) == event.as_ref()),
        ("clip", charge.clip == plan.noise_clip()),
        ("units-per-clip", charge.units_per_clip == terms.units_per_clip),
        ("noise-multiplier", charge.noise_multiplier == terms.sigma_total),
        ("variance-local", charge.variance_local == terms.variance_local),
        ("survivors-min", charge.survivors_min == terms.survivors_min),
        ("colluders-assumed", charge.colluders_assumed == terms.colluders_assumed),
        ("sampling-rate", charge.sampling_rate == plan.step.sampling_rate),
        ("sampler", charge.sampler == Sampler::Poisson),
        ("dimension", charge.dimension == terms.dimension),
        ("delta", charge.delta == plan.privacy.delta),
        ("epsilon-cap", charge.epsilon_cap == plan.privacy.epsilon_cap),
        // A round is charged for once, so nobody has charged as many as there were.
        ("charged-before", u64::from(charge.charged_before) < charge.round),
        ("noise-source, software", names.iter().all(|name| is_name(name))),
    ];
    if let Some((field, _)) = claims.iter().find(|(_, holds)| !holds) {
        return Err(ChargeError::Differs(field));
    }
    if charge.charged_before < expected.logged {
        return Err(ChargeError::Forgotten { counted: charge.charged_before, logged: expected.logged });
    }
    Ok(signed)
}

/// Plain text that is printed as it stands.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}
