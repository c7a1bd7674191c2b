//! What a table's rows came from: enough to know a file again, or to go on where a query stopped.
//!
//! Rows are recognised one by one whatever is written here. It saves reading what was read, lets a status that changed
//! since stand against an old file that is imported once more, and tells when a file is read otherwise than before.

use jiff::Timestamp;
use ring::digest::{SHA256, digest};

use super::normal_form::StoredRow;
use crate::data::ingest::{Mark, ReadTo, TableMapping};

/// First field of an import among a table's rows.
const KIND: &str = "import";
/// Imports remembered; the oldest are forgotten, and their rows recognised one by one.
const REMEMBERED: usize = 1_000;

/// One import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Imported {
    /// Name of the file, or of the database.
    pub name: String,
    /// Day, in UTC.
    pub day: String,
    /// Digest of how it was read: the mapping, and a query's words.
    pub reading: String,
    /// How far a file was read.
    pub mark: Option<Mark>,
    /// Last value of the column that only grows.
    pub cursor: Option<String>,
    /// Order lines that were taken in, known ones too, up to the mark.
    pub lines: u64,
}

impl Imported {
    /// An import that ends now.
    pub fn now(name: &str, reading: String, read_to: ReadTo, lines: u64) -> Self {
        let day = Timestamp::now().strftime("%Y-%m-%d").to_string();
        Self { name: name.to_owned(), day, reading, mark: read_to.mark, cursor: read_to.cursor, lines }
    }

    /// Fields as stored.
    pub fn fields(&self) -> [String; 9] {
        let hex = |mark: &Mark| data_encoding::HEXLOWER.encode(&mark.digest);
        [
            KIND.to_owned(),
            self.name.clone(),
            self.day.clone(),
            self.reading.clone(),
            self.mark.map(|mark| mark.bytes.to_string()).unwrap_or_default(),
            self.mark.map(|mark| mark.line.to_string()).unwrap_or_default(),
            self.mark.as_ref().map(hex).unwrap_or_default(),
            self.cursor.clone().unwrap_or_default(),
            self.lines.to_string(),
        ]
    }

    /// From its stored fields.
    pub fn parse(row: &StoredRow<'_>) -> Option<Self> {
        if row.kind() != KIND.as_bytes() {
            return None;
        }
        let mark = match row.text(5)? {
            "" => None,
            hex => {
                let digest = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()?;
                Some(Mark { bytes: row.parse(3)?, line: row.parse(4)?, digest })
            }
        };
        Some(Self {
            name: row.text(0)?.to_owned(),
            day: row.text(1)?.to_owned(),
            reading: row.text(2)?.to_owned(),
            mark,
            cursor: row.non_empty(6)?,
            lines: row.parse(7)?,
        })
    }
}

/// Digest of how a file or an answer is read. Read in another way, the same bytes are another import.
pub(super) fn reading(mapping: &TableMapping, query: Option<&str>) -> String {
    let mapping = serde_json::to_string(mapping).unwrap_or_default();
    let text = format!("forecastle reading 1\0{mapping}\0{}", query.unwrap_or_default());
    data_encoding::HEXLOWER.encode(digest(&SHA256, text.as_bytes()).as_ref())
}

/// Adds an import and drops the one that it goes on from.
pub(super) fn remember(imports: &mut Vec<Imported>, import: Imported, goes_on_from: Option<&Mark>) {
    imports.retain(|before| {
        let is_same_query = before.mark.is_none() && import.mark.is_none() && before.reading == import.reading;
        let is_before =
            before.reading == import.reading && before.mark.is_some() && before.mark.as_ref() == goes_on_from;
        !is_same_query && !is_before && before.mark.is_none_or(|mark| import.mark != Some(mark))
    });
    imports.push(import);
    let surplus = imports.len().saturating_sub(REMEMBERED);
    imports.drain(..surplus);
}
