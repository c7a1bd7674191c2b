//! Published sales data, described by task files instead of code.
//!
//! A [`Task`] says in TOML which files make a data set, what a row, a series and a merchant is, which covariates
//! are known in advance, and on which rolling windows forecasts are judged. [`Task::read`] turns it into a
//! [`Panel`]; [`Task::write_merchants`] deals the same rows to merchants as the files each would export. A data
//! set of the same kinds needs another TOML file and no code.
//!
//! Invariant: series, windows and test values equal those of the published evaluation protocol cell by cell, so
//! that scores compare. Left out on purpose: downloading, and formats other than CSV.

mod ablation;
mod check;
mod condition;
mod covariates;
mod error;
mod expression;
mod forecasts;
mod merchants;
mod panel;
mod rows;
mod table;
pub mod task;

pub use ablation::Ablation;
pub use condition::Condition;
pub use error::DatasetError;
pub use forecasts::ForecastFile;
pub use merchants::{DealtData, MerchantTables};
pub use panel::{Member, Panel, PanelSeries, PanelWindow};
pub use task::{Evaluation, Outline, Task, layout_names, task_names};

#[cfg(test)]
mod tests;
