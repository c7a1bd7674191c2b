//! Files of the state directory: private to the operator, and never half-written.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::Path,
};

use super::StoreError;

/// Writes a file so that after a crash either the old or the whole new content is there: a sibling is written
/// and synchronised, renamed over the target, and the directory is synchronised. Mode 0600 on Unix.
///
/// # Errors
/// [`StoreError`] names the file.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let what = || format!("writing {name}");
    let sibling = path.with_file_name(format!(".{name}.part"));
    let write = || -> std::io::Result<()> {
        let mut file = private_file(&sibling)?;
        file.write_all(bytes)?;
        // A crash before this line leaves only the sibling, which the next write replaces.
        file.sync_all()?;
        fs::rename(&sibling, path)?;
        sync_directory(path.parent().unwrap_or(Path::new(".")))
    };
    write().map_err(|e| {
        let _ = fs::remove_file(&sibling);
        StoreError::file(what(), e)
    })
}

/// Creates a directory that only its owner can enter (0700 on Unix).
///
/// # Errors
/// [`StoreError`] names the directory.
pub fn create_private_directory(path: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|e| StoreError::file(format!("creating {}", path.display()), e))
}

/// Reads a file of at most `limit` bytes.
///
/// # Errors
/// [`StoreError`] names the file.
pub fn read_bounded(path: &Path, limit: usize) -> Result<Vec<u8>, StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fail = |e| StoreError::file(format!("reading {name}"), e);
    let length = fs::metadata(path).map_err(fail)?.len();
    if length > limit as u64 {
        return Err(StoreError::Damaged(format!("{name} has {length} bytes, more than {limit}")));
    }
    fs::read(path).map_err(fail)
}

/// Makes a rename or creation in `directory` durable.
///
/// # Errors
/// The operating system's reason.
pub fn sync_directory(directory: &Path) -> std::io::Result<()> {
    // Windows cannot open a directory as a file, and makes renames durable by itself.
    if cfg!(unix) { File::open(directory)?.sync_all() } else { Ok(()) }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_file_is_whole_private_and_leaves_no_sibling() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("checkpoint");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_file_over_its_limit_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        fs::write(&path, [0; 11]).unwrap();
        assert!(matches!(read_bounded(&path, 10), Err(StoreError::Damaged(_))));
        assert_eq!(read_bounded(&path, 11).unwrap().len(), 11);
    }
}
