//! A whole distribution from nine quantiles: what lies between and beyond them.
//!
//! Between two levels the quantile function is a line. Beyond the outermost it is an exponential tail through the
//! last two quantiles, so that a tail is as wide as its neighbourhood suggests; a forecast that knows no negative
//! quantile has nothing below 0. The tails are an assumption, no finding: nine quantiles say nothing about them.

use std::f64::consts::LN_2;

use crate::forecast::metrics::{LEVELS, LEVELS_LEN};

/// Probability in each tail.
const TAIL: f64 = LEVELS[0];
const LAST: usize = LEVELS_LEN - 1;

/// A distribution given by its quantiles at [`LEVELS`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QuantileFunction {
    q: [f64; LEVELS_LEN],
    /// Scales of the exponential tails.
    below: f64,
    above: f64,
    least: f64,
}

impl QuantileFunction {
    /// Of ascending, finite quantiles.
    pub fn new(quantiles: &[f32; LEVELS_LEN]) -> Self {
        let q = quantiles.map(f64::from);
        let least = if q[0] >= 0.0 { 0.0 } else { f64::NEG_INFINITY };
        Self { below: (q[1] - q[0]).max(0.0) / LN_2, above: (q[LAST] - q[LAST - 1]).max(0.0) / LN_2, q, least }
    }

    /// The value below which a share `level` of the probability lies; `level` strictly between 0 and 1.
    pub fn value(&self, level: f64) -> f64 {
        if level < TAIL {
            (self.q[0] - self.below * (TAIL / level).ln()).max(self.least)
        } else if level >= 1.0 - TAIL {
            self.q[LAST] + self.above * (TAIL / (1.0 - level)).ln()
        } else {
            let position = (level - TAIL) / TAIL;
            let under = (position as usize).min(LAST - 1);
            self.q[under] + (self.q[under + 1] - self.q[under]) * (position - under as f64)
        }
    }

    /// The mean.
    pub fn mean(&self) -> f64 {
        let inner: f64 = self.q.windows(2).map(|pair| TAIL * 0.5 * (pair[0] + pair[1])).sum();
        let upper = TAIL * (self.q[LAST] + self.above);
        // E max(least, q − below·X), X exponential.
        let cut = if self.least.is_finite() && self.below > 0.0 {
            self.below * (-(self.q[0] - self.least) / self.below).exp()
        } else {
            0.0
        };
        inner + upper + TAIL * (self.q[0] - self.below + cut)
    }

    /// The level of a value; where the function is flat there, the place inside is `share` of the way, in 0..1.
    ///
    /// With a random share this is the randomised probability integral transform (Czado, Gneiting and Held 2009):
    /// uniform where forecasts are calibrated, for counts as well.
    pub fn level(&self, value: f64, share: f64) -> f64 {
        let from_to = |from: f64, to: f64| from + share * (to - from);
        let tail_below = |gap: f64| if self.below > 0.0 { TAIL * (-gap / self.below).exp() } else { 0.0 };
        if value < self.q[0] {
            let reached = tail_below(self.q[0] - value);
            return match (value <= self.least, self.below > 0.0) {
                (true, true) => from_to(0.0, reached),
                (_, false) => from_to(0.0, TAIL),
                _ => reached,
            };
        }
        if value > self.q[LAST] {
            let beyond = (value - self.q[LAST]) / self.above;
            return if self.above > 0.0 { 1.0 - TAIL * (-beyond).exp() } else { from_to(1.0 - TAIL, 1.0) };
        }
        let first = self.q.iter().position(|q| *q >= value).unwrap_or(LAST);
        if self.q[first] > value {
            let (low, high) = (self.q[first - 1], self.q[first]);
            return LEVELS[first - 1] + TAIL * (value - low) / (high - low);
        }
        let last = self.q.iter().rposition(|q| *q <= value).unwrap_or(first);
        let floor = first == 0 && (self.below == 0.0 || value <= self.least);
        let ceiling = last == LAST && self.above == 0.0;
        from_to(if floor { 0.0 } else { LEVELS[first] }, if ceiling { 1.0 } else { LEVELS[last] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SKEWED: [f32; 9] = [0.0, 0.0, 0.0, 1.0, 2.0, 3.5, 5.0, 8.0, 12.0];
    const SHIFTED: [f32; 9] = [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0];
    const SMALL: [f32; 9] = [0.5, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0];

    #[test]
    fn the_function_passes_through_its_quantiles_and_ascends() {
        for q in [SKEWED, SHIFTED, SMALL] {
            let function = QuantileFunction::new(&q);
            for (level, q) in LEVELS.iter().zip(q) {
                assert!((function.value(*level) - f64::from(q)).abs() < 1e-9);
            }
            let values: Vec<f64> = (1..1_000).map(|i| function.value(f64::from(i) / 1_000.0)).collect();
            assert!(values.windows(2).all(|pair| pair[0] <= pair[1]));
            assert_eq!(values[0] < 0.0, q[0] < 0.0);
        }
    }

    #[test]
    fn the_mean_is_the_integral_of_the_function() {
        for q in [SKEWED, SHIFTED, SMALL, [0.0; 9], [7.0; 9]] {
            let function = QuantileFunction::new(&q);
            let n = 1_000_000;
            let sum: f64 = (0..n).map(|i| function.value((f64::from(i) + 0.5) / f64::from(n))).sum();
            assert!(
                (function.mean() - sum / f64::from(n)).abs() < 1e-4,
                "{q:?} {} {}",
                function.mean(),
                sum / f64::from(n)
            );
        }
    }

    #[test]
    fn levels_undo_values_and_spread_over_flat_places() {
        for q in [SKEWED, SHIFTED, SMALL] {
            let function = QuantileFunction::new(&q);
            for level in [0.02, 0.07, 0.33, 0.41, 0.5, 0.77, 0.93, 0.99] {
                let value = function.value(level);
                let [from, to] = [0.0, 1.0].map(|share| function.level(value, share));
                assert!(from - 1e-9 <= level && level <= to + 1e-9, "{q:?} {level} {from} {to}");
            }
        }
        let zeros = QuantileFunction::new(&SKEWED);
        assert_eq!([0.0, 0.5, 1.0].map(|share| zeros.level(0.0, share)), [0.0, 0.15, 0.3]);
        let never = QuantileFunction::new(&[0.0; 9]);
        assert_eq!([never.level(0.0, 0.0), never.level(0.0, 1.0)], [0.0, 1.0]);
        assert!((never.level(4.0, 0.5) - 0.95).abs() < 1e-12);
    }
}
