//! What a model's heads for counts and returns say, through the program itself.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{fmt::Write as _, fs, path::PathBuf, process::Command};

use jiff::civil::{Date, date};
use serde_json::Value;

struct Shop(tempfile::TempDir);

const DAYS: i64 = 200;

fn day(at: i64) -> Date {
    date(2024, 1, 1).saturating_add(jiff::Span::new().days(at))
}

/// Two products that sell ten a day; of `mug` three of ten come back a week later, of `saw` none. And a series of weights.
fn orders() -> String {
    let mut text = String::from("order_id,customer_id,product_id,ordered_at,quantity,unit_price\n");
    for at in 0..DAYS {
        for (product, units) in [("mug", 9.0 + (at % 3) as f64), ("saw", 9.0 + (at % 3) as f64), ("rope", 2.5)] {
            writeln!(text, "o{at},c{at},{product},{},{units},2.50", day(at)).unwrap();
        }
        if at >= 7 {
            writeln!(text, "r{at},c{},mug,{},-3,2.50", at - 7, day(at)).unwrap();
        }
    }
    text
}

impl Shop {
    fn new(orders: &str) -> Self {
        let shop = Self(tempfile::tempdir().unwrap());
        fs::write(shop.path("orders.csv"), orders).unwrap();
        shop.run(&["data", "import", "orders.csv"]);
        shop
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forecastle"));
        command.args(["--dir", "state"]).args(words).current_dir(self.0.path());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Forecasts as CSV: the header, and each row's cells.
    fn forecast(&self, words: &[&str]) -> (Vec<String>, Vec<Vec<String>>) {
        self.run(&[&["forecast", "--device", "cpu", "--out", "forecasts.csv"], words].concat());
        let text = fs::read_to_string(self.path("forecasts.csv")).unwrap();
        let mut rows = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
        (rows.next().unwrap(), rows.collect())
    }
}

/// A cell by the name of its column, `None` where it is empty.
fn cell(header: &[String], row: &[String], name: &str) -> Option<f64> {
    let at = header.iter().position(|column| column == name).unwrap();
    row[at].parse().ok()
}

#[test]
fn heads_add_columns_and_a_model_without_them_has_none() {
    let shop = Shop::new(&orders());
    let (plain, rows) = shop.forecast(&["--horizon", "7"]);
    assert_eq!(plain.join(","), "unique_id,date,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9");
    assert_eq!(rows.len(), 21);
    let shown = shop.run(&["model", "prepare", "--counts", "--returns", "--out", "heads.safetensors"]);
    assert!(shown.contains("a negative binomial of counts, and what share of sales comes back"), "{shown}");

    let heads = ["--model", "heads.safetensors", "--horizon", "7"];
    let (header, rows) = shop.forecast(&heads);
    let added = ["count_mean", "count_variance", "count_zero", "return_rate", "expected_returns", "net_units"];
    assert_eq!(header[..11], plain[..]);
    assert_eq!(header[11..], added.map(str::to_owned));
    assert_eq!(rows.len(), 21);
    for row in &rows {
        let number = |name: &str| cell(&header, row, name);
        let quantile = |name: &str| number(name).unwrap();
        let (rate, returned, net) = (number("return_rate"), number("expected_returns"), number("net_units"));
        if row[0] == "rope" {
            // Half a piece is no count; what comes back of it is known.
            assert_eq!(number("count_mean"), None);
            let mean = (1..10).map(|level| quantile(&format!("0.{level}"))).sum::<f64>() / 9.0;
            assert!((net.unwrap() - mean).abs() < 1e-4, "{row:?}");
        } else {
            let (mean, variance, zero) = (quantile("count_mean"), quantile("count_variance"), quantile("count_zero"));
            assert!(mean > quantile("0.1") && mean < quantile("0.9") && variance >= mean, "{row:?}");
            // (μ / variance) ^ (μ² / (variance − μ)), the same written otherwise.
            let expected = (mean / variance).powf(mean * mean / (variance - mean));
            assert!((zero - expected).abs() < 1e-3 * (1.0 + expected), "{zero} {expected}");
            // Forecasts are of what stays.
            assert!((net.unwrap() - mean).abs() < 1e-6, "{row:?}");
        }
        let (rate, returned, net) = (rate.unwrap(), returned.unwrap(), net.unwrap());
        let range = if row[0] == "mug" { 0.25..0.35 } else { 0.0..0.02 };
        assert!(range.contains(&rate), "{row:?}");
        assert!((returned / (returned + net) - rate).abs() < 1e-6, "{row:?}");
    }

    // Where all that is ordered counts, so do forecasts.
    fs::write(shop.path("state/series.toml"), "[cleaning]\nreturns = \"gross\"\n").unwrap();
    let (header, rows) = shop.forecast(&heads);
    for row in rows.iter().filter(|row| row[0] == "mug") {
        let number = |name| cell(&header, row, name).unwrap();
        assert!((8.0..12.0).contains(&number("count_mean")), "{row:?}");
        let (returned, net) = (number("expected_returns"), number("net_units"));
        assert!((returned + net - number("count_mean")).abs() < 1e-5 && (2.0..4.0).contains(&returned), "{row:?}");
    }

    // The same numbers for programs; baselines say nothing of them; totals have none.
    let printed = shop.run(&[&["--format", "json", "forecast", "--device", "cpu"], &heads[..]].concat());
    let first: Value = serde_json::from_str(printed.lines().next().unwrap()).unwrap();
    assert!(first["return_rate"].as_f64().is_some() && first["count_zero"].as_f64().is_some(), "{first}");
    let (header, _) = shop.forecast(&[&heads[..], &["--method", "theta"]].concat());
    assert_eq!(header, plain);
    let (header, rows) = shop.forecast(&[&heads[..], &["--totals", "shop"]].concat());
    assert_eq!(header[11..13], ["mean".to_owned(), "level".to_owned()]);
    let total = rows.iter().find(|row| row[12] == "shop").unwrap();
    assert_eq!((total.len(), cell(&header, total, "return_rate")), (header.len(), None));
}

#[test]
fn a_shop_without_returns_says_nothing_of_them_and_one_alone_can_ask_for_the_head() {
    let kept: String = orders().lines().filter(|line| !line.contains(",-3,")).fold(String::new(), |mut text, line| {
        writeln!(text, "{line}").unwrap();
        text
    });
    for (orders, is_known) in [(orders(), true), (kept, false)] {
        let shop = Shop::new(&orders);
        fs::write(shop.path("state/series.toml"), "[inputs]\nreturns = true\n").unwrap();
        let (header, rows) = shop.forecast(&["--horizon", "3"]);
        assert_eq!(header[11..], ["return_rate", "expected_returns", "net_units"].map(str::to_owned));
        assert!(rows.iter().all(|row| cell(&header, row, "return_rate").is_some() == is_known), "{rows:?}");
    }
}
