//! Floods: of calls, of pre-keys, of attempts to join. Each is slowed down at its source, in one line for the operator,
//! while the others' round goes on.

use std::time::{Duration, Instant};

use forecastle_client::{
    federation::connection::{CallError, Connection},
    round::{event::RoundEvent, exchange::Exchange},
};
use forecastle_crypto::{entropy::SystemEntropy, identity::SigningKey, secagg::generate_prekey};
use forecastle_proto::{
    enrolment::{PreviewRequest, enrolment_client::EnrolmentClient},
    limits::{PREKEYS_MAX, PREKEYS_PER_CALL_MAX, RETRY_AFTER},
    round::{StatusRequest, UploadPrekeysRequest},
};
use forecastle_tests::{MERCHANTS, merchant, plan, server::Federation};
use tonic::{Code, Status, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::{
    PATIENCE,
    merchant::{Merchant, connect, join_request},
    scene::{MALLORY, Scene, refused},
};

/// How long a refusal asks to wait.
fn wait(status: &Status) -> Duration {
    let ms = status.metadata().get(RETRY_AFTER).expect("it says how long to wait").to_str().unwrap().parse().unwrap();
    Duration::from_millis(ms)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_calls_is_answered_no_faster_than_allowed_and_named_in_one_line() {
    let mut scene = Scene::new(4, 1, 8_000).await;
    let mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let flood = tokio::spawn(async move {
        let (mut answered, mut refused) = (0, Vec::new());
        for _ in 0..3_000 {
            match mallory.rounds().status(StatusRequest {}).await {
                Ok(_) => answered += 1,
                Err(status) => refused.push(status),
            }
        }
        (answered, refused, mallory)
    });
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    let begun = Instant::now();
    let (answered, turned_away, mallory) = flood.await.unwrap();
    assert!(turned_away.len() > 500, "{answered} were answered, {} not", turned_away.len());
    for status in &turned_away {
        assert!(status.code() == Code::ResourceExhausted && status.message().contains("too many calls"), "{status:?}");
        assert!(wait(status) < Duration::from_secs(1));
    }
    scene.named(MALLORY, "too many calls").await;
    assert!(scene.times_named(MALLORY) <= 2, "once in the round, once after it");
    // Whoever waits as told is served again.
    while mallory.rounds().status(StatusRequest {}).await.is_err() {
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut grpc = tonic::client::Grpc::new(mallory.channel.clone());
    grpc.ready().await.unwrap();
    let unknown = PathAndQuery::from_static("/forecastle.round.v1.Rounds/Unmaskall");
    let codec = ProstCodec::<StatusRequest, StatusRequest>::default();
    refused(grpc.unary(tonic::Request::new(StatusRequest {}), unknown, codec).await, Code::Unimplemented, "");
    scene.clean_log(1, 0).await;
}

fn bundles(merchant: &Merchant, from: u64, count: usize) -> Vec<Vec<u8>> {
    let bundle = |index| {
        let made = generate_prekey(&merchant.name, &merchant.identity, index, &mut SystemEntropy::new());
        serde_json::to_vec(&made.unwrap().0).unwrap()
    };
    (from..from + count as u64).map(bundle).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn prekeys_without_end_or_replaced_over_and_over_are_limited_and_the_same_again_are_free() {
    let mut scene = Scene::new(4, 1, 8_000).await;
    let mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let send = |bundles: Vec<Vec<u8>>, replace| {
        let mut rounds = mallory.rounds();
        async move { rounds.upload_prekeys(UploadPrekeysRequest { bundles, replace }).await }
    };
    // More at once, more altogether than are kept.
    let many = send(bundles(&mallory, 10_000, PREKEYS_PER_CALL_MAX + 1), false).await;
    refused(many, Code::InvalidArgument, "send at most 128");
    let first = bundles(&mallory, 100, PREKEYS_PER_CALL_MAX);
    assert_eq!(send(first.clone(), true).await.unwrap().into_inner().prekeys_left, 128);
    for _ in 0..20 {
        assert_eq!(send(first.clone(), false).await.unwrap().into_inner().prekeys_left, 128);
    }
    let second = send(bundles(&mallory, 300, PREKEYS_PER_CALL_MAX), false).await.unwrap().into_inner();
    assert_eq!(second.prekeys_left as usize, PREKEYS_MAX);
    refused(send(bundles(&mallory, 500, 1), false).await, Code::ResourceExhausted, "at most 256 are");
    // Replaced, so that the pool never fills: eight and 257 were new so far, 512 may be.
    assert_eq!(send(bundles(&mallory, 600, PREKEYS_PER_CALL_MAX), true).await.unwrap().into_inner().prekeys_left, 128);
    let status = send(bundles(&mallory, 800, PREKEYS_PER_CALL_MAX), true).await;
    let status = refused(status, Code::ResourceExhausted, "too many new pre-keys");
    assert!(wait(&status) > Duration::from_secs(60));
    // Forged ones are checked out of the same allowance.
    let mut forged: Vec<Vec<u8>> = bundles(&mallory, 900, 100);
    let stranger = SigningKey::generate().unwrap();
    let last = generate_prekey(&mallory.name, &stranger, 999, &mut SystemEntropy::new()).unwrap().0;
    forged[99] = serde_json::to_vec(&last).unwrap();
    refused(send(forged.clone(), false).await, Code::InvalidArgument, "not signed by the merchant");
    refused(send(forged, false).await, Code::ResourceExhausted, "too many new pre-keys");
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    scene.named(MALLORY, "send at most 128").await;
    assert!(scene.times_named(MALLORY) <= 2);
    scene.clean_log(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_attempts_to_join_costs_a_lookup_each_and_is_slowed_down() {
    let mut scene = Scene::new(4, 1, 8_000).await;
    let playing = scene.play(0);
    let mut invitation = scene.federation.invite().await;
    invitation.token = "00".repeat(32);
    let identity = SigningKey::generate().unwrap();
    let (request, _) = join_request(&invitation, "intruder", &identity);
    let channel = connect(&invitation, None).await.unwrap();
    let flood = tokio::spawn(async move {
        let mut enrolment = EnrolmentClient::new(channel);
        let (mut unknown, mut slowed) = (0, 0);
        for attempt in 0..1_000 {
            let answer = match attempt % 2 {
                0 => enrolment.join(request.clone()).await.map(|_| ()),
                _ => enrolment.preview(PreviewRequest { token: request.token.clone() }).await.map(|_| ()),
            };
            match answer.unwrap_err() {
                status if status.code() == Code::Unauthenticated => unknown += 1,
                status => {
                    refused(Err::<(), _>(status), Code::ResourceExhausted, "too many calls");
                    slowed += 1;
                }
            }
        }
        (unknown, slowed)
    });
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    let (unknown, slowed) = flood.await.unwrap();
    assert!(unknown >= 200 && slowed > 200, "{unknown} answered, {slowed} not");
    // A good invitation from the same address has to wait a moment, and is then as good as ever.
    let begun = Instant::now();
    let invitation = scene.federation.invite().await;
    while let Err(status) = Merchant::join(&invitation, "welcome").await {
        refused(Err::<(), _>(status), Code::ResourceExhausted, "too many calls");
        assert!(begun.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let enrolled = scene.federation.state().await.merchants().await.unwrap();
    assert!(enrolled.len() == 5 && enrolled.iter().all(|m| m.name.as_str() != "intruder"));
    scene.clean_log(1, 0).await;
}

/// A client of ours whose allowance is used up, say by a copy of its folder that ran wild.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_has_to_wait_for_its_prekeys_waits_and_does_not_fail() {
    let plan = plan(1, 20_000);
    let mut federation = Federation::found_with(&plan, &forecastle_tests::model(), 0, Duration::from_secs(2)).await;
    let (_folder, merchants) = merchant::joined(&federation).await;
    let exhausted = &merchants[0];
    {
        let home = exhausted.home();
        let connection = Connection::open(&home, &home.membership().unwrap()).unwrap();
        let exchange = Exchange::new(connection, Duration::from_secs(5), Duration::from_secs(60));
        let (name, identity) = (exhausted.name.parse().unwrap(), home.identity().unwrap());
        let made = |index| {
            let bundle = generate_prekey(&name, &identity, index, &mut SystemEntropy::new()).unwrap().0;
            serde_json::to_vec(&bundle).unwrap()
        };
        let limited = loop {
            let start = rand::random_range(0..1 << 50);
            match exchange.upload_prekeys((start..start + 128).map(made).collect(), true).await {
                Ok(left) => assert_eq!(left, 128),
                Err(error) => break error,
            }
        };
        assert!(matches!(&limited, CallError::Busy { wait, .. } if *wait > Duration::from_secs(60)), "{limited}");
        assert!(limited.to_string().contains("too many new pre-keys"), "{limited}");
        assert_eq!(exchange.upload_prekeys(Vec::new(), true).await.unwrap(), 0);
    }
    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train()).collect();
    let survivors = federation.closed(1).await;
    assert!(survivors.len() == 4 && survivors.iter().all(|name| name.as_str() != exhausted.name));
    for training in trainings {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), 1, "{events:?}");
        assert!(events.iter().any(|event| matches!(event, RoundEvent::Finished { .. } | RoundEvent::Published { .. })));
    }
    assert!(exhausted.rounds().is_empty());
    let (_, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!(merchants.len(), MERCHANTS);
}
