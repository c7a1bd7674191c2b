//! The encoder of [`super::super::encoder`] over plain numbers: parameters, the way forwards, and what the way back needs of it.
//!
//! A *group* of windows goes through all layers before the next begins, so that what is worked on stays in the processor's
//! caches. On the way back the gradient of every parameter is computed for each *share* of the group apart: a share is the
//! windows of one privacy unit, or for plain training the whole group. That costs no more products than one gradient for
//! all, as a unit's windows are rows that have to be multiplied anyway.

use std::ops::Range;

use super::attention::{Attention, Scratch as AttentionScratch};
use super::functions::{activate, normalise};
use super::product::{Into, Rows, product};
use super::vectors::Vectors;

/// A parameter: where its values lie, and its number in the layout.
#[derive(Clone)]
pub(super) struct Parameter {
    pub entry: usize,
    pub at: Range<usize>,
    /// Columns of a matrix, or the length of a vector.
    pub columns: usize,
}

impl Parameter {
    pub(super) fn rows(&self) -> usize {
        self.at.len() / self.columns
    }
}

/// A linear path beside one hidden layer.
pub(super) struct Embedding {
    pub linear: Parameter,
    pub hidden: Parameter,
    pub hidden_bias: Parameter,
    pub output: Parameter,
    pub bias: Parameter,
}

/// A linear path through a gate, added to some tokens of a window.
pub(super) struct Gated {
    pub weight: Parameter,
    pub gate: Parameter,
    pub bias: Option<Parameter>,
    pub tokens: Range<usize>,
}

/// A block: attention, then two layers.
pub(super) struct Block {
    pub attention_norm: Parameter,
    pub qkv: Parameter,
    pub attention_output: Parameter,
    pub feedforward_norm: Parameter,
    pub up: Parameter,
    pub up_bias: Parameter,
    pub down: Parameter,
}

/// Parameters and extents.
pub(super) struct Network {
    pub d: usize,
    pub past_tokens: usize,
    pub future_tokens: usize,
    pub past: Embedding,
    pub future: Embedding,
    pub gated: Vec<Gated>,
    pub blocks: Vec<Block>,
    pub final_norm: Parameter,
    pub codes: Parameter,
    pub codes_bias: Parameter,
    pub attention: Attention,
    pub arch: Vectors,
}

/// What the encoder reads of all windows of a batch.
pub(super) struct Inputs {
    /// `[window, past token, columns]`
    pub past: Vec<f32>,
    /// `[window, future token, columns]`
    pub future: Vec<f32>,
    /// Of each gated path `[window, token, columns]`.
    pub gated: Vec<Vec<f32>>,
}

/// Values of the parameters.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    /// In layout order.
    pub values: &'a [f32],
    /// Matrices through which gradients go back, transposed, at the same places; empty where none does.
    pub transposed: &'a [f32],
}

impl<'a> Values<'a> {
    pub(super) fn of(self, parameter: &Parameter) -> &'a [f32] {
        &self.values[parameter.at.clone()]
    }
}

/// What the way back needs of a group.
#[derive(Default)]
pub(super) struct Tape {
    pub windows: Range<usize>,
    pub past: EmbeddingTape,
    pub future: EmbeddingTape,
    pub gated: Vec<Vec<f32>>,
    pub blocks: Vec<BlockTape>,
    pub last: Vec<f32>,
    pub last_inverse: Vec<f32>,
    pub last_normed: Vec<f32>,
}

#[derive(Default)]
pub(super) struct EmbeddingTape {
    pub hidden: Vec<f32>,
    pub slope: Vec<f32>,
}

#[derive(Default)]
pub(super) struct BlockTape {
    pub x: Vec<f32>,
    pub inverse: Vec<f32>,
    pub normed: Vec<f32>,
    pub qkv: Vec<f32>,
    pub weights: Vec<f32>,
    pub mixed: Vec<f32>,
    pub middle: Vec<f32>,
    pub middle_inverse: Vec<f32>,
    pub middle_normed: Vec<f32>,
    pub hidden: Vec<f32>,
    pub slope: Vec<f32>,
}

/// Room that both ways work in.
#[derive(Default)]
pub(super) struct Scratch {
    pub x: Vec<f32>,
    pub wide: Vec<f32>,
    pub narrow: Vec<f32>,
    pub rows: Vec<f32>,
    pub attention: AttentionScratch,
}

/// A vector of `len` numbers, to be overwritten.
pub(super) fn room(vector: &mut Vec<f32>, len: usize) -> &mut [f32] {
    vector.resize(len, 0.0);
    &mut vector[..len]
}

impl Network {
    pub fn tokens(&self) -> usize {
        self.past_tokens + self.future_tokens + 2
    }

    /// Numbers of a window's codes.
    pub fn codes_len(&self) -> usize {
        self.future_tokens * self.codes.columns
    }

    /// Matrices that gradients go through.
    pub fn passed_through(&self) -> impl Iterator<Item = &Parameter> {
        let blocks = self.blocks.iter().flat_map(|b| [&b.qkv, &b.attention_output, &b.up, &b.down]);
        blocks.chain([&self.codes, &self.past.output, &self.future.output])
    }

    /// `x W` of `rows` rows of `x`.
    fn through(&self, values: Values<'_>, x: &[f32], weight: &Parameter, out: Into<'_>, rows: usize) {
        let (steps, columns) = (weight.rows(), weight.columns);
        product(self.arch, out, Rows::new(x, steps), Rows::new(values.of(weight), columns), [rows, steps, columns]);
    }

    /// `d Wᵀ` of `rows` rows of `d`.
    pub(super) fn back_through(&self, values: Values<'_>, d: &[f32], weight: &Parameter, out: Into<'_>, rows: usize) {
        let (steps, columns) = (weight.columns, weight.rows());
        let transposed = Rows::new(&values.transposed[weight.at.clone()], columns);
        product(self.arch, out, Rows::new(d, steps), transposed, [rows, steps, columns]);
    }

    /// Codes of a group of windows, `[window, codes]`, in place of what is in `codes`.
    pub fn forward(
        &self,
        values: Values<'_>,
        inputs: &Inputs,
        windows: Range<usize>,
        tape: &mut Tape,
        scratch: &mut Scratch,
        codes: &mut [f32],
    ) {
        let (d, tokens, arch) = (self.d, self.tokens(), self.arch);
        let count = windows.len();
        let rows = count * tokens;
        tape.windows = windows.clone();
        tape.blocks.resize_with(self.blocks.len(), BlockTape::default);
        tape.gated.resize_with(self.gated.len(), Vec::default);
        let Scratch { x, narrow, attention: attention_scratch, .. } = scratch;

        // Tokens. What follows adds to them, so the first to come replaces.
        let x = room(x, rows * d);
        for (kind, input, taped, first, each) in [
            (&self.past, &inputs.past, &mut tape.past, 0, self.past_tokens),
            (&self.future, &inputs.future, &mut tape.future, self.past_tokens, self.future_tokens),
        ] {
            let width = kind.linear.rows();
            let input = &input[windows.start * each * width..windows.end * each * width];
            let hidden = room(&mut taped.hidden, count * each * d);
            self.through(values, input, &kind.hidden, Into::new(hidden, d), count * each);
            let slope = room(&mut taped.slope, count * each * d);
            activate(arch, hidden, values.of(&kind.hidden_bias), slope);
            let embedded = room(narrow, count * each * d);
            self.through(values, input, &kind.linear, Into::new(embedded, d), count * each);
            self.through(values, hidden, &kind.output, Into::adding(embedded, d), count * each);
            let bias = values.of(&kind.bias);
            for (window, embedded) in embedded.chunks_exact(each * d).enumerate() {
                let x = &mut x[(window * tokens + first) * d..][..each * d];
                for (x, embedded) in x.chunks_exact_mut(d).zip(embedded.chunks_exact(d)) {
                    x.iter_mut().zip(embedded).zip(bias).for_each(|((x, embedded), bias)| *x = embedded + bias);
                }
            }
        }
        for window in x.chunks_exact_mut(tokens * d) {
            window[(tokens - 2) * d..].fill(0.0);
        }
        for ((gated, input), projected) in self.gated.iter().zip(&inputs.gated).zip(&mut tape.gated) {
            let (each, width) = (gated.tokens.len(), gated.weight.rows());
            let input = &input[windows.start * each * width..windows.end * each * width];
            let projected = room(projected, count * each * d);
            self.through(values, input, &gated.weight, Into::new(projected, d), count * each);
            let gate = values.of(&gated.gate)[0];
            for (window, projected) in projected.chunks_exact(each * d).enumerate() {
                let x = &mut x[(window * tokens + gated.tokens.start) * d..][..each * d];
                x.iter_mut().zip(projected).for_each(|(x, projected)| *x += projected * gate);
                if let Some(bias) = &gated.bias {
                    for x in x.chunks_exact_mut(d) {
                        x.iter_mut().zip(values.of(bias)).for_each(|(x, bias)| *x += bias);
                    }
                }
            }
        }

        for (block, taped) in self.blocks.iter().zip(&mut tape.blocks) {
            room(&mut taped.x, rows * d).copy_from_slice(x);
            let normed = room(&mut taped.normed, rows * d);
            normalise(arch, x, values.of(&block.attention_norm), normed, room(&mut taped.inverse, rows));
            let qkv = room(&mut taped.qkv, rows * 3 * d);
            self.through(values, normed, &block.qkv, Into::new(qkv, 3 * d), rows);
            let mixed = room(&mut taped.mixed, rows * d);
            let weights = room(&mut taped.weights, count * self.attention.weights_len());
            for ((qkv, weights), mixed) in qkv
                .chunks_exact_mut(tokens * 3 * d)
                .zip(weights.chunks_exact_mut(self.attention.weights_len()))
                .zip(mixed.chunks_exact_mut(tokens * d))
            {
                self.attention.forward(arch, qkv, weights, mixed, attention_scratch);
            }
            self.through(values, mixed, &block.attention_output, Into::adding(x, d), rows);

            room(&mut taped.middle, rows * d).copy_from_slice(x);
            let normed = room(&mut taped.middle_normed, rows * d);
            normalise(arch, x, values.of(&block.feedforward_norm), normed, room(&mut taped.middle_inverse, rows));
            let width = block.up.columns;
            let hidden = room(&mut taped.hidden, rows * width);
            self.through(values, normed, &block.up, Into::new(hidden, width), rows);
            activate(arch, hidden, values.of(&block.up_bias), room(&mut taped.slope, rows * width));
            self.through(values, hidden, &block.down, Into::adding(x, d), rows);
        }

        // Only the tokens of the future go on.
        let each = self.future_tokens * d;
        let last = room(&mut tape.last, count * each);
        for (last, x) in last.chunks_exact_mut(each).zip(x.chunks_exact(tokens * d)) {
            last.copy_from_slice(&x[self.past_tokens * d..][..each]);
        }
        let normed = room(&mut tape.last_normed, count * each);
        let inverse = room(&mut tape.last_inverse, count * self.future_tokens);
        normalise(arch, last, values.of(&self.final_norm), normed, inverse);
        let width = self.codes.columns;
        self.through(values, normed, &self.codes, Into::new(codes, width), count * self.future_tokens);
        let bias = values.of(&self.codes_bias);
        for code in codes.chunks_exact_mut(width) {
            code.iter_mut().zip(bias).for_each(|(code, bias)| *code += bias);
        }
    }
}
