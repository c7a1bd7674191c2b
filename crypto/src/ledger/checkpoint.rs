//! Signed tree heads: C2SP tlog-checkpoint bodies in C2SP signed notes.
//!
//! ```text
//! federation.example/log        ← origin
//! 42                            ← entries
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=   ← root
//!
//! — federation.example/log Az3g…   ← key name, base64(key hash ‖ Ed25519 signature)
//! ```
//!
//! The invariant: a checkpoint has one text, parsing accepts exactly what writing gives, and what is signed is that
//! text. The format has its own separation between kinds of notes, so signatures here are over the note's text as the
//! specification says, without this crate's context prefix.
//!
//! Left out on purpose: extension lines (refused), and timestamped cosignatures of witnesses.

use std::fmt;

use data_encoding::BASE64;

use super::merkle::MerkleTree;
use crate::identity::{Sha256Digest, Signature, SigningKey, VerifyingKey, sha256};

/// The longest signed checkpoint that is parsed, in bytes.
pub const CHECKPOINT_BYTES_MAX: usize = 16 << 10;

/// Ed25519 in C2SP signed notes.
const ALGORITHM: u8 = 0x01;

/// A tree head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log: a name without line breaks, by convention a schema-less URL.
    pub origin: String,
    /// How many entries.
    pub size: u64,
    /// The root over them.
    pub root: Sha256Digest,
}

/// One signature line of a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// First four bytes of SHA-256(name ‖ 0x0a ‖ algorithm ‖ key).
    pub key_hash: [u8; 4],
    /// Over the note's text.
    pub signature: Signature,
}

/// A checkpoint with at least one signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    signatures: Vec<NoteSignature>,
}

/// Why a text is no signed checkpoint, or not a trusted one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Longer than [`CHECKPOINT_BYTES_MAX`].
    #[error("a signed checkpoint has at most {CHECKPOINT_BYTES_MAX} bytes, this one {0}")]
    TooLong(usize),
    /// A line that is not what the format has there.
    #[error("line {line} of the checkpoint is not {expected}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What the format has there.
        expected: &'static str,
    },
    /// An origin or key name that the format cannot carry.
    #[error("{0:?} cannot name a log or a key: it is empty, or holds spaces, '+' or control characters")]
    Name(String),
    /// No signature by that key.
    #[error("the checkpoint carries no signature of key {0:?}")]
    NotSigned(String),
    /// A signature that claims to be that key's and is not.
    #[error("the checkpoint's signature under key {0:?} does not verify")]
    BadSignature(String),
}

impl Checkpoint {
    /// The head of `tree`.
    pub fn of(origin: &str, tree: &MerkleTree) -> Self {
        Self { origin: origin.to_owned(), size: tree.size(), root: tree.root() }
    }

    /// The text that is signed: three lines, each ended by a line feed.
    pub fn body(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(&self.root.0))
    }

    /// Signs under the key name `name`.
    ///
    /// # Errors
    /// [`CheckpointError::Name`] when the origin or the key name cannot be carried by the format.
    pub fn sign(self, name: &str, key: &SigningKey) -> Result<SignedCheckpoint, CheckpointError> {
        check_origin(&self.origin)?;
        let mut signed = SignedCheckpoint { checkpoint: self, signatures: Vec::new() };
        signed.add_signature(name, key)?;
        Ok(signed)
    }
}

fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    if origin.is_empty() || origin.chars().any(char::is_control) {
        Err(CheckpointError::Name(origin.to_owned()))
    } else {
        Ok(())
    }
}

fn check_key_name(name: &str) -> Result<(), CheckpointError> {
    let refused = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if name.is_empty() || name.chars().any(refused) { Err(CheckpointError::Name(name.to_owned())) } else { Ok(()) }
}

/// The key hash of the signed-note format.
pub fn key_hash(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), b"\n", &[ALGORITHM], &key.0].concat());
    [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
}

impl SignedCheckpoint {
    /// Adds a signature of another key over the same text.
    ///
    /// # Errors
    /// [`CheckpointError::Name`].
    pub fn add_signature(&mut self, name: &str, key: &SigningKey) -> Result<(), CheckpointError> {
        check_key_name(name)?;
        let signature = key.sign_raw(self.checkpoint.body().as_bytes());
        self.signatures.push(NoteSignature {
            name: name.to_owned(),
            key_hash: key_hash(name, &key.verifying_key()),
            signature,
        });
        Ok(())
    }

    /// Reads a signed checkpoint. Nothing is trusted yet: [`SignedCheckpoint::verify`] does that.
    ///
    /// # Errors
    /// [`CheckpointError::TooLong`], [`CheckpointError::Line`] with the line's number.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        if text.len() > CHECKPOINT_BYTES_MAX {
            return Err(CheckpointError::TooLong(text.len()));
        }
        let mut lines = text.split_inclusive('\n').enumerate();
        let mut next = |expected| {
            let whole = lines.next().and_then(|(index, line)| Some((index + 1, line.strip_suffix('\n')?)));
            whole.ok_or(CheckpointError::Line { line: text.split_inclusive('\n').count(), expected })
        };
        let (line, origin) = next("an origin")?;
        check_origin(origin).map_err(|_| CheckpointError::Line { line, expected: "an origin" })?;

        let expected = "a number of entries";
        let (line, size) = next(expected)?;
        let size = size
            .parse()
            .ok()
            .filter(|n: &u64| n.to_string() == size)
            .ok_or(CheckpointError::Line { line, expected })?;

        let expected = "a root in base64";
        let (line, root) = next(expected)?;
        let root = BASE64.decode(root.as_bytes()).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let root = Sha256Digest(root.ok_or(CheckpointError::Line { line, expected })?);

        let expected = "empty (extension lines are not understood)";
        let (line, empty) = next(expected)?;
        if !empty.is_empty() {
            return Err(CheckpointError::Line { line, expected });
        }
        let expected = "a signature";
        let mut signatures = Vec::new();
        let (mut line, mut content) = next(expected)?;
        loop {
            signatures.push(parse_signature(content).ok_or(CheckpointError::Line { line, expected })?);
            match next(expected) {
                Ok((number, following)) => (line, content) = (number, following),
                Err(_) if text.ends_with('\n') => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { checkpoint: Checkpoint { origin: origin.to_owned(), size, root }, signatures })
    }

    /// The tree head, if the key named `name` signed it. Signatures of unknown keys are passed over.
    ///
    /// # Errors
    /// [`CheckpointError::NotSigned`], [`CheckpointError::BadSignature`].
    pub fn verify(&self, name: &str, key: &VerifyingKey) -> Result<&Checkpoint, CheckpointError> {
        let hash = key_hash(name, key);
        let found = self.signatures.iter().find(|line| line.name == name && line.key_hash == hash);
        let line = found.ok_or_else(|| CheckpointError::NotSigned(name.to_owned()))?;
        key.verify_raw(self.checkpoint.body().as_bytes(), &line.signature)
            .map_err(|()| CheckpointError::BadSignature(name.to_owned()))?;
        Ok(&self.checkpoint)
    }

    /// The tree head, unchecked.
    pub fn danger_unverified(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// All signatures.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }
}

fn parse_signature(line: &str) -> Option<NoteSignature> {
    let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
    check_key_name(name).ok()?;
    let bytes = BASE64.decode(encoded.as_bytes()).ok()?;
    let (key_hash, signature) = bytes.split_first_chunk()?;
    Some(NoteSignature { name: name.to_owned(), key_hash: *key_hash, signature: Signature(signature.try_into().ok()?) })
}

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.body())?;
        for line in &self.signatures {
            let encoded = BASE64.encode(&[line.key_hash.as_slice(), &line.signature.0].concat());
            writeln!(f, "— {} {encoded}", line.name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "market.example/log";

    fn key(seed: u8) -> SigningKey {
        SigningKey::danger_from_seed(&[seed; 32]).expect("32 bytes")
    }

    fn signed() -> SignedCheckpoint {
        let mut tree = MerkleTree::new();
        tree.append(b"entry");
        Checkpoint::of(NAME, &tree).sign(NAME, &key(1)).expect("a name")
    }

    #[test]
    fn the_go_note_packages_example_key_hashes_to_its_published_value() {
        // golang.org/x/mod/sumdb/note: verifier key "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".
        let encoded = BASE64.decode(b"ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").expect("base64");
        let public = VerifyingKey(encoded[1..].try_into().expect("32 bytes"));
        assert_eq!(key_hash("PeterNeumann", &public), [0xc7, 0x4f, 0x20, 0xa3]);
        // And its example note verifies under that key.
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = parse_signature("— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=").expect("a signature line");
        assert!(public.verify_raw(text.as_bytes(), &line.signature).is_ok());
    }

    #[test]
    fn a_checkpoint_survives_its_text() {
        let mut signed = signed();
        signed.add_signature("witness.example/w", &key(2)).expect("a name");
        let text = signed.to_string();
        assert_eq!(text.lines().count(), 6);
        let parsed = SignedCheckpoint::parse(&text).expect("its own text");
        assert_eq!(parsed, signed);
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.verify(NAME, &key(1).verifying_key()).expect("signed").size, 1);
        assert!(parsed.verify("witness.example/w", &key(2).verifying_key()).is_ok());
    }

    #[test]
    fn other_keys_names_and_texts_do_not_verify() {
        let signed = signed();
        let public = key(1).verifying_key();
        assert_eq!(signed.verify(NAME, &key(2).verifying_key()), Err(CheckpointError::NotSigned(NAME.into())));
        assert_eq!(signed.verify("other", &public), Err(CheckpointError::NotSigned("other".into())));
        let grown = SignedCheckpoint::parse(&signed.to_string().replacen("\n1\n", "\n2\n", 1)).expect("well-formed");
        assert_eq!(grown.verify(NAME, &public), Err(CheckpointError::BadSignature(NAME.into())));
    }

    #[test]
    fn texts_that_are_not_canonical_are_refused_with_the_line() {
        let text = signed().to_string();
        let line_of = |text: &str| match SignedCheckpoint::parse(text) {
            Err(CheckpointError::Line { line, .. }) => line,
            other => panic!("{other:?}"),
        };
        assert_eq!(line_of(&text.replacen("\n1\n", "\n01\n", 1)), 2);
        assert_eq!(line_of(&text.replacen("\n1\n", "\n+1\n", 1)), 2);
        assert_eq!(line_of(&text.replacen("=\n\n", "\n\n", 1)), 3);
        assert_eq!(line_of(&text.replacen("=\n\n", "=\nextension\n\n", 1)), 4);
        assert_eq!(line_of(&text.replace('—', "-")), 5);
        assert_eq!(line_of(&format!("{text}trailing\n")), 6);
        assert!(SignedCheckpoint::parse(text.trim_end()).is_err());
        assert!(SignedCheckpoint::parse("").is_err());
        let (body, _) = text.split_once("— ").expect("a signature line");
        assert!(SignedCheckpoint::parse(body).is_err(), "no signature");
        assert!(matches!(SignedCheckpoint::parse(&"x".repeat(20_000)), Err(CheckpointError::TooLong(20_000))));
    }

    #[test]
    fn names_that_would_break_lines_are_refused() {
        let checkpoint = |origin: &str| Checkpoint { origin: origin.into(), size: 0, root: sha256(b"") };
        assert!(matches!(checkpoint("a\nb").sign(NAME, &key(1)), Err(CheckpointError::Name(_))));
        assert!(matches!(checkpoint(NAME).sign("a b", &key(1)), Err(CheckpointError::Name(_))));
        assert!(matches!(checkpoint(NAME).sign("", &key(1)), Err(CheckpointError::Name(_))));
    }
}
