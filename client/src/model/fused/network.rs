//! The encoder of [`super::super::encoder`] forwards and backwards, over plain numbers.
//!
//! A *group* of windows goes through all layers before the next begins, so that what is worked on stays in the processor's
//! caches. On the way back the gradient of every parameter is computed for each *share* of the group apart: a share is the
//! windows of one privacy unit, or for plain training the whole group. That costs no more products than one gradient for
//! all, as a unit's windows are rows that have to be multiplied anyway.

use std::ops::Range;

use super::attention::{Attention, Scratch as AttentionScratch};
use super::functions::{activate, column_sums, gain_gradient, multiply, normalise, normalise_back, squares};
use super::product::{Into, Rows, product, transposed_product};
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
    fn rows(&self) -> usize {
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
    fn of(self, parameter: &Parameter) -> &'a [f32] {
        &self.values[parameter.at.clone()]
    }
}

/// Where each parameter's gradient stands in a share's gradient, by number in the layout; `None` for what is not asked for.
pub(super) type Places = [Option<Range<usize>>];

/// What the way back needs of a group.
#[derive(Default)]
pub(super) struct Tape {
    windows: Range<usize>,
    past: EmbeddingTape,
    future: EmbeddingTape,
    gated: Vec<Vec<f32>>,
    blocks: Vec<BlockTape>,
    last: Vec<f32>,
    last_inverse: Vec<f32>,
    last_normed: Vec<f32>,
}

#[derive(Default)]
struct EmbeddingTape {
    hidden: Vec<f32>,
    slope: Vec<f32>,
}

#[derive(Default)]
struct BlockTape {
    x: Vec<f32>,
    inverse: Vec<f32>,
    normed: Vec<f32>,
    qkv: Vec<f32>,
    weights: Vec<f32>,
    mixed: Vec<f32>,
    middle: Vec<f32>,
    middle_inverse: Vec<f32>,
    middle_normed: Vec<f32>,
    hidden: Vec<f32>,
    slope: Vec<f32>,
}

/// Room that both ways work in.
#[derive(Default)]
pub(super) struct Scratch {
    x: Vec<f32>,
    wide: Vec<f32>,
    narrow: Vec<f32>,
    rows: Vec<f32>,
    attention: AttentionScratch,
}

/// A vector of `len` numbers, to be overwritten.
fn room(vector: &mut Vec<f32>, len: usize) -> &mut [f32] {
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
    fn back_through(&self, values: Values<'_>, d: &[f32], weight: &Parameter, out: Into<'_>, rows: usize) {
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

    /// Gradients of the parameters, given those of the group's codes, `[window, codes]`.
    ///
    /// `shares`: a gradient for each share, written at the places asked for and nowhere else.
    pub fn backward(&self, pass: Backward<'_>, scratch: &mut Scratch, shares: &mut [Share]) {
        let Backward { values, inputs, tape, d_codes, .. } = pass;
        let (d, tokens, arch) = (self.d, self.tokens(), self.arch);
        let count = tape.windows.len();
        let rows = count * tokens;
        let Scratch { x: d_x, wide, narrow, rows: gathered, attention: attention_scratch } = scratch;

        let d_x = room(d_x, rows * d);
        d_x.fill(0.0);
        {
            let (each, width) = (self.future_tokens, self.codes.columns);
            pass.matrix(self, &self.codes, &tape.last_normed, d_codes, each, shares);
            pass.sums(self, &self.codes_bias, d_codes, each, shares);
            let d_normed = room(narrow, count * each * d);
            self.back_through(values, d_codes, &self.codes, Into::new(d_normed, d), count * each);
            debug_assert_eq!(d_codes.len(), count * each * width);
            pass.gain(self, &self.final_norm, &tape.last, &tape.last_inverse, d_normed, each, shares);
            let d_last = room(gathered, count * each * d);
            d_last.fill(0.0);
            normalise_back(arch, &tape.last, values.of(&self.final_norm), &tape.last_inverse, d_normed, d_last);
            for (d_last, d_x) in d_last.chunks_exact(each * d).zip(d_x.chunks_exact_mut(tokens * d)) {
                d_x[self.past_tokens * d..][..each * d].copy_from_slice(d_last);
            }
        }

        for (block, taped) in self.blocks.iter().zip(&tape.blocks).rev() {
            let width = block.up.columns;
            pass.matrix(self, &block.down, &taped.hidden, d_x, tokens, shares);
            let d_hidden = room(wide, rows * width);
            self.back_through(values, d_x, &block.down, Into::new(d_hidden, width), rows);
            multiply(arch, d_hidden, &taped.slope);
            pass.matrix(self, &block.up, &taped.middle_normed, d_hidden, tokens, shares);
            pass.sums(self, &block.up_bias, d_hidden, tokens, shares);
            let d_normed = room(narrow, rows * d);
            self.back_through(values, d_hidden, &block.up, Into::new(d_normed, d), rows);
            pass.gain(self, &block.feedforward_norm, &taped.middle, &taped.middle_inverse, d_normed, tokens, shares);
            let gain = values.of(&block.feedforward_norm);
            normalise_back(arch, &taped.middle, gain, &taped.middle_inverse, d_normed, d_x);

            pass.matrix(self, &block.attention_output, &taped.mixed, d_x, tokens, shares);
            self.back_through(values, d_x, &block.attention_output, Into::new(d_normed, d), rows);
            let d_qkv = room(wide, rows * 3 * d);
            let length = self.attention.weights_len();
            for (((qkv, weights), d_mixed), d_qkv) in taped
                .qkv
                .chunks_exact(tokens * 3 * d)
                .zip(taped.weights.chunks_exact(length))
                .zip(d_normed.chunks_exact(tokens * d))
                .zip(d_qkv.chunks_exact_mut(tokens * 3 * d))
            {
                self.attention.backward(arch, qkv, weights, d_mixed, d_qkv, attention_scratch);
            }
            pass.matrix(self, &block.qkv, &taped.normed, d_qkv, tokens, shares);
            self.back_through(values, d_qkv, &block.qkv, Into::new(d_normed, d), rows);
            pass.gain(self, &block.attention_norm, &taped.x, &taped.inverse, d_normed, tokens, shares);
            normalise_back(arch, &taped.x, values.of(&block.attention_norm), &taped.inverse, d_normed, d_x);
        }

        for (kind, input, taped, first, each) in [
            (&self.past, &inputs.past, &tape.past, 0, self.past_tokens),
            (&self.future, &inputs.future, &tape.future, self.past_tokens, self.future_tokens),
        ] {
            let width = kind.linear.rows();
            let input = &input[tape.windows.start * each * width..tape.windows.end * each * width];
            let d_tokens = gather(d_x, tokens * d, first * d..(first + each) * d, gathered);
            pass.matrix(self, &kind.linear, input, d_tokens, each, shares);
            pass.sums(self, &kind.bias, d_tokens, each, shares);
            pass.matrix(self, &kind.output, &taped.hidden, d_tokens, each, shares);
            let d_hidden = room(narrow, count * each * d);
            self.back_through(values, d_tokens, &kind.output, Into::new(d_hidden, d), count * each);
            multiply(arch, d_hidden, &taped.slope);
            pass.matrix(self, &kind.hidden, input, d_hidden, each, shares);
            pass.sums(self, &kind.hidden_bias, d_hidden, each, shares);
        }
        for (at, gated) in self.gated.iter().enumerate() {
            let (each, width) = (gated.tokens.len(), gated.weight.rows());
            let input = &inputs.gated[at][tape.windows.start * each * width..tape.windows.end * each * width];
            let range = gated.tokens.start * d..gated.tokens.end * d;
            let d_tokens = gather(d_x, tokens * d, range, gathered);
            // Two paths may share their weights.
            let again = self.gated[..at].iter().any(|before| before.weight.entry == gated.weight.entry);
            let last = self.gated[at + 1..].iter().all(|later| later.weight.entry != gated.weight.entry);
            let pass = Backward { add: pass.add || again, squares: pass.squares && last, ..pass };
            if let Some(bias) = &gated.bias {
                pass.sums(self, bias, d_tokens, each, shares);
            }
            pass.gate(self, &gated.gate, &tape.gated[at], d_tokens, each * d, shares);
            let gate = values.of(&gated.gate)[0];
            d_tokens.iter_mut().for_each(|x| *x *= gate);
            pass.matrix(self, &gated.weight, input, d_tokens, each, shares);
        }
    }
}

/// Copies a part of each of `x`'s rows together.
fn gather<'a>(x: &[f32], stride: usize, part: Range<usize>, out: &'a mut Vec<f32>) -> &'a mut [f32] {
    out.clear();
    x.chunks_exact(stride).for_each(|row| out.extend_from_slice(&row[part.clone()]));
    out
}

/// The gradient of a share.
#[derive(Default)]
pub(crate) struct Share {
    pub gradient: Vec<f32>,
    /// Sum of its squares, in `f64`.
    pub squares: f64,
}

/// One way back.
#[derive(Clone, Copy)]
pub(super) struct Backward<'a> {
    pub values: Values<'a>,
    pub inputs: &'a Inputs,
    pub tape: &'a Tape,
    pub d_codes: &'a [f32],
    /// Windows of each share, counted from the group's first.
    pub shares: &'a [Range<usize>],
    pub places: &'a Places,
    /// Whether gradients are added to what is there.
    pub add: bool,
    /// Whether their squares are added up.
    pub squares: bool,
}

impl Backward<'_> {
    /// Has a parameter's gradient written for each share, by `write`, which is told the share's range of rows, of `each` rows
    /// a window. The squares are added up while what was written is still near.
    fn each_share(
        self,
        net: &Network,
        parameter: &Parameter,
        each: usize,
        shares: &mut [Share],
        mut write: impl FnMut(Range<usize>, &mut [f32]),
    ) {
        let Some(place) = &self.places[parameter.entry] else { return };
        for (share, windows) in shares.iter_mut().zip(self.shares) {
            let gradient = &mut share.gradient[place.clone()];
            write(windows.start * each..windows.end * each, gradient);
            if self.squares {
                share.squares += squares(net.arch, gradient);
            }
        }
    }

    /// `xᵀ d` of each share.
    fn matrix(self, net: &Network, weight: &Parameter, x: &[f32], d: &[f32], each: usize, shares: &mut [Share]) {
        let (width, columns) = (weight.rows(), weight.columns);
        self.each_share(net, weight, each, shares, |rows, out| {
            let x = Rows::new(&x[rows.start * width..], width);
            let d = Rows::new(&d[rows.start * columns..], columns);
            let out = Into { data: out, stride: columns, add: self.add };
            transposed_product(net.arch, out, x, d, [width, rows.len(), columns]);
        });
    }

    /// Sum of the rows of each share.
    fn sums(self, net: &Network, bias: &Parameter, d: &[f32], each: usize, shares: &mut [Share]) {
        self.each_share(net, bias, each, shares, |rows, out| {
            column_sums(net.arch, &d[rows.start * bias.columns..rows.end * bias.columns], out, self.add);
        });
    }

    /// Gradient of a gain.
    #[expect(clippy::too_many_arguments, reason = "one normalisation and where it goes")]
    fn gain(
        self,
        net: &Network,
        gain: &Parameter,
        x: &[f32],
        inverse: &[f32],
        d: &[f32],
        each: usize,
        shares: &mut [Share],
    ) {
        self.each_share(net, gain, each, shares, |rows, out| {
            let part = rows.start * gain.columns..rows.end * gain.columns;
            gain_gradient(net.arch, &x[part.clone()], &inverse[rows], &d[part], out, self.add);
        });
    }

    /// `Σ x ∘ d` of each share, `each` numbers a window.
    fn gate(self, net: &Network, gate: &Parameter, x: &[f32], d: &[f32], each: usize, shares: &mut [Share]) {
        self.each_share(net, gate, each, shares, |part, out| {
            // Terms of both signs, one number: in `f64`, as little may be left of many.
            let terms = x[part.clone()].iter().zip(&d[part]).map(|(x, d)| f64::from(*x) * f64::from(*d));
            let sum = terms.sum::<f64>() as f32;
            out[0] = if self.add { out[0] + sum } else { sum };
        });
    }
}
