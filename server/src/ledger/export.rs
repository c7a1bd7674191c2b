//! `ledger export`: everything the offline auditor needs, as files.
//!
//! ```text
//! DIR/federation.json            origin and server key (compare the key with one learnt elsewhere)
//! DIR/checkpoint                 signed size and root, with witnesses' cosignatures
//! DIR/tile/<level>/<index>       digests of the tree (C2SP tlog-tiles)
//! DIR/tile/entries/<index>       the entries, exact bytes
//! DIR/models/<version>.safetensors
//! ```
//!
//! The invariant: leaves and checkpoint are of one moment, also while a server is appending. The checkpoint is written
//! last: a folder that has one has all that it covers.

use std::path::Path;

use forecastle_crypto::{
    identity::VerifyingKey,
    ledger::{
        entry::Founded,
        note::{SignatureType, VerifierKey},
        tiles,
    },
};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use crate::{
    ledger::{
        cosign,
        store::{CHECKPOINT_FILE, LedgerError},
    },
    model::registry,
    store::{StoreError, count_column, files, stored},
};

/// Content of `federation.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FederationFile {
    /// Name of the federation and origin of its checkpoints.
    pub origin: String,
    /// Key that signs offers and checkpoints.
    pub server_key: VerifyingKey,
    /// The same as a verifier key of C2SP signed notes, for other people's tools.
    pub log_key: String,
}

/// Which state of the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The newest.
    Newest,
    /// The newest that a witness cosigned.
    Cosigned,
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
/// [`LedgerError`] when something cannot be read or written; [`LedgerError::NotCosigned`] where no witness cosigned yet.
pub async fn export(
    pool: &SqlitePool,
    models: &Path,
    founded: &Founded,
    target: &Path,
    moment: Moment,
) -> Result<ExportSummary, LedgerError> {
    let mut transaction = pool.begin().await.map_err(StoreError::from)?;
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM leaves").fetch_one(&mut *transaction).await?;
    let count = count_column(count, "the number of leaves")?;
    let (head,): (String,) =
        sqlx::query_as("SELECT checkpoint FROM head WHERE id = 0").fetch_one(&mut *transaction).await?;
    let cosigned = cosign::newest(&mut transaction).await?;
    let (size, checkpoint) = match (cosigned, moment) {
        (Some(cosigned), Moment::Cosigned) => cosigned,
        (None, Moment::Cosigned) => return Err(LedgerError::NotCosigned),
        (Some((size, cosigned)), Moment::Newest) if size == count => (count, cosigned),
        (_, Moment::Newest) => (count, head),
    };
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT bytes FROM leaves WHERE idx < ? ORDER BY idx")
        .bind(stored(size))
        .fetch_all(&mut *transaction)
        .await?;
    let versions: Vec<(i64,)> = sqlx::query_as("SELECT version FROM models WHERE ledger_index < ? ORDER BY version")
        .bind(stored(size))
        .fetch_all(&mut *transaction)
        .await?;
    drop(transaction);

    let model_target = target.join("models");
    let folder = |path: &Path| {
        std::fs::create_dir_all(path).map_err(|e| StoreError::file(format!("creating {}", path.display()), e))
    };
    folder(&model_target)?;
    for &(version,) in &versions {
        let name = registry::file_name(u64::try_from(version).unwrap_or_default());
        let bytes = files::read_bounded(&models.join(&name), forecastle_proto::model::MODEL_BYTES_MAX)?;
        files::write_atomically(&model_target.join(&name), &bytes)?;
    }
    let key = VerifierKey::new(&founded.federation, SignatureType::Ed25519, founded.server_key)
        .map_err(|e| LedgerError::Foreign(e.into()))?;
    let federation =
        FederationFile { origin: founded.federation.clone(), server_key: founded.server_key, log_key: key.to_string() };
    let federation = serde_json::to_vec_pretty(&federation).expect("names and keys always serialise");
    files::write_atomically(&target.join("federation.json"), &federation)?;
    let leaves: Vec<Vec<u8>> = rows.into_iter().map(|(bytes,)| bytes).collect();
    for (path, bytes) in tiles::files(&leaves) {
        let path = target.join(path);
        folder(path.parent().unwrap_or(target))?;
        files::write_atomically(&path, &bytes)?;
    }
    files::write_atomically(&target.join(CHECKPOINT_FILE), checkpoint.as_bytes())?;
    Ok(ExportSummary { entries: leaves.len() as u64, models: versions.len() as u64 })
}
