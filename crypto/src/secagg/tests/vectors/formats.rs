//! Bytes that are decoded: participant sets and the seven messages.

use super::*;
use crate::identity::Signature;
use crate::secagg::messages::{SEALED_LENGTH, Sealed, SecretKind};
use crate::secagg::shamir::Share;

pub(super) struct Sets;

#[derive(Serialize, Deserialize)]
pub(super) struct SetInput {
    bytes: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SetOutput {
    members: Vec<u16>,
    digest: Sha256Digest,
}

impl Topic for Sets {
    const FILE: &'static str = "sets";
    const ABOUT: &'static str = "A set of participants: its one encoding, and its digest H(U).";
    type Given = ();
    type Input = SetInput;
    type Output = SetOutput;

    fn cases() -> Vec<Planned<SetInput>> {
        let of = |members: &[u16]| SetInput { bytes: set(members).as_bytes().into() };
        let bits = |length: usize, byte: usize, value: u8| {
            let mut bytes = vec![0; length];
            bytes[byte] = value;
            SetInput { bytes: bytes.into() }
        };
        let length = "an encoding has 32 to 1,251 bytes";
        let shortest = "above 32 bytes the last one is not zero";
        let (zero, highest) = ("nobody has number 0", "nobody has a number above 10,000");
        vec![
            good("nobody", of(&[])),
            good("1 to 4", of(&[1, 2, 3, 4])),
            good("7, 8 and 255: still 32 bytes", of(&[7, 8, 255])),
            good("256: 33 bytes", of(&[256])),
            good("1 and 1,000", of(&[1, 1_000])),
            good("10,000, the highest", of(&[10_000])),
            bad("no bytes", length, "NotASet", SetInput { bytes: Hex::from([]) }),
            bad("31 bytes", length, "NotASet", bits(31, 0, 2)),
            bad("1,252 bytes", length, "NotASet", bits(1_252, 1_251, 1)),
            bad("a last byte of zero", shortest, "NotASet", bits(33, 0, 2)),
            bad("participant 0", zero, "NotASet", bits(32, 0, 1)),
            bad("participant 0 in a long set", zero, "NotASet", {
                let mut bytes = bits(33, 0, 1);
                bytes.bytes.0[32] = 1;
                bytes
            }),
            bad("participant 10,001", highest, "NotASet", bits(1_251, 1_250, 2)),
            bad("participants 10,000 and 10,007", highest, "NotASet", bits(1_251, 1_250, 0x81)),
        ]
    }

    fn run(_: Option<&()>, input: &SetInput) -> Result<SetOutput, String> {
        let found = ParticipantSet::from_bytes(&input.bytes.0).ok_or_else(|| "NotASet".to_owned())?;
        let members = numbers(found.iter());
        assert_eq!(set(&members).as_bytes(), input.bytes.0);
        Ok(SetOutput { members, digest: found.digest() })
    }
}

pub(super) struct Messages;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct MessageInput {
    kind: String,
    bytes: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SealedFor {
    participant: u16,
    sealed: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SignatureOf {
    participant: u16,
    signature: Signature,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct ShareOf {
    subject: u16,
    secret: String,
    share: Hex,
}

/// A message's fields.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Fields {
    ShareKeys {
        sid: Sid,
        commitment: Sha256Digest,
        sealed: Vec<SealedFor>,
    },
    DeliveredShares {
        sid: Sid,
        sharers: Vec<u16>,
        sealed: Vec<SealedFor>,
    },
    MaskedUpdateHeader {
        sid: Sid,
        length: u64,
        sha256: Sha256Digest,
        sharers_signature: Signature,
    },
    SurvivorSet {
        sid: Sid,
        survivors: Vec<u16>,
    },
    ConsistencySignature {
        sid: Sid,
        signature: Signature,
    },
    UnmaskRequest {
        sid: Sid,
        reveal_self_masks: Vec<u16>,
        reveal_mask_keys: Vec<u16>,
        signatures: Vec<SignatureOf>,
        sharers_signatures: Vec<SignatureOf>,
    },
    UnmaskResponse {
        sid: Sid,
        shares: Vec<ShareOf>,
    },
}

const KINDS: [&str; 7] = [
    "share-keys",
    "delivered-shares",
    "masked-update-header",
    "survivor-set",
    "consistency-signature",
    "unmask-request",
    "unmask-response",
];

/// Bytes of tag and sid.
const PREFIX: usize = 33;

fn sealed_list(list: &[(ParticipantNumber, Sealed)]) -> Vec<SealedFor> {
    list.iter().map(|(of, sealed)| SealedFor { participant: of.get(), sealed: sealed.into() }).collect()
}

fn signature_list(list: &[(ParticipantNumber, Signature)]) -> Vec<SignatureOf> {
    list.iter().map(|(of, signature)| SignatureOf { participant: of.get(), signature: *signature }).collect()
}

/// The fields of a message, and its bytes once more.
fn decode(kind: &str, bytes: &[u8]) -> Result<(Fields, Vec<u8>), DecodeError> {
    Ok(match KINDS.iter().position(|known| *known == kind) {
        Some(0) => {
            let m = ShareKeys::decode(bytes)?;
            let sealed = sealed_list(&m.sealed);
            (Fields::ShareKeys { sid: m.sid, commitment: m.commitment, sealed }, m.encode())
        }
        Some(1) => {
            let m = DeliveredShares::decode(bytes)?;
            let (sharers, sealed) = (numbers(m.sharers.iter()), sealed_list(&m.sealed));
            (Fields::DeliveredShares { sid: m.sid, sharers, sealed }, m.encode())
        }
        Some(2) => {
            let m = MaskedUpdateHeader::decode(bytes)?;
            let MaskedUpdateHeader { sid, length, sha256, sharers_signature } = m.clone();
            (Fields::MaskedUpdateHeader { sid, length, sha256, sharers_signature }, m.encode())
        }
        Some(3) => {
            let m = SurvivorSet::decode(bytes)?;
            (Fields::SurvivorSet { sid: m.sid, survivors: numbers(m.survivors.iter()) }, m.encode())
        }
        Some(4) => {
            let m = ConsistencySignature::decode(bytes)?;
            (Fields::ConsistencySignature { sid: m.sid, signature: m.signature }, m.encode())
        }
        Some(5) => {
            let m = UnmaskRequest::decode(bytes)?;
            let fields = Fields::UnmaskRequest {
                sid: m.sid,
                reveal_self_masks: numbers(m.reveal_self_masks.iter()),
                reveal_mask_keys: numbers(m.reveal_mask_keys.iter()),
                signatures: signature_list(&m.signatures),
                sharers_signatures: signature_list(&m.sharers_signatures),
            };
            (fields, m.encode())
        }
        Some(6) => {
            let m = UnmaskResponse::decode(bytes)?;
            let kind = |kind: SecretKind| match kind {
                SecretKind::SelfMask => "self-mask-seed".to_owned(),
                SecretKind::MaskKey => "mask-key".to_owned(),
            };
            let share = |(subject, of, share): &(ParticipantNumber, SecretKind, Share)| ShareOf {
                subject: subject.get(),
                secret: kind(*of),
                share: share.0.into(),
            };
            (Fields::UnmaskResponse { sid: m.sid, shares: m.shares.iter().map(share).collect() }, m.encode())
        }
        _ => panic!("no kind {kind:?}"),
    })
}

/// One good message of each kind.
fn one_of_each() -> Vec<MessageInput> {
    let sid = sha256(b"a round");
    let sealed = |byte: u8| -> Sealed { [byte; SEALED_LENGTH] };
    let signature = |byte: u8| Signature([byte; 64]);
    let share = |byte: u8| Share([byte; 32]);
    let request = UnmaskRequest {
        sid,
        reveal_self_masks: set(&[1, 2, 4]),
        reveal_mask_keys: set(&[300]),
        signatures: vec![(number(1), signature(0xa1)), (number(2), signature(0xa2)), (number(4), signature(0xa4))],
        sharers_signatures: vec![(number(2), signature(0xb2))],
    };
    let shares =
        vec![(number(1), SecretKind::SelfMask, share(0xc1)), (number(10_000), SecretKind::MaskKey, share(0xc3))];
    let two = vec![(number(2), sealed(0xd2)), (number(300), sealed(0xd3))];
    let bytes = [
        ShareKeys { sid, commitment: sha256(b"commitment"), sealed: two.clone() }.encode(),
        DeliveredShares { sid, sharers: set(&[1, 2, 300]), sealed: two }.encode(),
        MaskedUpdateHeader { sid, length: 258, sha256: sha256(b"update"), sharers_signature: signature(0xe1) }.encode(),
        SurvivorSet { sid, survivors: set(&[1, 2, 255]) }.encode(),
        ConsistencySignature { sid, signature: signature(0xf1) }.encode(),
        request.encode(),
        UnmaskResponse { sid, shares }.encode(),
    ];
    KINDS
        .iter()
        .zip(bytes)
        .map(|(kind, bytes)| MessageInput { kind: (*kind).to_owned(), bytes: bytes.into() })
        .collect()
}

/// A small message of a kind, its bytes given after tag and sid.
fn raw(kind: usize, parts: &[&[u8]]) -> MessageInput {
    let tag = [u8::try_from(kind).expect("seven") + 1];
    let bytes = [&tag[..], &sha256(b"a round").0, &parts.concat()].concat();
    MessageInput { kind: KINDS[kind].to_owned(), bytes: bytes.into() }
}

/// An answer that lists these subjects, with these kinds of secrets.
fn answer(count: u16, items: &[(u16, u8)]) -> MessageInput {
    let item = |(subject, kind): &(u16, u8)| [&subject.to_be_bytes()[..], &[*kind], &[0xcc; 32]].concat();
    raw(6, &[&count.to_be_bytes(), &items.iter().flat_map(item).collect::<Vec<_>>()])
}

impl Topic for Messages {
    const FILE: &'static str = "messages";
    const ABOUT: &'static str = "A message of the kind it should be, decoded; the fields encode to the same bytes.";
    type Given = ();
    type Input = MessageInput;
    type Output = Fields;

    fn cases() -> Vec<Planned<MessageInput>> {
        let mut cases: Vec<_> = one_of_each().into_iter().map(|input| good(input.kind.clone(), input)).collect();
        cases.push(good("an answer with no share", answer(0, &[])));
        cases.push(good("shares for nobody", raw(0, &[&[0; 32], &[0, 0]])));
        for input in one_of_each() {
            let change = |change: fn(&mut Vec<u8>)| {
                let mut input = input.clone();
                change(&mut input.bytes.0);
                input
            };
            let (exact, tag) = ("a message ends where its content does", "the first byte is the kind's");
            let kind = &input.kind;
            cases.push(bad(format!("{kind}: the last byte is missing"), exact, "Length", change(|b| _ = b.pop())));
            cases.push(bad(format!("{kind}: a trailing byte"), exact, "Length", change(|b| b.push(0))));
            cases.push(bad(format!("{kind}: cut within sid"), exact, "Length", change(|b| b.truncate(PREFIX - 1))));
            cases.push(bad(format!("{kind}: no bytes"), exact, "Length", change(Vec::clear)));
            cases.push(bad(format!("{kind}: another kind's tag"), tag, "Tag", change(|b| b[0] = b[0] % 7 + 1)));
            cases.push(bad(format!("{kind}: an unknown tag"), tag, "Tag", change(|b| b[0] = 8)));
            cases.push(bad(format!("{kind}: tag 0"), tag, "Tag", change(|b| b[0] = 0)));
        }
        cases.extend(bad_lists());
        cases
    }

    fn run(_: Option<&()>, input: &MessageInput) -> Result<Fields, String> {
        let (fields, again) = decode(&input.kind, &input.bytes.0).map_err(|error| variant(&error))?;
        assert_eq!(again, input.bytes.0);
        Ok(fields)
    }
}

fn bad_lists() -> Vec<Planned<MessageInput>> {
    let (order, who) = ("lists are strictly ascending", "participants have numbers from 1 to 10,000");
    let kinds = "the secret is 1, a self-mask seed, or 2, a mask key";
    let (set_length, shortest) = ("a set has 32 to 1,251 bytes", "a set is as short as can be");
    let exact = "a message ends where its content does";
    let sealed = |numbers: [u16; 2]| {
        let item = |number: u16| [&number.to_be_bytes()[..], &[0xdd; SEALED_LENGTH]].concat();
        raw(0, &[&[0; 32], &[0, 2], &numbers.map(item).concat()])
    };
    let signed = |numbers: [u16; 2]| {
        let item = |number: u16| [&number.to_be_bytes()[..], &[0xee; 64]].concat();
        let sets = [&[0, 32][..], &[0; 32]].concat().repeat(2);
        raw(5, &[&sets, &[0, 2], &numbers.map(item).concat(), &[0, 0]])
    };
    let survivors = |length: u16, bytes: &[u8]| raw(3, &[&length.to_be_bytes(), bytes]);
    let long = |byte: u8| [&[0; 1_250][..], &[byte]].concat();
    vec![
        bad("share-keys: descending", order, "List", sealed([2, 1])),
        bad("share-keys: one recipient twice", order, "List", sealed([2, 2])),
        bad("share-keys: recipient 0", who, "List", sealed([0, 1])),
        bad("share-keys: recipient 10,001", who, "List", sealed([1, 10_001])),
        bad("unmask-request: signers descending", order, "List", signed([4, 3])),
        bad("unmask-request: one signer twice", order, "List", signed([3, 3])),
        bad("unmask-request: signer 0", who, "List", signed([0, 3])),
        bad("unmask-request: signer 65,535", who, "List", signed([3, 65_535])),
        bad("unmask-response: subjects descending", order, "List", answer(2, &[(2, 1), (1, 1)])),
        bad("unmask-response: both secrets of one subject", order, "List", answer(2, &[(2, 1), (2, 2)])),
        bad("unmask-response: subject 0", who, "List", answer(1, &[(0, 1)])),
        bad("unmask-response: a secret of kind 0", kinds, "List", answer(1, &[(1, 0)])),
        bad("unmask-response: a secret of kind 3", kinds, "List", answer(1, &[(1, 3)])),
        bad("unmask-response: more announced than listed", exact, "Length", answer(2, &[(1, 1)])),
        bad("unmask-response: fewer announced than listed", exact, "Length", answer(1, &[(1, 1), (2, 1)])),
        bad("survivor-set: a set of 31 bytes", set_length, "List", survivors(31, &[0; 31])),
        bad("survivor-set: a set of no bytes", set_length, "List", survivors(0, &[])),
        bad("survivor-set: a set with a last byte of zero", shortest, "List", survivors(33, &[0; 33])),
        bad("survivor-set: participant 0", who, "List", survivors(32, &[[1].as_slice(), &[0; 31]].concat())),
        bad("survivor-set: participant 10,001", who, "List", survivors(1_251, &long(2))),
        bad("survivor-set: a set longer than the message", exact, "Length", survivors(33, &[0; 32])),
    ]
}
