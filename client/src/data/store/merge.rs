//! Merging imported rows into stored ones: what is new, what changed, what is there already. Order lines, of which there
//! are many, are in [`super::orders`].

use std::collections::{BTreeMap, HashSet};

use jiff::civil::Date;

use crate::data::{
    ingest::{ImportReport, ProductDayRow, RowError},
    order::{ProductDay, SalesRow},
};

/// Stored entries and the new ones; a known key is updated, the same key twice in one file is a duplicate.
pub(super) fn keyed<K: Ord + Clone, V: Clone + PartialEq>(
    stored: &BTreeMap<K, V>,
    rows: Vec<(u64, K, V)>,
    what: &'static str,
    report: &mut ImportReport,
) -> BTreeMap<K, V> {
    let mut merged = stored.clone();
    let mut in_file = std::collections::BTreeSet::new();
    for (number, key, value) in rows {
        if !in_file.insert(key.clone()) {
            report.reject(number, &RowError::Duplicate { what });
            continue;
        }
        match merged.insert(key, value.clone()) {
            None => report.imported += 1,
            Some(before) if before == value => report.known += 1,
            Some(_) => report.updated += 1,
        }
    }
    merged
}

/// Stored product days and the new ones; plans may change.
pub(super) fn calendar(
    stored: &BTreeMap<String, BTreeMap<Date, ProductDay>>,
    rows: Vec<(u64, ProductDayRow)>,
    report: &mut ImportReport,
) -> BTreeMap<String, BTreeMap<Date, ProductDay>> {
    let mut merged = stored.clone();
    let mut in_file = HashSet::new();
    for (number, row) in rows {
        if !in_file.insert((row.product.clone(), row.date)) {
            report.reject(number, &RowError::Duplicate { what: "product and day" });
            continue;
        }
        match merged.entry(row.product).or_default().insert(row.date, row.day) {
            None => report.imported += 1,
            Some(before) if before == row.day => report.known += 1,
            Some(_) => report.updated += 1,
        }
    }
    merged
}

/// Stored totals and the new ones, in order of series and day; a corrected total replaces the old one.
pub(super) fn sales(stored: &[SalesRow], rows: Vec<(u64, SalesRow)>, report: &mut ImportReport) -> Vec<SalesRow> {
    let by_key = stored.iter().map(|row| ((row.series.clone(), row.date), row.value)).collect();
    let rows = rows.into_iter().map(|(number, row)| (number, (row.series, row.date), row.value)).collect();
    keyed(&by_key, rows, "series and day", report)
        .into_iter()
        .map(|((series, date), value)| SalesRow { series, date, value })
        .collect()
}
