//! The server: the aggregator's states in memory, and a disk with the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use forecastle_crypto::{
    dp::noise::Variance,
    identity::{MerchantId, Sha256Digest, SigningKey, VerifyingKey, sha256},
    secagg::{
        AwaitingConsistency, AwaitingKeys, AwaitingMaskedUpdates, AwaitingShares, AwaitingUnmasking,
        ConsistencySignature, MaskedUpdateHeader, MemorySpools, ParticipantNumber, PrekeyBundle, RoundTerms, ShareKeys,
        SignedOffer, UnmaskResponse, Upload, ValidThreshold, VerifiedOffer,
    },
};

use crate::liar::Liar;
use crate::message::{Action, Down, Durable, Name, Up};
use crate::schedule::{Millis, PHASE};

/// Parameters of the simulated model.
pub const DIMENSION: u32 = 11;
/// Bits of a coordinate.
const BITS: u8 = 21;
/// Time for stragglers once unmasking could end.
const GRACE: Millis = 300;

/// What survives a crash.
#[derive(Default)]
pub struct Disk {
    /// Rounds whose offer was published, with the pre-keys used.
    pub opened: Vec<(Sha256Digest, Vec<(Name, u64)>)>,
    /// Charges by round.
    pub charges: BTreeMap<Sha256Digest, BTreeMap<Name, Sha256Digest>>,
    /// Rounds that published, with their survivors and sum.
    pub closed: Vec<(Sha256Digest, Vec<Name>, Vec<u64>)>,
    pub abandoned: Vec<Sha256Digest>,
}

enum Open {
    Shares(AwaitingShares),
    Updates(AwaitingMaskedUpdates, BTreeMap<Name, (MaskedUpdateHeader, Upload)>),
    Consistency(AwaitingConsistency),
    Unmasking(AwaitingUnmasking, Option<Millis>),
}

/// The round in memory.
struct Round {
    offer: VerifiedOffer,
    signed: SignedOffer,
    open: Option<Open>,
    deadline: Millis,
    liar: Option<Liar>,
}

pub struct Server {
    pub key: SigningKey,
    pub disk: Disk,
    identities: BTreeMap<Name, (MerchantId, VerifyingKey)>,
    threshold: ValidThreshold,
    rounds: u64,
    lies: Option<u64>,
    present: BTreeMap<Name, Vec<PrekeyBundle>>,
    round: Option<Round>,
    pub offers: Vec<VerifiedOffer>,
}

impl Server {
    pub fn new(threshold: ValidThreshold, rounds: u64, lies: Option<u64>) -> Self {
        Self {
            key: SigningKey::danger_from_seed(&[200; 32]).unwrap(),
            disk: Disk::default(),
            identities: BTreeMap::new(),
            threshold,
            rounds,
            lies,
            present: BTreeMap::new(),
            round: None,
            offers: Vec::new(),
        }
    }

    pub fn enrol(&mut self, name: Name, id: MerchantId, key: VerifyingKey) {
        self.identities.insert(name, (id, key));
    }

    pub fn published(&self) -> usize {
        self.disk.closed.len()
    }

    pub fn abandoned(&self) -> usize {
        self.disk.abandoned.len()
    }

    pub fn is_finished(&self) -> bool {
        self.round.is_none() && self.disk.opened.len() as u64 >= self.rounds
    }

    /// The participant that merchant `name` is, where it is invited.
    fn number(
        offer: &VerifiedOffer,
        identities: &BTreeMap<Name, (MerchantId, VerifyingKey)>,
        name: Name,
    ) -> Option<ParticipantNumber> {
        offer.number_of(&identities.get(&name)?.0)
    }

    fn name(&self, offer: &VerifiedOffer, number: ParticipantNumber) -> Name {
        let id = &offer.entry(number).unwrap().merchant;
        *self.identities.iter().find(|(_, (other, _))| other == id).unwrap().0
    }

    pub fn write(&mut self, durable: Durable) {
        match durable {
            Durable::Opened { sid, used } => self.disk.opened.push((sid, used)),
            Durable::Logged { sid, merchant, update } => {
                self.disk.charges.entry(sid).or_default().insert(merchant, update);
            }
            Durable::Closed { sid, survivors, sum } => self.disk.closed.push((sid, survivors, sum)),
            Durable::Abandoned { sid } => self.disk.abandoned.push(sid),
            _ => unreachable!("a merchant's"),
        }
    }

    /// Started again: the round that was open is abandoned.
    pub fn start(&mut self) -> Vec<Action<Down>> {
        self.round = None;
        self.present.clear();
        let ended = |sid: &Sha256Digest| {
            self.disk.closed.iter().any(|(other, ..)| other == sid) || self.disk.abandoned.contains(sid)
        };
        let open = self.disk.opened.iter().map(|(sid, _)| *sid).find(|sid| !ended(sid));
        open.into_iter().map(|sid| Action::Write(Durable::Abandoned { sid })).collect()
    }

    pub fn hear(&mut self, from: Name, message: Up, now: Millis) -> Vec<Action<Down>> {
        let mut actions = Vec::new();
        let sid = match &message {
            Up::Hello(bundles) => {
                actions.extend(self.hello(from, bundles));
                None
            }
            Up::Shares { sid, .. }
            | Up::Announce { sid, .. }
            | Up::Chunk { sid, .. }
            | Up::Confirmation { sid, .. }
            | Up::Answer { sid, .. } => Some(*sid),
        };
        if let Some(sid) = sid {
            let running = self.round.as_ref().is_some_and(|round| round.offer.sid() == sid);
            if running {
                actions.extend(self.in_round(from, message, now));
            } else {
                actions.push(Action::Send(from, Down::Ended { sid }));
            }
        }
        actions.extend(self.tick(now));
        actions
    }

    fn hello(&mut self, from: Name, bundles: &[PrekeyBundle]) -> Option<Action<Down>> {
        if let Some(round) = &self.round
            && matches!(round.open, Some(Open::Shares(_)))
            && Self::number(&round.offer, &self.identities, from).is_some()
        {
            return Some(Action::Send(from, Down::Offer(round.signed.clone())));
        }
        self.present.insert(from, bundles.to_vec());
        None
    }

    fn in_round(&mut self, from: Name, message: Up, now: Millis) -> Vec<Action<Down>> {
        let round = self.round.as_mut().unwrap();
        let sid = round.offer.sid();
        let Some(number) = Self::number(&round.offer, &self.identities, from) else { return Vec::new() };
        if let Some(liar) = &mut round.liar
            && let Up::Confirmation { bytes, .. } | Up::Answer { bytes, .. } = &message
        {
            return liar.hear(number, bytes, now).into_iter().map(|m| Action::Send(from, m)).collect();
        }
        match (round.open.as_mut().unwrap(), message) {
            (Open::Shares(state), Up::Shares { bytes, .. }) => {
                state.receive(number, &ShareKeys::decode(&bytes).unwrap()).unwrap();
                Vec::new()
            }
            // Whoever shared and has not heard the others' shares says so by repeating its own.
            (Open::Updates(state, _), Up::Shares { .. }) if state.sharers().contains(number) => {
                let bytes = state.delivery(number).unwrap().encode();
                vec![Action::Send(from, Down::Delivered { sid, bytes })]
            }
            (Open::Updates(state, uploads), Up::Announce { header, .. }) => {
                let header = MaskedUpdateHeader::decode(&header).unwrap();
                if let Some(accepted) = state.accepted(number) {
                    assert_eq!(accepted, header.sha256);
                    return vec![Action::Send(from, Down::Held { sid, bytes: header.length })];
                }
                if let Some((first, upload)) = uploads.get(&from) {
                    assert_eq!(*first, header, "one round, one update");
                    return vec![Action::Send(from, Down::Held { sid, bytes: upload.received() })];
                }
                let upload = state.begin_upload(number, header.clone()).unwrap();
                let charge = Durable::Logged { sid, merchant: from, update: header.sha256 };
                uploads.insert(from, (header, upload));
                vec![Action::Write(charge), Action::Send(from, Down::Held { sid, bytes: 0 })]
            }
            (Open::Updates(state, uploads), Up::Chunk { offset, bytes, .. }) => {
                let Some((_, upload)) = uploads.get_mut(&from) else { return Vec::new() };
                // A chunk that came before its predecessors leaves a gap: it is sent again.
                let _ = upload.push(offset, &bytes);
                let held = upload.received();
                if upload.is_complete() {
                    let (_, upload) = uploads.remove(&from).unwrap();
                    state.complete(upload).unwrap();
                }
                vec![Action::Send(from, Down::Held { sid, bytes: held })]
            }
            (Open::Consistency(state), Up::Announce { .. }) if state.survivors().contains(number) => {
                let survivors = forecastle_crypto::secagg::SurvivorSet { sid, survivors: state.survivors().clone() };
                let lie = round.liar.as_mut().map(|liar| liar.survivors(number));
                let bytes = lie.unwrap_or(survivors).encode();
                vec![Action::Send(from, Down::Survivors { sid, bytes })]
            }
            (Open::Consistency(state), Up::Confirmation { bytes, .. }) => {
                state.receive(number, &ConsistencySignature::decode(&bytes).unwrap()).unwrap();
                Vec::new()
            }
            (Open::Unmasking(state, _), Up::Confirmation { .. }) if state.signers().contains(number) => {
                let bytes = state.request(number).unwrap().encode();
                vec![Action::Send(from, Down::Request { sid, bytes })]
            }
            (Open::Unmasking(state, _), Up::Answer { bytes, .. }) => {
                state.receive(number, &UnmaskResponse::decode(&bytes).unwrap()).unwrap();
                Vec::new()
            }
            // Too early or too late: said again, or past.
            _ => Vec::new(),
        }
    }

    /// Opens and closes what time and messages allow.
    pub fn tick(&mut self, now: Millis) -> Vec<Action<Down>> {
        let Some(round) = &mut self.round else { return self.gather(now) };
        let (sid, mut actions) = (round.offer.sid(), Vec::new());
        let late = now >= round.deadline;
        let due = late
            || match round.open.as_mut().unwrap() {
                Open::Shares(state) => state.waiting_for().is_empty(),
                Open::Updates(state, _) => state.waiting_for().is_empty(),
                Open::Consistency(state) => round.liar.is_none() && state.waiting_for().is_empty(),
                Open::Unmasking(state, ready) => {
                    if state.is_ready() && ready.is_none() {
                        *ready = Some(now);
                    }
                    state.waiting_for().is_empty() || ready.is_some_and(|since| now >= since + GRACE)
                }
            };
        if !due {
            return actions;
        }
        round.deadline = now + PHASE;
        let next = match round.open.take().unwrap() {
            Open::Shares(state) => state.close().map(|next| Some(Open::Updates(next, BTreeMap::new()))),
            Open::Updates(state, _) => {
                if let Some(seed) = self.lies {
                    round.liar = Some(Liar::new(seed, &round.offer, &state));
                }
                state.close().map(|(next, _)| Some(Open::Consistency(next)))
            }
            // A liar never goes on to a sum: it has what it wanted, or not.
            Open::Consistency(_) if round.liar.is_some() => Ok(None),
            Open::Consistency(state) => state.close().map(|next| Some(Open::Unmasking(next, None))),
            Open::Unmasking(state, _) => match state.close() {
                Err(failed) => Err(failed),
                Ok(aggregate) => {
                    let offer = aggregate.offer.clone();
                    let survivors = aggregate.survivors.iter().map(|number| self.name(&offer, number)).collect();
                    actions.push(Action::Write(Durable::Closed { sid, survivors, sum: aggregate.residues }));
                    self.round = None;
                    actions.extend(self.everybody(&offer, &Down::Ended { sid }));
                    return actions;
                }
            },
        };
        match next {
            Ok(Some(open)) => {
                self.round.as_mut().unwrap().open = Some(open);
            }
            ended => {
                let offer = self.round.take().unwrap().offer;
                let _reason = ended.err();
                actions.push(Action::Write(Durable::Abandoned { sid }));
                actions.extend(self.everybody(&offer, &Down::Ended { sid }));
            }
        }
        actions
    }

    fn everybody(&self, offer: &VerifiedOffer, message: &Down) -> Vec<Action<Down>> {
        offer.everyone().iter().map(|number| Action::Send(self.name(offer, number), message.clone())).collect()
    }

    /// Starts a round once everybody is there: the thresholds of a run are for its whole cohort.
    fn gather(&mut self, now: Millis) -> Vec<Action<Down>> {
        let used: BTreeSet<(Name, u64)> = self.disk.opened.iter().flat_map(|(_, used)| used.iter().copied()).collect();
        let fresh =
            |name: Name, bundles: &[PrekeyBundle]| bundles.iter().find(|b| !used.contains(&(name, b.index))).cloned();
        let ready: Vec<(Name, PrekeyBundle)> =
            self.present.iter().filter_map(|(name, bundles)| Some((*name, fresh(*name, bundles)?))).collect();
        let whole = ready.len() == usize::from(self.threshold.participants());
        if self.disk.opened.len() as u64 >= self.rounds || !whole {
            return Vec::new();
        }
        let mut keys = AwaitingKeys::new();
        for (name, bundle) in &ready {
            let (id, key) = &self.identities[name];
            keys.add(id.clone(), *key, bundle.clone()).unwrap();
        }
        let (state, signed) = keys.close(self.terms(), &self.key, Arc::new(MemorySpools)).unwrap();
        let offer = state.offer().clone();
        let used = ready.iter().map(|(name, bundle)| (*name, bundle.index)).collect();
        let opened = Durable::Opened { sid: offer.sid(), used };
        self.offers.push(offer.clone());
        self.present.clear();
        self.round = Some(Round {
            offer: offer.clone(),
            signed: signed.clone(),
            open: Some(Open::Shares(state)),
            deadline: now + PHASE,
            liar: None,
        });
        let mut actions = vec![Action::Write(opened)];
        actions.extend(self.everybody(&offer, &Down::Offer(signed)));
        actions
    }

    fn terms(&self) -> RoundTerms {
        let honest = f64::from(self.threshold.survivors_min() - self.threshold.colluders());
        RoundTerms {
            federation: "simulated".into(),
            run: 1,
            round: self.disk.opened.len() as u64 + 1,
            model_version: 0,
            model_sha256: sha256(b"model"),
            layout_sha256: sha256(b"layout"),
            dimension: DIMENSION,
            bits: BITS,
            units_per_clip: 100,
            clip: 1.0,
            sigma_total: 0.1,
            variance_local: Variance::from_sigma_ceil(0.1 * 100.0 / honest.sqrt()).unwrap(),
            survivors_min: self.threshold.survivors_min(),
            threshold: self.threshold.threshold(),
            neighbours: self.threshold.neighbours(),
            colluders_assumed: self.threshold.colluders(),
            plan_sha256: sha256(b"plan"),
            deadline_ms: 1,
            ledger_size: 0,
            ledger_root: sha256(b""),
        }
    }
}
