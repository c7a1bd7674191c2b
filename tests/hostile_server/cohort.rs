//! A round in memory, which can be played again: the ground on which the suite shows what an attack would have gained.
//!
//! Everybody draws from a seed, so the same cohort can be run twice up to a point and go on differently from there. That is
//! how a test gets the answer that a participant refuses to give: it is the answer of the same participant to another
//! request. The participants are the real ones of `forecastle_crypto`; what is computed from their messages is
//! [`crate::attacker`]'s.

use std::sync::Arc;

use forecastle_crypto::{
    dp::noise::{ExactSampler, Variance},
    entropy::SeededEntropy,
    identity::{MerchantId, Signature, SigningKey, sha256},
    quantize::{Grid, NoisedUpdate},
    secagg::{
        AdvertisingKeys, ConfirmingSurvivors, ConsistencySignature, DeliveredShares, ParticipantNumber, ParticipantSet,
        PrekeySecret, RosterEntry, RoundOffer, RoundTerms, SendingMaskedUpdate, ShareKeys, SignedOffer, SurvivorSet,
        UnmaskRequest, Unmasking, VerifiedOffer, generate_prekey,
    },
};

use crate::attacker::{self, Number, Secret};

/// The participant `number`.
pub fn number(number: Number) -> ParticipantNumber {
    ParticipantNumber::from_position(usize::from(number) - 1).expect("a small number")
}

/// A set of participants.
pub fn set(numbers: &[Number]) -> ParticipantSet {
    numbers.iter().copied().map(number).collect()
}

fn numbered(number: ParticipantNumber) -> Number {
    Number::try_from(number.position() + 1).expect("a small number")
}

fn federation() -> SigningKey {
    SigningKey::danger_from_seed(&[200; 32]).expect("32 bytes")
}

fn identity(position: usize) -> Arc<SigningKey> {
    Arc::new(SigningKey::danger_from_seed(&[position as u8 + 1; 32]).expect("32 bytes"))
}

/// Terms with thresholds of the test's choice, on the complete graph, everything else as anywhere.
pub fn terms(survivors_min: u16, threshold: u16, colluders: u16) -> RoundTerms {
    let share = 0.5 * 100.0 / f64::from(survivors_min - colluders).sqrt();
    let terms = serde_json::json!({
        "federation": "market", "run": 1, "round": 1, "model_version": 0, "model_sha256": sha256(b"model"),
        "layout_sha256": sha256(b"layout"), "dimension": 9, "bits": 20, "units_per_clip": 100, "clip": 1.0,
        "sigma_total": 0.5, "variance_local": Variance::from_sigma_ceil(share).expect("in range"),
        "survivors_min": survivors_min, "threshold": threshold, "colluders_assumed": colluders,
        "plan_sha256": sha256(b"plan"), "deadline_ms": 1, "ledger_size": 0, "ledger_root": sha256(b""),
    });
    // By way of JSON, so that a field with a default needs no mention here.
    serde_json::from_value(terms).expect("terms of this version")
}

/// A cohort before its round.
pub struct Cohort {
    roster: Vec<RosterEntry>,
    secrets: Vec<PrekeySecret>,
    entropy: SeededEntropy,
}

/// A round in which everybody has sent its masked update.
pub struct Round {
    /// What was offered.
    pub offer: VerifiedOffer,
    /// Everybody's masked update, by position.
    pub updates: Vec<Vec<u8>>,
    /// Everybody's update before it was masked, by position: what the server must not learn.
    pub bare: Vec<Vec<u64>>,
    /// M1, by position.
    pub shares: Vec<ShareKeys>,
    /// What everybody signed about whom it masked against, by position.
    sharers: Vec<Signature>,
    states: Vec<ConfirmingSurvivors>,
    secrets: Vec<Vec<u8>>,
}

impl Cohort {
    /// `n` merchants with a pre-key each.
    pub fn new(n: usize) -> Self {
        let mut entropy = SeededEntropy::danger_from_seed([7; 32]);
        let (mut roster, mut secrets) = (Vec::new(), Vec::new());
        for position in 0..n {
            let merchant: MerchantId = format!("shop-{position}").parse().expect("an id");
            let identity = identity(position);
            let (bundle, secret) = generate_prekey(&merchant, &identity, 1, &mut entropy).expect("entropy");
            roster.push(RosterEntry { merchant, identity: identity.verifying_key(), bundle });
            secrets.push(secret);
        }
        Self { roster, secrets, entropy }
    }

    /// Runs the round until all masked updates are with the server.
    pub fn run(mut self, terms: RoundTerms) -> Round {
        let offer = RoundOffer { version: 1, terms, roster: self.roster.clone() };
        let signed = SignedOffer::sign(&offer, &federation()).expect("an offer");
        let offer = signed.open(&federation().verifying_key()).expect("an offer that holds together");
        let sid = offer.sid();
        let secrets = self.secrets.iter().map(|secret| secret.to_bytes().to_vec()).collect();
        let (mut states, mut shares): (Vec<SendingMaskedUpdate>, Vec<ShareKeys>) = (Vec::new(), Vec::new());
        for (position, secret) in self.secrets.into_iter().enumerate() {
            let merchant = self.roster[position].merchant.clone();
            let state = AdvertisingKeys::new(merchant, identity(position), secret).accept(offer.clone());
            let (state, message) = state.expect("it is invited").share_keys(&mut self.entropy).expect("entropy");
            states.push(state);
            shares.push(message);
        }
        let (mut confirming, mut updates, mut bare, mut sharers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (position, state) in states.into_iter().enumerate() {
            let own = ParticipantNumber::from_position(position).expect("a small number");
            let from_others = shares.iter().enumerate().filter(|(other, _)| *other != position);
            let sealed = from_others.filter_map(|(other, message)| {
                let other = ParticipantNumber::from_position(other)?;
                let (_, sealed) = message.sealed.iter().find(|(to, _)| *to == own)?;
                Some((other, *sealed))
            });
            let delivered = DeliveredShares { sid, sharers: offer.everyone(), sealed: sealed.collect() };
            let update = update_of(offer.grid(), numbered(own));
            bare.push(update.residues().to_vec());
            let (state, masked) = state.mask(delivered, update).expect("good shares");
            confirming.push(state);
            updates.push(masked.bytes().to_vec());
            sharers.push(masked.header().sharers_signature);
        }
        Round { offer, updates, bare, shares, sharers, states: confirming, secrets }
    }
}

impl Round {
    /// The public mask keys, by number.
    pub fn mask_keys(&self) -> Vec<(Number, [u8; 32])> {
        (1..).zip(self.offer.roster()).map(|(number, entry)| (number, entry.bundle.mask_key.0)).collect()
    }

    /// The secrets C and S of a participant, as it has them on its disk: what a merchant of the server's own knows.
    pub fn secrets_of(&self, number: Number) -> ([u8; 32], [u8; 32]) {
        let stored = &self.secrets[usize::from(number) - 1];
        (stored[8..40].try_into().expect("32 bytes"), stored[40..].try_into().expect("32 bytes"))
    }

    /// What the participants of `group` answer when they are told that exactly `survivors` survived: their shares, by
    /// whose secret it is. All of the group agree, as an honest server would have it.
    pub fn answers(&mut self, group: &[Number], survivors: &[Number]) -> Answers {
        let (sid, everyone, set) = (self.offer.sid(), self.offer.everyone(), set(survivors));
        let mut signed: Vec<(ParticipantNumber, ConsistencySignature, Unmasking)> = Vec::new();
        for (position, state) in std::mem::take(&mut self.states).into_iter().enumerate() {
            let own = ParticipantNumber::from_position(position).expect("a small number");
            if group.contains(&numbered(own)) {
                let (state, signature) =
                    state.confirm(SurvivorSet { sid, survivors: set.clone() }).expect("a good set");
                signed.push((own, signature, state));
            }
        }
        let request = UnmaskRequest {
            sid,
            reveal_self_masks: set.clone(),
            reveal_mask_keys: everyone.difference(&set),
            signatures: signed.iter().map(|(own, signature, _)| (*own, signature.signature)).collect(),
            sharers_signatures: set.iter().map(|number| (number, self.sharers[number.position()])).collect(),
        };
        let answer = |(own, _, state): (ParticipantNumber, _, Unmasking)| {
            let answered = state.unmask(&request).expect("a good request");
            let response = answered.answer(&request).expect("the same request").encode();
            (numbered(own), attacker::answered(&response))
        };
        signed.into_iter().map(answer).collect()
    }

    /// The update of `victim` as it was before masking, from the seed of its self-mask and the key of each pair's mask.
    pub fn bared(&self, victim: Number, seed: &[u8; 32], pair: impl Fn(Number) -> [u8; 32]) -> Vec<u64> {
        let own = attacker::self_mask(&self.offer.sid(), seed, victim);
        let neighbours = self.offer.graph().neighbours(number(victim)).into_iter().map(numbered);
        let (above, below): (Vec<Number>, Vec<Number>) = neighbours.partition(|other| victim < *other);
        let added: Vec<_> = above.into_iter().map(&pair).chain([own]).collect();
        let subtracted: Vec<_> = below.into_iter().map(&pair).collect();
        attacker::bared(&self.updates[usize::from(victim) - 1], &self.offer.grid(), &added, &subtracted)
    }

    /// The update of `victim` from both of its secrets: all that a server needs.
    pub fn bared_by_both(&self, victim: Number, seed: &[u8; 32], mask_secret: &[u8; 32]) -> Vec<u64> {
        let keys = self.mask_keys();
        self.bared(victim, seed, |other| {
            let (_, key) = keys[usize::from(other) - 1];
            attacker::pair_mask(&self.offer.sid(), (victim, mask_secret), (other, &key))
        })
    }
}

/// A share, and whose secret it belongs to.
type Share = (Number, Secret, [u8; 32]);

/// Answers to an unmasking request, by who gave them.
pub type Answers = Vec<(Number, Vec<Share>)>;

/// The shares of one secret of `subject` among answers.
pub fn shares_of(answers: &Answers, subject: Number, secret: Secret) -> Vec<(Number, [u8; 32])> {
    let of = |(holder, shares): &(Number, Vec<Share>)| {
        let share = shares.iter().find(|(whose, kind, _)| (*whose, *kind) == (subject, secret))?;
        Some((*holder, share.2))
    };
    answers.iter().filter_map(of).collect()
}

/// An update with noise, the same for a participant in every run.
fn update_of(grid: Grid, number: Number) -> NoisedUpdate {
    let values: Vec<f64> =
        (0..grid.dimension()).map(|i| ((i * 7 + usize::from(number) * 31) % 101) as f64 / 50.0 - 1.0).collect();
    let quantized = grid.quantize(&values).expect("finite");
    let variance = Variance::new(100, 1).expect("in range");
    quantized.with_noise(&mut ExactSampler::danger_from_seed([number as u8; 32]), variance).expect("noise")
}
