//! `forecastle backtest`.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use clap::Args;
use forecastle_proto::model::ModelSnapshot;
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    DeviceArguments, Format, Outcome, RollingArguments,
    base::{base_model, founding_model},
    command, print_json, runtime, text,
};
use crate::{
    backtest::{self, Models, Progress, Report, Settings},
    data::{
        prepare::{self, SeriesChoice},
        store::DataStore,
    },
    durable::{self, Access},
    federation::home::Home,
    forecast::Way,
    model::Model,
};

/// See what each way to forecast would have done on this merchant's own past.
///
/// Rolls an origin forward, forecasts from it with the model and with simple methods, on exactly the same windows, and judges
/// by what came. The way with the smallest error (WQL) on the windows before the last (of four and more without the first, from
/// which mixes learn) is chosen and told by what it did on the last. Everything stays on this machine. Ctrl-C stops and reports the windows that are done.
///
/// Methods: model (the published one as it is), model-personal (fine-tuned and calibrated on this merchant's series up to
/// the first window), no-federation (the same from the model before the first round), naive, seasonal-naive, same-weekday,
/// croston, sba, tsb, theta, auto-ets, auto-arima, regression. A row `mix` averages the three that were best so far, a row
/// `stacked` all of them with the weights that were best so far. Totals of categories and of the shop are judged too.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle backtest --out backtest.html
  forecastle backtest --windows 8 --series 200 --serve
  forecastle backtest --new-products
  forecastle backtest --methods model,same-weekday,theta --format json")]
pub(super) struct Arguments {
    #[command(flatten)]
    rolling: RollingArguments,
    /// Methods to compare (default: all).
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    methods: Vec<Way>,
    /// Model file (default: the federation's latest, or the warm start before the first download).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// File to write: .html to read and print, .json with every series. May be given twice.
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
    /// Judge forecasts of new products instead: each product that was launched within the data is forecast as if it had
    /// no past, from how earlier launches began.
    #[arg(long, conflicts_with_all = ["serve", "methods", "out", "stride"])]
    new_products: bool,
    /// Let `forecastle forecast` take what is chosen from now on.
    #[arg(long)]
    serve: bool,
    #[command(flatten)]
    device: DeviceArguments,
}

/// Launches that are forecast where no number is asked for.
const NEWCOMERS: usize = 500;

pub(super) fn run(home: Home, arguments: &Arguments, format: Format) -> Outcome {
    for path in &arguments.out {
        kind_of(path)?;
    }
    arguments.device.choose()?;
    let store = DataStore::open(&home.data())?;
    let (name, may_know, model) = match &arguments.model {
        Some(path) => (path.display().to_string(), true, read_model(path)?),
        None => match base_model(&home)? {
            (0, model) => ("the warm start, no federation".to_owned(), false, model),
            (version, model) => (format!("version {version} of the federation"), true, model),
        },
    };
    let before = founding_model(&home)?.1;
    // Another kind of model is no model of before; nor is there one where there was no round.
    let before = (may_know && before.config() == model.config()).then_some(before);
    let period = store.observed_period().ok_or(prepare::PrepareError::Empty)?;
    // Reviews of later days would tell the past what came of it.
    let choice = SeriesChoice { review_texts: false, ..home.series_choice()?.for_inputs(model.config().inputs()) };
    let frequency = model.config().frequency;
    let mut prepared = prepare::local_series(&(&store).into(), choice, frequency, period, 0)?;
    if arguments.new_products {
        let horizon = arguments.rolling.horizon.unwrap_or(model.shape().horizon);
        let most = arguments.rolling.series.unwrap_or(NEWCOMERS);
        let price = |id: &str| store.catalogue().products.get(id).and_then(|product| product.list_price);
        let report = backtest::newcomers(&model, &prepared.series, &price, horizon, most)?;
        match format {
            Format::Json => print_json(&report)?,
            Format::Text => say!("{report}"),
        }
        return Ok(());
    }
    if arguments.methods.is_empty() || arguments.methods.iter().any(|way| way.uses_model()) {
        text::attach(&home, &model, &mut prepared.series)?;
    }
    // A long run must not keep other commands waiting for the state folder.
    let state = home.path().to_owned();
    drop((store, home));
    let horizon = arguments.rolling.horizon.unwrap_or(model.shape().horizon);
    let mut ways = arguments.methods.clone();
    if ways.is_empty() {
        ways.extend(Way::all().filter(|way| *way != Way::NoFederation || before.is_some()));
    }
    let mut seen = std::collections::BTreeSet::new();
    ways.retain(|way| seen.insert(*way));
    let settings = Settings {
        model: name,
        model_may_know_windows: may_know,
        windows: arguments.rolling.windows,
        horizon,
        stride: arguments.rolling.stride.unwrap_or(horizon),
        ways,
        series_max: arguments.rolling.series,
        drawings: 5,
    };
    let models = Models { published: &model, before: before.as_ref() };
    let report = watched(models, &prepared.series, &settings)?;
    let mut served = None;
    if arguments.serve && !report.stopped {
        let choice =
            report.choice.as_ref().ok_or("nothing was chosen, so nothing is served: ask for two or more windows")?;
        choice.served.write(&state)?;
        served = Some(choice.served.clone());
    }
    for path in &arguments.out {
        let bytes = match kind_of(path)? {
            Kind::Html => backtest::render(&report, "Which forecast is best for this shop?", &command())?.into_bytes(),
            Kind::Json => serde_json::to_vec_pretty(&report)?,
        };
        durable::write(path, &bytes, Access::Secret)?;
    }
    match format {
        Format::Json => print_json(&report)?,
        Format::Text => {
            say!("{report}");
            if let Some(served) = served {
                say!("`forecastle forecast` takes {served} from now on.");
            }
            for path in &arguments.out {
                say!("written to {}", path.display());
            }
        }
    }
    if report.stopped {
        let (done, wanted) = (report.windows.len(), report.windows_wanted);
        return Err(format!("stopped: {done} of {wanted} windows are in the report, and nothing was changed").into());
    }
    Ok(())
}

/// The run with a progress bar, stopped by Ctrl-C at the next method; a second Ctrl-C ends the program.
fn watched(
    models: Models<'_>,
    series: &[crate::data::series::Series],
    settings: &Settings,
) -> Result<Report, Box<dyn std::error::Error + Send + Sync>> {
    let stop = Arc::new(AtomicBool::new(false));
    let runtime = runtime()?;
    let heard = Arc::clone(&stop);
    runtime.spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if heard.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            eprintln!("stopping; the windows that are done will be reported (Ctrl-C again to end at once)");
        }
    });
    let bar = ProgressBar::new(settings.windows as u64 * 1_000).with_style(
        ProgressStyle::with_template("{bar:40} {msg} {elapsed}").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let result = backtest::run(models, series, settings, &mut |Progress { window, series, of }| {
        bar.set_position((window * 1_000 + 1_000 * series / of.max(1)) as u64);
        bar.set_message(format!("window {} of {}, series {series} of {of}", window + 1, settings.windows));
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish_and_clear();
    runtime.shutdown_background();
    Ok(result?)
}

/// Reads a model file.
pub(super) fn read_model(path: &Path) -> Result<Model, Box<dyn std::error::Error + Send + Sync>> {
    let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let snapshot = ModelSnapshot::from_bytes(&durable::read(path)?).map_err(|e| named(&e))?;
    Ok(Model::from_snapshot(&snapshot).map_err(|e| named(&e))?)
}

/// What a file holds.
pub(super) enum Kind {
    Html,
    Json,
}

/// What a file shall hold, by the end of its name.
pub(super) fn kind_of(path: &Path) -> Result<Kind, String> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html" | "htm") => Ok(Kind::Html),
        Some("json") => Ok(Kind::Json),
        _ => Err(format!("--out {}: the name must end in .html or .json", path.display())),
    }
}
