//! An exported log as a folder of files: what `forecastle-server ledger export` and `forecastle ledger pull` write.
//!
//! The invariant: a folder is read whole or refused with the name of the file that is wrong; every file is bounded
//! before it is read. What is read is not believed yet: [`Folder::audit`] judges it.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use forecastle_crypto::{
    identity::{Sha256Digest, VerifyingKey, sha256},
    ledger::{
        audit::{self, AuditError, Verdict},
        checkpoint::{CHECKPOINT_BYTES_MAX, SignedCheckpoint},
        entry::{Entry, EntryError},
    },
};
use serde::Deserialize;

/// The largest model file read, in bytes.
const MODEL_BYTES_MAX: u64 = 1 << 30;
/// The largest `federation.json` read, in bytes.
const ORIGIN_BYTES_MAX: u64 = 64 << 10;

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file is missing, unreadable or too large.
    #[error("cannot read {}: {why}; the folder should be one that `forecastle-server ledger export` or `forecastle ledger pull` wrote", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system or parser said.
        why: String,
    },
}

impl FolderError {
    fn of(path: &Path) -> impl FnOnce(String) -> Self {
        let path = path.to_owned();
        move |why| Self::File { path, why }
    }
}

/// What `federation.json` says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Origin {
    server_key: VerifyingKey,
}

/// An exported log, in memory.
pub struct Folder {
    checkpoint: SignedCheckpoint,
    leaves: Vec<Vec<u8>>,
    server_key: VerifyingKey,
    models: HashMap<u64, Sha256Digest>,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`FolderError`] names the first file that is wrong.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let origin_path = path.join("federation.json");
        let origin: Origin = serde_json::from_slice(&read(&origin_path, ORIGIN_BYTES_MAX)?)
            .map_err(|e| FolderError::of(&origin_path)(e.to_string()))?;
        let note_path = path.join("checkpoint");
        let note = String::from_utf8(read(&note_path, CHECKPOINT_BYTES_MAX as u64)?)
            .map_err(|e| FolderError::of(&note_path)(e.to_string()))?;
        let checkpoint = SignedCheckpoint::parse(&note).map_err(|e| FolderError::of(&note_path)(e.to_string()))?;
        let entries = read(&path.join("entries.jsonl"), MODEL_BYTES_MAX)?;
        let leaves = entries.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
        let models = digests(&path.join("models"))?;
        Ok(Self { checkpoint, leaves, server_key: origin.server_key, models })
    }

    /// The entries' exact bytes, in order.
    pub fn leaves(&self) -> &[Vec<u8>] {
        &self.leaves
    }

    /// The entries with their indexes; one that cannot be read says why.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Result<Entry, EntryError>)> + '_ {
        (0u64..).zip(self.leaves.iter().map(|leaf| Entry::from_bytes(leaf)))
    }

    /// The tree head with its signatures, not verified.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The federation's key as the folder names it: compare it with one from elsewhere.
    pub fn server_key(&self) -> VerifyingKey {
        self.server_key
    }

    /// Digests of the model files at hand, by version.
    pub fn models(&self) -> &HashMap<u64, Sha256Digest> {
        &self.models
    }

    /// Judges the folder under `server_key`, or under the key that the folder itself names.
    ///
    /// # Errors
    /// [`AuditError`] where there is nothing to judge; findings are not errors.
    pub fn audit(&self, server_key: Option<VerifyingKey>) -> Result<Verdict, AuditError> {
        let key = server_key.unwrap_or(self.server_key);
        audit::audit(&self.leaves, &self.checkpoint.to_string(), &key, &self.models)
    }
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FolderError> {
    let fail = FolderError::of(path);
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    match outcome {
        Err(e) => Err(fail(e.to_string())),
        Ok(read) if read as u64 > bytes_max => Err(fail(format!("it is larger than {bytes_max} bytes"))),
        Ok(_) => Ok(bytes),
    }
}

/// Digests of the model files at hand; a folder without models is fine.
fn digests(folder: &Path) -> Result<HashMap<u64, Sha256Digest>, FolderError> {
    let mut found = HashMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(|e| FolderError::of(folder)(e.to_string()))?.path();
        let version = path
            .extension()
            .is_some_and(|e| e == "safetensors")
            .then(|| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok()))
            .flatten();
        if let Some(version) = version {
            found.insert(version, sha256(&read(&path, MODEL_BYTES_MAX)?));
        }
    }
    Ok(found)
}
