//! What an import did, row by row: for the terminal and for scripts.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use thiserror::Error;

use super::TableKind;

/// Rejected rows that a report lists; all are counted.
pub const REJECTED_LISTED: usize = 100;
/// Characters of a value that a reason repeats.
const VALUE_SHOWN: usize = 40;

/// Why one row was rejected.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum RowError {
    /// Too few or too many fields.
    #[error("{found} fields where the header has {expected}")]
    FieldCount {
        /// Columns of the header.
        expected: usize,
        /// Fields of the row.
        found: usize,
    },
    /// A quote is not closed, or text follows a closing quote.
    #[error("a quoted field is not closed properly")]
    Quote,
    /// Bytes that are no UTF-8.
    #[error("column {column} is not UTF-8; name the file's encoding in the mapping, for example windows-1252")]
    Encoding {
        /// Field of the mapping.
        column: &'static str,
    },
    /// A required value is empty.
    #[error("{column} is empty")]
    Missing {
        /// Field of the mapping.
        column: &'static str,
    },
    /// A value longer than any real one.
    #[error("{column} is longer than {limit} characters")]
    TooLong {
        /// Field of the mapping.
        column: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A date that does not exist, or is written in another way.
    #[error("{column} `{value}` is no date")]
    Date {
        /// Field of the mapping.
        column: &'static str,
        /// What the file says.
        value: String,
    },
    /// Not a number, or not a finite one.
    #[error("{column} `{value}` is no number")]
    Number {
        /// Field of the mapping.
        column: &'static str,
        /// What the file says.
        value: String,
    },
    /// A price below 0.
    #[error("{column} {value} is negative")]
    NegativePrice {
        /// Field of the mapping.
        column: &'static str,
        /// The price.
        value: f64,
    },
    /// A number no shop writes.
    #[error("{column} {value} is out of range")]
    OutOfRange {
        /// Field of the mapping.
        column: &'static str,
        /// The number.
        value: f64,
    },
    /// A line of no units.
    #[error("quantity is 0")]
    ZeroQuantity,
    /// Neither yes nor no.
    #[error("{column} `{value}` is neither yes nor no")]
    Flag {
        /// Field of the mapping.
        column: &'static str,
        /// What the file says.
        value: String,
    },
    /// The same row again.
    #[error("the same {what} was already {}", if *.stored { "imported earlier" } else { "in this file" })]
    Duplicate {
        /// Kind of row.
        what: &'static str,
        /// Against what was stored before this file.
        stored: bool,
    },
}

impl RowError {
    /// Short name under which reports count it.
    pub fn code(&self) -> &'static str {
        match self {
            Self::FieldCount { .. } => "field-count",
            Self::Quote => "quote",
            Self::Encoding { .. } => "encoding",
            Self::Missing { .. } => "missing-value",
            Self::TooLong { .. } => "too-long",
            Self::Date { .. } => "date",
            Self::Number { .. } => "number",
            Self::NegativePrice { .. } => "negative-price",
            Self::OutOfRange { .. } => "out-of-range",
            Self::ZeroQuantity => "zero-quantity",
            Self::Flag { .. } => "flag",
            Self::Duplicate { .. } => "duplicate",
        }
    }

    /// A value as a reason may repeat it: one line, bounded.
    pub(super) fn shown(value: &str) -> String {
        let mut shown: String =
            value.chars().take(VALUE_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
        if value.chars().nth(VALUE_SHOWN).is_some() {
            shown.push('…');
        }
        shown
    }
}

/// One rejected row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedRow {
    /// Line of the file on which the row begins; the header is line 1.
    pub line: u64,
    /// Short name of the reason.
    pub code: &'static str,
    /// The reason in words.
    pub reason: String,
}

/// What the import of one file did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportReport {
    /// Name of the file.
    pub file: String,
    /// What it was read as.
    pub table: TableKind,
    /// Which column was taken for which field.
    pub columns: BTreeMap<String, String>,
    /// Columns of the file that nothing was read from.
    pub unused: Vec<String>,
    /// Rows after the header.
    pub rows: u64,
    /// Rows that are new.
    pub imported: u64,
    /// Rows that changed something imported earlier (a line came back, a plan moved).
    pub updated: u64,
    /// Rows rejected.
    pub rejected_total: u64,
    /// Rejected rows by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The first rejected rows, [`REJECTED_LISTED`] at most, by line.
    pub rejected: Vec<RejectedRow>,
}

impl ImportReport {
    pub(super) fn new(file: &str, table: TableKind, columns: BTreeMap<String, String>, unused: Vec<String>) -> Self {
        Self {
            file: file.to_owned(),
            table,
            columns,
            unused,
            rows: 0,
            imported: 0,
            updated: 0,
            rejected_total: 0,
            reasons: BTreeMap::new(),
            rejected: Vec::new(),
        }
    }

    /// Counts a rejected row; lists it while there is room.
    pub fn reject(&mut self, line: u64, error: &RowError) {
        self.rejected_total += 1;
        *self.reasons.entry(error.code()).or_default() += 1;
        if self.rejected.len() < REJECTED_LISTED {
            let row = RejectedRow { line, code: error.code(), reason: error.to_string() };
            let at = self.rejected.partition_point(|other| other.line <= line);
            self.rejected.insert(at, row);
        }
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} as {}: {} rows, {} imported, {} updated, {} rejected",
            self.file, self.table, self.rows, self.imported, self.updated, self.rejected_total
        )?;
        let columns: Vec<String> = self.columns.iter().map(|(field, column)| format!("{field} ← {column}")).collect();
        writeln!(f, "  columns: {}", columns.join(", "))?;
        if !self.unused.is_empty() {
            writeln!(f, "  not used: {}", self.unused.join(", "))?;
        }
        for (code, count) in &self.reasons {
            writeln!(f, "  {count} rejected: {code}")?;
        }
        const SHOWN: usize = 10;
        for row in self.rejected.iter().take(SHOWN) {
            writeln!(f, "    line {}: {}", row.line, row.reason)?;
        }
        if self.rejected_total > SHOWN as u64 {
            writeln!(f, "    … and {} more", self.rejected_total - SHOWN as u64)?;
        }
        Ok(())
    }
}
