//! Which witnesses must have cosigned a checkpoint before it is believed.
//!
//! A log that its witnesses cosigned shows everybody who asks for their cosignatures the same entries, see
//! [`forecastle_crypto::ledger::witness`]. Without witnesses, a federation could show the auditor another log than its
//! merchants.

use clap::Args;
use forecastle_crypto::ledger::{
    audit::{Finding, Rule},
    checkpoint::{CheckpointError, SignedCheckpoint},
    note::VerifierKey,
    witness::cosigned_at,
};

/// Witnesses that are trusted, and how many of them are asked for.
#[derive(Args, Clone, Debug, Default)]
pub struct Quorum {
    /// Verifier key of a trusted witness, NAME+HASH+KEY as `witness init` prints it; may be repeated
    #[arg(long = "witness", value_name = "VKEY")]
    pub witnesses: Vec<VerifierKey>,
    /// How many of them must have cosigned the checkpoint [default: all]
    #[arg(long = "witness-quorum", value_name = "N", requires = "witnesses")]
    pub least: Option<usize>,
}

/// A quorum that cannot be met, or asks for nothing.
#[derive(Debug, thiserror::Error)]
#[error("--witness-quorum {asked} does not fit: {named} different witnesses are named with --witness")]
pub struct QuorumError {
    asked: usize,
    named: usize,
}

/// What the cosignatures amount to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosigned {
    /// In words, one line a witness.
    pub lines: Vec<String>,
    /// Where the quorum is not met, or a cosignature is false.
    pub findings: Vec<Finding>,
}

impl Quorum {
    /// Counts the cosignatures of `checkpoint`.
    ///
    /// # Errors
    /// [`QuorumError`] where more cosignatures are asked for than witnesses are named, or none.
    pub fn judge(&self, checkpoint: &SignedCheckpoint) -> Result<Cosigned, QuorumError> {
        let mut witnesses: Vec<&VerifierKey> = Vec::new();
        for witness in &self.witnesses {
            // The signed message does not hold the witness's name: one key counts once.
            if !witnesses.iter().any(|known| known.key() == witness.key()) {
                witnesses.push(witness);
            }
        }
        let least = self.least.unwrap_or(witnesses.len());
        if least > witnesses.len() || (least == 0 && !witnesses.is_empty()) {
            return Err(QuorumError { asked: least, named: witnesses.len() });
        }
        let mut judged = Cosigned { lines: Vec::new(), findings: Vec::new() };
        let mut count = 0;
        for witness in witnesses {
            let name = witness.name();
            match cosigned_at(checkpoint, witness) {
                Ok(time) => {
                    count += 1;
                    judged.lines.push(format!("{name} cosigned at Unix time {time}"));
                }
                Err(CheckpointError::BadSignature(_)) => {
                    judged.lines.push(format!("{name}: its cosignature is false"));
                    let what = format!("the cosignature under the witness key {name:?} does not verify");
                    judged.findings.push(Finding::new(None, Rule::Witnesses, what));
                }
                Err(_) => judged.lines.push(format!("{name} has not cosigned")),
            }
        }
        if count < least {
            let size = checkpoint.danger_unverified().size;
            let what = format!(
                "{count} of the {least} witnesses asked for cosigned the checkpoint of {size} entries: the federation may show others another log"
            );
            judged.findings.push(Finding::new(None, Rule::Witnesses, what));
        }
        Ok(judged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecastle_crypto::{
        identity::{SigningKey, sha256},
        ledger::{checkpoint::Checkpoint, note::SignatureType, witness::cosign},
    };

    fn key(seed: u8) -> SigningKey {
        SigningKey::danger_from_seed(&[seed; 32]).expect("32 bytes")
    }

    fn witness(seed: u8) -> VerifierKey {
        VerifierKey::new(&format!("w{seed}"), SignatureType::CosignatureV1, key(seed).verifying_key()).expect("a name")
    }

    fn cosigned_by(seeds: &[u8]) -> SignedCheckpoint {
        let checkpoint = Checkpoint { origin: "market".into(), size: 3, root: sha256(b"root") };
        let mut signed = checkpoint.clone().sign("market", &key(1)).expect("a name");
        for &seed in seeds {
            signed.add(cosign(&checkpoint, &format!("w{seed}"), &key(seed), 7).expect("a name"));
        }
        signed
    }

    #[test]
    fn a_quorum_counts_each_trusted_witness_once() {
        let quorum = |witnesses: Vec<VerifierKey>, least| Quorum { witnesses, least };
        let findings = |q: &Quorum, by: &[u8]| q.judge(&cosigned_by(by)).expect("a quorum").findings.len();
        assert_eq!(findings(&quorum(vec![], None), &[]), 0);
        let both = quorum(vec![witness(2), witness(3)], None);
        assert_eq!(findings(&both, &[2, 3]), 0);
        assert_eq!(findings(&both, &[2]), 1);
        assert_eq!(findings(&both, &[2, 4]), 1, "a stranger does not count");
        let one = quorum(vec![witness(2), witness(3)], Some(1));
        assert_eq!(findings(&one, &[3]), 0);
        let line = one.judge(&cosigned_by(&[3])).expect("a quorum").lines;
        assert_eq!(line, ["w2 has not cosigned", "w3 cosigned at Unix time 7"]);
        // One key under two names is one witness.
        let alias = VerifierKey::new("alias", SignatureType::CosignatureV1, key(2).verifying_key()).expect("a name");
        assert!(quorum(vec![witness(2), alias], Some(2)).judge(&cosigned_by(&[2])).is_err());
        assert!(quorum(vec![witness(2)], Some(0)).judge(&cosigned_by(&[2])).is_err());
    }

    #[test]
    fn a_false_cosignature_is_a_finding_even_where_the_quorum_is_met() {
        let mut signed = cosigned_by(&[2, 3]);
        let mut line = signed.signatures()[1].clone();
        line.bytes[20] ^= 1;
        signed.add(line);
        let quorum = Quorum { witnesses: vec![witness(2), witness(3)], least: Some(1) };
        let findings = quorum.judge(&signed).expect("a quorum").findings;
        assert_eq!(findings.len(), 1);
        assert!(findings[0].what.contains("\"w2\""), "{findings:?}");
    }
}
