//! What is in a merchant's tables, what was decided about it, and what undoes each decision.
//!
//! Nothing is changed here: the tables hold what was imported, and every decision is taken anew, by settings in
//! `mapping.toml` and `series.toml`, whenever series are built. Everything is counted across customers and stays with the
//! merchant; of customers only numbers appear, never pseudonyms. Left out: judging a forecast (see [`crate::backtest`]).

mod days;
mod finding;
mod joins;
mod lines;
mod page;
mod plot;
mod signals;
mod text;
mod totals;

#[cfg(test)]
mod tests;

pub use days::Days;
pub use finding::{Finding, Subject};
use jiff::civil::Date;
pub use page::{PageError, render};
use serde::Serialize;

use super::{
    clean::clean,
    ingest::{Mapping, TableKind},
    order::Period,
    prepare::SeriesChoice,
    series::{Frequency, SeriesSpec, series_from_orders, series_from_sales},
    store::{DataStore, ImportEntry},
    winsorise::winsorise,
};

/// The report.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Order lines and totals, products, product days, holidays, and what else was imported.
    pub tables: Vec<TableFacts>,
    /// First day with a sale.
    #[serde(serialize_with = "days::as_text")]
    pub first: Option<Date>,
    /// Last day with a sale.
    #[serde(serialize_with = "days::as_text")]
    pub last: Option<Date>,
    /// What was found, worth a look first.
    pub findings: Vec<Finding>,
    /// What was looked for and not found.
    pub nothing: Vec<&'static str>,
    /// Imports as they happened, oldest first.
    pub imports: Vec<ImportEntry>,
    /// What was sold day by day.
    pub days: Days,
}

/// Size of a table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct TableFacts {
    /// Which table.
    pub table: TableKind,
    /// Its rows.
    pub rows: usize,
}

/// Looks at everything that was imported. `today` tells what lies in the future.
pub fn check(
    store: &DataStore,
    mapping: &Mapping,
    imports: Vec<ImportEntry>,
    choice: &SeriesChoice,
    today: Date,
) -> Check {
    let (orders, sales, catalogue, signals) = (store.orders(), store.sales(), store.catalogue(), store.signals());
    let tables = [
        (TableKind::Orders, orders.len()),
        (TableKind::Sales, sales.len()),
        (TableKind::Products, catalogue.products.len()),
        (TableKind::Calendar, catalogue.calendar.values().map(std::collections::BTreeMap::len).sum()),
        (TableKind::Holidays, catalogue.holidays.len()),
        (TableKind::Events, signals.events.len()),
        (TableKind::Reviews, signals.reviews.len()),
        (TableKind::Stock, signals.stock.values().map(std::collections::BTreeMap::len).sum()),
        (TableKind::Occasions, signals.occasions.len()),
        (TableKind::Vectors, signals.vectors.len()),
    ];
    let period = store.observed_period();
    let mut findings = finding::of_imports(&imports);
    let mut days = Days::default();
    if let Some(period) = period {
        let spec = SeriesSpec { frequency: Frequency::Daily, period, future_steps: 0, key: choice.by };
        let (mut series, sold) = if orders.is_empty() {
            findings.extend(totals::findings(sales, choice));
            let sold = sales.iter().map(|row| (row.date, row.series.as_str(), row.value)).collect::<Vec<_>>();
            (series_from_sales(sales, catalogue, &spec, choice.missing), sold)
        } else {
            let (demand, cleaning) = clean(orders, &choice.cleaning);
            findings.extend(lines::findings(orders, mapping.orders.as_ref(), today));
            findings.extend(lines::decisions(&cleaning, &choice.cleaning));
            findings.extend(lines::prices(orders));
            let sold =
                orders.iter().filter(|line| line.quantity > 0.0).map(|l| (l.at.date(), l.product.as_str(), l.quantity));
            (series_from_orders(&demand, catalogue, &spec), sold.collect())
        };
        findings.push(lines::lowered(choice.winsorise, choice.winsorise.map(|share| winsorise(&mut series, share))));
        days = Days::of(period, sold.iter().map(|(day, _, units)| (*day, *units)));
        if !orders.is_empty() {
            findings.extend(days.gaps());
        }
        findings.extend(joins::findings(&sold, catalogue, period, choice.country.is_some()));
        findings.extend(signals::findings(signals, &sold, orders, catalogue, period));
    }
    let nothing = findings.iter().filter(|finding| finding.count == 0).map(|finding| finding.what).collect();
    findings.retain(|finding| finding.count > 0);
    findings.sort_by_key(|finding| (!finding.look, finding.subject));
    Check {
        tables: tables.into_iter().filter(|t| t.1 > 0).map(|(table, rows)| TableFacts { table, rows }).collect(),
        first: period.map(Period::start),
        last: period.map(Period::end),
        findings,
        nothing,
        imports,
        days,
    }
}
