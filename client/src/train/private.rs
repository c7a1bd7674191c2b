//! One private step at a merchant: sample series, draw their windows, sum their clipped gradients.
//!
//! The result still has the sensitivity that the accountant is told (C for each series that changes, 2C under a
//! changed customer); it must not leave before the round has noised and masked it.

use std::sync::Arc;

use super::per_example::{GradientError, finite_gradient_sum};
use super::sampler::{EntropyError, Sampling};
use crate::data::series::Series;
use crate::data::window::{StaticInputs, Window, WindowShape, training_cuts};
use crate::model::Model;

/// Why a private step gave no gradient.
#[derive(Debug, thiserror::Error)]
pub enum PrivateStepError {
    /// A plan that cannot be carried out.
    #[error("plan: {0}")]
    Plan(&'static str),
    /// No entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A series whose gradient cannot be computed.
    #[error("series `{id}`: {source}")]
    Series {
        /// Identity of the series.
        id: String,
        /// What is wrong.
        source: GradientError,
    },
    /// A gradient that cannot be computed for all.
    #[error(transparent)]
    Gradient(GradientError),
}

/// A series with the positions at which it gives training windows.
#[derive(Clone, Debug)]
pub struct TrainingSeries {
    /// The series, cut to the training period.
    pub series: Series,
    /// Its attributes and text.
    pub statics: Arc<StaticInputs>,
    /// Steps at which a window's past ends, ascending.
    pub cuts: Vec<usize>,
}

impl TrainingSeries {
    /// Windows of `shape` with at least `past_min` steps behind them, none of which looks beyond the series' `y`.
    pub fn new(series: Series, shape: WindowShape, past_min: usize) -> Self {
        let statics = Arc::new(StaticInputs::of(&series));
        let cuts = training_cuts(&series, shape, past_min);
        Self { series, statics, cuts }
    }

    /// The window whose past ends after `cut` steps.
    pub fn window(&self, cut: usize, shape: WindowShape) -> Window {
        Window::at(&self.series, self.statics.clone(), cut, shape)
    }
}

/// The public constants of a private step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrivateStep {
    /// Clipping norm C of one series' gradient.
    pub clip: f64,
    /// Probability with which each series takes part, q.
    pub rate: f64,
    /// Windows of a sampled series, averaged before its one clip.
    pub windows_per_series: usize,
}

impl PrivateStep {
    /// Sum of the clipped gradients of the sampled series, `[federated_len]`, and how many of these have a window.
    ///
    /// An empty sample gives zeros; the round noises and sends them all the same. A series whose gradient is not finite
    /// counts as zero: a merchant that fell silent instead would say something about its data (see
    /// [`super::per_example::finite_gradient_sum`]).
    ///
    /// # Errors
    /// [`PrivateStepError`] names the plan's or the series' fault.
    pub fn gradient_sum(
        &self,
        model: &Model,
        series: &[TrainingSeries],
        sampling: &mut Sampling,
    ) -> Result<(Vec<f64>, usize), PrivateStepError> {
        let (sampled, units) = self.draw(model.shape(), series, sampling)?;
        let present = units.iter().filter(|windows| !windows.is_empty()).count();
        let sum = finite_gradient_sum(model, &units, self.clip).map_err(|source| named(source, series, &sampled))?;
        Ok((sum, present))
    }

    /// Computes the gradient of a series in which nothing was seen, and forgets it.
    ///
    /// A GPU compiles for the step then, which may take longer than a round waits.
    ///
    /// # Errors
    /// [`PrivateStepError::Gradient`].
    pub fn rehearse(&self, model: &Model) -> Result<(), PrivateStepError> {
        let unit = vec![Window::empty(model.shape()); self.windows_per_series];
        finite_gradient_sum(model, &[unit], self.clip).map_err(PrivateStepError::Gradient)?;
        Ok(())
    }

    /// The sampled series and the windows drawn from each, uniformly over its cuts, with replacement.
    ///
    /// Series and windows are drawn for each series on its own, so adding or removing one changes no other's share.
    ///
    /// # Errors
    /// [`PrivateStepError::Plan`] or [`PrivateStepError::Entropy`].
    pub fn draw(
        &self,
        shape: WindowShape,
        series: &[TrainingSeries],
        sampling: &mut Sampling,
    ) -> Result<(Vec<usize>, Vec<Vec<Window>>), PrivateStepError> {
        if !(0.0..=1.0).contains(&self.rate) {
            return Err(PrivateStepError::Plan("the sampling rate does not lie within 0..=1"));
        }
        if self.windows_per_series == 0 {
            return Err(PrivateStepError::Plan("a sampled series gives at least one window"));
        }
        let sampled = sampling.poisson(series.len(), self.rate)?;
        let mut units = Vec::with_capacity(sampled.len());
        for &index in &sampled {
            let one = &series[index];
            let mut windows = Vec::with_capacity(self.windows_per_series);
            if !one.cuts.is_empty() {
                for _ in 0..self.windows_per_series {
                    windows.push(one.window(one.cuts[sampling.below(one.cuts.len())?], shape));
                }
            }
            units.push(windows);
        }
        Ok((sampled, units))
    }
}

/// A gradient's error with the identity of the series at fault.
fn named(source: GradientError, series: &[TrainingSeries], sampled: &[usize]) -> PrivateStepError {
    match source {
        GradientError::Window { unit, .. } | GradientError::NotFinite { unit, .. } => {
            PrivateStepError::Series { id: series[sampled[unit]].series.id.clone(), source }
        }
        GradientError::Clip(_) | GradientError::Device(_) => PrivateStepError::Gradient(source),
    }
}
