//! `forecastle forecast`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{DeviceArguments, Format, Outcome, print_json, text, train::base_model};
use crate::{
    data::{prepare, store::DataStore},
    durable::{self, Access},
    federation::home::Home,
    forecast::{Forecaster, Served, Way, personal::Personal, served::Forecasters},
    model::QUANTILES,
    train::LocalTraining,
};

/// Forecast every product with nine quantiles.
///
/// Takes the federation's latest model (or the warm start before the first round), fine-tunes and calibrates it on
/// this merchant's own orders, and forecasts the days after the last order. Where `forecastle backtest --serve` found
/// another way to be better for this merchant, that one is taken, and named.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle forecast --out forecasts.csv
  forecastle forecast --horizon 14 --format json
  forecastle forecast --method same-weekday
  forecastle forecast --method theta+model-personal")]
pub(super) struct Arguments {
    /// Steps to forecast (default: as far as the model reaches, 28 days).
    #[arg(long, value_name = "STEPS")]
    horizon: Option<usize>,
    /// File to write: unique_id, date, then the quantiles 0.1 to 0.9 (default: standard output).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Way to forecast, or several joined by + whose quantiles are averaged (default: what `backtest --serve` chose, else
    /// model-personal).
    #[arg(long, value_name = "WAY")]
    method: Option<Served>,
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    arguments.device.choose()?;
    let store = DataStore::open(&home.data())?;
    let (version, model) = base_model(home)?;
    let longest = model.shape().horizon;
    let horizon = arguments.horizon.unwrap_or(longest);
    if !(1..=longest).contains(&horizon) {
        return Err(format!("--horizon must lie in 1..={longest}, as far as the model reaches").into());
    }
    let period = store.observed_period().ok_or(prepare::PrepareError::Empty)?;
    let prepared =
        prepare::local_series(&(&store).into(), home.series_choice()?, model.config().frequency, period, longest)?;
    let mut series: Vec<_> = prepared.series.into_iter().filter(|s| s.y.iter().any(|v| v.is_finite())).collect();
    let served = match &arguments.method {
        Some(served) => served.clone(),
        None => Served::read(home.path())?.unwrap_or(Served::one(Way::Personal)),
    };
    if served.members().iter().any(|way| way.uses_model()) {
        text::attach(home, &model, &mut series)?;
    }
    let personal = if served.members().contains(&Way::Personal) {
        Some(Personal::train(&model, &series, &LocalTraining::fine_tuning_of(&series, 1))?)
    } else {
        None
    };
    let forecaster = Forecaster::of(model);
    let forecasters = Forecasters { model: &forecaster, personal: personal.as_ref() };
    let ends: Vec<_> = series.iter().map(|series| (series, series.y.len())).collect();
    let forecasts = forecasters.serve(&served, &ends, horizon)?;
    let rows = || {
        series.iter().zip(&forecasts).flat_map(|(series, forecast)| {
            forecast.iter().enumerate().map(move |(step, quantiles)| (series, step, quantiles))
        })
    };
    let mut text = Vec::new();
    if format == Format::Json && arguments.out.is_none() {
        for (series, step, quantiles) in rows() {
            print_json(&json!({
                "unique_id": series.id,
                "date": series.date(series.y.len() + step).to_string(),
                "quantiles": quantiles,
                "method": served,
            }))?;
        }
        return Ok(());
    }
    {
        let mut writer = csv::Writer::from_writer(&mut text);
        let mut header = vec!["unique_id".to_owned(), "date".to_owned()];
        header.extend(QUANTILES.iter().map(f32::to_string));
        writer.write_record(&header)?;
        for (series, step, quantiles) in rows() {
            let mut record = vec![series.id.clone(), series.date(series.y.len() + step).to_string()];
            record.extend(quantiles.iter().map(f32::to_string));
            writer.write_record(&record)?;
        }
        writer.flush()?;
    }
    match &arguments.out {
        None => print!("{}", String::from_utf8(text)?),
        Some(path) => {
            durable::write(path, &text, Access::Ordinary)?;
            let summary = json!({
                "file": path, "series": series.len(), "horizon": horizon,
                "model": version, "local_steps": personal.as_ref().map(|personal| personal.steps), "method": served,
            });
            match format {
                Format::Json => print_json(&summary)?,
                Format::Text => say!(
                    "{} series, {horizon} steps each, by {served}, written to {} (model {version}{})",
                    series.len(),
                    path.display(),
                    personal.as_ref().map_or(String::new(), |personal| format!(", {} local steps", personal.steps))
                ),
            }
        }
    }
    Ok(())
}
