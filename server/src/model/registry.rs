//! Published models: a file each beside the database, a row each inside it.
//!
//! The invariant: a version exists when its row does, and a row exists only after its file is durable and in the
//! transaction that appends the log entry it names. Files without a row are left-overs of a crash and are removed
//! at start; the round they belonged to is abandoned.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use forecastle_crypto::{
    dp::plan::PrivacyPlan,
    identity::{Sha256Digest, sha256},
};
use forecastle_proto::model::{MODEL_BYTES_MAX, ModelFileError, ModelSnapshot};
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use crate::{
    model::optimizer::{ServerOptimizer, StateDamaged},
    store::{StoreError, count_column, digest_column, files, stored},
};

/// Name of a version's file.
pub fn file_name(version: u64) -> String {
    format!("{version}.safetensors")
}

/// Name of the file with the optimizer's state after a version.
fn optimizer_file_name(version: u64) -> String {
    format!("{version}.optimizer")
}

/// One published version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelRow {
    /// Version; 0 is the warm start.
    pub version: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256Digest,
    /// Length of the file in bytes.
    pub length: u64,
    /// The round that made it; absent for version 0.
    pub round: Option<u64>,
    /// The log entry it is named by.
    pub ledger_index: u64,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// Why the registry is unusable.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database or a file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A model file is not the one that was published.
    #[error(
        "the file of model version {0} is not the one that was published: restore it from a copy of the state directory"
    )]
    Altered(u64),
    /// A model file is unreadable.
    #[error("the file of model version {version} is unreadable: {source}")]
    Model {
        /// Which version.
        version: u64,
        /// What is wrong.
        source: ModelFileError,
    },
    /// The optimizer's state does not fit.
    #[error(transparent)]
    Optimizer(#[from] StateDamaged),
    /// No model at all.
    #[error("the state directory holds no model")]
    Empty,
}

/// The newest model and what the next step starts from.
pub struct Registry {
    directory: PathBuf,
    latest: RwLock<Arc<Published>>,
}

/// A version with its content.
pub struct Published {
    /// Its row.
    pub row: ModelRow,
    /// The file's bytes.
    pub bytes: Arc<Vec<u8>>,
    /// The parsed model.
    pub snapshot: ModelSnapshot,
    /// The optimizer after it.
    pub optimizer: ServerOptimizer,
}

/// A model whose files are durable and whose row is not yet.
pub struct Staged {
    row: ModelRow,
    optimizer_sha256: Sha256Digest,
    bytes: Vec<u8>,
    snapshot: ModelSnapshot,
    optimizer: ServerOptimizer,
}

impl Registry {
    /// Reads the newest version and removes files that have no row.
    ///
    /// # Errors
    /// [`RegistryError`] when the newest version or its optimizer's state is not as published.
    pub async fn open(pool: &SqlitePool, directory: &Path, plan: &PrivacyPlan) -> Result<Self, RegistryError> {
        let row = rows(pool).await?.pop().ok_or(RegistryError::Empty)?;
        let version = row.version;
        let (optimizer_sha256,): (Vec<u8>,) = sqlx::query_as("SELECT optimizer_sha256 FROM models WHERE version = ?")
            .bind(stored(version))
            .fetch_one(pool)
            .await
            .map_err(StoreError::from)?;
        let bytes = files::read_bounded(&directory.join(file_name(version)), MODEL_BYTES_MAX)?;
        if sha256(&bytes) != row.sha256 {
            return Err(RegistryError::Altered(version));
        }
        let snapshot = ModelSnapshot::from_bytes(&bytes).map_err(|source| RegistryError::Model { version, source })?;
        // Four vectors of double precision are at most eight times a single-precision model.
        let state = files::read_bounded(&directory.join(optimizer_file_name(version)), 8 * MODEL_BYTES_MAX)?;
        if sha256(&state).as_bytes()[..] != optimizer_sha256[..] {
            return Err(RegistryError::Altered(version));
        }
        let optimizer = ServerOptimizer::from_bytes(&plan.optimizer, plan.rounds.count, &state)?;
        let published = Published { row, bytes: Arc::new(bytes), snapshot, optimizer };
        let registry = Self { directory: directory.to_owned(), latest: RwLock::new(Arc::new(published)) };
        registry.remove_leftovers(version);
        Ok(registry)
    }

    /// The newest version.
    pub fn latest(&self) -> Arc<Published> {
        self.latest.read().expect("no writer panics").clone()
    }

    /// Writes version 0 and its optimizer's state; the row follows with [`Staged::insert`].
    ///
    /// # Errors
    /// [`StoreError`] when a file cannot be written.
    pub fn stage_first(
        directory: &Path,
        plan: &PrivacyPlan,
        bytes: Vec<u8>,
        snapshot: ModelSnapshot,
        at_ms: u64,
    ) -> Result<Staged, StoreError> {
        let initial = snapshot.manifest.layout.gather_federated(&snapshot.values);
        let optimizer = ServerOptimizer::new(&plan.optimizer, plan.rounds.count, &initial);
        stage(directory, 0, None, bytes, snapshot, optimizer, at_ms)
    }

    /// Writes the files of the version that `optimizer` publishes after `round`.
    ///
    /// A crash after this leaves files without a row: the round is abandoned, the files are removed.
    ///
    /// # Errors
    /// [`RegistryError`] when a file cannot be written or the weights are not finite.
    pub fn stage(&self, round: u64, optimizer: ServerOptimizer, at_ms: u64) -> Result<Staged, RegistryError> {
        let latest = self.latest();
        let version = latest.row.version + 1;
        let mut values = latest.snapshot.values.clone();
        latest.snapshot.manifest.layout.scatter_federated(&optimizer.published(round), &mut values);
        let snapshot = ModelSnapshot::new(latest.snapshot.manifest.clone(), values)
            .map_err(|source| RegistryError::Model { version, source })?;
        let bytes = snapshot.to_bytes();
        Ok(stage(&self.directory, version, Some(round), bytes, snapshot, optimizer, at_ms)?)
    }

    /// Makes a staged version, whose row is committed, the newest one.
    pub fn publish(&self, staged: Staged) {
        let version = staged.row.version;
        let published = Published {
            row: staged.row,
            bytes: Arc::new(staged.bytes),
            snapshot: staged.snapshot,
            optimizer: staged.optimizer,
        };
        *self.latest.write().expect("no writer panics") = Arc::new(published);
        // Only the newest state is ever read again.
        if let Some(older) = version.checked_sub(1) {
            let _ = std::fs::remove_file(self.directory.join(optimizer_file_name(older)));
        }
    }

    /// Row and file of any version; none where there is no such version.
    ///
    /// # Errors
    /// [`RegistryError`] when the file is not as published.
    pub async fn file(
        &self,
        pool: &SqlitePool,
        version: u64,
    ) -> Result<Option<(ModelRow, Arc<Vec<u8>>)>, RegistryError> {
        let latest = self.latest();
        if latest.row.version == version {
            return Ok(Some((latest.row.clone(), Arc::clone(&latest.bytes))));
        }
        let Some(row) = rows(pool).await?.into_iter().find(|row| row.version == version) else {
            return Ok(None);
        };
        let bytes = read_version(&self.directory, &row)?;
        Ok(Some((row, Arc::new(bytes))))
    }

    fn remove_leftovers(&self, latest: u64) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Some((stem, kind)) = name.split_once('.') else { continue };
            let stale = match (stem.parse::<u64>(), kind) {
                (Ok(version), "safetensors") => version > latest,
                (Ok(version), "optimizer") => version != latest,
                _ => name.ends_with(".part"),
            };
            if stale {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

impl Staged {
    /// Its version.
    pub fn version(&self) -> u64 {
        self.row.version
    }

    /// Digest of its file.
    pub fn sha256(&self) -> Sha256Digest {
        self.row.sha256
    }

    /// Inserts the row, naming the log entry `ledger_index`, in the caller's transaction.
    ///
    /// # Errors
    /// [`StoreError`] when the database refuses.
    pub async fn insert(&mut self, connection: &mut SqliteConnection, ledger_index: u64) -> Result<(), StoreError> {
        self.row.ledger_index = ledger_index;
        sqlx::query(
            "INSERT INTO models (version, sha256, length, round, ledger_index, optimizer_sha256, at_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(stored(self.row.version))
        .bind(self.row.sha256.as_bytes().to_vec())
        .bind(stored(self.row.length))
        .bind(self.row.round.map(stored))
        .bind(stored(ledger_index))
        .bind(self.optimizer_sha256.as_bytes().to_vec())
        .bind(stored(self.row.at_ms))
        .execute(connection)
        .await?;
        Ok(())
    }
}

/// All published versions, oldest first.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn rows(pool: &SqlitePool) -> Result<Vec<ModelRow>, StoreError> {
    type Row = (i64, Vec<u8>, i64, Option<i64>, i64, i64);
    let rows: Vec<Row> =
        sqlx::query_as("SELECT version, sha256, length, round, ledger_index, at_ms FROM models ORDER BY version")
            .fetch_all(pool)
            .await?;
    rows.into_iter()
        .map(|(version, sha256, length, round, ledger_index, at_ms)| {
            Ok(ModelRow {
                version: count_column(version, "models.version")?,
                sha256: Sha256Digest(digest_column(sha256, "models.sha256")?),
                length: count_column(length, "models.length")?,
                round: round.map(|r| count_column(r, "models.round")).transpose()?,
                ledger_index: count_column(ledger_index, "models.ledger_index")?,
                at_ms: count_column(at_ms, "models.at_ms")?,
            })
        })
        .collect()
}

/// Reads the file of a version and compares it with its row.
///
/// # Errors
/// [`RegistryError`] when it is not as published.
pub fn read_version(directory: &Path, row: &ModelRow) -> Result<Vec<u8>, RegistryError> {
    let bytes = files::read_bounded(&directory.join(file_name(row.version)), MODEL_BYTES_MAX)?;
    if sha256(&bytes) == row.sha256 { Ok(bytes) } else { Err(RegistryError::Altered(row.version)) }
}

fn stage(
    directory: &Path,
    version: u64,
    round: Option<u64>,
    bytes: Vec<u8>,
    snapshot: ModelSnapshot,
    optimizer: ServerOptimizer,
    at_ms: u64,
) -> Result<Staged, StoreError> {
    let state = optimizer.to_bytes();
    files::write_atomically(&directory.join(file_name(version)), &bytes)?;
    files::write_atomically(&directory.join(optimizer_file_name(version)), &state)?;
    let row = ModelRow { version, sha256: sha256(&bytes), length: bytes.len() as u64, round, ledger_index: 0, at_ms };
    Ok(Staged { row, optimizer_sha256: sha256(&state), bytes, snapshot, optimizer })
}
