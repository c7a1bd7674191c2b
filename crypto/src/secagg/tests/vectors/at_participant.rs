//! Messages that a participant refuses in the middle of a round.

use super::rounds::{RoundInput, complete};
use super::stages::begin;
use super::*;
use crate::secagg::messages::{CONSISTENCY_CONTEXT, SHARERS_CONTEXT, consistency_message, sharers_message};

/// Tags of messages that begin a stage.
const DELIVERED_SHARES: u8 = 2;
const SURVIVOR_SET: u8 = 4;

pub(super) struct AtParticipant;

#[derive(Serialize, Deserialize)]
pub(super) struct ParticipantInput {
    participant: u16,
    messages: Vec<Hex>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Reply {
    reply: Hex,
}

impl Topic for AtParticipant {
    const FILE: &'static str = "participant-refusals";
    const ABOUT: &'static str = "In the given round, everything before is as it should be; then the participant is sent these \
         messages. The last of them is answered with the reply, or refused.";
    type Given = RoundInput;
    type Input = ParticipantInput;
    type Output = Reply;

    fn given() -> Option<RoundInput> {
        Some(complete())
    }

    fn cases() -> Vec<Planned<ParticipantInput>> {
        let mut cases = deliveries();
        cases.extend(survivor_sets());
        cases.extend(requests());
        cases
    }

    fn run(round: Option<&RoundInput>, input: &ParticipantInput) -> Result<Reply, String> {
        let (round, own, first) = (round.expect("the file's round"), number(input.participant), &input.messages[0].0);
        let reply = |bytes: Vec<u8>| Reply { reply: bytes.into() };
        let refused = |error: ParticipantError| variant(&error);
        let (mut shared, _) = begin(round).share(round);
        if first[0] == DELIVERED_SHARES {
            let delivered = DeliveredShares::decode(first).expect("well formed");
            let (_, masked) = shared.mask_one(round, own, delivered).map_err(refused)?;
            return Ok(reply(masked.header().encode()));
        }
        let (mut masked, _) = shared.mask(round);
        if first[0] == SURVIVOR_SET {
            let state = masked.states.remove(&own).expect("it delivered");
            let (_, message) = state.confirm(SurvivorSet::decode(first).expect("well formed")).map_err(refused)?;
            return Ok(reply(message.encode()));
        }
        let (mut confirmed, _) = masked.confirm(round);
        let state = confirmed.states.remove(&own).expect("it confirmed");
        let request = |bytes: &Hex| UnmaskRequest::decode(&bytes.0).expect("well formed");
        let answered = state.unmask(&request(&input.messages[0])).map_err(refused)?;
        let last = input.messages.last().expect("a message");
        Ok(reply(answered.answer(&request(last)).map_err(refused)?.encode()))
    }
}

fn to(participant: u16, messages: &[Vec<u8>]) -> ParticipantInput {
    ParticipantInput { participant, messages: messages.iter().map(Hex::from).collect() }
}

fn deliveries() -> Vec<Planned<ParticipantInput>> {
    let round = complete();
    let (mut shared, _) = begin(&round).share(&round);
    let mut honest = |to: u16| shared.aggregator.delivery(number(to)).expect("in U1");
    let (first, second) = (honest(1), honest(2));
    let with = |change: &dyn Fn(&mut DeliveredShares)| {
        let mut delivered = first.clone();
        change(&mut delivered);
        to(1, &[delivered.encode()])
    };
    let mismatch = "there is one ciphertext from each neighbour in U1, and no other";
    vec![
        good("the shares as they were sent", with(&|_| ())),
        good("ciphertexts for somebody else are passed over", with(&|d| d.sealed[1] = second.sealed[1])),
        bad("a delivery of another round", "sid is the round's", "ForeignRound", with(&|d| d.sid = other_sid())),
        bad("U1 with a stranger", "U1 is within the roster", "Strangers", with(&|d| _ = d.sharers.insert(number(5)))),
        bad(
            "U1 without the recipient",
            "U1 holds the recipient",
            "LeftOut",
            with(&|d| _ = d.sharers.remove(number(1))),
        ),
        bad("U1 of two", "U1 has at least m members", "TooFew", with(&|d| d.sharers = set(&[1, 2]))),
        bad("U1 of three, shares of four", mismatch, "SharesMismatch", with(&|d| _ = d.sharers.remove(number(4)))),
        bad("shares of three, U1 of four", mismatch, "SharesMismatch", with(&|d| _ = d.sealed.pop())),
    ]
}

fn survivor_sets() -> Vec<Planned<ParticipantInput>> {
    let round = complete();
    let (masked, _) = begin(&round).share(&round).0.mask(&round);
    let sid = masked.aggregator.offer().sid();
    let message = |sid, members: &[u16]| to(1, &[SurvivorSet { sid, survivors: set(members) }.encode()]);
    vec![
        good("the survivors", message(sid, &[1, 2, 4])),
        bad("survivors of another round", "sid is the round's", "ForeignRound", message(other_sid(), &[1, 2, 4])),
        bad("a survivor outside U1", "U2 is within U1", "Strangers", message(sid, &[1, 2, 4, 5])),
        bad("U2 without the recipient", "U2 holds the recipient", "LeftOut", message(sid, &[2, 3, 4])),
        bad("two survivors", "U2 has at least m members", "TooFew", message(sid, &[1, 2])),
    ]
}

fn requests() -> Vec<Planned<ParticipantInput>> {
    let round = complete();
    let (confirmed, _) = begin(&round).share(&round).0.mask(&round).0.confirm(&round);
    let aggregator = confirmed.aggregator.close().expect("enough");
    let honest = aggregator.request(number(1)).expect("it signed");
    let (sid, sharers) = (honest.sid, ParticipantSet::first(4));
    let with = |change: &dyn Fn(&mut UnmaskRequest)| {
        let mut request = honest.clone();
        change(&mut request);
        request.encode()
    };
    let key = |of: u16| round.identity(number(of));
    let on_everybody = key(2).sign(CONSISTENCY_CONTEXT, &consistency_message(&sid, &sharers, &sharers));
    let on_fewer = key(2).sign(SHARERS_CONTEXT, &sharers_message(&sid, &set(&[1, 2, 4])));
    let (both, sets) = ("no participant is in both lists", "the lists are U2 and U1 without U2");
    let statements = "at least q survivors signed";
    let masked = "each survivor whose share is opened signed the same U1, but for oneself";
    let case = |name, rule, refused, bytes: Vec<u8>| bad(name, rule, refused, to(1, &[bytes]));
    vec![
        good("the request", to(1, &[with(&|_| ())])),
        good("the same request again", to(1, &[with(&|_| ()), with(&|_| ())])),
        case("a request of another round", "sid is the round's", "ForeignRound", with(&|r| r.sid = other_sid())),
        case("both secrets of 2", both, "BothSecrets", with(&|r| _ = r.reveal_mask_keys.insert(number(2)))),
        case("nothing of the drop-out", sets, "OtherSets", with(&|r| r.reveal_mask_keys = ParticipantSet::new())),
        case(
            "the mask key of a survivor",
            sets,
            "OtherSets",
            with(&|r| {
                r.reveal_self_masks = set(&[1, 4]);
                r.reveal_mask_keys = set(&[2, 3]);
            }),
        ),
        case("two signatures", statements, "TooFew", with(&|r| r.signatures.truncate(2))),
        case(
            "a signer who did not survive",
            "signers are in U2",
            "Strangers",
            with(&|r| {
                let signature = r.signatures[2].1;
                r.signatures[2] = (number(3), signature);
                r.signatures.push((number(4), signature));
            }),
        ),
        case(
            "a statement on another U2",
            "statements are on U1 and U2",
            "ConsistencyForged",
            with(&|r| r.signatures[1].1 = on_everybody),
        ),
        case(
            "another's statement",
            "statements are their signers'",
            "ConsistencyForged",
            with(&|r| r.signatures[1].1 = r.signatures[0].1),
        ),
        case("2 masked against another U1", masked, "OtherSharers", with(&|r| r.sharers_signatures[0].1 = on_fewer)),
        case("nothing says against whom 4 masked", masked, "OtherSharers", with(&|r| _ = r.sharers_signatures.pop())),
        bad(
            "a second, different request",
            "a round has one answer",
            "SecondRequest",
            to(1, &[with(&|_| ()), with(&|r| _ = r.sharers_signatures.pop())]),
        ),
    ]
}
