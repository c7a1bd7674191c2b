//! From a model to numbers that a merchant can use: forecasts, baselines beside them, calibration, totals and scores.
//!
//! Invariant: a forecast is a function of one window and one model; calibration and scores stay at the merchant.

pub mod baseline;
pub mod beside;
pub mod conformal;
pub mod forecaster;
pub mod hierarchy;
pub mod metrics;
pub mod newcomer;
pub mod personal;
pub mod served;
pub mod stacking;

pub use conformal::{Calibration, PastForecasts};
pub use forecaster::{Forecast, Forecaster, Heads, NegativeBinomial};
pub use served::{Served, Way};

#[cfg(test)]
mod bad_series_tests;
#[cfg(test)]
mod leading_tests;
