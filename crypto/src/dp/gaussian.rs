//! The Gaussian mechanism in closed form, and the normal tails it needs.
//!
//! Gaussian releases without sub-sampling compose exactly: sensitivity-to-noise ratios μᵢ make one release with
//! μ² = Σ μᵢ² (Dong, Roth, Su 2022, "Gaussian differential privacy", corollary 3.3), whose privacy profile is
//! δ(ε) = Φ(μ/2 − ε/μ) − e^ε Φ(−μ/2 − ε/μ) (Balle and Wang 2018, theorem 8).
//!
//! Invariant: both directions round against the claim. [`delta`] is never below the profile, [`epsilon`]
//! never below its inverse; the excess is some 1e-13 of the value, more only where μ ≪ 1e-3 and ε ≪ μ.

use std::f64::consts::FRAC_1_SQRT_2;

/// 1/√(2π).
pub(super) const INV_SQRT_TAU: f64 = 0.398_942_280_401_432_7;

/// P(N(0, 1) > z), to full relative precision for z > 0.
pub(super) fn upper_tail(z: f64) -> f64 {
    0.5 * libm::erfc(z * FRAC_1_SQRT_2)
}

/// Mills' ratio P(N(0, 1) > z) / φ(z) for z ≥ 0.
///
/// Below 6 from erfc, whose e^{z²/2} costs at most 18 rounding units; above by the continued fraction
/// 1/(z + 1/(z + 2/(z + …))), whose 120 terms have converged to the last bit there.
fn mills(z: f64) -> f64 {
    if z < 6.0 {
        return upper_tail(z) * (0.5 * z * z).exp() / INV_SQRT_TAU;
    }
    let mut fraction = z;
    for k in (1..=120_u32).rev() {
        fraction = z + f64::from(k) / fraction;
    }
    1.0 / fraction
}

/// An upper bound on δ(ε) of the Gaussian mechanism with ratio `mu` = sensitivity/σ, for any finite ε ≥ 0.
pub(super) fn delta(mu: f64, epsilon: f64) -> f64 {
    if mu == 0.0 {
        return 0.0;
    }
    // δ = P(Z > a) − e^ε P(Z > b) with a = ε/μ − μ/2 and b = a + μ, and e^ε φ(b) = φ(a).
    let (a, b) = (epsilon / mu - 0.5 * mu, epsilon / mu + 0.5 * mu);
    let (value, magnitude, cost) = if a < 0.0 {
        // No tail yet: the first term is of order one, and e^ε P(Z > b) = φ(a) · Mills(b) stays below it.
        let first = upper_tail(a);
        (first - density(a) * mills(b), first, 64.0 + a * a)
    } else {
        let first = mills(a);
        (density(a) * (first - mills(b)), density(a) * first, 64.0 + a * a)
    };
    // Rounding in ε/μ ± μ/2 moves a by one unit, which moves the logarithm of either tail by about a² units.
    (value + f64::EPSILON * (cost.min(1e6) + 8.0) * value.abs() + 16.0 * f64::EPSILON * magnitude).clamp(0.0, 1.0)
}

fn density(z: f64) -> f64 {
    INV_SQRT_TAU * (-0.5 * z * z).exp()
}

/// The least ε with δ(ε) ≤ `delta`, rounded up.
pub(super) fn epsilon(mu: f64, delta_target: f64) -> f64 {
    if mu == 0.0 || delta(mu, 0.0) <= delta_target {
        return 0.0;
    }
    // The tail bound P(loss > ε) ≤ exp(−a²/2) brackets: at a = √(2 ln 1/δ), δ(ε) is below δ already.
    let (mut low, mut high) = (0.0, mu * ((-2.0 * delta_target.ln()).sqrt() + 0.5 * mu) + 1e-300);
    while delta(mu, high) > delta_target {
        high *= 2.0;
    }
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return high;
        }
        if delta(mu, middle) > delta_target {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn mills_ratio_is_continuous_where_its_two_formulas_meet() {
        let below = upper_tail(6.0 - 1e-9) * (0.5 * (6.0 - 1e-9_f64).powi(2)).exp() / INV_SQRT_TAU;
        assert!((mills(6.0) / below - 1.0).abs() < 1e-9);
        // Abramowitz and Stegun 26.2.13: z/(1+z²) < Mills(z) < 1/z.
        for z in [6.0, 8.0, 20.0, 1e3] {
            assert!(mills(z) < 1.0 / z && mills(z) > z / (1.0 + z * z));
        }
    }

    #[test]
    fn extreme_arguments_give_a_number() {
        assert_eq!(delta(1e-9, 1.0), 0.0);
        assert_eq!(delta(1e9, 1.0), 1.0);
        assert!(epsilon(1e6, 1e-12) > 4.9e11);
        assert!(epsilon(1e-8, 1e-12) < 1e-6);
        assert!(epsilon(1.0, 1e-300).is_finite());
    }

    proptest! {
        #[test]
        fn epsilon_inverts_delta_from_above(mu in 1e-3_f64..50.0, ln_delta in -60.0_f64..-1.0) {
            let target = ln_delta.exp();
            let eps = epsilon(mu, target);
            prop_assert!(delta(mu, eps) <= target);
            if eps > 1e-6 {
                prop_assert!(delta(mu, eps * (1.0 - 1e-7)) > target * (1.0 - 1e-9));
            }
        }

        #[test]
        fn more_noise_or_more_epsilon_never_raises_delta(mu in 1e-2_f64..20.0, eps in 0.0_f64..40.0) {
            prop_assert!(delta(mu, eps + 0.1) <= delta(mu, eps));
            prop_assert!(delta(mu * 0.99, eps) <= delta(mu, eps) * (1.0 + 1e-12));
        }
    }
}
