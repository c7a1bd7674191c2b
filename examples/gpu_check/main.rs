//! Is this machine's GPU right, and what is it good for? Checks it against the processor and measures both.
//!
//! ```text
//! cargo run --release --example gpu_check --features cuda
//! cargo run --release --example gpu_check --features cuda -- --format json
//! cargo run --release --example gpu_check                         # the processor's half alone
//! ```
//!
//! Reads no data: the windows are the warm start's generated ones. Exits with 1 where a check fails. A GPU compiles its
//! kernels and tries them out at their first use, which takes minutes altogether; every measurement is made after such a warm-up, and every step
//! ends with values on the host, so nothing is left running when the clock is read.

#[path = "../warm_start/chance.rs"]
mod chance;
mod checks;
#[path = "../warm_start/generator.rs"]
mod generator;
mod print;
mod speed;
mod windows;

use std::{error::Error, process::ExitCode};

use clap::{Parser, ValueEnum};
use forecastle_client::{
    device::{DeviceChoice, Place, Reason, Survey, nvidia_driver},
    model::{Model, assets},
};
use serde::Serialize;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Checks a GPU against the processor, and measures both.
#[derive(Parser)]
#[command(name = "gpu_check")]
struct Options {
    /// The GPU: auto, cuda or cuda:N; cpu leaves it out.
    #[arg(long, default_value_t)]
    device: DeviceChoice,
    /// A preset with a warm start.
    #[arg(long, default_value = "nano-daily")]
    preset: String,
    /// Windows a step, to be measured.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256, 1024, 4096])]
    batches: Vec<usize>,
    /// Largest of them that the processor is measured at.
    #[arg(long, default_value_t = 1024)]
    cpu_batch_max: usize,
    /// Seconds of private, and as many steps of plain training, at each size.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Steps of the loss curve.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Series to forecast.
    #[arg(long, default_value_t = 10_000)]
    series: usize,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// All that was found.
#[derive(Serialize)]
struct Report {
    preset: String,
    cpu_cores: usize,
    gpu: Option<Gpu>,
    gradients: Option<checks::Gradients>,
    curve: checks::Curve,
    steps: Vec<speed::Steps>,
    forecasts: Vec<speed::Forecasts>,
    passed: bool,
}

/// The GPU under test.
#[derive(Serialize)]
struct Gpu {
    device: String,
    name: Option<String>,
    driver: Option<String>,
}

type AnyError = Box<dyn Error + Send + Sync>;

fn main() -> ExitCode {
    match check(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("gpu_check: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(options: &Options) -> Result<bool, AnyError> {
    let (place, reason) = options.device.resolve(Survey::take())?;
    let gpu = (!place.is_cpu()).then_some(place);
    if gpu.is_none() && reason != Reason::Asked {
        eprintln!("gpu_check: the processor's half alone, since {reason}");
    }
    let model = Model::from_snapshot(&assets::warm_start(&options.preset)?)?;
    let text = options.format == Format::Text;
    let mut report = Report {
        preset: options.preset.clone(),
        cpu_cores: std::thread::available_parallelism().map_or(1, usize::from),
        gpu: gpu.map(|place| Gpu { device: place.to_string(), name: place.model_name(), driver: nvidia_driver() }),
        gradients: None,
        curve: checks::Curve::default(),
        steps: Vec::new(),
        forecasts: Vec::new(),
        passed: true,
    };
    // Sections are printed as they come: what was measured stays seen when something later fails.
    if text {
        print::head(&report);
    }
    if let Some(gpu) = gpu {
        let gradients = checks::gradients(&model, gpu)?;
        if text {
            print::gradients(&gradients);
        }
        report.gradients = Some(gradients);
    }
    for place in gpu.into_iter().chain([Place::CPU]) {
        let forecasts = speed::forecasts(&model, place, options.series)?;
        if text {
            print::forecasts(&forecasts);
        }
        report.forecasts.push(forecasts);
    }
    for place in gpu.into_iter().chain([Place::CPU]) {
        let largest = if place.is_cpu() { options.cpu_batch_max } else { usize::MAX };
        for &batch in options.batches.iter().filter(|&&batch| batch <= largest) {
            let steps = speed::steps(&model, place, batch, options.seconds)?;
            if text {
                print::steps(&steps, report.steps.is_empty());
            }
            report.steps.push(steps);
        }
    }
    report.curve = checks::curve(&model, gpu, options.steps)?;
    if text {
        print::curve(&report.curve);
    }
    report.passed = report.gradients.as_ref().is_none_or(checks::Gradients::passed) && report.curve.passed();
    match options.format {
        Format::Json => println!("{}", serde_json::to_string(&report)?),
        Format::Text => print::verdict(&report),
    }
    Ok(report.passed)
}
