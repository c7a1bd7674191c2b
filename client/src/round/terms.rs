//! Is this offer the one the plan promised?
//!
//! A server may try to lower the noise, the thresholds or the cohort, to show another model or another directory
//! to one merchant, or to replay a round. Every such value is compared here with what the merchant holds itself:
//! the pinned plan, its own policy and its verified copy of the log.

use forecastle_crypto::{
    dp::{filter::MerchantPolicy, noise::NoiseError, plan::PrivacyPlan},
    identity::{MerchantId, Sha256Digest},
    secagg::offer::VerifiedOffer,
};
use forecastle_proto::model::ModelSnapshot;

use crate::federation::log_copy::LogCopy;

/// Why an offer was not accepted. Each names the rule.
#[derive(Debug, thiserror::Error)]
pub enum TermsError {
    /// A value differs from the plan or the own state.
    #[error("the offer's {what} is {offered}, but {expected} was agreed; this merchant takes no part")]
    Differs {
        /// Which value.
        what: &'static str,
        /// As offered.
        offered: String,
        /// As agreed.
        expected: String,
    },
    /// Fewer merchants than the policy wants.
    #[error("the cohort has {cohort} merchants, the policy wants at least {min}; this merchant takes no part")]
    SmallCohort {
        /// Offered.
        cohort: usize,
        /// Wanted.
        min: u16,
    },
    /// A merchant in the roster is not the one in the log's directory.
    #[error(
        "the roster names `{0}` with an identity that the federation's log does not hold; this merchant takes no part"
    )]
    Directory(MerchantId),
    /// The round was charged already or lies before one that was.
    #[error("round {0} was charged already or is over; this merchant takes no part")]
    Replayed(u64),
    /// The plan's noise does not fit the sampler.
    #[error(transparent)]
    Noise(#[from] NoiseError),
}

/// What the merchant compares an offer with.
pub struct Agreed<'a> {
    /// The pinned plan.
    pub plan: &'a PrivacyPlan,
    /// Digest of its file.
    pub plan_sha256: Sha256Digest,
    /// The own floor.
    pub policy: &'a MerchantPolicy,
    /// The verified log, at least as long as the offer's checkpoint.
    pub log: &'a LogCopy,
    /// Name of the federation.
    pub federation: &'a str,
    /// The model to train.
    pub model: &'a ModelSnapshot,
    /// Greatest (run, round) charged so far.
    pub charged: Option<(u64, u64)>,
}

/// Checks every value of an offer.
///
/// # Errors
/// [`TermsError`] names the first value that was not agreed.
pub fn check(offer: &VerifiedOffer, agreed: &Agreed<'_>) -> Result<(), TermsError> {
    let (terms, plan) = (offer.terms(), agreed.plan);
    let cohort = offer.roster().len();
    same("federation", &terms.federation, &agreed.federation.to_owned())?;
    same("plan", &terms.plan_sha256, &agreed.plan_sha256)?;
    same("clip norm", &terms.clip, &plan.update_clip())?;
    same("grid", &terms.units_per_clip, &u64::from(plan.integers.units_per_clip))?;
    same("number of bits", &terms.bits, &plan.integers.bits)?;
    same("noise multiplier", &terms.sigma_total, &plan.step.noise_multiplier)?;
    same("noise share", &terms.variance_local, &plan.local_variance()?)?;
    same("smallest number of survivors", &terms.survivors_min, &plan.rounds.survivors_min)?;
    same("number of assumed colluders", &terms.colluders_assumed, &plan.rounds.colluders_assumed)?;
    same("model", &Some((terms.model_version, terms.model_sha256)), &agreed.log.latest_model())?;
    let layout = &agreed.model.manifest.layout;
    same("parameter layout", &terms.layout_sha256, &layout.digest())?;
    same("dimension", &(terms.dimension as usize), &layout.federated_len())?;
    same("log", &Some(terms.ledger_root), &agreed.log.root_at(terms.ledger_size))?;
    if cohort < usize::from(agreed.policy.cohort_min) {
        return Err(TermsError::SmallCohort { cohort, min: agreed.policy.cohort_min });
    }
    if cohort > usize::from(plan.rounds.cohort_max) {
        same("cohort", &cohort, &usize::from(plan.rounds.cohort_max))?;
    }
    if agreed.charged.is_some_and(|charged| (terms.run, terms.round) <= charged) {
        return Err(TermsError::Replayed(terms.round));
    }
    for entry in offer.roster() {
        if agreed.log.identity_of(&entry.merchant) != Some(&entry.identity) {
            return Err(TermsError::Directory(entry.merchant.clone()));
        }
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &'static str, offered: &T, expected: &T) -> Result<(), TermsError> {
    if offered == expected {
        return Ok(());
    }
    Err(TermsError::Differs { what, offered: format!("{offered:?}"), expected: format!("{expected:?}") })
}
