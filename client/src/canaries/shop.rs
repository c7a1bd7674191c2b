//! Canaries and where they buy: customers with products of their own, or series of their own.
//!
//! Nothing here is secret: canary i is the same in every run, and all that a run decides is which take part and who of
//! them is inside. A good canary
//! is told apart easily, from nothing and from every other one, and would move a sum far if nothing held it:
//!
//! * Its products carry prices, promotions and mark-downs that jump from day to day, differently for each canary; some are
//!   enormous. The merchant authors these, so they are in the catalogue whether or not the canary is inside.
//! * *Customers.* Each buys products that nobody else buys, far more of them than the plan's L, in more lines than its K.
//!   What the bounds leave of it is up to them; software that does not bound shows much more of it. The products are
//!   announced for a day after the period, so that a series begins with its first line and is not there without one.
//! * *Series.* Each is one product with a total a step.
//!
//! All lie in the last steps of the plan's period, in so few that a series gives hardly more than one window: what is
//! outside of a window says nothing to its gradient.

use std::collections::BTreeMap;

use forecastle_crypto::dp::{plan::PrivacyPlan, unit::PrivacyUnit};
use jiff::civil::Date;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::CanaryAuditError;
use crate::{
    data::{
        order::{
            CustomerPseudonym, LineStatus, OrderLine, Period, Product, ProductDay, SalesRow, monday_of, plus_days,
        },
        prepare::{self, Tables},
        series::Frequency,
    },
    model::ModelConfig,
    train::merchant::past_min,
};

/// Products that a canary customer buys beyond the plan's L, at most …
const PRODUCTS_BEYOND: usize = 250;
/// … and products of all candidates together, at most: they are held in memory.
const PRODUCTS_MAX: usize = 40_000;
/// Lines of a canary customer in one product, at least and at most.
const LINES: (usize, usize) = (4, 12);
/// The largest mark-down, as the exponent of a power of e; what a network sees of it is a tenth.
const MARKDOWN_MAX: f64 = 40.0;
/// List price of what canaries buy.
const LIST_PRICE: f64 = 10.0;
/// How far ahead canaries' products are announced, in days.
const YEARS_AHEAD_DAYS: i64 = 3_650;

/// What canaries are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// Lines of orders.
    OrderLines,
    /// Totals a step.
    Totals,
}

impl Rows {
    /// For a merchant without data.
    pub(super) fn of(unit: PrivacyUnit) -> Self {
        if unit == PrivacyUnit::Customer { Self::OrderLines } else { Self::Totals }
    }
}

/// All canaries of a run.
#[derive(Clone)]
pub(super) struct Shop {
    period: Period,
    canaries: Vec<Canary>,
}

#[derive(Clone)]
struct Canary {
    number: usize,
    /// Names of what it buys.
    products: Vec<String>,
    /// What the merchant sets for each of them.
    days: BTreeMap<Date, ProductDay>,
    lines: Vec<OrderLine>,
    rows: Vec<SalesRow>,
}

impl Shop {
    /// `count` canaries for a plan and a network of `config`.
    pub(super) fn new(plan: &PrivacyPlan, config: &ModelConfig, count: usize) -> Result<Self, CanaryAuditError> {
        let period = prepare::period_of(plan)?;
        let (shape, step) = (config.shape(), config.frequency.days());
        let steps = past_min(config.frequency) + shape.horizon;
        let fitting = usize::try_from(period.days() / step).unwrap_or(0);
        let steps = steps.min(fitting);
        if steps < 2 {
            return Err(CanaryAuditError::TooShort(format!("{}..{}", period.start(), period.end())));
        }
        // Weeks are whole ones from Monday: what lies in a cut-off week belongs to no step.
        let last = match config.frequency {
            Frequency::Daily => period.end(),
            Frequency::Weekly => plus_days(monday_of(plus_days(period.end(), 1)), -1),
        };
        let day = |at: usize| plus_days(last, -((steps - 1 - at) as i64 * step));
        let most = (PRODUCTS_MAX / count.max(1)).clamp(2, plan.bounds.series.max(1) as usize + PRODUCTS_BEYOND);
        let canaries = (0..count)
            .map(|number| {
                let days = authored(number, period, steps as i64 * step);
                match plan.privacy.unit {
                    PrivacyUnit::Customer => {
                        customer(number, plan, most, steps, shape.horizon.min(steps - 1), &day, days)
                    }
                    PrivacyUnit::Series | PrivacyUnit::Merchant => series(number, steps, &day, days),
                }
            })
            .collect();
        Ok(Self { period, canaries })
    }

    pub(super) fn len(&self) -> usize {
        self.canaries.len()
    }

    /// The plan's period, in words.
    pub(super) fn period(&self) -> String {
        format!("{}..{}", self.period.start(), self.period.end())
    }

    /// Whose a series is.
    pub(super) fn owner(&self, series: &str) -> Option<usize> {
        let number: usize = series.strip_prefix("canary-")?.split('-').next()?.parse().ok()?;
        self.canaries.iter().position(|canary| canary.number == number)
    }

    /// These of the canaries, in this order.
    pub(super) fn only(&self, chosen: &[usize]) -> Self {
        let canaries: Vec<Canary> = chosen.iter().map(|&at| self.canaries[at].clone()).collect();
        Self { canaries, ..self.clone() }
    }

    /// Calls `read` with a merchant's tables among which those canaries stand, as rows of `kind`, for which `inside` says so.
    pub(super) fn among<T>(
        &self,
        own: &Tables<'_>,
        kind: Rows,
        inside: &[bool],
        read: impl FnOnce(&Tables<'_>) -> T,
    ) -> T {
        let mut catalogue = own.catalogue.clone();
        let (mut orders, mut sales) = (own.orders.to_vec(), own.sales.to_vec());
        let present = self.canaries.iter().zip(inside).filter(|(_, inside)| **inside).map(|(canary, _)| canary);
        for canary in &self.canaries {
            for id in &canary.products {
                catalogue.products.insert(id.clone(), product(canary.number, id.clone(), self.period));
                catalogue.calendar.insert(id.clone(), canary.days.clone());
            }
        }
        match kind {
            Rows::OrderLines => orders.extend(present.flat_map(|canary| canary.lines.iter().cloned())),
            Rows::Totals => sales.extend(present.flat_map(|canary| canary.rows.iter().cloned())),
        }
        read(&Tables {
            orders: &orders,
            sales: &sales,
            catalogue: &catalogue,
            signals: own.signals,
            key: own.key.clone(),
        })
    }
}

fn name(canary: usize, product: usize) -> String {
    format!("canary-{canary}-{product}")
}

/// A product that is announced for after the period. Its category is its own, so that it is a series of its own by
/// category too.
fn product(canary: usize, id: String, period: Period) -> Product {
    Product {
        category: id.clone(),
        title: format!("canary {canary}"),
        list_price: Some(LIST_PRICE),
        listed_on: Some(plus_days(period.end(), YEARS_AHEAD_DAYS)),
        attributes: vec![("canary".into(), canary.to_string())],
        id,
        ..Product::default()
    }
}

/// What the merchant sets for a canary's products on the last `days` days of the period: a level of its own for
/// each canary, and two kinds of days.
fn authored(canary: usize, period: Period, days: i64) -> BTreeMap<Date, ProductDay> {
    let mut rng = rng(canary, 1);
    let kinds: [ProductDay; 2] = std::array::from_fn(|_| ProductDay {
        price: Some(rng.random_range(-3.0_f64..3.0).exp() * LIST_PRICE),
        competitor_price: Some(rng.random_range(-3.0_f64..3.0).exp() * LIST_PRICE),
        markdown: Some(rng.random_range(0.0..MARKDOWN_MAX).exp()),
        promotion: rng.random(),
        promotion_type: None,
        coupon: rng.random(),
        in_stock: None,
    });
    (0..days)
        .map(|back| (plus_days(period.end(), -back), kinds[usize::from(rng.random::<f64>() < 0.3)].clone()))
        .collect()
}

/// A customer of more products, lines and units than the plan keeps; the same in each of its products.
fn customer(
    number: usize,
    plan: &PrivacyPlan,
    products: usize,
    steps: usize,
    horizon: usize,
    day: &dyn Fn(usize) -> Date,
    days: BTreeMap<Date, ProductDay>,
) -> Canary {
    let mut rng = rng(number, 0);
    let bounds = plan.bounds;
    let lines_each = (2 * bounds.order_lines as usize / bounds.series.max(1) as usize).clamp(LINES.0, LINES.1);
    // The first day gives the longest past; every other line is a surprise in its future.
    let pattern: Vec<(usize, f64)> = (0..lines_each)
        .map(|line| match line % 2 {
            0 => (0, 1.0),
            _ => (rng.random_range(steps - horizon..steps), rng.random_range(2.0..12.0_f64).ceil()),
        })
        .collect();
    let mut pseudonym = [0; 16];
    pseudonym[..6].copy_from_slice(b"canary");
    pseudonym[8..].copy_from_slice(&(number as u64).to_le_bytes());
    let products: Vec<String> = (0..products).map(|product| name(number, product)).collect();
    let mut lines = Vec::with_capacity(products.len() * pattern.len());
    for product in &products {
        for &(at, quantity) in &pattern {
            let customer = Some(CustomerPseudonym(pseudonym));
            let order = format!("canary-{number}");
            lines.push(sold(order, lines.len(), customer, product.clone(), day(at), quantity));
        }
    }
    Canary { number, products, days, lines, rows: Vec::new() }
}

/// A series of totals that jump, as order lines and as rows of a table of totals.
fn series(number: usize, steps: usize, day: &dyn Fn(usize) -> Date, days: BTreeMap<Date, ProductDay>) -> Canary {
    let mut rng = rng(number, 0);
    let level: f64 = rng.random_range(2.0..40.0);
    let mut canary = Canary { number, products: vec![name(number, 0)], days, lines: Vec::new(), rows: Vec::new() };
    for at in 0..steps {
        let jump = if rng.random::<f64>() < 0.2 { rng.random_range(2.0..8.0) } else { rng.random_range(0.1..1.5) };
        let value = (level * jump).ceil();
        let line = sold(format!("canary-{number}-{at}"), at, None, name(number, 0), day(at), value);
        canary.lines.push(line);
        canary.rows.push(SalesRow { series: name(number, 0), date: day(at), value });
    }
    canary
}

fn sold(
    order: String,
    line: usize,
    customer: Option<CustomerPseudonym>,
    product: String,
    day: Date,
    quantity: f64,
) -> OrderLine {
    OrderLine {
        order,
        line: Some(line.to_string()),
        customer,
        product,
        at: day.at(12, 0, 0, 0),
        quantity,
        unit_price: None,
        discount: 0.0,
        status: LineStatus::Sold,
        channel: None,
    }
}

fn rng(canary: usize, purpose: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(2 * canary as u64 + purpose)
}
