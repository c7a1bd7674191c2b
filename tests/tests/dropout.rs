//! One of five vanishes in the middle of a round, and comes back.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use forecastle_crypto::ledger::audit::Verdict;
use forecastle_tests::{
    merchant::{Merchant, Training, Vanish, joined},
    plan,
    server::Federation,
};

/// Time that a round waits for somebody who vanished.
const PHASE_MS: u64 = 8_000;

fn others(merchants: &[Merchant]) -> Vec<Training> {
    merchants[1..].iter().map(|merchant| merchant.train()).collect()
}

/// Everybody, the one who came back included, ends with model 2. Returns the auditor's verdict, which has no finding.
async fn all_finish(federation: &Federation, merchants: &[Merchant], trainings: Vec<Training>) -> Verdict {
    for training in trainings {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), 2, "{events:?}");
    }
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.rounds_closed, verdict.rounds_abandoned), (2, 0));
    for merchant in merchants {
        let (own, logged) = (merchant.rounds(), merchant.rounds_in(&entries));
        assert!(logged.iter().all(|round| own.contains(round)), "{}: {own:?} lacks of {logged:?}", merchant.name);
    }
    for merchant in &merchants[1..] {
        assert_eq!((merchant.rounds(), merchant.rounds_in(&entries)), (vec![1, 2], vec![1, 2]));
    }
    assert_eq!(merchants[0].rounds_in(&entries), [2]);
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_vanishes_once_charged_is_not_in_the_sum_but_stays_charged() {
    let mut federation = Federation::found(&plan(2, PHASE_MS)).await;
    let (_folder, merchants) = joined(&federation).await;
    let vanishing = merchants[0].train_with(false, Vanish::Charged(1), None);
    let mut trainings = others(&merchants);
    vanishing.vanished().await;
    assert_eq!(merchants[0].rounds(), [1], "the charge was on disk before anything left");
    // The round is still open; who comes back waits for the next one.
    trainings.push(merchants[0].train());
    let survivors = federation.closed(1).await;
    assert_eq!(survivors.len(), 4);
    assert!(!survivors.contains(&"shop-0".parse().unwrap()));
    assert_eq!(federation.closed(2).await.len(), 5);

    let verdict = all_finish(&federation, &merchants, trainings).await;
    assert_eq!(merchants[0].rounds(), [1, 2], "its ledger counts a round more than the log");
    let logged = verdict.merchants.iter().find(|m| m.merchant.as_str() == "shop-0").unwrap().charges;
    assert_eq!(logged, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_vanishes_when_the_round_starts_costs_the_others_only_time() {
    let mut federation = Federation::found(&plan(2, PHASE_MS)).await;
    let (_folder, merchants) = joined(&federation).await;
    let vanishing = merchants[0].train_with(false, Vanish::Started(1), None);
    let mut trainings = others(&merchants);
    vanishing.vanished().await;
    assert_eq!(federation.closed(1).await.len(), 4);
    assert!(merchants[0].rounds().is_empty(), "nothing left, nothing is charged");
    trainings.push(merchants[0].train());
    assert_eq!(federation.closed(2).await.len(), 5);

    all_finish(&federation, &merchants, trainings).await;
    assert_eq!(merchants[0].rounds(), [2]);
}
