//! The result of an empirical audit, as a file: what `forecastle audit-canaries` writes and `report` prints beside the
//! claim. What is in it, and what it may say, is [`forecastle_crypto::dp::canaries`]; here it is opened.

use std::path::{Path, PathBuf};

use forecastle_crypto::dp::canaries::{CanaryFileError, CanaryRun};

use crate::folder::{FolderError, read};

/// The largest file read, in bytes.
const BYTES_MAX: u64 = 64 << 10;

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
pub enum CanariesError {
    /// Not readable.
    #[error(transparent)]
    File(#[from] FolderError),
    /// Not a result, or one with a number that cannot be.
    #[error("{}: {source}", path.display())]
    Content {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: CanaryFileError,
    },
}

/// Reads and checks a file.
///
/// # Errors
/// [`CanariesError`] names the file and the field.
pub fn open(path: &Path) -> Result<CanaryRun, CanariesError> {
    let bytes = read(path, BYTES_MAX)?;
    CanaryRun::from_json(&bytes).map_err(|source| CanariesError::Content { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_result_is_refused_with_its_name() {
        assert!(matches!(open(Path::new("/nowhere/at/all")), Err(CanariesError::File(_))));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}").unwrap();
        let error = open(file.path()).unwrap_err().to_string();
        assert!(error.contains(&file.path().display().to_string()) && error.contains("empirical audit"), "{error}");
    }
}
