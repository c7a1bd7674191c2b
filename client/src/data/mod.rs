//! From a merchant's files to the windows a model sees.
//!
//! The way of an order line: [`ingest`] parses it or rejects it with its line number, [`store`] keeps it,
//! [`clean`] decides what counts as demand, [`bound`] limits what one customer contributes, [`series`] adds it
//! up by step, [`calendar`] says what is known in advance, [`signals`] joins what else is known, [`returns`] books what came
//! back on the day of its sale, [`window`] cuts examples.
//! [`finite`] refuses series that no model can read.
//! [`check`] reports on all of it, [`import_report`] on one import. [`vault`] seals what is stored; [`training_use`] tells a
//! customer what became of a line.
//!
//! Invariant: whatever private training sees of a series is authored by the merchant or public, or is computed
//! from bounded lines and records of that series alone. No statistic crosses series and no step looks at two customers
//! together. Left out on purpose: spreadsheets.

pub mod bound;
pub mod calendar;
pub mod check;
pub mod clean;
pub mod finite;
pub mod holidays;
pub mod import_report;
pub mod ingest;
pub mod order;
pub mod planned;
pub mod prepare;
pub mod pseudonym;
pub mod returns;
pub mod scale;
pub mod series;
pub mod signals;
pub mod store;
pub mod training_use;
pub mod vault;
pub mod window;
pub mod winsorise;

#[cfg(test)]
mod online_retail_tests;
