//! What an import did, row by row: for the terminal and for scripts.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use thiserror::Error;

use super::TableKind;

/// Rejected rows that a report lists whatever their reason; all are counted.
pub const REJECTED_LISTED: usize = 100;
/// Rejected rows that it lists of every reason, so that a frequent one hides no other.
const LISTED_OF_EACH: u64 = 10;
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
    #[error("the same {what} was already in this file")]
    Duplicate {
        /// Kind of row.
        what: &'static str,
    },
    /// A line of an event log that is no object.
    #[error("no JSON object: {reason}")]
    Json {
        /// What the parser said.
        reason: String,
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
            Self::Json { .. } => "json",
        }
    }

    /// The reason in words, without a value of the row: any value may turn out to be a customer's, in a column that was
    /// taken for another.
    pub fn without_value(&self) -> String {
        match self {
            Self::Date { column, .. } => format!("{column} is no date"),
            Self::Number { column, .. } => format!("{column} is no number"),
            Self::NegativePrice { column, .. } => format!("{column} is negative"),
            Self::OutOfRange { column, .. } => format!("{column} is out of range"),
            Self::Flag { column, .. } => format!("{column} is neither yes nor no"),
            Self::FieldCount { .. }
            | Self::Quote
            | Self::Encoding { .. }
            | Self::Missing { .. }
            | Self::TooLong { .. }
            | Self::ZeroQuantity
            | Self::Duplicate { .. }
            | Self::Json { .. } => self.to_string(),
        }
    }

    /// The field it is about.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Encoding { column }
            | Self::Missing { column }
            | Self::TooLong { column, .. }
            | Self::Date { column, .. }
            | Self::Number { column, .. }
            | Self::NegativePrice { column, .. }
            | Self::OutOfRange { column, .. }
            | Self::Flag { column, .. } => Some(column),
            Self::ZeroQuantity => Some("quantity"),
            Self::FieldCount { .. } | Self::Quote | Self::Duplicate { .. } | Self::Json { .. } => None,
        }
    }

    /// Why a line is no object. The parser's own line number is always 1 here and is left out.
    pub(super) fn of_json(line: &[u8], error: &serde_json::Error) -> Self {
        let reason = if error.is_eof() {
            "the line ends too early".to_owned()
        } else if line.first() != Some(&b'{') {
            "the line does not begin with {".to_owned()
        } else {
            format!("unexpected text at character {}", error.column())
        };
        Self::Json { reason }
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
    /// Line of the file on which the row begins (the header is line 1), or the row's number where a file has no lines.
    pub line: u64,
    /// Column of the file, where the reason is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Short name of the reason.
    pub code: &'static str,
    /// The reason in words.
    pub reason: String,
    /// The same without what the file says there: for reports that are kept.
    #[serde(skip)]
    pub kept_reason: String,
}

/// Where the mapping of an import comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappingOrigin {
    /// The mapping file, or the caller.
    Given,
    /// Guessed, and now in the mapping file.
    Guessed,
    /// Guessed; the mapping file has one that does not fit this table, and stays.
    GuessedBeside,
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
    /// Fields of the mapping whose column this file does not have (event logs need not have every field).
    pub absent: BTreeMap<String, String>,
    /// Fields that have the same value in every row.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub constants: BTreeMap<String, String>,
    /// How the file is written: `dates`, `numbers`, `discounts`, `encoding`, as far as it matters.
    pub written: BTreeMap<&'static str, String>,
    /// Currency signs and codes met in the first rows, and how often each.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub currencies: BTreeMap<String, u64>,
    /// Columns of the file that nothing was read from.
    pub unused: Vec<String>,
    /// What rows are counted in: `line`, or `row` where a file has no lines.
    pub counted_in: &'static str,
    /// Events that are orders, where the mapping names any.
    pub order_events: Vec<String>,
    /// Events that are returns.
    pub return_events: Vec<String>,
    /// Lines at the beginning that an earlier import of this file had read; they were not read again.
    pub read_before: u64,
    /// Value of the mapping's cursor from which a query was asked to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_from: Option<String>,
    /// When this very content was imported, where nothing has been added to it since.
    pub imported_before: Option<String>,
    /// Rows read.
    pub rows: u64,
    /// Rows that are new.
    pub imported: u64,
    /// Rows that changed something imported earlier (a line came back, a plan moved).
    pub updated: u64,
    /// Rows that were there already, from an earlier import.
    pub known: u64,
    /// Events of other kinds, passed over.
    pub other_events: u64,
    /// Rows of customers that were erased, left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub erased: u64,
    /// Rows that are older than the table's period, left out.
    #[serde(skip_serializing_if = "is_zero")]
    pub expired: u64,
    /// Stored rows that have become older than that, removed.
    #[serde(skip_serializing_if = "is_zero")]
    pub expired_stored: u64,
    /// The first day that the table's period keeps, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_from: Option<String>,
    /// Columns that look like a field which the mapping in use does not have, by field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<String, String>,
    /// Where the mapping comes from.
    pub mapping: MappingOrigin,
    /// Why the mapping in the mapping file does not fit, where it has one and the columns were guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unfit: Option<String>,
    /// Rows rejected.
    pub rejected_total: u64,
    /// Rejected rows by reason.
    pub reasons: BTreeMap<&'static str, u64>,
    /// The first rejected rows, [`REJECTED_LISTED`] and the first ten of every reason, by line.
    pub rejected: Vec<RejectedRow>,
}

impl ImportReport {
    pub(super) fn new(file: &str, table: TableKind, columns: BTreeMap<String, String>, unused: Vec<String>) -> Self {
        Self {
            file: file.to_owned(),
            table,
            columns,
            absent: BTreeMap::new(),
            constants: BTreeMap::new(),
            written: BTreeMap::new(),
            currencies: BTreeMap::new(),
            unused,
            counted_in: "line",
            order_events: Vec::new(),
            return_events: Vec::new(),
            read_before: 0,
            read_from: None,
            imported_before: None,
            rows: 0,
            imported: 0,
            updated: 0,
            known: 0,
            other_events: 0,
            erased: 0,
            expired: 0,
            expired_stored: 0,
            kept_from: None,
            unread: BTreeMap::new(),
            mapping: MappingOrigin::Given,
            unfit: None,
            rejected_total: 0,
            reasons: BTreeMap::new(),
            rejected: Vec::new(),
        }
    }

    /// Counts a rejected row; lists it among the first, or the first of its reason.
    pub fn reject(&mut self, line: u64, error: &RowError) {
        self.rejected_total += 1;
        let of_reason = self.reasons.entry(error.code()).or_default();
        *of_reason += 1;
        if self.rejected.len() < REJECTED_LISTED || *of_reason <= LISTED_OF_EACH {
            let column = error.field().and_then(|field| self.columns.get(field)).cloned();
            let (reason, kept_reason) = (error.to_string(), error.without_value());
            let row = RejectedRow { line, column, code: error.code(), reason, kept_reason };
            let at = self.rejected.partition_point(|other| other.line <= line);
            self.rejected.insert(at, row);
        }
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(day) = &self.imported_before {
            return writeln!(f, "{} as {}: imported on {day}, nothing new since", self.file, self.table);
        }
        write!(f, "{} as {}: {} rows", self.file, self.table, self.rows)?;
        if self.read_before > 0 {
            write!(f, " after {} lines that an earlier import had read", self.read_before)?;
        }
        if let Some(value) = &self.read_from {
            write!(f, " from {value} on, where an earlier import had stopped")?;
        }
        writeln!(
            f,
            ", {} imported, {} updated, {} known already, {} rejected",
            self.imported, self.updated, self.known, self.rejected_total
        )?;
        let shown = |columns: &BTreeMap<String, String>| {
            columns.iter().map(|(field, column)| format!("{field} ← {column}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "  columns: {}", shown(&self.columns))?;
        if !self.constants.is_empty() {
            let constants: Vec<_> = self.constants.iter().map(|(field, value)| format!("{field} = {value}")).collect();
            writeln!(f, "  in every row: {}", constants.join(", "))?;
        }
        if !self.written.is_empty() {
            let written: Vec<_> = self.written.iter().map(|(what, how)| format!("{what} {how}")).collect();
            writeln!(f, "  written with: {}", written.join(", "))?;
        }
        if self.currencies.len() > 1 {
            let met: Vec<_> = self.currencies.iter().map(|(sign, count)| format!("{sign} ({count})")).collect();
            writeln!(f, "  currencies: {}; amounts are taken as they are, so keep one in a file", met.join(", "))?;
        }
        if !self.absent.is_empty() {
            writeln!(f, "  not in this file: {}", shown(&self.absent))?;
        }
        if !self.unused.is_empty() {
            writeln!(f, "  not used: {}", self.unused.join(", "))?;
        }
        if !self.order_events.is_empty() {
            write!(f, "  orders are the events {}", self.order_events.join(", "))?;
            if !self.return_events.is_empty() {
                write!(f, ", returns {}", self.return_events.join(", "))?;
            }
            writeln!(f, "; {} other events passed over", self.other_events)?;
        }
        if self.erased > 0 {
            writeln!(f, "  {} left out: of customers that were erased", self.erased)?;
        }
        if let Some(from) = self.kept_from.as_ref().filter(|_| self.expired + self.expired_stored > 0) {
            write!(f, "  {} left out: before {from}, older than retention.toml keeps", self.expired)?;
            if self.expired_stored > 0 {
                write!(f, "; {} stored ones removed for the same reason", self.expired_stored)?;
            }
            writeln!(f)?;
        }
        for (field, column) in &self.unread {
            writeln!(
                f,
                "  not read: column {column} looks like `{field}`, which the mapping does not have; add {field} = \"{column}\" under \
                 [{}.columns] in mapping.toml and import again with --{}",
                self.table,
                if self.table == TableKind::Orders { "anew" } else { "again" }
            )?;
        }
        for (code, count) in &self.reasons {
            writeln!(f, "  {count} rejected: {code}")?;
        }
        const SHOWN: usize = 10;
        for row in self.rejected.iter().take(SHOWN) {
            write!(f, "    {} {}", self.counted_in, row.line)?;
            // A column that is called like its field is in the reason already.
            if let Some(column) = row.column.as_ref().filter(|column| !row.reason.starts_with(*column)) {
                write!(f, ", column {column}")?;
            }
            writeln!(f, ": {}", row.reason)?;
        }
        if self.rejected_total > SHOWN as u64 {
            writeln!(f, "    … and {} more", self.rejected_total - SHOWN as u64)?;
        }
        Ok(())
    }
}
