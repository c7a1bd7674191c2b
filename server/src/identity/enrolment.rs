//! Joining: an invitation becomes an enrolled identity and a certificate.
//!
//! The invariant: one invitation enrols one identity. Invitation, merchant and the log's `Enrolled` entry change
//! in one transaction, so a crash leaves either an unused invitation or a merchant that can ask for its
//! certificate again with the same token, name and key.
//!
//! Whoever has no invitation costs one indexed lookup, as often as its address may call: no wrong token gets as far as the
//! log's lock.

use std::{sync::Arc, time::Instant};

use forecastle_crypto::{
    identity::{MerchantId, Sha256Digest, Signature, VerifyingKey, sha256},
    ledger::entry::{Enrolled, Entry},
};
use forecastle_proto::enrolment::{
    JoinRequest, JoinResponse, PreviewRequest, PreviewResponse, enrolment_server::Enrolment,
};
use sqlx::SqliteConnection;
use tonic::{Request, Response, Status};

use crate::{
    admission::{OpenCall, peer_of},
    event::ServerEvent,
    identity::{
        certificates::CertificateError,
        invitations::{self, Presented},
        merchants::internal,
    },
    ledger::store::LedgerError,
    now_ms,
    server::Shared,
    store::{StoreError, stored},
};

/// Domain of the joining signature.
pub const JOIN_CONTEXT: &str = "forecastle join v1";

/// Why a merchant could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// A field is malformed.
    #[error("the request to join is malformed, `{field}`: {why}")]
    Malformed {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The identity key did not sign the request.
    #[error("the request to join is not signed by its identity key")]
    Signature,
    /// No such token.
    #[error(
        "this invitation is not known here: check that the whole line was pasted, or ask the operator for a new one"
    )]
    UnknownToken,
    /// Too late.
    #[error("this invitation has expired: ask the operator for a new one")]
    Expired,
    /// Taken back.
    #[error("this invitation was revoked: ask the operator for a new one")]
    Revoked,
    /// Used by someone else, or by this merchant with another key.
    #[error("this invitation was used already: ask the operator for a new one")]
    Used,
    /// The name belongs to someone.
    #[error("the merchant name `{0}` is taken in this federation: choose another one")]
    NameTaken(MerchantId),
    /// The key belongs to someone.
    #[error("this identity key is enrolled under another name: join from a new state directory")]
    IdentityTaken,
    /// The certificate request.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Log or database.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<sqlx::Error> for JoinError {
    fn from(error: sqlx::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl From<JoinError> for Status {
    fn from(error: JoinError) -> Self {
        let text = error.to_string();
        match error {
            JoinError::Malformed { .. } | JoinError::Certificate(CertificateError::Request(_)) => {
                Self::invalid_argument(text)
            }
            JoinError::Signature | JoinError::UnknownToken => Self::unauthenticated(text),
            JoinError::Expired | JoinError::Revoked | JoinError::Used => Self::failed_precondition(text),
            JoinError::NameTaken(_) | JoinError::IdentityTaken => Self::already_exists(text),
            JoinError::Certificate(error @ CertificateError::Authority(_)) => internal(error),
            JoinError::Ledger(error) => internal(error),
        }
    }
}

/// A request whose fields have their types and whose signature holds.
struct Joining {
    token_sha256: Sha256Digest,
    merchant: MerchantId,
    identity: VerifyingKey,
    certificate_request: Vec<u8>,
}

/// Refuses, before its message is read, a call that is one too many from its address.
// A `Status` is what interceptors return.
#[allow(clippy::result_large_err)]
pub(crate) fn admit(shared: &Shared, mut request: Request<()>) -> Result<Request<()>, Status> {
    let call = shared.admission.admit(peer_of(&request), Instant::now())?;
    request.extensions_mut().insert(call);
    Ok(request)
}

/// The service.
pub(crate) struct EnrolmentService(pub(crate) Arc<Shared>);

#[tonic::async_trait]
impl Enrolment for EnrolmentService {
    async fn preview(&self, request: Request<PreviewRequest>) -> Result<Response<PreviewResponse>, Status> {
        let token: [u8; invitations::TOKEN_BYTES] = length(request.into_inner().token, "token")?;
        self.0.preview(sha256(&token)).await?;
        let state = &self.0.state;
        Ok(Response::new(PreviewResponse {
            federation: state.federation().to_owned(),
            server_key: state.server_key().as_bytes().to_vec(),
            plan: state.plan_bytes().to_vec(),
            server_time_ms: now_ms(),
        }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let _open = request.extensions().get::<OpenCall>().cloned();
        let joining = Joining::parse(request.into_inner())?;
        let certificate = self.0.join(joining).await?;
        let state = &self.0.state;
        Ok(Response::new(JoinResponse {
            certificate,
            federation: state.federation().to_owned(),
            server_key: state.server_key().as_bytes().to_vec(),
            plan: state.plan_bytes().to_vec(),
        }))
    }
}

fn length<const N: usize>(bytes: Vec<u8>, field: &'static str) -> Result<[u8; N], JoinError> {
    let found = bytes.len();
    bytes.try_into().map_err(|_| JoinError::Malformed { field, why: format!("has {found} bytes, not {N}") })
}

impl Joining {
    fn parse(request: JoinRequest) -> Result<Self, JoinError> {
        let token: [u8; invitations::TOKEN_BYTES] = length(request.token, "token")?;
        let identity = VerifyingKey(length(request.identity_key, "identity_key")?);
        let signature = Signature(length(request.signature, "signature")?);
        let merchant: MerchantId =
            request.merchant.parse().map_err(|e| JoinError::Malformed { field: "merchant", why: format!("{e}") })?;
        let token_sha256 = sha256(&token);
        let signed =
            [token_sha256.as_bytes(), merchant.as_str().as_bytes(), &[0], &request.certificate_request[..]].concat();
        identity.verify(JOIN_CONTEXT, &signed, &signature).map_err(|_| JoinError::Signature)?;
        Ok(Self { token_sha256, merchant, identity, certificate_request: request.certificate_request })
    }
}

impl Shared {
    /// Whether a token opens anything. One that was used still shows its holder what it joined: an answer may
    /// have been lost on its way.
    async fn preview(&self, token_sha256: Sha256Digest) -> Result<(), JoinError> {
        let mut connection = self.state.pool().acquire().await?;
        let invitation = invitations::by_token(&mut connection, token_sha256).await?.ok_or(JoinError::UnknownToken)?;
        match invitation {
            Presented { merchant: Some(_), .. } => Ok(()),
            Presented { revoked: true, .. } => Err(JoinError::Revoked),
            Presented { expires_ms, .. } if expires_ms <= now_ms() => Err(JoinError::Expired),
            _ => Ok(()),
        }
    }

    /// Enrols, or hands the certificate of the same enrolment out again. Returns the certificate, DER.
    async fn join(&self, joining: Joining) -> Result<Vec<u8>, JoinError> {
        let now = now_ms();
        let Joining { token_sha256, merchant, identity, certificate_request } = joining;
        self.preview(token_sha256).await?;
        let mut batch = self.ledger.begin().await?;
        let invitation =
            invitations::by_token(batch.connection(), token_sha256).await?.ok_or(JoinError::UnknownToken)?;
        if invitation.merchant.is_some() {
            // The answer may have been lost on its way: the same merchant with the same key gets it again.
            return enrolled_with(batch.connection(), invitation.id, &merchant, identity).await?.ok_or(JoinError::Used);
        }
        if invitation.revoked {
            return Err(JoinError::Revoked);
        }
        if invitation.expires_ms <= now {
            return Err(JoinError::Expired);
        }
        let (named, keyed): (i64, i64) = sqlx::query_as(
            "SELECT (SELECT COUNT(*) FROM merchants WHERE name = ?), (SELECT COUNT(*) FROM merchants WHERE identity = ?)",
        )
        .bind(merchant.as_str())
        .bind(identity.as_bytes().to_vec())
        .fetch_one(batch.connection())
        .await?;
        if named > 0 {
            return Err(JoinError::NameTaken(merchant));
        }
        if keyed > 0 {
            return Err(JoinError::IdentityTaken);
        }
        let issued =
            self.authority.issue_merchant(&merchant, &certificate_request, self.state.settings().certificate_days)?;
        invitations::use_up(batch.connection(), invitation.id, &merchant, now).await?;
        sqlx::query(
            "INSERT INTO merchants (name, identity, certificate, fingerprint, not_after_ms, invitation, enrolled_ms)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(merchant.as_str())
        .bind(identity.as_bytes().to_vec())
        .bind(&issued.certificate)
        .bind(issued.fingerprint.as_bytes().to_vec())
        .bind(stored(issued.not_after_ms))
        .bind(invitation.id)
        .bind(stored(now))
        .execute(batch.connection())
        .await?;
        batch.push(&Entry::Enrolled(Enrolled { merchant: merchant.clone(), identity, at_ms: now })).await?;
        // A crash before this leaves the invitation unused; after it, the merchant asks again and is answered
        // from its row.
        batch.commit().await?;
        self.events.emit(ServerEvent::MerchantJoined { merchant });
        self.hall.notify();
        Ok(issued.certificate)
    }
}

/// The certificate of the merchant that used an invitation, if it is this one.
async fn enrolled_with(
    connection: &mut SqliteConnection,
    invitation: i64,
    merchant: &MerchantId,
    identity: VerifyingKey,
) -> Result<Option<Vec<u8>>, StoreError> {
    let row: Option<(Vec<u8>,)> = sqlx::query_as(
        "SELECT certificate FROM merchants
         WHERE invitation = ? AND name = ? AND identity = ? AND revoked_ms IS NULL",
    )
    .bind(invitation)
    .bind(merchant.as_str())
    .bind(identity.as_bytes().to_vec())
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|(certificate,)| certificate))
}
