//! Signed tree heads: C2SP tlog-checkpoint bodies in C2SP signed notes.
//!
//! ```text
//! federation.example/log        ← origin
//! 42                            ← entries
//! CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=   ← root
//!
//! — federation.example/log Az3g…   ← the log's signature, see [`super::note`]
//! — witness.example/w1 jWbP…       ← what witnesses add, see [`super::witness`]
//! ```
//!
//! The invariant: a checkpoint has one text, parsing accepts exactly what writing gives, and what is signed is that
//! text. The format has its own separation between kinds of notes, so signatures here are over the note's text as the
//! specification says, without this crate's context prefix.
//!
//! Left out on purpose: extension lines (refused; this log never writes one).

use std::fmt;

use data_encoding::BASE64;

use super::{
    merkle::MerkleTree,
    note::{BadKeyName, NoteSignature, SignatureType, VerifierKey, decode_base64},
};
use crate::identity::{Sha256Digest, Signature, SigningKey, VerifyingKey};

/// The longest signed checkpoint that is parsed, in bytes: sixteen signatures of any type that the specifications
/// know fit.
pub const CHECKPOINT_BYTES_MAX: usize = 128 << 10;

/// The most signature lines that are parsed.
pub const SIGNATURES_MAX: usize = 64;

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
    /// An origin that the format cannot carry.
    #[error("{0:?} cannot name a log: it is empty, or holds control characters")]
    Origin(String),
    /// A key name that the format cannot carry.
    #[error(transparent)]
    Name(#[from] BadKeyName),
    /// No signature by that key.
    #[error("the checkpoint carries no signature of key {0:?}")]
    NotSigned(String),
    /// A signature that claims to be that key's and is not.
    #[error("the checkpoint's signature under key {0:?} does not verify")]
    BadSignature(String),
    /// A checkpoint of another log.
    #[error("the checkpoint is of the log {found:?}, not of {expected:?}")]
    OtherLog {
        /// The log that was expected.
        expected: String,
        /// The origin in the checkpoint.
        found: String,
    },
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
    /// [`CheckpointError::Origin`], [`CheckpointError::Name`] where the format cannot carry them.
    pub fn sign(self, name: &str, key: &SigningKey) -> Result<SignedCheckpoint, CheckpointError> {
        check_origin(&self.origin)?;
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, key.verifying_key())?;
        let signature = key.sign_raw(self.body().as_bytes());
        let line = NoteSignature { name: name.to_owned(), key_id: verifier.id(), bytes: signature.0.to_vec() };
        Ok(SignedCheckpoint { checkpoint: self, signatures: vec![line] })
    }
}

fn check_origin(origin: &str) -> Result<(), CheckpointError> {
    if origin.is_empty() || origin.chars().any(char::is_control) {
        Err(CheckpointError::Origin(origin.to_owned()))
    } else {
        Ok(())
    }
}

impl SignedCheckpoint {
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
        let root = decode_base64(root).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
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
            let signature = NoteSignature::parse(content).filter(|_| signatures.len() < SIGNATURES_MAX);
            signatures.push(signature.ok_or(CheckpointError::Line { line, expected })?);
            match next(expected) {
                Ok((number, following)) => (line, content) = (number, following),
                Err(_) if text.ends_with('\n') => break,
                Err(error) => return Err(error),
            }
        }
        Ok(Self { checkpoint: Checkpoint { origin: origin.to_owned(), size, root }, signatures })
    }

    /// The tree head, if the key named `name` signed it. Signatures of unknown keys are passed over; of several under
    /// this key, each must hold.
    ///
    /// # Errors
    /// [`CheckpointError::Name`], [`CheckpointError::NotSigned`], [`CheckpointError::BadSignature`].
    pub fn verify(&self, name: &str, key: &VerifyingKey) -> Result<&Checkpoint, CheckpointError> {
        let verifier = VerifierKey::new(name, SignatureType::Ed25519, *key)?;
        let body = self.checkpoint.body();
        let mut signed = false;
        for line in self.signatures.iter().filter(|line| verifier.claims(line)) {
            let signature = <[u8; 64]>::try_from(line.bytes.as_slice()).map(Signature);
            let holds = signature.is_ok_and(|signature| key.verify_raw(body.as_bytes(), &signature).is_ok());
            if !holds {
                return Err(CheckpointError::BadSignature(name.to_owned()));
            }
            signed = true;
        }
        if signed { Ok(&self.checkpoint) } else { Err(CheckpointError::NotSigned(name.to_owned())) }
    }

    /// The tree head, if it is the log's named `origin` and that log's `key` signed it under the same name, as this
    /// federation's logs do.
    ///
    /// # Errors
    /// [`CheckpointError::OtherLog`], and those of [`Self::verify`].
    pub fn verify_origin(&self, origin: &str, key: &VerifyingKey) -> Result<&Checkpoint, CheckpointError> {
        let checkpoint = self.verify(origin, key)?;
        if checkpoint.origin == origin {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::OtherLog { expected: origin.to_owned(), found: checkpoint.origin.clone() })
        }
    }

    /// Adds a signature line, unless the very same is there; one by the same key is replaced.
    pub fn add(&mut self, line: NoteSignature) {
        let of_same_key = |other: &NoteSignature| other.name == line.name && other.key_id == line.key_id;
        self.signatures.retain(|other| !of_same_key(other));
        self.signatures.push(line);
    }

    /// Drops the signature lines that `wanted` does not want.
    pub fn retain(&mut self, wanted: impl FnMut(&NoteSignature) -> bool) {
        self.signatures.retain(wanted);
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

impl fmt::Display for SignedCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.checkpoint.body())?;
        for line in &self.signatures {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::sha256;

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
    fn the_specifications_example_is_read_and_written_byte_for_byte() {
        // c2sp.org/tlog-cosignature; its keys are not published.
        let text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";
        let signed = SignedCheckpoint::parse(text).expect("the specification's example");
        assert_eq!(signed.danger_unverified().size, 20_852_163);
        assert_eq!(signed.signatures().iter().map(|line| line.bytes.len()).collect::<Vec<_>>(), [64, 72]);
        assert_eq!(signed.to_string(), text);
    }

    #[test]
    fn the_go_note_packages_example_note_verifies() {
        // golang.org/x/mod/sumdb/note: its text is no checkpoint, so only the signature is checked.
        let key: VerifierKey =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse().expect("its key");
        let text =
            "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let line = NoteSignature::parse("— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=").expect("a signature line");
        assert!(key.claims(&line));
        let signature = Signature(line.bytes.try_into().expect("64 bytes"));
        assert!(key.key().verify_raw(text.as_bytes(), &signature).is_ok());
    }

    #[test]
    fn a_checkpoint_survives_its_text() {
        let mut signed = signed();
        let other = signed.danger_unverified().clone().sign("other.example/key", &key(2)).expect("a name");
        signed.add(other.signatures()[0].clone());
        let text = signed.to_string();
        assert_eq!(text.lines().count(), 6);
        let parsed = SignedCheckpoint::parse(&text).expect("its own text");
        assert_eq!(parsed, signed);
        assert_eq!(parsed.to_string(), text);
        assert_eq!(parsed.verify(NAME, &key(1).verifying_key()).expect("signed").size, 1);
        assert!(parsed.verify("other.example/key", &key(2).verifying_key()).is_ok());
    }

    #[test]
    fn other_keys_names_and_texts_do_not_verify() {
        let signed = signed();
        let public = key(1).verifying_key();
        assert_eq!(signed.verify(NAME, &key(2).verifying_key()), Err(CheckpointError::NotSigned(NAME.into())));
        assert_eq!(signed.verify("other", &public), Err(CheckpointError::NotSigned("other".into())));
        let grown = SignedCheckpoint::parse(&signed.to_string().replacen("\n1\n", "\n2\n", 1)).expect("well-formed");
        assert_eq!(grown.verify(NAME, &public), Err(CheckpointError::BadSignature(NAME.into())));
        // A good signature does not outweigh a bad one under the same key.
        let mut twice = signed.clone();
        twice.signatures.insert(1, NoteSignature { bytes: vec![0; 64], ..signed.signatures[0].clone() });
        assert_eq!(twice.verify(NAME, &public), Err(CheckpointError::BadSignature(NAME.into())));
        let short = SignedCheckpoint {
            signatures: vec![NoteSignature { bytes: vec![0; 63], ..signed.signatures[0].clone() }],
            ..signed.clone()
        };
        assert_eq!(short.verify(NAME, &public), Err(CheckpointError::BadSignature(NAME.into())));
    }

    #[test]
    fn a_key_that_signs_for_another_log_is_told_apart() {
        let public = key(1).verifying_key();
        let foreign = Checkpoint { origin: "other".into(), ..signed().checkpoint }.sign(NAME, &key(1)).expect("a name");
        assert!(foreign.verify(NAME, &public).is_ok());
        let expected = CheckpointError::OtherLog { expected: NAME.into(), found: "other".into() };
        assert_eq!(foreign.verify_origin(NAME, &public), Err(expected));
        assert!(signed().verify_origin(NAME, &public).is_ok());
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
        // Two texts for one root would be two checkpoints under one signature.
        let root = text.lines().nth(2).expect("a root");
        let bytes = BASE64.decode(root.as_bytes()).expect("base64");
        let halves = format!("{}{}", BASE64.encode(&bytes[..16]), BASE64.encode(&bytes[16..]));
        assert_eq!(BASE64.decode(halves.as_bytes()), Ok(bytes));
        assert_eq!(line_of(&text.replacen(root, &halves, 1)), 3);
        assert_eq!(line_of(&text.replacen("=\n\n", "=\nextension\n\n", 1)), 4);
        assert_eq!(line_of(&text.replace('—', "-")), 5);
        assert_eq!(line_of(&format!("{text}trailing\n")), 6);
        assert!(SignedCheckpoint::parse(text.trim_end()).is_err());
        assert!(SignedCheckpoint::parse("").is_err());
        let (body, _) = text.split_once("— ").expect("a signature line");
        assert!(SignedCheckpoint::parse(body).is_err(), "no signature");
        let long = "x".repeat(CHECKPOINT_BYTES_MAX + 1);
        assert!(matches!(SignedCheckpoint::parse(&long), Err(CheckpointError::TooLong(_))));
        let (_, signature) = text.rsplit_once("\n\n").expect("a signature");
        assert!(SignedCheckpoint::parse(&format!("{text}{}", signature.repeat(SIGNATURES_MAX - 1))).is_ok());
        assert!(SignedCheckpoint::parse(&format!("{text}{}", signature.repeat(SIGNATURES_MAX))).is_err());
    }

    #[test]
    fn names_that_would_break_lines_are_refused() {
        let checkpoint = |origin: &str| Checkpoint { origin: origin.into(), size: 0, root: sha256(b"") };
        assert!(matches!(checkpoint("a\nb").sign(NAME, &key(1)), Err(CheckpointError::Origin(_))));
        assert!(matches!(checkpoint(NAME).sign("a b", &key(1)), Err(CheckpointError::Name(_))));
        assert!(matches!(checkpoint(NAME).sign("", &key(1)), Err(CheckpointError::Name(_))));
    }
}
