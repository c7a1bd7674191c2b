//! A plan for a federation of a given size: the noise that a target ε needs, and whether so few series can carry it.

use forecastle_crypto::{
    dp::{
        accountant,
        plan::{
            ContributionBounds, Day, IntegerPlan, OptimizerPlan, OptimizerRule, PlanError, PrivacyPlan, PrivacyTarget,
            RoundPlan, StepPlan,
        },
        unit::PrivacyUnit,
    },
    quantize::{GridError, bits_needed},
};

/// What is known in public before anybody trains.
#[derive(Clone, Debug)]
pub struct Size {
    /// Name of the plan.
    pub name: String,
    /// Whom to protect.
    pub unit: PrivacyUnit,
    /// Merchants that will take part.
    pub merchants: u16,
    /// Series of the whole federation, an assumption.
    pub series: u32,
    /// Most series of one merchant.
    pub series_per_merchant: u32,
    /// Privately trained parameters.
    pub dimension: u32,
    /// Rounds.
    pub rounds: u32,
    /// Target ε of the schedule, against the server with the assumed colluders.
    pub epsilon: f64,
    /// δ.
    pub delta: f64,
    /// First day of training.
    pub period_start: Day,
    /// Last day of training.
    pub period_end: Day,
}

/// Sampling rate of series in a round.
const SAMPLING_RATE: f64 = 0.25;
/// Clip norm of one series' gradient.
const CLIP: f64 = 0.1;
/// Fewest merchants: the default policy of a client accepts no smaller cohort.
const MERCHANTS_MIN: u16 = 4;
/// Rounding may cost this share of the sensitivity.
const ROUNDING_SHARE: f64 = 0.002;
/// Signal that a whole run needs, as [`strength`] measures it. Found by running worlds of several sizes; see
/// docs/RESULTS.md.
pub const STRENGTH_NEEDED: f64 = 3.0;

/// A complete plan for a size: σ is the smallest that keeps ε, the grid as fine as needed, the bits as few as safe.
///
/// # Errors
/// [`PlanError`] where no such plan exists, for instance fewer than four merchants.
pub fn propose(size: &Size) -> Result<PrivacyPlan, PlanError> {
    let n = size.merchants;
    if n < MERCHANTS_MIN {
        let why = format!("{n} merchants cannot hide one among them; at least {MERCHANTS_MIN} are needed");
        return Err(PlanError::Field { field: "rounds.cohort-max", why });
    }
    // One in six may drop out, one in ten may collude.
    let colluders = (n / 10).max(1);
    let survivors_min = (n - n / 6).max(2 * n / 3 + 1).min(n);
    let root_d = f64::from(size.dimension).sqrt();
    let units_per_clip = (root_d / ROUNDING_SHARE).ceil().min(f64::from(1u32 << 20)) as u32;
    let mut plan = PrivacyPlan {
        version: 1,
        name: size.name.clone(),
        privacy: PrivacyTarget { unit: size.unit, delta: size.delta, epsilon_cap: size.epsilon },
        bounds: ContributionBounds { order_lines: 8, series: 2, units: 40.0 },
        step: StepPlan {
            clip: CLIP,
            noise_multiplier: 1.0,
            sampling_rate: SAMPLING_RATE,
            windows_per_series: 4,
            assumed_series: size.series,
            series_per_merchant_max: size.series_per_merchant,
        },
        rounds: RoundPlan {
            count: size.rounds,
            cohort_max: n,
            survivors_min,
            colluders_assumed: colluders,
            period_start: size.period_start,
            period_end: size.period_end,
            submit_after_ms: 1_000,
            phase_deadline_ms: 60_000,
        },
        integers: IntegerPlan { units_per_clip, bits: 62 },
        optimizer: OptimizerPlan {
            rule: OptimizerRule::FedAdam,
            learning_rate: 0.01,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
            cosine: true,
            averaging: 0.9,
        },
    };
    let cost = plan.grid(size.dimension)?.rounding_cost(plan.change());
    let sigma = accountant::noise_multiplier_for(size.epsilon, size.delta, |sigma| {
        plan.schedule(sigma, size.rounds).expect("only σ varies, within what the bisection tries")
    })?;
    // The cap is met by σ after rounding is paid for; six digits keep the file readable and round upwards.
    plan.step.noise_multiplier = (sigma * cost * 1e6).ceil() / 1e6;
    plan.integers.bits = bits(&plan, size.dimension)?;
    plan.check()?;
    Ok(plan)
}

/// The fewest bits with which no sum of the run wraps around.
fn bits(plan: &PrivacyPlan, dimension: u32) -> Result<u8, GridError> {
    let units = f64::from(plan.integers.units_per_clip);
    let most = f64::from(plan.rounds.cohort_max) * f64::from(plan.step.series_per_merchant_max) * units;
    let honest = f64::from(plan.rounds.survivors_min - plan.rounds.colluders_assumed);
    let noise = plan.step.noise_multiplier * units * (f64::from(plan.rounds.cohort_max) / honest).sqrt();
    bits_needed(most, noise, dimension, plan.rounds.count)
}

/// Length that the sum of all sampled gradients could reach, were they all alike, over the length of the noise,
/// averaged over the run: √T · q·N / (σ·√d). On generated worlds of 48 to 1,008 series at ε = 8, rounds made forecasts
/// worse with one seed and better with another at 0.9 and 1.9, and better from 3.8 on.
pub fn strength(plan: &PrivacyPlan, dimension: u32) -> f64 {
    f64::from(plan.rounds.count).sqrt() * plan.step.sampling_rate * f64::from(plan.step.assumed_series)
        / (plan.step.noise_multiplier * f64::from(dimension).sqrt())
}

/// What to tell people about the size: is it large enough for its noise, and if not, which would be?
pub fn size_advice(plan: &PrivacyPlan, dimension: u32) -> String {
    let strength = strength(plan, dimension);
    let needed = (f64::from(plan.step.assumed_series) * STRENGTH_NEEDED / strength).ceil();
    if strength >= STRENGTH_NEEDED {
        format!(
            "{} series are enough for this noise: signal-to-noise {strength:.1} over the run, at least {STRENGTH_NEEDED} is needed, from about {needed:.0} series on.",
            plan.step.assumed_series
        )
    } else {
        format!(
            "{} series are too few for this noise: signal-to-noise {strength:.2} over the run, at least {STRENGTH_NEEDED} is needed; from about {needed:.0} series on, or with a larger ε, the federation can show a gain.",
            plan.step.assumed_series
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size() -> Size {
        Size {
            name: "test".into(),
            unit: PrivacyUnit::Customer,
            merchants: 12,
            series: 1008,
            series_per_merchant: 84,
            dimension: 400,
            rounds: 40,
            epsilon: 8.0,
            delta: 1e-6,
            period_start: "2024-01-01".parse().unwrap(),
            period_end: "2025-06-29".parse().unwrap(),
        }
    }

    #[test]
    fn a_proposed_plan_spends_its_epsilon_and_no_more() {
        let plan = propose(&size()).unwrap();
        let rows = plan.epsilon_rows(400, 40).unwrap();
        assert!(rows.server.epsilon <= 8.0 && rows.server.epsilon > 7.9, "{rows:?}");
    }

    #[test]
    fn fewer_series_weaken_the_signal_and_the_advice_says_how_many_would_do() {
        let large = propose(&size()).unwrap();
        let small = propose(&Size { series: 40, series_per_merchant: 4, ..size() }).unwrap();
        assert!(strength(&large, 400) > 20.0 * strength(&small, 400));
        assert!(size_advice(&small, 400).contains("too few"), "{}", size_advice(&small, 400));
    }

    #[test]
    fn three_merchants_are_refused() {
        assert!(propose(&Size { merchants: 3, ..size() }).is_err());
    }
}
