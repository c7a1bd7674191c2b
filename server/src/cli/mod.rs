//! One file per verb.

/// Writes one line to standard output. A reader that has gone (`… | head`) is no reason to stop; anything else is
/// said on standard error.
macro_rules! say {
    ($($part:tt)*) => { $crate::cli::write_line(format_args!($($part)*)) };
}

mod init;
mod invite;
mod ledger;
mod model;
mod privacy_plan;
mod serve;
mod status;

use std::{error::Error, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};
use serde::Serialize;

/// What a verb ends with; the error's text is one sentence for the operator.
pub(crate) type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Aggregation server of a Forecastle federation.
///
/// Founds a federation, invites merchants, conducts private rounds of training and publishes models. It never
/// sees a merchant's orders, updates, weights or row counts.
#[derive(Parser)]
#[command(
    name = "forecastle-server",
    version,
    after_help = "Examples:
  forecastle-server privacy-plan --help
  forecastle-server init --model warm-start.safetensors
  forecastle-server serve
  forecastle-server invite create
  forecastle-server ledger export audit/

FORECASTLE_LOG=info shows more, FORECASTLE_LOG=debug everything that happens."
)]
pub(crate) struct Command {
    /// State directory [default: the platform's data directory]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
    #[command(subcommand)]
    verb: Verb,
}

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For scripts, one JSON value
    Json,
}

#[derive(Subcommand)]
enum Verb {
    /// Found a federation in an empty state directory
    Init(init::Init),
    /// Propose a complete privacy plan for a federation of a given size
    PrivacyPlan(privacy_plan::PrivacyPlan),
    /// Serve merchants and conduct rounds until interrupted
    Serve,
    /// Show rounds, merchants and privacy spent
    Status,
    /// Invite merchants
    #[command(subcommand)]
    Invite(invite::Invite),
    /// Look at published models
    #[command(subcommand)]
    Model(model::Model),
    /// The federation's log
    #[command(subcommand)]
    Ledger(ledger::Ledger),
}

impl Command {
    /// Runs the verb.
    pub(crate) async fn run(self) -> Outcome {
        let directory = match self.dir {
            Some(directory) => directory,
            None => directories::ProjectDirs::from("", "", "forecastle-server")
                .ok_or("this machine has no home directory: name a state directory with --dir")?
                .data_dir()
                .to_owned(),
        };
        match self.verb {
            Verb::Init(verb) => verb.run(&directory, self.format).await,
            Verb::PrivacyPlan(verb) => verb.run(self.format),
            Verb::Serve => serve::run(&directory, self.format).await,
            Verb::Status => status::run(&directory, self.format).await,
            Verb::Invite(verb) => verb.run(&directory, self.format).await,
            Verb::Model(verb) => verb.run(&directory, self.format).await,
            Verb::Ledger(verb) => verb.run(&directory, self.format).await,
        }
    }
}

/// Prints `value` as JSON, or `text`.
pub(crate) fn show(format: Format, value: &impl Serialize, text: impl FnOnce() -> String) -> Outcome {
    match format {
        Format::Json => say!("{}", serde_json::to_string_pretty(value)?),
        Format::Text => say!("{}", text()),
    }
    Ok(())
}

/// Unix milliseconds as a date and time, UTC.
pub(crate) fn at(ms: u64) -> String {
    i64::try_from(ms)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| "-".into(), |t| t.strftime("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// What [`say!`] does.
fn write_line(line: std::fmt::Arguments<'_>) {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "cannot write to standard output: {error}");
        }
        _ => {}
    }
}
