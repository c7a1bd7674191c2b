//! The command line: one file a verb, each thin over the library.
//!
//! Answers go to standard output, everything else to standard error. Exit codes: 0 done, 1 failed (one sentence
//! says what to do), 2 the command itself was wrong.

/// Writes one line to standard output. A reader that has gone (`… | head`) is no reason to stop; anything else is
/// said on standard error.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::write_line(format_args!($($part)*)) };
}

mod audit_canaries;
mod backtest;
mod base;
mod check;
mod contents;
mod customer;
mod data;
mod doctor;
mod erase;
mod expire;
mod export;
mod forecast;
mod import;
mod join;
mod key;
mod ledger;
mod model;
mod privacy;
mod receipt;
mod text;
mod train;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::{Layer, filter::filter_fn, layer::SubscriberExt, util::SubscriberInitExt};

use crate::data::vault;
use crate::device::{self, DeviceChoice, Reason, kernels};
use crate::federation::home::{Home, HomeError};

/// What a verb returns: any library error, as one sentence.
type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Forecast your sales together with other merchants, without showing them your orders.
#[derive(Parser)]
#[command(name = "forecastle", version, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    /// State folder of this merchant (default: the platform's data directory).
    #[arg(long, global = true, value_name = "DIR", env = "FORECASTLE_DIR")]
    dir: Option<PathBuf>,
    /// The key of the imported data (default: data/data.key in the state folder). Is remembered; a new key is made there the
    /// first time.
    #[arg(long, global = true, value_name = "FILE", env = "FORECASTLE_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// How answers are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(subcommand)]
    verb: Verb,
}

const EXAMPLES: &str = "\
Examples:
  forecastle join \"$(cat invitation.txt)\" --merchant green-garden
  forecastle data import orders.csv products.csv calendar.csv
  forecastle train
  forecastle backtest --out backtest.html
  forecastle forecast --out forecasts.csv
  forecastle privacy show
  forecastle receipt --out receipt.html";

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Windows of the merchant's own past.
#[derive(Args)]
struct RollingArguments {
    /// Windows, the last one ending with the data.
    #[arg(long, value_name = "N", default_value_t = 4)]
    windows: usize,
    /// Steps to forecast in each (default: as far as the model reaches).
    #[arg(long, value_name = "STEPS")]
    horizon: Option<usize>,
    /// Steps from one window to the next (default: the horizon, so that windows do not overlap).
    #[arg(long, value_name = "STEPS")]
    stride: Option<usize>,
    /// Only so many series: those that sold most before the first window.
    #[arg(long, value_name = "N")]
    series: Option<usize>,
}

/// Which device computes, on verbs that train or forecast.
#[derive(Args)]
struct DeviceArguments {
    /// Device that computes: auto (a GPU where this build and this machine have one), cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", env = "FORECASTLE_DEVICE", default_value_t)]
    device: DeviceChoice,
}

impl DeviceArguments {
    /// Decides for this program, and says so where a GPU that this build could use is missing.
    fn choose(&self) -> Outcome {
        let (place, reason) = device::choose(self.device)?;
        if reason == Reason::NoneFound {
            eprintln!("forecastle: computing on the {place}: {reason}");
        }
        if !place.is_cpu() {
            match kernels::keep() {
                Ok(folder) if kernels::is_empty(&folder) => {
                    eprintln!("forecastle: compiling for {place}, which takes minutes the first time");
                }
                Ok(_) => {}
                Err(error) => {
                    eprintln!("forecastle: each start compiles for {place} anew, which takes minutes: {error}")
                }
            }
        }
        Ok(())
    }
}

#[derive(Subcommand)]
enum Verb {
    Join(join::Arguments),
    /// Bring in order files, see what is in them, give out or erase what is held of a customer.
    Data {
        #[command(subcommand)]
        verb: data::Verb,
    },
    Train(train::Arguments),
    Forecast(forecast::Arguments),
    Backtest(backtest::Arguments),
    Receipt(receipt::Arguments),
    /// See what privacy has been spent, or what a plan would cost.
    Privacy {
        #[command(subcommand)]
        verb: privacy::Verb,
    },
    AuditCanaries(audit_canaries::Arguments),
    /// The federation's log.
    Ledger {
        #[command(subcommand)]
        verb: ledger::Verb,
    },
    /// The model that a federation begins with, as a file.
    Model {
        #[command(subcommand)]
        verb: model::Verb,
    },
    Doctor(doctor::Arguments),
}

/// Parses the command line, runs the verb, reports.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_env("FORECASTLE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    // Asked for its last detail, the tokenizer would log texts letter by letter.
    let quiet = filter_fn(|metadata| !metadata.target().starts_with("tokenizers"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(quiet);
    tracing_subscriber::registry().with(lines.with_filter(filter)).init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forecastle: {}", unsteered(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Outcome {
    let format = arguments.format;
    let moves_key = matches!(&arguments.verb, Verb::Data { verb } if verb.moves_key());
    let home = || {
        let home = open_home(arguments.dir)?;
        if let Some(path) = arguments.key_file.as_ref().filter(|_| !moves_key) {
            vault::use_key_file(&home.data(), path)?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(home)
    };
    match arguments.verb {
        Verb::Join(join) => join::run(&home()?, join, format),
        Verb::Data { verb } => data::run(&home()?, verb, format),
        Verb::Train(train) => train::run(home()?, train, format),
        Verb::Forecast(forecast) => forecast::run(&home()?, &forecast, format),
        Verb::Backtest(backtest) => backtest::run(home()?, &backtest, format),
        Verb::Receipt(receipt) => receipt::run(home()?, &receipt, format),
        Verb::Privacy { verb } => privacy::run(&home()?, verb, format),
        Verb::AuditCanaries(audit) => audit_canaries::run(&home()?, &audit, format),
        Verb::Ledger { verb } => ledger::run(&home()?, verb, format),
        Verb::Model { verb } => model::run(&verb, format),
        Verb::Doctor(doctor) => doctor::run(&doctor, format),
    }
}

fn open_home(dir: Option<PathBuf>) -> Result<Home, Box<dyn Error + Send + Sync>> {
    let path = match dir {
        Some(path) => path,
        None => directories::ProjectDirs::from("", "", "forecastle")
            .ok_or("this account has no home directory; say where the state lives with --dir DIR")?
            .data_dir()
            .to_owned(),
    };
    Ok(Home::open(&path).map_err(|e: HomeError| e)?)
}

/// A runtime for the verbs that talk to the server.
fn runtime() -> Result<tokio::runtime::Runtime, std::io::Error> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// Prints one value as JSON, on one line.
fn print_json(value: &impl serde::Serialize) -> Outcome {
    say!("{}", serde_json::to_string(value)?);
    Ok(())
}

/// The command as it was typed, for reports; without what reports do not hold: a customer's number, a password, a query.
fn command() -> String {
    shown_command(std::env::args().skip(1))
}

/// Options whose values reports do not hold.
const NOT_SHOWN: [&str; 4] = ["--customer", "--pseudonym", "--forget-erasure", "--query"];

fn shown_command(words: impl Iterator<Item = String>) -> String {
    let mut shown = vec!["forecastle".to_owned()];
    let mut is_hidden = false;
    for word in words {
        let (option, value) =
            word.split_once('=').map_or((word.as_str(), None), |(option, value)| (option, Some(value)));
        let hides = NOT_SHOWN.contains(&option);
        shown.push(match (is_hidden, hides, value, word.split_once("://")) {
            (true, ..) => "…".to_owned(),
            (false, true, Some(_), _) => format!("{option}=…"),
            // An address may hold a password.
            (false, false, _, Some((scheme, _))) => format!("{scheme}://…"),
            _ if word.contains(char::is_whitespace) => format!("'{word}'"),
            _ => word.clone(),
        });
        is_hidden = !is_hidden && hides && value.is_none();
    }
    shown.join(" ")
}

/// Asks a person at a terminal; without one, the question has to be answered beforehand.
fn is_confirmed(question: &str, yes: bool) -> Result<bool, Box<dyn Error + Send + Sync>> {
    use std::io::IsTerminal;
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(format!("{question} Nobody is there to answer; say so with --yes").into());
    }
    eprint!("{} [y/N] ", unsteered(question));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// What [`say!`] does.
fn write_line(line: std::fmt::Arguments<'_>) {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{}", unsteered(&line.to_string())) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "cannot write to standard output: {error}");
        }
        _ => {}
    }
}

/// A text that ends its lines and does nothing else to a terminal: names and reasons come from a server, from files, from
/// other people, and none of them clears the screen.
fn unsteered(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c }).collect()
}

#[cfg(test)]
mod governance_tests;

#[cfg(test)]
mod tests {
    #[test]
    fn a_command_is_shown_without_customers_passwords_and_queries() {
        for (typed, expected) in [
            ("data import --forget-erasure alice a.csv", "data import --forget-erasure … a.csv"),
            ("data import a.csv --forget-erasure=alice", "data import a.csv --forget-erasure=…"),
            ("data import postgres://u:secret@db/shop --query SELECT", "data import postgres://… --query …"),
            ("data import --query --query a.csv", "data import --query … a.csv"),
            ("data check --out=a.html", "data check --out=a.html"),
        ] {
            let shown = super::shown_command(typed.split(' ').map(str::to_owned));
            assert_eq!(shown, format!("forecastle {expected}"));
        }
        assert_eq!(super::shown_command(["a file.csv".to_owned()].into_iter()), "forecastle 'a file.csv'");
    }

    #[test]
    fn texts_keep_their_lines_and_steer_no_terminal() {
        assert_eq!(super::unsteered("plan `\u{1b}[2Jfine`\r\n\tε ≤ 8\n"), "plan ` [2Jfine` \n\tε ≤ 8\n");
    }
}
