//! The way back through the network, with a gradient of every parameter for each share of a group of windows.
//!
//! Products with `d Wᵀ` are taken for the whole group, products `xᵀ d`, which are gradients, for each share apart. The
//! squares of what was written are summed at once, as long as it is in a near cache.

use std::ops::Range;

use super::functions::{column_sums, gain_gradient, multiply, normalise_back, squares};
use super::network::{Inputs, Network, Parameter, Scratch, Tape, Values, room};
use super::product::{Into, Rows, transposed_product};

/// Where each parameter's gradient stands in a share's gradient, by number in the layout; `None` for what is not asked for.
pub(super) type Places = [Option<Range<usize>>];

impl Network {
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
