//! `forecastle-audit`: recomputes, without a network, what privacy a federation's releases cost.

use std::{
    error::Error,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use forecastle_audit::{epsilon, explain, report, verify, witness};

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
    /// Remember logs' checkpoints, and cosign only what extends them
    #[command(after_help = witness::EXAMPLES)]
    Witness(witness::Arguments),
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
        Err((error, code)) => {
            eprintln!("forecastle-audit: {error}");
            ExitCode::from(code)
        }
    }
}

/// The answer, or why there is none, and the exit code.
fn run(verb: Verb) -> Result<(String, u8), (Box<dyn Error>, u8)> {
    match verb {
        Verb::Epsilon(arguments) => Ok((epsilon::run(&arguments).map_err(bad_input)?, 0)),
        Verb::Explain(arguments) => Ok((explain::run(&arguments).map_err(bad_input)?, 0)),
        Verb::Report(arguments) => report::run(&arguments).map_err(bad_input),
        Verb::Verify(arguments) => verify::run(&arguments).map_err(bad_input),
        Verb::Witness(arguments) => match witness::run(&arguments) {
            Ok(text) => Ok((text, 0)),
            Err(error) => {
                let code = error.exit_code();
                Err((error.into(), code))
            }
        },
    }
}

fn bad_input(error: impl Error + 'static) -> (Box<dyn Error>, u8) {
    (error.into(), BAD_INPUT)
}
