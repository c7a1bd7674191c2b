use std::sync::Arc;

use jiff::civil::{date, datetime};
use proptest::prelude::*;

use super::*;
use crate::data::{
    clean::clean,
    series::{Further, KNOWN_CHANNELS},
    window::{StaticInputs, Window, WindowShape},
};

fn line(customer: Option<u8>, product: &str, day: i8, quantity: f64) -> OrderLine {
    OrderLine {
        order: format!("o{day}"),
        line: None,
        customer: customer.map(|byte| CustomerPseudonym([byte; 16])),
        product: product.into(),
        at: datetime(2024, 1, 1, 9, 0, 0, 0).saturating_add(jiff::Span::new().days(i64::from(day))),
        quantity,
        unit_price: Some(2.0),
        discount: 0.0,
        status: LineStatus::Sold,
        channel: None,
    }
}

fn marked(mut line: OrderLine, status: LineStatus) -> OrderLine {
    line.status = status;
    line
}

/// Sold, demand and returned of each sale.
fn units(lines: &[OrderLine], rules: &CleaningRules) -> Vec<[f64; 3]> {
    sales(lines, rules).iter().map(|sale| [sale.line.quantity, sale.demand, sale.returned]).collect()
}

const GROSS: CleaningRules =
    CleaningRules { returns: ReturnPolicy::Gross, keep_zero_prices: false, outlier_factor: 50.0 };

#[test]
fn what_came_back_is_booked_on_the_day_of_its_sale() {
    let lines = [
        line(Some(1), "mug", 0, 5.0),
        line(Some(1), "mug", 3, 2.0),
        // Three come back: both of the latest sale and one of the earlier.
        line(Some(1), "mug", 10, -3.0),
        // Another's, another product's and an anonymous sale lose nothing.
        line(Some(2), "mug", 3, 4.0),
        line(Some(1), "saw", 3, 4.0),
        line(None, "mug", 3, 4.0),
        line(None, "mug", 5, -4.0),
        marked(line(Some(2), "mug", 4, 6.0), LineStatus::Returned),
        marked(line(Some(2), "mug", 5, 7.0), LineStatus::Cancelled),
    ];
    let expected = [[5., 4., 1.], [4., 4., 0.], [2., 0., 2.], [4., 4., 0.], [4., 4., 0.], [6., 0., 6.]];
    let mut found = units(&lines, &CleaningRules::default());
    let mut expected = expected.to_vec();
    let order = |a: &[f64; 3], b: &[f64; 3]| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1]));
    found.sort_by(order);
    expected.sort_by(order);
    assert_eq!(found, expected);
    // All that was ordered is demand where the merchant says so; what came back is the same.
    let gross = units(&lines, &GROSS);
    assert!(gross.iter().all(|[sold, demand, _]| sold == demand), "{gross:?}");
    assert_eq!(gross.iter().map(|one| one[2]).sum::<f64>(), 9.0);
    assert!(are_recorded(&lines) && !are_recorded(&lines[..2]) && are_recorded(&lines[7..8]));
}

#[test]
fn what_comes_back_late_is_no_return_in_time_but_no_demand_either() {
    for (day, returned) in [(28, 2.0), (29, 0.0)] {
        let lines = [line(Some(1), "mug", 0, 5.0), line(Some(1), "mug", day, -2.0)];
        assert_eq!(units(&lines, &CleaningRules::default()), [[5.0, 3.0, returned]], "{day}");
    }
}

fn some_lines() -> impl Strategy<Value = Vec<OrderLine>> {
    let one = (proptest::option::weighted(0.8, 0_u8..4), 0_u8..3, 0_i8..60, -6_i8..9, 0_u8..8);
    let one = one.prop_filter("no line of nothing", |(_, _, _, units, _)| *units != 0);
    let one = one.prop_map(|(customer, product, day, units, status)| {
        let mut line = line(customer, &format!("p{product}"), day, f64::from(units));
        line.status = match status {
            0 => LineStatus::Returned,
            1 => LineStatus::Cancelled,
            _ => LineStatus::Sold,
        };
        line.unit_price = Some(f64::from(status % 5));
        line
    });
    proptest::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn demand_is_what_cleaning_keeps_and_nothing_comes_back_twice(lines in some_lines()) {
        for rules in [CleaningRules::default(), GROSS] {
            let sales = sales(&lines, &rules);
            prop_assert_eq!(demand(&sales), clean(&lines, &rules).0);
            for sale in &sales {
                prop_assert!(sale.returned >= 0.0 && sale.returned <= sale.line.quantity + 1e-9);
                prop_assert!(sale.demand >= 0.0 && sale.demand <= sale.line.quantity);
            }
        }
    }
}

fn series(id: &str, frequency: Frequency, steps: usize) -> Series {
    Series {
        id: id.into(),
        frequency,
        start: date(2024, 1, 1),
        y: vec![1.0; steps],
        known: vec![[0.0; KNOWN_CHANNELS]; steps + 3],
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    }
}

#[test]
fn a_series_without_a_return_says_nothing_unless_it_is_known_that_returns_are_recorded() {
    let lines = [
        line(Some(1), "mug", 0, 5.0),
        line(Some(1), "mug", 2, -3.0),
        line(Some(2), "saw", 1, 4.0),
        line(Some(2), "saw", 9, 4.0),
    ];
    let (sales, all) =
        (sales(&lines, &CleaningRules::default()), ["mug", "saw"].map(|id| series(id, Frequency::Daily, 4)));
    let found = |recorded| by_step(&sales, &all, SeriesKey::Product, &Catalogue::default(), recorded);
    let (mug, saw) = (vec![[5., 3.], [0., 0.], [0., 0.], [0., 0.]], vec![[0., 0.], [4., 0.], [0., 0.], [0., 0.]]);
    assert_eq!(found(None), [mug.clone(), vec![]]);
    assert_eq!(found(Some(true)), [mug, saw]);
    assert_eq!(found(Some(false)), [Vec::<[f32; 2]>::new(), vec![]]);
}

#[test]
fn a_window_sees_of_returns_what_was_settled_at_its_cut_and_learns_what_the_series_settled() {
    let shape = WindowShape { context: 42, horizon: 14 };
    for (frequency, settled) in [(Frequency::Daily, 28), (Frequency::Weekly, 4)] {
        let mut one = series("mug", frequency, 100);
        let returns = (0..100).map(|step| [step as f32, 1.0]).collect();
        one.further = Some(Arc::new(Further { returns, ..Further::default() }));
        let known = |series: &Series, cut: usize| -> Vec<usize> {
            let window = Window::at(series, Arc::new(StaticInputs::of(series)), cut, shape);
            let seen = window.further.unwrap().returns.clone();
            assert_eq!(seen.len(), 56);
            let first = cut - shape.context;
            let known = seen.iter().enumerate().filter(|(_, step)| step[0].is_finite());
            known.inspect(|(at, step)| assert_eq!(step[0], (first + at) as f32)).map(|(at, _)| first + at).collect()
        };
        // Of the past up to the last step that is settled at the cut, of the future up to that of the whole series.
        let last = 100 - settled;
        let expected: Vec<usize> = (38..80 - settled).chain(80..last.min(94)).collect();
        assert_eq!(known(&one, 80), expected, "{frequency:?}");
        // The series as it was known at the cut has no future to learn from, and the same past.
        assert_eq!(known(&one.up_to(80), 80), (38..80 - settled).collect::<Vec<_>>(), "{frequency:?}");
        assert_eq!(known(&one, 100), (58..100 - settled).collect::<Vec<_>>(), "{frequency:?}");
    }
}
