//! Random draws of the generator: normal, gamma, Poisson and negative binomial.

use rand::{Rng, RngExt};

/// A number within `low..high`, uniformly.
pub fn uniform(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.random::<f32>()
}

/// True with probability `p`.
pub fn chance(rng: &mut impl Rng, p: f32) -> bool {
    rng.random::<f32>() < p
}

/// A number within `low..high` whose logarithm is uniform.
pub fn log_uniform(rng: &mut impl Rng, low: f32, high: f32) -> f32 {
    uniform(rng, low.ln(), high.ln()).exp()
}

/// A normal draw (Box–Muller).
pub fn normal(rng: &mut impl Rng, mean: f32, deviation: f32) -> f32 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let angle = std::f64::consts::TAU * rng.random::<f64>();
    mean + deviation * (radius * angle.cos()) as f32
}

/// A gamma draw of mean `mean` and this shape (Marsaglia and Tsang 2000).
pub fn gamma(rng: &mut impl Rng, shape: f32, mean: f32) -> f32 {
    let boost = if shape < 1.0 { (1.0 - rng.random::<f32>()).powf(1.0 / shape) } else { 1.0 };
    let d = if shape < 1.0 { shape + 1.0 } else { shape } - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = normal(rng, 0.0, 1.0);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - rng.random::<f32>()).ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v * boost * mean / shape;
        }
    }
}

/// A Poisson draw; beyond a mean of 50 by its normal approximation.
pub fn poisson(rng: &mut impl Rng, mean: f32) -> f32 {
    if mean > 50.0 {
        return normal(rng, mean, mean.sqrt()).round().max(0.0);
    }
    let limit = (-mean).exp();
    let (mut product, mut count) = (rng.random::<f32>(), 0.0);
    while product > limit {
        product *= rng.random::<f32>();
        count += 1.0;
    }
    count
}

/// A negative-binomial draw of variance `mean + mean² / shape`.
pub fn negative_binomial(rng: &mut impl Rng, mean: f32, shape: f32) -> f32 {
    if mean <= 0.0 {
        return 0.0;
    }
    let rate = gamma(rng, shape, mean);
    poisson(rng, rate)
}
