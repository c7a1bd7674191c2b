//! In somebody else's name, in another round's, or in one's own after it was taken back: the certificate decides who
//! speaks, the session id when, and the log what it cost.

use std::time::Duration;

use forecastle_crypto::{
    entropy::SeededEntropy,
    ledger::entry::{Charge, Entry, SignedCharge},
    secagg::generate_prekey,
};
use forecastle_proto::{
    limits::CHUNK_BYTES,
    round::{ParticipantMessage, RoundCall, UploadPrekeysRequest, masked_update_chunk::Part},
};
use forecastle_server::event::PhaseName;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    merchant::{Awaited, Merchant, Vanish, sid},
    scene::{MALLORY, Scene, charges_of, gradient, refused},
    uploads::{finish, masked},
};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers_for_somebody_else() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let mut victim = scene.honest.pop().unwrap();
    let outsider = scene.join("outsider").await;
    let playing = scene.play(0);
    let (offer, _) = tokio::join!(mallory.offer(0), victim.offer(0));
    let offer = offer.unwrap().unwrap();
    let (state, message) = victim.key_shares(&offer);
    // The victim's own message, sent by others before the victim does.
    let request = ParticipantMessage { sid: sid(&offer), message: message.encode() };
    let stolen = mallory.rounds().share_keys(request.clone()).await;
    refused(stolen, Code::InvalidArgument, "one share to each other holder");
    refused(outsider.rounds().share_keys(request.clone()).await, Code::PermissionDenied, "not in the roster");
    let call = RoundCall { sid: sid(&offer), wait_ms: 0 };
    refused(outsider.rounds().await_shares(call.clone()).await, Code::PermissionDenied, "not in the roster");
    victim.rounds().share_keys(request).await.unwrap();
    let own = mallory.share_keys(&offer).await.unwrap();

    // Its update, with its charge and its signature on U1.
    let shares = victim.message(&offer, Awaited::Shares).await.unwrap().unwrap();
    let theirs = victim.mask(state, &shares, &gradient(3));
    let parts = victim.parts(&theirs, 0, CHUNK_BYTES);
    let stolen = mallory.upload(parts.clone()).await;
    refused(stolen, Code::PermissionDenied, "not signed by the merchant's enrolled identity");
    victim.upload(parts.clone()).await.unwrap();
    // The same charge under its own signature speaks of the victim; its own charge for the victim's bytes would stand in the
    // log beside the victim's.
    let mut copied = victim.charge(&offer, theirs.update.sha256());
    let with_charge = |charge: &Charge| {
        let mut parts = parts.clone();
        let Some(Part::Start(start)) = &mut parts[0].part else { unreachable!() };
        start.charge = serde_json::to_vec(&SignedCharge::sign(charge.clone(), &mallory.identity)).unwrap();
        parts
    };
    copied.charged_before = 0;
    refused(mallory.upload(with_charge(&copied)).await, Code::InvalidArgument, "`merchant`");
    copied.merchant = mallory.name.clone();
    refused(mallory.upload(with_charge(&copied)).await, Code::InvalidArgument, "was charged for before");
    drop(own);

    finish(&victim, &offer, theirs).await;
    scene.went_on_without(1, PhaseName::MaskedUpdates, MALLORY).await;
    let survivors = scene.published(playing, 1).await;
    assert!(survivors.len() == 4 && survivors.contains(&"shop-3".to_owned()), "{survivors:?}");
    scene.named(MALLORY, "one share to each other holder").await;
    scene.named(MALLORY, "not signed by the merchant's enrolled identity").await;
    scene.named("outsider", "not in the roster").await;
    assert_eq!(charges_of("shop-3", &scene.clean_log(1, 0).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_an_earlier_round_is_of_no_use_in_a_later_one() {
    let mut scene = Scene::new(4, 2, 2_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (first, mine) = masked(&mut mallory, 0).await;
    let (old_parts, old_charge) = (mallory.parts(&mine, 0, CHUNK_BYTES), mine.charge.clone());
    mallory.upload(old_parts.clone()).await.unwrap();
    finish(&mallory, &first, mine).await;
    assert_eq!(scene.published(playing, 1).await.len(), 5);

    let playing = scene.play(1);
    let (second, mut mine) = masked(&mut mallory, 1).await;
    // The old upload as it was; under the new round's name; the old charge with the new update; a charge that forgets.
    refused(mallory.upload(old_parts.clone()).await, Code::FailedPrecondition, "this round is over");
    let mut renamed = old_parts;
    let Some(Part::Start(start)) = &mut renamed[0].part else { unreachable!() };
    start.sid = sid(&second);
    refused(mallory.upload(renamed).await, Code::InvalidArgument, "charge's `round`");
    let right = mine.charge.clone();
    mine.charge = Charge { masked_sha256: right.masked_sha256, ..old_charge };
    refused(mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await, Code::InvalidArgument, "charge's `round`");
    mine.charge = Charge { sid: first.sid(), ..right.clone() };
    refused(mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await, Code::InvalidArgument, "charge's `sid`");
    mine.charge = Charge { charged_before: 0, ..right.clone() };
    let forgetful = mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await;
    refused(forgetful, Code::FailedPrecondition, "counts 0 earlier charges, the log holds 1");
    // Messages of the round that is over change nothing there, and are foreign here.
    let message = vec![1; 60];
    let old = ParticipantMessage { sid: sid(&first), message: message.clone() };
    refused(mallory.rounds().confirm(old).await, Code::InvalidArgument, "another kind of message");
    let foreign =
        ParticipantMessage { sid: sid(&second), message: [&[7], first.sid().as_bytes().as_slice(), &[0, 0]].concat() };
    refused(mallory.rounds().unmask(foreign).await, Code::FailedPrecondition, "of a later stage");

    // Nor one that would have the auditor count rounds that never were, or that is printed as something else.
    mine.charge = Charge { charged_before: u32::MAX, ..right.clone() };
    refused(mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await, Code::InvalidArgument, "`charged-before`");
    mine.charge = Charge { software: "\u{1b}[2J".into(), ..right.clone() };
    refused(mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await, Code::InvalidArgument, "software");

    // No clock is believed: what a merchant says of its own is a word in the log and nothing else.
    mine.charge = Charge { at_ms: u64::MAX, ..right };
    mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await.unwrap();
    finish(&mallory, &second, mine).await;
    assert_eq!(scene.published(playing, 2).await.len(), 5);
    scene.named(MALLORY, "charge's `round`").await;
    let entries = scene.clean_log(2, 0).await;
    assert_eq!(charges_of(MALLORY, &entries), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_revoked_in_mid_round_is_out_at_once_even_with_an_upload_that_had_begun() {
    let mut scene = Scene::new(4, 2, 2_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (offer, mine) = masked(&mut mallory, 0).await;
    // The call is under way and was admitted; nothing has been said in it yet.
    let (sender, receiver) = mpsc::channel(16);
    let mut rounds = mallory.rounds();
    let begun = tokio::spawn(async move { rounds.send_masked_update(ReceiverStream::new(receiver)).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    scene.federation.server().revoke_merchant(&mallory.name).await.unwrap();
    for part in mallory.parts(&mine, 0, CHUNK_BYTES) {
        sender.send(part).await.unwrap();
    }
    refused(begun.await.unwrap(), Code::PermissionDenied, "enrolment was revoked");
    refused(mallory.upload(mallory.parts(&mine, 0, CHUNK_BYTES)).await, Code::PermissionDenied, "was revoked");
    refused(mallory.outcome(&offer).await, Code::PermissionDenied, "was revoked");
    assert_eq!(scene.published(playing, 1).await.len(), 4);
    scene.named(MALLORY, "was revoked").await;

    let playing = scene.play(1);
    refused(mallory.offer(1).await.map(|_| ()), Code::PermissionDenied, "was revoked");
    assert_eq!(scene.published(playing, 2).await.len(), 4);
    let entries = scene.clean_log(2, 0).await;
    assert_eq!(charges_of(MALLORY, &entries), 0, "no charge follows a revocation");
    let Some(Entry::RoundClosed(last)) = entries.last() else { panic!("{:?}", entries.last()) };
    assert_eq!(last.roster.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_merchants_with_the_same_keys_make_one_participant() {
    let mut scene = Scene::new(4, 1, 2_000).await;
    let mut attackers = Vec::new();
    for name in [MALLORY, "malvolio"] {
        let mut merchant = Merchant::join(&scene.federation.invite().await, name).await.unwrap();
        let mut entropy = SeededEntropy::danger_from_seed([5; 32]);
        let (bundle, secret) = generate_prekey(&merchant.name, &merchant.identity, 0, &mut entropy).unwrap();
        let request = UploadPrekeysRequest { bundles: vec![serde_json::to_vec(&bundle).unwrap()], replace: false };
        merchant.rounds().upload_prekeys(request).await.unwrap();
        merchant.prekeys.insert(0, secret);
        attackers.push(merchant);
    }
    let second = attackers.pop().unwrap();
    let mut first = attackers.pop().unwrap();
    // Both wait for an offer; with three honest ones they make a full cohort.
    let absent = scene.honest.pop().unwrap();
    let waiting = tokio::spawn(async move { second.offer(0).await });
    let playing = scene.play(0);
    let taking_part = tokio::spawn(async move { first.take_part(0, &gradient(9), Vanish::Never).await });
    let survivors = scene.published(playing, 1).await;
    assert_eq!(survivors, [MALLORY, "shop-0", "shop-1", "shop-2"]);
    taking_part.await.unwrap().unwrap();
    scene.named("malvolio", "already in the cohort, or its keys are").await;
    assert!(waiting.await.unwrap().unwrap().is_none(), "it was never invited");
    scene.honest.push(absent);
    scene.clean_log(1, 0).await;
}
