//! The way from a published shop's order lines to bounded series.

use std::path::PathBuf;

use forecastle_crypto::dp::plan::ContributionBounds;
use jiff::civil::date;

use super::{
    bound::bound_contributions,
    clean::{CleaningRules, clean},
    order::Period,
    series::{Frequency, SeriesKey, SeriesSpec, series_from_orders},
    store::{DataStore, ImportOptions},
};

fn shared_data() -> Option<PathBuf> {
    let shared = std::env::var_os("FORECASTLE_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let data = shared.join("data/uci_online_retail/online_retail.csv.gz");
    data.exists().then_some(data)
}

#[test]
fn a_published_shop_s_order_lines_become_bounded_series() {
    let Some(path) = shared_data() else {
        println!("skipped: no data");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    let report = store.import_file(&path, &ImportOptions::default()).unwrap();
    println!("{report}");
    assert_eq!(report.rows, 541_909);
    assert_eq!(report.imported + report.rejected_total, report.rows);
    // Two adjustments of bad debt have a negative price; every other rejected row repeats an earlier one.
    assert_eq!(report.reasons["negative-price"], 2);
    assert_eq!(report.reasons.len(), 2, "{report}");
    let (demand, cleaning) = clean(store.orders(), &CleaningRules::default());
    println!("{cleaning}");
    assert!(demand.iter().all(|line| line.quantity > 0.0));
    assert!(cleaning.negative > 9_000 && cleaning.netted_units > 0.0);
    let period = Period::new(date(2010, 12, 1), date(2011, 12, 9)).unwrap();
    let bounds = ContributionBounds { order_lines: 50, series: 8, units: 200.0 };
    let (bounded, bounding) =
        bound_contributions(&demand, &bounds, &store.contribution_key(), period, SeriesKey::Product, store.catalogue());
    println!("{bounding}");
    assert!(bounding.lines_kept < bounding.lines && bounding.customers > 4_000);
    let spec = SeriesSpec { frequency: Frequency::Daily, period, future_steps: 28, key: SeriesKey::Product };
    let (all, private) =
        (series_from_orders(&demand, store.catalogue(), &spec), series_from_orders(&bounded, store.catalogue(), &spec));
    let units = |series: &[super::series::Series]| -> f64 {
        series.iter().flat_map(|series| &series.y).map(|y| f64::from(*y)).sum()
    };
    let of_lines = |lines: &[super::order::OrderLine]| -> f64 { lines.iter().map(|line| line.quantity).sum() };
    assert!((units(&all) - of_lines(&demand)).abs() < 1.0);
    assert!((units(&private) - of_lines(&bounded)).abs() < 1.0);
}
