//! A regular time series with everything the forecaster may know about it.
//!
//! One [`Series`] is one product of a merchant (or one restaurant, one store and brand): its target, the
//! covariates known in advance, its fixed attributes and its text. Missing steps are `NaN`; a step without
//! stock is *censored* and therefore missing, never zero.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::{
    calendar::{calendar_channels, product_channels, reference_price},
    order::{Catalogue, OrderLine, Period, Product, SalesRow, days_between, monday_of, plus_days},
    signals::{EXTRA_KNOWN, PAST_CHANNELS},
};

/// Step of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Frequency {
    /// One step a day.
    Daily,
    /// One step a week.
    Weekly,
}

impl Frequency {
    /// Days from one step to the next.
    pub fn days(self) -> i64 {
        match self {
            Self::Daily => 1,
            Self::Weekly => 7,
        }
    }
}

/// Number of known-in-advance channels of a step.
pub const KNOWN_CHANNELS: usize = 12;

/// Names of the known-in-advance channels, in order. Every channel is 0 where nothing is known.
///
/// Prices are `ln(price / reference price)`, where the reference is authored by the merchant (list price) or
/// the median price of the same series; discounts are fractions 0..1; flags are the share of the step's days, 0 to
/// 1 (0 or 1 in daily series of one product); `markdown` is
/// `ln(1 + amount) / 10`; weekday and year are unit-circle phases.
pub const KNOWN_CHANNEL_NAMES: [&str; KNOWN_CHANNELS] = [
    "holiday",
    "days_to_holiday", // exp(-days/2) for the days before a holiday, 0 on it and elsewhere far away
    "log_price",
    "discount",
    "promotion",
    "coupon",
    "log_competitor_price",
    "markdown",
    "weekday_sin",
    "weekday_cos",
    "year_sin",
    "year_cos",
];

/// One regular series.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Identity within the merchant (`unique_id`).
    pub id: String,
    /// Step.
    pub frequency: Frequency,
    /// Date of the first step.
    pub start: Date,
    /// Target, one value a step; `NaN` where missing, closed or out of stock.
    pub y: Vec<f32>,
    /// Known-in-advance channels, at least as long as `y`; steps beyond `y` are the known future.
    pub known: Vec<[f32; KNOWN_CHANNELS]>,
    /// Fixed attributes, name and value (category, genre, area, brand).
    pub attributes: Vec<(String, String)>,
    /// Free text (title, description).
    pub text: String,
    /// Vector of the text, `[TEXT_BUCKETS]`, where another encoder than hashed n-grams made it (see `text::inputs`).
    pub text_vector: Option<Arc<Vec<f32>>>,
    /// What else a model was set to read; `None` for models that read nothing beside.
    pub further: Option<Arc<Further>>,
}

/// Inputs beside target, calendar, attributes and text (see [`super::signals`]). What is empty is not read or not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Further {
    /// Channels of the past, `[y.len()]`; `NaN` where nothing is known.
    pub past: Vec<[f32; PAST_CHANNELS]>,
    /// Channels known in advance, `[known.len()]`.
    pub known: Vec<[f32; EXTRA_KNOWN]>,
    /// The merchant's own vector of the product, `[TEXT_BUCKETS]`.
    pub vector: Vec<f32>,
    /// Units sold, and units of them that came back, `[y.len()]` (see [`super::returns`]).
    pub returns: Vec<[f32; 2]>,
}

impl Series {
    /// Date of a step (the first day of the week in weekly series).
    pub fn date(&self, step: usize) -> Date {
        plus_days(self.start, step as i64 * self.frequency.days())
    }

    /// Step that holds a day, or `None` before the start. May lie beyond `y`.
    pub fn step_of(&self, day: Date) -> Option<usize> {
        usize::try_from(days_between(self.start, day).div_euclid(self.frequency.days())).ok()
    }

    /// The series as it was known after `steps` steps: `y` is cut, what is known in advance stays.
    pub fn up_to(&self, steps: usize) -> Self {
        let y = self.y[..steps.min(self.y.len())].to_vec();
        Self { y, ..self.clone() }
    }

    /// Steps of one season: a week of days, or 1 for weekly series.
    pub fn season(&self) -> usize {
        match self.frequency {
            Frequency::Daily => 7,
            Frequency::Weekly => 1,
        }
    }
}

/// What one series is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesKey {
    /// A product.
    Product,
    /// All products of a category; products without one share the category `none`.
    Category,
    /// Everything the merchant sells, as one series `all`.
    Merchant,
}

impl SeriesKey {
    /// Identity of the series to which a product belongs. Decided by the catalogue alone, never by a customer.
    pub fn series_of<'a>(self, product: &'a str, catalogue: &'a Catalogue) -> &'a str {
        match self {
            Self::Product => product,
            Self::Category => catalogue
                .products
                .get(product)
                .map(|product| product.category.as_str())
                .filter(|category| !category.is_empty())
                .unwrap_or("none"),
            Self::Merchant => "all",
        }
    }
}

/// How series are to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesSpec {
    /// Step.
    pub frequency: Frequency,
    /// Days that the target covers, both included; weekly series use the whole weeks from Monday inside.
    pub period: Period,
    /// Steps of known future after the period.
    pub future_steps: usize,
    /// What one series is.
    pub key: SeriesKey,
}

/// What a day without a row means in a table of totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MissingDay {
    /// The merchant was closed, or nothing is known: the step is missing.
    #[default]
    Closed,
    /// Nothing was sold: the step is 0.
    Zero,
}

/// A week counts when its product was in stock on at least this many days.
const IN_STOCK_DAYS_MIN: usize = 4;

/// The regular steps of a spec: first day of the first step, number of steps.
#[derive(Clone, Copy)]
struct Grid {
    frequency: Frequency,
    start: Date,
    steps: usize,
}

impl Grid {
    fn of(spec: &SeriesSpec) -> Self {
        let (period, days) = (spec.period, spec.frequency.days());
        let start = match spec.frequency {
            Frequency::Daily => period.start(),
            Frequency::Weekly => monday_of(plus_days(period.start(), 6)),
        };
        let steps = (days_between(start, period.end()) + 1).div_euclid(days);
        Self { frequency: spec.frequency, start, steps: usize::try_from(steps).unwrap_or(0) }
    }

    fn step_of(&self, day: Date) -> Option<usize> {
        let step = usize::try_from(days_between(self.start, day).div_euclid(self.frequency.days())).ok()?;
        (step < self.steps).then_some(step)
    }

    /// Step that holds the day; 0 for earlier days, the number of steps for later ones.
    fn step_from(&self, day: Date) -> usize {
        if day < self.start { 0 } else { self.step_of(day).unwrap_or(self.steps) }
    }

    fn days_of(&self, step: usize) -> impl Iterator<Item = Date> + use<> {
        let first = plus_days(self.start, step as i64 * self.frequency.days());
        (0..self.frequency.days()).map(move |day| plus_days(first, day))
    }
}

/// Adds order lines up to one series each, in order of identity.
///
/// `lines`: cleaned lines (quantities > 0); for private training the bounded ones. Each series begins where its
/// products can first be sold: the earliest listing day; where the merchant gives none, the earlier of the first
/// day in the merchant's calendar and the first line. From there a step without a line is 0, and a step without
/// stock is missing. A product first listed after the period, but within the known future, gives a series without
/// a past. Products without listing day, calendar or line give none.
///
/// Each series is computed from its own lines, its own products and the holidays only: dropping the lines of one
/// customer changes nothing but the series those lines belong to.
pub fn series_from_orders(lines: &[OrderLine], catalogue: &Catalogue, spec: &SeriesSpec) -> Vec<Series> {
    let grid = Grid::of(spec);
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let named = catalogue.products.keys().chain(catalogue.calendar.keys()).map(String::as_str);
    for product in named.chain(lines.iter().map(|line| line.product.as_str())) {
        members.entry(spec.key.series_of(product, catalogue)).or_default().insert(product);
    }
    let mut sold: BTreeMap<&str, (Vec<f64>, Date)> = BTreeMap::new();
    for line in lines {
        let day = line.at.date();
        if let Some(step) = grid.step_of(day) {
            let id = spec.key.series_of(&line.product, catalogue);
            let (units, first) = sold.entry(id).or_insert_with(|| (vec![0.0; grid.steps], day));
            units[step] += line.quantity;
            *first = day.min(*first);
        }
    }
    members
        .iter()
        .filter_map(|(&id, products)| {
            let authored = authored_start(products, catalogue);
            let lines = sold.get(id);
            let begin = match (authored.listed, authored.first_planned, lines.map(|(_, first)| *first)) {
                (Some(listed), _, first) => first.map_or(listed, |first| listed.min(first)),
                (None, planned, first) => [planned, first].into_iter().flatten().min()?,
            };
            let horizon_end = plus_days(grid.start, (grid.steps + spec.future_steps) as i64 * spec.frequency.days());
            if begin >= horizon_end {
                return None;
            }
            let from = grid.step_from(begin);
            let y = (from..grid.steps)
                .map(|step| {
                    let units = lines.map_or(0.0, |(units, _)| units[step]);
                    if in_stock(&grid, step, products, catalogue) { units as f32 } else { f32::NAN }
                })
                .collect();
            Some(finish(id, y, from, &grid, products, catalogue, *spec))
        })
        .collect()
}

/// Series of a merchant who has totals only, in order of identity. Each begins at its first row.
///
/// A row of the same identity in the catalogue's products gives attributes and text, one in its calendar gives
/// prices and promotions; a step that the calendar calls out of stock is missing.
pub fn series_from_sales(
    rows: &[SalesRow],
    catalogue: &Catalogue,
    spec: &SeriesSpec,
    missing: MissingDay,
) -> Vec<Series> {
    let spec = SeriesSpec { key: SeriesKey::Product, ..*spec };
    let grid = Grid::of(&spec);
    let mut totals: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for row in rows {
        if let Some(step) = grid.step_of(row.date) {
            let steps = totals.entry(&row.series).or_insert_with(|| vec![f64::NAN; grid.steps]);
            steps[step] = if steps[step].is_nan() { row.value } else { steps[step] + row.value };
        }
    }
    totals
        .into_iter()
        .filter_map(|(id, totals)| {
            let from = totals.iter().position(|total| !total.is_nan())?;
            let products = BTreeSet::from([id]);
            let y = (from..grid.steps)
                .map(|step| {
                    let total = totals[step];
                    let open = in_stock(&grid, step, &products, catalogue);
                    match missing {
                        _ if !open => f32::NAN,
                        MissingDay::Zero if total.is_nan() => 0.0,
                        MissingDay::Zero | MissingDay::Closed => total as f32,
                    }
                })
                .collect();
            Some(finish(id, y, from, &grid, &products, catalogue, spec))
        })
        .collect()
}

/// What the merchant's tables say about the beginning of a series.
struct AuthoredStart {
    /// Earliest listing day of its products.
    listed: Option<Date>,
    /// Earliest day in its products' calendars.
    first_planned: Option<Date>,
}

fn authored_start(products: &BTreeSet<&str>, catalogue: &Catalogue) -> AuthoredStart {
    let listed = products.iter().filter_map(|id| catalogue.products.get(*id)?.listed_on).min();
    let first_planned = products.iter().filter_map(|id| Some(*catalogue.calendar.get(*id)?.first_key_value()?.0)).min();
    AuthoredStart { listed, first_planned }
}

/// A step is censored when every product of the series is known to be out of stock: on the day, or on so many
/// days of the week that fewer than four were left to sell on.
fn in_stock(grid: &Grid, step: usize, products: &BTreeSet<&str>, catalogue: &Catalogue) -> bool {
    let calendars: Vec<_> = products.iter().map(|id| catalogue.calendar.get(*id)).collect();
    let available = grid
        .days_of(step)
        .filter(|day| {
            calendars.iter().any(|days| days.and_then(|days| days.get(day)).and_then(|day| day.in_stock) != Some(false))
        })
        .count();
    match grid.frequency {
        Frequency::Daily => available == 1,
        Frequency::Weekly => available >= IN_STOCK_DAYS_MIN,
    }
}

/// Adds what is known in advance, attributes and text to a target that begins at step `from` of the grid.
fn finish(
    id: &str,
    y: Vec<f32>,
    from: usize,
    grid: &Grid,
    products: &BTreeSet<&str>,
    catalogue: &Catalogue,
    spec: SeriesSpec,
) -> Series {
    let start = plus_days(grid.start, from as i64 * grid.frequency.days());
    let steps = grid.steps - from + spec.future_steps;
    let mut known = calendar_channels(grid.frequency, start, steps, &catalogue.holidays);
    let shifted = Grid { start, steps, ..*grid };
    let mut weights = vec![0.0_f32; steps];
    for product in products {
        let Some(days) = catalogue.calendar.get(*product) else { continue };
        let list_price = catalogue.products.get(*product).and_then(|product| product.list_price);
        let reference = reference_price(list_price, Some(days));
        for (day, authored) in days.range(start..) {
            let Some(step) = shifted.step_of(*day) else { break };
            weights[step] += 1.0;
            for (sum, value) in known[step].iter_mut().zip(product_channels(authored, reference)) {
                *sum += value;
            }
        }
    }
    // The product channels were added up over days and products: their mean is the step's value. Calendar
    // channels are 0 in `product_channels`, and product channels are 0 in `calendar_channels`.
    for (channels, weight) in known.iter_mut().zip(weights) {
        if weight > 1.0 {
            for channel in &mut channels[super::calendar::LOG_PRICE..=super::calendar::MARKDOWN] {
                *channel /= weight;
            }
        }
    }
    let (attributes, text) = describe(id, products, catalogue, spec.key);
    Series {
        id: id.to_owned(),
        frequency: grid.frequency,
        start,
        y,
        known,
        attributes,
        text,
        text_vector: None,
        further: None,
    }
}

fn describe(
    id: &str,
    products: &BTreeSet<&str>,
    catalogue: &Catalogue,
    key: SeriesKey,
) -> (Vec<(String, String)>, String) {
    match key {
        SeriesKey::Product => catalogue.products.get(id).map_or_else(Default::default, |product| {
            let mut attributes = product.attributes.clone();
            if !product.category.is_empty() {
                attributes.push(("category".to_owned(), product.category.clone()));
            }
            (attributes, text_of(product))
        }),
        SeriesKey::Category => (vec![("category".to_owned(), id.to_owned())], id.to_owned()),
        SeriesKey::Merchant => {
            let categories: BTreeSet<&str> = products
                .iter()
                .filter_map(|id| Some(catalogue.products.get(*id)?.category.as_str()))
                .filter(|category| !category.is_empty())
                .collect();
            let attributes = categories.into_iter().map(|c| ("category".to_owned(), c.to_owned())).collect();
            (attributes, String::new())
        }
    }
}

fn text_of(product: &Product) -> String {
    [product.title.as_str(), product.description.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(". ")
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
