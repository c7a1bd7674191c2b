//! How fast noise is drawn, and the ratio to OpenDP's sampler in the same run. Prints; asserts nothing.
//!
//! `cargo bench -p forecastle-crypto --bench noise`

use std::{error::Error, time::Instant};

use forecastle_crypto::dp::noise::{ExactSampler, NoiseSource, OpenDpSampler, SkellamVariance, Variance};

fn main() -> Result<(), Box<dyn Error>> {
    println!("million draws a second, the best of five runs");
    println!("{:22} {:>8} {:>8} {:>8}", "", "ours", "OpenDP", "ratio");
    for sigma in [10.0, 1e3, 1e5] {
        let variance = Variance::from_sigma_ceil(sigma)?;
        // Taken in turns, so that both see the same load.
        let (mut ours, mut theirs) = (0.0_f64, 0.0_f64);
        let mut sampler = ExactSampler::new()?;
        for _ in 0..5 {
            ours = ours.max(rate(1_000_000, |out| sampler.add_discrete_gaussian(variance, out))?);
            theirs = theirs.max(rate(20_000, |out| OpenDpSampler::new().add_discrete_gaussian(variance, out))?);
        }
        println!("{:22} {ours:8.2} {theirs:8.3} {:7.0}×", format!("discrete Gaussian σ {sigma}"), ours / theirs);
    }
    for sigma in [10.0, 1e3, 3e4] {
        let variance = SkellamVariance::ceil(sigma * sigma)?;
        let mut sampler = ExactSampler::new()?;
        let mut ours = 0.0_f64;
        for _ in 0..5 {
            ours = ours.max(rate(1_000_000, |out| sampler.add_skellam(variance, out))?);
        }
        println!("{:22} {ours:8.2} {:>8} {:>8}", format!("Skellam σ {sigma}"), "none", "");
    }
    Ok(())
}

/// Million draws a second.
fn rate<E>(draws: usize, mut add: impl FnMut(&mut [i64]) -> Result<(), E>) -> Result<f64, E> {
    let mut out = vec![0; draws];
    let start = Instant::now();
    add(&mut out)?;
    Ok(draws as f64 / start.elapsed().as_secs_f64() / 1e6)
}
