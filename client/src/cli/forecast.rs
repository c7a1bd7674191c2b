//! `forecastle forecast`.

use std::{error::Error, path::PathBuf};

use clap::{Args, ValueEnum};
use jiff::civil::Date;
use serde_json::json;

use super::{
    DeviceArguments, Format, Outcome,
    backtest::read_model,
    base::{base_model, founding_model},
    print_json, text,
};
use crate::{
    data::{
        clean::ReturnPolicy,
        order::plus_days,
        planned, prepare,
        scale::{PROPORTION_MAX, out_of_proportion},
        series::Series,
        store::DataStore,
    },
    durable::{self, Access},
    federation::home::Home,
    forecast::{
        Forecaster, Served, Way,
        beside::{Beside, Returns},
        hierarchy::{Level, Quantiles, Weighting, with_totals},
        newcomer::{Analogues, Profile, launches},
        personal::Personal,
        served::Forecasters,
    },
    model::{Model, ModelConfig, QUANTILE_COUNT, QUANTILES},
    train::{LocalTraining, merchant::past_min},
};

/// Forecast every product with nine quantiles.
///
/// Takes the federation's latest model (or the warm start before the first round), fine-tunes and calibrates it on
/// this merchant's own orders, and forecasts the days after the last order. Where `forecastle backtest --serve` found
/// another way to be better for this merchant, that one is taken, and named. Products that are listed for later days and have
/// no past are forecast from how similar ones began.
///
/// A model with a head for counts adds the columns count_mean, count_variance and count_zero (the probability that nothing is
/// sold); one with a head for returns return_rate (the share of a step's sales that comes back), expected_returns and
/// net_units. They stay empty for totals, for new products, and where they mean nothing.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle forecast --out forecasts.csv
  forecastle forecast --horizon 14 --format json
  forecastle forecast --totals --out forecasts.csv
  forecastle forecast --method same-weekday
  forecastle forecast --method 0.7*theta+0.3*model-personal")]
pub(super) struct Arguments {
    /// Steps to forecast (default: as far as the model reaches, 28 days).
    #[arg(long, value_name = "STEPS")]
    horizon: Option<usize>,
    /// Model file to forecast with (default: the federation's latest, or the warm start before the first download).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// File to write: unique_id, date, then the quantiles 0.1 to 0.9 (default: standard output).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Way to forecast, or several joined by + whose quantiles are averaged, with weights if you like (default: what
    /// `backtest --serve` chose, else model-personal).
    #[arg(long, value_name = "WAY")]
    method: Option<Served>,
    /// Forecast totals beside the products: each category and the shop, or one of the two. Adds the columns `mean`, which adds
    /// up from products to totals, and `level`. Takes five times as long, as errors of earlier forecasts are looked at.
    #[arg(long, value_name = "LEVEL", num_args = 0..=1, default_missing_value = "all")]
    totals: Option<Wanted>,
    #[command(flatten)]
    device: DeviceArguments,
}

/// How products without a past are forecast, in files.
const ANALOGUES: &str = "analogues";

/// Which totals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wanted {
    /// Categories and the shop.
    All,
    /// Categories.
    Category,
    /// The shop.
    Shop,
}

impl Wanted {
    fn includes(self, level: Level) -> bool {
        match self {
            Self::All => true,
            Self::Category => level == Level::Category,
            Self::Shop => level == Level::Shop,
        }
    }
}

/// What is written of one product or total.
struct Block {
    level: Level,
    id: String,
    /// The first step that is forecast.
    start: Date,
    step_days: i64,
    quantiles: Quantiles,
    /// `[horizon]`; only with totals, and not of new products, which are in no total.
    means: Option<Vec<f64>>,
    /// How it was made, in files.
    method: String,
    /// What the heads say beside quantiles, `[horizon]`, a number for each of [`Columns`]; empty where they say nothing.
    beside: Vec<Vec<Option<f64>>>,
}

/// Columns of what a model's heads say beside quantiles.
struct Columns {
    counts: bool,
    returns: bool,
}

impl Columns {
    /// Those of the model that speaks, if one does.
    fn of(speaker: Option<&Forecaster>) -> Self {
        let has = |head: fn(&ModelConfig) -> bool| speaker.is_some_and(|one| head(one.config()));
        Self { counts: has(|config| config.counts), returns: has(|config| config.returns) }
    }

    fn names(&self) -> Vec<&'static str> {
        let counts = ["count_mean", "count_variance", "count_zero"].into_iter().filter(|_| self.counts);
        counts.chain(["return_rate", "expected_returns", "net_units"].into_iter().filter(|_| self.returns)).collect()
    }

    /// The numbers of each step of a forecast.
    fn of_steps(&self, beside: &Beside, quantiles: &Quantiles, policy: ReturnPolicy) -> Vec<Vec<Option<f64>>> {
        let of_step = |(step, quantiles): (usize, &[f32; QUANTILE_COUNT])| {
            let mut numbers = Vec::new();
            if self.counts {
                let count = beside.counts.as_ref().and_then(|counts| counts.get(step));
                let all = count.map(|count| [f64::from(count.mean), count.variance(), count.zero()]);
                numbers.extend((0..3).map(|at| all.map(|all| all[at])));
            }
            if self.returns {
                let rate = beside.rates.as_ref().and_then(|rates| rates.get(step));
                let returns = rate.map(|rate| Returns::of(*rate, beside.expected(step, quantiles), policy));
                let all = returns.map(|one| [one.rate, one.returned, one.net]);
                numbers.extend((0..3).map(|at| all.map(|all| all[at])));
            }
            numbers
        };
        if self.names().is_empty() { Vec::new() } else { quantiles.iter().enumerate().map(of_step).collect() }
    }
}

impl Block {
    fn day(&self, step: usize) -> String {
        plus_days(self.start, step as i64 * self.step_days).to_string()
    }
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    arguments.device.choose()?;
    let store = DataStore::open(&home.data())?;
    let (version, model) = match &arguments.model {
        Some(file) => (json!(file), read_model(file)?),
        None => {
            let (version, model) = base_model(home)?;
            (json!(version), model)
        }
    };
    let longest = model.shape().horizon;
    let horizon = arguments.horizon.unwrap_or(longest);
    if !(1..=longest).contains(&horizon) {
        return Err(format!("--horizon must lie in 1..={longest}, as far as the model reaches").into());
    }
    let period = store.observed_period().ok_or(prepare::PrepareError::Empty)?;
    match store.dated_ahead() {
        0 => {}
        ahead => eprintln!(
            "forecastle: {ahead} order lines are dated after today and left out; `forecastle data check` shows them"
        ),
    }
    let choice = home.series_choice()?.for_inputs(model.config().inputs());
    let prepared = prepare::local_series(&(&store).into(), choice, model.config().frequency, period, longest)?;
    let (new, known): (Vec<_>, Vec<_>) = prepared.series.into_iter().partition(|s| s.y.is_empty());
    let mut series: Vec<_> = known.into_iter().filter(|s| s.y.iter().any(|v| v.is_finite())).collect();
    let price = |id: &str| store.catalogue().products.get(id).and_then(|product| product.list_price);
    let served = match &arguments.method {
        Some(served) => served.clone(),
        None => Served::read(home.path())?.unwrap_or(Served::one(Way::Personal)),
    };
    if served.members().iter().any(|way| way.uses_model()) {
        text::attach(home, &model, &mut series)?;
        for sentence in absurd(&series, model.shape().context) {
            eprintln!("{sentence}");
        }
    }
    let trained = |way: Way, base: &dyn Fn() -> Result<Model, Box<dyn Error + Send + Sync>>| {
        let wanted = served.members().contains(&way);
        wanted
            .then(|| {
                Ok::<_, Box<dyn Error + Send + Sync>>(Personal::train(
                    &base()?,
                    &series,
                    &LocalTraining::fine_tuning_of(&series, 1),
                )?)
            })
            .transpose()
    };
    let personal = trained(Way::Personal, &|| Ok(model.clone()))?;
    let unfederated = trained(Way::NoFederation, &|| Ok(founding_model(home)?.1))?;
    let frequency = model.config().frequency;
    let past_min = past_min(frequency);
    let forecaster = Forecaster::of(model);
    let forecasters =
        Forecasters { model: &forecaster, personal: personal.as_ref(), unfederated: unfederated.as_ref() };
    let launch = |id: &str| {
        let catalogue = store.catalogue();
        let planned = || catalogue.calendar.get(id).and_then(|days| days.keys().next().copied());
        catalogue.products.get(id).and_then(|product| product.listed_on).or_else(planned)
    };
    let new: Vec<Series> = new.into_iter().map(|one| from_launch(one, launch)).collect();
    let begun = newcomers(&series, &new, &price, [longest, horizon]);
    let mut serve = |items: &[(&Series, usize)]| forecasters.serve(&served, items, horizon);
    let step_days = frequency.days();
    // All series end with the period.
    let start = series.first().map_or_else(|| plus_days(period.end(), 1), |one| one.date(one.y.len()));
    let block = |level, id: &str, quantiles| Block {
        level,
        id: id.to_owned(),
        start,
        step_days,
        quantiles,
        means: None,
        method: served.to_string(),
        beside: Vec::new(),
    };
    let columns = Columns::of(forecasters.speaker(&served));
    let ends: Vec<_> = series.iter().map(|series| (series, series.y.len())).collect();
    let beside = forecasters.beside(&served, &ends, horizon)?;
    let product = |((one, quantiles), beside): ((&Series, Quantiles), &Beside)| Block {
        beside: columns.of_steps(beside, &quantiles, choice.cleaning.returns),
        ..block(Level::Product, &one.id, quantiles)
    };
    let mut weighed = None;
    let mut blocks: Vec<Block> = match arguments.totals {
        None => series.iter().zip(serve(&ends)?).zip(&beside).map(product).collect(),
        Some(wanted) => {
            let (hierarchy, products, totals) = with_totals(&series, horizon, past_min, &mut serve)?;
            weighed = Some((totals.weighting, totals.joined));
            let totalled = hierarchy.totals().iter().zip(totals.reconciled);
            let all = series
                .iter()
                .zip(products)
                .zip(&beside)
                .map(product)
                .chain(totalled.map(|(total, quantiles)| block(total.level, &total.name, quantiles)));
            let all = all.zip(totals.means).map(|(block, means)| Block { means: Some(means), ..block });
            all.filter(|block| block.level == Level::Product || wanted.includes(block.level)).collect()
        }
    };
    let end = plus_days(start, horizon as i64 * step_days - 1);
    let named = series.iter().chain(&new).map(|one| one.id.as_str());
    let unplanned = planned::without_price(store.catalogue(), named, start, end);
    for group in &unplanned {
        eprintln!("{group}; they are forecast as at their usual price");
    }
    let totals = blocks.len() - series.len();
    let started = begun.len();
    let unlike = new.iter().filter(|one| one.known.len() > longest - horizon).count() - started;
    blocks.extend(begun.into_iter().map(|(one, quantiles)| Block {
        start: one.start,
        method: ANALOGUES.to_owned(),
        ..block(Level::Product, &one.id, quantiles)
    }));
    if format == Format::Json && arguments.out.is_none() {
        for (block, step) in blocks.iter().flat_map(|block| (0..block.quantiles.len()).map(move |step| (block, step))) {
            let mut row = json!({
                "unique_id": block.id, "date": block.day(step), "quantiles": block.quantiles[step], "method": block.method,
            });
            if let Some(means) = &block.means {
                row["mean"] = json!(means[step]);
            }
            if arguments.totals.is_some() {
                row["level"] = json!(block.level);
            }
            for (at, name) in columns.names().into_iter().enumerate() {
                row[name] = json!(block.beside.get(step).and_then(|numbers| numbers[at]));
            }
            print_json(&row)?;
        }
        return Ok(());
    }
    let mut text = Vec::new();
    {
        let mut writer = csv::Writer::from_writer(&mut text);
        let mut header = vec!["unique_id".to_owned(), "date".to_owned()];
        header.extend(QUANTILES.iter().map(f32::to_string));
        if arguments.totals.is_some() {
            header.extend(["mean", "level"].map(str::to_owned));
        }
        header.extend(columns.names().into_iter().map(str::to_owned));
        writer.write_record(&header)?;
        for (block, step) in blocks.iter().flat_map(|block| (0..block.quantiles.len()).map(move |step| (block, step))) {
            let mut record = vec![block.id.clone(), block.day(step)];
            record.extend(block.quantiles[step].iter().map(f32::to_string));
            if arguments.totals.is_some() {
                let mean = block.means.as_ref().map_or(String::new(), |means| means[step].to_string());
                record.extend([mean, block.level.name().to_owned()]);
            }
            let number = |at: usize| block.beside.get(step).and_then(|numbers| numbers[at]);
            record.extend(
                (0..columns.names().len()).map(|at| number(at).map_or_else(String::new, |number| number.to_string())),
            );
            writer.write_record(&record)?;
        }
        writer.flush()?;
    }
    if unlike > 0 {
        eprintln!("{unlike} new products are not forecast: fewer than five earlier launches are known to go by");
    }
    match &arguments.out {
        None => print!("{}", String::from_utf8(text)?),
        Some(path) => {
            durable::write(path, &text, Access::Ordinary)?;
            let steps = personal.as_ref().or(unfederated.as_ref()).map(|own| own.steps);
            let summary = json!({
                "file": path, "series": series.len(), "totals": totals, "new_products": started, "horizon": horizon,
                "model": version, "local_steps": steps, "method": served,
                "without_planned_price": unplanned.iter().map(|group| group.products.len()).sum::<usize>(),
            });
            match format {
                Format::Json => print_json(&summary)?,
                Format::Text => {
                    let beside = if totals > 0 { format!(" and {totals} totals") } else { String::new() };
                    say!(
                        "{} series{beside}, {horizon} steps each, by {served}, written to {} (model {version}{})",
                        series.len(),
                        path.display(),
                        steps.map_or(String::new(), |steps| format!(", {steps} local steps"))
                    );
                    if started > 0 {
                        say!("{started} new products, from how similar ones began");
                    }
                    if let Some(weighed) = weighed {
                        say!("{}", totals_in_words(weighed));
                    }
                }
            }
        }
    }
    Ok(())
}

/// Sentences that are written about days out of all proportion, at most.
const ABSURD_NAMED: usize = 10;

/// Days of the contexts, `context` steps, whose values the model takes for missing because they are out of all proportion.
fn absurd(series: &[Series], context: usize) -> Vec<String> {
    let found = series.iter().filter_map(|one| {
        let from = one.y.len().saturating_sub(context);
        let step = from + out_of_proportion(&one.y[from..])?;
        Some(format!(
            "{}: {} on {} is over {PROPORTION_MAX} times what its other days sold, and missing to the model; `forecastle data \
             check` shows unusual lines",
            one.id,
            one.y[step],
            one.date(step)
        ))
    });
    found.take(ABSURD_NAMED).collect()
}

/// A series without a past, which begins after the data, from the day on which it can first be sold.
fn from_launch(one: Series, launch: impl Fn(&str) -> Option<Date>) -> Series {
    let skipped = launch(&one.id).and_then(|day| one.step_of(day)).unwrap_or(0).min(one.known.len());
    Series { start: one.date(skipped), known: one.known[skipped..].to_vec(), further: None, ..one }
}

/// Forecasts of products without a past, from how similar ones began; those with too few launches to go by are left out.
/// `longest` steps after the data are known in advance, `horizon` are asked for.
///
/// The model that goes on from such beginnings is a little better where products sell daily, and far worse where they
/// hardly sell (docs/RESULTS.md): it is not asked.
fn newcomers<'a>(
    series: &[Series],
    new: &'a [Series],
    price: &dyn Fn(&str) -> Option<f64>,
    [longest, horizon]: [usize; 2],
) -> Vec<(&'a Series, Quantiles)> {
    if new.is_empty() {
        return Vec::new();
    }
    let profiles: Vec<Profile> = series.iter().map(|one| Profile::of(one, price(&one.id))).collect();
    let known = launches(series, &profiles, 0);
    let forecast = |one: &'a Series| {
        let steps = one.known.len().saturating_sub(longest - horizon);
        let nearest = Analogues::nearest(&Profile::of(one, price(&one.id)), &known, longest)?;
        (steps > 0).then(|| (one, nearest.forecast(one, steps)))
    };
    new.iter().filter_map(forecast).collect()
}

/// How totals came about.
fn totals_in_words((weighting, joined): (Weighting, bool)) -> String {
    let how = match weighting {
        Weighting::Shrunk(lambda) => format!("covariances of earlier errors, shrunk by {lambda:.2}"),
        Weighting::Variance => "variances of earlier errors".to_owned(),
        Weighting::Structural | Weighting::Identity => "their number alone, for want of earlier errors".to_owned(),
    };
    let certain =
        if joined { "" } else { "; too few earlier errors to say who sells well together, so totals look too certain" };
    format!("means add up from products to totals, weighed by {how}; quantiles never add up{certain}")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::series::{Frequency, KNOWN_CHANNELS};

    #[test]
    fn a_new_product_begins_on_its_launch_and_not_before() {
        let mut known = vec![[0.0; KNOWN_CHANNELS]; 28];
        known[5][0] = 1.0;
        let one = Series {
            id: "new".into(),
            frequency: Frequency::Daily,
            start: date(2025, 1, 1),
            y: Vec::new(),
            known,
            attributes: Vec::new(),
            text: String::new(),
            text_vector: None,
            further: None,
        };
        let launched = from_launch(one.clone(), |_| Some(date(2025, 1, 6)));
        assert_eq!((launched.start, launched.known.len(), launched.known[0][0]), (date(2025, 1, 6), 23, 1.0));
        assert_eq!(from_launch(one.clone(), |_| None), one);
        assert_eq!(from_launch(one.clone(), |_| Some(date(2024, 12, 1))), one);
        assert!(from_launch(one, |_| Some(date(2026, 1, 1))).known.is_empty());
        assert!(newcomers(&[], &[launched], &|_| None, [28, 28]).is_empty());
    }
}
