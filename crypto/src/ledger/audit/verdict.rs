//! The verdict: what a log says, recomputed, and what does not fit.
//!
//! Invariant: every ε in here was computed from events by this crate; none was read from the log.

use std::collections::BTreeSet;

use serde::Serialize;

use super::rule::{Class, Finding};
use crate::{
    dp::{
        plan::{EpsilonRows, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::{MerchantId, Sha256Digest, VerifyingKey},
};

/// The verdict.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Verdict {
    /// Name of the federation.
    pub federation: String,
    /// The key that the signatures were checked with.
    pub server_key: VerifyingKey,
    /// Unix time in milliseconds at which the federation says that it was founded.
    pub founded_at_ms: u64,
    /// Entries judged.
    pub entries: u64,
    /// Root of the tree over them.
    pub root: Sha256Digest,
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// δ of the guarantee.
    pub delta: f64,
    /// The cap.
    pub epsilon_cap: f64,
    /// Privately trained parameters.
    pub dimension: u32,
    /// Rounds that published a model.
    pub rounds_closed: u32,
    /// Rounds that did not.
    pub rounds_abandoned: u32,
    /// Latest model.
    pub model_version: u64,
    /// Model files that were compared with the log.
    pub models_compared: u32,
    /// Digest of the plan file.
    pub plan_sha256: Sha256Digest,
    /// The plan in entry 0.
    pub plan: PrivacyPlan,
    /// By merchant, in the order of enrolment.
    pub merchants: Vec<MerchantSpending>,
    /// By round, in the order in which they ended.
    pub rounds: Vec<RoundRecord>,
    /// What does not fit; empty means verified.
    pub findings: Vec<Finding>,
}

impl Verdict {
    /// The gravest class among the findings.
    pub fn gravest(&self) -> Option<Class> {
        self.findings.iter().map(|finding| finding.class).max()
    }
}

/// What one merchant spent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MerchantSpending {
    /// Who.
    pub merchant: MerchantId,
    /// Unix time in milliseconds of its enrolment.
    pub enrolled_at_ms: u64,
    /// Unix time in milliseconds at which it was revoked, if it was.
    pub revoked_at_ms: Option<u64>,
    /// Charges in the log.
    pub charges: u32,
    /// Charges by the merchant's own count, which may exceed the log's: a charge is written before anything leaves,
    /// and what left may never have arrived. ε is computed for this number.
    pub charges_counted: u32,
    /// Rounds whose published sum holds this merchant's update.
    pub rounds_in_sum: u32,
    /// The three rows of ε for them; `None` without charges, or where a finding says why.
    pub epsilon: Option<EpsilonRows>,
    /// Samplers of noise that its charges name.
    pub noise_sources: BTreeSet<String>,
    /// Software that its charges name.
    pub software: BTreeSet<String>,
    /// Unix times in milliseconds of its first and last charge, by its own clock.
    pub charged_at_ms: Option<(u64, u64)>,
}

/// One round that ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RoundRecord {
    /// Index of the entry that ended it.
    pub entry: u64,
    /// Run of the federation.
    pub run: u64,
    /// Round of the run.
    pub round: u64,
    /// Unix time in milliseconds at which it ended.
    pub at_ms: u64,
    /// Charges for it in the log, of merchants that dropped out as well.
    pub charges: u32,
    /// How it ended.
    pub outcome: RoundOutcome,
}

/// How a round ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum RoundOutcome {
    /// With a model.
    Published {
        /// n: merchants invited.
        cohort: u32,
        /// |U2|: merchants whose updates are in the sum.
        survivors: u32,
        /// σ that the survivors added, as a multiple of C, the assumed colluders taken away: as recomputed.
        noise_multiplier: f64,
        /// Version of the model.
        model_version: u64,
        /// Its digest.
        model_sha256: Sha256Digest,
    },
    /// Without one.
    Abandoned {
        /// Why, in the server's words.
        reason: String,
    },
}
