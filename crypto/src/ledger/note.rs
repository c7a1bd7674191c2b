//! Keys and signature lines of C2SP signed notes (c2sp.org/signed-note).
//!
//! ```text
//! — market.example/log Az3g…                        ← name, base64(key id ‖ signature)
//! market.example/log+033de0ae+AZ1q…                 ← a verifier key: name, key id in hex, base64(type ‖ key)
//! ```
//!
//! The invariant: a signature line is matched by name *and* key id; lines of unknown keys, of whatever type and length,
//! are kept and passed over, as the specification asks, so that a checkpoint may carry the signatures of others.
//!
//! Left out on purpose: every signature type but the two that Forecastle makes.

use std::{fmt, str::FromStr};

use data_encoding::{BASE64, HEXLOWER};

use crate::identity::{VerifyingKey, sha256};

/// The longest signature of a line that is parsed, in bytes: room for the post-quantum types of others.
pub const SIGNATURE_BYTES_MAX: usize = 5 << 10;

/// What a key signs, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureType {
    /// Ed25519 over the note's text: a log's own signature.
    Ed25519,
    /// Ed25519 over a time and the note's text: a witness's cosignature (c2sp.org/tlog-cosignature, version 1).
    CosignatureV1,
}

impl SignatureType {
    /// The identifier byte that the specification assigns.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ed25519 => 0x01,
            Self::CosignatureV1 => 0x04,
        }
    }
}

/// A name that cannot stand in a note.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} cannot name a key: it is empty, or holds spaces, '+' or control characters")]
pub struct BadKeyName(pub String);

/// Why a text is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not three parts with a plus between them.
    #[error("a verifier key looks like NAME+HASH+KEY, this one does not: {0:?}")]
    Shape(String),
    /// The name.
    #[error(transparent)]
    Name(#[from] BadKeyName),
    /// A key of another type than expected here.
    #[error("verifier key {name:?} is of type {found:#04x}; 0x01 (Ed25519) and 0x04 (cosignature) are understood")]
    Type {
        /// Its name.
        name: String,
        /// The type's byte.
        found: u8,
    },
    /// The hash in the middle belongs to another name or key.
    #[error("verifier key {name:?} says its hash is {said}, but it is {found}: was it copied whole?")]
    Hash {
        /// Its name.
        name: String,
        /// The hash in the text.
        said: String,
        /// The hash of name and key.
        found: String,
    },
}

/// A public key under a name, for one type of signature. Text form: `NAME+HASH+KEY`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VerifierKey {
    name: String,
    kind: SignatureType,
    key: VerifyingKey,
}

impl VerifierKey {
    /// A key under a name.
    ///
    /// # Errors
    /// [`BadKeyName`].
    pub fn new(name: &str, kind: SignatureType, key: VerifyingKey) -> Result<Self, BadKeyName> {
        let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.chars().any(refused) {
            return Err(BadKeyName(name.to_owned()));
        }
        Ok(Self { name: name.to_owned(), kind, key })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it signs.
    pub fn kind(&self) -> SignatureType {
        self.kind
    }

    /// The key itself.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four bytes of SHA-256(name ‖ 0x0a ‖ type ‖ key).
    pub fn id(&self) -> [u8; 4] {
        let digest = sha256(&[self.name.as_bytes(), b"\n", &[self.kind.byte()], &self.key.0].concat()).0;
        [digest[0], digest[1], digest[2], digest[3]]
    }

    /// Whether `line` claims to be of this key.
    pub fn claims(&self, line: &NoteSignature) -> bool {
        line.name == self.name && line.key_id == self.id()
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = BASE64.encode(&[&[self.kind.byte()], self.key.0.as_slice()].concat());
        write!(f, "{}+{}+{key}", self.name, HEXLOWER.encode(&self.id()))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let shape = || VerifierKeyError::Shape(text.chars().take(200).collect());
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(shape());
        };
        let bytes = decode_base64(encoded).ok_or_else(shape)?;
        let (&byte, key) = bytes.split_first().ok_or_else(shape)?;
        let kind = [SignatureType::Ed25519, SignatureType::CosignatureV1].into_iter().find(|kind| kind.byte() == byte);
        let kind = kind.ok_or_else(|| VerifierKeyError::Type { name: name.to_owned(), found: byte })?;
        let key = Self::new(name, kind, VerifyingKey(key.try_into().map_err(|_| shape())?))?;
        let found = HEXLOWER.encode(&key.id());
        if found != hash {
            return Err(VerifierKeyError::Hash { name: name.to_owned(), said: hash.to_owned(), found });
        }
        Ok(key)
    }
}

/// Reads base64 in the one form that is written: the library takes several padded texts in a row for one.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bytes = BASE64.decode(text.as_bytes()).ok()?;
    (BASE64.encode(&bytes) == text).then_some(bytes)
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id, see [`VerifierKey::id`].
    pub key_id: [u8; 4],
    /// What follows the id, in the form of the key's type.
    pub bytes: Vec<u8>,
}

impl NoteSignature {
    /// Reads a line without its line feed; `None` where it is no signature line.
    pub fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        VerifierKey::new(name, SignatureType::Ed25519, VerifyingKey([0; 32])).ok()?;
        let bytes = decode_base64(encoded)?;
        let (key_id, signature) = bytes.split_first_chunk()?;
        let fits = !signature.is_empty() && signature.len() <= SIGNATURE_BYTES_MAX;
        fits.then(|| Self { name: name.to_owned(), key_id: *key_id, bytes: signature.to_vec() })
    }
}

impl fmt::Display for NoteSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "— {} {}", self.name, BASE64.encode(&[self.key_id.as_slice(), &self.bytes].concat()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The verifier key in the documentation of golang.org/x/mod/sumdb/note.
    const PETER: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

    #[test]
    fn the_go_packages_example_key_is_read_and_written() {
        let key: VerifierKey = PETER.parse().expect("its documentation's key");
        assert_eq!(
            (key.name(), key.kind(), key.id()),
            ("PeterNeumann", SignatureType::Ed25519, [0xc7, 0x4f, 0x20, 0xa3])
        );
        assert_eq!(key.to_string(), PETER);
        // The same key as a witness has another id.
        let witness = VerifierKey::new("PeterNeumann", SignatureType::CosignatureV1, *key.key()).expect("a name");
        assert_ne!(witness.id(), key.id());
        assert_eq!(witness.to_string().parse(), Ok(witness));
    }

    #[test]
    fn keys_that_were_copied_badly_are_refused_by_name() {
        let parse = |text: &str| text.parse::<VerifierKey>().expect_err("not a key");
        assert!(matches!(parse("PeterNeumann"), VerifierKeyError::Shape(_)));
        assert!(matches!(parse("PeterNeumann+c74f20a3+ARpc"), VerifierKeyError::Shape(_)));
        assert!(
            matches!(parse(&PETER.replace("+c7", "+d7")), VerifierKeyError::Hash { said, .. } if said == "d74f20a3")
        );
        assert!(matches!(parse(&PETER.replace("Peter", "P ")), VerifierKeyError::Name(_)));
        assert!(matches!(parse(&PETER.replace("+ARpc", "+AhpC")), VerifierKeyError::Type { found: 2, .. }));
    }

    #[test]
    fn lines_of_other_types_and_lengths_are_kept_and_broken_ones_refused() {
        // The example of c2sp.org/tlog-cosignature: a cosignature is 4 + 8 + 64 bytes long.
        let line = "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==";
        let parsed = NoteSignature::parse(line).expect("the specification's line");
        assert_eq!((parsed.bytes.len(), parsed.to_string().as_str()), (72, line));
        for broken in ["", "- a AAAAAAE=", "— a", "— a+b AAAAAAE=", "— a AAAAAA==", "— a AAAAAAE", "— a  AAAAAAE="]
        {
            assert_eq!(NoteSignature::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn base64_that_is_padded_in_the_middle_is_not_what_would_be_written() {
        assert_eq!(decode_base64("AAAAAAEC"), Some(vec![0, 0, 0, 0, 1, 2]));
        assert_eq!(BASE64.decode(b"AAAAAAE=AAAAAg=="), Ok(vec![0, 0, 0, 0, 1, 0, 0, 0, 2]));
        assert_eq!(decode_base64("AAAAAAE=AAAAAg=="), None);
        assert_eq!(NoteSignature::parse("— a AAAAAAE=AAAAAg=="), None);
        let halves = PETER.replacen("ARpc", "AQ==Glw=", 1);
        assert!(matches!(halves.parse::<VerifierKey>(), Err(VerifierKeyError::Shape(_))));
    }
}
