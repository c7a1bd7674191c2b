//! A head for counts: the negative binomial distribution of each future step, beside the quantiles.
//!
//! Quantiles say how a single step may turn out; stock is planned over sums of steps, which need a distribution to draw
//! from. The head starts from what the quantiles say (their mean, their spread) and corrects both, so that it is useful
//! before any training and shares everything below it with the quantiles (multi-task).
//!
//! Mean μ, dispersion α, variance μ + αμ² (Hilbe 2011, section 8.1, NB2); with r = 1/α the log likelihood of y is
//! `lnΓ(y + r) − lnΓ(r) − lnΓ(y + 1) + r ln(r / (r + μ)) + y ln(μ / (r + μ))`.
//!
//! Only windows whose every observed value is a count teach it; turnover and other real numbers have quantiles alone.

use burn::tensor::Tensor;

use super::QUANTILE_COUNT;
use super::batch::Batch;
use super::config::ModelConfig;
use super::skip::Skip;
use super::weights::{Weights, product};

/// Numbers that the head corrects at each step: log mean and log dispersion.
pub(super) const COUNT_OUTPUTS: usize = 2;
/// Least mean of a step, in multiples of the window's scale.
const MEAN_MIN: f32 = 1e-3;
/// Bound on a correction of the log mean.
const CORRECTION_MAX: f32 = 2.0;
/// Bounds of the log dispersion: from nearly Poisson to thirty times the squared mean.
const LOG_DISPERSION: (f32, f32) = (-6.9, 3.4);
/// Weight of the quantiles' loss beside the likelihood.
pub(super) const PINBALL_WEIGHT: f32 = 0.3;

/// Distributions of the future steps of a batch.
pub struct Counts {
    /// ln μ, `[unit, row, horizon]`, in the units of the series.
    pub log_mean: Tensor<3>,
    /// ln α, `[unit, row, horizon]`.
    pub log_dispersion: Tensor<3>,
}

/// The head over the day head's `hidden` layer `[unit, row × horizon, day_hidden]` and its `quantiles`.
pub(super) fn head(
    config: &ModelConfig,
    weights: &Weights,
    batch: &Batch,
    skip: &Skip,
    hidden: Tensor<3>,
    quantiles: &Tensor<4>,
) -> Counts {
    let shape = [batch.units, batch.rows, config.horizon];
    let output = product(hidden, weights.get("counts.weight")) + weights.get("counts.bias");
    let correction = |i: usize| output.clone().narrow(2, i, 1).reshape(shape);
    let mean = quantiles.clone().sum_dim(3).reshape(shape) / QUANTILE_COUNT as f32;
    let log_scale = batch.count_scale().log();
    let log_mean = mean.clamp_min(MEAN_MIN).log() + log_scale + correction(0).clamp(-CORRECTION_MAX, CORRECTION_MAX);
    // In asinh space a spread is about a coefficient of variation, whose square is the dispersion.
    let (least, most) = LOG_DISPERSION;
    let log_dispersion = (skip.log_spread.clone() * 2.0 + correction(1)).clamp(least, most);
    Counts { log_mean, log_dispersion }
}

/// Mean negative log likelihood of each window's observed cells, `[unit, row]`; 0 where a window is not one of counts.
pub(super) fn window_losses(batch: &Batch, counts: &Counts) -> Tensor<2> {
    let y = batch.counts();
    let [units, rows, _] = y.dims();
    let log_r = counts.log_dispersion.clone().neg();
    let r = log_r.clone().exp();
    // ln(r + μ), with the larger taken out.
    let log_sum = log_add_exp(log_r.clone(), counts.log_mean.clone());
    let likelihood = log_gamma(y.clone() + r.clone()) - log_gamma(r.clone()) - log_gamma(y.clone() + 1.0)
        + r * (log_r - log_sum.clone())
        + y * (counts.log_mean.clone() - log_sum);
    let cells = likelihood.neg() * batch.cell_weight.clone();
    cells.sum_dim(2).reshape([units, rows]) * batch.counted()
}

/// `ln(eᵃ + eᵇ)`.
fn log_add_exp(a: Tensor<3>, b: Tensor<3>) -> Tensor<3> {
    let larger = a.clone().max_pair(b.clone());
    larger.clone() + ((a - larger.clone()).exp() + (b - larger).exp()).log()
}

/// `lnΓ(x)` for x > 0: Stirling's series (Abramowitz and Stegun 6.1.41) at x + 6, brought back by the recurrence.
fn log_gamma(x: Tensor<3>) -> Tensor<3> {
    let mut shift = x.clone().log();
    for k in 1..6 {
        shift = shift + (x.clone() + k as f32).log();
    }
    let z = x + 6.0;
    let inverse = z.clone().recip();
    let square = inverse.clone().square();
    let series = inverse * (square * (-1.0 / 360.0) + 1.0 / 12.0);
    let half_log_tau = 0.5 * std::f32::consts::TAU.ln();
    (z.clone() - 0.5) * z.clone().log() - z + series + half_log_tau - shift
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::{
        data::window::Window,
        device::passes::tests::floats,
        model::{Model, device, example, forecast_outputs, training_loss},
    };

    fn config() -> ModelConfig {
        ModelConfig { counts: true, ..ModelConfig::preset("nano-daily").unwrap() }
    }

    fn row(values: &[f32], device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(values.to_vec(), [1, 1, values.len()]), device)
    }

    #[test]
    fn log_gamma_by_the_factorials_and_the_half() {
        let x = [0.5, 1.0, 2.0, 5.0, 11.0, 101.0];
        let expected = [0.572_364_9, 0.0, 0.0, 3.178_053_8, 15.104_413, 363.739_4];
        for (found, expected) in floats(log_gamma(row(&x, &device()))).iter().zip(expected) {
            assert!((found - expected).abs() <= 2e-6 * (1.0 + expected.abs()) + 2e-6, "{found} {expected}");
        }
    }

    const MEAN: f64 = 6.0;
    const ALPHA: f64 = 0.5;

    /// Windows of independent negative binomial counts.
    fn counted(count: usize) -> Vec<Window> {
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let mut draw = || {
            let mut left: f64 = rng.random();
            (0..200).find(|&y| {
                left -= likelihood(f64::from(y), MEAN, ALPHA).exp();
                left < 0.0
            })
        };
        let mut windows = example::windows(&config(), count, 3);
        for y in windows.iter_mut().flat_map(|window| window.past.iter_mut().chain(&mut window.future)) {
            *y = draw().unwrap_or(200) as f32;
        }
        windows
    }

    fn likelihood(y: f64, mean: f64, alpha: f64) -> f64 {
        // By the recurrence Γ(y + r) / Γ(r) = r (r + 1) … (r + y − 1).
        let r = 1.0 / alpha;
        let rising: f64 = (0..y as u32).map(|k| (r + f64::from(k)).ln()).sum();
        let factorial: f64 = (1..=y as u32).map(|k| f64::from(k).ln()).sum();
        rising - factorial + r * (r / (r + mean)).ln() + y * (mean / (r + mean)).ln()
    }

    #[test]
    fn the_loss_is_the_mean_negative_log_likelihood() {
        let (config, windows) = (config(), counted(3));
        let model = example::model(&config, 1);
        let weights = Weights::shared(&model, &device());
        let batch = Batch::plain(&config, &windows, &device()).unwrap();
        let counts = forecast_outputs(&config, &weights, &batch).counts.unwrap();
        let losses = floats(window_losses(&batch, &counts));
        let (means, alphas) = (floats(counts.log_mean), floats(counts.log_dispersion));
        for (i, window) in windows.iter().enumerate() {
            let cells = window.future.iter().zip(&means[i * 28..]).zip(&alphas[i * 28..]);
            let expected: f64 =
                cells.map(|((y, m), a)| -likelihood(f64::from(*y), f64::from(m.exp()), f64::from(a.exp()))).sum();
            assert!((f64::from(losses[i]) - expected / 28.0).abs() < 1e-3, "{} {}", losses[i], expected / 28.0);
        }
    }

    #[test]
    fn before_training_the_mean_is_that_of_the_quantiles() {
        let (config, windows) = (config(), counted(2));
        let weights = Weights::shared(&Model::untrained(&config, 1).unwrap(), &device());
        let batch = Batch::plain(&config, &windows, &device()).unwrap();
        let outputs = forecast_outputs(&config, &weights, &batch);
        let means = floats(outputs.counts.unwrap().log_mean);
        let cells = floats(outputs.quantiles);
        for (cell, (quantiles, log_mean)) in cells.chunks_exact(QUANTILE_COUNT).zip(means).enumerate() {
            let mean = quantiles.iter().sum::<f32>() / QUANTILE_COUNT as f32 * batch.scales()[cell / config.horizon];
            assert!((log_mean.exp() / mean - 1.0).abs() < 0.02, "{} {mean}", log_mean.exp());
        }
    }

    #[test]
    fn windows_that_hold_no_counts_are_judged_by_their_quantiles_alone() {
        let config = config();
        let model = example::model(&config, 1);
        let weights = Weights::shared(&model, &device());
        for (change, counts) in [(0.0f32, true), (0.5, false), (-20.0, false)] {
            let mut windows = counted(1);
            windows[0].past[50] += change;
            let batch = Batch::plain(&config, &windows, &device()).unwrap();
            let outputs = forecast_outputs(&config, &weights, &batch);
            let likelihood = floats(window_losses(&batch, outputs.counts.as_ref().unwrap()))[0];
            assert_eq!(likelihood != 0.0, counts, "{change}");
            let pinball = floats(super::super::window_losses(&batch, outputs.quantiles.clone()))[0];
            let whole = floats(training_loss(&batch, outputs))[0];
            let expected = if counts { likelihood + PINBALL_WEIGHT * pinball } else { pinball };
            assert!((whole - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{whole} {expected}");
        }
    }

    #[test]
    fn training_finds_mean_and_dispersion_of_counts() {
        use crate::train::{Subset, Trainer};
        let config = config();
        let windows = counted(64);
        let mut trainer = Trainer::new(&Model::untrained(&config, 1).unwrap(), Subset::Heads, 0.0, false, 0.0);
        let all: Vec<&Window> = windows.iter().collect();
        for _ in 0..150 {
            trainer.step(&all, 0.02).unwrap();
        }
        let weights = Weights::shared(&trainer.averaged(), &device());
        let batch = Batch::plain(&config, &windows, &device()).unwrap();
        let counts = forecast_outputs(&config, &weights, &batch).counts.unwrap();
        let average = |logs: Tensor<3>| {
            let logs = floats(logs);
            logs.iter().map(|v| v.exp()).sum::<f32>() / logs.len() as f32
        };
        let (mean, alpha) = (average(counts.log_mean), average(counts.log_dispersion));
        assert!((mean / MEAN as f32 - 1.0).abs() < 0.1, "{mean}");
        assert!((alpha / ALPHA as f32 - 1.0).abs() < 0.3, "{alpha}");
    }
}
