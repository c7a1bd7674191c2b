//! Who says something: merchants' names, Ed25519 keys, and the digests that messages are known by.
//!
//! The invariant: no signature made for one purpose verifies for another. Every signing call names its context, and
//! what is signed is `context ‖ 0x00 ‖ message`; contexts are constants of this workspace and hold no zero byte.
//! Signatures are Ed25519 (RFC 8032) through ring, and nothing verifies under a key of low order.
//!
//! Left out on purpose: certificates and invitations, which belong to the transport that checks them.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE as HEX;
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A merchant's name inside one federation: 1 to 64 characters out of `a-z`, `0-9` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MerchantId(String);

/// Why a text is no merchant id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MerchantIdError {
    /// Empty, or longer than 64 characters.
    #[error("a merchant id has 1 to 64 characters, this one has {0}")]
    Length(usize),
    /// A character outside the alphabet.
    #[error("a merchant id holds only a-z, 0-9 and '-', this one holds {0:?}")]
    Character(char),
}

impl MerchantId {
    /// The longest id, in characters.
    pub const MAX_LENGTH: usize = 64;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for MerchantId {
    type Error = MerchantIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(character) = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-')) {
            return Err(MerchantIdError::Character(character));
        }
        if text.is_empty() || text.len() > Self::MAX_LENGTH {
            return Err(MerchantIdError::Length(text.len()));
        }
        Ok(Self(text))
    }
}

impl FromStr for MerchantId {
    type Err = MerchantIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl From<MerchantId> for String {
    fn from(id: MerchantId) -> Self {
        id.0
    }
}

impl fmt::Display for MerchantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that should be the hexadecimal form of `N` bytes and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found:?}")]
pub struct HexError {
    expected: usize,
    found: String,
}

pub(crate) fn parse_hex<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let refused = || HexError { expected: 2 * N, found: text.chars().take(2 * N + 8).collect() };
    let bytes = HEX.decode(text.as_bytes()).map_err(|_| refused())?;
    bytes.try_into().map_err(|_| refused())
}

macro_rules! hex_bytes {
    ($type:ident, $length:literal) => {
        impl $type {
            /// The raw bytes.
            pub const fn as_bytes(&self) -> &[u8; $length] {
                &self.0
            }

            /// Wraps raw bytes.
            pub const fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($type), "({})"), self)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::identity::HexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $crate::identity::parse_hex(text).map(Self)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <String as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use hex_bytes;

/// A SHA-256 digest (FIPS 180-4). Text form: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);
hex_bytes!(Sha256Digest, 32);

impl Sha256Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        sha256(bytes)
    }
}

/// SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    let mut stream = Sha256Stream::new();
    stream.update(bytes);
    stream.finish()
}

/// SHA-256 of bytes that arrive piece by piece.
#[derive(Clone)]
pub struct Sha256Stream(ring::digest::Context);

impl Sha256Stream {
    /// An empty stream.
    pub fn new() -> Self {
        Self(ring::digest::Context::new(&ring::digest::SHA256))
    }

    /// Appends `bytes`.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of everything appended.
    pub fn finish(self) -> Sha256Digest {
        let mut out = [0u8; 32];
        out.copy_from_slice(self.0.finish().as_ref());
        Sha256Digest(out)
    }
}

impl Default for Sha256Stream {
    fn default() -> Self {
        Self::new()
    }
}

/// A public Ed25519 key. Text form: 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey(pub [u8; 32]);
hex_bytes!(VerifyingKey, 32);

/// An Ed25519 signature. Text form: 128 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signature(pub [u8; 64]);
hex_bytes!(Signature, 64);

/// A signature that does not verify under the key and the context it was checked with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under key {key} in the context {context:?}")]
pub struct BadSignature {
    /// The key that was expected to have signed.
    pub key: VerifyingKey,
    /// What the signature should have been made for.
    pub context: String,
}

impl VerifyingKey {
    /// Checks that the holder of this key signed `message` for `context`.
    ///
    /// # Errors
    /// [`BadSignature`] for a wrong key, context, message or a malformed signature.
    pub fn verify(&self, context: &str, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.verify_raw(&in_context(context, message), signature)
            .map_err(|()| BadSignature { key: *self, context: context.to_owned() })
    }

    /// Checks a signature over exactly `message`, for formats that others defined and that bring their own
    /// separation (C2SP signed notes).
    pub(crate) fn verify_raw(&self, message: &[u8], signature: &Signature) -> Result<(), ()> {
        if self.is_low_order() {
            return Err(());
        }
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &signature.0).map_err(|_| ())
    }

    /// Whether a point of order 1, 2, 4 or 8, in any encoding. Under such a key one signature, which anybody can make,
    /// verifies for every message or for many, so nothing is taken for signed by it. No generated key is one.
    fn is_low_order(&self) -> bool {
        let mut y = self.0;
        y[31] &= 0x7f; // the sign of x
        LOW_ORDER.contains(&y)
    }
}

/// The y coordinates of the points of low order, little-endian. 0 and 1 can be written as p and p + 1 too.
const LOW_ORDER: [[u8; 32]; 7] = {
    const fn y(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        (bytes[0], bytes[31]) = (first, last);
        bytes
    }
    let of_order_8 = [
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ];
    [
        y(1, 0, 0),
        y(0xec, 0xff, 0x7f),
        y(0, 0, 0),
        of_order_8[0],
        of_order_8[1],
        y(0xed, 0xff, 0x7f),
        y(0xee, 0xff, 0x7f),
    ]
};

/// Why a signing key could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The operating system gave no random bytes.
    #[error("no signing key could be made: {0}")]
    Entropy(#[from] crate::entropy::EntropyUnavailable),
    /// The stored bytes are no Ed25519 key.
    #[error("the stored key is no Ed25519 key in PKCS#8 form ({0}); restore the key file from a backup or enrol again")]
    Malformed(String),
}

/// A private Ed25519 key. It has no `Debug`, and its PKCS#8 form is wiped when it is dropped.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SigningKey {
    /// A new key from the operating system's generator.
    ///
    /// # Errors
    /// [`SigningKeyError::Entropy`] when there are no random bytes.
    pub fn generate() -> Result<Self, SigningKeyError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|_| SigningKeyError::Entropy(crate::entropy::EntropyUnavailable))?;
        Self::from_pkcs8(document.as_ref())
    }

    /// Reads a key in PKCS#8 form, version 1 or 2 (RFC 8410, RFC 5958).
    ///
    /// # Errors
    /// [`SigningKeyError::Malformed`] when the bytes are anything else.
    pub fn from_pkcs8(bytes: &[u8]) -> Result<Self, SigningKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(bytes)
            .map_err(|refused| SigningKeyError::Malformed(refused.to_string()))?;
        Ok(Self { pair, pkcs8: Zeroizing::new(bytes.to_vec()) })
    }

    /// A key that anyone can recompute from `seed`, for tests and simulations.
    ///
    /// # Errors
    /// [`SigningKeyError::Malformed`] never for 32 bytes; the type is shared with the other constructors.
    pub fn danger_from_seed(seed: &[u8; 32]) -> Result<Self, SigningKeyError> {
        // RFC 8410 §7: the fixed DER prefix of a version 1 key, then the 32 bytes.
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let document = Zeroizing::new([PREFIX.as_slice(), seed].concat());
        Self::from_pkcs8(&document)
    }

    /// The key in PKCS#8 form, for the owner's file (mode 0600).
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut out = [0u8; 32];
        out.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(out)
    }

    /// Signs `message` for `context`. The context is a constant such as `"forecastle/consistency/v1"`.
    pub fn sign(&self, context: &str, message: &[u8]) -> Signature {
        self.sign_raw(&in_context(context, message))
    }

    /// Signs exactly `message`; see [`VerifyingKey::verify_raw`].
    pub(crate) fn sign_raw(&self, message: &[u8]) -> Signature {
        let mut out = [0u8; 64];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        Signature(out)
    }
}

fn in_context(context: &str, message: &[u8]) -> Vec<u8> {
    debug_assert!(
        !context.is_empty() && !context.contains('\0'),
        "contexts are non-empty constants without a zero byte"
    );
    [context.as_bytes(), &[0], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_8032_test_1_signs_the_empty_message() {
        let seed = parse_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").expect("hex");
        let key = SigningKey::danger_from_seed(&seed).expect("32 bytes");
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        assert_eq!(key.verifying_key().to_string(), public);
        let expected = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(key.sign_raw(b"").to_string(), expected);
    }

    #[test]
    fn rfc_8032_section_7_1_signs_other_messages() {
        // Tests 2 and 3, and the digest of "abc".
        let vectors = [
            (
                "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
                "72",
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
            ),
            (
                "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
                "af82",
                "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
            ),
            (
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
                "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
            ),
        ];
        for (seed, message, expected) in vectors {
            let key = SigningKey::danger_from_seed(&parse_hex(seed).expect("hex")).expect("32 bytes");
            let message = HEX.decode(message.as_bytes()).expect("hex");
            let signature = key.sign_raw(&message);
            assert_eq!(signature.to_string(), expected);
            assert!(key.verifying_key().verify_raw(&message, &signature).is_ok());
        }
    }

    /// Wycheproof leaves nothing open here: what it calls valid verifies, everything else is refused. A signature of
    /// another length than 64 bytes is already no [`Signature`].
    #[test]
    fn wycheproof_signatures_are_judged_as_published() {
        use wycheproof::{TestResult, eddsa::*};
        let set = TestSet::load(TestName::Ed25519).expect("the vectors");
        assert_eq!(set.number_of_tests, 151);
        let (mut accepted, mut refused) = (0, 0);
        for group in &set.test_groups {
            let key: VerifyingKey = HEX.encode(&group.key.pk).parse().expect("a key of 32 bytes");
            for test in &group.tests {
                let signature = HEX.encode(&test.sig).parse::<Signature>();
                let holds = signature.is_ok_and(|signature| key.verify_raw(&test.msg, &signature).is_ok());
                assert_eq!(holds, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
                if holds { accepted += 1 } else { refused += 1 }
            }
        }
        assert_eq!((accepted, refused), (88, 63));
    }

    #[test]
    fn a_signature_is_bound_to_its_context_message_and_key() {
        let key = SigningKey::generate().expect("entropy");
        let other = SigningKey::generate().expect("entropy");
        let signature = key.sign("forecastle/a", b"message");
        let public = key.verifying_key();
        assert!(public.verify("forecastle/a", b"message", &signature).is_ok());
        assert!(public.verify("forecastle/b", b"message", &signature).is_err());
        assert!(public.verify("forecastle/a", b"massage", &signature).is_err());
        assert!(other.verifying_key().verify("forecastle/a", b"message", &signature).is_err());
        // The boundary between context and message cannot be moved.
        assert!(public.verify("forecastle/", b"amessage", &signature).is_err());
    }

    #[test]
    fn keys_of_low_order_sign_nothing_although_the_library_says_so() {
        // R = B and S = 1: verifies wherever the challenge times the key is the neutral point.
        let signature = Signature({
            let mut bytes = [0x66; 64];
            bytes[0] = 0x58;
            bytes[32..].fill(0);
            bytes[32] = 1;
            bytes
        });
        let believed = |key: &VerifyingKey| {
            let library = UnparsedPublicKey::new(&ED25519, &key.0);
            (0..=255u8).filter(|message| library.verify(&[*message], &signature.0).is_ok()).count()
        };
        for y in LOW_ORDER {
            let key = VerifyingKey(y);
            // One of eight at least; 256 messages without any would have probability below 2^-49.
            assert!(believed(&key) > 0, "{key} is of low order");
            for sign in [0, 0x80] {
                let mut key = key;
                key.0[31] |= sign;
                assert!((0..=255u8).all(|message| key.verify_raw(&[message], &signature).is_err()), "{key}");
            }
        }
        let honest = SigningKey::generate().expect("entropy").verifying_key();
        assert_eq!((believed(&honest), honest.is_low_order()), (0, false));
    }

    #[test]
    fn a_key_survives_its_file() {
        let key = SigningKey::generate().expect("entropy");
        let again = SigningKey::from_pkcs8(key.to_pkcs8()).expect("its own bytes");
        assert_eq!(key.verifying_key(), again.verifying_key());
        assert!(SigningKey::from_pkcs8(&key.to_pkcs8()[..40]).is_err());
    }

    #[test]
    fn merchant_ids_are_parsed_at_the_door() {
        for good in ["a", "shop-7", &"x".repeat(64)] {
            assert!(good.parse::<MerchantId>().is_ok(), "{good}");
        }
        assert_eq!("".parse::<MerchantId>(), Err(MerchantIdError::Length(0)));
        assert_eq!("x".repeat(65).parse::<MerchantId>(), Err(MerchantIdError::Length(65)));
        assert_eq!("Shop".parse::<MerchantId>(), Err(MerchantIdError::Character('S')));
        assert_eq!("a/b".parse::<MerchantId>(), Err(MerchantIdError::Character('/')));
        assert!(serde_json::from_str::<MerchantId>("\"../x\"").is_err());
    }

    #[test]
    fn digests_are_hexadecimal_in_json() {
        let digest = sha256(b"abc");
        let json = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";
        assert_eq!(serde_json::to_string(&digest).expect("json"), json);
        assert_eq!(serde_json::from_str::<Sha256Digest>(json).expect("json"), digest);
        assert!(serde_json::from_str::<Sha256Digest>("\"ba78\"").is_err());
        let mut stream = Sha256Stream::new();
        stream.update(b"a");
        stream.update(b"bc");
        assert_eq!(stream.finish(), digest);
    }
}
