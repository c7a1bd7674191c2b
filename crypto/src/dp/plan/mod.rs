//! A `PrivacyPlan`: everything a federation promises in advance, in one TOML file that is hashed and pinned.
//!
//! Invariant: a parsed plan is consistent. Its scheduled ε stays within its cap, its thresholds are ones the
//! secure aggregation accepts, its integers cannot wrap. Whoever holds a [`PrivacyPlan`] need not check again.
//!
//! One file an idea: [`mod@check`] refuses what is inconsistent, [`schedule`] says what the plan releases and what that
//! costs, [`mod@file`] reads and writes TOML, [`mod@day`] is a date without a clock.
//!
//! # Three kinds of training
//! | | unit | noise | sensitivity of a merchant's update |
//! |---|---|---|---|
//! | one step a round (no `local` section, the only kind of version 1) | customer, series | a share at every merchant | C or 2C for each series that changes |
//! | local steps, each noised in full (`local.noise = "local"`) | customer, series | all of it in every step, at every merchant | none beyond its steps: the update is computed from what they released |
//! | local steps without noise, the update clipped once (`local.noise = "distributed"`) | merchant | a share at every merchant | C of the whole update |
//!
//! What a merchant does under each, and why it is as private as it is charged, is in [`super::release`].
//!
//! There is no fourth: steps without noise whose update is clipped once hide a merchant, never a customer, because one
//! customer can turn the whole update around. Such a plan is refused by name.
//!
//! Left out on purpose: proposing plans from a target (the planner), and what a merchant is willing to
//! accept (its policy, see [`super::filter`]).

mod check;
mod day;
mod file;
mod schedule;

#[cfg(test)]
pub(crate) mod tests;

pub use check::PlanError;
pub use day::Day;
pub use schedule::{EpsilonRows, NoiseRows};

use serde::{Deserialize, Serialize};

use super::unit::PrivacyUnit;

/// The most rounds a plan may schedule.
pub const ROUNDS_MAX: u32 = 100_000;
/// The most merchants of a complete graph: GF(2⁸) has 255 points other than 0.
pub const COMPLETE_GRAPH_MAX: usize = 255;
/// The most local steps of a round.
pub const LOCAL_STEPS_MAX: u32 = 10_000;
/// The least standard deviation of a merchant's noise, in grid units: from there on a sum of discrete Gaussians is one,
/// but for less than 10⁻⁶⁵ a coordinate (see [`super::noise::tau`]).
pub const SHARE_UNITS_MIN: f64 = 4.0;
/// The largest plan file accepted, in bytes.
pub const PLAN_BYTES_MAX: usize = 64 << 10;

/// A federation's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrivacyPlan {
    /// Format version: 1, or 2 where a `local` section is there. Software of version 1 refuses the latter.
    pub version: u16,
    /// Name shown to people.
    pub name: String,
    /// Whom the guarantee protects, and how much may be spent.
    pub privacy: PrivacyTarget,
    /// What one customer may contribute.
    pub bounds: ContributionBounds,
    /// One step of training.
    pub step: StepPlan,
    /// Several steps at a merchant between two rounds; absent where a round is one step (version 2).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalPlan>,
    /// Rounds and cohorts.
    pub rounds: RoundPlan,
    /// The integer grid.
    pub integers: IntegerPlan,
    /// The server's optimizer.
    pub optimizer: OptimizerPlan,
}

/// Unit, δ and cap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrivacyTarget {
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// δ of the guarantee.
    pub delta: f64,
    /// The ε that the whole schedule may not exceed, against the server with the assumed colluders.
    pub epsilon_cap: f64,
}

/// Contribution bounds in every step's data set.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContributionBounds {
    /// K: order lines a customer.
    pub order_lines: u32,
    /// L: series a customer.
    pub series: u32,
    /// Q: units a customer, over all its lines.
    pub units: f64,
}

/// What one round computes at a merchant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StepPlan {
    /// C: Euclidean norm to which the gradient of one series is clipped. Under the merchant unit it only tames single
    /// series; the C of the guarantee is [`LocalPlan::update_clip`].
    pub clip: f64,
    /// σ: standard deviation of the noise in the sum, as a multiple of C, after the assumed colluders took theirs away.
    pub noise_multiplier: f64,
    /// q: probability with which each series enters a round.
    pub sampling_rate: f64,
    /// Windows of a sampled series, averaged before the one clip.
    pub windows_per_series: u32,
    /// Public assumption on the number of series of the whole federation; q times it is the divisor.
    pub assumed_series: u32,
    /// A merchant's sum of clipped gradients reaches no further than this many of them would, all alike. All its series
    /// take part, however many they are: choosing among them by their number would let removing one bring another in.
    pub series_per_merchant_max: u32,
}

/// Several local steps a round, and what of them leaves.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LocalPlan {
    /// `local`: every step carries the whole noise. `distributed`: no step does, the update gets a share (unit
    /// merchant only).
    pub noise: NoiseMode,
    /// Local steps of a round.
    pub steps: u32,
    /// Step size of the local steps: plain gradient steps on the parameters that rounds train.
    pub learning_rate: f64,
    /// Euclidean norm to which the whole update of a round is clipped. Under the merchant unit this is C, what the noise
    /// is measured in; otherwise it costs nothing and keeps the integers from wrapping.
    pub update_clip: f64,
    /// μ: every local step is also drawn back towards the round's model, by μ times the distance (FedProx, Li et al.
    /// 2020). Computed from public weights and released steps alone, so that it costs nothing; 0 is left out.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub proximal: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Where noise is added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoiseMode {
    /// A share at every merchant, calibrated to the fewest survivors less the colluders.
    Distributed,
    /// All of it at every merchant, in every local step: an update is private on its own.
    Local,
}

/// How many rounds, with whom.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RoundPlan {
    /// T: round numbers that may be charged, abandoned ones included.
    pub count: u32,
    /// n: the most merchants in one round.
    pub cohort_max: u16,
    /// m: the fewest survivors with which any client goes on; the noise is calibrated to it.
    pub survivors_min: u16,
    /// n_C: merchants assumed to collude with the server.
    pub colluders_assumed: u16,
    /// First day of the training period.
    pub period_start: Day,
    /// Last day of the training period.
    pub period_end: Day,
    /// A masked update leaves no sooner than this after the offer arrived, in milliseconds, so that the time it
    /// takes to compute, which depends on the batch, stays unseen unless it is longer.
    pub submit_after_ms: u64,
    /// Time a phase of a round may take, in milliseconds.
    pub phase_deadline_ms: u64,
}

/// The integer grid of updates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct IntegerPlan {
    /// s: grid units per clip norm.
    pub units_per_clip: u32,
    /// b: bits of a coordinate of a masked update.
    pub bits: u8,
}

/// How the server turns a noisy sum into a step. Post-processing: it costs no privacy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptimizerPlan {
    /// Which rule.
    pub rule: OptimizerRule,
    /// Learning rate at the first round.
    pub learning_rate: f64,
    /// First-moment decay (FedAvgM, FedAdam).
    pub beta1: f64,
    /// Second-moment decay (FedAdam).
    pub beta2: f64,
    /// Added to the root of the second moment (FedAdam).
    pub epsilon: f64,
    /// Learning rate follows half a cosine to zero over the schedule.
    pub cosine: bool,
    /// Decay of the exponential average of the weights that is published; 0 publishes the last weights.
    pub averaging: f64,
}

/// Server optimizers (Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerRule {
    /// Plain gradient step.
    FedAvg,
    /// With momentum.
    FedAvgM,
    /// Adam.
    FedAdam,
}
