//! The imports of a merchant as they happened, in numbers: one line each, oldest first, in a sealed file (`imports.sealed`).
//!
//! It says later what became of the rows of a file, and changes nothing: a line that cannot be written or read is passed
//! over. No value of a row is in it; names of files and a shop's numbers of orders are, so it is sealed.

use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::{StoreError, file};
use crate::data::{
    ingest::{ImportReport, TableKind},
    vault::Vault,
};

/// File of the journal, in the data directory.
const FILE: &str = "imports.sealed";
/// Imports that are kept at most: the last ones.
const KEPT: usize = 1_000;

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
pub(super) fn add(vault: &Vault, dir: &Path, report: &ImportReport, anew: bool) {
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
    let mut entries = lines(vault, dir);
    entries.push(entry);
    entries.drain(..entries.len().saturating_sub(KEPT));
    if let Err(error) = write(vault, dir, &entries) {
        tracing::warn!("the import is done, but could not be noted in {FILE}: {error}");
    }
}

fn write(vault: &Vault, dir: &Path, entries: &[ImportEntry]) -> Result<(), StoreError> {
    let mut text = String::new();
    for entry in entries {
        text.push_str(&serde_json::to_string(entry).expect("numbers and names always serialise"));
        text.push('\n');
    }
    file::write_sealed(vault, &dir.join(FILE), text.as_bytes())
}

/// All imports that are kept; none where the file does not open, as nothing rests on it.
fn lines(vault: &Vault, dir: &Path) -> Vec<ImportEntry> {
    let bytes = file::read_sealed(vault, &dir.join(FILE)).ok().flatten().unwrap_or_default();
    bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// The imports whose rows are still in the tables.
pub(super) fn read(vault: &Vault, dir: &Path) -> Vec<ImportEntry> {
    let mut entries: Vec<ImportEntry> = Vec::new();
    for entry in lines(vault, dir) {
        if entry.anew {
            entries.retain(|before| before.table != entry.table);
        }
        entries.push(entry);
    }
    entries
}
