//! Messages that the server turns away in the middle of a round.

use super::rounds::{RoundInput, complete};
use super::stages::begin;
use super::*;
use crate::identity::Signature;
use crate::secagg::error::NotTaken;
use crate::secagg::messages::{SHARERS_CONTEXT, SecretKind, consistency_message, sharers_message};
use crate::secagg::shamir::Share;

/// Tags of messages that begin a stage.
const SHARE_KEYS: u8 = 1;
const MASKED_UPDATE_HEADER: u8 = 3;
const CONSISTENCY_SIGNATURE: u8 = 5;

pub(super) struct AtServer;

/// What arrives from a participant; after a header, `upload` are the bytes that follow.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ServerInput {
    from: u16,
    messages: Vec<Hex>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    upload: Option<Hex>,
}

impl Topic for AtServer {
    const FILE: &'static str = "server-refusals";
    const ABOUT: &'static str = "In the given round, everything before is as it should be and nothing of this stage has arrived; then \
         these messages come from a participant. The last of them is taken or refused.";
    type Given = RoundInput;
    type Input = ServerInput;
    type Output = Accepted;

    fn given() -> Option<RoundInput> {
        Some(complete())
    }

    fn cases() -> Vec<Planned<ServerInput>> {
        let mut cases = share_messages();
        cases.extend(uploads());
        cases.extend(signatures());
        cases.extend(answers());
        cases
    }

    fn run(round: Option<&RoundInput>, input: &ServerInput) -> Result<Accepted, String> {
        let (round, from) = (round.expect("the file's round"), number(input.from));
        let mut last = Ok(());
        let offered = begin(round);
        let tag = input.messages[0].0[0];
        let mut each = |receive: &mut dyn FnMut(&[u8]) -> Result<(), NotTaken>| {
            input.messages.iter().for_each(|message| last = receive(&message.0));
        };
        if tag == SHARE_KEYS {
            let mut aggregator = offered.aggregator;
            each(&mut |bytes| aggregator.receive(from, &ShareKeys::decode(bytes).expect("well formed")));
        } else if tag == MASKED_UPDATE_HEADER {
            let mut aggregator = offered.share(round).0.aggregator;
            each(&mut |bytes| {
                let header = MaskedUpdateHeader::decode(bytes).expect("well formed");
                let mut upload = aggregator.begin_upload(from, header)?;
                upload.push(0, &input.upload.as_ref().expect("bytes follow").0)?;
                aggregator.complete(upload)
            });
        } else {
            let (masked, _) = offered.share(round).0.mask(round);
            if tag == CONSISTENCY_SIGNATURE {
                let (mut aggregator, _) = masked.aggregator.close().expect("enough");
                each(&mut |bytes| {
                    let message = ConsistencySignature::decode(bytes).expect("well formed");
                    Ok(aggregator.receive(from, &message)?)
                });
            } else {
                let (mut aggregator, _) = masked.confirm(round).0.answers();
                each(&mut |bytes| aggregator.receive(from, &UnmaskResponse::decode(bytes).expect("well formed")));
            }
        }
        last.map(|()| ACCEPTED).map_err(|error| match error {
            NotTaken::Misbehaved(error) => variant(&error),
            NotTaken::Spool(error) => panic!("{error}"),
        })
    }
}

fn sent(from: u16, messages: &[Vec<u8>]) -> ServerInput {
    ServerInput { from, messages: messages.iter().map(Hex::from).collect(), upload: None }
}

fn share_messages() -> Vec<Planned<ServerInput>> {
    let round = complete();
    let (_, messages) = begin(&round).share(&round);
    let own = &messages[&number(1)];
    let with = |change: &dyn Fn(&mut ShareKeys)| {
        let mut message = own.clone();
        change(&mut message);
        message.encode()
    };
    let as_sent = own.encode();
    let recipients = "there is one ciphertext for each neighbour, and no other";
    vec![
        good("shares", sent(1, std::slice::from_ref(&as_sent))),
        good("shares, repeated", sent(1, &[as_sent.clone(), as_sent.clone()])),
        bad(
            "shares of a stranger",
            "the sender is in the roster",
            "NotExpected",
            sent(5, std::slice::from_ref(&as_sent)),
        ),
        bad(
            "shares of another round",
            "sid is the round's",
            "ForeignRound",
            sent(1, &[with(&|m| m.sid = other_sid())]),
        ),
        bad("another's shares", recipients, "WrongRecipients", sent(2, std::slice::from_ref(&as_sent))),
        bad("a share too few", recipients, "WrongRecipients", sent(1, &[with(&|m| _ = m.sealed.pop())])),
        bad(
            "other shares after the first",
            "one message a stage",
            "Equivocation",
            sent(1, &[as_sent, with(&|m| m.commitment = sha256(b"other"))]),
        ),
    ]
}

fn uploads() -> Vec<Planned<ServerInput>> {
    let round = complete();
    let (_, updates) = begin(&round).share(&round).0.mask(&round);
    let masked = &updates[&number(1)].1;
    let sharers = ParticipantSet::first(4);
    let upload = |from: u16, change: &dyn Fn(&mut MaskedUpdateHeader), bytes: &[u8]| {
        let mut header = masked.header().clone();
        change(&mut header);
        ServerInput { upload: Some(bytes.into()), ..sent(from, &[header.encode()]) }
    };
    let whole = masked.bytes();
    let mut padded = whole.to_vec();
    *padded.last_mut().expect("bytes") |= 0x80;
    let sign = |of: u16, sid: &Sid, sharers: &ParticipantSet| -> Signature {
        round.identity(number(of)).sign(SHARERS_CONTEXT, &sharers_message(sid, sharers))
    };
    let sid = masked.header().sid;
    let on_fewer = sign(1, &sid, &set(&[1, 2, 4]));
    let (statement, digest) =
        ("the sender signed sid and U1", "the bytes have the announced digest and no padding bit set");
    let due = "ceil(d b / 8) bytes are due";
    let second = sign(2, &sid, &sharers);
    vec![
        good("a masked update", upload(1, &|_| (), whole)),
        bad(
            "a header of another round",
            "sid is the round's",
            "ForeignRound",
            upload(1, &|h| h.sid = other_sid(), whole),
        ),
        bad("a byte too many announced", due, "UploadLength", upload(1, &|h| h.length += 1, whole)),
        bad(
            "masked against another U1",
            statement,
            "OtherSharers",
            upload(1, &|h| h.sharers_signature = on_fewer, whole),
        ),
        bad("another's header", statement, "OtherSharers", upload(2, &|_| (), whole)),
        bad("another's statement", statement, "OtherSharers", upload(1, &|h| h.sharers_signature = second, whole)),
        bad("a byte missing", due, "UploadIncomplete", upload(1, &|_| (), &whole[1..])),
        bad("a byte too many", due, "UploadGap", upload(1, &|_| (), &[whole, &[0]].concat())),
        bad("other bytes than announced", digest, "UploadDigest", upload(1, &|_| (), &vec![0; whole.len()])),
        bad("a padding bit", digest, "UploadDigest", upload(1, &|h| h.sha256 = sha256(&padded), &padded)),
        bad("not in the roster", "the sender is in U1", "NotExpected", upload(5, &|_| (), whole)),
    ]
}

fn signatures() -> Vec<Planned<ServerInput>> {
    let round = complete();
    let (_, signatures) = begin(&round).share(&round).0.mask(&round).0.confirm(&round);
    let own = &signatures[&number(1)];
    let sharers = ParticipantSet::first(4);
    let elsewhere =
        round.identity(number(1)).sign(SHARERS_CONTEXT, &consistency_message(&own.sid, &sharers, &set(&[1, 2, 4])));
    let with = |from, change: &dyn Fn(&mut ConsistencySignature)| {
        let mut message = own.clone();
        change(&mut message);
        sent(from, &[message.encode()])
    };
    let statement = "the sender signed sid, U1 and U2";
    vec![
        good("a consistency signature", with(1, &|_| ())),
        bad("a signature of another round", "sid is the round's", "ForeignRound", with(1, &|m| m.sid = other_sid())),
        bad("a signature of a drop-out", "the sender is in U2", "NotExpected", with(3, &|_| ())),
        bad("another's signature", statement, "ConsistencyForged", with(2, &|_| ())),
        bad("a signature for another purpose", statement, "ConsistencyForged", with(1, &|m| m.signature = elsewhere)),
    ]
}

fn answers() -> Vec<Planned<ServerInput>> {
    let round = complete();
    let (_, answers) = begin(&round).share(&round).0.mask(&round).0.confirm(&round).0.answers();
    let own = &answers[&number(1)].1;
    let with = |change: &dyn Fn(&mut UnmaskResponse)| {
        let mut message = own.clone();
        change(&mut message);
        message.encode()
    };
    let as_sent = own.encode();
    let asked = "shares are of U1, of self-mask seeds in U2 and of mask keys outside it";
    let case = |name, refused, bytes: Vec<u8>| bad(name, asked, refused, sent(1, &[bytes]));
    vec![
        good("an answer", sent(1, std::slice::from_ref(&as_sent))),
        good("an answer, repeated", sent(1, &[as_sent.clone(), as_sent.clone()])),
        good("an answer without a share that did not open", sent(1, &[with(&|m| _ = m.shares.pop())])),
        case("the mask key of a survivor", "OtherShares", with(&|m| m.shares[1].1 = SecretKind::MaskKey)),
        case("the self-mask seed of the drop-out", "OtherShares", with(&|m| m.shares[2].1 = SecretKind::SelfMask)),
        case(
            "a share of a stranger's secret",
            "OtherShares",
            with(&|m| {
                m.shares.push((number(5), SecretKind::MaskKey, Share([0; 32])));
            }),
        ),
        bad(
            "an answer of another round",
            "sid is the round's",
            "ForeignRound",
            sent(1, &[with(&|m| m.sid = other_sid())]),
        ),
        bad(
            "an answer of a drop-out",
            "the sender signed U1 and U2",
            "NotExpected",
            sent(3, std::slice::from_ref(&as_sent)),
        ),
        bad(
            "another answer after the first",
            "one message a stage",
            "Equivocation",
            sent(1, &[as_sent, with(&|m| m.shares[0].2.0[0] ^= 1)]),
        ),
    ]
}
