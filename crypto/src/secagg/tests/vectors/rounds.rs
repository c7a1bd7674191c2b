//! Whole rounds, from seeds to the sum, with every byte in between.

use super::pairs::sign;
use super::stages::begin;
use super::*;
use crate::entropy::array;
use crate::identity::Signature;
use crate::secagg::graph::Sign;
use crate::secagg::keys::{pair_seed, self_mask_key};
use crate::secagg::shamir;

/// One invited merchant.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Invited {
    pub(super) merchant: MerchantId,
    identity_seed: Hex,
    pub(super) prekey_index: u64,
    random_seed: Hex,
    update: Vec<i64>,
}

/// A round before it begins, and who takes part in which stage.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoundInput {
    pub(super) federation_seed: Hex,
    pub(super) terms: RoundTerms,
    pub(super) invited: Vec<Invited>,
    pub(super) share_keys: Vec<u16>,
    pub(super) deliver: Vec<u16>,
    pub(super) confirm: Vec<u16>,
    answer: Vec<u16>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PairMask {
    with: u16,
    sign: String,
    seed: Hex,
}

/// What one participant draws, derives, sends and is sent.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    participant: u16,
    identity: VerifyingKey,
    bundle: PrekeyBundle,
    channel_secret: Hex,
    mask_secret: Hex,
    self_mask_seed: Hex,
    mask_key_coefficients: Vec<Hex>,
    self_mask_coefficients: Vec<Hex>,
    holders: Vec<u16>,
    mask_key_shares: Vec<Hex>,
    self_mask_shares: Vec<Hex>,
    share_keys: Hex,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delivered: Option<Delivered>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    consistency_signature: Option<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unmasked: Option<Unmasked>,
}

/// From the shares to the masked update.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Delivered {
    delivered_shares: Hex,
    self_mask_key: Hex,
    pair_masks: Vec<PairMask>,
    residues: Vec<u64>,
    masked_residues: Vec<u64>,
    masked_update: Hex,
    masked_update_header: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Unmasked {
    unmask_request: Hex,
    unmask_response: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RecoveredSecret {
    subject: u16,
    secret: String,
    value: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct RoundOutput {
    federation: VerifyingKey,
    offer: String,
    offer_signature: Signature,
    sid: Sid,
    participants: Vec<Told>,
    survivor_set: Hex,
    recovered: Vec<RecoveredSecret>,
    sum_residues: Vec<u64>,
    sum: Vec<i64>,
}

pub(super) struct Complete;

impl Topic for Complete {
    const FILE: &'static str = "round-complete";
    const ABOUT: &'static str =
        "A round of four on the complete graph; the third shares its keys and is not heard of again.";
    type Given = ();
    type Input = RoundInput;
    type Output = RoundOutput;

    fn cases() -> Vec<Planned<RoundInput>> {
        vec![good("four, one of whom drops out", complete())]
    }

    fn run(_: Option<&()>, input: &RoundInput) -> Result<RoundOutput, String> {
        Ok(play(input))
    }
}

pub(super) struct Regular;

impl Topic for Regular {
    const FILE: &'static str = "round-regular";
    const ABOUT: &'static str =
        "A round of eight with four neighbours each; the sixth never shares keys, the second does not deliver.";
    type Given = ();
    type Input = RoundInput;
    type Output = RoundOutput;

    fn cases() -> Vec<Planned<RoundInput>> {
        let terms = RoundTerms { neighbours: Some(4), ..round_terms(6, 2, 1, 3, 40) };
        let input = RoundInput {
            share_keys: vec![1, 2, 3, 4, 5, 7, 8],
            deliver: vec![1, 3, 4, 5, 7, 8],
            confirm: vec![1, 3, 4, 5, 8],
            answer: vec![1, 3, 4, 5, 8],
            ..round(terms, 8)
        };
        vec![good("eight on a ring, two of whom drop out", input)]
    }

    fn run(_: Option<&()>, input: &RoundInput) -> Result<RoundOutput, String> {
        Ok(play(input))
    }
}

/// The round that bad messages are sent in, too.
pub(super) fn complete() -> RoundInput {
    let survivors = vec![1, 2, 4];
    RoundInput {
        deliver: survivors.clone(),
        confirm: survivors.clone(),
        answer: survivors,
        ..round(round_terms(3, 3, 1, 5, 20), 4)
    }
}

/// On the grid of these terms, one unit is 1.0.
fn round_terms(survivors_min: u16, threshold: u16, colluders: u16, dimension: u32, bits: u8) -> RoundTerms {
    RoundTerms { clip: 100.0, ..terms(survivors_min, threshold, colluders, dimension, bits) }
}

fn round(terms: RoundTerms, participants: u16) -> RoundInput {
    let update = |number: u16| (0..i64::from(terms.dimension)).map(move |i| (i + 1) * 1_000 - i64::from(number) * 700);
    let invited = |number: u16| Invited {
        merchant: merchant(usize::from(number)),
        identity_seed: fixed(&format!("identity of shop-{number}")).into(),
        prekey_index: u64::from(number) + 10,
        random_seed: fixed(&format!("randomness of shop-{number}")).into(),
        update: update(number).collect(),
    };
    let everyone: Vec<u16> = (1..=participants).collect();
    RoundInput {
        federation_seed: fixed("federation").into(),
        invited: everyone.iter().map(|number| invited(*number)).collect(),
        share_keys: everyone.clone(),
        deliver: everyone.clone(),
        confirm: everyone.clone(),
        answer: everyone,
        terms,
    }
}

impl RoundInput {
    pub(super) fn of(&self, from: ParticipantNumber) -> &Invited {
        &self.invited[from.position()]
    }

    pub(super) fn identity(&self, from: ParticipantNumber) -> Arc<SigningKey> {
        Arc::new(signing_key(&self.of(from).identity_seed))
    }

    pub(super) fn randomness(&self, from: ParticipantNumber) -> SeededEntropy {
        SeededEntropy::danger_from_seed(self.of(from).random_seed.array())
    }

    pub(super) fn update(&self, from: ParticipantNumber, grid: Grid) -> NoisedUpdate {
        let values: Vec<f64> = self.of(from).update.iter().map(|units| *units as f64 * grid.unit()).collect();
        grid.quantize(&values).expect("finite").danger_without_noise()
    }
}

/// Plays the round; what happens between messages is computed beside it, from the same seeds.
fn play(input: &RoundInput) -> RoundOutput {
    let offered = begin(input);
    let signed = offered.signed.clone();
    let offer = offered.aggregator.offer().clone();
    let (shared, share_keys) = offered.share(input);
    let sharers = shared.aggregator.sharers().clone();
    let (masked, updates) = shared.mask(input);
    let (confirmed, signatures) = masked.confirm(input);
    let survivors = confirmed.survivors.clone();
    let (mut aggregator, answers) = confirmed.answers();
    for from in input.answer.iter().map(|from| number(*from)) {
        aggregator.receive(from, &answers[&from].1).expect("as asked");
    }
    let aggregate = aggregator.close().expect("enough shares");
    assert!(aggregate.accused.is_empty());

    let mut told: Vec<Told> = share_keys.iter().map(|(from, message)| tell(input, &offer, *from, message)).collect();
    let mut recovered = Vec::new();
    for (from, participant) in offer.everyone().iter().zip(&mut told) {
        participant.delivered =
            updates.get(&from).map(|(delivered, masked)| Delivered::of(input, &offer, participant, delivered, masked));
        participant.consistency_signature = signatures.get(&from).map(|message| message.encode().into());
        participant.unmasked = answers.get(&from).map(|(request, response)| Unmasked {
            unmask_request: request.encode().into(),
            unmask_response: response.encode().into(),
        });
        if sharers.contains(from) {
            let (secret, value) = if survivors.survivors.contains(from) {
                ("self-mask-seed", &participant.self_mask_seed)
            } else {
                ("mask-key", &participant.mask_secret)
            };
            recovered.push(RecoveredSecret { subject: from.get(), secret: secret.to_owned(), value: value.clone() });
        }
    }
    RoundOutput {
        federation: signing_key(&input.federation_seed).verifying_key(),
        offer: String::from_utf8(signed.bytes).expect("json"),
        offer_signature: signed.signature,
        sid: offer.sid(),
        participants: told,
        survivor_set: survivors.encode().into(),
        recovered,
        sum: aggregate.residues.iter().map(|residue| offer.grid().from_residue(*residue)).collect(),
        sum_residues: aggregate.residues,
    }
}

/// What `from` draws and shares.
fn tell(input: &RoundInput, offer: &VerifiedOffer, from: ParticipantNumber, message: &ShareKeys) -> Told {
    let mut randomness = input.randomness(from);
    let mut draw = || -> [u8; 32] { *array(&mut randomness).expect("seeded") };
    let (channel_secret, mask_secret, self_mask_seed) = (draw(), draw(), draw());
    let threshold = offer.threshold().threshold();
    let mut coefficients = || -> Vec<[u8; 32]> { (1..threshold).map(|_| draw()).collect() };
    let (of_mask_key, of_self_mask) = (coefficients(), coefficients());
    let holders = offer.graph().holders(from);
    let shares = |secret: &[u8; 32], rows: &[[u8; 32]]| -> Vec<Hex> {
        let shares = shamir::split(secret, threshold, holders.len(), &mut Given(rows.concat())).expect("given");
        shares.iter().map(|share| share.0.into()).collect()
    };
    let hex = |rows: &[[u8; 32]]| rows.iter().map(Hex::from).collect();
    let entry = offer.entry(from).expect("invited");
    Told {
        participant: from.get(),
        identity: entry.identity,
        bundle: entry.bundle.clone(),
        mask_key_shares: shares(&mask_secret, &of_mask_key),
        self_mask_shares: shares(&self_mask_seed, &of_self_mask),
        channel_secret: channel_secret.into(),
        mask_secret: mask_secret.into(),
        self_mask_seed: self_mask_seed.into(),
        mask_key_coefficients: hex(&of_mask_key),
        self_mask_coefficients: hex(&of_self_mask),
        holders: numbers(holders.iter().copied()),
        share_keys: message.encode().into(),
        delivered: None,
        consistency_signature: None,
        unmasked: None,
    }
}

impl Delivered {
    fn of(
        input: &RoundInput,
        offer: &VerifiedOffer,
        participant: &Told,
        delivered: &DeliveredShares,
        masked: &MaskedUpdate,
    ) -> Self {
        let (sid, grid, from) = (offer.sid(), offer.grid(), number(participant.participant));
        let pair_mask = |other: ParticipantNumber| {
            let key = offer.entry(other).expect("invited").bundle.mask_key;
            let seed = pair_seed(&sid, &participant.mask_secret.array(), from, &key, other).expect("a good key");
            PairMask { with: other.get(), sign: sign(Sign::of_pair(from, other)), seed: seed.as_slice().into() }
        };
        let neighbours = offer.graph().neighbours(from).into_iter().filter(|of| delivered.sharers.contains(*of));
        let own = self_mask_key(&sid, &participant.self_mask_seed.array(), from);
        Self {
            delivered_shares: delivered.encode().into(),
            self_mask_key: own.as_slice().into(),
            pair_masks: neighbours.map(pair_mask).collect(),
            residues: input.update(from, grid).residues().to_vec(),
            masked_residues: grid.unpack(masked.bytes()).expect("its own bytes"),
            masked_update: masked.bytes().into(),
            masked_update_header: masked.header().encode().into(),
        }
    }
}
