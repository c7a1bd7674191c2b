//! `forecastle-server privacy-plan`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::dp::{
    odds,
    plan::{ContributionBounds, Day, NoiseMode, OptimizerRule},
    planner::{self, Alternative, Proposal, Request, SIGNAL_NEEDED, SIGNAL_PAYS, Survival},
    unit::PrivacyUnit,
};
use forecastle_proto::model::ModelSnapshot;
use serde::Serialize;

use super::{Format, Outcome, show};

/// Propose a complete privacy plan for a federation of a given size
///
/// Every number given here is public or an assumption: never count merchants' data for it. The plan keeps the target
/// against the server and the merchants that may collude with it; what it costs and gives is printed with it.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle-server privacy-plan --merchants 12 --series-per-merchant 84 \\
      --model warm-start.safetensors --from 2024-01-01 --to 2025-06-29 --out plan.toml
  forecastle-server privacy-plan --merchants 20 --series-per-merchant 200 --parameters 384 \\
      --from 2024-01-01 --to 2024-12-31 --epsilon 4 --drop-outs 3 --colluders 2 --rounds 60
  forecastle-server init --model warm-start.safetensors --plan plan.toml")]
pub(crate) struct PrivacyPlan {
    /// Merchants that take part in a round
    #[arg(long, value_name = "N")]
    merchants: u32,
    /// Series of a merchant, on average: an assumption, never a reported count
    #[arg(long, value_name = "N")]
    series_per_merchant: u32,
    /// The most series of one merchant [default: twice the average]
    #[arg(long, value_name = "N")]
    series_per_merchant_max: Option<u32>,
    /// The model to be trained: its privately trained parameters count. Several files, one for each set of trained
    /// parameters (`forecastle model prepare --trained SET`): the largest that the federation can pay for is taken
    #[arg(long, value_name = "FILE", required_unless_present = "parameters")]
    model: Vec<PathBuf>,
    /// Privately trained parameters, where there is no model file yet
    #[arg(long, value_name = "N", conflicts_with = "model")]
    parameters: Option<u32>,
    /// First day of the training period
    #[arg(long, value_name = "YYYY-MM-DD")]
    from: Day,
    /// Last day of the training period
    #[arg(long, value_name = "YYYY-MM-DD")]
    to: Day,
    /// Whom to protect: customer, series or merchant
    #[arg(long, value_name = "UNIT", default_value_t = PrivacyUnit::Customer)]
    unit: PrivacyUnit,
    /// The most ε that the whole schedule may cost
    #[arg(long, value_name = "EPSILON", default_value_t = 8.0)]
    epsilon: f64,
    /// δ of the guarantee
    #[arg(long, value_name = "DELTA", default_value_t = 1e-6)]
    delta: f64,
    /// Merchants that may vanish in a round [default: one in six]
    #[arg(long, value_name = "N")]
    drop_outs: Option<u32>,
    /// Merchants that may collude with the server [default: one in ten, at least one]
    #[arg(long, value_name = "N")]
    colluders: Option<u32>,
    /// Rounds [default: chosen]
    #[arg(long, value_name = "T")]
    rounds: Option<u32>,
    /// Probability with which each series enters a round [default: 0.25]
    #[arg(long, value_name = "Q")]
    sampling_rate: Option<f64>,
    /// Products of which one customer's lines are used
    #[arg(long, value_name = "L", default_value_t = 2)]
    products_per_customer: u32,
    /// Order lines of one customer that are used
    #[arg(long, value_name = "K", default_value_t = 8)]
    lines_per_customer: u32,
    /// Units of one customer that are used, over all its lines
    #[arg(long, value_name = "Q", default_value_t = 40.0)]
    units_per_customer: f64,
    /// Norm to which gradients are clipped, or whole updates under the merchant unit
    #[arg(long, value_name = "C", default_value_t = 0.1)]
    clip: f64,
    /// Where the noise is added
    #[arg(long, value_enum, default_value = "distributed")]
    noise: Noise,
    /// Local steps of a round, with --noise local or --unit merchant
    #[arg(long, value_name = "N", default_value_t = 10)]
    local_steps: u32,
    /// How strongly each local step is drawn back to the round's model (FedProx); 0 is not at all
    #[arg(long, value_name = "MU", default_value_t = 0.0)]
    proximal: f64,
    /// Rule of the server's step
    #[arg(long, value_enum, default_value = "fedadam")]
    optimizer: Rule,
    /// Propose a plan even where the signal is expected to drown in the noise
    #[arg(long)]
    despite_weak_signal: bool,
    /// Name of the plan, shown to merchants [default: from the sizes]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Write the plan to a new file
    #[arg(long, value_name = "PLAN.toml")]
    out: Option<PathBuf>,
}

/// Where the noise is added.
#[derive(Clone, Copy, ValueEnum)]
enum Noise {
    /// A share at every merchant
    Distributed,
    /// All of it in every local step: private even if secure aggregation failed, at √merchants times the noise
    Local,
}

/// Rule of the server's step.
#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    /// Plain steps along the mean
    Fedavg,
    /// With momentum
    Fedavgm,
    /// Adam
    Fedadam,
}

/// A set of trained parameters and what it would give.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Set {
    model: PathBuf,
    parameters: u32,
    signal_to_noise: f64,
    taken: bool,
}

/// A model file and what of it counts here.
struct Measured {
    path: PathBuf,
    parameters: u32,
    bytes: u64,
}

/// Everything that is shown.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    #[serde(flatten)]
    proposal: Proposal,
    alternatives: Vec<Alternative>,
    survivals: Vec<Survival>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sets: Vec<Set>,
    file: String,
}

impl PrivacyPlan {
    pub(crate) fn run(self, format: Format) -> Outcome {
        let has_local_steps = matches!(self.noise, Noise::Local) || self.unit == PrivacyUnit::Merchant;
        if self.proximal != 0.0 && !has_local_steps {
            return Err(
                "--proximal draws local steps back, and this plan has none: add --noise local or --unit merchant"
                    .into(),
            );
        }
        let (request, sets) = self.request()?;
        let proposal = planner::propose(&request)?;
        let heading = format!(
            "{}\n\nProposed by forecastle-server privacy-plan for {} merchants, {} series in all (assumed) and {}\nparameters: ε = {:.4} at δ = {:e} for one {}, against the server and {} colluding merchants.",
            proposal.plan.name,
            request.merchants,
            request.assumed_series,
            request.dimension,
            proposal.epsilon.server.epsilon,
            request.delta,
            request.unit,
            proposal.plan.rounds.colluders_assumed
        );
        let answer = Answer {
            alternatives: planner::alternatives(&request, &proposal)?,
            survivals: planner::survivals(&proposal),
            sets,
            file: proposal.plan.to_documented_toml(&heading),
            proposal,
        };
        if let Some(path) = &self.out {
            let failed = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
            let mut file = fs::File::create_new(path).map_err(failed)?;
            file.write_all(answer.file.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        }
        show(format, &answer, || text(&answer, self.out.as_ref()))
    }

    /// The request, for the largest set of parameters that it can pay for where several were given.
    fn request(&self) -> Result<(Request, Vec<Set>), Box<dyn std::error::Error + Send + Sync>> {
        let mut models = self.model.iter().map(|path| measured(path)).collect::<Result<Vec<_>, _>>()?;
        models.sort_by_key(|model| model.parameters);
        let [first, ..] = &models[..] else {
            let given = self.parameters.ok_or("name the model with --model, or give --parameters")?;
            return Ok((self.request_for(given, None), Vec::new()));
        };
        if models.len() == 1 {
            return Ok((self.request_for(first.parameters, Some(first.bytes)), Vec::new()));
        }
        let dimensions: Vec<u32> = models.iter().map(|model| model.parameters).collect();
        let (taken, signals) = planner::affordable(&self.request_for(first.parameters, None), &dimensions)?;
        let request = self.request_for(models[taken].parameters, Some(models[taken].bytes));
        let sets = models.into_iter().zip(signals).enumerate().map(|(i, (model, signal_to_noise))| Set {
            model: model.path,
            parameters: model.parameters,
            signal_to_noise,
            taken: i == taken,
        });
        Ok((request, sets.collect()))
    }

    fn request_for(&self, dimension: u32, model_bytes: Option<u64>) -> Request {
        let name = self
            .name
            .clone()
            .unwrap_or_else(|| format!("{} merchants, {} unit, ε ≤ {}", self.merchants, self.unit, self.epsilon));
        Request {
            name,
            unit: self.unit,
            model_bytes,
            epsilon: self.epsilon,
            delta: self.delta,
            series_per_merchant_max: self
                .series_per_merchant_max
                .unwrap_or_else(|| self.series_per_merchant.saturating_mul(2)),
            drop_outs: self.drop_outs,
            colluders: self.colluders,
            rounds: self.rounds,
            sampling_rate: self.sampling_rate,
            bounds: ContributionBounds {
                order_lines: self.lines_per_customer,
                series: self.products_per_customer,
                units: self.units_per_customer,
            },
            clip: self.clip,
            noise: match self.noise {
                Noise::Distributed => NoiseMode::Distributed,
                Noise::Local => NoiseMode::Local,
            },
            local_steps: self.local_steps,
            proximal: self.proximal,
            optimizer: match self.optimizer {
                Rule::Fedavg => OptimizerRule::FedAvg,
                Rule::Fedavgm => OptimizerRule::FedAvgM,
                Rule::Fedadam => OptimizerRule::FedAdam,
            },
            despite_weak_signal: self.despite_weak_signal,
            ..Request::new(self.merchants, self.series_per_merchant, dimension, self.from, self.to)
        }
    }
}

fn measured(path: &Path) -> Result<Measured, Box<dyn std::error::Error + Send + Sync>> {
    let bytes = fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?;
    let model = ModelSnapshot::from_bytes(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    let parameters = u32::try_from(model.manifest.layout.federated_len())?;
    Ok(Measured { path: path.to_owned(), parameters, bytes: bytes.len() as u64 })
}

fn text(answer: &Answer, out: Option<&PathBuf>) -> String {
    let (proposal, plan) = (&answer.proposal, &answer.proposal.plan);
    let mut text = format!("{}\n\n", plan.name);
    let mut line = |rest: std::fmt::Arguments<'_>| writeln!(text, "{rest}").expect("invariant: a string takes all");
    line(format_args!(
        "What is promised, for one {} at δ = {:e}, over {} rounds",
        plan.privacy.unit, plan.privacy.delta, plan.rounds.count
    ));
    for (who, row) in [
        ("anyone who reads the published models", proposal.epsilon.published),
        ("the server, with the colluders assumed", proposal.epsilon.server),
        ("the server, with every other merchant", proposal.epsilon.everyone_else),
    ] {
        line(format_args!(
            "  ε = {:<9.4} {who:42}even odds become at most {} : 1",
            row.epsilon,
            odds::to_one(row.epsilon.exp())
        ));
    }
    if !answer.sets.is_empty() {
        line(format_args!(
            "\nWhich parameters are trained: the largest set whose signal/noise is {SIGNAL_PAYS} or more, else the smallest"
        ));
        for set in &answer.sets {
            line(format_args!(
                "  {:<8} parameters, signal/noise {:<8.2} {}{}",
                set.parameters,
                set.signal_to_noise,
                set.model.display(),
                if set.taken { "   (taken)" } else { "" }
            ));
        }
    }
    line(format_args!("\nWhy these numbers"));
    for choice in &proposal.choices {
        line(format_args!("  {:26} {:<9} {}", choice.field, choice.value, choice.why));
    }
    line(format_args!("\nWhat it costs a merchant"));
    line(format_args!(
        "  up {} a round ({} of it the masked update), down some {}; {} and {} over the run",
        bytes(proposal.traffic.up),
        bytes(proposal.traffic.update),
        bytes(proposal.traffic.down),
        bytes(proposal.traffic.up * u64::from(plan.rounds.count)),
        bytes(proposal.traffic.down * u64::from(plan.rounds.count)),
    ));
    line(format_args!(
        "  at least {} for all rounds: an update leaves {} s after the offer, never sooner; computing and waiting come on top",
        seconds(answer.alternatives.first().map_or(0, |own| own.seconds_min)),
        plan.rounds.submit_after_ms as f64 / 1000.0
    ));
    line(format_args!("\nWhat else could be asked for (the first line is this plan)"));
    line(format_args!(
        "  rounds  q       ε       σ         signal/noise  series for {SIGNAL_NEEDED}  sent / received over the run"
    ));
    for row in &answer.alternatives {
        line(format_args!(
            "  {:<6}  {:<6}  {:<6}  {:<8.3}  {:<12.2}  {:<12}  {} / {}",
            row.rounds,
            short(row.sampling_rate),
            short(row.epsilon),
            row.noise_multiplier,
            row.signal_to_noise,
            row.series_needed.map_or_else(|| "-".into(), |series| series.to_string()),
            bytes(row.up),
            bytes(row.down)
        ));
    }
    line(format_args!("\nWhat tolerating drop-outs and colluders costs, at the same ε (the first line is this plan)"));
    line(format_args!("  may vanish  may collude  noise when all are there  signal/noise then"));
    for row in &answer.survivals {
        line(format_args!(
            "  {:<10}  {:<11}  {:<24}  {:.2}",
            row.drop_outs,
            row.colluders,
            format!("{:.2} σ", row.excess),
            row.signal_to_noise
        ));
    }
    for note in &proposal.notes {
        line(format_args!("\nNote: {note}."));
    }
    if let Some(why) = &proposal.not_runnable {
        line(format_args!("\nThis plan cannot be run by this version: {why}"));
    }
    match out {
        Some(path) => line(format_args!("\nWritten to {}.", path.display())),
        None => line(format_args!("\nNothing was written: --out PLAN.toml keeps the plan.")),
    }
    if let (Some(path), None) = (out, &proposal.not_runnable) {
        let model =
            answer.sets.iter().find(|set| set.taken).map_or("FILE".into(), |set| set.model.display().to_string());
        line(format_args!("Next: forecastle-server init --plan {} --model {model}", path.display()));
    }
    text.truncate(text.trim_end().len());
    text
}

fn short(value: f64) -> String {
    format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count as f64 / 1e6),
        _ => format!("{:.1} GB", count as f64 / 1e9),
    }
}

fn seconds(count: u64) -> String {
    match count {
        0..120 => format!("{count} s"),
        120..7_200 => format!("{} min", count / 60),
        _ => format!("{} h", count / 3_600),
    }
}
