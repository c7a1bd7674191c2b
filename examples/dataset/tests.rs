//! Panels of the shipped tasks against constants computed with the published protocol (`score_forecasts.py
//! TASK --truth`), and messages about files and fields that are wrong.

use std::path::{Path, PathBuf};

use super::*;

/// The shared data folder, or `None` (said on screen) where it is absent.
fn data() -> Option<PathBuf> {
    let shared = std::env::var_os("FORECASTLE_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let data = shared.join("data");
    if !data.join("README.md").exists() {
        println!("skipped: no data");
        return None;
    }
    Some(data)
}

/// What the protocol says of a task.
struct Expected {
    series: usize,
    merchants: usize,
    /// Eligible series, scored cells and sum of the scored cells by window.
    windows: &'static [(usize, usize, f64)],
    /// Single cells: series, window, step from 1, date, value.
    cells: [(&'static str, usize, usize, &'static str, f64); 2],
}

fn agrees(name: &str, expected: &Expected) {
    let Some(data) = data() else { return };
    let panel = Task::named(name).unwrap().read(&data).unwrap();
    assert_eq!((panel.series.len(), panel.merchants().len()), (expected.series, expected.merchants));
    let windows = panel.windows();
    assert_eq!(windows.len(), expected.windows.len());
    for (window, (members, cells, sum)) in windows.iter().zip(expected.windows) {
        let scored = || window.members.iter().flat_map(|member| panel.actual(*member)).filter(|y| !y.is_nan());
        assert_eq!((window.members.len(), scored().count()), (*members, *cells), "window {}", window.number);
        let total: f64 = scored().map(|y| f64::from(*y)).sum();
        assert!((total - sum).abs() <= 1e-7 * sum, "window {}: {total} instead of {sum}", window.number);
    }
    for (id, window, step, day, y) in expected.cells {
        let index = panel.series.iter().position(|series| series.unique_id == id).unwrap();
        let member = *windows[window].members.iter().find(|member| member.index == index).unwrap();
        let series = &panel.series[index].series;
        assert_eq!(series.date(member.cut + step - 1).to_string(), day);
        let ours = f64::from(panel.actual(member)[step - 1]);
        assert!((ours - y).abs() <= 1e-6 * y.abs(), "{id}: {ours} instead of {y}");
        assert!(series.known.len() >= member.cut + panel.task.evaluation.horizon);
    }
}

#[test]
fn restaurant_cal_1d_is_the_protocol_s_panel() {
    let windows = &[
        (804, 19171, 380_834.0),
        (810, 19376, 395_367.0),
        (815, 19542, 391_068.0),
        (816, 19199, 444_426.0),
        (818, 17702, 349_895.0),
        (819, 19667, 394_925.0),
        (821, 19832, 431_672.0),
        (826, 19975, 426_806.0),
    ];
    let cells =
        [("air_a8533b7a992bb0ca", 2, 25, "2016-11-30", 20.0), ("air_74cf22153214064c", 6, 21, "2017-03-18", 15.0)];
    agrees("restaurant_cal_1D", &Expected { series: 829, merchants: 829, windows, cells });
}

#[test]
fn restaurant_1d_is_the_protocol_s_panel() {
    let windows = &[
        (802, 19118, 379_428.0),
        (809, 19383, 395_505.0),
        (814, 19567, 392_062.0),
        (815, 19269, 445_969.0),
        (817, 17697, 350_408.0),
        (818, 19697, 395_697.0),
        (821, 19886, 433_394.0),
        (826, 20124, 430_298.0),
    ];
    let cells = [("air_aa0049fe3cc6f4d6", 2, 3, "2016-11-08", 3.0), ("air_764f71040a413d4d", 6, 3, "2017-02-28", 47.0)];
    agrees("restaurant_1D", &Expected { series: 829, merchants: 829, windows, cells });
}

#[test]
fn walmart_1w_is_the_protocol_s_panel() {
    let windows = &[(2936, 112929, 1_830_887_308.42)];
    let cells = [("15_17", 0, 29, "2012-08-17", 12667.48), ("35_52", 0, 27, "2012-08-03", 1738.57)];
    agrees("walmart_1W", &Expected { series: 2936, merchants: 45, windows, cells });
}

#[test]
fn online_retail_1d_is_the_protocol_s_panel() {
    let windows = &[(500, 14000, 248_043.0), (500, 14000, 237_777.0), (500, 14000, 259_827.0)];
    let cells = [("20719", 1, 11, "2011-10-25", 45.0), ("22329", 2, 21, "2011-12-02", 1.0)];
    agrees("online_retail_1D", &Expected { series: 500, merchants: 20, windows, cells });
}

#[test]
fn orange_juice_1w_is_the_protocol_s_panel() {
    let windows = &[
        (913, 3619, 28_704_128.0),
        (913, 3520, 34_879_808.0),
        (913, 3476, 27_052_608.0),
        (913, 3509, 29_039_712.0),
        (913, 3410, 29_224_640.0),
        (913, 3520, 27_060_640.0),
    ];
    let cells = [("132_03", 1, 4, "1992-06-11", 2687.999999884308), ("116_01", 4, 3, "1992-08-27", 3200.0000000389805)];
    agrees("orange_juice_1W", &Expected { series: 913, merchants: 83, windows, cells });
}

#[test]
fn olist_seller_1w_is_the_protocol_s_panel() {
    let windows = &[(59, 236, 270.0), (60, 240, 234.0), (60, 240, 256.0), (60, 240, 263.0)];
    let cells = [
        ("6560211a19b47992c3666cc44a7e94c0", 1, 1, "2018-06-04", 1.0),
        ("3d871de0142ce09b7081e2b9d1733cb1", 3, 1, "2018-07-30", 3.0),
    ];
    agrees("olist_seller_1W", &Expected { series: 60, merchants: 60, windows, cells });
}

#[test]
fn olist_category_1w_is_the_protocol_s_panel() {
    let windows = &[(24, 96, 860.0), (24, 96, 872.0), (24, 96, 846.0), (24, 96, 992.0)];
    let cells = [("eletronicos", 1, 3, "2018-06-18", 5.0), ("cama_mesa_banho", 3, 3, "2018-08-13", 34.0)];
    agrees("olist_category_1W", &Expected { series: 24, merchants: 24, windows, cells });
}

#[test]
fn orders_are_dealt_to_merchants_with_the_last_horizon_apart() {
    let Some(data) = data() else { return };
    let out = std::env::temp_dir().join(format!("forecastle-dealt-{}", std::process::id()));
    let dealt = Task::layout("olist").unwrap().write_merchants(&data, &out).unwrap();
    assert_eq!((dealt.merchants.len(), dealt.series), (60, 60));
    assert_eq!(dealt.period.end().to_string(), "2018-07-29");
    let mut past = 0;
    let mut held_back = 0;
    for merchant in &dealt.merchants {
        let days = |path: &Path| -> Vec<String> {
            let mut rows = csv::Reader::from_path(path).unwrap();
            rows.records().map(|row| row.unwrap()[4][..10].to_owned()).collect()
        };
        let before = days(&merchant.tables[0]);
        let after = days(&merchant.held_back);
        assert!(
            before.iter().all(|day| day.as_str() <= "2018-07-29")
                && after.iter().all(|day| day.as_str() > "2018-07-29")
        );
        past += before.len();
        held_back += after.len();
    }
    std::fs::remove_dir_all(&out).unwrap();
    // The last window's test values of olist_seller_1W.
    assert_eq!(held_back, 263);
    assert!(past > 5_000, "{past}");
}

#[test]
fn totals_are_dealt_with_prices_promotions_and_attributes() {
    let Some(data) = data() else { return };
    let out = std::env::temp_dir().join(format!("forecastle-dealt-juice-{}", std::process::id()));
    let dealt = Task::layout("orange-juice").unwrap().write_merchants(&data, &out).unwrap();
    assert_eq!((dealt.merchants.len(), dealt.series), (83, 913));
    let store = dealt.merchants.iter().find(|merchant| merchant.merchant == "2").unwrap();
    let names: Vec<_> =
        store.tables.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let calendar = std::fs::read_to_string(&store.tables[2]).unwrap();
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!(names, ["sales.csv", "products.csv", "calendar.csv"]);
    // Week 40 of store 2, brand 1: price1 .06046875, deal 1, feat 0, price11 of .0389… not the lowest.
    assert!(calendar.contains("002_01,1990-06-14,0.06046875,0,1,0.02484375,"), "{}", &calendar[..300]);
}

#[test]
fn a_missing_file_or_column_is_named() {
    let folder = std::env::temp_dir().join(format!("forecastle-dataset-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let text = r#"
        name = "shop"
        title = "A shop"
        frequency = "daily"
        files = { sales = "sales.csv" }
        rows = { file = "sales" }
        evaluation = { horizon = 1, windows = 1, season = 1, minimum_history = 1 }
        [series]
        id = "{shop}"
        merchant = "{shop}"
        date = { column = "day" }
        target = "units"
        missing = "zero"
        end = "common"
    "#;
    let task = Task::from_toml("shop.toml", text).unwrap();
    let absent = task.read(&folder).unwrap_err().to_string();
    std::fs::write(folder.join("sales.csv"), "shop,day,unit\na,2024-01-01,1\n").unwrap();
    let column = task.read(&folder).unwrap_err().to_string();
    std::fs::write(folder.join("sales.csv"), "shop,day,units\na,2024-01-01,1\na,2024-02-30,1\n").unwrap();
    let date = task.read(&folder).unwrap_err().to_string();
    std::fs::write(folder.join("sales.csv"), "shop,day,units\na,2024-01-01,1\na,2024-01-03,many\n").unwrap();
    let number = task.read(&folder).unwrap_err().to_string();
    std::fs::write(folder.join("sales.csv"), "shop,day,units\na,2024-01-01,1\na,2024-01-03,2\nb,2024-01-02,4\n")
        .unwrap();
    let panel = task.read(&folder).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(absent.starts_with("cannot read ") && absent.contains("sales.csv"), "{absent}");
    assert!(column.contains("field series.target: no column \"units\""), "{column}");
    assert!(date.contains("sales.csv, line 3, column day: \"2024-02-30\" is not a date"), "{date}");
    assert!(number.contains("sales.csv, line 3, column units: \"many\" is not a number"), "{number}");
    let targets: Vec<&[f32]> = panel.series.iter().map(|series| series.series.y.as_slice()).collect();
    assert_eq!(targets, [&[1.0, 0.0, 2.0][..], &[4.0, 0.0]]);
}

/// Imports one merchant's files and gives its series with what the client says of the files.
fn imported(
    merchant: &MerchantTables,
    dealt: &DealtData,
    key: forecastle_client::data::series::SeriesKey,
    missing: forecastle_client::data::series::MissingDay,
) -> (Vec<forecastle_client::data::series::Series>, u64) {
    use forecastle_client::data::{
        clean::{CleaningRules, clean},
        series::{Frequency, SeriesSpec, series_from_orders, series_from_sales},
        store::{DataStore, ImportOptions},
    };

    let state = merchant.folder.join("state");
    let mut store = DataStore::open(&state).unwrap();
    let mut rejected = 0_u64;
    for path in &merchant.tables {
        rejected += store.import_file(path, &ImportOptions::default()).unwrap().rejected_total;
    }
    let spec = SeriesSpec { frequency: Frequency::Weekly, period: dealt.period, future_steps: 4, key };
    let series = if store.sales().is_empty() {
        let (lines, _) = clean(store.orders(), &CleaningRules::default());
        series_from_orders(&lines, store.catalogue(), &spec)
    } else {
        series_from_sales(store.sales(), store.catalogue(), &spec, missing)
    };
    (series, rejected)
}

#[test]
fn a_dealt_seller_s_imported_orders_are_the_panel_s_series() {
    use forecastle_client::data::series::{MissingDay, SeriesKey};

    let Some(data) = data() else { return };
    let out = std::env::temp_dir().join(format!("forecastle-dealt-import-{}", std::process::id()));
    let task = Task::layout("olist").unwrap();
    let panel = task.read(&data).unwrap();
    let dealt = task.write_merchants(&data, &out).unwrap();
    let mut compared = 0;
    for merchant in dealt.merchants.iter().take(5) {
        let (series, rejected) = imported(merchant, &dealt, SeriesKey::Merchant, MissingDay::Zero);
        assert_eq!((series.len(), rejected), (1, 0), "{}", merchant.merchant);
        let expected = panel.series.iter().find(|series| series.unique_id == merchant.merchant).unwrap();
        let past = expected.series.y.len() - task.evaluation.horizon;
        let ours = &series[0].y[series[0].y.len() - past..];
        assert_eq!(ours, &expected.series.y[..past], "{}", merchant.merchant);
        compared += past;
    }
    std::fs::remove_dir_all(&out).unwrap();
    assert!(compared > 100);
}

#[test]
fn a_dealt_store_s_imported_totals_are_the_panel_s_series() {
    use forecastle_client::data::series::{MissingDay, SeriesKey};

    let Some(data) = data() else { return };
    let out = std::env::temp_dir().join(format!("forecastle-dealt-store-{}", std::process::id()));
    let task = Task::layout("orange-juice").unwrap();
    let panel = task.read(&data).unwrap();
    let dealt = task.write_merchants(&data, &out).unwrap();
    let store = dealt.merchants.iter().find(|merchant| merchant.merchant == "2").unwrap();
    let (series, rejected) = imported(store, &dealt, SeriesKey::Product, MissingDay::Closed);
    std::fs::remove_dir_all(&out).unwrap();
    assert_eq!((series.len(), rejected), (11, 0));
    for series in series {
        let expected = panel.series.iter().find(|known| known.unique_id == series.id).unwrap();
        let sum = |y: &[f32]| y.iter().filter(|y| !y.is_nan()).map(|y| f64::from(*y)).sum::<f64>();
        let past = expected.series.y.len() - task.evaluation.horizon;
        let (ours, theirs) = (sum(&series.y), sum(&expected.series.y[..past]));
        assert!((ours - theirs).abs() <= 1e-6 * theirs, "{}: {ours} {theirs}", series.id);
        assert_eq!(series.attributes, expected.series.attributes);
        // The coupon channel of the weeks, wherever each calendar begins its week.
        let coupon = forecastle_client::data::calendar::COUPON;
        let coupons = |known: &[[f32; 12]]| known.iter().filter(|channels| channels[coupon] > 0.0).count();
        assert_eq!(coupons(&series.known), coupons(&expected.series.known), "{}", series.id);
    }
}
