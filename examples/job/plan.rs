//! A plan for a federation of a given size, proposed by the planner that operators use.
//!
//! What differs here: the sizes are those of data at hand, and a world that is too small is run all the same and said to
//! be, because seeing that is what a demonstration is for.

use forecastle_crypto::dp::{
    plan::{Day, PrivacyPlan},
    planner::{self, Refused, Request, SIGNAL_NEEDED, signal_to_noise},
    unit::PrivacyUnit,
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
    /// More merchants than a server can conduct are fine: nothing is sent.
    pub simulation: bool,
}

/// A complete plan for a size, however little signal it leaves.
///
/// # Errors
/// [`Refused`] where no such plan exists, for instance fewer than four merchants.
pub fn propose(size: &Size) -> Result<PrivacyPlan, Refused> {
    let request = Request {
        name: size.name.clone(),
        unit: size.unit,
        epsilon: size.epsilon,
        delta: size.delta,
        assumed_series: size.series,
        series_per_merchant_max: size.series_per_merchant,
        rounds: Some(size.rounds),
        despite_weak_signal: true,
        simulation: size.simulation,
        ..Request::new(u32::from(size.merchants), 1, size.dimension, size.period_start, size.period_end)
    };
    Ok(planner::propose(&request)?.plan)
}

/// What to tell people about the size: is it large enough for its noise, and if not, which would be?
pub fn size_advice(plan: &PrivacyPlan, dimension: u32) -> String {
    let strength = signal_to_noise(plan, dimension);
    let (who, count) = match plan.privacy.unit {
        PrivacyUnit::Merchant => ("merchants", u32::from(plan.rounds.cohort_max)),
        PrivacyUnit::Customer | PrivacyUnit::Series => ("series", plan.step.assumed_series),
    };
    let needed = (f64::from(count) * SIGNAL_NEEDED / strength).ceil();
    if strength >= SIGNAL_NEEDED {
        format!(
            "{count} {who} are enough for this noise: signal-to-noise {strength:.1} over the run, at least {SIGNAL_NEEDED} is needed, from about {needed:.0} {who} on."
        )
    } else {
        format!(
            "{count} {who} are too few for this noise: signal-to-noise {strength:.2} over the run, at least {SIGNAL_NEEDED} is needed; from about {needed:.0} {who} on, or with a larger ε, the federation can show a gain."
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
            simulation: false,
        }
    }

    #[test]
    fn a_proposed_plan_spends_its_epsilon_and_no_more() {
        let plan = propose(&size()).unwrap();
        let rows = plan.epsilon_rows(400, 40).unwrap();
        assert!(rows.server.epsilon <= 8.0 && rows.server.epsilon > 7.9, "{rows:?}");
    }

    #[test]
    fn a_size_that_is_too_small_is_planned_and_the_advice_says_how_many_series_would_do() {
        let small = propose(&Size { series: 40, series_per_merchant: 4, ..size() }).unwrap();
        assert!(size_advice(&small, 400).contains("too few"), "{}", size_advice(&small, 400));
        assert!(!size_advice(&propose(&size()).unwrap(), 400).contains("too few"));
    }

    #[test]
    fn three_merchants_are_refused_by_name() {
        let error = propose(&Size { merchants: 3, ..size() }).unwrap_err().to_string();
        assert!(error.contains("3 merchants") && error.contains("4 merchants would do"), "{error}");
    }
}
