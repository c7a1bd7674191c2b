//! Exact clipped gradients of privacy units.
//!
//! Each unit is one series: its windows are averaged, and the gradient of that average is clipped once to norm C.
//! The federated parameters are copied once a unit along a leading axis, so that one backward pass of the sum of
//! the losses leaves each unit's own gradient in its own copy. The encoder leaves no tape where none of its
//! parameters is federated, as by default.
//!
//! Invariants: a unit's gradient depends on that unit and the model alone; each clipped gradient has Euclidean
//! norm at most C, computed in `f64`; a gradient that is not finite is refused, never clipped to something.
//!
//! Copies cost memory: units × federated parameters, twice. For the whole of a nano network that is some megabytes a
//! pass; book-keeping of layer inputs and output gradients (Bu et al. 2023) would do without, behind the same functions.

use std::ops::Range;

use burn::tensor::{Gradients, Tensor};
use forecastle_crypto::dp::clip;

use crate::data::window::Window;
use crate::device::{self, DeviceFailure, Work, in_passes, passes, passes::DeviceCause};
use crate::model::{self, Batch, BatchError, Model, Weights};

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
    let mut sum = vec![0.0; model.federated_len()];
    each_clipped(model, units, clip, |gradient| {
        add(&mut sum, &gradient?);
        Ok(())
    })?;
    Ok(sum)
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
    let mut sum = vec![0.0; model.federated_len()];
    each_clipped(model, units, clip, |gradient| {
        if let Ok(gradient) = gradient {
            add(&mut sum, &gradient);
        }
        Ok(())
    })?;
    Ok(sum)
}

fn add(sum: &mut [f64], gradient: &[f64]) {
    sum.iter_mut().zip(gradient).for_each(|(total, g)| *total += g);
}

/// Clipped gradient of each unit, `[unit][federated_len]`: for a simulation that sums several merchants at once.
///
/// # Errors
/// [`GradientError`] names the unit at fault.
pub fn clipped_gradients(model: &Model, units: &[Vec<Window>], clip: f64) -> Result<Vec<Vec<f64>>, GradientError> {
    let mut all = Vec::with_capacity(units.len());
    each_clipped(model, units, clip, |gradient| {
        all.push(gradient?);
        Ok(())
    })?;
    Ok(all)
}

/// Hands every unit's clipped gradient to `take`, in order, or why there is none; what that returns ends the work.
fn each_clipped(
    model: &Model,
    units: &[Vec<Window>],
    clip: f64,
    mut take: impl FnMut(Result<Vec<f64>, GradientError>) -> Result<(), GradientError>,
) -> Result<(), GradientError> {
    if !(clip.is_finite() && clip > 0.0) {
        return Err(GradientError::Clip(clip));
    }
    let rows = units.iter().map(Vec::len).max().unwrap_or(0);
    if rows == 0 {
        return units.iter().try_for_each(|_| take(Ok(vec![0.0; model.federated_len()])));
    }
    let backward = |piece: Range<usize>| raw_gradients(model, &units[piece.clone()], rows, piece.start);
    in_passes(Work::Units, units.len(), backward, |piece, gradients| {
        for (unit, mut gradient) in piece.zip(gradients) {
            let clipped = clip::to_norm(&mut gradient, clip)
                .map_err(|at| GradientError::NotFinite { unit, parameter: federated_name(model, at) });
            take(clipped.map(|()| gradient))?;
        }
        Ok(())
    })
}

/// Gradients of the units before clipping, in one backward pass.
///
/// The pass may be filled up with units without windows: their gradients are zero and left out of the result.
fn raw_gradients(
    model: &Model,
    units: &[Vec<Window>],
    rows: usize,
    first: usize,
) -> Result<Vec<Vec<f64>>, GradientError> {
    let (device, config) = (model::device(), model.config());
    let mut windows: Vec<Vec<&Window>> = units.iter().map(|u| u.iter().collect()).collect();
    windows.resize(device::place().passes().units_for(units.len()), Vec::new());
    let batch = Batch::of_units(config, &windows, rows, &device).map_err(|source| {
        let (BatchError::Extent { index, .. } | BatchError::NotFinite { index, .. }) = source;
        GradientError::Window { unit: first + unit_of(units, index), source }
    })?;
    let weights = Weights::trained(model, windows.len(), &device, |entry| entry.federated);
    let outputs = model::forecast_outputs(config, &weights, &batch);
    let gradients = model::training_loss(&batch, outputs).backward();
    let mut all = split(model, windows.len(), &weights, &gradients)?;
    all.truncate(units.len());
    Ok(all)
}

/// Gradients of all copies, one vector a unit in layout order.
fn split(
    model: &Model,
    units: usize,
    weights: &Weights,
    gradients: &Gradients,
) -> Result<Vec<Vec<f64>>, DeviceFailure> {
    let parts = model.layout().entries.iter().filter(|e| e.federated).map(|entry| {
        match weights.get(&entry.name).grad(gradients) {
            Some(copies) => copies.reshape([units, entry.len()]),
            None => Tensor::zeros([units, entry.len()], &model::device()),
        }
    });
    // One read for all: each waits for the device.
    let values = passes::read(Tensor::<2>::cat(parts.collect(), 1))?;
    let units = values.chunks_exact(model.federated_len());
    Ok(units.map(|unit| unit.iter().map(|&g| f64::from(g)).collect()).collect())
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
