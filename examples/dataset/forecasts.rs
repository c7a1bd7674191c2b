//! The forecast file: one row a series, window and step, one column a quantile.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use super::DatasetError;

/// Writer of `unique_id,window,step,0.1,…,0.9`.
///
/// Quantiles are written with as many digits as read back to the same 32-bit number.
#[derive(Debug)]
pub struct ForecastFile {
    path: PathBuf,
    rows: csv::Writer<BufWriter<File>>,
}

impl ForecastFile {
    /// Creates the file, or empties the one there is.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn create(path: &Path) -> Result<Self, DatasetError> {
        let file = File::create(path).map_err(|source| DatasetError::Write { path: path.into(), source })?;
        let mut file = Self { path: path.into(), rows: csv::Writer::from_writer(BufWriter::new(file)) };
        let header = ["unique_id", "window", "step", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "0.9"];
        file.row(header.map(str::to_owned))?;
        Ok(file)
    }

    /// Writes one series' forecast of a window: `quantiles` is `[horizon]`, step 1 first.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn write(&mut self, unique_id: &str, window: usize, quantiles: &[[f32; 9]]) -> Result<(), DatasetError> {
        for (step, levels) in quantiles.iter().enumerate() {
            let mut row: [String; 12] = Default::default();
            row[0] = unique_id.to_owned();
            row[1] = window.to_string();
            row[2] = (step + 1).to_string();
            for (cell, level) in row[3..].iter_mut().zip(levels) {
                *cell = level.to_string();
            }
            self.row(row)?;
        }
        Ok(())
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// [`DatasetError::Write`].
    pub fn finish(self) -> Result<(), DatasetError> {
        let failed = |source| DatasetError::Write { path: self.path.clone(), source };
        let mut file = self.rows.into_inner().map_err(|error| failed(error.into_error()))?;
        file.flush().map_err(failed)
    }

    fn row(&mut self, row: [String; 12]) -> Result<(), DatasetError> {
        self.rows
            .write_record(&row)
            .map_err(|error| DatasetError::Write { path: self.path.clone(), source: error.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_read_back_as_written() {
        let path = std::env::temp_dir().join(format!("forecastle-forecasts-{}.csv", std::process::id()));
        let quantiles = [[0.1, 1.0 / 3.0, 0.5, 1e-7, 2.5e9, 6.0, 7.0, 8.0, 9.0]];
        let mut file = ForecastFile::create(&path).unwrap();
        file.write("a,b", 3, &quantiles).unwrap();
        file.finish().unwrap();
        let mut rows = csv::Reader::from_path(&path).unwrap();
        let row = rows.records().next().unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!([&row[0], &row[1], &row[2]], ["a,b", "3", "1"]);
        let read: Vec<f32> = row.iter().skip(3).map(|cell| cell.parse().unwrap()).collect();
        assert_eq!(read, quantiles[0]);
    }
}
