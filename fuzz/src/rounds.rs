//! Whole honest rounds of seven, as messages, for targets that change some of them.
//!
//! t = m = 5, so two may be missing or lie. Everything is drawn from fixed seeds: a participant that is made twice sends
//! the same bytes twice.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use forecastle_crypto::{
    entropy::SeededEntropy,
    quantize::{NoisedUpdate, ResidueSum},
    secagg::{
        AdvertisingKeys, AwaitingMaskedUpdates, AwaitingShares, AwaitingUnmasking, ConsistencySignature,
        DeliveredShares, MaskedUpdateHeader, ParticipantNumber, ParticipantSet, SendingMaskedUpdate, ShareKeys,
        SignedOffer, SurvivorSet, UnmaskRequest, UnmaskResponse, VerifiedOffer, spool::MemorySpools,
    },
};

use crate::federation;

/// n.
pub const PARTICIPANTS: usize = 7;
/// t and m.
pub const THRESHOLD: usize = 5;

/// The round's offer.
pub fn offer() -> VerifiedOffer {
    thread_local! {
        static OFFER: VerifiedOffer = {
            let signed = SignedOffer::sign(&federation::offer(PARTICIPANTS as u16, 6, 20), &federation::server());
            signed.and_then(|signed| signed.open(&federation::server().verifying_key())).expect("a good offer")
        };
    }
    OFFER.with(Clone::clone)
}

/// A participant that has shared its keys, and what it sent.
pub fn sharing(number: ParticipantNumber) -> (SendingMaskedUpdate, ShareKeys) {
    let position = number.position();
    let (_, secret) = federation::prekey(position);
    let state = AdvertisingKeys::new(federation::merchant(position), federation::identity(position), secret);
    let mut entropy = SeededEntropy::danger_from_seed([100 + position as u8; 32]);
    state.accept(offer()).and_then(|state| state.share_keys(&mut entropy)).expect("an invited participant")
}

/// Its contribution.
pub fn update(number: ParticipantNumber) -> NoisedUpdate {
    let grid = offer().grid();
    let values: Vec<f64> = (0..grid.dimension()).map(|i| (i * 3 + number.position()) as f64 - 7.0).collect();
    grid.quantize(&values).expect("finite").danger_without_noise()
}

/// What everybody sent in an honest round with these drop-outs.
pub struct Transcript {
    /// U1.
    pub sharers: ParticipantSet,
    /// U2.
    pub survivors: SurvivorSet,
    /// From each of U1.
    pub shares: BTreeMap<ParticipantNumber, ShareKeys>,
    /// To each of U1.
    pub deliveries: BTreeMap<ParticipantNumber, DeliveredShares>,
    /// From each of U1.
    pub uploads: BTreeMap<ParticipantNumber, (MaskedUpdateHeader, Vec<u8>)>,
    /// From each of U2.
    pub statements: BTreeMap<ParticipantNumber, ConsistencySignature>,
    /// To each of U2.
    pub requests: BTreeMap<ParticipantNumber, UnmaskRequest>,
    /// From each of U2.
    pub answers: BTreeMap<ParticipantNumber, UnmaskResponse>,
    /// Σ over U2.
    pub sum: Vec<u64>,
}

/// The transcript with these sharers and survivors; both have at least [`THRESHOLD`] members, the second among the first.
pub fn transcript(sharers: &ParticipantSet, survivors: &ParticipantSet) -> Rc<Transcript> {
    type Key = (Vec<u8>, Vec<u8>);
    thread_local! {
        static KNOWN: RefCell<BTreeMap<Key, Rc<Transcript>>> = const { RefCell::new(BTreeMap::new()) };
    }
    let key = (sharers.as_bytes().to_vec(), survivors.as_bytes().to_vec());
    let known = KNOWN.with_borrow(|known| known.get(&key).cloned());
    known.unwrap_or_else(|| {
        let made = Rc::new(Transcript::new(sharers, survivors));
        KNOWN.with_borrow_mut(|known| known.insert(key, Rc::clone(&made)));
        made
    })
}

impl Transcript {
    fn new(sharers: &ParticipantSet, survivors: &ParticipantSet) -> Self {
        let (states, shares): (Vec<_>, BTreeMap<_, _>) = sharers
            .iter()
            .map(|number| {
                let (state, message) = sharing(number);
                ((number, state), (number, message))
            })
            .unzip();
        let mut aggregator = shared(&shares);
        let (mut deliveries, mut uploads, mut confirming) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut sum = ResidueSum::new(offer().grid());
        for (number, state) in states {
            let delivered = aggregator.delivery(number).expect("in U1");
            let (state, masked) = state.mask(delivered.clone(), update(number)).expect("an honest delivery");
            deliveries.insert(number, delivered);
            uploads.insert(number, (masked.header().clone(), masked.bytes().to_vec()));
            if survivors.contains(number) {
                sum.add(&update(number)).expect("one grid");
                confirming.push((number, state));
            }
        }
        let survivors = SurvivorSet { sid: offer().sid(), survivors: survivors.clone() };
        let mut transcript = Self {
            sharers: sharers.clone(),
            survivors,
            shares,
            deliveries,
            uploads,
            statements: BTreeMap::new(),
            requests: BTreeMap::new(),
            answers: BTreeMap::new(),
            sum: sum.residues().to_vec(),
        };
        let mut unmasking = Vec::new();
        for (number, state) in confirming {
            let (state, statement) = state.confirm(transcript.survivors.clone()).expect("an honest set");
            transcript.statements.insert(number, statement);
            unmasking.push((number, state));
        }
        let aggregator = transcript.aggregator();
        for (number, state) in unmasking {
            let request = aggregator.request(number).expect("it signed");
            let answered = state.unmask(&request).expect("an honest request");
            transcript.answers.insert(number, answered.answer(&request).expect("the same request").clone());
            transcript.requests.insert(number, request);
        }
        transcript
    }

    /// An aggregator that has everything but the answers.
    pub fn aggregator(&self) -> AwaitingUnmasking {
        let mut aggregator = shared(&self.shares);
        for number in self.survivors.survivors.iter() {
            let (header, bytes) = &self.uploads[&number];
            let mut upload = aggregator.begin_upload(number, header.clone()).expect("in U1");
            upload.push(0, bytes).expect("the announced length");
            aggregator.complete(upload).expect("an honest upload");
        }
        self.confirmed(aggregator)
    }

    /// Goes on from the masked updates, of which exactly those of U2 arrived, to the unmasking.
    pub fn confirmed(&self, aggregator: AwaitingMaskedUpdates) -> AwaitingUnmasking {
        let (mut aggregator, survivors) = aggregator.close().expect("at least m");
        assert_eq!(survivors, self.survivors);
        for (number, statement) in &self.statements {
            aggregator.receive(*number, statement).expect("an honest statement");
        }
        aggregator.close().expect("at least t")
    }
}

/// An aggregator to which exactly these shared keys.
pub fn shared(shares: &BTreeMap<ParticipantNumber, ShareKeys>) -> AwaitingMaskedUpdates {
    let mut aggregator = AwaitingShares::new(offer(), Arc::new(MemorySpools)).expect("memory");
    for (number, message) in shares {
        aggregator.receive(*number, message).expect("an honest message");
    }
    aggregator.close().expect("at least m")
}

/// Everybody but up to two, whom `byte` picks.
pub fn all_but_two(of: &ParticipantSet, byte: u8, keep: usize) -> ParticipantSet {
    let mut left = of.clone();
    for place in [byte & 15, byte >> 4] {
        if let Some(number) = ParticipantNumber::new(u16::from(place))
            && left.len() > keep
        {
            left = left.without(number);
        }
    }
    left
}
