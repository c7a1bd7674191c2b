//! Ordinary mini-batch training, for the zero-ε warm start and for what stays at the merchant.

use std::ops::Range;

use burn::tensor::{Gradients, Tensor, TensorData};
use forecastle_proto::model::ParameterEntry;

use super::{adamw::AdamW, sgd::Sgd, windows::Windows};
use crate::data::{finite::NotFinite, window::Window};
use crate::device::{self, DeviceFailure, Work, in_passes, passes, passes::DeviceCause};
use crate::model::{
    self, Batch, BatchError, Dropout, ForwardError, Model, Weights,
    fused::{Encoder, Rooms, Shares},
};

/// Largest norm of a batch's gradient.
const GRADIENT_NORM_MAX: f32 = 1.0;

/// Which parameters are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subset {
    /// Those above the encoder, which stays as it is, so that its codes are computed once.
    Heads,
    /// Those, and what reads a product's text and further inputs.
    HeadsAndText,
    /// All.
    All,
}

impl Subset {
    /// Whether a parameter belongs to the subset.
    pub fn holds(self, entry: &ParameterEntry) -> bool {
        match self {
            Self::Heads => model::above_the_encoder(entry),
            Self::HeadsAndText => {
                let reads = ["embed.text.", "further."].iter().any(|part| entry.name.starts_with(part));
                model::above_the_encoder(entry) || reads
            }
            Self::All => true,
        }
    }
}

/// The rule by which plain training moves parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Rule {
    /// Adam with decoupled decay.
    #[default]
    AdamW,
    /// Gradient descent with this momentum.
    Sgd {
        /// In `0..1`.
        momentum: f32,
    },
}

/// State of either rule.
enum Optimizer {
    AdamW(AdamW),
    Sgd(Sgd),
}

impl Optimizer {
    /// State for `values`, which decay towards where they are if `anchored`, else towards zero.
    fn new(rule: Rule, values: &[f32], decay: f32, anchored: bool) -> Self {
        let anchor = anchored.then(|| values.to_vec());
        match rule {
            Rule::AdamW => Self::AdamW(AdamW::new(values.len(), decay, anchor)),
            Rule::Sgd { momentum } => Self::Sgd(Sgd::new(values.len(), momentum, decay, anchor)),
        }
    }

    fn step(&mut self, values: &mut [f32], gradient: &[f32], rate: f32, pace: &[f32]) {
        match self {
            Self::AdamW(state) => state.step(values, gradient, rate, pace),
            Self::Sgd(state) => state.step(values, gradient, rate, pace),
        }
    }
}

/// Why plain training stopped.
#[derive(Debug, thiserror::Error)]
pub enum PlainError {
    /// A window that does not fit the model.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A series with a number that is none.
    #[error(transparent)]
    Series(#[from] NotFinite),
    /// The loss or its gradient left the numbers.
    #[error("training diverged at step {step}: lower the learning rate")]
    Diverged {
        /// Which step.
        step: usize,
    },
    /// Nothing to train on.
    #[error("there are no windows to train on")]
    NoWindows,
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
}

impl DeviceCause for PlainError {
    fn device_failure(&self) -> Option<&DeviceFailure> {
        match self {
            Self::Device(failure) => Some(failure),
            Self::Batch(_) | Self::Series(_) | Self::Diverged { .. } | Self::NoWindows => None,
        }
    }
}

impl From<ForwardError> for PlainError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Batch(error) => error.into(),
            ForwardError::Series(error) => error.into(),
            ForwardError::Device(error) => error.into(),
        }
    }
}

/// Plain training of a subset of a model's parameters, one batch at a time.
pub struct Trainer {
    model: Model,
    subset: Subset,
    optimizer: Optimizer,
    decay: f32,
    anchored: bool,
    /// Rate and seed of dropout in the encoder.
    dropout: Option<(f32, u64)>,
    values: Vec<f32>,
    averaged: Vec<f32>,
    averaging: f32,
    steps: usize,
    /// Factor of the learning rate of each value.
    pace: Vec<f32>,
    rooms: Rooms,
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
        let optimizer = Optimizer::new(Rule::AdamW, &values, decay, anchored);
        let (averaged, pace) = (values.clone(), vec![1.0; values.len()]);
        let (model, rooms) = (model.clone(), Rooms::default());
        Self {
            model,
            subset,
            optimizer,
            decay,
            anchored,
            dropout: None,
            values,
            averaged,
            averaging,
            steps: 0,
            pace,
            rooms,
        }
    }

    /// Moves parameters by `rule`; to be chosen before the first step.
    #[must_use]
    pub fn by(mut self, rule: Rule) -> Self {
        self.optimizer = Optimizer::new(rule, &self.values, self.decay, self.anchored);
        self
    }

    /// Drops a share `rate` of what each block adds, where the encoder is trained.
    #[must_use]
    pub fn dropping(mut self, rate: f32, seed: u64) -> Self {
        self.dropout = (rate > 0.0).then_some((rate, seed));
        self
    }

    /// Multiplies the learning rate of the parameters above the encoder.
    ///
    /// Starting from nothing, elasticities and rates have far to go, while the encoder's weights must not.
    #[must_use]
    pub fn heads_pace(mut self, factor: f32) -> Self {
        let entries = self.model.layout().entries.iter().filter(|e| self.subset.holds(e));
        let paces =
            entries.flat_map(|e| std::iter::repeat_n(if model::above_the_encoder(e) { factor } else { 1.0 }, e.len()));
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

    /// Like [`Self::step`], with the encoder's codes of the windows `indices`: for [`Subset::Heads`] only, as
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
        let (mut gradient, loss) = self.gradient(windows, codes)?;
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
        self.model = scatter(&self.model, self.subset, &self.values);
        Ok(loss)
    }

    /// Gradient of the mean loss of these windows in layout order, and that loss.
    ///
    /// Where the device cannot hold all windows at once, both are added up from parts.
    fn gradient(&self, windows: &[&Window], codes: Option<(&[usize], &Codes)>) -> Result<(Vec<f32>, f32), PlainError> {
        let (device, config, subset) = (model::device(), self.model.config(), self.subset);
        // Dropout is the tensor library's.
        let by_hand = device::place().is_cpu() && codes.is_none() && self.dropout.is_none();
        let encoder = by_hand.then(|| match subset {
            Subset::Heads => Encoder::new(&self.model).within(&self.rooms),
            Subset::HeadsAndText | Subset::All => Encoder::for_training(&self.model).within(&self.rooms),
        });
        let taped =
            |entry: &ParameterEntry| subset.holds(entry) && (encoder.is_none() || model::above_the_encoder(entry));
        let backward = |piece: Range<usize>| {
            let part = windows[piece.clone()].iter().copied();
            let batch = Batch::plain(config, part, &device).map_err(|e| e.shifted(piece.start))?;
            let weights = Weights::trained(&self.model, 1, &device, taped);
            let mut pass = None;
            let codes = match (codes, &encoder) {
                (Some((indices, codes)), _) => codes.tensor(&indices[piece], config.day_features),
                (None, Some(encoder)) if !encoder.trains() => encoder.encode(&batch),
                (None, Some(encoder)) => {
                    let (begun, codes) = encoder.pass(&batch, Shares::one(piece.len()));
                    pass = Some((begun, codes.clone()));
                    codes
                }
                (None, None) => {
                    // Each pass draws masks of its own, whatever else is computed at the same time.
                    let drawn = (self.steps as u64) << 32 | piece.start as u64;
                    let dropout = self.dropout.map(|(rate, seed)| Dropout::new(rate, seed ^ drawn));
                    model::encode_with(config, &weights, &batch, dropout)
                }
            };
            let loss = model::training_loss(&batch, model::decode(config, &weights, &batch, codes));
            let gradients = loss.backward();
            let mut flat = flat_gradient(&self.model, subset, &weights, &gradients, loss)?;
            if let Some((pass, codes)) = pass
                && let Some(d_codes) = codes.grad(&gradients)
            {
                drop(gradients);
                flat = pass.add_gradients(&passes::read(d_codes)?, &self.places_below(), flat);
            }
            Ok::<_, PlainError>(flat)
        };
        let mut sum = vec![0.0; self.values.len() + 1];
        in_passes(Work::Batch, windows.len(), backward, |piece, part| {
            let share = piece.len() as f32 / windows.len() as f32;
            sum.iter_mut().zip(part).for_each(|(total, g)| *total += share * g);
            Ok(())
        })?;
        let loss = sum.pop().unwrap_or(f32::NAN);
        Ok((sum, loss))
    }

    /// Where the gradients of the encoder's parameters stand among those of the subset, by number in the layout.
    fn places_below(&self) -> Vec<Option<Range<usize>>> {
        let entries = self.model.layout().entries.iter();
        let places = entries.scan(0, |at, entry| {
            let part = *at..*at + if self.subset.holds(entry) { entry.len() } else { 0 };
            *at = part.end;
            Some((self.subset.holds(entry) && !model::above_the_encoder(entry)).then_some(part))
        });
        places.collect()
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
    /// [`ForwardError`] names the window that does not fit, or the device that failed.
    pub fn compute(model: &Model, windows: &(impl Windows + ?Sized)) -> Result<Self, ForwardError> {
        let (device, config) = (model::device(), model.config());
        let weights = Weights::shared(model, &device);
        let width = config.horizon * config.day_features;
        let mut values = Vec::with_capacity(windows.count() * width);
        let encode = |piece: Range<usize>| {
            let part: Vec<_> = piece.clone().map(|i| windows.window(i)).collect();
            let batch =
                Batch::pass(config, part.iter().map(AsRef::as_ref), &device).map_err(|e| e.shifted(piece.start))?;
            Ok::<_, ForwardError>(passes::read(model::encode(config, &weights, &batch))?)
        };
        in_passes(Work::Rows, windows.count(), encode, |piece, codes| {
            values.extend(&codes[..piece.len() * width]);
            Ok(())
        })?;
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
/// [`ForwardError`] names the window that does not fit, or the device that failed.
pub fn weighted_quantile_loss(model: &Model, windows: &(impl Windows + ?Sized)) -> Result<Option<f64>, ForwardError> {
    let (device, config) = (model::device(), model.config());
    let weights = Weights::shared(model, &device);
    let (mut loss, mut volume) = (0.0f64, 0.0f64);
    let forward = |piece: Range<usize>| {
        let part: Vec<_> = piece.clone().map(|i| windows.window(i)).collect();
        let batch = Batch::pass(config, part.iter().map(AsRef::as_ref), &device).map_err(|e| e.shifted(piece.start))?;
        let losses = model::window_losses(&batch, model::forward(config, &weights, &batch));
        let losses = passes::read(losses)?;
        let sums = part.iter().zip(losses).zip(batch.scales()).map(|((window, mean), scale)| {
            let cells = window.future.iter().filter(|y| !y.is_nan());
            let count = cells.clone().count() as f64;
            let loss = f64::from(mean) * f64::from(*scale) * count;
            (loss, cells.map(|y| f64::from(y.abs())).sum::<f64>())
        });
        Ok::<_, ForwardError>(sums.collect::<Vec<_>>())
    };
    in_passes(Work::Rows, windows.count(), forward, |_, sums| {
        for (window_loss, window_volume) in sums {
            loss += window_loss;
            volume += window_volume;
        }
        Ok(())
    })?;
    Ok((volume > 0.0).then(|| loss / volume))
}

/// Gradient of the subset, in layout order, and the loss after it; zero where a parameter had no influence.
fn flat_gradient(
    model: &Model,
    subset: Subset,
    weights: &Weights,
    gradients: &Gradients,
    loss: Tensor<1>,
) -> Result<Vec<f32>, DeviceFailure> {
    let parts = model.layout().entries.iter().filter(|e| subset.holds(e)).map(|entry| {
        match weights.get(&entry.name).grad(gradients) {
            Some(gradient) => gradient.reshape([entry.len()]),
            None => Tensor::zeros([entry.len()], &model::device()),
        }
    });
    // One read for all: each waits for the device.
    passes::read(Tensor::<1>::cat(parts.chain([loss.inner()]).collect(), 0))
}

fn gather(model: &Model, subset: Subset) -> Vec<f32> {
    let mut all = model.values();
    let mut held = Vec::new();
    for entry in &model.layout().entries {
        let (values, rest) = all.split_at(entry.len());
        if subset.holds(entry) {
            held.extend_from_slice(values);
        }
        all = rest;
    }
    held
}

fn scatter(model: &Model, subset: Subset, values: &[f32]) -> Model {
    let mut all = model.values().to_vec();
    let (mut from, mut at) = (0, 0);
    for entry in &model.layout().entries {
        if subset.holds(entry) {
            all[at..at + entry.len()].copy_from_slice(&values[from..from + entry.len()]);
            from += entry.len();
        }
        at += entry.len();
    }
    model.with_values(all)
}
