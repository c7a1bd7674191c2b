use jiff::civil::{DateTime, date};

use super::*;
use crate::data::{
    calendar::{DISCOUNT, HOLIDAY, PROMOTION},
    order::{LineStatus, ProductDay},
};

fn line(product: &str, day: Date, quantity: f64) -> OrderLine {
    OrderLine {
        order: format!("{product}{day}"),
        line: None,
        customer: None,
        product: product.to_owned(),
        at: DateTime::from_parts(day, jiff::civil::time(12, 0, 0, 0)),
        quantity,
        unit_price: Some(1.0),
        discount: 0.0,
        status: LineStatus::Sold,
        channel: None,
    }
}

fn spec(frequency: Frequency, start: Date, end: Date) -> SeriesSpec {
    SeriesSpec { frequency, period: Period::new(start, end).unwrap(), future_steps: 2, key: SeriesKey::Product }
}

fn january(days: i8) -> SeriesSpec {
    spec(Frequency::Daily, date(2024, 1, 1), date(2024, 1, days))
}

fn catalogue(id: &str, listed_on: Option<Date>) -> Catalogue {
    let product = Product { id: id.into(), title: "Red mug".into(), listed_on, ..Product::default() };
    Catalogue { products: BTreeMap::from([(id.to_owned(), product)]), ..Catalogue::default() }
}

fn same(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{a:?} {b:?}");
    assert!(a.iter().zip(b).all(|(a, b)| a == b || a.is_nan() && b.is_nan()), "{a:?} {b:?}");
}

#[test]
fn lines_add_up_by_day_and_a_day_without_a_sale_is_zero() {
    let lines = [
        line("mug", date(2024, 1, 2), 3.0),
        line("mug", date(2024, 1, 2), 1.0),
        line("mug", date(2024, 1, 4), 2.0),
        line("mug", date(2023, 12, 31), 9.0),
    ];
    let series = series_from_orders(&lines, &catalogue("mug", Some(date(2023, 5, 1))), &january(5));
    assert_eq!(series.len(), 1);
    assert_eq!((series[0].start, series[0].known.len()), (date(2024, 1, 1), 7));
    same(&series[0].y, &[0., 4., 0., 2., 0.]);
    assert_eq!(series[0].text, "Red mug");
}

#[test]
fn a_product_begins_on_its_listing_day_and_without_one_at_its_first_line() {
    let lines = [line("mug", date(2024, 1, 4), 2.0)];
    let listed = series_from_orders(&lines, &catalogue("mug", Some(date(2024, 1, 3))), &january(5));
    assert_eq!(listed[0].start, date(2024, 1, 3));
    same(&listed[0].y, &[0., 2., 0.]);
    let unlisted = series_from_orders(&lines, &Catalogue::default(), &january(5));
    assert_eq!(unlisted[0].start, date(2024, 1, 4));
    same(&unlisted[0].y, &[2., 0.]);
}

#[test]
fn a_product_listed_in_the_known_future_has_no_past_and_one_never_sold_has_no_series() {
    let coming = series_from_orders(&[], &catalogue("mug", Some(date(2024, 1, 6))), &january(5));
    assert_eq!((coming[0].start, coming[0].y.len(), coming[0].known.len()), (date(2024, 1, 6), 0, 2));
    assert!(series_from_orders(&[], &catalogue("mug", Some(date(2024, 2, 6))), &january(5)).is_empty());
    assert!(series_from_orders(&[], &catalogue("mug", None), &january(5)).is_empty());
}

#[test]
fn a_day_out_of_stock_is_missing_even_where_a_line_says_otherwise() {
    let mut catalogue = catalogue("mug", Some(date(2024, 1, 1)));
    let out = ProductDay { in_stock: Some(false), ..ProductDay::default() };
    let calendar = BTreeMap::from([(date(2024, 1, 2), out.clone()), (date(2024, 1, 3), out)]);
    catalogue.calendar.insert("mug".into(), calendar);
    let series = series_from_orders(&[line("mug", date(2024, 1, 3), 2.0)], &catalogue, &january(4));
    same(&series[0].y, &[0., f32::NAN, f32::NAN, 0.]);
}

#[test]
fn weeks_run_from_monday_and_partial_weeks_are_left_out() {
    // 2024-01-03 is a Wednesday; the whole weeks inside begin on the 8th and the 15th.
    let lines = [
        line("mug", date(2024, 1, 5), 100.0),
        line("mug", date(2024, 1, 8), 1.0),
        line("mug", date(2024, 1, 14), 2.0),
        line("mug", date(2024, 1, 15), 4.0),
        line("mug", date(2024, 1, 22), 100.0),
    ];
    let spec = spec(Frequency::Weekly, date(2024, 1, 3), date(2024, 1, 24));
    let series = series_from_orders(&lines, &catalogue("mug", Some(date(2023, 1, 1))), &spec);
    assert_eq!(series[0].start, date(2024, 1, 8));
    same(&series[0].y, &[3., 4.]);
    assert_eq!(series[0].known.len(), 4);
    assert_eq!(series[0].step_of(date(2024, 1, 21)), Some(1));
    assert_eq!(series[0].date(2), date(2024, 1, 22));
}

#[test]
fn a_week_with_less_than_four_days_in_stock_is_missing() {
    let spec = spec(Frequency::Weekly, date(2024, 1, 1), date(2024, 1, 14));
    let mut catalogue = catalogue("mug", Some(date(2023, 1, 1)));
    let out = ProductDay { in_stock: Some(false), ..ProductDay::default() };
    let calendar = (1..=4).chain(8..=10).map(|day| (date(2024, 1, day), out.clone())).collect();
    catalogue.calendar.insert("mug".into(), calendar);
    let series = series_from_orders(&[line("mug", date(2024, 1, 12), 2.0)], &catalogue, &spec);
    same(&series[0].y, &[f32::NAN, 2.0]);
}

#[test]
fn prices_promotions_and_holidays_are_known_beyond_the_period() {
    let mut catalogue = catalogue("mug", Some(date(2024, 1, 1)));
    let product = catalogue.products.get_mut("mug").unwrap();
    product.list_price = Some(10.0);
    let planned = ProductDay { price: Some(8.0), promotion: true, ..ProductDay::default() };
    catalogue.calendar.insert("mug".into(), BTreeMap::from([(date(2024, 1, 6), planned)]));
    catalogue.holidays.insert(date(2024, 1, 7), "a day off".into());
    let series = &series_from_orders(&[], &catalogue, &january(5))[0];
    assert_eq!((series.y.len(), series.known.len()), (5, 7));
    assert!((series.known[5][DISCOUNT] - 0.2).abs() < 1e-6);
    assert_eq!(series.known[5][PROMOTION], 1.0);
    assert_eq!(series.known[6][HOLIDAY], 1.0);
}

#[test]
fn a_week_s_promotion_is_the_share_of_its_days() {
    let spec = spec(Frequency::Weekly, date(2024, 1, 1), date(2024, 1, 14));
    let mut catalogue = catalogue("mug", Some(date(2023, 1, 1)));
    let calendar =
        (1..=7).map(|day| (date(2024, 1, day), ProductDay { promotion: day <= 2, ..ProductDay::default() })).collect();
    catalogue.calendar.insert("mug".into(), calendar);
    let series = &series_from_orders(&[], &catalogue, &spec)[0];
    assert!((series.known[0][PROMOTION] - 2.0 / 7.0).abs() < 1e-6);
}

#[test]
fn a_category_s_series_sums_its_products() {
    let mut catalogue = catalogue("mug", Some(date(2024, 1, 1)));
    catalogue.products.get_mut("mug").unwrap().category = "kitchen".into();
    let lines = [line("mug", date(2024, 1, 1), 1.0), line("saw", date(2024, 1, 2), 2.0)];
    let by_category = SeriesSpec { key: SeriesKey::Category, ..january(2) };
    let series = series_from_orders(&lines, &catalogue, &by_category);
    assert_eq!(series.iter().map(|s| s.id.as_str()).collect::<Vec<_>>(), ["kitchen", "none"]);
    same(&series[0].y, &[1., 0.]);
    let all = series_from_orders(&lines, &catalogue, &SeriesSpec { key: SeriesKey::Merchant, ..january(2) });
    same(&all[0].y, &[1., 2.]);
    assert_eq!(all[0].attributes, [("category".to_owned(), "kitchen".to_owned())]);
}

#[test]
fn lines_of_one_product_change_no_other_series() {
    let catalogue = catalogue("mug", Some(date(2024, 1, 1)));
    let mut lines = vec![line("mug", date(2024, 1, 2), 3.0), line("saw", date(2024, 1, 1), 5.0)];
    let before = series_from_orders(&lines, &catalogue, &january(5));
    lines.push(line("saw", date(2024, 1, 4), 500.0));
    lines.push(line("axe", date(2024, 1, 3), 7.0));
    let after = series_from_orders(&lines, &catalogue, &january(5));
    assert_eq!(before.iter().find(|s| s.id == "mug"), after.iter().find(|s| s.id == "mug"));
}

#[test]
fn totals_begin_at_their_first_row_and_a_missing_day_means_closed_or_zero() {
    let row = |day, value| SalesRow { series: "air".into(), date: date(2024, 1, day), value };
    let rows = [row(2, 5.0), row(4, -1.0)];
    let closed = series_from_sales(&rows, &Catalogue::default(), &january(5), MissingDay::Closed);
    assert_eq!(closed[0].start, date(2024, 1, 2));
    same(&closed[0].y, &[5., f32::NAN, -1., f32::NAN]);
    let zero = series_from_sales(&rows, &Catalogue::default(), &january(5), MissingDay::Zero);
    same(&zero[0].y, &[5., 0., -1., 0.]);
}

#[test]
fn daily_totals_add_up_to_weeks() {
    let rows: Vec<_> =
        (1..=14).map(|day| SalesRow { series: "air".into(), date: date(2024, 1, day), value: 1.0 }).collect();
    let spec = spec(Frequency::Weekly, date(2024, 1, 1), date(2024, 1, 14));
    same(&series_from_sales(&rows, &Catalogue::default(), &spec, MissingDay::Closed)[0].y, &[7., 7.]);
}
