//! Lies about who took part: key sharers, survivors, what is to be unmasked, and when.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use forecastle_client::round::{driver::TrainOptions, event::RoundEvent};
use forecastle_crypto::{
    identity::{Signature, sha256},
    ledger::entry::Entry,
    secagg::{DeliveredShares, ShareKeys, SurvivorSet, UnmaskRequest},
};
use forecastle_proto::round::{AwaitMessageResponse, Pending, UploadOffsetResponse, await_message_response::Answer};
use tonic::Status;

use crate::{
    attacker::{self, Secret, reconstruct},
    cohort::{Cohort, set, shares_of, terms},
    puppet::{
        Sent,
        script::{Awaited, Upward, hook},
    },
    scene::{Scene, made_up_request, number, plan},
};

/// A change to a message, and the words of the rule that it breaks.
type Lie<M> = (fn(&mut M), &'static str);

fn pending() -> AwaitMessageResponse {
    AwaitMessageResponse { answer: Some(Answer::Pending(Pending { present: 5 })) }
}

/// The federated framework most used today falls to this one: a client that is listed as alive and as dropped out has both
/// its secrets opened, and the round looks as any other.
#[tokio::test(flavor = "multi_thread")]
async fn both_secrets_of_one_merchant_bare_its_update_and_are_never_given() {
    // Gain: merchant 5 is alive. Had the other four answered once as if it were, and once as if it were not …
    let mut round = Cohort::new(5).run(terms(4, 4, 1));
    let alive = round.answers(&[1, 2, 3, 4], &[1, 2, 3, 4, 5]);
    let gone = Cohort::new(5).run(terms(4, 4, 1)).answers(&[1, 2, 3, 4], &[1, 2, 3, 4]);
    let seed = reconstruct(&shares_of(&alive, 5, Secret::SelfMask));
    let mask_secret = reconstruct(&shares_of(&gone, 5, Secret::MaskKey));
    assert_eq!(attacker::public(&mask_secret), round.mask_keys()[4].1);
    assert_eq!(round.bared_by_both(5, &seed, &mask_secret), round.bare[4], "… its update is bare, bit for bit");
    // … and with either alone, nothing is: the mask that is left is as good as any other.
    assert_ne!(round.bared_by_both(5, &[0; 32], &mask_secret), round.bare[4]);
    assert_ne!(round.bared_by_both(5, &seed, &[1; 32]), round.bare[4]);

    // The merchant is asked for exactly that, and says nothing: not now, and not to a better request.
    let scene = Scene::open(&plan()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    scene.script(0, |script| {
        script.request = hook(move |request: &mut UnmaskRequest| {
            if counter.fetch_add(1, Ordering::SeqCst) == 0 {
                request.reveal_mask_keys.insert(number(5));
            }
        });
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    let reason = victim.missed().await;
    assert!(reason.contains("asks for both secrets of {5}; nothing is answered"), "{reason}");
    scene.puppets[0].until(|sent| sent.last() == Some(&Sent::Present(1))).await;
    assert!(!scene.puppets[0].saw_answer());
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it did not ask for another request");
    assert_eq!(scene.merchants[0].rounds(), [1], "what it spent stays spent");
}

/// Gain of each: shares that complete a quorum which never agreed. What a whole quorum of either kind yields is shown above.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_a_quorum_did_not_sign_are_answered_by_nobody() {
    let scene = Scene::open(&plan()).await;
    let lies: [Lie<UnmaskRequest>; 5] = [
        // Merchant 4, who survived, as if it had not.
        (
            |request| {
                request.reveal_self_masks.remove(number(4));
                request.reveal_mask_keys.insert(number(4));
            },
            "asks for other secrets than those of the agreed survivors",
        ),
        // Merchant 1, of whom nothing says against whom its update is masked: with whom its masks cancel.
        (
            |request| _ = request.sharers_signatures.remove(0),
            "participant 1 did not sign that it masked against the same U1",
        ),
        (|request| request.signatures.truncate(3), "only 3 participants in the unmasking request, fewer than the 4"),
        // A statement of somebody who is not there, in the place of one that is missing.
        (
            |request| {
                let (_, signature) = request.signatures.pop().unwrap();
                request.signatures.truncate(3);
                request.signatures.push((number(6), signature));
            },
            "names {6}, who cannot be there",
        ),
        (
            |request| request.signatures[1].1 = Signature([7; 64]),
            "the statement of participant 2 on who survived is not signed by it",
        ),
    ];
    for (merchant, (lie, _)) in lies.iter().enumerate() {
        let lie = *lie;
        scene.script(merchant, |script| script.request = hook(lie));
    }
    let watched: Vec<_> = (0..5).map(|merchant| scene.train(merchant)).collect();
    for ((mut watched, puppet), (_, rule)) in watched.into_iter().zip(&scene.puppets).zip(lies) {
        let reason = watched.missed().await;
        assert!(reason.contains(rule), "{reason}");
        assert!(watched.charged() && !puppet.saw_answer());
    }
    // Nobody's share left, so nothing was opened: there is no second model.
    assert_eq!(scene.federation.state().await.models().await.unwrap().len(), 1);
}

/// Gain: some are told that a merchant survived and open its self-mask, the others that it dropped out and open its mask
/// key. Each answers once, and together they have given both (the arithmetic is that of the test on both lists; with how few
/// it is done under a lower threshold is shown in [`crate::terms`]).
#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_is_told_of_other_survivors_than_the_rest_gives_nothing_away() {
    let scene = Scene::open(&plan()).await;
    let backstages: Vec<_> = scene.puppets.iter().map(|puppet| puppet.backstage()).collect();
    scene.script(0, |script| {
        // Merchant 5 is said to have vanished. The statement on that goes no further, the others' are shown instead.
        script.survivors = hook(|message: &mut SurvivorSet| {
            message.survivors.remove(number(5));
        });
        script.keeps = vec![Upward::Confirmation];
        script.instead = Some(Box::new(move |awaited| {
            (awaited == Awaited::Request).then(|| made_up_request(&backstages, &[1, 2, 3, 4], &[5]))
        }));
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    let reason = victim.missed().await;
    assert!(reason.contains("the statement of participant 2"), "{reason}");
    assert!(reason.contains("or speaks of other sets"), "{reason}");
    assert!(scene.puppets[0].saw_confirmation() && !scene.puppets[0].saw_answer());
}

/// Gain: an update that lacks the mask against merchant 5. Where everybody has few neighbours it could lack all of them
/// (`crypto/src/secagg/tests/regular.rs`).
#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_that_is_shown_other_sharers_than_the_rest_gives_nothing_away() {
    let mut short = plan();
    // The others wait for merchant 1's update, which an honest server would turn away, for a phase.
    short.rounds.phase_deadline_ms = 5_000;
    let scene = Scene::open(&short).await;
    let backstages: Vec<_> = scene.puppets.iter().map(|puppet| puppet.backstage()).collect();
    scene.script(0, |script| {
        script.shares = hook(|message: &mut DeliveredShares| {
            message.sharers.remove(number(5));
            message.sealed.retain(|(from, _)| *from != number(5));
        });
        script.keeps = vec![Upward::Update, Upward::Confirmation];
        let own = Arc::clone(&backstages[0]);
        script.log = hook(move |log: &mut Vec<Vec<u8>>| {
            log.extend(own.charge().map(|signed| Entry::Charge(signed).to_bytes()));
        });
        script.instead = Some(Box::new(move |awaited| match awaited {
            Awaited::Shares => None,
            Awaited::Survivors => {
                let message = SurvivorSet { sid: backstages[0].charge()?.charge.sid, survivors: set(&[1, 2, 3, 4]) };
                Some(AwaitMessageResponse { answer: Some(Answer::Message(message.encode())) })
            }
            Awaited::Request => Some(made_up_request(&backstages, &[1, 2, 3, 4], &[])),
        }));
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    let reason = victim.missed().await;
    assert!(reason.contains("the statement of participant 2"), "{reason}");
    assert!(scene.puppets[0].saw_confirmation() && !scene.puppets[0].saw_answer());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shrunken_survivor_set_leaves_less_noise_and_nobody_signs_it() {
    // Gain: three survivors instead of four, two of whom tell the server what they sent. What is left of the "sum" is one
    // merchant's update with one share of the noise.
    let mut round = Cohort::new(5).run(terms(3, 3, 0));
    let answers = round.answers(&[1, 2, 3], &[1, 2, 3]);
    let (sid, keys) = (round.offer.sid(), round.mask_keys());
    let gone = [4, 5].map(|gone| (gone, reconstruct(&shares_of(&answers, gone, Secret::MaskKey))));
    let bare = |survivor| {
        let seed = reconstruct(&shares_of(&answers, survivor, Secret::SelfMask));
        // Masks between survivors cancel in the sum; here each is taken off with its own key, for one survivor at a time.
        let (_, own_secret) = round.secrets_of(survivor);
        round.bared(survivor, &seed, |other| match gone.iter().find(|(gone, _)| *gone == other) {
            Some((_, secret)) => {
                attacker::pair_mask(&sid, (other, secret), (survivor, &keys[usize::from(survivor) - 1].1))
            }
            None => attacker::pair_mask(&sid, (survivor, &own_secret), (other, &keys[usize::from(other) - 1].1)),
        })
    };
    let add = |a: Vec<u64>, b: &Vec<u64>| a.iter().zip(b).map(|(a, b)| (a + b) & 0xf_ffff).collect::<Vec<u64>>();
    let sum = add(add(bare(1), &bare(2)), &bare(3));
    let colluders = add(round.bare[1].clone(), &round.bare[2]);
    let left: Vec<u64> = sum.iter().zip(colluders).map(|(sum, told)| sum.wrapping_sub(told) & 0xf_ffff).collect();
    assert_eq!(left, round.bare[0]);
    // Of σC in the sum, of which the plan's three honest shares are the least, one share is left.
    let (planned, left) = (plan().noise_of(4), plan().noise_of(2));
    assert!((left / planned - (1f64 / 3.0).sqrt()).abs() < 1e-9, "{left} of {planned}");

    let scene = Scene::open(&plan()).await;
    let lies: [Lie<SurvivorSet>; 4] = [
        (
            |message| message.survivors = set(&[1, 2, 3]),
            "only 3 participants in the survivor set, fewer than the 4 that this round was agreed with",
        ),
        (|message| message.survivors = set(&[1, 3, 4, 5]), "the survivor set leaves this participant out"),
        (|message| message.survivors = set(&[1, 2, 3, 4, 5, 6]), "the survivor set names {6}, who cannot be there"),
        (|message| message.sid = sha256(b"another round"), "a survivor set of round"),
    ];
    for (merchant, (lie, _)) in lies.iter().enumerate() {
        let lie = *lie;
        scene.script(merchant, |script| script.survivors = hook(lie));
    }
    let watched: Vec<_> = (0..5).map(|merchant| scene.train(merchant)).collect();
    for ((mut watched, puppet), (_, rule)) in watched.into_iter().zip(&scene.puppets).zip(lies) {
        let reason = watched.missed().await;
        assert!(reason.contains(rule), "{reason}");
        assert!(watched.charged() && !puppet.saw_confirmation());
    }
}

/// Gain: a merchant that masks against fewer than there are leaves its update covered by fewer masks, in the end by its own
/// alone; one that masks against strangers masks against the server.
#[tokio::test(flavor = "multi_thread")]
async fn key_sharers_that_are_not_the_cohort_s_are_refused_before_anything_is_charged() {
    let scene = Scene::open(&plan()).await;
    let lies: [Lie<DeliveredShares>; 5] = [
        (
            |message| {
                message.sharers = set(&[1, 2, 3]);
                message.sealed.truncate(2);
            },
            "only 3 participants in the delivery of shares, fewer than the 4",
        ),
        (|message| message.sharers = set(&[1, 3, 4, 5]), "the delivery of shares leaves this participant out"),
        (
            |message| {
                message.sharers.insert(number(6));
                message.sealed.push((number(6), message.sealed[0].1));
            },
            "the delivery of shares names {6}, who cannot be there",
        ),
        (|message| _ = message.sealed.pop(), "not one from each neighbour in U1"),
        (|message| message.sid = sha256(b"another round"), "a delivery of shares of round"),
    ];
    for (merchant, (lie, _)) in lies.iter().enumerate() {
        let lie = *lie;
        scene.script(merchant, |script| script.shares = hook(lie));
    }
    let watched: Vec<_> = (0..5).map(|merchant| scene.train(merchant)).collect();
    for ((mut watched, puppet), (_, rule)) in watched.into_iter().zip(&scene.puppets).zip(lies) {
        let reason = watched.missed().await;
        assert!(reason.contains(rule), "{reason}");
        assert!(!watched.charged() && !puppet.saw_update());
    }
    assert!(scene.merchants.iter().all(|merchant| merchant.charges().is_empty()));
}

/// Gain: none is left. A share that opened for whoever got it would let the server collect a quorum from merchants of its
/// choice. As it is, merchant 1 holds nothing of merchant 3, says so by leaving it out, and the round needs nobody's every
/// share.
#[tokio::test(flavor = "multi_thread")]
async fn shares_for_somebody_else_open_nothing() {
    let scene = Scene::open(&plan()).await;
    let third = scene.puppets[2].backstage();
    scene.script(0, |script| {
        script.shares = hook(move |message: &mut DeliveredShares| {
            let shared = third.sent().into_iter().find_map(|sent| match sent {
                Sent::Shares(bytes) => ShareKeys::decode(&bytes).ok(),
                _ => None,
            });
            let for_second = *shared.unwrap().sealed.iter().find(|(to, _)| *to == number(2)).unwrap();
            let place = message.sealed.iter_mut().find(|(from, _)| *from == number(3)).unwrap();
            assert_ne!(place.1, for_second.1);
            place.1 = for_second.1;
        });
    });
    scene.round(1).await;
    let answer = scene.puppets[0].sent().into_iter().find_map(|sent| match sent {
        Sent::Answer(bytes) => Some(attacker::answered(&bytes)),
        _ => None,
    });
    let subjects: Vec<_> = answer.unwrap().into_iter().map(|(subject, secret, _)| (subject, secret)).collect();
    assert_eq!(subjects, [1, 2, 4, 5].map(|subject| (subject, Secret::SelfMask)));
}

/// Gain: time, to find out who would sign what, or to come by a machine that still has the round's secrets in memory.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_too_late_is_not_waited_for() {
    let mut short = plan();
    short.rounds.phase_deadline_ms = 5_000;
    let scene = Scene::open(&short).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    scene.script(0, |script| {
        script.instead = Some(Box::new(move |awaited| {
            let survivors = awaited == Awaited::Survivors;
            counter.fetch_add(usize::from(survivors), Ordering::SeqCst);
            survivors.then(pending)
        }));
    });
    let mut victim = scene.train_with(0, TrainOptions { once: false, patience: Duration::from_millis(500) });
    let _others = scene.others();
    let reason = victim.missed().await;
    assert_eq!(reason, "the server holds the survivor set back for longer than a phase takes");
    assert!(victim.charged() && !scene.puppets[0].saw_confirmation());
    // Nor does a server that answers at once, instead of holding the line, make it run in circles.
    assert!((2..60).contains(&asked.load(Ordering::SeqCst)), "{asked:?}");
}

/// Gain: a second release of the same data under fresh noise, of which the mean of both has less.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_is_asked_for_again_is_the_same_update() {
    let scene = Scene::open(&plan()).await;
    let (mut attempts, mut offsets) = (0, [700u64, 3].into_iter());
    scene.script(0, |script| {
        script.keeps = vec![Upward::Update];
        script.uploaded = hook(move |answer: &mut Result<UploadOffsetResponse, Status>| {
            attempts += 1;
            match attempts {
                1 => *answer = Ok(UploadOffsetResponse { received: 100 }),
                2 | 3 => *answer = Err(Status::unavailable("again")),
                4 => *answer = Ok(UploadOffsetResponse { received: 0 }),
                _ => {}
            }
        });
        script.upload_offset = hook(move |received: &mut u64| *received = offsets.next().unwrap());
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    victim.event(|event| matches!(event, RoundEvent::Charged { .. })).await;
    let uploads = |sent: &[Sent]| sent.iter().filter(|sent| matches!(sent, Sent::Update { .. })).count();
    scene.puppets[0].until(|sent| uploads(sent) == 5).await;

    let mut whole: Option<Vec<u8>> = None;
    let mut announced = Vec::new();
    let mut begins = Vec::new();
    for sent in scene.puppets[0].sent() {
        let Sent::Update { header, charge, parts } = sent else { continue };
        announced.push((header, charge));
        let (offset, _) = parts[0];
        begins.push(offset);
        let bytes: Vec<u8> = parts.into_iter().flat_map(|(_, bytes)| bytes).collect();
        let whole = whole.get_or_insert_with(|| bytes.clone());
        assert_eq!(bytes, whole[offset as usize..], "other bytes from {offset} on");
    }
    assert_eq!(begins, [0, 100, 700, 3, 0]);
    assert!(announced.windows(2).all(|pair| pair[0] == pair[1]), "one header, one charge");
    assert_eq!(scene.secret_updates(0).len(), 1, "it was computed and noised once");
    assert_eq!(scene.merchants[0].rounds(), [1]);
}
