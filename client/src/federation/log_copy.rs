//! The merchant's verified copy of the federation's log.
//!
//! Every leaf is fetched once and kept. A new checkpoint is believed only when the server's key signed it, a proof leads
//! to it from the newest one this merchant ever saw (RFC 9162 §2.1.4), and the root over *all* leaves held, old ones as
//! first seen and new ones as just received, is the root it names. A server that rewrites or shortens history is
//! therefore noticed by every merchant at its next round, and told so: each question shows the newest checkpoint seen.
//!
//! The invariant: a checkpoint is remembered, on disk, from the moment it was proven to extend the one before, also
//! where its entries are fetched later. [`LogCopy::prove`] does so in the middle of a round.
//!
//! Left out on purpose: witnesses, who compare the views of several merchants; their cosignatures are kept and passed on.

use std::path::PathBuf;

use forecastle_crypto::{
    identity::{MerchantId, Sha256Digest, VerifyingKey},
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        entry::{Entry, EntryError, Founded, SignedCharge},
        merkle::{ConsistencyProof, InclusionProof, MerkleTree, leaf_hash},
    },
};
use forecastle_proto::{
    ledger::{EntriesRequest, InclusionRequest, InclusionResponse, LatestCheckpointRequest},
    limits::{ENTRIES_BYTES_MAX, ENTRIES_PER_CALL_MAX, PROOF_DIGESTS_MAX},
};

use super::{
    connection::{CallError, Connection, Parts, call, prompt, stream},
    home::{Home, HomeError, Membership},
    log_view::{Reader, View},
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
        "the federation's log shrank from {seen} to {now} entries: the server was restored from an old copy, or hides what was spent; training stops. Tell the operator, who must restore the newest copy or found a new federation, and the other merchants; what this merchant spent stays in its own ledger"
    )]
    Shrunk {
        /// Entries seen before.
        seen: u64,
        /// Entries now claimed.
        now: u64,
    },
    /// The log does not extend the one seen before.
    #[error(
        "the federation's log of {now} entries does not begin with the {seen} that this merchant saw before ({why}): history was rewritten; training stops, tell the operator and the other merchants"
    )]
    Forked {
        /// Entries seen before.
        seen: u64,
        /// Entries now claimed.
        now: u64,
        /// How the proof failed.
        why: String,
    },
    /// The root does not follow from the entries.
    #[error(
        "the federation's log does not match its signed root at {size} entries: history was rewritten; training stops, tell the operator and the other merchants"
    )]
    Root {
        /// Claimed size.
        size: u64,
    },
    /// One entry is unreadable or contradicts earlier ones, or what this merchant knows.
    #[error("entry {index} of the federation's log {why}; training stops")]
    Entry {
        /// Which.
        index: u64,
        /// What is wrong.
        why: String,
    },
    /// What this merchant spent in a round is not in the log.
    #[error(
        "this merchant's charge for round {round} is not in the federation's log ({why}): the server would use the update without counting it; the update stays masked and training stops, tell the operator and the other merchants"
    )]
    ChargeMissing {
        /// The round.
        round: u64,
        /// What the server gave instead of a proof.
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
    reader: Reader,
    tree: MerkleTree,
    view: View,
    /// The newest checkpoint that extends all earlier ones, and its text; the leaves may be behind.
    newest: Option<(Checkpoint, String)>,
}

/// Leaves that were fetched under a checkpoint, with what follows from them, not kept yet.
struct Fetched {
    leaves: Vec<Vec<u8>>,
    tree: MerkleTree,
    view: View,
    /// Bytes of leaves that are still taken.
    room: usize,
}

impl LogCopy {
    /// Reads the copy of a state folder and verifies it against its own checkpoints.
    ///
    /// # Errors
    /// Where the files were altered.
    pub fn open(home: &Home, membership: &Membership) -> Result<Self, LogError> {
        let (_, plan_sha256) = home.plan()?;
        let identity = home.identity()?.verifying_key();
        let reader = Reader { membership: membership.clone(), identity, plan_sha256 };
        Self::open_in(home.path().join("log"), reader)
    }

    fn open_in(folder: PathBuf, reader: Reader) -> Result<Self, LogError> {
        durable::create_private_folder(&folder).map_err(HomeError::from)?;
        let mut copy = Self { folder, reader, tree: MerkleTree::new(), view: View::default(), newest: None };
        for (index, leaf) in (0u64..).zip(&copy.lines()?) {
            copy.view.add(index, parse(index, leaf)?, &copy.reader).map_err(|why| LogError::Entry { index, why })?;
            copy.tree.append(leaf);
        }
        for name in ["checkpoint", "seen"] {
            let path = copy.folder.join(name);
            if !path.exists() {
                continue;
            }
            let text = String::from_utf8_lossy(&durable::read(&path).map_err(HomeError::from)?).into_owned();
            let checkpoint = copy.believe(&text)?;
            // Leaves are appended before `checkpoint` is replaced: a crash between leaves more, never fewer. `seen` may
            // be ahead of the leaves.
            let held = copy.tree.size();
            let fits = copy.root_at(checkpoint.size) == Some(checkpoint.root);
            if !fits && (name == "checkpoint" || held >= checkpoint.size) {
                return Err(LogError::Root { size: checkpoint.size });
            }
            if copy.newest.as_ref().is_none_or(|(newest, _)| newest.size <= checkpoint.size) {
                copy.newest = Some((checkpoint, text));
            }
        }
        Ok(copy)
    }

    /// Fetches what is new and verifies it. Returns the number of new entries.
    ///
    /// # Errors
    /// [`LogError`]; the leaves held are then as they were.
    pub async fn sync(&mut self, connection: &Connection) -> Result<u64, LogError> {
        let request = LatestCheckpointRequest { seen: self.newest_text() };
        let answer = prompt(connection.ledger().latest_checkpoint(call(request))).await;
        let answer = answer.map_err(|s| connection.explain(s))?.into_inner();
        let checkpoint = self.follow(&answer.checkpoint, answer.consistency)?;
        let mut fetched = self.nothing_fetched(ENTRIES_BYTES_MAX);
        while fetched.tree.size() < checkpoint.size {
            let from = fetched.tree.size();
            let to = checkpoint.size.min(from + ENTRIES_PER_CALL_MAX);
            let asked = prompt(connection.ledger().entries(stream(EntriesRequest { from, to }))).await;
            let mut chunks = Parts::of(asked.map_err(|s| connection.explain(s))?.into_inner());
            while let Some(chunk) = chunks.next().await.map_err(|s| connection.explain(s))? {
                if chunk.leaves.is_empty() {
                    return Err(CallError::Answer("a part of the log without an entry".into()).into());
                }
                for leaf in chunk.leaves {
                    if fetched.tree.size() >= to {
                        return Err(CallError::Answer("more entries than asked for".into()).into());
                    }
                    self.take(&mut fetched, leaf)?;
                }
            }
            if fetched.tree.size() < to {
                return Err(CallError::Answer("fewer entries than the checkpoint names".into()).into());
            }
        }
        self.keep(fetched, &checkpoint, &answer.checkpoint)
    }

    /// Asks the server for a proof that `charge` is in the log, and verifies it under a checkpoint that extends the
    /// newest one seen (RFC 9162 §2.1.3, §2.1.4).
    ///
    /// # Errors
    /// [`LogError::ChargeMissing`], and those of a checkpoint that is not believed.
    pub async fn prove(&mut self, connection: &Connection, charge: &SignedCharge) -> Result<(), LogError> {
        let leaf = leaf_hash(&Entry::Charge(charge.clone()).to_bytes());
        let request = InclusionRequest { leaf_hash: leaf.0.to_vec(), seen: self.newest_text() };
        let answer = prompt(connection.ledger().inclusion(call(request))).await.map_err(|s| connection.explain(s))?;
        self.check_inclusion(charge, &leaf, answer.into_inner())
    }

    fn check_inclusion(
        &mut self,
        charge: &SignedCharge,
        leaf: &Sha256Digest,
        answer: InclusionResponse,
    ) -> Result<(), LogError> {
        let checkpoint = self.follow(&answer.checkpoint, answer.consistency)?;
        let missing = |why: String| LogError::ChargeMissing { round: charge.charge.round, why };
        let proof = answer.inclusion.ok_or_else(|| missing("it has no such entry".into()))?;
        let proof = InclusionProof { index: proof.index, size: checkpoint.size, path: digests(proof.path)? };
        proof.verify(leaf, &checkpoint.root).map_err(|e| missing(e.to_string()))
    }

    /// Believes a checkpoint that provably extends the newest one seen, and remembers it.
    fn follow(&mut self, text: &str, consistency: Vec<Vec<u8>>) -> Result<Checkpoint, LogError> {
        let checkpoint = self.believe(text)?;
        let (held, now) = (self.tree.size(), checkpoint.size);
        if let Some((newest, _)) = &self.newest {
            let seen = newest.size;
            if now < seen {
                return Err(LogError::Shrunk { seen, now });
            }
            let proof = ConsistencyProof { old_size: seen, new_size: now, path: digests(consistency)? };
            let why = |e: forecastle_crypto::ledger::merkle::ProofRefused| e.to_string();
            proof.verify(&newest.root, &checkpoint.root).map_err(|e| LogError::Forked { seen, now, why: why(e) })?;
        } else if now < held {
            return Err(LogError::Shrunk { seen: held, now });
        }
        if self.newest.as_ref().is_none_or(|(_, known)| known != text) {
            // From here on this merchant holds the server to it, whatever happens to its entries.
            durable::write(&self.folder.join("seen"), text.as_bytes(), Access::Ordinary).map_err(HomeError::from)?;
            self.newest = Some((checkpoint.clone(), text.to_owned()));
        }
        Ok(checkpoint)
    }

    fn nothing_fetched(&self, room: usize) -> Fetched {
        Fetched { leaves: Vec::new(), tree: self.tree.clone(), view: self.view.clone(), room }
    }

    /// Takes one more leaf into what was fetched.
    fn take(&self, fetched: &mut Fetched, leaf: Vec<u8>) -> Result<(), LogError> {
        let index = fetched.tree.size();
        let room = fetched.room.checked_sub(leaf.len());
        fetched.room = room.ok_or_else(|| {
            CallError::Answer(format!("more than {} MiB of entries at once", ENTRIES_BYTES_MAX >> 20))
        })?;
        let entry = parse(index, &leaf)?;
        fetched.view.add(index, entry, &self.reader).map_err(|why| LogError::Entry { index, why })?;
        fetched.tree.append(&leaf);
        fetched.leaves.push(leaf);
        Ok(())
    }

    /// Keeps what was fetched, if it gives the root of `checkpoint`. Returns the number of new entries.
    fn keep(&mut self, fetched: Fetched, checkpoint: &Checkpoint, text: &str) -> Result<u64, LogError> {
        if fetched.tree.size() != checkpoint.size || fetched.tree.root() != checkpoint.root {
            return Err(LogError::Root { size: checkpoint.size });
        }
        durable::append_lines(&self.folder.join("entries.jsonl"), &fetched.leaves).map_err(HomeError::from)?;
        durable::write(&self.folder.join("checkpoint"), text.as_bytes(), Access::Ordinary).map_err(HomeError::from)?;
        (self.tree, self.view) = (fetched.tree, fetched.view);
        Ok(fetched.leaves.len() as u64)
    }

    /// The leaves that the copy's own checkpoint covers, and that checkpoint's text with all its signatures.
    ///
    /// # Errors
    /// Where the copy holds nothing yet, or the disk refuses.
    pub fn export(&self) -> Result<(Vec<Vec<u8>>, String), LogError> {
        let text = durable::read(&self.folder.join("checkpoint")).map_err(HomeError::from)?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let checkpoint = self.believe(&text)?;
        let mut leaves = self.lines()?;
        leaves.truncate(usize::try_from(checkpoint.size).unwrap_or(usize::MAX));
        Ok((leaves, text))
    }

    fn lines(&self) -> Result<Vec<Vec<u8>>, LogError> {
        Ok(durable::read_lines(&self.folder.join("entries.jsonl")).map_err(HomeError::from)?)
    }

    fn newest_text(&self) -> String {
        self.newest.as_ref().map(|(_, text)| text.clone()).unwrap_or_default()
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
        self.view.directory.get(merchant).map(|enrolment| &enrolment.identity)
    }

    /// Whether `merchant` was enrolled, under the key it has now, when this merchant last spent anything. `None` where it
    /// never did: then it knows nobody.
    pub fn is_known(&self, merchant: &MerchantId) -> Option<bool> {
        let (last, _) = self.view.own.last()?;
        Some(self.view.directory.get(merchant).is_some_and(|enrolment| enrolment.index < *last))
    }

    /// The latest published model: version and digest.
    pub fn latest_model(&self) -> Option<(u64, Sha256Digest)> {
        self.view.models.last().map(|model| (model.version, model.sha256))
    }

    /// Digest of a published version.
    pub fn model_digest(&self, version: u64) -> Option<Sha256Digest> {
        self.view.models.iter().find(|model| model.version == version).map(|model| model.sha256)
    }

    /// The version of the model that the round `sid` published.
    pub fn published_by(&self, sid: Sha256Digest) -> Option<u64> {
        self.view.models.iter().find(|model| model.sid == Some(sid)).map(|model| model.version)
    }

    /// The fewest entries that a round with `roster` rests on: up to the latest model, the enrolment of everybody in the
    /// roster, and the latest charge of this merchant.
    pub fn entries_behind<'a>(&self, roster: impl Iterator<Item = &'a MerchantId>) -> u64 {
        let model = self.view.models.last().map(|model| model.index);
        let charge = self.view.own.last().map(|(index, _)| *index);
        let enrolments = roster.filter_map(|merchant| self.view.directory.get(merchant)).map(|e| e.index);
        model.into_iter().chain(charge).chain(enrolments).map(|index| index + 1).max().unwrap_or(0)
    }

    /// Charges of this merchant.
    pub fn own_charges(&self) -> impl Iterator<Item = &SignedCharge> {
        self.view.own.iter().map(|(_, signed)| signed)
    }

    fn believe(&self, note: &str) -> Result<Checkpoint, LogError> {
        let refused = |e: forecastle_crypto::ledger::checkpoint::CheckpointError| LogError::Checkpoint(e.to_string());
        let signed = SignedCheckpoint::parse(note).map_err(refused)?;
        let Membership { federation, server_key, .. } = &self.reader.membership;
        Ok(signed.verify_origin(federation, server_key).map_err(refused)?.clone())
    }
}

fn parse(index: u64, leaf: &[u8]) -> Result<Entry, LogError> {
    Entry::from_bytes(leaf).map_err(|e: EntryError| LogError::Entry { index, why: format!("is refused: {e}") })
}

fn digests(path: Vec<Vec<u8>>) -> Result<Vec<Sha256Digest>, LogError> {
    let refuse = || CallError::Answer("a proof that is no list of digests".into());
    if path.len() > PROOF_DIGESTS_MAX {
        return Err(refuse().into());
    }
    let parsed: Result<Vec<_>, _> = path.into_iter().map(|bytes| bytes.try_into().map(Sha256Digest)).collect();
    Ok(parsed.map_err(|_| refuse())?)
}

#[cfg(test)]
#[path = "log_copy_tests.rs"]
mod tests;
