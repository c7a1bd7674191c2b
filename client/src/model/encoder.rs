//! The encoder: patches of the past, patches of the known future, attributes and text, all attending to each other.
//!
//! Blocks are pre-norm with RMS normalisation (Zhang and Sennrich 2019), rotary positions (Su et al. 2021) and
//! attention inside one window only. Attributes and text enter through gates that start at zero, so that a merchant
//! without them loses nothing; further inputs are added to these tokens (see [`super::further`]). Dropout is for plain
//! training only.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::batch::Batch;
use super::config::ModelConfig;
use super::dropout::Dropout;
use super::further;
use super::weights::{Weights, product};

/// Base of the rotary frequencies.
const ROTARY_BASE: f32 = 1000.0;

/// Codes of the future steps, `[unit, row × horizon, day_features]`.
pub(super) fn encode(
    config: &ModelConfig,
    weights: &Weights,
    batch: &Batch,
    mut dropout: Option<Dropout>,
) -> Tensor<3> {
    let (units, rows, d) = (batch.units, batch.rows, config.d_model);
    let (past_tokens, future_tokens) = (config.past_tokens(), config.future_tokens());
    let tokens = past_tokens + future_tokens + 2;
    let device = batch.past.device().inner();

    let past = embed(weights, "past", past_patches(config, batch));
    let future_patches = batch.known_future.clone().reshape([
        units,
        rows * future_tokens,
        config.patch * crate::data::series::KNOWN_CHANNELS,
    ]);
    let future = embed(weights, "future", future_patches);
    let attributes = gated(weights, "attributes", batch.attributes.clone());
    let text = gated(weights, "text", batch.text.clone());
    let [past, future, attributes] =
        further::add_to_tokens(config, weights, batch.further.as_ref(), [past, future, attributes]);
    let by_row = |x: Tensor<3>, n: usize| x.reshape([units * rows, n, d]);
    let x = Tensor::cat(
        vec![by_row(past, past_tokens), by_row(future, future_tokens), by_row(attributes, 1), by_row(text, 1)],
        1,
    );
    let mut x = x.reshape([units, rows * tokens, d]);

    let rotary = Rotary::new(config, tokens, &device);
    let mut dropped = |added: Tensor<3>| match &mut dropout {
        Some(dropout) => dropout.apply(added, &device),
        None => added,
    };
    for block in 0..config.layers {
        let name = |part: &str| weights.get(&format!("blocks.{block}.{part}"));
        let normed = rms_norm(x.clone(), name("attention_norm"));
        let qkv = product(normed, name("qkv.weight"));
        let mixed = attend(config, &rotary, qkv.reshape([units * rows, tokens, 3 * d]));
        let mixed = mixed.reshape([units, rows * tokens, d]);
        x = x + dropped(product(mixed, name("attention_output.weight")));
        let normed = rms_norm(x.clone(), name("feedforward_norm"));
        let up = activation::gelu(product(normed, name("up.weight")) + name("up.bias"));
        x = x + dropped(product(up, name("down.weight")));
    }

    let future = x.reshape([units * rows, tokens, d]).narrow(1, past_tokens, future_tokens);
    let future = rms_norm(future.reshape([units, rows * future_tokens, d]), weights.get("final_norm"));
    let codes = product(future, weights.get("codes.weight")) + weights.get("codes.bias");
    codes.reshape([units, rows * config.horizon, config.day_features])
}

/// Patches of the past `[unit, row × token, patch × (2 + KNOWN_CHANNELS)]`: target, mask, known channels.
fn past_patches(config: &ModelConfig, batch: &Batch) -> Tensor<3> {
    let (units, rows) = (batch.units, batch.rows);
    let steps = [units, rows * config.context, 1];
    let target = batch.past.clone().asinh().reshape(steps);
    let observed = batch.observed.clone().reshape(steps);
    let channels = Tensor::cat(vec![target, observed, batch.known_past.clone()], 2);
    let width = config.patch * channels.dims()[2];
    channels.reshape([units, rows * config.past_tokens(), width])
}

/// A residual embedding: a linear path beside one hidden layer.
fn embed(weights: &Weights, kind: &str, patches: Tensor<3>) -> Tensor<3> {
    let get = |part: &str| weights.get(&format!("embed.{kind}.{part}"));
    let linear = product(patches.clone(), get("linear.weight"));
    let hidden = activation::gelu(product(patches, get("hidden.weight")) + get("hidden.bias"));
    linear + product(hidden, get("output.weight")) + get("bias")
}

/// A token of a modality that may be absent, `[unit, row, d_model]`.
fn gated(weights: &Weights, kind: &str, vector: Tensor<3>) -> Tensor<3> {
    let get = |part: &str| weights.get(&format!("embed.{kind}.{part}"));
    product(vector, get("weight")) * get("gate") + get("bias")
}

fn rms_norm(x: Tensor<3>, gain: Tensor<3>) -> Tensor<3> {
    let size = (x.clone().square().mean_dim(2) + 1e-6).sqrt();
    x / size * gain
}

/// Attention of `[window, token, 3 × d_model]` to `[window, token, d_model]`.
fn attend(config: &ModelConfig, rotary: &Rotary, qkv: Tensor<3>) -> Tensor<3> {
    let [windows, tokens, _] = qkv.dims();
    let (d, heads, width) = (config.d_model, config.heads, config.head_width());
    let part = |i: usize| qkv.clone().narrow(2, i * d, d).reshape([windows, tokens, heads, width]).swap_dims(1, 2);
    let (q, k, v) = (rotary.turn(part(0)), rotary.turn(part(1)), part(2));
    let scores = q.matmul(k.transpose()) * (width as f32).powf(-0.5);
    let mixed = activation::softmax(scores, 3).matmul(v);
    mixed.swap_dims(1, 2).reshape([windows, tokens, d])
}

/// Rotary position tables.
struct Rotary {
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// Right-multiplication by it maps (a, b) to (−b, a), halves of a head.
    quarter_turn: Tensor<4>,
}

impl Rotary {
    /// Tables for tokens in time order; the two tokens without a time stand at position 0.
    fn new(config: &ModelConfig, tokens: usize, device: &Device) -> Self {
        let (width, half) = (config.head_width(), config.head_width() / 2);
        let mut angles = Vec::with_capacity(tokens * width);
        for token in 0..tokens {
            let position = if token + 2 < tokens { token as f32 } else { 0.0 };
            for i in 0..width {
                angles.push(position * ROTARY_BASE.powf(-((i % half) as f32) / half as f32));
            }
        }
        let table = |f: fn(f32) -> f32| {
            let values: Vec<f32> = angles.iter().map(|&a| f(a)).collect();
            Tensor::<4>::from_data(TensorData::new(values, [1, 1, tokens, width]), device)
        };
        let mut turn = vec![0.0f32; width * width];
        for i in 0..half {
            turn[(i + half) * width + i] = -1.0;
            turn[i * width + i + half] = 1.0;
        }
        Self {
            cos: table(f32::cos),
            sin: table(f32::sin),
            quarter_turn: Tensor::from_data(TensorData::new(turn, [1, 1, width, width]), device),
        }
    }

    fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        let [windows, heads, tokens, width] = x.dims();
        let flat = x.clone().reshape([1, 1, windows * heads * tokens, width]);
        let turned = flat.matmul(self.quarter_turn.clone()).reshape([windows, heads, tokens, width]);
        x * self.cos.clone() + turned * self.sin.clone()
    }
}
