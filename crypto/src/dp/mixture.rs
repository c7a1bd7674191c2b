//! Pairs of one-dimensional Gaussian mixtures with means on the integers: what every event of
//! [`super::event`] is dominated by.
//!
//! A pair is P = Σⱼ wⱼ N(+j, σ²) against Q = Σⱼ vⱼ N(−j, σ²), j ≥ 0. Invariant: its privacy loss
//! L(x) = ln P(x)/Q(x) never decreases in x, because P(x)/φ(x) is a sum of increasing exponentials and
//! Q(x)/φ(x) one of decreasing ones. Hence {L > ℓ} is a half-line, and the loss is discretised cell by cell.
//!
//! Everything is in units of the noise: z = x/σ, so means lie at ±j/σ.

use super::gaussian::{INV_SQRT_TAU, upper_tail};

/// Rounding unit of `f64`.
const UNIT: f64 = f64::EPSILON / 2.0;

/// Weights wⱼ of means 0, 1, 2, …, with what their evaluation needs.
#[derive(Clone, Debug)]
pub(super) struct Mixture {
    /// The least j that is kept.
    first: usize,
    /// ln wⱼ − j²/(2σ²) for j = first, first + 1, ….
    ln_coefficient: Vec<f64>,
    /// Their exponentials, as long as none under- or overflows.
    coefficient: Option<Vec<f64>>,
    /// ln wⱼ.
    ln_weight: Vec<f64>,
    sigma: f64,
}

impl Mixture {
    /// All weight on `mean`.
    fn point(mean: usize, sigma: f64) -> Self {
        Self::of(mean, vec![0.0], sigma)
    }

    /// Binomial(n, q) weights for q < 1, without the largest means if their weights add up to less than `trim`;
    /// returns what was cut off.
    fn binomial(n: u32, q: f64, sigma: f64, trim: f64) -> (Self, f64) {
        let (ln_q, ln_rest) = (q.ln(), (-q).ln_1p());
        let mut ln_weight = Vec::with_capacity(n as usize + 1);
        let mut ln_choose = 0.0_f64;
        for j in 0..=n {
            let others = f64::from(n - j);
            let rest = if others == 0.0 { 0.0 } else { others * ln_rest };
            ln_weight.push(ln_choose + f64::from(j) * ln_q + rest);
            ln_choose += (others / f64::from(j + 1)).ln();
        }
        // Only from above: without its smallest means, Q would be far smaller than it is where P lies.
        let (mut kept, mut dropped) = (ln_weight.len(), 0.0);
        while kept > 1 && dropped + ln_weight[kept - 1].exp() < trim {
            kept -= 1;
            dropped += ln_weight[kept].exp();
        }
        ln_weight.truncate(kept);
        (Self::of(0, ln_weight, sigma), dropped * (1.0 + 1e-9))
    }

    fn of(first: usize, ln_weight: Vec<f64>, sigma: f64) -> Self {
        let ln_coefficient: Vec<f64> = ln_weight
            .iter()
            .enumerate()
            .map(|(k, w)| {
                let mean = (first + k) as f64 / sigma;
                w - 0.5 * mean * mean
            })
            .collect();
        let safe = ln_coefficient.iter().all(|c| c.abs() < 300.0);
        let coefficient = safe.then(|| ln_coefficient.iter().map(|c| c.exp()).collect());
        Self { first, ln_coefficient, coefficient, ln_weight, sigma }
    }

    /// Whether all weight lies on the mean 0, so that the ratio is 1 everywhere.
    fn is_one(&self) -> bool {
        self.first == 0 && self.ln_coefficient.len() == 1
    }

    fn last(&self) -> usize {
        self.first + self.ln_coefficient.len() - 1
    }

    /// Σⱼ wⱼ e^{−j²/2σ²} tʲ and its derivative by y = ln t, where no term over- or underflows.
    #[inline]
    fn ratio(&self, y: f64, t: f64) -> Option<(f64, f64)> {
        let coefficient = self.coefficient.as_ref()?;
        if y.abs() * (self.last() + 1) as f64 > 300.0 {
            return None;
        }
        let (mut sum, mut slope) = (0.0, 0.0);
        for c in coefficient.iter().rev() {
            slope = slope * t + sum;
            sum = sum * t + c;
        }
        slope *= t;
        if self.first > 0 {
            let power = (y * self.first as f64).exp();
            slope = power * (slope + self.first as f64 * sum);
            sum *= power;
        }
        Some((sum, slope))
    }

    /// ln Σⱼ wⱼ e^{−j²/2σ²} e^{j·y} and its derivative by y, the mean of j under those terms.
    fn ln_ratio(&self, y: f64) -> (f64, f64) {
        let base = self.first as f64;
        if self.ln_coefficient.len() == 1 {
            return (self.ln_coefficient[0] + base * y, base);
        }
        if let Some((sum, slope)) = self.ratio(y, y.exp()) {
            return (sum.ln(), slope / sum);
        }
        // The terms' logarithms are concave in j: from the largest outwards, until what is left is below 1e-19 of it.
        let term = |k: usize| self.ln_coefficient[k] + (base + k as f64) * y;
        let (mut peak, mut end) = (0, self.ln_coefficient.len() - 1);
        while peak < end {
            let middle = usize::midpoint(peak, end);
            if term(middle) < term(middle + 1) { peak = middle + 1 } else { end = middle }
        }
        let top = term(peak);
        let (mut sum, mut moment) = (0.0, 0.0);
        let mut add = |k: usize| {
            let below = term(k) - top;
            let share = below.exp();
            sum += share;
            moment += share * (base + k as f64);
            below > -52.0
        };
        let _ = (peak..self.ln_coefficient.len()).all(&mut add);
        let _ = (0..peak).rev().all(&mut add);
        (top + sum.ln(), moment / sum)
    }

    /// Σⱼ wⱼ P(N(j/σ, 1) > z).
    fn tail_above(&self, z: f64) -> f64 {
        self.ln_weight
            .iter()
            .enumerate()
            .map(|(k, w)| w.exp() * upper_tail(z - (self.first + k) as f64 / self.sigma))
            .sum()
    }
}

/// The loss at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// L(z).
    pub(super) loss: f64,
    /// dL/dz.
    pub(super) slope: f64,
}

/// Both densities at one point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Density {
    /// P's density by z.
    pub(super) upper: f64,
    /// Q(z)/P(z) = e^{−L(z)}.
    pub(super) inverse_ratio: f64,
}

/// A dominating pair (P, Q) for one order of the two neighbours.
#[derive(Clone, Debug)]
pub(super) struct MixturePair {
    upper: Mixture,
    lower: Mixture,
    sigma: f64,
    /// Mixture weight that was cut off and must be charged to δ as a certain breach.
    dropped: f64,
}

impl MixturePair {
    /// N(1, σ²) against N(0, σ²), σ = 1/`mu`; the other order is its mirror image.
    pub(super) fn gaussian(mu: f64) -> Self {
        let sigma = 1.0 / mu;
        Self { upper: Mixture::point(1, sigma), lower: Mixture::point(0, sigma), sigma, dropped: 0.0 }
    }

    /// Binomial(`touched`, q) mixture at +j against N(0, σ²): the data set with the unit against the one without.
    pub(super) fn removal(touched: u32, q: f64, sigma: f64, trim: f64) -> Self {
        let (upper, dropped) = Mixture::binomial(touched, q, sigma, trim);
        Self { upper, lower: Mixture::point(0, sigma), sigma, dropped }
    }

    /// N(0, σ²) against the mixture: the data set without the unit against the one with it, mirrored at zero.
    pub(super) fn addition(touched: u32, q: f64, sigma: f64, trim: f64) -> Self {
        let (lower, dropped) = Mixture::binomial(touched, q, sigma, trim);
        Self { upper: Mixture::point(0, sigma), lower, sigma, dropped }
    }

    /// Binomial mixture at +j against the same at −j; both orders are mirror images.
    pub(super) fn double(touched: u32, q: f64, sigma: f64, trim: f64) -> Self {
        let (upper, dropped) = Mixture::binomial(touched, q, sigma, trim);
        Self { lower: upper.clone(), upper, sigma, dropped }
    }

    /// Weight that trimming removed: by joint convexity of the hockey-stick divergence, a pair
    /// ((1−τ)P′ + τP″, (1−τ)Q′ + τQ″) has divergence at most (1−τ)·H(P′, Q′) + τ.
    pub(super) fn dropped(&self) -> f64 {
        self.dropped
    }

    /// Both likelihood ratios against φ and their derivatives by ±y, where their quotient is a normal number too.
    #[inline]
    fn ratios(&self, y: f64) -> Option<((f64, f64), (f64, f64))> {
        let t = y.exp();
        let upper = self.upper.ratio(y, t)?;
        let lower = if self.lower.is_one() { (1.0, 0.0) } else { self.lower.ratio(-y, 1.0 / t)? };
        let normal = |value: f64| (1e-150..1e150).contains(&value);
        (normal(upper.0) && normal(lower.0)).then_some((upper, lower))
    }

    /// The loss and its slope at z = x/σ.
    pub(super) fn at(&self, z: f64) -> Point {
        let y = z / self.sigma;
        if let Some((upper, lower)) = self.ratios(y) {
            let product = upper.0 * lower.0 * self.sigma;
            let slope = (upper.1 * lower.0 + lower.1 * upper.0) / product;
            return Point { loss: (upper.0 / lower.0).ln(), slope };
        }
        let (ln_upper, mean_upper) = self.upper.ln_ratio(y);
        let (ln_lower, mean_lower) = self.lower.ln_ratio(-y);
        Point { loss: ln_upper - ln_lower, slope: (mean_upper + mean_lower) / self.sigma }
    }

    /// P's density and the inverse likelihood ratio at z = x/σ.
    pub(super) fn density(&self, z: f64) -> Density {
        let y = z / self.sigma;
        if z.abs() < 24.0
            && let Some(((upper, _), (lower, _))) = self.ratios(y)
        {
            return Density { upper: INV_SQRT_TAU * (-0.5 * z * z).exp() * upper, inverse_ratio: lower / upper };
        }
        let (ln_upper, ln_lower) = (self.upper.ln_ratio(y).0, self.lower.ln_ratio(-y).0);
        Density { upper: INV_SQRT_TAU * (ln_upper - 0.5 * z * z).exp(), inverse_ratio: (ln_lower - ln_upper).exp() }
    }

    /// ln P(z)/φ(z) and ln Q(z)/φ(z).
    pub(super) fn ln_ratios(&self, z: f64) -> (f64, f64) {
        let y = z / self.sigma;
        (self.upper.ln_ratio(y).0, self.lower.ln_ratio(-y).0)
    }

    /// The interval of z below which P has at most mass `bottom` and above which at most `top`.
    pub(super) fn support(&self, bottom: f64, top: f64) -> (f64, f64) {
        let quantile = |mass_above: &dyn Fn(f64) -> f64, tail: f64, mut low: f64, mut high: f64| {
            // Forty halvings pin z to 1e-9; the returned end is the one on the safe side.
            for _ in 0..40 {
                let middle = 0.5 * (low + high);
                if mass_above(middle) > tail { low = middle } else { high = middle }
            }
            high
        };
        let largest = self.upper.last() as f64 / self.sigma;
        let high = quantile(&|z| self.upper.tail_above(z), top, 0.0, largest + quantile(&upper_tail, top, 0.0, 38.0));
        (self.upper.first as f64 / self.sigma - quantile(&upper_tail, bottom, 0.0, 38.0), high)
    }

    /// σ, in units of the spacing of the means.
    pub(super) fn sigma(&self) -> f64 {
        self.sigma
    }

    /// The largest means of P and Q, in units of the noise.
    pub(super) fn reach(&self) -> (f64, f64) {
        (self.upper.last() as f64 / self.sigma, self.lower.last() as f64 / self.sigma)
    }

    /// P and Q of everything above z.
    #[cfg(test)]
    pub(super) fn masses_above(&self, z: f64) -> (f64, f64) {
        let below_zero = |w: (usize, &f64)| w.1.exp() * upper_tail(z + (self.lower.first + w.0) as f64 / self.sigma);
        (self.upper.tail_above(z), self.lower.ln_weight.iter().enumerate().map(below_zero).sum())
    }

    /// Number of mixture components of the larger side.
    pub(super) fn components(&self) -> usize {
        self.upper.ln_coefficient.len().max(self.lower.ln_coefficient.len())
    }

    /// A bound on the absolute error of any loss computed for z within ±`span`, and on the relative error of
    /// any density: a few rounding units for every unit of the largest exponent, and one for each term summed.
    pub(super) fn rounding(&self, span: f64) -> f64 {
        let (up, down) = self.reach();
        let exponent = (span + up + down) * (span + up + down);
        16.0 * UNIT * (64.0 + self.components() as f64 + exponent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_evaluations_of_a_mixture_agree() {
        let (mixture, dropped) = Mixture::binomial(20, 0.05, 3.0, 1e-300);
        assert_eq!(dropped, 0.0);
        let mut slow = mixture.clone();
        slow.coefficient = None;
        for y in [-4.0, -0.3, 0.0, 0.2, 1.0, 5.0] {
            let ((a, da), (b, db)) = (mixture.ln_ratio(y), slow.ln_ratio(y));
            assert!((a - b).abs() < 1e-12 && (da - db).abs() < 1e-11, "{y}: {a} {b}, {da} {db}");
        }
    }

    #[test]
    fn binomial_weights_sum_to_one_and_trimming_says_what_it_cut() {
        for (n, q) in [(1, 0.3), (5, 0.01), (100, 0.2), (1024, 0.5), (3, 1.0)] {
            let (whole, _) = Mixture::binomial(n, q, 1.0, 0.0);
            let (trimmed, dropped) = Mixture::binomial(n, q, 1.0, 1e-10);
            let total = |m: &Mixture| m.ln_weight.iter().map(|w| w.exp()).sum::<f64>();
            assert!((total(&whole) - 1.0).abs() < 1e-11, "{n} {q}");
            assert!(dropped <= 1.1e-10);
            assert!(total(&trimmed) + dropped >= total(&whole) - 1e-14);
        }
    }

    #[test]
    fn the_loss_never_decreases() {
        for pair in [
            MixturePair::gaussian(0.5),
            MixturePair::removal(3, 0.1, 1.2, 1e-20),
            MixturePair::addition(1, 0.01, 0.6, 1e-20),
            MixturePair::double(20, 0.01, 4.0, 1e-20),
        ] {
            let mut last = f64::NEG_INFINITY;
            for k in -300..=300 {
                let point = pair.at(f64::from(k) * 0.1);
                assert!(point.loss >= last - 1e-12 && point.slope >= 0.0);
                last = point.loss;
            }
        }
    }

    /// A small generator (Knuth's MMIX constants) for arrangements of vectors.
    fn uniform(state: &mut u64) -> f64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// H_α of Σ_J p_J N(a_J, σ²I) against Σ_J p_J N(b_J, σ²I) in the plane, by a sum over a fine lattice.
    fn planar_divergence(a: &[[f64; 2]], b: &[[f64; 2]], q: f64, sigma: f64, alpha: f64) -> f64 {
        let centres = |vectors: &[[f64; 2]]| -> Vec<(f64, [f64; 2])> {
            (0..1_usize << vectors.len())
                .map(|subset| {
                    let (mut weight, mut sum) = (1.0, [0.0; 2]);
                    for (i, v) in vectors.iter().enumerate() {
                        if subset >> i & 1 == 1 {
                            weight *= q;
                            sum = [sum[0] + v[0], sum[1] + v[1]];
                        } else {
                            weight *= 1.0 - q;
                        }
                    }
                    (weight, sum)
                })
                .collect()
        };
        let (a, b) = (centres(a), centres(b));
        let density = |mixture: &[(f64, [f64; 2])], x: f64, y: f64| -> f64 {
            mixture
                .iter()
                .map(|(w, c)| w * (-((x - c[0]).powi(2) + (y - c[1]).powi(2)) / (2.0 * sigma * sigma)).exp())
                .sum()
        };
        let (reach, cells) = (a.len() as f64 / 2.0 + 7.0 * sigma, 160);
        let width = 2.0 * reach / f64::from(cells);
        let mut total = 0.0;
        for i in 0..cells {
            for j in 0..cells {
                let (x, y) = (-reach + (f64::from(i) + 0.5) * width, -reach + (f64::from(j) + 0.5) * width);
                total += (density(&a, x, y) - alpha * density(&b, x, y)).max(0.0);
            }
        }
        total * width * width / (2.0 * std::f64::consts::PI * sigma * sigma)
    }

    #[test]
    fn no_arrangement_of_changed_gradients_exceeds_the_aligned_one() {
        let (q, sigma) = (0.3, 1.0);
        let pair = MixturePair::double(2, q, sigma, 0.0);
        let mut state = 7;
        for epsilon in [0.0, 0.5, 1.5] {
            let bound = crate::dp::pld::hockey_stick(&pair, epsilon);
            let aligned = planar_divergence(&[[1.0, 0.0]; 2], &[[-1.0, 0.0]; 2], q, sigma, f64::exp(epsilon));
            assert!((aligned / bound - 1.0).abs() < 2e-3, "the lattice sees the bound itself: {aligned} {bound}");
            for _ in 0..12 {
                let mut vector = || {
                    let (angle, length) = (std::f64::consts::TAU * uniform(&mut state), uniform(&mut state).sqrt());
                    [length * angle.cos(), length * angle.sin()]
                };
                let (a, b) = ([vector(), vector()], [vector(), vector()]);
                let found = planar_divergence(&a, &b, q, sigma, f64::exp(epsilon));
                assert!(found <= bound, "{a:?} {b:?}: {found} > {bound}");
            }
        }
    }

    #[test]
    fn the_support_leaves_out_what_it_says() {
        let pair = MixturePair::removal(1, 0.01, 1.0, 0.0);
        let (low, high) = pair.support(1e-12, 1e-12);
        assert!(pair.upper.tail_above(high) <= 1e-12 && pair.upper.tail_above(high - 0.01) > 1e-12);
        assert!(upper_tail(-low) <= 1e-12);
    }
}
