//! What is known in advance beside the channels that every model reads: kinds of promotions, the merchant's events.
//!
//! A kind of promotion is a word of the merchant's. It falls into one of a few buckets by its hash, so that no list of words
//! has to be agreed on; words that share a bucket are one kind to the model.

use std::collections::BTreeMap;

use jiff::civil::Date;
use ring::digest::{SHA256, digest};

use crate::data::{
    order::{Catalogue, days_between, plus_days},
    series::Series,
};

/// Buckets of kinds of promotions.
pub const PROMOTION_BUCKETS: usize = 8;
/// Further known channels that there are: the buckets, the share of the step's days with an event, how near the next is.
pub const EXTRA_KNOWN: usize = PROMOTION_BUCKETS + 2;

/// Days before an event from which it is felt; e^(−28/7) is below 2 %.
const REACH_DAYS: i64 = 28;
/// Days in which the nearness of an event falls to 1/e. Sales and fairs are waited for longer than holidays.
const NEARNESS_DAYS: f64 = 7.0;

/// Bucket of a kind of promotion.
pub(super) fn bucket(kind: &str) -> usize {
    let word = format!("forecastle promotion type 1\0{}", kind.trim().to_lowercase());
    usize::from(digest(&SHA256, word.as_bytes()).as_ref()[0]) % PROMOTION_BUCKETS
}

/// Further known channels of one series, `[known.len()][EXTRA_KNOWN]`.
pub(super) fn channels(
    series: &Series,
    products: &[&str],
    catalogue: &Catalogue,
    occasions: &BTreeMap<Date, String>,
) -> Vec<[f32; EXTRA_KNOWN]> {
    let (steps, days) = (series.known.len(), series.frequency.days());
    let mut rows = vec![[0.0_f32; EXTRA_KNOWN]; steps];
    let mut weights = vec![0.0_f32; steps];
    for calendar in products.iter().filter_map(|product| catalogue.calendar.get(*product)) {
        for (day, authored) in calendar.range(series.start..) {
            let Some(step) = series.step_of(*day).filter(|step| *step < steps) else { break };
            weights[step] += 1.0;
            if let Some(kind) = &authored.promotion_type {
                rows[step][bucket(kind)] += 1.0;
            }
        }
    }
    for (step, (row, weight)) in rows.iter_mut().zip(weights).enumerate() {
        row.iter_mut().for_each(|share| *share /= weight.max(1.0));
        let first = series.date(step);
        let last = plus_days(first, days - 1);
        let held = occasions.range(first..=last).count();
        row[PROMOTION_BUCKETS] = held as f32 / days as f32;
        let next = occasions.range(last..=plus_days(last, REACH_DAYS)).next().filter(|_| held == 0);
        if let Some((next, _)) = next {
            row[PROMOTION_BUCKETS + 1] = (-(days_between(last, *next) as f64) / NEARNESS_DAYS).exp() as f32;
        }
    }
    rows
}
