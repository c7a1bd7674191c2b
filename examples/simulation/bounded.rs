//! Training series of order lines whose customers' contributions are bounded, as a merchant's own client bounds them.
//!
//! The task's order lines before the plan's last day are dealt to merchants as files, imported, cleaned and bounded by the
//! client's code, and kept no longer than it takes. What they are scored by stays the task's own totals.

use std::path::Path;

use forecastle_client::{
    data::{
        bound::BoundReport,
        prepare::{self, PrepareError, SeriesChoice},
        series::{MissingDay, Series, SeriesKey},
        store::{DataStore, ImportOptions, StoreError},
    },
    model::Model,
    train::{TrainingSeries, merchant::training_series},
};
use forecastle_crypto::dp::plan::PrivacyPlan;
use jiff::civil::Date;

use crate::dataset::{DatasetError, Task};

/// What merchants train on under a plan of the unit customer.
#[derive(Clone, Debug)]
pub struct Bounded {
    /// Merchants by name, each with the series of its bounded lines.
    pub merchants: Vec<(String, Vec<Series>)>,
    /// What the bounds left out, over all merchants.
    pub report: BoundReport,
    /// Last day of the lines.
    pub end: Date,
}

/// Why there are no such series.
#[derive(Debug, thiserror::Error)]
pub enum BoundedError {
    /// Totals name no customers.
    #[error(
        "the task {0} has totals only: no customer's contribution can be bounded. Propose a plan with --unit series"
    )]
    NoOrders(String),
    /// The task's files.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The folder for merchants' files.
    #[error("a folder for merchants' files cannot be made: {0}")]
    Folder(#[from] std::io::Error),
    /// The plan's period.
    #[error(transparent)]
    Period(Box<PrepareError>),
    /// A merchant's import.
    #[error("merchant `{merchant}`: {source}")]
    Import {
        /// Which merchant.
        merchant: String,
        /// Why.
        source: Box<StoreError>,
    },
    /// A merchant's series.
    #[error("merchant `{merchant}`: {source}")]
    Prepare {
        /// Which merchant.
        merchant: String,
        /// Why.
        source: Box<PrepareError>,
    },
}

impl Bounded {
    /// The series with their training cuts for a network such as `model`.
    pub(super) fn training(&self, model: &Model) -> Vec<(String, Vec<TrainingSeries>)> {
        let cut = |series: &Vec<Series>| training_series(series.clone(), model.config());
        self.merchants.iter().map(|(merchant, series)| (merchant.clone(), cut(series))).collect()
    }

    /// Imports and bounds the lines of every merchant of the task in the plan's period.
    ///
    /// # Errors
    /// [`BoundedError`] names the merchant or the file at fault.
    pub fn read(task: &Task, data: &Path, plan: &PrivacyPlan) -> Result<Self, BoundedError> {
        if !task.has_orders() {
            return Err(BoundedError::NoOrders(task.name.clone()));
        }
        let end = prepare::period_of(plan).map_err(|source| BoundedError::Period(Box::new(source)))?.end();
        let folder = tempfile::tempdir()?;
        let dealt = task.write_merchants(data, &folder.path().join("files"))?;
        let by = if task.series.id == task.series.merchant { SeriesKey::Merchant } else { SeriesKey::Product };
        let choice = SeriesChoice { by, missing: MissingDay::Zero, ..SeriesChoice::default() };
        let mut bounded = Self { merchants: Vec::new(), report: BoundReport::default(), end };
        for tables in dealt.merchants {
            let merchant = tables.merchant;
            let failed = |source| BoundedError::Import { merchant: merchant.clone(), source: Box::new(source) };
            let at = folder.path().join("store");
            let mut store = DataStore::open(&at).map_err(failed)?;
            for file in &tables.tables {
                store.import_file(file, &ImportOptions::default()).map_err(failed)?;
            }
            let series = match prepare::bounded_series(&(&store).into(), choice, task.frequency, plan) {
                Ok(mut prepared) => {
                    if by == SeriesKey::Product {
                        prepared.series.retain(|series| tables.series.contains(&series.id));
                    }
                    if let Some(report) = &prepared.bounds {
                        bounded.report.add(report);
                    }
                    prepared.series
                }
                // A merchant that had not begun takes part with noise alone.
                Err(PrepareError::NothingInPeriod { .. }) => Vec::new(),
                Err(source) => return Err(BoundedError::Prepare { merchant, source: Box::new(source) }),
            };
            drop(store);
            std::fs::remove_dir_all(&at)?;
            bounded.merchants.push((merchant, series));
        }
        Ok(bounded)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use forecastle_client::{data::order::plus_days, model::ModelConfig};
    use forecastle_crypto::dp::unit::PrivacyUnit;
    use jiff::civil::date;

    use super::*;
    use crate::simulation::{
        federation::Privacy,
        presets,
        run::{Local, Method, Refit, RunError, Settings, run},
    };

    const TASK: &str = r#"
        name = "shop"
        title = "A shop"
        frequency = "daily"
        files = { lines = "lines.csv" }
        rows = { file = "lines" }
        evaluation = { horizon = 7, windows = 2, season = 7, minimum_history = 14 }
        [series]
        id = "{sku}"
        merchant = "{shop}"
        date = { column = "day" }
        target = "units"
        missing = "zero"
        end = "common"
        [orders]
        order = "{order}"
        customer = "{customer}"
        product = "{sku}"
        quantity = "units"
    "#;

    /// Four shops of two products; one customer buys every day, everybody else once. Sixty days.
    fn lines() -> String {
        let (mut text, mut order) = (String::from("shop,sku,day,units,order,customer\n"), 0);
        for day in 0..60 {
            for shop in 0..4 {
                for sku in 0..2 {
                    let day = plus_days(date(2024, 1, 1), day);
                    for customer in [format!("once-{order}"), format!("often-{shop}")] {
                        order += 1;
                        writeln!(text, "shop-{shop},s{shop}{sku},{day},1,o{order},{customer}").unwrap();
                    }
                }
            }
        }
        text
    }

    #[test]
    fn merchants_train_on_bounded_lines_of_the_plan_s_period() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lines.csv"), lines()).unwrap();
        let task = Task::from_toml("shop.toml", TASK).unwrap();
        let panel = task.read(folder.path()).unwrap();
        let plan = presets::for_panel(&panel, PrivacyUnit::Customer, 100, 4, 8.0).unwrap();
        let bounded = Bounded::read(&task, folder.path(), &plan).unwrap();
        assert_eq!(bounded.merchants.len(), 4);
        // 46 days come before the first window; of who buys often no more than K lines count.
        let (most, days) = (plan.bounds.order_lines as usize, 46);
        assert_eq!((bounded.report.lines, bounded.report.lines_kept), (16 * days, 8 * days + 4 * most));
        let known: Vec<_> = panel.series.iter().map(|series| series.unique_id.clone()).collect();
        for (merchant, series) in &bounded.merchants {
            assert_eq!(series.len(), 2, "{merchant}");
            let sold: f32 = series.iter().flat_map(|s| &s.y).sum();
            assert_eq!(sold as usize, 2 * days + most, "{merchant}");
            assert!(series.iter().all(|s| s.y.len() == days && known.contains(&s.id)), "{merchant}");
        }
        let totals = Task::from_toml("shop.toml", TASK.split("[orders]").next().unwrap()).unwrap();
        assert!(matches!(Bounded::read(&totals, folder.path(), &plan), Err(BoundedError::NoOrders(_))));
    }

    #[test]
    fn lines_of_a_test_window_are_not_trained_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("lines.csv"), lines()).unwrap();
        let task = Task::from_toml("shop.toml", TASK).unwrap();
        let panel = task.read(folder.path()).unwrap();
        let start = Model::untrained(&ModelConfig::preset("nano-daily").unwrap(), 1).unwrap();
        let plan = presets::for_panel(&panel, PrivacyUnit::Customer, start.federated_len(), 1, 8.0).unwrap();
        let mut bounded = Bounded::read(&task, folder.path(), &plan).unwrap();
        let run = |bounded: &Bounded| {
            let method = Method::Federated { plan: &plan, privacy: Privacy::On, bounded: Some(bounded) };
            let settings = Settings { method, refit: Refit::First, local: Local::Off, seed: 1 };
            run(&panel, &panel.windows(), &start, &settings, &mut |_| ())
        };
        assert!(run(&bounded).is_ok());
        bounded.end = plus_days(bounded.end, 1);
        assert!(matches!(run(&bounded), Err(RunError::Period { window: 0, .. })));
    }
}
