//! Slow, silent and absent: what never comes, or comes a byte at a time, costs the others no more than a phase; and what is
//! held open is held open within bounds.

use std::time::{Duration, Instant};

use forecastle_proto::{
    limits::CALLS_MAX,
    round::{AwaitOfferRequest, MaskedUpdateBytes, MaskedUpdateChunk, StatusRequest, masked_update_chunk::Part},
};
use forecastle_server::event::{PhaseName, ServerEvent};
use tokio::{io::AsyncReadExt as _, net::TcpStream, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::{
    PATIENCE,
    merchant::Merchant,
    scene::{MALLORY, Scene, charges_of, refused},
    uploads::masked,
};

/// More than one address may have open without a certificate.
const MANY: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_trickles_ends_with_its_phase_and_the_round_goes_on() {
    let mut scene = Scene::new(4, 1, 1_500).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (_, mine) = masked(&mut mallory, 0).await;
    let start = mallory.parts(&mine, 0, 1)[0].clone();
    let bytes = mine.update.bytes().to_vec();
    let (sender, receiver) = mpsc::channel(1);
    // A byte every 200 ms: 23 bytes take three times as long as the phase.
    let trickle = tokio::spawn(async move {
        let _ = sender.send(start).await;
        for (offset, byte) in bytes.into_iter().enumerate() {
            let part = Part::Bytes(MaskedUpdateBytes { offset: offset as u64, data: vec![byte].into() });
            if sender.send(MaskedUpdateChunk { part: Some(part) }).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        // Then nothing more, without an end.
        sender.closed().await;
    });
    let answer = mallory.rounds().send_masked_update(ReceiverStream::new(receiver)).await;
    refused(answer, Code::FailedPrecondition, "came too late");
    scene.went_on_without(1, PhaseName::MaskedUpdates, MALLORY).await;
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    trickle.await.unwrap();
    assert_eq!(charges_of(MALLORY, &scene.clean_log(1, 0).await), 1, "charged before the first byte was taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_accepts_every_offer_and_vanishes_costs_time_and_is_named_every_round() {
    let mut scene = Scene::new(4, 4, 1_000).await;
    let mut mallory = scene.join(MALLORY).await;
    for round in 1..=4u64 {
        let playing = scene.play(round - 1);
        // Before its shares, before its update, before its confirmation, before its answer.
        let phase = match round {
            1 => {
                mallory.offer(0).await.unwrap().unwrap();
                PhaseName::KeyShares
            }
            2 => {
                let _ = masked(&mut mallory, 1).await;
                PhaseName::MaskedUpdates
            }
            _ => {
                let (offer, mine) = masked(&mut mallory, round - 1).await;
                mallory.upload(mallory.parts(&mine, 0, 64)).await.unwrap();
                if round == 4 {
                    mallory.confirm(&offer, mine.confirming).await.unwrap().unwrap();
                }
                if round == 3 { PhaseName::Consistency } else { PhaseName::Unmasking }
            }
        };
        scene.went_on_without(round, phase, MALLORY).await;
        assert_eq!(scene.published(playing, round).await.len(), if round < 3 { 4 } else { 5 });
    }
    assert_eq!(scene.times_named(MALLORY), 0, "it did nothing wrong, it did nothing");
    assert_eq!(charges_of(MALLORY, &scene.clean_log(4, 0).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_shake_hands_keep_nobody_out() {
    let mut scene = Scene::new(4, 1, 5_000).await;
    let address = scene.federation.address();
    let mut silent = Vec::new();
    for _ in 0..MANY {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The oldest had to give way to the newest, and to whoever joins meanwhile.
    for _ in 0..3 {
        let mut gave_way = silent.remove(0);
        assert!(ended(&mut gave_way).await);
    }
    let begun = Instant::now();
    let late = scene.join("late").await;
    scene.honest.push(late);
    assert!(begun.elapsed() < PATIENCE / 4);
    let playing = scene.play(0);
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.clean_log(1, 0).await;
}

/// Whether the server ends a connection soon, and not only when a handshake has taken too long.
async fn ended(connection: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(5), connection.read(&mut [0; 64])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_with_too_many_connections_loses_its_own_oldest() {
    let mut scene = Scene::new(4, 1, 5_000).await;
    let mut mallory = scene.join(MALLORY).await;
    // A call on the first connection, held open.
    let mut rounds = mallory.rounds();
    let held =
        tokio::spawn(async move { rounds.await_offer(AwaitOfferRequest { after_round: 9, wait_ms: 20_000 }).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut channels = Vec::new();
    for _ in 0..9 {
        mallory.reconnect().await;
        mallory.rounds().status(StatusRequest {}).await.unwrap();
        channels.push(mallory.channel.clone());
    }
    assert!(held.await.unwrap().is_err(), "its connection was ended");
    scene.named(MALLORY, "more than 8 connections").await;
    let playing = scene.play(0);
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    scene.clean_log(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_are_never_finished_are_few_and_hinder_nobody_else() {
    let mut scene = Scene::new(4, 1, 5_000).await;
    let mut mallory = scene.join(MALLORY).await;
    // A unary call whose message never comes, over two connections.
    let path = PathAndQuery::from_static("/forecastle.round.v1.Rounds/ShareKeys");
    let unfinished = |merchant: &Merchant| {
        let (mut grpc, path) = (tonic::client::Grpc::new(merchant.channel.clone()), path.clone());
        tokio::spawn(async move {
            grpc.ready().await.unwrap();
            let codec = ProstCodec::<StatusRequest, StatusRequest>::default();
            let never = tonic::Request::new(tokio_stream::pending::<StatusRequest>());
            grpc.client_streaming(never, path, codec).await
        })
    };
    let mut open = Vec::new();
    // A few more than there are places: some of them are refused themselves.
    for n in 0..CALLS_MAX + 4 {
        if n == CALLS_MAX / 2 {
            mallory.reconnect().await;
        }
        open.push(unfinished(&mallory));
    }
    let begun = Instant::now();
    let status = loop {
        if let Err(status) = mallory.rounds().status(StatusRequest {}).await {
            break status;
        }
        assert!(begun.elapsed() < PATIENCE / 2, "calls without end");
        // Some may have been refused while others were answered, and be gone.
        open.push(unfinished(&mallory));
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let status = refused(Err::<(), _>(status), Code::ResourceExhausted, "16 calls of yours are open");
    assert!(status.metadata().get("grpc-retry-pushback-ms").is_some());
    scene.named(MALLORY, "16 calls of yours are open").await;
    let playing = scene.play(0);
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    // Ended ones make room.
    for call in open {
        call.abort();
    }
    let begun = Instant::now();
    while mallory.rounds().status(StatusRequest {}).await.is_err() {
        assert!(begun.elapsed() < PATIENCE / 4);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    scene.event(|event| matches!(event, ServerEvent::RunFinished { .. })).await;
    scene.clean_log(1, 0).await;
}
