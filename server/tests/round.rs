//! Whole rounds over TLS: the sum that comes out, drop-outs at every stage, restarts, and messages that do not
//! belong.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::time::Duration;

use forecastle_crypto::{
    identity::{Sha256Digest, SigningKey, sha256},
    ledger::entry::{Entry, NoiseMode, SignedCharge},
    quantize::Grid,
};
use forecastle_proto::{
    ledger::{EntriesRequest, LatestCheckpointRequest},
    limits::{CHUNK_BYTES, CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX},
    model::ModelSnapshot,
    model_service::{GetModelRequest, LatestRequest},
    round::{
        MaskedUpdateBytes, MaskedUpdateChunk, ParticipantMessage, RoundCall, StatusRequest, UploadPrekeysRequest,
        masked_update_chunk::Part,
    },
};
use forecastle_server::{event::ServerEvent, model::optimizer::ServerOptimizer};
use support::*;
use tonic::Code;

/// Adds residues as secure aggregation would.
fn sum(grid: Grid, residues: &[Vec<u64>]) -> Vec<f64> {
    let total: Vec<u64> = (0..grid.dimension())
        .map(|k| {
            let word = residues.iter().fold(0u64, |sum, r| sum.wrapping_add(r[k]));
            word & ((1 << grid.bits()) - 1)
        })
        .collect();
    grid.dequantize(&total)
}

async fn download(merchant: &Merchant, version: u64) -> Vec<u8> {
    let mut stream = merchant.models().get(GetModelRequest { version }).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.message().await.unwrap() {
        bytes.extend_from_slice(&chunk.data);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_publishes_what_follows_from_the_sum_and_the_run_ends_after_its_schedule() {
    let mut federation = Federation::start(&plan(2, 5_000)).await;
    let mut merchants = federation.merchants(5).await;
    let mut optimizer = {
        let model = model();
        let initial = model.manifest.layout.gather_federated(&model.values);
        ServerOptimizer::new(&merchants[0].plan.optimizer, 2, &initial)
    };
    for number in 1..=2u64 {
        let seen = round(&mut merchants, number - 1, |_| Vanish::Never).await;
        let residues: Vec<Vec<u64>> = seen.iter().map(|(_, r)| r.clone()).collect();
        let plan = &merchants[0].plan;
        let divisor = plan.step.sampling_rate * f64::from(plan.step.assumed_series);
        optimizer.step(&sum(plan.grid(DIMENSION as u32).unwrap(), &residues), divisor).unwrap();
        let mut expected = model();
        let layout = expected.manifest.layout.clone();
        layout.scatter_federated(&optimizer.published(number), &mut expected.values);

        let bytes = download(&merchants[0], number).await;
        assert_eq!(ModelSnapshot::from_bytes(&bytes).unwrap(), expected);
        for (outcome, _) in &seen {
            let Seen::Published { version, sha256: digest } = outcome else { panic!("{outcome:?}") };
            assert_eq!((*version, &digest[..]), (number, &sha256(&bytes).as_bytes()[..]));
        }
    }
    let latest = merchants[0].models().latest(LatestRequest {}).await.unwrap().into_inner();
    assert_eq!((latest.version, latest.length), (2, download(&merchants[0], 2).await.len() as u64));
    assert_eq!(download(&merchants[0], 0).await, model().to_bytes());
    assert_eq!(merchants[0].models().get(GetModelRequest { version: 9 }).await.unwrap_err().code(), Code::NotFound);

    federation.event(|e| matches!(e, ServerEvent::RunFinished { model_version: 2 })).await;
    assert!(merchants[0].offer(0).await.unwrap().is_none());
    let status = merchants[0].rounds().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.rounds_used, status.finished, status.prekeys_left), (2, true, 6));

    // The log holds for each round five charges, then its end naming them.
    let entries = federation.entries().await;
    let closed: Vec<_> = entries
        .iter()
        .enumerate()
        .filter_map(|(i, e)| if let Entry::RoundClosed(c) = e { Some((i, c)) } else { None })
        .collect();
    assert_eq!(closed.len(), 2);
    for (index, entry) in closed {
        assert_eq!(entry.charges.len(), 5);
        for (number, at) in entry.survivors.iter().zip(&entry.charges) {
            assert!((*at as usize) < index);
            let Entry::Charge(signed) = &entries[*at as usize] else { panic!("no charge at {at}") };
            assert_eq!(signed.charge.merchant, entry.roster[usize::from(*number) - 1]);
        }
    }
    audited(&federation).await;
}

/// What the offline auditor says of the exported log.
async fn audited(federation: &Federation) {
    use forecastle_crypto::ledger::audit::audit;
    let target = tempfile::tempdir().unwrap();
    federation.server.state().export_ledger(target.path()).await.unwrap();
    let leaves = read_leaves(target.path());
    let note = std::fs::read_to_string(target.path().join("checkpoint")).unwrap();
    let models = federation.server.state().models().await.unwrap();
    let files = models
        .iter()
        .map(|row| {
            let file = target.path().join(format!("models/{}.safetensors", row.version));
            (row.version, sha256(&std::fs::read(file).unwrap()))
        })
        .collect();
    let verdict = audit(&leaves, &note, &federation.server.state().server_key(), &files).unwrap();
    assert!(verdict.findings.is_empty(), "{:?}", verdict.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_merchant_may_vanish_at_any_stage() {
    let mut federation = Federation::start(&plan(4, 6_000)).await;
    let mut merchants = federation.merchants(5).await;
    let stages =
        [Vanish::BeforeSharingKeys, Vanish::BeforeUploading, Vanish::BeforeConfirming, Vanish::BeforeUnmasking];
    for (i, stage) in stages.into_iter().enumerate() {
        let number = i as u64 + 1;
        let seen = round(&mut merchants, number - 1, |who| if who == i { stage } else { Vanish::Never }).await;
        for (who, (outcome, _)) in seen.iter().enumerate() {
            if who == i {
                assert!(matches!(outcome, Seen::Vanished));
            } else {
                assert!(
                    matches!(outcome, Seen::Published { version, .. } if *version == number),
                    "{stage:?}: {outcome:?}"
                );
            }
        }
        let ServerEvent::RoundClosed { survivors, .. } =
            federation.event(|e| matches!(e, ServerEvent::RoundClosed { round, .. } if *round == number)).await
        else {
            unreachable!()
        };
        let in_the_sum = !matches!(stage, Vanish::BeforeSharingKeys | Vanish::BeforeUploading);
        assert_eq!(survivors.len(), if in_the_sum { 5 } else { 4 }, "{stage:?}");
    }
    audited(&federation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_round_with_too_few_is_abandoned_counts_and_burns_its_prekeys() {
    let mut federation = Federation::start(&plan(2, 500)).await;
    let mut merchants = federation.merchants(4).await;
    let seen = round(&mut merchants, 0, |who| if who == 0 { Vanish::BeforeUploading } else { Vanish::Never }).await;
    for (outcome, _) in &seen[1..] {
        let Seen::Ended(reason) = outcome else { panic!("{outcome:?}") };
        assert!(reason.contains("4 are needed"), "{reason}");
    }
    federation.event(|e| matches!(e, ServerEvent::RoundAbandoned { round: 1, .. })).await;
    let entries = federation.entries().await;
    let Some(Entry::RoundAbandoned(abandoned)) = entries.last() else { panic!("{entries:?}") };
    assert_eq!((abandoned.round, abandoned.charges.len()), (1, 3));
    let status = merchants[1].rounds().status(StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.rounds_used, status.model_version, status.prekeys_left), (1, 0, 7));
    // The next number is used for the next round.
    let seen = round(&mut merchants, 1, |_| Vanish::Never).await;
    assert!(seen.iter().all(|(outcome, _)| matches!(outcome, Seen::Published { version: 1, .. })));
    audited(&federation).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_round_abandons_it_and_loses_no_model() {
    let federation = Federation::start(&plan(3, 10_000)).await;
    let mut merchants = federation.merchants(4).await;
    round(&mut merchants, 0, |_| Vanish::Never).await;
    let first = download(&merchants[0], 1).await;

    // Two of four updates are in when the server dies.
    let mut offers = Vec::new();
    for merchant in &merchants {
        offers.push(merchant.offer(1));
    }
    let offers = join_all(offers).await;
    let mut states = Vec::new();
    for (merchant, offer) in merchants.iter_mut().zip(&offers) {
        states.push(merchant.share_keys(offer).await.unwrap());
    }
    for (who, state) in states.into_iter().enumerate().take(2) {
        let merchant = &mut merchants[who];
        let shares = merchant.message(&offers[who], Awaited::Shares).await.unwrap().unwrap();
        let masked = merchant.mask(state, &shares, &[0.01; DIMENSION]);
        merchant.upload(merchant.parts(&masked, 0, CHUNK_BYTES)).await.unwrap();
    }
    let mut federation = federation.restart().await;
    let entries = federation.entries().await;
    let Some(Entry::RoundAbandoned(abandoned)) = entries.last() else { panic!("{:?}", entries.last()) };
    assert_eq!((abandoned.round, abandoned.charges.len()), (2, 2));
    for merchant in &mut merchants {
        merchant.reconnect().await;
    }
    assert_eq!(download(&merchants[0], 1).await, first);
    // A message for the dead round is told so.
    let call = RoundCall { sid: sid(&offers[0]), wait_ms: 0 };
    assert_eq!(merchants[0].rounds().await_outcome(call).await.unwrap_err().code(), Code::NotFound);

    let seen = round(&mut merchants, 2, |_| Vanish::Never).await;
    assert!(seen.iter().all(|(o, _)| matches!(o, Seen::Published { version: 2, .. })), "{seen:?}");
    federation.event(|e| matches!(e, ServerEvent::RunFinished { .. })).await;
    audited(&federation).await;
    // The optimizer went on from the state of round 1: its step counts two.
    let state = std::fs::read(federation.state_directory().join("models/2.optimizer")).unwrap();
    let plan = federation.server.state().plan();
    assert_eq!(ServerOptimizer::from_bytes(&plan.optimizer, 3, &state).unwrap().steps(), 2);
}

async fn join_all(
    offers: Vec<impl Future<Output = Result<Option<forecastle_crypto::secagg::VerifiedOffer>, tonic::Status>>>,
) -> Vec<forecastle_crypto::secagg::VerifiedOffer> {
    let mut offers: Vec<_> = offers.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<_>> = offers.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (offer, slot) in offers.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(result) = offer.as_mut().poll(context)
            {
                *slot = Some(result.unwrap().unwrap());
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_records_the_open_round_as_abandoned() {
    let federation = Federation::start(&plan(3, 10_000)).await;
    let merchants = federation.merchants(4).await;
    let offers = join_all(merchants.iter().map(|m| m.offer(0)).collect()).await;
    assert_eq!(offers.len(), 4);
    drop(merchants);
    let directory = tokio::time::timeout(PATIENCE, federation.stop()).await.expect("it stops in time");
    let state = forecastle_server::state::FederationState::open(&directory.path().join("state")).await.unwrap();
    let status = state.status().await.unwrap();
    assert_eq!((status.rounds_used, status.rounds_abandoned, status.round_open), (1, 1, None));
    let target = tempfile::tempdir().unwrap();
    state.export_ledger(target.path()).await.unwrap();
    let entries = read_entries(target.path());
    assert!(matches!(entries.last(), Some(Entry::RoundAbandoned(a)) if a.reason.contains("stopped")), "{entries:?}");
}

/// Four merchants up to their masked updates.
async fn masked(federation: &Federation) -> (Vec<Merchant>, Vec<Masked>) {
    let mut merchants = federation.merchants(4).await;
    let offers = join_all(merchants.iter().map(|m| m.offer(0)).collect()).await;
    let mut states = Vec::new();
    for (merchant, offer) in merchants.iter_mut().zip(&offers) {
        states.push(merchant.share_keys(offer).await.unwrap());
    }
    let mut all = Vec::new();
    for ((merchant, offer), state) in merchants.iter_mut().zip(&offers).zip(states) {
        let shares = merchant.message(offer, Awaited::Shares).await.unwrap().unwrap();
        all.push(merchant.mask(state, &shares, &[0.02; DIMENSION]));
    }
    (merchants, all)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_resumes_where_it_broke_off_and_repeats_change_nothing() {
    let federation = Federation::start(&plan(1, 10_000)).await;
    let (merchants, masked) = masked(&federation).await;
    let (merchant, mine) = (&merchants[0], &masked[0]);
    let total = mine.update.bytes().len() as u64;
    let offset = || async {
        let call = RoundCall { sid: mine.sid.clone(), wait_ms: 0 };
        merchant.rounds().upload_offset(call).await.unwrap().into_inner().received
    };
    assert_eq!(offset().await, 0);
    // Header, charge and nine bytes; then the connection ends.
    assert_eq!(merchant.upload(merchant.parts(mine, 0, 9)[..2].to_vec()).await.unwrap(), 9);
    assert_eq!(offset().await, 9);
    // A gap is refused and loses nothing.
    assert_eq!(merchant.upload(merchant.parts(mine, 11, 4)).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(offset().await, 9);
    assert_eq!(merchant.upload(merchant.parts(mine, 9, 4)).await.unwrap(), total);
    assert_eq!(offset().await, total);
    assert_eq!(merchant.upload(merchant.parts(mine, 0, CHUNK_BYTES)).await.unwrap(), total);
    // The charge is in the log once.
    let entries = federation.entries().await;
    assert_eq!(entries.iter().filter(|e| matches!(e, Entry::Charge(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_contradict_themselves_the_plan_or_the_round_are_refused() {
    let federation = Federation::start(&plan(1, 20_000)).await;
    let (merchants, mut masked) = masked(&federation).await;
    let merchant = &merchants[0];
    let mut mine = masked.remove(0);
    let honest = mine.charge.clone();
    let refused = |mine: &Masked| merchant.upload(merchant.parts(mine, 0, CHUNK_BYTES));

    type Spoil = fn(&mut forecastle_crypto::ledger::entry::Charge);
    let spoils: [(&str, Spoil); 10] = [
        ("`noise`", |c| c.noise = NoiseMode::Local),
        ("`clip`", |c| c.clip *= 2.0),
        ("round", |c| c.round += 1),
        ("sid", |c| c.sid = sha256(b"other")),
        ("masked-sha256", |c| c.masked_sha256 = sha256(b"other")),
        ("noise-multiplier", |c| c.noise_multiplier *= 0.5),
        ("dimension", |c| c.dimension += 1),
        ("survivors-min", |c| c.survivors_min += 1),
        ("delta", |c| c.delta *= 10.0),
        ("merchant", |c| c.merchant = "shop-1".parse().unwrap()),
    ];
    for (field, spoil) in spoils {
        spoil(&mut mine.charge);
        let status = refused(&mine).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
        assert!(status.message().contains(field), "{field}: {status}");
        mine.charge = honest.clone();
    }
    // Signed by someone else.
    let mut parts = merchant.parts(&mine, 0, CHUNK_BYTES);
    let Some(Part::Start(start)) = &mut parts[0].part else { unreachable!() };
    let forged = SignedCharge::sign(honest.clone(), &SigningKey::generate().unwrap());
    start.charge = serde_json::to_vec(&forged).unwrap();
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::PermissionDenied);
    // Another form of the same charge.
    let mut parts = merchant.parts(&mine, 0, CHUNK_BYTES);
    let Some(Part::Start(start)) = &mut parts[0].part else { unreachable!() };
    start.charge.push(b'\n');
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::InvalidArgument);
    // A foreign round, another merchant's update, no header, a chunk too large.
    let mut parts = merchant.parts(&mine, 0, CHUNK_BYTES);
    let Some(Part::Start(start)) = &mut parts[0].part else { unreachable!() };
    start.sid = vec![9; 32];
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::NotFound);
    let parts = merchants[1].parts(&masked[0], 0, CHUNK_BYTES);
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::PermissionDenied);
    let parts = merchant.parts(&mine, 0, CHUNK_BYTES)[1..].to_vec();
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(federation.entries().await.iter().filter(|e| matches!(e, Entry::Charge(_))).count(), 0);

    let mut parts = merchant.parts(&mine, 0, CHUNK_BYTES);
    let data = vec![0; CHUNK_BYTES_MAX + 1].into();
    parts.insert(1, MaskedUpdateChunk { part: Some(Part::Bytes(MaskedUpdateBytes { offset: 0, data })) });
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::InvalidArgument);
    // Other bytes than announced: refused as a whole, and the honest bytes may follow.
    let mut parts = merchant.parts(&mine, 0, CHUNK_BYTES);
    let Some(Part::Bytes(chunk)) = &mut parts[1].part else { unreachable!() };
    let mut bytes = chunk.data.to_vec();
    bytes[0] ^= 1;
    chunk.data = bytes.into();
    assert_eq!(merchant.upload(parts).await.unwrap_err().code(), Code::InvalidArgument);
    refused(&mine).await.unwrap();
    // A second, different announcement after the first.
    mine.charge.at_ms += 1;
    assert_eq!(refused(&mine).await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(federation.entries().await.iter().filter(|e| matches!(e, Entry::Charge(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_garbage_foreign_or_too_large_change_nothing() {
    let federation = Federation::start(&plan(1, 20_000)).await;
    let merchants = federation.merchants(4).await;
    let outsider = Merchant::join(&federation.invite().await, "outsider").await.unwrap();
    let offers = join_all(merchants.iter().map(|m| m.offer(0)).collect()).await;
    let send = |merchant: &Merchant, sid: Vec<u8>, message: Vec<u8>| {
        let mut rounds = merchant.rounds();
        async move { rounds.share_keys(ParticipantMessage { sid, message }).await.unwrap_err().code() }
    };
    let good = sid(&offers[0]);
    assert_eq!(send(&merchants[0], good.clone(), vec![1, 2, 3]).await, Code::InvalidArgument);
    assert_eq!(send(&merchants[0], good.clone(), vec![0; MESSAGE_BYTES_MAX + 1]).await, Code::OutOfRange);
    let call = |sid| RoundCall { sid, wait_ms: 0 };
    assert_eq!(merchants[0].rounds().await_shares(call(vec![1; 31])).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(merchants[0].rounds().await_shares(call(vec![1; 32])).await.unwrap_err().code(), Code::NotFound);
    let status = outsider.rounds().await_shares(call(good)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
}

#[tokio::test(flavor = "multi_thread")]
async fn prekeys_are_bounded_signed_and_used_once() {
    let federation = Federation::start(&plan(2, 3_000)).await;
    let mut merchants = federation.merchants(4).await;
    let send = |merchant: &Merchant, bundles: Vec<Vec<u8>>, replace| {
        let mut rounds = merchant.rounds();
        async move { rounds.upload_prekeys(UploadPrekeysRequest { bundles, replace }).await }
    };
    let upload = |merchant: &Merchant, bundles| send(merchant, bundles, false);
    let bundle = |merchant: &Merchant, index| {
        let entropy = &mut forecastle_crypto::entropy::SystemEntropy::new();
        let (bundle, _) =
            forecastle_crypto::secagg::generate_prekey(&merchant.name, &merchant.identity, index, entropy).unwrap();
        serde_json::to_vec(&bundle).unwrap()
    };
    // Another bundle under a used index; another merchant's; garbage; too many.
    let taken = bundle(&merchants[0], 0);
    assert_eq!(upload(&merchants[0], vec![taken]).await.unwrap_err().code(), Code::AlreadyExists);
    let foreign = bundle(&merchants[1], 50);
    assert_eq!(upload(&merchants[0], vec![foreign]).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(upload(&merchants[0], vec![b"{}".to_vec()]).await.unwrap_err().code(), Code::InvalidArgument);
    let many: Vec<_> = (100..229).map(|i| bundle(&merchants[0], i)).collect();
    assert_eq!(upload(&merchants[0], many).await.unwrap_err().code(), Code::InvalidArgument);
    merchants[0].leave_prekeys(120).await.unwrap();
    merchants[0].leave_prekeys(120).await.unwrap();
    assert_eq!(merchants[0].leave_prekeys(120).await.unwrap_err().code(), Code::ResourceExhausted);

    // A restored machine discards what it left before; a repeat discards nothing.
    let fresh = vec![bundle(&merchants[3], 90), bundle(&merchants[3], 91)];
    for _ in 0..2 {
        assert_eq!(send(&merchants[3], fresh.clone(), true).await.unwrap().into_inner().prekeys_left, 2);
    }

    // Two rounds name two different pre-keys of everyone.
    let first = join_all(merchants.iter().map(|m| m.offer(0)).collect()).await;
    let second = join_all(merchants.iter().map(|m| m.offer(1)).collect()).await;
    for entry in first[0].roster() {
        assert!(second[0].roster().iter().all(|other| other.bundle.channel_key != entry.bundle.channel_key));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_read_in_parts_and_bounded() {
    let federation = Federation::start(&plan(1, 3_000)).await;
    let merchants = federation.merchants(3).await;
    let mut ledger = merchants[0].ledger();
    let note = ledger.latest_checkpoint(LatestCheckpointRequest::default()).await.unwrap().into_inner().checkpoint;
    let signed = forecastle_crypto::ledger::checkpoint::SignedCheckpoint::parse(&note).unwrap();
    let head = signed.verify("federation", &merchants[0].server_key).unwrap();
    assert_eq!(head.size, 4);
    let mut leaves = Vec::new();
    for (from, to) in [(0, 3), (3, 4)] {
        let mut stream = ledger.entries(EntriesRequest { from, to }).await.unwrap().into_inner();
        while let Some(chunk) = stream.message().await.unwrap() {
            leaves.extend(chunk.leaves);
        }
    }
    let hashes: Vec<Sha256Digest> = leaves.iter().map(|l| forecastle_crypto::ledger::merkle::leaf_hash(l)).collect();
    assert_eq!(forecastle_crypto::ledger::merkle::root_of(&hashes), head.root);
    for (from, to) in [(0, 5), (3, 2), (u64::MAX, u64::MAX)] {
        assert_eq!(ledger.entries(EntriesRequest { from, to }).await.unwrap_err().code(), Code::OutOfRange);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_left_is_not_waited_for_once_enough_are_there() {
    let mut federation = Federation::start(&plan(1, 3_000)).await;
    let mut merchants = federation.merchants(5).await;
    let absent = merchants.pop().unwrap();
    let seen = round(&mut merchants, 0, |_| Vanish::Never).await;
    assert!(seen.iter().all(|(o, _)| matches!(o, Seen::Published { version: 1, .. })));
    let event = federation.event(|e| matches!(e, ServerEvent::RoundClosed { .. })).await;
    let ServerEvent::RoundClosed { survivors, epsilon, .. } = event else { unreachable!() };
    assert!(!survivors.contains(&absent.name));
    let epsilon = epsilon.expect("the accountant answers");
    assert!(epsilon > 0.0 && epsilon < absent.plan.privacy.epsilon_cap);
    tokio::time::sleep(Duration::from_millis(10)).await;
}
