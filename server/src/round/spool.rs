//! Temporary files of a round, in the state directory and without a name: gone with the process, whatever ends it.
//!
//! Nothing in them has to be durable, since a round that is cut off is abandoned. What they hold is encrypted for
//! merchants, or masked, or part of what the round opens anyway.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::PathBuf,
};

use forecastle_crypto::secagg::{Spool, SpoolError, Spools};

/// Opens spools in one directory.
pub(crate) struct FileSpools(pub(crate) PathBuf);

impl Spools for FileSpools {
    fn open(&self) -> Result<Box<dyn Spool>, SpoolError> {
        let file = tempfile::tempfile_in(&self.0);
        file.map(|file| Box::new(FileSpool(file)) as Box<dyn Spool>)
            .map_err(|e| SpoolError(format!("no temporary file in {}: {e}", self.0.display())))
    }
}

struct FileSpool(File);

impl FileSpool {
    fn at(&mut self, offset: u64, work: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), SpoolError> {
        let done = self.0.seek(SeekFrom::Start(offset)).and_then(|_| work(&mut self.0));
        done.map_err(|e| SpoolError(format!("a temporary file at byte {offset}: {e}")))
    }
}

impl Spool for FileSpool {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SpoolError> {
        self.at(offset, |file| file.write_all(bytes))
    }

    fn read_at(&mut self, offset: u64, bytes: &mut [u8]) -> Result<(), SpoolError> {
        self.at(offset, |file| file.read_exact(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_reads_back_what_was_written_and_leaves_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut spool = FileSpools(directory.path().to_owned()).open().unwrap();
        spool.write_at(1_000, b"shares").unwrap();
        spool.write_at(0, b"first").unwrap();
        let mut found = [9; 6];
        spool.read_at(1_000, &mut found).unwrap();
        assert_eq!(&found, b"shares");
        assert!(spool.read_at(1_001, &mut found).unwrap_err().to_string().contains("byte 1001"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_that_is_gone_is_named() {
        let error = FileSpools("no/such/directory".into()).open().map(drop).unwrap_err();
        assert!(error.to_string().contains("no/such/directory"), "{error}");
    }
}
