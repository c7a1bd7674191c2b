//! The GPU against the processor: matrix products, clipped gradients.
//!
//! A GPU may multiply 32-bit floats with mantissas of 11 bits (TF32). What that does to a gradient depends on the network
//! more than on the GPU: near a quantile a cell's loss changes its slope, and the sum over units cancels most of what they
//! add. So the yardstick is the processor's own gradient with the weights rounded to 11 bits: a GPU passes within a
//! stated multiple of that, or within what 32-bit floats explain. The clipping bound has no tolerance: norms are taken
//! and vectors scaled on the host in `f64`, whatever the device returned.

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use forecastle_client::{
    data::window::Window,
    device::{Place, on},
    model::Model,
    train::{GradientError, clipped_gradient_sum, clipped_gradients},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use crate::{AnyError, windows};

/// Clipping norm of the checks, that of the shipped plans.
pub const CLIP: f64 = 0.1;
/// More units than any device computes in one pass.
const UNITS: usize = 600;
/// Largest error, in multiples of the yardstick's: activations and gradients are rounded beside weights, at every layer.
pub const TOLERANCE: f64 = 4.0;
/// An error that 32-bit floats explain.
pub const F32_ERROR: f64 = 1e-4;
/// A parameter's error is measured against at least this share of the whole sum: a part that happens to be nearly zero
/// has no relative error to speak of.
const PART_LEAST: f64 = 1e-2;
/// Relative error of a product beyond which 32-bit floats cannot have been used throughout.
const TF32_FROM: f64 = 2e-5;

/// Clipped gradients of the GPU beside the processor's.
#[derive(Serialize)]
pub struct Gradients {
    /// Seconds that the GPU's first sum took, compilation included.
    pub first_s: f64,
    pub units: usize,
    pub clip: f64,
    /// Units whose gradient was longer than the clipping norm.
    pub clipped: usize,
    /// Relative error of matrix products, against `f64` on the host.
    pub products: Vec<Product>,
    /// Relative error of the sum.
    pub sum_error: f64,
    /// The same of the processor's sum with weights rounded to 11 bits.
    pub sum_yardstick: f64,
    /// Relative error of one unit's clipped gradient: median and largest, and the yardsticks of both.
    pub unit_error: [f64; 2],
    pub unit_yardstick: [f64; 2],
    pub parameters: Vec<Parameter>,
    /// Longest clipped gradient of a unit, over the clipping norm.
    pub longest: f64,
    /// Other units whose gradient changed when one was left out, and by how much relative to the clipping norm.
    pub neighbours_changed: usize,
    pub neighbours_difference: f64,
    /// Whether a unit whose gradient overflows was refused by name, as on the processor.
    pub overflow_refused: bool,
}

/// A product `[rows, inner] × [inner, columns]` of normal-sized numbers.
#[derive(Serialize)]
pub struct Product {
    pub rows: usize,
    pub inner: usize,
    pub columns: usize,
    pub error: f64,
    /// Whether the error is larger than 32-bit floats explain.
    pub reduced_precision: bool,
}

/// A parameter's part of the sum.
#[derive(Serialize)]
pub struct Parameter {
    pub name: String,
    /// Length of the processor's.
    pub norm: f64,
    pub error: f64,
    /// The same of the processor's with weights rounded to 11 bits.
    pub yardstick: f64,
}

impl Gradients {
    /// Whether every bound holds.
    pub fn passed(&self) -> bool {
        within(self.sum_error, self.sum_yardstick)
            && self.parameters.iter().all(Parameter::passed)
            && within(self.unit_error[0], self.unit_yardstick[0])
            && self.longest <= 1.0
            && self.neighbours_changed == 0
            && self.overflow_refused
    }
}

impl Parameter {
    /// Whether its error is small enough.
    pub fn passed(&self) -> bool {
        within(self.error, self.yardstick)
    }
}

/// Whether an error is small enough beside its yardstick.
pub fn within(error: f64, yardstick: f64) -> bool {
    error <= (TOLERANCE * yardstick).max(F32_ERROR)
}

/// Compares the gradients of the private step.
pub fn gradients(model: &Model, gpu: Place) -> Result<Gradients, AnyError> {
    let units = windows::units(model.config(), UNITS, 2, 1);
    let start = Instant::now();
    let sum = on(gpu, || clipped_gradient_sum(model, &units, CLIP))?;
    let first_s = start.elapsed().as_secs_f64();
    let each = on(gpu, || clipped_gradients(model, &units, CLIP))?;
    let cpu_each = on(Place::CPU, || clipped_gradients(model, &units, CLIP))?;
    let rounded_each = on(Place::CPU, || clipped_gradients(&rounded(model)?, &units, CLIP).map_err(AnyError::from))?;
    let (cpu, rounded_sum) = (total(&cpu_each), total(&rounded_each));
    let whole = norm(&cpu);
    let mut parameters = Vec::new();
    let mut at = 0;
    for entry in model.layout().entries.iter().filter(|e| e.federated) {
        let part = at..at + entry.len();
        at = part.end;
        let length = norm(&cpu[part.clone()]);
        let error = |of: &[f64]| distance(&cpu[part.clone()], &of[part.clone()]) / length.max(PART_LEAST * whole);
        let (error, yardstick) = (error(&sum), error(&rounded_sum));
        parameters.push(Parameter { name: entry.name.clone(), norm: length, error, yardstick });
    }
    let (neighbours_changed, neighbours_difference) = neighbours(model, gpu, &units, &each)?;
    Ok(Gradients {
        first_s,
        units: units.len(),
        clip: CLIP,
        clipped: each.iter().filter(|g| norm(g) > CLIP * (1.0 - 1e-9)).count(),
        products: products(gpu),
        sum_error: distance(&cpu, &sum) / whole,
        sum_yardstick: distance(&cpu, &rounded_sum) / whole,
        unit_error: unit_errors(&cpu_each, &each),
        unit_yardstick: unit_errors(&cpu_each, &rounded_each),
        parameters,
        longest: each.iter().map(|g| norm(g)).fold(0.0, f64::max) / CLIP,
        neighbours_changed,
        neighbours_difference,
        overflow_refused: overflow_refused(model, gpu, units),
    })
}

/// The model with every weight rounded to TF32's mantissa of 11 bits (10 of them stored), to nearest.
fn rounded(model: &Model) -> Result<Model, AnyError> {
    const DROPPED: u32 = 23 - 10;
    let mut snapshot = model.snapshot();
    for value in &mut snapshot.values {
        let bits = value.to_bits() + (1 << (DROPPED - 1));
        *value = f32::from_bits(bits >> DROPPED << DROPPED);
    }
    Ok(Model::from_snapshot(&snapshot)?)
}

fn total(each: &[Vec<f64>]) -> Vec<f64> {
    let mut sum = vec![0.0; each.first().map_or(0, Vec::len)];
    for gradient in each {
        sum.iter_mut().zip(gradient).for_each(|(s, g)| *s += g);
    }
    sum
}

/// Median and largest relative error of a unit's clipped gradient.
fn unit_errors(exact: &[Vec<f64>], found: &[Vec<f64>]) -> [f64; 2] {
    let mut errors: Vec<f64> =
        exact.iter().zip(found).map(|(e, f)| distance(e, f) / norm(e).max(f64::MIN_POSITIVE)).collect();
    errors.sort_by(f64::total_cmp);
    [errors[errors.len() / 2], errors[errors.len() - 1]]
}

/// Leaves one unit out and compares all others: what one series adds must not reach another's gradient.
fn neighbours(model: &Model, gpu: Place, units: &[Vec<Window>], before: &[Vec<f64>]) -> Result<(usize, f64), AnyError> {
    const LEFT_OUT: usize = 7;
    let without = |all: &[Vec<Window>]| [&all[..LEFT_OUT], &all[LEFT_OUT + 1..]].concat();
    let after = on(gpu, || clipped_gradients(model, &without(units), CLIP))?;
    let before = before.iter().enumerate().filter(|(i, _)| *i != LEFT_OUT).map(|(_, g)| g);
    let (mut changed, mut largest) = (0, 0.0f64);
    for (before, after) in before.zip(&after) {
        changed += usize::from(before != after);
        largest = largest.max(distance(before, after) / CLIP);
    }
    Ok((changed, largest))
}

/// Whether inputs whose product with the weights overflows are refused and the unit is named.
fn overflow_refused(model: &Model, gpu: Place, mut units: Vec<Vec<Window>>) -> bool {
    const UNIT: usize = 5;
    units[UNIT][0].known.iter_mut().for_each(|channels| channels.fill(f32::MAX));
    let result = on(gpu, || clipped_gradient_sum(model, &units, CLIP));
    matches!(result, Err(GradientError::NotFinite { unit: UNIT, .. }))
}

/// Products of the shapes of this network's layers.
fn products(gpu: Place) -> Vec<Product> {
    [[2048, 98, 32], [2048, 32, 128], [4096, 128, 128], [1024, 1024, 1024]]
        .map(|[rows, inner, columns]| {
            let mut rng = ChaCha12Rng::seed_from_u64(1);
            let mut draw = |count: usize| -> Vec<f32> { (0..count).map(|_| rng.random_range(-1.0..1.0)).collect() };
            let (a, b) = (draw(rows * inner), draw(inner * columns));
            let found = device_product(&gpu.device(), &a, &b, [rows, inner, columns]);
            // A few rows tell as much as all.
            let (mut off, mut size) = (0.0f64, 0.0f64);
            for row in (0..rows).step_by(rows / 16) {
                for column in 0..columns {
                    let exact: f64 =
                        (0..inner).map(|k| f64::from(a[row * inner + k]) * f64::from(b[k * columns + column])).sum();
                    off += (f64::from(found[row * columns + column]) - exact).powi(2);
                    size += exact.powi(2);
                }
            }
            let error = (off / size).sqrt();
            Product { rows, inner, columns, error, reduced_precision: error > TF32_FROM }
        })
        .into()
}

fn device_product(device: &Device, a: &[f32], b: &[f32], [rows, inner, columns]: [usize; 3]) -> Vec<f32> {
    let tensor = |v: &[f32], shape: [usize; 2]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), shape), device);
    let product = tensor(a, [rows, inner]).matmul(tensor(b, [inner, columns]));
    product.try_into_vec_as().expect("tensors of this device hold f32")
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum::<f64>().sqrt()
}
