//! A round of the vectors stage by stage, for whole rounds and for bad messages in the middle of one.

use std::collections::BTreeMap;

use super::rounds::{Invited, RoundInput};
use super::*;

/// Everybody has accepted the offer.
pub(super) struct Offered {
    pub(super) signed: SignedOffer,
    pub(super) aggregator: AwaitingShares,
    states: Vec<(ParticipantNumber, SharingKeys, SeededEntropy)>,
}

pub(super) fn begin(input: &RoundInput) -> Offered {
    let (mut cohort, mut ready) = (AwaitingKeys::new(), Vec::new());
    for from in ParticipantSet::first(input.invited.len()).iter() {
        let Invited { merchant, prekey_index, .. } = input.of(from).clone();
        let (identity, mut randomness) = (input.identity(from), input.randomness(from));
        let (bundle, secret) = generate_prekey(&merchant, &identity, prekey_index, &mut randomness).expect("seeded");
        cohort.add(merchant.clone(), identity.verifying_key(), bundle).expect("a new merchant");
        ready.push((from, AdvertisingKeys::new(merchant, identity, secret), randomness));
    }
    let federation = signing_key(&input.federation_seed);
    let (aggregator, signed) =
        cohort.close(input.terms.clone(), &federation, Arc::new(MemorySpools)).expect("valid terms");
    let offer = signed.open(&federation.verifying_key()).expect("its own offer");
    let accept = |(from, state, randomness): (_, AdvertisingKeys, _)| {
        (from, state.accept(offer.clone()).expect("invited"), randomness)
    };
    Offered { signed, aggregator, states: ready.into_iter().map(accept).collect() }
}

/// Whoever takes part in a stage has done so, and these are the messages.
pub(super) type Sent<T> = BTreeMap<ParticipantNumber, T>;

pub(super) struct KeysShared {
    pub(super) aggregator: AwaitingMaskedUpdates,
    pub(super) states: BTreeMap<ParticipantNumber, SendingMaskedUpdate>,
}

impl Offered {
    /// Everybody's message, and the stage after those of some have arrived.
    pub(super) fn share(self, input: &RoundInput) -> (KeysShared, Sent<ShareKeys>) {
        let Self { mut aggregator, states, .. } = self;
        let (mut kept, mut sent) = (BTreeMap::new(), Sent::new());
        for (from, state, mut randomness) in states {
            let (state, message) = state.share_keys(&mut randomness).expect("good keys");
            if input.share_keys.contains(&from.get()) {
                aggregator.receive(from, &message).expect("as expected");
                kept.insert(from, state);
            }
            sent.insert(from, message);
        }
        (KeysShared { aggregator: aggregator.close().expect("enough"), states: kept }, sent)
    }
}

pub(super) struct Masked {
    pub(super) aggregator: AwaitingMaskedUpdates,
    pub(super) states: BTreeMap<ParticipantNumber, ConfirmingSurvivors>,
}

impl KeysShared {
    /// What `from` sends when it is sent `delivered`.
    pub(super) fn mask_one(
        &mut self,
        input: &RoundInput,
        from: ParticipantNumber,
        delivered: DeliveredShares,
    ) -> Result<(ConfirmingSurvivors, MaskedUpdate), ParticipantError> {
        let state = self.states.remove(&from).expect("it shared keys");
        state.mask(delivered, input.update(from, self.aggregator.offer().grid()))
    }

    pub(super) fn mask(mut self, input: &RoundInput) -> (Masked, Sent<(DeliveredShares, MaskedUpdate)>) {
        let (mut kept, mut sent) = (BTreeMap::new(), Sent::new());
        for from in input.deliver.iter().map(|from| number(*from)) {
            let delivered = self.aggregator.delivery(from).expect("in U1");
            let (state, masked) = self.mask_one(input, from, delivered.clone()).expect("good shares");
            let mut upload = self.aggregator.begin_upload(from, masked.header().clone()).expect("in U1");
            upload.push(0, masked.bytes()).expect("whole");
            self.aggregator.complete(upload).expect("whole");
            kept.insert(from, state);
            sent.insert(from, (delivered, masked));
        }
        (Masked { aggregator: self.aggregator, states: kept }, sent)
    }
}

pub(super) struct Confirmed {
    pub(super) aggregator: AwaitingConsistency,
    pub(super) survivors: SurvivorSet,
    pub(super) states: BTreeMap<ParticipantNumber, Unmasking>,
}

impl Masked {
    pub(super) fn confirm(self, input: &RoundInput) -> (Confirmed, Sent<ConsistencySignature>) {
        let (mut aggregator, survivors) = self.aggregator.close().expect("enough");
        let (mut kept, mut sent) = (BTreeMap::new(), Sent::new());
        for (from, state) in self.states {
            let (state, message) = state.confirm(survivors.clone()).expect("a good set");
            if input.confirm.contains(&from.get()) {
                aggregator.receive(from, &message).expect("signed");
                kept.insert(from, state);
                sent.insert(from, message);
            }
        }
        (Confirmed { aggregator, survivors, states: kept }, sent)
    }
}

impl Confirmed {
    /// The aggregator that asks, its requests, and the answers to them.
    pub(super) fn answers(self) -> (AwaitingUnmasking, Sent<(UnmaskRequest, UnmaskResponse)>) {
        let aggregator = self.aggregator.close().expect("enough");
        let answer = |(from, state): (ParticipantNumber, Unmasking)| {
            let request = aggregator.request(from).expect("it signed");
            let answered = state.unmask(&request).expect("a good request");
            let response = answered.answer(&request).expect("the same request").clone();
            (from, (request, response))
        };
        let sent = self.states.into_iter().map(answer).collect();
        (aggregator, sent)
    }
}
