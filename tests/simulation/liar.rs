//! A server that lies once the masked updates are in: other survivors to everybody, requests with whatever statements it
//! collected, asked again and differently.

use std::collections::BTreeMap;

use forecastle_crypto::{
    identity::Signature,
    secagg::{
        AwaitingMaskedUpdates, ConsistencySignature, ParticipantNumber, ParticipantSet, SurvivorSet, UnmaskRequest,
        UnmaskResponse, VerifiedOffer,
    },
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::message::Down;
use crate::schedule::Millis;

/// Requests that one merchant is pestered with at most.
const REQUESTS: u32 = 6;

pub struct Liar {
    rng: ChaCha12Rng,
    offer: VerifiedOffer,
    sharers: ParticipantSet,
    /// The few different truths it tells.
    versions: Vec<ParticipantSet>,
    told: BTreeMap<ParticipantNumber, usize>,
    statements: BTreeMap<ParticipantNumber, Signature>,
    headers: BTreeMap<ParticipantNumber, Signature>,
    asked: BTreeMap<ParticipantNumber, u32>,
}

impl Liar {
    pub fn new(seed: u64, offer: &VerifiedOffer, state: &AwaitingMaskedUpdates) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let (sharers, delivered) = (state.sharers().clone(), state.survivors());
        let m = usize::from(offer.threshold().survivors_min());
        let version = |rng: &mut ChaCha12Rng| {
            let mut set = sharers.clone();
            let out: Vec<_> = sharers.iter().filter(|_| rng.random_bool(0.25)).collect();
            for number in out {
                // Mostly sets that a merchant would accept, now and then one that is too small.
                if set.len() > m || rng.random_bool(0.05) {
                    set.remove(number);
                }
            }
            set
        };
        let mut versions = vec![delivered];
        versions.extend((0..2).map(|_| version(&mut rng)));
        let headers = sharers.iter().filter_map(|number| Some((number, state.sharers_signature(number)?))).collect();
        let (told, statements, asked) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { rng, offer: offer.clone(), sharers, versions, told, statements, headers, asked }
    }

    /// The survivors as this merchant is told; the same each time, mostly.
    pub fn survivors(&mut self, to: ParticipantNumber) -> SurvivorSet {
        let drawn = self.rng.random_range(0..self.versions.len());
        let version = *self.told.entry(to).or_insert(drawn);
        SurvivorSet { sid: self.offer.sid(), survivors: self.versions[version].clone() }
    }

    /// A statement is collected and answered with a request, an answer with another request.
    pub fn hear(&mut self, from: ParticipantNumber, bytes: &[u8], _now: Millis) -> Vec<Down> {
        if let Ok(statement) = ConsistencySignature::decode(bytes) {
            self.statements.insert(from, statement.signature);
        } else {
            UnmaskResponse::decode(bytes).unwrap();
        }
        let asked = self.asked.entry(from).or_insert(0);
        *asked += 1;
        // It waits for statements before it begins, and gives up some day.
        if *asked > REQUESTS || (*asked == 1 && self.rng.random_bool(0.5)) {
            return Vec::new();
        }
        let bytes = self.request(from).encode();
        vec![Down::Request { sid: self.offer.sid(), bytes }]
    }

    fn request(&mut self, to: ParticipantNumber) -> UnmaskRequest {
        let version = match self.rng.random_bool(0.8) {
            true => self.told.get(&to).copied().unwrap_or(0),
            false => self.rng.random_range(0..self.versions.len()),
        };
        let survivors = self.versions[version].clone();
        let same = |number: &ParticipantNumber| self.told.get(number) == Some(&version);
        // Statements about this version, or simply all it has.
        let mix = self.rng.random_bool(0.3);
        let statements = self.statements.iter().filter(|(number, _)| mix || same(number));
        let mut reveal_mask_keys = self.sharers.difference(&survivors);
        if self.rng.random_bool(0.1)
            && let Some(both) = survivors.iter().next()
        {
            reveal_mask_keys.insert(both);
        }
        UnmaskRequest {
            sid: self.offer.sid(),
            signatures: statements.map(|(number, signature)| (*number, *signature)).collect(),
            reveal_self_masks: survivors,
            reveal_mask_keys,
            sharers_signatures: self.headers.iter().map(|(number, signature)| (*number, *signature)).collect(),
        }
    }
}
