//! `forecastle-audit`: recomputes, without a network, what privacy a federation's releases cost.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use forecastle_audit::epsilon;

/// Exit code where the input was wrong, the same that the command line parser uses.
const BAD_INPUT: u8 = 2;

/// Recomputes, offline, what privacy a federation's releases cost.
#[derive(Parser)]
#[command(name = "forecastle-audit", version, arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// ε of a number of training steps, without any federation
    #[command(after_help = epsilon::EXAMPLES)]
    Epsilon(epsilon::Arguments),
}

fn main() -> ExitCode {
    let outcome = match CommandLine::parse().verb {
        Verb::Epsilon(arguments) => epsilon::run(&arguments),
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("forecastle-audit: {error}");
            ExitCode::from(BAD_INPUT)
        }
    }
}
