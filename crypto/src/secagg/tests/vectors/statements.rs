//! What participants sign about sets.

use super::*;
use crate::identity::Signature;
use crate::secagg::messages::{CONSISTENCY_CONTEXT, SHARERS_CONTEXT, consistency_message, sharers_message};

/// A statement: on U1 alone, or on U1 and U2.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Statement {
    sid: Sid,
    sharers: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    survivors: Option<Vec<u16>>,
}

impl Statement {
    fn on(sharers: &[u16], survivors: Option<&[u16]>) -> Self {
        Self { sid: sha256(b"a round"), sharers: sharers.to_vec(), survivors: survivors.map(<[u16]>::to_vec) }
    }

    fn context(&self) -> &'static str {
        if self.survivors.is_some() { CONSISTENCY_CONTEXT } else { SHARERS_CONTEXT }
    }

    fn message(&self) -> Vec<u8> {
        let sharers = set(&self.sharers);
        match &self.survivors {
            Some(survivors) => consistency_message(&self.sid, &sharers, &set(survivors)),
            None => sharers_message(&self.sid, &sharers),
        }
    }
}

pub(super) struct Statements;

#[derive(Serialize, Deserialize)]
pub(super) struct StatementInput {
    identity_seed: Hex,
    statement: Statement,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StatementOutput {
    identity: VerifyingKey,
    signed: Hex,
    signature: Signature,
}

impl Topic for Statements {
    const FILE: &'static str = "statements";
    const ABOUT: &'static str = "The statement on U1 that goes with a masked update, or, where `survivors` are given, the one on U1 \
         and U2; `signed` is what Ed25519 signs.";
    type Given = ();
    type Input = StatementInput;
    type Output = StatementOutput;

    fn cases() -> Vec<Planned<StatementInput>> {
        let input = |statement| StatementInput { identity_seed: fixed("identity of shop-1").into(), statement };
        vec![
            good("on U1", input(Statement::on(&[1, 2, 3, 4], None))),
            good("on U1 and U2", input(Statement::on(&[1, 2, 3, 4], Some(&[1, 2, 4])))),
            good("U1 of more than 32 bytes", input(Statement::on(&[1, 2, 300], None))),
            good("both of more than 32 bytes", input(Statement::on(&[1, 2, 300, 9_999], Some(&[1, 300])))),
        ]
    }

    fn run(_: Option<&()>, input: &StatementInput) -> Result<StatementOutput, String> {
        let (key, statement) = (signing_key(&input.identity_seed), &input.statement);
        let signature = key.sign(statement.context(), &statement.message());
        let signed = [statement.context().as_bytes(), b"\0", &statement.message()].concat();
        assert_eq!(key.sign_raw(&signed), signature);
        Ok(StatementOutput { identity: key.verifying_key(), signed: signed.into(), signature })
    }
}

pub(super) struct Verification;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct VerificationInput {
    identity: VerifyingKey,
    statement: Statement,
    signature: Signature,
}

/// L, the order of Ed25519's base point, little-endian (RFC 8032 §5.1).
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature with S + L in place of S.
fn malleated(signature: &Signature) -> Signature {
    let (mut out, mut carry) = (*signature, 0u16);
    for (digit, order) in out.0[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*digit) + u16::from(order) + carry;
        (*digit, carry) = (sum.to_le_bytes()[0], sum >> 8);
    }
    out
}

impl Topic for Verification {
    const FILE: &'static str = "verification";
    const ABOUT: &'static str = "Whether a statement is signed by an identity key.";
    type Given = ();
    type Input = VerificationInput;
    type Output = Accepted;

    fn cases() -> Vec<Planned<VerificationInput>> {
        let key = signing_key(&fixed("identity of shop-1").into());
        let signed = |statement: Statement| {
            let signature = key.sign(statement.context(), &statement.message());
            VerificationInput { identity: key.verifying_key(), statement, signature }
        };
        let on_u1 = signed(Statement::on(&[1, 2, 3, 4], None));
        let on_both = signed(Statement::on(&[1, 2, 3, 4], Some(&[1, 2, 4])));
        let with = |change: fn(&mut VerificationInput)| {
            let mut input = on_both.clone();
            change(&mut input);
            input
        };
        let other_context =
            VerificationInput { signature: key.sign(SHARERS_CONTEXT, &on_both.statement.message()), ..on_both.clone() };
        let no_context = VerificationInput { signature: key.sign_raw(&on_both.statement.message()), ..on_both.clone() };
        let covers = "the statement covers sid, H(U1) and H(U2) in this order";
        let (context, whose) =
            ("what is signed is context, a zero byte, message", "the signature is the identity key's");
        let refused = "BadSignature";
        vec![
            good("on U1", on_u1.clone()),
            good("on U1 and U2", on_both.clone()),
            bad("another round", covers, refused, with(|i| i.statement.sid = sha256(b"another"))),
            bad("another U1", covers, refused, with(|i| i.statement.sharers = vec![1, 2, 4])),
            bad("another U2", covers, refused, with(|i| i.statement.survivors = Some(vec![1, 2, 3, 4]))),
            bad(
                "U1 and U2 exchanged",
                covers,
                refused,
                with(|i| i.statement = Statement::on(&[1, 2, 4], Some(&[1, 2, 3, 4]))),
            ),
            bad(
                "the statement on U1 for that on both",
                covers,
                refused,
                VerificationInput { signature: on_u1.signature, ..on_both.clone() },
            ),
            bad("the other statement's context", context, refused, other_context),
            bad("no context", context, refused, no_context),
            bad(
                "another identity key",
                whose,
                refused,
                with(|i| i.identity = signing_key(&fixed("identity of shop-2").into()).verifying_key()),
            ),
            bad("a bit of R changed", whose, refused, with(|i| i.signature.0[0] ^= 1)),
            bad("a bit of S changed", whose, refused, with(|i| i.signature.0[32] ^= 1)),
            bad(
                "S above the group's order",
                "S < L (RFC 8032 §5.1.7)",
                refused,
                with(|i| {
                    i.signature = malleated(&i.signature);
                }),
            ),
        ]
    }

    fn run(_: Option<&()>, input: &VerificationInput) -> Result<Accepted, String> {
        let verified = input.identity.verify(input.statement.context(), &input.statement.message(), &input.signature);
        verified.map(|()| ACCEPTED).map_err(|error| variant(&error))
    }
}
