//! CSV and its relatives: the delimiter found, the header read, rows one after the other.

use super::{
    IngestError, TableKind,
    input::{Input, Text},
    reading::{COLUMNS_MAX, Reading},
    record::{Found, Place, Splitter},
    report::RowError,
    row::Row,
    value::{ISO, date, number},
    window::{Mark, ROW_BYTES_MAX, Window},
};

/// Bytes looked at when the delimiter is guessed.
const HEAD_BYTES: usize = 64 * 1024;
/// Delimiters tried, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a delimited file is written.
#[derive(Debug)]
pub(super) struct Delimited {
    pub delimiter: u8,
    pub header: Vec<String>,
}

impl Delimited {
    /// Finds the delimiter, where it is not given, and reads the header. `head` is the beginning of the text.
    ///
    /// # Errors
    /// When there are no columns or the first row holds values.
    pub fn of(name: &str, head: &[u8], text: Text, delimiter: Option<char>) -> Result<Self, IngestError> {
        let delimiter = match delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()) {
            Some(delimiter) if delimiter.is_ascii() => delimiter,
            _ => sniff_delimiter(&head[..head.len().min(HEAD_BYTES)]),
        };
        let mut rows = DelimitedRows { window: Window::new(text), splitter: Splitter { delimiter, width: None } };
        let mut row = Row::default();
        rows.read(&mut row)?;
        Ok(Self { delimiter, header: header(name, &row)? })
    }
}

/// Column names from the first row.
fn header(name: &str, row: &Row) -> Result<Vec<String>, IngestError> {
    let expected = TableKind::Orders.expected_header();
    let not_a_table = |found| IngestError::NotATable { file: name.to_owned(), found, expected };
    if row.error.is_some() {
        return Err(not_a_table("text whose first row has an open quote"));
    }
    if row.len() < 2 {
        return Err(not_a_table("text without columns"));
    }
    if row.len() > COLUMNS_MAX {
        return Err(not_a_table("text with more than a thousand columns"));
    }
    let header: Vec<String> =
        (0..row.len()).map(|at| String::from_utf8_lossy(row.cell(at)).trim().to_owned()).collect();
    let values = header
        .iter()
        .filter(|name| name.is_empty() || number(name, false).is_some() || date(name, ISO).is_some())
        .count();
    if 2 * values > header.len() {
        let found = header.join(",").chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(IngestError::NoHeader { file: name.to_owned(), found, expected });
    }
    Ok(header)
}

/// The rows of a delimited text.
pub(super) struct DelimitedRows {
    window: Window,
    splitter: Splitter,
}

impl DelimitedRows {
    /// Rows after the header, or after what an earlier import read.
    pub fn new(input: &Input, text: Text, form: &Delimited, from: Option<&Mark>) -> Result<Self, IngestError> {
        let splitter = Splitter { delimiter: form.delimiter, width: None };
        let mut rows = Self { window: Window::new(text), splitter };
        match from {
            Some(mark) => rows.window.skip(mark)?,
            None => {
                let mut header = Row::default();
                if !rows.read(&mut header)? && !form.header.is_empty() {
                    return Err(IngestError::Changed { file: input.name().to_owned() });
                }
            }
        }
        rows.splitter.width = Some(form.header.len());
        Ok(rows)
    }
}

impl Reading for DelimitedRows {
    /// The next record. A surplus of empty fields at its end is no error.
    fn read(&mut self, row: &mut Row) -> Result<bool, IngestError> {
        let next = loop {
            let (place, whole) = (self.window.place(), self.window.is_whole());
            match self.splitter.next(self.window.bytes(), place, whole, row) {
                Found::Record(next) => break next,
                Found::End(_) => return Ok(false),
                Found::MoreNeeded if self.window.is_overlong() => {
                    row.clear(place.line);
                    row.error = Some(RowError::TooLong { column: "the row", limit: ROW_BYTES_MAX });
                    self.window.skip_line()?;
                    return Ok(true);
                }
                Found::MoreNeeded => self.window.more()?,
            }
        };
        if let Some(width) = self.splitter.width.filter(|width| row.error.is_none() && row.len() != *width) {
            while row.len() > width && row.cell(row.len() - 1).is_empty() {
                row.pop();
            }
            if row.len() != width {
                row.error = Some(RowError::FieldCount { expected: width, found: row.len() });
            }
        }
        self.window.move_to(next, row.error.is_none());
        Ok(true)
    }

    fn mark(&self) -> Option<Mark> {
        Some(self.window.mark())
    }
}

/// The delimiter that splits the header, and most of the first rows into as many fields as the header.
fn sniff_delimiter(head: &[u8]) -> u8 {
    let score = |delimiter: u8| {
        let (splitter, mut row) = (Splitter { delimiter, width: None }, Row::default());
        let (mut place, mut widths) = (Place { at: 0, line: 1 }, Vec::new());
        while let (true, Found::Record(next)) = (widths.len() < 20, splitter.next(head, place, true, &mut row)) {
            if row.error.is_none() {
                widths.push(row.len());
            }
            place = next;
        }
        match widths.split_first() {
            Some((width, others)) if *width > 1 => (others.iter().filter(|other| *other == width).count() + 1, *width),
            _ => (0, 0),
        }
    };
    // `max_by_key` takes the last of equals, so the preferred delimiter comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
}
