//! Why a data set could not be read or written.

use std::path::PathBuf;

/// A task file, a data file or an output that cannot be used; every message names the file and the field.
#[derive(Debug, thiserror::Error)]
pub enum DatasetError {
    /// No task of that name ships with the program.
    #[error("there is no task {name:?}; give the path of a TOML file or one of {known}")]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// No layout of that name is known.
    #[error("there is no layout {name:?}; choose one of {known}")]
    UnknownLayout {
        /// What was asked for.
        name: String,
        /// Names that exist.
        known: String,
    },
    /// A file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder cannot be written.
    #[error("cannot write {}: {source}; check the folder and the free space", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The task file is no valid task.
    #[error("task file {file}: {message}")]
    Toml {
        /// The task file.
        file: String,
        /// Line, field and what was expected.
        message: String,
    },
    /// A field of the task file contradicts another or lies outside its range.
    #[error("task {task}, field {field}: {why}")]
    Field {
        /// Name of the task.
        task: String,
        /// Path of the field, such as `series.target`.
        field: String,
        /// What is wrong and what would be right.
        why: String,
    },
    /// A column that the task names is in none of the files it may come from.
    #[error("task {task}, field {field}: no column {column:?} in {files}; its columns are {columns}")]
    Column {
        /// Name of the task.
        task: String,
        /// Path of the field that names the column.
        field: String,
        /// The column.
        column: String,
        /// Files that were searched.
        files: String,
        /// Columns that exist.
        columns: String,
    },
    /// A data file is not a CSV table.
    #[error("{}: {message}", path.display())]
    Csv {
        /// The file.
        path: PathBuf,
        /// Line and reason.
        message: String,
    },
    /// A cell cannot be understood.
    #[error("{}, line {line}, column {column}: {value:?} is not {expected}", path.display())]
    Cell {
        /// The file.
        path: PathBuf,
        /// Line in the file, counting the header as line 1.
        line: usize,
        /// Column or expression.
        column: String,
        /// The cell's text.
        value: String,
        /// What it should have been.
        expected: &'static str,
    },
    /// A joined file has two rows for one key, so that rows would multiply.
    #[error("{}, line {line}: a second row for key {key:?}; a joined file needs one row a key", path.display())]
    DuplicateKey {
        /// The joined file.
        path: PathBuf,
        /// Line of the second row.
        line: usize,
        /// The key.
        key: String,
    },
    /// No row is left after the filters.
    #[error("task {task}: no row passes rows.keep, rows.from and rows.until")]
    NoRows {
        /// Name of the task.
        task: String,
    },
}
