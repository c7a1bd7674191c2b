//! Why something sealed cannot be opened.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::key::KeyId;
use crate::durable::DiskError;

/// What to do about a sealed file that does not open.
const TO_DO: &str = "restore it from a backup; a table may also be deleted and its files imported again";

/// Errors of keys and sealed files. None of them holds a byte of either.
#[derive(Debug, Error)]
pub enum VaultError {
    /// Files are sealed and their key is gone.
    #[error(
        "what was imported is sealed with the data key {sealed_with}, which is not at {}; without it nobody can read what was \
         imported, this program included. Put the key file back, or say with --key-file FILE where it lies now; if it is lost, \
         delete the folder `data`, import the files again, and erase again who was erased: that is lost too", key_file.display()
    )]
    KeyMissing {
        /// Where it should be.
        key_file: PathBuf,
        /// Name of the key.
        sealed_with: KeyId,
    },
    /// The key file is open to others.
    #[error(
        "the key file {} can be read by others (its mode is {mode:03o}), so it is not used; `chmod 600` it, and where somebody \
         may have read it, put a new key in with `forecastle data key rotate`", path.display()
    )]
    KeyExposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file is not as it was written.
    #[error("{} is no data key, or is damaged; restore it from a copy", path.display())]
    KeyDamaged {
        /// The key file.
        path: PathBuf,
    },
    /// The key is elsewhere.
    #[error(
        "there is no key at {}; the key of this state folder is at {}: move it with `forecastle data key move`, or leave --key-file \
         and FORECASTLE_KEY_FILE out", path.display(), at.display()
    )]
    KeyElsewhere {
        /// Where it was looked for.
        path: PathBuf,
        /// Where it is.
        at: PathBuf,
    },
    /// A key that nothing here was sealed with.
    #[error(
        "{} holds a key already, and nothing in this state folder is sealed with it; each state folder has a key of its own, so that \
         a new one takes nothing from the others: name a file that is not there yet", .0.display()
    )]
    KeyOfAnother(PathBuf),
    /// A key file where one is to be written.
    #[error("{} is there already; a key file is never written over", .0.display())]
    KeyThere(PathBuf),
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a new key; try again")]
    NoEntropy,
    /// Not sealed by this program.
    #[error("{} is no file that this program sealed; {}", path.display(), TO_DO)]
    NotSealed {
        /// The file.
        path: PathBuf,
    },
    /// Sealed by a later version.
    #[error("{} is sealed in the form {found}, which this version of the program does not know; use the version that wrote it", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its form.
        found: u8,
    },
    /// Sealed with another key.
    #[error(
        "{} is sealed with the data key {sealed_with}, and {} holds {held}; say with --key-file FILE where the right key lies, or \
         restore the file from a backup of this folder", path.display(), key_file.display()
    )]
    OtherKey {
        /// The file.
        path: PathBuf,
        /// Name of its key.
        sealed_with: KeyId,
        /// The key file that is used.
        key_file: PathBuf,
        /// The keys in it.
        held: String,
    },
    /// Another file under this name.
    #[error("{} holds what was sealed as `{found}`: files were swapped or renamed; put each back under its own name", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// The name that it was sealed under.
        found: String,
    },
    /// The end is missing.
    #[error("{} is cut off after {chunks} whole chunks; {}", path.display(), TO_DO)]
    CutOff {
        /// The file.
        path: PathBuf,
        /// Chunks of 64 KiB that opened.
        chunks: u32,
    },
    /// Some byte is not as it was written.
    #[error("{} was altered or damaged (chunk {chunk}); {}", path.display(), TO_DO)]
    Altered {
        /// The file.
        path: PathBuf,
        /// The chunk that does not open, from 1.
        chunk: u32,
    },
    /// The file system.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The file system, while a key was written.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl VaultError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    /// What reading a sealed file failed with: what this module said, or the system.
    pub(super) fn of(path: &Path, error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| Self::io(path, error))
    }
}

impl From<VaultError> for io::Error {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Io { source, .. } => source,
            error => Self::other(error),
        }
    }
}
