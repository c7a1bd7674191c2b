//! From the store to series, in the two forms a merchant needs.
//!
//! *Local* series are built from every order line; they forecast and never leave. *Bounded* series are built from
//! what the contribution bounds leave of each customer; they are all that private training sees. Both go the same
//! way (clean → bound → add up), so that they differ in nothing else, unless the merchant asks for local ones that are
//! winsorised.

use std::sync::Arc;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use forecastle_crypto::dp::{
    plan::{Day, PrivacyPlan},
    unit::PrivacyUnit,
};

use super::{
    bound::{BoundReport, bound_contributions},
    clean::{CleaningReport, CleaningRules, clean},
    holidays::{self, Country},
    order::{Catalogue, OrderLine, Period, SalesRow},
    pseudonym::ContributionKey,
    returns,
    series::{Frequency, MissingDay, Series, SeriesKey, SeriesSpec, series_from_orders, series_from_sales},
    signals::{
        Inputs, Joined, Signals, add_review_texts, attach,
        private::{self, NotBounded},
        records,
    },
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
    /// What else is known of products; `None` where there is nothing.
    pub signals: Option<&'a Signals>,
    /// What orders a customer's lines for the contribution bounds.
    pub key: ContributionKey,
}

impl<'a> From<&'a DataStore> for Tables<'a> {
    fn from(store: &'a DataStore) -> Self {
        Self {
            orders: store.orders(),
            sales: store.sales(),
            catalogue: store.catalogue(),
            signals: Some(store.signals()),
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
    /// Country whose public holidays count where the table of holidays has none, such as `DE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Whether the latest reviews are read with a product's text. For forecasts at the merchant only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub review_texts: bool,
    /// What models that stay at the merchant read beside what the federation's model reads.
    #[serde(skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
    /// Which order lines count as demand.
    pub cleaning: CleaningRules,
}

impl SeriesChoice {
    /// The same choice, of series for a model that reads these inputs.
    #[must_use]
    pub fn for_inputs(self, inputs: Inputs) -> Self {
        Self { inputs, ..self }
    }
}

impl Default for SeriesChoice {
    fn default() -> Self {
        Self {
            by: SeriesKey::Product,
            missing: MissingDay::Closed,
            winsorise: None,
            country: None,
            review_texts: false,
            inputs: Inputs::default(),
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
    /// The model reads what the plan's unit cannot bound.
    #[error(transparent)]
    NotBounded(#[from] NotBounded),
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
    if let Some(signals) = tables.signals.filter(|_| choice.review_texts) {
        add_review_texts(&mut prepared.series, signals, tables.orders);
    }
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
    private::check(choice.inputs, plan.privacy.unit)?;
    if plan.privacy.unit == PrivacyUnit::Customer && tables.orders.is_empty() && !tables.sales.is_empty() {
        return Err(PrepareError::NoCustomers);
    }
    let spec = SeriesSpec { frequency, period, future_steps: 0, key: choice.by };
    build(tables, spec, choice, Some(plan))
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

/// Series for a plan's private training, or, without one, all that stays at the merchant.
fn build(
    tables: &Tables<'_>,
    spec: SeriesSpec,
    choice: SeriesChoice,
    plan: Option<&PrivacyPlan>,
) -> Result<Prepared, PrepareError> {
    if tables.orders.is_empty() && tables.sales.is_empty() {
        return Err(PrepareError::Empty);
    }
    let nothing = PrepareError::NothingInPeriod { start: spec.period.start(), end: spec.period.end() };
    let (mut lines, mut sales) = (Vec::new(), Vec::new());
    let mut prepared = if tables.orders.is_empty() {
        let series = series_from_sales(tables.sales, tables.catalogue, &spec, choice.missing);
        Prepared { series, cleaning: None, bounds: None, lowered: Lowered::default() }
    } else {
        let cleaning;
        (lines, cleaning) = clean(tables.orders, &choice.cleaning);
        lines.retain(|line| spec.period.contains(line.at.date()));
        if choice.inputs.returns {
            sales = returns::sales(tables.orders, &choice.cleaning);
            sales.retain(|sale| spec.period.contains(sale.line.at.date()));
        }
        let mut report = None;
        if let Some(plan) = plan.filter(|plan| plan.privacy.unit == PrivacyUnit::Customer) {
            let (bounds, key, catalogue) = (&plan.bounds, &tables.key, tables.catalogue);
            let dropped;
            if choice.inputs.returns {
                (sales, dropped) = returns::bound(&sales, bounds, key, spec.period, spec.key, catalogue);
                lines = returns::demand(&sales);
            } else {
                (lines, dropped) = bound_contributions(&lines, bounds, key, spec.period, spec.key, catalogue);
            }
            report = Some(dropped);
        }
        let series = series_from_orders(&lines, tables.catalogue, &spec);
        Prepared { series, cleaning: Some(cleaning), bounds: report, lowered: Lowered::default() }
    };
    if prepared.series.is_empty() {
        return Err(nothing);
    }
    if let Some(country) = choice.country {
        holidays::fill(&mut prepared.series, &tables.catalogue.holidays, country);
    }
    if let Some(signals) = tables.signals {
        // Under bounds, all lines in which a customer is left, those that came back whole among them.
        let sold: Vec<OrderLine> = sales.iter().filter(|_| plan.is_some()).map(|sale| sale.line.clone()).collect();
        let kept = if sold.is_empty() { &lines } else { &sold };
        join(&mut prepared.series, tables, signals, [&lines, kept], spec, choice.inputs, plan);
    }
    if choice.inputs.returns {
        let recorded = plan.is_none().then(|| returns::are_recorded(tables.orders));
        let by_step = returns::by_step(&sales, &prepared.series, spec.key, tables.catalogue, recorded);
        for (one, steps) in prepared.series.iter_mut().zip(by_step) {
            Arc::make_mut(one.further.get_or_insert_default()).returns = steps;
        }
    }
    Ok(prepared)
}

/// Joins signals with series: with a plan what its unit bounds, without one everything. `lines` are those that count as
/// demand, and those that tell in which series a customer is.
fn join(
    series: &mut [Series],
    tables: &Tables<'_>,
    signals: &Signals,
    [lines, kept]: [&[OrderLine]; 2],
    spec: SeriesSpec,
    inputs: Inputs,
    plan: Option<&PrivacyPlan>,
) {
    let unit = plan.map(|plan| plan.privacy.unit);
    let mut records = records(signals, tables.orders, inputs, unit.is_none_or(|unit| unit == PrivacyUnit::Merchant));
    match plan {
        // Reviews from before the first day count towards those so far.
        None => records.retain(|record| record.day <= spec.period.end()),
        Some(_) => records.retain(|record| spec.period.contains(record.day)),
    }
    if let Some(plan) = plan.filter(|plan| plan.privacy.unit == PrivacyUnit::Customer) {
        records = private::bound(records, kept, &plan.bounds, &tables.key, spec.key, tables.catalogue);
    }
    let joined = Joined {
        records,
        lines,
        signals,
        catalogue: tables.catalogue,
        key: spec.key,
        inputs,
        spans: unit.is_none(),
        censors: unit.is_none_or(private::reads_stock),
    };
    attach(series, &joined);
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
