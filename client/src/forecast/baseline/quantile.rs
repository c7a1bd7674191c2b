//! From a mean and a spread, or from residuals, to quantiles at [`LEVELS`].

use crate::forecast::metrics::{LEVELS, LEVELS_LEN};

/// Standard normal quantiles at [`LEVELS`].
pub(super) const NORMAL: [f64; LEVELS_LEN] = [
    -1.281_551_565_544_600_4,
    -0.841_621_233_572_914_3,
    -0.524_400_512_708_041,
    -0.253_347_103_135_799_7,
    0.0,
    0.253_347_103_135_799_7,
    0.524_400_512_708_041,
    0.841_621_233_572_914_3,
    1.281_551_565_544_600_4,
];

/// Quantiles of a normal distribution.
pub(super) fn normal(mean: f64, deviation: f64) -> [f32; LEVELS_LEN] {
    NORMAL.map(|z| (mean + z * deviation) as f32)
}

/// Quantiles of a sample, interpolated linearly between order statistics (as `numpy.quantile`); all 0 without one.
pub(super) fn empirical(mut sample: Vec<f64>) -> [f64; LEVELS_LEN] {
    if sample.is_empty() {
        return [0.0; LEVELS_LEN];
    }
    sample.sort_by(f64::total_cmp);
    LEVELS.map(|level| {
        let position = level * (sample.len() - 1) as f64;
        let below = position.floor() as usize;
        let above = (below + 1).min(sample.len() - 1);
        sample[below] + (sample[above] - sample[below]) * (position - below as f64)
    })
}

/// Quantiles of values with weights ≥ 0: the smallest value at which the weight so far reaches the level. All 0 without any.
pub(in crate::forecast) fn weighted(mut sample: Vec<(f64, f64)>) -> [f64; LEVELS_LEN] {
    sample.sort_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = sample.iter().map(|(_, weight)| weight).sum();
    LEVELS.map(|level| {
        let mut reached = 0.0;
        let found = sample.iter().find(|(_, weight)| {
            reached += weight;
            reached >= level * total
        });
        found.or(sample.last()).map_or(0.0, |(value, _)| *value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_weights_give_the_inverse_of_the_distribution_function() {
        let sample = (1..=10).rev().map(|value| (f64::from(value), 2.0)).collect();
        assert_eq!(weighted(sample), [1., 2., 3., 4., 5., 6., 7., 8., 9.]);
        assert_eq!(weighted(vec![(4.0, 1.0), (9.0, 0.0)]), [4.0; 9]);
        assert_eq!(weighted(Vec::new()), [0.0; 9]);
    }
}
