//! Every baseline on series that no textbook has.

use jiff::civil::date;

use super::*;
use crate::data::series::{Frequency, KNOWN_CHANNELS, Series};

const N: f32 = f32::NAN;

fn series(frequency: Frequency, y: Vec<f32>) -> Series {
    let known = vec![[0.0; KNOWN_CHANNELS]; y.len() + 28];
    Series {
        id: "mug".into(),
        frequency,
        start: date(2024, 1, 1),
        y,
        known,
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    }
}

/// Answers of every method, checked for what all must keep.
fn answers(frequency: Frequency, y: &[f32]) -> Vec<(Method, Answer)> {
    let series = series(frequency, y.to_vec());
    let history = History::new(&series, y.len());
    let answer = |method: Method| {
        let answer = method.forecast(&history, &history.future(28));
        assert_eq!(answer.quantiles.len(), 28, "{method}");
        for q in &answer.quantiles {
            assert!(q.iter().all(|q| q.is_finite()) && q.windows(2).all(|w| w[0] <= w[1]), "{method}: {q:?}");
            assert!(history.has_negative() || q[0] >= 0.0, "{method}: {q:?}");
        }
        (method, answer)
    };
    Method::ALL.map(answer).to_vec()
}

fn both(y: &[f32]) -> Vec<(Method, Answer)> {
    [Frequency::Daily, Frequency::Weekly].into_iter().flat_map(|frequency| answers(frequency, y)).collect()
}

#[test]
fn a_series_without_a_past_or_a_value_is_forecast_as_zero() {
    for y in [&[][..], &[N; 40]] {
        for (method, answer) in both(y) {
            assert_eq!(answer.quantiles, vec![[0.0; LEVELS_LEN]; 28], "{method}");
        }
    }
}

#[test]
fn a_constant_series_stays_where_it_is() {
    for (method, answer) in both(&[5.0; 90]) {
        for q in answer.quantiles.iter().flatten() {
            // SBA takes a twentieth off whatever it sees.
            let expected = if method == Method::Sba { 4.75..=5.0 } else { 4.99..=5.01 };
            assert!(expected.contains(q), "{method}: {q}");
        }
    }
}

#[test]
fn a_series_of_zeros_is_forecast_as_zero() {
    for (method, answer) in both(&[0.0; 120]) {
        assert!(answer.quantiles.iter().flatten().all(|q| q.abs() < 1e-6), "{method}: {:?}", answer.quantiles[0]);
    }
}

#[test]
fn short_series_fall_back_on_the_seasonal_naive_forecast_and_say_so() {
    for length in 1..10 {
        let y: Vec<f32> = (0..length).map(|day| day as f32).collect();
        let all = answers(Frequency::Daily, &y);
        let of = |wanted: Method| &all.iter().find(|(method, _)| *method == wanted).unwrap().1;
        for method in [Method::AutoArima, Method::Regression] {
            assert!(of(method).fell_back, "{method} {length}");
            assert_eq!(of(method).quantiles[0][4], of(Method::SeasonalNaive).quantiles[0][4], "{method} {length}");
        }
    }
}

#[test]
fn one_huge_value_and_gaps_are_survived() {
    let mut y: Vec<f32> = (0..140).map(|day| 10.0 + (day * 7 % 5) as f32 + (day % 7) as f32).collect();
    y[60] = 3.0e38;
    both(&y);
    y[60] = 12.0;
    let whole = both(&y);
    y[20..45].fill(N);
    y[100] = N;
    y[139] = N;
    for ((method, gaps), (_, whole)) in both(&y).into_iter().zip(whole) {
        let [gaps, whole] = [&gaps, &whole].map(|a| a.quantiles.iter().map(|q| q[4]).sum::<f32>());
        assert!((gaps / whole - 1.0).abs() < 0.35, "{method}: {gaps} {whole}");
    }
}

#[test]
fn negative_values_allow_negative_forecasts_only_where_they_were() {
    let below: Vec<f32> = (0..100).map(|day| -20.0 + (day * 3 % 7) as f32).collect();
    for (method, answer) in both(&below) {
        assert!(answer.quantiles[0][4] < 0.0, "{method}");
    }
    both(&[f32::INFINITY; 30]);
}

#[test]
fn nothing_behind_the_cut_is_seen_but_what_is_known_in_advance() {
    let y: Vec<f32> = (0..200).map(|day| 20.0 + (day % 7) as f32 + (day * day % 11) as f32).collect();
    let whole = series(Frequency::Daily, y);
    let mut hidden = whole.clone();
    hidden.y[150..].fill(1_000.0);
    for method in Method::ALL {
        let [a, b] = [&whole, &hidden].map(|series| {
            let history = History::new(series, 150);
            method.forecast(&history, &history.future(28))
        });
        assert_eq!(a, b, "{method}");
    }
}

#[test]
fn a_promotion_known_in_advance_moves_the_regression() {
    let mut promoted = series(Frequency::Daily, (0..140).map(|day| if day % 9 == 0 { 40.0 } else { 10.0 }).collect());
    for (day, channels) in promoted.known.iter_mut().enumerate() {
        channels[crate::data::calendar::PROMOTION] = f32::from(u8::from(day % 9 == 0));
    }
    let history = History::new(&promoted, 140);
    let answer = Method::Regression.forecast(&history, &history.future(28));
    assert!(!answer.fell_back);
    // Day 144 is promoted, day 145 is not.
    let [on, off] = [4, 5].map(|step: usize| answer.quantiles[step][4]);
    assert!(on > 35.0 && off < 15.0, "{on} {off}");
}

#[test]
fn names_are_read_as_they_are_written() {
    for method in Method::ALL {
        assert_eq!(method.name().parse(), Ok(method));
        assert_eq!(serde_json::to_value(method).unwrap(), method.name());
    }
    assert!("prophet".parse::<Method>().unwrap_err().to_string().contains("auto-ets"));
}
