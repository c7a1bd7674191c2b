//! The simulator leaves masks out because they cancel. They do, to the last bit.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::sync::Arc;

use forecastle_client::round::driver::LocalStep;
use forecastle_crypto::{
    dp::{noise::ExactSampler, plan::PrivacyPlan, release::Release},
    entropy::SystemEntropy,
    identity::{MerchantId, SigningKey, sha256},
    quantize::{NoisedUpdate, ResidueSum},
    secagg::{
        AdvertisingKeys, AwaitingKeys, DeliveredShares, MemorySpools, ParticipantNumber, RoundTerms, ShareKeys,
        SurvivorSet, UnmaskRequest, UnmaskResponse, generate_prekey,
    },
};
use forecastle_tests::{MERCHANTS, merchant::Merchant, model, plan};

fn terms(plan: &PrivacyPlan, dimension: u32) -> RoundTerms {
    let threshold = plan.threshold(MERCHANTS as u16).unwrap();
    RoundTerms {
        federation: "market".into(),
        run: 1,
        round: 1,
        model_version: 0,
        model_sha256: model().digest(),
        layout_sha256: model().manifest.layout.digest(),
        dimension,
        bits: plan.integers.bits,
        units_per_clip: u64::from(plan.integers.units_per_clip),
        clip: plan.step.clip,
        sigma_total: plan.step.noise_multiplier,
        variance_local: plan.local_variance().unwrap(),
        survivors_min: threshold.survivors_min(),
        threshold: threshold.threshold(),
        neighbours: threshold.neighbours(),
        colluders_assumed: threshold.colluders(),
        plan_sha256: sha256(plan.to_toml().as_bytes()),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    }
}

/// Real gradients of generated orders at the warm start, rounded to the plan's grid, with the plan's exact noise.
fn updates(plan: &PrivacyPlan, dimension: u32) -> Vec<NoisedUpdate> {
    let folder = tempfile::tempdir().unwrap();
    (0..MERCHANTS)
        .map(|number| {
            let merchant = Merchant::new(folder.path(), &format!("shop-{number}"));
            merchant.import(number);
            let mut noise = ExactSampler::new().unwrap();
            let release = Release::new(plan, dimension, &mut noise).unwrap();
            merchant.step(plan).contribute(&model(), release).unwrap()
        })
        .collect()
}

#[test]
fn the_masked_sum_with_a_drop_out_is_bit_for_bit_the_sum_without_masks() {
    let mut plan = plan(2, 60_000);
    // Every series every time: no update is empty by chance.
    plan.step.sampling_rate = 1.0;
    let dimension = u32::try_from(model().manifest.layout.federated_len()).unwrap();
    let updates = updates(&plan, dimension);
    let federation = SigningKey::generate().unwrap();
    let mut entropy = SystemEntropy::new();

    let mut keys = AwaitingKeys::new();
    let mut participants = Vec::new();
    for number in 0..MERCHANTS {
        let name: MerchantId = format!("shop-{number}").parse().unwrap();
        let identity = Arc::new(SigningKey::generate().unwrap());
        let (bundle, secret) = generate_prekey(&name, &identity, 1, &mut entropy).unwrap();
        keys.add(name.clone(), identity.verifying_key(), bundle).unwrap();
        participants.push(AdvertisingKeys::new(name, identity, secret));
    }
    let (mut sharing, signed) = keys.close(terms(&plan, dimension), &federation, Arc::new(MemorySpools)).unwrap();
    let offer = signed.open(&federation.verifying_key()).unwrap();

    let mut states = Vec::new();
    for (number, participant) in (1..).zip(participants) {
        let number = ParticipantNumber::new(number).unwrap();
        let (state, message) = participant.accept(offer.clone()).unwrap().share_keys(&mut entropy).unwrap();
        sharing.receive(number, &ShareKeys::decode(&message.encode()).unwrap()).unwrap();
        states.push((number, state));
    }
    let mut masking = sharing.close().unwrap();

    // Participant 2 shares its keys and vanishes: the others' masks with it have to be taken off.
    let gone = ParticipantNumber::new(2).unwrap();
    let (mut plain, mut everybody) = (ResidueSum::new(offer.grid()), ResidueSum::new(offer.grid()));
    let mut confirming = Vec::new();
    for ((number, state), update) in states.into_iter().zip(updates) {
        everybody.add(&update).unwrap();
        if number == gone {
            continue;
        }
        plain.add(&update).unwrap();
        let unmasked = offer.grid().pack(update.residues()).unwrap();
        let delivered = masking.delivery(number).unwrap();
        let delivered = DeliveredShares::decode(&delivered.encode()).unwrap();
        let (state, masked) = state.mask(delivered, update).unwrap();
        assert_ne!(masked.bytes(), unmasked, "what leaves is masked");
        let mut upload = masking.begin_upload(number, masked.header().clone()).unwrap();
        for (offset, chunk) in masked.chunks(1000) {
            upload.push(offset, chunk).unwrap();
        }
        masking.complete(upload).unwrap();
        confirming.push((number, state));
    }
    let (mut consistency, survivors) = masking.close().unwrap();

    let mut unmasking = Vec::new();
    for (number, state) in confirming {
        let survivors = SurvivorSet::decode(&survivors.encode()).unwrap();
        let (state, signature) = state.confirm(survivors).unwrap();
        consistency.receive(number, &signature).unwrap();
        unmasking.push((number, state));
    }
    let mut answers = consistency.close().unwrap();
    for (number, state) in unmasking {
        let request = UnmaskRequest::decode(&answers.request(number).unwrap().encode()).unwrap();
        let answered = state.unmask(&request).unwrap();
        let response = answered.answer(&request).unwrap().encode();
        answers.receive(number, &UnmaskResponse::decode(&response).unwrap()).unwrap();
    }
    let aggregate = answers.close().unwrap();

    assert_eq!(aggregate.residues, plain.residues());
    assert_ne!(aggregate.residues, everybody.residues(), "the update of the one who vanished is not in the sum");
    let bits = |values: Vec<f64>| values.into_iter().map(f64::to_bits).collect::<Vec<_>>();
    assert_eq!(bits(aggregate.dequantize()), bits(plain.dequantize()));
}
