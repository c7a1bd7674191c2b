//! A merchant: the participant's states in memory, and a disk.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use forecastle_crypto::{
    dp::noise::{ExactSampler, Variance},
    entropy::SeededEntropy,
    identity::{MerchantId, Sha256Digest, SigningKey, VerifyingKey, sha256},
    quantize::{Grid, NoisedUpdate},
    secagg::{
        AdvertisingKeys, Answered, ConfirmingSurvivors, DeliveredShares, MaskedUpdate, PrekeyBundle, PrekeySecret,
        SendingMaskedUpdate, SignedOffer, SurvivorSet, UnmaskRequest, Unmasking, VerifiedOffer, generate_prekey,
    },
};

use crate::message::{Action, Down, Durable, Name, Up};

/// Bytes of a chunk: an update takes several.
const CHUNK: usize = 7;
/// Pre-keys kept ready.
const READY: usize = 2;

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    prekeys: BTreeMap<u64, Vec<u8>>,
    next_prekey: u64,
    pub charges: BTreeMap<Sha256Digest, Sha256Digest>,
    answers: BTreeMap<Sha256Digest, Vec<u8>>,
}

/// Where it stands in a round; gone with a crash.
enum Stage {
    Idle,
    Sharing { state: SendingMaskedUpdate, message: Vec<u8> },
    Uploading { state: ConfirmingSurvivors, update: MaskedUpdate, held: u64 },
    Confirming { state: Unmasking, message: Vec<u8> },
    Answered { answered: Answered, request: UnmaskRequest },
}

pub struct Merchant {
    pub name: Name,
    pub id: MerchantId,
    pub identity: Arc<SigningKey>,
    pub disk: Disk,
    bundles: Vec<PrekeyBundle>,
    entropy: SeededEntropy,
    federation: VerifyingKey,
    stage: Stage,
    sid: Option<Sha256Digest>,
    /// Why it left rounds.
    pub refusals: Vec<String>,
}

impl Merchant {
    pub fn new(name: Name, seed: u64, federation: VerifyingKey) -> Self {
        let seed = sha256(&[seed.to_be_bytes(), (name as u64).to_be_bytes()].concat()).0;
        Self {
            name,
            id: format!("shop-{name}").parse().unwrap(),
            identity: Arc::new(SigningKey::danger_from_seed(&seed).unwrap()),
            disk: Disk::default(),
            bundles: Vec::new(),
            entropy: SeededEntropy::danger_from_seed(seed),
            federation,
            stage: Stage::Idle,
            sid: None,
            refusals: Vec::new(),
        }
    }

    /// Started, or started again: whatever was in memory is gone, and so is the round it was in.
    pub fn start(&mut self) -> Vec<Action<Up>> {
        self.stage = Stage::Idle;
        self.sid = None;
        self.bundles.clear();
        let mut actions = Vec::new();
        while self.bundles.len() < READY {
            let index = self.disk.next_prekey + self.bundles.len() as u64;
            let (bundle, secret) = generate_prekey(&self.id, &self.identity, index, &mut self.entropy).unwrap();
            actions.push(Action::Write(Durable::PrekeyMade(index, secret.to_bytes().to_vec())));
            self.bundles.push(bundle);
        }
        actions.push(Action::Send(self.name, Up::Hello(self.bundles.clone())));
        actions
    }

    pub fn write(&mut self, durable: Durable) {
        match durable {
            Durable::PrekeyMade(index, secret) => {
                self.disk.next_prekey = self.disk.next_prekey.max(index + 1);
                self.disk.prekeys.insert(index, secret);
            }
            Durable::PrekeyTaken(index) => drop(self.disk.prekeys.remove(&index)),
            Durable::Charged { sid, update } => {
                let earlier = self.disk.charges.insert(sid, update);
                assert!(earlier.is_none_or(|e| e == update), "{} charged a round for two updates", self.id);
            }
            Durable::Answered { sid, bytes } => drop(self.disk.answers.insert(sid, bytes)),
            _ => unreachable!("the server's"),
        }
    }

    /// Says again what was not heard yet.
    pub fn repeat(&self) -> Vec<Action<Up>> {
        let Some(sid) = self.sid else { return vec![self.send(Up::Hello(self.bundles.clone()))] };
        match &self.stage {
            Stage::Idle => vec![self.send(Up::Hello(self.bundles.clone()))],
            Stage::Sharing { message, .. } => vec![self.send(Up::Shares { sid, bytes: message.clone() })],
            Stage::Uploading { update, held, .. } => self.upload(sid, update, *held),
            Stage::Confirming { message, .. } => vec![self.send(Up::Confirmation { sid, bytes: message.clone() })],
            Stage::Answered { answered, request } => {
                let bytes = answered.answer(request).unwrap().encode();
                vec![self.send(Up::Answer { sid, bytes })]
            }
        }
    }

    fn send(&self, message: Up) -> Action<Up> {
        Action::Send(self.name, message)
    }

    fn upload(&self, sid: Sha256Digest, update: &MaskedUpdate, held: u64) -> Vec<Action<Up>> {
        let announce = self.send(Up::Announce { sid, header: update.header().encode() });
        let chunks = update.chunks(CHUNK).filter(|(offset, chunk)| offset + chunk.len() as u64 > held);
        let chunks = chunks.map(|(offset, chunk)| self.send(Up::Chunk { sid, offset, bytes: chunk.to_vec() }));
        std::iter::once(announce).chain(chunks).collect()
    }

    /// Hears a message; what it does about it. A message of another round, or one heard before, changes nothing.
    pub fn hear(&mut self, message: Down) -> Vec<Action<Up>> {
        match self.try_hear(message) {
            Ok(actions) => actions,
            Err(refusal) => {
                // It left the round and waits for the next one.
                self.refusals.push(refusal);
                self.stage = Stage::Idle;
                Vec::new()
            }
        }
    }

    fn try_hear(&mut self, message: Down) -> Result<Vec<Action<Up>>, String> {
        let sid = match &message {
            Down::Offer(offer) => return self.accept(offer),
            Down::Delivered { sid, .. }
            | Down::Held { sid, .. }
            | Down::Survivors { sid, .. }
            | Down::Request { sid, .. }
            | Down::Ended { sid } => *sid,
        };
        if self.sid != Some(sid) {
            return Ok(Vec::new());
        }
        let (stage, actions) = match (std::mem::replace(&mut self.stage, Stage::Idle), message) {
            (Stage::Sharing { state, .. }, Down::Delivered { bytes, .. }) => {
                let delivered = DeliveredShares::decode(&bytes).map_err(|e| e.to_string())?;
                let noised = update_of(state.offer().grid(), self.name, sid);
                let (state, update) = state.mask(delivered, noised).map_err(|e| e.to_string())?;
                let charge = Action::Write(Durable::Charged { sid, update: update.sha256() });
                let actions = std::iter::once(charge).chain(self.upload(sid, &update, 0)).collect();
                (Stage::Uploading { state, update, held: 0 }, actions)
            }
            (Stage::Uploading { state, update, held }, Down::Held { bytes, .. }) => {
                (Stage::Uploading { state, update, held: held.max(bytes) }, Vec::new())
            }
            (Stage::Uploading { state, .. }, Down::Survivors { bytes, .. }) => {
                let survivors = SurvivorSet::decode(&bytes).map_err(|e| e.to_string())?;
                let (state, signature) = state.confirm(survivors).map_err(|e| e.to_string())?;
                let message = signature.encode();
                let send = self.send(Up::Confirmation { sid, bytes: message.clone() });
                (Stage::Confirming { state, message }, vec![send])
            }
            (Stage::Confirming { state, .. }, Down::Request { bytes, .. }) => {
                let request = UnmaskRequest::decode(&bytes).map_err(|e| e.to_string())?;
                let answered = state.unmask(&request).map_err(|e| e.to_string())?;
                let kept = Action::Write(Durable::Answered { sid, bytes: answered.to_bytes().to_vec() });
                let bytes = answered.answer(&request).map_err(|e| e.to_string())?.encode();
                let actions = vec![kept, self.send(Up::Answer { sid, bytes })];
                (Stage::Answered { answered, request }, actions)
            }
            (Stage::Answered { answered, request }, Down::Request { bytes, .. }) => {
                // The same question gets the same answer, another one a refusal.
                let again = UnmaskRequest::decode(&bytes).map_err(|e| e.to_string())?;
                let actions = match answered.answer(&again) {
                    Ok(answer) => vec![self.send(Up::Answer { sid, bytes: answer.encode() })],
                    Err(refusal) => {
                        self.refusals.push(refusal.to_string());
                        Vec::new()
                    }
                };
                (Stage::Answered { answered, request }, actions)
            }
            (_, Down::Ended { .. }) => {
                self.sid = None;
                return Ok(self.start());
            }
            (stage, _) => (stage, Vec::new()),
        };
        self.stage = stage;
        Ok(actions)
    }

    fn accept(&mut self, offer: &SignedOffer) -> Result<Vec<Action<Up>>, String> {
        let Some(offer) = opened(offer, &self.federation) else { return Ok(Vec::new()) };
        let own = offer.number_of(&self.id).and_then(|number| offer.entry(number)).map(|entry| entry.bundle.clone());
        let Some(own) = own else { return Ok(Vec::new()) };
        // Heard before, or made before a crash: the secret is not there any more.
        let Some(secret) = self.disk.prekeys.get(&own.index) else { return Ok(Vec::new()) };
        if self.disk.charges.contains_key(&offer.sid()) {
            return Ok(Vec::new());
        }
        let secret = PrekeySecret::from_bytes(secret).map_err(|e| e.to_string())?;
        let state = AdvertisingKeys::new(self.id.clone(), self.identity.clone(), secret);
        let sid = offer.sid();
        let state = state.accept(offer).map_err(|e| e.to_string())?;
        let (state, message) = state.share_keys(&mut self.entropy).map_err(|e| e.to_string())?;
        let message = message.encode();
        self.sid = Some(sid);
        self.stage = Stage::Sharing { state, message: message.clone() };
        Ok(vec![Action::Write(Durable::PrekeyTaken(own.index)), self.send(Up::Shares { sid, bytes: message })])
    }

    /// The answer on disk, for whoever asks the same after a crash.
    pub fn kept_answer(&self, sid: Sha256Digest) -> Option<Answered> {
        self.disk.answers.get(&sid).map(|bytes| Answered::from_bytes(bytes).unwrap())
    }
}

/// The offer as everybody opens it; done once for all merchants of a run, since it is the slowest thing they do.
fn opened(offer: &SignedOffer, federation: &VerifyingKey) -> Option<VerifiedOffer> {
    thread_local! {
        static LAST: RefCell<Option<(SignedOffer, VerifiedOffer)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some((signed, verified)) if signed == offer => Some(verified.clone()),
        _ => {
            let verified = offer.open(federation).ok()?;
            *last = Some((offer.clone(), verified.clone()));
            Some(verified)
        }
    })
}

/// What a merchant contributes to a round.
pub fn update_of(grid: Grid, name: Name, sid: Sha256Digest) -> NoisedUpdate {
    let values: Vec<f64> = (0..grid.dimension()).map(|i| ((i * 7 + name * 31) % 101) as f64 / 50.0 - 1.0).collect();
    let seed = sha256(&[sid.0.as_slice(), &name.to_be_bytes()].concat()).0;
    let mut noise = ExactSampler::danger_from_seed(seed);
    grid.quantize(&values).unwrap().with_noise(&mut noise, Variance::new(100, 1).unwrap()).unwrap()
}
