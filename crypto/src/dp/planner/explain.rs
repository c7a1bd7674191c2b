//! Why each number of a proposal is what it is.

use serde::Serialize;

use super::{ROUNDS, Request, SIGNAL_NEEDED};
use crate::dp::{
    filter::MerchantPolicy,
    plan::{NoiseMode, PlanError, PrivacyPlan},
    unit::PrivacyUnit,
};

/// One number and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The plan's field, dotted.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// In a line.
    pub why: String,
}

pub(super) fn choices(request: &Request, plan: &PrivacyPlan, signal: f64) -> Result<Vec<Choice>, PlanError> {
    let choice = |field, value: String, why: String| Choice { field, value, why };
    let (rounds, step, unit) = (&plan.rounds, &plan.step, plan.privacy.unit);
    let cost = plan.grid(request.dimension)?.rounding_cost() - 1.0;
    let asked = |given: bool, otherwise: String| if given { "as asked for".to_owned() } else { otherwise };
    let mut list = vec![
        choice(
            "step.noise-multiplier",
            step.noise_multiplier.to_string(),
            format!(
                "the least σ that keeps ε ≤ {} at δ = {:e} over {} releases, {:.2} % of it for rounding",
                plan.privacy.epsilon_cap,
                plan.privacy.delta,
                u64::from(rounds.count) * releases(plan),
                100.0 * cost
            ),
        ),
        choice(
            "rounds.count",
            rounds.count.to_string(),
            asked(
                request.rounds.is_some(),
                format!(
                    "the fewest of {ROUNDS:?} that come within 5 % of the best signal; more rounds need more noise in each, and hardly gain"
                ),
            ),
        ),
        choice(
            "step.sampling-rate",
            step.sampling_rate.to_string(),
            match unit {
                PrivacyUnit::Merchant => "the server chooses the cohort, so nothing is sampled in secret".into(),
                _ => asked(
                    request.sampling_rate.is_some(),
                    "each round sees a quarter; the total signal hardly depends on it, the computing does".into(),
                ),
            },
        ),
        choice(
            "rounds.survivors-min",
            rounds.survivors_min.to_string(),
            format!(
                "{} of {} merchants may vanish from a round; the noise is calibrated to those who stay, less the colluders",
                rounds.cohort_max - rounds.survivors_min,
                rounds.cohort_max
            ),
        ),
        choice(
            "rounds.colluders-assumed",
            rounds.colluders_assumed.to_string(),
            "merchants that may tell the server their noise; the others' shares make σ without them".into(),
        ),
        choice(
            "integers.units-per-clip",
            plan.integers.units_per_clip.to_string(),
            format!(
                "so fine that rounding {} parameters widens the sensitivity by {:.2} %",
                request.dimension,
                100.0 * cost
            ),
        ),
        choice(
            "integers.bits",
            plan.integers.bits.to_string(),
            format!(
                "the fewest with which no sum of the run wraps around, but for a chance of 2⁻⁴⁰, were all {} merchants there{}",
                rounds.cohort_max,
                match plan.local {
                    Some(_) => String::new(),
                    None => format!(", each with a sum as long as {} series can make it", step.series_per_merchant_max),
                }
            ),
        ),
        choice(
            "step.assumed-series",
            step.assumed_series.to_string(),
            "the public divisor is q times this; the true number is never asked for".into(),
        ),
        choice("step.clip", step.clip.to_string(), clip_reason(unit).into()),
    ];
    if unit == PrivacyUnit::Customer {
        let bounds = &plan.bounds;
        list.push(choice(
            "bounds.series",
            bounds.series.to_string(),
            format!(
                "σ grows with L, the products of which one customer's lines are used; beyond {} lines, {} products and {} units lines are left out",
                bounds.order_lines, bounds.series, bounds.units
            ),
        ));
    }
    if let Some(local) = plan.local {
        let why = match local.noise {
            NoiseMode::Local => {
                "each carries the whole noise and is counted: private even if secure aggregation failed, at √n times the noise"
            }
            NoiseMode::Distributed => {
                "without noise; only the clipped update is noised, which hides a merchant and nothing smaller by itself"
            }
        };
        list.push(choice("local.steps", local.steps.to_string(), why.into()));
    }
    if unit != PrivacyUnit::Merchant {
        let enough = if signal >= SIGNAL_NEEDED { "enough" } else { "NOT enough" };
        list.push(choice(
            "(signal to noise)",
            format!("{signal:.1}"),
            format!("over the whole run, {enough}: at least {SIGNAL_NEEDED} is needed"),
        ));
    }
    Ok(list)
}

/// Releases of one round.
fn releases(plan: &PrivacyPlan) -> u64 {
    plan.local.filter(|local| local.noise == NoiseMode::Local).map_or(1, |local| u64::from(local.steps))
}

fn clip_reason(unit: PrivacyUnit) -> &'static str {
    match unit {
        PrivacyUnit::Merchant => "norm of a merchant's whole update; the noise is a multiple of it",
        _ => "usual for the shipped models; the noise is a multiple of it, so ε does not depend on it",
    }
}

/// What an operator should know before using the plan.
pub(super) fn notes(plan: &PrivacyPlan, signal: f64) -> Vec<String> {
    let mut notes = Vec::new();
    let policy = MerchantPolicy::default();
    for floor in policy.floors(plan).into_iter().skip(1).filter(|floor| !floor.kept) {
        notes.push(format!(
            "merchants refuse it under the default policy: {}; each would have to allow it itself",
            floor.why
        ));
    }
    if plan.privacy.unit != PrivacyUnit::Merchant && signal < SIGNAL_NEEDED {
        notes.push(format!(
            "the signal is expected to drown ({signal:.2} < {SIGNAL_NEEDED}): forecasts may get worse than without federation"
        ));
    }
    if plan.privacy.unit == PrivacyUnit::Series {
        notes.push("the series unit protects what one product sold, not the people who bought it".into());
    }
    if plan.rounds.survivors_min == plan.rounds.cohort_max {
        notes.push("nobody may vanish: a round with one merchant missing is abandoned, and charged".into());
    }
    if plan.rounds.colluders_assumed == 0 {
        notes
            .push("no merchant is assumed to collude: one that tells the server its noise lowers the guarantee".into());
    }
    notes
}
