//! `forecastle data check`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Format, Outcome, command, print_json};
use crate::{
    data::{check, store::DataStore},
    durable::{self, Access},
    federation::home::Home,
};

/// See what is in the imported data, what was decided about it, and what would undo each decision.
///
/// Counts missing values, duplicates, outliers, returns, gaps, prices that stand out, products that one table has and another
/// does not, and what else keeps a forecast from being right. Nothing is changed, and nothing leaves this machine.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data check
  forecastle data check --out check.html --out check.json")]
pub(super) struct Arguments {
    /// File to write: .html to read and print, .json for programs. May be given twice.
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    for path in &arguments.out {
        is_html(path)?;
    }
    let store = DataStore::open(&home.data())?;
    let today = jiff::tz::Offset::UTC.to_datetime(jiff::Timestamp::now()).date();
    let check = check::check(&store, &store.mappings()?, store.journal(), &home.series_choice()?, today);
    for path in &arguments.out {
        let bytes = match is_html(path)? {
            true => check::render(&check, &command())?.into_bytes(),
            false => serde_json::to_vec_pretty(&check)?,
        };
        durable::write(path, &bytes, Access::Secret)?;
    }
    match format {
        Format::Json => print_json(&check)?,
        Format::Text => {
            say!("{check}");
            for path in &arguments.out {
                say!("written to {}", path.display());
            }
        }
    }
    Ok(())
}

fn is_html(path: &Path) -> Result<bool, String> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => Ok(true),
        Some("json") => Ok(false),
        _ => Err(format!("--out {}: the name must end in .html or .json", path.display())),
    }
}
