//! The calls of one round, each with its retries.
//!
//! Every call may be repeated: the server takes the same bytes again without effect. A server that does not
//! answer is asked again, more slowly each time, until the patience is used up. One that answers, and puts this merchant
//! off, is waited for as long as the plan gives a phase, and the patience on top: nobody keeps a round open for longer,
//! with its secrets in memory.

use std::time::{Duration, Instant};

use forecastle_crypto::{ledger::entry::SignedCharge, secagg::participant::MaskedUpdate};
use forecastle_proto::{
    limits::{CALL_TIMEOUT_MS, CHUNK_BYTES, STREAM_TIMEOUT_MS, WAIT_MS_MAX},
    model::MODEL_BYTES_MAX,
    model_service::GetModelRequest,
    round::{
        AwaitMessageResponse, AwaitOfferRequest, MaskedUpdateBytes, MaskedUpdateChunk, MaskedUpdateStart,
        ParticipantMessage, RoundCall, UploadPrekeysRequest, await_message_response, await_offer_response,
        await_outcome_response, masked_update_chunk,
    },
};
use tonic::Status;

use crate::federation::connection::{CallError, Connection, PAUSE_MAX, Parts, call, plain, prompt, stream, whole};

/// Longest time for the whole answer to a call that the server may hold.
const CALL: Duration = Duration::from_millis(CALL_TIMEOUT_MS);
/// Longest time for a whole stream.
const STREAM: Duration = Duration::from_millis(STREAM_TIMEOUT_MS);

/// Time between two questions to a server that has nothing yet. It should have held the line; where it does not, this
/// merchant does not run in circles.
const NOTHING_YET: Duration = Duration::from_millis(100);

/// What the server holds a participant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Key shares of the others.
    Shares,
    /// The survivor set.
    Survivors,
    /// The unmask request.
    UnmaskRequest,
}

impl Awaited {
    fn name(self) -> &'static str {
        match self {
            Self::Shares => "the others' shares",
            Self::Survivors => "the survivor set",
            Self::UnmaskRequest => "the unmasking request",
        }
    }
}

/// The end of a round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A model was published.
    Published {
        /// Its version.
        model_version: u64,
    },
    /// The round went on or ended without this merchant.
    Ended {
        /// Why.
        reason: String,
    },
}

/// The calls of a merchant to one server.
#[derive(Clone)]
pub struct Exchange {
    connection: Connection,
    patience: Duration,
    phase: Duration,
}

impl Exchange {
    /// Calls over `connection`; a server that does not answer is tried for `patience`, a phase of a round takes `phase`.
    pub fn new(connection: Connection, patience: Duration, phase: Duration) -> Self {
        Self { connection, patience, phase }
    }

    /// The connection below.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Repeats `attempt`, each within `limit`, while the failure is transient and patience lasts.
    async fn persistently<T, F>(&self, limit: Duration, attempt: impl Fn(Connection) -> F) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(100);
        loop {
            match whole(limit, attempt(self.connection.clone())).await {
                Ok(answer) => return Ok(answer),
                Err(status) => {
                    let error = self.connection.explain(status);
                    let wait = pause.max(error.wait());
                    if !error.is_transient() || begun.elapsed() + wait > self.patience {
                        return Err(error);
                    }
                    tokio::time::sleep(wait).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    /// Uploads pre-key bundles (JSON each); returns how many the server now holds ready.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn upload_prekeys(&self, bundles: Vec<Vec<u8>>, replace: bool) -> Result<u32, CallError> {
        let request = UploadPrekeysRequest { bundles, replace };
        self.persistently(CALL, |c| {
            let request = request.clone();
            async move { Ok(c.rounds().upload_prekeys(call(request)).await?.into_inner().prekeys_left) }
        })
        .await
    }

    /// Checks in for a round later than `after_round` and holds the line once.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn await_offer(&self, after_round: u64) -> Result<await_offer_response::Answer, CallError> {
        let answer = self
            .persistently(CALL, |c| async move {
                let request = AwaitOfferRequest { after_round, wait_ms: WAIT_MS_MAX };
                let answer = c.rounds().await_offer(call(request)).await?.into_inner().answer;
                answer.ok_or_else(|| Status::data_loss("an answer without content"))
            })
            .await?;
        if matches!(answer, await_offer_response::Answer::Pending(_)) {
            tokio::time::sleep(NOTHING_YET).await;
        }
        Ok(answer)
    }

    /// Sends one message of the round.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn share_keys(&self, sid: &[u8], message: Vec<u8>) -> Result<(), CallError> {
        let request = ParticipantMessage { sid: sid.to_vec(), message };
        self.persistently(CALL, |c| {
            let request = request.clone();
            async move { c.rounds().share_keys(call(request)).await.map(|_| ()) }
        })
        .await
    }

    /// Sends the consistency signature.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn confirm(&self, sid: &[u8], message: Vec<u8>) -> Result<(), CallError> {
        let request = ParticipantMessage { sid: sid.to_vec(), message };
        self.persistently(CALL, |c| {
            let request = request.clone();
            async move { c.rounds().confirm(call(request)).await.map(|_| ()) }
        })
        .await
    }

    /// Sends the unmasking answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn unmask(&self, sid: &[u8], message: Vec<u8>) -> Result<(), CallError> {
        let request = ParticipantMessage { sid: sid.to_vec(), message };
        self.persistently(CALL, |c| {
            let request = request.clone();
            async move { c.rounds().unmask(call(request)).await.map(|_| ()) }
        })
        .await
    }

    /// Waits for a message of the server. `Err` in the inner result says why the round is over for this merchant: the
    /// server's own word, or that it kept this merchant waiting beyond the phase.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn await_message(&self, sid: &[u8], what: Awaited) -> Result<Result<Vec<u8>, String>, CallError> {
        let until = Instant::now() + self.phase + self.patience;
        loop {
            let answer = self
                .persistently(CALL, |c| async move {
                    let request = call(RoundCall { sid: sid.to_vec(), wait_ms: WAIT_MS_MAX });
                    let mut rounds = c.rounds();
                    let answer: AwaitMessageResponse = match what {
                        Awaited::Shares => rounds.await_shares(request).await,
                        Awaited::Survivors => rounds.await_survivors(request).await,
                        Awaited::UnmaskRequest => rounds.await_unmask_request(request).await,
                    }?
                    .into_inner();
                    answer.answer.ok_or_else(|| Status::data_loss("an answer without content"))
                })
                .await?;
            match answer {
                await_message_response::Answer::Message(bytes) => return Ok(Ok(bytes)),
                await_message_response::Answer::Ended(ended) => return Ok(Err(plain(&ended.reason))),
                await_message_response::Answer::Pending(_) if Instant::now() < until => {
                    tokio::time::sleep(NOTHING_YET).await;
                }
                await_message_response::Answer::Pending(_) => {
                    return Ok(Err(format!("the server holds {} back for longer than a phase takes", what.name())));
                }
            }
        }
    }

    /// Waits for the end of the round.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn await_outcome(&self, sid: &[u8]) -> Result<Outcome, CallError> {
        let until = Instant::now() + 2 * self.phase + self.patience;
        loop {
            let answer = self
                .persistently(CALL, |c| async move {
                    let request = call(RoundCall { sid: sid.to_vec(), wait_ms: WAIT_MS_MAX });
                    let answer = c.rounds().await_outcome(request).await?.into_inner().answer;
                    answer.ok_or_else(|| Status::data_loss("an answer without content"))
                })
                .await?;
            match answer {
                await_outcome_response::Answer::Published(p) => {
                    return Ok(Outcome::Published { model_version: p.model_version });
                }
                await_outcome_response::Answer::Ended(e) => return Ok(Outcome::Ended { reason: plain(&e.reason) }),
                await_outcome_response::Answer::Pending(_) if Instant::now() < until => {
                    tokio::time::sleep(NOTHING_YET).await;
                }
                await_outcome_response::Answer::Pending(_) => {
                    let reason = "the server does not say how the round ended".to_owned();
                    return Ok(Outcome::Ended { reason });
                }
            }
        }
    }

    /// Uploads a masked update with its charge, in chunks, going on where an interrupted upload stopped.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn send_masked_update(
        &self,
        sid: &[u8],
        charge: &SignedCharge,
        update: &MaskedUpdate,
    ) -> Result<(), CallError> {
        let start = MaskedUpdateStart {
            sid: sid.to_vec(),
            header: update.header().encode(),
            charge: serde_json::to_vec(charge).expect("a charge always serialises"),
        };
        let total = update.bytes().len() as u64;
        let begun = Instant::now();
        let mut held = 0;
        loop {
            let mut parts = vec![MaskedUpdateChunk { part: Some(masked_update_chunk::Part::Start(start.clone())) }];
            let mut offset = held;
            for chunk in update.bytes()[held as usize..].chunks(CHUNK_BYTES) {
                let bytes = MaskedUpdateBytes { offset, data: chunk.to_vec().into() };
                offset += chunk.len() as u64;
                parts.push(MaskedUpdateChunk { part: Some(masked_update_chunk::Part::Bytes(bytes)) });
            }
            let sent = whole(STREAM, async {
                self.connection.rounds().send_masked_update(stream(tokio_stream::iter(parts))).await
            });
            match sent.await {
                Ok(answer) if answer.get_ref().received == total => return Ok(()),
                Ok(answer) => held = answer.get_ref().received.min(total),
                Err(status) => {
                    let error = self.connection.explain(status);
                    if !error.is_transient() {
                        return Err(error);
                    }
                    tracing::debug!("upload interrupted: {error}");
                    tokio::time::sleep(error.wait()).await;
                    held = self.upload_offset(sid).await?.min(total);
                }
            }
            if begun.elapsed() > self.patience {
                return Err(CallError::Unreachable {
                    server: self.connection.server().to_owned(),
                    why: "the upload did not complete".into(),
                });
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn upload_offset(&self, sid: &[u8]) -> Result<u64, CallError> {
        self.persistently(CALL, |c| async move {
            let request = call(RoundCall { sid: sid.to_vec(), wait_ms: 0 });
            Ok(c.rounds().upload_offset(request).await?.into_inner().received)
        })
        .await
    }

    /// Downloads a published model file.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn model(&self, version: u64) -> Result<Vec<u8>, CallError> {
        self.persistently(STREAM, |c| async move {
            let mut models = c.models();
            let asked = prompt(models.get(stream(GetModelRequest { version }))).await?;
            let mut chunks = Parts::of(asked.into_inner());
            let mut bytes = Vec::new();
            while let Some(chunk) = chunks.next().await? {
                if chunk.data.is_empty() {
                    return Err(Status::data_loss("a part of a model file without content"));
                }
                if bytes.len() + chunk.data.len() > MODEL_BYTES_MAX {
                    return Err(Status::out_of_range("a model file larger than accepted"));
                }
                bytes.extend_from_slice(&chunk.data);
            }
            Ok(bytes)
        })
        .await
    }
}
