//! Ordinary mini-batch training, for the zero-ε warm start and for what stays at the merchant.

use burn::tensor::{Gradients, Tensor, TensorData};

use super::adamw::AdamW;
use crate::data::window::Window;
use crate::device::place;
use crate::model::{self, Batch, BatchError, Model, Weights};

/// Largest norm of a batch's gradient.
const GRADIENT_NORM_MAX: f32 = 1.0;

/// Which parameters are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// Those that rounds train; the encoder stays as it is, and its codes are computed once.
    Federated,
    /// All.
    All,
}

impl Subset {
    /// Whether a parameter belongs to the subset.
    pub fn holds(self, federated: bool) -> bool {
        federated || self == Self::All
    }
}

/// Why plain training stopped.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// A window that does not fit the model.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The loss or its gradient left the numbers.
    #[error("training diverged at step {step}: lower the learning rate")]
    Diverged {
        /// Which step.
        step: usize,
    },
    /// Nothing to train on.
    #[error("there are no windows to train on")]
    NoWindows,
}

/// Plain training of a subset of a model's parameters, one batch at a time.
pub struct Trainer {
    model: Model,
    subset: Subset,
    optimizer: AdamW,
    values: Vec<f32>,
    averaged: Vec<f32>,
    averaging: f32,
    steps: usize,
    /// Factor of the learning rate of each value.
    pace: Vec<f32>,
}

/// Codes of the encoder for a list of windows, `[window, horizon × day_features]`, computed once.
pub struct Codes {
    values: Vec<f32>,
    width: usize,
}

impl Trainer {
    /// Trains `subset` of `model`. Weights decay at rate `decay` towards where they start if `anchored`, else towards
    /// zero. `averaging` is the rate of the exponential average that [`Self::averaged`] returns, 0 for none.
    pub fn new(model: &Model, subset: Subset, decay: f32, anchored: bool, averaging: f32) -> Self {
        let values = gather(model, subset);
        let optimizer = AdamW::new(values.len(), decay, anchored.then(|| values.clone()));
        let (averaged, pace) = (values.clone(), vec![1.0; values.len()]);
        Self { model: model.clone(), subset, optimizer, values, averaged, averaging, steps: 0, pace }
    }

    /// Multiplies the learning rate of the parameters that rounds train.
    ///
    /// Starting from nothing, elasticities and rates have far to go, while the encoder's weights must not.
    #[must_use]
    pub fn federated_pace(mut self, factor: f32) -> Self {
        let entries = self.model.layout().entries.iter().filter(|e| self.subset.holds(e.federated));
        let paces = entries.flat_map(|e| std::iter::repeat_n(if e.federated { factor } else { 1.0 }, e.len()));
        self.pace = paces.collect();
        self
    }

    /// One step on the mean loss of these windows; returns that loss.
    ///
    /// # Errors
    /// [`PlainError`] for a window that does not fit, or when the loss is not a number; the parameters are as
    /// before then.
    pub fn step(&mut self, windows: &[&Window], rate: f32) -> Result<f32, PlainError> {
        self.advance(windows, None, rate)
    }

    /// Like [`Self::step`], with the encoder's codes of the windows `indices`: for [`Subset::Federated`] only, as
    /// the encoder receives no gradient.
    ///
    /// # Errors
    /// As [`Self::step`].
    pub fn step_with_codes(
        &mut self,
        windows: &[&Window],
        indices: &[usize],
        codes: &Codes,
        rate: f32,
    ) -> Result<f32, PlainError> {
        self.advance(windows, Some((indices, codes)), rate)
    }

    fn advance(
        &mut self,
        windows: &[&Window],
        codes: Option<(&[usize], &Codes)>,
        rate: f32,
    ) -> Result<f32, PlainError> {
        if windows.is_empty() {
            return Err(PlainError::NoWindows);
        }
        let device = model::device();
        let config = self.model.config();
        let batch = Batch::plain(config, windows.iter().copied(), &device)?;
        let subset = self.subset;
        let weights = Weights::trained(&self.model, 1, &device, |_, federated| subset.holds(federated));
        let codes = match codes {
            Some((indices, codes)) => codes.tensor(indices, config.day_features),
            None => model::encode(config, &weights, &batch),
        };
        let loss = model::pinball_sum(&batch, model::decode(config, &weights, &batch, codes));
        let gradients = loss.backward();
        let loss: f32 = loss.into_scalar();
        let mut gradient = flat_gradient(&self.model, subset, &weights, &gradients);
        let norm = gradient.iter().map(|g| g * g).sum::<f32>().sqrt();
        if !loss.is_finite() || !norm.is_finite() {
            return Err(PlainError::Diverged { step: self.steps });
        }
        if norm > GRADIENT_NORM_MAX {
            gradient.iter_mut().for_each(|g| *g *= GRADIENT_NORM_MAX / norm);
        }
        self.optimizer.step(&mut self.values, &gradient, rate, &self.pace);
        self.steps += 1;
        // Early averages forget the start quickly, late ones reach back `1 / (1 − averaging)` steps.
        let keep = self.averaging.min(self.steps as f32 / (self.steps as f32 + 9.0));
        for (mean, value) in self.averaged.iter_mut().zip(&self.values) {
            *mean = if self.averaging > 0.0 { keep * *mean + (1.0 - keep) * value } else { *value };
        }
        self.model = scatter(&self.model, subset, &self.values);
        Ok(loss)
    }

    /// The model with its averaged weights.
    pub fn averaged(&self) -> Model {
        scatter(&self.model, self.subset, &self.averaged)
    }
}

impl Codes {
    /// Computes the codes of all windows without a tape.
    ///
    /// # Errors
    /// [`BatchError`] names the window that does not fit.
    pub fn compute(model: &Model, windows: &[Window]) -> Result<Self, BatchError> {
        let (device, config) = (model::device(), model.config());
        let weights = Weights::shared(model, &device);
        let width = config.horizon * config.day_features;
        let mut values = Vec::with_capacity(windows.len() * width);
        for chunk in windows.chunks(place().passes().rows) {
            let batch = Batch::pass(config, chunk, &device)?;
            values.extend(&floats(model::encode(config, &weights, &batch))[..chunk.len() * width]);
        }
        Ok(Self { values, width })
    }

    fn tensor(&self, indices: &[usize], features: usize) -> Tensor<3> {
        let mut values = Vec::with_capacity(indices.len() * self.width);
        for &i in indices {
            values.extend_from_slice(&self.values[i * self.width..(i + 1) * self.width]);
        }
        let shape = [1, values.len() / features, features];
        Tensor::from_data(TensorData::new(values, shape), &model::device())
    }
}

/// Weighted quantile loss of a model on windows: Σ 2 × pinball / Σ |y| over all observed cells, mean over the levels.
///
/// `None` when no cell is observed or all are zero.
///
/// # Errors
/// [`BatchError`] names the window that does not fit.
pub fn weighted_quantile_loss(model: &Model, windows: &[Window]) -> Result<Option<f64>, BatchError> {
    let (device, config) = (model::device(), model.config());
    let weights = Weights::shared(model, &device);
    let (mut loss, mut volume) = (0.0f64, 0.0f64);
    for chunk in windows.chunks(place().passes().rows) {
        let batch = Batch::pass(config, chunk, &device)?;
        let losses = model::window_losses(&batch, model::forward(config, &weights, &batch));
        for ((window, mean), scale) in chunk.iter().zip(floats(losses)).zip(batch.scales()) {
            let cells = window.future.iter().filter(|y| !y.is_nan());
            let count = cells.clone().count() as f64;
            loss += f64::from(mean) * f64::from(*scale) * count;
            volume += cells.map(|y| f64::from(y.abs())).sum::<f64>();
        }
    }
    Ok((volume > 0.0).then(|| loss / volume))
}

/// A tensor's values on the host.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as().expect("tensors of this device hold f32")
}

/// Gradient of the subset, in layout order; zero where a parameter had no influence.
fn flat_gradient(model: &Model, subset: Subset, weights: &Weights, gradients: &Gradients) -> Vec<f32> {
    let parts = model.layout().entries.iter().filter(|e| subset.holds(e.federated)).map(|entry| {
        match weights.get(&entry.name).grad(gradients) {
            Some(gradient) => gradient.reshape([entry.len()]),
            None => Tensor::zeros([entry.len()], &model::device()),
        }
    });
    // One read for all: each waits for the device.
    floats(Tensor::<1>::cat(parts.collect(), 0))
}

fn gather(model: &Model, subset: Subset) -> Vec<f32> {
    match subset {
        Subset::Federated => model.federated(),
        Subset::All => model.values().to_vec(),
    }
}

fn scatter(model: &Model, subset: Subset, values: &[f32]) -> Model {
    let mut all = model.values().to_vec();
    match subset {
        Subset::Federated => model.layout().scatter_federated(values, &mut all),
        Subset::All => all.copy_from_slice(values),
    }
    model.with_values(all)
}
