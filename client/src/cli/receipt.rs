//! `forecastle receipt`.

use std::{error::Error, ops::ControlFlow, path::PathBuf};

use clap::Args;
use forecastle_crypto::dp::odds;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    DeviceArguments, Format, Outcome, RollingArguments,
    backtest::{Kind, kind_of},
    base::shared_founding_model,
    command, print_json,
    privacy::observers,
    text,
};
use crate::{
    backtest::{Models, Progress},
    data::{
        prepare::{self, SeriesChoice, period_of},
        store::DataStore,
    },
    durable::{self, Access},
    federation::{home::Home, own_ledger::OwnLedger},
    forecast::baseline::Method,
    model::{Model, assets},
    receipt::{self, Account, Price, PriceRow, Settings},
};

/// See what joining the federation was worth to this merchant, and what it cost.
///
/// On windows of this merchant's own past, forecasts of the federation's model are compared with those of the model from
/// before the first round (both fine-tuned and calibrated alike on what was known at the first window) and with the best
/// baseline: error (WQL, WAPE) and the cost of stock. Windows that the training period overlaps are told apart, since the
/// model has seen them. The cost is ε, from this merchant's own ledger. Everything stays on this machine.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle receipt --out receipt.html
  forecastle receipt --windows 2 --service-level 0.9
  forecastle receipt --baselines same-weekday,theta --format json")]
pub(super) struct Arguments {
    #[command(flatten)]
    rolling: RollingArguments,
    /// Baselines to compete with (default: all).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    baselines: Vec<Method>,
    /// Share of steps in which stock shall suffice, 0.5 or more and below 1. It is the ratio of costs as well: at 0.8 a unit short costs
    /// as much as 4 left over.
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    service_level: f64,
    /// File to write: .html to read and print, .json for programs. May be given twice.
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    #[command(flatten)]
    device: DeviceArguments,
}

pub(super) fn run(home: Home, arguments: &Arguments, format: Format) -> Outcome {
    for path in &arguments.out {
        kind_of(path)?;
    }
    arguments.device.choose()?;
    let membership = home.membership()?;
    let (plan, _) = home.plan()?;
    let (version, published) = match home.current_model()? {
        Some((version, snapshot)) if version > 0 => (version, Model::from_snapshot(&snapshot)?),
        _ => {
            return Err(
                "no round has brought a model yet, so there is nothing to settle; run `forecastle train` first".into(),
            );
        }
    };
    let (before, words) = before_rounds(&home, version, &published)?;
    let account = Account {
        merchant: membership.merchant.to_string(),
        federation: membership.federation.clone(),
        model: format!("version {version} of the federation"),
        before: words,
        price: price(&home)?,
    };
    let store = DataStore::open(&home.data())?;
    let period = store.observed_period().ok_or(prepare::PrepareError::Empty)?;
    // Reviews of later days would tell the past what came of it.
    let choice = SeriesChoice { review_texts: false, ..home.series_choice()?.for_inputs(published.config().inputs()) };
    let frequency = published.config().frequency;
    let mut prepared = prepare::local_series(&(&store).into(), choice, frequency, period, 0)?;
    text::attach(&home, &published, &mut prepared.series)?;
    drop((store, home));
    let horizon = arguments.rolling.horizon.unwrap_or(published.shape().horizon);
    let mut baselines = arguments.baselines.clone();
    if baselines.is_empty() {
        baselines.extend(Method::ALL);
    }
    let mut seen = std::collections::BTreeSet::new();
    baselines.retain(|method| seen.insert(*method));
    let settings = Settings {
        windows: arguments.rolling.windows,
        horizon,
        stride: arguments.rolling.stride.unwrap_or(horizon),
        baselines,
        series_max: arguments.rolling.series,
        service_level: arguments.service_level,
        trained_to: period_of(&plan)?.end(),
    };
    let bar = ProgressBar::new(settings.windows as u64 * 1_000).with_style(
        ProgressStyle::with_template("{bar:40} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let models = Models { published: &published, before: Some(&before) };
    let receipt =
        receipt::measure(models, &prepared.series, &settings, account, &mut |Progress { window, series, of }| {
            bar.set_position((window * 1_000 + 1_000 * series / of.max(1)) as u64);
            bar.set_message(format!("window {} of {}, series {series} of {of}", window + 1, settings.windows));
            ControlFlow::Continue(())
        });
    bar.finish_and_clear();
    let receipt = receipt?;
    for path in &arguments.out {
        let bytes = match kind_of(path)? {
            Kind::Html => receipt::render(&receipt, &command())?.into_bytes(),
            Kind::Json => serde_json::to_vec_pretty(&receipt)?,
        };
        durable::write(path, &bytes, Access::Secret)?;
    }
    match format {
        Format::Json => print_json(&receipt)?,
        Format::Text => {
            say!("{receipt}");
            for path in &arguments.out {
                say!("written to {}", path.display());
            }
        }
    }
    Ok(())
}

/// The model from before the first round, in words: the earliest that is stored, or the warm start of the same kind.
fn before_rounds(
    home: &Home,
    version: u64,
    published: &Model,
) -> Result<(Model, String), Box<dyn Error + Send + Sync>> {
    let (earliest, model) = shared_founding_model(home)?;
    if earliest == 0 && model.config() == published.config() {
        return Ok((model, "version 0, from before the first round".into()));
    }
    let warm = Model::from_snapshot(&assets::warm_start("nano-daily")?)?;
    if warm.config() == published.config() {
        return Ok((warm, "the warm start that ships with this program".into()));
    }
    if earliest < version && model.config() == published.config() {
        return Ok((
            model,
            format!("version {earliest}, the earliest that this merchant has: earlier rounds are in both"),
        ));
    }
    Err("no model from before this merchant joined is at hand, so there is nothing to compare with".into())
}

/// What this plan's charges cost, as `privacy show` has it.
fn price(home: &Home) -> Result<Price, Box<dyn Error + Send + Sync>> {
    let (plan, plan_sha256) = home.plan()?;
    let charges = OwnLedger::open(home.path())?.charges();
    let of_plan: Vec<_> = charges.iter().filter(|charge| charge.plan_sha256 == plan_sha256).collect();
    let count = u32::try_from(of_plan.len())?;
    let rows = match of_plan.last() {
        Some(last) => observers(&plan, last.dimension, count)?.into(),
        None => Vec::new(),
    };
    let row = |observer: super::privacy::Observer| PriceRow {
        who: observer.who.to_owned(),
        epsilon: observer.exposure.map(|exposure| exposure.spent.epsilon),
        right_guesses: observer.exposure.map(|exposure| odds::percent(exposure.right_guesses)),
    };
    Ok(Price {
        unit: plan.privacy.unit.name().to_owned(),
        delta: plan.privacy.delta,
        rounds_charged: count,
        rounds_planned: plan.rounds.count,
        observers: rows.into_iter().map(row).collect(),
    })
}
