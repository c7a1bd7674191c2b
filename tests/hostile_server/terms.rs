//! Values of an offer that are not the plan's: every one of them, one at a time.

use forecastle_client::round::driver::now_ms;
use forecastle_crypto::{
    dp::{noise::Variance, plan::PrivacyPlan},
    identity::sha256,
    ledger::merkle::leaf_hash,
    secagg::RoundOffer,
};
use forecastle_proto::round::{AwaitOfferResponse, await_offer_response::Answer};

use crate::{
    attacker::{self, Secret, opened, reconstruct},
    cohort::{Cohort, shares_of, terms},
    puppet::script::hook,
    scene::{Scene, plan},
};

/// Trained parameters of the federation's model.
const DIMENSION: u32 = 384;

type Lie = Box<dyn FnMut(&mut RoundOffer) + Send>;

fn lie(rule: &'static str, change: impl FnMut(&mut RoundOffer) + Send + 'static) -> (Lie, &'static str) {
    (Box::new(change), rule)
}

/// Shows a merchant one lie after the other, then the truth.
fn tells(scene: &Scene, merchant: usize, lies: Vec<Lie>) {
    let mut lies = lies.into_iter();
    scene.script(merchant, |script| {
        script.repeats_offer = true;
        script.offer = hook(move |offer: &mut RoundOffer| {
            if let Some(mut lie) = lies.next() {
                lie(offer);
            }
        });
    });
}

/// ε of both rounds of a plan, as the server with the assumed colluders sees it.
fn epsilon(plan: &PrivacyPlan) -> f64 {
    plan.epsilon_rows(DIMENSION, 2).unwrap().server.epsilon
}

/// What a merchant that took the server's word would have paid, and thought it paid. The values that are not in the offer
/// (sampling, bounds, rounds, unit) are in the plan, whose digest is.
#[test]
fn a_value_that_is_lowered_costs_more_than_is_charged() {
    let (agreed, told) = (plan(), epsilon(&plan()));
    let changed = |change: fn(&mut PrivacyPlan)| {
        let mut plan = agreed.clone();
        change(&mut plan);
        epsilon(&plan)
    };
    assert!(changed(|plan| plan.step.noise_multiplier /= 2.0) > 2.0 * told, "{told}");
    assert!(changed(|plan| plan.step.sampling_rate = 1.0) > 1.3 * told, "{told}");
    assert!(changed(|plan| plan.bounds.series = 4) > 1.5 * told, "{told}");
    // m moves the shares with it, and σ stays (but for the rounding of the shares to integers) …
    assert!((changed(|plan| plan.rounds.survivors_min = 3) / told - 1.0).abs() < 1e-3);
    // … but a merchant whose share was made for four survivors is one of three: σ·√(2/3) is left of σ.
    let least = agreed.noise_of(3) / agreed.step.noise_multiplier;
    assert!((least - (2f64 / 3.0).sqrt()).abs() < 1e-9, "{least}");
    assert!(agreed.epsilon_rows(DIMENSION, 4).unwrap().server.epsilon > 1.3 * told, "twice the rounds");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_of_an_offer_is_held_against_the_plan_and_the_log() {
    let scene = Scene::open(&plan()).await;
    let first_entry = leaf_hash(&scene.entries().await[0].to_bytes());
    let lies = vec![
        lie("the offer's federation is", |o| o.terms.federation = "bazaar".into()),
        lie("the offer's plan is", |o| o.terms.plan_sha256 = sha256(b"weaker")),
        lie("the offer's clip norm is", |o| o.terms.clip *= 2.0),
        lie("the offer's grid is", |o| o.terms.units_per_clip /= 2),
        lie("the offer's number of bits is", |o| o.terms.bits += 1),
        // Less noise in the sum, by the number or by its shares or by both.
        lie("the offer's noise multiplier is", |o| o.terms.sigma_total /= 2.0),
        lie("3 noise shares add up to a σ of", |o| {
            o.terms.variance_local = Variance::from_sigma_ceil(1000.0).unwrap()
        }),
        lie("the offer's noise multiplier is", |o| {
            o.terms.sigma_total /= 2.0;
            o.terms.variance_local = Variance::from_sigma_ceil(o.terms.variance_local.sigma() / 2.0).unwrap();
        }),
        lie("the offer's noise share is", |o| {
            o.terms.variance_local = Variance::from_sigma_ceil(o.terms.variance_local.sigma() * 2.0).unwrap();
        }),
        // Fewer or more survivors, fewer or more colluders.
        lie("m = 3 survivors could not reconstruct, or not agree, with 4 needed", |o| o.terms.survivors_min = 3),
        lie("the offer's smallest number of survivors is", |o| o.terms.survivors_min = 5),
        lie("the offer's number of assumed colluders is", |o| o.terms.colluders_assumed = 0),
        lie("2 noise shares add up to a σ of", |o| o.terms.colluders_assumed = 2),
        lie("t = 3 is too small for 5 participants of whom 1 may collude", |o| o.terms.threshold = 3),
        lie("the offer's model is", |o| o.terms.model_version += 1),
        lie("the offer's model is", |o| o.terms.model_sha256 = sha256(b"another")),
        lie("the offer's parameter layout is", |o| o.terms.layout_sha256 = sha256(b"another")),
        lie("the offer's dimension is", |o| o.terms.dimension -= 1),
        // Another log, no log, and so little of it that it says nothing.
        lie("the offer's log is", |o| o.terms.ledger_root = sha256(b"another")),
        lie("the offer's log is", |o| o.terms.ledger_size += 1),
        lie("commits to the log's first 1 entries, but rests on 6", move |o| {
            (o.terms.ledger_size, o.terms.ledger_root) = (1, first_entry);
        }),
        // A round that was over last week, or will be open for months.
        lie("s ago; the plan gives a phase 40000 ms", |o| o.terms.deadline_ms = now_ms() - 600_000_000),
        lie("s from now; the plan gives a phase 40000 ms", |o| o.terms.deadline_ms = u64::MAX),
        lie("round 3 was offered, the plan has 2", |o| o.terms.round = 3),
        lie("the offer speaks version 2", |o| o.version = 2),
    ];
    let (lies, rules): (Vec<_>, Vec<_>) = lies.into_iter().unzip();
    // Five each, so that nobody's patience with a server that offers nothing useful is tried for long.
    let mut shares: Vec<Vec<Lie>> = (0..5).map(|_| Vec::new()).collect();
    for (index, lie) in lies.into_iter().enumerate() {
        shares[index % 5].push(lie);
    }
    for (merchant, lies) in shares.into_iter().enumerate() {
        tells(&scene, merchant, lies);
    }
    let mut watched: Vec<_> = (0..5).map(|merchant| scene.train_once(merchant)).collect();
    for (index, rule) in rules.into_iter().enumerate() {
        let reason = watched[index % 5].missed().await;
        assert!(reason.contains(rule), "instead of `{rule}`: {reason}");
    }
    // Nothing of that was begun: the truth finds every merchant with its pre-key and its budget as they were.
    for (merchant, watched) in watched.into_iter().enumerate() {
        let (trained, events) = watched.end().await;
        assert_eq!(trained.result.unwrap(), 1, "{events:?}");
        assert_eq!(scene.secret_updates(merchant).len(), 1);
        assert_eq!(scene.merchants[merchant].rounds(), [1]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_threshold_lets_two_quorums_disagree_and_is_refused() {
    // Gain: with t = 3 of five, one merchant who answers twice is enough. 1, 2 and 3 are told that everybody survived, 3, 4
    // and 5 that merchant 1 did not; every honest one answers once, and merchant 1 is bare.
    let mut round = Cohort::new(5).run(terms(3, 3, 0));
    let alive = round.answers(&[1, 2, 3], &[1, 2, 3, 4, 5]);
    let gone = Cohort::new(5).run(terms(3, 3, 0)).answers(&[3, 4, 5], &[2, 3, 4, 5]);
    let seed = reconstruct(&shares_of(&alive, 1, Secret::SelfMask));
    let mask_secret = reconstruct(&shares_of(&gone, 1, Secret::MaskKey));
    assert_eq!(attacker::public(&mask_secret), round.mask_keys()[0].1);
    assert_eq!(round.bared_by_both(1, &seed, &mask_secret), round.bare[0]);
    // With the threshold of the plan, four, the same answers are too few of either.
    let mut round = Cohort::new(5).run(terms(4, 4, 0));
    let alive = round.answers(&[1, 2, 3, 4], &[1, 2, 3, 4, 5]);
    let seed = reconstruct(&shares_of(&alive, 1, Secret::SelfMask)[..3]);
    assert_ne!(round.bared_by_both(1, &seed, &round.secrets_of(1).1), round.bare[0]);

    // On a ring of five, where everybody has two neighbours and one share of a secret is all of it, one neighbour who
    // tells the server what it was sent is enough. No quorum is asked for anything.
    let mut sparse = terms(4, 1, 0);
    sparse.neighbours = Some(2);
    let round = Cohort::new(5).run(sparse);
    let (to, sealed) = &round.shares[0].sealed[0];
    let (sid, neighbour) = (round.offer.sid(), to.get());
    let channel_key = round.offer.roster()[0].bundle.channel_key.0;
    let (channel_secret, _) = round.secrets_of(neighbour);
    let (mask_secret, seed) = opened(&sid, (1, &channel_key), (neighbour, &channel_secret), sealed).unwrap();
    assert_eq!(attacker::public(&mask_secret), round.mask_keys()[0].1);
    assert_eq!(round.bared_by_both(1, &seed, &mask_secret), round.bare[0]);

    // A plan that assumes no colluders leaves room for a t that holds together and is lower than the plan's.
    let mut trusting = plan();
    trusting.rounds.colluders_assumed = 0;
    let scene = Scene::open(&trusting).await;
    let lies: Vec<Lie> = vec![
        Box::new(|offer: &mut RoundOffer| offer.terms.threshold = 3),
        Box::new(|offer: &mut RoundOffer| (offer.terms.neighbours, offer.terms.threshold) = (Some(2), 1)),
    ];
    tells(&scene, 0, lies);
    let mut victim = scene.train(0);
    let _others = scene.others();
    for rule in [
        "the offer's sharing threshold is 3, but 4 was agreed",
        "the offer's number of neighbours is Some(2), but None",
    ] {
        let reason = victim.missed().await;
        assert!(reason.contains(rule), "{reason}");
    }
}

/// Gain: a cohort without the merchant would have it train for nothing; one beyond the plan's largest lets sums wrap around,
/// and thins nothing out; one below is nearly a single update.
#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_that_is_not_the_plan_s_is_refused() {
    let mut scene = Scene::open(&plan()).await;
    scene.one_more().await;
    let sixth = scene.place_of(5);
    let four = |offer: &mut RoundOffer| {
        offer.roster.remove(0);
        offer.terms.threshold = 3;
    };
    let lies: Vec<Lie> = vec![
        Box::new(four),
        Box::new(move |offer: &mut RoundOffer| {
            offer.roster.push(sixth.clone());
            offer.terms.threshold = 5;
            offer.terms.survivors_min = 5;
        }),
        Box::new(|offer: &mut RoundOffer| {
            offer.roster.truncate(3);
            (offer.terms.threshold, offer.terms.survivors_min) = (3, 3);
        }),
    ];
    tells(&scene, 0, lies);
    let mut victim = scene.train(0);
    let _others: Vec<_> = (1..5).map(|merchant| scene.train(merchant)).collect();
    for rule in ["does not name this merchant", "the offer's smallest number of survivors", "2 noise shares add up to"]
    {
        let reason = victim.missed().await;
        assert!(reason.contains(rule), "instead of `{rule}`: {reason}");
    }

    // A plan with m of five holds together for six as well: then the cohort's own bound is what refuses it.
    let mut five = plan();
    five.rounds.survivors_min = 5;
    let mut scene = Scene::open(&five).await;
    scene.one_more().await;
    let sixth = scene.place_of(5);
    tells(
        &scene,
        0,
        vec![Box::new(move |offer: &mut RoundOffer| {
            offer.roster.push(sixth.clone());
            offer.terms.threshold = 5;
        })],
    );
    let mut victim = scene.train(0);
    let _others: Vec<_> = (1..5).map(|merchant| scene.train(merchant)).collect();
    let reason = victim.missed().await;
    assert!(reason.contains("the offer's cohort is 6, but 5 was agreed"), "{reason}");
}

/// Gain: whoever could make offers without the federation's key could be anybody on the way.
#[tokio::test(flavor = "multi_thread")]
async fn offers_that_are_none_are_refused_before_they_are_read() {
    let scene = Scene::open(&plan()).await;
    let signer = scene.puppets[0].backstage();
    let mut shown = 0;
    scene.script(0, |script| {
        script.repeats_offer = true;
        script.offer_answer = hook(move |answer: &mut AwaitOfferResponse| {
            let Some(Answer::Offer(offer)) = &mut answer.answer else { return };
            shown += 1;
            match shown {
                1 => offer.signature[9] ^= 1,
                2 => offer.signature.truncate(63),
                3 => *offer = signer.signed_offer(b"{".to_vec()),
                4 => {
                    let more = String::from_utf8(offer.offer.clone()).unwrap().replacen('{', "{\"also\":1,", 1);
                    *offer = signer.signed_offer(more.into_bytes());
                }
                _ => {}
            }
        });
    });
    let mut victim = scene.train_once(0);
    let _others: Vec<_> = (1..5).map(|merchant| scene.train_once(merchant)).collect();
    for rule in [
        "the offer is not the federation's",
        "the offer's signature is not 64 bytes long",
        "the offer cannot be read",
        "unknown field `also`",
    ] {
        let reason = victim.missed().await;
        assert!(reason.contains(rule), "instead of `{rule}`: {reason}");
    }
    let (trained, events) = victim.end().await;
    assert_eq!(trained.result.unwrap(), 1, "{events:?}");
}
