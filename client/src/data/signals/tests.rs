//! Joining: what is known of a product on a day reaches that product's series on that day, and no other.

use jiff::civil::{Date, date};

use super::*;
use crate::data::{
    order::{Catalogue, ProductDay},
    series::{Frequency, KNOWN_CHANNELS, Series, SeriesKey},
};

fn series(id: &str, frequency: Frequency, start: Date, y: &[f32]) -> Series {
    Series {
        id: id.into(),
        frequency,
        start,
        y: y.to_vec(),
        known: vec![[0.0; KNOWN_CHANNELS]; y.len() + 2],
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    }
}

fn event(product: &str, kind: EventKind, day: Date, count: f64) -> Event {
    Event { product: product.into(), kind, customer: None, at: day.at(13, 5, 0, 0), count }
}

fn review(product: &str, order: &str, day: Date, score: f64) -> Review {
    let (product, order, text) = (product.to_owned(), order.to_owned(), format!("score {score}"));
    Review { id: String::new(), product, order, customer: None, at: day.at(8, 0, 0, 0), score: Some(score), text }
}

/// Joins everything with one series, as a merchant does for itself.
fn joined(mut one: Series, signals: &Signals, catalogue: &Catalogue) -> Series {
    let inputs = Inputs {
        past_channels: PastChannel::ALL.iter().copied().collect(),
        known_channels: KnownFeature::ALL.iter().copied().collect(),
        vectors: true,
        ..Inputs::default()
    };
    let lines = [];
    let joined = Joined {
        records: records(signals, &lines, inputs, true),
        lines: &lines,
        signals,
        catalogue,
        key: SeriesKey::Product,
        inputs,
        spans: true,
        censors: true,
    };
    attach(std::slice::from_mut(&mut one), &joined);
    one
}

fn column(series: &Series, channel: PastChannel) -> Vec<f32> {
    let at = PastChannel::ALL.iter().position(|one| *one == channel).unwrap();
    series.further.as_ref().unwrap().past.iter().map(|row| row[at]).collect()
}

#[track_caller]
fn same(found: &[f32], expected: &[f32]) {
    let is_same = |(a, b): (&f32, &f32)| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-6;
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(is_same), "{found:?} {expected:?}");
}

const NAN: f32 = f32::NAN;

#[test]
fn events_are_counted_on_their_product_and_day_and_missing_outside_what_was_logged() {
    let day = |day| date(2024, 1, day);
    let signals = Signals {
        events: vec![
            event("saw", EventKind::View, day(2), 9.0),
            event("mug", EventKind::View, day(3), 2.0),
            event("mug", EventKind::View, day(3), 1.0),
            event("mug", EventKind::Cart, day(4), 5.0),
            event("saw", EventKind::View, day(5), 9.0),
        ],
        ..Signals::default()
    };
    let mug = joined(series("mug", Frequency::Daily, day(1), &[1.; 6]), &signals, &Catalogue::default());
    // Views were logged from the 2nd to the 5th, of whatever product; carts on the 4th alone.
    same(&column(&mug, PastChannel::Views), &[NAN, 0., 3., 0., 0., NAN]);
    same(&column(&mug, PastChannel::Carts), &[NAN, NAN, NAN, 5., NAN, NAN]);
}

#[test]
fn weeks_add_counts_up_and_keep_the_last_score_and_stock() {
    let day = |day| date(2024, 1, day);
    let stock = |on_hand: f64| StockDay { on_hand: Some(on_hand), in_stock: None };
    let signals = Signals {
        events: (1..=14).map(|at| event("mug", EventKind::View, day(at), f64::from(at))).collect(),
        reviews: vec![review("mug", "", day(2), 1.0), review("mug", "", day(9), 0.5), review("saw", "", day(9), 0.0)],
        stock: [("mug".to_owned(), [(day(1), stock(9.0)), (day(6), stock(4.0)), (day(8), stock(7.0))].into())].into(),
        ..Signals::default()
    };
    let mug = joined(series("mug", Frequency::Weekly, day(1), &[1.; 2]), &signals, &Catalogue::default());
    same(&column(&mug, PastChannel::Views), &[28., 77.]);
    same(&column(&mug, PastChannel::Reviews), &[1., 2.]);
    same(&column(&mug, PastChannel::ReviewScore), &[1., 0.75]);
    same(&column(&mug, PastChannel::Stock), &[4., 7.]);
}

#[test]
fn a_score_is_known_from_its_day_on_and_stock_for_a_week() {
    let day = |day| date(2024, 1, day);
    let stock = [("mug".to_owned(), [(day(2), StockDay { on_hand: Some(3.0), in_stock: None })].into())].into();
    let reviews = vec![review("mug", "", day(3), 0.5), review("mug", "", date(2023, 12, 1), 1.0)];
    let signals = Signals { reviews, stock, ..Signals::default() };
    let mug = joined(series("mug", Frequency::Daily, day(1), &[1.; 10]), &signals, &Catalogue::default());
    same(&column(&mug, PastChannel::ReviewScore), &[1., 1., 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75, 0.75]);
    same(&column(&mug, PastChannel::Stock), &[NAN, 3., 3., 3., 3., 3., 3., 3., NAN, NAN]);
}

#[test]
fn a_day_without_stock_is_missing_unless_something_was_sold_or_another_product_is_there() {
    let day = |day| date(2024, 1, day);
    let out: BTreeMap<_, _> = [1, 2, 3].map(|at| (day(at), StockDay { on_hand: Some(0.0), in_stock: None })).into();
    let signals = Signals { stock: [("mug".to_owned(), out)].into(), ..Signals::default() };
    let mug = joined(series("mug", Frequency::Daily, day(1), &[0., 2., 0., 0.]), &signals, &Catalogue::default());
    same(&mug.y, &[NAN, 2., NAN, 0.]);
    let saw = joined(series("saw", Frequency::Daily, day(1), &[0.; 4]), &signals, &Catalogue::default());
    same(&saw.y, &[0.; 4]);
    // Under the unit customer nothing is censored by stock.
    let mut one = series("mug", Frequency::Daily, day(1), &[0.; 2]);
    past::censor(&mut one, &["mug", "saw"], &signals.stock);
    same(&one.y, &[0.; 2]);
}

#[test]
fn kinds_of_promotions_and_events_are_known_in_advance() {
    let day = |day| date(2024, 1, day);
    let planned = |kind: &str| ProductDay { promotion_type: Some(kind.into()), ..ProductDay::default() };
    let mut catalogue = Catalogue::default();
    let calendar = [(day(2), planned("2 for 1")), (day(5), planned(" 2 FOR 1")), (day(6), ProductDay::default())];
    catalogue.calendar.insert("mug".into(), calendar.into());
    let signals = Signals { occasions: [(day(4), "fair".to_owned())].into(), ..Signals::default() };
    let mug = joined(series("mug", Frequency::Daily, day(1), &[1.; 4]), &signals, &catalogue);
    let known = &mug.further.as_ref().unwrap().known;
    let at = known::bucket("2 for 1");
    assert_eq!(known.iter().map(|row| row[at]).collect::<Vec<_>>(), [0., 1., 0., 0., 1., 0.]);
    let occasion: Vec<f32> = known.iter().map(|row| row[PROMOTION_BUCKETS]).collect();
    assert_eq!(occasion, [0., 0., 0., 1., 0., 0.]);
    let near: Vec<f32> = known.iter().map(|row| row[PROMOTION_BUCKETS + 1]).collect();
    assert!(near[0] < near[1] && near[1] < near[2] && near[3..] == [0., 0., 0.], "{near:?}");
}

#[test]
fn nothing_is_attached_where_nothing_was_asked_for() {
    let signals = Signals { events: vec![event("mug", EventKind::View, date(2024, 1, 1), 1.0)], ..Signals::default() };
    let mut mug = series("mug", Frequency::Daily, date(2024, 1, 1), &[1.; 3]);
    let before = mug.clone();
    let catalogue = Catalogue::default();
    let joined = Joined {
        records: records(&signals, &[], Inputs::default(), true),
        lines: &[],
        signals: &signals,
        catalogue: &catalogue,
        key: SeriesKey::Product,
        inputs: Inputs::default(),
        spans: true,
        censors: true,
    };
    assert!(joined.records.is_empty());
    attach(std::slice::from_mut(&mut mug), &joined);
    assert_eq!(mug, before);
}

#[test]
fn choices_are_written_as_names() {
    let inputs: Inputs = toml::from_str("past-channels = [\"carts\", \"views\"]\nvectors = true").unwrap();
    assert_eq!(inputs.past_channels.to_string(), "views,carts");
    assert_eq!("carts,views".parse(), Ok(inputs.past_channels));
    assert!("vues".parse::<Chosen<PastChannel>>().unwrap_err().contains("review-score"));
    assert!(toml::from_str::<Inputs>("past-channels = [\"vues\"]").is_err());
    assert_eq!(toml::from_str::<Inputs>(&toml::to_string(&inputs).unwrap()).unwrap(), inputs);
}
