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
//! For mixtures of Gaussians, masses are integrals of P·f and P·(1 − f) over a cell by Gauss–Legendre rules, all terms
//! positive. With w = width·(largest exponent's slope + 3) the error (b−a)^{2n+1}(n!)⁴/((2n+1)(2n)!³)·g^{(2n)} of the
//! n-point rule is a part 2.3e-4·w⁴ (n = 2, used for w < 3e-3) or 5e-7·w⁶ (n = 3, w < 0.05) of the cell's mass, below
//! 2e-14 in both cases; 8 points on pieces with w < 1.5 do better. The factor 1 + 2e covers it. What the rules
//! do to f, which itself varies within the cell, is below 1e-10·h for the 2-point rule's narrow cells and less for
//! the others: f is raised by 1e-8·h besides e, which also covers that a cell's border may lie up to 1e-4·h below
//! the grid point.
//!
//! Mechanisms on the integers and the two-sided exponential bring their own masses ([`super::lattice`],
//! [`super::laplace`]) and use [`Cells`] to place them.
//!
//! Left out on purpose: composition, in [`super::convolution`].

use super::mixture::MixturePair;

/// The most grid points one distribution may have.
pub(super) const CELLS_MAX: usize = 1 << 20;
/// How far below its grid point a cell's border may lie, in steps.
const BORDER_SLACK: f64 = 1e-4;
/// By how much losses are raised for that and for the quadrature, in steps.
const RAISE: f64 = 1e-8;

/// P-mass that a discretisation may leave out at either end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tails {
    /// Of the smallest losses: moved up to the least grid point, which only raises the result.
    pub(super) bottom: f64,
    /// Of the largest losses: charged as infinite loss.
    pub(super) top: f64,
}

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
const LEGENDRE_2: [(f64, f64); 1] = [(0.577_350_269_189_625_8, 1.0)];
const LEGENDRE_3: [(f64, f64); 2] = [(0.0, 0.888_888_888_888_889), (0.774_596_669_241_483_4, 0.555_555_555_555_555_6)];
const LEGENDRE_8: [(f64, f64); 4] = [
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
    (0.525_532_409_916_329, 0.313_706_645_877_887_29),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_47),
    (0.960_289_856_497_536_2, 0.101_228_536_290_376_26),
];

impl PrivacyLoss {
    /// Discretises the loss of `pair` with grid step `step`. The step must leave at most [`CELLS_MAX`] cells: see
    /// [`least_step`].
    ///
    /// # Errors
    /// [`MassError`] if the result does not have total mass one to nine digits.
    pub(super) fn new(pair: &MixturePair, step: f64, tails: Tails) -> Result<Self, MassError> {
        let (bottom, top) = pair.support(tails.bottom, tails.top);
        let error = pair.rounding(top.abs().max(bottom.abs()));
        let (lowest, highest) = (pair.at(bottom).loss, pair.at(top).loss);
        let mut cells = Cells::new(lowest, highest + 2.0 * error, step);
        let split = Split { pair, error, step };
        let (mut left, mut width, mut growth) = (bottom, 0.0_f64, 0.0_f64);
        for cell in 0.. {
            let floor = cells.loss(cell);
            let ceiling = floor + step;
            let right = if highest + 2.0 * error <= ceiling {
                top
            } else {
                split.border(ceiling, left, top, left + (width + growth).max(0.5 * width))
            };
            let (low, high) = split.integrate(left, right, floor);
            cells.place(cell, low * (1.0 + 2.0 * error), high * (1.0 + 2.0 * error));
            if right >= top {
                break;
            }
            growth = right - left - width;
            (left, width) = (right, right - left);
        }
        cells.finish(tails.bottom, tails.top + pair.dropped(), 4.0 * error)
    }

    /// Least and greatest finite loss, as grid indices.
    pub(super) fn range(&self) -> (i64, i64) {
        (self.first, self.first + self.mass.len() as i64 - 1)
    }
}

/// A grid that is being filled.
pub(super) struct Cells {
    first: i64,
    step: f64,
    mass: Vec<f64>,
}

impl Cells {
    /// Room for losses between `lowest` and `highest`.
    pub(super) fn new(lowest: f64, highest: f64, step: f64) -> Self {
        let first = (lowest / step).floor() as i64;
        let cells = ((highest - first as f64 * step) / step).ceil().max(1.0) as usize + 3;
        Self { first, step, mass: vec![0.0; cells] }
    }

    /// Connect-the-dots for P-mass `mass` at a computed loss that is wrong by at most `error`.
    pub(super) fn atom(&mut self, loss: f64, mass: f64, error: f64) {
        let raised = loss + error;
        let cell = ((raised / self.step).floor() - self.first as f64).max(0.0);
        let floor = (self.first as f64 + cell) * self.step;
        let share = ((floor - raised).exp_m1() / (-self.step).exp_m1()).clamp(0.0, 1.0);
        let cell = (cell as usize).min(self.mass.len() - 2);
        self.mass[cell] += mass * (1.0 - share);
        self.mass[cell + 1] += mass * share;
    }

    /// Mass that goes to the grid points at either end of a cell.
    pub(super) fn place(&mut self, cell: usize, low: f64, high: f64) {
        self.mass[cell] += low;
        self.mass[cell + 1] += high;
    }

    /// The loss at the lower end of a cell.
    pub(super) fn loss(&self, cell: usize) -> f64 {
        (self.first + cell as i64) as f64 * self.step
    }

    /// Adds what was left out `below`, and says what is at `infinity`.
    ///
    /// # Errors
    /// [`MassError`] if all of it is not one to nine digits and `slack`.
    pub(super) fn finish(mut self, below: f64, infinity: f64, slack: f64) -> Result<PrivacyLoss, MassError> {
        self.mass[1] += below;
        while self.mass.last() == Some(&0.0) {
            self.mass.pop();
        }
        let total: f64 = self.mass.iter().sum::<f64>() + infinity;
        let slack = 1e-9 + 2.0 * (below + infinity) + slack;
        if !(total - 1.0).abs().le(&slack) {
            return Err(MassError(total));
        }
        Ok(PrivacyLoss { first: self.first, step: self.step, mass: self.mass, infinity })
    }
}

/// The finest step with which `pair` fits into [`CELLS_MAX`] cells.
pub(super) fn least_step(pair: &MixturePair, tails: Tails) -> f64 {
    let (bottom, top) = pair.support(tails.bottom, tails.top);
    (pair.at(top).loss - pair.at(bottom).loss) / (CELLS_MAX - 4) as f64
}

/// E_P[L²], to some per cent: how spread the loss of one release is, and so how fine its grid should be.
pub(super) fn second_moment(pair: &MixturePair) -> f64 {
    let (bottom, top) = pair.support(1e-9, 1e-9);
    // Two dozen nodes for every component of unit width.
    let nodes = (24.0 * (top - bottom)).clamp(200.0, 2000.0).ceil();
    let width = (top - bottom) / nodes;
    (0..nodes as u64)
        .map(|k| {
            let z = bottom + (k as f64 + 0.5) * width;
            let loss = pair.at(z).loss;
            pair.density(z).upper * width * loss * loss
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
        let slack = 0.5 * BORDER_SLACK * self.step;
        let target = ceiling - 2.0 * self.error - slack;
        let (mut low, mut high) = (left, top);
        let mut guess = guess.min(top);
        // Newton inside a shrinking bracket; sixty halvings alone exhaust the digits of a float.
        for attempt in 0..90 {
            let point = self.pair.at(guess);
            let gap = target - point.loss;
            if gap.abs() <= slack.max(self.error) {
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
        if width * steepness < 3e-3 {
            self.rule(&LEGENDRE_2, left, width, floor, &mut sums);
        } else if width * steepness < 0.05 {
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
        let per_step = -1.0 / (-self.step).exp_m1();
        // f(L + e) = (1 − e^{floor − e}·Q/P)/(1 − e^{−h}).
        let raised_floor = floor - self.error - RAISE * self.step;
        let scale = raised_floor.exp();
        let mut add = |z: f64, weight: f64| {
            let density = self.pair.density(z);
            let share = if raised_floor.abs() < 300.0 {
                (1.0 - scale * density.inverse_ratio) * per_step
            } else {
                -(raised_floor - self.pair.at(z).loss).exp_m1() * per_step
            }
            .clamp(0.0, 1.0);
            let mass = 0.5 * width * weight * density.upper;
            sums.0 += mass * (1.0 - share);
            sums.1 += mass * share;
        };
        for &(node, weight) in half {
            let (middle, offset) = (start + 0.5 * width, 0.5 * width * node);
            add(middle + offset, weight);
            if node != 0.0 {
                add(middle - offset, weight);
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

    const TAILS: Tails = Tails { bottom: 1e-25, top: 1e-25 };

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
                let step = (1e-2_f64).max(least_step(&pair, TAILS));
                let loss = PrivacyLoss::new(&pair, step, TAILS).unwrap();
                let point = (at / step).floor() * step;
                let (here, truth) = (delta(&loss, point), hockey_stick(&pair, point));
                prop_assert!(here >= truth - 1e-15 && here <= truth * (1.0 + 1e-6) + 1e-13, "{here} {truth}");
                prop_assert!(delta(&loss, at) >= hockey_stick(&pair, at) - 1e-15);
            }
        }
    }

    #[test]
    fn a_finer_grid_is_tighter() {
        for pair in pairs(0.1, 1.0, 2) {
            let delta_with = |step| delta(&PrivacyLoss::new(&pair, step, TAILS).unwrap(), 0.777_7);
            let truth = hockey_stick(&pair, 0.777_7);
            let (coarse, fine) = (delta_with(0.05), delta_with(0.005));
            assert!(coarse >= fine && fine >= truth - 1e-15);
            assert!(fine - truth <= 0.02 * (coarse - truth) + 1e-13, "the excess falls with the square of the step");
        }
    }

    #[test]
    fn little_noise_is_still_discretised() {
        let pair = MixturePair::double(10, 0.1, 0.05, 1e-25);
        let step = least_step(&pair, TAILS);
        let loss = PrivacyLoss::new(&pair, step, TAILS).unwrap();
        assert!(loss.mass.len() <= CELLS_MAX && loss.mass.iter().all(|m| *m >= 0.0));
    }
}
