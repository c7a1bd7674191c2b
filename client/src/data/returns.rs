//! What came back of what was sold, booked on the day of the sale.
//!
//! The *rate* of a step is the share of the units ordered on it that came back within [`SETTLED_DAYS`] days: in the European
//! Union fourteen days to withdraw and fourteen to send back (Directive 2011/83/EU, articles 9 and 14). So it is a share of a
//! step's own sales, between 0 and 1, and known of a step only when so many days have passed; until then it is missing.
//! The channel `returns` of the past is another thing: units by the day on which they came back.
//!
//! A line that is marked as returned came back whole. A line with a negative quantity takes units from the same customer's
//! latest earlier lines of that product, as cleaning does ([`super::clean`]); without a customer, or without such a line, it
//! belongs to no sale and counts nowhere. Cancelled lines were never sold.
//!
//! Invariant: what is said of a customer's lines depends on that customer's lines alone, as in cleaning. So they can be
//! bounded afterwards, and what came back goes with the line that is kept or left out.

use std::collections::BTreeMap;

use super::{
    bound::{ContributionBounds, bounded_positions},
    clean::{CleaningRules, ReturnPolicy, by_time, is_sale},
    order::{Catalogue, CustomerPseudonym, LineStatus, OrderLine, Period, days_between},
    pseudonym::ContributionKey,
    series::{Frequency, Series, SeriesKey},
};

/// Days after which it is known what came back of a sale.
pub const SETTLED_DAYS: i64 = 28;

/// Steps after which it is known.
pub fn settled_steps(frequency: Frequency) -> usize {
    SETTLED_DAYS.div_euclid(frequency.days()) as usize
}

/// A line that was sold, and what came back of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sale {
    /// The line as it was ordered, quantity > 0.
    pub line: OrderLine,
    /// Units that count as demand under the merchant's rules, at most the quantity.
    pub demand: f64,
    /// Units that came back in time, at most the quantity.
    pub returned: f64,
}

impl Sale {
    /// The same line cut to `quantity` units, in proportion.
    fn cut(&self, quantity: f64) -> Self {
        let share = quantity / self.line.quantity;
        Self {
            line: OrderLine { quantity, ..self.line.clone() },
            demand: self.demand * share,
            returned: self.returned * share,
        }
    }
}

/// What one customer sent back of one product.
#[derive(Default)]
struct Goods<'a> {
    /// The lines with a negative quantity.
    back: Vec<&'a OrderLine>,
    /// Positions of the same customer's sales of it, in order of time.
    bought: Vec<usize>,
}

/// Lines that were sold, in an order that does not depend on the input's. Those with demand are what
/// [`clean`](super::clean::clean) keeps.
pub fn sales(lines: &[OrderLine], rules: &CleaningRules) -> Vec<Sale> {
    let mut sold: Vec<&OrderLine> = lines.iter().filter(|line| is_sale(line, rules)).collect();
    sold.sort_by(|a, b| by_time(a, b));
    let whole = |line: &OrderLine| line.status == LineStatus::Returned;
    let mut sales: Vec<Sale> = sold
        .iter()
        .map(|&line| Sale {
            line: line.clone(),
            demand: if whole(line) && rules.returns == ReturnPolicy::Net { 0.0 } else { line.quantity },
            returned: if whole(line) { line.quantity } else { 0.0 },
        })
        .collect();
    let mut goods: BTreeMap<(CustomerPseudonym, &str), Goods<'_>> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.quantity < 0.0) {
        if let Some(customer) = line.customer {
            goods.entry((customer, &line.product)).or_default().back.push(line);
        }
    }
    for (position, line) in sold.into_iter().enumerate().filter(|(_, line)| !whole(line)) {
        let bought = line.customer.and_then(|customer| goods.get_mut(&(customer, line.product.as_str())));
        if let Some(goods) = bought {
            goods.bought.push(position);
        }
    }
    for Goods { mut back, bought } in goods.into_values() {
        back.sort_by(|a, b| by_time(a, b));
        // What is left of each sale, whenever the rest came back.
        let mut left: Vec<f64> = bought.iter().map(|&position| sales[position].line.quantity).collect();
        for line in back {
            let mut units = -line.quantity;
            for (&position, left) in bought.iter().zip(&mut left).rev() {
                let sale = &mut sales[position];
                if sale.line.at > line.at {
                    continue;
                }
                let taken = units.min(*left);
                (*left, units) = (*left - taken, units - taken);
                if rules.returns == ReturnPolicy::Net {
                    sale.demand -= taken;
                }
                if days_between(sale.line.at.date(), line.at.date()) <= SETTLED_DAYS {
                    sale.returned += taken;
                }
            }
        }
    }
    sales
}

/// Sales of the period cut to the contribution bounds: one cut for what was sold, what counts as demand and what came back.
pub fn bound(
    sales: &[Sale],
    bounds: &ContributionBounds,
    key: &ContributionKey,
    period: Period,
    series: SeriesKey,
    catalogue: &Catalogue,
) -> (Vec<Sale>, super::bound::BoundReport) {
    let lines: Vec<&OrderLine> = sales.iter().map(|sale| &sale.line).collect();
    let (kept, report) = bounded_positions(&lines, bounds, key, period, series, catalogue);
    let mut kept: Vec<Sale> = kept.into_iter().map(|(position, units)| sales[position].cut(units)).collect();
    kept.sort_by(|a, b| by_time(&a.line, &b.line));
    (kept, report)
}

/// The lines that count as demand.
pub fn demand(sales: &[Sale]) -> Vec<OrderLine> {
    let counts = sales.iter().filter(|sale| sale.demand > 0.0);
    counts.map(|sale| OrderLine { quantity: sale.demand, ..sale.line.clone() }).collect()
}

/// Whether anything is known to have come back, of whatever product: many shops keep no record of it.
pub fn are_recorded(lines: &[OrderLine]) -> bool {
    lines.iter().any(|line| line.quantity < 0.0 || line.status == LineStatus::Returned)
}

/// Units sold and units of them that came back, by step of every series, `[series][y.len()]`; empty where nothing is known.
///
/// `recorded`: whether returns are known to be recorded. Where that must not be asked of all customers (`None`), a series
/// decides for itself: without a single return nothing is known of it.
pub fn by_step(
    sales: &[Sale],
    series: &[Series],
    key: SeriesKey,
    catalogue: &Catalogue,
    recorded: Option<bool>,
) -> Vec<Vec<[f32; 2]>> {
    let place: BTreeMap<&str, usize> = series.iter().enumerate().map(|(at, one)| (one.id.as_str(), at)).collect();
    let mut sums: Vec<Vec<[f64; 2]>> = series.iter().map(|one| vec![[0.0; 2]; one.y.len()]).collect();
    for sale in sales {
        let Some(&at) = place.get(key.series_of(&sale.line.product, catalogue)) else { continue };
        let step = series[at].step_of(sale.line.at.date());
        if let Some([sold, returned]) = step.and_then(|step| sums[at].get_mut(step)) {
            *sold += sale.line.quantity;
            *returned += sale.returned;
        }
    }
    let known = |steps: &[[f64; 2]]| recorded.unwrap_or_else(|| steps.iter().any(|[_, returned]| *returned > 0.0));
    let rounded = |steps: Vec<[f64; 2]>| match known(&steps) {
        true => steps.into_iter().map(|step| step.map(|units| units as f32)).collect(),
        false => Vec::new(),
    };
    sums.into_iter().map(rounded).collect()
}

#[cfg(test)]
#[path = "returns_tests.rs"]
mod tests;
