//! One-time pre-keys that merchants leave with the server.
//!
//! The invariant: a pre-key is marked as used, durably, before the offer that names it is published, and never
//! becomes unused again. Uploading the same bundle again changes nothing, another bundle under the same index is
//! refused. New bundles, which have to be checked and are kept for good, are limited in number and pace; the same again
//! cost nothing.

use std::time::Duration;

use forecastle_crypto::{identity::MerchantId, secagg::PrekeyBundle};
use forecastle_proto::limits::{PREKEYS_MAX, PREKEYS_PER_CALL_MAX};
use sqlx::{SqliteConnection, SqlitePool};

use crate::{
    identity::merchants::Merchant,
    store::{StoreError, begin_write, stored},
};

/// The largest JSON form of a bundle, in bytes.
const BUNDLE_BYTES_MAX: usize = 2 << 10;

/// Why pre-keys were refused; none of the call's is kept.
#[derive(Debug, thiserror::Error)]
pub enum PrekeyError {
    /// Too many at once.
    #[error("{0} pre-keys in one call; send at most {PREKEYS_PER_CALL_MAX}")]
    TooManyAtOnce(usize),
    /// Too many altogether.
    #[error("{0} unused pre-keys would be kept; at most {PREKEYS_MAX} are, send fewer")]
    Full(usize),
    /// Too many in a short time.
    #[error("you uploaded too many new pre-keys: the next ones are accepted in {} minutes; one that a round uses may be replaced at once", .0.as_secs().div_ceil(60))]
    TooOften(Duration),
    /// Unreadable.
    #[error("pre-key {position} of the call is not readable: {why}")]
    Format {
        /// Position in the call, from 1.
        position: usize,
        /// What is wrong.
        why: String,
    },
    /// Not signed by the merchant.
    #[error("pre-key {index} is not signed by the merchant's enrolled identity: {why}")]
    Signature {
        /// The bundle's index.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// The index is taken by another bundle.
    #[error("another pre-key was uploaded under index {0} before; indexes are used once")]
    IndexTaken(u64),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps pre-keys of a merchant; returns how many unused ones it has now. With `replace`, its unused ones that are
/// not among `bundles` are discarded first: their secrets may lie on two machines. `allowed` takes the number of bundles
/// that are new, or says how long the merchant has to wait for so many.
///
/// # Errors
/// [`PrekeyError`] names the pre-key.
pub async fn keep(
    pool: &SqlitePool,
    merchant: &Merchant,
    bundles: &[Vec<u8>],
    replace: bool,
    allowed: impl FnOnce(usize) -> Result<(), Duration>,
) -> Result<u32, PrekeyError> {
    if bundles.len() > PREKEYS_PER_CALL_MAX {
        return Err(PrekeyError::TooManyAtOnce(bundles.len()));
    }
    let (mut parsed, mut read) = (Vec::with_capacity(bundles.len()), Vec::with_capacity(bundles.len()));
    for (position, bytes) in bundles.iter().enumerate() {
        let format = |why: String| PrekeyError::Format { position: position + 1, why };
        if bytes.len() > BUNDLE_BYTES_MAX {
            return Err(format(format!("it has {} bytes", bytes.len())));
        }
        let bundle: PrekeyBundle = serde_json::from_slice(bytes).map_err(|e| format(e.to_string()))?;
        let index = i64::try_from(bundle.index).map_err(|_| format("its index is too large".into()))?;
        // The canonical form, so that equal bundles have equal bytes.
        let canonical = serde_json::to_vec(&bundle).map_err(|e| format(e.to_string()))?;
        parsed.push((index, canonical));
        read.push(bundle);
    }
    verify_new(pool, merchant, &parsed, &read, allowed).await?;

    let mut transaction = begin_write(pool).await?;
    if replace {
        discard(&mut transaction, &merchant.name, &parsed).await?;
    }
    for (index, bytes) in &parsed {
        match known(&mut transaction, &merchant.name, *index).await? {
            Some(bundle) if bundle == *bytes => {}
            Some(_) => return Err(PrekeyError::IndexTaken(index.unsigned_abs())),
            None => {
                sqlx::query("INSERT INTO prekeys (merchant, idx, bundle) VALUES (?, ?, ?)")
                    .bind(merchant.name.as_str())
                    .bind(index)
                    .bind(bytes)
                    .execute(&mut *transaction)
                    .await
                    .map_err(StoreError::from)?;
            }
        }
    }
    let left = left(&mut transaction, &merchant.name).await?;
    if left as usize > PREKEYS_MAX {
        return Err(PrekeyError::Full(left as usize));
    }
    transaction.commit().await.map_err(StoreError::from)?;
    Ok(left)
}

/// Checks the bundles that are not kept already, if so many are allowed.
async fn verify_new(
    pool: &SqlitePool,
    merchant: &Merchant,
    parsed: &[(i64, Vec<u8>)],
    read: &[PrekeyBundle],
    allowed: impl FnOnce(usize) -> Result<(), Duration>,
) -> Result<(), PrekeyError> {
    let mut connection = pool.acquire().await.map_err(StoreError::from)?;
    let mut new = Vec::new();
    for ((index, bytes), bundle) in parsed.iter().zip(read) {
        match known(&mut connection, &merchant.name, *index).await? {
            Some(kept) if kept == *bytes => {}
            Some(_) => return Err(PrekeyError::IndexTaken(bundle.index)),
            None => new.push(bundle),
        }
    }
    drop(connection);
    allowed(new.len()).map_err(PrekeyError::TooOften)?;
    for bundle in new {
        bundle
            .verify(&merchant.name, &merchant.identity)
            .map_err(|e| PrekeyError::Signature { index: bundle.index, why: e.to_string() })?;
    }
    Ok(())
}

/// The bundle that is kept under an index.
async fn known(
    connection: &mut SqliteConnection,
    merchant: &MerchantId,
    index: i64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as("SELECT bundle FROM prekeys WHERE merchant = ? AND idx = ?")
        .bind(merchant.as_str())
        .bind(index)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|(bundle,)| bundle))
}

/// The unused pre-key with the smallest index, marked as used in `round`; `None` when there is none.
pub(crate) async fn take(
    connection: &mut SqliteConnection,
    merchant: &MerchantId,
    round: u64,
) -> Result<Option<PrekeyBundle>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as(
        "UPDATE prekeys SET used_in_round = ?
         WHERE merchant = ? AND idx = (SELECT MIN(idx) FROM prekeys WHERE merchant = ? AND used_in_round IS NULL)
         RETURNING bundle",
    )
    .bind(stored(round))
    .bind(merchant.as_str())
    .bind(merchant.as_str())
    .fetch_optional(connection)
    .await?;
    row.map(|(bytes,)| {
        serde_json::from_slice(&bytes).map_err(|e| StoreError::Damaged(format!("a pre-key of {merchant}: {e}")))
    })
    .transpose()
}

/// Marks a merchant's unused pre-keys as used in no round, but for those that are being uploaded: a repeated call
/// must not discard what its first attempt brought.
async fn discard(
    connection: &mut SqliteConnection,
    merchant: &MerchantId,
    kept: &[(i64, Vec<u8>)],
) -> Result<(), StoreError> {
    let unused: Vec<(i64,)> = sqlx::query_as("SELECT idx FROM prekeys WHERE merchant = ? AND used_in_round IS NULL")
        .bind(merchant.as_str())
        .fetch_all(&mut *connection)
        .await?;
    for (index,) in unused {
        if kept.iter().all(|(other, _)| *other != index) {
            sqlx::query("UPDATE prekeys SET used_in_round = 0 WHERE merchant = ? AND idx = ?")
                .bind(merchant.as_str())
                .bind(index)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn left(connection: &mut SqliteConnection, merchant: &MerchantId) -> Result<u32, StoreError> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM prekeys WHERE merchant = ? AND used_in_round IS NULL")
        .bind(merchant.as_str())
        .fetch_one(connection)
        .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}
