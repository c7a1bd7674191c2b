//! What one customer, and one series, may change of what private training sees: the whole way from tables to series.

use jiff::civil::{date, datetime};
use proptest::prelude::*;

use super::*;
use crate::data::{
    order::{CustomerPseudonym, LineStatus, Product, ProductDay},
    pseudonym::DataSecret,
    signals::{Event, EventKind, PastChannel, Review, StockDay},
};

const PLAN: &str = include_str!("../../../server/plans/four-merchants.toml");
const PRODUCTS: u8 = 12;

/// L = 2, and a merchant's reach of three series where it has up to twelve.
fn plan(unit: PrivacyUnit) -> PrivacyPlan {
    let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    plan.privacy.unit = unit;
    plan.bounds.series = 2;
    plan.bounds.order_lines = 4;
    plan.step.series_per_merchant_max = 3;
    plan.rounds.period_start = "2024-01-01".parse().unwrap();
    plan.rounds.period_end = "2024-02-29".parse().unwrap();
    plan
}

fn line(customer: Option<u8>, order: u16, product: u8, day: i8, price: u8) -> OrderLine {
    OrderLine {
        order: format!("o{order}"),
        line: None,
        customer: customer.map(|byte| CustomerPseudonym([byte; 16])),
        product: format!("p{product}"),
        at: datetime(2024, 1, day, 10, 0, 0, 0),
        quantity: f64::from(order % 7 + 1),
        unit_price: Some(f64::from(price)),
        discount: f64::from(price % 3) / 10.0,
        status: if order.is_multiple_of(11) { LineStatus::Returned } else { LineStatus::Sold },
        channel: None,
    }
}

fn lines() -> impl Strategy<Value = Vec<OrderLine>> {
    let line = (proptest::option::weighted(0.9, 0_u8..6), 0_u16..400, 0_u8..PRODUCTS, 1_i8..32, 1_u8..20)
        .prop_map(|(customer, order, product, day, price)| line(customer, order, product, day, price));
    proptest::collection::vec(line, 0..80)
}

/// A third of the products is listed, a third has a calendar, of the rest only lines tell.
fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::default();
    for product in 0..PRODUCTS {
        let id = format!("p{product}");
        match product % 3 {
            0 => {
                let listed_on = Some(date(2024, 1, 3));
                let product =
                    Product { id: id.clone(), listed_on, title: format!("mug {product}"), ..Product::default() };
                catalogue.products.insert(id, product);
            }
            1 => {
                let day = ProductDay { price: Some(3.0), promotion: true, ..ProductDay::default() };
                catalogue.calendar.insert(id, [(date(2024, 1, 20), day)].into());
            }
            _ => {}
        }
    }
    catalogue
}

/// Every series with all that training sees of it, floats by their bits.
fn seen(orders: &[OrderLine], plan: &PrivacyPlan, by: SeriesKey) -> Vec<(String, String)> {
    seen_with(orders, &Signals::default(), plan, by)
}

/// The same, of a model that reads everything that the unit can bound.
fn seen_with(orders: &[OrderLine], signals: &Signals, plan: &PrivacyPlan, by: SeriesKey) -> Vec<(String, String)> {
    let catalogue = catalogue();
    let key = DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key();
    let tables = Tables { orders, sales: &[], catalogue: &catalogue, signals: Some(signals), key };
    let choice = SeriesChoice { by, ..SeriesChoice::default() }.for_inputs(private::all(plan.privacy.unit));
    match bounded_series(&tables, choice, Frequency::Daily, plan) {
        Ok(prepared) => prepared
            .series
            .into_iter()
            .map(|s| {
                let y: Vec<u32> = s.y.iter().map(|y| y.to_bits()).collect();
                let known: Vec<_> = s.known.iter().map(|step| step.map(f32::to_bits)).collect();
                let further = s.further.as_deref().cloned().unwrap_or_default();
                let past: Vec<_> = further.past.iter().map(|step| step.map(f32::to_bits)).collect();
                let returns: Vec<_> = further.returns.iter().map(|step| step.map(f32::to_bits)).collect();
                let all = format!("{} {y:?} {known:?} {:?} {} {past:?} {returns:?}", s.start, s.attributes, s.text);
                (s.id, all)
            })
            .collect(),
        Err(PrepareError::Empty | PrepareError::NothingInPeriod { .. }) => Vec::new(),
        Err(error) => panic!("{error}"),
    }
}

/// Series that are in one and not, or not the same, in the other.
fn changed(with: &[(String, String)], without: &[(String, String)]) -> usize {
    let one_way = |a: &[(String, String)], b: &[(String, String)]| -> std::collections::BTreeSet<String> {
        a.iter().filter(|series| !b.contains(series)).map(|(id, _)| id.clone()).collect()
    };
    one_way(with, without).union(&one_way(without, with)).count()
}

proptest! {
    #[test]
    fn one_customer_changes_at_most_l_series_however_many_there_are(lines in lines(), gone in 0_u8..6) {
        let plan = plan(PrivacyUnit::Customer);
        let others: Vec<_> =
            lines.iter().filter(|line| line.customer != Some(CustomerPseudonym([gone; 16]))).cloned().collect();
        for by in [SeriesKey::Product, SeriesKey::Category] {
            // An empty data set has no series at all, whatever the catalogue says: the merchant has to import first.
            if !others.is_empty() {
                let changed = changed(&seen(&lines, &plan, by), &seen(&others, &plan, by));
                prop_assert!(changed <= 2, "{changed} series changed");
            }
        }
    }

    #[test]
    fn one_series_more_or_less_changes_no_other(lines in lines(), gone in 0_u8..PRODUCTS) {
        let plan = plan(PrivacyUnit::Series);
        let product = format!("p{gone}");
        let others: Vec<_> = lines.iter().filter(|line| line.product != product).cloned().collect();
        if !others.is_empty() {
            let (with, without) = (seen(&lines, &plan, SeriesKey::Product), seen(&others, &plan, SeriesKey::Product));
            prop_assert!(changed(&with, &without) <= 1);
        }
    }
}

#[test]
fn no_series_is_left_out_for_being_one_too_many() {
    let lines: Vec<_> = (0..PRODUCTS).map(|product| line(Some(product), 1, product, 5, 2)).collect();
    let plan = plan(PrivacyUnit::Customer);
    assert_eq!(seen(&lines, &plan, SeriesKey::Product).len(), usize::from(PRODUCTS));
}

/// Views, carts, reviews of products and of orders, and stock, some of it by nobody known.
fn signals() -> impl Strategy<Value = Signals> {
    let by = || proptest::option::weighted(0.9, 0_u8..6).prop_map(|by| by.map(|byte| CustomerPseudonym([byte; 16])));
    let at = |day| datetime(2024, 1, day, 9, 0, 0, 0);
    let event =
        (by(), 0_u8..PRODUCTS, 1_i8..32, 0_usize..4, 1_u8..9).prop_map(move |(customer, product, day, kind, count)| {
            Event {
                product: format!("p{product}").into(),
                kind: EventKind::ALL[kind],
                customer,
                at: at(day),
                count: f64::from(count),
            }
        });
    let review = (by(), 0_u8..PRODUCTS, 1_i8..32, 0_u16..400, any::<bool>()).prop_map(
        move |(customer, product, day, order, by_order)| Review {
            id: String::new(),
            product: if by_order { String::new() } else { format!("p{product}") },
            order: format!("o{order}"),
            customer,
            at: at(day),
            score: Some(f64::from(product % 5) / 4.0),
            text: "words of a customer".into(),
        },
    );
    let stock = (0_u8..PRODUCTS, 1_i8..32, 0_u8..3);
    use proptest::collection::vec;
    (vec(event, 0..80), vec(review, 0..30), vec(stock, 0..60)).prop_map(|(events, reviews, stock)| {
        let mut signals = Signals { events, reviews, ..Signals::default() };
        for (product, day, units) in stock {
            let entry = StockDay { on_hand: Some(f64::from(units)), in_stock: None };
            signals.stock.entry(format!("p{product}")).or_default().insert(date(2024, 1, day), entry);
        }
        signals
    })
}

/// Order lines of which every fifth came back, as a line of its own.
fn lines_and_returns() -> impl Strategy<Value = Vec<OrderLine>> {
    lines().prop_map(|mut lines| {
        for line in lines.iter_mut().step_by(5) {
            (line.quantity, line.status) = (-line.quantity, LineStatus::Sold);
        }
        lines
    })
}

proptest! {
    #[test]
    fn one_customer_changes_at_most_l_series_by_all_that_it_did(
        lines in lines_and_returns(), signals in signals(), gone in 0_u8..6
    ) {
        let plan = plan(PrivacyUnit::Customer);
        let is_gone = |customer: Option<CustomerPseudonym>| customer == Some(CustomerPseudonym([gone; 16]));
        let other_lines: Vec<_> = lines.iter().filter(|line| !is_gone(line.customer)).cloned().collect();
        let mut others = signals.clone();
        others.events.retain(|event| !is_gone(event.customer));
        others.reviews.retain(|review| !is_gone(review.customer));
        for by in [SeriesKey::Product, SeriesKey::Category] {
            if !other_lines.is_empty() {
                let with = seen_with(&lines, &signals, &plan, by);
                let without = seen_with(&other_lines, &others, &plan, by);
                let changed = changed(&with, &without);
                prop_assert!(changed <= 2, "{changed} series changed");
            }
        }
    }

    #[test]
    fn one_series_more_or_less_with_all_that_is_known_of_it_changes_no_other(
        lines in lines_and_returns(), signals in signals(), gone in 0_u8..PRODUCTS
    ) {
        let plan = plan(PrivacyUnit::Series);
        let product = format!("p{gone}");
        let other_lines: Vec<_> = lines.iter().filter(|line| line.product != product).cloned().collect();
        let mut others = signals.clone();
        others.events.retain(|event| *event.product != *product);
        others.reviews.retain(|review| review.product != product);
        others.stock.remove(&product);
        if !other_lines.is_empty() {
            let with = seen_with(&lines, &signals, &plan, SeriesKey::Product);
            let without = seen_with(&other_lines, &others, &plan, SeriesKey::Product);
            prop_assert!(changed(&with, &without) <= 1);
        }
    }
}

#[test]
fn records_count_where_they_are_bounded_and_only_there() {
    let plan = plan(PrivacyUnit::Customer);
    let lines: Vec<_> = (0_u8..4).map(|day| line(Some(1), 1 + u16::from(day), 0, 5 + day as i8, 2)).collect();
    let view = |customer: Option<u8>, product: u8| Event {
        product: format!("p{product}").into(),
        kind: EventKind::View,
        customer: customer.map(|byte| CustomerPseudonym([byte; 16])),
        at: datetime(2024, 1, 6, 9, 0, 0, 0),
        count: 1.0,
    };
    // One customer looks at everything and buys p0; somebody unknown looks at p0 as well.
    let mut events: Vec<_> = (0..PRODUCTS).map(|product| view(Some(1), product)).collect();
    events.push(view(None, 0));
    let signals = Signals { events, ..Signals::default() };
    let catalogue = catalogue();
    let key = DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key();
    let tables = Tables { orders: &lines, sales: &[], catalogue: &catalogue, signals: Some(&signals), key };
    let inputs = Inputs { past_channels: [PastChannel::Views].into_iter().collect(), ..Inputs::default() };
    let choice = SeriesChoice::default().for_inputs(inputs);
    let views = |series: Vec<Series>| -> Vec<(String, f32)> {
        let total = |s: &Series| s.further.as_ref().unwrap().past.iter().map(|row| row[0]).filter(|v| *v > 0.0).sum();
        series.iter().map(|s| (s.id.clone(), total(s))).filter(|(_, views)| *views > 0.0).collect()
    };
    let bounded = views(bounded_series(&tables, choice, Frequency::Daily, &plan).unwrap().series);
    // Of the further ones one is kept, of which there may be no series.
    assert!((1..=2).contains(&bounded.len()), "{bounded:?}");
    assert!(bounded.contains(&("p0".to_owned(), 1.0)), "{bounded:?}");
    let period = period_of(&plan).unwrap();
    let local = views(local_series(&tables, choice, Frequency::Daily, period, 0).unwrap().series);
    assert!(local.len() > 2 && local.contains(&("p0".to_owned(), 2.0)), "{local:?}");
}

#[test]
fn stock_is_refused_under_the_unit_customer_and_no_day_is_missing_for_it() {
    let inputs = Inputs { past_channels: [PastChannel::Stock].into_iter().collect(), ..Inputs::default() };
    let lines = [line(Some(1), 1, 0, 5, 2), line(Some(2), 2, 0, 9, 2)];
    let out = StockDay { on_hand: Some(0.0), in_stock: None };
    let stock = [("p0".to_owned(), [(date(2024, 1, 7), out)].into())].into();
    let (catalogue, signals) = (catalogue(), Signals { stock, ..Signals::default() });
    let key = DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key();
    let tables = Tables { orders: &lines, sales: &[], catalogue: &catalogue, signals: Some(&signals), key };
    let missing = |unit, inputs| -> Result<usize, PrepareError> {
        let choice = SeriesChoice::default().for_inputs(inputs);
        let series = bounded_series(&tables, choice, Frequency::Daily, &plan(unit))?.series;
        Ok(series[0].y.iter().filter(|y| y.is_nan()).count())
    };
    let error = missing(PrivacyUnit::Customer, inputs).unwrap_err();
    assert!(error.to_string().contains("`stock`"), "{error}");
    assert_eq!(missing(PrivacyUnit::Customer, Inputs::default()).unwrap(), 0);
    assert_eq!(missing(PrivacyUnit::Series, inputs).unwrap(), 1);
}

#[test]
fn one_cut_decides_what_of_a_line_was_sold_counts_and_came_back() {
    let mut plan = plan(PrivacyUnit::Customer);
    plan.bounds.units = 9.0;
    // Ten lines of one customer, every second of which came back, and a return of half another line.
    let mut lines: Vec<_> = (0..10).map(|order| line(Some(1), 1 + order, 0, 3 + order as i8, 2)).collect();
    for line in &mut lines {
        line.quantity = 4.0;
    }
    lines.iter_mut().step_by(2).for_each(|line| line.status = LineStatus::Returned);
    let mut back = line(Some(1), 40, 0, 20, 2);
    back.quantity = -2.0;
    lines.push(back);
    let catalogue = catalogue();
    let key = DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key();
    let tables = Tables { orders: &lines, sales: &[], catalogue: &catalogue, signals: None, key };
    let of = |returns, plan: Option<&PrivacyPlan>| {
        let choice = SeriesChoice::default().for_inputs(Inputs { returns, ..Inputs::default() });
        let prepared = match plan {
            Some(plan) => bounded_series(&tables, choice, Frequency::Daily, plan),
            None => local_series(
                &tables,
                choice,
                Frequency::Daily,
                Period::new(date(2024, 1, 1), date(2024, 2, 29)).unwrap(),
                0,
            ),
        };
        let series = prepared.unwrap().series;
        let one = series.iter().find(|one| one.id == "p0").unwrap().clone();
        let returns = one.further.as_ref().map(|further| further.returns.clone()).unwrap_or_default();
        let sums = returns.iter().fold([0.0; 2], |sum, step| [sum[0] + step[0], sum[1] + step[1]]);
        (one.y.iter().sum::<f32>(), sums, returns.iter().filter(|step| step[0] > 0.0).count(), one)
    };
    // At the merchant: all ten lines, and the same demand with the head and without.
    let (demand, [sold, returned], steps, with) = of(true, None);
    assert_eq!((demand, sold, returned, steps), (18.0, 40.0, 22.0, 10));
    assert_eq!((of(false, None).3.y, of(false, None).3.further), (with.y, None));
    // Under the plan at most nine units, in at most four lines; of each what counts and what came back is the whole.
    let (demand, [sold, returned], steps, _) = of(true, Some(&plan));
    assert!(sold == 9.0 && steps <= 4 && (demand + returned - sold).abs() < 1e-5, "{demand} {sold} {returned} {steps}");
    assert!(returned > 0.0);
    assert!(of(false, Some(&plan)).3.further.is_none());
}
