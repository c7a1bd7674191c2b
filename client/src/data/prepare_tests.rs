//! What one customer, and one series, may change of what private training sees: the whole way from tables to series.

use jiff::civil::{date, datetime};
use proptest::prelude::*;

use super::*;
use crate::data::{
    order::{CustomerPseudonym, LineStatus, Product, ProductDay},
    pseudonym::DataSecret,
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
    let catalogue = catalogue();
    let key = DataSecret::from_bytes(&[7; 32]).unwrap().contribution_key();
    let tables = Tables { orders, sales: &[], catalogue: &catalogue, key };
    let choice = SeriesChoice { by, ..SeriesChoice::default() };
    match bounded_series(&tables, choice, Frequency::Daily, plan) {
        Ok(prepared) => prepared
            .series
            .into_iter()
            .map(|s| {
                let y: Vec<u32> = s.y.iter().map(|y| y.to_bits()).collect();
                let known: Vec<_> = s.known.iter().map(|step| step.map(f32::to_bits)).collect();
                let all = format!("{} {y:?} {known:?} {:?} {}", s.start, s.attributes, s.text);
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
