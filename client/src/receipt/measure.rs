//! Rolling the origin, and what each forecast was worth, series by series.

use std::ops::ControlFlow;

use jiff::civil::Date;

use super::{
    report::{Group, Price, Receipt, WindowLine},
    worth::{Judged, Worth, worth},
};
use crate::{
    backtest::{self, BacktestError, Models, Progress, Roll},
    data::{order::plus_days, series::Series},
    forecast::{Forecaster, Way, baseline::Method, metrics::ScoredForecast, personal::Personal, served::Forecasters},
    train::LocalTraining,
};

/// Series that are forecast together; bounds memory.
const CHUNK: usize = 256;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Number of origins.
    pub windows: usize,
    /// Steps to forecast at each.
    pub horizon: usize,
    /// Steps from one origin to the next.
    pub stride: usize,
    /// Baselines to compete with.
    pub baselines: Vec<Method>,
    /// Only so many series: those that sold most before the first origin. All where `None`.
    pub series_max: Option<usize>,
    /// Share of steps in which stock is meant to suffice; a unit short costs level / (1 − level) units left over.
    pub service_level: f64,
    /// Last day of the federation's training period.
    pub trained_to: Date,
}

/// Who asks, and what it cost; everything that is not measured.
#[derive(Clone, Debug)]
pub struct Account {
    /// The merchant's name in the federation.
    pub merchant: String,
    /// The federation.
    pub federation: String,
    /// The model in words.
    pub model: String,
    /// The model from before the first round, in words.
    pub before: String,
    /// What was spent.
    pub price: Price,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// A number that makes no sense.
    #[error("{0}")]
    Settings(String),
    /// As in a backtest.
    #[error(transparent)]
    Backtest(#[from] BacktestError),
}

/// Measures, and writes the receipt.
///
/// # Errors
/// [`ReceiptError`].
pub fn measure(
    models: Models<'_>,
    series: &[Series],
    settings: &Settings,
    account: Account,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Receipt, ReceiptError> {
    if !(0.5..1.0).contains(&settings.service_level) {
        return Err(ReceiptError::Settings("the service level must lie in 0.5..1, such as 0.8".into()));
    }
    if settings.baselines.is_empty() {
        return Err(ReceiptError::Settings("no baseline was named".into()));
    }
    let ways: Vec<Way> = [Way::Personal, Way::NoFederation]
        .into_iter()
        .chain(settings.baselines.iter().map(|method| Way::Baseline(*method)))
        .collect();
    let rolled = backtest::Settings {
        model: account.model.clone(),
        model_may_know_windows: true,
        windows: settings.windows,
        horizon: settings.horizon,
        stride: settings.stride,
        ways: ways.clone(),
        series_max: settings.series_max,
        drawings: 0,
    };
    let roll = Roll::new(&rolled, models.published)?;
    let series = roll.chosen(series);
    roll.check_long_enough(&series)?;
    let known = roll.known_at_first(&series);
    let trained =
        |base| Personal::train(base, &known, &LocalTraining::fine_tuning_of(&known, 1)).map_err(BacktestError::from);
    let own = trained(models.published)?;
    let unfederated = models.before.map(trained).transpose()?;
    let forecaster = Forecaster::of(models.published.clone());
    let forecasters = Forecasters { model: &forecaster, personal: Some(&own), unfederated: unfederated.as_ref() };
    let mut windows = Vec::with_capacity(settings.windows);
    for window in 0..settings.windows {
        let items = roll.items(&series, window);
        let Some((first, cut)) = items.first().copied() else { continue };
        let mut found = Vec::with_capacity(items.len());
        for (number, chunk) in items.chunks(CHUNK).enumerate() {
            if observe(Progress { window, series: number * CHUNK, of: items.len() }).is_break() {
                return Err(BacktestError::Stopped.into());
            }
            let cuts: Vec<(&Series, usize)> = chunk.iter().map(|(position, cut)| (&series[*position], *cut)).collect();
            let answers = ways
                .iter()
                .map(|way| forecasters.answers(*way, &cuts, settings.horizon).map_err(BacktestError::from))
                .collect::<Result<Vec<_>, _>>()?;
            for (item, (one, cut)) in cuts.iter().enumerate() {
                let worth = answers.iter().map(|answers| {
                    let scored = ScoredForecast {
                        past: &one.y[..*cut],
                        actual: &one.y[*cut..*cut + settings.horizon],
                        quantiles: &answers[item].quantiles,
                    };
                    worth(&scored, chunk[item].0, settings.service_level)
                });
                found.push((chunk[item].0, worth.collect::<Result<Vec<_>, _>>()?));
            }
        }
        let first = &series[first];
        let (known_to, last_day) = (plus_days(first.date(cut), -1), plus_days(first.date(cut + settings.horizon), -1));
        windows.push(Judged { known_to, last_day, clean: known_to >= settings.trained_to, series: found });
    }
    Ok(receipt(settings, account, &ways, &windows, series.first().map_or(1, |one| one.frequency.days())))
}

fn receipt(settings: &Settings, account: Account, ways: &[Way], windows: &[Judged], step_days: i64) -> Receipt {
    let group = |clean: bool| {
        let of: Vec<&Judged> = windows.iter().filter(|window| window.clean == clean).collect();
        Group::of(&of, ways)
    };
    let (clean, seen) = (group(true), group(false));
    let baseline = clean.as_ref().or(seen.as_ref()).map(|group| group.baseline.clone());
    let row = ways.iter().position(|way| baseline.as_deref() == Some(way.name())).unwrap_or(0);
    let lines = windows.iter().map(|window| {
        let wql = [0, 1, row].map(|row| {
            let mut sum = Worth::default();
            window.series.iter().for_each(|(_, worth)| sum.add(&worth[row]));
            (sum.volume > 0.0).then(|| sum.quantile_loss / sum.volume)
        });
        WindowLine {
            known_to: window.known_to,
            last_day: window.last_day,
            clean: window.clean,
            series: window.series.len(),
            wql,
        }
    });
    Receipt {
        merchant: account.merchant,
        federation: account.federation,
        model: account.model,
        before: account.before,
        trained_to: settings.trained_to,
        horizon: settings.horizon,
        step_days,
        service_level: settings.service_level,
        windows: lines.collect(),
        clean,
        seen,
        price: account.price,
    }
}
