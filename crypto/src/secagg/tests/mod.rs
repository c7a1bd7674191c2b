//! Whole rounds, in memory: [`drop_outs`] with honest ends, [`regular`] on a k-regular graph, [`hostile_server`],
//! [`split_u1`] and [`hostile_client`] with one that is not, [`offers`] before a round begins. [`messages`] alone, and the
//! published [`vectors`]. Everything is drawn from fixed seeds.

mod drop_outs;
mod hostile_client;
mod hostile_server;
mod messages;
mod offers;
mod regular;
mod split_u1;
mod vectors;

use std::sync::Arc;

use super::*;
use crate::dp::noise::{ExactSampler, Variance};
use crate::entropy::SeededEntropy;
use crate::identity::{MerchantId, SigningKey, VerifyingKey, sha256};
use crate::quantize::{Grid, NoisedUpdate, ResidueSum};

fn number(n: u16) -> ParticipantNumber {
    ParticipantNumber::new(n).expect("not zero")
}

fn set(numbers: &[u16]) -> ParticipantSet {
    numbers.iter().map(|n| number(*n)).collect()
}

fn federation() -> SigningKey {
    SigningKey::danger_from_seed(&[200; 32]).expect("32 bytes")
}

fn merchant(position: usize) -> MerchantId {
    format!("shop-{position}").parse().expect("an id")
}

fn identity(position: usize) -> Arc<SigningKey> {
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&position.to_be_bytes());
    Arc::new(SigningKey::danger_from_seed(&seed).expect("32 bytes"))
}

fn terms(survivors_min: u16, threshold: u16, colluders: u16, dimension: u32, bits: u8) -> RoundTerms {
    let honest = f64::from(survivors_min - colluders);
    RoundTerms {
        federation: "market".into(),
        run: 1,
        round: 4,
        model_version: 3,
        model_sha256: sha256(b"model"),
        layout_sha256: sha256(b"layout"),
        dimension,
        bits,
        units_per_clip: 100,
        clip: 1.0,
        sigma_total: 0.5,
        variance_local: Variance::from_sigma_ceil(0.5 * 100.0 / honest.sqrt()).expect("in range"),
        survivors_min,
        threshold,
        neighbours: None,
        colluders_assumed: colluders,
        plan_sha256: sha256(b"plan"),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    }
}

/// A cohort with its offer out: the aggregator, and each participant before sharing.
struct Cohort {
    aggregator: AwaitingShares,
    signed: SignedOffer,
    participants: Vec<AdvertisingKeys>,
    entropy: SeededEntropy,
}

impl Cohort {
    fn new(n: usize, seed: u8, terms: RoundTerms) -> Self {
        let mut entropy = SeededEntropy::danger_from_seed([seed; 32]);
        let mut cohort = AwaitingKeys::new();
        let mut participants = Vec::new();
        for position in 0..n {
            let identity = identity(position);
            let (bundle, secret) = generate_prekey(&merchant(position), &identity, 5, &mut entropy).expect("entropy");
            cohort.add(merchant(position), identity.verifying_key(), bundle).expect("a new merchant");
            participants.push(AdvertisingKeys::new(merchant(position), identity, secret));
        }
        let (aggregator, signed) = cohort.close(terms, &federation(), Arc::new(MemorySpools)).expect("valid terms");
        Self { aggregator, signed, participants, entropy }
    }

    fn offer(&self) -> VerifiedOffer {
        self.signed.open(&federation().verifying_key()).expect("the federation's own offer")
    }

    /// Everybody shares keys; `present` of the messages arrive.
    fn share(self, present: &ParticipantSet) -> Shared {
        let offer = self.offer();
        let Self { mut aggregator, participants, mut entropy, .. } = self;
        let mut waiting = Vec::new();
        for (position, participant) in participants.into_iter().enumerate() {
            let state = participant.accept(offer.clone()).expect("invited");
            let (state, message) = state.share_keys(&mut entropy).expect("good keys");
            let from = ParticipantNumber::from_position(position).expect("below 255");
            if present.contains(from) {
                let message = ShareKeys::decode(&message.encode()).expect("its own bytes");
                aggregator.receive(from, &message).expect("as expected");
                waiting.push((from, state));
            }
        }
        Shared::new(offer, aggregator.close().expect("enough sharers"), waiting)
    }
}

/// After the shares were delivered.
struct Shared {
    offer: VerifiedOffer,
    aggregator: AwaitingMaskedUpdates,
    participants: Vec<(ParticipantNumber, SendingMaskedUpdate, DeliveredShares)>,
}

impl Shared {
    /// Everybody in U1 fetches its shares.
    fn new(
        offer: VerifiedOffer,
        mut aggregator: AwaitingMaskedUpdates,
        waiting: Vec<(ParticipantNumber, SendingMaskedUpdate)>,
    ) -> Self {
        let delivered = |(from, state)| {
            let delivered = aggregator.delivery(from).expect("a member of U1");
            (from, state, DeliveredShares::decode(&delivered.encode()).expect("its own bytes"))
        };
        let participants = waiting.into_iter().map(delivered).collect();
        Self { offer, aggregator, participants }
    }

    /// Everybody in U1 masks; the updates of `present` arrive. Also the plain sum over them.
    fn mask(self, present: &ParticipantSet) -> Masked {
        let Self { offer, mut aggregator, participants } = self;
        let mut plain = ResidueSum::new(offer.grid());
        let mut waiting = Vec::new();
        for (from, state, delivered) in participants {
            let update = update_of(offer.grid(), from);
            if present.contains(from) {
                plain.add(&update).expect("one grid");
            }
            let (state, masked) = state.mask(delivered, update).expect("good shares");
            if present.contains(from) {
                let mut upload = aggregator.begin_upload(from, masked.header().clone()).expect("in U1");
                for (offset, chunk) in masked.chunks(13) {
                    upload.push(offset, chunk).expect("in order");
                }
                aggregator.complete(upload).expect("whole");
                waiting.push((from, state));
            }
        }
        Masked { offer, aggregator, participants: waiting, plain }
    }
}

/// After the masked updates arrived.
struct Masked {
    offer: VerifiedOffer,
    aggregator: AwaitingMaskedUpdates,
    participants: Vec<(ParticipantNumber, ConfirmingSurvivors)>,
    plain: ResidueSum,
}

impl Masked {
    /// Everybody in U2 signs; the signatures of `present` arrive.
    fn confirm(self, present: &ParticipantSet) -> Confirmed {
        let (mut aggregator, survivors) = self.aggregator.close().expect("enough survivors");
        let mut waiting = Vec::new();
        for (from, state) in self.participants {
            let survivors = SurvivorSet::decode(&survivors.encode()).expect("its own bytes");
            let (state, message) = state.confirm(survivors).expect("a good set");
            if present.contains(from) {
                aggregator.receive(from, &message).expect("signed");
                waiting.push((from, state));
            }
        }
        Confirmed { aggregator, participants: waiting, plain: self.plain }
    }
}

/// After the survivors signed.
struct Confirmed {
    aggregator: AwaitingConsistency,
    participants: Vec<(ParticipantNumber, Unmasking)>,
    plain: ResidueSum,
}

impl Confirmed {
    /// The aggregator that asks, and everybody who can answer it.
    fn request(self) -> (AwaitingUnmasking, Vec<(ParticipantNumber, Unmasking)>, ResidueSum) {
        (self.aggregator.close().expect("enough signatures"), self.participants, self.plain)
    }

    /// The signers answer; the answers of `present` arrive.
    fn unmask(self, present: &ParticipantSet) -> (Result<Aggregate, RoundFailed>, ResidueSum) {
        let (mut aggregator, participants, plain) = self.request();
        for (from, state) in participants {
            let request = aggregator.request(from).expect("it signed");
            let request = UnmaskRequest::decode(&request.encode()).expect("its own bytes");
            let answered = state.unmask(&request).expect("a good request");
            if present.contains(from) {
                let stored = Answered::from_bytes(&answered.to_bytes()).expect("its own bytes");
                let message = stored.answer(&request).expect("the same request").encode();
                aggregator.receive(from, &UnmaskResponse::decode(&message).expect("its own bytes")).expect("as asked");
            }
        }
        (aggregator.close(), plain)
    }
}

/// An update with noise, reproducible for each participant.
fn update_of(grid: Grid, from: ParticipantNumber) -> NoisedUpdate {
    let values: Vec<f64> =
        (0..grid.dimension()).map(|i| ((i * 7 + usize::from(from.get()) * 31) % 101) as f64 / 50.0 - 1.0).collect();
    let quantized = grid.quantize(&values).expect("finite");
    let variance = Variance::new(100, 1).expect("in range");
    let seed = [from.get() as u8; 32];
    quantized.with_noise(&mut ExactSampler::danger_from_seed(seed), variance).expect("noise")
}
