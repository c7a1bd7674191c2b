//! Bad files through the program itself: what a seller reads on the terminal, and the forecast that comes of the rest.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use jiff::civil::{Date, date};
use serde_json::Value;

/// A merchant's folder and what the program says in it.
struct Shop(tempfile::TempDir);

struct Said {
    ok: bool,
    out: String,
    err: String,
}

impl Shop {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, words: &[&str]) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forecastle"));
        command
            .args(["--dir", "state"])
            .args(words)
            .args(["--device", "cpu"].iter().filter(|_| words[0] == "forecast"));
        let output = command.current_dir(self.0.path()).env_remove("FORECASTLE_DIR").output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The report of an import that went through.
    fn import(&self, name: &str, text: &str) -> Value {
        self.write(name, text);
        let said = self.run(&["--format", "json", "data", "import", name]);
        assert!(said.ok, "{}", said.err);
        serde_json::from_str(said.out.lines().next().unwrap()).unwrap()
    }
}

const START: Date = date(2024, 1, 1);
const DAYS: i64 = 200;

fn day(at: i64) -> Date {
    START.saturating_add(jiff::Span::new().days(at))
}

/// 200 days of four products. `saw` sells between 10 and 20, with one line of a million.
fn orders() -> String {
    let mut text = String::from("order_id,customer_id,product_id,ordered_at,quantity,unit_price\n");
    for at in 0..DAYS {
        let usual = 10 + at * 7 % 5 + at % 7;
        let saw = if at == 190 { 1_000_000 } else { usual };
        for (product, units) in [("mug", usual), ("saw", saw), ("bowl", 5)] {
            writeln!(text, "o{at},c{},{product},{},{units},2.50", at % 9, day(at)).unwrap();
        }
    }
    // Sold once, on the last day: as short a series as there is.
    writeln!(text, "o{DAYS},c1,nail,{},3,2.50", day(DAYS - 1)).unwrap();
    text
}

/// Quantiles by product, `[steps][9]`.
fn quantiles(csv: &str, product: &str) -> Vec<Vec<f64>> {
    let rows = csv.lines().skip(1).filter(|line| line.split(',').next() == Some(product));
    rows.map(|line| line.split(',').skip(2).take(9).map(|cell| cell.parse().unwrap()).collect()).collect()
}

#[test]
fn bad_rows_are_named_and_the_rest_is_forecast() {
    let shop = Shop::new();
    let lines = orders().lines().count() as u64;
    let bad = format!(
        "x1,c1,mug,2024-02-01,NaN,2.5\nx2,c1,mug,2024-02-01,-inf,2.5\nx3,c1,mug,2024-02-01,1e300,2.5\n\
         x4,c1,mug,2024-02-30,1,2.5\nx5,c1,mug,2024-02-01,1,-2.5\nx6,c1,mug,2099-05-05,7,2.5\n\
         o3,c3,mug,{},{},2.50\n",
        day(3),
        10 + 21 % 5 + 3
    );
    let report = shop.import("orders.csv", &format!("{}{bad}", orders()));
    let rejected: Vec<(u64, &str, &str)> = report["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (row["line"].as_u64().unwrap() - lines, row["column"].as_str().unwrap_or(""), row["code"].as_str().unwrap())
        })
        .collect();
    let expected = [
        (1, "quantity", "number"),
        (2, "quantity", "number"),
        (3, "quantity", "out-of-range"),
        (4, "ordered_at", "date"),
        (5, "unit_price", "negative-price"),
    ];
    assert_eq!(rejected[..5], expected);
    // The same line twice counts once, and is said.
    assert_eq!(report["rejected_total"].as_u64().unwrap() + report["known"].as_u64().unwrap_or(0), 6, "{report}");

    // Prices are planned for mugs, up to the fifth day ahead.
    let mut calendar = String::from("product_id,date,price\n");
    for at in 0..DAYS + 5 {
        writeln!(calendar, "mug,{},2.5", day(at)).unwrap();
    }
    shop.import("calendar.csv", &calendar);

    let said = shop.run(&["forecast", "--out", "forecasts.csv"]);
    assert!(said.ok, "{}", said.err);
    assert!(said.err.contains("1 order lines are dated after today"), "{}", said.err);
    let missing = format!("no price is planned from {} to {} for mug", day(DAYS + 5), day(DAYS + 27));
    assert!(said.err.contains(&missing), "{}", said.err);
    let huge = format!("saw: 1000000 on {}", day(190));
    assert!(said.err.contains(&huge) && said.err.contains("missing"), "{}", said.err);
    let csv = fs::read_to_string(shop.path("forecasts.csv")).unwrap();
    for (product, least, most) in [("mug", 8.0, 25.0), ("saw", 8.0, 25.0), ("bowl", 4.0, 6.0), ("nail", 0.5, 15.0)] {
        let steps = quantiles(&csv, product);
        assert_eq!(steps.len(), 28, "{product}");
        assert!(csv.contains(&format!("\n{product},{},", day(DAYS))), "{product} begins after the data");
        for q in steps {
            assert!(q.iter().all(|q| q.is_finite()) && q.windows(2).all(|w| w[0] <= w[1]), "{product}: {q:?}");
            assert!((least..most).contains(&q[4]) && q[8] < 4.0 * most, "{product}: {q:?}");
        }
    }
}

#[test]
fn totals_with_bad_values_and_two_rows_of_a_day_are_named() {
    let shop = Shop::new();
    let mut text = String::from("series_id,date,value\n");
    for at in 0..DAYS {
        writeln!(text, "air,{},{}", day(at), 10 + at % 7).unwrap();
    }
    let bad = format!("air,{0},99\nair,{1},inf\nair,{1},nan\nair,{1},2e12\n", day(10), day(DAYS));
    let report = shop.import("totals.csv", &format!("{text}{bad}"));
    let rejected = report["rejected"].as_array().unwrap();
    let reasons: Vec<_> =
        rejected.iter().map(|row| (row["line"].as_u64().unwrap(), row["code"].as_str().unwrap())).collect();
    let first = DAYS as u64 + 2;
    let expected = [(first, "duplicate"), (first + 1, "number"), (first + 2, "number"), (first + 3, "out-of-range")];
    assert_eq!(reasons, expected, "{report}");
    let said = shop.run(&["forecast", "--out", "forecasts.csv", "--horizon", "7"]);
    assert!(said.ok, "{}", said.err);
    let steps = quantiles(&fs::read_to_string(shop.path("forecasts.csv")).unwrap(), "air");
    assert!(steps.len() == 7 && steps.iter().all(|q| (8.0..20.0).contains(&q[4])), "{steps:?}");
}

#[test]
fn what_fits_no_table_and_what_is_not_there_is_said_in_a_sentence() {
    let shop = Shop::new();
    let refused = |words: &[&str]| {
        let said = shop.run(words);
        assert!(!said.ok && said.out.is_empty(), "{words:?}: {}", said.out);
        said.err
    };
    assert!(refused(&["forecast"]).contains("nothing has been imported yet"));
    assert!(refused(&["backtest"]).contains("nothing has been imported yet"));
    shop.write("colours.csv", "colour,shape\nred,round\n");
    let error = refused(&["data", "import", "colours.csv"]);
    assert!(error.contains("colours.csv") && error.contains("order_id"), "{error}");
    // A mapping of a column that the file has not.
    shop.write("mapping.toml", "[sales.columns]\nseries_id = \"Shop\"\ndate = \"When\"\nvalue = \"Guest\"\n");
    shop.write("odd.csv", "Shop,When,Guests\na,2024-01-02,3\n");
    let error = refused(&["data", "import", "odd.csv", "--mapping", "mapping.toml"]);
    assert!(error.contains("`value`") && error.contains("`Guest`"), "{error}");
    // Every row is bad: nothing is imported, the first reason is told.
    shop.write("bad.csv", "series_id,date,value\nair,2024-01-02,NaN\nair,2024-01-03,inf\n");
    let error = refused(&["data", "import", "bad.csv"]);
    assert!(error.contains("bad.csv") && error.contains("line 2: value `NaN` is no number"), "{error}");
    // Too short for a single window of a backtest.
    shop.import("short.csv", "series_id,date,value\nair,2024-01-02,3\nair,2024-01-03,4\n");
    let error = refused(&["backtest"]);
    assert!(error.contains("the longest series has 2"), "{error}");
}
