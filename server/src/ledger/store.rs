//! Durable append to the federation's log.
//!
//! The invariant: the log only grows. Leaves, the checkpoint that covers them and every other row that belongs
//! to the same event are one SQLite transaction; a copy of the checkpoint outside the database follows it. At
//! start the Merkle tree (RFC 9162) is rebuilt from the leaves and must agree with both checkpoints, so a log
//! that was shortened, altered or restored from an older copy is refused instead of being continued.
//!
//! Left out on purpose: proofs (whoever holds the leaves computes them) and witnesses' cosignatures.

use std::path::PathBuf;
use std::sync::Arc;

use forecastle_crypto::{
    identity::{Sha256Digest, SigningKey},
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        entry::{Entry, EntryError, Founded},
        merkle::MerkleTree,
    },
};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};
use tokio::sync::{Mutex, MutexGuard};
use tokio_stream::StreamExt as _;

use crate::store::{StoreError, begin_write, count_column, files, stored};

/// Name of the checkpoint's copy in the state directory.
pub const CHECKPOINT_FILE: &str = "checkpoint";
/// The largest checkpoint file read, in bytes.
const CHECKPOINT_BYTES_MAX: usize = 64 << 10;

/// Why the log cannot be read or continued.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database or a file failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Fewer leaves than a checkpoint covers.
    #[error(
        "the log was shortened: it has {found} entries, the signed checkpoint covers {signed}. Restore the newest copy of the whole state directory; going on would hide spent privacy"
    )]
    Shortened {
        /// Leaves found.
        found: u64,
        /// Leaves that were signed for.
        signed: u64,
    },
    /// The leaves do not hash to the signed root.
    #[error(
        "the log was altered: its {size} entries do not hash to the signed checkpoint. Restore the newest copy of the whole state directory"
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
    /// A leaf is no entry.
    #[error("entry {index} of the log is damaged: {source}")]
    Entry {
        /// Index of the leaf.
        index: u64,
        /// What is wrong.
        source: EntryError,
    },
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
            log: Mutex::new(Log { tree: MerkleTree::new(), checkpoint: String::new(), uncertain: false }),
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
            log: Mutex::new(Log { tree: MerkleTree::new(), checkpoint: String::new(), uncertain: true }),
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

    /// The newest signed checkpoint.
    ///
    /// # Errors
    /// [`LedgerError`] when the log must be read again and cannot be.
    pub async fn checkpoint(&self) -> Result<String, LedgerError> {
        Ok(self.current().await?.checkpoint.clone())
    }

    /// The log as it is on disk; reads it again where a commit's outcome was unknown.
    async fn current(&self) -> Result<MutexGuard<'_, Log>, LedgerError> {
        let mut log = self.log.lock().await;
        if log.uncertain {
            let (tree, checkpoint) = verified(&self.pool, &self.origin, &self.key).await?;
            *log = Log { tree, checkpoint, uncertain: false };
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
        match log.tree.root_at(signed.size) {
            Ok(root) if root == signed.root => Ok(()),
            Ok(_) => Err(LedgerError::Altered { size: signed.size }),
            Err(_) => Err(LedgerError::Shortened { found: log.tree.size(), signed: signed.size }),
        }
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
        Ok(Entry::Founded(founded)) if founded.version == 1 => Ok(founded),
        Ok(Entry::Founded(_)) => Err(StoreError::OtherVersion.into()),
        Ok(_) => Err(LedgerError::NotFounded),
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
    let checkpoint = signed.verify(origin, &key.verifying_key()).map_err(|e| fail(e.to_string()))?;
    if checkpoint.origin != origin {
        return Err(fail(format!("it belongs to `{}`", checkpoint.origin)));
    }
    Ok(checkpoint.clone())
}
