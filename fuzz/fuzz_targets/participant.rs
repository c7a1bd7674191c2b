//! One honest participant and a server that changes what it sends it.
//!
//! The server holds everything honest that others sent, but nobody's keys. Whatever it makes of it, the participant opens
//! shares only for the sets that the others really signed, of each secret pair one, and the same answer for ever.
#![no_main]

use std::collections::BTreeSet;

use forecastle_crypto::secagg::{
    Answered, DeliveredShares, ParticipantNumber, ParticipantSet, SurvivorSet, UnmaskRequest,
};
use forecastle_fuzz::{
    rounds::{PARTICIPANTS, THRESHOLD, all_but_two, sharing, transcript, update},
    seeds,
};
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

/// An honest message with a few bytes changed, cut out or repeated, or left alone.
fn changed(mut bytes: Vec<u8>, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    for _ in 0..input.int_in_range(0..=2u8)? {
        let at = input.choose_index(bytes.len())?;
        match input.int_in_range(0..=2u8)? {
            0 => bytes[at] ^= input.int_in_range(1..=255u8)?,
            1 => _ = bytes.drain(at..(at + input.int_in_range(1..=120usize)?).min(bytes.len())),
            _ => {
                let end = (at + input.int_in_range(1..=120usize)?).min(bytes.len());
                let repeated = bytes[at..end].to_vec();
                bytes.splice(end..end, repeated);
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    Ok(bytes)
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let everyone = ParticipantSet::first(PARTICIPANTS);
    let sharers = all_but_two(&everyone, input.arbitrary()?, THRESHOLD);
    let survivors = all_but_two(&sharers, input.arbitrary()?, THRESHOLD);
    let round = transcript(&sharers, &survivors);
    let members: Vec<ParticipantNumber> = survivors.iter().collect();
    let own = members[input.choose_index(members.len())?];

    let (state, _) = sharing(own);
    let bytes = changed(round.deliveries[&own].encode(), &mut input)?;
    let Ok(delivered) = DeliveredShares::decode(&bytes) else { return Ok(()) };
    let shown_sharers = delivered.sharers.clone();
    let Ok((state, masked)) = state.mask(delivered, update(own)) else { return Ok(()) };
    assert!(shown_sharers.contains(own) && shown_sharers.len() >= THRESHOLD && shown_sharers.is_subset(&everyone));
    if shown_sharers == sharers {
        assert_eq!(masked.bytes(), round.uploads[&own].1, "the same U1, another mask");
    }

    let bytes = changed(round.survivors.encode(), &mut input)?;
    let Ok(shown) = SurvivorSet::decode(&bytes) else { return Ok(()) };
    let shown_survivors = shown.survivors.clone();
    let Ok((state, _)) = state.confirm(shown) else { return Ok(()) };
    assert!(shown_survivors.contains(own) && shown_survivors.len() >= THRESHOLD);
    assert!(shown_survivors.is_subset(&shown_sharers));

    let bytes = changed(round.requests[&own].encode(), &mut input)?;
    let Ok(request) = UnmaskRequest::decode(&bytes) else { return Ok(()) };
    let Ok(answered) = state.unmask(&request) else { return Ok(()) };
    // The others signed the honest sets and no others.
    assert_eq!((&shown_sharers, &shown_survivors), (&sharers, &survivors), "answered for sets that nobody else signed");
    assert_eq!(request.reveal_self_masks, survivors);
    assert!(request.reveal_mask_keys.intersection(&request.reveal_self_masks).is_empty());
    let answer = answered.answer(&request).expect("the same request").encode();
    let mut subjects = BTreeSet::new();
    for record in answer[35..].chunks(35) {
        let subject = ParticipantNumber::new(u16::from_be_bytes([record[0], record[1]])).expect("a participant");
        assert!(subjects.insert(subject), "two shares of {subject}");
        assert_eq!(record[2], if survivors.contains(subject) { 1 } else { 2 }, "the other secret of {subject}");
    }
    let stored = Answered::from_bytes(&answered.to_bytes()).expect("its own bytes");
    assert_eq!(stored.answer(&request).expect("the same request").encode(), answer);
    let mut other = request.clone();
    other.signatures.pop();
    assert!(stored.answer(&other).is_err());
    Ok(())
}

fuzz_target!(
    init: seeds("participant", || vec![vec![0; 30], vec![0x21; 60], (0..120).collect::<Vec<u8>>()]),
    |data: &[u8]| {
        _ = run(data);
    }
);
