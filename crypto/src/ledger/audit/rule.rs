//! What a log can violate, and how grave each violation is.
//!
//! Invariant: a rule's name is part of the verdict's format and never changes meaning; rules are only added.

use std::fmt;

use serde::Serialize;

/// What an entry violates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// The log was founded with another key than the one the auditor trusts.
    FederationKey,
    /// The checkpoint is unreadable, of another log, or not signed by the federation.
    Checkpoint,
    /// The entries are not those that the checkpoint commits to.
    Tree,
    /// Too few of the witnesses that the auditor trusts cosigned the checkpoint, or a cosignature is false.
    Witnesses,
    /// An entry is unreadable, not in canonical form, or founds the federation again.
    EntryForm,
    /// A merchant enrols twice, is revoked without having enrolled, or acts without being enrolled.
    Enrolment,
    /// A charge is not signed by its merchant.
    ChargeSignature,
    /// A charge or round names another plan than the one in entry 0.
    PlanDigest,
    /// A round was offered on a history that is not this log's.
    OfferedHead,
    /// Thresholds with which two different survivor sets could both be unmasked.
    Threshold,
    /// Too few valid statements of survivors that they all saw the same survivors.
    Consistency,
    /// A model does not continue the one before it.
    ModelLineage,
    /// A model file is not the one that the log published.
    ModelFile,
    /// A charge protects another unit, or counts other data sets as neighbours, than the plan.
    Unit,
    /// A charge allows a customer more or less than the plan's K, L and Q.
    ContributionBounds,
    /// A charge is for other days than the plan's.
    Period,
    /// A charge samples series at another rate, or in another way, than the plan.
    Sampler,
    /// A charge or round carries other noise than the plan.
    NoiseFloor,
    /// A charge or round rounds on another grid than the plan: another clip norm, scale, width or dimension.
    Grid,
    /// A charge or round has other m or n_C than the plan, or a round went on with fewer than m survivors.
    Survivors,
    /// A charge names another δ or cap than the plan.
    PrivacyTarget,
    /// The event that a charge records does not follow from the charge's own numbers.
    ChargedEvent,
    /// The noise that a round claims is not what its survivors added.
    EffectiveNoise,
    /// One merchant charges one round twice.
    RepeatedCharge,
    /// A charge counts fewer earlier charges than the log holds: restored or cloned state.
    ForgottenCharges,
    /// Two charges name the same masked bytes.
    MaskedDigest,
    /// A survivor is in a sum without its charge.
    RoundWithoutCharge,
    /// The two accountants contradict each other.
    Accountants,
    /// A merchant's charges cost more than the cap.
    Cap,
    /// More rounds were charged or held than the plan schedules.
    Schedule,
    /// A round ends twice, or after a later one.
    RoundOrder,
    /// A cohort is too large, names a merchant twice, or names one that could not take part.
    Roster,
    /// The sets of sharers and survivors do not fit the cohort.
    SurvivorSets,
    /// An offer is of another federation, or two rounds name the same one.
    Offer,
    /// A charge is for a round that never ended although a later one did.
    ChargeWithoutRound,
    /// An abandoned round names charges that are not its own, or leaves out some that are.
    AbandonedCharges,
}

/// What a violation puts in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Book-keeping: rounds, cohorts and charges do not fit together, though no promise is shown to be broken.
    Order,
    /// The promise: more may have been spent on a person than was promised.
    Privacy,
    /// The record itself: signatures, tree, digests or models. Nothing else in the log can then be relied on.
    Integrity,
}

impl Rule {
    /// Every rule, in the order in which a verdict lists them.
    pub const ALL: [Self; 36] = [
        Self::FederationKey,
        Self::Checkpoint,
        Self::Tree,
        Self::Witnesses,
        Self::EntryForm,
        Self::Enrolment,
        Self::ChargeSignature,
        Self::PlanDigest,
        Self::OfferedHead,
        Self::Threshold,
        Self::Consistency,
        Self::ModelLineage,
        Self::ModelFile,
        Self::Unit,
        Self::ContributionBounds,
        Self::Period,
        Self::Sampler,
        Self::NoiseFloor,
        Self::Grid,
        Self::Survivors,
        Self::PrivacyTarget,
        Self::ChargedEvent,
        Self::EffectiveNoise,
        Self::RepeatedCharge,
        Self::ForgottenCharges,
        Self::MaskedDigest,
        Self::RoundWithoutCharge,
        Self::Accountants,
        Self::Cap,
        Self::Schedule,
        Self::RoundOrder,
        Self::Roster,
        Self::SurvivorSets,
        Self::Offer,
        Self::ChargeWithoutRound,
        Self::AbandonedCharges,
    ];

    /// The name used in verdicts, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FederationKey => "federation-key",
            Self::Checkpoint => "checkpoint",
            Self::Tree => "tree",
            Self::Witnesses => "witnesses",
            Self::EntryForm => "entry-form",
            Self::Enrolment => "enrolment",
            Self::ChargeSignature => "charge-signature",
            Self::PlanDigest => "plan-digest",
            Self::OfferedHead => "offered-head",
            Self::Threshold => "threshold",
            Self::Consistency => "consistency",
            Self::ModelLineage => "model-lineage",
            Self::ModelFile => "model-file",
            Self::Unit => "unit",
            Self::ContributionBounds => "contribution-bounds",
            Self::Period => "period",
            Self::Sampler => "sampler",
            Self::NoiseFloor => "noise-floor",
            Self::Grid => "grid",
            Self::Survivors => "survivors",
            Self::PrivacyTarget => "privacy-target",
            Self::ChargedEvent => "charged-event",
            Self::EffectiveNoise => "effective-noise",
            Self::RepeatedCharge => "repeated-charge",
            Self::ForgottenCharges => "forgotten-charges",
            Self::MaskedDigest => "masked-digest",
            Self::RoundWithoutCharge => "round-without-charge",
            Self::Accountants => "accountants",
            Self::Cap => "cap",
            Self::Schedule => "schedule",
            Self::RoundOrder => "round-order",
            Self::Roster => "roster",
            Self::SurvivorSets => "survivor-sets",
            Self::Offer => "offer",
            Self::ChargeWithoutRound => "charge-without-round",
            Self::AbandonedCharges => "abandoned-charges",
        }
    }

    /// What a violation puts in doubt.
    pub const fn class(self) -> Class {
        match self {
            Self::FederationKey
            | Self::Checkpoint
            | Self::Tree
            | Self::Witnesses
            | Self::EntryForm
            | Self::Enrolment
            | Self::ChargeSignature
            | Self::PlanDigest
            | Self::OfferedHead
            | Self::Threshold
            | Self::Consistency
            | Self::ModelLineage
            | Self::ModelFile => Class::Integrity,
            Self::Unit
            | Self::ContributionBounds
            | Self::Period
            | Self::Sampler
            | Self::NoiseFloor
            | Self::Grid
            | Self::Survivors
            | Self::PrivacyTarget
            | Self::ChargedEvent
            | Self::EffectiveNoise
            | Self::RepeatedCharge
            | Self::ForgottenCharges
            | Self::MaskedDigest
            | Self::RoundWithoutCharge
            | Self::Accountants
            | Self::Cap
            | Self::Schedule => Class::Privacy,
            Self::RoundOrder
            | Self::Roster
            | Self::SurvivorSets
            | Self::Offer
            | Self::ChargeWithoutRound
            | Self::AbandonedCharges => Class::Order,
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Class {
    /// The name used in verdicts, the same as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Privacy => "privacy",
            Self::Integrity => "integrity",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One thing that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// Index of the entry, where one is to blame.
    pub entry: Option<u64>,
    /// The rule.
    pub rule: Rule,
    /// What the violation puts in doubt.
    pub class: Class,
    /// In words.
    pub what: String,
}

impl Finding {
    /// A violation of `rule` by `entry`.
    pub fn new(entry: Option<u64>, rule: Rule, what: impl Into<String>) -> Self {
        Self { entry, rule, class: rule.class(), what: what.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_json_and_distinct() {
        let mut names: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
            assert_eq!(serde_json::to_value(rule.class()).unwrap(), rule.class().name());
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }

    #[test]
    fn the_gravest_class_is_the_greatest() {
        assert!(Class::Integrity > Class::Privacy && Class::Privacy > Class::Order);
    }
}
