//! The merchant's verified copy of the federation's log.
//!
//! Every leaf is fetched once and kept. A new checkpoint is believed only when the server's key signed it and
//! the root over *all* leaves held, old ones as first seen and new ones as just received, is the root it names:
//! that is inclusion and consistency in one (RFC 9162 §2.1). A server that rewrites or shortens history is
//! therefore noticed by every merchant at its next round.
//!
//! Left out on purpose: proofs and tiles, which save space and matter for large federations, and witnesses, who
//! compare the views of several merchants.

use std::{collections::HashMap, path::PathBuf};

use forecastle_crypto::{
    identity::{MerchantId, Sha256Digest, VerifyingKey},
    ledger::{
        checkpoint::SignedCheckpoint,
        entry::{Entry, EntryError, Founded, SignedCharge},
        merkle::MerkleTree,
    },
};
use forecastle_proto::{
    ledger::{EntriesRequest, LatestCheckpointRequest},
    limits::ENTRIES_PER_CALL_MAX,
};

use super::{
    connection::{CallError, Connection, call, stream},
    home::{Home, HomeError, Membership},
};
use crate::durable::{self, Access};

/// Why the federation's log is not believed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The signature or form of the checkpoint is wrong.
    #[error("the federation's checkpoint is not valid: {0}; training stops, tell the operator and the other merchants")]
    Checkpoint(String),
    /// The log is shorter than this merchant has seen it.
    #[error(
        "the federation's log shrank from {seen} to {now} entries: the server was restored or rewrote history; training stops, tell the operator and the other merchants"
    )]
    Shrunk {
        /// Entries seen before.
        seen: u64,
        /// Entries now claimed.
        now: u64,
    },
    /// The root does not follow from the entries.
    #[error(
        "the federation's log does not match its signed root at {size} entries: history was rewritten; training stops, tell the operator and the other merchants"
    )]
    Root {
        /// Claimed size.
        size: u64,
    },
    /// One entry is unreadable or contradicts earlier ones.
    #[error("entry {index} of the federation's log: {why}")]
    Entry {
        /// Which.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// The connection.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The disk.
    #[error(transparent)]
    Home(#[from] HomeError),
}

impl LogError {
    /// True where trying again may help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Call(e) if e.is_transient())
    }
}

/// The copy and what follows from it.
pub struct LogCopy {
    folder: PathBuf,
    membership: Membership,
    tree: MerkleTree,
    view: View,
}

/// What the entries say, taken together.
#[derive(Clone, Default)]
struct View {
    founded: Option<Founded>,
    directory: HashMap<MerchantId, VerifyingKey>,
    own: Vec<SignedCharge>,
    models: Vec<(u64, Sha256Digest)>,
}

impl View {
    fn add(&mut self, index: u64, entry: Entry, membership: &Membership) -> Result<(), LogError> {
        let refuse = |why: &str| Err(LogError::Entry { index, why: why.to_owned() });
        match entry {
            Entry::Founded(founded) => {
                if index != 0 {
                    return refuse("founds the federation a second time");
                }
                if founded.server_key != membership.server_key || founded.federation != membership.federation {
                    return refuse("founds another federation than the one joined");
                }
                self.models.push((0, founded.model_sha256));
                self.founded = Some(founded);
            }
            _ if index == 0 => return refuse("does not found a federation"),
            Entry::Enrolled(enrolled) => {
                if self.directory.contains_key(&enrolled.merchant) {
                    return refuse("enrols a merchant a second time");
                }
                self.directory.insert(enrolled.merchant, enrolled.identity);
            }
            Entry::Revoked(revoked) => {
                self.directory.remove(&revoked.merchant);
            }
            Entry::Charge(signed) => {
                if signed.charge.merchant == membership.merchant {
                    self.own.push(signed);
                }
            }
            Entry::RoundClosed(closed) => self.models.push((closed.model_version, closed.model_sha256)),
            Entry::RoundAbandoned(_) => {}
        }
        Ok(())
    }
}

impl LogCopy {
    /// Reads the copy of a state folder and verifies it against its own checkpoint.
    ///
    /// # Errors
    /// Where the files were altered.
    pub fn open(home: &Home, membership: &Membership) -> Result<Self, LogError> {
        let folder = home.path().join("log");
        durable::create_private_folder(&folder).map_err(HomeError::from)?;
        let mut tree = MerkleTree::new();
        let mut view = View::default();
        let leaves = durable::read_lines(&folder.join("entries.jsonl")).map_err(HomeError::from)?;
        for (index, leaf) in (0u64..).zip(&leaves) {
            view.add(index, parse(index, leaf)?, membership)?;
            tree.append(leaf);
        }
        let copy = Self { folder, membership: membership.clone(), tree, view };
        let note = copy.folder.join("checkpoint");
        if note.exists() {
            let bytes = durable::read(&note).map_err(HomeError::from)?;
            let checkpoint = copy.believe(&String::from_utf8_lossy(&bytes))?;
            // Leaves are appended before the checkpoint is replaced: a crash between leaves more, never fewer.
            if copy.tree.size() < checkpoint.0 || copy.root_at(checkpoint.0) != Some(checkpoint.1) {
                return Err(LogError::Root { size: checkpoint.0 });
            }
        }
        Ok(copy)
    }

    /// Fetches what is new and verifies it. Returns the number of new entries.
    ///
    /// # Errors
    /// [`LogError`]; the copy then is as it was.
    pub async fn sync(&mut self, connection: &Connection) -> Result<u64, LogError> {
        let note = connection
            .ledger()
            .latest_checkpoint(call(LatestCheckpointRequest {}))
            .await
            .map_err(|s| connection.explain(s))?
            .into_inner()
            .checkpoint;
        let (size, root) = self.believe(&note)?;
        let held = self.tree.size();
        if size < held {
            return Err(LogError::Shrunk { seen: held, now: size });
        }
        let (mut tree, mut view) = (self.tree.clone(), self.view.clone());
        let mut fresh: Vec<Vec<u8>> = Vec::new();
        while held + (fresh.len() as u64) < size {
            let from = held + fresh.len() as u64;
            let before = fresh.len();
            let mut chunks = connection
                .ledger()
                .entries(stream(EntriesRequest { from, to: size.min(from + ENTRIES_PER_CALL_MAX) }))
                .await
                .map_err(|s| connection.explain(s))?
                .into_inner();
            while let Some(chunk) = chunks.message().await.map_err(|s| connection.explain(s))? {
                for leaf in chunk.leaves {
                    let index = held + fresh.len() as u64;
                    if index >= size {
                        return Err(CallError::Answer("more entries than asked for".into()).into());
                    }
                    view.add(index, parse(index, &leaf)?, &self.membership)?;
                    tree.append(&leaf);
                    fresh.push(leaf);
                }
            }
            if fresh.len() == before {
                return Err(CallError::Answer("fewer entries than the checkpoint names".into()).into());
            }
        }
        if tree.root() != root {
            return Err(LogError::Root { size });
        }
        let entries = self.folder.join("entries.jsonl");
        for leaf in &fresh {
            durable::append_line(&entries, leaf).map_err(HomeError::from)?;
        }
        durable::write(&self.folder.join("checkpoint"), note.as_bytes(), Access::Ordinary).map_err(HomeError::from)?;
        (self.tree, self.view) = (tree, view);
        Ok(fresh.len() as u64)
    }

    /// Number of entries held.
    pub fn size(&self) -> u64 {
        self.tree.size()
    }

    /// Root over the first `size` entries; `None` where fewer are held.
    pub fn root_at(&self, size: u64) -> Option<Sha256Digest> {
        self.tree.root_at(size).ok()
    }

    /// The first entry.
    pub fn founded(&self) -> Option<&Founded> {
        self.view.founded.as_ref()
    }

    /// Identity key of an enrolled, not revoked merchant.
    pub fn identity_of(&self, merchant: &MerchantId) -> Option<&VerifyingKey> {
        self.view.directory.get(merchant)
    }

    /// The latest published model: version and digest.
    pub fn latest_model(&self) -> Option<(u64, Sha256Digest)> {
        self.view.models.last().copied()
    }

    /// Digest of a published version.
    pub fn model_digest(&self, version: u64) -> Option<Sha256Digest> {
        self.view.models.iter().find(|(v, _)| *v == version).map(|(_, d)| *d)
    }

    /// Charges of this merchant.
    pub fn own_charges(&self) -> impl Iterator<Item = &SignedCharge> {
        self.view.own.iter()
    }

    fn believe(&self, note: &str) -> Result<(u64, Sha256Digest), LogError> {
        let signed = SignedCheckpoint::parse(note).map_err(|e| LogError::Checkpoint(e.to_string()))?;
        let checkpoint = signed
            .verify(&self.membership.federation, &self.membership.server_key)
            .map_err(|e| LogError::Checkpoint(e.to_string()))?;
        if checkpoint.origin != self.membership.federation {
            return Err(LogError::Checkpoint(format!("it is of `{}`", checkpoint.origin)));
        }
        Ok((checkpoint.size, checkpoint.root))
    }
}

fn parse(index: u64, leaf: &[u8]) -> Result<Entry, LogError> {
    Entry::from_bytes(leaf).map_err(|e: EntryError| LogError::Entry { index, why: e.to_string() })
}
