//! What a witness does: it remembers the last tree head it saw of each log, and cosigns only what extends it.
//!
//! A log that shows different histories to different merchants needs two checkpoints that do not extend each other. A
//! witness signs at most one of them, so whoever asks for its cosignature sees the same history as everybody else who
//! does (c2sp.org/tlog-cosignature, version 1; RFC 9162 §2.1.4 for consistency).
//!
//! The invariant: [`advance`] lets a remembered head be replaced only by one that provably extends it. The caller makes
//! the new head durable before the cosignature leaves; a crash between the two costs one cosignature, which may be
//! asked for again.
//!
//! Left out on purpose: files and the clock (the auditor's `witness` verb has them), and the ML-DSA type.

use super::{
    checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
    merkle::{ConsistencyProof, ProofRefused},
    note::{NoteSignature, SignatureType, VerifierKey},
};
use crate::identity::{Signature, SigningKey};

/// Latest time that the format carries, in seconds since 1970.
const TIME_MAX: u64 = i64::MAX as u64;

/// Why a tree head is not cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessRefusal {
    /// Fewer entries than were seen before.
    #[error(
        "the log {origin:?} shrank: it had {seen} entries, now it shows {shown}. Its server was restored from an old copy, or hides entries. Nothing was cosigned; tell its merchants"
    )]
    Shrunk {
        /// The log.
        origin: String,
        /// Entries seen before.
        seen: u64,
        /// Entries shown now.
        shown: u64,
    },
    /// The new head does not extend the one seen before.
    #[error(
        "the log {origin:?} forked: its {shown} entries do not begin with the {seen} that were seen before ({why}). Nothing was cosigned; keep both checkpoints, they prove it, and tell its merchants"
    )]
    Forked {
        /// The log.
        origin: String,
        /// Entries seen before.
        seen: u64,
        /// Entries shown now.
        shown: u64,
        /// How the proof failed.
        why: ProofRefused,
    },
    /// A proof between other sizes.
    #[error("the proof leads from {from} to {to} entries; {seen} were seen and {shown} are shown")]
    OtherProof {
        /// Where the proof begins.
        from: u64,
        /// Where it ends.
        to: u64,
        /// Entries seen before.
        seen: u64,
        /// Entries shown now.
        shown: u64,
    },
    /// Another log than the one remembered.
    #[error("the checkpoint is of the log {shown:?}, remembered is {seen:?}")]
    OtherLog {
        /// Remembered.
        seen: String,
        /// Shown.
        shown: String,
    },
}

/// Decides whether `shown` may replace `seen`. Both were verified under the log's key before.
///
/// # Errors
/// [`WitnessRefusal`] names what is wrong; `seen` stays.
pub fn advance(seen: &Checkpoint, shown: &Checkpoint, proof: &ConsistencyProof) -> Result<(), WitnessRefusal> {
    if seen.origin != shown.origin {
        return Err(WitnessRefusal::OtherLog { seen: seen.origin.clone(), shown: shown.origin.clone() });
    }
    let origin = shown.origin.clone();
    if shown.size < seen.size {
        return Err(WitnessRefusal::Shrunk { origin, seen: seen.size, shown: shown.size });
    }
    if (proof.old_size, proof.new_size) != (seen.size, shown.size) {
        return Err(WitnessRefusal::OtherProof {
            from: proof.old_size,
            to: proof.new_size,
            seen: seen.size,
            shown: shown.size,
        });
    }
    proof.verify(&seen.root, &shown.root).map_err(|why| WitnessRefusal::Forked {
        origin,
        seen: seen.size,
        shown: shown.size,
        why,
    })
}

/// A cosignature line over `checkpoint`, at `time` in seconds since 1970.
///
/// # Errors
/// [`CheckpointError::Name`].
pub fn cosign(
    checkpoint: &Checkpoint,
    name: &str,
    key: &SigningKey,
    time: u64,
) -> Result<NoteSignature, CheckpointError> {
    let time = time.min(TIME_MAX);
    let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.verifying_key())?;
    let signature = key.sign_raw(message(checkpoint, time).as_bytes());
    let bytes = [time.to_be_bytes().as_slice(), &signature.0].concat();
    Ok(NoteSignature { name: name.to_owned(), key_id: verifier.id(), bytes })
}

/// The time at which `witness` cosigned, in seconds since 1970.
///
/// # Errors
/// [`CheckpointError::NotSigned`] without a cosignature of this witness, [`CheckpointError::BadSignature`] where one
/// claims to be and is not.
pub fn cosigned_at(signed: &SignedCheckpoint, witness: &VerifierKey) -> Result<u64, CheckpointError> {
    let name = || witness.name().to_owned();
    if witness.kind() != SignatureType::CosignatureV1 {
        return Err(CheckpointError::NotSigned(name()));
    }
    let mut newest = None;
    for line in signed.signatures().iter().filter(|line| witness.claims(line)) {
        let time = opened(signed.danger_unverified(), witness, line);
        newest = newest.max(Some(time.ok_or_else(|| CheckpointError::BadSignature(name()))?));
    }
    newest.ok_or_else(|| CheckpointError::NotSigned(name()))
}

/// The time in a cosignature line that verifies.
fn opened(checkpoint: &Checkpoint, witness: &VerifierKey, line: &NoteSignature) -> Option<u64> {
    let (time, signature) = line.bytes.split_first_chunk::<8>()?;
    let time = u64::from_be_bytes(*time);
    let signature = Signature(signature.try_into().ok()?);
    let holds = time <= TIME_MAX && witness.key().verify_raw(message(checkpoint, time).as_bytes(), &signature).is_ok();
    holds.then_some(time)
}

fn message(checkpoint: &Checkpoint, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{}", checkpoint.body())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::merkle::MerkleTree;

    const LOG: &str = "market.example/log";
    const WITNESS: &str = "witness.example/w1";

    fn key(seed: u8) -> SigningKey {
        SigningKey::danger_from_seed(&[seed; 32]).expect("32 bytes")
    }

    fn verifier(seed: u8) -> VerifierKey {
        VerifierKey::new(WITNESS, SignatureType::CosignatureV1, key(seed).verifying_key()).expect("a name")
    }

    fn tree(entries: &[&str]) -> MerkleTree {
        let mut tree = MerkleTree::new();
        for entry in entries {
            tree.append(entry.as_bytes());
        }
        tree
    }

    fn head(tree: &MerkleTree) -> Checkpoint {
        Checkpoint::of(LOG, tree)
    }

    #[test]
    fn a_cosignature_verifies_with_its_time_and_only_over_its_checkpoint() {
        let checkpoint = head(&tree(&["a", "b"]));
        let mut signed = checkpoint.clone().sign(LOG, &key(1)).expect("a name");
        signed.add(cosign(&checkpoint, WITNESS, &key(2), 1_679_315_147).expect("a name"));
        let read = SignedCheckpoint::parse(&signed.to_string()).expect("its own text");
        assert_eq!(cosigned_at(&read, &verifier(2)), Ok(1_679_315_147));
        assert!(read.verify(LOG, &key(1).verifying_key()).is_ok(), "the log's own signature stays");
        assert_eq!(cosigned_at(&read, &verifier(3)), Err(CheckpointError::NotSigned(WITNESS.into())));
        // Moved under another checkpoint, or to another time.
        let line = read.signatures()[1].clone();
        let mut other = head(&tree(&["a", "b", "c"])).sign(LOG, &key(1)).expect("a name");
        other.add(line.clone());
        assert_eq!(cosigned_at(&other, &verifier(2)), Err(CheckpointError::BadSignature(WITNESS.into())));
        for broken in [[&[9; 8], &line.bytes[8..]].concat(), line.bytes[..71].to_vec(), line.bytes[8..].to_vec()] {
            let mut altered = read.clone();
            altered.add(NoteSignature { bytes: broken, ..line.clone() });
            assert_eq!(cosigned_at(&altered, &verifier(2)), Err(CheckpointError::BadSignature(WITNESS.into())));
        }
    }

    #[test]
    fn a_key_used_as_a_log_key_is_no_witness() {
        let checkpoint = head(&tree(&["a"]));
        let signed = checkpoint.sign(WITNESS, &key(2)).expect("a name");
        assert!(signed.verify(WITNESS, &key(2).verifying_key()).is_ok());
        assert_eq!(cosigned_at(&signed, &verifier(2)), Err(CheckpointError::NotSigned(WITNESS.into())));
        let as_log = VerifierKey::new(WITNESS, SignatureType::Ed25519, key(2).verifying_key()).expect("a name");
        assert_eq!(cosigned_at(&signed, &as_log), Err(CheckpointError::NotSigned(WITNESS.into())));
    }

    #[test]
    fn only_what_extends_the_remembered_head_is_accepted() {
        let grown = tree(&["a", "b", "c", "d", "e"]);
        let seen = head(&tree(&["a", "b", "c"]));
        let proof = grown.consistency_proof(3, 5).expect("in range");
        assert_eq!(advance(&seen, &head(&grown), &proof), Ok(()));
        assert_eq!(advance(&seen, &seen, &grown.consistency_proof(3, 3).expect("in range")), Ok(()));

        let forked = tree(&["a", "x", "c", "d", "e"]);
        let proof = forked.consistency_proof(3, 5).expect("in range");
        assert!(matches!(
            advance(&seen, &head(&forked), &proof),
            Err(WitnessRefusal::Forked { seen: 3, shown: 5, why: ProofRefused::Root, .. })
        ));
        // As long as before, with another content.
        let same = tree(&["a", "b", "x"]);
        let proof = same.consistency_proof(3, 3).expect("in range");
        assert!(matches!(advance(&seen, &head(&same), &proof), Err(WitnessRefusal::Forked { .. })));
        let short = tree(&["a", "b"]);
        let proof = short.consistency_proof(0, 2).expect("in range");
        assert!(matches!(advance(&seen, &head(&short), &proof), Err(WitnessRefusal::Shrunk { seen: 3, shown: 2, .. })));
        let proof = grown.consistency_proof(2, 5).expect("in range");
        assert!(matches!(advance(&seen, &head(&grown), &proof), Err(WitnessRefusal::OtherProof { from: 2, .. })));
        let other = Checkpoint { origin: "another".into(), ..head(&grown) };
        let proof = grown.consistency_proof(3, 5).expect("in range");
        assert!(matches!(advance(&seen, &other, &proof), Err(WitnessRefusal::OtherLog { .. })));
    }
}
