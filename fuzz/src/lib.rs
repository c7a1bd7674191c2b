//! What the targets share: a bound on what reading may allocate, and seeds from real encodings.
//!
//! A target states what must hold for *every* input: what is refused is refused without a panic and without much memory,
//! what is accepted is written back as it was read. `README.md` lists the targets and their claims.

pub mod federation;
pub mod rounds;

use std::{alloc::System, env, fs, path::Path};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What reading may allocate whatever the input's length, in bytes.
const ALLOCATED_ANYWAY: usize = 64 << 10;

/// Runs `read`, which looks at `length` bytes of input.
///
/// # Panics
/// Where it allocated more than `factor` times the input and 64 KiB, all allocations added up, freed ones too.
pub fn bounded<T>(length: usize, factor: usize, read: impl FnOnce() -> T) -> T {
    let region = Region::new(ALLOCATOR);
    let result = read();
    let change = region.change();
    let allocated = change.bytes_allocated + usize::try_from(change.bytes_reallocated).unwrap_or(0);
    let allowed = ALLOCATED_ANYWAY + factor * length;
    assert!(allocated <= allowed, "{allocated} bytes were allocated to read {length}; {allowed} are allowed");
    result
}

/// Writes the seeds of `target` where `FORECASTLE_FUZZ_SEEDS` names a folder, and does nothing elsewhere.
///
/// # Panics
/// Where the folder cannot be written.
pub fn seeds<B: AsRef<[u8]>>(target: &str, encodings: impl FnOnce() -> Vec<B>) {
    let Some(folder) = env::var_os("FORECASTLE_FUZZ_SEEDS") else { return };
    let folder = Path::new(&folder).join(target);
    fs::create_dir_all(&folder).expect("the folder for seeds can be made");
    for (index, encoding) in encodings().into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{index:02}")), encoding).expect("the folder for seeds can be written");
    }
}

/// A stored log of a federation, one entry a line, and one entry of each kind that is not in it.
pub const LOG: &str = include_str!("../../crypto/tests/golden/log.jsonl");
/// See [`LOG`].
pub const OTHER_ENTRIES: &str = include_str!("../../crypto/tests/golden/others.jsonl");
