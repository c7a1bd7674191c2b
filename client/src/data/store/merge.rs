//! Merging imported rows into stored ones: what is new, what changed, what is there already. Order lines, of which there
//! are many, are in [`super::orders`].

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use jiff::civil::{Date, DateTime};

use crate::data::{
    ingest::{ImportReport, ProductDayRow, RowError},
    order::{CustomerPseudonym, ProductDay, SalesRow},
    signals::{Event, EventKind, Review},
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
    by_day(stored, rows.into_iter().map(|(number, row)| (number, row.product, row.date, row.day)), report)
}

/// Stored days of products and the new ones.
pub(super) fn by_day<V: Clone + PartialEq>(
    stored: &BTreeMap<String, BTreeMap<Date, V>>,
    rows: impl Iterator<Item = (u64, String, Date, V)>,
    report: &mut ImportReport,
) -> BTreeMap<String, BTreeMap<Date, V>> {
    let mut merged = stored.clone();
    let mut in_file = HashSet::new();
    for (number, product, date, day) in rows {
        if !in_file.insert((product.clone(), date)) {
            report.reject(number, &RowError::Duplicate { what: "product and day" });
            continue;
        }
        match merged.entry(product).or_default().insert(date, day.clone()) {
            None => report.imported += 1,
            Some(before) if before == day => report.known += 1,
            Some(_) => report.updated += 1,
        }
    }
    merged
}

/// What makes an event known again.
type EventKey = (Arc<str>, EventKind, Option<CustomerPseudonym>, DateTime);

/// Stored events and those of a file. Where rows count events (`counts`), a corrected count replaces the old one and the same
/// row twice in a file is a mistake; in a log, equal rows of a file are so many events.
pub(super) fn events(stored: &[Event], rows: Vec<(u64, Event)>, counts: bool, report: &mut ImportReport) -> Vec<Event> {
    let key = |event: &Event| (Arc::clone(&event.product), event.kind, event.customer, event.at);
    let mut in_file: HashMap<EventKey, (f64, u64)> = HashMap::new();
    for (number, event) in rows {
        let (count, rows) = in_file.entry(key(&event)).or_default();
        if *rows > 0 && counts {
            report.reject(number, &RowError::Duplicate { what: "count of events" });
            continue;
        }
        (*count, *rows) = (*count + event.count, *rows + 1);
    }
    let mut merged: HashMap<EventKey, f64> = stored.iter().map(|event| (key(event), event.count)).collect();
    for (key, (count, rows)) in in_file {
        match merged.insert(key, count) {
            None => report.imported += rows,
            Some(before) if before == count => report.known += rows,
            Some(_) => report.updated += rows,
        }
    }
    let mut merged: Vec<(EventKey, f64)> = merged.into_iter().collect();
    merged.sort_unstable_by(|(a, _), (b, _)| (a.3, &a.0, a.1, a.2).cmp(&(b.3, &b.0, b.1, b.2)));
    let event = |((product, kind, customer, at), count)| Event { product, kind, customer, at, count };
    merged.into_iter().map(event).collect()
}

/// Stored reviews and the new ones; one with the shop's number is known by it, another by who wrote it of what and when.
pub(super) fn reviews(stored: &[Review], rows: Vec<(u64, Review)>, report: &mut ImportReport) -> Vec<Review> {
    let key = |review: &Review| {
        let by = if review.id.is_empty() { (review.customer, Some(review.at)) } else { (None, None) };
        (review.id.clone(), review.product.clone(), review.order.clone(), by)
    };
    let stored = stored.iter().map(|review| (key(review), review.clone())).collect();
    let rows = rows.into_iter().map(|(number, review)| (number, key(&review), review)).collect();
    keyed(&stored, rows, "review", report).into_values().collect()
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
