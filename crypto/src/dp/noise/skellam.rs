//! An exact Skellam sampler: the difference of two Poisson variables of the same whole mean n, variance 2n.
//!
//! Skellam noise is closed under addition, so the sum of many merchants' shares is Skellam noise and no τ is charged; the
//! discrete Gaussian costs less for vectors ([`super::super::event::DpEvent::Skellam`]).
//!
//! # Why it is exact
//! Poisson(n) by rejection. Let r(x) = P(n + x)/P(n) = Π_{i=1}^{x} n/(n + i) to the right of the mode, and g(y) =
//! P(n − 1 − y)/P(n) = Π_{i=1}^{y} (n − i)/n to the left (P(n − 1) = P(n) for whole n). Both are log-concave and start at
//! 1, so with a block length B for which r(B) ≤ ½ and g(B) ≤ ½, both are at most 2^{−j} from jB on. Proposals: a side by
//! a fair bit, a block j by counting fair bits, a place in the block uniformly; kept with probability r·2ʲ (g·2ʲ), which
//! is a *fraction of integers*. It is compared with a uniform number of which 53 binary digits are drawn first. A table
//! of r and g in floating point, with a bound on its error, decides all but one comparison in 10^10 or so; that one is decided
//! by the fraction itself, in whole numbers of any length, drawing further digits as needed. So no rounding shapes the
//! distribution. (Blocks as in Bringmann et al. 2014, "Internal DLA: efficient simulation of a physical growth model".)
//!
//! The time taken depends on what is drawn.

use dashu_int::UBig;

use super::exact::{ExactSampler, Keystream, below};
use crate::dp::noise::NoiseError;

/// The greatest mean of either Poisson variable.
const MEAN_MAX: u32 = 1 << 30;
/// Rounding unit of `f64`.
const UNIT: f64 = f64::EPSILON / 2.0;

/// The variance of Skellam noise: an even number of squared units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkellamVariance {
    mean: u32,
}

/// A variance that no Skellam noise of this sampler has.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("the variance of Skellam noise must lie above 0 and at most at 2^31 squared units, not at {0}")]
pub struct SkellamVarianceError(pub f64);

impl SkellamVariance {
    /// The least even whole number of squared units that is not below `variance_units`: noise is never less than
    /// asked for.
    ///
    /// # Errors
    /// [`SkellamVarianceError`] when it is not positive, or above 2^31.
    pub fn ceil(variance_units: f64) -> Result<Self, SkellamVarianceError> {
        let mean = (0.5 * variance_units).ceil();
        if variance_units > 0.0 && mean <= f64::from(MEAN_MAX) {
            Ok(Self { mean: mean as u32 })
        } else {
            Err(SkellamVarianceError(variance_units))
        }
    }

    /// The variance, in squared units; exact.
    pub fn squared(&self) -> f64 {
        2.0 * f64::from(self.mean)
    }
}

impl ExactSampler {
    /// Adds an independent draw of Skellam noise to every element of `out`, wrapping modulo 2^64.
    ///
    /// # Errors
    /// [`NoiseError`]; `out` may then be partly noised and must not be released.
    pub fn add_skellam(&mut self, variance: SkellamVariance, out: &mut [i64]) -> Result<(), NoiseError> {
        let poisson = Poisson::new(variance.mean);
        for slot in out {
            let draw = poisson.sample(self.digits()) - poisson.sample(self.digits());
            *slot = slot.wrapping_add(draw);
        }
        self.checked()
    }
}

/// Poisson(n) prepared for sampling, as its distance from n.
struct Poisson {
    mean: u32,
    /// B.
    block: u32,
    /// r(0), r(1), ….
    right: Vec<f64>,
    /// g(0), g(1), ….
    left: Vec<f64>,
    /// Relative error of the tables' entry k is at most (k + 2) times this.
    error: f64,
}

/// A side of the mode.
#[derive(Clone, Copy)]
enum Side {
    Right,
    Left,
}

impl Poisson {
    fn new(mean: u32) -> Self {
        let n = f64::from(mean);
        let table = |factor: &dyn Fn(f64) -> f64| {
            let mut ratios = vec![1.0_f64];
            let mut last = 1.0;
            while last > 1e-18 {
                last *= factor(ratios.len() as f64);
                ratios.push(last);
            }
            ratios
        };
        let (right, left) = (table(&|i| n / (n + i)), table(&|i| ((n - i) / n).max(0.0)));
        // A division and a product an entry.
        let error = 3.0 * UNIT;
        let half = |ratios: &[f64]| {
            ratios.iter().enumerate().position(|(k, ratio)| ratio * (1.0 + error * (k as f64 + 2.0)) <= 0.5)
        };
        let block = half(&right).max(half(&left)).expect("invariant: both tables end below 1e-18");
        let block = u32::try_from(block).expect("invariant: half of the mass lies within two deviations, below 2^17");
        Self { mean, block, right, left, error }
    }

    fn sample(&self, digits: &mut Keystream) -> i64 {
        loop {
            let side = if digits.next() & 1 == 1 { Side::Right } else { Side::Left };
            let mut block = 0_u32;
            loop {
                let zeros = digits.next().trailing_zeros();
                block += zeros;
                // Thousands of fair coins that all show the same: a broken generator, which says so elsewhere.
                if zeros < 32 || block > 4096 {
                    break;
                }
            }
            let place = u64::from(block) * u64::from(self.block) + u64::from(below(self.block, digits));
            if self.keeps(side, place, block, digits) {
                let place = i64::try_from(place).expect("invariant: below 2^12 blocks of 2^17");
                return match side {
                    Side::Right => place,
                    Side::Left => -1 - place,
                };
            }
        }
    }

    /// True with probability r(place)·2^block, or g for the left side.
    fn keeps(&self, side: Side, place: u64, block: u32, digits: &mut Keystream) -> bool {
        if matches!(side, Side::Left) && place >= u64::from(self.mean) {
            return false; // below zero
        }
        let high = u64::from(digits.next()) << 32;
        let head = (high | u64::from(digits.next())) >> 11;
        let uniform = head as f64 * 2f64.powi(-53); // exact
        let table = match side {
            Side::Right => &self.right,
            Side::Left => &self.left,
        };
        let last = table.len() - 1;
        let known = usize::try_from(place).map_or(last, |place| place.min(last));
        // Powers of two are exact; beyond the table, its last entry bounds from above.
        let scaled = table[known] * 2f64.powi(block.min(1000) as i32);
        let slack = self.error * (known as f64 + 2.0);
        if known as u64 == place && uniform + 2f64.powi(-53) <= scaled * (1.0 - slack) {
            return true;
        }
        if block < 1000 && uniform > scaled * (1.0 + slack) {
            return false;
        }
        self.keeps_exactly(side, place, block, head, digits)
    }

    /// The same comparison in whole numbers; `head` holds the uniform number's first 53 digits.
    #[cold]
    fn keeps_exactly(&self, side: Side, place: u64, block: u32, head: u64, digits: &mut Keystream) -> bool {
        let (numerator, denominator) = self.ratio(side, place);
        let numerator = numerator << block as usize;
        // What is left of the fraction after the digits so far: decided once it falls outside one digit's width.
        let at = UBig::from(head) * &denominator;
        let scaled = numerator << 53;
        if scaled <= at {
            return false;
        }
        let mut left = scaled - at;
        while left < denominator && !digits.exhausted() {
            left <<= 32;
            let at = UBig::from(digits.next()) * &denominator;
            if left <= at {
                return false;
            }
            left -= at;
        }
        true
    }

    /// r(place) or g(place) as a fraction.
    fn ratio(&self, side: Side, place: u64) -> (UBig, UBig) {
        let n = u64::from(self.mean);
        let power = UBig::from(n).pow(usize::try_from(place).expect("invariant: places are below 2^29"));
        match side {
            Side::Right => (power, product(n + 1, n + place)),
            Side::Left => (product(n - place, n - 1), power),
        }
    }
}

/// from·(from + 1)·…·to, by halves; 1 where there is nothing between.
fn product(from: u64, to: u64) -> UBig {
    if from > to {
        return UBig::ONE;
    }
    if to - from < 16 {
        return (from..=to).map(UBig::from).product();
    }
    let middle = from + (to - from) / 2;
    product(from, middle) * product(middle + 1, to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_as_good_as_it_says() {
        for mean in [1_u32, 2, 7, 100, 12_345, 1 << 30] {
            let poisson = Poisson::new(mean);
            for (side, table) in [(Side::Right, &poisson.right), (Side::Left, &poisson.left)] {
                for place in [0, 1, 2, 5, 60, 1500] {
                    if place >= table.len() || (matches!(side, Side::Left) && place as u64 >= u64::from(mean)) {
                        continue;
                    }
                    let (numerator, denominator) = poisson.ratio(side, place as u64);
                    // The fraction to 120 binary digits.
                    let digits: UBig = (numerator << 120) / denominator;
                    let exact = digits.to_f64().value() * 2f64.powi(-120);
                    let slack = poisson.error * (place as f64 + 2.0);
                    assert!((table[place] / exact - 1.0).abs() <= slack, "{mean} {place}");
                }
            }
        }
    }

    #[test]
    fn envelopes_hold_everywhere() {
        for mean in [1_u32, 3, 50, 100_000] {
            let poisson = Poisson::new(mean);
            for table in [&poisson.right, &poisson.left] {
                for (place, ratio) in table.iter().enumerate() {
                    let block = place / poisson.block as usize;
                    assert!(*ratio <= 2f64.powi(-(block as i32)) * (1.0 + 1e-9), "{mean} {place}");
                }
            }
        }
    }

    #[test]
    fn whole_numbers_alone_give_the_same_distribution() {
        // Every comparison is declared undecided, so that the fraction decides all. P(0), P(±1) and the variance of
        // 40,000 draws lie within 6 standard errors but for probability 10^-8.
        let mut poisson = Poisson::new(3);
        poisson.error = 1e9;
        let mut sampler = ExactSampler::danger_from_seed([5; 32]);
        let n = 40_000;
        let draws: Vec<i64> = (0..n).map(|_| poisson.sample(sampler.digits())).collect();
        let n = f64::from(n);
        let probability = |k: i32| (1..=k).fold((-3.0_f64).exp(), |p, i| p * 3.0 / f64::from(i));
        for k in 0..8 {
            let seen = draws.iter().filter(|draw| **draw + 3 == i64::from(k)).count() as f64 / n;
            let p = probability(k);
            assert!((seen - p).abs() < 6.0 * (p * (1.0 - p) / n).sqrt(), "{k}: {seen} {p}");
        }
    }

    #[test]
    fn variances_out_of_range_are_refused() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 2f64.powi(31) + 3.0] {
            assert!(SkellamVariance::ceil(bad).is_err(), "{bad}");
        }
        assert_eq!(SkellamVariance::ceil(2.1).unwrap().squared(), 4.0);
        assert_eq!(SkellamVariance::ceil(1e-9).unwrap().squared(), 2.0);
    }
}
