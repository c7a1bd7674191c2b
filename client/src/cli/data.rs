//! `forecastle data import`; `data text` is in [`super::text`].

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{Format, Outcome, print_json};
use crate::{
    data::{
        ingest::TableKind,
        prepare::SeriesChoice,
        series::{MissingDay, SeriesKey},
        store::{DataStore, ImportOptions},
    },
    federation::home::Home,
};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Import order files (CSV, TSV, gzipped or not). What is already stored is kept; duplicates are reported.
    #[command(after_help = "Examples:
  forecastle data import orders.csv products.csv calendar.csv holidays.csv
  forecastle data import visitors.csv --table sales --series-by product --format json

What each table holds is guessed from its columns and written to mapping.toml in the state folder, where it can be
edited. Rows that cannot be used are reported with their line number and reason; all others are imported.")]
    Import {
        /// Files to import.
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// What the files hold (default: recognised by their columns).
        #[arg(long, value_enum)]
        table: Option<Table>,
        /// What one series is.
        #[arg(long, value_enum)]
        series_by: Option<By>,
        /// What a day without a row means in a table of totals.
        #[arg(long, value_enum)]
        missing: Option<Missing>,
    },
    /// See or choose what reads products' texts: hashed letters, or a sentence encoder on this machine.
    #[command(after_help = "Examples:
  forecastle data text --encoder ~/encoders/all-MiniLM-L6-v2
  forecastle data text --hashed

The folder holds config.json, tokenizer.json and model.safetensors of a BERT, RoBERTa or DistilBERT in the layout of
sentence-transformers. It is read where it lies and nothing is downloaded or sent. Vectors are kept in the state folder, so
that each text is encoded once. Forecasts learn from them by fine-tuning on this machine, unless the federation's model
was trained with texts of another encoder: then they are left out, and every verb that forecasts says so.")]
    Text(super::text::Arguments),
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
    let (files, table, series_by, missing) = match verb {
        Verb::Import { files, table, series_by, missing } => (files, table, series_by, missing),
        Verb::Text(arguments) => return super::text::run(home, &arguments, format),
    };
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
    let mut store = DataStore::open(&home.data())?;
    let options = ImportOptions { kind, mapping: None };
    for file in files {
        let report = store.import_file(&file, &options)?;
        match format {
            Format::Json => print_json(&report)?,
            Format::Text => say!("{report}"),
        }
    }
    Ok(())
}
