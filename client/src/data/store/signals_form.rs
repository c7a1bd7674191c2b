//! Events, reviews, stock and vectors in the normal form.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::civil::Date;

use super::{
    error::NormalFormError,
    imports::Imported,
    normal_form::{Stored, StoredRow, optional, read, write},
};
use crate::data::{
    order::CustomerPseudonym,
    signals::{Event, EventKind, Review, Stock, StockDay},
};

fn customer(customer: Option<CustomerPseudonym>) -> String {
    customer.map(|customer| customer.to_string()).unwrap_or_default()
}

fn customer_of(row: &StoredRow<'_>, at: usize) -> Option<Option<CustomerPseudonym>> {
    match row.text(at)? {
        "" => Some(None),
        hex => CustomerPseudonym::from_hex(hex).map(Some),
    }
}

/// Events as bytes.
pub(super) fn write_events(events: &[Event], imports: &[Imported]) -> Vec<u8> {
    write(&["product", "kind", "customer", "at", "count"], imports, events.iter(), |event| {
        vec![
            event.product.to_string(),
            event.kind.name().to_owned(),
            customer(event.customer),
            event.at.to_string(),
            event.count.to_string(),
        ]
    })
}

/// Events from bytes.
pub(super) fn read_events(bytes: &[u8]) -> Result<Stored<Vec<Event>>, NormalFormError> {
    let products = std::cell::RefCell::new(HashMap::<String, Arc<str>>::new());
    read(bytes, |row| {
        let name = row.text(0)?;
        let mut products = products.borrow_mut();
        let product = match products.get(name) {
            Some(known) => Arc::clone(known),
            None => Arc::clone(products.entry(name.to_owned()).or_insert_with(|| name.into())),
        };
        Some(Event {
            product,
            kind: EventKind::ALL.into_iter().find(|kind| row.text(1) == Some(kind.name()))?,
            customer: customer_of(row, 2)?,
            at: row.parse(3)?,
            count: row.finite(4)?,
        })
    })
}

/// Reviews as bytes.
pub(super) fn write_reviews(reviews: &[Review], imports: &[Imported]) -> Vec<u8> {
    write(&["id", "product", "order", "customer", "at", "score", "text"], imports, reviews.iter(), |review| {
        vec![
            review.id.clone(),
            review.product.clone(),
            review.order.clone(),
            customer(review.customer),
            review.at.to_string(),
            optional(review.score),
            review.text.clone(),
        ]
    })
}

/// Reviews from bytes.
pub(super) fn read_reviews(bytes: &[u8]) -> Result<Stored<Vec<Review>>, NormalFormError> {
    read(bytes, |row| {
        Some(Review {
            id: row.text(0)?.to_owned(),
            product: row.text(1)?.to_owned(),
            order: row.text(2)?.to_owned(),
            customer: customer_of(row, 3)?,
            at: row.parse(4)?,
            score: row.optional(5)?,
            text: row.text(6)?.to_owned(),
        })
    })
}

/// Stock as bytes.
pub(super) fn write_stock(stock: &Stock, imports: &[Imported]) -> Vec<u8> {
    let rows = stock.iter().flat_map(|(product, days)| days.iter().map(move |(date, day)| (product, date, day)));
    write(&["product", "date", "on_hand", "in_stock"], imports, rows, |(product, date, day)| {
        let flag = day.in_stock.map(|flag| flag.to_string()).unwrap_or_default();
        vec![product.clone(), date.to_string(), optional(day.on_hand), flag]
    })
}

/// Stock from bytes.
pub(super) fn read_stock(bytes: &[u8]) -> Result<Stored<Stock>, NormalFormError> {
    let (rows, imports) = read(bytes, |row| {
        let in_stock = match row.text(3)? {
            "" => None,
            flag => Some(flag.parse().ok()?),
        };
        Some((row.text(0)?.to_owned(), row.parse::<Date>(1)?, StockDay { on_hand: row.optional(2)?, in_stock }))
    })?;
    let mut stock = Stock::new();
    for (product, date, day) in rows {
        stock.entry(product).or_default().insert(date, day);
    }
    Ok((stock, imports))
}

/// Vectors as bytes; the entries of each with spaces between them.
pub(super) fn write_vectors(vectors: &BTreeMap<String, Vec<f32>>, imports: &[Imported]) -> Vec<u8> {
    write(&["product", "vector"], imports, vectors.iter(), |(product, vector)| {
        vec![product.clone(), vector.iter().map(f32::to_string).collect::<Vec<_>>().join(" ")]
    })
}

/// Vectors from bytes.
pub(super) fn read_vectors(bytes: &[u8]) -> Result<Stored<BTreeMap<String, Vec<f32>>>, NormalFormError> {
    let (rows, imports) = read(bytes, |row| {
        let entries = row.text(1)?.split(' ').map(|entry| entry.parse().ok().filter(|entry: &f32| entry.is_finite()));
        Some((row.text(0)?.to_owned(), entries.collect::<Option<Vec<f32>>>()?))
    })?;
    Ok((rows.into_iter().collect(), imports))
}
