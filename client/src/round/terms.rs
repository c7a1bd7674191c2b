//! Is this offer the one the plan promised?
//!
//! A server may try to lower the noise, the thresholds or the cohort, to show another model or another directory
//! to one merchant, or to replay a round. Every such value is compared here with what the merchant holds itself:
//! the pinned plan, its own policy and its verified copy of the log.
//!
//! The offer names the log's root, and the offer is the same for everybody who takes part. So whatever an offer rests on
//! (the model, who is who, what this merchant spent) must lie *under* that root: then no two of the cohort were shown
//! different histories of it.

use forecastle_crypto::{
    dp::{filter::MerchantPolicy, noise::NoiseError, plan::PrivacyPlan},
    identity::{MerchantId, Sha256Digest},
    secagg::{offer::VerifiedOffer, threshold::ThresholdError},
};
use forecastle_proto::{limits::CLOCK_SKEW_MS_MAX, model::ModelSnapshot};

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
    /// Too few whom this merchant knows from its last round.
    #[error(
        "{known} of the {who} were enrolled when this merchant last took part, the policy wants at least {min}: the others may be the server's own; this merchant takes no part. Where the newcomers are expected, lower `known-min` in policy.toml"
    )]
    Strangers {
        /// Of whom: merchants of the cohort, or survivors.
        who: &'static str,
        /// Known.
        known: usize,
        /// Wanted.
        min: u16,
    },
    /// A round beyond the plan's schedule.
    #[error("round {round} was offered, the plan has {planned}; this merchant takes no part")]
    BeyondSchedule {
        /// Offered.
        round: u64,
        /// T.
        planned: u32,
    },
    /// Masked updates would be due at another time than the plan says.
    #[error(
        "the offer's masked updates are due {seconds} s {direction}; the plan gives a phase {phase_ms} ms. Is the clock of this machine right? This merchant takes no part"
    )]
    Deadline {
        /// How far.
        seconds: u64,
        /// `ago` or `from now`.
        direction: &'static str,
        /// Time of one phase.
        phase_ms: u64,
    },
    /// The offer commits to less of the log than it rests on.
    #[error(
        "the offer commits to the log's first {committed} entries, but rests on {needed}: others could have been shown another history; this merchant takes no part"
    )]
    ShortLog {
        /// As offered.
        committed: u64,
        /// Up to the last entry that matters.
        needed: u64,
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
    /// So large a cohort cannot keep the plan.
    #[error(transparent)]
    Threshold(#[from] ThresholdError),
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
    /// Unix time in milliseconds.
    pub now_ms: u64,
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
    same("parameter layout", &Some(terms.layout_sha256), &agreed.log.founded().map(|founded| founded.layout_sha256))?;
    same("dimension", &(terms.dimension as usize), &layout.federated_len())?;
    same("log", &Some(terms.ledger_root), &agreed.log.root_at(terms.ledger_size))?;
    if cohort < usize::from(agreed.policy.cohort_min) {
        return Err(TermsError::SmallCohort { cohort, min: agreed.policy.cohort_min });
    }
    if cohort > usize::from(plan.rounds.cohort_max) {
        same("cohort", &cohort, &usize::from(plan.rounds.cohort_max))?;
    }
    let threshold = plan.threshold(u16::try_from(cohort).unwrap_or(u16::MAX))?;
    same("number of neighbours", &terms.neighbours, &threshold.neighbours())?;
    same("sharing threshold", &terms.threshold, &threshold.threshold())?;
    if agreed.charged.is_some_and(|charged| (terms.run, terms.round) <= charged) {
        return Err(TermsError::Replayed(terms.round));
    }
    if terms.round > u64::from(plan.rounds.count) {
        return Err(TermsError::BeyondSchedule { round: terms.round, planned: plan.rounds.count });
    }
    check_deadline(terms.deadline_ms, agreed)?;
    for entry in offer.roster() {
        if agreed.log.identity_of(&entry.merchant) != Some(&entry.identity) {
            return Err(TermsError::Directory(entry.merchant.clone()));
        }
    }
    let roster = || offer.roster().iter().map(|entry| &entry.merchant);
    let needed = agreed.log.entries_behind(roster());
    if terms.ledger_size < needed {
        return Err(TermsError::ShortLog { committed: terms.ledger_size, needed });
    }
    check_known("cohort", roster(), agreed.log, agreed.policy)
}

/// Checks that enough of `merchants` were there before: a server can enrol as many as it likes, but not in the past.
///
/// # Errors
/// [`TermsError::Strangers`]. A merchant that never took part knows nobody and is asked for nothing.
pub fn check_known<'a>(
    who: &'static str,
    merchants: impl Iterator<Item = &'a MerchantId>,
    log: &LogCopy,
    policy: &MerchantPolicy,
) -> Result<(), TermsError> {
    let known: Option<Vec<bool>> = merchants.map(|merchant| log.is_known(merchant)).collect();
    let Some(known) = known else { return Ok(()) };
    let known = known.into_iter().filter(|known| *known).count();
    if known < usize::from(policy.known_min) {
        return Err(TermsError::Strangers { who, known, min: policy.known_min });
    }
    Ok(())
}

/// A round that was over long ago, or will be open for longer than two of the plan's phases, is none of the plan's.
fn check_deadline(deadline_ms: u64, agreed: &Agreed<'_>) -> Result<(), TermsError> {
    let phase_ms = agreed.plan.rounds.phase_deadline_ms;
    let refuse = |by: u64, direction| Err(TermsError::Deadline { seconds: by / 1000, direction, phase_ms });
    if deadline_ms.saturating_add(CLOCK_SKEW_MS_MAX) < agreed.now_ms {
        return refuse(agreed.now_ms - deadline_ms, "ago");
    }
    if deadline_ms > agreed.now_ms + 2 * phase_ms + CLOCK_SKEW_MS_MAX {
        return refuse(deadline_ms - agreed.now_ms, "from now");
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &'static str, offered: &T, expected: &T) -> Result<(), TermsError> {
    if offered == expected {
        return Ok(());
    }
    Err(TermsError::Differs { what, offered: format!("{offered:?}"), expected: format!("{expected:?}") })
}
