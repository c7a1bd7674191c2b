//! Quantiles of a fitted model: in closed form where everything is additive, simulated elsewhere.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{
    super::{decompose::Season, quantile},
    model::{Error, Fit, Trend},
};
use crate::forecast::metrics::LEVELS_LEN;

/// Simulated paths.
const PATHS: usize = 2_000;
/// Seed of every simulation.
const SEED: u64 = 0x0E75;

/// Quantiles of the next steps.
pub(super) fn quantiles(fit: &Fit, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    if fit.form.error == Error::Additive { closed_form(fit, horizon) } else { simulated(fit, horizon) }
}

/// v_h = σ² (1 + Σ_{j<h} c_j²), c_j = α + β φ_j + γ [m | j] with φ_j = φ + … + φ^j (Hyndman et al. 2008, table 6.2).
fn closed_form(fit: &Fit, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    let (constants, mut state) = (fit.constants, fit.state.clone());
    let m = state.season.len();
    let (mut share, mut damping, mut power) = (1.0, 0.0, 1.0);
    (1..=horizon)
        .map(|h| {
            let mean = state.next(fit.form.season, constants.phi);
            let quantiles = quantile::normal(mean, (fit.variance * share).sqrt());
            state.learn(fit.form.season, &constants, 0.0);
            if fit.form.trend != Trend::None {
                power *= constants.phi;
                damping += power;
            }
            let season = if m > 0 && h.is_multiple_of(m) { constants.gamma } else { 0.0 };
            let c = constants.alpha + constants.beta * damping + season;
            share += c * c;
            quantiles
        })
        .collect()
}

fn simulated(fit: &Fit, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    let mut random = ChaCha12Rng::seed_from_u64(SEED);
    let deviation = fit.variance.sqrt();
    let mut values = vec![Vec::with_capacity(PATHS); horizon];
    for _ in 0..PATHS {
        let mut state = fit.state.clone();
        for values in &mut values {
            let mean = state.next(fit.form.season, fit.constants.phi);
            let error = mean * deviation * standard_normal(&mut random);
            let error = error.clamp(-mean.abs(), f64::MAX);
            state.learn(fit.form.season, &fit.constants, error);
            if fit.form.season == Some(Season::Multiplicative) {
                // A path that ran to 0 stays there instead of dividing by it.
                state.level = state.level.max(1e-9);
                state.season.iter_mut().for_each(|index| *index = index.max(1e-9));
            }
            values.push(mean + error);
        }
    }
    values.into_iter().map(|sample| quantile::empirical(sample).map(|q| q as f32)).collect()
}

/// Box and Muller 1958.
fn standard_normal(random: &mut ChaCha12Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random(), random.random());
    (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}
