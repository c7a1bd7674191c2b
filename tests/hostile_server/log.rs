//! Lies about the log: what was spent, and what anybody else is shown.

use forecastle_client::{
    federation::{connection::CallError, log_copy::LogError},
    round::driver::TrainError,
};
use forecastle_crypto::{
    identity::SigningKey,
    ledger::{
        entry::Entry,
        merkle::{MerkleTree, leaf_hash},
    },
    secagg::{RoundOffer, SurvivorSet},
};
use forecastle_proto::{
    ledger::{EntriesChunk, InclusionPath, InclusionResponse, LatestCheckpointResponse},
    round::{AwaitMessageResponse, await_message_response::Answer},
};

use crate::{
    cohort::set,
    puppet::script::{Awaited, Upward, hook},
    scene::{Scene, made_up_request, plan},
};

fn parsed(leaf: &[u8]) -> Entry {
    Entry::from_bytes(leaf).unwrap()
}

/// The place of a merchant's charge in a log.
fn charge_of(log: &[Vec<u8>], merchant: &str) -> Option<usize> {
    log.iter()
        .position(|leaf| matches!(parsed(leaf), Entry::Charge(signed) if signed.charge.merchant.as_str() == merchant))
}

fn log_error(error: TrainError) -> LogError {
    match error {
        TrainError::Log(error) => error,
        other => panic!("{other}"),
    }
}

/// Gain: the auditor, who believes the newest head, counts rounds fewer than were spent.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_forgot_or_was_rewritten_is_not_followed() {
    let scene = Scene::open(&plan()).await;
    scene.round(1).await;
    let seen = scene.entries().await.len() as u64;
    assert_eq!(seen, 12, "founded, five enrolled, five charges, closed");
    // Restored: as it was before the round.
    scene.script(0, |script| script.log = hook(|log: &mut Vec<Vec<u8>>| log.truncate(6)));
    // Rewritten: as long as before, without the charge of merchant 1, which spent nothing, it seems.
    scene.script(1, |script| {
        script.log = hook(|log: &mut Vec<Vec<u8>>| {
            let place = charge_of(log, "shop-1").unwrap();
            log[place] = log[1].clone();
        });
    });
    // Rewritten and longer.
    scene.script(2, |script| {
        script.log = hook(|log: &mut Vec<Vec<u8>>| {
            let place = charge_of(log, "shop-2").unwrap();
            log.remove(place);
            log.extend([log[1].clone(), log[2].clone()]);
        });
    });
    // A head that somebody else signed.
    scene.script(3, |script| {
        script.checkpoint = hook(|answer: &mut LatestCheckpointResponse| {
            answer.checkpoint = answer.checkpoint.replace("market\n12\n", "market\n13\n");
        });
    });
    let refused = log_error(scene.train(0).stopped().await);
    assert!(matches!(refused, LogError::Shrunk { seen: 12, now: 6 }), "{refused}");
    assert!(refused.to_string().contains("hides what was spent"), "{refused}");
    for merchant in [1, 2] {
        let refused = log_error(scene.train(merchant).stopped().await);
        assert!(matches!(refused, LogError::Forked { seen: 12, .. }), "{refused}");
    }
    let refused = log_error(scene.train(3).stopped().await);
    assert!(matches!(&refused, LogError::Checkpoint(why) if why.contains("does not verify")), "{refused}");
    for merchant in 0..4 {
        assert_eq!(scene.merchants[merchant].rounds(), [1], "its own ledger decides");
    }
}

/// Gain: an update in the sum that nobody counts. In numbers: ε of the first round was spent, the log says nothing was.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_charge_is_not_in_the_log_is_not_unmasked() {
    let scene = Scene::open(&plan()).await;
    scene.script(0, |script| script.inclusion = hook(|answer: &mut InclusionResponse| answer.inclusion = None));
    // The proof of another entry: that of its enrolment.
    let leaf = scene.entries().await[1].to_bytes();
    scene.script(1, |script| {
        script.inclusion = hook(move |answer: &mut InclusionResponse| {
            let tree = MerkleTree::from_leaf_hashes([leaf_hash(&leaf)]);
            let path = tree.inclusion_proof(0, 1).unwrap().path.iter().map(|digest| digest.0.to_vec()).collect();
            answer.inclusion = Some(InclusionPath { index: 1, path });
        });
    });
    // Its own place, in a log that has not grown.
    scene.script(2, |script| {
        script.inclusion = hook(|answer: &mut InclusionResponse| answer.inclusion.as_mut().unwrap().index ^= 1);
    });
    let (first, second, third) = (scene.train(0), scene.train(1), scene.train(2));
    let _others: Vec<_> = [3, 4].map(|merchant| scene.train(merchant)).into();
    for (watched, merchant) in [(first, 0), (second, 1), (third, 2)] {
        let refused = log_error(watched.stopped().await);
        assert!(matches!(refused, LogError::ChargeMissing { round: 1, .. }), "{refused}");
        assert!(refused.to_string().contains("the server would use the update without counting it"), "{refused}");
        assert!(!scene.puppets[merchant].saw_confirmation() && !scene.puppets[merchant].saw_answer());
        assert_eq!(scene.merchants[merchant].rounds(), [1]);
    }
}

/// Gain: a round that looks cheaper than it was. With σ written twice as large, two rounds cost less than half.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_counts_a_charge_otherwise_is_not_believed() {
    let (agreed, mut flattered) = (plan(), plan());
    flattered.step.noise_multiplier *= 2.0;
    let epsilon = |plan: &forecastle_crypto::dp::plan::PrivacyPlan| plan.epsilon_rows(384, 2).unwrap().server.epsilon;
    assert!(epsilon(&flattered) < 0.5 * epsilon(&agreed));

    let scene = Scene::open(&agreed).await;
    // The merchant has the log from nobody yet when the charge in it is altered: there is no older head to hold against it.
    let rewrite = |log: &mut Vec<Vec<u8>>| {
        let Some(place) = charge_of(log, "shop-0") else { return };
        let Entry::Charge(mut signed) = parsed(&log[place]) else { panic!() };
        signed.charge.noise_multiplier *= 2.0;
        log[place] = Entry::Charge(signed).to_bytes();
    };
    // Merchant 2 finds its update in the sum and another one's charge for it.
    scene.script(1, |script| {
        script.log = hook(|log: &mut Vec<Vec<u8>>| {
            let Some(place) = log.iter().position(|leaf| matches!(parsed(leaf), Entry::RoundClosed(_))) else { return };
            let Entry::RoundClosed(mut closed) = parsed(&log[place]) else { panic!() };
            closed.charges[1] = closed.charges[2];
            log[place] = Entry::RoundClosed(closed).to_bytes();
        });
    });
    let watched: Vec<_> = (0..5).map(|merchant| scene.train_once(merchant)).collect();
    let mut watched = watched.into_iter();
    assert_eq!(watched.next().unwrap().end().await.0.result.unwrap(), 1);
    let refused = log_error(watched.next().unwrap().stopped().await);
    let LogError::Entry { index: 11, why } = refused else { panic!("{refused}") };
    assert!(why.contains("publishes a sum with this merchant's update, but counts no charge of it"), "{why}");
    for others in watched {
        assert_eq!(others.end().await.0.result.unwrap(), 1);
    }

    std::fs::remove_dir_all(scene.merchants[0].folder.join("log")).unwrap();
    scene.script(0, |script| script.log = hook(rewrite));
    let refused = log_error(scene.train(0).stopped().await);
    let LogError::Entry { why, .. } = refused else { panic!("{refused}") };
    assert!(why.contains("is a charge in this merchant's name that it never signed"), "{why}");
}

/// Gain: entries that the head does not cover are words without a signature; entries without an end are an attack on the
/// merchant's memory.
#[tokio::test(flavor = "multi_thread")]
async fn entries_that_do_not_give_the_head_are_not_kept() {
    let scene = Scene::open(&plan()).await;
    type Leaves = Vec<Vec<u8>>;
    fn all(leaves: Leaves) -> tonic::codegen::BoxStream<EntriesChunk> {
        Box::pin(tokio_stream::once(Ok(EntriesChunk { leaves })))
    }
    scene.script(0, |script| {
        script.entry_parts = Some(Box::new(|mut leaves: Leaves| {
            // Another key for merchant 5: readable, and no contradiction to anything that merchant 1 knows.
            let Entry::Enrolled(mut enrolled) = parsed(&leaves[5]) else { panic!() };
            enrolled.identity = SigningKey::generate().unwrap().verifying_key();
            leaves[5] = Entry::Enrolled(enrolled).to_bytes();
            all(leaves)
        }));
    });
    scene.script(1, |script| {
        script.entry_parts = Some(Box::new(|mut leaves: Leaves| {
            leaves.pop();
            all(leaves)
        }));
    });
    scene.script(2, |script| {
        script.entry_parts = Some(Box::new(|leaves: Leaves| all([leaves.clone(), vec![leaves[5].to_vec()]].concat())));
    });
    scene.script(3, |script| {
        script.entry_parts = Some(Box::new(|_| {
            Box::pin(tokio_stream::iter(std::iter::repeat_with(|| Ok(EntriesChunk { leaves: Vec::new() }))))
        }));
    });
    scene.script(4, |script| {
        script.entry_parts = Some(Box::new(|mut leaves: Leaves| {
            leaves[1] = br#"{"entry":"charge-2"}"#.to_vec();
            all(leaves)
        }));
    });
    let rules: [fn(&LogError) -> bool; 5] = [
        |error| matches!(error, LogError::Root { size: 6 }),
        |error| matches!(error, LogError::Call(CallError::Answer(why)) if why.contains("fewer entries")),
        |error| matches!(error, LogError::Call(CallError::Answer(why)) if why.contains("more entries than asked for")),
        |error| matches!(error, LogError::Call(CallError::Answer(why)) if why.contains("without an entry")),
        |error| matches!(error, LogError::Entry { index: 1, why } if why.contains("`charge-2`")),
    ];
    for (merchant, rule) in rules.into_iter().enumerate() {
        let refused = log_error(scene.train(merchant).stopped().await);
        assert!(rule(&refused), "{refused}");
        assert!(!scene.merchants[merchant].folder.join("log/entries.jsonl").exists());
    }
}

/// Everything at once, for one merchant: a log of its own, in which the model is one made for it, an offer that fits that
/// log, a proof that its charge is in it. Gain: its update on a model of the server's choice, and no trace of the charge
/// anywhere but there. Alone, it is of no use: its session is another one, so its shares open nowhere, and nobody's
/// statement is about its round.
#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_with_a_history_of_its_own_is_alone_with_it() {
    let mut short = plan();
    // The others wait for merchant 1's update, which goes no further than its puppet, for a phase.
    short.rounds.phase_deadline_ms = 5_000;
    let scene = Scene::open(&short).await;
    let backstages: Vec<_> = scene.puppets.iter().map(|puppet| puppet.backstage()).collect();
    let mut made = forecastle_tests::model();
    made.values[0] += 1.0;
    let (file, digest) = (made.to_bytes(), made.digest());
    let own = scene.puppets[0].backstage();
    scene.script(0, |script| {
        script.log = hook(move |log: &mut Vec<Vec<u8>>| {
            let Entry::Founded(mut founded) = parsed(&log[0]) else { panic!() };
            founded.model_sha256 = digest;
            log[0] = Entry::Founded(founded).to_bytes();
            // The others' charges are not its concern; its own is there.
            log.truncate(6);
            log.extend(own.charge().map(|signed| Entry::Charge(signed).to_bytes()));
        });
        script.model = hook(move |asked: &mut Vec<u8>| asked.clone_from(&file));
        script.offer = hook(move |offer: &mut RoundOffer| offer.terms.model_sha256 = digest);
        // What cannot be passed on, because it belongs to another session, is taken; what the others say is shown.
        script.keeps = vec![Upward::Update, Upward::Confirmation];
        script.instead = Some(Box::new(move |awaited| match awaited {
            Awaited::Shares => None,
            Awaited::Survivors => {
                let sid = backstages[0].charge()?.charge.sid;
                let message = SurvivorSet { sid, survivors: set(&[1, 2, 3, 4, 5]) };
                Some(AwaitMessageResponse { answer: Some(Answer::Message(message.encode())) })
            }
            Awaited::Request => Some(made_up_request(&backstages, &[1, 2, 3, 4, 5], &[])),
        }));
    });
    let mut victim = scene.train(0);
    let _others = scene.others();
    let reason = victim.missed().await;
    assert!(reason.contains("the statement of participant 2 on who survived is not signed by it"), "{reason}");
    assert!(victim.charged(), "what it spent is in its own ledger, whatever log it is shown");
    assert!(!scene.puppets[0].saw_answer());
    assert_eq!(scene.logged(0).await, [0; 0]);
}
