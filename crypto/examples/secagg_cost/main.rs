//! What a round of secure aggregation costs on this machine: every participant and the server, for real, beside what the
//! machine can do in the same run, the cipher's keystream alone and a plain copy of memory.
//!
//! ```text
//! cargo run --release -p forecastle-crypto --example secagg_cost -- --participants 100 --neighbours 20
//! ```
//!
//! Participants and server run in one process and their messages are kept in a folder; then the server alone is run once
//! more over the same messages, in a process of its own, for its time and its peak of memory. Times on one core: put
//! `taskset -c 0` in front.

mod cohort;
mod limits;
mod record;
mod report;
mod server;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs a whole round and prints what it costs.
#[derive(Parser, Clone)]
pub struct Options {
    /// n, participants.
    #[arg(long, default_value_t = 100)]
    pub participants: u16,
    /// k, neighbours of each; 0 for the complete graph.
    #[arg(long, default_value_t = 20)]
    pub neighbours: u16,
    /// d, parameters.
    #[arg(long, default_value_t = 1_000_000)]
    pub dimension: u32,
    /// Share of the participants that shares keys and then vanishes.
    #[arg(long, default_value_t = 0.05)]
    pub drop_out: f64,
    /// b, bits of a coordinate.
    #[arg(long, default_value_t = 32)]
    pub bits: u8,
    /// n_C, assumed colluders.
    #[arg(long, default_value_t = 0)]
    pub colluders: u16,
    /// t, shares that reconstruct; by default as many as the drop-outs leave.
    #[arg(long)]
    pub threshold: Option<u16>,
    /// Refuse to run on another number of cores than this.
    #[arg(long)]
    pub threads: Option<usize>,
    /// How to print.
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Only the server, over the messages in this folder. Used by the program itself.
    #[arg(long, hide = true)]
    pub replay: Option<PathBuf>,
}

/// How to print.
#[derive(Clone, Copy, ValueEnum)]
pub enum Format {
    /// A table.
    Text,
    /// One JSON object; times in seconds.
    Json,
}

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let cores = std::thread::available_parallelism()?.get();
    if options.threads.is_some_and(|wanted| wanted != cores) {
        return Err(format!("{cores} cores are here: run it under `taskset` with as many as --threads says").into());
    }
    if let Some(folder) = &options.replay {
        println!("{}", serde_json::to_string(&server::replay(folder)?)?);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let before = limits::measure();
    let clients = cohort::run(&options, folder.path())?;
    let server = server::in_its_own_process(&options, folder.path())?;
    report::print(&options, cores, &clients, &server, &before.or_better(limits::measure()))?;
    Ok(())
}
