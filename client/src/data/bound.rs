//! Contribution bounds: how much of one customer private training may ever see.
//!
//! The privacy unit "customer" is affordable only because a customer touches few series. So before training, every
//! customer's lines of the training period are cut to at most K lines, over at most L series, with at most Q units.
//!
//! # Why removing a customer changes nothing else
//! The cut is a function of (the key, the merchant's catalogue, the lines of that one customer): lines are put in the
//! order of a keyed hash of their identity, and taken greedily. No count, threshold or order is shared between
//! customers, so two data sets that differ in one customer keep identical lines of everybody else, and differ in at
//! most L series.
//!
//! # Why a later import cannot break the bound
//! The accountant charges every step for the worst pair of data sets that differ in one customer *at that step*, and
//! composes the steps adaptively. What it needs is therefore a property of each step's data set, not of their union:
//! at no step may a customer be in more than L series. Each step's data set is recomputed here from all the lines
//! stored at that moment, so it has the property whatever was imported since. A new line may push an old one out; the
//! customer is then present in other series than before, and both steps were already paid for at L series each. The
//! union over steps may exceed L, which costs nothing in that accounting. Rotating the key inside a period would not
//! break it either, but would show the federation more of a person's lines for no gain, so the key is kept.
//! (One step must use one data set: a round never mixes lines from before and after an import.)
//!
//! # What this does not do
//! Product text, prices and stock are the merchant's and are not bounded; nor is the mapping by which files were read,
//! which the merchant sees and decides about. Lines outside the period are not used. The
//! report of what was dropped is a statistic over customers and stays with the merchant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

pub use forecastle_crypto::dp::plan::ContributionBounds;
use serde::Serialize;

use super::{
    clean::by_time,
    order::{Catalogue, CustomerPseudonym, OrderLine, Period},
    pseudonym::ContributionKey,
    series::SeriesKey,
};

/// What the bounds dropped. For the merchant only: it is not differentially private.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct BoundReport {
    /// Customers with lines in the period, anonymous lines not among them.
    pub customers: usize,
    /// Lines without a customer; each counts as a customer of its own.
    pub anonymous_lines: usize,
    /// Customers (or anonymous lines) of whom something was cut.
    pub customers_cut: usize,
    /// Lines in the period.
    pub lines: usize,
    /// Lines kept.
    pub lines_kept: usize,
    /// Units in the period.
    pub units: f64,
    /// Units kept.
    pub units_kept: f64,
}

impl BoundReport {
    /// Adds what was left out elsewhere. Customers of several merchants count at each.
    pub fn add(&mut self, other: &Self) {
        self.customers += other.customers;
        self.anonymous_lines += other.anonymous_lines;
        self.customers_cut += other.customers_cut;
        self.lines += other.lines;
        self.lines_kept += other.lines_kept;
        self.units += other.units;
        self.units_kept += other.units_kept;
    }

    /// Share of lines dropped, 0 to 1.
    pub fn lines_dropped_share(&self) -> f64 {
        if self.lines == 0 { 0.0 } else { 1.0 - self.lines_kept as f64 / self.lines as f64 }
    }

    /// Share of units dropped, 0 to 1.
    pub fn units_dropped_share(&self) -> f64 {
        if self.units > 0.0 { (1.0 - self.units_kept / self.units).clamp(0.0, 1.0) } else { 0.0 }
    }
}

impl fmt::Display for BoundReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "The contribution bounds leave out {:.1} % of {} order lines ({:.1} % of the units), of {} among {} \
             customers.",
            100.0 * self.lines_dropped_share(),
            self.lines,
            100.0 * self.units_dropped_share(),
            self.customers_cut,
            self.customers + self.anonymous_lines,
        )
    }
}

/// Cuts every customer's lines of the period to the bounds.
///
/// `lines`: cleaned lines (quantities > 0). Of each customer at most `order_lines` lines, in at most `series` series
/// (`key` says what a series is), with at most `units` units together are kept; the last line kept may lose units.
/// The result is in order of time and does not depend on the order of the input.
pub fn bound_contributions(
    lines: &[OrderLine],
    bounds: &ContributionBounds,
    key: &ContributionKey,
    period: Period,
    series: SeriesKey,
    catalogue: &Catalogue,
) -> (Vec<OrderLine>, BoundReport) {
    let lines: Vec<&OrderLine> = lines.iter().collect();
    let (kept, report) = bounded_positions(&lines, bounds, key, period, series, catalogue);
    let cut = |(position, quantity): (usize, f64)| OrderLine { quantity, ..lines[position].clone() };
    let mut kept: Vec<OrderLine> = kept.into_iter().map(cut).collect();
    kept.sort_by(by_time);
    (kept, report)
}

/// As [`bound_contributions`]: positions of the lines that are kept and how many units of each, in no particular order.
pub(super) fn bounded_positions(
    lines: &[&OrderLine],
    bounds: &ContributionBounds,
    key: &ContributionKey,
    period: Period,
    series: SeriesKey,
    catalogue: &Catalogue,
) -> (Vec<(usize, f64)>, BoundReport) {
    let mut report = BoundReport::default();
    let mut customers: BTreeMap<CustomerPseudonym, Vec<usize>> = BTreeMap::new();
    let mut kept: Vec<(usize, f64)> = Vec::new();
    let mut take = |positions: &[usize], report: &mut BoundReport| {
        let units: f64 = positions.iter().map(|&position| lines[position].quantity).sum();
        let before = kept.len();
        take_bounded(lines, positions, bounds, key, |product| series.series_of(product, catalogue), &mut kept);
        let units_kept: f64 = kept[before..].iter().map(|(_, quantity)| quantity).sum();
        report.lines += positions.len();
        report.lines_kept += kept.len() - before;
        report.units += units;
        report.units_kept += units_kept;
        report.customers_cut += usize::from(kept.len() - before < positions.len() || units_kept < units);
    };
    for (position, line) in lines.iter().enumerate().filter(|(_, line)| period.contains(line.at.date())) {
        if let Some(customer) = line.customer {
            customers.entry(customer).or_default().push(position);
        } else {
            report.anonymous_lines += 1;
            take(&[position], &mut report);
        }
    }
    report.customers = customers.len();
    for positions in customers.into_values() {
        take(&positions, &mut report);
    }
    (kept, report)
}

/// Takes one customer's lines in hash order for as long as the bounds allow.
fn take_bounded<'a>(
    lines: &[&'a OrderLine],
    positions: &[usize],
    bounds: &ContributionBounds,
    key: &ContributionKey,
    series_of: impl Fn(&'a str) -> &'a str,
    kept: &mut Vec<(usize, f64)>,
) {
    let mut ranked: Vec<_> = positions.iter().map(|&at| (key.rank(&identity(lines[at])), at)).collect();
    ranked.sort_by(|(rank_a, a), (rank_b, b)| rank_a.cmp(rank_b).then_with(|| by_time(lines[*a], lines[*b])));
    let mut touched: BTreeSet<&str> = BTreeSet::new();
    let (mut lines_left, mut units_left) = (bounds.order_lines, bounds.units);
    for (_, position) in ranked {
        let line = lines[position];
        let id = series_of(&line.product);
        let fits = touched.contains(id) || touched.len() < bounds.series as usize;
        // Asked this way round, an undefined bound keeps nothing.
        let has_room = lines_left > 0 && units_left > 0.0 && fits;
        if !has_room {
            continue;
        }
        touched.insert(id);
        lines_left -= 1;
        let quantity = line.quantity.min(units_left);
        units_left -= quantity;
        kept.push((position, quantity));
    }
}

/// Canonical bytes of a line's identity: every field length-prefixed, so that no two lines share them by accident.
///
/// The customer is part of it: whether two rows are the same line must never depend on another customer.
pub(super) fn identity(line: &OrderLine) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(96);
    let mut push = |field: &[u8]| {
        bytes.extend((field.len() as u32).to_le_bytes());
        bytes.extend(field);
    };
    push(line.customer.as_ref().map_or(&[], |customer| &customer.0));
    push(line.order.as_bytes());
    push(line.line.as_deref().unwrap_or_default().as_bytes());
    push(line.product.as_bytes());
    push(line.at.to_string().as_bytes());
    push(&line.quantity.to_bits().to_le_bytes());
    push(&line.unit_price.map_or([0xff; 8], |price| price.to_bits().to_le_bytes()));
    bytes
}

#[cfg(test)]
#[path = "bound_tests.rs"]
mod tests;
