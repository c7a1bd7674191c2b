//! `forecastle audit-canaries`.

use std::path::PathBuf;

use clap::Args;
use forecastle_crypto::dp::{canaries::CanaryRun, noise::NoiseSampler, plan::PrivacyPlan};
use forecastle_proto::model::ModelSnapshot;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Format, Outcome, base::shared_model, print_json};
use crate::{
    canaries::{CanaryAudit, Request},
    data::{
        prepare::{SeriesChoice, Tables},
        store::DataStore,
    },
    durable::{self, Access},
    federation::home::Home,
    model::Model,
    round::driver::now_ms,
};

/// Test private training by what it gives away: made-up customers or series, in or out by a coin, guessed from a run.
///
/// Everything happens on this machine: nothing is sent and nothing is charged. Training, clipping, rounding and noise are
/// those of a round; from the sums that the server with colluders would see, the coins are guessed as well as can
/// be (Steinke, Nasr, Jagielski 2023). More right guesses than the claimed ε allows refute it; that is printed, written to
/// the file, and the exit code is then 1. `forecastle-audit report --canaries FILE` prints the result beside the claim.
///
/// N guesses refute an ε up to about ln N only. So the run is made with the noise that --epsilon needs, whatever the
/// plan claims: the same software at a claim that so few canaries can test.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle audit-canaries --out canaries.json
  forecastle audit-canaries --plan plan.toml --model nano-daily.safetensors --out canaries.json
  forecastle audit-canaries --canaries 400 --epsilon 2 --own-data --out ours-alone.json")]
pub(super) struct Arguments {
    /// File to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Plan to test (default: the one of the federation that was joined).
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Model to begin with (default: the federation's latest, or the warm start before the first download).
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// How many canaries.
    #[arg(long, value_name = "N", default_value_t = 48)]
    canaries: usize,
    /// ε of the run, against the server with the assumed colluders.
    #[arg(long, value_name = "E", default_value_t = 1.0)]
    epsilon: f64,
    /// Rounds of the run (default: the plan's).
    #[arg(long, value_name = "T")]
    rounds: Option<u32>,
    /// Confidence of the bound.
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    confidence: f64,
    /// Train beside this merchant's own series. The result then tells something of them that no noise covers: keep it.
    #[arg(long)]
    own_data: bool,
    /// Who draws the noise: exact, or opendp.
    #[arg(long, value_name = "SAMPLER", default_value_t)]
    noise: NoiseSampler,
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    let (plan, digest) = match &arguments.plan {
        Some(path) => {
            let bytes = durable::read(path)?;
            let plan = PrivacyPlan::parse(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
            (plan, PrivacyPlan::digest_of(&bytes))
        }
        None if home.is_joined() => home.plan()?,
        None => return Err("no federation was joined here: name a plan with --plan FILE, or join one first".into()),
    };
    let model = match &arguments.model {
        Some(path) => {
            let named = |e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
            let snapshot = ModelSnapshot::from_bytes(&durable::read(path)?).map_err(|e| named(&e))?;
            Model::from_snapshot(&snapshot).map_err(|e| named(&e))?
        }
        None => shared_model(home)?.1,
    };
    let store = if arguments.own_data { Some(DataStore::open(&home.data())?) } else { None };
    let choice = if store.is_some() { home.series_choice()? } else { SeriesChoice::default() };
    let request = Request {
        canaries: arguments.canaries,
        epsilon: arguments.epsilon,
        rounds: arguments.rounds.unwrap_or(plan.rounds.count),
        confidence: arguments.confidence,
    };
    let audit = CanaryAudit::new(&plan, digest, &model, choice, arguments.noise, &request)?;
    let bar = ProgressBar::new(u64::from(request.rounds));
    bar.set_style(ProgressStyle::with_template("round {pos} of {len} {wide_bar} {eta} left")?);
    let own = store.as_ref().map(Tables::from);
    let software = concat!("forecastle ", env!("CARGO_PKG_VERSION"));
    let result = audit.run(own.as_ref(), software, now_ms(), &mut |_| bar.inc(1));
    bar.finish_and_clear();
    let run = result?;
    let access = if arguments.own_data { Access::Secret } else { Access::Ordinary };
    durable::write(&arguments.out, &serde_json::to_vec_pretty(&run)?, access)?;
    match format {
        Format::Json => print_json(&json!({ "file": arguments.out, "refuted": run.refutes(), "result": run }))?,
        Format::Text => describe(&run, &arguments.out),
    }
    if run.refutes() {
        return Err(format!(
            "the claim ε = {:.4} is refuted: at {} confidence this software spends more than {:.4}. Do not train with it; \
             please report this with {}",
            run.epsilon,
            run.confidence,
            run.epsilon_lower_bound,
            arguments.out.display()
        )
        .into());
    }
    Ok(())
}

fn describe(run: &CanaryRun, out: &std::path::Path) {
    say!(
        "{} canaries, each a made-up {}, in or out by a coin; {} rounds at σ = {:.3} (the plan's: {:.3})",
        run.canaries,
        run.unit,
        run.rounds,
        run.noise_multiplier,
        run.plan_noise_multiplier
    );
    // Both ways of guessing, each about fewer and fewer canaries.
    let (with, without) = run.looks.split_at(run.looks.len() / 2);
    for (way, looks) in [("reckoning with the claimed noise", with), ("as if there were no noise", without)] {
        let right: Vec<_> = looks.iter().map(|look| format!("{} of {}", look.correct, look.guesses)).collect();
        say!("  right guesses, {way}: {}", right.join(", "));
    }
    say!("\n  claimed: ε = {:.4} at δ = {:e}", run.epsilon, run.delta);
    match run.epsilon_lower_bound {
        bound if bound > 0.0 => say!("  refuted: ε up to {bound:.4}, at {} confidence", run.confidence),
        _ => say!("  refuted: no ε, at {} confidence", run.confidence),
    }
    if !run.refutes() {
        say!(
            "  The claim stands. That is no proof of it: had all guesses been right, ε up to {:.2} would be refuted.",
            run.greatest_bound()
        );
    }
    if run.own_series > 0 {
        say!(
            "\n  {} real series trained beside the canaries: the result tells something of them that no noise covers. Keep it.",
            run.own_series
        );
    }
    say!("\nwritten to {}; `forecastle-audit report LOG --canaries {}` prints it", out.display(), out.display());
}
