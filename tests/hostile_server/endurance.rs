//! Answers without end, without measure, or without sense. None of it gains a secret: it costs memory, time, or a person's
//! attention.

use std::time::{Duration, Instant};

use forecastle_client::{
    federation::{connection::CallError, join::JoinError, log_copy::LogError},
    round::driver::{TrainError, TrainOptions},
};
use forecastle_proto::{
    limits::CHUNK_BYTES_MAX,
    model_service::ModelChunk,
    round::{
        AwaitMessageResponse, AwaitOfferResponse, Pending, RoundEnded, RunFinished, UploadOffsetResponse,
        await_message_response, await_offer_response,
    },
};
use forecastle_tests::merchant::Merchant;
use tokio::time::sleep;
use tonic::{Status, codegen::BoxStream};

use crate::{
    puppet::{
        Puppet, Sent,
        script::{Awaited, Upward, hook},
    },
    scene::{Scene, plan, put_off_at_most},
};

/// A merchant that does not wait long for a server that does not answer.
fn impatient() -> TrainOptions {
    TrainOptions { once: false, patience: Duration::from_secs(1) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_is_given_up() {
    let scene = Scene::open(&plan()).await;
    // Headers and nothing more, on a connection that stays alive: the transport's own deadline is over by then.
    scene.script(0, |script| script.silent = vec!["Ledger/LatestCheckpoint"]);
    scene.script(1, |script| {
        script.entry_parts = Some(Box::new(|_| Box::pin(tokio_stream::pending())));
    });
    scene.script(2, |script| {
        let finished = await_offer_response::Answer::Finished(RunFinished { model_version: 0 });
        script.offer_instead = Some(AwaitOfferResponse { answer: Some(finished) });
        script.model_parts = Some(Box::new(|_| Box::pin(tokio_stream::pending())));
    });
    let folder = tempfile::tempdir().unwrap();
    let newcomer = Merchant::new(folder.path(), "newcomer");
    let puppet = Puppet::before(&newcomer, &scene.federation).await;
    puppet.script(|script| script.silent = vec!["Enrolment/Preview"]);
    let invitation = puppet.diverted(scene.federation.invite().await).to_string();

    let mut watched: Vec<_> = (0..3).map(|merchant| scene.train_with(merchant, impatient())).collect();
    let joining = newcomer.join(&invitation);
    let unanswered =
        |error: &CallError| matches!(error, CallError::Unreachable { why, .. } if why.contains("no whole answer"));
    let refused = joining.await.unwrap_err();
    assert!(matches!(&refused, JoinError::Call(error) if unanswered(error)), "{refused}");
    let refused = watched.remove(0).stopped().await;
    assert!(matches!(&refused, TrainError::Log(LogError::Call(error)) if unanswered(error)), "{refused}");
    let refused = watched.remove(0).stopped().await;
    assert!(matches!(&refused, TrainError::Log(LogError::Call(error)) if unanswered(error)), "{refused}");
    let refused = watched.remove(0).stopped().await;
    assert!(matches!(&refused, TrainError::Call(error) if unanswered(error)), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_measure_are_cut_off() {
    fn without_end(size: usize) -> BoxStream<ModelChunk> {
        let chunk = ModelChunk { data: vec![7; size].into() };
        Box::pin(tokio_stream::iter(std::iter::repeat_with(move || Ok(chunk.clone()))))
    }
    let scene = Scene::open(&plan()).await;
    scene.script(0, |script| script.model_parts = Some(Box::new(|_| without_end(CHUNK_BYTES_MAX))));
    scene.script(1, |script| script.model_parts = Some(Box::new(|_| without_end(0))));
    scene.script(2, |script| script.model_parts = Some(Box::new(|_| without_end(5 << 20))));
    scene.script(3, |script| {
        script.instead = Some(Box::new(|awaited| {
            let long = AwaitMessageResponse { answer: Some(await_message_response::Answer::Message(vec![2; 5 << 20])) };
            (awaited == Awaited::Shares).then_some(long)
        }));
    });
    let mut watched: Vec<_> = (0..4).map(|merchant| scene.train_with(merchant, impatient())).collect();
    let _last = scene.train(4);
    let rules = [
        "a model file larger than accepted",
        "a part of a model file without content",
        "decoded message length too large",
    ];
    for rule in rules {
        let refused = watched.remove(0).stopped().await;
        assert!(matches!(&refused, TrainError::Call(CallError::Answer(why)) if why.contains(rule)), "{refused}");
    }
    let refused = watched.remove(0).stopped().await;
    assert!(refused.to_string().contains("decoded message length too large"), "{refused}");
    assert!(scene.merchants.iter().all(|merchant| merchant.charges().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_answers_is_met_with_calm() {
    let scene = Scene::open(&plan()).await;
    // At once, instead of holding the line.
    scene.script(0, |script| {
        let pending = await_offer_response::Answer::Pending(Pending { present: 5 });
        script.offer_instead = Some(AwaitOfferResponse { answer: Some(pending) });
    });
    // Offers that are none, as many as there is room for.
    let none = scene.puppets[1].backstage().signed_offer(b"{}".to_vec());
    scene.script(1, |script| {
        let offer = await_offer_response::Answer::Offer(none);
        script.offer_instead = Some(AwaitOfferResponse { answer: Some(offer) });
    });
    let started = Instant::now();
    let mut watched: Vec<_> = (0..2).map(|merchant| scene.train(merchant)).collect();
    watched[1].missed().await;
    sleep(Duration::from_secs(2)).await;
    let asked =
        |merchant: usize| scene.puppets[merchant].sent().iter().filter(|sent| matches!(sent, Sent::Present(_))).count();
    // Ten a second at most, where the line is not held; fewer every time, where nothing useful comes.
    let seconds = started.elapsed().as_secs_f64();
    assert!((1.0..=10.0 * seconds + 2.0).contains(&(asked(0) as f64)), "{} in {seconds} s", asked(0));
    assert!((1..=put_off_at_most(started)).contains(&asked(1)), "{} in {seconds} s", asked(1));
    assert!(scene.merchants.iter().all(|merchant| merchant.charges().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_says_is_shown_as_plain_text() {
    let scene = Scene::open(&plan()).await;
    let words = format!("over\u{1b}[2J\r\nround 1: charged, ε = 0\u{202e} {}", "x".repeat(100_000));
    scene.script(0, |script| {
        script.instead = Some(Box::new(move |_| {
            let ended = await_message_response::Answer::Ended(RoundEnded { reason: words.clone() });
            Some(AwaitMessageResponse { answer: Some(ended) })
        }));
    });
    scene.script(1, |script| {
        script.keeps = vec![Upward::Update];
        script.uploaded = hook(|answer: &mut Result<UploadOffsetResponse, Status>| {
            *answer = Err(Status::permission_denied("no\u{1b}]0;title\u{7} and no\nmore"));
        });
    });
    let mut first = scene.train(0);
    let mut second = scene.train(1);
    let _others: Vec<_> = (2..5).map(|merchant| scene.train(merchant)).collect();
    let reason = first.missed().await;
    assert!(reason.starts_with("over [2J  round 1: charged, ε = 0  xxx") && reason.ends_with("x…"), "{reason}");
    assert!(reason.chars().count() < 500);
    let reason = second.missed().await;
    assert_eq!(reason, "the server refused: no ]0;title  and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_is_never_taken_ends_the_training() {
    let scene = Scene::open(&plan()).await;
    scene.script(0, |script| {
        script.keeps = vec![Upward::Update];
        script.uploaded = hook(|answer: &mut Result<UploadOffsetResponse, Status>| {
            *answer = Ok(UploadOffsetResponse { received: 0 });
        });
    });
    let watched = scene.train_with(0, impatient());
    let _others = scene.others();
    let refused = watched.stopped().await;
    let TrainError::Call(CallError::Unreachable { why, .. }) = &refused else { panic!("{refused}") };
    assert_eq!(why, "the upload did not complete");
    assert_eq!(scene.merchants[0].rounds(), [1], "what was begun is spent");
    assert_eq!(scene.secret_updates(0).len(), 1);
}
