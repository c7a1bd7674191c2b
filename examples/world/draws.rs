//! Random draws of the marketplace: normal, gamma, Poisson and log-normal numbers from a seeded ChaCha stream.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha20Rng;

/// The stream that all draws come from.
pub(super) type Stream = ChaCha20Rng;

/// A standard normal number (Box and Muller 1958).
pub(super) fn normal(stream: &mut Stream) -> f64 {
    let radius = (-2.0 * (1.0 - stream.random::<f64>()).ln()).sqrt();
    radius * (TAU * stream.random::<f64>()).cos()
}

/// e to the power of a normal number with this spread; its median is 1.
pub(super) fn log_normal(stream: &mut Stream, spread: f64) -> f64 {
    (spread * normal(stream)).exp()
}

/// A gamma number with mean 1 and this shape ≥ 1 (Marsaglia and Tsang 2000).
pub(super) fn gamma_mean_one(stream: &mut Stream, shape: f64) -> f64 {
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(stream);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - stream.random::<f64>()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v / shape;
        }
    }
}

/// A Poisson number (inversion in steps of at most 30, so that e^(−mean) never underflows).
pub(super) fn poisson(stream: &mut Stream, mean: f64) -> u32 {
    let mut left = mean.clamp(0.0, 1e5);
    let mut count = 0;
    while left > 0.0 {
        let part = left.min(30.0);
        left -= part;
        let limit = (-part).exp();
        let mut product: f64 = 1.0 - stream.random::<f64>();
        while product > limit {
            product *= 1.0 - stream.random::<f64>();
            count += 1;
        }
    }
    count
}

/// A whole number of `range` with both ends possible.
pub(super) fn between(stream: &mut Stream, low: usize, high: usize) -> usize {
    stream.random_range(low..=high)
}

/// One of the items.
///
/// # Panics
/// If there is none.
pub(super) fn one_of<'a, T>(stream: &mut Stream, items: &'a [T]) -> &'a T {
    &items[stream.random_range(0..items.len())]
}

/// True with this probability.
pub(super) fn chance(stream: &mut Stream, probability: f64) -> bool {
    stream.random::<f64>() < probability
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    /// Mean and variance of 20,000 draws; a standard error of the mean is below σ/141.
    fn moments(mut draw: impl FnMut(&mut Stream) -> f64) -> (f64, f64) {
        let mut stream = Stream::seed_from_u64(7);
        let draws: Vec<f64> = (0..20_000).map(|_| draw(&mut stream)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        (mean, variance)
    }

    #[test]
    fn draws_have_the_moments_of_their_distributions() {
        let (mean, variance) = moments(normal);
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let (mean, variance) = moments(|stream| gamma_mean_one(stream, 4.0));
        assert!((mean - 1.0).abs() < 0.02 && (variance - 0.25).abs() < 0.02, "{mean} {variance}");
        for expected in [0.3, 4.0, 75.0] {
            let (mean, variance) = moments(|stream| f64::from(poisson(stream, expected)));
            let spread = (expected / 20_000.0_f64).sqrt();
            assert!((mean - expected).abs() < 4.0 * spread, "{mean} instead of {expected}");
            assert!((variance / expected - 1.0).abs() < 0.08, "{variance} instead of {expected}");
        }
    }
}
