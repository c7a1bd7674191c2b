//! Seeds and keys of masks.

use ring::hkdf;
use x25519_dalek::{PublicKey, StaticSecret};

use super::keys::{LOW_ORDER, low_order};
use super::*;
use crate::secagg::graph::Sign;
use crate::secagg::keys::{AgreementKey, commitment, pair_seed, public_of, self_mask_key};

pub(super) struct PairSeeds;

#[derive(Serialize, Deserialize)]
pub(super) struct PairInput {
    sid: Sid,
    own: u16,
    own_mask_secret: Hex,
    other: u16,
    other_mask_key: AgreementKey,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct PairOutput {
    agreed: Hex,
    seed: Hex,
    sign: String,
}

impl Topic for PairSeeds {
    const FILE: &'static str = "pair-seeds";
    const ABOUT: &'static str = "The seed of the mask between two neighbours, and which end adds it.";
    type Given = ();
    type Input = PairInput;
    type Output = PairOutput;

    fn cases() -> Vec<Planned<PairInput>> {
        let secret =
            |text: &str| -> [u8; 32] { HEXLOWER.decode(text.as_bytes()).expect("hex").try_into().expect("32") };
        let (alice, bob) = (secret(ALICE), secret(BOB));
        let input = |own, own_secret: [u8; 32], other, other_mask_key| PairInput {
            sid: sha256(b"a round"),
            own,
            own_mask_secret: own_secret.into(),
            other,
            other_mask_key,
        };
        let mut cases = vec![
            good("the keys of RFC 7748, from one end", input(3, alice, 9, public_of(&bob))),
            good("the keys of RFC 7748, from the other end", input(9, bob, 3, public_of(&alice))),
            good("numbers of two bytes", input(10_000, alice, 256, public_of(&bob))),
        ];
        for (position, (name, _)) in LOW_ORDER.iter().enumerate() {
            let input = input(1, alice, 2, low_order(position));
            cases.push(bad(*name, "the agreed secret is not zero", "LowOrder", input));
        }
        cases
    }

    fn run(_: Option<&()>, input: &PairInput) -> Result<PairOutput, String> {
        let (own, other, secret) = (number(input.own), number(input.other), input.own_mask_secret.array());
        let seed = pair_seed(&input.sid, &secret, own, &input.other_mask_key, other).map_err(|e| variant(&e))?;
        let agreed = agreed(&secret, &input.other_mask_key);
        let (low, high) = (input.own.min(input.other), input.own.max(input.other));
        assert_eq!(derived(&input.sid, &agreed, b"forecastle/secagg/pair-mask/v1\0", low, high), *seed);
        Ok(PairOutput { agreed: agreed.into(), seed: seed.as_slice().into(), sign: sign(Sign::of_pair(own, other)) })
    }
}

pub(super) fn sign(sign: Sign) -> String {
    match sign {
        Sign::Plus => "+".to_owned(),
        Sign::Minus => "-".to_owned(),
    }
}

pub(super) fn agreed(secret: &[u8; 32], other: &AgreementKey) -> [u8; 32] {
    StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(other.0)).to_bytes()
}

/// The derivation once more, written out.
pub(super) fn derived(sid: &Sid, secret: &[u8; 32], label: &[u8], first: u16, second: u16) -> [u8; 32] {
    let info = [label, &first.to_be_bytes(), &second.to_be_bytes()].concat();
    let mut out = [0; 32];
    let key = hkdf::Salt::new(hkdf::HKDF_SHA256, &sid.0).extract(secret);
    key.expand(&[&info], hkdf::HKDF_SHA256).and_then(|key| key.fill(&mut out)).expect("one block");
    out
}

pub(super) struct SelfMasks;

#[derive(Serialize, Deserialize)]
pub(super) struct SelfMaskInput {
    sid: Sid,
    owner: u16,
    seed: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SelfMaskOutput {
    key: Hex,
    commitment: Sha256Digest,
}

impl Topic for SelfMasks {
    const FILE: &'static str = "self-masks";
    const ABOUT: &'static str = "The key of a participant's own mask from its seed b, and the commitment H(b).";
    type Given = ();
    type Input = SelfMaskInput;
    type Output = SelfMaskOutput;

    fn cases() -> Vec<Planned<SelfMaskInput>> {
        let input = |owner, seed: [u8; 32]| SelfMaskInput { sid: sha256(b"a round"), owner, seed: seed.into() };
        vec![
            good("participant 1", input(1, fixed("b"))),
            good("the same seed of participant 10,000", input(10_000, fixed("b"))),
            good("a seed of zeros", input(256, [0; 32])),
        ]
    }

    fn run(_: Option<&()>, input: &SelfMaskInput) -> Result<SelfMaskOutput, String> {
        let (seed, owner) = (input.seed.array(), number(input.owner));
        let key = self_mask_key(&input.sid, &seed, owner);
        assert_eq!(derived(&input.sid, &seed, b"forecastle/secagg/self-mask/v1\0", input.owner, 0), *key);
        Ok(SelfMaskOutput { key: key.as_slice().into(), commitment: commitment(&input.sid, &seed, owner) })
    }
}
