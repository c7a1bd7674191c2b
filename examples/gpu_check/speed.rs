//! Windows a second of private and plain steps, alternating in one run, and the time of many forecasts.

use std::time::{Duration, Instant};

use forecastle_client::{
    data::window::Window,
    device::{Place, on},
    forecast::Forecaster,
    model::Model,
    train::{Subset, Trainer, clipped_gradient_sum},
};
use serde::Serialize;

use crate::{AnyError, checks::CLIP, windows};

/// Steps before the clock starts.
const WARM_UP: usize = 3;
/// Fewest measured steps of each kind.
const STEPS_MIN: usize = 5;
/// Timed runs over all series.
const RUNS: usize = 5;

/// One size of batch on one device; medians over the steps.
#[derive(Serialize)]
pub struct Steps {
    pub device: String,
    pub batch: usize,
    /// Measured steps of each kind.
    pub steps: usize,
    /// Seconds that the first step of each kind took, compilation and trials of kernels included.
    pub first_s: f64,
    /// Windows a second: the clipped gradient sum, a window a unit.
    pub private: f64,
    /// A plain step on the same parameters.
    pub plain: f64,
    /// Time of a private step over that of a plain step on the same parameters.
    pub ratio: f64,
    /// Bytes of the GPU's memory that this program then holds, those kept for the next step included.
    pub memory: Option<u64>,
}

/// Forecasts of many series.
#[derive(Serialize)]
pub struct Forecasts {
    pub device: String,
    pub series: usize,
    /// Seconds of the first run, compilation included.
    pub first_s: f64,
    /// Median seconds of the later runs, from windows on the host to quantiles on the host.
    pub median_s: f64,
    pub fastest_s: f64,
}

/// Measures steps of `batch` windows, all kinds in turn, for `seconds` of private steps.
pub fn steps(model: &Model, place: Place, batch: usize, seconds: f64) -> Result<Steps, AnyError> {
    let units = windows::units(model.config(), batch, 1, 3);
    let plain: Vec<&Window> = units.iter().flatten().collect();
    let mut federated = Trainer::new(model, Subset::Heads, 0.01, false, 0.0);
    on(place, || {
        let mut round = || -> Result<[Duration; 2], AnyError> {
            Ok([
                timed(|| clipped_gradient_sum(model, &units, CLIP).map(drop))?,
                timed(|| federated.step(&plain, 1e-4).map(drop))?,
            ])
        };
        let first_s = round()?.iter().sum::<Duration>().as_secs_f64();
        for _ in 1..WARM_UP {
            round()?;
        }
        let mut times: [Vec<f64>; 2] = Default::default();
        while times[0].len() < STEPS_MIN || times[0].iter().sum::<f64>() < seconds {
            for (kind, one) in times.iter_mut().zip(round()?) {
                kind.push(one.as_secs_f64());
            }
        }
        let steps = times[0].len();
        let [private, plain] = times.map(median);
        let rate = |time: f64| batch as f64 / time;
        Ok(Steps {
            device: place.to_string(),
            batch,
            steps,
            first_s,
            private: rate(private),
            plain: rate(plain),
            ratio: private / plain,
            memory: place.memory_taken(),
        })
    })
}

/// Measures forecasts of `series` generated windows.
pub fn forecasts(model: &Model, place: Place, series: usize) -> Result<Forecasts, AnyError> {
    let windows = windows::windows(model.config(), series, 4);
    on(place, || {
        let forecaster = Forecaster::of(model.clone());
        let run = || timed(|| forecaster.predict(&windows).map(drop));
        let first_s = run()?.as_secs_f64();
        let mut times = Vec::new();
        for _ in 0..RUNS {
            times.push(run()?.as_secs_f64());
        }
        let fastest_s = times.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Forecasts { device: place.to_string(), series, first_s, median_s: median(times), fastest_s })
    })
}

fn timed<E: Into<AnyError>>(work: impl FnOnce() -> Result<(), E>) -> Result<Duration, AnyError> {
    let start = Instant::now();
    work().map_err(Into::into)?;
    Ok(start.elapsed())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
