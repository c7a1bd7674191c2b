use std::ops::ControlFlow;

use jiff::civil::date;

use super::*;
use crate::{
    data::series::{Frequency, KNOWN_CHANNELS, Series},
    forecast::{
        Way,
        baseline::{Method, window_quantiles},
        metrics::{ScoredForecast, score},
        served::mean,
    },
    model::{Model, ModelConfig},
};

const HORIZON: usize = 28;
const DAYS: usize = 252;

fn model() -> Model {
    Model::untrained(&ModelConfig::preset("nano-daily").unwrap(), 1).unwrap()
}

fn series(id: &str, days: usize, level: usize) -> Series {
    let y = |day: usize| (level + [0, 3, 1, 4, 2, 9, 7][day % 7] + (day * day * (level + 3)) % 5) as f32;
    Series {
        id: id.into(),
        frequency: Frequency::Daily,
        start: crate::data::order::plus_days(date(2025, 1, 1), -(days as i64)),
        y: (0..days).map(y).collect(),
        known: vec![[0.0; KNOWN_CHANNELS]; days],
        attributes: Vec::new(),
        text: "A <mug>. Red".into(),
        text_vector: None,
    }
}

fn shop() -> Vec<Series> {
    vec![series("bowl", DAYS, 4), series("cup & <saucer>", DAYS, 20), series("new", 60, 9)]
}

fn settings(windows: usize, ways: &[Way]) -> Settings {
    Settings {
        model: "untrained".into(),
        model_may_know_windows: false,
        windows,
        horizon: HORIZON,
        stride: HORIZON,
        ways: ways.to_vec(),
        series_max: None,
        drawings: 3,
    }
}

const NAIVE: Way = Way::Baseline(Method::Naive);
const WEEKDAY: Way = Way::Baseline(Method::SameWeekday);
const QUICK: [Way; 4] = [Way::Model, NAIVE, WEEKDAY, Way::Baseline(Method::Croston)];

fn go(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn a_row_is_what_scoring_its_forecasts_by_hand_gives() {
    let shop = shop();
    let report = run(&model(), &shop, &settings(3, &QUICK), &mut go).unwrap();
    for (window, found) in report.windows.iter().enumerate() {
        let judged: Vec<(&Series, usize)> = shop
            .iter()
            .filter_map(|s| Some((s, s.y.len().checked_sub(HORIZON * (3 - window))?)))
            .filter(|(_, cut)| *cut >= 28)
            .collect();
        assert_eq!(found.series, judged.len());
        assert_eq!(
            found.known_to,
            date(2025, 1, 1).saturating_sub(jiff::Span::new().days(1 + 28 * (3 - window as i64)))
        );
        let forecasts: Vec<_> = judged.iter().map(|(s, cut)| window_quantiles(s, *cut, HORIZON)).collect();
        let scored: Vec<_> = judged
            .iter()
            .zip(&forecasts)
            .map(|((s, cut), quantiles)| ScoredForecast {
                past: &s.y[..*cut],
                actual: &s.y[*cut..*cut + HORIZON],
                quantiles,
            })
            .collect();
        let by_hand = score(7, &scored).unwrap().wql;
        assert!((found.wql[2].unwrap() - by_hand).abs() < 1e-12, "{found:?} {by_hand}");
    }
    // `new` is long enough for the last window only.
    assert_eq!(report.windows.iter().map(|w| w.series).collect::<Vec<_>>(), [2, 2, 3]);
    assert_eq!(report.series.iter().map(|s| s.windows).collect::<Vec<_>>(), [3, 3, 1]);
}

#[test]
fn nothing_that_came_later_reaches_an_earlier_window_or_the_choice() {
    let ways: Vec<Way> = Way::all().collect();
    let before = run(&model(), &shop(), &settings(3, &ways), &mut go).unwrap();
    let mut other = shop();
    for one in &mut other {
        let last = one.y.len() - HORIZON;
        one.y[last..].iter_mut().for_each(|y| *y = 500.0 - 7.0 * *y);
    }
    let after = run(&model(), &other, &settings(3, &ways), &mut go).unwrap();
    for (a, b) in before.windows.iter().zip(&after.windows).take(2) {
        assert_eq!(a.wql, b.wql);
    }
    assert_ne!(before.windows[2].wql, after.windows[2].wql);
    assert_eq!(before.windows[2].mix, after.windows[2].mix);
    let [a, b] = [before.choice.unwrap(), after.choice.unwrap()];
    assert_eq!((a.row, a.served, a.earlier_wql), (b.row, b.served, b.earlier_wql));
}

#[test]
fn the_choice_is_the_smallest_error_before_the_last_window_told_on_the_last() {
    let report = run(&model(), &shop(), &settings(4, &QUICK), &mut go).unwrap();
    let mean = |row: usize| report.windows[..3].iter().map(|w| w.wql[row].unwrap()).sum::<f64>() / 3.0;
    let best = (0..5).min_by(|a, b| mean(*a).total_cmp(&mean(*b))).unwrap();
    let choice = report.choice.as_ref().unwrap();
    assert_eq!(choice.row, report.rows[best].name);
    assert!((choice.earlier_wql - mean(best)).abs() < 1e-12);
    assert_eq!(choice.last_wql, report.windows[3].wql[best]);
    let better = report.windows[3].wql.iter().flatten().filter(|wql| **wql < choice.last_wql.unwrap()).count();
    assert_eq!(choice.last_place, Some(better + 1));
    assert!(report.verdict().contains(&choice.row), "{}", report.verdict());
}

#[test]
fn the_mix_averages_all_at_first_and_the_three_best_so_far_from_then_on() {
    let one = [series("bowl", DAYS, 4)];
    let report = run(&model(), &one, &settings(2, &QUICK), &mut go).unwrap();
    assert_eq!(report.windows[0].mix.members(), QUICK);
    let mut order: Vec<usize> = (0..4).collect();
    order.sort_by(|a, b| report.windows[0].wql[*a].unwrap().total_cmp(&report.windows[0].wql[*b].unwrap()));
    let three: Vec<Way> = order[..3].iter().map(|row| QUICK[*row]).collect();
    assert_eq!(report.windows[1].mix.members(), three);
    // Of two baselines the mix can be made by hand.
    let two = run(&model(), &one, &settings(1, &[NAIVE, WEEKDAY]), &mut go).unwrap();
    let cut = DAYS - HORIZON;
    let answers = [Method::Naive, Method::SameWeekday].map(|method| {
        let history = crate::forecast::baseline::History::new(&one[0], cut);
        method.forecast(&history, &history.future(HORIZON)).quantiles
    });
    let mixed = mean(&[&answers[0], &answers[1]]);
    let scored = ScoredForecast { past: &one[0].y[..cut], actual: &one[0].y[cut..], quantiles: &mixed };
    assert_eq!(two.windows[0].wql[2], Some(score(7, &[scored]).unwrap().wql));
    assert!(two.choice.is_none() && two.verdict().contains("two or more"));
}

#[test]
fn stopped_runs_report_whole_windows_only() {
    let mut calls = 0;
    let whole = run(&model(), &shop(), &settings(3, &QUICK), &mut go).unwrap();
    let report = run(&model(), &shop(), &settings(3, &QUICK), &mut |at| {
        calls += usize::from(at.window == 1);
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert!(report.stopped && report.windows.len() == 1 && report.choice.is_none());
    assert_eq!(report.windows[0].wql, whole.windows[0].wql);
    assert_eq!(report.series.iter().map(|s| s.windows).collect::<Vec<_>>(), [1, 1]);
    let none = run(&model(), &shop(), &settings(3, &QUICK), &mut |_| ControlFlow::Break(()));
    assert!(matches!(none, Err(BacktestError::Stopped)));
}

#[test]
fn the_largest_series_are_those_before_the_first_window() {
    let mut shop = shop();
    // Sells much, but only when nobody could know.
    shop[0].y[DAYS - HORIZON..].fill(10_000.0);
    let report = run(&model(), &shop, &Settings { series_max: Some(1), ..settings(1, &QUICK) }, &mut go).unwrap();
    assert_eq!(report.series[0].unique_id, "cup & <saucer>");
}

#[test]
fn settings_without_sense_and_series_without_length_are_refused_in_a_sentence() {
    let refused =
        |settings: &Settings, series: &[Series]| run(&model(), series, settings, &mut go).unwrap_err().to_string();
    assert!(refused(&settings(0, &QUICK), &shop()).contains("at least one window"));
    assert!(refused(&Settings { horizon: 29, ..settings(1, &QUICK) }, &shop()).contains("1..=28"));
    assert!(refused(&settings(1, &[]), &shop()).contains("no way"));
    let error = refused(&settings(2, &QUICK), &[series("new", 50, 3)]);
    assert!(error.contains("needs 56 steps") && error.contains("has 50"), "{error}");
    assert!(refused(&settings(2, &QUICK), &[]).contains("has 0"));
}

#[test]
fn windows_of_zeros_and_gaps_are_told_without_numbers() {
    let mut quiet = series("quiet", DAYS, 1);
    quiet.y.fill(0.0);
    quiet.y[3] = 2.0;
    let report = run(&model(), &[quiet], &settings(2, &QUICK), &mut go).unwrap();
    assert!(report.windows.iter().all(|w| w.wql.iter().all(Option::is_none)));
    assert!(report.choice.is_none());
    render(&report, "Quiet", "forecastle backtest").unwrap();
    assert!(report.to_string().contains('–'));
    let mut gap = series("gap", DAYS, 1);
    gap.y[DAYS - HORIZON..].fill(f32::NAN);
    let report = run(&model(), &[gap], &settings(2, &QUICK), &mut go).unwrap();
    assert_eq!(report.windows.len(), 1);
}

#[test]
fn the_page_loads_nothing_names_the_choice_and_trusts_no_name() {
    let report = run(&model(), &shop(), &settings(3, &QUICK), &mut go).unwrap();
    assert_eq!(report.drawn.len(), 3);
    let page = render(&report, "Shop", "forecastle backtest --out <b>.html").unwrap();
    let choice = report.choice.as_ref().unwrap();
    assert!(page.contains(&choice.named()) && page.contains("class=\"chosen\""));
    for foreign in ["<script", "http://", "https://", "src=", "<saucer>", "<mug>", "<b>.html"] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), 4);
    let json: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&report).unwrap()).unwrap();
    assert_eq!(json["choice"]["row"], choice.row);
    assert_eq!(json["series"][1]["unique_id"], "cup & <saucer>");
}
