//! Giving series what a model reads beside them, joined on product and day.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    EventKind, Inputs, PastChannel, Record, Signals, known,
    past::{self, Span},
    records::products_of_orders,
};
use crate::{
    data::{
        order::{Catalogue, OrderLine},
        series::{Further, Series, SeriesKey},
    },
    text::projection::project,
};

/// Reviews of a product whose texts are read, the latest ones.
const REVIEWS_READ: usize = 5;
/// Characters of a review that are read.
const REVIEW_READ: usize = 300;

/// What is joined with series.
pub struct Joined<'a> {
    pub(in crate::data) records: Vec<Record<'a>>,
    /// The order lines that the series were built from.
    pub lines: &'a [OrderLine],
    /// The tables; of events and reviews only `records` is read.
    pub signals: &'a Signals,
    /// What the merchant authored.
    pub catalogue: &'a Catalogue,
    /// What one series is.
    pub key: SeriesKey,
    /// What the model reads.
    pub inputs: Inputs,
    /// Whether to say from when to when events were recorded at all, which is a statistic over all customers.
    pub spans: bool,
    /// Whether days without stock, as the stock table has them, are missing in the target.
    pub censors: bool,
}

/// Adds to every series what its products have of the chosen inputs.
pub fn attach(series: &mut [Series], joined: &Joined<'_>) {
    let Joined { signals, catalogue, key, inputs, .. } = joined;
    let reads_something = !inputs.is_empty();
    let censors = joined.censors && !signals.stock.is_empty();
    if !reads_something && !censors {
        return;
    }
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let named = catalogue.products.keys().chain(catalogue.calendar.keys()).chain(signals.stock.keys());
    let acted_on = joined.records.iter().map(|record| record.product);
    let sold = joined.lines.iter().map(|line| line.product.as_str());
    for product in named.map(String::as_str).chain(acted_on).chain(sold) {
        members.entry(key.series_of(product, catalogue)).or_default().insert(product);
    }
    let mut records: BTreeMap<&str, Vec<&Record<'_>>> = BTreeMap::new();
    for record in &joined.records {
        records.entry(key.series_of(record.product, catalogue)).or_default().push(record);
    }
    let spans: BTreeMap<usize, Span> = EventKind::ALL
        .into_iter()
        .filter(|_| joined.spans)
        .filter_map(|kind| {
            let days = signals.events.iter().filter(|event| event.kind == kind).map(|event| event.at.date());
            Some((past::at(kind.channel()), Span::of(days)?))
        })
        .collect();
    for one in series {
        let products: Vec<&str> = members.get(one.id.as_str()).into_iter().flatten().copied().collect();
        if censors {
            past::censor(one, &products, &signals.stock);
        }
        if !reads_something {
            continue;
        }
        let chosen = inputs.past_channels;
        let stock = products.iter().filter(|_| chosen.has(PastChannel::Stock)).map(|id| (*id, &signals.stock));
        let own = records.get(one.id.as_str()).map_or(&[][..], Vec::as_slice);
        let span = |channel| spans.get(&past::at(channel)).copied();
        let past = if chosen.is_empty() { Vec::new() } else { past::channels(one, own, stock, span) };
        let known = match inputs.known_channels.is_empty() {
            true => Vec::new(),
            false => known::channels(one, &products, catalogue, &signals.occasions),
        };
        let vector = signals.vectors.get(&one.id).filter(|_| inputs.vectors && *key == SeriesKey::Product);
        let vector = vector.map(|vector| project(vector)).unwrap_or_default();
        one.further = Some(Arc::new(Further { past, known, vector, returns: Vec::new() }));
    }
}

/// Adds the latest reviews to the texts of products. For models that never leave: they are customers' words.
pub(in crate::data) fn add_review_texts(series: &mut [Series], signals: &Signals, lines: &[OrderLine]) {
    let of_order = products_of_orders(signals, lines);
    let mut texts: BTreeMap<&str, Vec<(jiff::civil::DateTime, &str)>> = BTreeMap::new();
    for review in signals.reviews.iter().filter(|review| !review.text.is_empty()) {
        if !review.product.is_empty() {
            texts.entry(&review.product).or_default().push((review.at, &review.text));
        } else {
            for product in of_order.get(review.order.as_str()).into_iter().flatten() {
                texts.entry(product).or_default().push((review.at, &review.text));
            }
        }
    }
    for one in series {
        let Some(texts) = texts.get_mut(one.id.as_str()) else { continue };
        texts.sort_unstable_by(|a, b| b.cmp(a));
        for (_, text) in texts.iter().take(REVIEWS_READ) {
            if !one.text.is_empty() {
                one.text.push_str(". ");
            }
            one.text.extend(text.chars().take(REVIEW_READ));
        }
    }
}
