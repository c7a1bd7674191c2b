//! Enrolled merchants, and the check of whoever calls.
//!
//! The invariant: a call is a merchant's only if its TLS certificate is byte for byte the one on file, the
//! merchant is not revoked and the certificate has not expired. The lookup happens on every call, so a
//! revocation holds from the next call on.

use forecastle_crypto::identity::{MerchantId, Sha256Digest, VerifyingKey, sha256};
use sqlx::{SqliteConnection, SqlitePool};
use tonic::{Request, Status};

use crate::{
    now_ms,
    store::{StoreError, count_column, digest_column, stored},
};

/// An enrolled merchant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merchant {
    /// Name inside the federation.
    pub name: MerchantId,
    /// Key that signs its pre-keys and charges.
    pub identity: VerifyingKey,
    /// SHA-256 of its TLS certificate.
    pub fingerprint: Sha256Digest,
    /// Unix time in milliseconds after which the certificate is refused.
    pub not_after_ms: u64,
    /// True when it may no longer take part.
    pub revoked: bool,
    /// The last round it was invited to; 0 for none.
    pub last_round: u64,
    /// Pre-keys that no round has used.
    pub prekeys_left: u32,
}

/// A merchant's row as SQLite gives it.
type Row = (String, Vec<u8>, Vec<u8>, i64, Option<i64>, i64, i64);

/// All enrolled merchants, by name.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn all(pool: &SqlitePool) -> Result<Vec<Merchant>, StoreError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT name, identity, fingerprint, not_after_ms, revoked_ms, last_round,
                (SELECT COUNT(*) FROM prekeys WHERE merchant = name AND used_in_round IS NULL)
         FROM merchants ORDER BY name",
    )
    .fetch_all(pool)
    .await?;
    rows.into_iter().map(merchant).collect()
}

/// The merchant whose certificate has this fingerprint.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn by_fingerprint(pool: &SqlitePool, fingerprint: Sha256Digest) -> Result<Option<Merchant>, StoreError> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT name, identity, fingerprint, not_after_ms, revoked_ms, last_round,
                (SELECT COUNT(*) FROM prekeys WHERE merchant = name AND used_in_round IS NULL)
         FROM merchants WHERE fingerprint = ?",
    )
    .bind(fingerprint.as_bytes().to_vec())
    .fetch_optional(pool)
    .await?;
    row.map(merchant).transpose()
}

/// Marks a merchant as revoked in the caller's transaction. False when there is no such merchant, or it was
/// revoked before.
pub(crate) async fn revoke(
    connection: &mut SqliteConnection,
    name: &MerchantId,
    now_ms: u64,
) -> Result<bool, StoreError> {
    let changed = sqlx::query("UPDATE merchants SET revoked_ms = ? WHERE name = ? AND revoked_ms IS NULL")
        .bind(stored(now_ms))
        .bind(name.as_str())
        .execute(connection)
        .await?
        .rows_affected();
    Ok(changed == 1)
}

/// Refuses a call that came without a client certificate, before its message is read.
// A `Status` is what interceptors return.
#[allow(clippy::result_large_err)]
pub(crate) fn require_certificate(request: Request<()>) -> Result<Request<()>, Status> {
    if request.peer_certs().is_some_and(|certificates| !certificates.is_empty()) {
        Ok(request)
    } else {
        Err(Status::unauthenticated(
            "this call needs the certificate that joining the federation gave you: join with an invitation first",
        ))
    }
}

/// The merchant that makes a call.
pub(crate) async fn caller<T>(pool: &SqlitePool, request: &Request<T>) -> Result<Merchant, Status> {
    let certificates = request.peer_certs().unwrap_or_default();
    let Some(certificate) = certificates.first() else {
        return Err(Status::unauthenticated("this call needs a client certificate: join with an invitation first"));
    };
    let merchant = by_fingerprint(pool, sha256(certificate)).await.map_err(internal)?.ok_or_else(|| {
        Status::unauthenticated("your certificate is not on file here: join with an invitation of this federation")
    })?;
    if merchant.revoked {
        return Err(Status::permission_denied("your enrolment was revoked: ask the operator of the federation"));
    }
    if merchant.not_after_ms <= now_ms() {
        return Err(Status::unauthenticated("your certificate has expired: ask the operator for a new invitation"));
    }
    Ok(merchant)
}

/// Reports a failure of the server itself: the operator sees it, the caller learns only that it happened.
pub(crate) fn internal(error: impl std::error::Error) -> Status {
    tracing::error!("{error}");
    Status::unavailable(
        "the server cannot answer at the moment; its operator finds the reason in its log: try again later",
    )
}

fn merchant(row: Row) -> Result<Merchant, StoreError> {
    let (name, identity, fingerprint, not_after, revoked, last_round, prekeys) = row;
    Ok(Merchant {
        name: name.parse().map_err(|_| StoreError::Damaged("merchants.name is no merchant id".into()))?,
        identity: VerifyingKey(digest_column(identity, "merchants.identity")?),
        fingerprint: Sha256Digest(digest_column(fingerprint, "merchants.fingerprint")?),
        not_after_ms: count_column(not_after, "merchants.not_after_ms")?,
        revoked: revoked.is_some(),
        last_round: count_column(last_round, "merchants.last_round")?,
        prekeys_left: u32::try_from(prekeys).unwrap_or(u32::MAX),
    })
}
