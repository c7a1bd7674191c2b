//! The server dies in the middle of a round.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::time::Duration;

use forecastle_client::round::event::RoundEvent;
use forecastle_crypto::{
    identity::MerchantId,
    ledger::entry::{Entry, RoundAbandoned},
};
use forecastle_server::event::{PhaseName, ServerEvent};
use forecastle_tests::{
    MERCHANTS,
    merchant::{Gate, Vanish, joined},
    model, plan,
    server::Federation,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_round_loses_no_model_and_forgets_no_charge() {
    let mut federation = Federation::found(&plan(3, 60_000)).await;
    let (_folder, merchants) = joined(&federation).await;
    // The last merchant's second step is held back: round 2 stays open with four of five updates in.
    let gate = Gate::default();
    let (held, free) = merchants.split_last().unwrap();
    let mut trainings: Vec<_> = free.iter().map(|merchant| merchant.train()).collect();
    trainings.push(held.train_with(false, Vanish::Never, Some((gate.clone(), 2))));
    federation.closed(1).await;
    let missing: Vec<MerchantId> = vec![held.name.parse().unwrap()];
    let only_one_missing = |event: &ServerEvent| matches!(event, ServerEvent::PhaseWaiting { round: 2, phase: PhaseName::MaskedUpdates, missing: m } if *m == missing);
    federation.event(only_one_missing).await;

    let state = federation.state().await;
    let (entries_before, model) =
        (state.status().await.unwrap().ledger_entries, state.model(1).await.unwrap().unwrap());
    drop(state);
    federation.kill().await;
    gate.open();
    federation.restart().await;

    let state = federation.state().await;
    assert_eq!(state.model(1).await.unwrap().unwrap(), model, "the published model is still there");
    let status = state.status().await.unwrap();
    // The merchants find the server again by themselves: round 3 may have begun already.
    assert!(status.ledger_entries > entries_before, "every entry is still there, and the abandonment");
    assert_eq!((status.rounds_abandoned, status.model_version), (1, 1));
    let (entries, _) = federation.audit().await;
    let next = &entries[usize::try_from(entries_before).unwrap()];
    let Entry::RoundAbandoned(RoundAbandoned { round: 2, charges, .. }) = next else {
        panic!("round 2 is not recorded as abandoned: {next:?}");
    };
    assert_eq!(charges.len(), MERCHANTS - 1, "the charges of the dead round stay in the log");

    // Nobody does anything: the merchants find the server again and take part in the next round.
    for (merchant, training) in merchants.iter().zip(trainings) {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), 2, "{}: {events:?}", merchant.name);
        assert!(events.iter().any(|e| matches!(e, RoundEvent::Missed { round: 2, .. })), "{events:?}");
        assert!(events.iter().any(|e| matches!(e, RoundEvent::Published { round: 3, model_version: 2 })), "{events:?}");
        assert_eq!(merchant.rounds(), [1, 2, 3], "{}: the dead round is charged as well", merchant.name);
    }
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.rounds_closed, verdict.rounds_abandoned, verdict.model_version), (2, 1, 2));
    for merchant in &merchants[..MERCHANTS - 1] {
        assert_eq!(merchant.rounds_in(&entries), [1, 2, 3]);
    }
    // The budget counts three rounds, not the two that published a model.
    let status = federation.state().await.status().await.unwrap();
    assert_eq!(status.rounds_used, 3);
    let epsilon = |rounds| state.epsilon(rounds).unwrap();
    assert_eq!(status.epsilon, Some(epsilon(3)));
    assert!(epsilon(3) > epsilon(2));
}

/// Whether an event is the one that is waited for.
type Awaited = Box<dyn Fn(&ServerEvent) -> bool>;

/// Where the server is killed: as soon as it says so.
fn boundaries() -> Vec<(&'static str, Awaited)> {
    fn waiting(phase: PhaseName, missing: std::ops::RangeInclusive<usize>) -> Awaited {
        Box::new(
            move |event| matches!(event, ServerEvent::PhaseWaiting { phase: p, missing: m, .. } if *p == phase && missing.contains(&m.len())),
        )
    }
    let (all, some) = (MERCHANTS..=MERCHANTS, 1..=MERCHANTS - 2);
    vec![
        ("the offer is out", Box::new(|event: &ServerEvent| matches!(event, ServerEvent::RoundStarted { .. }))),
        ("key sharing begins", waiting(PhaseName::KeyShares, all.clone())),
        ("some have shared keys", waiting(PhaseName::KeyShares, some.clone())),
        ("uploads begin", waiting(PhaseName::MaskedUpdates, all.clone())),
        ("some updates are in the sum", waiting(PhaseName::MaskedUpdates, some.clone())),
        ("the survivors are fixed", waiting(PhaseName::Consistency, all.clone())),
        ("some have signed", waiting(PhaseName::Consistency, some.clone())),
        ("shares are asked for", waiting(PhaseName::Unmasking, all)),
        ("some have answered", waiting(PhaseName::Unmasking, some)),
        ("the model is published", Box::new(|event| matches!(event, ServerEvent::RoundClosed { .. }))),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_boundary_of_a_round_publishes_it_whole_or_abandons_it() {
    let mut long = plan(60, 30_000);
    long.step.noise_multiplier = 24.0;
    // Whoever missed ten rounds in a row comes back after 26 s: nothing starts without it before then.
    let mut federation = Federation::found_with(&long, &model(), MERCHANTS, Duration::from_secs(45)).await;
    let (_folder, merchants) = joined(&federation).await;
    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train()).collect();
    let mut ended = 0;
    for (boundary, is_there) in boundaries() {
        federation.event(is_there).await;
        federation.kill().await;
        let (entries, verdict) = federation.audit().await;
        assert_eq!(verdict.findings, [], "killed when {boundary}");
        for merchant in &merchants {
            // Whatever the server took was charged at home before.
            let own = merchant.rounds();
            for round in merchant.rounds_in(&entries) {
                assert!(own.contains(&round), "killed when {boundary}: {} did not charge {round}", merchant.name);
            }
        }
        federation.restart().await;
        // The round that was open is abandoned before anything else happens, and what was published stays.
        let state = federation.state().await;
        let status = state.status().await.unwrap();
        let closed = status.model_version;
        assert!(closed >= verdict.model_version, "killed when {boundary}: a model is gone");
        for version in 0..=closed {
            assert!(state.model(version).await.unwrap().is_some(), "killed when {boundary}: model {version} is gone");
        }
        assert!(status.rounds_used > ended, "killed when {boundary}: no round was used");
        ended = status.rounds_used - 1;
    }
    // The federation is none the worse for it: a round publishes with everybody.
    federation
        .event(|event| matches!(event, ServerEvent::RoundClosed { survivors, .. } if survivors.len() == MERCHANTS))
        .await;
    let (_, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    // One round at most was published as it was killed, the others were cut off or ended by themselves.
    assert!(verdict.rounds_abandoned >= 5, "{verdict:?}");
    drop(trainings);
}
