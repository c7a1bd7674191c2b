//! The main job in one command: a marketplace of merchants who train one model without showing their orders.
//!
//! ```text
//! cargo run --release --example marketplace
//! cargo run --release --example marketplace -- --merchants 16 --products 60 --epsilon 4
//! cargo run --release --example marketplace -- --data ../data --layout olist
//! ```

use std::{error::Error, path::PathBuf, process::ExitCode, time::Instant};

use clap::Parser;
use forecastle_client::{
    data::{prepare, store::DataStore},
    federation::home::Home,
    model::{Model, assets},
};
use forecastle_crypto::dp::{filter::MerchantPolicy, plan::Day, unit::PrivacyUnit};
use forecastle_examples::{
    job::{
        evaluate::{Exam, sit_all, table},
        launch::{RunningServer, join_all},
        merchants::{Cast, generated, published},
        plan::{Size, propose, size_advice},
        present::{Material, guarantees, report},
        rounds::train_all,
    },
    report,
};
use jiff::civil::Date;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs a whole federation on this machine: server, merchants, private rounds, forecasts, audit, report.
#[derive(Parser)]
#[command(name = "marketplace")]
struct Arguments {
    /// Merchants (default: 12 generated ones, or up to 60 of a data set)
    #[arg(long)]
    merchants: Option<usize>,
    /// Products of each generated merchant
    #[arg(long, default_value_t = 84)]
    products: usize,
    /// Rounds
    #[arg(long, default_value_t = 40)]
    rounds: u32,
    /// ε that the whole run may cost, against the server with the assumed colluders
    #[arg(long, default_value_t = 8.0)]
    epsilon: f64,
    /// Seed of the generated marketplace and of local training (never of noise)
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for everything that is written
    #[arg(long, default_value = "out/marketplace")]
    out: PathBuf,
    /// Only write the merchants' files, to try a federation by hand
    #[arg(long)]
    files_only: bool,
    /// Folder of published data sets, instead of a generated marketplace
    #[arg(long, requires = "layout")]
    data: Option<PathBuf>,
    /// Which data set: olist, online-retail, restaurants, walmart, orange-juice
    #[arg(long, requires = "data")]
    layout: Option<String>,
}

/// δ of every guarantee here.
const DELTA: f64 = 1e-6;
/// Merchants of a data set when nobody says otherwise: one machine runs them all.
const PUBLISHED_MERCHANTS: usize = 60;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORECASTLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("marketplace: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let out = &arguments.out;
    if out.join("server").exists() {
        return Err(format!("{} holds an earlier run; remove it or choose another --out", out.display()).into());
    }
    let cast = cast(arguments)?;
    println!("{}: {} merchants, {} series", cast.title, cast.candidates.len(), cast.series);

    if arguments.files_only {
        println!("files are in {}", out.join("files").display());
        return Ok(());
    }

    let warm = Model::from_snapshot(&assets::warm_start(cast.preset)?)?;
    let dimension = u32::try_from(warm.federated_len())?;
    let day = |d: Date| -> Result<Day, String> { d.to_string().parse() };
    let plan = propose(&Size {
        name: format!("marketplace of {} merchants", cast.candidates.len()),
        unit: if cast.customers { PrivacyUnit::Customer } else { PrivacyUnit::Series },
        merchants: u16::try_from(cast.candidates.len())?,
        series: u32::try_from(cast.series)?,
        series_per_merchant: u32::try_from(cast.series_max)?,
        dimension,
        rounds: arguments.rounds,
        epsilon: arguments.epsilon,
        delta: DELTA,
        period_start: day(cast.period.start())?,
        period_end: day(cast.period.end())?,
        simulation: false,
    })?;
    println!(
        "plan: unit {}, ε at most {} at δ = {DELTA:e}, {} rounds, σ = {:.3} C, {dimension} parameters trained privately",
        plan.privacy.unit, plan.privacy.epsilon_cap, plan.rounds.count, plan.step.noise_multiplier
    );
    println!("{}", size_advice(&plan, dimension));

    let running = RunningServer::found(&out.join("server"), &plan, &warm.snapshot(), cast.candidates.len()).await?;
    let events = running.server.events();
    let policy = MerchantPolicy { epsilon_max: arguments.epsilon, ..MerchantPolicy::default() };
    let homes_folder = out.join("merchants");
    let (homes, imported) = join_all(&running.server, &cast, &homes_folder, &policy).await?;
    let rows: u64 = imported.iter().flat_map(|i| &i.reports).map(|r| r.rows).sum();
    let rejected: u64 = imported.iter().flat_map(|i| &i.reports).map(|r| r.rejected_total).sum();
    println!("joined and imported: {rows} rows, {rejected} rejected with their line numbers");

    let trained = train_all(homes, &plan, warm.config(), events).await?;
    for (merchant, why) in &trained.stopped {
        println!("{merchant} stopped early: {why}");
    }
    if trained.bounded.lines > 0 {
        println!("{}", trained.bounded);
    }
    let audited = out.join("audit");
    running.server.state().export_ledger(&audited).await?;
    running.stop().await?;
    let verdict = forecastle_audit::verify::verify(&audited, None)?;

    println!("local fine-tuning, calibration and comparison on the held-back steps");
    let (federated, mut exams) = exams(&cast, &homes_folder, trained.model_version)?;
    let count = exams.len();
    sit_all(&mut exams, &federated, &warm, cast.horizon, arguments.seed, &|done| {
        if done % 10 == 0 || done == count {
            println!("  {done} of {count} merchants");
        }
    })?;

    let accuracy = table(&exams, cast.frequency);
    println!("\n{}", accuracy.to_text());
    println!("{}\n", accuracy.verdict());
    let spent = verdict.merchants.iter().max_by_key(|s| s.charges).and_then(|s| s.epsilon);
    for guarantee in guarantees(spent) {
        let epsilon = guarantee.epsilon.map_or_else(|| "-".to_owned(), |e| format!("{e:.3}"));
        println!("  ε = {epsilon:>8}  {}", guarantee.adversary);
    }
    println!();
    print!("{}", forecastle_audit::verify::describe(&verdict));
    let data = report(Material {
        title: &cast.title,
        command: std::env::args()
            .skip(1)
            .fold("cargo run --release --example marketplace --".into(), |c, a| c + " " + &a),
        finished_at: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        plan: &plan,
        dimension,
        period: cast.period,
        rounds: trained.rounds,
        bounded: &trained.bounded,
        frequency: cast.frequency,
        verdict: &verdict,
        imported: &imported,
        exams: &exams,
        facts: vec![
            ("merchants".into(), cast.candidates.len().to_string()),
            ("series".into(), cast.series.to_string()),
            ("order lines and other rows imported".into(), rows.to_string()),
            ("rows rejected".into(), rejected.to_string()),
            ("seed".into(), arguments.seed.to_string()),
            ("time".into(), format!("{:.0} s", begun.elapsed().as_secs_f64())),
        ],
    });
    let path = out.join("report.html");
    report::write(&data, &path)?;
    std::fs::write(out.join("accuracy.json"), serde_json::to_vec_pretty(&data.accuracy)?)?;
    println!("\nreport: {}   ({:.0} s)", path.display(), begun.elapsed().as_secs_f64());
    if !verdict.findings.is_empty() {
        return Err("the ledger did not verify".into());
    }
    Ok(())
}

fn cast(arguments: &Arguments) -> Result<Cast, Box<dyn Error + Send + Sync>> {
    let files = arguments.out.join("files");
    match (&arguments.data, &arguments.layout) {
        (Some(data), Some(layout)) => {
            published(layout, data, arguments.merchants.unwrap_or(PUBLISHED_MERCHANTS), &files)
        }
        _ => generated(arguments.merchants.unwrap_or(12), arguments.products, arguments.seed, &files),
    }
}

/// The federated model as a merchant holds it, and every merchant's series with what came true.
fn exams(
    cast: &Cast,
    homes: &std::path::Path,
    version: u64,
) -> Result<(Model, Vec<Exam>), Box<dyn Error + Send + Sync>> {
    let mut federated = None;
    let mut exams = Vec::new();
    for candidate in &cast.candidates {
        let home = Home::open(&homes.join(&candidate.name))?;
        if federated.is_none() && home.current_model()?.is_some_and(|(held, _)| held == version) {
            federated = Some(Model::from_snapshot(&home.model(version)?)?);
        }
        let store = DataStore::open(&home.data())?;
        let prepared = prepare::local_series(&(&store).into(), cast.choice, cast.frequency, cast.period, cast.horizon)?;
        exams.push(Exam::new(candidate.name.clone(), prepared.series, candidate.truth.clone()));
    }
    Ok((federated.ok_or("no merchant holds the last model")?, exams))
}
