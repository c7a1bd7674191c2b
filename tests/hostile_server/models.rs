//! Lies about the model: which numbers a merchant trains on, and which it goes home with.

use forecastle_client::round::{driver::TrainError, event::RoundEvent};
use forecastle_crypto::{identity::sha256, ledger::entry::Entry};
use forecastle_proto::round::{
    AwaitOfferResponse, AwaitOutcomeResponse, RoundPublished, RunFinished, await_offer_response, await_outcome_response,
};

use crate::{
    puppet::{Sent, script::hook},
    scene::{Scene, plan},
};

fn finished(model_version: u64) -> AwaitOfferResponse {
    AwaitOfferResponse { answer: Some(await_offer_response::Answer::Finished(RunFinished { model_version })) }
}

/// Gain: a model made for one merchant, such that its gradient shows what the server looks for, or such that the others'
/// gradients vanish and the sum is its own.
#[tokio::test(flavor = "multi_thread")]
async fn another_model_for_one_merchant_is_not_trained_on() {
    let scene = Scene::open(&plan()).await;
    // Other numbers under the same name.
    scene.script(0, |script| script.model = hook(|file: &mut Vec<u8>| *file.last_mut().unwrap() ^= 1));
    // Another file, of which the merchant is told the digest in the log as well: see `log`, a history of its own. Another
    // layout than the federation was founded with, which would release another number of parameters than was agreed.
    scene.script(1, |script| {
        script.log = hook(|log: &mut Vec<Vec<u8>>| {
            let Entry::Founded(mut founded) = Entry::from_bytes(&log[0]).unwrap() else { panic!() };
            founded.layout_sha256 = sha256(b"another");
            log[0] = Entry::Founded(founded).to_bytes();
        });
    });
    let (first, mut second) = (scene.train(0), scene.train(1));
    let _others: Vec<_> = (2..5).map(|merchant| scene.train(merchant)).collect();
    let refused = first.stopped().await;
    assert!(matches!(refused, TrainError::ForeignModel { version: 0 }), "{refused}");
    assert!(refused.to_string().contains("is not the one the federation's log names"), "{refused}");
    let reason = second.missed().await;
    assert!(reason.contains("the offer's parameter layout is"), "{reason}");
    for merchant in [0, 1] {
        assert!(scene.merchants[merchant].charges().is_empty());
        assert!(!scene.puppets[merchant].sent().iter().any(|sent| matches!(sent, Sent::Shares(_))));
    }
}

/// Gain: the merchant serves forecasts of a model that the server chose among old ones, and does not learn what became of
/// its update.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_model_is_not_taken_for_the_round_s() {
    let scene = Scene::open(&plan()).await;
    scene.script(0, |script| {
        script.outcome = hook(|answer: &mut AwaitOutcomeResponse| {
            if let Some(await_outcome_response::Answer::Published(published)) = &mut answer.answer {
                *published = RoundPublished { model_version: 0, ..published.clone() };
            }
        });
    });
    let first = scene.train_once(0);
    let others: Vec<_> = (1..5).map(|merchant| scene.train_once(merchant)).collect();
    let refused = first.stopped().await;
    assert!(matches!(refused, TrainError::ForeignModel { version: 0 }), "{refused}");
    for training in others {
        assert_eq!(training.end().await.0.result.unwrap(), 1);
    }

    // The same at the end of the run.
    scene.script(1, |script| script.offer_instead = Some(finished(0)));
    let refused = scene.train(1).stopped().await;
    assert!(matches!(refused, TrainError::ForeignModel { version: 0 }), "{refused}");
    assert_eq!(scene.merchants[1].current_model().0, 1, "it keeps what it has");
}

/// No gain: a server may stop whenever it likes. What was reserved stays reserved, since whether to go on is decided after
/// models were seen; what was not charged is not spent.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_early_costs_no_more_than_it_took() {
    let scene = Scene::open(&plan()).await;
    scene.round(1).await;
    scene.script(0, |script| script.offer_instead = Some(finished(1)));
    let (trained, events) = scene.train(0).end().await;
    assert_eq!(trained.result.unwrap(), 1);
    assert!(matches!(events[..], [RoundEvent::Finished { model_version: 1 }]), "{events:?}");
    assert_eq!(scene.merchants[0].rounds(), [1]);
    let reserved = std::fs::read_to_string(scene.merchants[0].folder.join("budget/reservations.jsonl")).unwrap();
    assert!(reserved.lines().last().unwrap().contains("\"rounds\":2"), "{reserved}");
}
