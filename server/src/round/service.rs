//! The round's calls. Each authenticates its caller, parses once, works under the hall's lock, and answers.
//!
//! The invariant: a call repeated with the same bytes gets the same answer and changes nothing.

use std::{pin::Pin, sync::Arc, time::Duration};

use forecastle_crypto::secagg::{ConsistencySignature, NotTaken, ParticipantNumber, ShareKeys, UnmaskResponse};
use forecastle_proto::{
    limits::WAIT_MS_MAX,
    round::{
        Accepted, AwaitMessageResponse, AwaitOfferRequest, AwaitOfferResponse, AwaitOutcomeResponse, MaskedUpdateChunk,
        ParticipantMessage, Pending, RoundCall, RoundEnded, RoundPublished, RunFinished, SignedOffer, StatusRequest,
        StatusResponse, UploadOffsetResponse, UploadPrekeysRequest, UploadPrekeysResponse, await_message_response,
        await_offer_response, await_outcome_response, rounds_server::Rounds,
    },
};
use tokio::time::Instant;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    admission::busy,
    identity::merchants::{Caller, caller, internal},
    now_ms,
    round::{
        misconduct::Concern,
        phase::{Open, Outcome, Progress, Running, Session, Stage, between_phases, not_taken, over, too_late},
        prekeys::{self, PrekeyError},
    },
    server::Shared,
    state::RUN,
};

/// The service.
pub(crate) struct RoundService(pub(crate) Arc<Shared>);

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Rounds for RoundService {
    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        let merchant = self.caller(&request).await?;
        let state = &self.0.state;
        let rounds_used = state.rounds_used().await.map_err(internal)?;
        Ok(Response::new(StatusResponse {
            federation: state.federation().to_owned(),
            run: RUN,
            rounds_used,
            rounds_planned: u64::from(state.plan().rounds.count),
            finished: self.0.hall.with(|desk| desk.finished.is_some()),
            model_version: self.0.registry.latest().row.version,
            prekeys_left: merchant.prekeys_left,
            server_time_ms: now_ms(),
            plan: state.plan_bytes().to_vec(),
        }))
    }

    async fn upload_prekeys(&self, request: Request<UploadPrekeysRequest>) -> Answer<UploadPrekeysResponse> {
        let merchant = self.caller(&request).await?;
        let UploadPrekeysRequest { bundles, replace } = request.into_inner();
        let allowed = |count| self.0.admission.take_prekeys(merchant.fingerprint, count, std::time::Instant::now());
        let kept = prekeys::keep(self.0.state.pool(), &merchant, &bundles, replace, allowed).await;
        let kept = kept.map_err(|error| {
            let text = error.to_string();
            match error {
                PrekeyError::Store(error) => internal(error),
                PrekeyError::TooOften(wait) => busy(text, wait),
                PrekeyError::Full(_) => Status::resource_exhausted(text),
                PrekeyError::IndexTaken(_) => Status::already_exists(text),
                _ => Status::invalid_argument(text),
            }
        });
        let prekeys_left = self.0.noted(&merchant.name, Concern::Prekeys, kept)?;
        self.0.hall.notify();
        Ok(Response::new(UploadPrekeysResponse { prekeys_left }))
    }

    async fn await_offer(&self, request: Request<AwaitOfferRequest>) -> Answer<AwaitOfferResponse> {
        let merchant = self.caller(&request).await?;
        let AwaitOfferRequest { after_round, wait_ms } = request.into_inner();
        let mut present = self.0.hall.check_in(&merchant.name);
        let answer = self
            .wait(wait_ms, |desk| {
                if let Some(model_version) = desk.finished {
                    return Some(await_offer_response::Answer::Finished(RunFinished { model_version }));
                }
                let running = desk.running.as_ref()?;
                let invited = running.offer.number_of(&merchant.name).is_some();
                // Once key sharing is over, the offer is of no more use to who has not shared.
                let open = running.stage == Stage::KeyShares && running.round > after_round;
                (invited && open).then(|| {
                    await_offer_response::Answer::Offer(SignedOffer {
                        offer: running.signed.bytes.clone(),
                        signature: running.signed.signature.as_bytes().to_vec(),
                    })
                })
            })
            .await?;
        present.served = matches!(answer, Some(await_offer_response::Answer::Offer(_)));
        let answer = answer.unwrap_or_else(|| await_offer_response::Answer::Pending(self.pending()));
        Ok(Response::new(AwaitOfferResponse { answer: Some(answer) }))
    }

    async fn share_keys(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let message = |bytes: &[u8]| ShareKeys::decode(bytes);
        self.submit(request, Stage::KeyShares, message, |running, from, message| match &mut running.state {
            Some(Open::KeyShares(state)) => Some(state.receive(from, &message)),
            _ => None,
        })
        .await
    }

    async fn await_shares(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Stage::KeyShares, |running, number| match &mut running.state {
            Some(Open::MaskedUpdates(state)) if running.sharers.contains(number) => {
                Some(state.delivery(number).map(|message| message.encode()))
            }
            _ => None,
        })
        .await
    }

    async fn upload_offset(&self, request: Request<RoundCall>) -> Answer<UploadOffsetResponse> {
        let merchant = self.caller(&request).await?;
        let call = request.into_inner();
        let received = self.0.hall.with(|desk| match desk.session(&call.sid, &merchant.name)? {
            Session::Ended(outcome) => Err(over(&outcome)),
            Session::Running(running, number) => Ok(match running.uploads.get(&number).map(|s| &s.progress) {
                Some(Progress::Complete(length)) => *length,
                Some(Progress::Resting { upload: Some(upload), .. }) => upload.received(),
                // A busy upload is one whose connection the server has not yet given up.
                Some(Progress::Busy) => {
                    return Err(Status::aborted("an upload of yours is still at work: ask again in a second"));
                }
                Some(Progress::Resting { upload: None, .. }) | None => 0,
            }),
        });
        let received = self.0.noted(&merchant.name, Concern::MaskedUpdates, received)?;
        Ok(Response::new(UploadOffsetResponse { received }))
    }

    async fn send_masked_update(&self, request: Request<Streaming<MaskedUpdateChunk>>) -> Answer<UploadOffsetResponse> {
        let merchant = self.caller(&request).await?;
        let received = self.0.receive_masked_update(&merchant, request.into_inner()).await;
        let received = self.0.noted(&merchant.name, Concern::MaskedUpdates, received)?;
        Ok(Response::new(UploadOffsetResponse { received }))
    }

    async fn await_survivors(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Stage::MaskedUpdates, |running, number| {
            let message = running.survivors.as_ref()?;
            message.survivors.contains(number).then(|| Ok(message.encode()))
        })
        .await
    }

    async fn confirm(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let message = |bytes: &[u8]| ConsistencySignature::decode(bytes);
        self.submit(request, Stage::Consistency, message, |running, from, message| match &mut running.state {
            Some(Open::Consistency(state)) => Some(state.receive(from, &message).map_err(NotTaken::from)),
            _ => None,
        })
        .await
    }

    async fn await_unmask_request(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Stage::Consistency, |running, number| match &running.state {
            Some(Open::Unmasking(state)) if running.signers.contains(number) => {
                Some(state.request(number).map(|message| message.encode()).map_err(NotTaken::from))
            }
            _ => None,
        })
        .await
    }

    async fn unmask(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let message = |bytes: &[u8]| UnmaskResponse::decode(bytes);
        self.submit(request, Stage::Unmasking, message, |running, from, message| match &mut running.state {
            Some(Open::Unmasking(state)) => Some(state.receive(from, &message)),
            _ => None,
        })
        .await
    }

    async fn await_outcome(&self, request: Request<RoundCall>) -> Answer<AwaitOutcomeResponse> {
        use await_outcome_response::Answer;
        let merchant = self.caller(&request).await?;
        let call = request.into_inner();
        let answer = self
            .wait(call.wait_ms, |desk| match desk.session(&call.sid, &merchant.name) {
                Err(status) => Some(Err(status)),
                Ok(Session::Running(..)) => None,
                Ok(Session::Ended(Outcome::Published { model_version, model_sha256, ledger_index })) => {
                    Some(Ok(Answer::Published(RoundPublished {
                        model_version,
                        model_sha256: model_sha256.as_bytes().to_vec(),
                        ledger_index,
                    })))
                }
                Ok(Session::Ended(Outcome::Abandoned(reason))) => Some(Ok(Answer::Ended(RoundEnded { reason }))),
            })
            .await?
            .transpose();
        let answer = self.0.noted(&merchant.name, Concern::Outcome, answer)?;
        let answer = answer.unwrap_or_else(|| Answer::Pending(self.pending()));
        Ok(Response::new(AwaitOutcomeResponse { answer: Some(answer) }))
    }
}

impl RoundService {
    async fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        caller(&self.0, request).await
    }

    fn pending(&self) -> Pending {
        Pending { present: self.0.hall.with(|desk| desk.present(Instant::now())) }
    }

    /// Holds the line until `check` answers; `None` after the caller's time, bounded by the limit.
    async fn wait<T>(
        &self,
        wait_ms: u32,
        mut check: impl FnMut(&mut crate::round::phase::Desk) -> Option<T>,
    ) -> Result<Option<T>, Status> {
        let deadline = Instant::now() + Duration::from_millis(u64::from(wait_ms.min(WAIT_MS_MAX)));
        self.0
            .hall
            .wait_until(deadline, |desk| {
                if desk.stopping {
                    return Some(Err(Status::unavailable("the server is stopping: try again later")));
                }
                check(desk).map(Ok)
            })
            .await
            .transpose()
    }

    /// Takes one message of one stage.
    async fn submit<M>(
        &self,
        request: Request<ParticipantMessage>,
        stage: Stage,
        decode: impl FnOnce(&[u8]) -> Result<M, forecastle_crypto::secagg::DecodeError>,
        receive: impl FnOnce(&mut Running, ParticipantNumber, M) -> Option<Result<(), NotTaken>>,
    ) -> Answer<Accepted> {
        let merchant = self.caller(&request).await?;
        let ParticipantMessage { sid, message } = request.into_inner();
        let taken = decode(&message).map_err(|e| Status::invalid_argument(e.to_string())).and_then(|message| {
            self.0.hall.with(|desk| match desk.session(&sid, &merchant.name)? {
                // The sender's part was done; that it did not hear so changes nothing.
                Session::Ended(Outcome::Published { .. }) => Ok(()),
                Session::Ended(outcome) => Err(over(&outcome)),
                Session::Running(running, from) => match receive(running, from, message) {
                    Some(result) => result.map_err(|e| not_taken(&e)),
                    None if was_heard(running, stage, from) => Ok(()),
                    None if running.is_between_phases() => Err(between_phases()),
                    None if running.stage < stage => Err(Status::failed_precondition(
                        "this message is of a later stage: wait for the round's next message",
                    )),
                    None => Err(too_late()),
                },
            })
        });
        self.0.noted(&merchant.name, Concern::of(stage), taken)?;
        self.0.hall.notify();
        Ok(Response::new(Accepted {}))
    }

    /// Holds the line for the message that ends `stage`.
    async fn await_message(
        &self,
        request: Request<RoundCall>,
        stage: Stage,
        find: impl Fn(&mut Running, ParticipantNumber) -> Option<Result<Vec<u8>, NotTaken>>,
    ) -> Answer<AwaitMessageResponse> {
        use await_message_response::Answer;
        let merchant = self.caller(&request).await?;
        let call = request.into_inner();
        let answer = self
            .wait(call.wait_ms, |desk| match desk.session(&call.sid, &merchant.name) {
                Err(status) => Some(Err(status)),
                Ok(Session::Ended(outcome)) => Some(Ok(Answer::Ended(RoundEnded {
                    reason: match outcome {
                        Outcome::Published { .. } => "the round is over".into(),
                        Outcome::Abandoned(reason) => reason,
                    },
                }))),
                Ok(Session::Running(running, number)) => match find(running, number) {
                    Some(message) => Some(message.map(Answer::Message).map_err(|e| not_taken(&e))),
                    None if running.stage > stage => Some(Ok(Answer::Ended(RoundEnded {
                        reason: "what was due from this merchant did not arrive in time; the round goes on without it"
                            .into(),
                    }))),
                    None => None,
                },
            })
            .await?
            .transpose();
        let answer = self.0.noted(&merchant.name, Concern::of(stage), answer)?;
        let answer = answer.unwrap_or_else(|| Answer::Pending(self.pending()));
        Ok(Response::new(AwaitMessageResponse { answer: Some(answer) }))
    }
}

/// Whether a stage that is over had heard this participant: its repeat is then no news.
fn was_heard(running: &Running, stage: Stage, from: ParticipantNumber) -> bool {
    match stage {
        Stage::KeyShares => running.sharers.contains(from),
        Stage::Consistency => running.signers.contains(from),
        // The sum is being unmasked or published: what a signer adds is no longer needed.
        Stage::Unmasking => running.stage >= Stage::Unmasking && running.signers.contains(from),
        Stage::MaskedUpdates | Stage::Publishing => false,
    }
}

/// A boxed stream of answers.
pub(crate) type Answers<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, Status>> + Send>>;

/// Answers to a call that stays open until the last one is taken.
pub(crate) fn answers<T: 'static>(
    caller: Caller,
    items: impl IntoIterator<Item = Result<T, Status>, IntoIter: Send + 'static>,
) -> Answers<T> {
    let open = caller.call;
    Box::pin(tokio_stream::iter(items.into_iter().inspect(move |_| {
        let _ = &open;
    })))
}
