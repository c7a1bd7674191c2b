//! Where an aggregator puts what does not fit into memory: encrypted shares, masked updates on their way, answers.
//!
//! They grow with the cohort, so a round of thousands would need gigabytes. The aggregator itself does no input or
//! output; whoever drives it hands it [`Spools`], which the server keeps in files without a name and tests in memory.
//! The invariant: what was written at an offset is read back from it, or an error is told; nothing has to survive the
//! process, since a round does not either.

/// Temporary storage gave out, for instance because a disk is full.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("temporary storage of the round failed: {0}")]
pub struct SpoolError(pub String);

/// A growing run of bytes.
pub trait Spool: Send {
    /// Writes `bytes` from `offset` on; a gap before it reads as zeros.
    ///
    /// # Errors
    /// [`SpoolError`].
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError>;

    /// Fills `bytes` from `offset` on.
    ///
    /// # Errors
    /// [`SpoolError`], also where nothing was written yet.
    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), SpoolError>;
}

/// Opens spools.
pub trait Spools: Send + Sync {
    /// An empty spool, gone when it is dropped.
    ///
    /// # Errors
    /// [`SpoolError`].
    fn open(&self) -> Result<Box<dyn Spool>, SpoolError>;
}

/// Spools in memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemorySpools;

impl Spools for MemorySpools {
    fn open(&self) -> Result<Box<dyn Spool>, SpoolError> {
        Ok(Box::new(MemorySpool(Vec::new())))
    }
}

struct MemorySpool(Vec<u8>);

impl MemorySpool {
    fn range(offset: u64, length: usize) -> Result<std::ops::Range<usize>, SpoolError> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        range.ok_or_else(|| SpoolError(format!("offset {offset} is beyond this machine's memory")))
    }
}

impl Spool for MemorySpool {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        let range = Self::range(offset, bytes.len())?;
        if self.0.len() < range.end {
            self.0.resize(range.end, 0);
        }
        self.0[range].copy_from_slice(bytes);
        Ok(())
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), SpoolError> {
        let range = Self::range(offset, bytes.len())?;
        let held = self.0.len();
        let found = self.0.get(range).ok_or_else(|| SpoolError(format!("offset {offset} of {held} bytes")))?;
        bytes.copy_from_slice(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_nothing_else() {
        let mut spool = MemorySpools.open().expect("memory");
        spool.write_at(3, b"abc").expect("memory");
        let mut found = [9; 6];
        spool.read_at(0, &mut found).expect("written, or a gap");
        assert_eq!(&found, b"\0\0\0abc");
        assert!(spool.read_at(1, &mut [0; 6]).is_err());
        assert!(spool.read_at(u64::MAX, &mut [0; 1]).is_err());
        assert!(spool.write_at(u64::MAX, b"x").is_err());
    }
}
