//! Which order lines count as demand.
//!
//! Every decision is counted and reported to the merchant; suspicious quantities are flagged, never changed.
//! Invariant: what happens to a customer's lines depends on that customer's lines alone (returns are set against the
//! same customer's sales only), so cleaning before the contribution bounds keeps their promise. Anonymous lines are
//! a customer each: nothing is set against them. The report looks across customers and stays with the merchant.

use std::{cmp::Ordering, collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::order::{CustomerPseudonym, LineStatus, OrderLine};

/// What returned goods do to demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReturnPolicy {
    /// Returned units do not count: lines marked as returned are dropped, and a negative quantity takes units from
    /// the same customer's latest earlier lines of that product.
    #[default]
    Net,
    /// What customers ordered counts, whether or not it came back: negative quantities are dropped.
    Gross,
}

/// Rules of cleaning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CleaningRules {
    /// What returned goods do to demand.
    pub returns: ReturnPolicy,
    /// Whether lines at a price of 0 (samples, stock corrections) count as demand.
    pub keep_zero_prices: bool,
    /// A line is flagged when it has more than this many times its product's median quantity; at least 20 units.
    pub outlier_factor: f64,
}

impl Default for CleaningRules {
    fn default() -> Self {
        Self { returns: ReturnPolicy::Net, keep_zero_prices: false, outlier_factor: 50.0 }
    }
}

/// Smallest quantity that is ever flagged.
const OUTLIER_UNITS_MIN: f64 = 20.0;
/// Flagged lines that the report lists.
const OUTLIERS_LISTED: usize = 20;

/// A line with an unusual quantity; it stays in the data.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outlier {
    /// Order number.
    pub order: String,
    /// Product.
    pub product: String,
    /// Units on the line.
    pub quantity: f64,
    /// Median units a line of that product.
    pub median: f64,
}

/// What cleaning did. For the merchant only: it counts things across customers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CleaningReport {
    /// Lines looked at.
    pub lines: usize,
    /// Lines that count as demand.
    pub kept: usize,
    /// Lines dropped because they were cancelled.
    pub cancelled: usize,
    /// Lines dropped because they were marked as returned.
    pub returned: usize,
    /// Lines with a negative quantity.
    pub negative: usize,
    /// Units of negative lines that were set against an earlier line of the same customer.
    pub netted_units: f64,
    /// Units of negative lines for which no such line was found.
    pub unmatched_units: f64,
    /// Lines dropped because their price is 0.
    pub zero_price: usize,
    /// Lines flagged for their quantity, all of them kept.
    pub outliers: usize,
    /// The largest flagged lines.
    pub outlier_lines: Vec<Outlier>,
}

impl fmt::Display for CleaningReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} of {} order lines count as demand.", self.kept, self.lines)?;
        for (count, what) in [
            (self.cancelled, "cancelled"),
            (self.returned, "marked as returned"),
            (self.negative, "with a negative quantity"),
            (self.zero_price, "at a price of 0"),
        ] {
            if count > 0 {
                writeln!(f, "  {count} dropped: {what}")?;
            }
        }
        if self.negative > 0 {
            writeln!(
                f,
                "  {} returned units taken from earlier lines, {} without an earlier line",
                self.netted_units, self.unmatched_units
            )?;
        }
        if self.outliers > 0 {
            writeln!(f, "  {} kept but unusual in quantity, among them:", self.outliers)?;
            for line in self.outlier_lines.iter().take(5) {
                writeln!(
                    f,
                    "    order {}: {} × {} (usually {})",
                    line.order, line.quantity, line.product, line.median
                )?;
            }
        }
        Ok(())
    }
}

/// The lines that count as demand, each with a quantity > 0, in an order that does not depend on the input's.
pub fn clean(lines: &[OrderLine], rules: &CleaningRules) -> (Vec<OrderLine>, CleaningReport) {
    let mut report = CleaningReport { lines: lines.len(), ..CleaningReport::default() };
    let mut demand = Vec::with_capacity(lines.len());
    let mut returns: Returns<'_> = BTreeMap::new();
    for line in lines {
        if line.quantity < 0.0 {
            report.negative += 1;
            match (rules.returns, line.customer) {
                (ReturnPolicy::Net, Some(customer)) => {
                    returns.entry(customer).or_default().entry(line.product.clone()).or_default().lines.push(line);
                }
                _ => report.unmatched_units -= line.quantity,
            }
        } else if line.status == LineStatus::Cancelled {
            report.cancelled += 1;
        } else if line.status == LineStatus::Returned && rules.returns == ReturnPolicy::Net {
            report.returned += 1;
        } else if is_free(line, rules) {
            report.zero_price += 1;
        } else {
            demand.push(line.clone());
        }
    }
    demand.sort_by(by_time);
    net(&mut demand, returns, &mut report);
    demand.retain(|line| line.quantity > 0.0);
    report.kept = demand.len();
    flag_outliers(&demand, rules.outlier_factor, &mut report);
    (demand, report)
}

/// Whether a price of 0 says that a line is no demand.
fn is_free(line: &OrderLine, rules: &CleaningRules) -> bool {
    line.unit_price == Some(0.0) && !rules.keep_zero_prices
}

/// Whether something was sold on a line, whatever came of it.
pub(super) fn is_sale(line: &OrderLine, rules: &CleaningRules) -> bool {
    line.quantity > 0.0 && line.status != LineStatus::Cancelled && !is_free(line, rules)
}

/// Returns by customer and product.
type Returns<'a> = BTreeMap<CustomerPseudonym, BTreeMap<String, ReturnedGoods<'a>>>;

/// What one customer sent back of one product.
#[derive(Default)]
struct ReturnedGoods<'a> {
    /// The lines with a negative quantity.
    lines: Vec<&'a OrderLine>,
    /// Positions of the same customer's sales of it, in order of time.
    sales: Vec<usize>,
}

/// Takes returned units from the same customer's earlier lines of the same product, latest first.
fn net(demand: &mut [OrderLine], mut returns: Returns<'_>, report: &mut CleaningReport) {
    for (index, line) in demand.iter().enumerate() {
        let goods = line.customer.and_then(|customer| returns.get_mut(&customer)?.get_mut(&line.product));
        if let Some(goods) = goods {
            goods.sales.push(index);
        }
    }
    for mut goods in returns.into_values().flat_map(BTreeMap::into_values) {
        goods.lines.sort_by(|a, b| by_time(a, b));
        for line in goods.lines {
            let mut left = -line.quantity;
            for &sale in goods.sales.iter().rev() {
                if demand[sale].at <= line.at {
                    let taken = left.min(demand[sale].quantity);
                    demand[sale].quantity -= taken;
                    left -= taken;
                    report.netted_units += taken;
                }
            }
            report.unmatched_units += left;
        }
    }
}

/// Order of time, then of everything else that tells lines apart.
pub(super) fn by_time(a: &OrderLine, b: &OrderLine) -> Ordering {
    (a.at, &a.order, &a.line, &a.product, a.customer)
        .cmp(&(b.at, &b.order, &b.line, &b.product, b.customer))
        .then(a.quantity.total_cmp(&b.quantity))
        .then(a.unit_price.unwrap_or(-1.0).total_cmp(&b.unit_price.unwrap_or(-1.0)))
        .then((a.status, &a.channel).cmp(&(b.status, &b.channel)))
        .then(a.discount.total_cmp(&b.discount))
}

fn flag_outliers(demand: &[OrderLine], factor: f64, report: &mut CleaningReport) {
    let mut quantities: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in demand {
        quantities.entry(&line.product).or_default().push(line.quantity);
    }
    let medians: BTreeMap<&str, f64> = quantities
        .into_iter()
        .map(|(product, mut quantities)| {
            quantities.sort_by(f64::total_cmp);
            (product, quantities[quantities.len() / 2])
        })
        .collect();
    let mut outliers: Vec<Outlier> = demand
        .iter()
        .filter_map(|line| {
            let median = medians[line.product.as_str()];
            (line.quantity >= OUTLIER_UNITS_MIN && line.quantity > factor * median).then(|| Outlier {
                order: line.order.clone(),
                product: line.product.clone(),
                quantity: line.quantity,
                median,
            })
        })
        .collect();
    report.outliers = outliers.len();
    outliers.sort_by(|a, b| b.quantity.total_cmp(&a.quantity));
    outliers.truncate(OUTLIERS_LISTED);
    report.outlier_lines = outliers;
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    fn line(order: &str, customer: Option<u8>, day: i8, quantity: f64) -> OrderLine {
        OrderLine {
            order: order.into(),
            line: None,
            customer: customer.map(|byte| CustomerPseudonym([byte; 16])),
            product: "mug".into(),
            at: datetime(2024, 1, day, 9, 0, 0, 0),
            quantity,
            unit_price: Some(2.0),
            discount: 0.0,
            status: LineStatus::Sold,
            channel: None,
        }
    }

    fn quantities(lines: &[OrderLine]) -> Vec<f64> {
        lines.iter().map(|line| line.quantity).collect()
    }

    #[test]
    fn a_return_takes_units_from_the_same_customer_s_latest_earlier_lines() {
        let lines = [
            line("c", Some(1), 3, -4.0),
            line("b", Some(1), 2, 3.0),
            line("a", Some(1), 1, 5.0),
            line("later", Some(1), 9, 7.0),
            line("other", Some(2), 2, 11.0),
        ];
        let (demand, report) = clean(&lines, &CleaningRules::default());
        assert_eq!(quantities(&demand), [4.0, 11.0, 7.0]);
        assert_eq!((report.negative, report.netted_units, report.unmatched_units), (1, 4.0, 0.0));
    }

    #[test]
    fn a_return_without_a_sale_and_an_anonymous_return_are_counted_and_change_nothing() {
        let lines = [line("a", Some(1), 1, -2.0), line("b", None, 2, 5.0), line("c", None, 3, -3.0)];
        let (demand, report) = clean(&lines, &CleaningRules::default());
        assert_eq!(quantities(&demand), [5.0]);
        assert_eq!((report.negative, report.unmatched_units), (2, 5.0));
    }

    #[test]
    fn gross_demand_keeps_what_came_back() {
        let mut returned = line("a", Some(1), 1, 5.0);
        returned.status = LineStatus::Returned;
        let lines = [returned, line("b", Some(1), 2, -5.0)];
        let gross = CleaningRules { returns: ReturnPolicy::Gross, ..CleaningRules::default() };
        assert_eq!(quantities(&clean(&lines, &gross).0), [5.0]);
        assert!(clean(&lines, &CleaningRules::default()).0.is_empty());
    }

    #[test]
    fn cancelled_lines_and_zero_prices_are_no_demand() {
        let mut cancelled = line("a", None, 1, 5.0);
        cancelled.status = LineStatus::Cancelled;
        let mut free = line("b", None, 1, 5.0);
        free.unit_price = Some(0.0);
        let mut unpriced = line("c", None, 1, 6.0);
        unpriced.unit_price = None;
        let (demand, report) = clean(&[cancelled, free, unpriced], &CleaningRules::default());
        assert_eq!(quantities(&demand), [6.0]);
        assert_eq!((report.cancelled, report.zero_price, report.kept), (1, 1, 1));
    }

    #[test]
    fn an_outlier_is_flagged_and_kept_as_it_is() {
        let mut lines: Vec<_> = (1..=9).map(|day| line("a", None, day, 2.0)).collect();
        lines.push(line("huge", None, 10, 80_995.0));
        let (demand, report) = clean(&lines, &CleaningRules::default());
        assert_eq!((demand.len(), report.outliers), (10, 1));
        assert_eq!(report.outlier_lines[0].order, "huge");
        assert_eq!(demand[9].quantity, 80_995.0);
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter() {
        let mut lines = vec![
            line("a", Some(1), 1, 5.0),
            line("b", Some(1), 1, 3.0),
            line("c", Some(1), 2, -6.0),
            line("d", Some(1), 2, -1.0),
        ];
        let forward = clean(&lines, &CleaningRules::default());
        lines.reverse();
        assert_eq!(forward, clean(&lines, &CleaningRules::default()));
    }
}
