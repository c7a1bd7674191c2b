//! Integer noise on one integer: the discrete Gaussian's and Skellam's privacy loss, atom by atom.
//!
//! An integer that one unit moves by at most Δ, released with independent integer noise of probabilities p. Both
//! families here are log-concave in x (the discrete Gaussian because −x² is concave; Skellam as a convolution of two
//! log-concave Poisson distributions), so p(x)/p(x+Δ) never decreases in x, {L > ℓ} is a half-line, and P(half-line)
//! grows with the shift: P = p against Q = p(· + Δ) dominates every smaller shift. Both are symmetric, so the other
//! order is the mirror image.
//!
//! * Discrete Gaussian of parameter σ²: p(x) ∝ e^{−x²/2σ²}, L(x) = (2xΔ + Δ²)/2σ². Its moment generating function is
//!   at most the Gaussian's (Canonne, Kamath, Steinke 2020, corollary 17), so P(X ≥ m) ≤ e^{−m²/2σ²}.
//! * Skellam of variance μ (the difference of two Poisson variables of mean μ/2): p(x) = e^{−μ}I_{|x|}(μ), from the
//!   ratios r(x) = I_{x+1}(μ)/I_x(μ) by the recurrence r(x−1) = 1/(2x/μ + r(x)), downwards, in which every error shrinks
//!   by the factor r(x−1)r(x) < 1. P(X ≥ m) ≤ e^{μ(cosh λ − 1) − λm} with sinh λ = m/μ (Chernoff).
//!
//! Left out on purpose: vectors. See [`super::integer`] and [`super::rdp`] for what is known of them.

use super::pld::{CELLS_MAX, Cells, MassError, PrivacyLoss};

/// Rounding unit of `f64`.
const UNIT: f64 = f64::EPSILON / 2.0;
/// The largest standard deviation, in units, for which atoms of the discrete Gaussian are listed.
pub(super) const GAUSSIAN_UNITS_MAX: f64 = 32_768.0;
/// The same for Skellam, whose errors grow with it.
pub(super) const SKELLAM_UNITS_MAX: f64 = 4096.0;

/// p against p(· + Δ).
#[derive(Clone, Debug)]
pub(super) struct LatticePair {
    /// Loss and P-mass, losses rising.
    atoms: Vec<(f64, f64)>,
    /// Bound on the error of a loss.
    error: f64,
    /// Bound on the relative error of a mass.
    mass_error: f64,
    /// Bound on P's mass beyond the list, at either end.
    left_out: f64,
    /// What all losses are multiples of.
    spacing: Option<f64>,
}

impl LatticePair {
    /// The discrete Gaussian of parameter σ², `sigma` in units, against its shift by `shift` units.
    pub(super) fn gaussian(sigma: f64, shift: u64, tail: f64) -> Self {
        let reach = (sigma * (-2.0 * tail.ln()).sqrt()).ceil().max(1.0) as i64;
        let scale = 0.5 / (sigma * sigma);
        let weight = |x: i64| (-((x * x) as f64) * scale).exp();
        let total = 1.0 + 2.0 * (1..=reach).rev().map(weight).sum::<f64>();
        let delta = shift as f64;
        let loss = |x: i64| (2.0 * x as f64 * delta + delta * delta) * scale;
        let exponent = (reach * reach) as f64 * scale;
        Self {
            atoms: (-reach..=reach).map(|x| (loss(x), weight(x) / total)).collect(),
            error: 16.0 * UNIT * (1.0 + loss(reach)),
            mass_error: 16.0 * UNIT * (4.0 + exponent) + UNIT * reach as f64 + 2.0 * tail,
            left_out: tail,
            spacing: Some(delta * scale),
        }
    }

    /// Skellam of `variance` units² against its shift by `shift` units.
    pub(super) fn skellam(variance: f64, shift: u64, tail: f64) -> Self {
        let reach = skellam_reach(variance, tail);
        let span = reach + shift as usize;
        // Started far enough out that the error of the first ratio is gone where ratios are used.
        let start = span + 64 + 2 * variance.sqrt() as usize;
        let order = start as f64 + 1.0;
        // Between the bounds of Amos 1974.
        let mut ratio = variance / (order + (order * order + variance * variance).sqrt());
        let mut ln_ratio = vec![0.0; span];
        for x in (1..=start).rev() {
            // Here `ratio` is r(x); it becomes r(x−1).
            ratio = 1.0 / (2.0 * x as f64 / variance + ratio);
            if x <= span {
                ln_ratio[x - 1] = ratio.ln();
            }
        }
        // ln p(x)/p(0) for x = 0..=span.
        let mut ln_weight = vec![0.0; span + 1];
        for x in 0..span {
            ln_weight[x + 1] = ln_weight[x] + ln_ratio[x];
        }
        let total = 1.0 + 2.0 * ln_weight[1..=reach].iter().rev().map(|w| w.exp()).sum::<f64>();
        let at = |x: i64| ln_weight[x.unsigned_abs() as usize];
        let atoms: Vec<_> =
            (-(reach as i64)..=reach as i64).map(|x| (at(x) - at(x + shift as i64), at(x).exp() / total)).collect();
        // A ratio errs by 2u a step of the recurrence, of which about √μ count before they have shrunk; a logarithm by
        // that, and a running sum by one unit of its size a term.
        let one = 4.0 * UNIT * (variance.sqrt() + 4.0);
        let largest = -ln_weight[span];
        let error = (shift as f64 + 1.0) * (one + UNIT * largest) + 16.0 * UNIT * (1.0 + largest);
        let mass_error = (reach as f64 + 1.0) * (one + UNIT * largest) + 16.0 * UNIT + 2.0 * tail;
        Self { atoms, error, mass_error, left_out: tail, spacing: None }
    }

    /// The loss on a grid of `step`.
    ///
    /// # Errors
    /// As [`Cells::finish`].
    pub(super) fn discretise(&self, step: f64) -> Result<PrivacyLoss, MassError> {
        let (lowest, highest) = self.range();
        let mut cells = Cells::new(lowest - self.error, highest + 2.0 * self.error, step);
        for &(loss, mass) in &self.atoms {
            cells.atom(loss, mass * (1.0 + self.mass_error), self.error);
        }
        cells.finish(self.left_out, self.left_out, 4.0 * self.mass_error)
    }

    /// What all losses are multiples of, if there is such a number.
    pub(super) fn spacing(&self) -> Option<f64> {
        self.spacing
    }

    fn range(&self) -> (f64, f64) {
        let last = self.atoms.len() - 1;
        (self.atoms[0].0, self.atoms[last].0)
    }

    /// The finest step that [`CELLS_MAX`] allows.
    pub(super) fn least_step(&self) -> f64 {
        let (lowest, highest) = self.range();
        (highest - lowest) / (CELLS_MAX - 8) as f64
    }

    /// E_P[L²].
    pub(super) fn second_moment(&self) -> f64 {
        self.atoms.iter().map(|(loss, mass)| mass * loss * loss).sum()
    }

    /// P's probabilities in the order of the integers.
    #[cfg(test)]
    pub(super) fn masses(&self) -> Vec<f64> {
        self.atoms.iter().map(|(_, mass)| *mass).collect()
    }

    /// δ(ε) of one release, by summation.
    #[cfg(test)]
    pub(super) fn delta(&self, epsilon: f64) -> f64 {
        self.atoms.iter().filter(|(l, _)| *l > epsilon).map(|(l, mass)| -mass * (epsilon - l).exp_m1()).sum()
    }

    /// D_α of one release, by summation.
    #[cfg(test)]
    pub(super) fn divergence(&self, alpha: f64) -> f64 {
        let terms = || self.atoms.iter().filter(|(_, mass)| *mass > 0.0).map(|(l, mass)| mass.ln() + (alpha - 1.0) * l);
        let top = terms().fold(f64::NEG_INFINITY, f64::max);
        (top + terms().map(|t| (t - top).exp()).sum::<f64>().ln()) / (alpha - 1.0)
    }
}

/// The least m with P(X > m) ≤ `tail`, by the Chernoff bound.
fn skellam_reach(variance: f64, tail: f64) -> usize {
    let ln_bound = |m: f64| {
        let lambda = (m / variance).asinh();
        // cosh λ − 1 = 2 sinh²(λ/2).
        2.0 * variance * (0.5 * lambda).sinh().powi(2) - lambda * m
    };
    let mut high = 1.0;
    while ln_bound(high + 1.0) > tail.ln() {
        high *= 2.0;
    }
    let mut low = 0.0;
    while high - low > 1.0 {
        let middle = (0.5 * (low + high)).floor();
        if ln_bound(middle + 1.0) > tail.ln() { low = middle } else { high = middle }
    }
    high as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// e^{−μ}I_x(μ) as its defining sum over both Poisson variables, for small μ.
    fn skellam_directly(variance: f64, x: u32) -> f64 {
        let mean = 0.5 * variance;
        let poisson = |k: u32| (1..=k).fold((-mean).exp(), |p, i| p * mean / f64::from(i));
        (0..150).map(|k| poisson(k) * poisson(k + x)).sum()
    }

    #[test]
    fn skellam_probabilities_are_those_of_a_difference_of_poissons() {
        for variance in [0.3, 2.0, 15.0, 40.0] {
            let pair = LatticePair::skellam(variance, 1, 1e-25);
            let middle = pair.atoms.len() / 2;
            for x in [0_u32, 1, 2, 5, 9] {
                let (ours, direct) = (pair.atoms[middle + x as usize].1, skellam_directly(variance, x));
                assert!((ours / direct - 1.0).abs() < 1e-12, "{variance} {x}: {ours} {direct}");
            }
        }
    }

    #[test]
    fn skellam_has_its_variance_and_hardly_any_mass_beyond_its_list() {
        for variance in [0.01, 1.0, 1e3, 1e6, 1.6e7] {
            let pair = LatticePair::skellam(variance, 1, 1e-20);
            let middle = (pair.atoms.len() / 2) as f64;
            let square: f64 =
                pair.atoms.iter().enumerate().map(|(k, (_, mass))| mass * (k as f64 - middle).powi(2)).sum();
            assert!((square / variance - 1.0).abs() < 1e-9, "{variance}: {square}");
        }
    }

    #[test]
    fn losses_never_fall() {
        for pair in [
            LatticePair::gaussian(0.5, 1, 1e-20),
            LatticePair::gaussian(40.0, 7, 1e-20),
            LatticePair::skellam(0.5, 3, 1e-20),
            LatticePair::skellam(900.0, 11, 1e-20),
        ] {
            assert!(pair.atoms.windows(2).all(|two| two[0].0 <= two[1].0));
            let total: f64 = pair.atoms.iter().map(|(_, mass)| mass).sum();
            assert!((total - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn a_discretised_lattice_is_never_below_the_sum_over_its_atoms() {
        for pair in [LatticePair::gaussian(1.3, 1, 1e-25), LatticePair::skellam(3.0, 2, 1e-25)] {
            let loss = pair.discretise(1e-3).unwrap();
            for at in 0..40 {
                let epsilon = f64::from(at) * 0.1;
                let grid: f64 = loss
                    .mass
                    .iter()
                    .enumerate()
                    .map(|(k, mass)| (mass, (loss.first + k as i64) as f64 * loss.step))
                    .filter(|(_, l)| *l > epsilon)
                    .map(|(mass, l)| -mass * (epsilon - l).exp_m1())
                    .sum();
                let truth = pair.delta(epsilon);
                assert!(grid >= truth && grid <= truth + 1e-6, "{epsilon}: {grid} {truth}");
            }
        }
    }

    #[test]
    fn skellam_divergences_stay_below_the_published_bound() {
        // the main theorem of Agarwal, Kairouz, Liu 2021, at integer orders, for one integer.
        for (variance, shift) in [(4.0, 1_u64), (100.0, 3), (1e4, 20)] {
            let pair = LatticePair::skellam(variance, shift, 1e-200);
            for alpha in [2_u32, 3, 8, 20] {
                let bound = super::super::rdp::skellam(variance, shift as f64, shift as f64, f64::from(alpha)).unwrap();
                let exact = pair.divergence(f64::from(alpha));
                assert!(exact <= bound, "{variance} {shift} {alpha}: {exact} > {bound}");
            }
        }
    }
}
