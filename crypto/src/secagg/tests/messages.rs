//! The bytes of messages: one encoding each, and nothing else is read.

use proptest::prelude::*;

use super::*;
use crate::identity::Signature;
use crate::secagg::messages::{SEALED_LENGTH, SecretKind};
use crate::secagg::shamir::Share;

/// One of each message, as bytes, with its decoder followed by its encoder.
type Recode = fn(&[u8]) -> Result<Vec<u8>, DecodeError>;
fn one_of_each() -> Vec<(Vec<u8>, Recode)> {
    let sid = sha256(b"round");
    let sealed = vec![(number(2), [7; SEALED_LENGTH]), (number(9_999), [8; SEALED_LENGTH])];
    let set = ParticipantSet::first(9);
    let signatures = vec![(number(1), Signature([1; 64])), (number(4), Signature([2; 64]))];
    let shares =
        vec![(number(3), SecretKind::SelfMask, Share([3; 32])), (number(5), SecretKind::MaskKey, Share([4; 32]))];
    vec![
        (ShareKeys { sid, commitment: sha256(b"b"), sealed: sealed.clone() }.encode(), |b| {
            ShareKeys::decode(b).map(|m| m.encode())
        }),
        (DeliveredShares { sid, sharers: set.clone(), sealed }.encode(), |b| {
            DeliveredShares::decode(b).map(|m| m.encode())
        }),
        (MaskedUpdateHeader { sid, length: 77, sha256: sid, sharers_signature: Signature([6; 64]) }.encode(), |b| {
            MaskedUpdateHeader::decode(b).map(|m| m.encode())
        }),
        (SurvivorSet { sid, survivors: set.clone() }.encode(), |b| SurvivorSet::decode(b).map(|m| m.encode())),
        (ConsistencySignature { sid, signature: Signature([5; 64]) }.encode(), |b| {
            ConsistencySignature::decode(b).map(|m| m.encode())
        }),
        (
            UnmaskRequest {
                sid,
                reveal_self_masks: set,
                reveal_mask_keys: ParticipantSet::first(300),
                signatures,
                sharers_signatures: vec![(number(2), Signature([3; 64]))],
            }
            .encode(),
            |b| UnmaskRequest::decode(b).map(|m| m.encode()),
        ),
        (UnmaskResponse { sid, shares }.encode(), |b| UnmaskResponse::decode(b).map(|m| m.encode())),
    ]
}

#[test]
fn every_message_survives_and_every_other_length_or_tag_is_refused() {
    for (bytes, recode) in one_of_each() {
        assert_eq!(recode(&bytes).as_ref(), Ok(&bytes));
        for shorter in 0..bytes.len() {
            assert!(recode(&bytes[..shorter]).is_err(), "{shorter} of {} bytes", bytes.len());
        }
        assert!(recode(&[bytes.as_slice(), &[0]].concat()).is_err());
        let mut other = bytes.clone();
        other[0] = 99;
        assert!(matches!(recode(&other), Err(DecodeError::Tag(_))));
    }
}

#[test]
fn lists_out_of_order_or_with_repeated_or_impossible_members_are_refused() {
    let sid = sha256(b"round");
    let list = |numbers: [u16; 2]| {
        let mut bytes = vec![1];
        bytes.extend_from_slice(&sid.0);
        bytes.extend_from_slice(&[0; 32]);
        bytes.extend_from_slice(&[0, 2]);
        for number in numbers {
            bytes.extend_from_slice(&number.to_be_bytes());
            bytes.extend_from_slice(&[0; SEALED_LENGTH]);
        }
        ShareKeys::decode(&bytes)
    };
    assert!(list([1, 2]).is_ok());
    for bad in [[2, 1], [2, 2], [0, 1], [1, 10_001]] {
        assert_eq!(list(bad), Err(DecodeError::List("share-keys message")), "{bad:?}");
    }
    let mut nobody = SurvivorSet { sid, survivors: ParticipantSet::first(3) }.encode();
    nobody[35] |= 1;
    assert!(matches!(SurvivorSet::decode(&nobody), Err(DecodeError::List(_))));
}

proptest! {
    #[test]
    fn bytes_that_decode_encode_to_themselves(tag in 0u8..9, body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&[tag], body.as_slice()].concat();
        for (_, recode) in one_of_each() {
            if let Ok(again) = recode(&bytes) {
                prop_assert_eq!(&again, &bytes);
            }
        }
    }
}
