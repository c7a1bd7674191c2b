//! What private training costs beside plain training, on the processor.
//!
//! ```text
//! cargo run --release --example step_cost
//! cargo run --release --example step_cost -- --batch 64 --windows-per-unit 4 --presets nano-daily --trained all
//! ```
//!
//! Plain and private steps on the same windows and the same parameters alternate in one run. A plain step is the gradient
//! of the mean loss and the optimiser's step; a private one the sum of clipped gradients, as a round makes it (noise and
//! masks come later and are counted elsewhere). With `--only` one kind runs alone, so that the peak of memory is its own.

#[path = "warm_start/chance.rs"]
mod chance;
#[path = "warm_start/generator.rs"]
mod generator;
#[path = "gpu_check/windows.rs"]
mod windows;

use std::{error::Error, time::Instant};

use clap::{Parser, ValueEnum};
use forecastle_client::{
    data::window::Window,
    model::{Model, Trained},
    train::{Subset, Trainer, finite_gradient_sum},
};
use forecastle_examples::memory::peak_memory_mb;

type AnyError = Box<dyn Error + Send + Sync>;

/// The allocator of the merchant's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Clipping norm: most units are clipped.
const CLIP: f64 = 0.1;
/// Steps of each kind before the clock starts.
const WARM_UP: usize = 2;
/// Fewest measured steps of each kind.
const STEPS_MIN: usize = 5;

/// Measure plain and private steps.
#[derive(Parser)]
struct Arguments {
    /// Windows of a step.
    #[arg(long, default_value_t = 256)]
    batch: usize,
    /// Windows of a privacy unit.
    #[arg(long, default_value_t = 1)]
    windows_per_unit: usize,
    /// Seconds of private steps for each line.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Presets of the network.
    #[arg(long, value_delimiter = ',', default_values_t = ["nano-daily".to_owned(), "small-daily".to_owned()])]
    presets: Vec<String>,
    /// Which parameters are trained.
    #[arg(long, value_delimiter = ',', default_values_t = [Trained::Heads, Trained::All])]
    trained: Vec<Trained>,
    /// One kind of step alone.
    #[arg(long)]
    only: Option<Kind>,
}

/// Kinds of steps.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Gradient of the mean loss.
    Plain,
    /// Sum of clipped gradients.
    Private,
}

fn main() -> Result<(), AnyError> {
    let arguments = Arguments::parse();
    let (batch, each) = (arguments.batch.max(1), arguments.windows_per_unit.max(1));
    let threads = std::thread::available_parallelism()?;
    println!("{batch} windows a step, {each} a unit, {threads} threads; windows a second, median over the steps");
    println!(
        "{:<14} {:<8} {:>10} {:>10} {:>10} {:>22} {:>6}",
        "network", "trained", "parameters", "plain", "private", "time private / plain", "steps"
    );
    for preset in &arguments.presets {
        for &trained in &arguments.trained {
            let model = windows::model(preset)?.training(trained);
            let line = measure(&model, trained, &arguments, batch, each)?;
            println!("{preset:<14} {trained:<8} {:>10} {line}", model.federated_len());
        }
    }
    println!("peak memory {:.0} MB", peak_memory_mb().map_err(|error| error.to_string())?);
    Ok(())
}

/// One line of the table: windows a second of either kind, and the ratio of their times.
fn measure(
    model: &Model,
    trained: Trained,
    arguments: &Arguments,
    batch: usize,
    each: usize,
) -> Result<String, AnyError> {
    let subset = match trained {
        Trained::Heads => Subset::Heads,
        Trained::All => Subset::All,
        other => return Err(format!("plain training has no set like {other}: name heads or all").into()),
    };
    let units = windows::units(model.config(), batch.div_ceil(each), each, 3);
    let plain: Vec<&Window> = units.iter().flatten().collect();
    let mut trainer = Trainer::new(model, subset, 0.01, false, 0.0);
    let mut times: [Vec<f64>; 2] = Default::default();
    for step in 0.. {
        let mut taken = [None; 2];
        if arguments.only != Some(Kind::Private) {
            let begin = Instant::now();
            trainer.step(&plain, 1e-5)?;
            taken[0] = Some(begin.elapsed().as_secs_f64());
        }
        if arguments.only != Some(Kind::Plain) {
            let begin = Instant::now();
            finite_gradient_sum(model, &units, CLIP)?;
            taken[1] = Some(begin.elapsed().as_secs_f64());
        }
        if step >= WARM_UP {
            times.iter_mut().zip(taken).for_each(|(times, taken)| times.extend(taken));
        }
        let spent = times.iter().map(|times| times.iter().sum::<f64>()).fold(0.0, f64::max);
        if step >= WARM_UP + STEPS_MIN && spent >= arguments.seconds {
            break;
        }
    }
    let steps = times.iter().map(Vec::len).max().unwrap_or(0);
    let [plain_s, private_s] = times.map(median);
    let rate = |seconds: Option<f64>| seconds.map_or("-".to_owned(), |s| format!("{:.0}", plain.len() as f64 / s));
    let ratio = plain_s.zip(private_s).map_or("-".to_owned(), |(plain, private)| format!("{:.2}", private / plain));
    Ok(format!("{:>10} {:>10} {ratio:>22} {steps:>6}", rate(plain_s), rate(private_s)))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
