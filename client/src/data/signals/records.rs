//! What customers did, as records of a product, a day and a customer: the form in which it is joined and bounded.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::{EventKind, Inputs, PastChannel, Signals};
use crate::data::order::{CustomerPseudonym, OrderLine};

/// What a record counts towards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::data) enum What {
    /// An event.
    Event(EventKind),
    /// Units sent back.
    Return,
    /// A review, with its score from 0 to 1.
    Review(Option<f64>),
}

/// One thing that somebody did.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::data) struct Record<'a> {
    pub product: &'a str,
    pub day: Date,
    pub customer: Option<CustomerPseudonym>,
    pub what: What,
    /// Events, units or reviews.
    pub amount: f64,
}

impl EventKind {
    /// The channel that it counts towards.
    pub(super) fn channel(self) -> PastChannel {
        match self {
            Self::View => PastChannel::Views,
            Self::Cart => PastChannel::Carts,
            Self::Wish => PastChannel::Wishlists,
            Self::Search => PastChannel::Searches,
        }
    }
}

/// Records that the chosen channels are made of. `lines` are all order lines, as imported.
///
/// Goods that came back count on the day of a line with a negative quantity. A line that is *marked* as returned says
/// nothing of when, and would tell the past what became known later. A review that names only its order is one of every
/// product in it, where reviews of orders are wanted.
pub(in crate::data) fn records<'a>(
    signals: &'a Signals,
    lines: &'a [OrderLine],
    inputs: Inputs,
    of_orders: bool,
) -> Vec<Record<'a>> {
    let chosen = inputs.past_channels;
    let mut records: Vec<Record<'a>> = signals
        .events
        .iter()
        .filter(|event| chosen.has(event.kind.channel()))
        .map(|event| Record {
            product: &event.product,
            day: event.at.date(),
            customer: event.customer,
            what: What::Event(event.kind),
            amount: event.count,
        })
        .collect();
    if chosen.has(PastChannel::Returns) {
        records.extend(lines.iter().filter(|line| line.quantity < 0.0).map(|line| Record {
            product: &line.product,
            day: line.at.date(),
            customer: line.customer,
            what: What::Return,
            amount: -line.quantity,
        }));
    }
    if chosen.has(PastChannel::Reviews) || chosen.has(PastChannel::ReviewScore) {
        let of_order = products_of_orders(signals, lines);
        for review in &signals.reviews {
            let record = |product| Record {
                product,
                day: review.at.date(),
                customer: review.customer,
                what: What::Review(review.score),
                amount: 1.0,
            };
            if review.product.is_empty() {
                if !of_orders {
                    continue;
                }
                let products = of_order.get(review.order.as_str()).into_iter().flatten();
                records.extend(products.map(|product| record(product)));
            } else {
                records.push(record(&review.product));
            }
        }
    }
    records
}

/// Products of the orders that a review names without a product.
pub(super) fn products_of_orders<'a>(
    signals: &'a Signals,
    lines: &'a [OrderLine],
) -> BTreeMap<&'a str, BTreeSet<&'a str>> {
    let by_order = |review: &&super::Review| review.product.is_empty() && !review.order.is_empty();
    let named: BTreeSet<&str> = signals.reviews.iter().filter(by_order).map(|review| review.order.as_str()).collect();
    let mut products: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in lines.iter().filter(|line| named.contains(line.order.as_str())) {
        products.entry(&line.order).or_default().insert(&line.product);
    }
    products
}
