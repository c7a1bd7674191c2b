//! `forecastle-audit`: recomputes, without a network, what privacy a federation's releases cost.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use forecastle_audit::{epsilon, explain, report, verify};

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
    Epsilon(Box<epsilon::Arguments>),
    /// What an (ε, δ) claim means, in words and odds
    #[command(after_help = explain::EXAMPLES)]
    Explain(explain::Arguments),
    /// Write a report on a federation's exported log, for people who answer for it
    #[command(after_help = report::EXAMPLES)]
    Report(report::Arguments),
    /// Judge a federation's exported log
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::Arguments),
}

fn main() -> ExitCode {
    match run(CommandLine::parse().verb) {
        Ok((text, code)) => {
            // Whoever closes the pipe early (`| head`) has seen enough; the exit code stays the verdict's.
            match writeln!(io::stdout(), "{text}") {
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                    eprintln!("forecastle-audit: cannot print: {error}");
                    ExitCode::from(BAD_INPUT)
                }
                _ => ExitCode::from(code),
            }
        }
        Err(error) => {
            eprintln!("forecastle-audit: {error}");
            ExitCode::from(BAD_INPUT)
        }
    }
}

/// The answer and its exit code.
fn run(verb: Verb) -> Result<(String, u8), Box<dyn Error>> {
    match verb {
        Verb::Epsilon(arguments) => Ok((epsilon::run(&arguments)?, 0)),
        Verb::Explain(arguments) => Ok((explain::run(&arguments)?, 0)),
        Verb::Report(arguments) => Ok(report::run(&arguments)?),
        Verb::Verify(arguments) => Ok(verify::run(&arguments)?),
    }
}
