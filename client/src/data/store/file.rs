//! Files of the store: whole, private to the user, replaced atomically; sealed, all but what the merchant edits.
//!
//! Every table goes through [`read_sealed`] or [`open_sealed`], and [`write_sealed`] or [`begin_sealed`]; a new kind of table
//! that does so too needs no thought about encryption.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use super::StoreError;
use crate::data::vault::{OpenedFile, Sealer, Vault};

/// Bytes handed to the system at once.
const WRITTEN_AT_ONCE: usize = 256 * 1024;

/// Creates a directory that only its owner can enter.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| StoreError::io(dir, error))
}

/// A file's bytes; `None` where there is none.
pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(path, error)),
    }
}

/// The content of a sealed file; `None` where there is none.
pub(super) fn read_sealed(vault: &Vault, path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(vault.read(path)?)
}

/// A sealed file to be read piece by piece; `None` where there is none.
pub(super) fn open_sealed(vault: &Vault, path: &Path) -> Result<Option<OpenedFile>, StoreError> {
    Ok(vault.open_file(path)?)
}

/// Replaces a sealed file whole.
pub(super) fn write_sealed(vault: &Vault, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || {
        let mut sealer = begin_sealed(vault, path, "new")?;
        sealer.write_all(bytes)?;
        sealer.finish()?.commit()
    };
    write().map_err(|error| StoreError::io(path, error))
}

/// Begins a sealed file beside the one that it will replace; finished and committed, it takes its place.
pub(super) fn begin_sealed(vault: &Vault, path: &Path, ending: &str) -> io::Result<Sealer<Replacement>> {
    vault.seal(path, Replacement::begin(path, ending)?)
}

/// Replaces a file whole (mode 0600). A crash leaves the old file or the new one; a failure leaves the old one and no
/// trace of the new.
pub(super) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    write_atomic_with(path, |file| file.write_all(bytes)).map_err(|error| StoreError::io(path, error))
}

/// The steps of [`write_atomic`], with the write itself passed in so that its failure can be tested.
fn write_atomic_with(path: &Path, write: impl FnOnce(&mut Replacement) -> io::Result<()>) -> io::Result<()> {
    let mut replacement = Replacement::begin(path, "new")?;
    write(&mut replacement)?;
    replacement.commit()
}

/// A file being written beside the one that it will replace. Dropped before [`Replacement::commit`], it was never there.
pub(super) struct Replacement {
    path: PathBuf,
    beside: PathBuf,
    file: BufWriter<File>,
    is_in_place: bool,
}

impl Replacement {
    /// Begins one, under the file's name and an ending. What a crash left there is overwritten and was never read.
    pub fn begin(path: &Path, ending: &str) -> io::Result<Self> {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(ending);
        let beside = path.with_file_name(name);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = BufWriter::with_capacity(WRITTEN_AT_ONCE, options.open(&beside)?);
        Ok(Self { path: path.to_owned(), beside, file, is_in_place: false })
    }

    /// What was written so far, from its beginning.
    pub fn reread(&mut self) -> io::Result<File> {
        self.file.flush()?;
        File::open(&self.beside)
    }

    /// Puts it in the place of the old file: flushed, then renamed over it.
    pub fn commit(mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.beside, &self.path)?;
        self.is_in_place = true;
        // The rename itself must survive a power cut; where directories cannot be opened (Windows) it is the system's
        // care.
        match self.path.parent().map(File::open) {
            Some(Ok(dir)) => dir.sync_all(),
            _ => Ok(()),
        }
    }
}

impl Write for Replacement {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        if !self.is_in_place {
            // Best effort: what is left over is overwritten by the next import and never read.
            let _ = fs::remove_file(&self.beside);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_leaves_the_old_file_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orders.csv");
        write_atomic(&path, b"old").unwrap();
        let error = write_atomic_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        })
        .unwrap_err();
        assert!(matches!(StoreError::io(&path, error), StoreError::DiskFull { .. }));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn files_and_directories_are_private_to_their_owner() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        create_private_dir(&data).unwrap();
        let path = data.join("key");
        write_atomic(&path, b"k").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
