//! What each way to forecast would have done for this merchant: the model beside the baselines, on the same windows.
//!
//! Origins roll forward through the merchant's own past. At each, every way sees a series up to the origin and what is
//! known in advance, and nothing else; the steps after it judge. The model itself may have been trained on some of
//! these days, by rounds that this merchant took part in: of a model that was published within the windows, the row
//! `model` is too kind, and the report says so.
//!
//! The way with the smallest WQL on the windows before the last is chosen, and told by what it did on the last, which had no
//! part in the choice. Of four windows and more the first has no part in it either, because mixes know nothing before it. `mix` averages the three ways that were best on the windows before its own; `stacked` averages all with
//! weights that were best there.
//!
//! Memory does not grow with the number of windows: forecasts are scored, added up to totals and dropped window by window;
//! running sums stay, the errors that totals need, some cells to fit weights on, and of the last window a few forecasts to
//! draw.
//!
//! Invariant: everything here is computed from all of the merchant's lines. It is written where the merchant says and
//! never leaves; no message of the protocol has a field for any of it.

mod newcomers;
mod page;
mod plot;
mod report;
mod run;
mod state;
mod text;
mod totals;

#[cfg(test)]
mod tests;

pub use newcomers::{NewcomerReport, NewcomerRow, newcomers};
pub use page::{PageError, render};
pub use report::{Choice, LevelReport, LevelRow, Report, RowReport, SeriesReport, WindowReport};
pub(crate) use run::Roll;
pub use run::{BacktestError, Models, Progress, Settings, run};
