//! The calls of a round, passed on with what the script changes.

use forecastle_crypto::secagg::{
    DecodeError, DeliveredShares, RoundOffer, SignedOffer as Signed, SurvivorSet, UnmaskRequest,
};
use forecastle_proto::round::{
    Accepted, AwaitMessageResponse, AwaitOfferRequest, AwaitOfferResponse, AwaitOutcomeResponse, MaskedUpdateChunk,
    MaskedUpdateStart, ParticipantMessage, RoundCall, SignedOffer, StatusRequest, StatusResponse, UploadOffsetResponse,
    UploadPrekeysRequest, UploadPrekeysResponse, await_message_response, await_offer_response,
    masked_update_chunk::Part, rounds_server::Rounds,
};
use tonic::{Request, Response, Status, Streaming};

use super::{
    Backstage, Sent,
    script::{Awaited, Hook, Upward},
};

type Answer<T> = Result<Response<T>, Status>;

/// Every message begins with a tag and the session id (docs/PROTOCOL.md).
fn set_sid(message: &mut [u8], sid: &[u8]) {
    if let Some(place) = message.get_mut(1..33) {
        place.copy_from_slice(sid);
    }
}

/// Lets `hook` change a message of the server.
fn changed<M>(
    bytes: &mut Vec<u8>,
    hook: &mut Hook<M>,
    decode: impl FnOnce(&[u8]) -> Result<M, DecodeError>,
    encode: impl FnOnce(&M) -> Vec<u8>,
) {
    if let Some(hook) = hook {
        let mut message = decode(bytes).expect("the real server's own message");
        hook(&mut message);
        *bytes = encode(&message);
    }
}

#[tonic::async_trait]
impl Rounds for Backstage {
    async fn status(&self, request: Request<StatusRequest>) -> Answer<StatusResponse> {
        self.rounds().status(request.into_inner()).await
    }

    async fn upload_prekeys(&self, request: Request<UploadPrekeysRequest>) -> Answer<UploadPrekeysResponse> {
        let request = request.into_inner();
        let bundles = request.bundles.iter().map(|bytes| serde_json::from_slice(bytes).expect("a bundle")).collect();
        self.note(Sent::Prekeys { bundles, replace: request.replace });
        let mut answer = self.rounds().upload_prekeys(request).await?;
        if let Some(hook) = &mut self.script().prekeys_left {
            hook(&mut answer.get_mut().prekeys_left);
        }
        Ok(answer)
    }

    async fn await_offer(&self, request: Request<AwaitOfferRequest>) -> Answer<AwaitOfferResponse> {
        let request = request.into_inner();
        self.note(Sent::Present(request.after_round));
        let instead = self.script().offer_instead.clone();
        if let Some(answer) = instead {
            return Ok(Response::new(answer));
        }
        let known = self.offer.lock().expect("nobody panics while holding it").clone();
        let again = known.filter(|_| self.script().repeats_offer);
        let mut answer = match again {
            Some(offer) => AwaitOfferResponse { answer: Some(await_offer_response::Answer::Offer(offer)) },
            None => self.rounds().await_offer(request).await?.into_inner(),
        };
        if let Some(await_offer_response::Answer::Offer(offer)) = &mut answer.answer {
            *self.offer.lock().expect("nobody panics while holding it") = Some(offer.clone());
            self.change_offer(offer).await?;
        }
        if let Some(hook) = &mut self.script().offer_answer {
            hook(&mut answer);
        }
        Ok(Response::new(answer))
    }

    async fn share_keys(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let request = request.into_inner();
        self.note(Sent::Shares(request.message.clone()));
        match self.passed_on(Upward::Shares, request) {
            Some(request) => self.rounds().share_keys(request).await,
            None => Ok(Response::new(Accepted {})),
        }
    }

    async fn await_shares(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Awaited::Shares).await
    }

    async fn upload_offset(&self, request: Request<RoundCall>) -> Answer<UploadOffsetResponse> {
        let request = request.into_inner();
        let sid = self.true_sid(&request.sid);
        let keeps = self.keeps(Upward::Update);
        let mut answer = match keeps {
            true => Response::new(UploadOffsetResponse { received: 0 }),
            false => self.rounds().upload_offset(RoundCall { sid, ..request }).await?,
        };
        if let Some(hook) = &mut self.script().upload_offset {
            hook(&mut answer.get_mut().received);
        }
        Ok(answer)
    }

    async fn send_masked_update(&self, request: Request<Streaming<MaskedUpdateChunk>>) -> Answer<UploadOffsetResponse> {
        let mut stream = request.into_inner();
        let (mut chunks, mut start, mut parts) = (Vec::new(), None, Vec::new());
        while let Some(mut chunk) = stream.message().await? {
            match &mut chunk.part {
                Some(Part::Start(begun)) => {
                    start = Some(begun.clone());
                    begun.sid = self.true_sid(&begun.sid);
                }
                Some(Part::Bytes(bytes)) => parts.push((bytes.offset, bytes.data.to_vec())),
                None => {}
            }
            chunks.push(chunk);
        }
        let MaskedUpdateStart { header, charge, .. } = start.expect("an upload begins with its start");
        let received = parts.last().map_or(0, |(offset, data)| offset + data.len() as u64);
        self.note(Sent::Update { header, charge, parts });
        let keeps = self.keeps(Upward::Update);
        let mut answer = match keeps {
            true => Ok(UploadOffsetResponse { received }),
            false => self.rounds().send_masked_update(tokio_stream::iter(chunks)).await.map(Response::into_inner),
        };
        if let Some(hook) = &mut self.script().uploaded {
            hook(&mut answer);
        }
        answer.map(Response::new)
    }

    async fn await_survivors(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Awaited::Survivors).await
    }

    async fn confirm(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let request = request.into_inner();
        self.note(Sent::Confirmation(request.message.clone()));
        match self.passed_on(Upward::Confirmation, request) {
            Some(request) => self.rounds().confirm(request).await,
            None => Ok(Response::new(Accepted {})),
        }
    }

    async fn await_unmask_request(&self, request: Request<RoundCall>) -> Answer<AwaitMessageResponse> {
        self.await_message(request, Awaited::Request).await
    }

    async fn unmask(&self, request: Request<ParticipantMessage>) -> Answer<Accepted> {
        let request = request.into_inner();
        self.note(Sent::Answer(request.message.clone()));
        match self.passed_on(Upward::Answer, request) {
            Some(request) => self.rounds().unmask(request).await,
            None => Ok(Response::new(Accepted {})),
        }
    }

    async fn await_outcome(&self, request: Request<RoundCall>) -> Answer<AwaitOutcomeResponse> {
        let request = request.into_inner();
        let sid = self.true_sid(&request.sid);
        let mut answer = self.rounds().await_outcome(RoundCall { sid, ..request }).await?.into_inner();
        if let Some(hook) = &mut self.script().outcome {
            hook(&mut answer);
        }
        Ok(Response::new(answer))
    }
}

impl Backstage {
    fn keeps(&self, what: Upward) -> bool {
        self.script().keeps.contains(&what)
    }

    /// The offer that the merchant is shown, and the memory of which round it stands for.
    async fn change_offer(&self, offer: &mut SignedOffer) -> Result<(), Status> {
        let honest = offer.clone();
        let mut shown: RoundOffer = serde_json::from_slice(&honest.offer).expect("the real server's own offer");
        if let Some((size, root)) = self.forged_head().await? {
            (shown.terms.ledger_size, shown.terms.ledger_root) = (size, root);
        }
        if let Some(hook) = &mut self.script().offer {
            hook(&mut shown);
        }
        if serde_json::to_vec(&shown).expect("an offer has a JSON form") == honest.offer {
            return Ok(());
        }
        let signed = Signed::sign(&shown, &self.key).expect("an offer has a JSON form");
        let sid = |bytes: &[u8]| forecastle_crypto::identity::sha256(bytes).0.to_vec();
        let mut sids = self.sids.lock().expect("nobody panics while holding it");
        sids.insert(sid(&signed.bytes), sid(&honest.offer));
        *offer = SignedOffer { offer: signed.bytes, signature: signed.signature.as_bytes().to_vec() };
        Ok(())
    }

    /// A message of the merchant as it goes on, its session translated; `None` where it goes no further.
    fn passed_on(&self, what: Upward, request: ParticipantMessage) -> Option<ParticipantMessage> {
        if self.keeps(what) {
            return None;
        }
        let ParticipantMessage { sid, mut message } = request;
        let sid = self.true_sid(&sid);
        set_sid(&mut message, &sid);
        Some(ParticipantMessage { sid, message })
    }

    async fn await_message(&self, request: Request<RoundCall>, what: Awaited) -> Answer<AwaitMessageResponse> {
        let RoundCall { sid: shown, wait_ms } = request.into_inner();
        let made_up = self.script().instead.as_mut().and_then(|instead| instead(what));
        if let Some(answer) = made_up {
            return Ok(Response::new(answer));
        }
        let call = RoundCall { sid: self.true_sid(&shown), wait_ms };
        let mut rounds = self.rounds();
        let mut answer = match what {
            Awaited::Shares => rounds.await_shares(call).await,
            Awaited::Survivors => rounds.await_survivors(call).await,
            Awaited::Request => rounds.await_unmask_request(call).await,
        }?;
        if let Some(await_message_response::Answer::Message(bytes)) = &mut answer.get_mut().answer {
            set_sid(bytes, &shown);
            let mut script = self.script();
            match what {
                Awaited::Shares => changed(bytes, &mut script.shares, DeliveredShares::decode, DeliveredShares::encode),
                Awaited::Survivors => changed(bytes, &mut script.survivors, SurvivorSet::decode, SurvivorSet::encode),
                Awaited::Request => changed(bytes, &mut script.request, UnmaskRequest::decode, UnmaskRequest::encode),
            }
        }
        Ok(answer)
    }
}
