//! `forecastle data export`.

use std::{
    collections::BTreeMap,
    error::Error,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::Args;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::{Format, Outcome, base::shared_model, customer::Customer, import::Table, print_json};
use crate::{
    data::{
        ingest::TableKind,
        order::CustomerPseudonym,
        store::{DataStore, Importer},
        training_use::training_use,
    },
    durable::{self, Access},
    federation::home::Home,
};

/// Write out a stored table, or everything that is held about one customer.
///
/// Customers appear as pseudonyms: their numbers are not stored. Nothing leaves this machine.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data export --customer 17850 --out held.csv
  forecastle data export --customer 17850 --out held.json
  forecastle data export --table orders --out orders.csv")]
pub(super) struct Arguments {
    #[command(flatten)]
    customer: Customer,
    /// A whole table, as CSV.
    #[arg(long, value_enum, conflicts_with_all = ["customer", "pseudonym"])]
    table: Option<Table>,
    /// File to write, readable by its owner only: .csv or .json (default: standard output).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

type Failed = Box<dyn Error + Send + Sync>;

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    let is_json = match &arguments.out {
        Some(path) => match path.extension().and_then(|ending| ending.to_str()) {
            Some("csv") => false,
            Some("json") => true,
            _ => return Err(format!("--out {}: the name must end in .csv or .json", path.display()).into()),
        },
        None => format == Format::Json,
    };
    let name = arguments.out.clone().unwrap_or_else(|| "standard output".into());
    if let Some(table) = arguments.table {
        let kind = TableKind::from(table);
        let mut bytes = Vec::new();
        let rows = Importer::open(&home.data())?.export_table(kind, &mut bytes, &name)?;
        let bytes = if is_json { serde_json::to_vec_pretty(&records(&bytes)?)? } else { bytes };
        write(&bytes, arguments.out.as_deref())?;
        eprintln!("forecastle: {rows} rows of {kind}");
        return Ok(());
    }
    let store = DataStore::open(&home.data())?;
    let Some(customer) = arguments.customer.pseudonym(store.importer())? else {
        return Err("say what is to be written out: --table NAME, --customer ID or --pseudonym HEX".into());
    };
    let held = held(home, &store, customer, &name)?;
    let rows: usize = held.tables.values().map(Vec::len).sum();
    match (is_json, &arguments.out) {
        (true, None) => print_json(&held)?,
        (true, Some(_)) => write(&serde_json::to_vec_pretty(&held)?, arguments.out.as_deref())?,
        (false, _) => write(&held.to_csv()?, arguments.out.as_deref())?,
    }
    match rows {
        0 => eprintln!("forecastle: nothing is held about this customer"),
        _ => eprintln!("forecastle: {rows} rows are held about this customer"),
    }
    Ok(())
}

/// Columns and values of one row, in order.
type Row = Vec<(String, String)>;

/// Everything that is held about a customer.
#[derive(Serialize)]
struct Held {
    /// What this is, in sentences.
    about: Vec<String>,
    /// Who, as a keyed hash.
    pseudonym: String,
    /// Rows by table, fields in order of the table.
    #[serde(serialize_with = "as_objects")]
    tables: BTreeMap<TableKind, Vec<Row>>,
    /// What tables with customers were imported from: day and name.
    sources: Vec<(String, String)>,
}

impl Held {
    fn to_csv(&self) -> Result<Vec<u8>, Failed> {
        let mut bytes = Vec::new();
        for sentence in &self.about {
            writeln!(bytes, "# {sentence}")?;
        }
        for (table, rows) in &self.tables {
            let Some(first) = rows.first() else { continue };
            writeln!(bytes, "# {table}")?;
            let mut writer = csv::Writer::from_writer(&mut bytes);
            writer.write_record(first.iter().map(|(column, _)| column))?;
            for row in rows {
                writer.write_record(row.iter().map(|(_, value)| value))?;
            }
            writer.flush()?;
        }
        Ok(bytes)
    }
}

fn held(home: &Home, store: &DataStore, customer: CustomerPseudonym, name: &Path) -> Result<Held, Failed> {
    let importer = store.importer();
    let mut tables = BTreeMap::new();
    for kind in importer.rows_of(customer)?.into_keys() {
        let mut bytes = Vec::new();
        importer.export_customer(customer, kind, &mut bytes, name)?;
        tables.insert(kind, fields(&bytes)?);
    }
    let mut about = vec![
        format!("What Forecastle holds about one customer of this shop, on {}.", jiff::Timestamp::now().strftime("%Y-%m-%d")),
        format!(
            "The customer's number was turned into the pseudonym {customer} when files were imported, by a hash with a secret key \
             that never leaves this machine; the number itself is not stored."
        ),
        "Rows are as they were imported. Forecasts and models are made for products, not for persons; they hold no row of this.".into(),
    ];
    let orders: Vec<_> = store.orders().iter().filter(|line| line.customer == Some(customer)).cloned().collect();
    if home.is_joined() {
        let (plan, _) = home.plan()?;
        let choice = home.series_choice()?.for_inputs(shared_model(home)?.1.config().inputs());
        let uses = training_use(&orders, &choice, &plan, &store.contribution_key(), store.catalogue())?;
        let rows = tables.entry(TableKind::Orders).or_default();
        for (row, used) in rows.iter_mut().zip(&uses) {
            row.push(("private_training".to_owned(), used.to_string()));
        }
        about.push(format!(
            "This shop takes part in the federation `{}`. The column private_training says which rows a step of training may \
             use. What leaves is a sum with noise; the plan allows at most ε = {} at δ = {:e} for each {}.",
            home.membership()?.federation,
            plan.privacy.epsilon_cap,
            plan.privacy.delta,
            plan.privacy.unit.name()
        ));
    } else {
        about.push(
            "This shop takes part in no federation from this folder: nothing of these rows has left this machine."
                .into(),
        );
    }
    let erasures = importer.erasure_list()?.into_iter().filter(|one| one.pseudonym == customer.to_string());
    for erasure in erasures {
        let rows: u64 = erasure.rows.values().sum();
        let again = erasure.forgotten.map(|day| format!(" Since {day} rows are taken again.")).unwrap_or_default();
        about.push(format!("On {} {rows} rows of this customer were erased.{again}", erasure.day));
    }
    let of_customers: Vec<_> = tables.keys().copied().collect();
    let journal = store.journal().into_iter().filter(|entry| of_customers.contains(&entry.table));
    let sources: Vec<(String, String)> = journal.map(|entry| (entry.day, entry.file)).collect();
    let named: Vec<String> = sources.iter().map(|(day, file)| format!("{file} ({day})")).collect();
    about.push(format!(
        "Tables with customers were imported from: {}.",
        if named.is_empty() { "nothing".to_owned() } else { named.join(", ") }
    ));
    if tables.values().all(Vec::is_empty) {
        about.push("Nothing is held about this customer.".into());
    }
    Ok(Held { about, pseudonym: customer.to_string(), tables, sources })
}

/// Rows of a CSV text, each as columns and values in order.
fn fields(bytes: &[u8]) -> Result<Vec<Row>, Failed> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers()?.clone();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record?;
        rows.push(header.iter().zip(&record).map(|(column, value)| (column.to_owned(), value.to_owned())).collect());
    }
    Ok(rows)
}

fn object(row: &Row) -> Value {
    Value::Object(row.iter().map(|(column, value)| (column.clone(), json!(value))).collect())
}

/// Rows of a CSV text as objects.
fn records(bytes: &[u8]) -> Result<Vec<Value>, Failed> {
    Ok(fields(bytes)?.iter().map(object).collect())
}

fn as_objects<S: Serializer>(tables: &BTreeMap<TableKind, Vec<Row>>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(tables.iter().map(|(table, rows)| (table, rows.iter().map(object).collect::<Vec<_>>())))
}

fn write(bytes: &[u8], out: Option<&Path>) -> Outcome {
    match out {
        Some(path) => {
            durable::write(path, bytes, Access::Secret)?;
            eprintln!("forecastle: written to {}", path.display());
        }
        None => match std::io::stdout().write_all(bytes) {
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => {}
        },
    }
    Ok(())
}
