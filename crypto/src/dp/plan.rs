//! A `PrivacyPlan`: everything a federation promises in advance, in one TOML file that is hashed and pinned.
//!
//! Invariant: a parsed plan is consistent. Its scheduled ε stays within its cap, its thresholds are ones the
//! secure aggregation accepts, its integers cannot wrap. Whoever holds a [`PrivacyPlan`] need not check again.
//!
//! Left out on purpose: proposing plans from a target (the planner), and what a merchant is willing to
//! accept (its policy, see [`super::filter`]).

use serde::{Deserialize, Serialize};

use super::{
    accountant::{self, AccountingError, Spent},
    event::{DpEvent, EventError},
    noise::{NoiseError, Variance},
    unit::{NeighboringRelation, PrivacyUnit},
};
use crate::{
    identity::{Sha256Digest, sha256},
    quantize::{Change, Grid, GridError},
    secagg::threshold::{ThresholdError, ValidThreshold},
};

/// The most rounds a plan may schedule.
pub const ROUNDS_MAX: u32 = 100_000;
/// The most merchants of a complete graph: GF(2⁸) has 255 points other than 0.
pub const COMPLETE_GRAPH_MAX: usize = 255;
/// The largest plan file accepted, in bytes.
pub const PLAN_BYTES_MAX: usize = 64 << 10;

/// A federation's plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PrivacyPlan {
    /// Format version, 1.
    pub version: u16,
    /// Name shown to people.
    pub name: String,
    /// Whom the guarantee protects, and how much may be spent.
    pub privacy: PrivacyTarget,
    /// What one customer may contribute.
    pub bounds: ContributionBounds,
    /// One step of training.
    pub step: StepPlan,
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
    /// C: Euclidean norm to which the gradient of one series is clipped.
    pub clip: f64,
    /// σ: standard deviation of the noise in the sum, as a multiple of C, after the assumed colluders took theirs away.
    pub noise_multiplier: f64,
    /// q: probability with which each series enters a round.
    pub sampling_rate: f64,
    /// Windows of a sampled series, averaged before the one clip.
    pub windows_per_series: u32,
    /// Public assumption on the number of series of the whole federation; q times it is the divisor.
    pub assumed_series: u32,
    /// The most series of one merchant that take part (a fixed, customer-independent choice).
    pub series_per_merchant_max: u32,
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

/// A calendar day, `YYYY-MM-DD`, kept as text: this crate knows no clock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Copy)]
pub struct Day {
    year: u16,
    month: u8,
    day: u8,
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

/// ε of the whole schedule as each adversary sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonRows {
    /// Anyone who reads the published models: the noise of at least m survivors.
    pub published: Spent,
    /// The server with the assumed colluders: the planned σ.
    pub server: Spent,
    /// Everyone but this merchant colludes: its own noise share only.
    pub everyone_else: Spent,
}

/// Why a plan was refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Larger than [`PLAN_BYTES_MAX`].
    #[error("the plan has {0} bytes; at most {PLAN_BYTES_MAX} are accepted")]
    TooLarge(usize),
    /// Not UTF-8 or not TOML of this shape.
    #[error("the plan is not readable: {0}")]
    Format(String),
    /// A value out of range.
    #[error("plan field `{field}`: {why}")]
    Field {
        /// Dotted name of the field.
        field: &'static str,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The schedule costs more than the cap.
    #[error(
        "the schedule costs ε = {scheduled:.4}, more than its cap {cap}: raise `step.noise-multiplier` to {enough:.3}, or lower `rounds.count` or `step.sampling-rate`"
    )]
    OverCap {
        /// ε of the schedule.
        scheduled: f64,
        /// The cap.
        cap: f64,
        /// A noise multiplier that keeps the cap.
        enough: f64,
    },
    /// The accountant refused the event.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// The event is not one.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The integer grid does not fit the model.
    #[error("plan section `integers`: {0}")]
    Grid(#[from] GridError),
}

impl PrivacyPlan {
    /// Parses and checks a plan file.
    ///
    /// # Errors
    /// [`PlanError`] names the field and what would be right.
    pub fn parse(bytes: &[u8]) -> Result<Self, PlanError> {
        if bytes.len() > PLAN_BYTES_MAX {
            return Err(PlanError::TooLarge(bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|e| PlanError::Format(e.to_string()))?;
        let plan: Self = toml::from_str(text).map_err(|e| PlanError::Format(e.to_string()))?;
        plan.check()?;
        Ok(plan)
    }

    /// The plan as a TOML file. [`Self::digest_of`] is taken over the file as distributed.
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a plan always serialises")
    }

    /// The digest that offers and charges name: SHA-256 of the file's bytes.
    pub fn digest_of(bytes: &[u8]) -> Sha256Digest {
        sha256(bytes)
    }

    /// Checks every field and the cap.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn check(&self) -> Result<(), PlanError> {
        let fail = |field, why: String| Err(PlanError::Field { field, why });
        if self.version != 1 {
            return fail("version", format!("{} is not 1", self.version));
        }
        let (p, b, s, r, i, o) =
            (&self.privacy, &self.bounds, &self.step, &self.rounds, &self.integers, &self.optimizer);
        if !(p.delta > 0.0 && p.delta < 1e-2) {
            return fail("privacy.delta", "must lie between 0 and 0.01 (1e-6 is usual)".into());
        }
        if !(p.epsilon_cap > 0.0 && p.epsilon_cap <= 1e3) {
            return fail("privacy.epsilon-cap", "must lie between 0 and 1000".into());
        }
        if b.order_lines == 0 || b.series == 0 || !(b.units.is_finite() && b.units > 0.0) {
            return fail("bounds", "order-lines, series and units must be positive".into());
        }
        if p.unit == PrivacyUnit::Merchant {
            return fail("privacy.unit", "merchant-unit rounds are not available yet; use customer or series".into());
        }
        if !(s.clip.is_finite() && s.clip > 0.0) {
            return fail("step.clip", "must be positive".into());
        }
        if !(s.noise_multiplier.is_finite() && s.noise_multiplier > 0.0) {
            return fail("step.noise-multiplier", "must be positive".into());
        }
        if !(s.sampling_rate > 0.0 && s.sampling_rate <= 1.0) {
            return fail("step.sampling-rate", "must lie in (0, 1]".into());
        }
        if !(1..=1024).contains(&s.windows_per_series) {
            return fail("step.windows-per-series", "must lie in 1..=1024".into());
        }
        if s.assumed_series == 0 || s.series_per_merchant_max == 0 {
            return fail("step", "assumed-series and series-per-merchant-max must be positive".into());
        }
        if !(1..=ROUNDS_MAX).contains(&r.count) {
            return fail("rounds.count", format!("must lie in 1..={ROUNDS_MAX}"));
        }
        if r.period_start > r.period_end {
            return fail("rounds.period-start", "lies after period-end".into());
        }
        if !(100..=86_400_000).contains(&r.phase_deadline_ms) {
            return fail("rounds.phase-deadline-ms", "must lie between 100 and a day".into());
        }
        if r.submit_after_ms >= r.phase_deadline_ms {
            return fail("rounds.submit-after-ms", "must be shorter than phase-deadline-ms".into());
        }
        if r.colluders_assumed >= r.survivors_min || r.survivors_min > r.cohort_max {
            return fail("rounds", "colluders-assumed < survivors-min <= cohort-max must hold".into());
        }
        // Larger cohorts can be planned and simulated; no server runs them yet (see `Self::runnable`).
        if usize::from(r.cohort_max) <= COMPLETE_GRAPH_MAX
            && let Err(why) = self.threshold(r.cohort_max)
        {
            return fail("rounds", why.to_string());
        }
        if !(1..=1 << 30).contains(&i.units_per_clip) {
            return fail("integers.units-per-clip", "must lie in 1..=2^30".into());
        }
        if !(8..=62).contains(&i.bits) {
            return fail("integers.bits", "must lie in 8..=62".into());
        }
        if !(o.learning_rate.is_finite() && o.learning_rate > 0.0 && o.epsilon > 0.0) {
            return fail("optimizer", "learning-rate and epsilon must be positive".into());
        }
        for (field, value) in
            [("optimizer.beta1", o.beta1), ("optimizer.beta2", o.beta2), ("optimizer.averaging", o.averaging)]
        {
            if !(0.0..1.0).contains(&value) {
                return fail(field, "must lie in [0, 1)".into());
            }
        }
        let scheduled = accountant::epsilon(&self.schedule(s.noise_multiplier, r.count)?, p.delta)?.epsilon;
        if scheduled > p.epsilon_cap {
            let enough = accountant::noise_multiplier_for(p.epsilon_cap, p.delta, |sigma| {
                self.schedule(sigma, r.count).expect("only σ differs from a checked plan")
            })?;
            return Err(PlanError::OverCap { scheduled, cap: p.epsilon_cap, enough });
        }
        Ok(())
    }

    /// The event of one round with noise `noise_multiplier`·C in its sum.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn step_event(&self, noise_multiplier: f64) -> Result<DpEvent, EventError> {
        DpEvent::step(self.privacy.unit, self.step.sampling_rate, self.bounds.series, noise_multiplier)
    }

    /// The event of `rounds` charged rounds with noise `noise_multiplier`·C in each sum.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn schedule(&self, noise_multiplier: f64, rounds: u32) -> Result<DpEvent, EventError> {
        let step = Box::new(self.step_event(noise_multiplier)?);
        Ok(DpEvent::SelfComposed { event: step, count: u64::from(rounds) })
    }

    /// Checks that the secure aggregation that exists can carry the plan: one complete graph of merchants.
    ///
    /// # Errors
    /// [`PlanError::Field`] when the cohort is larger.
    pub fn runnable(&self) -> Result<(), PlanError> {
        self.threshold(self.rounds.cohort_max)
            .map(|_| ())
            .map_err(|e| PlanError::Field { field: "rounds", why: e.to_string() })
    }

    /// The thresholds of a round with `cohort` merchants: m as planned, t just above two thirds.
    ///
    /// # Errors
    /// [`ThresholdError`] where so small or large a cohort cannot keep the plan.
    pub fn threshold(&self, cohort: u16) -> Result<ValidThreshold, ThresholdError> {
        ValidThreshold::new(
            cohort,
            self.rounds.survivors_min,
            ValidThreshold::propose_shares(cohort),
            self.rounds.colluders_assumed,
        )
    }

    /// The integer grid of updates of `dimension` parameters.
    ///
    /// # Errors
    /// [`GridError`] where the dimension does not fit.
    pub fn grid(&self, dimension: u32) -> Result<Grid, GridError> {
        Grid::new(dimension, self.integers.bits, u64::from(self.integers.units_per_clip), self.step.clip)
    }

    /// What one unit changes in a released sum.
    pub fn change(&self) -> Change {
        match self.privacy.unit {
            PrivacyUnit::Customer => Change::Replaced,
            PrivacyUnit::Series | PrivacyUnit::Merchant => Change::Removed,
        }
    }

    /// σ that really protects, as a multiple of C, for `dimension` parameters: rounding the sum to the grid
    /// widens the sensitivity, so the planned σ counts for less.
    ///
    /// # Errors
    /// [`GridError`] where the dimension does not fit.
    pub fn effective_noise_multiplier(&self, dimension: u32) -> Result<f64, GridError> {
        Ok(self.step.noise_multiplier / self.grid(dimension)?.rounding_cost(self.change()))
    }

    /// Variance of one merchant's noise share in squared grid units: (σ·s)²/(m − n_C), rounded up.
    ///
    /// # Errors
    /// [`NoiseError`] where the share is too large or small for the sampler.
    pub fn local_variance(&self) -> Result<Variance, NoiseError> {
        let honest = f64::from(self.rounds.survivors_min - self.rounds.colluders_assumed);
        let sigma_units = self.step.noise_multiplier * f64::from(self.integers.units_per_clip) / honest.sqrt();
        Ok(Variance::from_sigma_ceil(sigma_units)?)
    }

    /// The three rows of ε after `rounds` charged rounds with `dimension` parameters.
    ///
    /// # Errors
    /// [`PlanError`] where the accountant refuses.
    pub fn epsilon_rows(&self, dimension: u32, rounds: u32) -> Result<EpsilonRows, PlanError> {
        let sigma = self.effective_noise_multiplier(dimension)?;
        let honest = f64::from(self.rounds.survivors_min - self.rounds.colluders_assumed);
        let row = |sigma: f64| -> Result<Spent, PlanError> {
            Ok(accountant::epsilon(&self.schedule(sigma, rounds)?, self.privacy.delta)?)
        };
        Ok(EpsilonRows {
            published: row(sigma * (f64::from(self.rounds.survivors_min) / honest).sqrt())?,
            server: row(sigma)?,
            everyone_else: row(sigma / honest.sqrt())?,
        })
    }

    /// The neighbouring relation that the unit is counted under.
    pub fn relation(&self) -> NeighboringRelation {
        NeighboringRelation::AddOrRemove
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl std::str::FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no day; write YYYY-MM-DD");
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts[..] else { return Err(refuse()) };
        if (year.len(), month.len(), day.len()) != (4, 2, 2) || !text.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(refuse());
        }
        let (year, month, day): (u16, u8, u8) = (
            year.parse().map_err(|_| refuse())?,
            month.parse().map_err(|_| refuse())?,
            day.parse().map_err(|_| refuse())?,
        );
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return Err(refuse()),
        };
        if day == 0 || day > days {
            return Err(refuse());
        }
        Ok(Self { year, month, day })
    }
}

impl Serialize for Day {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const PLAN: &str = r#"
version = 1
name = "test"
[privacy]
unit = "customer"
delta = 1e-6
epsilon-cap = 8.0
[bounds]
order-lines = 8
series = 2
units = 40.0
[step]
clip = 0.1
noise-multiplier = 8.0
sampling-rate = 0.25
windows-per-series = 4
assumed-series = 1000
series-per-merchant-max = 200
[rounds]
count = 40
cohort-max = 12
survivors-min = 10
colluders-assumed = 1
period-start = "2024-01-01"
period-end = "2025-06-30"
submit-after-ms = 0
phase-deadline-ms = 60000
[integers]
units-per-clip = 4096
bits = 30
[optimizer]
rule = "fedadam"
learning-rate = 0.01
beta1 = 0.9
beta2 = 0.99
epsilon = 1e-8
cosine = true
averaging = 0.9
"#;

    #[test]
    fn a_plan_round_trips_through_its_file() {
        let plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
        assert_eq!(PrivacyPlan::parse(plan.to_toml().as_bytes()).unwrap(), plan);
    }

    #[test]
    fn a_schedule_over_its_cap_is_refused_with_the_noise_that_would_do() {
        let cheap = PLAN.replace("noise-multiplier = 8.0", "noise-multiplier = 1.0");
        let error = PrivacyPlan::parse(cheap.as_bytes()).unwrap_err();
        let PlanError::OverCap { enough, .. } = error else { panic!("{error}") };
        let mended = PLAN.replace("noise-multiplier = 8.0", &format!("noise-multiplier = {enough}"));
        PrivacyPlan::parse(mended.as_bytes()).unwrap();
    }

    #[test]
    fn the_three_rows_grow_with_what_the_adversary_holds() {
        let rows = PrivacyPlan::parse(PLAN.as_bytes()).unwrap().epsilon_rows(400, 40).unwrap();
        assert!(rows.published.epsilon < rows.server.epsilon);
        assert!(rows.server.epsilon < rows.everyone_else.epsilon);
    }

    #[test]
    fn every_field_out_of_range_is_refused_by_name() {
        for (from, to, name) in [
            ("version = 1", "version = 2", "version"),
            ("delta = 1e-6", "delta = 0.5", "privacy.delta"),
            ("clip = 0.1", "clip = -1.0", "step.clip"),
            ("sampling-rate = 0.25", "sampling-rate = 1.5", "step.sampling-rate"),
            ("survivors-min = 10", "survivors-min = 1", "rounds"),
            ("bits = 30", "bits = 64", "integers.bits"),
            ("2025-06-30", "2023-06-30", "rounds.period-start"),
            ("averaging = 0.9", "averaging = 1.0", "optimizer.averaging"),
        ] {
            let error = PrivacyPlan::parse(PLAN.replace(from, to).as_bytes()).unwrap_err();
            let PlanError::Field { field, .. } = error else { panic!("{name}: {error}") };
            assert_eq!(field, name);
        }
    }

    #[test]
    fn impossible_days_are_refused() {
        for text in ["2025-02-29", "2025-13-01", "2025-00-10", "25-01-01", "2025-01-1", "x"] {
            assert!(text.parse::<Day>().is_err(), "{text}");
        }
        assert_eq!("2024-02-29".parse::<Day>().unwrap().to_string(), "2024-02-29");
    }
}
