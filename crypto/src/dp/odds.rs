//! ε and δ in words that need no mathematics: odds, right guesses, detections.
//!
//! An observer wonders whether one unit's data are in the data set or not, and looks at everything that was released.
//!
//! *From (ε, δ) alone.* Whatever the mechanism, such an observer learns no more than from a device that tells the
//! truth with probability δ and otherwise gives an answer that is right with odds e^ε : 1 (Kairouz, Oh, Viswanath 2015,
//! "The composition theorem for differential privacy", theorem 3.4: any (ε, δ)-private pair of outputs can be
//! simulated from the device's). So prior odds grow by the factor e^ε at most, unless the device tells the truth, an
//! accident of probability δ in which anything may be learnt. (The observer cannot tell an accident from the rest: odds
//! *worked out from the output* may pass e^ε more often than that. They pass 2e^ε with probability 2δ at most.) And a test with false-alarm rate α detects with probability at most
//! min(e^ε·α + δ, 1 − e^−ε·(1 − δ − α)) (Wasserman, Zhou 2010; Kairouz et al., theorem 2.1).
//!
//! *From the event.* The whole privacy profile ε ↦ δ(ε) holds at once, and each of its points bounds every test; the
//! least bound counts ([`detection_rate`], [`right_guesses`]). This is what a person should be told: at ε = 8 the odds
//! of the first kind sound like certainty, although no test reaches it.
//!
//! Invariant: nothing here is smaller than the truth for the worst pair of neighbouring data sets. Left out on purpose:
//! attacks that were really tried (the empirical audit), and observers who ask about more than one unit.

use serde::Serialize;

use super::{
    accountant::{self, AccountingError, Spent},
    event::DpEvent,
};

/// A guarantee, ready to be put into words.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Odds {
    epsilon: f64,
    delta: f64,
}

/// Why there are no odds.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OddsError {
    /// ε is negative or not a number.
    #[error("ε must be zero or a positive number, not {0}")]
    Epsilon(f64),
    /// δ is no probability below 1.
    #[error("δ must be at least 0 and less than 1, not {0}")]
    Delta(f64),
    /// A probability that is none.
    #[error("a probability lies between 0 and 1; {0} does not")]
    Probability(f64),
}

impl Odds {
    /// The guarantee (ε, δ).
    ///
    /// # Errors
    /// [`OddsError`] where a number is out of range.
    pub fn new(epsilon: f64, delta: f64) -> Result<Self, OddsError> {
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(OddsError::Epsilon(epsilon));
        }
        if !(0.0..1.0).contains(&delta) {
            return Err(OddsError::Delta(delta));
        }
        Ok(Self { epsilon, delta })
    }

    /// The factor e^ε by which prior odds grow at most, apart from an accident of probability δ. Infinite beyond ε ≈ 709.
    pub fn factor(&self) -> f64 {
        self.epsilon.exp()
    }

    /// The greatest probability that an observer who believed `prior` may come to hold, apart from an accident of probability δ.
    ///
    /// # Errors
    /// [`OddsError::Probability`] where `prior` is none.
    pub fn posterior(&self, prior: f64) -> Result<f64, OddsError> {
        let prior = probability(prior)?;
        // p·e^ε / (1 − p + p·e^ε), written so that e^ε never overflows.
        Ok(if prior == 0.0 { 0.0 } else { prior / (prior + (1.0 - prior) * (-self.epsilon).exp()) })
    }

    /// The greatest share of right guesses from even odds: δ + (1 − δ)·e^ε/(1 + e^ε).
    pub fn right_guesses(&self) -> f64 {
        self.delta + (1.0 - self.delta) / (1.0 + (-self.epsilon).exp())
    }

    /// The greatest rate at which a test detects the unit, when it raises a false alarm in `false_alarms` of the cases
    /// without it.
    ///
    /// # Errors
    /// [`OddsError::Probability`] where `false_alarms` is none.
    pub fn detection_rate(&self, false_alarms: f64) -> Result<f64, OddsError> {
        Ok(power(self.epsilon, self.delta, probability(false_alarms)?))
    }
}

/// What one observer can do, from the whole privacy profile of what was released.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Exposure {
    /// ε at the δ asked for, and the second opinion.
    pub spent: Spent,
    /// e^ε: even odds become at most this to 1, apart from an accident of probability δ.
    pub odds: f64,
    /// Greatest share of right guesses from even odds, 0.5 to 1.
    pub right_guesses: f64,
    /// Greatest detection rate at the false-alarm rate asked for.
    pub detection_rate: f64,
    /// That false-alarm rate.
    pub false_alarms: f64,
}

/// Everything this module says about `event`, at `delta` and the false-alarm rate `false_alarms`.
///
/// # Errors
/// [`AccountingError`] as the accountant's; `false_alarms` outside 0..=1 counts as the nearer end.
pub fn exposure(event: &DpEvent, delta: f64, false_alarms: f64) -> Result<Exposure, AccountingError> {
    let spent = accountant::epsilon(event, delta)?;
    let false_alarms = false_alarms.clamp(0.0, 1.0);
    Ok(Exposure {
        spent,
        odds: spent.epsilon.exp(),
        right_guesses: right_guesses(event)?,
        detection_rate: detection_rate_within(event, false_alarms, spent.epsilon, delta)?,
        false_alarms,
    })
}

/// The greatest share of right guesses from even odds: (1 + δ(0))/2, half of one plus the total variation distance.
///
/// # Errors
/// [`AccountingError`] as the accountant's.
pub fn right_guesses(event: &DpEvent) -> Result<f64, AccountingError> {
    Ok(f64::midpoint(1.0, accountant::delta(event, 0.0)?.min(1.0)))
}

/// The greatest rate at which any test detects the unit with false-alarm rate `false_alarms`: the least of the bounds
/// that points (ε, δ(ε)) of the profile give. More points could only lower it.
///
/// # Errors
/// [`AccountingError`] as the accountant's.
pub fn detection_rate(event: &DpEvent, false_alarms: f64) -> Result<f64, AccountingError> {
    let spent = accountant::epsilon(event, 1e-9)?.epsilon;
    detection_rate_within(event, false_alarms.clamp(0.0, 1.0), spent, 1e-9)
}

/// Golden-section search between ε = 0 and an ε at which δ no longer matters. The bound need not be unimodal for the
/// result to hold: every point evaluated is a bound.
fn detection_rate_within(event: &DpEvent, false_alarms: f64, epsilon: f64, delta: f64) -> Result<f64, AccountingError> {
    const RATIO: f64 = 0.618_033_988_749_895;
    let bound = |at: f64| Ok::<f64, AccountingError>(power(at, accountant::delta(event, at)?.min(1.0), false_alarms));
    let mut least = power(epsilon, delta, false_alarms).min(bound(0.0)?);
    let (mut low, mut high) = (0.0, epsilon);
    let (mut left, mut right) = (high - RATIO * (high - low), low + RATIO * (high - low));
    let (mut at_left, mut at_right) = (bound(left)?, bound(right)?);
    for _ in 0..14 {
        least = least.min(at_left).min(at_right);
        if at_left <= at_right {
            (high, right, at_right) = (right, left, at_left);
            left = high - RATIO * (high - low);
            at_left = bound(left)?;
        } else {
            (low, left, at_left) = (left, right, at_right);
            right = low + RATIO * (high - low);
            at_right = bound(right)?;
        }
    }
    Ok(least.min(at_left).min(at_right).max(false_alarms))
}

/// The greatest power of a test of size α against an (ε, δ)-private release.
fn power(epsilon: f64, delta: f64, alpha: f64) -> f64 {
    let steep = epsilon.exp() * alpha + delta;
    let flat = 1.0 - (-epsilon).exp() * (1.0 - delta - alpha);
    // 0·∞ at α = 0 and a huge ε: the size being 0, only δ is left.
    let steep = if steep.is_nan() { delta } else { steep };
    steep.min(flat).clamp(alpha, 1.0)
}

fn probability(value: f64) -> Result<f64, OddsError> {
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err(OddsError::Probability(value)) }
}

/// `odds` : 1 as people read it, rounded up: 1.7, 12, 2,981, "more than a million".
pub fn to_one(odds: f64) -> String {
    match odds {
        o if o > 999_999.0 => "more than a million".into(),
        o if o > 999.0 => {
            let whole = o.ceil() as u32;
            format!("{},{:03}", whole / 1000, whole % 1000)
        }
        o if o > 9.9 => format!("{:.0}", o.ceil()),
        o => format!("{:.1}", up(10.0 * o) / 10.0),
    }
}

/// A share of cases as people read it, rounded up: `37 %`, `3.2 %`, `99.97 %`, and `100 %` only where it is.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    match percent {
        p if p >= 100.0 => "100 %".into(),
        p if p > 99.99 => "more than 99.99 %".into(),
        p if p > 99.0 => format!("{:.2} %", up(100.0 * p) / 100.0),
        p if p > 9.9 => format!("{:.0} %", up(p)),
        p => format!("{} %", up(10.0 * p) / 10.0),
    }
}

/// The next integer, but for what floating point adds to one.
fn up(value: f64) -> f64 {
    (value - 1e-9 * value.abs()).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dp::unit::PrivacyUnit;
    use proptest::prelude::*;

    #[test]
    fn numbers_out_of_range_have_no_odds() {
        for (epsilon, delta) in [(-1.0, 0.0), (f64::NAN, 0.0), (f64::INFINITY, 0.0), (1.0, 1.0), (1.0, -0.1)] {
            assert!(Odds::new(epsilon, delta).is_err(), "{epsilon} {delta}");
        }
        let odds = Odds::new(1.0, 0.0).unwrap();
        assert_eq!(odds.posterior(1.5), Err(OddsError::Probability(1.5)));
        assert!(odds.detection_rate(-0.1).is_err());
    }

    #[test]
    fn ln_3_makes_three_to_one_of_even_odds() {
        let odds = Odds::new(3f64.ln(), 0.0).unwrap();
        assert!((odds.factor() - 3.0).abs() < 1e-12);
        assert!((odds.posterior(0.5).unwrap() - 0.75).abs() < 1e-12);
        assert!((odds.right_guesses() - 0.75).abs() < 1e-12);
        assert!((odds.detection_rate(0.05).unwrap() - 0.15).abs() < 1e-12);
        // Where false alarms are frequent, the other branch: 1 − (1 − 0.6)/3.
        assert!((odds.detection_rate(0.6).unwrap() - (1.0 - 0.4 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn the_profile_of_a_gaussian_gives_the_power_of_the_best_test() {
        // N(0,1) against N(μ,1), Neyman–Pearson: power Φ(Φ⁻¹(α) + μ); Φ⁻¹(0.05) = −1.6448536; best guesses Φ(μ/2).
        let phi = |x: f64| 0.5 * libm::erfc(-x / 2f64.sqrt());
        for mu in [0.3, 1.0, 2.5] {
            let event = DpEvent::Gaussian { noise_multiplier: 1.0 / mu };
            let exact = phi(-1.644_853_626_951_472_6 + mu);
            let bound = detection_rate(&event, 0.05).unwrap();
            assert!(bound >= exact - 1e-9 && bound < exact + 0.01, "μ = {mu}: {bound} {exact}");
            let guesses = right_guesses(&event).unwrap();
            assert!(guesses >= phi(mu / 2.0) - 1e-9 && guesses < phi(mu / 2.0) + 1e-6, "μ = {mu}: {guesses}");
        }
    }

    #[test]
    fn the_profile_says_more_than_one_point_of_it() {
        let event = DpEvent::step(PrivacyUnit::Customer, 0.25, 2, 4.1).unwrap().times(40);
        let exposure = exposure(&event, 1e-6, 0.05).unwrap();
        let point = Odds::new(exposure.spent.epsilon, 1e-6).unwrap();
        assert!(exposure.detection_rate < 0.9 * point.detection_rate(0.05).unwrap(), "{exposure:?}");
        assert!(exposure.right_guesses < point.right_guesses());
        assert!(exposure.right_guesses > 0.5 && exposure.detection_rate > 0.05);
    }

    #[test]
    fn odds_and_shares_never_round_to_certainty() {
        assert_eq!(to_one(1.64), "1.7");
        assert_eq!(to_one(2.0), "2.0");
        assert_eq!(to_one(2980.96), "2,981");
        assert_eq!(to_one(999.5), "1,000");
        assert_eq!(to_one(f64::INFINITY), "more than a million");
        assert_eq!(percent(0.99999), "more than 99.99 %");
        assert_eq!(percent(0.364), "37 %");
        assert_eq!(percent(0.05), "5 %");
        assert_eq!(percent(0.0312), "3.2 %");
        assert_eq!(percent(1.0), "100 %");
    }

    proptest! {
        #[test]
        fn bounds_are_probabilities_and_grow_with_epsilon_and_delta(
            epsilon in 0.0_f64..50.0, delta in 0.0_f64..0.5, alpha in 0.0_f64..=1.0, prior in 0.0_f64..=1.0,
        ) {
            let odds = Odds::new(epsilon, delta).unwrap();
            let more = Odds::new(epsilon + 0.5, (delta + 0.1).min(0.99)).unwrap();
            for (value, larger, least) in [
                (odds.posterior(prior).unwrap(), more.posterior(prior).unwrap(), prior),
                (odds.right_guesses(), more.right_guesses(), 0.5),
                (odds.detection_rate(alpha).unwrap(), more.detection_rate(alpha).unwrap(), alpha),
            ] {
                prop_assert!((least - 1e-12..=1.0).contains(&value), "{value} {least}");
                prop_assert!(larger >= value - 1e-12);
            }
        }
    }
}
