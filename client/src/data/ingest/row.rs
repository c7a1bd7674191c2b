//! One row on its way from a file to a field: cells as bytes, in buffers that are used again for the next row.

use super::report::RowError;

/// A row's cells.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Line of the file on which it begins, or its number where a file has no lines.
    pub number: u64,
    bytes: Vec<u8>,
    /// Where each cell ends, and whether the source says that it is a number (written with a decimal point).
    cells: Vec<(usize, bool)>,
    /// What is wrong with the row as a whole.
    pub error: Option<RowError>,
}

impl Row {
    /// Forgets everything; keeps the buffers.
    pub fn clear(&mut self, number: u64) {
        self.number = number;
        self.bytes.clear();
        self.cells.clear();
        self.error = None;
    }

    /// Adds to the cell that [`Row::end_cell`] will end.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Ends a cell of text.
    pub fn end_cell(&mut self) {
        self.cells.push((self.bytes.len(), false));
    }

    /// Adds a cell of text.
    pub fn push(&mut self, bytes: &[u8]) {
        self.extend(bytes);
        self.end_cell();
    }

    /// Adds a cell that the source calls a number.
    pub fn push_number(&mut self, text: &str) {
        self.extend(text.as_bytes());
        self.cells.push((self.bytes.len(), true));
    }

    /// Removes the last cell.
    pub fn pop(&mut self) {
        self.cells.pop();
        self.bytes.truncate(self.cells.last().map_or(0, |cell| cell.0));
    }

    /// Number of cells.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Bytes of a cell; none for a cell that is not there.
    pub fn cell(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).and_then(|before| self.cells.get(before)).map_or(0, |cell| cell.0);
        self.cells.get(at).map_or(&[], |cell| &self.bytes[start..cell.0])
    }

    /// Whether the source says that a cell is a number.
    pub fn is_number(&self, at: usize) -> bool {
        self.cells.get(at).is_some_and(|cell| cell.1)
    }
}
