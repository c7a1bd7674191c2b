//! Further inputs of a window as numbers, and what the network makes of them.
//!
//! They enter in two places, both closed when a model begins to read them: every weight of the first and every gate of the
//! second starts at zero, so such a model forecasts, to the bit, what it forecast before. What is not known of a window is
//! zero in both, behind no bias: an absent input has no effect, however much was learned of others.
//!
//! *Distributed lags* (Almon 1965). How much a channel stood above its own mean so many steps ago changes the logarithm of
//! what is sold, one weight a channel and lag; longer ago, a lag is some steps wide. These weights are trained by
//! rounds: they are few, and say in how many days views become sales. A step sees only what earlier steps brought.
//! Channels known in advance have one such weight each, and one for the spread.
//!
//! *Gated tokens* (adaptive fusion). The same channels, the mask of what is known, and the merchant's vectors are embedded
//! and added to the tokens of their steps (vectors: to that of the attributes), each channel through a gate of its own.
//! Published as they are, and trained by merchants for themselves.
//!
//! Counts are `ln((x + 1) / (mean + 1))` with the mean over the known steps of the window's context, so that nothing
//! depends on another window.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};

use super::{
    config::{ModelConfig, Trained},
    weights::{Weights, product},
};
use crate::data::{
    series::{Frequency, Further},
    signals::{EXTRA_KNOWN, KnownFeature, Named, PROMOTION_BUCKETS, PastChannel},
    window::{TEXT_BUCKETS, Window},
};

/// Steps back of each weight of a count, first and last.
const LAGS_DAILY: &[(usize, usize)] =
    &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 14), (15, 21), (22, 28)];
const LAGS_WEEKLY: &[(usize, usize)] = &[(1, 1), (2, 2), (3, 3), (4, 4), (5, 8), (9, 13)];
/// Step back of a level: its last value.
const LAST: &[(usize, usize)] = &[(1, usize::MAX)];

/// What lagged counts are multiplied by: they move little, and their weights start from nothing.
const LAG_GAIN: f32 = 3.0;

/// Lags of a channel.
fn lags(config: &ModelConfig, channel: PastChannel) -> &'static [(usize, usize)] {
    match (channel, config.frequency) {
        (PastChannel::Reviews | PastChannel::ReviewScore | PastChannel::Stock, _) => LAST,
        (_, Frequency::Daily) => LAGS_DAILY,
        (_, Frequency::Weekly) => LAGS_WEEKLY,
    }
}

/// Columns of a known channel.
fn columns(feature: KnownFeature) -> Range<usize> {
    match feature {
        KnownFeature::PromotionType => 0..PROMOTION_BUCKETS,
        KnownFeature::Occasion => PROMOTION_BUCKETS..EXTRA_KNOWN,
    }
}

/// A parameter of a further input: its name, its shape, the smallest set of parameters that has it, and how many numbers add up
/// to one of a token, for weights that start random.
pub(super) struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub part: Trained,
    pub fan_in: Option<usize>,
}

/// Parameters of all further inputs that a model reads. Each input has its own, so that a model which begins to read another
/// keeps what it knows of these.
pub(super) fn parameters(config: &ModelConfig) -> Vec<Parameter> {
    let d = config.d_model;
    let parameter = |input: &str, name: &str, shape: &[usize], part, fan_in| Parameter {
        name: format!("further.{input}.{name}"),
        shape: shape.to_vec(),
        part,
        fan_in,
    };
    let mut all = Vec::new();
    for channel in config.past_channels.iter() {
        let width = 2 * config.patch;
        all.push(parameter(channel.name(), "shift", &[lags(config, channel).len()], Trained::Skip, None));
        all.push(parameter(channel.name(), "weight", &[width, d], Trained::All, Some(width)));
        all.push(parameter(channel.name(), "gate", &[1], Trained::Adapters, None));
    }
    for feature in config.known_channels.iter() {
        let count = columns(feature).len();
        let width = count * config.patch;
        all.push(parameter(feature.name(), "shift", &[count], Trained::Skip, None));
        all.push(parameter(feature.name(), "log_spread", &[count], Trained::Skip, None));
        all.push(parameter(feature.name(), "weight", &[width, d], Trained::All, Some(width)));
        all.push(parameter(feature.name(), "gate", &[1], Trained::Adapters, None));
    }
    if config.vectors {
        // A vector has norm 1 whatever its length.
        all.push(parameter("vector", "weight", &[TEXT_BUCKETS, d], Trained::All, Some(d)));
        all.push(parameter("vector", "gate", &[1], Trained::Adapters, None));
    }
    all
}

/// One parameter of every chosen input, behind each other, `[unit or 1, 1, sum]`; `None` where nothing is chosen.
fn joined<'a>(weights: &Weights, inputs: impl Iterator<Item = &'a str>, part: &str) -> Option<Tensor<3>> {
    let all: Vec<_> = inputs.map(|input| weights.get(&format!("further.{input}.{part}"))).collect();
    (!all.is_empty()).then(|| Tensor::cat(all, 2))
}

/// Further inputs of a batch.
#[derive(Clone)]
pub(super) struct FurtherInputs {
    /// Lagged and known channels: `[unit, row × context, effects]` and `[unit, row × horizon, effects]`.
    effects: Option<[Tensor<3>; 2]>,
    /// Value and mask of each channel of the past: `[unit, row × context, 2 × channels]`.
    past: Option<Tensor<3>>,
    /// Known channels of past and future: `[unit, row × steps, known]`.
    known: Option<[Tensor<3>; 2]>,
    /// `[unit, row, TEXT_BUCKETS]`.
    vector: Option<Tensor<3>>,
}

/// The same while a batch is being filled.
#[derive(Default)]
pub(super) struct FurtherHost {
    effects: [Vec<f32>; 2],
    past: Vec<f32>,
    known: [Vec<f32>; 2],
    vector: Vec<f32>,
}

impl FurtherHost {
    /// Adds a window; `scale` is that of its target.
    pub fn push(&mut self, config: &ModelConfig, window: &Window, scale: f32) {
        let nothing = Further::default();
        let further = window.further.as_deref().unwrap_or(&nothing);
        let (context, steps) = (config.context, config.context + config.horizon);
        let channels: Vec<(PastChannel, Vec<Option<f32>>)> = config
            .past_channels
            .iter()
            .map(|channel| (channel, values(channel, &further.past, context, scale)))
            .collect();
        let columns: Vec<usize> = config.known_channels.iter().flat_map(columns).collect();
        for step in 0..steps {
            let part = usize::from(step >= context);
            for (channel, values) in &channels {
                let gain = if lags(config, *channel) == LAST { 1.0 } else { LAG_GAIN };
                let lagged = lags(config, *channel).iter().map(|lag| gain * at_lag(values, step, *lag));
                self.effects[part].extend(lagged);
            }
            let known = columns.iter().map(|column| further.known.get(step).map_or(0.0, |known| known[*column]));
            self.known[part].extend(known.clone());
            self.effects[part].extend(known);
        }
        for step in 0..context {
            let known = channels.iter().map(|(_, values)| values[step]);
            self.past.extend(known.flat_map(|value| [value.unwrap_or(0.0), f32::from(u8::from(value.is_some()))]));
        }
        if !config.vectors {
            return;
        }
        if further.vector.len() == TEXT_BUCKETS {
            self.vector.extend(&further.vector);
        } else {
            self.vector.extend([0.0; TEXT_BUCKETS]);
        }
    }

    /// The tensors of `units × rows` windows; `None` for a model that reads nothing further.
    pub fn finish(self, config: &ModelConfig, units: usize, rows: usize, device: &Device) -> Option<FurtherInputs> {
        if config.inputs().is_empty() {
            return None;
        }
        let tensor = |values: Vec<f32>, steps: usize| {
            let width = values.len() / (units * rows * steps).max(1);
            (width > 0).then(|| Tensor::<3>::from_data(TensorData::new(values, [units, rows * steps, width]), device))
        };
        let (context, horizon) = (config.context, config.horizon);
        let [effects_past, effects_future] = self.effects;
        let [known_past, known_future] = self.known;
        let pair = |past, future| Some([tensor(past, context)?, tensor(future, horizon)?]);
        Some(FurtherInputs {
            effects: pair(effects_past, effects_future),
            past: tensor(self.past, context),
            known: pair(known_past, known_future),
            vector: tensor(self.vector, 1),
        })
    }
}

/// A channel as the network reads it, `[context]`; `None` where nothing is known.
fn values(
    channel: PastChannel,
    rows: &[[f32; PastChannel::ALL.len()]],
    context: usize,
    scale: f32,
) -> Vec<Option<f32>> {
    let column = PastChannel::ALL.iter().position(|one| *one == channel).unwrap_or(0);
    let raw = |step: usize| rows.get(step).map(|row| row[column]).filter(|value| value.is_finite());
    match channel {
        PastChannel::ReviewScore => (0..context).map(|step| raw(step).map(|score| 2.0 * score - 1.0)).collect(),
        PastChannel::Reviews => (0..context).map(|step| raw(step).map(|count| count.max(0.0).ln_1p() / 5.0)).collect(),
        PastChannel::Stock => (0..context).map(|step| raw(step).map(|units| (units / scale).asinh() / 4.0)).collect(),
        _ => {
            let known: Vec<f32> = (0..context).filter_map(raw).collect();
            let mean = known.iter().map(|x| f64::from(*x)).sum::<f64>() / known.len().max(1) as f64;
            let above = |count: f32| (f64::from(count.max(0.0)).ln_1p() - mean.max(0.0).ln_1p()) as f32;
            (0..context).map(|step| raw(step).map(above)).collect()
        }
    }
}

/// Mean of what is known of a channel between two lags before `step`; of an endless lag, the last that is known. 0 where
/// nothing is.
fn at_lag(values: &[Option<f32>], step: usize, (first, last): (usize, usize)) -> f32 {
    let end = (step + 1).saturating_sub(first).min(values.len());
    if last == usize::MAX {
        return values[..end].iter().rev().find_map(|value| *value).unwrap_or(0.0);
    }
    let start = step.saturating_sub(last).min(end);
    let known = values[start..end].iter().flatten();
    let (sum, count) = known.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / count as f32 }
}

/// Logarithm of the factor by which further inputs change each step of the past (0) or the future (1),
/// `[unit, row × steps, 1]`; `None` where none does.
pub(super) fn shift(
    config: &ModelConfig,
    weights: &Weights,
    inputs: Option<&FurtherInputs>,
    part: usize,
) -> Option<Tensor<3>> {
    let effects = inputs?.effects.as_ref()?;
    let past = config.past_channels.iter().map(PastChannel::name);
    let weights = joined(weights, past.chain(config.known_channels.iter().map(KnownFeature::name)), "shift")?;
    Some(product(effects[part].clone(), weights.swap_dims(1, 2)))
}

/// What further inputs add to the logarithm of the spread of future steps, `[unit, row × horizon, 1]`.
pub(super) fn log_spread(config: &ModelConfig, weights: &Weights, inputs: Option<&FurtherInputs>) -> Option<Tensor<3>> {
    let known = inputs?.known.as_ref()?;
    let weights = joined(weights, config.known_channels.iter().map(KnownFeature::name), "log_spread")?;
    Some(product(known[1].clone(), weights.swap_dims(1, 2)))
}

/// Tokens to which an input is added.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Tokens {
    Past,
    Future,
    Attributes,
}

/// An input that is added to tokens.
pub(super) struct TokenInput {
    /// Its name, for its parameters.
    pub name: &'static str,
    /// Where it is added.
    pub tokens: Tokens,
    /// Columns of the tensor that holds it.
    columns: Range<usize>,
}

/// All inputs that are added to tokens.
pub(super) fn token_inputs(config: &ModelConfig) -> Vec<TokenInput> {
    let mut all = Vec::new();
    for (at, channel) in config.past_channels.iter().enumerate() {
        all.push(TokenInput { name: channel.name(), tokens: Tokens::Past, columns: 2 * at..2 * at + 2 });
    }
    let mut first = 0;
    for feature in config.known_channels.iter() {
        let columns = first..first + columns(feature).len();
        first = columns.end;
        for tokens in [Tokens::Past, Tokens::Future] {
            all.push(TokenInput { name: feature.name(), tokens, columns: columns.clone() });
        }
    }
    if config.vectors {
        all.push(TokenInput { name: "vector", tokens: Tokens::Attributes, columns: 0..TEXT_BUCKETS });
    }
    all
}

impl FurtherInputs {
    /// Values of an input, `[unit, row × steps, columns]`; `None` where the batch has none.
    pub fn of(&self, input: &TokenInput) -> Option<Tensor<3>> {
        let tensor = match input.tokens {
            Tokens::Attributes => self.vector.as_ref(),
            Tokens::Past if PastChannel::ALL.iter().any(|channel| channel.name() == input.name) => self.past.as_ref(),
            Tokens::Past => self.known.as_ref().map(|known| &known[0]),
            Tokens::Future => self.known.as_ref().map(|known| &known[1]),
        };
        Some(tensor?.clone().narrow(2, input.columns.start, input.columns.len()))
    }
}

/// Adds further inputs to tokens of the past, of the future and of the attributes, `[unit, row × tokens, d_model]` each.
pub(super) fn add_to_tokens(
    config: &ModelConfig,
    weights: &Weights,
    inputs: Option<&FurtherInputs>,
    [mut past, mut future, mut attributes]: [Tensor<3>; 3],
) -> [Tensor<3>; 3] {
    let Some(inputs) = inputs else { return [past, future, attributes] };
    for input in token_inputs(config) {
        let Some(values) = inputs.of(&input) else { continue };
        let (tokens, steps_a_token) = match input.tokens {
            Tokens::Past => (&mut past, config.patch),
            Tokens::Future => (&mut future, config.patch),
            Tokens::Attributes => (&mut attributes, 1),
        };
        let get = |part: &str| weights.get(&format!("further.{}.{part}", input.name));
        let [units, steps, width] = values.dims();
        let patches = values.reshape([units, steps / steps_a_token, steps_a_token * width]);
        *tokens = tokens.clone() + product(patches, get("weight")) * get("gate");
    }
    [past, future, attributes]
}
