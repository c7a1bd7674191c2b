//! A generated shop in which views come some days before sales: a model that reads them knows more, one to which the views of
//! other products or of other days are given does not.

use std::fmt::Write as _;

use jiff::civil::{Date, date};
use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha12Rng;

use super::{Forecast, personal::Personal};
use crate::{
    data::{
        order::{Period, plus_days},
        prepare::{SeriesChoice, local_series},
        series::{Frequency, Series},
        signals::{Inputs, PastChannel},
        store::{DataStore, ImportOptions},
    },
    model::{Model, QUANTILES, assets},
    train::LocalTraining,
};

const PRODUCTS: usize = 30;
const DAYS: usize = 300;
/// Days from a view to what is bought for it.
const LEAD: usize = 3;
/// Sales grow with this power of views.
const ELASTICITY: f64 = 0.8;

fn day(at: usize) -> Date {
    plus_days(date(2024, 1, 1), at as i64)
}

/// Orders as CSV, and events as JSON lines. `mislead` gives each product the views of another, or of another week.
fn files(mislead: Option<Mislead>) -> [String; 2] {
    let mut rng = ChaCha12Rng::seed_from_u64(11);
    let normal = |rng: &mut ChaCha12Rng| (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
    let mut orders = String::from("order_id,customer_id,product_id,ordered_at,quantity\n");
    let mut views = vec![vec![0.0; DAYS]; PRODUCTS];
    for (product, views) in views.iter_mut().enumerate() {
        let level = 8.0 + 30.0 * rng.random::<f64>();
        let week: Vec<f64> = (0..7).map(|_| 0.7 + 0.6 * rng.random::<f64>()).collect();
        let mut wave = 0.0;
        let waves: Vec<f64> = (0..DAYS)
            .map(|_| {
                wave = 0.3 * wave + 0.6 * normal(&mut rng);
                wave
            })
            .collect();
        for (at, views) in views.iter_mut().enumerate() {
            *views = (200.0 * waves[at].exp()).round().max(0.0);
            let drawn = waves.get(at.wrapping_sub(LEAD)).copied().unwrap_or(0.0);
            let mean = level * week[at % 7] * (ELASTICITY * drawn).exp();
            let units = (mean + mean.sqrt() * normal(&mut rng)).round();
            if units > 0.0 {
                writeln!(orders, "o{product}-{at},c{},p{product},{},{units}", at % 50, day(at)).unwrap();
            }
        }
    }
    match mislead {
        None => {}
        Some(Mislead::OtherProduct) => views.shuffle(&mut rng),
        Some(Mislead::OtherDays) => views.iter_mut().for_each(|views| views.rotate_right(10)),
    }
    let mut events = String::new();
    for (product, views) in views.iter().enumerate() {
        for (at, count) in views.iter().enumerate() {
            let time = format!("{}T12:00:00", day(at));
            writeln!(events, r#"{{"event":"view","time":"{time}","sku":"p{product}","count":{count}}}"#).unwrap();
        }
    }
    [orders, events]
}

#[derive(Clone, Copy)]
enum Mislead {
    OtherProduct,
    OtherDays,
}

/// Mean pinball loss over held-back windows, of the first steps, which views of the past can tell something about, and in
/// multiples of what was sold.
fn loss(past: Option<PastChannel>, mislead: Option<Mislead>) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut store = DataStore::open(dir.path()).unwrap();
    for (name, text) in ["orders.csv", "events.jsonl"].iter().zip(files(mislead)) {
        let report = store.import_bytes(name, text.as_bytes(), &ImportOptions::default()).unwrap();
        assert_eq!(report.rejected_total, 0, "{report}");
    }
    let inputs = Inputs { past_channels: past.into_iter().collect(), ..Inputs::default() };
    let model = Model::from_snapshot(&assets::warm_start("nano-daily").unwrap()).unwrap().with_inputs(inputs).unwrap();
    let choice = SeriesChoice::default().for_inputs(inputs);
    let period = Period::new(day(0), day(DAYS - 1)).unwrap();
    let series = local_series(&(&store).into(), choice, Frequency::Daily, period, 28).unwrap().series;
    assert_eq!(series.len(), PRODUCTS);
    let (mut lost, mut sold) = (0.0, 0.0);
    let known: Vec<Series> = series.iter().map(|one| one.up_to(one.y.len() - 28)).collect();
    let personal = Personal::train(&model, &known, &LocalTraining::fine_tuning(1)).unwrap();
    // Windows one day apart, all after what the model was trained on.
    for back in LEAD..28 {
        let before: Vec<Series> = series.iter().map(|one| one.up_to(one.y.len() - back)).collect();
        for (one, forecast) in series.iter().zip(personal.predict(&before, LEAD).unwrap()) {
            let truth = &one.y[one.y.len() - back..][..LEAD];
            lost += pinball(&forecast, truth);
            sold += truth.iter().map(|y| f64::from(*y)).sum::<f64>();
        }
    }
    lost / sold
}

fn pinball(forecast: &Forecast, truth: &[f32]) -> f64 {
    let cell =
        |quantile: f32, y: f32, level: f32| f64::from(if y > quantile { level } else { level - 1.0 } * (y - quantile));
    let steps = forecast.quantiles.iter().zip(truth);
    steps.flat_map(|(row, y)| row.iter().zip(QUANTILES).map(|(q, level)| 2.0 * cell(*q, *y, level))).sum::<f64>() / 9.0
}

#[test]
fn views_that_lead_sales_make_forecasts_better_and_views_joined_wrongly_do_not() {
    let without = loss(None, None);
    let with = loss(Some(PastChannel::Views), None);
    assert!(with < 0.85 * without, "with views {with}, without {without}");
    for mislead in [Mislead::OtherProduct, Mislead::OtherDays] {
        let misled = loss(Some(PastChannel::Views), Some(mislead));
        assert!(misled > 0.95 * without, "with wrong views {misled}, without {without}");
    }
    // Carts, of which there are none here, change nothing at all.
    assert_eq!(loss(Some(PastChannel::Carts), None), without);
}
