use std::ops::ControlFlow;

use jiff::civil::date;

use super::*;
use crate::{
    data::series::{Frequency, KNOWN_CHANNELS, Series},
    forecast::{
        Way,
        baseline::{Method, window_quantiles},
        metrics::{ScoredForecast, score},
        served::Served,
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
        further: None,
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
    let report = run(Models::of(&model()), &shop, &settings(3, &QUICK), &mut go).unwrap();
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
    let before = run(Models::of(&model()), &shop(), &settings(3, &ways), &mut go).unwrap();
    let mut other = shop();
    for one in &mut other {
        let last = one.y.len() - HORIZON;
        one.y[last..].iter_mut().for_each(|y| *y = 500.0 - 7.0 * *y);
    }
    let after = run(Models::of(&model()), &other, &settings(3, &ways), &mut go).unwrap();
    for (a, b) in before.windows.iter().zip(&after.windows).take(2) {
        assert_eq!(a.wql, b.wql);
    }
    assert_ne!(before.windows[2].wql, after.windows[2].wql);
    assert_eq!(before.windows[2].mix, after.windows[2].mix);
    assert_eq!(before.windows[2].stacked, after.windows[2].stacked);
    let [a, b] = [before.choice.unwrap(), after.choice.unwrap()];
    assert_eq!((a.row, a.served, a.earlier_wql), (b.row, b.served, b.earlier_wql));
}

#[test]
fn the_choice_is_the_smallest_error_before_the_last_window_told_on_the_last() {
    let report = run(Models::of(&model()), &shop(), &settings(4, &QUICK), &mut go).unwrap();
    let mean = |row: usize| report.windows[1..3].iter().map(|w| w.wql[row].unwrap()).sum::<f64>() / 2.0;
    let best = (0..6).min_by(|a, b| mean(*a).total_cmp(&mean(*b))).unwrap();
    let choice = report.choice.as_ref().unwrap();
    assert_eq!(choice.row, report.rows[best].name);
    assert!((choice.earlier_wql - mean(best)).abs() < 1e-12);
    assert_eq!(choice.last_wql, report.windows[3].wql[best]);
    let better = report.windows[3].wql.iter().flatten().filter(|wql| **wql < choice.last_wql.unwrap()).count();
    assert_eq!(choice.last_place, Some(better + 1));
    assert!(report.verdict().contains(&choice.row), "{}", report.verdict());
    assert!(report.verdict().contains("the 2 windows between the first"), "{}", report.verdict());
    let three = run(Models::of(&model()), &shop(), &settings(3, &QUICK), &mut go).unwrap();
    let mean = |row: usize| three.windows[..2].iter().map(|w| w.wql[row].unwrap()).sum::<f64>() / 2.0;
    let least = (0..6).map(mean).min_by(f64::total_cmp).unwrap();
    assert!((three.choice.as_ref().unwrap().earlier_wql - least).abs() < 1e-12);
    assert!(three.verdict().contains("the 2 windows before the last"), "{}", three.verdict());
}

#[test]
fn the_mix_averages_all_at_first_and_the_three_best_so_far_from_then_on() {
    let one = [series("bowl", DAYS, 4)];
    let report = run(Models::of(&model()), &one, &settings(2, &QUICK), &mut go).unwrap();
    assert_eq!(report.windows[0].mix.members(), QUICK);
    let mut order: Vec<usize> = (0..4).collect();
    order.sort_by(|a, b| report.windows[0].wql[*a].unwrap().total_cmp(&report.windows[0].wql[*b].unwrap()));
    let three: Vec<Way> = order[..3].iter().map(|row| QUICK[*row]).collect();
    assert_eq!(report.windows[1].mix.members(), three);
    // Of two baselines the mix can be made by hand.
    let two = run(Models::of(&model()), &one, &settings(1, &[NAIVE, WEEKDAY]), &mut go).unwrap();
    let cut = DAYS - HORIZON;
    let answers = [Method::Naive, Method::SameWeekday].map(|method| {
        let history = crate::forecast::baseline::History::new(&one[0], cut);
        method.forecast(&history, &history.future(HORIZON)).quantiles
    });
    let mixed = Served::mix(vec![NAIVE, WEEKDAY]).unwrap().averaged(&[&answers[0], &answers[1]]);
    let scored = ScoredForecast { past: &one[0].y[..cut], actual: &one[0].y[cut..], quantiles: &mixed };
    assert_eq!(two.windows[0].wql[2], Some(score(7, &[scored]).unwrap().wql));
    assert!(two.choice.is_none() && two.verdict().contains("two or more"));
}

#[test]
fn stopped_runs_report_whole_windows_only() {
    let mut calls = 0;
    let whole = run(Models::of(&model()), &shop(), &settings(3, &QUICK), &mut go).unwrap();
    let report = run(Models::of(&model()), &shop(), &settings(3, &QUICK), &mut |at| {
        calls += usize::from(at.window == 1);
        if calls == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .unwrap();
    assert!(report.stopped && report.windows.len() == 1 && report.choice.is_none());
    assert_eq!(report.windows[0].wql, whole.windows[0].wql);
    assert_eq!(report.series.iter().map(|s| s.windows).collect::<Vec<_>>(), [1, 1]);
    let none = run(Models::of(&model()), &shop(), &settings(3, &QUICK), &mut |_| ControlFlow::Break(()));
    assert!(matches!(none, Err(BacktestError::Stopped)));
}

#[test]
fn the_largest_series_are_those_before_the_first_window() {
    let mut shop = shop();
    // Sells much, but only when nobody could know.
    shop[0].y[DAYS - HORIZON..].fill(10_000.0);
    let report =
        run(Models::of(&model()), &shop, &Settings { series_max: Some(1), ..settings(1, &QUICK) }, &mut go).unwrap();
    assert_eq!(report.series[0].unique_id, "cup & <saucer>");
}

#[test]
fn settings_without_sense_and_series_without_length_are_refused_in_a_sentence() {
    let refused = |settings: &Settings, series: &[Series]| {
        run(Models::of(&model()), series, settings, &mut go).unwrap_err().to_string()
    };
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
    let report = run(Models::of(&model()), &[quiet], &settings(2, &QUICK), &mut go).unwrap();
    assert!(report.windows.iter().all(|w| w.wql.iter().all(Option::is_none)));
    assert!(report.choice.is_none());
    render(&report, "Quiet", "forecastle backtest").unwrap();
    assert!(report.to_string().contains('–'));
    let mut gap = series("gap", DAYS, 1);
    gap.y[DAYS - HORIZON..].fill(f32::NAN);
    let report = run(Models::of(&model()), &[gap], &settings(2, &QUICK), &mut go).unwrap();
    assert_eq!(report.windows.len(), 1);
}

#[test]
fn the_page_loads_nothing_names_the_choice_and_trusts_no_name() {
    let report = run(Models::of(&model()), &shop(), &settings(3, &QUICK), &mut go).unwrap();
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

#[test]
fn the_stacked_mix_learns_from_earlier_windows_and_is_told_by_the_next() {
    // One way knows what comes in every window, the others do not: weekly repetition without noise.
    let mut one = series("bowl", DAYS, 4);
    one.y.iter_mut().enumerate().for_each(|(day, y)| *y = [5., 1., 8., 2., 9., 4., 30.][day % 7]);
    let report = run(Models::of(&model()), &[one], &settings(3, &QUICK), &mut go).unwrap();
    assert_eq!(report.windows[0].stacked, Served::mix(QUICK.to_vec()).unwrap());
    assert_eq!(report.windows[1].stacked, Served::one(WEEKDAY));
    let stacked = report.rows.iter().position(|row| row.name == "stacked").unwrap();
    assert_eq!(report.windows[2].wql[stacked], report.windows[2].wql[2]);
    assert!(report.windows[0].wql[stacked] > report.windows[0].wql[2]);
    // In general it has weights, which are told where it is chosen.
    let report = run(Models::of(&model()), &shop(), &settings(3, &[NAIVE, WEEKDAY]), &mut go).unwrap();
    assert!((report.windows[2].stacked.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let choice = Choice { row: "stacked".into(), served: report.windows[2].stacked.clone(), ..report.choice.unwrap() };
    assert_eq!(choice.named(), format!("stacked ({})", report.windows[2].stacked));
}

#[test]
fn totals_are_told_by_level_in_three_ways() {
    let mut shop = vec![series("bowl", DAYS, 4), series("cup", DAYS, 20), series("mug", DAYS, 9)];
    shop[0].attributes.push(("category".into(), "crockery".into()));
    let report = run(Models::of(&model()), &shop, &settings(3, &QUICK), &mut go).unwrap();
    let [categories, whole] = &report.totals[..] else { panic!("{:?}", report.totals) };
    assert_eq!((categories.totals, whole.totals), (2, 1));
    // By hand: the shop from its own past, by the same weekday.
    let y: Vec<f32> = (0..DAYS).map(|day| shop.iter().map(|one| one.y[day]).sum()).collect();
    let all = Series { y, ..shop[0].clone() };
    let mean = (1..3)
        .map(|window| {
            let cut = DAYS - HORIZON * (3 - window);
            let quantiles = window_quantiles(&all, cut, HORIZON);
            score(
                7,
                &[ScoredForecast { past: &all.y[..cut], actual: &all.y[cut..cut + HORIZON], quantiles: &quantiles }],
            )
            .unwrap()
            .wql
        })
        .sum::<f64>()
        / 2.0;
    let row = &whole.rows[2];
    assert_eq!(row.name, "same-weekday");
    assert!((row.own.unwrap().wql - mean).abs() < 1e-9, "{row:?} {mean}");
    let scores = |row: &LevelRow| [row.own, row.bottom_up, row.reconciled].map(|scores| scores.unwrap().wql);
    assert!(
        whole.rows.iter().chain(&categories.rows).all(|row| scores(row).iter().all(|wql| *wql > 0.0 && *wql < 3.0))
    );
    let [text, page] = [report.to_string(), render(&report, "Shop", "").unwrap()];
    assert!(
        text.contains("WQL of 2 categories") && text.contains("WQL of the shop") && page.contains("Totals that add up")
    );
    // One series has nothing to add up.
    assert!(run(Models::of(&model()), &shop[..1], &settings(2, &QUICK), &mut go).unwrap().totals.is_empty());
}

#[test]
fn without_federation_is_the_model_from_before_the_first_round_made_the_merchant_s_own() {
    let before = Model::untrained(&ModelConfig::preset("nano-daily").unwrap(), 1).unwrap();
    let published = crate::model::example::model(&ModelConfig::preset("nano-daily").unwrap(), 7);
    let ways = [Way::Personal, Way::NoFederation];
    let wql = |models: Models<'_>| {
        let report = run(models, &shop(), &settings(2, &ways), &mut go).unwrap();
        report.windows.iter().map(|window| [window.wql[0], window.wql[1]]).collect::<Vec<_>>()
    };
    let both = wql(Models { published: &published, before: Some(&before) });
    assert!(both.iter().all(|[own, without]| own != without));
    let alone = wql(Models::of(&before));
    assert!(alone.iter().all(|[own, without]| own == without));
    assert_eq!(both.iter().map(|wql| wql[1]).collect::<Vec<_>>(), alone.iter().map(|wql| wql[0]).collect::<Vec<_>>());
}

#[test]
fn launches_are_forecast_from_earlier_launches_alone() {
    // Two kinds of products, launched week after week; the texts tell them apart.
    let mut shop = vec![series("old", DAYS, 50)];
    for week in 0..16 {
        for (name, level) in [("small cup", 2.0), ("large lamp", 40.0)] {
            let mut one = series(&format!("{name} {week}"), 190 - 7 * week, 1);
            one.text = format!("{name} number {week}");
            one.y.iter_mut().enumerate().for_each(|(day, y)| *y = level + (day * day % 3) as f32);
            shop.push(one);
        }
    }
    let report = newcomers(&model(), &shop, &|_| None, HORIZON, 10).unwrap();
    assert_eq!(report.launches, 10);
    let wql = |report: &NewcomerReport| report.rows.iter().map(|row| row.scores.unwrap().wql).collect::<Vec<_>>();
    let found = wql(&report);
    // The other kind is no analogue; all of a category without a name are both kinds; an empty past says next to nothing.
    assert!(found[0] < 0.5 * found[2] && found[2] < found[3] && found[1] < found[3], "{report}");
    // The last ten launches are the youngest; what they sold later than their first horizon, or what is launched after
    // them, changes nothing.
    let mut other = shop.clone();
    for one in &mut other {
        let end = one.y.len();
        if end <= 190 - 7 * 11 {
            one.y[HORIZON..].fill(9_999.0);
        }
    }
    assert_eq!(wql(&newcomers(&model(), &other, &|_| None, HORIZON, 10).unwrap()), found);
    let none = newcomers(&model(), &shop[..3], &|_| None, HORIZON, 10).unwrap();
    assert!(none.launches == 0 && none.rows.iter().all(|row| row.scores.is_none()) && none.to_string().contains('–'));
    assert!(newcomers(&model(), &shop, &|_| None, 29, 10).unwrap_err().to_string().contains("2..=28"));
}
