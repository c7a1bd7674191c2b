//! A CSV file in memory, column by column.
//!
//! Cells stay text until an expression reads them: the same cell may be part of a name and a number. Gzip is
//! recognised by its magic bytes, not by the file's name. Left out: quoting dialects and encodings other than
//! UTF-8 — published data sets come as plain CSV; a merchant's own exports go through the client's import.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::DatasetError;

/// Cells that mean "no value" in the published files.
const ABSENT: [&str; 3] = ["", "NA", "NaN"];

/// One column: all cells' text in one string.
#[derive(Debug, Default)]
struct Column {
    text: String,
    ends: Vec<usize>,
}

impl Column {
    fn push(&mut self, cell: &str) {
        self.text.push_str(cell);
        self.ends.push(self.text.len());
    }

    fn cell(&self, row: usize) -> &str {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.text[start..self.ends[row]]
    }
}

/// A CSV file with a header row.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    columns: Vec<Column>,
    rows: usize,
}

impl Table {
    /// Reads a comma-separated UTF-8 file, gzipped or not.
    ///
    /// # Errors
    /// [`DatasetError::Read`] when it cannot be opened, [`DatasetError::Csv`] with the line when it is no table.
    pub fn read(path: &Path) -> Result<Self, DatasetError> {
        let unreadable = |source| DatasetError::Read { path: path.into(), source };
        let mut file = BufReader::new(File::open(path).map_err(unreadable)?);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let mut plain = Vec::new();
            MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).map_err(unreadable)?;
            bytes = plain;
        }
        Self::parse(path, &bytes)
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DatasetError> {
        let broken = |error: csv::Error| DatasetError::Csv { path: path.into(), message: error.to_string() };
        let mut reader = csv::Reader::from_reader(bytes);
        let names: Vec<String> = reader.headers().map_err(broken)?.iter().map(|name| name.trim().to_owned()).collect();
        let mut columns: Vec<Column> = names.iter().map(|_| Column::default()).collect();
        let mut record = csv::StringRecord::new();
        let mut rows = 0;
        while reader.read_record(&mut record).map_err(broken)? {
            for (column, cell) in columns.iter_mut().zip(&record) {
                column.push(cell);
            }
            rows += 1;
        }
        Ok(Self { path: path.into(), names, columns, rows })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows, the header not counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Column names in the file's order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Position of a column.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known == name)
    }

    /// A cell's text, `None` where the file has no value (empty, `NA`, `NaN`).
    ///
    /// # Panics
    /// If the row or the column lies outside the table; both come from this table.
    pub fn cell(&self, column: usize, row: usize) -> Option<&str> {
        let cell = self.columns[column].cell(row);
        (!ABSENT.contains(&cell)).then_some(cell)
    }

    /// Line of a row in the file when no cell holds a line break; the header is line 1.
    pub fn line(&self, row: usize) -> usize {
        row + 2
    }

    /// Rows by the values of some columns; rows with an absent key are left out.
    ///
    /// # Errors
    /// [`DatasetError::DuplicateKey`] when two rows have the same key.
    pub fn index(&self, columns: &[usize]) -> Result<HashMap<String, usize>, DatasetError> {
        let mut rows = HashMap::with_capacity(self.rows);
        for row in 0..self.rows {
            let Some(key) = self.key(columns, row) else { continue };
            if let Some(_earlier) = rows.insert(key.clone(), row) {
                return Err(DatasetError::DuplicateKey { path: self.path.clone(), line: self.line(row), key });
            }
        }
        Ok(rows)
    }

    /// The values of some columns as one key; `None` where one is absent.
    pub fn key(&self, columns: &[usize], row: usize) -> Option<String> {
        let mut key = String::new();
        for (position, column) in columns.iter().enumerate() {
            if position > 0 {
                key.push('\u{1f}');
            }
            key.push_str(self.cell(*column, row)?);
        }
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    #[test]
    fn a_gzipped_file_reads_like_a_plain_one_and_absent_cells_are_none() {
        let plain = b"id,x\na,1\nb,NA\nc,\n";
        let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
        gz.write_all(plain).unwrap();
        let path = std::env::temp_dir().join(format!("forecastle-table-{}.csv.gz", std::process::id()));
        std::fs::write(&path, gz.finish().unwrap()).unwrap();
        let table = Table::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!((table.rows(), table.column("x"), table.column("y")), (3, Some(1), None));
        assert_eq!([table.cell(1, 0), table.cell(1, 1), table.cell(1, 2)], [Some("1"), None, None]);
    }

    #[test]
    fn a_ragged_file_is_refused_with_its_line() {
        let error = Table::parse(Path::new("x.csv"), b"a,b\n1,2\n3\n").unwrap_err().to_string();
        assert!(error.starts_with("x.csv: ") && error.contains("line: 3"), "{error}");
    }

    #[test]
    fn a_join_key_may_occur_once_only() {
        let table = Table::parse(Path::new("x.csv"), b"a,b\n1,2\n1,3\n").unwrap();
        assert!(matches!(table.index(&[0]), Err(DatasetError::DuplicateKey { line: 3, .. })));
        assert_eq!(table.index(&[0, 1]).unwrap().len(), 2);
    }
}
