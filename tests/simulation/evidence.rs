//! Everything that ever left a merchant's machine, whether or not it arrived: what the server could know at most.

use std::collections::{BTreeMap, BTreeSet};

use forecastle_crypto::identity::Sha256Digest;
use forecastle_crypto::secagg::MaskedUpdateHeader;

use crate::message::{Name, Up};

/// Which secret a share belongs to, as on the wire.
pub type Kind = u8;

#[derive(Default)]
pub struct Evidence {
    /// Digests of the updates whose bytes left, by round and merchant.
    pub updates: BTreeMap<(Sha256Digest, Name), BTreeSet<Sha256Digest>>,
    /// Different answers, by round and merchant.
    pub answers: BTreeMap<(Sha256Digest, Name), BTreeSet<Vec<u8>>>,
    /// Who opened which kind of share, by round and subject.
    pub opened: BTreeMap<(Sha256Digest, u16), BTreeMap<Kind, BTreeSet<Name>>>,
    refusals: usize,
}

impl Evidence {
    /// Notes a message at the moment it leaves.
    pub fn note(&mut self, from: Name, message: &Up) {
        match message {
            Up::Announce { sid, header } => {
                let header = MaskedUpdateHeader::decode(header).unwrap();
                self.updates.entry((*sid, from)).or_default().insert(header.sha256);
            }
            Up::Answer { sid, bytes } => {
                for (subject, kind) in kinds(bytes) {
                    let opened = self.opened.entry((*sid, subject)).or_default();
                    opened.entry(kind).or_default().insert(from);
                }
                self.answers.entry((*sid, from)).or_default().insert(bytes.clone());
            }
            _ => {}
        }
    }

    pub fn note_refusals(&mut self, refusals: usize) {
        self.refusals = refusals;
    }

    pub fn refusals(&self) -> usize {
        self.refusals
    }

    /// Participations that ended with an answer.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }
}

/// Subjects and kinds of an answer, read from its bytes: tag, sid, count, then subject, kind, share.
fn kinds(answer: &[u8]) -> Vec<(u16, Kind)> {
    let records = answer[35..].chunks_exact(2 + 1 + 32);
    records.map(|record| (u16::from_be_bytes([record[0], record[1]]), record[2])).collect()
}
