//! What forecasting many series costs on this machine.
//!
//! ```text
//! cargo run --release --example forecast_cost -- --series 10000
//! ```
//!
//! Generated daily series with titles and attributes are made into windows and forecast by the shipped warm start, 28 days
//! and nine quantiles each, several times over. Times are wall-clock; memory is the peak of the whole program.

use std::{error::Error, time::Instant};

use clap::Parser;
use forecastle_client::{
    data::{
        series::{Frequency, KNOWN_CHANNELS, Series},
        window::{StaticInputs, Window},
    },
    forecast::Forecaster,
    model::assets,
};
use forecastle_examples::memory::peak_memory_mb;
use jiff::civil::date;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The allocator of the merchant's program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measure what forecasts cost.
#[derive(Parser)]
struct Arguments {
    /// Series.
    #[arg(long, default_value_t = 10_000)]
    series: usize,
    /// Days of each series.
    #[arg(long, default_value_t = 400)]
    days: usize,
    /// How often everything is done; the fastest and the median are printed.
    #[arg(long, default_value_t = 5)]
    times: usize,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let forecaster = Forecaster::new(&assets::warm_start("nano-daily")?)?;
    let shape = forecaster.shape();
    let series = generated(arguments.series, arguments.days, shape.horizon);
    println!(
        "{} series of {} days, {} days ahead, {} threads",
        series.len(),
        arguments.days,
        shape.horizon,
        std::thread::available_parallelism()?
    );
    let mut seconds: [Vec<f64>; 2] = Default::default();
    let mut cells = 0;
    for _ in 0..arguments.times.max(1) {
        let begin = Instant::now();
        let windows: Vec<Window> =
            series.iter().map(|one| Window::at(one, StaticInputs::of(one).into(), one.y.len(), shape)).collect();
        seconds[0].push(begin.elapsed().as_secs_f64());
        let begin = Instant::now();
        let forecasts = forecaster.predict(&windows)?;
        seconds[1].push(begin.elapsed().as_secs_f64());
        cells = forecasts.iter().map(|forecast| forecast.quantiles.len()).sum();
    }
    for (what, mut times) in ["windows, with titles and attributes hashed", "forecasts"].into_iter().zip(seconds) {
        times.sort_by(f64::total_cmp);
        println!("{what:<44} median {:>7.3} s   fastest {:>7.3} s", times[times.len() / 2], times[0]);
    }
    println!("{cells} cells of nine quantiles; peak memory {:.0} MB", peak_memory_mb()?);
    Ok(())
}

/// Sales with a weekly profile, prices and a title each.
fn generated(count: usize, days: usize, ahead: usize) -> Vec<Series> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let colours = ["red", "blue", "green", "white", "black", "yellow"];
    let things = ["mug", "lamp", "bowl", "clock", "candle", "basket", "frame"];
    (0..count)
        .map(|number| {
            let level: f32 = random.random_range(0.2..40.0);
            let y = (0..days).map(|day| {
                let week = 1.0 + 0.5 * (day as f32 * std::f32::consts::TAU / 7.0).sin();
                (level * week * random.random_range(0.0..2.0f32)).round()
            });
            let y = y.collect();
            let known = (0..days + ahead).map(|_| {
                let mut channels = [0.0; KNOWN_CHANNELS];
                channels[2] = random.random_range(-0.2..0.2);
                channels
            });
            let (colour, thing) = (colours[number % colours.len()], things[number % things.len()]);
            Series {
                id: format!("SKU-{number:05}"),
                frequency: Frequency::Daily,
                start: date(2023, 1, 1),
                known: known.collect(),
                y,
                attributes: vec![("category".into(), thing.into())],
                text: format!("{colour} {thing} number {number}, dishwasher safe"),
                text_vector: None,
                further: None,
            }
        })
        .collect()
}
