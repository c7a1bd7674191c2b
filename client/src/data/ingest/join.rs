//! Further columns of a table's rows, from another table that has one row for each value of a column that both have.
//!
//! Shops whose exports are one file of order items and one of orders have neither the customer nor the day in the first. The
//! other table is held in memory; the first is read row by row as ever, and its rows keep their line numbers.

use std::collections::HashMap;

use super::{
    IngestError,
    reading::{ReadTo, Reading, SAMPLE, SAMPLE_VALUE_MAX},
    row::Row,
    table::Table,
    window::Mark,
};

/// Cells of a row.
type Cells = Box<[Box<[u8]>]>;

/// Columns that another table brings.
pub(super) struct Joined {
    /// Name of the other table.
    pub name: String,
    /// The column that both have.
    pub by: String,
    /// Its place in the first table.
    pub key: usize,
    /// Columns that the first table does not have.
    pub columns: Vec<String>,
    /// Cells of these columns, by the value of the common one.
    rows: HashMap<Box<[u8]>, Cells>,
    /// Values of each column, from the first rows.
    pub samples: Vec<Vec<String>>,
}

impl Joined {
    /// Reads `other` for a table of these columns.
    ///
    /// # Errors
    /// When they have no column in common, or `other` has several different rows of one value.
    pub fn new(name: &str, header: &[String], other: &Table) -> Result<Self, IngestError> {
        let there = |column: &String| other.column(column);
        let Some((key, other_key)) = header.iter().enumerate().find_map(|(at, column)| Some((at, there(column)?)))
        else {
            return Err(IngestError::NothingInCommon {
                file: name.to_owned(),
                header: header.join(","),
                other: other.name().to_owned(),
                other_header: other.header_shown(),
            });
        };
        let new: Vec<usize> = other
            .header()
            .iter()
            .enumerate()
            .filter(|(_, column)| !header.contains(column))
            .map(|(at, _)| at)
            .collect();
        let mut joined = Self {
            name: other.name().to_owned(),
            by: header[key].clone(),
            key,
            columns: new.iter().map(|at| other.header()[*at].clone()).collect(),
            rows: HashMap::new(),
            samples: vec![Vec::new(); new.len()],
        };
        let (mut rows, mut row) =
            (other.rows(&vec![true; other.header().len()], &ReadTo::default(), None)?, Row::default());
        while rows.read(&mut row)? {
            // A row that cannot be used is as good as none: what it would have joined says what is missing.
            let is_bad = row.error.take().is_some();
            let value = row.cell(other_key).trim_ascii();
            if is_bad || value.is_empty() {
                continue;
            }
            let cells: Cells = new.iter().map(|at| row.cell(*at).into()).collect();
            for (samples, cell) in joined.samples.iter_mut().zip(&cells) {
                let text = std::str::from_utf8(cell).map(str::trim).unwrap_or_default();
                if samples.len() < SAMPLE && (1..=SAMPLE_VALUE_MAX).contains(&text.len()) {
                    samples.push(text.to_owned());
                }
            }
            if joined.rows.get(value).is_some_and(|before| *before != cells) {
                return Err(IngestError::SeveralRows {
                    file: joined.name,
                    by: joined.by,
                    value: String::from_utf8_lossy(value).chars().take(40).filter(|c| !c.is_control()).collect(),
                });
            }
            joined.rows.insert(value.into(), cells);
        }
        Ok(joined)
    }
}

/// Rows of a table, each with what other tables bring.
pub(super) struct JoinedRows<'a> {
    pub rows: Box<dyn Reading + 'a>,
    pub joined: &'a [Joined],
}

impl Reading for JoinedRows<'_> {
    fn read(&mut self, row: &mut Row) -> Result<bool, IngestError> {
        if !self.rows.read(row)? {
            return Ok(false);
        }
        if row.error.is_none() {
            for joined in self.joined {
                let cells = joined.rows.get(row.cell(joined.key).trim_ascii());
                for at in 0..joined.columns.len() {
                    row.push(cells.map_or(&[][..], |cells| &cells[at]));
                }
            }
        }
        Ok(true)
    }

    fn mark(&self) -> Option<Mark> {
        self.rows.mark()
    }
}
