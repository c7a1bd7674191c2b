//! Windows as tensors.
//!
//! Scaling happens here, on the host, window by window: `scale = mean |y| over the observed context + 1`, without a value
//! that is out of all proportion. Nothing is computed across windows. A batch is `units × rows` windows; rows that a unit
//! lacks are padded with empty windows of weight 0, so that its gradient is the mean over the windows it has.

use burn::tensor::{Device, Tensor, TensorData};

use super::config::ModelConfig;
use super::further::{FurtherHost, FurtherInputs};
use super::returns::{Returned, ReturnedHost};
use crate::data::calendar::{YEAR_COS, YEAR_SIN};
use crate::data::finite::NotFinite;
use crate::data::scale::{out_of_proportion, scale};
use crate::data::series::{Further, KNOWN_CHANNELS};
use crate::data::window::{ATTRIBUTE_BUCKETS, TEXT_BUCKETS, Window};
use crate::device::{DeviceFailure, passes::DeviceCause};

/// Why windows do not make a batch.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BatchError {
    /// A window whose extent is not the model's.
    #[error("window {index}: {part} has {found} entries, the model reads {expected}")]
    Extent {
        /// Which window.
        index: usize,
        /// Which part of it.
        part: &'static str,
        /// Its length.
        found: usize,
        /// The length needed.
        expected: usize,
    },
    /// An input that is not a finite number.
    #[error("window {index}: {part} holds an infinite or undefined number")]
    NotFinite {
        /// Which window.
        index: usize,
        /// Which part of it.
        part: &'static str,
    },
}

/// Why a model computed nothing from windows.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ForwardError {
    /// A window that does not fit.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A series with a number that is none.
    #[error(transparent)]
    Series(#[from] NotFinite),
    /// The device.
    #[error(transparent)]
    Device(#[from] DeviceFailure),
}

impl DeviceCause for ForwardError {
    fn device_failure(&self) -> Option<&DeviceFailure> {
        match self {
            Self::Batch(_) | Self::Series(_) => None,
            Self::Device(failure) => Some(failure),
        }
    }
}

impl BatchError {
    /// The same error for a window counted from `first`.
    pub(crate) fn shifted(self, first: usize) -> Self {
        match self {
            Self::Extent { index, part, found, expected } => {
                Self::Extent { index: first + index, part, found, expected }
            }
            Self::NotFinite { index, part } => Self::NotFinite { index: first + index, part },
        }
    }
}

/// Windows of `units` privacy units, `rows` each, ready for [`super::forward`].
#[derive(Clone)]
pub struct Batch {
    pub(super) units: usize,
    pub(super) rows: usize,
    /// Past target over scale, 0 where missing: `[unit, row, context]`.
    pub(super) past: Tensor<3>,
    /// 1 where the past is observed: `[unit, row, context]`.
    pub(super) observed: Tensor<3>,
    /// Known channels of the past: `[unit, row × context, KNOWN_CHANNELS]`.
    pub(super) known_past: Tensor<3>,
    /// Known channels of the future: `[unit, row × horizon, KNOWN_CHANNELS]`.
    pub(super) known_future: Tensor<3>,
    /// `[unit, row, ATTRIBUTE_BUCKETS]`.
    pub(super) attributes: Tensor<3>,
    /// `[unit, row, TEXT_BUCKETS]`.
    pub(super) text: Tensor<3>,
    /// Future target over scale, 0 where missing: `[unit, row, horizon]`.
    pub(super) target: Tensor<3>,
    /// Weight of each target cell: 1 over the window's observed cells, 0 where missing: `[unit, row, horizon]`.
    pub(super) cell_weight: Tensor<3>,
    /// Weight of each window within its unit: `[unit, row]`.
    pub(super) row_weight: Tensor<2>,
    /// Whether all that was observed of a window are counts, 1 or 0 `[unit, row]`.
    counted: Tensor<2>,
    /// What else the model reads; `None` where it reads nothing else.
    pub(super) further: Option<FurtherInputs>,
    /// What was sold and came back; `None` for models without a head for it.
    pub(super) returned: Option<Returned>,
    scales: Vec<f32>,
}

impl Batch {
    /// A batch of plain windows: one shared unit whose loss is the mean over the windows.
    ///
    /// # Errors
    /// [`BatchError`] names the window that does not fit the model.
    pub fn plain<'a>(
        config: &ModelConfig,
        windows: impl IntoIterator<Item = &'a Window>,
        device: &Device,
    ) -> Result<Self, BatchError> {
        let windows: Vec<&Window> = windows.into_iter().collect();
        let rows = windows.len();
        Self::of_units(config, &[windows], rows, device)
    }

    /// As [`Self::plain`], filled up with empty windows of weight 0 to as many rows as a pass without gradients has here.
    ///
    /// What is computed for the empty windows comes last, and is to be ignored.
    ///
    /// # Errors
    /// [`BatchError`] names the window that does not fit the model.
    pub(crate) fn pass<'a>(
        config: &ModelConfig,
        windows: impl IntoIterator<Item = &'a Window>,
        device: &Device,
    ) -> Result<Self, BatchError> {
        let windows: Vec<&Window> = windows.into_iter().collect();
        let rows = crate::device::place().passes().rows_for(windows.len());
        Self::of_units(config, &[windows], rows, device)
    }

    /// A batch of privacy units, each of at most `rows` windows.
    ///
    /// # Errors
    /// [`BatchError`] names the window (counted over all units) that does not fit the model.
    ///
    /// # Panics
    /// When a unit has more than `rows` windows.
    pub fn of_units(
        config: &ModelConfig,
        units: &[Vec<&Window>],
        rows: usize,
        device: &Device,
    ) -> Result<Self, BatchError> {
        let (context, horizon, count) = (config.context, config.horizon, units.len() * rows);
        let mut host = Host::with_capacity(count, context, horizon);
        let mut index = 0;
        for unit in units {
            assert!(unit.len() <= rows, "a unit has at most as many windows as the batch has rows");
            for window in unit {
                host.push(config, window, index, 1.0 / unit.len() as f32)?;
                index += 1;
            }
            for _ in unit.len()..rows {
                host.push_empty(config);
            }
        }
        let u = units.len();
        let tensor =
            |values: Vec<f32>, shape: [usize; 3]| Tensor::<3>::from_data(TensorData::new(values, shape), device);
        Ok(Self {
            units: u,
            rows,
            past: tensor(host.past, [u, rows, context]),
            observed: tensor(host.observed, [u, rows, context]),
            known_past: tensor(host.known_past, [u, rows * context, KNOWN_CHANNELS]),
            known_future: tensor(host.known_future, [u, rows * horizon, KNOWN_CHANNELS]),
            attributes: tensor(host.attributes, [u, rows, ATTRIBUTE_BUCKETS]),
            text: tensor(host.text, [u, rows, TEXT_BUCKETS]),
            target: tensor(host.target, [u, rows, horizon]),
            cell_weight: tensor(host.cell_weight, [u, rows, horizon]),
            row_weight: Tensor::from_data(TensorData::new(host.row_weight, [u, rows]), device),
            counted: Tensor::from_data(TensorData::new(host.counted, [u, rows]), device),
            further: host.further.finish(config, u, rows, device),
            returned: host.returned.finish(config, u, rows, device),
            scales: host.scales,
        })
    }

    /// Scale of each window, in the order given (padding included).
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// Scales as a tensor `[unit, row, 1]`.
    pub(super) fn count_scale(&self) -> Tensor<3> {
        let shape = [self.units, self.rows, 1];
        Tensor::from_data(TensorData::new(self.scales.clone(), shape), &self.past.device().inner())
    }

    /// Whether all that was observed of each window are counts, 1 or 0 `[unit, row]`.
    pub(super) fn counted(&self) -> Tensor<2> {
        self.counted.clone()
    }

    /// Future target in the units of the series, 0 where missing or no count: `[unit, row, horizon]`.
    pub(super) fn counts(&self) -> Tensor<3> {
        let counted = self.counted.clone().reshape([self.units, self.rows, 1]);
        (self.target.clone() * self.count_scale()).round() * counted
    }
}

/// The batch while it is being filled.
struct Host {
    past: Vec<f32>,
    observed: Vec<f32>,
    known_past: Vec<f32>,
    known_future: Vec<f32>,
    attributes: Vec<f32>,
    text: Vec<f32>,
    target: Vec<f32>,
    cell_weight: Vec<f32>,
    row_weight: Vec<f32>,
    counted: Vec<f32>,
    scales: Vec<f32>,
    further: FurtherHost,
    returned: ReturnedHost,
}

impl Host {
    fn with_capacity(count: usize, context: usize, horizon: usize) -> Self {
        Self {
            past: Vec::with_capacity(count * context),
            observed: Vec::with_capacity(count * context),
            known_past: Vec::with_capacity(count * context * KNOWN_CHANNELS),
            known_future: Vec::with_capacity(count * horizon * KNOWN_CHANNELS),
            attributes: Vec::with_capacity(count * ATTRIBUTE_BUCKETS),
            text: Vec::with_capacity(count * TEXT_BUCKETS),
            target: Vec::with_capacity(count * horizon),
            cell_weight: Vec::with_capacity(count * horizon),
            row_weight: Vec::with_capacity(count),
            counted: Vec::with_capacity(count),
            scales: Vec::with_capacity(count),
            further: FurtherHost::default(),
            returned: ReturnedHost::default(),
        }
    }

    fn push(&mut self, config: &ModelConfig, window: &Window, index: usize, weight: f32) -> Result<(), BatchError> {
        check(config, window, index)?;
        let absurd = out_of_proportion(&window.past);
        let kept = |(step, y): (usize, &f32)| if absurd == Some(step) { f32::NAN } else { *y };
        let past: Vec<f32> = window.past.iter().enumerate().map(kept).collect();
        let scale = scale(&past);
        for y in past {
            self.past.push(if y.is_nan() { 0.0 } else { y / scale });
            self.observed.push(if y.is_nan() { 0.0 } else { 1.0 });
        }
        let (past, future) = window.known.split_at(config.context);
        let read = |mut channels: [f32; KNOWN_CHANNELS]| {
            if !config.year_waves {
                (channels[YEAR_SIN], channels[YEAR_COS]) = (0.0, 0.0);
            }
            channels
        };
        self.known_past.extend(past.iter().copied().flat_map(read));
        self.known_future.extend(future.iter().copied().flat_map(read));
        self.attributes.extend(&window.statics.attributes);
        self.text.extend(&window.statics.text);
        let cells = window.future.iter().filter(|y| !y.is_nan()).count().max(1) as f32;
        for &y in &window.future {
            self.target.push(if y.is_nan() { 0.0 } else { y / scale });
            self.cell_weight.push(if y.is_nan() { 0.0 } else { 1.0 / cells });
        }
        self.row_weight.push(weight);
        self.counted.push(if window.holds_counts() { 1.0 } else { 0.0 });
        self.scales.push(scale);
        if !config.inputs().is_empty() {
            self.further.push(config, window, scale);
        }
        if config.returns {
            self.returned.push(config, window);
        }
        Ok(())
    }

    fn push_empty(&mut self, config: &ModelConfig) {
        let (context, horizon) = (config.context, config.horizon);
        let empty = (!config.inputs().is_empty()).then(|| Window::empty(config.shape()));
        if let Some(empty) = &empty {
            self.further.push(config, empty, 1.0);
        }
        if let Some(empty) = empty.filter(|_| config.returns) {
            self.returned.push(config, &empty);
        }
        let zeros = |values: &mut Vec<f32>, n: usize| values.extend(std::iter::repeat_n(0.0, n));
        zeros(&mut self.past, context);
        zeros(&mut self.observed, context);
        zeros(&mut self.known_past, context * KNOWN_CHANNELS);
        zeros(&mut self.known_future, horizon * KNOWN_CHANNELS);
        zeros(&mut self.attributes, ATTRIBUTE_BUCKETS);
        zeros(&mut self.text, TEXT_BUCKETS);
        zeros(&mut self.target, horizon);
        zeros(&mut self.cell_weight, horizon);
        self.row_weight.push(0.0);
        self.counted.push(0.0);
        self.scales.push(1.0);
    }
}

/// Whether no number is infinite, and none undefined where that has no meaning.
fn is_fine(further: &Further) -> bool {
    let past = further.past.iter().flatten().chain(further.returns.iter().flatten()).all(|x| !x.is_infinite());
    past && further.known.iter().flatten().chain(&further.vector).all(|x| x.is_finite())
}

fn check(config: &ModelConfig, window: &Window, index: usize) -> Result<(), BatchError> {
    for (part, found, expected) in [
        ("the past", window.past.len(), config.context),
        ("the known channels", window.known.len(), config.context + config.horizon),
        ("the future", window.future.len(), config.horizon),
        ("the attribute vector", window.statics.attributes.len(), ATTRIBUTE_BUCKETS),
        ("the text vector", window.statics.text.len(), TEXT_BUCKETS),
    ] {
        if found != expected {
            return Err(BatchError::Extent { index, part, found, expected });
        }
    }
    for (part, fine) in [
        ("the past", window.past.iter().all(|y| !y.is_infinite())),
        ("the future", window.future.iter().all(|y| !y.is_infinite())),
        ("the known channels", window.known.iter().flatten().all(|x| x.is_finite())),
        ("the attribute vector", window.statics.attributes.iter().all(|x| x.is_finite())),
        ("the text vector", window.statics.text.iter().all(|x| x.is_finite())),
        ("the further inputs", window.further.as_deref().is_none_or(is_fine)),
    ] {
        if !fine {
            return Err(BatchError::NotFinite { index, part });
        }
    }
    Ok(())
}
