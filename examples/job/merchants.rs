//! Who takes part, with which files, and what came true afterwards.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use forecastle_client::data::{
    order::{Period, plus_days},
    prepare::{self, SeriesChoice},
    series::{Frequency, MissingDay, SeriesKey},
    store::{DataStore, ImportOptions},
};

use super::AnyError;
use crate::{
    dataset::{Task, task::Missing},
    world::{World, WorldConfig},
};

/// One merchant before it joins.
pub struct Candidate {
    /// Name in the federation, `[a-z0-9-]`.
    pub name: String,
    /// Files it imports.
    pub files: Vec<PathBuf>,
    /// What came true in the held-back steps, by series; `NaN` where nothing could be sold or nothing is known.
    pub truth: HashMap<String, Vec<f32>>,
}

/// All merchants and what they have in common.
pub struct Cast {
    /// What it is, for titles.
    pub title: String,
    /// The merchants.
    pub candidates: Vec<Candidate>,
    /// Training period, public.
    pub period: Period,
    /// Step of the series.
    pub frequency: Frequency,
    /// Held-back steps.
    pub horizon: usize,
    /// Preset of the warm start.
    pub preset: &'static str,
    /// What one series is.
    pub choice: SeriesChoice,
    /// Whether order lines name customers.
    pub customers: bool,
    /// Series over all merchants.
    pub series: usize,
    /// Series of the largest merchant.
    pub series_max: usize,
}

/// Generates a marketplace and writes its files under `out`.
///
/// # Errors
/// Where a size is impossible or the disk refuses.
pub fn generated(merchants: usize, products: usize, seed: u64, out: &Path) -> Result<Cast, AnyError> {
    let world = World::generate(&WorldConfig { merchants, products, seed, ..WorldConfig::default() })?;
    let written = world.write(out)?;
    let candidates = written
        .into_iter()
        .zip(world.merchants())
        .enumerate()
        .map(|(number, (files, merchant))| Candidate {
            name: merchant_name(&files.merchant, number),
            // Facts first: prices, promotions and stock are then known when orders arrive.
            files: vec![files.holidays, files.products, files.calendar, files.orders],
            truth: merchant
                .products
                .iter()
                .zip(&merchant.truth)
                .map(|(product, truth)| {
                    let held_back = truth.sales.len().saturating_sub(world.config().held_back_days);
                    (product.id.clone(), truth.sales[held_back..].to_vec())
                })
                .collect(),
        })
        .collect();
    Ok(Cast {
        title: format!("a generated marketplace of {merchants} merchants"),
        candidates,
        period: world.period(),
        frequency: Frequency::Daily,
        horizon: world.config().held_back_days,
        preset: "nano-daily",
        choice: SeriesChoice::default(),
        customers: true,
        series: world.series(),
        series_max: products,
    })
}

/// Deals a published data set to its merchants, at most `most` of them, those with most series first.
///
/// # Errors
/// Where the data do not have the published columns or the disk refuses.
pub fn published(layout: &str, data: &Path, most: usize, out: &Path) -> Result<Cast, AnyError> {
    let task = Task::layout(layout)?;
    let mut dealt = task.write_merchants(data, out)?;
    dealt.merchants.sort_by(|a, b| b.series.len().cmp(&a.series.len()).then_with(|| a.merchant.cmp(&b.merchant)));
    dealt.merchants.truncate(most);
    let horizon = task.evaluation.horizon;
    let by = if task.series.id == task.series.merchant && task.has_orders() {
        SeriesKey::Merchant
    } else {
        SeriesKey::Product
    };
    let missing = if task.series.missing == Missing::Zero { MissingDay::Zero } else { MissingDay::Closed };
    let choice = SeriesChoice { by, missing, ..SeriesChoice::default() };
    let mut candidates = Vec::new();
    let (mut series, mut series_max) = (0, 0);
    for (number, merchant) in dealt.merchants.into_iter().enumerate() {
        let count = if by == SeriesKey::Merchant { 1 } else { merchant.series.len() };
        series += count;
        series_max = series_max.max(count);
        let truth = truth(&merchant.tables, &merchant.held_back, choice, task.frequency, dealt.period, horizon, out)?;
        candidates.push(Candidate { name: merchant_name(&merchant.merchant, number), files: merchant.tables, truth });
    }
    Ok(Cast {
        title: task.title.clone(),
        candidates,
        period: dealt.period,
        frequency: task.frequency,
        horizon,
        preset: preset(task.frequency, horizon),
        choice,
        customers: task.has_orders(),
        series,
        series_max,
    })
}

/// The warm start that reaches `horizon`.
pub fn preset(frequency: Frequency, horizon: usize) -> &'static str {
    match frequency {
        Frequency::Daily => "nano-daily",
        Frequency::Weekly if horizon <= 13 => "nano-weekly",
        Frequency::Weekly => "nano-weekly-long",
    }
}

/// The held-back steps as the merchant's own pipeline adds them up, in a store of their own that no client sees.
fn truth(
    tables: &[PathBuf],
    held_back: &Path,
    choice: SeriesChoice,
    frequency: Frequency,
    period: Period,
    horizon: usize,
    out: &Path,
) -> Result<HashMap<String, Vec<f32>>, AnyError> {
    let folder = out.join("truth-store");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    let mut store = DataStore::open(&folder)?;
    for file in tables.iter().map(PathBuf::as_path).chain([held_back]) {
        store.import_file(file, &ImportOptions::default())?;
    }
    let end = plus_days(period.end(), horizon as i64 * frequency.days());
    let whole = Period::new(period.start(), end).ok_or("the period is empty")?;
    let prepared = prepare::local_series(&(&store).into(), choice, frequency, whole, 0)?;
    let truth = prepared
        .series
        .into_iter()
        .filter(|s| s.y.len() >= horizon)
        .map(|s| (s.id, s.y[s.y.len() - horizon..].to_vec()))
        .collect();
    std::fs::remove_dir_all(&folder)?;
    Ok(truth)
}

/// A name that the federation accepts, from whatever the data set calls its merchant.
fn merchant_name(raw: &str, number: usize) -> String {
    let mut name: String =
        raw.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(20).collect();
    if name.trim_matches('-').is_empty() {
        name = "merchant".into();
    }
    format!("{}-{:03}", name.trim_matches('-'), number + 1)
}
