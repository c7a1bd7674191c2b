//! Rényi differential privacy as a second opinion, computed another way than [`super::pld`].
//!
//! Every event's dominating pair (P, Q) has a Rényi divergence D_α = ln ∫ P^α Q^{1−α} / (α − 1) that bounds the
//! mechanism's, because ∫ P^α Q^{1−α} is an f-divergence, hence a mixture of hockey-stick divergences; divergences of
//! one order add up under adaptive composition (Mironov 2017, proposition 1). For add/remove only D_α of the data set
//! with the unit against the one without is needed: it is the larger of the two (Mironov, Talwar, Zhang 2019, theorem
//! 5). For a group that is added or removed both orders are evaluated.
//!
//! The integral is a trapezoidal sum with step d in z = x/σ. Its integrand is analytic for |Im z| < πσ: binomial
//! weights times e^{−j²/2σ²} are coefficients of a polynomial in e^{z/σ} all of whose zeros are real and negative (γⱼ
//! = r^{j²}, 0 < r ≤ 1, is a multiplier sequence of Laguerre). At height y it exceeds its value on the real line by
//! at most the factor e^{κy²}, κ = 1/2 + n(α − 1)/(4σ²) for y ≤ πσ/2 and n components, so the sum's error is of
//! relative size 2e^{κy² − 2πy/d} for any such y; d is chosen so that this is below e^{−36}.
//!
//! Some mechanisms are known through Rényi divergences alone, and then ε rests on this module: Skellam noise on vectors,
//! sums of coarse discrete Gaussians, batches drawn without replacement, and whatever is ρ-concentrated.
//!
//! ε follows by Canonne, Kamath, Steinke 2020, proposition 12. Left out on purpose: α → ∞ and pure differential
//! privacy.

use super::{laplace::LaplacePair, mixture::MixturePair, without_replacement};

/// Number of integrand evaluations, times mixture components, up to which an order is tried.
const EFFORT_MAX: f64 = 4e6;
/// From this many different releases on, orders are tried coarsely first and finely around the best.
const MANY: usize = 4;

/// One kind of release.
#[derive(Clone, Debug)]
pub(super) enum Curve {
    /// Untrimmed mixtures of Gaussians; of several orders the worst.
    Mixture(Vec<MixturePair>),
    /// Laplace noise.
    Laplace(LaplacePair),
    /// Skellam noise: variance, Euclidean and absolute sensitivity, in units.
    Skellam {
        /// μ.
        variance: f64,
        /// Δ₂.
        euclidean: f64,
        /// Δ₁.
        absolute: f64,
    },
    /// Several discrete Gaussian shares.
    DiscreteGaussianSum(DiscreteGaussianSum),
    /// A Gaussian on a batch of fixed size.
    WithoutReplacement {
        /// Batch over population.
        share: f64,
        /// Ratio of the Gaussian alone.
        mu: f64,
    },
}

impl Curve {
    fn divergence(&self, alpha: f64) -> Option<f64> {
        match self {
            Self::Mixture(orders) => {
                orders.iter().try_fold(0.0, |worst: f64, pair| Some(worst.max(divergence(pair, alpha)?)))
            }
            Self::Laplace(pair) => Some(pair.divergence(alpha)),
            Self::Skellam { variance, euclidean, absolute } => skellam(*variance, *euclidean, *absolute, alpha),
            Self::DiscreteGaussianSum(sum) => Some(sum.divergence(alpha)),
            Self::WithoutReplacement { share, mu } => without_replacement::divergence(*share, *mu, alpha),
        }
    }

    fn components(&self) -> usize {
        match self {
            Self::Mixture(orders) => orders.iter().map(MixturePair::components).max().unwrap_or(1),
            _ => 1,
        }
    }
}

/// A composition seen through Rényi divergences.
pub(super) struct RenyiComposition {
    /// Σρ of everything with D_α ≤ ρα.
    pub(super) rho: f64,
    /// Everything else, and how often each is composed.
    pub(super) curves: Vec<(Curve, u64)>,
    /// Λ, see [`super::event::DpEvent::WithinRatio`].
    pub(super) log_ratio: f64,
    /// Whether ε rests on this alone, so that the order is worth a closer search.
    pub(super) alone: bool,
}

impl RenyiComposition {
    /// The least ε that any tried order proves for `delta`; `None` if none could be evaluated.
    pub(super) fn epsilon(&self, delta: f64) -> Option<f64> {
        let delta = delta * (-self.log_ratio).exp();
        self.least(&|alpha, divergence| to_epsilon(alpha, divergence, delta))
            .map(|epsilon| epsilon + 2.0 * self.log_ratio)
    }

    /// The least δ that any tried order proves for `epsilon`; `None` if none could be evaluated.
    pub(super) fn delta(&self, epsilon: f64) -> Option<f64> {
        let ln_delta =
            self.least(&|alpha, divergence| to_ln_delta(alpha, divergence, epsilon - 2.0 * self.log_ratio))?;
        Some((ln_delta + self.log_ratio).min(0.0).exp())
    }

    /// The least of `value(α, D_α)` over the orders that are tried.
    fn least(&self, value: &dyn Fn(f64, f64) -> f64) -> Option<f64> {
        let at = |alpha: f64| self.divergence(alpha).map_or(f64::INFINITY, |divergence| value(alpha, divergence));
        let few = self.curves.len() < MANY && self.curves.iter().all(|(curve, _)| curve.components() <= 2);
        let best = if few { all_orders().map(at).fold(f64::INFINITY, f64::min) } else { self.least_of_many(&at) };
        let best = if self.alone && self.curves.is_empty() { best.min(searched(&at)) } else { best };
        best.is_finite().then_some(best)
    }

    fn least_of_many(&self, at: &dyn Fn(f64) -> f64) -> f64 {
        let values = COARSE_ORDERS.map(at);
        let Some(best) =
            (0..values.len()).filter(|k| values[*k].is_finite()).min_by(|a, b| values[*a].total_cmp(&values[*b]))
        else {
            return f64::INFINITY;
        };
        let mut least = values[best];
        if self.curves.iter().all(|(curve, _)| curve.components() <= 2) {
            let (below, above) =
                (COARSE_ORDERS[best.saturating_sub(1)], COARSE_ORDERS[(best + 1).min(COARSE_ORDERS.len() - 1)]);
            least = all_orders().filter(|a| (below..=above).contains(a)).map(at).fold(least, f64::min);
        }
        least
    }

    /// D_α of the whole composition; `None` where it is not known or would cost too much.
    fn divergence(&self, alpha: f64) -> Option<f64> {
        let mut total = alpha * self.rho;
        for (curve, count) in &self.curves {
            total += *count as f64 * curve.divergence(alpha)?;
        }
        Some(total)
    }
}

/// The least of a quasi-convex function of α, by golden section on ln(α − 1).
fn searched(at: &dyn Fn(f64) -> f64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    let value = |ln: f64| at(1.0 + ln.exp());
    let (mut low, mut high) = (0.0101_f64.ln(), 1e9_f64.ln());
    let mut inner = [high - GOLDEN * (high - low), low + GOLDEN * (high - low)];
    let mut values = inner.map(value);
    while high - low > 1e-9 {
        if values[0] <= values[1] {
            high = inner[1];
            inner = [high - GOLDEN * (high - low), inner[0]];
            values = [value(inner[0]), values[0]];
        } else {
            low = inner[0];
            inner = [inner[1], low + GOLDEN * (high - low)];
            values = [values[1], value(inner[1])];
        }
    }
    values[0].min(values[1])
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

/// D_α of Skellam noise at an integer order: αΔ₂²/2μ + min(((2α−1)Δ₂² + 6Δ₁)/4μ², 3Δ₁/2μ) (Agarwal, Kairouz, Liu 2021,
/// main theorem); `None` between integers, for which it is not stated.
pub(super) fn skellam(variance: f64, euclidean: f64, absolute: f64, alpha: f64) -> Option<f64> {
    if alpha.fract() != 0.0 {
        return None;
    }
    let squared = euclidean * euclidean;
    let fine = ((2.0 * alpha - 1.0) * squared + 6.0 * absolute) / (4.0 * variance * variance);
    let coarse = 3.0 * absolute / (2.0 * variance);
    Some((0.5 * alpha * squared / variance + fine.min(coarse)) * (1.0 + 1e-14))
}

/// D_α of a sum of discrete Gaussian shares, by the smaller of two bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct DiscreteGaussianSum {
    /// Δ₂²/2nσ², which a single discrete Gaussian of that width has (Canonne, Kamath, Steinke 2020, theorem 4).
    single: f64,
    /// Λ: the sum's distance from that single one, as a ratio ([`super::integer`], step 1).
    log_ratio: f64,
    /// ρ of the sum by Kairouz, Liu, Steinke 2021, theorem 1.
    published: f64,
}

impl DiscreteGaussianSum {
    /// `variance` is nσ²; Δ₂ and Δ₁ in units; `log_ratio` per coordinate, and `tau` as published.
    pub(super) fn new(variance: f64, euclidean: f64, absolute: f64, dimension: f64, log_ratio: f64, tau: f64) -> Self {
        let squared = euclidean * euclidean / variance;
        let per_root = 1.0 / variance.sqrt();
        let published = (squared + 2.0 * absolute * per_root * tau + tau * tau * dimension)
            .min((euclidean * per_root + tau * dimension.sqrt()).powi(2));
        let enlarged = 1.0 + 1e-14;
        Self {
            single: 0.5 * squared * enlarged,
            log_ratio: log_ratio * dimension * enlarged,
            published: 0.5 * published * enlarged,
        }
    }

    /// From P ≤ e^Λ P′ and Q ≥ e^{−Λ} Q′, ∫ P^α Q^{1−α} is at most e^{(2α−1)Λ} times the same of P′ and Q′.
    fn divergence(&self, alpha: f64) -> f64 {
        let own = alpha * self.single + self.log_ratio * (2.0 * alpha - 1.0) / (alpha - 1.0);
        own.min(alpha * self.published)
    }
}

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

/// Total variation is at most √(1 − e^{−D₁}) (Bretagnolle and Huber), and D₁ ≤ D_α.
fn total_variation(divergence: f64) -> f64 {
    (-(-divergence).exp_m1()).sqrt()
}

/// The ε that D_α = `divergence` gives for δ (Canonne, Kamath, Steinke 2020, proposition 12).
fn to_epsilon(alpha: f64, divergence: f64, delta: f64) -> f64 {
    if total_variation(divergence) <= delta {
        return 0.0;
    }
    if alpha <= 1.01 {
        return f64::INFINITY;
    }
    (divergence + (-1.0 / alpha).ln_1p() - (delta.ln() + alpha.ln()) / (alpha - 1.0)).max(0.0)
}

/// ln δ that D_α = `divergence` gives for ε: the same, solved for δ.
fn to_ln_delta(alpha: f64, divergence: f64, epsilon: f64) -> f64 {
    // δ(ε) ≤ δ(0), the total variation.
    let at_zero = if epsilon >= 0.0 { total_variation(divergence).ln() } else { 0.0 };
    if alpha <= 1.01 {
        return at_zero;
    }
    ((alpha - 1.0) * (divergence - epsilon + (-1.0 / alpha).ln_1p()) - alpha.ln()).min(at_zero)
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
    fn sums_of_discrete_gaussians_have_the_published_divergences() {
        // The reference minimises over the orders 2 to 128 and 256, with the ℓ₁ sensitivity it names. Where shares are
        // so coarse that Λ counts (the last row), it adds τd to D_α and we what is proven here.
        let path = std::env::var_os("FORECASTLE_SHARED").map_or_else(
            || std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
            std::path::PathBuf::from,
        );
        let Ok(text) = std::fs::read_to_string(path.join("reference/dp-vectors.json")) else {
            println!("skipped: no data");
            return;
        };
        let vectors: serde_json::Value = serde_json::from_str(&text).unwrap();
        for row in vectors["distributed_discrete_gaussian_KLS21"]["rows"].as_array().unwrap() {
            let number = |key: &str| row[key].as_f64().unwrap();
            let (local, shares) = (number("local_sigma_int").powi(2), number("n_clients"));
            let noise = crate::dp::integer::IntegerNoise::new(local, shares as u32, 1).unwrap();
            let (l2, l1, d) = (number("rounded_l2"), number("rounded_l1"), number("dim"));
            let sum = DiscreteGaussianSum::new(local * shares, l2, l1, d, noise.sum_log_ratio(), number("tau"));
            let epsilon = (2..=128)
                .chain([256])
                .map(f64::from)
                .map(|alpha| to_epsilon(alpha, number("steps") * sum.divergence(alpha), number("delta")))
                .fold(f64::INFINITY, f64::min);
            let slack = if number("tau") > 0.1 { 1e-3 } else { 1e-6 };
            assert!((epsilon / number("eps_rdp") - 1.0).abs() < slack, "{epsilon} {row}");
        }
    }

    #[test]
    fn an_order_that_would_cost_too_much_is_left_out() {
        assert_eq!(divergence(&MixturePair::double(1024, 0.5, 0.1, 0.0), 1024.0), None);
    }
}
