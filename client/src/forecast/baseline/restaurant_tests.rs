//! The baselines on the published restaurant data, against the scores that the evaluation protocol computed.

use std::path::PathBuf;

use jiff::civil::date;

use super::*;
use crate::{
    data::{
        order::{Period, days_between},
        series::{MissingDay, SeriesKey, SeriesSpec, series_from_sales},
        store::{DataStore, ImportOptions},
    },
    forecast::metrics::{ScoredForecast, Scores, score},
};

const HORIZON: usize = 28;

fn shared_data() -> Option<PathBuf> {
    let shared = std::env::var_os("FORECASTLE_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let data = shared.join("data/recruit_restaurants/air_visit_data.csv.gz");
    data.exists().then_some(data)
}

type Baseline = fn(&Series, usize, usize) -> Vec<[f32; LEVELS_LEN]>;

/// Mean scores over the eight windows of the task `restaurant_cal_1D`.
fn scores(series: &[Series], baseline: Baseline) -> Scores {
    let cuts = [
        date(2016, 9, 10),
        date(2016, 10, 8),
        date(2016, 11, 5),
        date(2016, 12, 3),
        date(2016, 12, 31),
        date(2017, 1, 28),
        date(2017, 2, 25),
        date(2017, 3, 25),
    ];
    let windows: Vec<Scores> = cuts
        .into_iter()
        .map(|last| {
            let eligible: Vec<(&Series, usize)> = series
                .iter()
                .filter_map(|series| Some((series, usize::try_from(days_between(series.start, last) + 1).ok()?)))
                .filter(|(_, cut)| *cut >= HORIZON)
                .collect();
            let quantiles: Vec<_> = eligible.iter().map(|(series, cut)| baseline(series, *cut, HORIZON)).collect();
            let forecasts: Vec<_> = eligible
                .iter()
                .zip(&quantiles)
                .map(|((series, cut), quantiles)| ScoredForecast {
                    past: &series.y[..*cut],
                    actual: &series.y[*cut..*cut + HORIZON],
                    quantiles,
                })
                .collect();
            score(7, &forecasts).unwrap()
        })
        .collect();
    Scores::mean(&windows).unwrap()
}

#[test]
fn baselines_reach_the_published_scores_on_the_restaurants() {
    let Some(path) = shared_data() else {
        println!("skipped: no data");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    let report = store.import_file(&path, &ImportOptions::default()).unwrap();
    assert_eq!((report.rows, report.imported, report.rejected_total), (252_108, 252_108, 0));
    let spec = SeriesSpec {
        frequency: Frequency::Daily,
        period: Period::new(date(2016, 1, 1), date(2017, 4, 22)).unwrap(),
        future_steps: 0,
        key: SeriesKey::Product,
    };
    let series = series_from_sales(store.sales(), store.catalogue(), &spec, MissingDay::Closed);
    assert_eq!(series.len(), 829);
    let near = |found: f64, published: f64, tolerance: f64| {
        assert!((found - published).abs() <= tolerance, "{found} instead of {published}");
    };
    let seasonal = scores(&series, seasonal_naive);
    println!("seasonal naive: {seasonal:?}");
    near(seasonal.wql, 0.4221, 5e-5);
    near(seasonal.wape, 0.4806, 5e-5);
    near(seasonal.mase, 1.0899, 5e-5);
    near(seasonal.sql, 0.9517, 5e-5);
    near(seasonal.coverage80, 0.9158, 5e-5);
    near(seasonal.bias, 0.0256, 5e-5);
    let window = scores(&series, window_quantiles);
    println!("same-weekday quantiles: {window:?}");
    // What serves where a weekday was never open in eight weeks is not published: the last digit is ours.
    near(window.wql, 0.2918, 1e-4);
    near(window.wape, 0.3608, 1e-4);
    near(window.mase, 0.8251, 1e-4);
    near(window.sql, 0.6679, 2e-4);
    near(window.coverage80, 0.6192, 2e-4);
    near(window.bias, -0.0463, 3e-4);
}
