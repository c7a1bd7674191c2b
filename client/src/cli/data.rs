//! `forecastle data import`.

#[cfg(feature = "postgres")]
use std::sync::Arc;
use std::{error::Error, path::PathBuf};

use clap::{Subcommand, ValueEnum};

use super::{Format, Outcome, print_json};
#[cfg(feature = "postgres")]
use crate::data::ingest::PostgresQuery;
use crate::{
    data::{
        ingest::{Input, MappingOrigin, TableKind, is_postgres_address},
        prepare::SeriesChoice,
        series::{MissingDay, SeriesKey},
        store::{ImportOptions, Importer},
    },
    federation::home::Home,
};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Import order files (CSV, TSV, JSON lines, Parquet; plain, gzip or zstd). What is already stored is kept.
    #[command(after_help = "Examples:
  forecastle data import orders.csv products.csv calendar.csv holidays.csv
  forecastle data import visitors.csv --table sales --series-by product --format json
  forecastle data import events.jsonl.zst orders.parquet
  forecastle data import postgres://reader@db.shop.example/shop --query 'SELECT … FROM order_lines'

What each table holds is guessed from its columns and written to mapping.toml in the state folder, where it can be
edited. Rows that cannot be used are reported with their line, column and reason; all others are imported. A file
imported before is known by its content, and one with lines added brings only those. The password of a database comes
from PGPASSWORD, ~/.pgpass or the address.")]
    Import {
        /// Files to import, or the address of a PostgreSQL database (postgres://user@host:port/database).
        #[arg(required = true, value_name = "FILE|postgres://…")]
        files: Vec<PathBuf>,
        /// What to read from the database: a SELECT. It runs in a read-only transaction.
        #[arg(long, value_name = "SELECT")]
        query: Option<String>,
        /// What the files hold (default: recognised by their columns).
        #[arg(long, value_enum)]
        table: Option<Table>,
        /// Mapping file for these files, for a shop with several systems (default: mapping.toml in the state folder).
        #[arg(long, value_name = "TOML")]
        mapping: Option<PathBuf>,
        /// What one series is.
        #[arg(long, value_enum)]
        series_by: Option<By>,
        /// What a day without a row means in a table of totals.
        #[arg(long, value_enum)]
        missing: Option<Missing>,
        /// Read files from their beginning though they were imported before.
        #[arg(long)]
        again: bool,
    },
}

/// Tables by name.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Table {
    Orders,
    Products,
    Calendar,
    Holidays,
    Sales,
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

pub(super) fn run(home: &Home, verb: Verb, format: Format) -> Outcome {
    let Verb::Import { files, query, table, mapping, series_by, missing, again } = verb;
    let inputs = inputs(&files, query.as_deref())?;
    let kind = table.map(|t| match t {
        Table::Orders => TableKind::Orders,
        Table::Products => TableKind::Products,
        Table::Calendar => TableKind::Calendar,
        Table::Holidays => TableKind::Holidays,
        Table::Sales => TableKind::Sales,
    });
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
    if choice != SeriesChoice::default() || series_by.is_some() || missing.is_some() {
        home.set_series_choice(choice)?;
    }
    let importer = Importer::open(&home.data())?;
    let mapping_file = mapping.clone().unwrap_or_else(|| importer.mapping_path());
    let options = ImportOptions { kind, mapping: None, mapping_file: mapping, again };
    for input in inputs {
        let report = importer.import(&input, &options)?;
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
                    MappingOrigin::GuessedBeside => say!(
                        "The columns were guessed, as [{table}] in {file} does not fit: {}. --mapping OTHER.toml keeps \
                         a mapping for this file.\n",
                        report.unfit.as_deref().unwrap_or("it is for another kind of file")
                    ),
                }
            }
        }
    }
    Ok(())
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
            None => Ok(Input::file(source)?),
        })
        .collect()
}

#[cfg(feature = "postgres")]
fn database(address: &str, query: &str) -> Result<Input, Box<dyn Error + Send + Sync>> {
    let query = PostgresQuery::new(address, query)?;
    Ok(Input::answer(&query.database().to_owned(), Arc::new(query)))
}

#[cfg(not(feature = "postgres"))]
fn database(_address: &str, _query: &str) -> Result<Input, Box<dyn Error + Send + Sync>> {
    Err("this build reads no databases (feature `postgres`); export the table to a CSV file and import that".into())
}
