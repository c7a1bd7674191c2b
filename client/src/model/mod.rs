//! The forecaster's network: a bidirectional patch encoder with known-future tokens, over a seasonal skip.
//!
//! A window's past is cut into patches; each future patch becomes a token that carries only what is known in
//! advance. The encoder lets all tokens of one window attend to each other, and its output corrects a
//! structural forecast ([`skip`]) that already knows level, season and recent drift. Before any training the
//! correction is exactly zero, so the untrained network *is* the structural forecast.
//!
//! Invariant: every number computed for a window is a function of that window and of the parameters alone.
//! There are no batch statistics, no running averages and no scaler shared between series, because each of
//! them would let one person's orders reach another series' gradient and void the clipping bound.
//!
//! The forward pass is written over explicit weights whose tensors carry a leading *unit* axis ([`Weights`]),
//! so that one backward pass yields a separate gradient for every privacy unit. On the processor the encoder is computed by
//! [`fused`] instead, which needs no copies for that.

pub mod assets;
mod batch;
mod config;
mod counts;
mod dropout;
mod encoder;
#[cfg(test)]
pub(crate) mod example;
mod further;
pub(crate) mod fused;
mod heads;
mod loss;
mod parameters;
mod returns;
pub mod skip;
mod weights;

use burn::tensor::{Device, Tensor};
use forecastle_proto::model::{ModelFileError, ModelManifest, ModelSnapshot, ParameterLayout};

pub use batch::{Batch, BatchError, ForwardError};
pub use config::{ModelConfig, PRESETS, SkipKind, Trained};
pub use counts::Counts;
pub use dropout::Dropout;
pub use heads::Outputs;
pub use loss::{training_loss, window_losses};
pub(crate) use parameters::above_the_encoder;
pub use weights::Weights;

use crate::data::{signals::Inputs, window::WindowShape};

/// Name of the architecture in a model's manifest.
pub const ARCHITECTURE: &str = "patch-encoder-1";

/// Number of forecast quantiles.
pub const QUANTILE_COUNT: usize = 9;

/// Levels of the forecast quantiles, ascending.
pub const QUANTILES: [f32; QUANTILE_COUNT] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Why a model was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// No preset of that name.
    #[error("there is no model preset `{0}`; there are {list}", list = PRESETS.join(", "))]
    Preset(String),
    /// A preset without an embedded warm start.
    #[error(
        "no warm start ships for `{0}`; there are nano-daily, nano-weekly and nano-weekly-long. In the source tree, `cargo run \
         --release --example warm_start -- --preset {0} --out {0}.safetensors` makes one, always the same; then give it to \
         `forecastle model prepare --from`"
    )]
    NoWarmStart(String),
    /// A setting that no network can have.
    #[error("model setting `{setting}`: {why}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A model of another architecture.
    #[error("the model's architecture is `{0}`, this program reads `{ARCHITECTURE}`: update the program")]
    Architecture(String),
    /// Settings that cannot be read.
    #[error("the model's settings cannot be read: {0}")]
    Settings(#[from] serde_json::Error),
    /// A layout other than the one its settings call for.
    #[error("the model's parameters do not fit its settings: {0}")]
    Layout(String),
    /// A model file that is damaged.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// New values of the wrong number or not finite.
    #[error("{given} trained values do not fit the {expected} that rounds train, or one is not finite")]
    Federated {
        /// How many were given.
        given: usize,
        /// How many there are.
        expected: usize,
    },
}

/// A model whose settings, layout and values are known to fit together.
///
/// Holds plain numbers; tensors are made on a device when it is used, so a model can be kept, cloned and sent
/// between threads freely.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    config: ModelConfig,
    layout: ParameterLayout,
    values: Vec<f32>,
}

impl Model {
    /// A model before any training: it forecasts exactly what the structural skip forecasts.
    ///
    /// `seed` draws the hidden weights, so equal seeds give equal models.
    ///
    /// # Errors
    /// [`ModelError::Setting`] when the settings fit no network.
    pub fn untrained(config: &ModelConfig, seed: u64) -> Result<Self, ModelError> {
        config.check()?;
        let layout = parameters::layout(config);
        let values = parameters::initial(config, seed);
        Ok(Self { config: config.clone(), layout, values })
    }

    /// This model, set to read these further inputs and no others. What it forecasts stays the same to the bit, until it is
    /// trained; what it had learned of inputs that it goes on reading is kept.
    ///
    /// # Errors
    /// [`ModelError::Setting`] when the settings fit no network.
    pub fn with_inputs(&self, inputs: Inputs) -> Result<Self, ModelError> {
        if inputs == self.config.inputs() {
            return Ok(self.clone());
        }
        self.with_settings(&self.config.clone().with_inputs(inputs), 0)
    }

    /// Reads a published or stored model.
    ///
    /// # Errors
    /// [`ModelError`] when another program wrote it or its parts do not fit together.
    pub fn from_snapshot(snapshot: &ModelSnapshot) -> Result<Self, ModelError> {
        let manifest = &snapshot.manifest;
        if manifest.architecture != ARCHITECTURE {
            return Err(ModelError::Architecture(manifest.architecture.clone()));
        }
        let config: ModelConfig = serde_json::from_value(manifest.settings.clone())?;
        config.check()?;
        let layout = parameters::layout(&config);
        if layout.entries.len() != manifest.layout.entries.len() {
            return Err(ModelError::Layout(format!(
                "{} parameters are listed, {} expected",
                manifest.layout.entries.len(),
                layout.entries.len()
            )));
        }
        for (want, have) in layout.entries.iter().zip(&manifest.layout.entries) {
            if want != have {
                return Err(ModelError::Layout(format!(
                    "`{}` {:?} stands where `{}` {:?} belongs",
                    have.name, have.shape, want.name, want.shape
                )));
            }
        }
        let snapshot = ModelSnapshot::new(manifest.clone(), snapshot.values.clone())?;
        Ok(Self { config, layout, values: snapshot.values })
    }

    /// The model as a file or a peer carries it.
    pub fn snapshot(&self) -> ModelSnapshot {
        let manifest = ModelManifest {
            version: 1,
            architecture: ARCHITECTURE.into(),
            settings: serde_json::to_value(&self.config).expect("settings are plain numbers"),
            layout: self.layout.clone(),
        };
        ModelSnapshot { manifest, values: self.values.clone() }
    }

    /// Settings of the network.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Extent of the windows that it reads.
    pub fn shape(&self) -> WindowShape {
        self.config.shape()
    }

    /// Names, shapes and order of its parameters.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// All values in layout order.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether its forecasts depend on texts: not while the text's gate is where it started.
    pub fn reads_text(&self) -> bool {
        let mut at = 0;
        for entry in &self.layout.entries {
            if entry.name == "embed.text.gate" {
                return self.values[at] != 0.0;
            }
            at += entry.len();
        }
        false
    }

    /// Number of values that rounds train.
    pub fn federated_len(&self) -> usize {
        self.layout.federated_len()
    }

    /// The values that rounds train, in layout order.
    pub fn federated(&self) -> Vec<f32> {
        self.layout.gather_federated(&self.values)
    }

    /// This model with another set of parameters that rounds train; its forecasts are the same.
    #[must_use]
    pub fn training(&self, trained: Trained) -> Self {
        let config = ModelConfig { trained, ..self.config.clone() };
        let layout = parameters::layout(&config);
        Self { config, layout, values: self.values.clone() }
    }

    /// This model under other settings: parameters of the same name and shape keep their values, others start as in an
    /// untrained model of that seed.
    ///
    /// # Errors
    /// [`ModelError::Setting`] when the settings fit no network.
    pub fn with_settings(&self, config: &ModelConfig, seed: u64) -> Result<Self, ModelError> {
        let mut model = Self::untrained(config, seed)?;
        let mut known = std::collections::BTreeMap::new();
        let mut at = 0;
        for entry in &self.layout.entries {
            known.insert((&entry.name, &entry.shape), &self.values[at..at + entry.len()]);
            at += entry.len();
        }
        let mut at = 0;
        for entry in &model.layout.entries {
            if let Some(values) = known.get(&(&entry.name, &entry.shape)) {
                model.values[at..at + entry.len()].copy_from_slice(values);
            }
            at += entry.len();
        }
        Ok(model)
    }

    /// Replaces the values that rounds train.
    ///
    /// # Errors
    /// [`ModelError::Federated`] when they are not [`Self::federated_len`] finite numbers; the model is unchanged.
    pub fn set_federated(&mut self, values: &[f32]) -> Result<(), ModelError> {
        let expected = self.federated_len();
        if values.len() != expected || values.iter().any(|v| !v.is_finite()) {
            return Err(ModelError::Federated { given: values.len(), expected });
        }
        self.layout.scatter_federated(values, &mut self.values);
        Ok(())
    }

    /// This model with other values in its last layers, as a server might offer it that wants to recognise who trained on
    /// it: the day head makes large random features, of which the output layer, still zero, asks for a gradient. For audits.
    pub(crate) fn telling(&self) -> Self {
        let mut model = self.clone();
        let values = self.layout.entries.iter().scan(0, |at, entry| {
            *at += entry.len();
            Some((entry.name.as_str(), *at - entry.len()..*at))
        });
        for (name, range) in values {
            match name {
                "day.weight" => parameters::large(&mut model.values[range]),
                "day.bias" | "output.weight" => model.values[range].fill(0.0),
                _ => {}
            }
        }
        model
    }

    /// Replaces all values; the caller has checked length and finiteness.
    pub(crate) fn with_values(&self, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.values.len(), "values of the same layout");
        Self { values, ..self.clone() }
    }
}

/// The device on which models run: what [`crate::device`] says, the processor unless somebody chose.
pub fn device() -> Device {
    crate::device::place().device()
}

/// Forecasts a batch in scaled space.
///
/// Returns `[unit, row, horizon, QUANTILE_COUNT]`, ascending along the last axis, in multiples of each
/// window's scale. Gradients flow to whichever weights require them.
pub fn forward(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Tensor<4> {
    forecast_outputs(config, weights, batch).quantiles
}

/// All that the heads say of a batch; see [`forward`].
pub fn forecast_outputs(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Outputs {
    let codes = encode(config, weights, batch);
    decode(config, weights, batch, codes)
}

/// The encoder's part of [`forecast_outputs`]: `[unit, row × horizon, day_features]` codes of the future steps.
///
/// With a frozen encoder ([`Trained::freezes_the_encoder`]) it reads none of the federated parameters, and leaves no tape.
/// Shared weights on the processor go the way of [`fused`].
pub fn encode(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Tensor<3> {
    match weights.encoder() {
        Some(encoder) => encoder.encode(batch),
        None => encode_with(config, weights, batch, None),
    }
}

/// As [`encode`], with dropout where there is any: for plain training of the encoder.
pub fn encode_with(config: &ModelConfig, weights: &Weights, batch: &Batch, dropout: Option<Dropout>) -> Tensor<3> {
    encoder::encode(config, weights, batch, dropout)
}

/// The rest of [`forecast_outputs`], from the codes of [`encode`] on: skip, covariate effects, day head, quantiles, counts, returns.
pub fn decode(config: &ModelConfig, weights: &Weights, batch: &Batch, codes: Tensor<3>) -> Outputs {
    let skip = skip::skip(config, weights, batch);
    heads::outputs(config, weights, batch, &skip, codes)
}

#[cfg(test)]
mod tests;
