//! What it costs that noise is made of integers: the step from discrete Gaussians to the Gaussian that is counted.
//!
//! Secure aggregation adds up *integers*: every merchant rounds its sum and adds an independent discrete Gaussian
//! N_ℤ(0, σ²). The dominating pairs of [`super`], "What is proven", are about a real Gaussian. This module closes the
//! gap: [`IntegerNoise::as_gaussian`] names a real Gaussian, slightly narrower than the integer noise, and a number Λ
//! such that the real release's distribution is, point by point, within e^{±Λ} of a *function* of the Gaussian one.
//! Functions of a release cost nothing, and Λ is charged by [`super::event::DpEvent::WithinRatio`].
//!
//! # Proof
//! Write ρ_s(x) = e^{−x²/2s²} and θ(s) = 2 Σ_{k≥1} e^{−2π²s²k²}. By Poisson's summation formula Σ_{x∈ℤ} ρ_s(x − t) =
//! √(2π)·s·(1 + 2 Σ_{k≥1} e^{−2π²s²k²} cos 2πkt), which for every t lies within √(2π)·s·(1 ± θ(s)).
//!
//! 1. *A sum of discrete Gaussians is nearly one.* Let X ~ N_ℤ(0, a²), Y ~ N_ℤ(0, b²) be independent. Completing the
//!    square, P(X + Y = z) = const·ρ_{√(a²+b²)}(z)·Σ_x ρ_c(x − t_z) with 1/c² = 1/a² + 1/b². So its ratio to the
//!    probability under N_ℤ(0, a² + b²) is const·(1 + δ_z), |δ_z| ≤ θ(c). Both sum to one, hence const lies between 1/(1 +
//!    θ) and 1/(1 − θ), and |ln ratio| ≤ ln((1+θ)/(1−θ)) = 2 artanh θ(c). Adding shares of equal σ one after the other
//!    (adding an independent variable keeps a ratio), n of them are within Σ_{k=1}^{n−1} 2 artanh θ(σ√(k/(k+1))) of
//!    N_ℤ(0, nσ²). (Kairouz, Liu, Steinke 2021, theorem 1, has the same with the constant 10 for our 4.)
//! 2. *A discrete Gaussian is nearly a rounded Gaussian.* For an integer m, draw x ~ N(m, σ² − s²), then z from the
//!    discrete Gaussian on ℤ centred at the real x, with parameter s² (Peikert 2010, theorem 3.1). The second step does
//!    not look at m. P(z) = ∫ φ(x)·ρ_s(z − x)/Σ_y ρ_s(y − x) dx lies within 1/(1 ± θ(s)) of N(m, σ²)'s density at z; so
//!    does, with θ(σ) ≤ θ(s), the discrete Gaussian around m. Hence |ln ratio| ≤ 2 artanh θ(s).
//! 3. *Vectors, mixtures, runs.* Noise is independent over d coordinates, so logarithms of ratios add up to d times
//!    their bound, for every integer vector m alike. Mixtures over m (which series were sampled) keep the bound. Over T
//!    adaptive releases logarithms add again. If P ≤ e^Λ P′ and Q ≥ e^{−Λ} Q′, then P(S) − e^ε Q(S) ≤ e^Λ (P′(S) −
//!    e^{ε−2Λ} Q′(S)): the release is (ε′ + 2Λ, e^Λ δ′)-private where the Gaussian one is (ε′, δ′)-private. ∎
//!
//! More shares than n only add an independent variable, which is a function of the sum; so is the reduction modulo 2^b.
//! With s = 2 units θ(s) is below 10⁻³³, and a noise of 300 units loses 2·10⁻⁵ of its standard deviation. The whole gap
//! of a real run is therefore far below a thousandth of ε; it is counted because "small" is no proof.
//!
//! Left out on purpose: what rounding does to the sensitivity ([`crate::quantize`]).

use super::noise::Variance;

/// s: how much of the noise is given up to make it a function of a real Gaussian, in units.
pub(super) const SMOOTHING_UNITS: f64 = 2.0;

/// Independent discrete Gaussian shares on a vector of integers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IntegerNoise {
    variance_units: f64,
    shares: u32,
    dimension: u32,
}

/// A real Gaussian of which the integer noise is nearly a function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianBound {
    /// Its standard deviation in grid units, rounded down.
    pub sigma_units: f64,
    /// Λ of one release of the whole vector.
    pub log_ratio: f64,
}

/// Why integer noise has no Gaussian counterpart.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum IntegerNoiseError {
    /// No shares, or a vector of no coordinates.
    #[error("noise needs at least one share and one coordinate")]
    Empty,
    /// σ² is no positive number.
    #[error("the variance of a noise share must be a positive number of squared units, not {0}")]
    Variance(f64),
    /// So little noise that integers show.
    #[error("noise of {sigma_units} grid units is too coarse to count as Gaussian: use more units per clip norm")]
    TooCoarse {
        /// Standard deviation of the sum of all shares.
        sigma_units: f64,
    },
}

impl IntegerNoise {
    /// `shares` independent draws of N_ℤ(0, σ²) on each of `dimension` coordinates; σ² = `variance_units` in units².
    ///
    /// `shares` is the number that certainly is in the sum: m − n_C survivors for the server with colluders, 1 for
    /// everyone else together.
    ///
    /// # Errors
    /// [`IntegerNoiseError`] for numbers out of range.
    pub fn new(variance_units: f64, shares: u32, dimension: u32) -> Result<Self, IntegerNoiseError> {
        if shares == 0 || dimension == 0 {
            return Err(IntegerNoiseError::Empty);
        }
        if !(variance_units.is_finite() && variance_units > 0.0) {
            return Err(IntegerNoiseError::Variance(variance_units));
        }
        Ok(Self { variance_units, shares, dimension })
    }

    /// [`Self::new`] with the variance that a sampler uses.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn of(share: Variance, shares: u32, dimension: u32) -> Result<Self, IntegerNoiseError> {
        Self::new(share.squared() * (1.0 - f64::EPSILON), shares, dimension)
    }

    /// Bound on |ln| of the ratio, per coordinate, between the sum of the shares and the one discrete Gaussian of their
    /// joint σ² (step 1).
    pub fn sum_log_ratio(&self) -> f64 {
        let term = |k: u32| artanh_theta_twice(self.variance_units * f64::from(k) / (f64::from(k) + 1.0));
        // Terms fall with k, at most to the limit at c = σ: after a thousand they are bounded by their last.
        let listed = self.shares.min(1024);
        let listed_sum: f64 = (1..listed).map(term).sum();
        let rest = f64::from(self.shares - listed) * term(listed);
        (listed_sum + rest) * (1.0 + 1e-9)
    }

    /// The real Gaussian to count instead, and what that substitution costs.
    ///
    /// # Errors
    /// [`IntegerNoiseError::TooCoarse`] below some three units of noise in the sum.
    pub fn as_gaussian(&self) -> Result<GaussianBound, IntegerNoiseError> {
        self.with_smoothing(SMOOTHING_UNITS * SMOOTHING_UNITS)
    }

    /// The same where s² is chosen so that Λ of `releases` of them stays below 10⁻⁹, if the noise allows it.
    pub(super) fn as_gaussian_for(&self, releases: u64) -> Result<GaussianBound, IntegerNoiseError> {
        let count = releases as f64 * f64::from(self.dimension);
        let wanted = (4e9 * count.max(1.0)).ln() / (2.0 * std::f64::consts::PI * std::f64::consts::PI);
        self.with_smoothing(wanted.min(SMOOTHING_UNITS * SMOOTHING_UNITS).min(0.5 * self.whole_variance()))
    }

    fn whole_variance(&self) -> f64 {
        self.variance_units * f64::from(self.shares) * (1.0 - f64::EPSILON)
    }

    fn with_smoothing(&self, squared: f64) -> Result<GaussianBound, IntegerNoiseError> {
        let whole = self.whole_variance();
        let too_coarse = IntegerNoiseError::TooCoarse { sigma_units: whole.sqrt() };
        if whole < 2.0 * squared {
            return Err(too_coarse);
        }
        let per_coordinate = self.sum_log_ratio() + artanh_theta_twice(squared);
        let log_ratio = per_coordinate * f64::from(self.dimension) * (1.0 + 1e-9);
        if !log_ratio.is_finite() {
            return Err(too_coarse);
        }
        Ok(GaussianBound { sigma_units: (whole - squared).sqrt() * (1.0 - f64::EPSILON), log_ratio })
    }
}

/// 2 artanh θ(s) = ln((1+θ)/(1−θ)) of a squared width, rounded up; infinite where θ reaches 1.
fn artanh_theta_twice(squared: f64) -> f64 {
    let exponent = 2.0 * std::f64::consts::PI * std::f64::consts::PI * squared;
    // k² ≥ 1 + 3(k − 1) makes the sum a geometric one.
    let theta = 2.0 * (-exponent).exp() / -(-3.0 * exponent).exp_m1() * (1.0 + 1e-9);
    if theta < 1.0 { (theta.ln_1p() - (-theta).ln_1p()) * (1.0 + 1e-9) + f64::MIN_POSITIVE } else { f64::INFINITY }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dp::noise::tau;

    /// N_ℤ(0, σ²) on −reach..=reach.
    fn discrete(variance: f64, reach: i64) -> Vec<f64> {
        let weight = |x: i64| (-((x * x) as f64) / (2.0 * variance)).exp();
        let total: f64 = (-200..=200).map(weight).sum();
        (-reach..=reach).map(|x| weight(x) / total).collect()
    }

    fn convolved(a: &[f64], b: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; a.len() + b.len() - 1];
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                out[i + j] += x * y;
            }
        }
        out
    }

    #[test]
    fn the_ratio_of_a_sum_is_within_its_bound_and_the_bound_is_not_idle() {
        for (variance, shares) in [(0.3, 2), (0.5, 2), (0.5, 4), (1.0, 3)] {
            let share = discrete(variance, 14);
            let sum = (1..shares).fold(share.clone(), |sum, _| convolved(&sum, &share));
            let whole = discrete(variance * f64::from(shares), (sum.len() / 2) as i64);
            let middle = sum.len() / 2;
            // Only where the truncation of the shares does not show.
            let worst = (middle - 6..=middle + 6).map(|k| (sum[k] / whole[k]).ln().abs()).fold(0.0, f64::max);
            let bound = IntegerNoise::new(variance, shares, 1).unwrap().sum_log_ratio();
            assert!(worst <= bound && worst > bound / 30.0, "{variance} {shares}: {worst} {bound}");
        }
    }

    #[test]
    fn the_bound_is_below_the_published_one() {
        for (sigma, shares) in [(0.8_f64, 2), (1.0, 1000), (2.0, 10), (4.0, 255)] {
            let ours = IntegerNoise::new(sigma * sigma, shares, 1).unwrap().sum_log_ratio();
            assert!(ours <= tau(sigma, shares) * (1.0 + 1e-6), "{sigma} {shares}");
        }
    }

    #[test]
    fn a_discrete_gaussian_is_nearly_a_function_of_a_narrower_real_one() {
        // The construction of step 2 by a fine midpoint rule, at a small s where the bound can be seen.
        let (variance, squared) = (4.0, 0.3);
        let narrow = variance - squared;
        let weight = |x: f64, s: f64| (-x * x / (2.0 * s)).exp();
        let whole = discrete(variance, 8);
        let bound = artanh_theta_twice(squared);
        let mut worst: f64 = 0.0;
        for z in -8_i64..=8 {
            let steps = 40_000;
            let width = 60.0 / f64::from(steps);
            let probability: f64 = (0..steps)
                .map(|k| (f64::from(k) + 0.5) * width - 30.0)
                .map(|x| {
                    let near = x.round() as i64;
                    let total: f64 = (near - 12..=near + 12).map(|y| weight(y as f64 - x, squared)).sum();
                    weight(x, narrow) * weight(z as f64 - x, squared) / total * width
                })
                .sum::<f64>()
                / (std::f64::consts::TAU * narrow).sqrt();
            worst = worst.max((probability / whole[(z + 8) as usize]).ln().abs());
        }
        assert!(worst <= bound && worst > 1e-4 * bound, "{worst} {bound}");
    }

    #[test]
    fn real_noise_loses_next_to_nothing() {
        // Ten shares of 300 units on 400 coordinates.
        let bound = IntegerNoise::new(90_000.0, 10, 400).unwrap().as_gaussian().unwrap();
        assert!(bound.log_ratio < 1e-29 && bound.log_ratio > 0.0);
        let exact = 900_000_f64.sqrt();
        assert!(bound.sigma_units < exact && bound.sigma_units > exact * (1.0 - 1e-5));
    }

    #[test]
    fn coarse_noise_and_empty_sums_are_refused_by_name() {
        let coarse = IntegerNoise::new(1.0, 4, 10).unwrap().as_gaussian();
        assert!(matches!(coarse, Err(IntegerNoiseError::TooCoarse { .. })));
        assert_eq!(IntegerNoise::new(1.0, 0, 1), Err(IntegerNoiseError::Empty));
        assert_eq!(IntegerNoise::new(1.0, 1, 0), Err(IntegerNoiseError::Empty));
        for variance in [0.0, -1.0, f64::INFINITY] {
            assert_eq!(IntegerNoise::new(variance, 1, 1), Err(IntegerNoiseError::Variance(variance)));
        }
        assert!(IntegerNoise::new(f64::NAN, 1, 1).is_err());
    }
}
