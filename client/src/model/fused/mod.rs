//! The encoder for the processor: the network of [`super::encoder`], written out by hand, forwards and backwards.
//!
//! A tensor library runs one operation after the other over a whole batch. Each reads and writes more than the caches hold,
//! needs a description of itself for the way back, and turns matrices around in memory. For a network this small that was
//! most of the time. Here a few windows at a time go through all layers, in buffers that are used again.
//!
//! It is also what makes private steps cheap. The way back hands out the gradient of each privacy unit apart, whole and in
//! the cache, for about the cost of one gradient of their sum; see [`mod@network`].
//!
//! What is computed is the same up to rounding, and tested against the other; the GPU, dropout and everything above the
//! encoder use the tensor library. The graph is cut at the codes: forwards here, heads and loss there, whose gradient of the
//! codes comes back here.
//!
//! Invariant: what is computed for a window, and the gradient of a unit, depend on that window or unit and the parameters
//! alone, to the bit, however they are grouped (see [`product`]).

mod assemble;
mod attention;
mod backward;
mod functions;
mod network;
mod product;
#[cfg(test)]
mod tests;
mod vectors;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::{Tensor, TensorData};

pub(crate) use self::backward::Share;
use self::{
    assemble::network,
    backward::Backward,
    network::{Inputs, Network, Scratch, Tape, Values},
    vectors::Vectors,
};
use super::{Model, ModelConfig, batch::Batch, further};
use crate::data::series::KNOWN_CHANNELS;

/// Windows that go through the layers together: with two hundred floats a token of a small network they and the weights of
/// a layer fit the second cache, and the weights are read once for some hundred rows.
const GROUP: usize = 4;

/// The encoder of one model.
pub struct Encoder {
    config: ModelConfig,
    network: Network,
    values: Vec<f32>,
    transposed: Vec<f32>,
    rooms: Rooms,
}

/// Room that passes have given back, for the next. Fresh pages from the system would cost them a tenth of their time.
#[derive(Clone, Default)]
pub(crate) struct Rooms(Arc<Mutex<Vec<Workspace>>>);

/// Room for one pass.
#[derive(Default)]
struct Workspace {
    tapes: Vec<Tape>,
    scratch: Scratch,
    buffers: Vec<Share>,
}

/// Which windows of a batch share a gradient, in the batch's order; those between two are computed for nobody.
pub(crate) struct Shares {
    groups: Vec<Group>,
}

struct Group {
    windows: Range<usize>,
    /// Number of each share and its windows, counted from the group's first.
    shares: Vec<(usize, Range<usize>)>,
}

/// A batch that went through the encoder, with all that the way back needs.
pub(crate) struct Pass<'a> {
    encoder: &'a Encoder,
    inputs: Inputs,
    shares: Shares,
    room: Workspace,
}

impl Encoder {
    /// For forecasts.
    pub fn new(model: &Model) -> Self {
        let (config, values) = (model.config().clone(), model.values().to_vec());
        Self { network: network(model), config, values, transposed: Vec::new(), rooms: Rooms::default() }
    }

    /// For training: the way back needs the matrices a second time, turned around.
    pub fn for_training(model: &Model) -> Self {
        let mut encoder = Self::new(model);
        let mut transposed = vec![0.0; encoder.values.len()];
        for matrix in encoder.network.passed_through() {
            let (from, to) = (&encoder.values[matrix.at.clone()], &mut transposed[matrix.at.clone()]);
            let rows = from.len() / matrix.columns;
            for (row, from) in from.chunks_exact(matrix.columns).enumerate() {
                from.iter().zip(to[row..].iter_mut().step_by(rows)).for_each(|(from, to)| *to = *from);
            }
        }
        encoder.transposed = transposed;
        encoder
    }

    /// The same, whose passes take their room from `rooms`: for encoders that follow each other.
    pub(crate) fn within(self, rooms: &Rooms) -> Self {
        Self { rooms: rooms.clone(), ..self }
    }

    /// Whether it was made for training.
    pub(crate) fn trains(&self) -> bool {
        !self.transposed.is_empty()
    }

    fn values(&self) -> Values<'_> {
        Values { values: &self.values, transposed: &self.transposed }
    }

    /// Codes of the future steps, as [`super::encode`] says.
    pub fn encode(&self, batch: &Batch) -> Tensor<3> {
        let inputs = self.inputs(batch);
        let (windows, length) = (batch.units * batch.rows, self.network.codes_len());
        let mut codes = vec![0.0; windows * length];
        let mut room = self.rooms.take();
        room.tapes.resize_with(room.tapes.len().max(1), Tape::default);
        let Workspace { tapes, scratch, .. } = &mut room;
        for start in (0..windows).step_by(GROUP) {
            let group = start..windows.min(start + GROUP);
            let codes = &mut codes[group.start * length..group.end * length];
            self.network.forward(self.values(), &inputs, group, &mut tapes[0], scratch, codes);
        }
        self.rooms.give_back(room);
        self.tensor(batch, codes)
    }

    /// The way forwards: what the way back needs, and the codes as a tensor whose gradient can be asked for. Codes of windows
    /// that are in no share are zero.
    pub(crate) fn pass(&self, batch: &Batch, shares: Shares) -> (Pass<'_>, Tensor<3>) {
        let inputs = self.inputs(batch);
        let length = self.network.codes_len();
        let mut codes = vec![0.0; batch.units * batch.rows * length];
        let mut room = self.rooms.take();
        room.tapes.resize_with(room.tapes.len().max(shares.groups.len()), Tape::default);
        for (group, tape) in shares.groups.iter().zip(&mut room.tapes) {
            let codes = &mut codes[group.windows.start * length..group.windows.end * length];
            self.network.forward(self.values(), &inputs, group.windows.clone(), tape, &mut room.scratch, codes);
        }
        let codes = self.tensor(batch, codes).autodiff().require_grad();
        (Pass { encoder: self, inputs, shares, room }, codes)
    }

    fn tensor(&self, batch: &Batch, codes: Vec<f32>) -> Tensor<3> {
        let shape = [batch.units, batch.rows * self.config.horizon, self.config.day_features];
        Tensor::from_data(TensorData::new(codes, shape), &batch.past.device())
    }

    /// What it reads of a batch.
    fn inputs(&self, batch: &Batch) -> Inputs {
        let config = &self.config;
        let (past, observed, known) = (host(&batch.past), host(&batch.observed), host(&batch.known_past));
        let mut patches = Vec::with_capacity(past.len() * (2 + KNOWN_CHANNELS));
        for ((past, observed), known) in past.iter().zip(&observed).zip(known.chunks_exact(KNOWN_CHANNELS)) {
            patches.extend([past.asinh(), *observed]);
            patches.extend(known);
        }
        let mut gated = vec![host(&batch.attributes), host(&batch.text)];
        for input in further::token_inputs(config) {
            let values = batch.further.as_ref().and_then(|further| further.of(&input));
            gated.push(values.map_or(Vec::new(), |values| host(&values)));
        }
        Inputs { past: patches, future: host(&batch.known_future), gated }
    }
}

impl Rooms {
    fn take(&self) -> Workspace {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, room: Workspace) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(room);
    }
}

impl Shares {
    /// Each unit with its windows: `counts` of them, of `rows` for which the batch has room.
    pub(crate) fn of_units(counts: impl IntoIterator<Item = usize>, rows: usize) -> Self {
        let mut groups: Vec<Group> = Vec::new();
        for (unit, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let (start, end) = (unit * rows, unit * rows + count);
            match groups.last_mut() {
                Some(group) if group.windows.end == start && group.windows.len() < GROUP => {
                    let from = group.windows.len();
                    group.windows.end = end;
                    group.shares.push((unit, from..from + count));
                }
                _ => groups.push(Group { windows: start..end, shares: vec![(unit, 0..count)] }),
            }
        }
        Self { groups }
    }

    /// One share, of all `count` windows.
    pub(crate) fn one(count: usize) -> Self {
        let group = |start: usize| {
            let windows = start..count.min(start + GROUP);
            Group { shares: vec![(0, 0..windows.len())], windows }
        };
        Self { groups: (0..count).step_by(GROUP).map(group).collect() }
    }
}

impl Pass<'_> {
    /// Gradients of the shares, some at a time, given the gradient of the codes.
    ///
    /// `places`: where each parameter's gradient belongs in a share's gradient of `len` numbers, by its number in the
    /// layout. `take` gets the numbers of some shares and their gradients, with the squares of what was written; what does
    /// not belong to the encoder was not.
    pub(crate) fn gradients(
        mut self,
        d_codes: &[f32],
        places: &[Option<Range<usize>>],
        len: usize,
        mut take: impl FnMut(&[usize], &mut [Share]),
    ) {
        let length = self.encoder.network.codes_len();
        let Workspace { tapes, scratch, buffers } = &mut self.room;
        for (group, tape) in self.shares.groups.iter().zip(&*tapes) {
            let (numbers, shares): (Vec<_>, Vec<_>) = group.shares.iter().cloned().unzip();
            while buffers.len() < shares.len() {
                buffers.push(Share::default());
            }
            let pass = Backward {
                values: self.encoder.values(),
                inputs: &self.inputs,
                tape,
                d_codes: &d_codes[group.windows.start * length..group.windows.end * length],
                shares: &shares,
                places,
                add: false,
                squares: true,
            };
            let buffers = &mut buffers[..shares.len()];
            for share in buffers.iter_mut() {
                share.gradient.resize(len, 0.0);
                share.squares = 0.0;
            }
            self.encoder.network.backward(pass, scratch, buffers);
            take(&numbers, buffers);
        }
        self.encoder.rooms.give_back(self.room);
    }

    /// Adds the gradients of all shares to `sum`.
    pub(crate) fn add_gradients(mut self, d_codes: &[f32], places: &[Option<Range<usize>>], sum: Vec<f32>) -> Vec<f32> {
        let length = self.encoder.network.codes_len();
        let mut all = [Share { gradient: sum, squares: 0.0 }];
        let Workspace { tapes, scratch, .. } = &mut self.room;
        for (group, tape) in self.shares.groups.iter().zip(&*tapes) {
            let windows = 0..group.windows.len();
            let pass = Backward {
                values: self.encoder.values(),
                inputs: &self.inputs,
                tape,
                d_codes: &d_codes[group.windows.start * length..group.windows.end * length],
                shares: std::slice::from_ref(&windows),
                places,
                add: true,
                squares: false,
            };
            self.encoder.network.backward(pass, scratch, &mut all);
        }
        self.encoder.rooms.give_back(self.room);
        let [Share { gradient, .. }] = all;
        gradient
    }
}

/// Sum of squares in `f64`; see [`functions::squares`].
pub(crate) fn squares(x: &[f32]) -> f64 {
    functions::squares(Vectors::new(), x)
}

/// Adds gradients, each times its factor, to `sum`, one after the other.
pub(crate) fn add_clipped(sum: &mut [f64], gradients: &[(&[f32], f64)]) {
    functions::add_scaled(Vectors::new(), sum, gradients);
}

/// A tensor's values.
fn host(tensor: &Tensor<3>) -> Vec<f32> {
    tensor.to_data().try_into_vec().expect("tensors of the processor hold f32")
}
