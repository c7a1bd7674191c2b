//! Trains the warm start of a preset on generated series and writes it as a model file.
//!
//! ```text
//! cargo run --release --example warm_start -- --preset nano-daily --seed 1 --out client/assets/warm-start/nano-daily.safetensors
//! ```
//!
//! No real data is read, so the result has cost nobody any privacy.

mod chance;
mod generator;

use std::path::PathBuf;

use clap::Parser;
use forecastle_client::data::window::Window;
use forecastle_client::model::{Model, ModelConfig, SkipKind};
use forecastle_client::train::{Subset, Trainer, local::cosine, weighted_quantile_loss};
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Trains a warm start on generated series.
#[derive(Parser)]
struct Options {
    /// Preset of the network.
    #[arg(long, default_value = "nano-daily")]
    preset: String,
    /// Width of a token, instead of the preset's; for comparisons.
    #[arg(long)]
    width: Option<usize>,
    /// Encoder blocks, instead of the preset's; for comparisons.
    #[arg(long)]
    layers: Option<usize>,
    /// Correct the mean of the context instead of the structural forecast; for comparisons.
    #[arg(long)]
    no_skip: bool,
    /// Seed of weights and series.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Optimizer steps.
    #[arg(long, default_value_t = 1000)]
    steps: usize,
    /// Windows a step.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Highest learning rate.
    #[arg(long, default_value_t = 0.002)]
    rate: f32,
    /// Where the model file goes.
    #[arg(long)]
    out: PathBuf,
}

/// How much faster elasticities, rates and heads learn than the encoder.
const HEADS_PACE: f32 = 4.0;
/// Steps over which the learning rate rises from zero.
const RISE: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let preset = ModelConfig::preset(&options.preset)?;
    let width = options.width.unwrap_or(preset.d_model);
    let config = ModelConfig {
        d_model: width,
        feedforward: preset.feedforward * width / preset.d_model,
        layers: options.layers.unwrap_or(preset.layers),
        skip: if options.no_skip { SkipKind::Mean } else { preset.skip },
        ..preset
    };
    let start = Model::untrained(&config, options.seed)?;
    let mut rng = ChaCha12Rng::seed_from_u64(options.seed);
    let held_back: Vec<Window> = (0..1024).map(|_| generator::window(&config, &mut rng)).collect();
    let judge = |model: &Model| -> Result<f64, Box<dyn std::error::Error>> {
        Ok(weighted_quantile_loss(model, &held_back)?.ok_or("the generated windows are all empty")?)
    };
    println!("{} parameters, {} trained by rounds", start.values().len(), start.federated_len());
    println!("step 0: WQL {:.4} on generated windows", judge(&start)?);
    let mut trainer = Trainer::new(&start, Subset::All, 0.01, false, 0.99).heads_pace(HEADS_PACE);
    let mut mean = 0.0;
    for step in 0..options.steps {
        let windows: Vec<Window> = (0..options.batch).map(|_| generator::window(&config, &mut rng)).collect();
        let rise = ((step + 1) as f32 / RISE as f32).min(1.0);
        let rate = options.rate * rise * cosine(step, options.steps);
        let loss = trainer.step(&windows.iter().collect::<Vec<_>>(), rate)?;
        mean += (loss - mean) / ((step + 1).min(100) as f32);
        if (step + 1) % 100 == 0 {
            println!("step {}: loss {mean:.4}, WQL {:.4}", step + 1, judge(&trainer.averaged())?);
        }
    }
    let bytes = trainer.averaged().snapshot().to_bytes();
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(&options.out, &bytes)?;
    println!("{} bytes written to {}", bytes.len(), options.out.display());
    Ok(())
}
