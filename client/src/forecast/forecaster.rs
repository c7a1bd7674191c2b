//! Forecasts of a model in the units of the series.
//!
//! Quantiles leave scaled space here. Where a window's past has no negative value, neither have its quantiles.
//! No gradient is recorded.

use crate::data::window::{Window, WindowShape};
use crate::device::place;
use crate::model::{self, Batch, BatchError, Model, ModelError, QUANTILE_COUNT, Weights};
use crate::train::plain::floats;
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
    /// [`BatchError`] names the window that does not fit.
    pub fn predict(&self, windows: &[Window]) -> Result<Vec<Forecast>, BatchError> {
        let (device, config) = (model::device(), self.model.config());
        let mut forecasts = Vec::with_capacity(windows.len());
        let rows = place().passes().rows;
        for (chunk, part) in windows.chunks(rows).enumerate() {
            let batch = Batch::pass(config, part, &device).map_err(|e| e.shifted(chunk * rows))?;
            let values = floats(model::forward(config, &self.weights, &batch));
            let per_window = config.horizon * QUANTILE_COUNT;
            for ((window, values), &scale) in part.iter().zip(values.chunks_exact(per_window)).zip(batch.scales()) {
                let least = if window.past.iter().any(|&y| y < 0.0) { f32::NEG_INFINITY } else { 0.0 };
                // Rounding may turn neighbours around by the last bit.
                let step = |q: &[f32]| {
                    let mut highest = least;
                    std::array::from_fn(|i| {
                        highest = highest.max(q[i] * scale);
                        highest
                    })
                };
                forecasts.push(Forecast { quantiles: values.chunks_exact(QUANTILE_COUNT).map(step).collect() });
            }
        }
        Ok(forecasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, example};

    const ROWS: usize = crate::device::Place::CPU.passes().rows;

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
}
