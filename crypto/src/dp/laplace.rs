//! The privacy loss of Laplace noise in closed form.
//!
//! A real number that one unit moves by at most Δ, released with noise of density e^{−|x|/b}/2b. With μ = Δ/b the pair
//! P = Lap(0, b), Q = Lap(Δ, b) dominates: the densities are log-concave, so of all shifts up to Δ the largest has the
//! largest divergences, in both directions alike by symmetry (the pair is its own mirror image). Its loss is μ left of
//! 0 (P-mass ½), −μ right of Δ (P-mass ½e^{−μ}), and between them has the density ¼e^{(ℓ−μ)/2}.
//!
//! One number only: for a vector of which several coordinates change at once, compose, or bound the release another
//! way. Rényi divergence: Mironov 2017, table II.

use super::pld::{CELLS_MAX, Cells, MassError, PrivacyLoss};

/// Lap(0, b) against Lap(Δ, b).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct LaplacePair {
    /// Δ/b.
    pub(super) mu: f64,
}

impl LaplacePair {
    /// The loss on a grid of `step`; nothing is left out.
    ///
    /// # Errors
    /// As [`Cells::finish`].
    pub(super) fn discretise(self, step: f64) -> Result<PrivacyLoss, MassError> {
        let mu = self.mu;
        // A few rounding units of the largest number involved.
        let error = 16.0 * f64::EPSILON * (1.0 + mu);
        let mut cells = Cells::new(-mu - error, mu + error, step);
        cells.atom(mu, 0.5, error);
        cells.atom(-mu, 0.5 * (-mu).exp(), error);
        let per_step = -1.0 / (-step).exp_m1();
        for cell in 0.. {
            let floor = cells.loss(cell);
            let (start, end) = (floor.max(-mu), (floor + step).min(mu));
            if floor >= mu {
                break;
            }
            if end > start {
                // P's mass between them, and e^{floor} times Q's: connect-the-dots needs only these.
                let mass = 0.5 * (0.5 * (start - mu)).exp() * (0.5 * (end - start)).exp_m1();
                let other = 0.5 * (floor - 0.5 * start - 0.5 * mu).exp() * -(-0.5 * (end - start)).exp_m1();
                let share = (mass - other) * per_step + mass * (2.0 * error / step).min(1.0);
                let (mass, share) = (mass * (1.0 + error), share.clamp(0.0, mass));
                cells.place(cell, mass - share, share);
            }
        }
        cells.finish(0.0, 0.0, 1e-9)
    }

    /// The finest step that [`CELLS_MAX`] allows.
    pub(super) fn least_step(self) -> f64 {
        2.0 * self.mu / (CELLS_MAX - 8) as f64
    }

    /// E_P[L²], to some per cent.
    pub(super) fn second_moment(self) -> f64 {
        const NODES: u32 = 400;
        let mu = self.mu;
        let width = 2.0 * mu / f64::from(NODES);
        let between: f64 = (0..NODES)
            .map(|k| {
                let loss = (f64::from(k) + 0.5) * width - mu;
                0.25 * (0.5 * (loss - mu)).exp() * loss * loss * width
            })
            .sum();
        between + 0.5 * mu * mu * (1.0 + (-mu).exp())
    }

    /// D_α(P‖Q) = ln(α/(2α−1)·e^{(α−1)μ} + (α−1)/(2α−1)·e^{−αμ})/(α − 1), enlarged by its rounding.
    pub(super) fn divergence(self, alpha: f64) -> f64 {
        let (a, mu) = (alpha - 1.0, self.mu);
        // Factored so that nothing overflows.
        let inner = (alpha + a * (-(alpha + a) * mu).exp()) / (alpha + a);
        let value = mu + inner.ln() / a;
        value.max(0.0) + 8.0 * f64::EPSILON * (1.0 + mu + 1.0 / a)
    }

    /// The least ε of one release: δ(ε) = 1 − e^{(ε−μ)/2} for 0 ≤ ε ≤ μ, rounded up.
    pub(super) fn epsilon(self, delta: f64) -> f64 {
        ((self.mu + 2.0 * (-delta).ln_1p()) + 4.0 * f64::EPSILON * self.mu).max(0.0)
    }

    /// δ(ε) of one release, rounded up.
    pub(super) fn delta(self, epsilon: f64) -> f64 {
        if epsilon >= self.mu { 0.0 } else { -(0.5 * (epsilon - self.mu)).exp_m1() * (1.0 + 4.0 * f64::EPSILON) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn the_grid_meets_the_profile_at_its_points_and_exceeds_it_between(mu in 0.01_f64..20.0, at in 0.0_f64..1.0) {
            let pair = LaplacePair { mu };
            let step = 1e-3_f64.max(pair.least_step());
            let loss = pair.discretise(step).unwrap();
            let delta = |epsilon: f64| -> f64 {
                let lost = |(k, mass): (usize, &f64)| {
                    let l = (loss.first + k as i64) as f64 * step;
                    if l > epsilon { -mass * (epsilon - l).exp_m1() } else { 0.0 }
                };
                loss.mass.iter().enumerate().map(lost).sum()
            };
            let epsilon = at * mu;
            prop_assert!(delta(epsilon) >= pair.delta(epsilon) - 1e-14);
            let point = (epsilon / step).floor() * step;
            prop_assert!((delta(point) - pair.delta(point)).abs() < 1e-10, "{} {}", delta(point), pair.delta(point));
        }

        #[test]
        fn the_divergence_is_what_its_integral_gives(mu in 0.1_f64..5.0, alpha in 1.1_f64..20.0) {
            // ln E_P[e^{(α−1)L}] over the loss's distribution, by a midpoint rule.
            let pair = LaplacePair { mu };
            let width = 2.0 * mu / 20_000.0;
            let between: f64 = (0..20_000)
                .map(|k| (f64::from(k) + 0.5) * width - mu)
                .map(|l| 0.25 * (0.5 * (l - mu) + (alpha - 1.0) * l).exp() * width)
                .sum();
            let ends = 0.5 * ((alpha - 1.0) * mu).exp() + 0.5 * (-mu - (alpha - 1.0) * mu).exp();
            let direct = (between + ends).ln() / (alpha - 1.0);
            prop_assert!((pair.divergence(alpha) - direct).abs() < 1e-5 * (1.0 + direct));
        }
    }
}
