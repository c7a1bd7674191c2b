//! What customers do, what is in stock, and vectors: whether these tables fit the others.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::finding::{Finding, Subject};
use crate::data::{
    order::{Catalogue, OrderLine, Period},
    signals::Signals,
};

/// Findings about what is known beside orders and catalogue. `sold`: day, product or series, units.
pub(super) fn findings(
    signals: &Signals,
    sold: &[(Date, &str, f64)],
    lines: &[OrderLine],
    catalogue: &Catalogue,
    period: Period,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let known: BTreeSet<&str> = sold
        .iter()
        .map(|(_, product, _)| *product)
        .chain(catalogue.products.keys().map(String::as_str))
        .chain(catalogue.calendar.keys().map(String::as_str))
        .collect();
    let mut joins = |what, products: BTreeSet<&str>| {
        let unknown: Vec<&&str> = products.iter().filter(|product| !known.contains(**product)).collect();
        findings.push(
            Finding::new(Subject::Catalogue, what, unknown.len(), products.len(), "kept; they reach no series")
                .undo("numbers of products must be written the same in all tables")
                .examples(unknown.iter().map(|product| (**product).to_owned())),
        );
    };
    let (events, reviews) = (&signals.events, &signals.reviews);
    if !events.is_empty() {
        joins("products of events that no other table has", events.iter().map(|event| &*event.product).collect());
    }
    if !reviews.is_empty() {
        let products = reviews.iter().map(|review| review.product.as_str()).filter(|product| !product.is_empty());
        joins("products of reviews that no other table has", products.collect());
    }
    if !signals.stock.is_empty() {
        joins(
            "products of the stock table that no other table has",
            signals.stock.keys().map(String::as_str).collect(),
        );
    }
    if !signals.vectors.is_empty() {
        joins("products with a vector that no other table has", signals.vectors.keys().map(String::as_str).collect());
    }
    findings.extend(of_events(signals, period));
    findings.extend(of_reviews(signals, lines));
    findings.extend(of_stock(signals, sold));
    findings
}

fn of_events(signals: &Signals, period: Period) -> Vec<Finding> {
    let events = &signals.events;
    let Some(last) = events.iter().map(|event| event.at.date()).max() else { return Vec::new() };
    let nobody = events.iter().filter(|event| event.customer.is_none()).count();
    let is_behind = last < period.end();
    vec![
        Finding::new(
            Subject::MissingValues,
            "events without a customer",
            nobody,
            events.len(),
            "read in forecasts here, and left out of private training under the unit customer",
        )
        .look(false),
        Finding::new(
            Subject::Gaps,
            "days with sales after the last event",
            usize::try_from(crate::data::order::days_between(last, period.end())).unwrap_or(0),
            0,
            "events are missing there, not 0",
        )
        .detail(format!("the last event is of {last}, the last sale of {}", period.end()))
        .undo("import later events")
        .look(is_behind),
    ]
}

fn of_reviews(signals: &Signals, lines: &[OrderLine]) -> Vec<Finding> {
    let of_orders: Vec<&str> =
        signals.reviews.iter().filter(|review| review.product.is_empty()).map(|review| review.order.as_str()).collect();
    if of_orders.is_empty() {
        return Vec::new();
    }
    let orders: BTreeSet<&str> = lines.iter().map(|line| line.order.as_str()).collect();
    let unknown: Vec<&&str> = of_orders.iter().filter(|order| !orders.contains(**order)).collect();
    vec![
        Finding::new(
            Subject::Catalogue,
            "reviews of orders that were not imported",
            unknown.len(),
            of_orders.len(),
            "kept; they reach no series",
        )
        .undo("import the orders, with the numbers that the reviews have")
        .examples(unknown.iter().map(|order| (**order).to_owned())),
    ]
}

fn of_stock(signals: &Signals, sold: &[(Date, &str, f64)]) -> Vec<Finding> {
    let days: usize = signals.stock.values().map(BTreeMap::len).sum();
    if days == 0 {
        return Vec::new();
    }
    let is_out = |product: &str, day: &Date| signals.stock.get(product)?.get(day).map(|entry| entry.is_out());
    let out: usize = signals.stock.values().flat_map(BTreeMap::values).filter(|entry| entry.is_out()).count();
    let despite: BTreeSet<(&str, Date)> = sold
        .iter()
        .filter(|(day, product, _)| is_out(product, day) == Some(true))
        .map(|(day, product, _)| (*product, *day))
        .collect();
    vec![
        Finding::new(
            Subject::Gaps,
            "days on which a product was out of stock",
            out,
            days,
            "missing where nothing was sold, not 0, in forecasts here; not read by private training under the unit customer",
        )
        .look(false),
        Finding::new(
            Subject::Gaps,
            "days out of stock on which something was sold",
            despite.len(),
            out,
            "what was sold counts",
        )
        .undo("where stock is counted in the evening, nothing is wrong")
        .examples(despite.iter().map(|(product, day)| format!("{product} on {day}"))),
    ]
}
