//! Privacy loss distributions on a grid, pessimistic by construction (connect-the-dots).
//!
//! # Why the grid dominates
//! Let the loss L = ln P/Q of a point drawn from P lie in a cell [a, b], b = a + h. Connect-the-dots
//! (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022) moves the point to b with probability
//! f(L) = (1 − e^{a−L})/(1 − e^{−h}) and to a otherwise. Then the masses of both P and Q in the cell stay what they
//! were: under Q the likelihood ratio e^L ∈ [e^a, e^b] is replaced by one on the two ends with the same mean. The
//! divergence H_α(P‖Q) = E_Q[(e^L − α)₊] is the mean of a convex function of that ratio, so by Jensen it does
//! not fall, for any α; at grid points it does not even change. A pair that dominates stays dominating
//! under adaptive composition (Zhu, Dong, Wang 2022, theorem 10).
//!
//! # Why rounding errors are harmless
//! Moving P-mass to a higher loss, or adding P-mass, never lowers any composed δ(ε) = E_P[(1 − e^{ε−L})₊], since
//! the integrand rises with L and a sum rises with each loss. So every approximation here moves mass up or adds some:
//! * f is evaluated at L + e, where e bounds the error of a computed loss; cell borders are placed where the computed
//!   loss is below the grid value by at least e;
//! * P below the integrated interval is put on the first grid point above it; P beyond it counts as infinite loss;
//! * every atom is enlarged by the factor 1 + 2e, which also covers the rounding of its later tilt.
//!
//! Masses are integrals of P·f and P·(1 − f) over a cell by Gauss–Legendre rules, all terms positive: 3 points where
//! width·(largest exponent's slope + 3) < 0.03, 8 points on pieces where it is < 1.5. The error terms
//! (b−a)^{2n+1}(n!)⁴/((2n+1)(2n)!³)·g^{(2n)} are then below 4e-16 of the cell's mass, which acts like a shift of its
//! losses by 4e-16·h: far below e.
//!
//! Left out on purpose: composition, in [`super::convolution`].

use super::{gaussian::INV_SQRT_TAU, mixture::MixturePair};

/// The most grid points one distribution may have.
pub(super) const CELLS_MAX: usize = 1 << 20;

/// P's distribution of the privacy loss, dominated by this one: atoms at (first + k)·step, and some mass at +∞.
#[derive(Clone, Debug)]
pub(super) struct PrivacyLoss {
    /// Index of the first atom.
    pub(super) first: i64,
    /// h.
    pub(super) step: f64,
    /// Mass at (first + k)·h.
    pub(super) mass: Vec<f64>,
    /// Mass at infinite loss.
    pub(super) infinity: f64,
}

/// The masses did not sum to one: a defect of the integration, so no ε can be given.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the loss distribution has total mass {0} instead of 1")]
pub struct MassError(pub f64);

/// Nodes and weights of the Gauss–Legendre rules on [−1, 1], one half; the other is its mirror image.
const LEGENDRE_3: [(f64, f64); 2] = [(0.0, 0.888_888_888_888_889), (0.774_596_669_241_483_4, 0.555_555_555_555_555_6)];
const LEGENDRE_8: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_29),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_47),
    (0.960_289_856_497_536_2, 0.101_228_536_290_376_26),
];

impl PrivacyLoss {
    /// Discretises the loss of `pair` with grid step `step`, leaving P-mass of at most `tail` out on either side
    /// (charged as said above). The step must leave at most [`CELLS_MAX`] cells: see [`least_step`].
    ///
    /// # Errors
    /// [`MassError`] if the result does not have total mass one to nine digits.
    pub(super) fn new(pair: &MixturePair, step: f64, tail: f64) -> Result<Self, MassError> {
        let (bottom, top) = pair.support(tail);
        let error = pair.rounding(top.abs().max(bottom.abs()));
        let (lowest, highest) = (pair.at(bottom).loss, pair.at(top).loss);
        let first = (lowest / step).floor() as i64;
        let mut mass = vec![0.0; ((highest - first as f64 * step + 2.0 * error) / step).ceil().max(1.0) as usize + 3];
        let split = Split { pair, error, step };
        let (mut left, mut width) = (bottom, 0.0);
        for cell in 0.. {
            let floor = (first + cell as i64) as f64 * step;
            let ceiling = floor + step;
            let right =
                if highest + 2.0 * error <= ceiling { top } else { split.border(ceiling, left, top, left + width) };
            let (low, high) = split.integrate(left, right, floor);
            mass[cell] += low * (1.0 + 2.0 * error);
            mass[cell + 1] += high * (1.0 + 2.0 * error);
            if right >= top {
                break;
            }
            (left, width) = (right, right - left);
        }
        mass[1] += tail;
        while mass.last() == Some(&0.0) {
            mass.pop();
        }
        let infinity = tail + pair.dropped();
        let total: f64 = mass.iter().sum::<f64>() + infinity;
        let slack = 1e-9 + 4.0 * tail + 4.0 * error;
        if !(total - 1.0).abs().le(&slack) {
            return Err(MassError(total));
        }
        Ok(Self { first, step, mass, infinity })
    }

    /// Least and greatest finite loss, as grid indices.
    pub(super) fn range(&self) -> (i64, i64) {
        (self.first, self.first + self.mass.len() as i64 - 1)
    }
}

/// The finest step with which `pair` fits into [`CELLS_MAX`] cells.
pub(super) fn least_step(pair: &MixturePair, tail: f64) -> f64 {
    let (bottom, top) = pair.support(tail);
    (pair.at(top).loss - pair.at(bottom).loss) / (CELLS_MAX - 4) as f64
}

/// E_P[L²], to some per cent: how spread the loss of one release is, and so how fine its grid should be.
pub(super) fn second_moment(pair: &MixturePair) -> f64 {
    let (bottom, top) = pair.support(1e-12);
    const NODES: u32 = 2000;
    let width = (top - bottom) / f64::from(NODES);
    (0..NODES)
        .map(|k| {
            let z = bottom + (f64::from(k) + 0.5) * width;
            let point = pair.at(z);
            INV_SQRT_TAU * (point.ln_upper - 0.5 * z * z).exp() * width * point.loss * point.loss
        })
        .sum()
}

struct Split<'a> {
    pair: &'a MixturePair,
    error: f64,
    step: f64,
}

impl Split<'_> {
    /// A z in [left, top] whose loss is certainly at most `ceiling`, and hardly less; searched from `guess`.
    fn border(&self, ceiling: f64, left: f64, top: f64, guess: f64) -> f64 {
        let target = ceiling - 2.0 * self.error;
        let (mut low, mut high) = (left, top);
        let mut guess = guess.min(top);
        // Newton inside a shrinking bracket; sixty halvings alone exhaust the digits of a float.
        for attempt in 0..90 {
            let point = self.pair.at(guess);
            let gap = target - point.loss;
            if gap.abs() <= self.error {
                return guess;
            }
            if gap > 0.0 {
                low = guess
            } else {
                high = guess
            }
            let newton = guess + gap / point.slope;
            let middle = 0.5 * (low + high);
            guess = if newton > low && newton < high && attempt < 40 { newton } else { middle };
            if middle <= low || middle >= high {
                break;
            }
        }
        low
    }

    /// P's mass in [left, right] as it goes to the grid points `floor` and `floor + step`.
    fn integrate(&self, left: f64, right: f64, floor: f64) -> (f64, f64) {
        let width = right - left;
        if width <= 0.0 {
            return (0.0, 0.0);
        }
        let (up, down) = self.pair.reach();
        let steepness = left.abs().max(right.abs()) + up.max(down) + 3.0;
        let mut sums = (0.0, 0.0);
        if width * steepness < 0.03 {
            self.rule(&LEGENDRE_3, left, width, floor, &mut sums);
        } else {
            let pieces = (width * steepness / 1.5).ceil();
            for piece in 0..pieces as u64 {
                let start = left + width * (piece as f64 / pieces);
                self.rule(&LEGENDRE_8, start, width / pieces, floor, &mut sums);
            }
        }
        sums
    }

    fn rule(&self, half: &[(f64, f64)], start: f64, width: f64, floor: f64, sums: &mut (f64, f64)) {
        let normaliser = -(-self.step).exp_m1();
        for &(node, weight) in half {
            let mirrored: &[f64] = if node == 0.0 { &[0.0] } else { &[-node, node] };
            for offset in mirrored {
                let z = start + 0.5 * width * (1.0 + offset);
                let point = self.pair.at(z);
                let density = INV_SQRT_TAU * (point.ln_upper - 0.5 * z * z).exp();
                let raised = -(floor - point.loss - self.error).exp_m1() / normaliser;
                let share = raised.clamp(0.0, 1.0);
                let mass = 0.5 * width * weight * density;
                sums.0 += mass * (1.0 - share);
                sums.1 += mass * share;
            }
        }
    }
}

/// The hockey-stick divergence H_{e^ε}(P‖Q) of a pair straight from its definition, for comparison.
#[cfg(test)]
pub(super) fn hockey_stick(pair: &MixturePair, epsilon: f64) -> f64 {
    let (mut low, mut high) = (-60.0, 60.0 + pair.reach().0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if pair.at(middle).loss > epsilon { high = middle } else { low = middle }
    }
    let (p, q) = pair.masses_above(high);
    (p - epsilon.exp() * q).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// δ(ε) of a discretised loss, by summation.
    fn delta(loss: &PrivacyLoss, epsilon: f64) -> f64 {
        let finite: f64 = loss
            .mass
            .iter()
            .enumerate()
            .map(|(k, mass)| (mass, (loss.first + k as i64) as f64 * loss.step))
            .filter(|(_, l)| *l > epsilon)
            .map(|(mass, l)| -mass * (epsilon - l).exp_m1())
            .sum();
        finite + loss.infinity
    }

    fn pairs(q: f64, sigma: f64, touched: u32) -> [MixturePair; 4] {
        [
            MixturePair::gaussian(1.0 / sigma),
            MixturePair::removal(touched, q, sigma, 1e-25),
            MixturePair::addition(touched, q, sigma, 1e-25),
            MixturePair::double(touched, q, sigma, 1e-25),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn the_grid_meets_the_true_profile_at_its_points_and_exceeds_it_between(
            q in 0.001_f64..0.9, sigma in 0.4_f64..8.0, touched in 1_u32..6, at in 0.0_f64..3.0,
        ) {
            for pair in pairs(q, sigma, touched) {
                let step = (1e-2_f64).max(least_step(&pair, 1e-25));
                let loss = PrivacyLoss::new(&pair, step, 1e-25).unwrap();
                let point = (at / step).floor() * step;
                let (here, truth) = (delta(&loss, point), hockey_stick(&pair, point));
                prop_assert!(here >= truth - 1e-15 && here <= truth * (1.0 + 1e-8) + 1e-13, "{here} {truth}");
                prop_assert!(delta(&loss, at) >= hockey_stick(&pair, at) - 1e-15);
            }
        }
    }

    #[test]
    fn a_finer_grid_is_tighter() {
        for pair in pairs(0.1, 1.0, 2) {
            let delta_with = |step| delta(&PrivacyLoss::new(&pair, step, 1e-25).unwrap(), 0.777_7);
            let truth = hockey_stick(&pair, 0.777_7);
            let (coarse, fine) = (delta_with(0.05), delta_with(0.005));
            assert!(coarse >= fine && fine >= truth - 1e-15);
            assert!(fine - truth <= 0.02 * (coarse - truth) + 1e-13, "the excess falls with the square of the step");
        }
    }

    #[test]
    fn little_noise_is_still_discretised() {
        let pair = MixturePair::double(10, 0.1, 0.05, 1e-25);
        let step = least_step(&pair, 1e-25);
        let loss = PrivacyLoss::new(&pair, step, 1e-25).unwrap();
        assert!(loss.mass.len() <= CELLS_MAX && loss.mass.iter().all(|m| *m >= 0.0));
    }
}
