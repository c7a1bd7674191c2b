//! Why the store could not do what it was asked to.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::data::{
    ingest::{IngestError, MappingError},
    vault::VaultError,
};

/// Errors of opening the store and of importing. Where an import fails, nothing has changed.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No room left.
    #[error("no space left to write {path}; free some and import again, nothing was changed")]
    DiskFull {
        /// The file that was being written.
        path: PathBuf,
    },
    /// Any other failure of the file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another import holds the lock.
    #[error("another import is writing to {dir}; wait for it and try again")]
    Locked {
        /// The data directory.
        dir: PathBuf,
    },
    /// A stored table that this program did not write so.
    #[error("{path} is damaged ({source}); restore it from a backup, or delete it and import the files again")]
    Damaged {
        /// The table.
        path: PathBuf,
        /// Where and what.
        #[source]
        source: NormalFormError,
    },
    /// More lines than are told apart.
    #[error("{path} would hold more than a billion order lines, which is more than is kept; import fewer")]
    TooManyLines {
        /// The table.
        path: PathBuf,
    },
    /// A file that was imported before, with another mapping.
    #[error(
        "{file} was imported on {day} with another mapping, and {lines} of its order lines read differently now, so that \
         they would count twice; undo the change of the mapping, or import all files of orders once more with --anew, \
         which forgets what was imported; nothing was changed"
    )]
    ReadOtherwise {
        /// Name of the file.
        file: String,
        /// Day of that import.
        day: String,
        /// Lines that are there but were not met again.
        lines: u64,
    },
    /// Something that is sealed does not open, or its key cannot be used.
    #[error(transparent)]
    Vault(VaultError),
    /// A table of before tables were sealed.
    #[error(
        "{path} is not encrypted: a version of this program wrote it that did not seal what it imported; delete the folder of \
         that file and import the files again"
    )]
    InTheClear {
        /// The file.
        path: PathBuf,
    },
    /// Order lines are there, the secret that made their pseudonyms is not.
    #[error(
        "{path} is missing, without which customers cannot be recognised; restore it from a backup, or delete the \
         data directory and import the files again"
    )]
    SecretMissing {
        /// The key file.
        path: PathBuf,
    },
    /// The key file has another length.
    #[error("{path} is no key of 32 bytes; restore it from a backup")]
    SecretDamaged {
        /// The key file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a new key; try again")]
    NoEntropy,
    /// The periods for which rows are kept are none.
    #[error("{path}: {reason}")]
    Retention {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to write.
        reason: String,
    },
    /// All rows would be one customer's, whose number would lie in the mapping file.
    #[error(
        "a customer number cannot be a constant: it would be kept in the clear in the mapping file; leave it out, and the lines \
         count as those of customers without an account"
    )]
    ConstantCustomer,
    /// The mapping file is not what it should be.
    #[error("{path}: {source}; correct it, or delete it to have columns guessed anew")]
    Mapping {
        /// The mapping file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: MappingError,
    },
    /// The file is no table, or not this one.
    #[error(transparent)]
    Ingest(#[from] IngestError),
}

impl StoreError {
    /// A full disk by its name, anything else by what the system said.
    pub(super) fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_owned();
        let error = match error.downcast::<VaultError>() {
            Ok(error) => return Self::Vault(error),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { path, source: error },
        }
    }
}

impl From<VaultError> for StoreError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Io { path, source } => Self::io(&path, source),
            error => Self::Vault(error),
        }
    }
}

/// Where a stored table deviates from its normal form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct NormalFormError {
    /// Line of the stored file.
    pub line: u64,
    /// What is wrong there.
    pub what: String,
}
