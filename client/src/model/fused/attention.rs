//! Attention inside one window, one head at a time, so that its scores stay in the nearest cache.

use super::functions::{softmax, softmax_back};
use super::product::{Into, Rows, product, transposed_product};
use super::vectors::Vectors;

/// Base of the rotary frequencies.
const ROTARY_BASE: f32 = 1000.0;
/// Scores of a row take a multiple of so many numbers.
const PAD: usize = 8;

/// Extent of the attention of one window.
pub(super) struct Attention {
    tokens: usize,
    heads: usize,
    width: usize,
    /// Numbers of a row of scores.
    padded: usize,
    /// Rotary tables (Su et al. 2021), `[token, width / 2]` each.
    cos: Vec<f32>,
    sin: Vec<f32>,
}

/// Room for one head.
#[derive(Default)]
pub(super) struct Scratch {
    turned: Vec<f32>,
    scores: Vec<f32>,
}

impl Attention {
    /// For tokens in time order; the two last have no time and stand at position 0.
    pub fn new(tokens: usize, heads: usize, width: usize) -> Self {
        let half = width / 2;
        let angle = |token: usize, i: usize| {
            let position = if token + 2 < tokens { token as f32 } else { 0.0 };
            position * ROTARY_BASE.powf(-(i as f32) / half as f32)
        };
        let table = |f: fn(f32) -> f32| (0..tokens * half).map(|i| f(angle(i / half, i % half))).collect();
        Self { tokens, heads, width, padded: tokens.next_multiple_of(PAD), cos: table(f32::cos), sin: table(f32::sin) }
    }

    /// Numbers of a window's attention weights.
    pub fn weights_len(&self) -> usize {
        self.heads * self.tokens * self.padded
    }

    fn d(&self) -> usize {
        self.heads * self.width
    }

    /// Turns queries and keys in `qkv` `[token, 3 d]` by their positions; back again with `sign` −1.
    fn turn(&self, qkv: &mut [f32], sign: f32) {
        let half = self.width / 2;
        let rows = qkv.chunks_exact_mut(3 * self.d()).zip(self.cos.chunks_exact(half)).zip(self.sin.chunks_exact(half));
        for ((row, cos), sin) in rows {
            for head in row[..2 * self.d()].chunks_exact_mut(self.width) {
                let (a, b) = head.split_at_mut(half);
                for (((a, b), cos), sin) in a.iter_mut().zip(b).zip(cos).zip(sin) {
                    let sin = sign * sin;
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }

    /// Copies one head of a part of `qkv` as `[width, padded]`, with zeros behind the tokens.
    fn transposed(&self, qkv: &[f32], first: usize, stride: usize, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.width * self.padded, 0.0);
        for token in 0..self.tokens {
            for (i, x) in qkv[token * stride + first..][..self.width].iter().enumerate() {
                out[i * self.padded + token] = *x;
            }
        }
    }

    fn scale(&self) -> f32 {
        (self.width as f32).powf(-0.5)
    }

    /// From `qkv` `[token, 3 d]`, whose queries and keys are turned, to `mixed` `[token, d]`. `weights` keeps
    /// [`Self::weights_len`] numbers for the way back.
    pub fn forward(
        &self,
        arch: Vectors,
        qkv: &mut [f32],
        weights: &mut [f32],
        mixed: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (d, tokens, width, padded) = (self.d(), self.tokens, self.width, self.padded);
        self.turn(qkv, 1.0);
        for (head, weights) in weights.chunks_exact_mut(tokens * padded).enumerate() {
            let first = head * width;
            self.transposed(qkv, d + first, 3 * d, &mut scratch.turned);
            let (query, value) = (Rows::new(&qkv[first..], 3 * d), Rows::new(&qkv[2 * d + first..], 3 * d));
            let keys = Rows::new(&scratch.turned, padded);
            product(arch, Into::new(weights, padded), query, keys, [tokens, width, padded]);
            softmax(arch, weights, padded, tokens, self.scale());
            let out = Into::new(&mut mixed[first..], d);
            product(arch, out, Rows::new(weights, padded), value, [tokens, tokens, width]);
        }
    }

    /// Gradient of `qkv` as it was before it was turned, into `d_qkv` `[token, 3 d]`.
    pub fn backward(
        &self,
        arch: Vectors,
        qkv: &[f32],
        weights: &[f32],
        d_mixed: &[f32],
        d_qkv: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let (d, tokens, width, padded) = (self.d(), self.tokens, self.width, self.padded);
        scratch.scores.resize(tokens * padded, 0.0);
        for (head, weights) in weights.chunks_exact(tokens * padded).enumerate() {
            let first = head * width;
            let weights_rows = Rows::new(weights, padded);
            let d_out = Rows::new(&d_mixed[first..], d);
            let d_value = Into::new(&mut d_qkv[2 * d + first..], 3 * d);
            transposed_product(arch, d_value, weights_rows, d_out, [tokens, tokens, width]);
            self.transposed(qkv, 2 * d + first, 3 * d, &mut scratch.turned);
            let values = Rows::new(&scratch.turned, padded);
            product(arch, Into::new(&mut scratch.scores, padded), d_out, values, [tokens, width, padded]);
            softmax_back(arch, weights, &mut scratch.scores, padded, self.scale());
            let scores = Rows::new(&scratch.scores, padded);
            let (query, key) = (Rows::new(&qkv[first..], 3 * d), Rows::new(&qkv[d + first..], 3 * d));
            product(arch, Into::new(&mut d_qkv[first..], 3 * d), scores, key, [tokens, tokens, width]);
            transposed_product(arch, Into::new(&mut d_qkv[d + first..], 3 * d), scores, query, [tokens, tokens, width]);
        }
        self.turn(d_qkv, -1.0);
    }
}
