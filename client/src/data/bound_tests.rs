use jiff::civil::{Date, date, datetime};
use proptest::prelude::*;

use super::*;
use crate::data::{order::LineStatus, pseudonym::DataSecret};

const BOUNDS: ContributionBounds = ContributionBounds { order_lines: 4, series: 2, units: 10.0 };

fn key() -> ContributionKey {
    DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key()
}

fn january() -> Period {
    Period::new(date(2024, 1, 1), date(2024, 1, 31)).unwrap()
}

fn line(customer: Option<u8>, order: u16, product: u8, day: i8, quantity: f64) -> OrderLine {
    OrderLine {
        order: format!("o{order}"),
        line: None,
        customer: customer.map(|byte| CustomerPseudonym([byte; 16])),
        product: format!("p{product}"),
        at: datetime(2024, 1, day, 10, 0, 0, 0),
        quantity,
        unit_price: Some(1.5),
        discount: 0.0,
        status: LineStatus::Sold,
        channel: None,
    }
}

fn bounded(lines: &[OrderLine]) -> (Vec<OrderLine>, BoundReport) {
    bound_contributions(lines, &BOUNDS, &key(), january(), SeriesKey::Product, &Catalogue::default())
}

fn lines_strategy() -> impl Strategy<Value = Vec<OrderLine>> {
    let line = (proptest::option::weighted(0.8, 0_u8..5), 0_u16..300, 0_u8..6, 1_i8..32, 1_u8..9)
        .prop_map(|(customer, order, product, day, units)| line(customer, order, product, day, f64::from(units)));
    proptest::collection::vec(line, 0..60)
}

#[test]
fn lines_beyond_each_bound_are_dropped_and_units_beyond_q_are_cut_off() {
    let many_lines: Vec<_> = (0..9).map(|order| line(Some(1), order, 0, 3, 1.0)).collect();
    assert_eq!(bounded(&many_lines).0.len(), 4);
    let many_series: Vec<_> = (0..9).map(|product| line(Some(1), 0, product, 3, 1.0)).collect();
    assert_eq!(bounded(&many_series).0.len(), 2);
    let (kept, report) = bounded(&[line(Some(1), 0, 0, 3, 80_995.0)]);
    assert_eq!(kept[0].quantity, 10.0);
    assert_eq!((report.customers_cut, report.lines_kept), (1, 1));
}

#[test]
fn anonymous_lines_are_a_customer_each() {
    let lines: Vec<_> = (0..9).map(|order| line(None, order, (order % 5) as u8, 3, 12.0)).collect();
    let (kept, report) = bounded(&lines);
    assert_eq!(kept.len(), 9);
    assert!(kept.iter().all(|line| line.quantity == 10.0));
    assert_eq!((report.customers, report.anonymous_lines, report.customers_cut), (0, 9, 9));
}

#[test]
fn lines_outside_the_period_neither_count_nor_push_others_out() {
    let mut lines: Vec<_> = (0..4).map(|order| line(Some(1), order, 0, 3, 1.0)).collect();
    let before = bounded(&lines).0;
    for order in 10..30 {
        let mut old = line(Some(1), order, 3, 3, 1.0);
        old.at = datetime(2023, 12, 31, 23, 59, 59, 0);
        lines.push(old);
    }
    assert_eq!(bounded(&lines).0, before);
}

#[test]
fn the_category_can_be_the_series() {
    let lines: Vec<_> = (0..4).map(|product| line(Some(1), 0, product, 3, 1.0)).collect();
    let kept = bound_contributions(&lines, &BOUNDS, &key(), january(), SeriesKey::Category, &Catalogue::default()).0;
    assert_eq!(kept.len(), 4, "four products of one category are one series");
}

#[test]
fn an_undefined_bound_keeps_nothing() {
    let none = ContributionBounds { units: f64::NAN, ..BOUNDS };
    let lines = [line(Some(1), 0, 0, 3, 1.0)];
    let kept = bound_contributions(&lines, &none, &key(), january(), SeriesKey::Product, &Catalogue::default()).0;
    assert!(kept.is_empty());
}

#[test]
fn the_report_says_what_share_was_dropped() {
    let lines: Vec<_> = (0..8).map(|order| line(Some(1), order, 0, 3, 1.0)).collect();
    let report = bounded(&lines).1;
    assert_eq!((report.lines_dropped_share(), report.units_dropped_share()), (0.5, 0.5));
    assert_eq!(BoundReport::default().lines_dropped_share(), 0.0);
}

/// Greatest lines, series and units of any customer.
fn contributions(kept: &[OrderLine]) -> impl Iterator<Item = (usize, usize, f64)> {
    let mut customers: BTreeMap<_, (usize, BTreeSet<&str>, f64)> = BTreeMap::new();
    for (index, line) in kept.iter().enumerate() {
        let unit = line.customer.ok_or(index);
        let entry = customers.entry(unit).or_default();
        entry.0 += 1;
        entry.1.insert(&line.product);
        entry.2 += line.quantity;
    }
    customers.into_values().map(|(lines, series, units)| (lines, series.len(), units))
}

fn assert_bounds_hold(kept: &[OrderLine]) {
    for (lines, series, units) in contributions(kept) {
        assert!(lines <= 4 && series <= 2 && units <= 10.0, "{lines} lines, {series} series, {units} units");
    }
}

proptest! {
    #[test]
    fn no_customer_exceeds_a_bound(lines in lines_strategy()) {
        assert_bounds_hold(&bounded(&lines).0);
    }

    #[test]
    fn removing_one_customer_leaves_every_other_kept_line_identical(lines in lines_strategy(), gone in 0_u8..5) {
        let gone = Some(CustomerPseudonym([gone; 16]));
        let mut with = bounded(&lines).0;
        with.retain(|line| line.customer != gone);
        let others: Vec<_> = lines.into_iter().filter(|line| line.customer != gone).collect();
        prop_assert_eq!(with, bounded(&others).0);
    }

    #[test]
    fn removing_one_anonymous_line_leaves_every_other_kept_line_identical(lines in lines_strategy(), pick: prop::sample::Index) {
        let anonymous: Vec<usize> = (0..lines.len()).filter(|&i| lines[i].customer.is_none()).collect();
        if !anonymous.is_empty() {
            let index = *pick.get(&anonymous);
            let mut with = bounded(&lines).0;
            let mut others = lines.clone();
            let removed = others.remove(index);
            let quantity = removed.quantity.min(10.0);
            let removed = OrderLine { quantity, ..removed };
            let at = with.iter().position(|line| *line == removed).expect("an anonymous line is always kept");
            with.remove(at);
            prop_assert_eq!(with, bounded(&others).0);
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter((lines, shuffled) in lines_strategy().prop_flat_map(|lines| (Just(lines.clone()), Just(lines).prop_shuffle()))) {
        prop_assert_eq!(bounded(&lines).0, bounded(&shuffled).0);
    }

    #[test]
    fn the_bounds_hold_after_every_later_import(first in lines_strategy(), later in lines_strategy()) {
        let mut stored = first;
        assert_bounds_hold(&bounded(&stored).0);
        stored.extend(later);
        assert_bounds_hold(&bounded(&stored).0);
    }

    #[test]
    fn a_customer_changes_at_most_l_series(lines in lines_strategy(), gone in 0_u8..5) {
        use crate::data::series::{Frequency, SeriesSpec, series_from_orders};
        let spec = SeriesSpec { frequency: Frequency::Daily, period: january(), future_steps: 7, key: SeriesKey::Product };
        let build = |lines: &[OrderLine]| -> BTreeMap<String, (Date, Vec<u32>)> {
            series_from_orders(&bounded(lines).0, &Catalogue::default(), &spec)
                .into_iter()
                .map(|series| (series.id, (series.start, series.y.iter().map(|y| y.to_bits()).collect())))
                .collect()
        };
        let with = build(&lines);
        let others: Vec<_> =
            lines.into_iter().filter(|line| line.customer != Some(CustomerPseudonym([gone; 16]))).collect();
        let without = build(&others);
        let ids: BTreeSet<_> = with.keys().chain(without.keys()).collect();
        let changed = ids.into_iter().filter(|id| with.get(*id) != without.get(*id)).count();
        prop_assert!(changed <= 2, "{changed} series changed");
    }
}
