//! A participant that lies, and a server that turns the message away and goes on.

use super::*;
use crate::identity::Signature;
use crate::secagg::error::NotTaken::Misbehaved as N;
use crate::secagg::error::PeerMisbehaved as P;
use crate::secagg::messages::{SEALED_LENGTH, SHARERS_CONTEXT, SecretKind, sharers_message};
use crate::secagg::shamir::Share;

fn everyone() -> ParticipantSet {
    ParticipantSet::first(6)
}

fn cohort(seed: u8) -> Cohort {
    Cohort::new(6, seed, terms(4, 4, 1, 9, 20))
}

#[test]
fn bundles_that_are_forged_or_repeated_stay_out_of_the_cohort() {
    let mut entropy = SeededEntropy::danger_from_seed([1; 32]);
    let mut made = |position: usize| {
        generate_prekey(&merchant(position), &identity(position), 1, &mut entropy).expect("entropy").0
    };
    let (first, again, second) = (made(0), made(0), made(1));
    let mut keys = AwaitingKeys::new();
    let public = |position| identity(position).verifying_key();
    keys.add(merchant(0), public(0), first.clone()).expect("new");
    assert!(matches!(keys.add(merchant(0), public(0), again), Err(P::DuplicateKeys(_))));
    assert!(matches!(keys.add(merchant(1), public(1), first), Err(P::Bundle(_))));
    assert!(matches!(keys.add(merchant(2), public(1), second.clone()), Err(P::Bundle(_))));
    keys.add(merchant(1), public(1), second).expect("new");
    assert_eq!(keys.len(), 2);
    assert!(matches!(
        keys.close(terms(4, 4, 1, 9, 20), &federation(), Arc::new(MemorySpools)),
        Err(RoundFailed::Offer(OfferError::Threshold(_)))
    ));
}

#[test]
fn share_messages_of_strangers_other_rounds_or_wrong_recipients_are_turned_away() {
    let cohort = cohort(2);
    let offer = cohort.offer();
    let Cohort { mut aggregator, participants, mut entropy, .. } = cohort;
    let state = participants.into_iter().next().expect("six").accept(offer).expect("invited");
    let (_, message) = state.share_keys(&mut entropy).expect("good keys");
    assert_eq!(aggregator.receive(number(7), &message), Err(N(P::NotExpected(number(7)))));
    let foreign = ShareKeys { sid: sha256(b"other"), ..message.clone() };
    assert!(matches!(aggregator.receive(number(1), &foreign), Err(N(P::ForeignRound { .. }))));
    // Participant 1's message has no share for 2, if 2 claims to have sent it.
    assert_eq!(aggregator.receive(number(2), &message), Err(N(P::WrongRecipients(number(2)))));
    let mut short = message.clone();
    short.sealed.pop();
    assert_eq!(aggregator.receive(number(1), &short), Err(N(P::WrongRecipients(number(1)))));

    aggregator.receive(number(1), &message).expect("the real one");
    aggregator.receive(number(1), &message).expect("a repeat");
    let other = ShareKeys { commitment: sha256(b"other"), ..message };
    assert_eq!(aggregator.receive(number(1), &other), Err(N(P::Equivocation(number(1)))));
    assert_eq!(aggregator.waiting_for(), everyone().without(number(1)));
}

#[test]
fn uploads_count_whole_once_and_as_announced_or_not_at_all() {
    let shared = cohort(3).share(&everyone());
    let (grid, mut aggregator) = (shared.offer.grid(), shared.aggregator);
    let mut participants = shared.participants.into_iter();
    let (from, state, delivered) = participants.next().expect("six");
    let (_, masked) = state.mask(delivered, update_of(grid, from)).expect("good shares");
    let (header, bytes) = (masked.header().clone(), masked.bytes().to_vec());

    assert!(matches!(aggregator.begin_upload(number(7), header.clone()), Err(N(P::NotExpected(_)))));
    let foreign = MaskedUpdateHeader { sid: sha256(b"other"), ..header.clone() };
    assert!(matches!(aggregator.begin_upload(from, foreign), Err(N(P::ForeignRound { .. }))));
    // Its own signature, over the U1 it would have liked; somebody else's over the right one.
    let another = |position: usize, sharers: &ParticipantSet| MaskedUpdateHeader {
        sharers_signature: identity(position).sign(SHARERS_CONTEXT, &sharers_message(&header.sid, sharers)),
        ..header.clone()
    };
    for forged in [another(0, &everyone().without(number(3))), another(1, &everyone())] {
        assert!(matches!(aggregator.begin_upload(from, forged), Err(N(P::OtherSharers(_)))));
    }
    let longer = MaskedUpdateHeader { length: u64::MAX, ..header.clone() };
    assert!(matches!(aggregator.begin_upload(from, longer), Err(N(P::UploadLength { .. }))));

    let mut upload = aggregator.begin_upload(from, header.clone()).expect("in U1");
    assert!(matches!(upload.push(1, &bytes[1..]), Err(N(P::UploadGap { .. }))));
    assert_eq!(upload.push(0, &bytes[..10]), Ok(10));
    assert_eq!(upload.push(4, &bytes[4..8]), Ok(10), "an old chunk again");
    assert_eq!(upload.push(8, &bytes[8..15]), Ok(15), "an overlapping chunk");
    assert!(matches!(upload.push(15, &[0; 99]), Err(N(P::UploadGap { .. }))));
    assert!(matches!(upload.push(u64::MAX, &[0; 2]), Err(N(P::UploadGap { .. }))));
    assert!(!upload.is_complete());
    assert!(matches!(aggregator.complete(upload), Err(N(P::UploadIncomplete { received: 15, .. }))));

    let mut wrong = aggregator.begin_upload(from, header.clone()).expect("in U1");
    wrong.push(0, &vec![0; bytes.len()]).expect("the right length");
    assert_eq!(aggregator.complete(wrong), Err(N(P::UploadDigest(from))));

    // Right digest, but padding bits set: 9·20 bits leave 4 in the last byte.
    let mut padded = bytes.clone();
    *padded.last_mut().expect("bytes") |= 0x80;
    let announced = MaskedUpdateHeader { sha256: sha256(&padded), ..header.clone() };
    let mut upload = aggregator.begin_upload(from, announced).expect("in U1");
    upload.push(0, &padded).expect("the right length");
    assert_eq!(aggregator.complete(upload), Err(N(P::UploadDigest(from))));
    assert_eq!(aggregator.accepted(from), None);

    for _ in 0..2 {
        let mut upload = aggregator.begin_upload(from, header.clone()).expect("in U1, or again");
        upload.push(0, &bytes).expect("whole");
        aggregator.complete(upload).expect("added once");
    }
    let other = MaskedUpdateHeader { sha256: sha256(b"other"), ..header };
    assert!(matches!(aggregator.begin_upload(from, other), Err(N(P::Equivocation(_)))));

    // The others deliver; the sum is right although participant 1 was added "twice".
    let mut plain = ResidueSum::new(grid);
    plain.add(&update_of(grid, from)).expect("one grid");
    for (from, state, delivered) in participants {
        let (_, masked) = state.mask(delivered, update_of(grid, from)).expect("good shares");
        let mut upload = aggregator.begin_upload(from, masked.header().clone()).expect("in U1");
        upload.push(0, masked.bytes()).expect("whole");
        aggregator.complete(upload).expect("whole");
    }
    assert_eq!(aggregator.survivors(), everyone());
}

#[test]
fn a_statement_that_is_forged_or_of_a_stranger_is_turned_away() {
    let masked = cohort(4).share(&everyone()).mask(&set(&[1, 2, 3, 4, 5]));
    let (mut aggregator, survivors) = masked.aggregator.close().expect("five");
    let (from, state) = masked.participants.into_iter().next().expect("five");
    let (_, message) = state.confirm(survivors).expect("a good set");
    assert_eq!(aggregator.receive(number(6), &message), Err(P::NotExpected(number(6))));
    assert_eq!(aggregator.receive(number(2), &message), Err(P::ConsistencyForged(number(2))));
    let forged = ConsistencySignature { signature: Signature([9; 64]), ..message };
    assert_eq!(aggregator.receive(from, &forged), Err(P::ConsistencyForged(from)));
    let foreign = ConsistencySignature { sid: sha256(b"other"), ..message };
    assert!(matches!(aggregator.receive(from, &foreign), Err(P::ForeignRound { .. })));
    aggregator.receive(from, &message).expect("signed");
    aggregator.receive(from, &message).expect("a repeat");
    assert_eq!(aggregator.waiting_for(), set(&[2, 3, 4, 5]));
}

#[test]
fn answers_with_other_shares_are_turned_away() {
    let survivors = set(&[1, 2, 3, 4, 5]);
    let confirmed = cohort(5).share(&everyone()).mask(&survivors).confirm(&survivors);
    let (mut aggregator, participants, _) = confirmed.request();
    let (from, state) = participants.into_iter().next().expect("five");
    let request = aggregator.request(from).expect("it signed");
    let answered = state.unmask(&request).expect("a good request");
    let good = answered.answer(&request).expect("the same").clone();
    let mut refused = |change: &dyn Fn(&mut UnmaskResponse)| {
        let mut bad = good.clone();
        change(&mut bad);
        aggregator.receive(from, &bad)
    };
    // Its share of the wrong secret of 2; a share of somebody unknown; one subject twice.
    assert_eq!(refused(&|a| a.shares[1].1 = SecretKind::MaskKey), Err(N(P::OtherShares(from))));
    assert_eq!(
        refused(&|a| a.shares.push((number(7), SecretKind::SelfMask, Share([0; 32])))),
        Err(N(P::OtherShares(from)))
    );
    assert_eq!(refused(&|a| a.shares.insert(0, a.shares[0].clone())), Err(N(P::OtherShares(from))));
    assert!(matches!(refused(&|a| a.sid = sha256(b"other")), Err(N(P::ForeignRound { .. }))));
    assert_eq!(refused(&|_| ()), Ok(()));
    assert_eq!(refused(&|_| ()), Ok(()), "a repeat");
    assert_eq!(refused(&|a| a.shares[0].2.0[0] ^= 1), Err(N(P::Equivocation(from))));
}

/// Everybody answers, after `change` was applied to what `liar` sends.
fn with_wrong_shares(
    seed: u8,
    liars: &[u16],
    present: &ParticipantSet,
) -> (Result<Aggregate, RoundFailed>, ResidueSum) {
    let survivors = set(&[1, 2, 3, 4, 5]);
    let confirmed = cohort(seed).share(&everyone()).mask(&survivors).confirm(&survivors);
    let (mut aggregator, participants, plain) = confirmed.request();
    for (from, state) in participants {
        let request = aggregator.request(from).expect("it signed");
        let answered = state.unmask(&request).expect("a good request");
        let mut message = answered.answer(&request).expect("the same").clone();
        if liars.contains(&from.get()) {
            message.shares.iter_mut().for_each(|(_, _, share)| share.0[7] ^= 0x11);
        }
        if present.contains(from) {
            aggregator.receive(from, &message).expect("of the right shape");
        }
    }
    (aggregator.close(), plain)
}

#[test]
fn wrong_shares_are_noticed_survived_where_possible_and_named() {
    // Five answers at t = 4: one liar can be left out.
    let (result, plain) = with_wrong_shares(6, &[2], &everyone());
    let aggregate = result.expect("four right answers are left");
    assert_eq!(aggregate.residues, plain.residues());
    assert_eq!(aggregate.accused, set(&[2]));
    // Four answers, one of them wrong: no sum, and never a wrong sum.
    let (result, _) = with_wrong_shares(7, &[2], &set(&[1, 2, 3, 4]));
    assert!(
        matches!(result, Err(RoundFailed::MalformedShares { subject, holders, .. }) if subject == number(1) && holders == set(&[1, 2, 3, 4]))
    );
}

#[test]
fn a_dealer_whose_shares_do_not_fit_together_is_named() {
    // Participant 3 commits to another seed than the one it shares.
    let cohort = cohort(8);
    let offer = cohort.offer();
    let Cohort { mut aggregator, participants, mut entropy, .. } = cohort;
    let mut states = Vec::new();
    for (position, participant) in participants.into_iter().enumerate() {
        let from = ParticipantNumber::from_position(position).expect("six");
        let (state, mut message) =
            participant.accept(offer.clone()).expect("invited").share_keys(&mut entropy).expect("good keys");
        if from == number(3) {
            message.commitment = sha256(b"another seed");
        }
        aggregator.receive(from, &message).expect("of the right shape");
        states.push((from, state));
    }
    let aggregator = aggregator.close().expect("six");
    let confirmed = Shared::new(offer, aggregator, states).mask(&everyone()).confirm(&everyone());
    let (result, _) = confirmed.unmask(&everyone());
    assert!(matches!(result, Err(RoundFailed::MalformedShares { subject, .. }) if subject == number(3)));
}

#[test]
fn a_dealer_whose_ciphertexts_do_not_open_costs_nothing_while_enough_others_hold_shares() {
    // Participant 3 sends rubbish to 5 and 6; four shares of its secrets are left, its own included.
    let cohort = cohort(9);
    let offer = cohort.offer();
    let Cohort { mut aggregator, participants, mut entropy, .. } = cohort;
    let mut states = Vec::new();
    for (position, participant) in participants.into_iter().enumerate() {
        let from = ParticipantNumber::from_position(position).expect("six");
        let (state, mut message) =
            participant.accept(offer.clone()).expect("invited").share_keys(&mut entropy).expect("good keys");
        if from == number(3) {
            message.sealed[3].1 = [0; SEALED_LENGTH];
            message.sealed[4].1 = [0; SEALED_LENGTH];
        }
        aggregator.receive(from, &message).expect("of the right shape");
        states.push((from, state));
    }
    let aggregator = aggregator.close().expect("six");
    let confirmed = Shared::new(offer, aggregator, states).mask(&everyone()).confirm(&everyone());
    let (result, plain) = confirmed.unmask(&everyone());
    assert_eq!(result.expect("four shares").residues, plain.residues());
}
