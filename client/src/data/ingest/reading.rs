//! What every form of table has in common: rows one after the other, and how much of it a guess looks at.

use super::{IngestError, row::Row, window::Mark};

/// Columns of a table.
pub(super) const COLUMNS_MAX: usize = 1_000;
/// Rows that a guess looks at.
pub(super) const SAMPLE: usize = 20_000;
/// Longest value that a guess looks at, in bytes: no date, number or event is longer.
pub(super) const SAMPLE_VALUE_MAX: usize = 200;

/// Rows being read.
pub(super) trait Reading {
    /// Reads the next row into `row`; false when there is none.
    fn read(&mut self, row: &mut Row) -> Result<bool, IngestError>;

    /// How far the text was read, where it is one to which lines can be added.
    fn mark(&self) -> Option<Mark> {
        None
    }
}

/// How far the rows of a file were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadTo {
    /// Where a later import of the same file, with lines added, can go on.
    pub mark: Option<Mark>,
    /// Last value of the column that only grows, in a query's answer.
    pub cursor: Option<String>,
}

impl ReadTo {
    /// An answer without rows leaves the cursor where it was.
    pub fn or_cursor_of(mut self, before: &Self) -> Self {
        self.cursor = self.cursor.or_else(|| before.cursor.clone());
        self
    }
}
