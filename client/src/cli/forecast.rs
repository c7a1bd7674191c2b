//! `forecastle forecast`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::{DeviceArguments, Format, Outcome, print_json, train::base_model};
use crate::{
    data::{prepare, store::DataStore},
    durable::{self, Access},
    federation::home::Home,
    forecast::personal::Personal,
    model::QUANTILES,
    train::LocalTraining,
};

/// Forecast every product with nine quantiles.
///
/// Takes the federation's latest model (or the warm start before the first round), fine-tunes and calibrates it on
/// this merchant's own orders, and forecasts the days after the last order.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle forecast --out forecasts.csv
  forecastle forecast --horizon 14 --format json")]
pub(super) struct Arguments {
    /// Steps to forecast (default: as far as the model reaches, 28 days).
    #[arg(long, value_name = "STEPS")]
    horizon: Option<usize>,
    /// File to write: unique_id, date, then the quantiles 0.1 to 0.9 (default: standard output).
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
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
    let series: Vec<_> = prepared.series.into_iter().filter(|s| s.y.iter().any(|v| v.is_finite())).collect();
    let personal = Personal::train(&model, &series, &LocalTraining::fine_tuning(1))?;
    let forecasts = personal.predict(&series, horizon)?;
    let rows = || {
        series.iter().zip(&forecasts).flat_map(|(series, forecast)| {
            forecast.quantiles.iter().enumerate().map(move |(step, quantiles)| (series, step, quantiles))
        })
    };
    let mut text = Vec::new();
    if format == Format::Json && arguments.out.is_none() {
        for (series, step, quantiles) in rows() {
            print_json(&json!({
                "unique_id": series.id,
                "date": series.date(series.y.len() + step).to_string(),
                "quantiles": quantiles,
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
                "model": version, "local_steps": personal.steps,
            });
            match format {
                Format::Json => print_json(&summary)?,
                Format::Text => say!(
                    "{} series, {horizon} steps each, written to {} (model {version}, {} local steps)",
                    series.len(),
                    path.display(),
                    personal.steps
                ),
            }
        }
    }
    Ok(())
}
