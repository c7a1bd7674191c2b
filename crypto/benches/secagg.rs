//! The building blocks of secure aggregation, each beside the limit that it cannot pass. Prints; asserts nothing.
//!
//! `cargo bench -p forecastle-crypto --bench secagg`; a whole round with ratios is `--example secagg_cost`.

use std::hint::black_box;
use std::sync::Arc;

use aes::Aes256;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use forecastle_crypto::dp::noise::Variance;
use forecastle_crypto::entropy::SeededEntropy;
use forecastle_crypto::identity::{MerchantId, SigningKey, sha256};
use forecastle_crypto::quantize::{Grid, NoisedUpdate};
use forecastle_crypto::secagg::{
    AdvertisingKeys, AwaitingKeys, AwaitingMaskedUpdates, DeliveredShares, MemorySpools, ParticipantNumber, RoundTerms,
    SendingMaskedUpdate, VerifiedOffer, finder, generate_prekey, shamir,
};

fn terms(n: u16, neighbours: Option<u16>, dimension: u32) -> RoundTerms {
    let threshold = neighbours.map_or(2 * n / 3 + 1, |k| k * 2 / 3);
    let survivors_min = n - n / 20;
    RoundTerms {
        federation: "bench".into(),
        run: 1,
        round: 1,
        model_version: 0,
        model_sha256: sha256(b"model"),
        layout_sha256: sha256(b"layout"),
        dimension,
        bits: 32,
        units_per_clip: 1_000,
        clip: 1.0,
        sigma_total: 1.0,
        variance_local: Variance::from_sigma_ceil(1_000.0).expect("in range"),
        survivors_min,
        threshold,
        neighbours,
        colluders_assumed: 0,
        plan_sha256: sha256(b"plan"),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    }
}

/// A round whose offer is out, as the first participant and the server see it.
struct Round {
    offer: VerifiedOffer,
    make: Box<dyn Fn() -> AdvertisingKeys>,
    seed: u8,
}

impl Round {
    fn new(n: u16, neighbours: Option<u16>, dimension: u32) -> Self {
        let mut keys = AwaitingKeys::new();
        for position in 0..usize::from(n) {
            let (merchant, identity, bundle, _) = member(position);
            keys.add(merchant, identity.verifying_key(), bundle).expect("a new member");
        }
        let federation = SigningKey::danger_from_seed(&[200; 32]).expect("32 bytes");
        let closed = keys.close(terms(n, neighbours, dimension), &federation, Arc::new(MemorySpools));
        let (sharing, _) = closed.expect("valid terms");
        let make = Box::new(|| {
            let (merchant, identity, _, secret) = member(0);
            AdvertisingKeys::new(merchant, identity, secret)
        });
        Self { offer: sharing.offer().clone(), make, seed: 7 }
    }

    /// The first participant with everybody's shares delivered to it.
    fn before_masking(&self) -> (SendingMaskedUpdate, DeliveredShares) {
        let spools = Arc::new(MemorySpools);
        let mut sharing = forecastle_crypto::secagg::AwaitingShares::new(self.offer.clone(), spools).expect("memory");
        let mut entropy = SeededEntropy::danger_from_seed([self.seed; 32]);
        let mut first = None;
        for number in self.offer.everyone().iter() {
            let (merchant, identity, _, secret) = member(number.position());
            let state = AdvertisingKeys::new(merchant, identity, secret).accept(self.offer.clone()).expect("invited");
            let (state, message) = state.share_keys(&mut entropy).expect("good keys");
            sharing.receive(number, &message).expect("as expected");
            first.get_or_insert(state);
        }
        let mut masking: AwaitingMaskedUpdates = sharing.close().expect("everybody");
        let own = ParticipantNumber::from_position(0).expect("not zero");
        (first.expect("somebody"), masking.delivery(own).expect("a member"))
    }
}

type Member =
    (MerchantId, Arc<SigningKey>, forecastle_crypto::secagg::PrekeyBundle, forecastle_crypto::secagg::PrekeySecret);

fn member(position: usize) -> Member {
    let merchant: MerchantId = format!("shop-{position}").parse().expect("an id");
    let mut seed = [1; 32];
    seed[..8].copy_from_slice(&position.to_be_bytes());
    let identity = Arc::new(SigningKey::danger_from_seed(&seed).expect("32 bytes"));
    let mut entropy = SeededEntropy::danger_from_seed(seed);
    let (bundle, secret) = generate_prekey(&merchant, &identity, 1, &mut entropy).expect("entropy");
    (merchant, identity, bundle, secret)
}

fn update(grid: Grid) -> NoisedUpdate {
    grid.quantize(&vec![0.5; grid.dimension()]).expect("finite").danger_without_noise()
}

fn sharing(c: &mut Criterion) {
    let mut group = c.benchmark_group("shamir split, a secret");
    for (holders, threshold) in [(20, 14), (100, 67), (255, 171)] {
        group.throughput(Throughput::Elements(holders as u64));
        group.bench_function(BenchmarkId::from_parameter(holders), |b| {
            let mut entropy = SeededEntropy::danger_from_seed([3; 32]);
            b.iter(|| shamir::split(black_box(&[9; 32]), threshold, holders, &mut entropy));
        });
    }
    group.finish();
    let mut group = c.benchmark_group("shares of one participant");
    for (n, neighbours) in [(100, Some(20)), (100, None), (255, None)] {
        let round = Round::new(n, neighbours, 8);
        group.throughput(Throughput::Elements(round.offer.graph().neighbours_each() as u64));
        group.bench_function(format!("n {n}, k {}", round.offer.graph().neighbours_each()), |b| {
            let mut entropy = SeededEntropy::danger_from_seed([4; 32]);
            let fresh = || (round.make)().accept(round.offer.clone()).expect("invited");
            b.iter_batched(fresh, |state| state.share_keys(&mut entropy).map(drop), BatchSize::LargeInput);
        });
    }
    group.finish();
}

fn masking(c: &mut Criterion) {
    let (dimension, k) = (100_000_u32, 20_u16);
    let mut group = c.benchmark_group("masking, 100,000 parameters, 20 neighbours");
    group.throughput(Throughput::Bytes(u64::from(dimension) * 4 * u64::from(k + 1)));
    group.bench_function("the keystream alone", |b| {
        let mut stream = Ctr128BE::<Aes256>::new(&[7; 32].into(), &[0; 16].into());
        let mut tile = vec![0u8; 8 << 10];
        let tiles = dimension as usize * 4 * usize::from(k + 1) / tile.len();
        b.iter(|| (0..tiles).for_each(|_| stream.write_keystream(black_box(&mut tile))));
    });
    let round = Round::new(100, Some(k), dimension);
    group.sample_size(10);
    group.bench_function("one participant", |b| {
        let fresh = || (round.before_masking(), update(round.offer.grid()));
        b.iter_batched(
            fresh,
            |((state, shares), update)| state.mask(shares, update).map(drop),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn degrees(c: &mut Criterion) {
    c.bench_function("finder, 10,000 participants", |b| {
        let adversity = finder::Adversity { participants: 10_000, colluders: 500, drop_outs: 500 };
        b.iter(|| finder::find(black_box(adversity)));
    });
}

criterion_group!(benches, sharing, masking, degrees);
criterion_main!(benches);
