//! A server that lies, and the participant's refusal of each lie.

use super::*;
use crate::identity::Signature;
use crate::secagg::error::ParticipantError as E;
use crate::secagg::messages::{CONSISTENCY_CONTEXT, SHARERS_CONTEXT, SecretKind, consistency_message, sharers_message};

fn cohort(seed: u8) -> Cohort {
    Cohort::new(6, seed, terms(5, 5, 2, 9, 20))
}

fn everyone() -> ParticipantSet {
    ParticipantSet::first(6)
}

/// The error that participant 1 answers a changed delivery with.
fn refuses_delivery(seed: u8, change: impl FnOnce(&mut DeliveredShares)) -> E {
    let shared = cohort(seed).share(&everyone());
    let grid = shared.offer.grid();
    let (from, state, mut delivered) = shared.participants.into_iter().next().expect("six");
    change(&mut delivered);
    state.mask(delivered, update_of(grid, from)).map(drop).expect_err("refused")
}

#[test]
fn a_foreign_offer_is_not_accepted() {
    let mut first = cohort(1);
    let own = first.participants.remove(0);
    // Another cohort's offer names the same merchants and other pre-keys.
    assert!(matches!(own.accept(cohort(2).offer()), Err(E::ForeignPrekey(5))));

    let uninvited = AdvertisingKeys::new(merchant(77), identity(77), prekey(77));
    assert!(matches!(uninvited.accept(first.offer()), Err(E::NotInvited(_))));

    let substituted = AdvertisingKeys::new(merchant(0), identity(50), prekey(0));
    assert!(matches!(substituted.accept(first.offer()), Err(E::ForeignIdentity(_))));
}

fn prekey(position: usize) -> PrekeySecret {
    generate_prekey(&merchant(position), &identity(position), 5, &mut SeededEntropy::danger_from_seed([9; 32]))
        .expect("entropy")
        .1
}

#[test]
fn a_delivery_for_another_round_or_with_wrong_sets_is_refused() {
    assert!(matches!(refuses_delivery(3, |d| d.sid = sha256(b"other")), E::ForeignRound { .. }));
    assert!(matches!(
        refuses_delivery(3, |d| d.sharers.insert(number(7)).then_some(()).expect("fresh")),
        E::Strangers { .. }
    ));
    assert!(matches!(refuses_delivery(3, |d| d.sharers = d.sharers.clone().without(number(1))), E::LeftOut(_)));
    assert!(matches!(refuses_delivery(3, |d| d.sharers = set(&[1, 2, 3, 4])), E::TooFew { have: 4, need: 5, .. }));
    // U1 and the ciphertexts have to agree, in both directions.
    assert!(matches!(refuses_delivery(3, |d| d.sharers = d.sharers.clone().without(number(6))), E::SharesMismatch));
    assert!(matches!(refuses_delivery(3, |d| d.sealed.truncate(4)), E::SharesMismatch));
    assert!(matches!(refuses_delivery(3, |d| d.sealed[1] = d.sealed[0]), E::SharesMismatch));
}

#[test]
fn shares_that_the_server_changed_or_swapped_do_not_open() {
    let shared = cohort(4).share(&everyone());
    let grid = shared.offer.grid();
    let mut participants = shared.participants.into_iter();
    let (from, state, mut delivered) = participants.next().expect("six");
    let (_, _, of_second) = participants.next().expect("six");
    delivered.sealed[0].1[20] ^= 1; // from participant 2
    delivered.sealed[1].1 = of_second.sealed[1].1; // from participant 3, but to participant 2
    let (state, _) = state.mask(delivered, update_of(grid, from)).expect("the others' shares are good");
    assert_eq!(*state.unreadable(), set(&[2, 3]));
}

#[test]
fn an_update_on_another_grid_is_refused() {
    let shared = cohort(5).share(&everyone());
    let coarse = Grid::new(9, 20, 99, 1.0).expect("a grid");
    let (from, state, delivered) = shared.participants.into_iter().next().expect("six");
    assert_eq!(state.mask(delivered, update_of(coarse, from)).map(drop), Err(E::ForeignGrid));
}

/// The error that participant 1 answers a changed survivor set with; in truth 6 dropped out.
fn refuses_survivors(change: impl FnOnce(&mut SurvivorSet)) -> E {
    let masked = cohort(6).share(&everyone()).mask(&set(&[1, 2, 3, 4, 5]));
    let (_, mut survivors) = masked.aggregator.close().expect("five");
    let (_, state) = masked.participants.into_iter().next().expect("five");
    change(&mut survivors);
    state.confirm(survivors).map(drop).expect_err("refused")
}

#[test]
fn survivor_sets_too_small_with_strangers_or_without_oneself_are_refused() {
    assert!(matches!(refuses_survivors(|s| s.sid = sha256(b"other")), E::ForeignRound { .. }));
    assert!(matches!(refuses_survivors(|s| s.survivors = set(&[1, 2, 3, 4])), E::TooFew { have: 4, need: 5, .. }));
    assert!(matches!(refuses_survivors(|s| s.survivors = set(&[1, 2, 3, 4, 5, 7])), E::Strangers { .. }));
    assert!(matches!(refuses_survivors(|s| s.survivors = set(&[2, 3, 4, 5, 6])), E::LeftOut(_)));
}

#[test]
fn survivors_outside_u1_are_refused() {
    // 6 never shared keys, so no mask against it exists and it cannot have survived.
    let masked = cohort(7).share(&set(&[1, 2, 3, 4, 5])).mask(&everyone());
    let sid = masked.offer.sid();
    let (_, state) = masked.participants.into_iter().next().expect("five");
    let lie = SurvivorSet { sid, survivors: everyone() };
    assert!(matches!(state.confirm(lie), Err(E::Strangers { strangers, .. }) if strangers == set(&[6])));
}

/// The error that participant 1 answers a changed unmasking request with; 6 dropped out before delivering.
fn refuses_request(change: impl FnOnce(&mut UnmaskRequest)) -> E {
    let survivors = set(&[1, 2, 3, 4, 5]);
    let confirmed = cohort(8).share(&everyone()).mask(&survivors).confirm(&survivors);
    let (aggregator, participants, _) = confirmed.request();
    let (from, state) = participants.into_iter().next().expect("five");
    let mut request = aggregator.request(from).expect("it signed");
    change(&mut request);
    state.unmask(&request).map(drop).expect_err("refused")
}

#[test]
fn both_secrets_of_one_participant_are_never_opened() {
    let both = refuses_request(|r| r.reveal_mask_keys = set(&[2, 6]));
    assert_eq!(both, E::BothSecrets(set(&[2])));
    // Nor by moving it from one list to the other.
    let moved = refuses_request(|r| {
        r.reveal_self_masks = set(&[1, 3, 4, 5]);
        r.reveal_mask_keys = set(&[2, 6]);
    });
    assert_eq!(moved, E::OtherSets);
    assert_eq!(refuses_request(|r| r.reveal_mask_keys = ParticipantSet::new()), E::OtherSets);
    assert_eq!(refuses_request(|r| r.reveal_self_masks = everyone()), E::BothSecrets(set(&[6])));
}

#[test]
fn a_request_without_a_quorum_of_good_statements_is_refused() {
    assert!(matches!(refuses_request(|r| r.sid = sha256(b"other")), E::ForeignRound { .. }));
    assert!(matches!(refuses_request(|r| r.signatures.truncate(4)), E::TooFew { have: 4, need: 5, .. }));
    // One survivor counted twice is still one.
    assert!(matches!(refuses_request(|r| r.signatures[4] = r.signatures[3]), E::TooFew { have: 4, .. }));
    assert_eq!(refuses_request(|r| r.signatures[2].1 = Signature([1; 64])), E::ConsistencyForged(number(3)));
    assert!(matches!(refuses_request(|r| r.signatures[4].0 = number(6)), E::Strangers { .. }));
}

#[test]
fn statements_about_other_sets_do_not_count() {
    // A split view: the server told 2 that 6 survived as well.
    let error = refuses_request(|r| {
        let other = consistency_message(&r.sid, &everyone(), &everyone());
        r.signatures[1].1 = identity(1).sign(CONSISTENCY_CONTEXT, &other);
    });
    assert_eq!(error, E::ConsistencyForged(number(2)));
}

#[test]
fn a_survivor_that_masked_against_another_u1_keeps_its_self_mask() {
    // The server told 3 of a U1 without 6. Of the pairwise masks in 3's update, the one with 6 is then missing, and with
    // enough of them missing its update would lie open once its self-mask is.
    let other = |r: &mut UnmaskRequest| {
        let statement = sharers_message(&r.sid, &everyone().without(number(6)));
        let (at, key) =
            (r.sharers_signatures.iter().position(|(n, _)| *n == number(3)).expect("a survivor"), identity(2));
        r.sharers_signatures[at].1 = key.sign(SHARERS_CONTEXT, &statement);
    };
    assert_eq!(refuses_request(other), E::OtherSharers(number(3)));
    assert_eq!(refuses_request(|r| r.sharers_signatures.clear()), E::OtherSharers(number(2)));
    // Another survivor's signature does not stand for it.
    let swapped = |r: &mut UnmaskRequest| r.sharers_signatures[1].1 = r.sharers_signatures[0].1;
    assert_eq!(refuses_request(swapped), E::OtherSharers(number(3)));
}

#[test]
fn no_split_view_opens_both_secrets_of_anyone() {
    // The server tells 1, 2, 3 that everybody survived, and 4, 5, 6 that 1 did not. Neither half has t = 5 statements.
    let masked = cohort(9).share(&everyone()).mask(&everyone());
    let sid = masked.offer.sid();
    let (mut signatures, mut states) = (Vec::new(), Vec::new());
    for (from, state) in masked.participants {
        let survivors = if from.get() <= 3 { everyone() } else { everyone().without(number(1)) };
        let (state, message) =
            state.confirm(SurvivorSet { sid, survivors: survivors.clone() }).expect("each set alone is acceptable");
        signatures.push((from, message.signature));
        states.push((from, state, survivors));
    }
    for (from, state, survivors) in states {
        let half: Vec<_> =
            signatures.iter().filter(|(signer, _)| (signer.get() <= 3) == (from.get() <= 3)).copied().collect();
        let request = |signatures| UnmaskRequest {
            sid,
            reveal_self_masks: survivors.clone(),
            reveal_mask_keys: everyone().difference(&survivors),
            signatures,
            sharers_signatures: Vec::new(),
        };
        // With its own half it is short of t, with both halves somebody signed other sets.
        let with = if from.get() % 2 == 0 {
            half
        } else {
            signatures.iter().filter(|(s, _)| survivors.contains(*s)).copied().collect()
        };
        let refused = state.unmask(&request(with)).map(drop);
        assert!(matches!(refused, Err(E::TooFew { .. } | E::ConsistencyForged(_))), "{from}: {refused:?}");
    }
}

#[test]
fn the_one_answer_is_repeated_but_never_replaced() {
    let survivors = set(&[1, 2, 3, 4, 5]);
    let confirmed = cohort(10).share(&everyone()).mask(&survivors).confirm(&survivors);
    let (aggregator, participants, _) = confirmed.request();
    let (from, state) = participants.into_iter().next().expect("five");
    let request = aggregator.request(from).expect("it signed");
    let answered = state.unmask(&request).expect("a good request");
    let bytes = answered.answer(&request).expect("the same").encode();

    // After a crash the stored answer says the same, and refuses the rest.
    let stored = Answered::from_bytes(&answered.to_bytes()).expect("its own bytes");
    assert_eq!(stored.answer(&request).expect("the same").encode(), bytes);
    let second =
        UnmaskRequest { reveal_self_masks: set(&[2, 3, 4, 5, 6]), reveal_mask_keys: set(&[1]), ..request.clone() };
    assert!(matches!(stored.answer(&second), Err(E::SecondRequest)));
    assert!(Answered::from_bytes(&answered.to_bytes()[1..]).is_err());

    // It holds one share of each participant: self-masks of the survivors, the mask key of the drop-out.
    let answer = UnmaskResponse::decode(&bytes).expect("its own bytes");
    let kinds: Vec<_> = answer.shares.iter().map(|(subject, kind, _)| (subject.get(), *kind)).collect();
    let (own, key) = (SecretKind::SelfMask, SecretKind::MaskKey);
    assert_eq!(kinds, [(1, own), (2, own), (3, own), (4, own), (5, own), (6, key)]);
}

#[test]
fn shares_of_one_round_do_not_open_in_another() {
    // The same pre-keys under another offer (a replay): every ciphertext fails, since sid enters the keys.
    let replayed = |round| {
        let mut terms = terms(5, 5, 2, 9, 20);
        terms.round = round;
        Cohort::new(6, 11, terms).share(&everyone())
    };
    let (first, second) = (replayed(1), replayed(2));
    let (_, _, mut old) = first.participants.into_iter().next().expect("six");
    let grid = second.offer.grid();
    let (from, state, fresh) = second.participants.into_iter().next().expect("six");
    old.sid = fresh.sid;
    let (state, _) = state.mask(old, update_of(grid, from)).expect("the sets are fine");
    assert_eq!(*state.unreadable(), set(&[2, 3, 4, 5, 6]));
}
