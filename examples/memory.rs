//! How much memory a program has taken, as Linux tells it.

use std::{error::Error, fs};

/// Most memory that this program has had, in megabytes of 1e6 bytes.
///
/// # Errors
/// Where the system keeps no `/proc/self/status`.
pub fn peak_memory_mb() -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM in /proc/self/status")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024.0 / 1e6)
}
