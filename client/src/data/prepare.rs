//! From the store to series, in the two forms a merchant needs.
//!
//! *Local* series are built from every order line; they forecast and never leave. *Bounded* series are built from
//! what the contribution bounds leave of each customer; they are all that private training sees. Both go the same
//! way (clean → bound → add up), so that they differ in nothing else, unless the merchant asks for local ones that are
//! winsorised.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use forecastle_crypto::dp::{
    plan::{Day, PrivacyPlan},
    unit::PrivacyUnit,
};

use super::{
    bound::{BoundReport, bound_contributions},
    clean::{CleaningReport, CleaningRules, clean},
    order::{Catalogue, OrderLine, Period, SalesRow},
    pseudonym::ContributionKey,
    series::{Frequency, MissingDay, Series, SeriesKey, SeriesSpec, series_from_orders, series_from_sales},
    store::DataStore,
    winsorise::{Lowered, winsorise},
};

/// What series are built from: a merchant's tables, wherever they lie.
pub struct Tables<'a> {
    /// Order lines, as imported (not cleaned, not bounded).
    pub orders: &'a [OrderLine],
    /// Totals of merchants without order lines.
    pub sales: &'a [SalesRow],
    /// What the merchant authored.
    pub catalogue: &'a Catalogue,
    /// What orders a customer's lines for the contribution bounds.
    pub key: ContributionKey,
}

impl<'a> From<&'a DataStore> for Tables<'a> {
    fn from(store: &'a DataStore) -> Self {
        Self {
            orders: store.orders(),
            sales: store.sales(),
            catalogue: store.catalogue(),
            key: store.contribution_key(),
        }
    }
}

/// What one series is for this merchant, and which lines count; kept in `series.toml`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct SeriesChoice {
    /// One series a product, a category, or one for all that the merchant sells.
    pub by: SeriesKey,
    /// What a day without a row means in a table of totals.
    pub missing: MissingDay,
    /// Share of a series' steps with sales whose values stay as they are, such as 0.99: what lies above is lowered to the
    /// highest of them (winsorised). For forecasts at the merchant only; private training never sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winsorise: Option<f64>,
    /// Which order lines count as demand.
    pub cleaning: CleaningRules,
}

impl Default for SeriesChoice {
    fn default() -> Self {
        Self {
            by: SeriesKey::Product,
            missing: MissingDay::Closed,
            winsorise: None,
            cleaning: CleaningRules::default(),
        }
    }
}

/// Why no series could be built.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// Nothing imported.
    #[error("nothing has been imported yet; run `forecastle data import orders.csv` first")]
    Empty,
    /// Nothing in the period.
    #[error(
        "the imported data have nothing between {start} and {end}, the federation's training period; import data of that time"
    )]
    NothingInPeriod {
        /// First day.
        start: Date,
        /// Last day.
        end: Date,
    },
    /// Totals cannot protect customers.
    #[error(
        "the plan protects customers, but the imported table holds totals without customers; import order lines, or join a federation whose unit is `series`"
    )]
    NoCustomers,
    /// A setting that means nothing.
    #[error("winsorise = {0} in series.toml is no share; write a number above 0.5 and below 1, such as 0.99")]
    Winsorise(f64),
    /// The plan's period is no period.
    #[error("the plan's training period {0} is not valid")]
    Period(String),
}

/// What was built, and what was left out on the way.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The series, in order of identity.
    pub series: Vec<Series>,
    /// What cleaning decided; `None` for tables of totals.
    pub cleaning: Option<CleaningReport>,
    /// What the contribution bounds dropped; `None` where there was nothing to bound.
    pub bounds: Option<BoundReport>,
    /// What winsorising lowered; nothing where it was not asked for.
    pub lowered: Lowered,
}

/// All lines of `period`, for forecasting at the merchant; winsorised where that is asked for.
///
/// # Errors
/// [`PrepareError::Empty`] before the first import.
pub fn local_series(
    tables: &Tables<'_>,
    choice: SeriesChoice,
    frequency: Frequency,
    period: Period,
    future_steps: usize,
) -> Result<Prepared, PrepareError> {
    if let Some(share) = choice.winsorise.filter(|share| !(*share > 0.5 && *share < 1.0)) {
        return Err(PrepareError::Winsorise(share));
    }
    let spec = SeriesSpec { frequency, period, future_steps, key: choice.by };
    let mut prepared = build(tables, spec, choice, None)?;
    if let Some(share) = choice.winsorise {
        prepared.lowered = winsorise(&mut prepared.series, share);
    }
    Ok(prepared)
}

/// What private training sees: the bounded lines of the plan's period, in all their series. None is left out for being
/// one too many: which one that is would depend on the others.
///
/// # Errors
/// [`PrepareError`] where the data do not fit the plan.
pub fn bounded_series(
    tables: &Tables<'_>,
    choice: SeriesChoice,
    frequency: Frequency,
    plan: &PrivacyPlan,
) -> Result<Prepared, PrepareError> {
    let period = period_of(plan)?;
    let bound = match plan.privacy.unit {
        PrivacyUnit::Customer => {
            if tables.orders.is_empty() && !tables.sales.is_empty() {
                return Err(PrepareError::NoCustomers);
            }
            Some((plan, &tables.key))
        }
        PrivacyUnit::Series | PrivacyUnit::Merchant => None,
    };
    let spec = SeriesSpec { frequency, period, future_steps: 0, key: choice.by };
    build(tables, spec, choice, bound)
}

/// The plan's training period.
///
/// # Errors
/// [`PrepareError::Period`].
pub fn period_of(plan: &PrivacyPlan) -> Result<Period, PrepareError> {
    let (start, end) = (plan.rounds.period_start, plan.rounds.period_end);
    let bad = || PrepareError::Period(format!("{start}..{end}"));
    let date = |day: Day| day.to_string().parse::<Date>().map_err(|_| bad());
    Period::new(date(start)?, date(end)?).ok_or_else(bad)
}

fn build(
    tables: &Tables<'_>,
    spec: SeriesSpec,
    choice: SeriesChoice,
    bound: Option<(&PrivacyPlan, &ContributionKey)>,
) -> Result<Prepared, PrepareError> {
    if tables.orders.is_empty() && tables.sales.is_empty() {
        return Err(PrepareError::Empty);
    }
    let nothing = PrepareError::NothingInPeriod { start: spec.period.start(), end: spec.period.end() };
    let prepared = if tables.orders.is_empty() {
        let series = series_from_sales(tables.sales, tables.catalogue, &spec, choice.missing);
        Prepared { series, cleaning: None, bounds: None, lowered: Lowered::default() }
    } else {
        let (mut lines, cleaning) = clean(tables.orders, &choice.cleaning);
        lines.retain(|line| spec.period.contains(line.at.date()));
        let mut report = None;
        if let Some((plan, key)) = bound {
            let (kept, dropped) =
                bound_contributions(&lines, &plan.bounds, key, spec.period, spec.key, tables.catalogue);
            lines = kept;
            report = Some(dropped);
        }
        let series = series_from_orders(&lines, tables.catalogue, &spec);
        Prepared { series, cleaning: Some(cleaning), bounds: report, lowered: Lowered::default() }
    };
    if prepared.series.is_empty() { Err(nothing) } else { Ok(prepared) }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
