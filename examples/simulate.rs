//! A whole federation in one process, on a published data set: forecasts for every rolling window of a task.
//!
//! ```text
//! cargo run --release --example simulate -- --task restaurant_cal_1D --plan restaurants-series-8 --out forecasts.csv
//! cargo run --release --example simulate -- --task restaurant_cal_1D --no-federation --out warm.csv
//! cargo run --release --example simulate -- --task restaurant_cal_1D --no-federation --start untrained --local off --out skip.csv
//! cargo run --release --example simulate -- --task my_task.toml --propose my_plan.toml --epsilon 4
//! ```
//!
//! What is simulated and what is left out: see `forecastle_examples::simulation`.

use std::{
    error::Error,
    num::NonZeroU8,
    path::{Path, PathBuf},
    process::ExitCode,
    str::FromStr,
    time::Instant,
};

use clap::{Parser, ValueEnum};
use forecastle_client::{
    forecast::metrics::Scores,
    model::{Model, ModelConfig, ModelError, Trained, assets},
};
use forecastle_crypto::dp::{
    plan::PrivacyPlan,
    planner::{SIGNAL_PAYS, signal_to_noise},
    unit::PrivacyUnit,
};
use forecastle_examples::{
    dataset::{Ablation, ForecastFile, Outline, Panel, Task},
    job::{merchants::preset, plan::size_advice},
    simulation::{
        bounded::{Bounded, BoundedError},
        federation::Privacy,
        generated, presets,
        run::{Local, Method, Progress, Refit, Settings, WindowForecasts, backtest_windows, run},
    },
};
use forecastle_proto::model::ModelSnapshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates a federation on a published data set and writes forecasts for its rolling windows.
#[derive(Parser)]
#[command(name = "simulate")]
struct Arguments {
    /// A shipped task (restaurant_cal_1D, walmart_1W, …), a task's TOML file, or a generated marketplace of so many
    /// merchants and products (generated_1000x4)
    #[arg(long)]
    task: String,
    /// A shipped plan (restaurants-series-8, …) or a plan's TOML file
    #[arg(long, required_unless_present_any = ["no_federation", "alone", "propose"])]
    plan: Option<String>,
    /// Where the forecasts go: unique_id, window, step and nine quantiles a row
    #[arg(long, required_unless_present_any = ["propose", "backtest"])]
    out: Option<PathBuf>,
    /// Folder of the published data sets
    #[arg(long, env = "DATA", default_value = "../shared/data")]
    data: PathBuf,
    /// Round and noise the sums, or only clip them
    #[arg(long, value_enum, default_value_t = Switch::On)]
    private: Switch,
    /// Each merchant trains by itself
    #[arg(long, conflicts_with = "no_federation")]
    alone: bool,
    /// Start and local steps only, zero rounds
    #[arg(long)]
    no_federation: bool,
    /// What training starts from: `warm` (the shipped warm start), `untrained`, or a model file
    #[arg(long, default_value = "warm", value_name = "WHAT")]
    start: String,
    /// Which parameters rounds train: skip, heads, adapters, all, or auto for the largest of skip and heads that the plan's
    /// noise leaves enough signal for [default: as the start says]
    #[arg(long, value_name = "SET")]
    trained: Option<Chosen>,
    /// Inputs that the model is not shown, one or several
    #[arg(long, value_enum)]
    without: Vec<Ablation>,
    /// Seed of sampling, noise and local training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Train at the first window and reuse the model, or train at each window
    #[arg(long, value_enum, default_value_t = When::First)]
    refit: When,
    /// Fine-tuning and calibration at the merchant; auto: merchants with at least eight series
    #[arg(long, value_enum, default_value_t = Who::Auto)]
    local: Who,
    /// Forecast as many horizons before the first window and print their scores, to choose settings by
    #[arg(long, value_name = "WINDOWS", num_args = 0..=1, default_missing_value = "1")]
    backtest: Option<NonZeroU8>,
    /// Write a plan for the task's size to this file and stop
    #[arg(long, value_name = "PLAN.toml", conflicts_with_all = ["plan", "backtest", "alone", "no_federation"])]
    propose: Option<PathBuf>,
    /// Whom a proposed plan protects: series or customer (of tasks with order lines)
    #[arg(long, default_value = "series", value_name = "UNIT")]
    unit: PrivacyUnit,
    /// ε of a proposed plan
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// Rounds of a proposed plan
    #[arg(long, default_value_t = 60)]
    rounds: u32,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Switch {
    On,
    Off,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum When {
    First,
    Each,
}

/// A set of trained parameters, or the rule that finds one.
#[derive(Clone, Copy, PartialEq)]
enum Chosen {
    Auto,
    Set(Trained),
}

impl FromStr for Chosen {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        if name == "auto" { Ok(Self::Auto) } else { name.parse().map(Self::Set) }
    }
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Who {
    Auto,
    On,
    Off,
}

type AnyError = Box<dyn Error + Send + Sync>;

/// Rounds between two lines on the screen.
const ROUNDS_PER_LINE: u32 = 10;

fn main() -> ExitCode {
    match simulate(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn simulate(arguments: &Arguments) -> Result<(), AnyError> {
    let begun = Instant::now();
    if let Some(folder) = arguments.out.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(format!("--out: there is no folder {}", folder.display()).into());
    }
    let plan = arguments.plan.as_deref().map(presets::resolve).transpose()?;
    let (task, mut panel) = match generated::parse(&arguments.task) {
        Some(world) => (None, generated::panel(&world)?),
        None => {
            let task = Task::resolve(&arguments.task)?;
            let panel = task.read(&arguments.data)?;
            (Some(task), panel)
        }
    };
    arguments.without.iter().for_each(|ablation| panel.without(*ablation));
    let (start, origin) = start(arguments, &panel.task)?;
    let start = chosen(arguments, start, &panel, plan.as_ref())?;
    let dimension = u32::try_from(start.federated_len())?;
    println!("{}: {} series of {} merchants", panel.task.title, panel.series.len(), panel.merchants().len());
    if let Some(path) = &arguments.propose {
        if arguments.unit == PrivacyUnit::Customer && !task.as_ref().is_some_and(Task::has_orders) {
            return Err(BoundedError::NoOrders(panel.task.name.clone()).into());
        }
        return propose(arguments, &panel, start.federated_len(), path);
    }
    let windows = match arguments.backtest {
        Some(count) => backtest_windows(&panel, usize::from(count.get())),
        None => panel.windows(),
    };
    if windows.is_empty() {
        return Err("no series is long enough for a window before the first test window; leave --backtest out".into());
    }

    let bounded = match &plan {
        _ if arguments.alone || arguments.no_federation => None,
        Some(plan) if plan.privacy.unit == PrivacyUnit::Customer => {
            if arguments.refit == When::Each || arguments.backtest.is_some() {
                return Err(
                    "under the unit customer training ends where the plan's period does, so that neither --refit each \
                            nor --backtest can go with it"
                        .into(),
                );
            }
            let no_orders = || BoundedError::NoOrders(panel.task.name.clone());
            let bounded = Bounded::read(task.as_ref().ok_or_else(no_orders)?, &arguments.data, plan)?;
            println!(
                "  at most {} order lines over {} series a customer. {}",
                plan.bounds.order_lines, plan.bounds.series, bounded.report
            );
            Some(bounded)
        }
        _ => None,
    };
    let bounded = bounded.as_ref();
    let method = match &plan {
        _ if arguments.alone => Method::Alone,
        _ if arguments.no_federation => Method::NoFederation,
        Some(plan) => {
            let privacy = if arguments.private == Switch::On { Privacy::On } else { Privacy::Off };
            Method::Federated { plan, privacy, bounded }
        }
        None => return Err("a federation needs --plan".into()),
    };
    let refit = if arguments.refit == When::First { Refit::First } else { Refit::Each };
    let local = match arguments.local {
        Who::Auto => Local::Auto,
        Who::On => Local::On,
        Who::Off => Local::Off,
    };
    println!("{}", describe(method, refit, &origin, windows.len()));
    println!("  rounds train {dimension} parameters ({})", start.config().trained);
    if let Method::Federated { plan, privacy, .. } = method {
        let runs = if refit == Refit::First { 1 } else { u32::try_from(windows.len())? };
        guarantees(plan, privacy, dimension, runs)?;
    }

    let settings = Settings { method, refit, local, seed: arguments.seed };
    let forecasts = run(&panel, &windows, &start, &settings, &mut |progress| match progress {
        Progress::Round { window, done } => {
            let last = plan.as_ref().is_some_and(|plan| done.round == plan.rounds.count);
            if done.round == 1 || done.round % ROUNDS_PER_LINE == 0 || last {
                let sampled = done.sampled.map_or_else(String::new, |n| format!("{n} series sampled, "));
                println!(
                    "  window {window}, round {:>3}: {sampled}step norm {:.4}   ({:.0} s)",
                    done.round,
                    done.step_norm,
                    begun.elapsed().as_secs_f64()
                );
            }
        }
        Progress::Window { window, series, tuned, scores } => println!(
            "window {window}: {series} series, {tuned} merchants changed the model   {}   ({:.0} s)",
            shown(&scores),
            begun.elapsed().as_secs_f64()
        ),
    })?;

    let scores: Vec<Scores> = forecasts.iter().map(|window| window.scores).collect();
    if let Some(mean) = Scores::mean(&scores) {
        println!("mean of {} windows: {}", scores.len(), shown(&mean));
    }
    if let Some(out) = arguments.out.as_deref().filter(|_| arguments.backtest.is_none()) {
        write(&panel, &forecasts, out)?;
        println!("forecasts: {}", out.display());
    }
    println!("seed {}, {:.0} s", arguments.seed, begun.elapsed().as_secs_f64());
    Ok(())
}

/// The model that training starts from, and its name.
fn start(arguments: &Arguments, task: &Outline) -> Result<(Model, String), AnyError> {
    let preset = preset(task.frequency, task.evaluation.horizon);
    let (model, origin) = match &*arguments.start {
        "warm" => (Model::from_snapshot(&assets::warm_start(preset)?)?, format!("warm start {preset}")),
        "untrained" => {
            (Model::untrained(&ModelConfig::preset(preset)?, arguments.seed)?, format!("untrained {preset}"))
        }
        file => {
            let bytes = std::fs::read(file).map_err(|e| format!("--start: {file}: {e}"))?;
            let snapshot = ModelSnapshot::from_bytes(&bytes).map_err(|e| format!("--start: {file}: {e}"))?;
            (Model::from_snapshot(&snapshot)?, format!("model {file}"))
        }
    };
    Ok((model, origin))
}

/// The model with the set of trained parameters that was asked for.
fn chosen(arguments: &Arguments, model: Model, panel: &Panel, plan: Option<&PrivacyPlan>) -> Result<Model, AnyError> {
    match arguments.trained {
        None => Ok(model),
        Some(Chosen::Set(set)) => Ok(model.training(set)),
        Some(Chosen::Auto) => {
            let larger = model.training(Trained::Heads);
            let dimension = u32::try_from(larger.federated_len())?;
            let signal = match plan {
                Some(plan) => signal_to_noise(plan, dimension),
                None => {
                    let plan = presets::for_panel(
                        panel,
                        arguments.unit,
                        larger.federated_len(),
                        arguments.rounds,
                        arguments.epsilon,
                    )?;
                    signal_to_noise(&plan, dimension)
                }
            };
            Ok(if signal >= SIGNAL_PAYS { larger } else { model.training(Trained::Skip) })
        }
    }
}

fn describe(method: Method<'_>, refit: Refit, origin: &str, windows: usize) -> String {
    let when = match refit {
        Refit::First => "trained before the first window and reused",
        Refit::Each => "trained again before each window",
    };
    match method {
        Method::NoFederation => format!("no federation: {origin}, {windows} windows"),
        Method::Alone => format!("each merchant alone: from {origin}, {when}, {windows} windows"),
        Method::Federated { plan, privacy, .. } => format!(
            "{} federation \"{}\": from {origin}, {} rounds, {when}, {windows} windows",
            if privacy == Privacy::On { "private" } else { "NOT private" },
            plan.name,
            plan.rounds.count
        ),
    }
}

/// The three rows of ε over all runs, or that there are none.
fn guarantees(plan: &PrivacyPlan, privacy: Privacy, dimension: u32, runs: u32) -> Result<(), AnyError> {
    if privacy == Privacy::Off {
        println!("  no ε: sums are clipped, but neither rounded nor noised");
        return Ok(());
    }
    println!("  {}", size_advice(plan, dimension));
    let rounds = plan.rounds.count.checked_mul(runs).ok_or("too many rounds")?;
    let rows = plan.epsilon_rows(dimension, rounds)?;
    println!(
        "  unit {}, δ = {:e}, σ = {} C, {rounds} rounds in all{}",
        plan.privacy.unit,
        plan.privacy.delta,
        plan.step.noise_multiplier,
        if runs > 1 { " (the windows' data overlap, so their ε are composed)" } else { "" }
    );
    for (adversary, spent) in [
        ("whoever reads the published models", rows.published),
        ("the server with the assumed colluders", rows.server),
        ("everyone but this merchant", rows.everyone_else),
    ] {
        println!("  ε = {:>8.3}  {adversary}", spent.epsilon);
    }
    println!("  (of a real run of this plan with secret noise; the simulation's comes from its seed)");
    Ok(())
}

fn propose(arguments: &Arguments, panel: &Panel, dimension: usize, path: &Path) -> Result<(), AnyError> {
    let plan = presets::for_panel(panel, arguments.unit, dimension, arguments.rounds, arguments.epsilon)?;
    let heading = format!(
        "Plan for simulating the task {} with all {} merchants: unit {}, ε ≤ {} at δ = {:e}\nover the schedule, against the server with the assumed colluders. Written by\n`simulate --task {} --propose PLAN.toml --unit {} --epsilon {} --rounds {}`.",
        panel.task.name,
        panel.merchants().len(),
        arguments.unit,
        arguments.epsilon,
        plan.privacy.delta,
        arguments.task,
        arguments.unit,
        arguments.epsilon,
        arguments.rounds
    );
    std::fs::write(path, plan.to_documented_toml(&heading))?;
    println!("{}", size_advice(&plan, u32::try_from(dimension)?));
    println!("plan: {}", path.display());
    Ok(())
}

/// Writes beside the file first, so that a half-written one never bears its name.
fn write(panel: &Panel, forecasts: &[WindowForecasts], out: &Path) -> Result<(), AnyError> {
    let mut name = out.file_name().ok_or("--out names no file")?.to_owned();
    name.push(".part");
    let part = out.with_file_name(name);
    let mut file = ForecastFile::create(&part)?;
    for window in forecasts {
        for (member, quantiles) in window.members.iter().zip(&window.quantiles) {
            file.write(&panel.series[member.index].unique_id, window.window, quantiles)?;
        }
    }
    file.finish()?;
    std::fs::rename(&part, out)?;
    Ok(())
}

fn shown(scores: &Scores) -> String {
    format!("WQL {:.4}  WAPE {:.4}  coverage of 80 % {:.3}", scores.wql, scores.wape, scores.coverage80)
}
