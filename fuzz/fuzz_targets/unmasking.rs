//! A server that unmasks, and participants of whom some answer wrongly or not at all.
//!
//! Whatever they answer, the sum is that of the survivors bit for bit, or the round ends by name; with all answers there, two
//! liars are survived. Nobody who answered rightly is accused, unless more lie than could be told apart; a second, different
//! answer is never taken.
#![no_main]

use std::collections::BTreeMap;

use forecastle_crypto::secagg::{ParticipantNumber, ParticipantSet, RoundFailed, UnmaskResponse};
use forecastle_fuzz::{
    rounds::{PARTICIPANTS, THRESHOLD, all_but_two, transcript},
    seeds,
};
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

/// Bytes before the first record of an answer: tag, sid, count. A record has a subject, a kind and a share.
const HEAD: usize = 35;
const RECORD: usize = 35;

/// The answer with one thing changed; `None` where the change leaves no message.
fn changed(answer: &UnmaskResponse, input: &mut Unstructured<'_>) -> Result<Option<UnmaskResponse>> {
    let mut bytes = answer.encode();
    let records = (bytes.len() - HEAD) / RECORD;
    match input.int_in_range(0..=3u8)? {
        // Somewhere in a share.
        0 | 1 => {
            let at = HEAD + RECORD * input.choose_index(records)? + 3 + input.choose_index(32)?;
            bytes[at] ^= input.int_in_range(1..=255u8)?;
        }
        // Anywhere.
        2 => {
            let at = input.choose_index(bytes.len())?;
            bytes[at] ^= input.int_in_range(1..=255u8)?;
        }
        // Without a share.
        _ => {
            let at = HEAD + RECORD * input.choose_index(records)?;
            bytes.drain(at..at + RECORD);
            bytes[HEAD - 1] -= 1;
        }
    }
    Ok(UnmaskResponse::decode(&bytes).ok())
}

/// What an answer says about each subject.
fn records(answer: &UnmaskResponse) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let bytes = answer.encode();
    bytes[HEAD..].chunks(RECORD).map(|record| (record[..2].to_vec(), record[2..].to_vec())).collect()
}

/// Whether so many lied about one subject that they may have agreed on another polynomial through its secret. Two
/// polynomials of degree t − 1 with that in common agree on t − 2 shares at most; the one that leaves ⌊(r + 1 − t)/2⌋ of r
/// shares out or fewer is believed.
fn framing(
    sent: &BTreeMap<ParticipantNumber, UnmaskResponse>,
    honest: &BTreeMap<ParticipantNumber, UnmaskResponse>,
) -> bool {
    let mut about: BTreeMap<Vec<u8>, (usize, usize)> = BTreeMap::new();
    for (number, answer) in sent {
        let right = records(&honest[number]);
        for (subject, share) in records(answer) {
            let (shares, wrong) = about.entry(subject.clone()).or_default();
            *shares += 1;
            *wrong += usize::from(right.get(&subject) != Some(&share));
        }
    }
    about.values().any(|(shares, wrong)| {
        let spare = shares.saturating_sub(THRESHOLD);
        *wrong > 0 && wrong + spare.div_ceil(2) > spare + 1
    })
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let everyone = ParticipantSet::first(PARTICIPANTS);
    let sharers = all_but_two(&everyone, input.arbitrary()?, THRESHOLD);
    let survivors = all_but_two(&sharers, input.arbitrary()?, THRESHOLD);
    let round = transcript(&sharers, &survivors);
    let mut aggregator = round.aggregator();
    let (mut taken, mut liars) = (BTreeMap::new(), ParticipantSet::new());
    for (number, answer) in &round.answers {
        let sent = match input.int_in_range(0..=5u8)? {
            0 => continue,
            1 | 2 => match changed(answer, &mut input)? {
                Some(changed) => changed,
                None => continue,
            },
            _ => answer.clone(),
        };
        // Whoever is turned away may still send what it should have.
        let sent = if aggregator.receive(*number, &sent).is_ok() { sent } else { answer.clone() };
        assert!(aggregator.receive(*number, &sent).is_ok(), "a right or repeated answer was turned away");
        if sent.encode() != answer.encode() {
            assert!(aggregator.receive(*number, answer).is_err(), "two answers of one participant");
            liars.insert(*number);
        }
        taken.insert(*number, sent);
    }
    let stranger = ParticipantNumber::new(8).expect("not in the roster");
    assert!(round.answers.values().next().is_some_and(|answer| aggregator.receive(stranger, answer).is_err()));

    let spare = taken.len().checked_sub(THRESHOLD);
    match aggregator.close() {
        Ok(aggregate) => {
            assert!(spare.is_some());
            assert_eq!(aggregate.residues, round.sum);
            assert_eq!((aggregate.sharers, aggregate.survivors), (sharers, survivors));
            let framed = !aggregate.accused.is_subset(&liars);
            assert!(!framed || framing(&taken, &round.answers), "{:?} accused, {liars:?} lied", aggregate.accused);
        }
        Err(RoundFailed::TooFew { have, need, .. }) => {
            assert!(spare.is_none() && (have, need) == (taken.len(), THRESHOLD))
        }
        Err(RoundFailed::MalformedShares { .. }) => {
            assert!(
                spare.is_some_and(|spare| liars.len() > spare.min(2)),
                "{liars:?} of {} were too many",
                taken.len()
            );
        }
        Err(other) => panic!("{other}"),
    }
    Ok(())
}

fuzz_target!(
    init: seeds("unmasking", || vec![vec![3; 12], vec![0x21; 40], (0..80).rev().collect::<Vec<u8>>()]),
    |data: &[u8]| {
        _ = run(data);
    }
);
