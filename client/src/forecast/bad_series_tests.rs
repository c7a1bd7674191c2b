//! The model's whole path on series that no textbook has: as published, made the merchant's own, trained privately, and
//! judged by a backtest. What no series may hold is refused by name; what files may not hold is caught where they are read.

use std::ops::ControlFlow;

use jiff::civil::date;

use super::{Forecaster, Way, metrics::LEVELS_LEN, personal::Personal, served::Forecasters};
use crate::{
    backtest::{self, Models, Settings},
    data::series::{Frequency, KNOWN_CHANNELS, Series},
    model::{Model, assets},
    train::{LocalTraining, PrivateStep, Sampling, merchant::training_series},
};

const N: f32 = f32::NAN;
const HORIZON: usize = 13;
const BOTH: [Frequency; 2] = [Frequency::Daily, Frequency::Weekly];

fn model(frequency: Frequency) -> Model {
    let preset = match frequency {
        Frequency::Daily => "nano-daily",
        Frequency::Weekly => "nano-weekly",
    };
    Model::from_snapshot(&assets::warm_start(preset).unwrap()).unwrap()
}

fn series(id: &str, frequency: Frequency, y: &[f32]) -> Series {
    Series {
        id: id.into(),
        frequency,
        start: date(2024, 1, 1),
        y: y.to_vec(),
        known: vec![[0.0; KNOWN_CHANNELS]; y.len() + 39],
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    }
}

/// Sales between 10 and 20.
fn ordinary(steps: usize) -> Vec<f32> {
    (0..steps).map(|step| 10.0 + (step * 7 % 5) as f32 + (step % 7) as f32).collect()
}

/// Forecasts of one series by the published model and by the merchant's own, checked for what all must keep.
fn forecasts(frequency: Frequency, y: &[f32]) -> [Vec<[f32; LEVELS_LEN]>; 2] {
    let (model, one) = (model(frequency), series("mug", frequency, y));
    let own = std::slice::from_ref(&one);
    let personal = Personal::train(&model, own, &LocalTraining::fine_tuning_of(own, 1)).unwrap();
    let published = Forecaster::of(model);
    let forecasters = Forecasters { model: &published, personal: Some(&personal), unfederated: None };
    [Way::Model, Way::Personal].map(|way| {
        let quantiles = forecasters.answers(way, &[(&one, y.len())], HORIZON).unwrap().remove(0).quantiles;
        assert_eq!(quantiles.len(), HORIZON);
        for q in &quantiles {
            assert!(
                q.iter().all(|q| q.is_finite()) && q.windows(2).all(|w| w[0] <= w[1]),
                "{frequency:?} {way:?}: {q:?}"
            );
            assert!(y.iter().any(|y| *y < 0.0) || q[0] >= 0.0, "{frequency:?} {way:?}: {q:?}");
        }
        quantiles
    })
}

/// Every quantile of both forecasts lies within.
fn all_within(frequency: Frequency, y: &[f32], range: std::ops::RangeInclusive<f32>) {
    for (way, quantiles) in forecasts(frequency, y).into_iter().enumerate() {
        for q in quantiles {
            assert!(range.contains(&q[0]) && range.contains(&q[8]), "{frequency:?} {way}: {q:?} not in {range:?}");
        }
    }
}

#[test]
fn without_a_past_or_a_value_little_is_forecast() {
    for frequency in BOTH {
        all_within(frequency, &[], 0.0..=3.0);
        all_within(frequency, &[N; 150], 0.0..=3.0);
    }
}

#[test]
fn a_constant_series_stays_where_it_is_and_one_of_zeros_at_zero() {
    for frequency in BOTH {
        all_within(frequency, &[5.0; 160], 3.5..=7.0);
        let [_, own] = forecasts(frequency, &[5.0; 160]);
        assert!(own.iter().all(|q| (4.9..=5.1).contains(&q[4])), "{own:?}");
        all_within(frequency, &[0.0; 160], 0.0..=0.4);
    }
}

#[test]
fn a_series_too_short_for_anything_is_forecast_at_its_size() {
    for frequency in BOTH {
        for steps in 1..=12 {
            all_within(frequency, &ordinary(steps), 0.0..=60.0);
            for q in forecasts(frequency, &ordinary(steps)).into_iter().flatten() {
                assert!((3.0..30.0).contains(&q[4]), "{frequency:?} {steps}: {q:?}");
            }
        }
    }
}

#[test]
fn one_huge_value_moves_no_forecast_away_from_the_series_size() {
    for frequency in BOTH {
        for huge in [2e4, 1e6, 1e12, 3e38] {
            for at in [112, 153, 159] {
                let mut y = ordinary(160);
                y[at] = huge;
                all_within(frequency, &y, 0.0..=60.0);
                for q in forecasts(frequency, &y).into_iter().flatten() {
                    assert!((8.0..25.0).contains(&q[4]), "{frequency:?} {huge} at {at}: {q:?}");
                }
            }
        }
    }
}

#[test]
fn the_largest_and_the_most_negative_numbers_have_finite_quantiles() {
    for frequency in BOTH {
        for value in [f32::MAX, f32::MIN] {
            let [published, own] = forecasts(frequency, &[value; 160]);
            assert!(published.iter().chain(&own).all(|q| q[4].signum() == value.signum()));
        }
        let below: Vec<f32> = (0..160).map(|step| -20.0 + (step * 3 % 7) as f32).collect();
        let [published, own] = forecasts(frequency, &below);
        assert!(published.iter().all(|q| q[4] < 0.0), "{published:?}");
        assert!(own.iter().all(|q| (-25.0..-10.0).contains(&q[4])), "{own:?}");
    }
}

#[test]
fn gaps_are_no_zeros() {
    for frequency in BOTH {
        let mut y = ordinary(160);
        y[110..125].fill(N);
        y[140] = N;
        y[159] = N;
        for q in forecasts(frequency, &y).into_iter().flatten() {
            assert!((8.0..25.0).contains(&q[4]), "{frequency:?}: {q:?}");
        }
    }
}

/// Everything above as one shop, with an ordinary series among it.
fn shop(frequency: Frequency) -> Vec<Series> {
    let mut huge = ordinary(160);
    huge[150] = 1e12;
    let mut all = vec![("constant", vec![5.0; 160]), ("gap", vec![N; 160]), ("huge", huge), ("zero", vec![0.0; 160])];
    all.extend([("short", ordinary(3)), ("ordinary", ordinary(160))]);
    all.into_iter().map(|(id, y)| series(id, frequency, &y)).collect()
}

/// The same with a number in it that is none.
fn broken(frequency: Frequency) -> Vec<(Vec<Series>, &'static str)> {
    let spoilt = |spoil: &dyn Fn(&mut Series)| {
        let mut all = shop(frequency);
        spoil(&mut all[5]);
        all
    };
    vec![
        (spoilt(&|one| one.y[3] = f32::INFINITY), "the value of 2024-01-"),
        (spoilt(&|one| one.y[150] = f32::NEG_INFINITY), "the value of 202"),
        (spoilt(&|one| one.known[159][2] = N), "a price or another channel of 202"),
        (spoilt(&|one| one.known[165][2] = f32::INFINITY), "a price or another channel of 202"),
    ]
}

#[test]
fn a_number_that_is_none_is_refused_with_its_series_and_day() {
    for frequency in BOTH {
        let model = model(frequency);
        let published = Forecaster::of(model.clone());
        let forecasters = Forecasters { model: &published, personal: None, unfederated: None };
        for (all, what) in broken(frequency) {
            let untouched = Personal::untouched(model.clone());
            let ends: Vec<_> = all.iter().map(|one| (one, one.y.len())).collect();
            let settings = settings(&[Way::Model]);
            let errors = [
                Personal::train(&model, &all, &LocalTraining::fine_tuning(1)).err().map(|e| e.to_string()),
                untouched.predict(&all, HORIZON).err().map(|e| e.to_string()),
                forecasters.answers(Way::Model, &ends, HORIZON).err().map(|e| e.to_string()),
                backtest::run(Models::of(&model), &all, &settings, &mut |_| ControlFlow::Continue(()))
                    .err()
                    .map(|e| e.to_string()),
            ];
            for (at, error) in errors.into_iter().enumerate() {
                let error = error.unwrap_or_default();
                assert!(error.contains("series `ordinary`") && error.contains(what), "{frequency:?} {at}: {error}");
            }
        }
    }
}

#[test]
fn such_a_shop_is_trained_on_privately_within_the_clip() {
    let step = PrivateStep { clip: 0.1, rate: 1.0, windows_per_series: 4 };
    for frequency in BOTH {
        let model = model(frequency);
        let all = training_series(shop(frequency), model.config());
        let (sum, present) = step.gradient_sum(&model, &all, &mut Sampling::danger_seeded(1)).unwrap();
        let norm = sum.iter().map(|g| g * g).sum::<f64>().sqrt();
        assert!(norm.is_finite() && norm > 0.0 && norm <= 0.1 * present as f64 + 1e-9, "{norm} of {present}");
        let (spoilt, _) = broken(frequency).swap_remove(1);
        let all = training_series(spoilt, model.config());
        let one = PrivateStep { windows_per_series: 40, ..step };
        let error = one.gradient_sum(&model, &all, &mut Sampling::danger_seeded(1)).unwrap_err().to_string();
        assert!(error.contains("series `ordinary`") && error.contains("infinite"), "{error}");
    }
}

fn settings(ways: &[Way]) -> Settings {
    Settings {
        model: "the warm start".into(),
        model_may_know_windows: false,
        windows: 2,
        horizon: HORIZON,
        stride: HORIZON,
        ways: ways.to_vec(),
        series_max: None,
        drawings: 3,
    }
}

#[test]
fn such_a_shop_is_judged_with_finite_errors() {
    for frequency in BOTH {
        let model = model(frequency);
        let settings = settings(&[Way::Model, Way::Personal]);
        let all = shop(frequency);
        let report = backtest::run(Models::of(&model), &all, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(report.windows.len(), 2);
        for row in &report.rows[..2] {
            assert!(row.all.as_ref().is_some_and(|scores| scores.wql.is_finite()), "{frequency:?} {}", row.name);
        }
        for one in report.series.iter().filter(|one| ["ordinary", "constant"].contains(&one.unique_id.as_str())) {
            let wql = one.scores[0].as_ref().map_or(f64::INFINITY, |scores| scores.wql);
            assert!(wql < 0.3, "{frequency:?} {}: {wql}", one.unique_id);
        }
    }
}
