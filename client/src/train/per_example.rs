//! Exact clipped gradients of privacy units.
//!
//! Each unit is one series: its windows are averaged, and the gradient of that average is clipped once to norm C.
//!
//! Above the encoder the federated parameters, some hundred numbers, are copied once a unit along a leading axis, so that
//! one backward pass of the sum of the losses leaves each unit's own gradient in its own copy. Below, on the processor,
//! [`crate::model::fused`] computes the gradient of each unit from what the pass recorded, as book-keeping does (Bu et al.
//! 2023); on a GPU the encoder's parameters are copied as well. Where none of them is federated, as by default, the encoder
//! leaves no tape.
//!
//! Norms are those of gradients that are there, not ghost norms: a unit's gradient is in the cache anyway when it is
//! added up, its norm costs less there than the products of ghosts, and what is added is bounded by what was measured.
//!
//! Invariants: a unit's gradient depends on that unit and the model alone; each clipped gradient has Euclidean
//! norm at most C, computed in `f64`; a gradient that is not finite is refused, never clipped to something; gradients are
//! added up in `f64`, so that one unit more moves no other's share.

use std::ops::Range;

use burn::tensor::{Gradients, Tensor};
use forecastle_crypto::dp::clip;
use forecastle_proto::model::ParameterEntry;

use crate::data::window::Window;
use crate::device::{self, DeviceFailure, Work, in_passes, passes, passes::DeviceCause};
use crate::model::{
    self, Batch, BatchError, Model, Weights,
    fused::{Encoder, Shares, add_clipped, squares},
};

/// Why no gradient could be computed.
#[derive(Debug, thiserror::Error)]
pub enum GradientError {
    /// A clipping norm that is not a positive number.
    #[error("the clipping norm {0} is not a positive number")]
    Clip(f64),
    /// A window that does not fit the model.
    #[error("unit {unit}: {source}")]
    Window {
        /// Which unit; counted from the first of the call.
        unit: usize,
        /// What is wrong with the window.
        source: BatchError,
    },
    /// A gradient with an infinite or undefined coordinate.
    #[error("unit {unit}: the gradient of `{parameter}` is not finite; leave the series out or repair its data")]
    NotFinite {
        /// Which unit.
        unit: usize,
        /// Where its gradient is not finite.
        parameter: String,
    },
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
}

impl DeviceCause for GradientError {
    fn device_failure(&self) -> Option<&DeviceFailure> {
        match self {
            Self::Device(failure) => Some(failure),
            Self::Clip(_) | Self::Window { .. } | Self::NotFinite { .. } => None,
        }
    }
}

/// Sum over units of their clipped gradients, `[federated_len]` in layout order.
///
/// `units`: the windows of each privacy unit; a unit without windows contributes zero. `clip`: the norm C. No units
/// give the zero vector.
///
/// # Errors
/// [`GradientError`] names the unit at fault.
pub fn clipped_gradient_sum(model: &Model, units: &[Vec<Window>], clip: f64) -> Result<Vec<f64>, GradientError> {
    sum_of_clipped(model, units, clip, Err)
}

/// As [`clipped_gradient_sum`], where a unit whose gradient is not finite counts as zero instead of ending the work.
///
/// For what leaves: a merchant that fell silent because of one series would say something about its data, and at weights
/// that carry noise any series may leave the numbers. A unit still contributes a vector of norm at most C that depends on
/// that unit and the model alone, and costs the same time.
///
/// # Errors
/// [`GradientError`] for a clipping norm or a window that does not fit.
pub fn finite_gradient_sum(model: &Model, units: &[Vec<Window>], clip: f64) -> Result<Vec<f64>, GradientError> {
    sum_of_clipped(model, units, clip, |_| Ok(()))
}

/// Sum of the clipped gradients; `refused` says what becomes of a unit whose gradient is not finite.
fn sum_of_clipped(
    model: &Model,
    units: &[Vec<Window>],
    clip: f64,
    refused: impl Fn(GradientError) -> Result<(), GradientError> + Sync,
) -> Result<Vec<f64>, GradientError> {
    let len = model.federated_len();
    let empty = || vec![0.0; len];
    let add = |sum: &mut Vec<f64>, first: usize, gradients: &[Raw<'_>]| {
        let mut finite = Vec::with_capacity(gradients.len());
        for (unit, raw) in (first..).zip(gradients) {
            match factor(model, unit, *raw, clip) {
                Ok(factor) => finite.push((raw.gradient, factor)),
                Err(error) => refused(error)?,
            }
        }
        add_clipped(sum, &finite);
        Ok(())
    };
    let mut sum = empty();
    each_pass(model, units, clip, empty, add, |part| {
        sum.iter_mut().zip(part).for_each(|(total, g)| *total += g);
    })?;
    Ok(sum)
}

/// A unit's gradient before clipping.
#[derive(Clone, Copy)]
struct Raw<'a> {
    /// In layout order of the federated parameters.
    gradient: &'a [f32],
    /// Sum of its squares in `f64`.
    squares: f64,
}

impl<'a> Raw<'a> {
    fn new(gradient: &'a [f32]) -> Self {
        Self { gradient, squares: squares(gradient) }
    }
}

/// What a unit's gradient is multiplied by to have norm `clip` at most.
fn factor(model: &Model, unit: usize, raw: Raw<'_>, clip: f64) -> Result<f64, GradientError> {
    let Raw { gradient, squares } = raw;
    if squares.is_finite() {
        return Ok(clip::factor(squares, gradient.len(), clip));
    }
    // Squares of finite f32 are finite in f64, and so is their sum.
    let at = gradient.iter().position(|g| !g.is_finite()).unwrap_or(0);
    Err(GradientError::NotFinite { unit, parameter: federated_name(model, at) })
}

/// Clipped gradient of each unit, `[unit][federated_len]`: for a simulation that sums several merchants at once.
///
/// # Errors
/// [`GradientError`] names the unit at fault.
pub fn clipped_gradients(model: &Model, units: &[Vec<Window>], clip: f64) -> Result<Vec<Vec<f64>>, GradientError> {
    let mut all = Vec::with_capacity(units.len());
    let add = |part: &mut Vec<Vec<f64>>, first: usize, gradients: &[Raw<'_>]| {
        for (unit, raw) in (first..).zip(gradients) {
            let factor = factor(model, unit, *raw, clip)?;
            part.push(raw.gradient.iter().map(|&g| f64::from(g) * factor).collect());
        }
        Ok(())
    };
    each_pass(model, units, clip, Vec::new, add, |part| all.extend(part))?;
    Ok(all)
}

/// Hands the gradients of all units, before clipping, to `add`, some neighbours at a time in order, and what it made of those
/// of one pass to `take`.
fn each_pass<T: Send>(
    model: &Model,
    units: &[Vec<Window>],
    clip: f64,
    empty: impl Fn() -> T + Sync,
    add: impl Fn(&mut T, usize, &[Raw<'_>]) -> Result<(), GradientError> + Sync,
    mut take: impl FnMut(T),
) -> Result<(), GradientError> {
    if !(clip.is_finite() && clip > 0.0) {
        return Err(GradientError::Clip(clip));
    }
    let rows = units.iter().map(Vec::len).max().unwrap_or(0);
    if rows == 0 {
        let (mut nothing, zeros) = (empty(), vec![0.0; model.federated_len()]);
        for unit in 0..units.len() {
            add(&mut nothing, unit, &[Raw::new(&zeros)])?;
        }
        take(nothing);
        return Ok(());
    }
    let on_processor = device::place().is_cpu();
    let below = |entry: &ParameterEntry| entry.federated && !model::above_the_encoder(entry);
    let encoder = on_processor.then(|| match model.layout().entries.iter().any(below) {
        true => Encoder::for_training(model),
        false => Encoder::new(model),
    });
    let backward = |piece: Range<usize>| {
        let mut made = empty();
        let (units, first) = (&units[piece.clone()], piece.start);
        raw_gradients(model, encoder.as_ref(), units, rows, first, |unit, gradients| {
            add(&mut made, first + unit, gradients)
        })?;
        Ok(made)
    };
    in_passes(Work::Units(rows), units.len(), backward, |_, made| {
        take(made);
        Ok(())
    })
}

/// Hands the gradients of the units before clipping to `take`, some neighbours at a time with the first's number, in order;
/// one backward pass.
///
/// With an `encoder` for training its parameters are left to it, and without one the tensor library does everything. The
/// pass may be filled up with units without windows: their gradients are zero and left out of the result.
fn raw_gradients(
    model: &Model,
    encoder: Option<&Encoder>,
    units: &[Vec<Window>],
    rows: usize,
    first: usize,
    mut take: impl FnMut(usize, &[Raw<'_>]) -> Result<(), GradientError>,
) -> Result<(), GradientError> {
    let (device, config) = (model::device(), model.config());
    let mut windows: Vec<Vec<&Window>> = units.iter().map(|u| u.iter().collect()).collect();
    windows.resize(device::place().passes().units_for(units.len()), Vec::new());
    let batch = Batch::of_units(config, &windows, rows, &device).map_err(|source| {
        let (BatchError::Extent { index, .. } | BatchError::NotFinite { index, .. }) = source;
        GradientError::Window { unit: first + unit_of(units, index), source }
    })?;
    let copied = |entry: &ParameterEntry| entry.federated && (encoder.is_none() || model::above_the_encoder(entry));
    let weights = Weights::trained(model, windows.len(), &device, copied);
    let mut pass = None;
    let codes = match encoder {
        None => model::encode(config, &weights, &batch),
        Some(encoder) if !encoder.trains() => encoder.encode(&batch),
        Some(encoder) => {
            let (begun, codes) = encoder.pass(&batch, Shares::of_units(units.iter().map(Vec::len), rows));
            pass = Some((begun, codes.clone()));
            codes
        }
    };
    let gradients = model::training_loss(&batch, model::decode(config, &weights, &batch, codes)).backward();
    let above = split(model, windows.len(), &weights, &gradients, copied)?;
    let width = above.len() / windows.len().max(1);
    let above: Vec<&[f32]> = match width {
        0 => vec![&[]; windows.len()],
        _ => above.chunks_exact(width).collect(),
    };
    let Some((pass, codes)) = pass else {
        let starts = (0..units.len()).step_by(TOGETHER);
        return starts.zip(above[..units.len()].chunks(TOGETHER)).try_for_each(|(unit, some)| {
            let some: Vec<_> = some.iter().map(|gradient| Raw::new(gradient)).collect();
            take(unit, &some)
        });
    };
    let d_codes = match codes.grad(&gradients) {
        Some(gradient) => passes::read(gradient)?,
        None => vec![0.0; codes.shape().num_elements()],
    };
    drop(gradients);

    // Units without windows come before the next that has some.
    let (mut next, zeros) = (0, vec![0.0; model.federated_len()]);
    let parts = Parts::new(model, copied);
    let mut outcome = Ok(());
    pass.gradients(&d_codes, &parts.below, model.federated_len(), |numbers, shares| {
        if outcome.is_err() {
            return;
        }
        for (unit, share) in numbers.iter().zip(shares.iter_mut()) {
            parts.write_above(above[*unit], &mut share.gradient);
            share.squares += squares(above[*unit]);
        }
        let raw: Vec<_> =
            shares.iter().map(|share| Raw { gradient: &share.gradient, squares: share.squares }).collect();
        outcome = (next..numbers[0]).try_for_each(|unit| take(unit, &[Raw::new(&zeros)]));
        if outcome.is_ok() {
            outcome = take(numbers[0], &raw);
        }
        next = numbers[0] + numbers.len();
    });
    outcome?;
    (next..units.len()).try_for_each(|unit| take(unit, &[Raw::new(&zeros)]))
}

/// Gradients that are handed on together where they come from the tensor library.
const TOGETHER: usize = 4;

/// Where the parts of a unit's gradient stand, in layout order of the federated parameters.
struct Parts {
    /// Of each parameter of the encoder, by number in the layout.
    below: Vec<Option<Range<usize>>>,
    /// Of those that are copied, in layout order.
    above: Vec<Range<usize>>,
}

impl Parts {
    fn new(model: &Model, copied: impl Fn(&ParameterEntry) -> bool) -> Self {
        let (mut at, mut below, mut above) = (0, Vec::new(), Vec::new());
        for entry in &model.layout().entries {
            let part = at..at + if entry.federated { entry.len() } else { 0 };
            at = part.end;
            below.push((entry.federated && !copied(entry)).then(|| part.clone()));
            if copied(entry) {
                above.push(part);
            }
        }
        Self { below, above }
    }

    /// Copies the parts of the copied parameters, one behind the other in `from`, to their places.
    fn write_above(&self, mut from: &[f32], gradient: &mut [f32]) {
        for part in &self.above {
            let (values, rest) = from.split_at(part.len());
            gradient[part.clone()].copy_from_slice(values);
            from = rest;
        }
    }
}

/// Gradients of all copies, those of each unit together in layout order.
fn split(
    model: &Model,
    units: usize,
    weights: &Weights,
    gradients: &Gradients,
    copied: impl Fn(&ParameterEntry) -> bool,
) -> Result<Vec<f32>, DeviceFailure> {
    let parts = model.layout().entries.iter().filter(|e| copied(e)).map(|entry| {
        match weights.get(&entry.name).grad(gradients) {
            Some(copies) => copies.reshape([units, entry.len()]),
            None => Tensor::zeros([units, entry.len()], &model::device()),
        }
    });
    // One read for all: each waits for the device.
    passes::read(Tensor::<2>::cat(parts.collect(), 1))
}

fn unit_of(units: &[Vec<Window>], mut index: usize) -> usize {
    for (unit, windows) in units.iter().enumerate() {
        if index < windows.len() {
            return unit;
        }
        index -= windows.len();
    }
    units.len()
}

fn federated_name(model: &Model, mut at: usize) -> String {
    for entry in model.layout().entries.iter().filter(|e| e.federated) {
        if at < entry.len() {
            return entry.name.clone();
        }
        at -= entry.len();
    }
    String::from("?")
}

#[cfg(test)]
#[path = "per_example_tests.rs"]
mod tests;
