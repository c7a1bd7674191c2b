//! What makes a plan consistent, and why one is refused.

use super::{COMPLETE_GRAPH_MAX, LOCAL_STEPS_MAX, NoiseMode, PLAN_BYTES_MAX, PrivacyPlan, ROUNDS_MAX, SHARE_UNITS_MIN};
use crate::{
    dp::{
        accountant::{self, AccountingError},
        event::EventError,
        unit::PrivacyUnit,
    },
    quantize::GridError,
    secagg::threshold::{ThresholdError, ValidThreshold},
};

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
    /// Checks every field and the cap.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn check(&self) -> Result<(), PlanError> {
        let fail = |field, why: String| Err(PlanError::Field { field, why });
        match (self.version, self.local) {
            (1, None) | (2, _) => {}
            (1, Some(_)) => return fail("version", "a plan with a `local` section is of version 2".into()),
            (other, _) => return fail("version", format!("{other} is neither 1 nor 2; newer software wrote it")),
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
        self.check_local()?;
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
        let positive = |value: f64| value.is_finite() && value > 0.0;
        if !(positive(o.learning_rate) && positive(o.epsilon)) {
            return fail("optimizer", "learning-rate and epsilon must be positive".into());
        }
        for (field, value) in
            [("optimizer.beta1", o.beta1), ("optimizer.beta2", o.beta2), ("optimizer.averaging", o.averaging)]
        {
            if !(0.0..1.0).contains(&value) {
                return fail(field, "must lie in [0, 1)".into());
            }
        }
        let share = self
            .local_variance()
            .map_err(|e| PlanError::Field { field: "step.noise-multiplier", why: e.to_string() })?
            .sigma();
        if share < SHARE_UNITS_MIN {
            return fail(
                "integers.units-per-clip",
                format!(
                    "a merchant's noise share has a standard deviation of {share:.2} grid units; raise it until that is at least {SHARE_UNITS_MIN}, or the shares do not add up to a discrete Gaussian"
                ),
            );
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

    /// Which training fits which unit; see the module's table.
    fn check_local(&self) -> Result<(), PlanError> {
        let fail = |field, why: &str| Err(PlanError::Field { field, why: why.into() });
        let merchant = self.privacy.unit == PrivacyUnit::Merchant;
        let Some(local) = self.local else {
            return match merchant {
                true => fail("privacy.unit", "the merchant unit needs version 2 and a `local` section"),
                false => Ok(()),
            };
        };
        match (merchant, local.noise) {
            (true, NoiseMode::Local) => {
                return fail(
                    "local.noise",
                    "noise in every local step protects customers or series: choose one of them as the unit, or `distributed`",
                );
            }
            (false, NoiseMode::Distributed) => {
                return fail(
                    "local.noise",
                    "local steps without noise whose update is clipped once protect only the merchant as a whole: set the unit to merchant, or noise to `local`",
                );
            }
            (true, NoiseMode::Distributed) | (false, NoiseMode::Local) => {}
        }
        if merchant && self.step.sampling_rate != 1.0 {
            return fail(
                "step.sampling-rate",
                "must be 1 under the merchant unit: the server chooses the cohort, so nothing is amplified",
            );
        }
        if !(1..=LOCAL_STEPS_MAX).contains(&local.steps) {
            return Err(PlanError::Field { field: "local.steps", why: format!("must lie in 1..={LOCAL_STEPS_MAX}") });
        }
        for (field, value) in [("local.learning-rate", local.learning_rate), ("local.update-clip", local.update_clip)] {
            if !(value.is_finite() && value > 0.0) {
                return fail(field, "must be positive");
            }
        }
        // Beyond one, a step would overshoot the model that it is drawn back to.
        if !(local.proximal >= 0.0 && local.proximal * local.learning_rate < 1.0) {
            return fail("local.proximal", "must be 0 or more, and less than 1 / local.learning-rate");
        }
        Ok(())
    }

    /// Checks that this version's software can carry the plan: one complete graph of merchants.
    ///
    /// # Errors
    /// [`PlanError::Field`] names what is not there yet.
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
}
