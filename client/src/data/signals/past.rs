//! Records and stock of a series' products, by step.
//!
//! Counts are sums over a step, reviews and scores are totals and means so far, stock is the last that was known. A value
//! belongs to the step in which it became known, so a window sees of it what was known then.

use jiff::civil::Date;

use super::{Named, PastChannel, Record, Stock, records::What};
use crate::data::{
    order::{days_between, plus_days},
    series::{Frequency, Series},
};

/// Channels of the past that there are.
pub const PAST_CHANNELS: usize = PastChannel::ALL.len();

/// Days for which a quantity on hand is taken to be still there.
const STOCK_STAYS_DAYS: i64 = 7;

/// From when to when something was recorded at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub first: Date,
    pub last: Date,
}

impl Span {
    /// Of the days given; `None` without any.
    pub fn of(days: impl Iterator<Item = Date>) -> Option<Self> {
        days.fold(None, |span: Option<Self>, day| {
            Some(span.map_or(Self { first: day, last: day }, |span| Self {
                first: span.first.min(day),
                last: span.last.max(day),
            }))
        })
    }
}

/// Where a channel is in a row.
pub(super) fn at(channel: PastChannel) -> usize {
    PastChannel::ALL.iter().position(|one| *one == channel).unwrap_or(0)
}

/// The channel of what was recorded.
fn channel(what: What) -> PastChannel {
    match what {
        What::Event(kind) => kind.channel(),
        What::Return => PastChannel::Returns,
        What::Review(_) => PastChannel::Reviews,
    }
}

/// Channels of the past of one series, `[y.len()][PAST_CHANNELS]`; `NaN` where nothing is known.
///
/// `records` and `stock` are those of its products. `span` says of a channel from when to when it was recorded anywhere;
/// where it is `None`, the series itself decides: a channel without a record is missing, otherwise a step without one is 0.
pub(super) fn channels<'a>(
    series: &Series,
    records: &[&Record<'_>],
    stock: impl Iterator<Item = (&'a str, &'a Stock)>,
    span: impl Fn(PastChannel) -> Option<Span>,
) -> Vec<[f32; PAST_CHANNELS]> {
    let steps = series.y.len();
    let mut rows = vec![[0.0_f64; PAST_CHANNELS]; steps];
    let mut seen = [false; PAST_CHANNELS];
    // Reviews and scored reviews of each step; those from before the series began are in the first.
    let mut scores = vec![(0.0, 0.0); steps];
    for record in records {
        let at = at(channel(record.what));
        let step = series.step_of(record.day);
        if let What::Review(score) = record.what {
            let Some(row) = rows.get_mut(step.unwrap_or(0)) else { continue };
            seen[at] = true;
            row[at] += record.amount;
            if let Some(score) = score {
                let (sum, count) = &mut scores[step.unwrap_or(0)];
                (*sum, *count) = (*sum + score, *count + 1.0);
            }
        } else if let Some(row) = step.and_then(|step| rows.get_mut(step)) {
            seen[at] = true;
            row[at] += record.amount;
        }
    }
    for channel in PastChannel::ALL.iter().copied() {
        let at = at(channel);
        match channel {
            PastChannel::ReviewScore | PastChannel::Stock => {}
            PastChannel::Reviews => {
                let mut sum = 0.0;
                for row in &mut rows {
                    sum += row[at];
                    row[at] = sum;
                }
            }
            _ => {
                let span = span(channel);
                for (step, row) in rows.iter_mut().enumerate() {
                    let first = series.date(step);
                    let last = plus_days(first, series.frequency.days() - 1);
                    let is_known = match span {
                        Some(span) => span.first <= first && last <= span.last,
                        None => seen[at],
                    };
                    if !is_known {
                        row[at] = f64::NAN;
                    }
                }
            }
        }
    }
    let (mut sum, mut count) = (0.0, 0.0);
    for (row, (scored, scores)) in rows.iter_mut().zip(scores) {
        (sum, count) = (sum + scored, count + scores);
        row[at(PastChannel::ReviewScore)] = if count > 0.0 { sum / count } else { f64::NAN };
    }
    let on_hand = on_hand(series, steps, stock);
    for (row, units) in rows.iter_mut().zip(on_hand) {
        row[at(PastChannel::Stock)] = units.unwrap_or(f64::NAN);
    }
    rows.into_iter().map(|row| row.map(|value| value as f32)).collect()
}

/// Units on hand at the end of each step: the last quantity known of each product, added up.
fn on_hand<'a>(series: &Series, steps: usize, stock: impl Iterator<Item = (&'a str, &'a Stock)>) -> Vec<Option<f64>> {
    let mut total: Vec<Option<f64>> = vec![None; steps];
    for days in stock.filter_map(|(product, stock)| stock.get(product)) {
        for (step, total) in total.iter_mut().enumerate() {
            let end = plus_days(series.date(step), series.frequency.days() - 1);
            let known = days.range(..=end).rev().find_map(|(day, entry)| Some((*day, entry.on_hand?)));
            if let Some((_, units)) = known.filter(|(day, _)| days_between(*day, end) < STOCK_STAYS_DAYS) {
                *total = Some(total.unwrap_or(0.0) + units.max(0.0));
            }
        }
    }
    total
}

/// Days of a week on which a product could be bought at least, for the week to count.
const IN_STOCK_DAYS_MIN: usize = 4;

/// Takes steps without stock out of the target: they are missing, not zero. A step on which something was sold stays.
///
/// A step is without stock when the stock table says so of every product of the series, on the day, or on so many days of
/// the week that fewer than four were left.
pub(super) fn censor(series: &mut Series, products: &[&str], stock: &Stock) {
    let tables: Vec<_> = products.iter().filter_map(|product| stock.get(*product)).collect();
    if tables.is_empty() || tables.len() < products.len() {
        return;
    }
    for step in 0..series.y.len() {
        if series.y[step].is_nan() || series.y[step] > 0.0 {
            continue;
        }
        let first = series.date(step);
        let available = (0..series.frequency.days())
            .map(|day| plus_days(first, day))
            .filter(|day| tables.iter().any(|days| !days.get(day).is_some_and(|entry| entry.is_out())))
            .count();
        let is_open = match series.frequency {
            Frequency::Daily => available == 1,
            Frequency::Weekly => available >= IN_STOCK_DAYS_MIN,
        };
        if !is_open {
            series.y[step] = f32::NAN;
        }
    }
}
