//! Noise on integers: the discrete Gaussian N_ℤ(0, σ²), which gives x ∈ ℤ with probability proportional to
//! exp(−x²/2σ²), and Skellam noise, the difference of two Poisson variables.
//!
//! The invariant: every probability that decides what a sampler returns is a ratio of integers, so no floating-point
//! rounding shapes the distribution (Mironov 2012 shows what such rounding can leak). Noise comes from a
//! cryptographic generator seeded by the operating system; the only other constructor has `danger` in its name.
//!
//! Two independent implementations of the discrete Gaussian: [`ExactSampler`] here, and [`OpenDpSampler`], OpenDP's, as
//! the reference and for whoever prefers its proofs; [`NoiseSampler`] chooses. OpenDP has no Skellam noise. All take a
//! time that depends on what they draw.
//!
//! Left out on purpose: tables of cumulative probabilities (faster, but their error would be charged to δ).

mod exact;
mod skellam;

pub use exact::ExactSampler;
pub use skellam::{SkellamVariance, SkellamVarianceError};

use opendp::traits::{CastInternalRational, SaturatingCast};
use serde::{Deserialize, Serialize};

use crate::entropy::EntropyUnavailable;

/// σ² of a discrete Gaussian as an exact fraction, in squared grid units.
///
/// This is the parameter of the distribution; the variance itself differs from it by less than 10^-6 once σ ≥ 1 and
/// is smaller below that (Canonne, Kamath, Steinke 2020, §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "VarianceFields")]
pub struct Variance {
    numerator: u64,
    denominator: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VarianceFields {
    numerator: u64,
    denominator: u64,
}

impl TryFrom<VarianceFields> for Variance {
    type Error = VarianceError;

    fn try_from(fields: VarianceFields) -> Result<Self, VarianceError> {
        Self::new(fields.numerator, fields.denominator)
    }
}

/// Why a fraction is no usable σ².
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VarianceError {
    /// Zero, infinite or not a number.
    #[error("σ² must be positive and finite, not {0}")]
    NotPositive(String),
    /// The exact arithmetic of the sampler would overflow: 2·numerator·denominator·(⌊σ⌋+1)² must stay below 2^96.
    #[error("σ² = {numerator}/{denominator} is too large or too finely divided for exact sampling in 128 bits")]
    OutOfRange {
        /// The fraction's numerator.
        numerator: u64,
        /// The fraction's denominator.
        denominator: u64,
    },
}

impl Variance {
    /// σ² = `numerator` / `denominator`, kept as given.
    ///
    /// # Errors
    /// [`VarianceError`] when it is not positive, or too large for exact sampling (whole σ² always fit
    /// up to σ = 10^7).
    pub fn new(numerator: u64, denominator: u64) -> Result<Self, VarianceError> {
        if numerator == 0 || denominator == 0 {
            return Err(VarianceError::NotPositive(format!("{numerator}/{denominator}")));
        }
        let variance = Self { numerator, denominator };
        match variance.acceptance_denominator() {
            Some(_) => Ok(variance),
            None => Err(VarianceError::OutOfRange { numerator, denominator }),
        }
    }

    /// The smallest fraction ≥ `sigma`² with the finest power-of-two denominator that can be sampled exactly: noise is
    /// never less than asked for.
    ///
    /// # Errors
    /// As [`Variance::new`].
    pub fn from_sigma_ceil(sigma_units: f64) -> Result<Self, VarianceError> {
        if !(sigma_units.is_finite() && sigma_units > 0.0) {
            return Err(VarianceError::NotPositive(sigma_units.to_string()));
        }
        let squared = (sigma_units * sigma_units).next_up();
        let fits = |denominator: u64| {
            let numerator = (squared * denominator as f64).ceil();
            // Below 2^53 the product with a power of two and the ceiling are exact.
            (numerator < 2f64.powi(53)).then(|| Self::new(numerator as u64, denominator).ok()).flatten()
        };
        (0..=20u32)
            .rev()
            .find_map(|shift| fits(1 << shift))
            .ok_or(VarianceError::OutOfRange { numerator: squared as u64, denominator: 1 })
    }

    /// The numerator of σ².
    pub fn numerator(&self) -> u64 {
        self.numerator
    }

    /// The denominator of σ².
    pub fn denominator(&self) -> u64 {
        self.denominator
    }

    /// σ² as the nearest f64, in units².
    pub fn squared(&self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }

    /// σ as the nearest f64, in units.
    pub fn sigma(&self) -> f64 {
        self.squared().sqrt()
    }

    /// t = ⌊σ⌋ + 1, the scale of the Laplace proposal.
    fn proposal_scale(&self) -> u64 {
        (self.numerator / self.denominator).isqrt() + 1
    }

    /// 2·a·b·t² for σ² = a/b, where it stays below 2^96.
    fn acceptance_denominator(&self) -> Option<u128> {
        let t = u128::from(self.proposal_scale());
        (2 * u128::from(self.numerator))
            .checked_mul(u128::from(self.denominator))?
            .checked_mul(t * t)
            .filter(|denominator| *denominator < 1 << 96)
    }
}

/// Why noise could not be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoiseError {
    /// The operating system gave no random bytes.
    #[error("no noise could be drawn: {0}")]
    Entropy(#[from] EntropyUnavailable),
    /// No noise of that variance can be drawn.
    #[error(transparent)]
    Variance(#[from] VarianceError),
    /// OpenDP's sampler failed.
    #[error("OpenDP's sampler failed: {0}")]
    OpenDp(String),
    /// The generator's period is used up (2^64 blocks); make a new sampler.
    #[error("the sampler's keystream is used up; make a new sampler")]
    Exhausted,
}

/// Something that adds discrete Gaussian noise.
pub trait NoiseSource {
    /// Adds an independent draw of N_ℤ(0, `variance`) to every element of `out`, wrapping modulo 2^64 (sums are taken
    /// modulo 2^b with b < 64, so nothing is lost).
    ///
    /// # Errors
    /// [`NoiseError`]; `out` may then be partly noised and must not be released.
    fn add_discrete_gaussian(&mut self, variance: Variance, out: &mut [i64]) -> Result<(), NoiseError>;

    /// What the ledger records as the noise source.
    fn name(&self) -> &'static str;
}

/// Which implementation draws the noise.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoiseSampler {
    /// [`ExactSampler`].
    #[default]
    Exact,
    /// [`OpenDpSampler`], many times slower.
    OpenDp,
}

/// A name that is no noise sampler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no noise sampler: use exact or opendp")]
pub struct UnknownSampler(pub String);

impl NoiseSampler {
    /// The name used on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::OpenDp => "opendp",
        }
    }

    /// A source of noise, seeded by the operating system.
    ///
    /// # Errors
    /// [`NoiseError::Entropy`] when that gives no random bytes.
    pub fn source(self) -> Result<Box<dyn NoiseSource + Send>, NoiseError> {
        Ok(match self {
            Self::Exact => Box::new(ExactSampler::new()?),
            Self::OpenDp => Box::new(OpenDpSampler::new()),
        })
    }
}

impl std::fmt::Display for NoiseSampler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for NoiseSampler {
    type Err = UnknownSampler;

    fn from_str(name: &str) -> Result<Self, UnknownSampler> {
        [Self::Exact, Self::OpenDp]
            .into_iter()
            .find(|sampler| sampler.name() == name)
            .ok_or_else(|| UnknownSampler(name.to_owned()))
    }
}

/// OpenDP's exact sampler, on the generator of its vendored OpenSSL.
#[derive(Debug, Default)]
pub struct OpenDpSampler;

impl OpenDpSampler {
    /// A handle; the generator is OpenDP's own.
    pub fn new() -> Self {
        Self
    }
}

impl NoiseSource for OpenDpSampler {
    /// OpenDP is parametrised by σ, which is irrational for most fractions; the next f64 above is used, so its noise
    /// is larger by a relative 2^-52 at most.
    fn add_discrete_gaussian(&mut self, variance: Variance, out: &mut [i64]) -> Result<(), NoiseError> {
        let failed = |error: opendp::error::Error| NoiseError::OpenDp(error.to_string());
        let root = variance.sigma();
        let sigma = if root * root == variance.squared() { root } else { root.next_up() };
        let scale = sigma.into_rational().map_err(failed)?;
        for slot in out {
            let draw = opendp::traits::samplers::sample_discrete_gaussian(scale.clone()).map_err(failed)?;
            *slot = slot.wrapping_add(i64::saturating_cast(draw));
        }
        Ok(())
    }

    fn name(&self) -> &'static str {
        "opendp-0.16-discrete-gaussian"
    }
}

/// A bound, per coordinate, on the logarithm of the ratio between the probabilities of the sum of `n` discrete Gaussians
/// of σ_local (units) and of the one discrete Gaussian of variance n·σ_local², hence on their total variation distance:
/// τ = 10·Σ_{k=1}^{n−1} exp(−2π²σ²·k/(k+1)) (Kairouz, Liu, Steinke 2021, Theorem 1).
///
/// At σ_local = 4 and n = 255 it is below 10^-65. What a run is charged for it is said in [`super::integer`].
pub fn tau(sigma_local_units: f64, n: u32) -> f64 {
    let exponent = -2.0 * std::f64::consts::PI.powi(2) * sigma_local_units * sigma_local_units;
    10.0 * (1..n).map(|k| (exponent * f64::from(k) / f64::from(k + 1)).exp()).sum::<f64>()
}

#[cfg(test)]
mod tests;
