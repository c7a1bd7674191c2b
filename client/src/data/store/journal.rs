//! The imports of a merchant as they happened, in numbers: `imports.jsonl`, one line each, oldest first.
//!
//! It says later what became of the rows of a file, and changes nothing: a line that cannot be written or read is passed
//! over. No value of a row is in it.

use std::{
    collections::BTreeMap,
    fs::OpenOptions,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::data::ingest::{ImportReport, TableKind};

/// File of the journal, in the data directory.
const FILE: &str = "imports.jsonl";
/// Imports that are read back at most: the last ones.
const READ_BACK: usize = 1_000;

/// One import, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportEntry {
    /// Day, in UTC.
    pub day: String,
    /// Name of the file, or of the database without a password.
    pub file: String,
    /// What it was read as.
    pub table: TableKind,
    /// Rows read.
    pub rows: u64,
    /// Rows that were new.
    pub imported: u64,
    /// Rows that changed something.
    pub updated: u64,
    /// Rows that were there already.
    pub known: u64,
    /// Events of other kinds.
    pub other_events: u64,
    /// Rows left out, by reason.
    pub rejected: BTreeMap<String, u64>,
    /// Currencies met in the first rows.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: BTreeMap<String, u64>,
    /// Whether what was in the table before was forgotten.
    #[serde(default)]
    pub anew: bool,
}

/// Adds an import that brought rows.
pub(super) fn add(dir: &Path, report: &ImportReport, anew: bool) {
    if report.rows == 0 {
        return;
    }
    let entry = ImportEntry {
        day: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        file: report.file.clone(),
        table: report.table,
        rows: report.rows,
        imported: report.imported,
        updated: report.updated,
        known: report.known,
        other_events: report.other_events,
        rejected: report.reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
        currencies: report.currencies.clone(),
        anew,
    };
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = serde_json::to_string(&entry)
        .map_err(std::io::Error::from)
        .and_then(|line| options.open(dir.join(FILE))?.write_all(format!("{line}\n").as_bytes()));
    if let Err(error) = written {
        tracing::warn!("the import is done, but could not be noted in {FILE}: {error}");
    }
}

/// The imports whose rows are still in the tables.
pub(super) fn read(dir: &Path) -> Vec<ImportEntry> {
    let Ok(file) = std::fs::File::open(dir.join(FILE)) else { return Vec::new() };
    let mut entries: Vec<ImportEntry> = Vec::new();
    for line in BufReader::new(file).lines().map_while(Result::ok) {
        let Ok(entry) = serde_json::from_str::<ImportEntry>(&line) else { continue };
        if entry.anew {
            entries.retain(|before| before.table != entry.table);
        }
        entries.push(entry);
    }
    entries.drain(..entries.len().saturating_sub(READ_BACK));
    entries
}
