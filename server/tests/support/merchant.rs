//! A merchant without a client: real participants of `forecastle_crypto` over real mutual TLS, no training.

use std::{collections::HashMap, sync::Arc, time::Duration};

use forecastle_crypto::{
    dp::{event::DpEvent, noise::ExactSampler, plan::PrivacyPlan},
    entropy::SystemEntropy,
    identity::{MerchantId, Sha256Digest, Signature, SigningKey, VerifyingKey, sha256},
    ledger::entry::{Charge, NoiseMode, Sampler, SignedCharge},
    secagg::{
        AdvertisingKeys, ConfirmingSurvivors, DeliveredShares, MaskedUpdate, PrekeySecret, SendingMaskedUpdate,
        ShareKeys, SignedOffer, SurvivorSet, UnmaskRequest, Unmasking, VerifiedOffer, generate_prekey,
    },
};
use forecastle_proto::{
    enrolment::{JoinRequest, JoinResponse, enrolment_client::EnrolmentClient},
    invitation::Invitation,
    ledger::ledger_client::LedgerClient,
    limits::CHUNK_BYTES,
    model_service::models_client::ModelsClient,
    round::{
        AwaitOfferRequest, MaskedUpdateBytes, MaskedUpdateChunk, MaskedUpdateStart, ParticipantMessage, RoundCall,
        UploadPrekeysRequest, await_message_response, await_offer_response, await_outcome_response,
        masked_update_chunk::Part, rounds_client::RoundsClient,
    },
};
use tonic::{
    Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::PATIENCE;

/// An enrolled merchant with its connection.
pub struct Merchant {
    pub name: MerchantId,
    pub identity: Arc<SigningKey>,
    pub channel: Channel,
    pub server_key: VerifyingKey,
    pub plan: PrivacyPlan,
    pub plan_bytes: Vec<u8>,
    pub prekeys: HashMap<u64, PrekeySecret>,
    pub next_prekey: u64,
    pub charged: u32,
    invitation: Invitation,
    certificate: Vec<u8>,
    tls_key: String,
}

/// Where a merchant vanishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vanish {
    Never,
    BeforeSharingKeys,
    BeforeUploading,
    BeforeConfirming,
    BeforeUnmasking,
}

/// What a merchant saw of a round.
#[derive(Debug)]
pub enum Seen {
    Vanished,
    Published { version: u64, sha256: Vec<u8> },
    Ended(String),
}

/// A merchant between masking and uploading.
pub struct Masked {
    pub offer: VerifiedOffer,
    pub sid: Vec<u8>,
    pub confirming: ConfirmingSurvivors,
    pub update: MaskedUpdate,
    pub charge: Charge,
    /// Residues of the noised update, for the sum that must come out.
    pub residues: Vec<u64>,
}

pub fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).map(|c| std::str::from_utf8(c).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A connection that trusts the invitation's authority, with or without a certificate of its own.
pub async fn connect(invitation: &Invitation, own: Option<(&[u8], &str)>) -> Result<Channel, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem("CERTIFICATE", &invitation.ca_der().unwrap())))
        .domain_name(invitation.server_name.clone());
    if let Some((certificate, key)) = own {
        tls = tls.identity(Identity::from_pem(pem("CERTIFICATE", certificate), key));
    }
    Endpoint::from_shared(invitation.server.clone())?.tls_config(tls)?.timeout(PATIENCE).connect().await
}

/// A joining request and the TLS key behind it.
pub fn join_request(invitation: &Invitation, name: &str, identity: &SigningKey) -> (JoinRequest, String) {
    let tls_key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    let certificate_request = params.serialize_request(&tls_key).unwrap().der().to_vec();
    let token = invitation.token_bytes().unwrap();
    let signed = [sha256(&token).as_bytes(), name.as_bytes(), &[0], &certificate_request[..]].concat();
    let request = JoinRequest {
        token: token.to_vec(),
        merchant: name.to_owned(),
        identity_key: identity.verifying_key().as_bytes().to_vec(),
        certificate_request,
        signature: identity.sign("forecastle join v1", &signed).as_bytes().to_vec(),
    };
    (request, tls_key.serialize_pem())
}

/// Sends a joining request over a connection without a certificate.
pub async fn send_join(invitation: &Invitation, request: JoinRequest) -> Result<JoinResponse, Status> {
    let channel = connect(invitation, None).await.expect("the server is up");
    Ok(EnrolmentClient::new(channel).join(request).await?.into_inner())
}

impl Merchant {
    pub async fn join(invitation: &Invitation, name: &str) -> Result<Self, Status> {
        let identity = Arc::new(SigningKey::generate().unwrap());
        let (request, tls_key) = join_request(invitation, name, &identity);
        let response = send_join(invitation, request).await?;
        let channel = connect(invitation, Some((&response.certificate, &tls_key))).await.unwrap();
        Ok(Self {
            name: name.parse().unwrap(),
            identity,
            channel,
            server_key: VerifyingKey(response.server_key.try_into().unwrap()),
            plan: PrivacyPlan::parse(&response.plan).unwrap(),
            plan_bytes: response.plan,
            prekeys: HashMap::new(),
            next_prekey: 0,
            charged: 0,
            invitation: invitation.clone(),
            certificate: response.certificate,
            tls_key,
        })
    }

    pub async fn reconnect(&mut self) {
        self.channel = connect(&self.invitation, Some((&self.certificate, &self.tls_key))).await.unwrap();
    }

    pub fn rounds(&self) -> RoundsClient<Channel> {
        RoundsClient::new(self.channel.clone())
    }

    pub fn models(&self) -> ModelsClient<Channel> {
        ModelsClient::new(self.channel.clone())
    }

    pub fn ledger(&self) -> LedgerClient<Channel> {
        LedgerClient::new(self.channel.clone())
    }

    /// Uploads `count` fresh pre-keys.
    pub async fn leave_prekeys(&mut self, count: u64) -> Result<u32, Status> {
        let mut bundles = Vec::new();
        for _ in 0..count {
            let index = self.next_prekey;
            self.next_prekey += 1;
            let (bundle, secret) =
                generate_prekey(&self.name, &self.identity, index, &mut SystemEntropy::new()).unwrap();
            bundles.push(serde_json::to_vec(&bundle).unwrap());
            self.prekeys.insert(index, secret);
        }
        let response = self.rounds().upload_prekeys(UploadPrekeysRequest { bundles, replace: false }).await?;
        Ok(response.into_inner().prekeys_left)
    }

    /// Waits for the next offer; `None` when the run is finished.
    pub async fn offer(&self, after_round: u64) -> Result<Option<VerifiedOffer>, Status> {
        use await_offer_response::Answer;
        loop {
            let request = AwaitOfferRequest { after_round, wait_ms: 5_000 };
            match self.rounds().await_offer(request).await?.into_inner().answer.unwrap() {
                Answer::Offer(offer) => {
                    let signature = Signature(offer.signature.try_into().unwrap());
                    let signed = SignedOffer { bytes: offer.offer, signature };
                    return Ok(Some(signed.open(&self.server_key).unwrap()));
                }
                Answer::Pending(_) => {}
                Answer::Finished(_) => return Ok(None),
            }
        }
    }

    /// Accepts an offer; the key shares that are due, not yet sent.
    pub fn key_shares(&mut self, offer: &VerifiedOffer) -> (SendingMaskedUpdate, ShareKeys) {
        let number = offer.number_of(&self.name).unwrap();
        let index = offer.entry(number).unwrap().bundle.index;
        let secret = self.prekeys.remove(&index).expect("a pre-key is used once");
        let state = AdvertisingKeys::new(self.name.clone(), Arc::clone(&self.identity), secret);
        state.accept(offer.clone()).unwrap().share_keys(&mut SystemEntropy::new()).unwrap()
    }

    /// Accepts an offer and shares keys.
    pub async fn share_keys(&mut self, offer: &VerifiedOffer) -> Result<SendingMaskedUpdate, Status> {
        let (state, message) = self.key_shares(offer);
        let message = ParticipantMessage { sid: sid(offer), message: message.encode() };
        again(|| async { self.rounds().share_keys(message.clone()).await }).await?;
        // The same again changes nothing.
        again(|| async { self.rounds().share_keys(message.clone()).await }).await?;
        Ok(state)
    }

    /// Waits for a message of the server.
    pub async fn message(&self, offer: &VerifiedOffer, which: Awaited) -> Result<Result<Vec<u8>, String>, Status> {
        use await_message_response::Answer;
        loop {
            let call = RoundCall { sid: sid(offer), wait_ms: 5_000 };
            let mut rounds = self.rounds();
            let response = match which {
                Awaited::Shares => rounds.await_shares(call).await?,
                Awaited::Survivors => rounds.await_survivors(call).await?,
                Awaited::UnmaskRequest => rounds.await_unmask_request(call).await?,
            };
            match response.into_inner().answer.unwrap() {
                Answer::Message(bytes) => return Ok(Ok(bytes)),
                Answer::Pending(_) => {}
                Answer::Ended(ended) => return Ok(Err(ended.reason)),
            }
        }
    }

    /// Masks `gradient` and writes the charge for it.
    pub fn mask(&mut self, state: SendingMaskedUpdate, shares: &[u8], gradient: &[f64]) -> Masked {
        let offer = state.offer().clone();
        let terms = offer.terms();
        let noised = offer
            .grid()
            .quantize(gradient)
            .unwrap()
            .with_noise(&mut ExactSampler::new().unwrap(), terms.variance_local)
            .unwrap();
        let residues = noised.residues().to_vec();
        let (confirming, update) = state.mask(DeliveredShares::decode(shares).unwrap(), noised).unwrap();
        let charge = self.charge(&offer, update.sha256());
        self.charged += 1;
        Masked { sid: sid(&offer), offer, confirming, update, charge, residues }
    }

    /// The charge that the plan asks for.
    pub fn charge(&self, offer: &VerifiedOffer, masked_sha256: Sha256Digest) -> Charge {
        let (plan, terms) = (&self.plan, offer.terms());
        let sigma = plan.effective_noise_multiplier(terms.dimension).unwrap();
        Charge {
            merchant: self.name.clone(),
            run: terms.run,
            round: terms.round,
            sid: offer.sid(),
            plan_sha256: terms.plan_sha256,
            unit: plan.privacy.unit,
            relation: plan.relation(),
            bounds: plan.bounds,
            period_start: plan.rounds.period_start,
            period_end: plan.rounds.period_end,
            noise: NoiseMode::Distributed,
            event: DpEvent::step(plan.privacy.unit, plan.step.sampling_rate, plan.bounds.series, sigma).unwrap(),
            clip: terms.clip,
            units_per_clip: terms.units_per_clip,
            noise_multiplier: terms.sigma_total,
            variance_local: terms.variance_local,
            survivors_min: terms.survivors_min,
            colluders_assumed: terms.colluders_assumed,
            sampling_rate: plan.step.sampling_rate,
            sampler: Sampler::Poisson,
            dimension: terms.dimension,
            delta: plan.privacy.delta,
            epsilon_cap: plan.privacy.epsilon_cap,
            charged_before: self.charged,
            noise_source: "exact".into(),
            software: "test".into(),
            masked_sha256,
            at_ms: 1,
        }
    }

    /// The parts of an upload, in chunks of `size` bytes from `from` on.
    pub fn parts(&self, masked: &Masked, from: usize, size: usize) -> Vec<MaskedUpdateChunk> {
        let signed = SignedCharge::sign(masked.charge.clone(), &self.identity);
        let start = MaskedUpdateStart {
            sid: masked.sid.clone(),
            header: masked.update.header().encode(),
            charge: serde_json::to_vec(&signed).unwrap(),
        };
        let mut parts = vec![MaskedUpdateChunk { part: Some(Part::Start(start)) }];
        let mut offset = from;
        for chunk in masked.update.bytes()[from..].chunks(size) {
            let bytes = MaskedUpdateBytes { offset: offset as u64, data: chunk.to_vec().into() };
            parts.push(MaskedUpdateChunk { part: Some(Part::Bytes(bytes)) });
            offset += chunk.len();
        }
        parts
    }

    pub async fn upload(&self, parts: Vec<MaskedUpdateChunk>) -> Result<u64, Status> {
        let response = self.rounds().send_masked_update(tokio_stream::iter(parts)).await?;
        Ok(response.into_inner().received)
    }

    /// Confirms the survivors; `Err` when the round went on without this merchant.
    pub async fn confirm(
        &self,
        offer: &VerifiedOffer,
        confirming: ConfirmingSurvivors,
    ) -> Result<Result<Unmasking, String>, Status> {
        let survivors = match self.message(offer, Awaited::Survivors).await? {
            Ok(bytes) => SurvivorSet::decode(&bytes).unwrap(),
            Err(reason) => return Ok(Err(reason)),
        };
        let (state, signature) = confirming.confirm(survivors).unwrap();
        let message = ParticipantMessage { sid: sid(offer), message: signature.encode() };
        again(|| async { self.rounds().confirm(message.clone()).await }).await?;
        again(|| async { self.rounds().confirm(message.clone()).await }).await?;
        Ok(Ok(state))
    }

    /// Answers the unmasking request.
    pub async fn unmask(&self, offer: &VerifiedOffer, state: Unmasking) -> Result<Result<(), String>, Status> {
        let request = match self.message(offer, Awaited::UnmaskRequest).await? {
            Ok(bytes) => UnmaskRequest::decode(&bytes).unwrap(),
            Err(reason) => return Ok(Err(reason)),
        };
        let answered = state.unmask(&request).unwrap();
        let message = answered.answer(&request).unwrap().encode();
        let message = ParticipantMessage { sid: sid(offer), message };
        again(|| async { self.rounds().unmask(message.clone()).await }).await?;
        again(|| async { self.rounds().unmask(message.clone()).await }).await?;
        Ok(Ok(()))
    }

    pub async fn outcome(&self, offer: &VerifiedOffer) -> Result<Seen, Status> {
        use await_outcome_response::Answer;
        loop {
            let call = RoundCall { sid: sid(offer), wait_ms: 5_000 };
            match self.rounds().await_outcome(call).await?.into_inner().answer.unwrap() {
                Answer::Published(p) => {
                    return Ok(Seen::Published { version: p.model_version, sha256: p.model_sha256 });
                }
                Answer::Pending(_) => {}
                Answer::Ended(ended) => return Ok(Seen::Ended(ended.reason)),
            }
        }
    }

    /// Takes part in the next round after `after_round`, and vanishes where asked. Returns what it saw and the
    /// residues it masked.
    pub async fn take_part(
        &mut self,
        after_round: u64,
        gradient: &[f64],
        vanish: Vanish,
    ) -> Result<(Seen, Vec<u64>), Status> {
        let offer = self.offer(after_round).await?.expect("the run is not finished");
        if vanish == Vanish::BeforeSharingKeys {
            return Ok((Seen::Vanished, Vec::new()));
        }
        let state = self.share_keys(&offer).await?;
        let shares = match self.message(&offer, Awaited::Shares).await? {
            Ok(bytes) => bytes,
            Err(reason) => return Ok((Seen::Ended(reason), Vec::new())),
        };
        let masked = self.mask(state, &shares, gradient);
        if vanish == Vanish::BeforeUploading {
            return Ok((Seen::Vanished, masked.residues));
        }
        self.upload(self.parts(&masked, 0, CHUNK_BYTES)).await?;
        if vanish == Vanish::BeforeConfirming {
            return Ok((Seen::Vanished, masked.residues));
        }
        let state = match self.confirm(&offer, masked.confirming).await? {
            Ok(state) => state,
            Err(reason) => return Ok((Seen::Ended(reason), masked.residues)),
        };
        if vanish == Vanish::BeforeUnmasking {
            return Ok((Seen::Vanished, masked.residues));
        }
        if let Err(reason) = self.unmask(&offer, state).await? {
            return Ok((Seen::Ended(reason), masked.residues));
        }
        Ok((self.outcome(&offer).await?, masked.residues))
    }
}

/// Sends, and again where the server is just closing a phase, as it asks for.
pub async fn again<T, F: Future<Output = Result<tonic::Response<T>, Status>>>(
    send: impl Fn() -> F,
) -> Result<T, Status> {
    loop {
        match send().await {
            Err(status) if status.message().contains("closing a phase") => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return Ok(other?.into_inner()),
        }
    }
}

/// Which message of the server is waited for.
#[derive(Clone, Copy)]
pub enum Awaited {
    Shares,
    Survivors,
    UnmaskRequest,
}

pub fn sid(offer: &VerifiedOffer) -> Vec<u8> {
    offer.sid().as_bytes().to_vec()
}
