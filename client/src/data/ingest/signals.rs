//! Events, reviews, stock, the merchant's own events and vectors from tables.
//!
//! Raw customer numbers end here, as they do for order lines.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use jiff::civil::Date;

use super::{
    IngestError, RowError, TableKind, TableMapping,
    columns::{Cells, Columns, NAME_MAX, Parsed},
    fields::EVENT_COUNTS,
    guess::usual_behaviour,
    orders::{Customers, IDENTITY_MAX},
    reading::ReadTo,
    reference::{Read, collect},
    table::Table,
};
use crate::data::{
    pseudonym::PseudonymKey,
    signals::{Event, EventKind, Review, StockDay},
};

/// Most events that one row counts.
const COUNT_MAX: f64 = 1e9;
/// Most units on hand.
const STOCK_MAX: f64 = 1e9;
/// Longest text of a review that is read, in characters; more is left out.
const REVIEW_MAX: usize = 20_000;
/// Characters of a review that are kept.
const REVIEW_KEPT: usize = 2_000;
/// Longest vector.
const VECTOR_MAX: usize = 8_192;
/// Characters of a vector that is written into one cell.
const VECTOR_TEXT_MAX: usize = VECTOR_MAX * 30;

/// One product on one day.
#[derive(Clone, Debug, PartialEq)]
pub struct StockRow {
    /// Product identity.
    pub product: String,
    /// The day.
    pub date: Date,
    /// What was there.
    pub day: StockDay,
}

/// One event of the merchant's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OccasionRow {
    /// The day.
    pub date: Date,
    /// Its name.
    pub name: String,
}

/// One product's vector.
#[derive(Clone, Debug, PartialEq)]
pub struct VectorRow {
    /// Product identity.
    pub product: String,
    /// At least one number, all finite.
    pub vector: Vec<f32>,
}

/// Whether rows of an event table say how many events they stand for. Then the same row twice is a mistake; otherwise it is
/// two events.
pub fn counts_events(mapping: &TableMapping) -> bool {
    let has = |field: &str| mapping.columns.contains_key(field) || mapping.constants.contains_key(field);
    has("count") || EVENT_COUNTS.iter().any(|field| has(field))
}

/// Events from a table, one row as several where it counts several kinds; events of other kinds are passed over. Errors when
/// the mapping does not fit it.
pub fn read_events(table: &Table, mapping: &TableMapping, pseudonyms: &PseudonymKey, from: &ReadTo) -> Read<Event> {
    let columns = Columns::new(TableKind::Events, table, mapping)?;
    let customers = Customers::new(pseudonyms);
    let products = RefCell::new(HashMap::<Box<str>, Arc<str>>::new());
    let named = [&mapping.view_events, &mapping.cart_events, &mapping.wish_events, &mapping.search_events];
    let uses_usual = named.iter().all(|values| values.is_empty());
    let kind_of = |word: &str| {
        let by_name = || named.iter().position(|values| values.iter().any(|value| value.eq_ignore_ascii_case(word)));
        let at = if uses_usual { usual_behaviour(word) } else { by_name() };
        at.map(|at| EventKind::ALL[at])
    };
    let has = |field: &str| mapping.columns.contains_key(field) || mapping.constants.contains_key(field);
    let mut rows = Vec::new();
    let parse = |cells: &Cells<'_>| {
        let kind = if has("event") { Some(kind_of(cells.required("event", IDENTITY_MAX)?)) } else { None };
        if kind == Some(None) {
            return Ok(Parsed::OtherEvent);
        }
        let product = cells.required("product_id", NAME_MAX)?;
        let mut products = products.borrow_mut();
        let product = match products.get(product) {
            Some(known) => Arc::clone(known),
            None => {
                let new: Arc<str> = product.into();
                products.insert(product.into(), Arc::clone(&new));
                new
            }
        };
        let at = cells.date_time("at")?.ok_or(RowError::Missing { column: "at" })?;
        let customer = cells.text("customer_id", IDENTITY_MAX)?.map(|raw| customers.pseudonym(raw));
        let event = |kind, count| Event { product: Arc::clone(&product), kind, customer, at, count };
        if let Some(Some(kind)) = kind {
            let count = count(cells, "count")?.unwrap_or(1.0);
            return Ok(Parsed::Row(if count > 0.0 { vec![event(kind, count)] } else { Vec::new() }));
        }
        let mut events = Vec::new();
        for (field, kind) in EVENT_COUNTS.into_iter().zip(EventKind::ALL) {
            if let Some(count) = count(cells, field)? {
                events.push(event(kind, count));
            }
        }
        if events.is_empty() {
            return Err(RowError::Missing { column: "event" });
        }
        events.retain(|event| event.count > 0.0);
        Ok(Parsed::Row(events))
    };
    let (report, read_to) = columns.read::<_, IngestError>(from, parse, |_, line, events| {
        rows.extend(events.into_iter().map(|event| (line, event)));
        Ok(())
    })?;
    Ok((rows, report, read_to))
}

/// A number of events, ≥ 0.
fn count(cells: &Cells<'_>, field: &'static str) -> Result<Option<f64>, RowError> {
    match cells.number(field)? {
        Some(value) if !(0.0..=COUNT_MAX).contains(&value) => Err(RowError::OutOfRange { column: field, value }),
        count => Ok(count),
    }
}

/// Reviews from a table. Errors when the mapping does not fit it.
pub fn read_reviews(table: &Table, mapping: &TableMapping, pseudonyms: &PseudonymKey, from: &ReadTo) -> Read<Review> {
    let customers = Customers::new(pseudonyms);
    let best = mapping.score_max.unwrap_or(5.0);
    collect(&Columns::new(TableKind::Reviews, table, mapping)?, from, |cells| {
        let text = |field, limit| Ok(cells.text(field, limit)?.unwrap_or_default().to_owned());
        let (product, order) = (text("product_id", NAME_MAX)?, text("order_id", IDENTITY_MAX)?);
        if product.is_empty() && order.is_empty() {
            return Err(RowError::Missing { column: "product_id" });
        }
        let score = match cells.number("score")? {
            Some(value) if !(0.0..=best).contains(&value) => {
                return Err(RowError::OutOfRange { column: "score", value });
            }
            score => score.map(|score| score / best),
        };
        let parts = [text("title", REVIEW_MAX)?, text("text", REVIEW_MAX)?];
        let words = parts.iter().filter(|part| !part.is_empty()).map(String::as_str).collect::<Vec<_>>().join(". ");
        Ok(Review {
            id: text("review_id", IDENTITY_MAX)?,
            product,
            order,
            customer: cells.text("customer_id", IDENTITY_MAX)?.map(|raw| customers.pseudonym(raw)),
            at: cells.date_time("at")?.ok_or(RowError::Missing { column: "at" })?,
            score,
            text: words.chars().take(REVIEW_KEPT).collect(),
        })
    })
}

/// Stock from a table. Errors when the mapping does not fit it.
pub fn read_stock(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<StockRow> {
    collect(&Columns::new(TableKind::Stock, table, mapping)?, from, |cells| {
        let day = StockDay { on_hand: cells.number("on_hand")?, in_stock: cells.flag("in_stock")? };
        match day.on_hand {
            Some(value) if value.abs() > STOCK_MAX => return Err(RowError::OutOfRange { column: "on_hand", value }),
            None if day.in_stock.is_none() => return Err(RowError::Missing { column: "on_hand" }),
            _ => {}
        }
        Ok(StockRow { product: cells.required("product_id", NAME_MAX)?.to_owned(), date: cells.date("date")?, day })
    })
}

/// The merchant's own events from a table. Errors when the mapping does not fit it.
pub fn read_occasions(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<OccasionRow> {
    collect(&Columns::new(TableKind::Occasions, table, mapping)?, from, |cells| {
        Ok(OccasionRow { date: cells.date("date")?, name: cells.required("name", NAME_MAX)?.to_owned() })
    })
}

/// Vectors from a table: in one cell each, as a JSON list or with spaces, semicolons or commas between numbers, or in a
/// column for each entry. Errors when the mapping does not fit it.
pub fn read_vectors(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<VectorRow> {
    let entries: Vec<usize> = mapping.attributes.iter().filter_map(|column| table.column(column)).collect();
    collect(&Columns::new(TableKind::Vectors, table, mapping)?, from, |cells| {
        let product = cells.required("product_id", NAME_MAX)?.to_owned();
        let entry = |text: &str| {
            let number = text.parse::<f32>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| RowError::Number { column: "vector", value: RowError::shown(text) })
        };
        let vector: Vec<f32> = if entries.is_empty() {
            let text = cells.required("vector", VECTOR_TEXT_MAX)?;
            let inner = text.trim_start_matches('[').trim_end_matches(']');
            let parts = inner.split([',', ';', ' ', '\t']).map(str::trim).filter(|part| !part.is_empty());
            parts.map(entry).collect::<Result<_, _>>()?
        } else {
            let parts = entries.iter().map(|at| cells.attribute(*at, NAME_MAX));
            parts
                .map(|text| entry(text?.ok_or(RowError::Missing { column: "vector" })?))
                .collect::<Result<_, RowError>>()?
        };
        match vector.len() {
            0 => Err(RowError::Missing { column: "vector" }),
            1..=VECTOR_MAX => Ok(VectorRow { product, vector }),
            _ => Err(RowError::TooLong { column: "vector", limit: VECTOR_MAX }),
        }
    })
}
