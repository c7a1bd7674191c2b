//! Witnesses' cosignatures, kept beside the log.
//!
//! The invariant: a cosignature is kept only where the witness's key verifies it, over a checkpoint that this
//! federation signed and that this log holds. Cosignatures are no part of the log: losing them loses nothing.

use forecastle_crypto::{
    identity::Sha256Digest,
    ledger::{
        checkpoint::{CheckpointError, SignedCheckpoint},
        entry::Founded,
        merkle::{leaf_hash, root_of},
        note::{SignatureType, VerifierKey},
        witness::cosigned_at,
    },
};
use serde::Serialize;
use sqlx::SqlitePool;

use crate::{
    ledger::store::leaves,
    store::{StoreError, begin_write, count_column, stored},
};

/// Why a cosignature was not taken.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// The file is no checkpoint of this federation, or not cosigned by this witness.
    #[error("the cosigned checkpoint was not taken: {0}")]
    Checkpoint(#[from] CheckpointError),
    /// The witness saw another log.
    #[error(
        "the witness cosigned another log of {size} entries than this one, under this federation's key: the server was restored from an old copy, or two servers use one key. Stop it, and restore the newest copy of the whole state directory"
    )]
    OtherLog {
        /// Entries of the log that the witness saw.
        size: u64,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for CosignError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// What was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CosignSummary {
    /// Entries of the log that the cosigned checkpoint covers.
    pub entries: u64,
    /// The witness.
    pub witness: String,
    /// When it cosigned, in seconds since 1970.
    pub at: u64,
    /// Witnesses that cosigned this checkpoint so far.
    pub cosignatures: usize,
}

/// Keeps the cosignature of `witness` in `note`; an older one of the same witness over the same checkpoint is replaced.
///
/// # Errors
/// [`CosignError`]; nothing is then kept.
pub async fn cosign(
    pool: &SqlitePool,
    founded: &Founded,
    note: &str,
    witness: &VerifierKey,
) -> Result<CosignSummary, CosignError> {
    let given = SignedCheckpoint::parse(note)?;
    let checkpoint = given.verify_origin(&founded.federation, &founded.server_key)?.clone();
    let at = cosigned_at(&given, witness)?;
    let hashes: Vec<Sha256Digest> =
        leaves(pool, 0, checkpoint.size).await?.iter().map(|leaf| leaf_hash(leaf)).collect();
    if hashes.len() as u64 != checkpoint.size || root_of(&hashes) != checkpoint.root {
        return Err(CosignError::OtherLog { size: checkpoint.size });
    }
    let own = VerifierKey::new(&founded.federation, SignatureType::Ed25519, founded.server_key)
        .map_err(CheckpointError::from)?;
    let mut transaction = begin_write(pool).await?;
    let kept: Option<(String,)> = sqlx::query_as("SELECT checkpoint FROM cosigned WHERE size = ?")
        .bind(stored(checkpoint.size))
        .fetch_optional(&mut *transaction)
        .await?;
    let mut signed = match kept {
        Some((text,)) => SignedCheckpoint::parse(&text)?,
        None => {
            // Lines of others in the file are not taken over unchecked.
            let mut bare = given.clone();
            bare.retain(|line| own.claims(line));
            bare
        }
    };
    for line in given.signatures().iter().filter(|line| witness.claims(line)) {
        signed.add(line.clone());
    }
    sqlx::query("INSERT OR REPLACE INTO cosigned (size, checkpoint) VALUES (?, ?)")
        .bind(stored(checkpoint.size))
        .bind(signed.to_string())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    let cosignatures = signed.signatures().iter().filter(|line| !own.claims(line)).count();
    Ok(CosignSummary { entries: checkpoint.size, witness: witness.name().to_owned(), at, cosignatures })
}

/// The cosigned checkpoint of a size.
pub(crate) async fn of_size(pool: &SqlitePool, size: u64) -> Result<Option<String>, StoreError> {
    let row: Option<(String,)> = sqlx::query_as("SELECT checkpoint FROM cosigned WHERE size = ?")
        .bind(stored(size))
        .fetch_optional(pool)
        .await?;
    Ok(row.map(|(text,)| text))
}

/// The newest cosigned checkpoint with its size.
pub(crate) async fn newest(connection: &mut sqlx::SqliteConnection) -> Result<Option<(u64, String)>, StoreError> {
    let row: Option<(i64, String)> = sqlx::query_as("SELECT size, checkpoint FROM cosigned ORDER BY size DESC LIMIT 1")
        .fetch_optional(connection)
        .await?;
    row.map(|(size, text)| Ok((count_column(size, "cosigned.size")?, text))).transpose()
}
