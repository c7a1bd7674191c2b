//! Masked updates: announced wrongly, cut wrongly, sent twice, other bytes than announced.
//!
//! A residue out of range cannot be said: every pattern of b bits is a residue mod 2^b. What is left over are the unused bits
//! of the last byte. An update that is well-formed and far too large is poisoning, which is outside the promise.

use forecastle_crypto::{
    identity::{SigningKey, sha256},
    secagg::{
        MaskedUpdateHeader, ParticipantSet, VerifiedOffer,
        messages::{SHARERS_CONTEXT, sharers_message},
    },
};
use forecastle_proto::{
    limits::{CHUNK_BYTES, CHUNK_BYTES_MAX},
    round::{MaskedUpdateBytes, MaskedUpdateChunk, RoundCall, masked_update_chunk::Part},
};
use forecastle_server::event::PhaseName;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::{
    merchant::{Awaited, Masked, Merchant, sid},
    scene::{MALLORY, Scene, charges_of, gradient, refused},
};

/// Mallory as it should be, up to its masked update.
pub async fn masked(mallory: &mut Merchant, after_round: u64) -> (VerifiedOffer, Masked) {
    let offer = mallory.offer(after_round).await.unwrap().unwrap();
    let state = mallory.share_keys(&offer).await.unwrap();
    let shares = mallory.message(&offer, Awaited::Shares).await.unwrap().unwrap();
    let masked = mallory.mask(state, &shares, &gradient(9));
    (offer, masked)
}

/// Mallory as it should be, from its confirmation to its answer.
pub async fn finish(mallory: &Merchant, offer: &VerifiedOffer, masked: Masked) {
    let state = mallory.confirm(offer, masked.confirming).await.unwrap().unwrap();
    mallory.unmask(offer, state).await.unwrap().unwrap();
}

/// Its upload with another header.
fn with_header(mallory: &Merchant, masked: &Masked, header: &MaskedUpdateHeader) -> Vec<MaskedUpdateChunk> {
    let mut parts = mallory.parts(masked, 0, CHUNK_BYTES);
    let Some(Part::Start(start)) = &mut parts[0].part else { unreachable!() };
    start.header = header.encode();
    parts
}

fn bytes(offset: u64, data: &[u8]) -> MaskedUpdateChunk {
    MaskedUpdateChunk { part: Some(Part::Bytes(MaskedUpdateBytes { offset, data: data.to_vec().into() })) }
}

async fn offset(mallory: &Merchant, masked: &Masked) -> u64 {
    let call = RoundCall { sid: masked.sid.clone(), wait_ms: 0 };
    mallory.rounds().upload_offset(call).await.unwrap().into_inner().received
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_lie_are_refused_and_the_sum_is_made_without_them() {
    let mut scene = Scene::new(4, 3, 1_500).await;
    let mut mallory = scene.join(MALLORY).await;
    for round in 1..=3u64 {
        let playing = scene.play(round - 1);
        let (offer, mine) = masked(&mut mallory, round - 1).await;
        let header = mine.update.header().clone();
        // These do not even reach the log.
        let other = MaskedUpdateHeader { sha256: sha256(b"other"), ..header.clone() };
        refused(mallory.upload(with_header(&mallory, &mine, &other)).await, Code::InvalidArgument, "masked-sha256");
        let mut garbled = mallory.parts(&mine, 0, CHUNK_BYTES);
        let Some(Part::Start(start)) = &mut garbled[0].part else { unreachable!() };
        start.header.truncate(40);
        refused(mallory.upload(garbled).await, Code::InvalidArgument, "another length");

        // These are charged for, since the charge is right; the first of them is the round's one announcement.
        let fewer = sharers_message(&header.sid, &ParticipantSet::first(4));
        let all = sharers_message(&header.sid, &ParticipantSet::first(5));
        let signed = |key: &SigningKey, message: &[u8]| MaskedUpdateHeader {
            sharers_signature: key.sign(SHARERS_CONTEXT, message),
            ..header.clone()
        };
        let (bad, words) = match round {
            1 => (signed(&mallory.identity, &fewer), "did not sign that it masked against U1"),
            2 => (signed(&SigningKey::generate().unwrap(), &all), "did not sign that it masked against U1"),
            _ => (MaskedUpdateHeader { length: u64::MAX, ..header.clone() }, "bytes of masked update where 23 are due"),
        };
        refused(mallory.upload(with_header(&mallory, &mine, &bad)).await, Code::InvalidArgument, words);
        let second = mallory.upload(with_header(&mallory, &mine, &header)).await;
        refused(second, Code::AlreadyExists, "announced for this round before");
        scene.went_on_without(round, PhaseName::MaskedUpdates, MALLORY).await;
        assert_eq!(scene.published(playing, round).await.len(), 4);
        let late = mallory.upload(with_header(&mallory, &mine, &bad)).await;
        refused(late, Code::FailedPrecondition, "");
        assert_eq!(offer.terms().round, round);
        scene.named(MALLORY, "masked-sha256").await;
    }
    assert_eq!(scene.times_named(MALLORY), 3);
    assert_eq!(charges_of(MALLORY, &scene.clean_log(3, 0).await), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_reordered_gapped_repeated_or_too_large_lose_nothing_of_what_came() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (offer, mine) = masked(&mut mallory, 0).await;
    let whole = mine.update.bytes().to_vec();
    let start = mallory.parts(&mine, 0, CHUNK_BYTES)[0].clone();
    let send = |chunks: Vec<MaskedUpdateChunk>| mallory.upload([vec![start.clone()], chunks].concat());

    let gap = send(vec![bytes(10, &whole[10..])]).await;
    refused(gap, Code::InvalidArgument, "starts at byte 10, but 0 of 23");
    let reordered = send(vec![bytes(0, &whole[..5]), bytes(9, &whole[9..14]), bytes(5, &whole[5..9])]).await;
    refused(reordered, Code::InvalidArgument, "starts at byte 9, but 5 of 23");
    assert_eq!(offset(&mallory, &mine).await, 5);
    let beyond = send(vec![bytes(5, &[0; 30])]).await;
    refused(beyond, Code::InvalidArgument, "starts at byte 5");
    let overflow = send(vec![bytes(u64::MAX, &[0; 2])]).await;
    refused(overflow, Code::InvalidArgument, "starts at byte 18446744073709551615");
    let large = send(vec![bytes(5, &vec![0; CHUNK_BYTES_MAX + 1])]).await;
    refused(large, Code::InvalidArgument, "at most 1048576 are accepted");
    refused(send(vec![MaskedUpdateChunk { part: None }]).await, Code::InvalidArgument, "is empty");
    refused(send(vec![start.clone()]).await, Code::InvalidArgument, "one header, at its beginning");
    refused(mallory.upload(vec![bytes(5, &whole[5..])]).await, Code::InvalidArgument, "begins with its header");
    // For ever the same bytes, or none at all.
    for idle in [bytes(0, &whole[..5]), bytes(5, &[])] {
        refused(send(vec![idle; 200]).await, Code::InvalidArgument, "brought nothing new: go on at byte 5");
    }
    assert_eq!(offset(&mallory, &mine).await, 5);

    // Repeated and overlapping pieces are no fault.
    let overlapping =
        vec![bytes(0, &whole[..5]), bytes(3, &whole[3..12]), bytes(8, &whole[8..20]), bytes(20, &whole[20..])];
    assert_eq!(send(overlapping).await.unwrap(), 23);
    finish(&mallory, &offer, mine).await;
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    scene.named(MALLORY, "starts at byte 10").await;
    assert_eq!(scene.times_named(MALLORY), 1);
    assert_eq!(charges_of(MALLORY, &scene.clean_log(1, 0).await), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_than_announced_and_unused_bits_that_are_set_are_not_added() {
    let mut scene = Scene::new(4, 2, 1_500).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (_, mine) = masked(&mut mallory, 0).await;
    let mut parts = mallory.parts(&mine, 0, CHUNK_BYTES);
    parts[1] = bytes(0, &[0xff; 23]);
    refused(mallory.upload(parts).await, Code::InvalidArgument, "does not have the announced digest");
    assert_eq!(offset(&mallory, &mine).await, 0);
    assert_eq!(scene.published(playing, 1).await.len(), 4);

    // The digest is right this time, and the charge; the two bits that no residue uses are set.
    let playing = scene.play(1);
    let (_, mut mine) = masked(&mut mallory, 1).await;
    let mut padded = mine.update.bytes().to_vec();
    *padded.last_mut().unwrap() |= 0xc0;
    let header = MaskedUpdateHeader { sha256: sha256(&padded), ..mine.update.header().clone() };
    mine.charge.masked_sha256 = header.sha256;
    let mut parts = with_header(&mallory, &mine, &header);
    parts[1] = bytes(0, &padded);
    refused(mallory.upload(parts).await, Code::InvalidArgument, "sets padding bits");
    assert_eq!(scene.published(playing, 2).await.len(), 4);
    scene.named(MALLORY, "padding bits").await;
    assert_eq!(charges_of(MALLORY, &scene.clean_log(2, 0).await), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_uploads_at_once_one_works() {
    let mut scene = Scene::new(4, 1, 6_000).await;
    let mut mallory = scene.join(MALLORY).await;
    let playing = scene.play(0);
    let (offer, mine) = masked(&mut mallory, 0).await;
    let parts = mallory.parts(&mine, 0, 4);
    let (sender, receiver) = mpsc::channel(16);
    let mut rounds = mallory.rounds();
    let first = tokio::spawn(async move { rounds.send_masked_update(ReceiverStream::new(receiver)).await });
    for part in &parts[..2] {
        sender.send(part.clone()).await.unwrap();
    }
    // It is at work once the server refuses to say how far it is.
    let busy = loop {
        let call = RoundCall { sid: sid(&offer), wait_ms: 0 };
        if let Err(status) = mallory.rounds().upload_offset(call).await {
            break status;
        }
    };
    refused(Err::<(), _>(busy), Code::Aborted, "still at work");
    let second = mallory.upload(parts.clone()).await;
    refused(second, Code::Aborted, "still at work");
    for part in &parts[2..] {
        sender.send(part.clone()).await.unwrap();
    }
    assert_eq!(first.await.unwrap().unwrap().into_inner().received, 23);
    finish(&mallory, &offer, mine).await;
    assert_eq!(scene.published(playing, 1).await.len(), 5);
    assert_eq!(charges_of(MALLORY, &scene.clean_log(1, 0).await), 1);
}
