//! `forecastle data expire`.

use clap::Args;
use serde_json::json;

use super::{Format, Outcome, is_confirmed, print_json};
use crate::{data::store::Importer, federation::home::Home};

/// Drop rows that are older than retention.toml keeps them.
///
/// Every import does so by itself; this does it without one. Says first what would go, and asks.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data expire --dry-run
  forecastle data expire --yes

Periods are written into retention.toml in the folder `data` of the state folder, one line a table:
  orders = \"36 months\"
  sales = \"10 years\"
Whole numbers of days, weeks, months and years are understood.")]
pub(super) struct Arguments {
    /// Only say what would go.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    let importer = Importer::open(&home.data())?;
    let mut expired = importer.too_old()?;
    if expired.is_empty() {
        return Err(format!(
            "no period is set; write one into {}, such as orders = \"36 months\"",
            importer.retention_path().display()
        )
        .into());
    }
    let rows: u64 = expired.iter().map(|one| one.rows).sum();
    let mut is_done = false;
    if rows > 0 && !arguments.dry_run {
        if format == Format::Text {
            for one in &expired {
                say!("{}: {} rows before {} (kept for {})", one.table, one.rows, one.kept_from, one.period);
            }
        }
        if !is_confirmed(&format!("Drop {rows} rows? They cannot be brought back from here."), arguments.yes)? {
            return Err("nothing was dropped".into());
        }
        expired = importer.expire()?;
        is_done = true;
    }
    if format == Format::Json {
        return print_json(&json!({ "dropped": is_done, "tables": expired }));
    }
    for one in expired.iter().filter(|_| !is_done) {
        say!("{}: {} rows before {} (kept for {})", one.table, one.rows, one.kept_from, one.period);
    }
    match (is_done, rows) {
        (true, _) => say!("{rows} rows were dropped"),
        (false, 0) => say!("nothing is older than that"),
        (false, _) => say!("nothing was changed"),
    }
    Ok(())
}
