//! Files that survive a crash: written whole or not at all.
//!
//! Invariant: a reader sees the old content or the new content, never a mixture; secrets are readable by their
//! owner only from the first byte on.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// Reading or writing the merchant's state failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {}", path.display(), explain(source))]
pub struct DiskError {
    /// What was tried.
    pub action: &'static str,
    /// On which file or folder.
    pub path: PathBuf,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl DiskError {
    /// For `map_err`: names the action and the path.
    pub fn of(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self { action, path, source }
    }
}

/// The operating system's word, with what to do where that is known.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull => "the disk is full; free some space and run the same command again".into(),
        io::ErrorKind::PermissionDenied => format!("{error}; check who owns the state folder"),
        io::ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        _ => error.to_string(),
    }
}

/// Who may read a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The owner only (0600).
    Secret,
    /// As the umask says.
    Ordinary,
}

/// Replaces `path` by `bytes` in one step: temporary sibling, fsync, rename, fsync of the folder.
///
/// # Errors
/// [`DiskError`] names the file; the old content is then still there.
pub fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), DiskError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".part");
    let temporary = PathBuf::from(temporary);
    let result = (|| {
        let mut file = create(&temporary, access)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_folder(folder)
    })();
    result.map_err(|source| {
        // Best effort: the half-written sibling is of no use to anybody.
        let _ = fs::remove_file(&temporary);
        DiskError { action: "write", path: path.to_owned(), source }
    })
}

/// Appends one line to `path` and waits until it is on disk.
///
/// # Errors
/// [`DiskError`]; a torn last line may remain, which readers ignore.
pub fn append_line(path: &Path, line: &[u8]) -> Result<(), DiskError> {
    append_lines(path, &[line])
}

/// Appends lines to `path` and waits until they are on disk.
///
/// # Errors
/// [`DiskError`]; some of the lines and a torn last one may remain, which readers ignore.
pub fn append_lines<L: AsRef<[u8]>>(path: &Path, lines: &[L]) -> Result<(), DiskError> {
    let mut bytes = Vec::with_capacity(lines.iter().map(|line| line.as_ref().len() + 1).sum());
    for line in lines {
        debug_assert!(!line.as_ref().contains(&b'\n'));
        bytes.extend_from_slice(line.as_ref());
        bytes.push(b'\n');
    }
    let result = (|| {
        let existed = path.exists();
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        if existed { Ok(()) } else { sync_folder(path.parent().unwrap_or(Path::new("."))) }
    })();
    result.map_err(DiskError::of("append to", path))
}

/// The complete lines of `path` (none where it does not exist). A torn last line, left by a crash, is cut off
/// the file, so that a later append starts on a line of its own.
///
/// # Errors
/// [`DiskError`] where the file cannot be read or mended.
pub fn read_lines(path: &Path) -> Result<Vec<Vec<u8>>, DiskError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(DiskError::of("read", path)(e)),
    };
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
    if whole < bytes.len() {
        let mend = || {
            let file = OpenOptions::new().write(true).open(path)?;
            file.set_len(whole as u64)?;
            file.sync_all()
        };
        mend().map_err(DiskError::of("mend", path))?;
    }
    Ok(bytes[..whole].split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect())
}

/// Reads a whole file.
///
/// # Errors
/// [`DiskError`] names it.
pub fn read(path: &Path) -> Result<Vec<u8>, DiskError> {
    fs::read(path).map_err(DiskError::of("read", path))
}

/// Removes a file durably; its absence is no error.
///
/// # Errors
/// [`DiskError`] names it.
pub fn remove(path: &Path) -> Result<(), DiskError> {
    match fs::remove_file(path) {
        Ok(()) => sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(DiskError::of("remove", path)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(DiskError::of("remove", path)(e)),
    }
}

/// Removes a folder with everything in it; its absence is no error.
///
/// # Errors
/// [`DiskError`] names it.
pub fn remove_folder(path: &Path) -> Result<(), DiskError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(DiskError::of("remove", path)(e)),
        _ => Ok(()),
    }
}

/// Creates a folder and its parents; the last one private to the owner.
///
/// # Errors
/// [`DiskError`] names it.
pub fn create_private_folder(path: &Path) -> Result<(), DiskError> {
    fs::create_dir_all(path).map_err(DiskError::of("create", path))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(DiskError::of("protect", path))?;
    }
    Ok(())
}

fn create(path: &Path, access: Access) -> io::Result<File> {
    // A stale sibling may have wider permissions than asked for.
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if access == Access::Secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    #[cfg(not(unix))]
    let _ = access;
    options.open(path)
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_next_append_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.jsonl");
        append_line(&path, b"one").unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(b"tw").unwrap();
        assert_eq!(read_lines(&path).unwrap(), vec![b"one".to_vec()]);
        append_line(&path, b"two").unwrap();
        assert_eq!(read_lines(&path).unwrap(), vec![b"one".to_vec(), b"two".to_vec()]);
    }

    #[cfg(unix)]
    #[test]
    fn secrets_are_readable_by_their_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.p8");
        write(&path, b"x", Access::Secret).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plan.toml");
        write(&path, b"old", Access::Ordinary).unwrap();
        fs::create_dir(folder.path().join("plan.toml.part")).unwrap();
        let error = write(&path, b"new", Access::Ordinary).unwrap_err().to_string();
        assert!(error.contains("plan.toml"), "{error}");
        assert_eq!(read(&path).unwrap(), b"old");
    }
}
