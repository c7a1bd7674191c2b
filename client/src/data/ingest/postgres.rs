//! A query to the shop's own PostgreSQL, answered as CSV row after row (`COPY … TO STDOUT`).
//!
//! The query runs in a read-only transaction: whatever it says, nothing in the shop changes. The password comes from the
//! address, `PGPASSWORD` or `.pgpass` and goes nowhere else: not into messages, not into what is stored. Instants are
//! written in UTC. Of the answer no more is in memory than a few pieces on their way. Left out: other databases.

use std::{
    io::{self, Read},
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio_stream::StreamExt as _;

use super::{
    IngestError,
    input::{Answer, Part},
};

/// Bytes of an answer that are handed on at once.
const PIECE: usize = 64 * 1024;
/// Pieces that may wait to be read.
const PIECES_WAITING: usize = 8;
/// What an address may say after its `?`. Anything else would be passed over in silence.
const PARAMETERS: [&str; 14] = [
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "sslkey",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
];

/// What an address looks like whose password was not written as addresses are.
const MISREAD: &str = "a password with `@`, `/`, `?` or `#` in it is written with %40, %2F, %3F or %23";

/// A query and the database that it is put to.
pub struct PostgresQuery {
    options: PgConnectOptions,
    database: String,
    words: String,
    identity: String,
}

impl PostgresQuery {
    /// Takes an address, `postgres://user@host:port/database`, and a `SELECT`. Nothing is asked yet.
    ///
    /// # Errors
    /// When the address is none, or the query is empty.
    pub fn new(address: &str, query: &str) -> Result<Self, IngestError> {
        let refused = |reason: &str| IngestError::DatabaseAddress { reason: reason.to_owned() };
        if !address.contains("://") {
            return Err(refused("it lacks `//`"));
        }
        let parameters = address.split_once('?').map_or("", |(_, parameters)| parameters);
        for name in parameters.split('&').filter_map(|parameter| parameter.split('=').next()) {
            let is_word = name.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'_'));
            if !is_word {
                return Err(refused(MISREAD));
            }
            if !name.is_empty() && !PARAMETERS.contains(&name) {
                return Err(refused(&format!("it says `{name}`, which is none of {}", PARAMETERS.join(", "))));
            }
        }
        let options: PgConnectOptions = address.parse().map_err(|_| refused("it does not parse"))?;
        let options = options.disable_statement_logging();
        // A password with such a sign in it is cut there, and its rest would be taken for a name and be shown.
        if address.contains('#') || options.get_database().is_some_and(|name| name.contains('@')) {
            return Err(refused(MISREAD));
        }
        let host = match options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => options.get_host().to_owned(),
        };
        let name = options.get_database().unwrap_or(options.get_username());
        let database = format!("postgres://{}@{host}:{}/{name}", options.get_username(), options.get_port());
        let words = query.trim().trim_end_matches(|c: char| c == ';' || c.is_whitespace()).to_owned();
        if words.is_empty() {
            return Err(IngestError::Query { database, reason: "it is empty".to_owned() });
        }
        let identity = format!("{database}\0{words}");
        Ok(Self { options, database, words, identity })
    }

    fn statement(&self, part: Part<'_>) -> String {
        let words = &self.words;
        // The line break ends a comment that the query may end with.
        let select = match part {
            Part::All => format!("{words}\n"),
            Part::First(count) => format!("SELECT * FROM ({words}\n) AS forecastle LIMIT {count}"),
            Part::After { column, value } => {
                let column = format!("\"{}\"", column.replace('"', "\"\""));
                let after = value.map_or_else(String::new, |value| {
                    // The last value once more: another row may share it. What is there already is known.
                    format!(" WHERE {column} >= '{}' OR {column} IS NULL", value.replace('\'', "''"))
                });
                format!("SELECT * FROM ({words}\n) AS forecastle{after} ORDER BY {column}")
            }
        };
        format!("COPY ({select}) TO STDOUT WITH (FORMAT csv, HEADER true)")
    }
}

impl Answer for PostgresQuery {
    fn name(&self) -> &str {
        &self.database
    }

    fn query(&self) -> &str {
        &self.identity
    }

    fn open(&self, part: Part<'_>) -> Result<Box<dyn Read>, IngestError> {
        let (options, database, statement) = (self.options.clone(), self.database.clone(), self.statement(part));
        let (send, pieces) = sync_channel(PIECES_WAITING);
        let of_thread = |error: io::Error| IngestError::Unreadable { file: self.database.clone(), source: error };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(of_thread)?;
        let ask = move || {
            let end = match runtime.block_on(ask(&options, &statement, &send)) {
                Ok(()) => Ok(Vec::new()),
                Err(error) => Err(refusal(&database, &error)),
            };
            // Nobody listens any more where only the beginning was wanted.
            let _ = send.send(end);
        };
        thread::Builder::new().name("query".to_owned()).spawn(ask).map_err(of_thread)?;
        Ok(Box::new(Pieces { pieces, piece: Vec::new(), at: 0, ended: false }))
    }
}

type Piece = Result<Vec<u8>, IngestError>;

/// Puts the statement to the database and hands its answer on; an empty piece ends it.
async fn ask(options: &PgConnectOptions, statement: &str, pieces: &SyncSender<Piece>) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect_with(options).await?;
    connection.execute("BEGIN READ ONLY; SET LOCAL standard_conforming_strings = on").await?;
    let mut piece = Vec::with_capacity(PIECE);
    {
        let mut rows = connection.copy_out_raw(statement).await?;
        while let Some(row) = rows.next().await {
            piece.extend_from_slice(&row?);
            if piece.len() >= PIECE && pieces.send(Ok(std::mem::take(&mut piece))).is_err() {
                return Ok(());
            }
        }
    }
    if !piece.is_empty() && pieces.send(Ok(piece)).is_err() {
        return Ok(());
    }
    connection.close().await
}

/// An answer as bytes.
struct Pieces {
    pieces: Receiver<Piece>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() && !self.ended {
            let next = self.pieces.recv().map_err(|_| io::Error::other("the connection broke off"))?;
            self.piece = next.map_err(io::Error::other)?;
            self.at = 0;
            self.ended = self.piece.is_empty();
        }
        let count = bytes.len().min(self.piece.len() - self.at);
        bytes[..count].copy_from_slice(&self.piece[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// What the database said, as one sentence that says what to do.
fn refusal(database: &str, error: &sqlx::Error) -> IngestError {
    let database = database.to_owned();
    let Some(said) = error.as_database_error() else {
        let reason = match error {
            sqlx::Error::Io(error) => {
                format!("{error}; check host and port, and whether it takes connections from here")
            }
            sqlx::Error::Tls(error) => format!("no secure connection ({error}); check sslmode and sslrootcert"),
            other => other.to_string(),
        };
        return IngestError::Database { database, reason };
    };
    let message = said.message().to_owned();
    match said.code().as_deref().unwrap_or_default() {
        "28P01" | "28000" => IngestError::Database {
            database,
            reason: format!("{message}; check the user, and the password in PGPASSWORD, ~/.pgpass or the address"),
        },
        "25006" => IngestError::Query { database, reason: format!("{message}; only what reads is run") },
        code if code.starts_with("08") || code.starts_with("57P") || code.starts_with("53") || code == "3D000" => {
            IngestError::Database { database, reason: format!("{message}; check the address, or try again later") }
        }
        _ => IngestError::Query { database, reason: message },
    }
}

#[cfg(test)]
#[path = "postgres_tests.rs"]
mod tests;
