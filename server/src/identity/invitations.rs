//! One-time invitations: made by the operator, used up by the first merchant that joins with one.
//!
//! The invariant: the token leaves this module once, inside the invitation; the database holds its SHA-256. An
//! invitation is used up in the transaction that enrols the merchant.

use forecastle_crypto::{
    entropy::{Entropy as _, EntropyUnavailable, SystemEntropy},
    identity::{MerchantId, Sha256Digest, sha256},
};
use forecastle_proto::invitation::Invitation;
use serde::Serialize;
use sqlx::{SqliteConnection, SqlitePool};

use crate::store::{StoreError, count_column, stored};

/// Bytes of a token.
pub const TOKEN_BYTES: usize = 32;
/// The longest validity, ten years in milliseconds.
const VALIDITY_MS_MAX: u64 = 3650 * 86_400_000;

/// What the operator sees of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvitationRow {
    /// Number to revoke it by.
    pub id: u64,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    /// Unix time in milliseconds.
    pub expires_ms: u64,
    /// What became of it.
    pub state: InvitationState,
}

/// What became of an invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InvitationState {
    /// Can be used.
    Open,
    /// Its time is over.
    Expired,
    /// Taken back by the operator.
    Revoked,
    /// Used by this merchant.
    Used {
        /// Who joined with it.
        merchant: String,
    },
}

/// Why an invitation was not made or taken back.
#[derive(Debug, thiserror::Error)]
pub enum InvitationError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// Valid for no time, or too long.
    #[error("an invitation must be valid for at least a second and at most ten years")]
    Validity,
    /// No such invitation.
    #[error("there is no invitation {0}; `forecastle-server invite list` shows them")]
    Unknown(u64),
    /// Used already.
    #[error("invitation {id} was used by {merchant}; revoking it would change nothing")]
    Used {
        /// Which.
        id: u64,
        /// By whom.
        merchant: String,
    },
}

impl From<sqlx::Error> for InvitationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Makes an invitation that is valid for `validity_ms` milliseconds from `now_ms`.
///
/// # Errors
/// [`InvitationError`] when it could not be stored.
pub async fn create(
    pool: &SqlitePool,
    server: &str,
    server_name: &str,
    authority: &[u8],
    now_ms: u64,
    validity_ms: u64,
) -> Result<Invitation, InvitationError> {
    if !(1_000..=VALIDITY_MS_MAX).contains(&validity_ms) {
        return Err(InvitationError::Validity);
    }
    let mut token = [0u8; TOKEN_BYTES];
    SystemEntropy::new().fill(&mut token)?;
    let expires_ms = now_ms + validity_ms;
    sqlx::query("INSERT INTO invitations (token_sha256, created_ms, expires_ms) VALUES (?, ?, ?)")
        .bind(sha256(&token).as_bytes().to_vec())
        .bind(stored(now_ms))
        .bind(stored(expires_ms))
        .execute(pool)
        .await?;
    Ok(Invitation {
        server: server.to_owned(),
        server_name: server_name.to_owned(),
        ca_certificate: data_encoding::HEXLOWER.encode(authority),
        token: data_encoding::HEXLOWER.encode(&token),
        expires_ms,
    })
}

/// All invitations, oldest first.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn list(pool: &SqlitePool, now_ms: u64) -> Result<Vec<InvitationRow>, StoreError> {
    type Row = (i64, i64, i64, Option<i64>, Option<String>);
    let rows: Vec<Row> =
        sqlx::query_as("SELECT id, created_ms, expires_ms, revoked_ms, merchant FROM invitations ORDER BY id")
            .fetch_all(pool)
            .await?;
    rows.into_iter()
        .map(|(id, created, expires, revoked, merchant)| {
            let expires_ms = count_column(expires, "invitations.expires_ms")?;
            Ok(InvitationRow {
                id: count_column(id, "invitations.id")?,
                created_ms: count_column(created, "invitations.created_ms")?,
                expires_ms,
                state: match (merchant, revoked) {
                    (Some(merchant), _) => InvitationState::Used { merchant },
                    (None, Some(_)) => InvitationState::Revoked,
                    (None, None) if expires_ms <= now_ms => InvitationState::Expired,
                    (None, None) => InvitationState::Open,
                },
            })
        })
        .collect()
}

/// Takes an unused invitation back.
///
/// # Errors
/// [`InvitationError`] when there is no such invitation or it was used.
pub async fn revoke(pool: &SqlitePool, id: u64, now_ms: u64) -> Result<(), InvitationError> {
    let row = i64::try_from(id).map_err(|_| InvitationError::Unknown(id))?;
    let changed =
        sqlx::query("UPDATE invitations SET revoked_ms = COALESCE(revoked_ms, ?) WHERE id = ? AND used_ms IS NULL")
            .bind(stored(now_ms))
            .bind(row)
            .execute(pool)
            .await?
            .rows_affected();
    if changed == 1 {
        return Ok(());
    }
    let used: Option<(Option<String>,)> =
        sqlx::query_as("SELECT merchant FROM invitations WHERE id = ?").bind(row).fetch_optional(pool).await?;
    match used {
        Some((Some(merchant),)) => Err(InvitationError::Used { id, merchant }),
        _ => Err(InvitationError::Unknown(id)),
    }
}

/// What a token leads to, as seen inside the enrolling transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) id: i64,
    pub(crate) expires_ms: u64,
    pub(crate) revoked: bool,
    pub(crate) merchant: Option<String>,
}

/// Looks a token up by its hash.
pub(crate) async fn by_token(
    connection: &mut SqliteConnection,
    token_sha256: Sha256Digest,
) -> Result<Option<Presented>, StoreError> {
    let row: Option<(i64, i64, Option<i64>, Option<String>)> =
        sqlx::query_as("SELECT id, expires_ms, revoked_ms, merchant FROM invitations WHERE token_sha256 = ?")
            .bind(token_sha256.as_bytes().to_vec())
            .fetch_optional(connection)
            .await?;
    row.map(|(id, expires, revoked, merchant)| {
        Ok(Presented {
            id,
            expires_ms: count_column(expires, "invitations.expires_ms")?,
            revoked: revoked.is_some(),
            merchant,
        })
    })
    .transpose()
}

/// Marks an invitation as used by `merchant`.
pub(crate) async fn use_up(
    connection: &mut SqliteConnection,
    id: i64,
    merchant: &MerchantId,
    now_ms: u64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE invitations SET used_ms = ?, merchant = ? WHERE id = ? AND used_ms IS NULL")
        .bind(stored(now_ms))
        .bind(merchant.as_str())
        .bind(id)
        .execute(connection)
        .await?;
    Ok(())
}
