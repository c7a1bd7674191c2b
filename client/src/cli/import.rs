//! `forecastle data import`.

#[cfg(feature = "postgres")]
use std::sync::Arc;
use std::{
    error::Error,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};

use super::{Format, Outcome, command, print_json};
#[cfg(feature = "postgres")]
use crate::data::ingest::PostgresQuery;
use crate::{
    data::{
        import_report::{self, Imports},
        ingest::{Hints, Input, MappingOrigin, TableKind, is_postgres_address},
        series::{MissingDay, SeriesKey},
        store::{ImportOptions, Importer},
    },
    durable::{self, Access},
    federation::home::Home,
};

/// Import order files (CSV, TSV, JSON lines, Parquet; plain, gzip or zstd), and what else the shop knows: products, prices,
/// events, reviews, stock. What is already stored is kept.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data import orders.csv products.csv calendar.csv holidays.csv
  forecastle data import visitors.csv --table sales --series-by product --format json
  forecastle data import events.jsonl.zst orders.parquet
  forecastle data import order_items.csv --with orders.csv --with customers.csv
  forecastle data import postgres://reader@db.shop.example/shop --query 'SELECT … FROM order_lines'

What each table holds is guessed from its columns and written to data/mapping.toml in the state folder, where it can be
edited. Rows that cannot be used are reported with their line, column and reason; all others are imported. A file
imported before is known by its content, and one with lines added brings only those. The password of a database comes
from PGPASSWORD, ~/.pgpass or the address.")]
pub(super) struct Arguments {
    /// Files to import, or the address of a PostgreSQL database (postgres://user@host:port/database).
    #[arg(required = true, value_name = "FILE|postgres://…")]
    files: Vec<PathBuf>,
    /// What to read from the database: a SELECT. It runs in a read-only transaction.
    #[arg(long, value_name = "SELECT")]
    query: Option<String>,
    /// A table with further columns of the files' rows, such as orders of order items: joined by a column that both have. May
    /// be given several times.
    #[arg(long, value_name = "FILE")]
    with: Vec<PathBuf>,
    /// What the files hold (default: recognised by their columns).
    #[arg(long, value_enum)]
    table: Option<Table>,
    /// Mapping file for these files, for a shop with several systems (default: mapping.toml in the state folder).
    #[arg(long, value_name = "TOML")]
    mapping: Option<PathBuf>,
    /// The column of the files that is this field, where the guess fails: order_id=Beleg. May be given many times.
    #[arg(long = "column", value_name = "FIELD=COLUMN", value_parser = pair)]
    columns: Vec<(String, String)>,
    /// A field that has this value in every row: quantity=1. May be given many times.
    #[arg(long = "constant", value_name = "FIELD=VALUE", value_parser = pair)]
    constants: Vec<(String, String)>,
    /// How days are written: iso, unix, unix-ms, or strptime fields such as %d/%m/%Y.
    #[arg(long, value_name = "FORMAT")]
    date_format: Option<String>,
    /// The shop's time zone, such as Europe/Berlin: times written with a zone or offset are turned into its clock.
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// Encoding of the files, such as windows-1252.
    #[arg(long, value_name = "NAME")]
    encoding: Option<String>,
    /// What one series is.
    #[arg(long, value_enum)]
    series_by: Option<By>,
    /// What a day without a row means in a table of totals.
    #[arg(long, value_enum)]
    missing: Option<Missing>,
    /// Read files from their beginning though they were imported before.
    #[arg(long)]
    again: bool,
    /// Forget what was imported into the tables that these files are for; the way to bring them in with a mapping
    /// that was corrected.
    #[arg(long)]
    anew: bool,
    /// File to write a report to: .html to read and print, .json for programs. May be given twice.
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
    /// Take rows of this customer again, who was erased; earlier ones come back with --again. May be given many times.
    #[arg(long, value_name = "ID")]
    forget_erasure: Vec<String>,
}

/// Tables by name.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Table {
    Orders,
    Products,
    Calendar,
    Holidays,
    Sales,
    Events,
    Reviews,
    Stock,
    Occasions,
    Vectors,
}

impl From<Table> for TableKind {
    fn from(table: Table) -> Self {
        match table {
            Table::Orders => Self::Orders,
            Table::Products => Self::Products,
            Table::Calendar => Self::Calendar,
            Table::Holidays => Self::Holidays,
            Table::Sales => Self::Sales,
            Table::Events => Self::Events,
            Table::Reviews => Self::Reviews,
            Table::Stock => Self::Stock,
            Table::Occasions => Self::Occasions,
            Table::Vectors => Self::Vectors,
        }
    }
}

/// Kinds of series by name.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum By {
    Product,
    Category,
    Merchant,
}

/// Meanings of a missing day by name.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Missing {
    Closed,
    Zero,
}

pub(super) fn run(home: &Home, arguments: Arguments, format: Format) -> Outcome {
    let Arguments { files, query, table, mapping, columns, constants, date_format, time_zone, encoding, .. } =
        arguments;
    let Arguments { series_by, missing, with, again, anew, report: report_files, forget_erasure, .. } = arguments;
    for path in &report_files {
        is_html(path)?;
    }
    let with = with.iter().map(|path| Input::file(path)).collect::<Result<_, _>>()?;
    let (columns, constants) = (columns.into_iter().collect(), constants.into_iter().collect());
    let hints = Hints { columns, constants, date_format, time_zone, encoding };
    let inputs = inputs(&files, query.as_deref())?;
    let kind = table.map(TableKind::from);
    let mut choice = home.series_choice()?;
    if let Some(by) = series_by {
        choice.by = match by {
            By::Product => SeriesKey::Product,
            By::Category => SeriesKey::Category,
            By::Merchant => SeriesKey::Merchant,
        };
    }
    if let Some(missing) = missing {
        choice.missing = match missing {
            Missing::Closed => MissingDay::Closed,
            Missing::Zero => MissingDay::Zero,
        };
    }
    let importer = Importer::open(&home.data())?;
    let mapping_file = mapping.clone().unwrap_or_else(|| importer.mapping_path());
    let anew = TableKind::ALL.into_iter().filter(|_| anew).collect();
    let mut options = ImportOptions { kind, mapping: None, mapping_file: mapping, hints, with, again, anew };
    for raw in &forget_erasure {
        let customer = importer.pseudonym(raw);
        let was_erased = importer.forget_erasure(customer)?;
        eprintln!("forecastle: {customer} {}", if was_erased { "is taken again" } else { "was not erased" });
    }
    let (mut reports, mut stopped) = (Vec::new(), None);
    for input in inputs {
        let report = match importer.import(&input, &options) {
            Ok(report) => report,
            Err(error) => {
                stopped = Some(error);
                break;
            }
        };
        // The next file of this kind adds to what the first brought.
        options.anew.remove(&report.table);
        match format {
            Format::Json => print_json(&report)?,
            Format::Text => {
                say!("{report}");
                let (table, file) = (report.table, mapping_file.display());
                match report.mapping {
                    MappingOrigin::Given => {}
                    MappingOrigin::Guessed => {
                        say!("The columns were guessed; [{table}] in {file} is there to be edited.\n");
                    }
                    MappingOrigin::GuessedBeside => {
                        if let Some(why) = &report.unfit {
                            say!("The columns were guessed, as [{table}] in {file} does not fit: {why}.");
                        }
                        say!(
                            "[{table}] in {file} stays as it is; --mapping OTHER.toml keeps what was used for this file.\n"
                        );
                    }
                }
            }
        }
        reports.push(report);
    }
    if !report_files.is_empty() {
        let imports = Imports::new(&reports, mapping_file.display().to_string(), stopped.as_ref());
        for path in &report_files {
            let bytes = match is_html(path)? {
                true => import_report::render(&imports, &command())?.into_bytes(),
                false => serde_json::to_vec_pretty(&imports)?,
            };
            durable::write(path, &bytes, Access::Secret)?;
            eprintln!("forecastle: report written to {}", path.display());
        }
    }
    if let Some(error) = stopped {
        return Err(error.into());
    }
    if series_by.is_some() || missing.is_some() {
        home.set_series_choice(choice)?;
    }
    Ok(())
}

fn is_html(path: &Path) -> Result<bool, String> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html" | "htm") => Ok(true),
        Some("json") => Ok(false),
        _ => Err(format!("--report {}: the name must end in .html or .json", path.display())),
    }
}

/// `FIELD=VALUE`.
fn pair(text: &str) -> Result<(String, String), String> {
    let (field, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((field.trim().to_owned(), value.trim().to_owned()))
}

/// Files and queries to import.
fn inputs(sources: &[PathBuf], query: Option<&str>) -> Result<Vec<Input>, Box<dyn Error + Send + Sync>> {
    let is_database = |source: &PathBuf| source.to_str().is_some_and(is_postgres_address);
    if query.is_some() && !sources.iter().any(is_database) {
        return Err("--query asks a database; name one, as postgres://user@host:port/database".into());
    }
    sources
        .iter()
        .map(|source| match source.to_str().filter(|text| is_postgres_address(text)) {
            Some(address) => {
                let query = query.ok_or("say what to read from the database with --query 'SELECT … FROM …'")?;
                database(address, query)
            }
            // Whatever it is, it may hold a password.
            None if source.to_str().is_some_and(|text| text.contains("://")) => {
                Err("an address that is not postgres://user@host:port/database: of databases only PostgreSQL is read"
                    .into())
            }
            None => Ok(Input::file(source)?),
        })
        .collect()
}

#[cfg(feature = "postgres")]
fn database(address: &str, query: &str) -> Result<Input, Box<dyn Error + Send + Sync>> {
    Ok(Input::answer(Arc::new(PostgresQuery::new(address, query)?)))
}

#[cfg(not(feature = "postgres"))]
fn database(_address: &str, _query: &str) -> Result<Input, Box<dyn Error + Send + Sync>> {
    Err("this build reads no databases (feature `postgres`); export the table to a CSV file and import that".into())
}
