//! Totals: forecasts of each category and of the whole shop that add up with the products'.
//!
//! The same way to forecast looks at every product and, separately, at the history of each total. The two disagree:
//! of a product that sells once a month every quantile says 0, and a thousand of those are no small part of a shop.
//! [`Reconciler`] moves the means of both until they add up (MinT, Wickramasuriya, Athanasopoulos and Hyndman 2019); where
//! nodes outnumber the errors to go by, in two steps (`two_steps.rs`).
//! Quantiles never add up; those of totals come from joint samples of the products (`copula.rs`), each of them
//! reconciled like a mean (Panagiotelis et al. 2023), or merely summed (`bottom_up`, as Ben Taieb, Taylor and
//! Hyndman 2021 do it).
//!
//! What is known of the errors comes from forecasts that the same way makes from earlier origins, all steps of the horizon
//! together: one matrix W serves every step.
//!
//! Cost, n products, k totals, T past errors: n·T² for the shrinkage, k³/3 once and k² a sample for the solution. No
//! matrix of n × n is ever formed.
//!
//! Invariant: totals use all of the merchant's lines and stay at the merchant. Left out: other trees than product,
//! category, shop; totals over time (weeks of days); quantiles of products after reconciliation (theirs stay as
//! forecast, only their means move).

mod copula;
mod mint;
mod origins;
mod quantile_function;
mod totals;
mod two_steps;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::data::{
    calendar::{LOG_PRICE, MARKDOWN},
    series::Series,
};

pub use mint::{Reconciler, Weighting};
pub use origins::{Quantiles, Serve, with_totals};
pub use quantile_function::QuantileFunction;
pub use totals::{Forecasts, PastErrors, Totals, forecast_totals};

/// Name of the category of products that have none; also that of `SeriesKey::Category`.
const NO_CATEGORY: &str = "none";
/// Name of the total over everything; also that of `SeriesKey::Merchant`.
const SHOP: &str = "all";

/// Which level a forecast belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A series as the merchant keeps it: as a rule a product.
    Product,
    /// All products of a category.
    Category,
    /// All products.
    Shop,
}

impl Level {
    /// Name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Product => "product",
            Self::Category => "category",
            Self::Shop => "shop",
        }
    }
}

/// A total over products.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Total {
    /// Category or shop.
    pub level: Level,
    /// The category, or `all`.
    pub name: String,
}

/// Products, their categories and the shop. Nodes are numbered: products first, then totals.
///
/// There is no level of categories where all products share one, or where each series is a category already.
#[derive(Clone, Debug)]
pub struct Hierarchy {
    /// Position among the totals of each product's category; empty where there is no such level.
    category_of: Vec<usize>,
    products: usize,
    totals: Vec<Total>,
}

impl Hierarchy {
    /// Of the given series, by the attribute `category`.
    pub fn of(series: &[&Series]) -> Self {
        let category = |series: &Series| {
            let found = series.attributes.iter().rev().find(|(name, value)| name == "category" && !value.is_empty());
            found.map_or(NO_CATEGORY, |(_, value)| value.as_str()).to_owned()
        };
        let names: Vec<String> = series.iter().map(|one| category(one)).collect();
        let distinct: BTreeMap<&str, usize> = names.iter().map(|name| (name.as_str(), 0)).collect();
        let position: BTreeMap<&str, usize> = distinct.into_keys().enumerate().map(|(i, name)| (name, i)).collect();
        let own_level = position.len() > 1 && position.len() < series.len();
        let mut totals = Vec::new();
        let mut category_of = Vec::new();
        if own_level {
            totals.extend(position.keys().map(|name| Total { level: Level::Category, name: (*name).to_owned() }));
            category_of.extend(names.iter().map(|name| position[name.as_str()]));
        }
        totals.push(Total { level: Level::Shop, name: SHOP.to_owned() });
        Self { category_of, products: series.len(), totals }
    }

    /// Number of products.
    pub fn products(&self) -> usize {
        self.products
    }

    /// The totals: categories by name, then the shop.
    pub fn totals(&self) -> &[Total] {
        &self.totals
    }

    /// Products and totals.
    pub fn nodes(&self) -> usize {
        self.products + self.totals.len()
    }

    /// Positions, among the totals, of those that hold a product.
    fn above(&self, product: usize) -> impl Iterator<Item = usize> {
        self.category_of.get(product).copied().into_iter().chain([self.totals.len() - 1])
    }

    /// Sums of a value of each product, one a total.
    pub fn sums(&self, products: impl IntoIterator<Item = f64>) -> Vec<f64> {
        let mut sums = vec![0.0; self.totals.len()];
        for (product, value) in products.into_iter().enumerate() {
            self.above(product).for_each(|total| sums[total] += value);
        }
        sums
    }

    /// The history of each total, `series` being those of the hierarchy in order; all end at the same step.
    ///
    /// A step is the sum of what was observed and missing where nothing was: a product that is out of stock sells
    /// nothing. Channels known in advance are the mean over the products that had begun.
    pub fn total_series(&self, series: &[&Series]) -> Vec<Series> {
        let Some(longest) = series.iter().max_by_key(|one| one.y.len()) else { return Vec::new() };
        let (steps, ahead) = (longest.y.len(), longest.known.len());
        let blank = |total: &Total| Series {
            id: total.name.clone(),
            y: vec![f32::NAN; steps],
            // Calendar channels are the same for all; those of products are added up below.
            known: longest
                .known
                .iter()
                .map(|channels| {
                    let mut c = *channels;
                    c[LOG_PRICE..=MARKDOWN].fill(0.0);
                    c
                })
                .collect(),
            attributes: match total.level {
                Level::Category => vec![("category".to_owned(), total.name.clone())],
                _ => self
                    .totals
                    .iter()
                    .filter(|t| t.level == Level::Category)
                    .map(|t| ("category".to_owned(), t.name.clone()))
                    .collect(),
            },
            text: if total.level == Level::Category { total.name.clone() } else { String::new() },
            further: None,
            ..(*longest).clone()
        };
        let mut found: Vec<Series> = self.totals.iter().map(blank).collect();
        let mut begun = vec![vec![0.0_f32; ahead]; found.len()];
        for (product, one) in series.iter().enumerate() {
            let offset = steps - one.y.len();
            for total in self.above(product) {
                let sum = &mut found[total];
                for (step, y) in one.y.iter().enumerate().filter(|(_, y)| y.is_finite()) {
                    let cell = &mut sum.y[offset + step];
                    *cell = if cell.is_finite() { *cell + y } else { *y };
                }
                for (step, channels) in one.known.iter().enumerate().take(ahead.saturating_sub(offset)) {
                    begun[total][offset + step] += 1.0;
                    let sums = &mut sum.known[offset + step][LOG_PRICE..=MARKDOWN];
                    sums.iter_mut().zip(&channels[LOG_PRICE..=MARKDOWN]).for_each(|(sum, channel)| *sum += channel);
                }
            }
        }
        for (sum, begun) in found.iter_mut().zip(begun) {
            for (channels, count) in sum.known.iter_mut().zip(begun).filter(|(_, count)| *count > 1.0) {
                channels[LOG_PRICE..=MARKDOWN].iter_mut().for_each(|channel| *channel /= count);
            }
        }
        found
    }
}
