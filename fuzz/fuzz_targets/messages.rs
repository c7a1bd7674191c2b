//! The messages of a round.
//!
//! A byte string is at most one message; whatever is accepted is written byte for byte as it was read, and nothing shorter
//! or longer is accepted with it. The stored answer and sets of participants keep to the same.
#![no_main]

use forecastle_crypto::secagg::{
    Answered, ConsistencySignature, DecodeError, DeliveredShares, MaskedUpdateHeader, ParticipantNumber,
    ParticipantSet, ShareKeys, SurvivorSet, UnmaskRequest, UnmaskResponse,
};
use forecastle_fuzz::{bounded, rounds, seeds};
use libfuzzer_sys::fuzz_target;

type Recode = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;

const MESSAGES: [Recode; 7] = [
    |bytes| ShareKeys::decode(bytes).map(|message| message.encode()),
    |bytes| DeliveredShares::decode(bytes).map(|message| message.encode()),
    |bytes| MaskedUpdateHeader::decode(bytes).map(|message| message.encode()),
    |bytes| SurvivorSet::decode(bytes).map(|message| message.encode()),
    |bytes| ConsistencySignature::decode(bytes).map(|message| message.encode()),
    |bytes| UnmaskRequest::decode(bytes).map(|message| message.encode()),
    |bytes| UnmaskResponse::decode(bytes).map(|message| message.encode()),
];

fuzz_target!(
    init: seeds("messages", || {
        let everyone = ParticipantSet::first(rounds::PARTICIPANTS);
        let one = ParticipantNumber::from_position(0).expect("1");
        let round = rounds::transcript(&everyone, &everyone.clone().without(ParticipantNumber::new(7).expect("7")));
        vec![
            round.shares[&one].encode(),
            round.deliveries[&one].encode(),
            round.uploads[&one].0.encode(),
            round.survivors.encode(),
            round.statements[&one].encode(),
            round.requests[&one].encode(),
            round.answers[&one].encode(),
            SurvivorSet { sid: round.survivors.sid, survivors: ParticipantSet::first(300) }.encode(),
        ]
    }),
    |data: &[u8]| {
        let mut accepted = 0;
        for recode in MESSAGES {
            // Items are copied, and a list may grow to twice what it holds before it is written.
            let Ok(written) = bounded(data.len(), 8, || recode(data)) else { continue };
            assert_eq!(written, data);
            accepted += 1;
            for shorter in [data.len() - 1, data.len() / 2, 33, 0] {
                assert!(recode(&data[..shorter]).is_err());
            }
            for more in [0, 1, 255] {
                assert!(recode(&[data, &[more]].concat()).is_err());
            }
        }
        assert!(accepted <= 1, "one byte string, two messages");
        if let Ok(answered) = Answered::from_bytes(data) {
            assert_eq!(answered.to_bytes().as_slice(), data);
        }
        if let Some(set) = ParticipantSet::from_bytes(data) {
            assert!(set.as_bytes() == data && set.iter().collect::<ParticipantSet>() == set);
            assert!(set.iter().count() == set.len() && set.iter().is_sorted());
        }
    }
);
