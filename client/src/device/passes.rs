//! Work cut into passes that a device can hold, smaller ones where its memory does not suffice.
//!
//! A pass that fails on a GPU leaves nothing behind: what it computed is dropped, and the same items are computed again
//! in passes of half the size, down to one item. Other programs may hold most of the memory, and how much a pass needs
//! depends on the model, so it is found out by trying. All later passes of this program stay as small. The result is the
//! same up to the rounding of other kernels: every item's part is computed from that item alone, and added in order.
//!
//! A GPU's failure shows when values are read, as an error or a panic of the tensor library. Which failures were for want
//! of memory it does not say reliably (a trial of kernels that found none that fits looks like any other bug), so every
//! one is answered by a smaller pass, until the device is lost or a single item fails.
//!
//! Left out on purpose: passes that grow again; the processor, whose failures are bugs and end the program.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering},
};

use burn::tensor::{Tensor, TensorReadError};

use super::{Place, place, threads};

/// How much work one pass carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Passes {
    /// Privacy units of one backward pass, of one window each where passes are not filled up; bounds memory.
    pub units: usize,
    /// Windows of one forward pass without gradients.
    pub rows: usize,
    /// Windows of one backward pass of plain training.
    pub batch: usize,
    /// Whether passes are filled up with windows of weight 0, so that there are few shapes.
    ///
    /// A GPU's kernels are compiled and chosen by shape. With Poisson sampling nearly every step would have its own,
    /// and one series more or less could change the kernel, and so the last bits, of every other series' gradient.
    pub filled: bool,
}

/// What a pass is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Privacy units of up to so many windows, each with a gradient of its own.
    Units(usize),
    /// Windows without gradients.
    Rows,
    /// Windows of one plain gradient.
    Batch,
}

/// Why a device could not compute.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceFailure {
    /// A pass failed; a smaller one may not.
    #[error(
        "{place} failed at the smallest piece of work there is, so choose another device (`--device cpu`): {reason}"
    )]
    Pass {
        /// The device.
        place: Place,
        /// The tensor library's word.
        reason: String,
    },
    /// The device takes no more work from this program.
    #[error(
        "{place} is lost to this program; start it again, on another device (`--device cpu`) if that recurs: {reason}"
    )]
    Lost {
        /// The device.
        place: Place,
        /// The tensor library's word.
        reason: String,
    },
}

/// An error that may have come from a device.
pub trait DeviceCause: From<DeviceFailure> {
    /// The device's failure, if that is what it is.
    fn device_failure(&self) -> Option<&DeviceFailure>;
}

/// Fewest windows of a filled forward pass.
const ROWS_MIN: usize = 64;
/// Devices whose memory is told apart; further ones share the last entry.
const PLACES: usize = 16;

/// How often each GPU's passes were halved.
static HALVINGS: [AtomicU32; PLACES] = [const { AtomicU32::new(0) }; PLACES];

impl Place {
    /// How much work one pass carries here.
    ///
    /// The processor's passes keep what they work on in its caches. A GPU needs many windows at once to be busy at all.
    pub fn passes(self) -> Passes {
        let Some(halvings) = self.halvings() else { return Passes::CPU };
        Passes::GPU.halved(halvings.load(Ordering::Relaxed))
    }

    fn halvings(self) -> Option<&'static AtomicU32> {
        self.cuda.map(|index| &HALVINGS[index.min(PLACES - 1)])
    }

    /// Makes passes smaller than the one of `count` items that failed; false where none is smaller.
    fn shrink(self, work: Work, count: usize) -> bool {
        let Some(halvings) = self.halvings() else { return false };
        let now = halvings.load(Ordering::Relaxed);
        let failed = work.computed(Passes::GPU.halved(now), count);
        let fits = |h: &u32| work.most(Passes::GPU.halved(*h)) < failed;
        let Some(next) = (now + 1..usize::BITS).find(fits) else { return false };
        // Another thread may have found out the same meanwhile.
        halvings.fetch_max(next, Ordering::Relaxed);
        true
    }
}

impl Passes {
    pub(crate) const CPU: Self = Self { units: 32, rows: 256, batch: 32, filled: false };
    const GPU: Self = Self { units: 512, rows: 2048, batch: 4096, filled: true };

    fn halved(self, times: u32) -> Self {
        let less = |n: usize| (n >> times).max(1);
        Self { units: less(self.units), rows: less(self.rows), batch: less(self.batch), ..self }
    }

    /// Privacy units that a backward pass over `count` of them computes.
    pub fn units_for(self, count: usize) -> usize {
        if self.filled { self.units.max(count) } else { count }
    }

    /// Windows that a forward pass over `count` of them computes.
    pub fn rows_for(self, count: usize) -> usize {
        if self.filled { count.next_power_of_two().max(ROWS_MIN.min(self.rows)) } else { count }
    }
}

impl Work {
    /// Most items of a pass.
    fn most(self, passes: Passes) -> usize {
        match self {
            Self::Units(windows) if !passes.filled => (passes.units / windows.max(1)).max(1),
            Self::Units(_) => passes.units,
            Self::Rows => passes.rows,
            Self::Batch => passes.batch,
        }
    }

    /// Items that a pass over `count` of them computes, filled ones included.
    fn computed(self, passes: Passes, count: usize) -> usize {
        match self {
            Self::Units(_) => passes.units_for(count),
            Self::Rows => passes.rows_for(count),
            Self::Batch => count,
        }
    }
}

impl DeviceFailure {
    fn of(place: Place, error: &TensorReadError) -> Self {
        let reason = sentence(&error.to_string());
        match error {
            TensorReadError::Execution(e) if e.is_device_poisoned() => Self::Lost { place, reason },
            _ => Self::Pass { place, reason },
        }
    }

    fn of_panic(place: Place, payload: &(dyn std::any::Any + Send)) -> Self {
        let word =
            payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self::Pass { place, reason: sentence(word.unwrap_or("the tensor library panicked without a word")) }
    }
}

/// Does `pass` over `0..count` here, in pieces of at most what a pass carries, and hands each result to `take`, in order.
/// The processor does several pieces at a time. A piece that a GPU failed at is done again in smaller ones; `take` never
/// sees it.
///
/// # Errors
/// The first error of `take`, or of `pass` where no smaller pass can help.
pub fn in_passes<T: Send, E: DeviceCause + Send>(
    work: Work,
    count: usize,
    pass: impl Fn(Range<usize>) -> Result<T, E> + Sync,
    mut take: impl FnMut(Range<usize>, T) -> Result<(), E>,
) -> Result<(), E> {
    let place = place();
    if place.is_cpu() {
        let most = work.most(place.passes());
        let pieces: Vec<Range<usize>> =
            (0..count.div_ceil(most)).map(|i| i * most..count.min((i + 1).saturating_mul(most))).collect();
        return threads::in_order(place, &pieces, &pass, take);
    }
    let mut first = 0;
    while first < count {
        let piece = first..count.min(first.saturating_add(work.most(place.passes())));
        match attempt(place, piece.clone(), &pass) {
            Ok(done) => {
                first = piece.end;
                take(piece, done)?;
            }
            Err(error) => match error.device_failure() {
                Some(DeviceFailure::Pass { reason, .. }) if place.shrink(work, piece.len()) => {
                    let most = work.most(place.passes());
                    tracing::warn!(%place, most, reason, "a pass failed; from now on they are smaller");
                    place.device().memory_cleanup();
                }
                _ => return Err(error),
            },
        }
    }
    Ok(())
}

/// One pass of a GPU; its panic becomes an error.
fn attempt<T, E: DeviceCause>(
    place: Place,
    piece: Range<usize>,
    pass: &impl Fn(Range<usize>) -> Result<T, E>,
) -> Result<T, E> {
    #[cfg(test)]
    if tests::too_large(piece.len()) {
        return Err(DeviceFailure::Pass { place, reason: "no memory left".into() }.into());
    }
    // A pass reads what it is given and returns what it made; the callers keep no half-made state of it.
    catch_unwind(AssertUnwindSafe(|| pass(piece)))
        .unwrap_or_else(|payload| Err(DeviceFailure::of_panic(place, payload.as_ref()).into()))
}

/// A tensor's values on the host.
///
/// # Errors
/// [`DeviceFailure`] where the device could not compute them.
///
/// # Panics
/// On the processor, which has no such failures.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, DeviceFailure> {
    let place = place();
    match tensor.try_into_vec_as() {
        Ok(values) => Ok(values),
        Err(error) if place.is_cpu() => panic!("tensors of the processor hold f32: {error}"),
        Err(error) => Err(DeviceFailure::of(place, &error)),
    }
}

/// The line of a long report that says most, cut to a readable length.
fn sentence(report: &str) -> String {
    const LONGEST: usize = 200;
    let mut lines = report.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.clone().next().unwrap_or_default();
    let line = lines.find(|line| line.contains("memory")).unwrap_or(first);
    line.chars().take(LONGEST).collect()
}

#[cfg(test)]
#[path = "passes_tests.rs"]
pub(crate) mod tests;
