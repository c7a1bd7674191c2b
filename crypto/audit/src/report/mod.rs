//! `forecastle-audit report DIR --out FILE`: the verdict and what follows from it, for people who have to answer for it.
//!
//! Invariant: the file is written whole or not at all, and everything in it comes from [`facts`], so that the page, the
//! JSON and the table cannot disagree. The page loads nothing from elsewhere and holds no script.
//!
//! [`facts`] is what a report holds, `costs` computes its figures, [`words`] and [`law`] are its sentences, `plot` draws, `page`
//! makes HTML of it and `table` CSV.

mod costs;
pub mod facts;
pub mod law;
mod page;
mod plot;
mod table;
pub mod words;

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::identity::VerifyingKey;
use jiff::Timestamp;

use self::facts::{Facts, FactsError, Origin};
use crate::{
    canaries::{self, CanariesError},
    quorum::Quorum,
    verify::{VerifyError, exit_code, verify_with},
};

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-audit report log --out report.html
  forecastle-audit report log --out report.json
  forecastle-audit report log --out spending.csv      (one row a merchant)
  forecastle-audit report log --out report.html --canaries canaries.json --server-key 12421f34…

The exit code is that of `verify`; a report is written also where there are findings, and shows them.
With exit code 2 nothing is written.";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Folder of an exported log
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// File to write: .html, .json or .csv
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to write, where the file's name does not say
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The federation's key in hexadecimal, from a source you trust (default: the one in federation.json)
    #[arg(long, value_name = "KEY")]
    server_key: Option<VerifyingKey>,
    #[command(flatten)]
    quorum: Quorum,
    /// Result of an empirical audit, as `forecastle audit-canaries` writes it
    #[arg(long, value_name = "FILE")]
    canaries: Option<PathBuf>,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One page for people, to read and to print
    Html,
    /// Everything, for programs
    Json,
    /// What each merchant spent, for spreadsheets
    Csv,
}

/// Why no report was written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The log could not be judged.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The file of the empirical audit was refused.
    #[error(transparent)]
    Canaries(#[from] CanariesError),
    /// A figure could not be computed.
    #[error("the report's figures cannot be computed: {0}")]
    Facts(#[from] FactsError),
    /// The file's name does not say what to write.
    #[error("{} does not end in .html, .json or .csv: name the format with --format", .0.display())]
    Format(PathBuf),
    /// A drawing failed.
    #[error("the drawing `{plot}` failed: {why}")]
    Plot {
        /// Which.
        plot: &'static str,
        /// What the library said.
        why: String,
    },
    /// The page could not be filled in.
    #[error("the page could not be filled in: {0}")]
    Page(#[from] askama::Error),
    /// The table could not be written.
    #[error("the table could not be written: {0}")]
    Table(#[from] csv::Error),
    /// The file cannot be written.
    #[error("cannot write {}: {source}; nothing was changed", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes the report; the text to print, and the exit code of the verdict.
///
/// # Errors
/// [`ReportError`]; then nothing was written.
pub fn run(arguments: &Arguments) -> Result<(String, u8), ReportError> {
    let format = match arguments.format {
        Some(format) => format,
        None => format_of(&arguments.out)?,
    };
    let canaries = arguments.canaries.as_deref().map(canaries::open).transpose()?;
    let (verdict, witnesses) = verify_with(&arguments.folder, arguments.server_key, &arguments.quorum)?;
    let origin = Origin {
        made_at: Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        key_was_given: arguments.server_key.is_some(),
        witnesses,
        canaries,
    };
    let facts = Facts::of(&verdict, origin)?;
    let content = match format {
        Format::Html => page::html(&facts)?,
        Format::Json => {
            let mut text = serde_json::to_string_pretty(&facts).expect("facts always serialise");
            text.push('\n');
            text
        }
        Format::Csv => table::csv(&facts)?,
    };
    write_whole(&arguments.out, content.as_bytes())?;
    let findings = match facts.findings.len() {
        0 => "verified".to_owned(),
        1 => "NOT VERIFIED: 1 finding".to_owned(),
        n => format!("NOT VERIFIED: {n} findings"),
    };
    Ok((format!("{} ({findings})", arguments.out.display()), exit_code(&verdict)))
}

fn format_of(path: &Path) -> Result<Format, ReportError> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html" | "htm") => Ok(Format::Html),
        Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        _ => Err(ReportError::Format(path.to_owned())),
    }
}

/// Writes beside the file and renames: a reader sees the old file or the new one. A crash leaves a file `.NAME.new`.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let fail = |source| ReportError::Write { path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| fail(io::Error::other("it names no file")))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".new");
    let beside = path.with_file_name(hidden);
    let written = fs::File::create(&beside)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // What is left beside is of no use to anyone; that it cannot be removed changes nothing.
        let _ = fs::remove_file(&beside);
        fail(source)
    })
}
