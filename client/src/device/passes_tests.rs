use std::cell::Cell;
#[cfg(not(feature = "cuda"))]
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::*;

thread_local! {
    /// Most items of a pass that this thread's pretended device has memory for.
    static ROOM: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Whether the pretended device is too small for a pass; asked by every pass.
pub(super) fn too_large(items: usize) -> bool {
    items > ROOM.get()
}

/// Does `work` on a pretended GPU that has memory for `items` of a pass. Each test takes an index of its own, since what
/// a device was found to hold stays known.
#[cfg(not(feature = "cuda"))]
pub(crate) fn on_small_gpu<T>(index: usize, items: usize, work: impl FnOnce() -> T) -> T {
    ROOM.set(items);
    let done = super::super::on(gpu(index), work);
    ROOM.set(usize::MAX);
    done
}

/// A tensor's values, where the device is known to work.
pub(crate) fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    read(tensor).unwrap()
}

fn gpu(index: usize) -> Place {
    Place { cuda: Some(index) }
}

#[derive(Debug, PartialEq)]
enum Fault {
    #[cfg_attr(feature = "cuda", expect(dead_code, reason = "a pretended GPU needs a build without real ones"))]
    Item(usize),
    Device(DeviceFailure),
}

impl From<DeviceFailure> for Fault {
    fn from(failure: DeviceFailure) -> Self {
        Self::Device(failure)
    }
}

impl DeviceCause for Fault {
    fn device_failure(&self) -> Option<&DeviceFailure> {
        match self {
            Self::Item(_) => None,
            Self::Device(failure) => Some(failure),
        }
    }
}

/// All items of all passes, in the order in which they were taken, and the largest pass.
#[cfg(not(feature = "cuda"))]
fn taken(
    work: Work,
    count: usize,
    pass: impl Fn(Range<usize>) -> Result<(), Fault> + Sync,
) -> Result<(Vec<usize>, usize), Fault> {
    let (mut all, mut largest) = (Vec::new(), 0);
    in_passes(
        work,
        count,
        |piece| pass(piece.clone()).map(|()| piece.collect::<Vec<usize>>()),
        |piece, items| {
            assert_eq!(items.len(), piece.len());
            largest = largest.max(piece.len());
            all.extend(items);
            Ok(())
        },
    )?;
    Ok((all, largest))
}

#[test]
fn passes_on_the_processor_are_never_filled() {
    let passes = Place::CPU.passes();
    assert_eq!([passes.units_for(5), passes.rows_for(5)], [5, 5]);
}

#[test]
fn units_of_many_windows_make_passes_of_few_units_on_the_processor() {
    let most = |windows| Work::Units(windows).most(Place::CPU.passes());
    assert_eq!([0, 1, 4, 31, 33, 1000].map(most), [32, 32, 8, 1, 1, 1]);
    assert_eq!(Work::Units(4).most(Passes::GPU), Passes::GPU.units);
}

#[test]
fn passes_on_a_gpu_have_few_shapes() {
    let passes = gpu(0).passes();
    for count in 1..=passes.units {
        assert_eq!(passes.units_for(count), passes.units);
    }
    let mut rows: Vec<usize> = (1..=passes.rows).map(|count| passes.rows_for(count)).collect();
    assert!(rows.iter().enumerate().all(|(i, &rows)| rows > i && rows <= passes.rows));
    rows.dedup();
    assert!(rows.len() <= 6, "{rows:?}");
}

#[test]
fn halved_passes_end_at_one_item_and_are_never_filled_beyond_their_size() {
    for times in 0..usize::BITS {
        let passes = Passes::GPU.halved(times);
        assert!(passes.units >= 1 && passes.rows >= 1 && passes.batch >= 1);
        assert!((1..=passes.rows).all(|count| (count..=passes.rows).contains(&passes.rows_for(count))), "{passes:?}");
    }
    assert_eq!(Passes::GPU.halved(12), Passes { units: 1, rows: 1, batch: 1, filled: true });
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_pass_that_does_not_fit_is_done_in_smaller_ones_and_every_item_once() {
    for (index, work, count) in [(1, Work::Units(1), 1300), (2, Work::Rows, 5000), (3, Work::Batch, 900)] {
        let (all, largest) = on_small_gpu(index, 100, || taken(work, count, |_| Ok(()))).unwrap();
        assert_eq!(all, (0..count).collect::<Vec<_>>(), "{work:?}");
        assert!((51..=100).contains(&largest), "{work:?}: {largest}");
        // What was found out stays known: nothing fails any more.
        let again = super::super::on(gpu(index), || {
            taken(work, count, |piece| if piece.len() > 100 { Err(Fault::Item(0)) } else { Ok(()) })
        });
        assert_eq!(again.unwrap().0.len(), count);
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_panic_of_the_tensor_library_is_a_failed_pass() {
    let pass = |piece: Range<usize>| {
        assert!(piece.len() <= 8, "out of device memory allocating {} bytes", piece.len());
        Ok(())
    };
    let (all, largest) = super::super::on(gpu(4), || taken(Work::Units(1), 20, pass)).unwrap();
    assert_eq!((all.len(), largest), (20, 8));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn one_item_that_does_not_fit_is_an_error_that_says_what_to_do() {
    let error = on_small_gpu(5, 0, || taken(Work::Rows, 3, |_| Ok(()))).unwrap_err();
    let Fault::Device(failure @ DeviceFailure::Pass { .. }) = error else { panic!("{error:?}") };
    let words = failure.to_string();
    assert!(words.contains("--device cpu") && words.contains("cuda:5"), "{words}");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_lost_device_and_a_fault_of_the_data_are_not_tried_again() {
    let tries = AtomicUsize::new(0);
    let lost = DeviceFailure::Lost { place: gpu(6), reason: "a kernel trapped".into() };
    for fault in [|lost: &DeviceFailure| Fault::Device(lost.clone()), |_: &DeviceFailure| Fault::Item(7)] {
        tries.store(0, Relaxed);
        let result = super::super::on(gpu(6), || {
            taken(Work::Units(1), 600, |_| {
                tries.fetch_add(1, Relaxed);
                Err(fault(&lost))
            })
        });
        assert_eq!(result.unwrap_err(), fault(&lost));
        assert_eq!(tries.load(Relaxed), 1);
    }
    assert_eq!(gpu(6).passes(), Passes::GPU);
}

#[test]
fn the_processor_hands_passes_on_in_order_and_stops_at_the_first_error() {
    let pass = |piece: Range<usize>| {
        // Later passes are done sooner.
        std::thread::sleep(std::time::Duration::from_millis(20 - 4 * (piece.start as u64 / 256)));
        if piece.start == 1024 { Err(Fault::Device(lost())) } else { Ok(piece.len()) }
    };
    let mut taken = Vec::new();
    let mut take = |piece: Range<usize>, len: usize| {
        taken.push((piece.start, len));
        Ok(())
    };
    in_passes(Work::Rows, 1000, pass, &mut take).unwrap();
    assert!(in_passes(Work::Rows, 1300, pass, &mut take).is_err());
    let starts = [(0, 256), (256, 256), (512, 256)];
    assert_eq!(taken, [&starts[..], &[(768, 232)], &starts[..], &[(768, 256)]].concat());
}

fn lost() -> DeviceFailure {
    DeviceFailure::Lost { place: Place::CPU, reason: "gone".into() }
}

#[test]
fn a_panic_on_the_processor_is_a_bug_and_stays_one() {
    let panicked =
        catch_unwind(|| in_passes(Work::Units(1), 5, |_| -> Result<(), Fault> { panic!("a bug") }, |_, ()| Ok(())));
    assert!(panicked.is_err());
}

#[test]
fn of_a_long_report_the_line_about_memory_is_shown() {
    let report =
        "An error happened during execution\nCaused by:\n  out of device memory allocating 64 bytes\n  at x.rs";
    assert_eq!(sentence(report), "out of device memory allocating 64 bytes");
    assert_eq!(sentence("\n one line \n two"), "one line");
    assert_eq!(sentence(&"x".repeat(900)).len(), 200);
}
