//! The server's database: one SQLite file in write-ahead-log mode, synchronised on every commit.
//!
//! The invariant: what a committed transaction wrote survives a crash, and every step that must be durable
//! before another is one transaction. Writers begin with `BEGIN IMMEDIATE`, so that a second process (an
//! operator's verb) waits for its turn instead of failing half-way.
//!
//! Left out on purpose: several replicas on one database.

pub mod files;

use std::{path::Path, time::Duration};

use sqlx::{
    Sqlite, SqlitePool, Transaction,
    migrate::{MigrateError, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

/// The schema, embedded.
static MIGRATOR: Migrator = sqlx::migrate!("./migrations");
/// How long a writer waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections of one process.
const CONNECTIONS_MAX: u32 = 8;
/// SQLite's result codes for a full disk: `SQLITE_FULL`, and `SQLITE_IOERR_SHMSIZE`, which it gives where the index
/// of the write-ahead log finds no room.
const SQLITE_FULL: [&str; 2] = ["13", "4874"];

/// Why the database or a file of the state directory could not be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No space left.
    #[error("the disk that holds the state directory is full: free some space, the server goes on where it stopped")]
    DiskFull,
    /// Written by another version of the software.
    #[error(
        "the state directory was written by another version of forecastle-server: use that version, or a newer one"
    )]
    OtherVersion,
    /// SQLite reports something else.
    #[error("the state database failed: {0}")]
    Database(String),
    /// A file could not be read or written.
    #[error("{what} failed: {source}")]
    File {
        /// What was being done, with the file's name.
        what: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A row holds what the software never writes.
    #[error("the state database is damaged: {0}")]
    Damaged(String),
}

impl StoreError {
    /// A file error, with a full disk told apart.
    pub(crate) fn file(what: impl Into<String>, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            return Self::DiskFull;
        }
        Self::File { what: what.into(), source }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(inner) if inner.code().is_some_and(|code| SQLITE_FULL.contains(&&*code)) => {
                Self::DiskFull
            }
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => Self::Damaged(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// Opens the database at `path` and brings its schema up to date; `create` makes a new file.
///
/// # Errors
/// [`StoreError::OtherVersion`] where the schema is newer than this software; [`StoreError`] otherwise.
pub async fn open(path: &Path, create: bool) -> Result<SqlitePool, StoreError> {
    if create {
        // An empty file is an empty database; the log and index files that SQLite adds take its mode, 0600.
        files::write_atomically(path, &[])?;
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT);
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?;
    MIGRATOR.run(&pool).await.map_err(|error| match error {
        MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_) | MigrateError::VersionTooNew(..) => {
            StoreError::OtherVersion
        }
        MigrateError::Execute(error) => error.into(),
        other => StoreError::Database(other.to_string()),
    })?;
    Ok(pool)
}

/// Begins a transaction that will write.
///
/// # Errors
/// [`StoreError`] when another process keeps the database locked.
pub async fn begin_write(pool: &SqlitePool) -> Result<Transaction<'static, Sqlite>, StoreError> {
    Ok(pool.begin_with("BEGIN IMMEDIATE").await?)
}

/// A 32-byte column.
pub(crate) fn digest_column(bytes: Vec<u8>, column: &str) -> Result<[u8; 32], StoreError> {
    bytes.try_into().map_err(|_| StoreError::Damaged(format!("{column} is not 32 bytes long")))
}

/// A column that is never negative.
pub(crate) fn count_column(value: i64, column: &str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Damaged(format!("{column} is negative")))
}

/// A number as SQLite stores it. Counters and times never reach 2^63.
pub(crate) fn stored(value: u64) -> i64 {
    i64::try_from(value).expect("counters and times stay below 2^63")
}
