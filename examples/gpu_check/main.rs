//! Is this machine's GPU right, and what is it good for? Checks it against the processor and measures both.
//!
//! ```text
//! cargo run --release --example gpu_check --features cuda
//! cargo run --release --example gpu_check --features cuda -- --format json
//! cargo run --release --example gpu_check                         # the processor's half alone
//! ```
//!
//! Reads no data: the windows are the warm start's generated ones. Exits with 1 where a check fails. A GPU compiles its
//! kernels and tries them out at their first use, and keeps them for later runs: what the first use took is printed
//! beside each measurement, which is made after it. Every step ends with values on the host, so nothing is left running
//! when the clock is read.

#[path = "../warm_start/chance.rs"]
mod chance;
mod checks;
mod curves;
#[path = "../warm_start/generator.rs"]
mod generator;
mod print;
mod speed;
mod windows;

use std::{error::Error, process::ExitCode, thread, time::Instant};

use clap::{Parser, ValueEnum};
use forecastle_client::device::{DeviceChoice, Place, Reason, Survey, kernels, nvidia_driver};
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
    /// Presets of the network; those without a warm start are taken a little away from their start.
    #[arg(long, value_delimiter = ',', default_values = ["nano-daily", "small-daily"])]
    presets: Vec<String>,
    /// What is done, in this order.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Check::Forecasts, Check::Speed, Check::Gradients, Check::Curves])]
    checks: Vec<Check>,
    /// Windows a step, to be measured.
    #[arg(long, value_delimiter = ',', default_values_t = [64, 512, 4096])]
    batches: Vec<usize>,
    /// Largest of them that the processor is measured at.
    #[arg(long, default_value_t = 512)]
    cpu_batch_max: usize,
    /// Seconds of private, and as many steps of plain training, at each size.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Steps of the loss curves.
    #[arg(long, default_value_t = 100)]
    steps: usize,
    /// Windows a step of the plain loss curve.
    #[arg(long, default_value_t = 64)]
    curve_batch: usize,
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Check {
    /// Time of many forecasts.
    Forecasts,
    /// Windows a second of private and plain steps.
    Speed,
    /// Matrix products and clipped gradients against the processor.
    Gradients,
    /// Loss curves of plain training and of private rounds against the processor.
    Curves,
}

/// All that was found.
#[derive(Serialize)]
struct Report {
    cpu_cores: usize,
    gpu: Option<Gpu>,
    presets: Vec<Findings>,
    /// Seconds from the start of the program.
    seconds: f64,
    passed: bool,
}

/// What was found with one network.
#[derive(Serialize)]
struct Findings {
    preset: String,
    /// Parameters, and those of them that rounds train.
    parameters: [usize; 2],
    forecasts: Vec<speed::Forecasts>,
    steps: Vec<speed::Steps>,
    gradients: Option<checks::Gradients>,
    curves: Vec<curves::Curve>,
    /// Most privacy units, windows without gradients and windows of a plain gradient in one pass of the GPU, in the end:
    /// smaller than at first where its memory did not suffice.
    passes: Option<[usize; 3]>,
}

/// The GPU under test.
#[derive(Serialize)]
struct Gpu {
    device: String,
    name: Option<String>,
    driver: Option<String>,
    memory: Option<u64>,
    /// Bytes of compiled kernels that earlier runs left; `None` where none are kept.
    kernels_kept: Option<u64>,
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
    let start = Instant::now();
    let (place, reason) = options.device.resolve(Survey::take())?;
    let gpu = (!place.is_cpu()).then_some(place);
    if gpu.is_none() && reason != Reason::Asked {
        eprintln!("gpu_check: the processor's half alone, since {reason}");
    }
    let kept = kernels::keep();
    if let (Err(error), Some(_)) = (&kept, gpu) {
        eprintln!("gpu_check: compiled kernels are not kept: {error}");
    }
    let mut report = Report {
        cpu_cores: thread::available_parallelism().map_or(1, usize::from),
        gpu: gpu.map(|place| Gpu {
            device: place.to_string(),
            name: place.model_name(),
            driver: nvidia_driver(),
            memory: place.memory(),
            kernels_kept: kept.as_deref().ok().map(kernels::size),
        }),
        presets: Vec::new(),
        seconds: 0.0,
        passed: true,
    };
    let printer = (options.format == Format::Text).then_some(print::Printer { start });
    if let Some(printer) = printer {
        printer.head(&report);
    }
    for preset in &options.presets {
        let findings = findings(options, preset, gpu, printer)?;
        report.passed &= findings.gradients.as_ref().is_none_or(checks::Gradients::passed);
        report.passed &= findings.curves.iter().all(curves::Curve::passed);
        report.presets.push(findings);
    }
    report.seconds = start.elapsed().as_secs_f64();
    match printer {
        None => println!("{}", serde_json::to_string(&report)?),
        Some(printer) => printer.verdict(&report),
    }
    Ok(report.passed)
}

/// All checks of one network. Each is printed as it comes: what was measured stays seen when something later fails.
fn findings(
    options: &Options,
    preset: &str,
    gpu: Option<Place>,
    printer: Option<print::Printer>,
) -> Result<Findings, AnyError> {
    let model = windows::model(preset)?;
    let mut found = Findings {
        preset: preset.to_owned(),
        parameters: [model.values().len(), model.federated_len()],
        forecasts: Vec::new(),
        steps: Vec::new(),
        gradients: None,
        curves: Vec::new(),
        passes: None,
    };
    let does = |check| options.checks.contains(&check);
    let places = || gpu.into_iter().chain([Place::CPU]);
    if let Some(printer) = printer {
        printer.preset(&found);
    }
    for place in places().filter(|_| does(Check::Forecasts)) {
        let forecasts = speed::forecasts(&model, place, options.series)?;
        if let Some(printer) = printer {
            printer.forecasts(&forecasts);
        }
        found.forecasts.push(forecasts);
    }
    for place in places().filter(|_| does(Check::Speed)) {
        let largest = if place.is_cpu() { options.cpu_batch_max } else { usize::MAX };
        for &batch in options.batches.iter().filter(|&&batch| batch <= largest) {
            let steps = speed::steps(&model, place, batch, options.seconds)?;
            if let Some(printer) = printer {
                printer.steps(&steps, found.steps.is_empty());
            }
            found.steps.push(steps);
        }
    }
    if let Some(gpu) = gpu.filter(|_| does(Check::Gradients)) {
        let gradients = checks::gradients(&model, gpu)?;
        if let Some(printer) = printer {
            printer.gradients(&gradients);
        }
        found.gradients = Some(gradients);
    }
    if does(Check::Curves) {
        for private in [false, true] {
            let curve = if private {
                curves::private(model.config(), gpu, options.steps)?
            } else {
                curves::plain(model.config(), gpu, options.steps, options.curve_batch)?
            };
            if let Some(printer) = printer {
                printer.curve(&curve);
            }
            found.curves.push(curve);
        }
    }
    found.passes = gpu.map(|gpu| {
        let passes = gpu.passes();
        [passes.units, passes.rows, passes.batch]
    });
    if let Some(printer) = printer {
        printer.passes(&found);
    }
    Ok(found)
}
