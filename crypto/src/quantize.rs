//! From real-valued sums to integers modulo 2^b, and back.
//!
//! A merchant's *sum* of clipped gradients, in R^d, is scaled so that the clip norm C becomes s grid units, rounded
//! once to the nearest integers, noised in integers, and reduced modulo 2^b. Everything after the rounding is exact,
//! so privacy is argued about integers and not about floating point.
//!
//! # Sensitivity in units
//! Let u be the scaled sum of everything that two neighbouring data sets share, and x = u + a the scaled sum of one of
//! them. Count from round(u), a point that both have in common: ‖round(u + a) − round(u)‖₂ ≤ ‖a‖₂ + √d, because each of
//! the two roundings moves every coordinate by at most ½. When j clipped gradients of at most s units each enter, that
//! is at most js + √d ≤ j(s + √d), and zero for j = 0. So a rounded sum behaves like a sum of vectors of norm s + √d,
//! which is what the dominating pairs of [`crate::dp`] ask for: on the side of one data set when a gradient comes or
//! goes (unit *series*, and a whole update under the unit *merchant*), on both sides when it is exchanged for another
//! (unit *customer*, each touched series). Either way rounding costs the same share.
//!
//! The distance between the two rounded sums alone is smaller, 2s + √d. It must not be halved into s + √d/2 a side: the
//! point that is released when *no* changed series was sampled is round(u) itself, not the middle between them, and the
//! lopsided pair N(s + √d) against N(−s) costs more than the even one wherever sampling is rare.
//! [`Grid::rounding_cost`] says how much noise the rounding costs.
//!
//! The rounding is exact although it starts from floating point: the scale is *defined* as the f64 nearest to s/C,
//! and the product with it is corrected at ties by its exact remainder. That the sum itself was accumulated in
//! floating point is the caller's matter; the tests of the training code bound it.
//!
//! Left out on purpose: conditional (stochastic) rounding and rotation, which trade bits for a larger sensitivity.

mod packing;

pub use packing::UnpackError;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::dp::noise::{NoiseError, NoiseSource, Variance};

/// The largest magnitude of a rounded coordinate, in units; beyond it f64 could not hold the scaled value finely.
const MAX_UNITS: f64 = (1u64 << 50) as f64;

/// How real values map to integers modulo 2^b: the same for every participant of a round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GridFields")]
pub struct Grid {
    dimension: u32,
    bits: u8,
    units_per_clip: u64,
    clip: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GridFields {
    dimension: u32,
    bits: u8,
    units_per_clip: u64,
    clip: f64,
}

impl TryFrom<GridFields> for Grid {
    type Error = GridError;

    fn try_from(fields: GridFields) -> Result<Self, GridError> {
        Self::new(fields.dimension, fields.bits, fields.units_per_clip, fields.clip)
    }
}

/// Why a grid cannot exist.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum GridError {
    /// No coordinates, or more than [`Grid::MAX_DIMENSION`].
    #[error("the dimension must lie between 1 and {max}, not {0}", max = Grid::MAX_DIMENSION)]
    Dimension(u32),
    /// A modulus outside the supported range.
    #[error("the modulus must have between {min} and {max} bits, not {0}", min = Grid::MIN_BITS, max = Grid::MAX_BITS)]
    Bits(u8),
    /// No units per clip norm, or so many that sums would not fit.
    #[error("units per clip must lie between 1 and {max}, not {0}", max = Grid::MAX_UNITS_PER_CLIP)]
    UnitsPerClip(u64),
    /// A clip norm that is no positive finite number.
    #[error("the clip norm must be a positive finite number, not {0}")]
    Clip(f64),
    /// The values to carry need more bits than a residue has.
    #[error("sums of up to {max_abs_sum_units} units under noise of {noise_std_units} units need more than {max} bits; use a coarser grid", max = Grid::MAX_BITS)]
    NeedsMoreBits {
        /// The largest sum without noise, in units.
        max_abs_sum_units: f64,
        /// The standard deviation of the whole noise, in units.
        noise_std_units: f64,
    },
}

/// Why a vector could not be rounded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QuantizeError {
    /// The vector has another length than the grid.
    #[error("expected {expected} coordinates, found {found}")]
    Dimension {
        /// The grid's dimension.
        expected: usize,
        /// The vector's length.
        found: usize,
    },
    /// Infinite or not a number: training has diverged, and the update must not leave.
    #[error("coordinate {coordinate} of the update is {value}; nothing was rounded")]
    NotFinite {
        /// The coordinate's index, from 0.
        coordinate: usize,
        /// Its value.
        value: f64,
    },
    /// Contributions on different grids have no common sum.
    #[error("the contribution was rounded on another grid than the sum's")]
    OtherGrid,
    /// Too large to be represented; a clipped sum never is.
    #[error("coordinate {coordinate} of the update is {value}, more than 2^50 grid units; was it clipped?")]
    TooLarge {
        /// The coordinate's index, from 0.
        coordinate: usize,
        /// Its value.
        value: f64,
    },
}

impl Grid {
    /// The smallest modulus, in bits.
    pub const MIN_BITS: u8 = 8;
    /// The largest modulus, in bits.
    pub const MAX_BITS: u8 = 62;
    /// The largest number of coordinates.
    pub const MAX_DIMENSION: u32 = 1 << 28;
    /// The finest grid.
    pub const MAX_UNITS_PER_CLIP: u64 = 1 << 40;

    /// A grid of `dimension` coordinates modulo 2^`bits` on which the clip norm `clip` is `units_per_clip` units.
    ///
    /// # Errors
    /// [`GridError`] names the argument that is out of range.
    pub fn new(dimension: u32, bits: u8, units_per_clip: u64, clip: f64) -> Result<Self, GridError> {
        if dimension == 0 || dimension > Self::MAX_DIMENSION {
            return Err(GridError::Dimension(dimension));
        }
        if !(Self::MIN_BITS..=Self::MAX_BITS).contains(&bits) {
            return Err(GridError::Bits(bits));
        }
        if units_per_clip == 0 || units_per_clip > Self::MAX_UNITS_PER_CLIP {
            return Err(GridError::UnitsPerClip(units_per_clip));
        }
        let scale = units_per_clip as f64 / clip;
        if !(clip.is_finite() && clip > 0.0 && scale.is_normal()) {
            return Err(GridError::Clip(clip));
        }
        Ok(Self { dimension, bits, units_per_clip, clip })
    }

    /// d, the number of coordinates.
    pub fn dimension(&self) -> usize {
        self.dimension as usize
    }

    /// b, the width of the modulus.
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// s, the clip norm in units.
    pub fn units_per_clip(&self) -> u64 {
        self.units_per_clip
    }

    /// C, the clip norm in the gradient's own scale.
    pub fn clip(&self) -> f64 {
        self.clip
    }

    /// The gradient's own scale per unit, C/s.
    pub fn unit(&self) -> f64 {
        1.0 / self.scale()
    }

    /// Units per 1.0 of the gradient.
    fn scale(&self) -> f64 {
        self.units_per_clip as f64 / self.clip
    }

    /// 2^b − 1.
    fn modulus_mask(&self) -> u64 {
        (1 << self.bits) - 1
    }

    /// What one clipped gradient moves the rounded sum by, counted from what both data sets share: s + √d units, rounded
    /// up. The module's text holds the argument.
    pub fn sensitivity_units(&self) -> f64 {
        // The scale is s/C rounded once, so C is s·(1 ± 2^-53) units. 2^-30 covers that, this sum's own rounding, and that of
        // a sum of very many vectors and its projection, which errs by their number times d·2^-53 at most.
        (self.units_per_clip as f64 + f64::from(self.dimension).sqrt()) * (1.0 + 2f64.powi(-30))
    }

    /// The factor ≥ 1 by which rounding enlarges the sensitivity, and with it the noise for the same privacy.
    pub fn rounding_cost(&self) -> f64 {
        self.sensitivity_units() / self.units_per_clip as f64
    }

    /// Rounds a sum of clipped gradients `[d]` to integers `[d]`, each to the nearest (ties away from zero).
    ///
    /// # Errors
    /// [`QuantizeError`] names the coordinate that is not finite or too large.
    pub fn round_sum(&self, sum: &[f64]) -> Result<Vec<i64>, QuantizeError> {
        if sum.len() != self.dimension() {
            return Err(QuantizeError::Dimension { expected: self.dimension(), found: sum.len() });
        }
        let scale = self.scale();
        sum.iter().enumerate().map(|(coordinate, &value)| round(value, scale, coordinate)).collect()
    }

    /// [`Grid::round_sum`], kept together with its grid until noise is added.
    ///
    /// # Errors
    /// As [`Grid::round_sum`].
    pub fn quantize(&self, sum: &[f64]) -> Result<QuantizedUpdate, QuantizeError> {
        Ok(QuantizedUpdate { grid: *self, units: Zeroizing::new(self.round_sum(sum)?) })
    }

    /// The representative of `units` in `[0, 2^b)`.
    pub fn to_residue(&self, units: i64) -> u64 {
        units.cast_unsigned() & self.modulus_mask()
    }

    /// The representative of `residue` in `[−2^(b−1), 2^(b−1))`. Bits above b are ignored.
    pub fn from_residue(&self, residue: u64) -> i64 {
        let unused = 64 - u32::from(self.bits);
        (residue << unused).cast_signed() >> unused
    }

    /// Residues `[d]` as centred integers in the gradient's own scale, `[d]`.
    pub fn dequantize(&self, residues: &[u64]) -> Vec<f64> {
        let scale = self.scale();
        residues.iter().map(|&residue| self.from_residue(residue) as f64 / scale).collect()
    }
}

fn round(value: f64, scale: f64, coordinate: usize) -> Result<i64, QuantizeError> {
    if !value.is_finite() {
        return Err(QuantizeError::NotFinite { coordinate, value });
    }
    let scaled = value * scale;
    if scaled.abs() > MAX_UNITS {
        return Err(QuantizeError::TooLarge { coordinate, value });
    }
    let mut nearest = scaled.round();
    let offset = scaled - nearest; // exact: both are multiples of the same power of two, below 2^51
    if offset.abs() > 0.499 {
        // Near a tie the product's own rounding decides; the fused remainder makes it exact.
        let remainder = value.mul_add(scale, -scaled);
        if offset == 0.5 && remainder > 0.0 {
            nearest += 1.0;
        } else if offset == -0.5 && remainder < 0.0 {
            nearest -= 1.0;
        }
    }
    Ok(nearest as i64)
}

/// The bits needed so that no coordinate of any round's sum wraps around, but for probability 2^-40 over the run.
///
/// `max_abs_sum_units` bounds every coordinate of the un-noised sum over all participants, `noise_std_units` is the
/// standard deviation of the *total* noise, both in units. A discrete Gaussian of parameter σ² is sub-Gaussian with
/// variance proxy σ² (Canonne, Kamath, Steinke 2020, Corollary 17), and proxies of independent summands add. So one
/// coordinate's noise exceeds z with probability at most 2·exp(−z²/2σ²); over d coordinates and T rounds the union
/// bound gives 2dT·exp(−z²/2σ²) = 2^-40 at z = σ·√(2·ln(2^41·d·T)). The modulus must hold
/// `max_abs_sum_units + z` on either side.
///
/// # Errors
/// [`GridError::NeedsMoreBits`] when more than [`Grid::MAX_BITS`] would be needed, or an argument is negative or not
/// finite.
pub fn bits_needed(max_abs_sum_units: f64, noise_std_units: f64, dimension: u32, rounds: u32) -> Result<u8, GridError> {
    let tail = (2.0
        * (41.0 * std::f64::consts::LN_2 + f64::from(dimension.max(1)).ln() + f64::from(rounds.max(1)).ln()))
    .sqrt();
    let reach = max_abs_sum_units + noise_std_units * tail;
    let needed = (Grid::MIN_BITS..=Grid::MAX_BITS).find(|&bits| reach < 2f64.powi(i32::from(bits) - 1) - 1.0);
    match needed {
        Some(bits) if max_abs_sum_units >= 0.0 && noise_std_units >= 0.0 => Ok(bits),
        _ => Err(GridError::NeedsMoreBits { max_abs_sum_units, noise_std_units }),
    }
}

/// A rounded sum without noise. Secret: no `Debug`, wiped on drop, and secure aggregation does not take it.
pub struct QuantizedUpdate {
    grid: Grid,
    units: Zeroizing<Vec<i64>>,
}

impl QuantizedUpdate {
    /// The grid it was rounded on.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Adds discrete Gaussian noise of `variance` (units²) to every coordinate and reduces modulo 2^b.
    ///
    /// # Errors
    /// [`NoiseError`] from the source; the update is then lost, and the round with it.
    pub fn with_noise(mut self, source: &mut dyn NoiseSource, variance: Variance) -> Result<NoisedUpdate, NoiseError> {
        source.add_discrete_gaussian(variance, &mut self.units)?;
        Ok(self.danger_without_noise())
    }

    /// Reduces modulo 2^b without any noise. Right for plans whose noise went into every local step, and for tests;
    /// elsewhere the sum over the survivors is released bare.
    pub fn danger_without_noise(self) -> NoisedUpdate {
        let residues = self.units.iter().map(|&units| self.grid.to_residue(units)).collect();
        NoisedUpdate { grid: self.grid, residues: Zeroizing::new(residues) }
    }
}

/// A merchant's contribution as it enters secure aggregation: residues `[d]` in `[0, 2^b)`. Its noise alone is only
/// a share of what the round needs, so it is treated as secret too.
pub struct NoisedUpdate {
    grid: Grid,
    residues: Zeroizing<Vec<u64>>,
}

impl NoisedUpdate {
    /// The grid it lives on.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The residues, `[d]`.
    pub fn residues(&self) -> &[u64] {
        &self.residues
    }
}

/// The plain sum of contributions modulo 2^b: what secure aggregation computes without seeing the summands.
/// Simulations use it, since masks cancel exactly.
pub struct ResidueSum {
    grid: Grid,
    residues: Vec<u64>,
}

impl ResidueSum {
    /// The empty sum.
    pub fn new(grid: Grid) -> Self {
        Self { grid, residues: vec![0; grid.dimension()] }
    }

    /// Adds one contribution.
    ///
    /// # Errors
    /// [`QuantizeError::OtherGrid`] when the contribution was rounded on another grid.
    pub fn add(&mut self, update: &NoisedUpdate) -> Result<(), QuantizeError> {
        if update.grid != self.grid {
            return Err(QuantizeError::OtherGrid);
        }
        for (sum, residue) in self.residues.iter_mut().zip(update.residues.iter()) {
            *sum = sum.wrapping_add(*residue) & self.grid.modulus_mask();
        }
        Ok(())
    }

    /// The sum's residues, `[d]`.
    pub fn residues(&self) -> &[u64] {
        &self.residues
    }

    /// The sum in the gradient's own scale, `[d]`.
    pub fn dequantize(&self) -> Vec<f64> {
        self.grid.dequantize(&self.residues)
    }
}

#[cfg(test)]
mod tests;
