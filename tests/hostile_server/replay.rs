//! The same thing twice: rounds, pre-keys, messages, schedules.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use forecastle_client::round::{driver::TrainError, event::RoundEvent, prekeys::KEPT_MAX};
use forecastle_crypto::{
    dp::filter::Refusal,
    secagg::{DeliveredShares, RoundOffer, ShareKeys},
};
use forecastle_proto::round::{AwaitMessageResponse, RoundEnded, await_message_response::Answer};
use tokio::time::sleep;

use crate::{
    attacker,
    puppet::{
        Sent,
        script::{Awaited, Upward, hook},
    },
    scene::{Scene, plan, put_off_at_most},
};

fn ended() -> AwaitMessageResponse {
    AwaitMessageResponse { answer: Some(Answer::Ended(RoundEnded { reason: "it was not to be".into() })) }
}

/// Gain: two releases of one round's data, each under fresh noise, for one charge. Their mean has σ/√2 of noise.
#[tokio::test(flavor = "multi_thread")]
async fn a_round_that_was_charged_is_not_repeated_with_another_cohort() {
    let agreed = plan();
    let (once, twice) = (agreed.epsilon_rows(384, 1).unwrap(), agreed.epsilon_rows(384, 2).unwrap());
    assert!(twice.server.epsilon > 1.2 * once.server.epsilon);

    let scene = Scene::open(&agreed).await;
    let victim = scene.puppets[0].backstage();
    let mut shown = 0;
    scene.script(0, |script| {
        script.repeats_offer = true;
        // The round is called off once the update is there; then it is offered anew, without merchant 5, and with a
        // pre-key that was not used yet.
        script.instead = Some(Box::new(|awaited| (awaited == Awaited::Survivors).then(ended)));
        script.offer = hook(move |offer: &mut RoundOffer| {
            shown += 1;
            if shown > 1 {
                let used = offer.roster[0].bundle.index;
                offer.roster.pop();
                offer.terms.threshold = 3;
                offer.roster[0].bundle = victim.prekeys().into_iter().find(|b| b.index != used).unwrap();
            }
        });
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    assert_eq!(victim.missed().await, "it was not to be");
    assert!(victim.charged());
    let reason = victim.missed().await;
    assert!(reason.contains("round 1 was charged already or is over; this merchant takes no part"), "{reason}");
    assert_eq!(scene.secret_updates(0).len(), 1, "nothing was computed a second time");
    assert_eq!(scene.merchants[0].rounds(), [1]);
    let updates = scene.puppets[0].sent().into_iter().filter(|sent| matches!(sent, Sent::Update { .. })).count();
    assert_eq!(updates, 1);
}

/// Gain: two rounds under one pair of secrets. Whoever learns them after the first has the second.
#[tokio::test(flavor = "multi_thread")]
async fn a_pre_key_serves_one_round() {
    let scene = Scene::open(&plan()).await;
    let mut first = None;
    scene.script(0, |script| {
        script.offer = hook(move |offer: &mut RoundOffer| {
            let bundle = &mut offer.roster[0].bundle;
            *bundle = first.get_or_insert_with(|| bundle.clone()).clone();
        });
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    victim.event(|event| matches!(event, RoundEvent::Published { round: 1, .. })).await;
    let reason = victim.missed().await;
    assert_eq!(reason, "its pre-key was burnt; a later round has a fresh one");
    assert_eq!(scene.merchants[0].rounds(), [1]);
}

/// Gain: none. The session's id enters every key, so that what was recorded in one round opens in no other; the round goes on
/// with everybody else's shares.
#[tokio::test(flavor = "multi_thread")]
async fn shares_of_an_earlier_round_open_nothing() {
    let scene = Scene::open(&plan()).await;
    let mut recorded: Option<DeliveredShares> = None;
    scene.script(0, |script| {
        script.shares = hook(move |message: &mut DeliveredShares| match &recorded {
            None => recorded = Some(message.clone()),
            Some(old) => message.sealed.clone_from(&old.sealed),
        });
    });
    scene.round(1).await;
    scene.round(2).await;
    let answers: Vec<_> = scene.puppets[0]
        .sent()
        .into_iter()
        .filter_map(|sent| match sent {
            Sent::Answer(bytes) => {
                Some(attacker::answered(&bytes).into_iter().map(|(whose, ..)| whose).collect::<Vec<_>>())
            }
            _ => None,
        })
        .collect();
    assert_eq!(answers, [vec![1, 2, 3, 4, 5], vec![1]]);
}

/// Gain: pre-keys, computing time and patience, at no price, because nothing is charged before an update leaves.
#[tokio::test(flavor = "multi_thread")]
async fn offers_that_never_become_rounds_wear_nobody_out() {
    let scene = Scene::open(&plan()).await;
    let victim = scene.puppets[0].backstage();
    let mut shown = 0;
    scene.script(0, |script| {
        script.repeats_offer = true;
        script.keeps = vec![Upward::Shares];
        script.instead = Some(Box::new(|_| Some(ended())));
        script.prekeys_left = hook(|left: &mut u32| *left = 0);
        script.offer = hook(move |offer: &mut RoundOffer| {
            offer.roster[0].bundle = victim.prekeys().swap_remove(shown);
            offer.terms.deadline_ms += 1 + shown as u64;
            shown += 1;
        });
    });
    let started = Instant::now();
    let mut victim = scene.train(0);
    let _others = scene.others();
    victim.missed().await;
    sleep(Duration::from_millis(2_500)).await;
    let sent = scene.puppets[0].sent();
    let begun: Vec<ShareKeys> = sent
        .iter()
        .filter_map(|sent| match sent {
            Sent::Shares(bytes) => ShareKeys::decode(bytes).ok(),
            _ => None,
        })
        .collect();
    assert!((2..=put_off_at_most(started)).contains(&begun.len()), "{} rounds were begun", begun.len());
    let sessions: HashSet<_> = begun.iter().map(|message| message.sid).collect();
    assert_eq!(sessions.len(), begun.len());
    assert!(scene.merchants[0].charges().is_empty() && !scene.puppets[0].saw_update());
    let kept = std::fs::read_dir(scene.merchants[0].folder.join("prekeys")).unwrap().count();
    assert!(kept <= KEPT_MAX, "{kept}");
}

/// Gain: twice the rounds, of which the merchant agreed to the first half.
#[tokio::test(flavor = "multi_thread")]
async fn a_further_run_has_to_fit_into_the_budget() {
    // A plan that spends its whole cap.
    let tight = plan().renoised(8.0, 2, 384).unwrap();
    let scene = Scene::open(&tight).await;
    scene.script(0, |script| script.offer = hook(|offer: &mut RoundOffer| offer.terms.run = 2));
    let victim = scene.train(0);
    let _others = scene.others();
    let refused = victim.stopped().await;
    let TrainError::Refused(Refusal::CannotReserve { before: spent, would_be, cap, .. }) = refused else {
        panic!("{refused}")
    };
    assert!(spent > 7.9 && would_be > 1.2 * cap, "{spent}, {would_be} of {cap}");
    assert!(scene.merchants[0].charges().is_empty() && !scene.puppets[0].saw_update());
}
