//! Shares on their way: encrypted and opened.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use super::keys::low_order;
use super::pairs::{agreed, derived};
use super::*;
use crate::secagg::keys::{AgreementKey, Channel, ChannelSecret, public_of};
use crate::secagg::messages::HeldShares;
use crate::secagg::shamir::Share;

pub(super) struct Sealing;

#[derive(Serialize, Deserialize)]
pub(super) struct SealingInput {
    sid: Sid,
    from: u16,
    to: u16,
    from_channel_secret: Hex,
    to_channel_key: AgreementKey,
    mask_key_share: Hex,
    self_mask_share: Hex,
    nonce: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SealingOutput {
    agreed: Hex,
    key: Hex,
    associated: Hex,
    plain: Hex,
    sealed: Hex,
}

impl SealingInput {
    fn of(from: u16, to: u16) -> Self {
        Self {
            sid: sha256(b"a round"),
            from,
            to,
            from_channel_secret: fixed("C one").into(),
            to_channel_key: public_of(&fixed("C two")),
            mask_key_share: fixed("a share of S").into(),
            self_mask_share: fixed("a share of b").into(),
            nonce: Hex::from(&fixed("nonce")[..12]),
        }
    }

    fn plain(&self) -> Vec<u8> {
        let share = |bytes: &Hex| Share(bytes.array());
        let held = HeldShares { mask_key: share(&self.mask_key_share), self_mask: share(&self.self_mask_share) };
        held.write(number(self.from), number(self.to)).to_vec()
    }

    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        let secret = ChannelSecret::agree(&self.from_channel_secret.array(), &self.to_channel_key);
        let secret = secret.map_err(|error| variant(&error))?;
        let channel = Channel::new(&self.sid, &secret, number(self.from), number(self.to));
        Ok(channel.seal(plain, &mut Given(self.nonce.0.clone())).expect("given"))
    }
}

impl Topic for Sealing {
    const FILE: &'static str = "sealing";
    const ABOUT: &'static str = "Two shares, encrypted from one participant to another under a given nonce.";
    type Given = ();
    type Input = SealingInput;
    type Output = SealingOutput;

    fn cases() -> Vec<Planned<SealingInput>> {
        let weak = SealingInput { to_channel_key: low_order(5), ..SealingInput::of(1, 2) };
        vec![
            good("from 1 to 2", SealingInput::of(1, 2)),
            good("from 2 to 1: another key", SealingInput::of(2, 1)),
            good("numbers of two bytes", SealingInput::of(300, 10_000)),
            bad("to a key of low order", "the agreed secret is not zero", "LowOrder", weak),
        ]
    }

    fn run(_: Option<&()>, input: &SealingInput) -> Result<SealingOutput, String> {
        let plain = input.plain();
        let sealed = input.seal(&plain)?;
        let agreed = agreed(&input.from_channel_secret.array(), &input.to_channel_key);
        let key = derived(&input.sid, &agreed, b"forecastle/secagg/shares/v1\0", input.from, input.to);
        let associated = [&input.sid.0, &input.from.to_be_bytes()[..], &input.to.to_be_bytes()].concat();
        let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).expect("32 bytes"));
        let (nonce, mut body) = (Nonce::assume_unique_for_key(input.nonce.array()), plain.clone());
        cipher.seal_in_place_append_tag(nonce, Aad::from(&associated), &mut body).expect("short");
        assert_eq!([input.nonce.0.as_slice(), &body].concat(), sealed);
        let (agreed, key) = (Hex::from(agreed), Hex::from(key));
        Ok(SealingOutput { agreed, key, associated: associated.into(), plain: plain.into(), sealed: sealed.into() })
    }
}

pub(super) struct Opening;

#[derive(Serialize, Deserialize)]
pub(super) struct OpeningInput {
    sid: Sid,
    from: u16,
    to: u16,
    from_channel_key: AgreementKey,
    to_channel_secret: Hex,
    sealed: Hex,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct OpeningOutput {
    mask_key_share: Hex,
    self_mask_share: Hex,
}

impl Topic for Opening {
    const FILE: &'static str = "opening";
    const ABOUT: &'static str = "Encrypted shares, opened by the recipient.";
    type Given = ();
    type Input = OpeningInput;
    type Output = OpeningOutput;

    fn cases() -> Vec<Planned<OpeningInput>> {
        let made = SealingInput::of(1, 2);
        let input = |sealed: Vec<u8>| OpeningInput {
            sid: made.sid,
            from: 1,
            to: 2,
            from_channel_key: public_of(&made.from_channel_secret.array()),
            to_channel_secret: fixed("C two").into(),
            sealed: sealed.into(),
        };
        let plain = made.plain();
        let sealed = made.seal(&plain).expect("good keys");
        let flipped = |at: usize| {
            let mut bytes = sealed.clone();
            bytes[at] ^= 1;
            input(bytes)
        };
        let tag = "AES-256-GCM opens nonce, ciphertext and tag as they were sealed";
        let ends = "the plaintext names sender and recipient";
        let foreign = |from: u16, to: u16| [&from.to_be_bytes()[..], &to.to_be_bytes(), &plain[4..]].concat();
        let sealed_as = |plain: &[u8]| input(made.seal(plain).expect("good keys"));
        let bound = "key and associated data hold sid, sender and recipient";
        let refused = "Unreadable";
        vec![
            good("as sealed", input(sealed.clone())),
            bad("one bit of the nonce changed", tag, refused, flipped(0)),
            bad("one bit of the ciphertext changed", tag, refused, flipped(12)),
            bad("one bit of the tag changed", tag, refused, flipped(sealed.len() - 1)),
            bad("cut within the nonce", tag, refused, input(sealed[..11].to_vec())),
            bad("another round", bound, refused, OpeningInput { sid: sha256(b"another"), ..input(sealed.clone()) }),
            bad("another recipient", bound, refused, OpeningInput { to: 3, ..input(sealed.clone()) }),
            bad("the other direction", bound, refused, OpeningInput { from: 2, to: 1, ..input(sealed.clone()) }),
            bad("the plaintext names another sender", ends, refused, sealed_as(&foreign(3, 2))),
            bad("the plaintext names another recipient", ends, refused, sealed_as(&foreign(1, 3))),
            bad("a plaintext that is too short", "the plaintext has 68 bytes", refused, sealed_as(&plain[..67])),
            bad(
                "a plaintext that is too long",
                "the plaintext has 68 bytes",
                refused,
                sealed_as(&[plain.as_slice(), &[0]].concat()),
            ),
        ]
    }

    fn run(_: Option<&()>, input: &OpeningInput) -> Result<OpeningOutput, String> {
        let (from, to) = (number(input.from), number(input.to));
        let secret = ChannelSecret::agree(&input.to_channel_secret.array(), &input.from_channel_key);
        let channel = Channel::new(&input.sid, &secret.map_err(|error| variant(&error))?, from, to);
        let held = channel.open(&input.sealed.0).and_then(|plain| HeldShares::read(&plain, from, to));
        let held = held.ok_or_else(|| "Unreadable".to_owned())?;
        Ok(OpeningOutput { mask_key_share: held.mask_key.0.into(), self_mask_share: held.self_mask.0.into() })
    }
}
