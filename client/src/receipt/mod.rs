//! What joining was worth to this merchant, and what it cost: a receipt for the merchant alone.
//!
//! On the same windows of the merchant's own past three forecasts are made: by the federation's model, by the model from
//! before the first round (*no federation*), both with the same local steps and calibration on what was known at the first
//! origin, and by the baseline that turned out best. Errors and the cost of stock are compared; the price is ε, from the
//! merchant's own ledger.
//!
//! Honest means: windows that the training period overlaps are told apart, since the model has seen them; the baseline is
//! picked with hindsight, in its favour; a difference is called one only where an interval over resampled series says so;
//! and what cannot be told is said.
//!
//! Invariant: all of it stays at the merchant. No message of the protocol has a field for any of it.

mod compare;
mod measure;
mod page;
mod report;
mod worth;

#[cfg(test)]
mod tests;

pub use compare::{Change, Comparison, Finding};
pub use measure::{Account, ReceiptError, Settings, measure};
pub use page::render;
pub use report::{Figures, Group, Price, PriceRow, Receipt, WindowLine};
