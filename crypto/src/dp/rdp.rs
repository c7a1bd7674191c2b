//! Rényi differential privacy as a second opinion, computed another way than [`super::pld`].
//!
//! Every event's dominating pair (P, Q) has a Rényi divergence D_α = ln ∫ P^α Q^{1−α} / (α − 1) that bounds the
//! mechanism's, because ∫ P^α Q^{1−α} is an f-divergence, hence a mixture of hockey-stick divergences; divergences of
//! one order add up under adaptive composition (Mironov 2017, proposition 1). For add/remove only D_α of the data set
//! with the unit against the one without is needed: it is the larger of the two (Mironov, Talwar, Zhang 2019, theorem
//! 5).
//!
//! The integral is a trapezoidal sum with step d in z = x/σ. Its integrand is analytic for |Im z| < πσ: binomial
//! weights times e^{−j²/2σ²} are coefficients of a polynomial in e^{z/σ} all of whose zeros are real and negative (γⱼ
//! = r^{j²}, 0 < r ≤ 1, is a multiplier sequence of Laguerre). At height y it exceeds its value on the real line by
//! at most the factor e^{κy²}, κ = 1/2 + n(α − 1)/(4σ²) for y ≤ πσ/2 and n components, so the sum's error is of
//! relative size 2e^{κy² − 2πy/d} for any such y; d is chosen so that this is below e^{−36}.
//!
//! ε follows by Canonne, Kamath, Steinke 2020, proposition 12. Left out on purpose: α → ∞ and pure differential
//! privacy.

use super::mixture::MixturePair;

/// Number of integrand evaluations, times mixture components, up to which an order is tried.
const EFFORT_MAX: f64 = 4e6;

/// A composition seen through Rényi divergences.
pub(super) struct RenyiComposition {
    /// Σμ² of all releases without sub-sampling.
    pub(super) squared_mu: f64,
    /// Untrimmed pairs and how often each is composed.
    pub(super) pairs: Vec<(MixturePair, u64)>,
}

impl RenyiComposition {
    /// The least ε that any tried order proves for `delta`; `None` if none could be evaluated.
    pub(super) fn epsilon(&self, delta: f64) -> Option<f64> {
        let fine = self.pairs.iter().all(|(pair, _)| pair.components() <= 2);
        let orders: Vec<f64> = if fine { all_orders().collect() } else { COARSE_ORDERS.to_vec() };
        orders
            .into_iter()
            .filter_map(|alpha| Some(to_epsilon(alpha, self.divergence(alpha)?, delta)))
            .filter(|epsilon| epsilon.is_finite())
            .min_by(f64::total_cmp)
    }

    /// D_α of the whole composition; `None` where its integral would cost too much.
    fn divergence(&self, alpha: f64) -> Option<f64> {
        let mut total = 0.5 * alpha * self.squared_mu;
        for (pair, count) in &self.pairs {
            total += *count as f64 * divergence(pair, alpha)?;
        }
        Some(total)
    }
}

/// The orders that dp_accounting tries: tenths up to 11, integers up to 63, and four large ones.
fn all_orders() -> impl Iterator<Item = f64> {
    (1..100).map(|k| 1.0 + f64::from(k) / 10.0).chain((11..64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0])
}

/// A selection, for mixtures of many components.
const COARSE_ORDERS: [f64; 24] = [
    1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 20.0, 26.0, 32.0,
    48.0, 64.0, 128.0,
];

/// D_α(P‖Q), enlarged by its rounding error.
fn divergence(pair: &MixturePair, alpha: f64) -> Option<f64> {
    let (up, down) = pair.reach();
    let sigma = pair.sigma();
    let components = pair.components() as f64 - 1.0;
    // e^{κy² − 2πy/d} ≤ e^{−36} at y = π/(κd) needs d ≤ π/√(36κ); at y = πσ/2 it needs 2πy/d ≥ 36 + κy².
    let kappa = 0.5 + components * (alpha - 1.0) / (4.0 * sigma * sigma);
    let free = std::f64::consts::PI / (38.0 * kappa).sqrt();
    let y = std::f64::consts::FRAC_PI_2 * sigma;
    let step = if std::f64::consts::PI / (kappa * free) <= y {
        free
    } else {
        2.0 * std::f64::consts::PI * y / (38.0 + kappa * y * y)
    };
    // Below zero the integrand falls at least like e^{−z²/2}, above its highest possible peak too.
    let (low, high) = (-14.0, alpha * up + (alpha - 1.0) * down + 14.0);
    let nodes = ((high - low) / step).ceil();
    if nodes * (components + 1.0) > EFFORT_MAX {
        return None;
    }
    let exponent = |z: f64| {
        let (ln_upper, ln_lower) = pair.ln_ratios(z);
        alpha * ln_upper - (alpha - 1.0) * ln_lower - 0.5 * z * z
    };
    let values: Vec<f64> = (0..=nodes as u64).map(|k| exponent(low + step * k as f64)).collect();
    let top = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - top).exp()).sum();
    let ln_integral = top + (sum * step * super::gaussian::INV_SQRT_TAU).ln();
    let rounding = pair.rounding(high) * alpha + 1e-13;
    Some((ln_integral.max(0.0) + rounding) / (alpha - 1.0))
}

/// The ε that D_α = `divergence` gives for δ (Canonne, Kamath, Steinke 2020, proposition 12).
fn to_epsilon(alpha: f64, divergence: f64, delta: f64) -> f64 {
    // D₁ ≤ D_α, and total variation is at most √(1 − e^{−D₁}) (Bretagnolle and Huber): then ε = 0 already.
    if delta * delta + (-divergence).exp_m1() >= 0.0 {
        return 0.0;
    }
    if alpha <= 1.01 {
        return f64::INFINITY;
    }
    (divergence + (-1.0 / alpha).ln_1p() - (delta * alpha).ln() / (alpha - 1.0)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// ln E_Q[(P/Q)^α] of the sub-sampled Gaussian at an integer order: a finite sum (Mironov, Talwar, Zhang 2019,
    /// section 3.3).
    fn integer_order(q: f64, sigma: f64, alpha: u32) -> f64 {
        let mut choose = 1.0_f64;
        let mut sum = 0.0;
        for k in 0..=alpha {
            let exponent = f64::from(k) * (f64::from(k) - 1.0) / (2.0 * sigma * sigma);
            sum += choose * (1.0 - q).powi((alpha - k) as i32) * q.powi(k as i32) * exponent.exp();
            choose *= f64::from(alpha - k) / f64::from(k + 1);
        }
        sum.ln()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn integer_orders_agree_with_their_finite_sum(q in 1e-3_f64..0.9, sigma in 0.5_f64..8.0, alpha in 2_u32..24) {
            let pair = MixturePair::removal(1, q, sigma, 0.0);
            let (ours, sum) = (divergence(&pair, f64::from(alpha)).unwrap(), integer_order(q, sigma, alpha) / f64::from(alpha - 1));
            prop_assert!((ours - sum).abs() <= 1e-10 + 1e-10 * sum, "{ours} {sum}");
        }

        #[test]
        fn the_divergence_grows_with_the_order(q in 1e-3_f64..0.5, sigma in 0.7_f64..8.0, alpha in 1.1_f64..20.0) {
            for pair in [MixturePair::removal(1, q, sigma, 0.0), MixturePair::double(4, q, sigma, 0.0)] {
                prop_assert!(divergence(&pair, alpha).unwrap() <= divergence(&pair, alpha + 0.5).unwrap() + 1e-10);
            }
        }
    }

    #[test]
    fn a_gaussian_pair_has_the_known_divergence() {
        for (mu, alpha) in [(0.5, 3.0), (1.0, 1.5), (4.0, 20.0)] {
            let value = divergence(&MixturePair::gaussian(mu), alpha).unwrap();
            assert!((value / (0.5 * alpha * mu * mu) - 1.0).abs() < 1e-10, "{value}");
        }
    }

    #[test]
    fn an_order_that_would_cost_too_much_is_left_out() {
        assert_eq!(divergence(&MixturePair::double(1024, 0.5, 0.1, 0.0), 1024.0), None);
    }
}
