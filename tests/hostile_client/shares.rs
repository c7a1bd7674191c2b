//! Key shares: of the wrong shape, of another round, for the wrong ones, and such that nothing can be made of them.

use forecastle_crypto::{
    identity::sha256,
    secagg::{ParticipantNumber, SendingMaskedUpdate, ShareKeys, VerifiedOffer, messages::SEALED_LENGTH},
};
use forecastle_proto::{limits::CHUNK_BYTES, round::ParticipantMessage};
use forecastle_server::event::PhaseName;
use tonic::{Code, Status};

use crate::{
    merchant::{Awaited, Merchant, Vanish, again, sid},
    scene::{MALLORY, Scene, charges_of, gradient, refused},
    uploads::{finish, masked},
};

async fn send(merchant: &Merchant, offer: &VerifiedOffer, message: Vec<u8>) -> Result<(), Status> {
    let request = ParticipantMessage { sid: sid(offer), message };
    again(|| async { merchant.rounds().share_keys(request.clone()).await }).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn shares_of_the_wrong_shape_or_for_the_wrong_ones_are_refused_and_the_round_goes_on() {
    let mut scene = Scene::new(4, 1, 1_500).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let offer = mallory.offer(0).await.unwrap().unwrap();
    let (_, good) = mallory.key_shares(&offer);
    let bytes = good.encode();

    for (garbage, words) in [
        (vec![], "another length"),
        (b"hello".to_vec(), "another kind of message"),
        (bytes[..bytes.len() - 1].to_vec(), "another length"),
        ([bytes.as_slice(), &[0]].concat(), "another length"),
        (vec![1; 100_000], "out of order"),
    ] {
        refused(send(&mallory, &offer, garbage).await, Code::InvalidArgument, words);
    }
    let spoilt = |change: &dyn Fn(&mut ShareKeys)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad.encode()
    };
    let number = |n| ParticipantNumber::new(n).unwrap();
    let wrong = "one share to each other holder";
    for bad in [
        spoilt(&|m| m.sealed.truncate(3)),
        spoilt(&|m| m.sealed.clear()),
        // To itself; to a sixth who does not exist; to thousands.
        spoilt(&|m| m.sealed.insert(0, (number(1), [0; SEALED_LENGTH]))),
        spoilt(&|m| m.sealed[3].0 = number(6)),
        spoilt(&|m| m.sealed.extend((6..=9_000).map(|n| (number(n), [0; SEALED_LENGTH])))),
    ] {
        refused(send(&mallory, &offer, bad).await, Code::InvalidArgument, wrong);
    }
    for bad in [spoilt(&|m| m.sealed.swap(0, 1)), spoilt(&|m| m.sealed[1] = m.sealed[0])] {
        refused(send(&mallory, &offer, bad).await, Code::InvalidArgument, "out of order, twice");
    }
    refused(send(&mallory, &offer, spoilt(&|m| m.sid = sha256(b"other"))).await, Code::InvalidArgument, "of round");

    scene.went_on_without(1, PhaseName::KeyShares, MALLORY).await;
    // What was right all along comes too late, and accuses nobody.
    let late = send(&mallory, &offer, bytes).await;
    refused(late, Code::FailedPrecondition, "");
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    scene.named(MALLORY, "another length").await;
    assert_eq!(scene.times_named(MALLORY), 1, "many attempts, one line");
    assert_eq!(charges_of(MALLORY, &scene.clean_log(1, 0).await), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_different_messages_the_first_counts() {
    let mut scene = Scene::new(4, 1, 5_000).await;
    let mut mallory = scene.join(MALLORY).await;
    // One honest merchant takes its time: the phase stays open.
    let mut slow = scene.honest.pop().unwrap();
    let playing = scene.play(0);
    let (offer, _) = tokio::join!(mallory.offer(0), slow.offer(0));
    let offer = offer.unwrap().unwrap();
    let (state, good) = mallory.key_shares(&offer);
    send(&mallory, &offer, good.encode()).await.unwrap();
    let mut other = good.clone();
    other.sealed[2].1 = [9; SEALED_LENGTH];
    refused(send(&mallory, &offer, other.encode()).await, Code::AlreadyExists, "two different messages in one stage");
    send(&mallory, &offer, good.encode()).await.unwrap();

    let slow = tokio::spawn(async move { slow.take_part(0, &gradient(3), Vanish::Never).await });
    deliver(&mut mallory, &offer, state).await;
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    slow.await.unwrap().unwrap();
    scene.named(MALLORY, "two different messages").await;
    scene.clean_log(1, 0).await;
}

/// Mallory as it should be, from its masked update on.
async fn deliver(mallory: &mut Merchant, offer: &VerifiedOffer, state: SendingMaskedUpdate) {
    let shares = mallory.message(offer, Awaited::Shares).await.unwrap().unwrap();
    let masked = mallory.mask(state, &shares, &gradient(9));
    mallory.upload(mallory.parts(&masked, 0, CHUNK_BYTES)).await.unwrap();
    let state = mallory.confirm(offer, masked.confirming).await.unwrap().unwrap();
    // Where the others are enough already, nothing is asked of it.
    let _ = mallory.unmask(offer, state).await;
}

/// Mallory shares keys after `spoil` was applied, and does everything else as it should.
async fn deal(mallory: &mut Merchant, after_round: u64, spoil: impl Fn(&mut ShareKeys)) {
    let offer = mallory.offer(after_round).await.unwrap().unwrap();
    let (state, mut message) = mallory.key_shares(&offer);
    spoil(&mut message);
    send(mallory, &offer, message.encode()).await.unwrap();
    deliver(mallory, &offer, state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_that_cheats_one_of_five_costs_nothing() {
    let mut scene = Scene::new(4, 1, 4_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let mut cheated = scene.honest.pop().unwrap();
    let playing = scene.play(0);
    // The last of the four recipients gets what it cannot open, and knows from whom.
    let cheated = tokio::spawn(async move {
        let (offer, mine) = masked(&mut cheated, 0).await;
        assert!(mine.confirming.unreadable().iter().eq([offer.number_of(&MALLORY.parse().unwrap()).unwrap()]));
        cheated.upload(cheated.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
        finish(&cheated, &offer, mine).await;
    });
    deal(&mut mallory, 0, |message| message.sealed[3].1 = [7; SEALED_LENGTH]).await;
    cheated.await.unwrap();
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.clean_log(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dealer_of_shares_that_open_for_nobody_or_fit_no_commitment_ends_the_round_and_is_named() {
    let mut scene = Scene::new(4, 3, 1_500).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    deal(&mut mallory, 0, |m| m.sealed.iter_mut().for_each(|(_, sealed)| *sealed = [7; SEALED_LENGTH])).await;
    let reason = scene.abandoned(playing, 1).await;
    assert!(reason.contains("self-mask seed of mallory cannot be reconstructed"), "{reason}");
    let playing = scene.play(1);
    deal(&mut mallory, 1, |message| message.commitment = sha256(b"another seed")).await;
    let reason = scene.abandoned(playing, 2).await;
    assert!(reason.contains("mallory dealt shares that do not fit together"), "{reason}");

    // What was charged stays charged, and the operator can act on the name.
    let entries = scene.clean_log(0, 2).await;
    assert_eq!(charges_of(MALLORY, &entries), 2);
    assert_eq!(charges_of("shop-0", &entries), 2);
    scene.federation.server().revoke_merchant(&MALLORY.parse().unwrap()).await.unwrap();
    let playing = scene.play(2);
    assert_eq!(scene.published(playing, 3).await.len(), 4);
    scene.clean_log(1, 2).await;
}
