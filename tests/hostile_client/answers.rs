//! Confirmations and unmasking answers: forged, of another stage, with wrong shares, given twice.

use forecastle_crypto::{
    identity::{Signature, SigningKey, sha256},
    secagg::{
        ConsistencySignature, SurvivorSet, UnmaskRequest, VerifiedOffer,
        messages::{CONSISTENCY_CONTEXT, consistency_message},
    },
};
use forecastle_proto::{
    limits::CHUNK_BYTES,
    round::{ParticipantMessage, RoundCall},
};
use tonic::{Code, Status};

use crate::{
    merchant::{Awaited, Masked, Merchant, again, sid},
    scene::{MALLORY, Scene, refused},
    uploads::{finish, masked},
};

/// Where an answer's shares begin: tag, session, how many.
const SHARES_AT: usize = 1 + 32 + 2;
/// Subject, which secret, share.
const RECORD: usize = 2 + 1 + 32;

async fn confirm(merchant: &Merchant, offer: &VerifiedOffer, signature: &ConsistencySignature) -> Result<(), Status> {
    let request = ParticipantMessage { sid: sid(offer), message: signature.encode() };
    again(|| async { merchant.rounds().confirm(request.clone()).await }).await.map(|_| ())
}

async fn answer(merchant: &Merchant, offer: &VerifiedOffer, message: Vec<u8>) -> Result<(), Status> {
    let request = ParticipantMessage { sid: sid(offer), message };
    again(|| async { merchant.rounds().unmask(request.clone()).await }).await.map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmations_that_are_forged_or_come_too_early_are_refused_and_the_right_one_counts() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (offer, mine) = masked(&mut mallory, 0).await;
    let forged = |signature| ConsistencySignature { sid: offer.sid(), signature };
    // While the others still wait for its update: no stage is skipped.
    let early = confirm(&mallory, &offer, &forged(Signature([1; 64]))).await;
    refused(early, Code::FailedPrecondition, "of a later stage");
    refused(answer(&mallory, &offer, empty_answer(&offer)).await, Code::FailedPrecondition, "of a later stage");

    mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
    let survivors = mallory.message(&offer, Awaited::Survivors).await.unwrap().unwrap();
    let survivors = SurvivorSet::decode(&survivors).unwrap().survivors;
    let everyone = offer.everyone();
    let mut fewer = survivors.clone();
    fewer = fewer.iter().skip(1).collect();
    let right = consistency_message(&offer.sid(), &everyone, &survivors);
    let other_sets = consistency_message(&offer.sid(), &everyone, &fewer);
    let stranger = SigningKey::generate().unwrap();
    for signature in [
        Signature([7; 64]),
        mallory.identity.sign(CONSISTENCY_CONTEXT, &other_sets),
        stranger.sign(CONSISTENCY_CONTEXT, &right),
        mallory.identity.sign("another context", &right),
    ] {
        let status = confirm(&mallory, &offer, &forged(signature)).await;
        refused(status, Code::InvalidArgument, "did not sign the round's survivor sets");
    }
    let foreign = ConsistencySignature { sid: sha256(b"other"), signature: Signature([7; 64]) };
    refused(confirm(&mallory, &offer, &foreign).await, Code::InvalidArgument, "of round");

    finish(&mallory, &offer, mine).await;
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.named(MALLORY, "did not sign the round's survivor sets").await;
    assert_eq!(scene.times_named(MALLORY), 1);
    scene.clean_log(1, 0).await;
}

fn empty_answer(offer: &VerifiedOffer) -> Vec<u8> {
    [&[7], offer.sid().as_bytes().as_slice(), &[0, 0]].concat()
}

/// Up to the answer that is due: its bytes.
async fn due(mallory: &Merchant, offer: &VerifiedOffer, masked: Masked) -> Vec<u8> {
    let state = mallory.confirm(offer, masked.confirming).await.unwrap().unwrap();
    let request = mallory.message(offer, Awaited::UnmaskRequest).await.unwrap().unwrap();
    let request = UnmaskRequest::decode(&request).unwrap();
    state.unmask(&request).unwrap().answer(&request).unwrap().encode()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_liar_among_five_is_found_left_out_and_named() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (offer, mine) = masked(&mut mallory, 0).await;
    mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
    let mut lie = due(&mallory, &offer, mine).await;
    for share in lie[SHARES_AT..].chunks_mut(RECORD) {
        share[20] ^= 1;
    }
    answer(&mallory, &offer, lie.clone()).await.unwrap();
    answer(&mallory, &offer, lie).await.unwrap();
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.named(MALLORY, "unmasking shares of it did not fit and were left out").await;
    assert_eq!(scene.times_named(MALLORY), 1);
    scene.clean_log(1, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_liars_among_five_get_no_sum_and_no_wrong_sum_and_stand_in_the_reason() {
    let mut scene = Scene::new(3, 2, 4_000).await;
    let (mut one, mut two) = (scene.join(MALLORY).await, scene.join("malvolio").await);
    let playing = scene.play(0);
    let (first, second) = tokio::join!(lying(&mut one), lying(&mut two));
    let reason = scene.abandoned(playing, 1).await;
    for name in [MALLORY, "malvolio", "cannot be reconstructed", "or several of them lie"] {
        assert!(reason.contains(name), "{reason}");
    }
    // Whoever asks about the dead round is told so, and an honest round follows.
    for (merchant, offer) in [(&one, first), (&two, second)] {
        refused(answer(merchant, &offer, empty_answer(&offer)).await, Code::FailedPrecondition, "was abandoned");
    }
    let playing = scene.play(1);
    for mut merchant in [one, two] {
        tokio::spawn(async move {
            let (offer, mine) = masked(&mut merchant, 1).await;
            merchant.upload(merchant.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
            finish(&merchant, &offer, mine).await;
        });
    }
    assert_eq!(scene.published(playing, 2).await.len(), 5);
    scene.clean_log(1, 1).await;
}

async fn lying(merchant: &mut Merchant) -> VerifiedOffer {
    let (offer, mine) = masked(merchant, 0).await;
    merchant.upload(merchant.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
    let mut lie = due(merchant, &offer, mine).await;
    let salt = sha256(merchant.name.as_str().as_bytes());
    for share in lie[SHARES_AT..].chunks_mut(RECORD) {
        share[3..].copy_from_slice(salt.as_bytes());
    }
    answer(merchant, &offer, lie).await.unwrap();
    offer
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_what_was_not_asked_for_are_refused_and_a_second_answer_too() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    // One honest merchant answers late, so that the stage stays open.
    let mut slow = scene.honest.pop().unwrap();
    let playing = scene.play(0);
    let ((offer, mine), (_, slows)) = tokio::join!(masked(&mut mallory, 0), masked(&mut slow, 0));
    for (merchant, masked) in [(&mallory, &mine), (&slow, &slows)] {
        merchant.upload(merchant.parts(masked, 0, CHUNK_BYTES)).await.unwrap();
    }
    let (good, late) = tokio::join!(due(&mallory, &offer, mine), due(&slow, &offer, slows));
    let spoilt = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    let not_asked = "shares that were not asked for";
    for (bad, words) in [
        // The mask key's share of a survivor; the same subject twice; a sixth; a kind that there is none of.
        (spoilt(&|m| m[SHARES_AT + 2] = 2), not_asked),
        (spoilt(&|m| m[SHARES_AT + 4 * RECORD + 1] = 6), not_asked),
        (spoilt(&|m| m[SHARES_AT + RECORD + 1] = 1), "out of order, twice"),
        (spoilt(&|m| m[SHARES_AT + 2] = 3), "impossible number or kind"),
        (spoilt(&|m| m[1] ^= 1), "of round"),
        (spoilt(&|m| m.truncate(SHARES_AT + RECORD)), "another length"),
        (spoilt(&|m| m.extend([0; 99])), "another length"),
    ] {
        refused(answer(&mallory, &offer, bad).await, Code::InvalidArgument, words);
    }
    answer(&mallory, &offer, good.clone()).await.unwrap();
    let other = answer(&mallory, &offer, spoilt(&|m| m[SHARES_AT + 9] ^= 1)).await;
    refused(other, Code::AlreadyExists, "two different messages in one stage");
    answer(&slow, &offer, late).await.unwrap();
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.named(MALLORY, not_asked).await;
    assert_eq!(scene.times_named(MALLORY), 1, "what it answered first was right");
    scene.clean_log(1, 0).await;
    // The round is over: the same answer again is no news, whatever it holds.
    answer(&mallory, &offer, good).await.unwrap();
    let call = RoundCall { sid: vec![0; 32], wait_ms: 0 };
    refused(mallory.rounds().await_outcome(call).await, Code::NotFound, "not known here");
}
