//! What a privacy guarantee lets an observer conclude, in probabilities.
//!
//! Single guarantees are put into odds by [`forecastle_crypto::dp::odds`]; here many points (ε, δ(ε)) of one profile are
//! brought together, and changes of odds of any size are bounded.
//!
//! Invariant: every figure is an upper bound on what *any* observer can reach, whatever it knows of everybody else; it
//! is computed from points that all hold, so more points can only make it smaller, never wrong.
//!
//! The chance of a larger change: δ(ε) bounds E[(1 − e^{ε−L})₊] for the privacy loss L, hence
//! Pr[L > ε + t] ≤ δ/(1 − e^{−t}); at t = ln 2, Pr[odds change by more than 2e^ε] ≤ 2δ. That the loss itself exceeded ε
//! with probability at most δ does not follow.

use forecastle_crypto::dp::odds::Odds;
use serde::Serialize;

/// False positive rates for which the best true positive rate is given.
pub const FALSE_POSITIVE_RATES: [f64; 3] = [0.05, 0.01, 0.001];
/// Beliefs for which is given what may become of them.
pub const BELIEFS: [f64; 4] = [0.5, 0.1, 0.01, 0.001];

/// One guarantee: (ε, δ).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// ε.
    pub epsilon: f64,
    /// δ at this ε.
    pub delta: f64,
}

/// Factors for which is given how likely odds change by more.
pub const FACTORS: [f64; 4] = [3.0, 10.0, 100.0, 1000.0];

/// What one guarantee, or a whole profile, allows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conclusions {
    /// ε of the stated guarantee.
    pub epsilon: f64,
    /// δ of the stated guarantee.
    pub delta: f64,
    /// e^ε: by which factor odds may grow or shrink; none where it is too large for a number.
    pub factor: Option<f64>,
    /// Twice δ: an upper bound on the chance that they change by more than twice that factor.
    pub larger_change: f64,
    /// How likely odds move towards the truth by more than a factor, at most.
    pub changes: Vec<Change>,
    /// Of guesses between two equally likely cases, the share that can be right at best.
    pub right_guesses: f64,
    /// How many of those whose data were used can be found at best, by the share of the others that is accused wrongly.
    pub found: Vec<Found>,
    /// What may become of a belief, apart from the chance above.
    pub beliefs: Vec<Belief>,
}

/// A factor and how likely it is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// By which odds move towards the truth.
    pub factor: f64,
    /// The largest chance that they move by more.
    pub chance: f64,
}

/// A point of the trade-off between wrong and right accusations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Found {
    /// α: false positives among those whose data were not used.
    pub false_positives: f64,
    /// The largest true positive rate.
    pub true_positives: f64,
}

/// A belief that someone's data were used, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Belief {
    /// Probability before.
    pub before: f64,
    /// The greatest probability after.
    pub at_most: f64,
    /// The least probability after.
    pub at_least: f64,
}

impl Conclusions {
    /// What (ε, δ) and further points of the same profile allow. `epsilon` is not negative, `delta` in [0, 1).
    pub fn of(stated: Point, profile: &[Point]) -> Self {
        let Point { epsilon, delta } = stated;
        let best = |of: &dyn Fn(Point) -> f64| {
            profile.iter().copied().chain([stated]).map(of).fold(1.0, f64::min).clamp(0.0, 1.0)
        };
        Self {
            epsilon,
            delta,
            factor: Some(epsilon.exp()).filter(|factor| factor.is_finite()),
            larger_change: (2.0 * delta).min(1.0),
            changes: FACTORS
                .into_iter()
                .map(|factor| Change { factor, chance: best(&|point| larger_change(point, factor)) })
                .collect(),
            right_guesses: best(&right_guesses),
            found: FALSE_POSITIVE_RATES
                .into_iter()
                .map(|alpha| Found {
                    false_positives: alpha,
                    true_positives: best(&|point| true_positives(point, alpha)),
                })
                .collect(),
            beliefs: BELIEFS
                .into_iter()
                .map(|before| Belief {
                    before,
                    at_most: posterior(stated, before),
                    at_least: 1.0 - posterior(stated, 1.0 - before),
                })
                .collect(),
        }
    }
}

/// Pr[L > ln `factor`] ≤ δ/(1 − e^ε/factor), where that says anything.
fn larger_change(Point { epsilon, delta }: Point, factor: f64) -> f64 {
    let share = epsilon.exp() / factor;
    if share < 1.0 { (delta / (1.0 - share)).min(1.0) } else { 1.0 }
}

fn guarantee(Point { epsilon, delta }: Point) -> Odds {
    // A profile's δ may reach 1, where nothing is promised.
    Odds::new(epsilon, delta.min(1.0_f64.next_down())).expect("points hold ε ≥ 0 and a probability")
}

fn true_positives(point: Point, alpha: f64) -> f64 {
    guarantee(point).detection_rate(alpha).expect("false positive rates are probabilities")
}

fn right_guesses(point: Point) -> f64 {
    guarantee(point).right_guesses()
}

fn posterior(point: Point, prior: f64) -> f64 {
    guarantee(point).posterior(prior).expect("beliefs are probabilities")
}

/// Per cent, rounded up in the last of `digits` decimals, so that what is shown is never less than what was computed.
/// Number and sign are held together by a space that does not break.
pub fn per_cent(share: f64, digits: u32) -> String {
    let scale = 10f64.powi(i32::try_from(digits).unwrap_or(2));
    // A hair is taken off first: 0.05·100 must stay 5.
    let shown = (share * 100.0 * scale - 1e-9).ceil() / scale;
    format!("{:.*}\u{a0}%", digits as usize, shown.clamp(0.0, 100.0))
}

/// A factor in words' company: two decimals where they say something, a power of ten where it is past imagining.
pub fn factor_text(epsilon: f64) -> String {
    let factor = epsilon.exp();
    match factor {
        f if f < 100.0 => format!("{:.2}", (f * 100.0 - 1e-9).ceil() / 100.0),
        f if f < 1e6 => thousands((f - 1e-9).ceil() as u64),
        _ => format!("10^{:.0}", (epsilon / std::f64::consts::LN_10).ceil()),
    }
}

/// A number with thousands set apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_privacy_loss_leaves_nothing_to_find() {
        let odds = Conclusions::of(Point { epsilon: 0.0, delta: 0.0 }, &[]);
        assert_eq!(odds.right_guesses, 0.5);
        for found in odds.found {
            assert!((found.true_positives - found.false_positives).abs() < 1e-15);
        }
        for belief in odds.beliefs {
            assert!((belief.at_most - belief.before).abs() < 1e-12 && (belief.at_least - belief.before).abs() < 1e-12);
        }
    }

    #[test]
    fn randomised_response_attains_the_bounds() {
        // An answer that is the truth with probability e^ε/(1 + e^ε) is ε-private; believing it is right that often, and
        // accuses wrongly with probability 1/(1 + e^ε).
        let epsilon = 3f64.ln();
        let odds = Conclusions::of(Point { epsilon, delta: 0.0 }, &[]);
        assert!((odds.right_guesses - 0.75).abs() < 1e-12);
        assert!((true_positives(Point { epsilon, delta: 0.0 }, 0.25) - 0.75).abs() < 1e-12);
        assert!((odds.beliefs[0].at_most - 0.75).abs() < 1e-12);
        assert!((odds.beliefs[1].at_most - 0.25).abs() < 1e-12, "odds 1:9 become 3:9");
    }

    #[test]
    fn a_profile_is_never_looser_than_one_of_its_points() {
        // One Gaussian, μ = 1: δ(ε) = Φ(1/2 − ε) − e^ε Φ(−1/2 − ε); guesses are right Φ(1/2) of the time.
        let phi = |x: f64| 0.5 * libm_erfc(-x / std::f64::consts::SQRT_2);
        let at = |epsilon: f64| Point { epsilon, delta: phi(0.5 - epsilon) - epsilon.exp() * phi(-0.5 - epsilon) };
        let profile: Vec<Point> = (0..60).map(|k| at(0.1 * f64::from(k))).collect();
        let stated = profile[50];
        let (alone, whole) = (Conclusions::of(stated, &[]), Conclusions::of(stated, &profile));
        assert!(whole.right_guesses <= alone.right_guesses);
        assert!((whole.right_guesses - phi(0.5)).abs() < 1e-6, "{}", whole.right_guesses);
        // L ~ N(1/2, 1): Pr[L > ln 10] = Φ(1/2 − ln 10) = 3.57 %, and no bound may be below it.
        let ten = whole.changes[1];
        assert!(ten.factor == 10.0 && ten.chance > phi(0.5 - 10f64.ln()) && ten.chance < 0.08, "{ten:?}");
        assert_eq!(alone.changes[1].chance, 1.0, "ε = 5 alone says nothing of a factor of 10");
        // The best test at 5 % false positives finds Φ(Φ⁻¹(0.05) + 1) = 25.95 %.
        let found = whole.found[0].true_positives;
        assert!((0.2595..0.2605).contains(&found), "{found}");
    }

    /// Abramowitz and Stegun 7.1.26, good to 1.5e-7.
    fn libm_erfc(x: f64) -> f64 {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
        let poly =
            t * (0.254_829_592 + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
        let erfc = poly * (-x * x).exp();
        if x >= 0.0 { erfc } else { 2.0 - erfc }
    }

    #[test]
    fn huge_numbers_stay_numbers() {
        let odds = Conclusions::of(Point { epsilon: 5000.0, delta: 1e-6 }, &[]);
        assert_eq!((odds.factor, odds.right_guesses), (None, 1.0));
        assert!(odds.beliefs.iter().all(|belief| belief.at_most == 1.0 && belief.at_least == 0.0));
        assert_eq!(factor_text(5000.0), "10^2172");
    }

    #[test]
    fn what_is_shown_is_rounded_up() {
        assert_eq!(per_cent(0.731_058_58, 2), "73.11\u{a0}%");
        assert_eq!(per_cent(0.05, 1), "5.0\u{a0}%");
        assert_eq!(per_cent(0.999_999, 2), "100.00\u{a0}%");
        assert_eq!(factor_text(1.0), "2.72");
        assert_eq!(factor_text(8.0), "2,981");
        assert_eq!(thousands(1_234_567), "1,234,567");
    }
}
