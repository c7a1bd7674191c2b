//! ε and δ of an event, and the noise that a target needs.
//!
//! Invariant: no returned ε, δ or noise multiplier claims more privacy than the event's dominating pairs prove. Where
//! a result cannot be tight (little noise, a great many steps) it is larger, never smaller.
//!
//! Releases without sub-sampling are merged into one Gaussian and, alone, counted in closed form
//! ([`super::gaussian`]). Anything else is discretised ([`super::pld`]) and composed ([`super::convolution`]) twice:
//! every release in the order (with the unit, without it), and every release in the other order. The larger ε holds
//! for both neighbours. Orders are never mixed inside one composition, because the data set that holds the unit holds
//! it in every step.
//!
//! Left out on purpose: deciding what may be spent ([`super::filter`]), and adaptively chosen *parameters*, for which a
//! fixed schedule or a filter is needed.

use serde::{Deserialize, Serialize};

use super::{
    event::{DpEvent, EventError},
    pld::MassError,
    releases::Releases,
};

/// The most different releases (equal ones are merged) in one event.
pub const DISTINCT_MAX: usize = 256;
/// How close to the least possible noise [`noise_multiplier_for`] comes, relatively.
const NOISE_TOLERANCE: f64 = 1e-6;

/// What an event costs at some δ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Upper bound on ε from privacy loss distributions (closed form for Gaussian releases): the one to rely on.
    pub epsilon: f64,
    /// Upper bound on ε from Rényi divergences, looser and computed independently; `None` where no order was feasible.
    pub epsilon_rdp: Option<f64>,
}

/// Why an event was not counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AccountingError {
    /// δ is no probability below 1, or zero, or below 1e-200.
    #[error("δ must lie strictly between 0 and 1, and not below 1e-200 (1e-6 is usual): {0} does not")]
    Delta(f64),
    /// ε is negative or not a number.
    #[error("ε must be zero or a positive number, not {0}")]
    Epsilon(f64),
    /// The event itself is malformed.
    #[error(transparent)]
    Event(#[from] EventError),
    /// More different releases than are composed at once.
    #[error("the event mixes {0} different releases; at most {DISTINCT_MAX} can be composed")]
    TooManyDistinct(usize),
    /// Losses so large that no grid holds them.
    #[error(
        "so little noise cannot be accounted for: the privacy loss has no useful bound; raise the noise multiplier"
    )]
    TooLittleNoise,
    /// A defect of this accountant.
    #[error("the accountant failed its own check and gives no ε: {0}")]
    Numerical(#[from] MassError),
    /// No noise multiplier was found.
    #[error("no noise multiplier between {least:e} and {greatest:e} reaches ε = {target}")]
    Unreachable {
        /// ε asked for.
        target: f64,
        /// Least multiplier tried.
        least: f64,
        /// Greatest multiplier tried.
        greatest: f64,
    },
}

/// The cost of `event` at `delta`.
///
/// # Errors
/// [`AccountingError`] where a number is out of range, or the noise so little that no finite ε was found. A returned ε
/// is always finite.
pub fn epsilon(event: &DpEvent, delta: f64) -> Result<Spent, AccountingError> {
    check_delta(delta)?;
    let releases = Releases::of(event)?;
    Ok(Spent { epsilon: releases.epsilon(delta)?, epsilon_rdp: releases.renyi().epsilon(delta) })
}

/// An upper bound on δ of `event` at `epsilon`.
///
/// # Errors
/// As [`epsilon`].
pub fn delta(event: &DpEvent, epsilon: f64) -> Result<f64, AccountingError> {
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(AccountingError::Epsilon(epsilon));
    }
    Releases::of(event)?.delta(epsilon)
}

/// The least σ for which `event_of(σ)` costs at most `target_epsilon` at `delta`, to a relative 1e-6; at the σ that is
/// returned the target was evaluated and kept.
///
/// `event_of` must become more private with σ; it is asked about σ between 1e-6 and 1e12.
///
/// # Errors
/// [`AccountingError::Unreachable`] where no σ in that range reaches the target, or every σ does.
pub fn noise_multiplier_for(
    target_epsilon: f64,
    delta: f64,
    event_of: impl Fn(f64) -> DpEvent,
) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    if !(target_epsilon > 0.0 && target_epsilon.is_finite()) {
        return Err(AccountingError::Epsilon(target_epsilon));
    }
    // ln ε(σ) − ln target, kept finite, as a function of ln σ.
    let excess = |ln_sigma: f64| -> Result<f64, AccountingError> {
        let spent = match Releases::of(&event_of(ln_sigma.exp()))?.epsilon(delta) {
            Err(AccountingError::TooLittleNoise) => f64::INFINITY,
            other => other?,
        };
        Ok(spent.clamp(1e-200, 1e200).ln() - target_epsilon.ln())
    };
    let (least, greatest) = (1e-6_f64.ln(), 1e12_f64.ln());
    let unreachable =
        AccountingError::Unreachable { target: target_epsilon, least: least.exp(), greatest: greatest.exp() };
    // Bracket: `low` costs too much, `high` does not. ε falls about as 1/σ or faster, so the excess itself is a fair
    // step.
    let first = excess(0.0)?;
    let (mut low, mut high) = ((0.0, first), (0.0, first));
    while high.1 > 0.0 {
        low = high;
        let next = (high.0 + high.1.clamp(0.1, 6.0) * 1.05).min(greatest);
        if next <= high.0 {
            return Err(unreachable);
        }
        high = (next, excess(next)?);
    }
    while low.1 <= 0.0 {
        high = low;
        let next = (low.0 + low.1.clamp(-1.0, -0.1) * 1.05).max(least);
        if next >= low.0 {
            return Err(unreachable);
        }
        low = (next, excess(next)?);
    }
    // Regula falsi; where one end stays put, the other's close neighbour is tried, so that the bracket really closes.
    while high.0 - low.0 > NOISE_TOLERANCE {
        let secant = low.0 + (high.0 - low.0) * (low.1 / (low.1 - high.1)).clamp(0.0, 1.0);
        let (near_low, near_high) = (secant - low.0, high.0 - secant);
        let inset = (0.9 * NOISE_TOLERANCE).min(0.5 * (high.0 - low.0));
        let at = if near_high <= inset {
            high.0 - inset
        } else if near_low <= inset {
            low.0 + inset
        } else {
            secant
        };
        let value = excess(at)?;
        if value > 0.0 {
            // Illinois: a stale end counts half.
            low = (at, value);
            high.1 *= 0.5;
        } else {
            high = (at, value);
            low.1 *= 0.5;
        }
    }
    Ok(high.0.exp())
}

fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if (1e-200..1.0).contains(&delta) { Ok(()) } else { Err(AccountingError::Delta(delta)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dp::{
        gaussian,
        mixture::MixturePair,
        releases::on_grid,
        unit::{NeighboringRelation, PrivacyUnit},
    };
    use proptest::prelude::*;

    fn gaussian_mu(mu: f64) -> DpEvent {
        DpEvent::Gaussian { noise_multiplier: 1.0 / mu }
    }

    /// Gaussians counted through the grid instead of in closed form.
    fn through_the_grid(mu: f64, count: u64, delta: f64) -> f64 {
        on_grid(&[(MixturePair::gaussian(mu), count)], 1e-25, &|composition| composition.epsilon(delta)).unwrap()
    }

    #[test]
    fn composed_gaussians_on_the_grid_exceed_the_closed_form_by_little() {
        for (mu, count, delta) in [
            (1.0, 1, 1e-5),
            (0.05, 1000, 1e-6),
            (0.02, 2000, 1e-12),
            (0.01, 100_000, 1e-8),
            (2.0, 30, 1e-5),
            (5.0, 40, 1e-9),
        ] {
            let exact = gaussian::epsilon(mu * (count as f64).sqrt(), delta);
            let grid = through_the_grid(mu, count, delta);
            assert!(grid >= exact, "{mu} {count}: {grid} < {exact}");
            assert!(grid <= exact * (1.0 + 1e-4) + 2e-5, "{mu} {count}: {grid} ≫ {exact}");
        }
    }

    #[test]
    fn large_epsilon_and_tiny_delta_stay_sound() {
        // ε of some thousands at δ = 1e-12, against the closed form.
        let exact = gaussian::epsilon(60.0, 1e-12);
        let grid = through_the_grid(6.0, 100, 1e-12);
        assert!(exact > 2000.0 && grid >= exact && grid < exact * 1.001, "{grid} {exact}");
        let step = DpEvent::step(PrivacyUnit::Customer, 0.2, 10, 0.05).unwrap().times(100);
        let spent = epsilon(&step, 1e-12).unwrap();
        assert!(spent.epsilon > 1000.0);
    }

    #[test]
    fn sampling_with_probability_one_is_the_gaussian_exactly() {
        let delta = 1e-6;
        let with = |event: DpEvent| epsilon(&event.times(7), delta).unwrap().epsilon;
        let sigma = 3.0;
        assert_eq!(with(DpEvent::step(PrivacyUnit::Series, 1.0, 1, sigma).unwrap()), with(gaussian_mu(1.0 / sigma)));
        let replace = DpEvent::PoissonSubsampledGaussian {
            sampling_rate: 1.0,
            noise_multiplier: sigma,
            relation: NeighboringRelation::Replace,
        };
        assert!((with(replace) / with(gaussian_mu(2.0 / sigma)) - 1.0).abs() < 1e-12);
        let customer = DpEvent::step(PrivacyUnit::Customer, 1.0, 4, sigma).unwrap();
        assert!((with(customer) / with(gaussian_mu(8.0 / sigma)) - 1.0).abs() < 1e-12);
        let nearly = DpEvent::step(PrivacyUnit::Series, 1.0 - 1e-9, 1, sigma).unwrap();
        assert!((with(nearly) / with(gaussian_mu(1.0 / sigma)) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn a_customer_of_one_series_costs_what_its_replacement_costs() {
        let customer = DpEvent::step(PrivacyUnit::Customer, 0.05, 1, 2.0).unwrap().times(100);
        let replaced = DpEvent::PoissonSubsampledGaussian {
            sampling_rate: 0.05,
            noise_multiplier: 2.0,
            relation: NeighboringRelation::Replace,
        }
        .times(100);
        assert_eq!(epsilon(&customer, 1e-6), epsilon(&replaced, 1e-6));
    }

    #[test]
    fn nothing_released_costs_nothing() {
        let none = gaussian_mu(1.0).times(0);
        assert_eq!(epsilon(&none, 1e-6).unwrap().epsilon, 0.0);
        assert_eq!(epsilon(&DpEvent::Composed { events: vec![] }, 1e-6).unwrap().epsilon, 0.0);
        assert_eq!(delta(&none, 0.0).unwrap(), 0.0);
    }

    #[test]
    fn a_customer_that_vanishes_with_its_series_costs_less_than_one_whose_series_change() {
        // Published values of the one-sided mixture (google's dp_accounting): 5 series, q = 0.01, σ = 2, T = 2000; and
        // 3 series, q = 0.05, σ = 8, T = 500; both at δ = 1e-6.
        for (touched, q, sigma, steps, published) in
            [(5, 0.01, 2.0, 2000, 6.157_564_222_889), (3, 0.05, 8.0, 500, 1.889_012_835_859)]
        {
            let worst = [MixturePair::removal, MixturePair::addition]
                .map(|order| {
                    let pairs = [(order(touched, q, sigma, 1e-22), steps)];
                    on_grid(&pairs, 1e-22, &|composition| composition.epsilon(1e-6)).unwrap()
                })
                .into_iter()
                .fold(0.0, f64::max);
            assert!((worst / published - 1.0).abs() < 1e-4, "{worst} {published}");
            let changed = DpEvent::step(PrivacyUnit::Customer, q, touched, sigma).unwrap().times(steps);
            assert!(epsilon(&changed, 1e-6).unwrap().epsilon > worst);
        }
    }

    #[test]
    fn order_and_nesting_of_a_composition_do_not_matter() {
        let (a, b) = (
            DpEvent::step(PrivacyUnit::Series, 0.02, 1, 1.2).unwrap(),
            DpEvent::step(PrivacyUnit::Customer, 0.01, 3, 2.0).unwrap(),
        );
        let flat = DpEvent::Composed { events: vec![a.clone().times(20), gaussian_mu(0.1), b.clone().times(10)] };
        let inner = DpEvent::Composed { events: vec![b, a.clone().times(2)] }.times(10);
        let nested = DpEvent::Composed { events: vec![inner, gaussian_mu(0.1)] };
        assert_eq!(epsilon(&flat, 1e-7), epsilon(&nested, 1e-7));
    }

    #[test]
    fn delta_and_epsilon_are_inverse_to_each_other() {
        for event in [
            DpEvent::step(PrivacyUnit::Series, 0.01, 1, 1.0).unwrap().times(1000),
            DpEvent::step(PrivacyUnit::Customer, 0.05, 3, 8.0).unwrap().times(200),
            gaussian_mu(0.8),
        ] {
            for target in [1e-3, 1e-6, 1e-12] {
                let eps = epsilon(&event, target).unwrap().epsilon;
                let back = delta(&event, eps).unwrap();
                assert!((back / target - 1.0).abs() < 1e-4, "{back} {target}");
            }
        }
    }

    #[test]
    fn impossible_questions_are_refused() {
        let event = gaussian_mu(1.0);
        for bad in [0.0, 1.0, -1e-6, f64::NAN] {
            assert!(matches!(epsilon(&event, bad), Err(AccountingError::Delta(_))));
        }
        assert!(matches!(delta(&event, -1.0), Err(AccountingError::Epsilon(_))));
        let free = noise_multiplier_for(1.0, 1e-6, |sigma| DpEvent::Gaussian { noise_multiplier: sigma }.times(0));
        assert!(matches!(free, Err(AccountingError::Unreachable { .. })));
        let kinds =
            (0..=DISTINCT_MAX).map(|k| DpEvent::step(PrivacyUnit::Series, 0.1, 1, 1.0 + k as f64).unwrap()).collect();
        let mixed = DpEvent::Composed { events: kinds };
        assert_eq!(epsilon(&mixed, 1e-6), Err(AccountingError::TooManyDistinct(DISTINCT_MAX + 1)));
    }

    #[test]
    fn the_planned_noise_keeps_its_target_and_hardly_less_would() {
        let event = |sigma| DpEvent::step(PrivacyUnit::Customer, 0.05, 3, sigma).unwrap().times(60);
        let sigma = noise_multiplier_for(4.0, 1e-6, event).unwrap();
        assert!(epsilon(&event(sigma), 1e-6).unwrap().epsilon <= 4.0);
        assert!(epsilon(&event(sigma * (1.0 - 1e-4)), 1e-6).unwrap().epsilon > 4.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4))]
        #[test]
        fn privacy_only_degrades_with_more_steps_sampling_or_series_and_less_noise(
            q in 0.002_f64..0.3, sigma in 0.8_f64..6.0, touched in 1_u32..6, steps in 1_u64..300,
        ) {
            let cost = |q: f64, sigma: f64, touched: u32, steps: u64| {
                let event = DpEvent::step(PrivacyUnit::Customer, q, touched, sigma).unwrap().times(steps);
                epsilon(&event, 1e-6).unwrap()
            };
            let base = cost(q, sigma, touched, steps);
            let above = base.epsilon * (1.0 - 1e-3) - 1e-6;
            prop_assert!(cost(q * 1.1, sigma, touched, steps).epsilon >= above);
            prop_assert!(cost(q, sigma / 1.1, touched, steps).epsilon >= above);
            prop_assert!(cost(q, sigma, touched + 1, steps).epsilon >= above);
            prop_assert!(cost(q, sigma, touched, steps + 10).epsilon >= above);
            prop_assert!(base.epsilon_rdp.is_none_or(|rdp| rdp >= base.epsilon * (1.0 - 1e-4)));
        }
    }
}
