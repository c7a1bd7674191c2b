//! What the federation's log records: events, never a bare ε.
//!
//! One entry is one line of JSON; the exact bytes are the leaf of the Merkle tree. Variants are never removed
//! and never change meaning: an auditor of the future reads the log of today. The kind of an entry is its version: what
//! has to say something else gets a kind of its own (`charge-2`), and whoever does not know it refuses the entry by
//! name instead of guessing. `tests/golden/` holds the stored bytes of every kind there ever was.
//!
//! Left out on purpose: how entries are kept (the server's store, the merchant's own ledger) and how they are
//! judged ([`super::audit`]).

use serde::{Deserialize, Serialize};

pub use crate::dp::plan::NoiseMode;

use crate::{
    dp::{
        event::DpEvent,
        plan::{ContributionBounds, Day},
        unit::{NeighboringRelation, PrivacyUnit},
    },
    identity::{BadSignature, MerchantId, Sha256Digest, Signature, SigningKey, VerifyingKey},
    secagg::offer::RoundTerms,
};

/// The largest entry accepted, in bytes: what the two bytes of length in an entry bundle (C2SP tlog-tiles) can say. The
/// closing of a round of 255 merchants with the longest names fits.
pub const ENTRY_BYTES_MAX: usize = u16::MAX as usize;
/// Version of the log that [`Founded::version`] names.
pub const LOG_VERSION: u16 = 1;
/// Every kind of entry.
const KINDS: [&str; 6] = ["founded", "enrolled", "revoked", "charge", "round-closed", "round-abandoned"];
/// Domain of a charge's signature.
const CHARGE_CONTEXT: &str = "forecastle charge v1";

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum Entry {
    /// The first line: what the federation promised.
    Founded(Founded),
    /// A merchant joined with this identity key.
    Enrolled(Enrolled),
    /// A merchant's certificate and identity are no longer accepted.
    Revoked(Revoked),
    /// A merchant spends privacy in a round.
    Charge(SignedCharge),
    /// A round published a model.
    RoundClosed(RoundClosed),
    /// A round ended without a model; its charges stay.
    RoundAbandoned(RoundAbandoned),
}

/// A federation begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Founded {
    /// Format version of this log, [`LOG_VERSION`].
    pub version: u16,
    /// Name of the federation; also the origin of its checkpoints.
    pub federation: String,
    /// Key that signs offers and checkpoints.
    pub server_key: VerifyingKey,
    /// The plan file, whole.
    pub plan: String,
    /// Digest of version 0 of the model.
    pub model_sha256: Sha256Digest,
    /// Digest of the parameter layout.
    pub layout_sha256: Sha256Digest,
    /// Number of privately trained parameters.
    pub dimension: u32,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// A merchant's identity enters the directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Enrolled {
    /// Who.
    pub merchant: MerchantId,
    /// Its identity key: signs pre-keys, charges and consistency statements.
    pub identity: VerifyingKey,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// A merchant's identity leaves the directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Revoked {
    /// Who.
    pub merchant: MerchantId,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// What one merchant releases in one round, and under which promise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Charge {
    /// Who spends.
    pub merchant: MerchantId,
    /// Run of the federation.
    pub run: u64,
    /// Round of the run.
    pub round: u64,
    /// SHA-256 of the round offer that was accepted.
    pub sid: Sha256Digest,
    /// Digest of the plan.
    pub plan_sha256: Sha256Digest,
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// Under which neighbouring relation.
    pub relation: NeighboringRelation,
    /// Contribution bounds in force.
    pub bounds: ContributionBounds,
    /// First day of the data period.
    pub period_start: Day,
    /// Last day of the data period.
    pub period_end: Day,
    /// Where the noise is added; `distributed` is the only mode of plans of version 1. In mode `local` the event counts
    /// every local step, and the masked update carries no noise beyond theirs.
    pub noise: NoiseMode,
    /// The release as the accountant counts it, against the server with the assumed colluders; its noise
    /// multiplier already pays for rounding to the grid.
    pub event: DpEvent,
    /// C: clip norm of one series, or of the whole update under the merchant unit; σ is a multiple of it.
    pub clip: f64,
    /// s: grid units per clip norm.
    pub units_per_clip: u64,
    /// σ as planned, a multiple of C, before rounding is paid for.
    pub noise_multiplier: f64,
    /// Variance of this merchant's noise in squared grid units, as a fraction: of its share of the sum, or in mode
    /// `local` of the whole noise in each of its steps.
    pub variance_local: crate::dp::noise::Variance,
    /// m: the fewest survivors the merchant accepts.
    pub survivors_min: u16,
    /// n_C: colluders assumed.
    pub colluders_assumed: u16,
    /// q: probability with which a series enters the round.
    pub sampling_rate: f64,
    /// How series were sampled; `poisson` in version 1.
    pub sampler: Sampler,
    /// d: number of privately trained parameters.
    pub dimension: u32,
    /// δ of the guarantee.
    pub delta: f64,
    /// ε that the merchant lets the whole period cost.
    pub epsilon_cap: f64,
    /// Charges of this merchant for this period before this one.
    pub charged_before: u32,
    /// Name of the sampler of the noise.
    pub noise_source: String,
    /// Version of the software that charged.
    pub software: String,
    /// SHA-256 of the masked update exactly as sent.
    pub masked_sha256: Sha256Digest,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// How series are chosen for a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Each on its own with probability q, from the operating system's entropy.
    Poisson,
}

/// A charge and its merchant's signature over the charge's JSON form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignedCharge {
    /// What is spent.
    pub charge: Charge,
    /// Signature by the merchant's identity key.
    pub signature: Signature,
}

/// A round that published a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoundClosed {
    /// What was offered, as signed in the round offer.
    pub terms: RoundTerms,
    /// SHA-256 of the round offer.
    pub sid: Sha256Digest,
    /// The cohort in participant order (participant 1 first).
    pub roster: Vec<MerchantId>,
    /// U1: participant numbers that shared keys.
    pub sharers: Vec<u8>,
    /// U2: participant numbers whose masked updates are in the sum.
    pub survivors: Vec<u8>,
    /// Consistency signatures over (sid, H(U1), H(U2)), by participant number.
    pub consistency: Vec<(u8, Signature)>,
    /// Index in the log of every survivor's charge, in the order of `survivors`.
    pub charges: Vec<u64>,
    /// σ that |U2| survivors really added, as a multiple of C, the assumed colluders taken away; in mode `local` the
    /// planned one, which each merchant added to its own steps.
    pub noise_multiplier_effective: f64,
    /// Version of the model published.
    pub model_version: u64,
    /// Its digest.
    pub model_sha256: Sha256Digest,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// A round that ended without a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoundAbandoned {
    /// Run of the federation.
    pub run: u64,
    /// Round of the run.
    pub round: u64,
    /// In which phase, and why, in words without personal data.
    pub reason: String,
    /// Indexes in the log of the charges made for it; they stay spent.
    pub charges: Vec<u64>,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// Why a line of a log was refused.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Larger than [`ENTRY_BYTES_MAX`].
    #[error("the entry has {0} bytes; at most {ENTRY_BYTES_MAX} are accepted")]
    TooLarge(usize),
    /// Not JSON of the kind it says it is.
    #[error("the entry is not readable: {0}")]
    Format(String),
    /// A kind that this software does not know.
    #[error(
        "the entry is of the kind `{0}`, which this version does not know: it was written by a newer one; update, nothing of it is guessed"
    )]
    UnknownKind(String),
    /// A log of another format version.
    #[error("the log is of version {0}, this software reads version {LOG_VERSION}: update, nothing of it is guessed")]
    UnknownVersion(u64),
    /// Readable, but other bytes than this software would write for it: signatures and digests would be ambiguous.
    #[error("the entry is not in canonical form")]
    NotCanonical,
}

impl Entry {
    /// The leaf's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry always serialises")
    }

    /// Parses a leaf; only the canonical bytes are accepted.
    ///
    /// # Errors
    /// [`EntryError`] says what is wrong with the line.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(EntryError::TooLarge(bytes.len()));
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(|e| refusal(bytes, &e))?;
        if let Self::Founded(founded) = &entry
            && founded.version != LOG_VERSION
        {
            return Err(EntryError::UnknownVersion(founded.version.into()));
        }
        if entry.to_bytes() != bytes {
            return Err(EntryError::NotCanonical);
        }
        Ok(entry)
    }
}

/// Why bytes that did not parse are refused: a newer software's entry is told apart from a damaged one.
fn refusal(bytes: &[u8], error: &serde_json::Error) -> EntryError {
    #[derive(Deserialize)]
    struct Kind {
        entry: String,
        version: Option<u64>,
    }
    match serde_json::from_slice(bytes) {
        Ok(Kind { entry, .. }) if !KINDS.contains(&entry.as_str()) => {
            EntryError::UnknownKind(entry.chars().take(64).filter(|c| !c.is_control()).collect())
        }
        Ok(Kind { entry, version: Some(version) }) if entry == "founded" && version != u64::from(LOG_VERSION) => {
            EntryError::UnknownVersion(version)
        }
        _ => EntryError::Format(error.to_string()),
    }
}

impl SignedCharge {
    /// Signs a charge.
    pub fn sign(charge: Charge, key: &SigningKey) -> Self {
        let signature = key.sign(CHARGE_CONTEXT, &charge.to_bytes());
        Self { charge, signature }
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`] when `identity` did not sign exactly this charge.
    pub fn verify(&self, identity: &VerifyingKey) -> Result<(), BadSignature> {
        identity.verify(CHARGE_CONTEXT, &self.charge.to_bytes(), &self.signature)
    }
}

impl Charge {
    /// The bytes that are signed.
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a charge always serialises")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_are_those_that_are_parsed() {
        let error = serde_json::from_slice::<Entry>(br#"{"entry":"?"}"#).expect_err("no such kind").to_string();
        let (_, listed) = error.split_once("expected one of ").expect("serde lists the kinds");
        let listed: Vec<_> = listed
            .split('`')
            .filter(|part| part.chars().all(|c| c == '-' || c.is_ascii_lowercase()))
            .filter(|p| !p.is_empty())
            .collect();
        assert_eq!(listed, KINDS);
    }

    #[test]
    fn unknown_kinds_and_versions_are_told_apart_from_damage() {
        let refused = |text: &str| Entry::from_bytes(text.as_bytes()).expect_err("not an entry of today");
        assert!(
            matches!(refused(r#"{"entry":"charge-2","charge":{}}"#), EntryError::UnknownKind(kind) if kind == "charge-2")
        );
        assert!(matches!(refused(r#"{"entry":"founded","version":2,"epoch":7}"#), EntryError::UnknownVersion(2)));
        assert!(matches!(refused(r#"{"entry":"founded","version":1}"#), EntryError::Format(_)));
        assert!(matches!(refused(r#"{"entry":"charge","charge":{}}"#), EntryError::Format(_)));
        assert!(matches!(refused("{}"), EntryError::Format(_)));
        let revoked = r#"{"entry":"revoked","merchant":"shop","at-ms":1}"#;
        assert!(Entry::from_bytes(revoked.as_bytes()).is_ok());
        assert!(matches!(refused(&revoked.replace("\"at", " \"at")), EntryError::NotCanonical));
        assert!(matches!(refused(&revoked.replace("shop", "Shop")), EntryError::Format(_)));
        assert!(matches!(refused(&" ".repeat(ENTRY_BYTES_MAX + 1)), EntryError::TooLarge(_)));
    }
}
