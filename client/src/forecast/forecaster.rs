//! Forecasts of a model in the units of the series.
//!
//! Quantiles leave scaled space here. Where a window's past has no negative value, neither have its quantiles.
//! No gradient is recorded.

use std::ops::Range;

use burn::tensor::{Tensor, activation};

use crate::data::window::{Window, WindowShape};
use crate::device::{Work, in_passes, passes};
use crate::model::{self, Batch, ForwardError, Model, ModelConfig, ModelError, QUANTILE_COUNT, Weights};
use forecastle_proto::model::ModelSnapshot;

/// Quantile forecast of one window.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// Quantiles of each future step, `[horizon]`, ascending, in the units of the series; see
    /// [`model::QUANTILES`] for their levels.
    pub quantiles: Vec<[f32; QUANTILE_COUNT]>,
}

impl Forecast {
    /// The first `horizon` steps.
    pub fn truncate(&mut self, horizon: usize) {
        self.quantiles.truncate(horizon);
    }
}

/// Negative binomial distribution of one step: mean μ and dispersion α, variance μ + αμ².
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NegativeBinomial {
    /// μ, in units.
    pub mean: f32,
    /// α.
    pub dispersion: f32,
}

impl NegativeBinomial {
    /// μ + αμ².
    pub fn variance(self) -> f64 {
        let (mean, dispersion) = (f64::from(self.mean), f64::from(self.dispersion));
        mean + dispersion * mean * mean
    }

    /// Probability of nothing at all, `(1 + αμ)^(−1/α)`.
    pub fn zero(self) -> f64 {
        let (mean, dispersion) = (f64::from(self.mean), f64::from(self.dispersion));
        (-(dispersion * mean).ln_1p() / dispersion).exp()
    }
}

/// What the heads beside the quantiles say of windows; `None` of a head that the model has not.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heads {
    /// Distribution of each step's counts, `[window][horizon]`.
    pub counts: Option<Vec<Vec<NegativeBinomial>>>,
    /// Share of each step's sales that comes back, `[window][horizon]`, between 0 and 1.
    pub returns: Option<Vec<Vec<f32>>>,
}

/// A model ready to forecast.
pub struct Forecaster {
    model: Model,
    weights: Weights,
}

impl Forecaster {
    /// Reads a published or stored model.
    ///
    /// # Errors
    /// [`ModelError`] when it is no model of this program.
    pub fn new(snapshot: &ModelSnapshot) -> Result<Self, ModelError> {
        Ok(Self::of(Model::from_snapshot(snapshot)?))
    }

    /// Takes a model as it is.
    pub fn of(model: Model) -> Self {
        let weights = Weights::shared(&model, &model::device());
        Self { model, weights }
    }

    /// Extent of the windows that it reads.
    pub fn shape(&self) -> WindowShape {
        self.model.shape()
    }

    /// Forecasts each window, in order.
    ///
    /// # Errors
    /// [`ForwardError`] names the window that does not fit, or the device that failed.
    pub fn predict(&self, windows: &[Window]) -> Result<Vec<Forecast>, ForwardError> {
        let (device, config) = (model::device(), self.model.config());
        let mut forecasts = Vec::with_capacity(windows.len());
        let forward = |piece: Range<usize>| {
            let batch = Batch::pass(config, &windows[piece.clone()], &device).map_err(|e| e.shifted(piece.start))?;
            let values = passes::read(model::forward(config, &self.weights, &batch))?;
            Ok::<_, ForwardError>((values, batch.scales().to_vec()))
        };
        in_passes(Work::Rows, windows.len(), forward, |piece, (values, scales)| {
            let values = values.chunks_exact(config.horizon * QUANTILE_COUNT);
            let part = windows[piece].iter().zip(values).zip(scales);
            forecasts.extend(part.map(|((window, values), scale)| unscaled(window, values, scale)));
            Ok(())
        })?;
        Ok(forecasts)
    }

    /// Settings of its network.
    pub fn config(&self) -> &ModelConfig {
        self.model.config()
    }

    /// The distribution of each window's counts, `[window][horizon]`; `None` where the model has no head for counts.
    ///
    /// # Errors
    /// [`ForwardError`] names the window that does not fit, or the device that failed.
    pub fn counts(&self, windows: &[Window]) -> Result<Option<Vec<Vec<NegativeBinomial>>>, ForwardError> {
        Ok(self.heads(windows)?.counts)
    }

    /// What the heads beside the quantiles say, in one pass.
    ///
    /// # Errors
    /// [`ForwardError`] names the window that does not fit, or the device that failed.
    pub fn heads(&self, windows: &[Window]) -> Result<Heads, ForwardError> {
        let (device, config) = (model::device(), self.model.config());
        let mut heads = Heads { counts: config.counts.then(Vec::new), returns: config.returns.then(Vec::new) };
        let numbers = 2 * usize::from(config.counts) + usize::from(config.returns);
        if numbers == 0 {
            return Ok(heads);
        }
        let forward = |piece: Range<usize>| {
            let batch = Batch::pass(config, &windows[piece.clone()], &device).map_err(|e| e.shifted(piece.start))?;
            let model::Outputs { counts, returns, .. } = model::forecast_outputs(config, &self.weights, &batch);
            let counts = counts.into_iter().flat_map(|counts| [counts.log_mean, counts.log_dispersion]);
            let all: Vec<_> = counts.chain(returns.map(activation::sigmoid)).collect();
            // One read for all: each waits for the device.
            Ok::<_, ForwardError>(passes::read(Tensor::stack::<4>(all, 3))?)
        };
        in_passes(Work::Rows, windows.len(), forward, |piece, values| {
            for window in values.chunks_exact(numbers * config.horizon).take(piece.len()) {
                let steps = window.chunks_exact(numbers);
                if let Some(counts) = &mut heads.counts {
                    let (mean, dispersion) = (|step: &[f32]| step[0].exp().min(f32::MAX), |step: &[f32]| step[1].exp());
                    let step = |step| NegativeBinomial { mean: mean(step), dispersion: dispersion(step) };
                    counts.push(steps.clone().map(step).collect());
                }
                if let Some(returns) = &mut heads.returns {
                    returns.push(steps.map(|step| step[numbers - 1]).collect());
                }
            }
            Ok(())
        })?;
        Ok(heads)
    }
}

/// A forecast in the units of the series.
fn unscaled(window: &Window, values: &[f32], scale: f32) -> Forecast {
    let least = if window.past.iter().any(|&y| y < 0.0) { f32::MIN } else { 0.0 };
    // Rounding may turn neighbours around by the last bit.
    let step = |q: &[f32]| {
        let mut highest = least;
        std::array::from_fn(|i| {
            // Of the largest numbers that there are, a multiple is still one.
            highest = highest.max((q[i] * scale).min(f32::MAX));
            highest
        })
    };
    Forecast { quantiles: values.chunks_exact(QUANTILE_COUNT).map(step).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::example;

    const ROWS: usize = passes::Passes::CPU.rows;

    #[test]
    fn quantiles_ascend_and_do_not_leave_the_range_of_the_past() {
        let config = ModelConfig::preset("nano-daily").unwrap();
        let forecaster = Forecaster::of(example::model(&config, 1));
        let windows = example::windows(&config, 5, 2);
        for forecast in forecaster.predict(&windows).unwrap() {
            assert_eq!(forecast.quantiles.len(), 28);
            for q in forecast.quantiles {
                assert!(q.windows(2).all(|w| w[0] <= w[1]), "{q:?}");
                assert!(q[0] >= 0.0 && q[8].is_finite(), "{q:?}");
            }
        }
    }

    #[test]
    fn a_window_is_forecast_alike_alone_and_among_others() {
        let config = ModelConfig::preset("nano-weekly").unwrap();
        let forecaster = Forecaster::of(example::model(&config, 1));
        let windows = example::windows(&config, ROWS + 3, 2);
        let together = forecaster.predict(&windows).unwrap();
        for i in [0, 7, ROWS + 1] {
            let alone = forecaster.predict(&windows[i..=i]).unwrap();
            for (a, b) in alone[0].quantiles.iter().flatten().zip(together[i].quantiles.iter().flatten()) {
                assert!((a - b).abs() <= 1e-4 * (1.0 + a.abs()), "{a} {b}");
            }
        }
    }

    #[test]
    fn a_head_for_counts_gives_each_step_a_distribution_about_its_quantiles() {
        let plain = ModelConfig::preset("nano-daily").unwrap();
        let windows = example::windows(&plain, 3, 2);
        assert_eq!(Forecaster::of(Model::untrained(&plain, 1).unwrap()).counts(&windows).unwrap(), None);
        let config = ModelConfig { counts: true, ..plain };
        let forecaster = Forecaster::of(Model::untrained(&config, 1).unwrap());
        let counts = forecaster.counts(&windows).unwrap().unwrap();
        assert_eq!((counts.len(), counts[2].len()), (3, 28));
        for (forecast, counts) in forecaster.predict(&windows).unwrap().iter().zip(&counts) {
            for (q, count) in forecast.quantiles.iter().zip(counts) {
                assert!((q[0]..=q[8]).contains(&count.mean) && count.dispersion > 0.0, "{q:?} {count:?}");
            }
        }
    }

    #[test]
    fn heads_that_are_asked_together_say_what_they_say_alone() {
        let plain = ModelConfig::preset("nano-daily").unwrap();
        let both = example::model(&ModelConfig { counts: true, returns: true, ..plain.clone() }, 1);
        let windows = example::windows(&plain, ROWS + 3, 2);
        let heads = Forecaster::of(both.clone()).heads(&windows).unwrap();
        let alone = |counts, returns| {
            let model = both.with_settings(&ModelConfig { counts, returns, ..plain.clone() }, 5).unwrap();
            Forecaster::of(model).heads(&windows).unwrap()
        };
        assert_eq!(alone(false, false), Heads::default());
        assert_eq!(alone(true, false), Heads { returns: None, ..heads.clone() });
        assert_eq!(alone(false, true), Heads { counts: None, ..heads.clone() });
        let (counts, returns) = (heads.counts.unwrap(), heads.returns.unwrap());
        assert!(counts.len() == windows.len() && counts.iter().all(|steps| steps.len() == 28));
        assert!(returns.len() == windows.len() && returns.iter().all(|steps| steps.len() == 28));
        assert!(returns.iter().flatten().all(|rate| (0.0..=1.0).contains(rate)));
        assert_ne!(returns[0], returns[ROWS + 1]);
    }

    #[test]
    fn a_distribution_of_counts_has_the_variance_and_the_zeros_of_its_formula() {
        let geometric = NegativeBinomial { mean: 3.0, dispersion: 1.0 };
        assert!((geometric.variance() - 12.0).abs() < 1e-12 && (geometric.zero() - 0.25).abs() < 1e-12);
        let poisson = NegativeBinomial { mean: 2.0, dispersion: 1e-7 };
        assert!((poisson.zero() - (-2.0_f64).exp()).abs() < 1e-6, "{}", poisson.zero());
    }

    #[test]
    fn a_negative_past_allows_negative_quantiles() {
        let config = ModelConfig::preset("nano-daily").unwrap();
        let forecaster = Forecaster::of(Model::untrained(&config, 1).unwrap());
        let mut windows = example::windows(&config, 1, 2);
        windows[0].past.iter_mut().for_each(|y| *y = -10.0);
        let forecast = forecaster.predict(&windows).unwrap().remove(0);
        assert!(forecast.quantiles[0][4] < -5.0, "{:?}", forecast.quantiles[0]);
    }

    #[test]
    fn a_window_that_does_not_fit_is_named() {
        let config = ModelConfig::preset("nano-daily").unwrap();
        let forecaster = Forecaster::of(Model::untrained(&config, 1).unwrap());
        let mut windows = example::windows(&config, ROWS + 2, 2);
        windows[ROWS + 1].past.pop();
        let error = forecaster.predict(&windows).unwrap_err().to_string();
        assert!(error.contains(&format!("window {}", ROWS + 1)), "{error}");
    }
    #[test]
    #[cfg(not(feature = "cuda"))]
    fn forecasts_in_smaller_passes_are_the_same() {
        let config = ModelConfig::preset("nano-daily").unwrap();
        let forecaster = Forecaster::of(example::model(&config, 1));
        let windows = example::windows(&config, 90, 2);
        let roomy = forecaster.predict(&windows).unwrap();
        let small = passes::tests::on_small_gpu(7, 20, || forecaster.predict(&windows)).unwrap();
        assert_eq!(small.len(), roomy.len());
        for (a, b) in small.iter().zip(&roomy).flat_map(|(a, b)| a.quantiles.iter().zip(&b.quantiles)) {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs())), "{a:?} {b:?}");
        }
    }
}
