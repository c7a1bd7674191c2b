//! Enrolled merchants, and the check of whoever calls.
//!
//! The invariant: a call is a merchant's only if its TLS certificate is byte for byte the one on file, the
//! merchant is not revoked and the certificate has not expired. The lookup happens on every call, so a
//! revocation holds from the next call on. Before it, and before the call's message is read, stands the bound on how much
//! one caller may ask for.

use std::time::Instant;

use forecastle_crypto::identity::{MerchantId, Sha256Digest, VerifyingKey};
use sqlx::{SqliteConnection, SqlitePool};
use tonic::{Request, Status};

use crate::{
    admission::{OpenCall, peer_of},
    now_ms,
    peer::Peer,
    server::Shared,
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

/// Whether a merchant may no longer take part, as seen inside the caller's transaction.
pub(crate) async fn is_revoked(connection: &mut SqliteConnection, name: &MerchantId) -> Result<bool, StoreError> {
    let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM merchants WHERE name = ? AND revoked_ms IS NOT NULL")
        .bind(name.as_str())
        .fetch_one(connection)
        .await?;
    Ok(count > 0)
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

/// A merchant and its call, which stays open for as long as this is kept.
pub(crate) struct Caller {
    merchant: Merchant,
    pub(crate) call: OpenCall,
}

impl std::ops::Deref for Caller {
    type Target = Merchant;

    fn deref(&self) -> &Merchant {
        &self.merchant
    }
}

/// Refuses, before its message is read, a call that came without a client certificate or is one too many.
// A `Status` is what interceptors return.
#[allow(clippy::result_large_err)]
pub(crate) fn admit(shared: &Shared, mut request: Request<()>) -> Result<Request<()>, Status> {
    let peer = peer_of(&request);
    if matches!(peer, Peer::Stranger(_)) {
        return Err(Status::unauthenticated(
            "this call needs the certificate that joining the federation gave you: join with an invitation first",
        ));
    }
    let call = shared.admission.admit(peer, Instant::now()).inspect_err(|refused| {
        shared.peer_turned_away(peer, &refused.to_string());
    })?;
    request.extensions_mut().insert(call);
    Ok(request)
}

/// The merchant that makes a call which was admitted.
pub(crate) async fn caller<T>(shared: &Shared, request: &Request<T>) -> Result<Caller, Status> {
    let call = request.extensions().get::<OpenCall>().cloned();
    let Some(call @ OpenCall { peer: Peer::Certified(fingerprint), .. }) = call else {
        return Err(Status::unauthenticated("this call needs a client certificate: join with an invitation first"));
    };
    let merchant = by_fingerprint(shared.state.pool(), fingerprint).await.map_err(internal)?.ok_or_else(|| {
        Status::unauthenticated("your certificate is not on file here: join with an invitation of this federation")
    })?;
    shared.admission.is(call.peer, &merchant.name);
    if merchant.revoked {
        return Err(revoked());
    }
    if merchant.not_after_ms <= now_ms() {
        return Err(Status::unauthenticated("your certificate has expired: ask the operator for a new invitation"));
    }
    Ok(Caller { merchant, call })
}

/// The answer to who may no longer take part.
pub(crate) fn revoked() -> Status {
    Status::permission_denied("your enrolment was revoked: ask the operator of the federation")
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
