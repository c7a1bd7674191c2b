use std::ops::ControlFlow;

use jiff::civil::date;

use super::{
    compare::{Comparison, Finding},
    worth::Worth,
    *,
};
use crate::{
    backtest::{self, Models},
    data::{
        order::plus_days,
        series::{Frequency, KNOWN_CHANNELS, Series},
    },
    forecast::{
        Way,
        baseline::{History, Method},
    },
    model::{Model, ModelConfig, example},
};

const HORIZON: usize = 28;
const DAYS: usize = 224;

fn shop() -> Vec<Series> {
    let series = |number: usize| Series {
        id: format!("p{number}"),
        frequency: Frequency::Daily,
        start: plus_days(date(2025, 1, 1), -(DAYS as i64)),
        y: (0..DAYS)
            .map(|day| (number + [0, 3, 1, 4, 2, 9, 7][day % 7] + (day * day * (number + 3)) % 5) as f32)
            .collect(),
        known: vec![[0.0; KNOWN_CHANNELS]; DAYS],
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    };
    (2..14).map(series).collect()
}

fn settings(windows: usize, trained_to: jiff::civil::Date) -> Settings {
    Settings {
        windows,
        horizon: HORIZON,
        stride: HORIZON,
        baselines: vec![Method::Naive, Method::SameWeekday],
        series_max: None,
        service_level: 0.8,
        trained_to,
    }
}

fn account() -> Account {
    let row = |epsilon| PriceRow { who: "<who>".into(), epsilon, right_guesses: None };
    Account {
        merchant: "shop".into(),
        federation: "fed & co".into(),
        model: "version 3".into(),
        before: "version 0".into(),
        price: Price {
            unit: "customer".into(),
            delta: 1e-6,
            rounds_charged: 3,
            rounds_planned: 20,
            observers: vec![row(Some(1.0)), row(Some(2.5)), row(None)],
        },
    }
}

fn receipt(published: &Model, before: &Model, settings: &Settings) -> Receipt {
    let models = Models { published, before: Some(before) };
    measure(models, &shop(), settings, account(), &mut |_| ControlFlow::Continue(())).unwrap()
}

fn models() -> [Model; 2] {
    let config = ModelConfig::preset("nano-daily").unwrap();
    [example::model(&config, 7), Model::untrained(&config, 1).unwrap()]
}

#[test]
fn figures_are_those_of_a_backtest_of_the_same_windows() {
    let [published, before] = models();
    // Nothing was trained on: all windows are clean.
    let receipt = receipt(&published, &before, &settings(1, date(2020, 1, 1)));
    let ways = [Way::Personal, Way::NoFederation, Way::Baseline(Method::Naive), Way::Baseline(Method::SameWeekday)];
    let rolled = backtest::Settings {
        model: String::new(),
        model_may_know_windows: false,
        windows: 1,
        horizon: HORIZON,
        stride: HORIZON,
        ways: ways.to_vec(),
        series_max: None,
        drawings: 0,
    };
    let models = Models { published: &published, before: Some(&before) };
    let report = backtest::run(models, &shop(), &rolled, &mut |_| ControlFlow::Continue(())).unwrap();
    let group = receipt.clean.as_ref().unwrap();
    let scores: Vec<_> = report.rows.iter().map(|row| row.all.unwrap()).collect();
    let best = if scores[2].wql < scores[3].wql { 2 } else { 3 };
    assert_eq!(group.baseline, ways[best].name());
    for (figures, row) in group.figures.iter().zip([0, 1, best]) {
        assert!((figures.wql.unwrap() - scores[row].wql).abs() < 1e-12);
        assert!((figures.wape.unwrap() - scores[row].wape).abs() < 1e-12);
    }
    let change = group.no_federation.wql.unwrap();
    assert!((change.relative - (scores[0].wql / scores[1].wql - 1.0)).abs() < 1e-12);
    let [low, high] = change.interval.unwrap();
    assert!(low <= change.relative && change.relative <= high, "{change:?}");
    assert!(receipt.seen.is_none());
}

#[test]
fn the_cost_of_stock_is_the_newsvendor_s() {
    let [published, before] = models();
    let receipt = receipt(
        &published,
        &before,
        &Settings { baselines: vec![Method::SameWeekday], ..settings(1, date(2020, 1, 1)) },
    );
    let mut expected = 0.0;
    for one in shop() {
        let cut = DAYS - HORIZON;
        let history = History::new(&one, cut);
        let quantiles = Method::SameWeekday.forecast(&history, &history.future(HORIZON)).quantiles;
        for (step, q) in quantiles.iter().enumerate() {
            // Level 0.8 is the eighth of nine; a unit short costs four left over.
            let missing = f64::from(one.y[cut + step]) - f64::from(q[7]);
            expected += if missing > 0.0 { 4.0 * missing } else { -missing };
        }
    }
    let found = receipt.clean.unwrap().figures[2].stock_cost;
    assert!((found - expected).abs() < 1e-6 * expected, "{found} {expected}");
}

#[test]
fn windows_that_training_overlaps_are_told_apart_and_only_clean_ones_judge() {
    let [published, before] = models();
    let last_origin = plus_days(date(2025, 1, 1), -(HORIZON as i64) - 1);
    // The period ends with the last known day of the last window: exactly that one is clean.
    let receipt = receipt(&published, &before, &settings(3, last_origin));
    assert_eq!(receipt.windows.iter().map(|window| window.clean).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(receipt.windows[2].known_to, last_origin);
    assert_eq!(receipt.windows[2].last_day, plus_days(last_origin, HORIZON as i64));
    let [clean, seen] = [receipt.clean.as_ref().unwrap(), receipt.seen.as_ref().unwrap()];
    assert_eq!((clean.windows, seen.windows, clean.series), (1, 2, 12));
    assert!(receipt.judged().unwrap().1 && receipt.verdict()[0].contains("has not seen"));
    let day_later = self::receipt(&published, &before, &settings(3, plus_days(last_origin, 1)));
    assert!(day_later.clean.is_none() && day_later.verdict()[0].contains("has seen"));
    assert!(day_later.cannot_tell()[0].contains("too kind"));
}

#[test]
fn the_same_model_twice_gained_nothing_and_the_receipt_says_so() {
    let [published, _] = models();
    let receipt = receipt(&published, &published, &settings(2, date(2020, 1, 1)));
    let change = receipt.clean.as_ref().unwrap().no_federation.wql.unwrap();
    assert_eq!((change.relative, change.interval, change.finding), (0.0, Some([0.0; 2]), Finding::Open));
    assert!(receipt.verdict()[0].starts_with("No gain over the same model without federation can be told"));
}

#[test]
fn an_interval_tells_a_steady_gain_from_one_of_a_single_product_and_none_from_few() {
    let worth = |loss: f64| Worth { quantile_loss: loss, absolute_error: loss, stock_cost: loss, volume: 100.0 };
    let wql = |own: &dyn Fn(usize) -> f64, count: usize| {
        let pairs: Vec<(Worth, Worth)> = (0..count).map(|i| (worth(own(i)), worth(10.0))).collect();
        Comparison::of("other", &pairs).wql.unwrap()
    };
    let steady = wql(&|i| if i % 4 == 0 { 10.2 } else { 9.0 }, 40);
    assert_eq!(steady.finding, Finding::Gained);
    assert!((steady.relative + 0.07).abs() < 1e-9, "{steady:?}");
    // The half width of a normal interval of the mean: 1.96 · 0.0520 / √40 = 0.016.
    let [low, high] = steady.interval.unwrap();
    assert!((high - low - 0.0322).abs() < 0.003, "{steady:?}");
    assert_eq!(wql(&|i| if i % 4 == 0 { 9.8 } else { 11.0 }, 40).finding, Finding::Lost);
    // Much better on one product, a little worse on all others.
    let single = wql(&|i| if i == 0 { 0.0 } else { 10.1 }, 40);
    assert!(single.relative < 0.0 && single.finding == Finding::Open, "{single:?}");
    let few = wql(&|_| 5.0, 9);
    assert_eq!((few.interval, few.finding), (None, Finding::Open));
    assert!(Comparison::of("other", &[(worth(0.0), worth(0.0))]).wql.is_none());
}

#[test]
fn the_page_loads_nothing_and_trusts_no_name_and_nonsense_is_refused() {
    let [published, before] = models();
    let receipt = receipt(&published, &before, &settings(2, plus_days(date(2025, 1, 1), -(HORIZON as i64) - 1)));
    let page = render(&receipt, "forecastle receipt --out <b>.html").unwrap();
    for foreign in ["<script", "http://", "https://", "src=", "<who>", "<b>.html", "fed & co"] {
        assert!(!page.replace("http://www.w3.org/2000/svg", "").contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), 2);
    assert!(page.contains("ε = 2.50 at δ = 1e-6") && receipt.to_string().contains("What this does not say"));
    let json = serde_json::to_value(&receipt).unwrap();
    assert_eq!(json["windows"][1]["clean"], true);
    let models = Models { published: &published, before: Some(&before) };
    let refused = |settings: &Settings| {
        measure(models, &shop(), settings, account(), &mut |_| ControlFlow::Continue(())).unwrap_err().to_string()
    };
    let base = settings(1, date(2020, 1, 1));
    assert!(refused(&Settings { service_level: 1.0, ..base.clone() }).contains("0.5..1"));
    assert!(refused(&Settings { baselines: Vec::new(), ..base.clone() }).contains("no baseline"));
    assert!(refused(&Settings { horizon: 29, ..base.clone() }).contains("1..=28"));
}
