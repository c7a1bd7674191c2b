//! `ledger export`: everything the offline auditor needs, as files.
//!
//! ```text
//! DIR/federation.json          origin and server key (compare the key with one learnt elsewhere)
//! DIR/entries.jsonl            the leaves, one a line, exact bytes
//! DIR/checkpoint               signed note over them
//! DIR/models/<version>.safetensors
//! ```
//!
//! The invariant: leaves and checkpoint are of one moment, also while a server is appending.

use std::path::Path;

use forecastle_crypto::{identity::VerifyingKey, ledger::entry::Founded};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use crate::{
    ledger::store::{CHECKPOINT_FILE, LedgerError},
    model::registry,
    store::{StoreError, files},
};

/// Content of `federation.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FederationFile {
    /// Name of the federation and origin of its checkpoints.
    pub origin: String,
    /// Key that signs offers and checkpoints.
    pub server_key: VerifyingKey,
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ExportSummary {
    /// Leaves of the log.
    pub entries: u64,
    /// Model files.
    pub models: u64,
}

/// Writes the export into `target`, which is created where it does not exist.
///
/// # Errors
/// [`LedgerError`] when something cannot be read or written.
pub async fn export(
    pool: &SqlitePool,
    models: &Path,
    founded: &Founded,
    target: &Path,
) -> Result<ExportSummary, LedgerError> {
    let mut transaction = pool.begin().await.map_err(StoreError::from)?;
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as("SELECT bytes FROM leaves ORDER BY idx").fetch_all(&mut *transaction).await?;
    let (checkpoint,): (String,) =
        sqlx::query_as("SELECT checkpoint FROM head WHERE id = 0").fetch_one(&mut *transaction).await?;
    let versions: Vec<(i64,)> =
        sqlx::query_as("SELECT version FROM models ORDER BY version").fetch_all(&mut *transaction).await?;
    drop(transaction);

    let model_target = target.join("models");
    std::fs::create_dir_all(&model_target)
        .map_err(|e| StoreError::file(format!("creating {}", model_target.display()), e))?;
    let mut lines = Vec::with_capacity(rows.iter().map(|(bytes,)| bytes.len() + 1).sum());
    for (leaf,) in &rows {
        // Canonical JSON holds no line break, so a line is a leaf.
        lines.extend_from_slice(leaf);
        lines.push(b'\n');
    }
    let federation = FederationFile { origin: founded.federation.clone(), server_key: founded.server_key };
    let federation = serde_json::to_vec_pretty(&federation).expect("names and keys always serialise");
    for &(version,) in &versions {
        let name = registry::file_name(u64::try_from(version).unwrap_or_default());
        let bytes = files::read_bounded(&models.join(&name), forecastle_proto::model::MODEL_BYTES_MAX)?;
        files::write_atomically(&model_target.join(&name), &bytes)?;
    }
    files::write_atomically(&target.join("federation.json"), &federation)?;
    files::write_atomically(&target.join("entries.jsonl"), &lines)?;
    files::write_atomically(&target.join(CHECKPOINT_FILE), checkpoint.as_bytes())?;
    Ok(ExportSummary { entries: rows.len() as u64, models: versions.len() as u64 })
}
