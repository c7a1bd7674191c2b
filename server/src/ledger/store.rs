//! Durable append to the federation's log.
//!
//! The invariant: the log only grows. Leaves, the checkpoint that covers them and every other row that belongs
//! to the same event are one SQLite transaction; a copy of the checkpoint outside the database follows it. At
//! start the Merkle tree (RFC 9162) is rebuilt from the leaves and must agree with both checkpoints, so a log
//! that was shortened, altered or restored from an older copy is refused instead of being continued. Where both are of
//! one old copy, a merchant gives it away: it shows the checkpoint it saw last ([`LedgerStore::growth`]). One that this
//! log does not hold takes the place of the copy outside the database, so that the log stays refused, now and at every
//! later start, until a copy is there that holds it.
//!
//! Left out on purpose: keeping witnesses' cosignatures ([`super::cosign`]).

use std::path::PathBuf;
use std::sync::Arc;

use forecastle_crypto::{
    identity::{Sha256Digest, SigningKey},
    ledger::{
        checkpoint::{CHECKPOINT_BYTES_MAX, Checkpoint, CheckpointError, SignedCheckpoint},
        entry::{ENTRY_BYTES_MAX, Entry, EntryError, Founded},
        merkle::{ConsistencyProof, InclusionProof, MerkleTree},
    },
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, MutexGuard};
use tokio_stream::StreamExt as _;

use crate::{
    ledger::cosign,
    store::{StoreError, begin_write, count_column, files, stored},
};

/// Name of the checkpoint's copy in the state directory.
pub const CHECKPOINT_FILE: &str = "checkpoint";

/// Why the log cannot be read or continued.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database or a file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Fewer leaves than a checkpoint covers.
    #[error(
        "the log was shortened: it has {found} entries, but this federation signed one of {signed}. Restore the newest copy of the whole state directory; going on would hide spent privacy. Where no copy holds all {signed}, found a new federation: merchants' own ledgers keep what was spent"
    )]
    Shortened {
        /// Leaves found.
        found: u64,
        /// Leaves that were signed for.
        signed: u64,
    },
    /// The leaves do not hash to the signed root.
    #[error(
        "the log was altered: its first {size} entries do not hash to the checkpoint that this federation signed. Restore the newest copy of the whole state directory"
    )]
    Altered {
        /// Leaves that the checkpoint covers.
        size: u64,
    },
    /// A checkpoint is unreadable, or signed by another key.
    #[error("the checkpoint {which} is damaged or was signed by another key: {why}")]
    Checkpoint {
        /// In the database, or the file beside it.
        which: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A checkpoint that a caller showed is not one of this log.
    #[error("the checkpoint shown is not one of this federation: {0}")]
    Foreign(CheckpointError),
    /// An entry that the log's files could not hold.
    #[error("an entry of {0} bytes cannot be logged; at most {ENTRY_BYTES_MAX} fit. Is the plan's file too long?")]
    TooLarge(usize),
    /// A leaf is no entry.
    #[error("entry {index} of the log is damaged: {source}")]
    Entry {
        /// Index of the leaf.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
    /// An export as of the newest cosignature was asked for.
    #[error(
        "no witness has cosigned a checkpoint yet: `forecastle-server ledger cosign FILE --witness VKEY` keeps what `forecastle-audit witness cosign` wrote"
    )]
    NotCosigned,
    /// The first leaf does not found a federation.
    #[error("the log does not begin with the founding of a federation; is this the right state directory?")]
    NotFounded,
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

/// The log, open for appending. One process holds it at a time.
pub struct LedgerStore {
    pool: SqlitePool,
    origin: String,
    key: Arc<SigningKey>,
    head_file: PathBuf,
    log: Mutex<Log>,
}

/// What the process knows of the log without reading it.
struct Log {
    tree: MerkleTree,
    checkpoint: String,
    /// A commit was begun whose outcome is unknown: read the tree again before using it.
    uncertain: bool,
    /// A checkpoint of this federation that the log does not hold: nothing is read or written any more.
    outrun: Option<Checkpoint>,
}

impl Log {
    /// Whether the log begins with what `signed` covers.
    fn holds(&self, signed: &Checkpoint) -> Result<(), LedgerError> {
        match self.tree.root_at(signed.size) {
            Ok(root) if root == signed.root => Ok(()),
            Ok(_) => Err(LedgerError::Altered { size: signed.size }),
            Err(_) => Err(LedgerError::Shortened { found: self.tree.size(), signed: signed.size }),
        }
    }
}

/// The newest checkpoint, and that it extends an earlier one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Signed note, with the cosignatures for its size.
    pub checkpoint: String,
    /// From the checkpoint shown; `None` where none was.
    pub consistency: Option<ConsistencyProof>,
}

/// Entries that become durable together, with whatever else belongs to them.
///
/// Dropping it without [`Self::commit`] leaves the log as it was.
pub struct LogBatch<'a> {
    store: &'a LedgerStore,
    log: MutexGuard<'a, Log>,
    transaction: Transaction<'static, Sqlite>,
    leaves: Vec<Vec<u8>>,
}

impl LedgerStore {
    /// Writes the first entry of a new log.
    ///
    /// # Errors
    /// [`LedgerError`] when it could not be made durable.
    pub async fn found(
        pool: SqlitePool,
        head_file: PathBuf,
        key: Arc<SigningKey>,
        founded: Founded,
    ) -> Result<Self, LedgerError> {
        let store = Self {
            pool,
            origin: founded.federation.clone(),
            key,
            head_file,
            log: Mutex::new(Log { tree: MerkleTree::new(), checkpoint: String::new(), uncertain: false, outrun: None }),
        };
        store.append(&Entry::Founded(founded)).await?;
        Ok(store)
    }

    /// Opens a log and checks it against its signed checkpoints.
    ///
    /// # Errors
    /// [`LedgerError`] when the log is not the one that was signed.
    pub async fn open(
        pool: SqlitePool,
        head_file: PathBuf,
        key: Arc<SigningKey>,
        origin: String,
    ) -> Result<Self, LedgerError> {
        let store = Self {
            log: Mutex::new(Log { tree: MerkleTree::new(), checkpoint: String::new(), uncertain: true, outrun: None }),
            pool,
            origin,
            key,
            head_file,
        };
        let log = store.current().await?;
        store.check_head_file(&log)?;
        // The file may lag behind by one commit: a crash came between the two.
        files::write_atomically(&store.head_file, log.checkpoint.as_bytes())?;
        drop(log);
        Ok(store)
    }

    /// Begins a batch of entries.
    ///
    /// # Errors
    /// [`LedgerError`] when the database cannot be written.
    pub async fn begin(&self) -> Result<LogBatch<'_>, LedgerError> {
        let log = self.current().await?;
        let transaction = begin_write(&self.pool).await?;
        Ok(LogBatch { store: self, log, transaction, leaves: Vec::new() })
    }

    /// Appends one entry and waits until it is durable. Returns its index.
    ///
    /// # Errors
    /// [`LedgerError`] when it could not be made durable.
    pub async fn append(&self, entry: &Entry) -> Result<u64, LedgerError> {
        let mut batch = self.begin().await?;
        let index = batch.push(entry).await?;
        batch.commit().await?;
        Ok(index)
    }

    /// Number of leaves and root hash.
    ///
    /// # Errors
    /// [`LedgerError`] when the log must be read again and cannot be.
    pub async fn head(&self) -> Result<(u64, Sha256Digest), LedgerError> {
        let log = self.current().await?;
        Ok((log.tree.size(), log.tree.root()))
    }

    /// The newest signed checkpoint with its cosignatures, and that it extends `seen`, a checkpoint that somebody holds
    /// (nothing where it is empty).
    ///
    /// # Errors
    /// [`LedgerError::Foreign`] where `seen` is not this federation's; [`LedgerError::Shortened`] and
    /// [`LedgerError::Altered`] where it is and the log does not hold it: the log then stays refused.
    pub async fn growth(&self, seen: &str) -> Result<Growth, LedgerError> {
        let mut log = self.current().await?;
        let consistency = self.follow(&mut log, seen)?;
        Ok(Growth { checkpoint: self.published(&log).await?, consistency })
    }

    /// As [`Self::growth`], and where an entry with this leaf hash is under the checkpoint; `None` where there is none.
    ///
    /// # Errors
    /// As [`Self::growth`].
    pub async fn inclusion(
        &self,
        leaf: &Sha256Digest,
        seen: &str,
    ) -> Result<(Growth, Option<InclusionProof>), LedgerError> {
        let mut log = self.current().await?;
        let consistency = self.follow(&mut log, seen)?;
        // What is asked for was appended lately.
        let index = log.tree.leaves().iter().rposition(|hash| hash == leaf);
        let proof = index.map(|index| {
            let (index, size) = (index as u64, log.tree.size());
            log.tree.inclusion_proof(index, size).expect("the leaf was found in this tree")
        });
        Ok((Growth { checkpoint: self.published(&log).await?, consistency }, proof))
    }

    /// Holds the log against a checkpoint that somebody shows.
    fn follow(&self, log: &mut Log, seen: &str) -> Result<Option<ConsistencyProof>, LedgerError> {
        if seen.is_empty() {
            return Ok(None);
        }
        let signed = SignedCheckpoint::parse(seen).map_err(LedgerError::Foreign)?;
        let shown = signed.verify_origin(&self.origin, &self.key.verifying_key()).map_err(LedgerError::Foreign)?;
        if let Err(error) = log.holds(shown) {
            // Before anything else: a crash after this line finds the log refused at the next start.
            files::write_atomically(&self.head_file, signed.to_string().as_bytes())?;
            log.outrun = Some(shown.clone());
            return Err(error);
        }
        let proof = log.tree.consistency_proof(shown.size, log.tree.size());
        Ok(Some(proof.expect("a tree that holds a checkpoint is at least as large")))
    }

    /// The newest checkpoint as it is given out.
    async fn published(&self, log: &Log) -> Result<String, LedgerError> {
        let cosigned = cosign::of_size(&self.pool, log.tree.size()).await?;
        Ok(cosigned.unwrap_or_else(|| log.checkpoint.clone()))
    }

    /// The log as it is on disk; reads it again where a commit's outcome was unknown.
    async fn current(&self) -> Result<MutexGuard<'_, Log>, LedgerError> {
        let mut log = self.log.lock().await;
        if log.uncertain {
            let (tree, checkpoint) = verified(&self.pool, &self.origin, &self.key).await?;
            *log = Log { tree, checkpoint, uncertain: false, outrun: log.outrun.take() };
        }
        if let Some(signed) = &log.outrun {
            log.holds(signed)?;
        }
        Ok(log)
    }

    /// The copy outside the database must be a prefix of the log: this is what notices a database that was
    /// restored from an older copy.
    fn check_head_file(&self, log: &Log) -> Result<(), LedgerError> {
        const WHICH: &str = "file";
        if !self.head_file.exists() {
            return Ok(());
        }
        let bytes = files::read_bounded(&self.head_file, CHECKPOINT_BYTES_MAX)?;
        let text =
            String::from_utf8(bytes).map_err(|e| LedgerError::Checkpoint { which: WHICH, why: e.to_string() })?;
        let signed = parse_checkpoint(&text, &self.origin, &self.key, WHICH)?;
        log.holds(&signed)
    }
}

impl LogBatch<'_> {
    /// Adds an entry and returns the index it will have.
    ///
    /// # Errors
    /// [`LedgerError`] when the database refuses the row.
    pub async fn push(&mut self, entry: &Entry) -> Result<u64, LedgerError> {
        let index = self.log.tree.size() + self.leaves.len() as u64;
        let bytes = entry.to_bytes();
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(LedgerError::TooLarge(bytes.len()));
        }
        // The primary key refuses an index that is taken: a second writer would show here.
        sqlx::query("INSERT INTO leaves (idx, bytes) VALUES (?, ?)")
            .bind(stored(index))
            .bind(&bytes)
            .execute(&mut *self.transaction)
            .await?;
        self.leaves.push(bytes);
        Ok(index)
    }

    /// The transaction, for rows that belong to the entries.
    pub fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    /// Makes everything in the batch durable.
    ///
    /// # Errors
    /// [`LedgerError`]; nothing of the batch was then written, or the commit's outcome is unknown and the log
    /// is read again before its next use.
    pub async fn commit(mut self) -> Result<(), LedgerError> {
        // From here to the end of the commit the tree may be ahead of the disk. A cancelled or failed commit
        // leaves the mark, and the next use reads the truth from disk.
        self.log.uncertain = true;
        for leaf in &self.leaves {
            self.log.tree.append(leaf);
        }
        let origin = &self.store.origin;
        let checkpoint = Checkpoint::of(origin, &self.log.tree)
            .sign(origin, &self.store.key)
            .map_err(|e| LedgerError::Checkpoint { which: "of the next entry", why: e.to_string() })?
            .to_string();
        sqlx::query("INSERT OR REPLACE INTO head (id, checkpoint) VALUES (0, ?)")
            .bind(&checkpoint)
            .execute(&mut *self.transaction)
            .await?;
        self.transaction.commit().await?;
        self.log.checkpoint = checkpoint;
        self.log.uncertain = false;
        // A crash here leaves the file one commit behind, which the next start accepts and mends. A failure is
        // no reason to report the entries as lost: they are durable.
        if let Err(error) = files::write_atomically(&self.store.head_file, self.log.checkpoint.as_bytes()) {
            tracing::warn!("the checkpoint file could not be renewed: {error}");
        }
        Ok(())
    }
}

/// Leaves `[from, to)` of the log, exact bytes; fewer where the log is shorter.
///
/// # Errors
/// [`StoreError`] when the database cannot be read.
pub async fn leaves(pool: &SqlitePool, from: u64, to: u64) -> Result<Vec<Vec<u8>>, StoreError> {
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as("SELECT bytes FROM leaves WHERE idx >= ? AND idx < ? ORDER BY idx")
        .bind(i64::try_from(from).unwrap_or(i64::MAX))
        .bind(i64::try_from(to).unwrap_or(i64::MAX))
        .fetch_all(pool)
        .await?;
    Ok(rows.into_iter().map(|(bytes,)| bytes).collect())
}

/// The founding entry: leaf 0.
///
/// # Errors
/// [`LedgerError`] when there is none.
pub async fn founding(pool: &SqlitePool) -> Result<Founded, LedgerError> {
    let first = leaves(pool, 0, 1).await?.pop().ok_or(LedgerError::NotFounded)?;
    match Entry::from_bytes(&first) {
        Ok(Entry::Founded(founded)) => Ok(founded),
        Ok(_) => Err(LedgerError::NotFounded),
        Err(EntryError::UnknownVersion(_)) => Err(StoreError::OtherVersion.into()),
        Err(source) => Err(LedgerError::Entry { index: 0, source }),
    }
}

/// Rebuilds the tree and compares it with the checkpoint of the same transaction.
async fn verified(pool: &SqlitePool, origin: &str, key: &SigningKey) -> Result<(MerkleTree, String), LedgerError> {
    const WHICH: &str = "in the database";
    // One transaction sees leaves and checkpoint of one moment.
    let mut transaction = pool.begin().await.map_err(StoreError::from)?;
    let mut tree = MerkleTree::new();
    let mut rows =
        sqlx::query_as::<_, (i64, Vec<u8>)>("SELECT idx, bytes FROM leaves ORDER BY idx").fetch(&mut *transaction);
    while let Some((index, bytes)) = rows.try_next().await? {
        if count_column(index, "leaves.idx")? != tree.size() {
            return Err(LedgerError::Altered { size: tree.size() });
        }
        Entry::from_bytes(&bytes).map_err(|source| LedgerError::Entry { index: tree.size(), source })?;
        tree.append(&bytes);
    }
    drop(rows);
    let head: Option<(String,)> =
        sqlx::query_as("SELECT checkpoint FROM head WHERE id = 0").fetch_optional(&mut *transaction).await?;
    let Some((text,)) = head else {
        // Only a log that is being founded has none.
        return if tree.size() == 0 { Ok((tree, String::new())) } else { Err(LedgerError::Altered { size: 0 }) };
    };
    let signed = parse_checkpoint(&text, origin, key, WHICH)?;
    if tree.size() < signed.size {
        return Err(LedgerError::Shortened { found: tree.size(), signed: signed.size });
    }
    if tree.size() != signed.size || tree.root() != signed.root {
        return Err(LedgerError::Altered { size: signed.size });
    }
    Ok((tree, text))
}

fn parse_checkpoint(
    text: &str,
    origin: &str,
    key: &SigningKey,
    which: &'static str,
) -> Result<Checkpoint, LedgerError> {
    let fail = |why: String| LedgerError::Checkpoint { which, why };
    let signed = SignedCheckpoint::parse(text).map_err(|e| fail(e.to_string()))?;
    let checkpoint = signed.verify_origin(origin, &key.verifying_key()).map_err(|e| fail(e.to_string()))?;
    Ok(checkpoint.clone())
}
