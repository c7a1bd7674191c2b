//! `forecastle data show`.

use super::{Format, Outcome, print_json};
use crate::{
    data::{
        ingest::TableKind,
        store::{Erasure, Importer},
    },
    federation::home::Home,
};

/// Erasures that are listed: the last ones.
const ERASURES_LISTED: usize = 20;

pub(super) fn run(home: &Home, format: Format) -> Outcome {
    let importer = Importer::open(&home.data())?;
    let contents = importer.contents()?;
    if format == Format::Json {
        return print_json(&contents);
    }
    say!("{}", contents.folder.display());
    if contents.tables.is_empty() {
        say!("  nothing is stored; `forecastle data import orders.csv` brings it in");
    } else {
        say!(
            "  {:<10}  {:>9}  {:<22}  {:>8}  {:>9}  {:>9}  {:<16}  kept for",
            "table",
            "rows",
            "days",
            "products",
            "customers",
            "KiB",
            "sealed with"
        );
    }
    for table in &contents.tables {
        let days = match (&table.first, &table.last) {
            (Some(first), Some(last)) => format!("{first}..{last}"),
            _ => String::new(),
        };
        let customers = table.customers.map(|count| count.to_string()).unwrap_or_default();
        let kept = contents.retention.get(&table.table).map_or("ever".to_owned(), ToString::to_string);
        let kib = table.bytes.div_ceil(1024);
        say!(
            "  {:<10}  {:>9}  {days:<22}  {:>8}  {customers:>9}  {kib:>9}  {:<16}  {kept}",
            table.table.name(),
            table.rows,
            table.products,
            table.sealed_with.to_string()
        );
    }
    if contents.tables.iter().any(|table| table.table == TableKind::Orders) {
        say!("  customers are pseudonyms: keyed hashes of their numbers; the numbers themselves are not stored");
    }
    say!("\nkey {} in {}", contents.key, contents.key_file.display());
    if contents.is_between_keys {
        say!("  a new key is only partly in: run `forecastle data key rotate` once more");
    }
    if contents.retention.is_empty() {
        say!("no retention periods are set; they go into {}", importer.retention_path().display());
    }
    for table in contents.tables.iter().filter(|table| !table.sources.is_empty()) {
        say!("\n{} came from", table.table);
        if table.sources_left_out > 0 {
            say!("  … {} earlier imports", table.sources_left_out);
        }
        for source in &table.sources {
            say!("  {}  {}: {} new rows", source.day, source.file, source.imported);
        }
    }
    if !contents.erasures.is_empty() {
        say!("\nerased customers: {}", contents.erasures.len());
        let skipped = contents.erasures.len().saturating_sub(ERASURES_LISTED);
        if skipped > 0 {
            say!("  … {skipped} earlier ones are in --format json");
        }
        for erasure in contents.erasures.iter().skip(skipped) {
            say!("  {}", in_words(erasure));
        }
    }
    Ok(())
}

fn in_words(erasure: &Erasure) -> String {
    let rows: Vec<_> = erasure.rows.iter().map(|(table, count)| format!("{count} {table}")).collect();
    let until = erasure.until.as_ref().map_or("whatever their day".to_owned(), |day| format!("up to {day}"));
    let now = erasure.forgotten.as_ref().map_or_else(
        || format!("rows {until} are left out of imports"),
        |day| format!("forgotten on {day}: rows are taken again"),
    );
    format!("{}  {}: {} removed; {now}", erasure.day, erasure.pseudonym, rows.join(", "))
}
