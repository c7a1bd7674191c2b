//! Lies about who is who: keys of the server's own, and merchants of the server's own.

use forecastle_client::{federation::log_copy::LogError, round::driver::TrainError};
use forecastle_crypto::{
    dp::filter::MerchantPolicy,
    identity::{Signature, SigningKey},
    ledger::entry::{Enrolled, Entry, Revoked},
    secagg::{
        PrekeyBundle, RosterEntry, RoundOffer, SurvivorSet,
        keys::{AgreementKey, PREKEY_CONTEXT},
    },
};

use forecastle_tests::merchant::Merchant;

use crate::{
    attacker::{opened, pair_mask, reconstruct},
    cohort::{Cohort, terms},
    puppet::{Sent, script::hook},
    scene::{Scene, number, place, plan},
};

fn stranger() -> SigningKey {
    SigningKey::danger_from_seed(&[99; 32]).unwrap()
}

/// A bundle with a mask key of low order, signed as the owner of `identity` would sign it.
fn of_low_order(entry: &RosterEntry, identity: &SigningKey) -> PrekeyBundle {
    let bundle = PrekeyBundle { mask_key: AgreementKey([0; 32]), ..entry.bundle.clone() };
    let signed = [
        entry.merchant.as_str().as_bytes(),
        &[0],
        entry.identity.as_bytes(),
        &bundle.index.to_be_bytes(),
        bundle.channel_key.as_bytes(),
        bundle.mask_key.as_bytes(),
    ];
    PrekeyBundle { signature: identity.sign(PREKEY_CONTEXT, &signed.concat()), ..bundle }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_server_in_place_of_the_others_bare_an_update_and_are_refused() {
    // Gain: everybody else's keys are the server's. It needs no quorum and no answer: the shares of the merchant's seed
    // are encrypted to it, and it knows every pair's mask from its own end.
    let round = Cohort::new(5).run(terms(4, 4, 1));
    let sid = round.offer.sid();
    let victim = &round.offer.roster()[0].bundle;
    let shares: Vec<_> = round.shares[0]
        .sealed
        .iter()
        .map(|(to, sealed)| {
            let to = to.get();
            let (channel_secret, _) = round.secrets_of(to);
            let (_, seed) = opened(&sid, (1, &victim.channel_key.0), (to, &channel_secret), sealed).unwrap();
            (to, seed)
        })
        .collect();
    let seed = reconstruct(&shares);
    let bare = round.bared(1, &seed, |other| {
        let (_, mask_secret) = round.secrets_of(other);
        pair_mask(&sid, (other, &mask_secret), (1, &victim.mask_key.0))
    });
    assert_eq!(bare, round.bare[0]);

    let scene = Scene::open(&plan()).await;
    let (fourth, second) = (scene.place_of(3), scene.place_of(1));
    // What the server can sign with keys of its own, and what only a merchant of its own can.
    let foreign = place("shop-1", &stranger());
    let weak = RosterEntry { bundle: of_low_order(&foreign, &stranger()), ..foreign.clone() };
    type Lie = Box<dyn FnMut(&mut RoundOffer) + Send>;
    let unsigned = foreign.bundle.clone();
    let own = place("shop-0", &stranger());
    let twice = RosterEntry { merchant: "shop-4".parse().unwrap(), ..fourth };
    let lies: Vec<(Lie, &str)> = vec![
        (
            Box::new(move |offer: &mut RoundOffer| offer.roster[1] = foreign.clone()),
            "names `shop-1` with an identity that the federation's log does not hold",
        ),
        (
            Box::new(move |offer: &mut RoundOffer| offer.roster[1].bundle = unsigned.clone()),
            "pre-key 9 of shop-1 is not signed by it",
        ),
        // The merchant's own key as well.
        (
            Box::new(move |offer: &mut RoundOffer| offer.roster[0] = own.clone()),
            "names `shop-0` with an identity that the federation's log does not hold",
        ),
        // A mask that everybody knows.
        (Box::new(move |offer: &mut RoundOffer| offer.roster[1] = weak.clone()), "holds a key of low order"),
        // One merchant under two names, so that one answer counts twice.
        (
            Box::new(move |offer: &mut RoundOffer| offer.roster[4] = twice.clone()),
            "appears in the roster with a identity key",
        ),
        // Signed by another merchant than it names.
        (
            Box::new(move |offer: &mut RoundOffer| {
                offer.roster[1].bundle = PrekeyBundle { signature: Signature([1; 64]), ..second.bundle.clone() }
            }),
            "is not signed by it",
        ),
    ];
    let (lies, rules): (Vec<_>, Vec<_>) = lies.into_iter().unzip();
    let mut lies = lies.into_iter();
    scene.script(0, |script| {
        script.repeats_offer = true;
        script.offer = hook(move |offer: &mut RoundOffer| {
            if let Some(mut lie) = lies.next() {
                lie(offer);
            }
        });
    });
    let mut victim = scene.train_once(0);
    let others: Vec<_> = (1..5).map(|merchant| scene.train_once(merchant)).collect();
    for rule in rules {
        let reason = victim.missed().await;
        assert!(reason.contains(rule), "{reason}");
    }
    // None of that has used anything up: the true offer, the seventh, is taken.
    for training in others.into_iter().chain([victim]) {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), 1, "{events:?}");
    }
}

/// Gain: the directory is what protects against the keys above. A server that writes the substitution into the log has it in
/// writing, for every merchant and auditor to see, and still gets no update.
#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_gives_a_name_away_is_not_believed() {
    let scene = Scene::open(&plan()).await;
    let enrolled = |name: &str| {
        let (merchant, identity) = (name.parse().unwrap(), stranger().verifying_key());
        Entry::Enrolled(Enrolled { merchant, identity, at_ms: 1 })
    };
    let revoked = Entry::Revoked(Revoked { merchant: "shop-4".parse().unwrap(), at_ms: 1 });
    let lies: [(Vec<Entry>, &str); 3] = [
        (vec![enrolled("shop-4")], "enrols a merchant a second time"),
        (vec![revoked, enrolled("shop-4")], "gives the name of a merchant that was revoked to somebody else"),
        // The merchant's own name: enrolled before it is.
        (vec![enrolled("shop-2")], "enrols another key under this merchant's name"),
    ];
    for (merchant, (lie, rule)) in lies.into_iter().enumerate() {
        let leaves: Vec<_> = lie.iter().map(Entry::to_bytes).collect();
        scene.script(merchant, |script| {
            script.log = hook(move |log: &mut Vec<Vec<u8>>| {
                let at = if merchant == 2 { 1 } else { log.len() };
                log.splice(at..at, leaves.clone());
            });
        });
        let TrainError::Log(LogError::Entry { why, .. }) = scene.train(merchant).stopped().await else { panic!() };
        assert!(why.contains(rule), "{why}");
        assert_eq!(scene.puppets[merchant].sent(), [], "not even its pre-keys left");
    }
}

/// Gain: with n − 1 merchants of its own in the cohort the server has what `keys_of_the_server_…` shows, and everybody's
/// signature is in order. What is left to the merchant is its own share of the noise.
#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_made_up_overnight_is_refused() {
    let plan = plan();
    let rows = plan.epsilon_rows(384, 1).unwrap();
    // The three rows that every merchant is shown before it joins: published models, server and colluders, everyone else.
    assert!(rows.published.epsilon < rows.server.epsilon && rows.server.epsilon < rows.everyone_else.epsilon);
    assert!(rows.everyone_else.epsilon > 1.5 * rows.server.epsilon, "{rows:?}");

    let mut scene = Scene::open(&plan).await;
    scene.round(1).await;
    // Overnight: three more, whom nobody knows. The server names them, and one old acquaintance.
    for _ in 0..3 {
        scene.one_more().await;
    }
    let sybils = [5, 6, 7].map(|merchant| scene.place_of(merchant));
    scene.script(0, |script| {
        script.offer = hook(move |offer: &mut RoundOffer| {
            offer.roster.truncate(2);
            offer.roster.extend(sybils.clone());
        });
    });
    let mut victim = scene.train(0);
    let _others = (1..5).map(|merchant| scene.train(merchant)).collect::<Vec<_>>();
    let reason = victim.missed().await;
    assert!(
        reason.contains("2 of the cohort were enrolled when this merchant last took part, the policy wants at least 3"),
        "{reason}"
    );
    assert_eq!(scene.merchants[0].rounds(), [1]);

    // A merchant may want more company from the first round on. Then it does not join where it cannot be sure of it.
    let careful = MerchantPolicy { cohort_min: 6, ..MerchantPolicy::default() };
    let folder = tempfile::tempdir().unwrap();
    let newcomer = Merchant::new(folder.path(), "careful");
    let invitation = scene.federation.invite().await.to_string();
    let refused = newcomer.join_under(&invitation, &careful).await.unwrap_err().to_string();
    assert!(refused.contains("it goes on with 4 survivors, the policy wants at least 6"), "{refused}");
}

/// Gain: a cohort in which enough are known, of whom all but one are then said to have dropped out.
#[tokio::test(flavor = "multi_thread")]
async fn survivors_who_were_all_enrolled_since_are_not_unmasked() {
    let mut scene = Scene::open(&plan()).await;
    scene.round(1).await;
    scene.one_more().await;
    scene.one_more().await;
    // Of merchants 1 to 7, the last two are new; 1, 2, 3, 6 and 7 are there, in this order in the roster.
    scene.script(0, |script| {
        script.survivors = hook(|message: &mut SurvivorSet| {
            message.survivors.remove(number(3));
        });
    });
    let mut victim = scene.train(0);
    let _others: Vec<_> = [1, 2, 5, 6].map(|merchant| scene.train(merchant)).into();
    let reason = victim.missed().await;
    assert!(reason.contains("2 of the survivors were enrolled when this merchant last took part"), "{reason}");
    let confirmations = scene.puppets[0].sent().into_iter().filter(|sent| matches!(sent, Sent::Confirmation(_)));
    assert_eq!((victim.charged(), confirmations.count()), (true, 1), "the one statement is the first round's");
}
