//! Masked updates that arrive in any pieces, in any order, from anybody, more than once.
//!
//! A piece is taken exactly where it joins on; an update enters the sum exactly once and only whole, with the announced
//! digest; what the sum then holds is the honest one's.
#![no_main]

use std::collections::BTreeMap;

use forecastle_crypto::{
    identity::sha256,
    secagg::{ParticipantNumber, ParticipantSet, Upload},
};
use forecastle_fuzz::{
    rounds::{PARTICIPANTS, THRESHOLD, all_but_two, shared, transcript},
    seeds,
};
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

/// An upload under way, and whether its announcement and all bytes so far are the honest ones.
struct Arriving {
    upload: Upload,
    honest_header: bool,
    bytes: Vec<u8>,
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let everyone = ParticipantSet::first(PARTICIPANTS);
    let sharers = all_but_two(&everyone, input.arbitrary()?, THRESHOLD);
    let honest = transcript(&sharers, &sharers);
    let mut aggregator = shared(&honest.shares);
    let (mut arriving, mut complete): (BTreeMap<ParticipantNumber, Arriving>, _) =
        (BTreeMap::new(), ParticipantSet::new());
    // Most uploads are made whole at the start, so that there are enough for a sum.
    let whole = all_but_two(&sharers, input.arbitrary()?, 1);
    for number in whole.iter() {
        let (header, bytes) = &honest.uploads[&number];
        let mut upload = aggregator.begin_upload(number, header.clone()).expect("in U1");
        assert_eq!(upload.push(0, bytes).ok(), Some(bytes.len() as u64));
        aggregator.complete(upload).expect("an honest upload");
        complete.insert(number);
    }
    for _ in 0..input.int_in_range(0..=12u8)? {
        let number = ParticipantNumber::new(input.int_in_range(1..=8u16)?).expect("not zero");
        let Some((header, bytes)) = honest.uploads.get(&number) else {
            let header = honest.uploads.values().next().expect("somebody uploads").0.clone();
            assert!(aggregator.begin_upload(number, header).is_err(), "an upload of somebody outside U1");
            continue;
        };
        match input.int_in_range(0..=5u8)? {
            0 => {
                let (mut header, kind) = (header.clone(), input.int_in_range(0..=3u8)?);
                match kind {
                    0 => header.length = header.length.wrapping_add(input.arbitrary()?),
                    1 => header.sha256 = sha256(&[input.arbitrary()?]),
                    2 => header.sharers_signature.0[input.choose_index(64)?] ^= input.int_in_range(1..=255u8)?,
                    _ => {}
                }
                let honest_header = header == honest.uploads[&number].0;
                let acceptable = header.length == bytes.len() as u64
                    && header.sharers_signature == honest.uploads[&number].0.sharers_signature
                    && (honest_header || !complete.contains(number));
                let begun = aggregator.begin_upload(number, header);
                assert_eq!(begun.is_ok(), acceptable);
                if let Ok(upload) = begun {
                    arriving.insert(number, Arriving { upload, honest_header, bytes: Vec::new() });
                }
            }
            1..=3 => {
                let Some(one) = arriving.get_mut(&number) else { continue };
                let offset = if input.arbitrary()? { one.bytes.len() as u64 } else { input.arbitrary()? };
                let mut piece =
                    usize::try_from(offset).ok().and_then(|from| bytes.get(from..)).unwrap_or(&[1; 9]).to_vec();
                piece.truncate(input.int_in_range(0..=bytes.len() + 1)?);
                if input.int_in_range(0..=7u8)? == 0
                    && let Some(first) = piece.first_mut()
                {
                    *first ^= input.int_in_range(1..=255u8)?;
                }
                let known = one.bytes.len() as u64;
                let end = offset.checked_add(piece.len() as u64);
                let joins = offset <= known && end.is_some_and(|end| end <= bytes.len() as u64);
                let pushed = one.upload.push(offset, &piece);
                assert_eq!(pushed.is_ok(), joins, "{offset} + {} at {known} of {}", piece.len(), bytes.len());
                if joins && end.is_some_and(|end| end > known) {
                    one.bytes.extend_from_slice(&piece[(known - offset) as usize..]);
                }
                assert!(pushed.is_err() || pushed.ok() == Some(one.bytes.len() as u64));
                assert_eq!(one.upload.received(), one.bytes.len() as u64);
                assert_eq!(one.upload.is_complete(), one.bytes.len() == bytes.len());
            }
            _ => {
                let Some(Arriving { upload, honest_header, bytes: received }) = arriving.remove(&number) else {
                    continue;
                };
                let right = honest_header && received == *bytes;
                let known = complete.contains(number) && honest_header && received.len() == bytes.len();
                assert_eq!(aggregator.complete(upload).is_ok(), right || known);
                if right {
                    complete.insert(number);
                }
            }
        }
        assert_eq!(aggregator.survivors(), complete);
    }
    if complete.len() < THRESHOLD {
        assert!(aggregator.close().is_err());
        return Ok(());
    }
    let round = transcript(&sharers, &complete);
    let mut aggregator = round.confirmed(aggregator);
    for (number, answer) in &round.answers {
        aggregator.receive(*number, answer).expect("an honest answer");
    }
    assert_eq!(aggregator.close().expect("all answers").residues, round.sum);
    Ok(())
}

fuzz_target!(
    init: seeds("upload", || vec![vec![0x21; 12], (0..100).collect::<Vec<u8>>(), vec![0; 60], vec![1; 90]]),
    |data: &[u8]| {
        _ = run(data);
    }
);
