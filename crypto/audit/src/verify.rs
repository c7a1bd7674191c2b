//! `forecastle-audit verify DIR`: a federation's exported log, judged offline.
//!
//! The folder is what `forecastle-server ledger export` or `forecastle ledger pull` writes, see [`crate::folder`].

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::{
    identity::VerifyingKey,
    ledger::audit::{self, AuditError, Verdict},
};

use crate::{
    folder::{Folder, FolderError},
    quorum::{Quorum, QuorumError},
};

/// Exit code for a log with findings.
pub const EXIT_FINDINGS: u8 = 1;

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-server ledger export log && forecastle-audit verify log
  forecastle ledger pull --out log && forecastle-audit verify log --format json
  forecastle-audit verify log --witness $(cat w1.vkey) --witness $(cat w2.vkey) --witness-quorum 1

Exit codes: 0 verified, 1 findings, 2 the folder could not be judged.";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Folder of an exported log
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The federation's key in hexadecimal, from a source you trust (default: the one in federation.json)
    #[arg(long, value_name = "KEY")]
    server_key: Option<VerifyingKey>,
    #[command(flatten)]
    quorum: Quorum,
    /// How to print the verdict
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How the verdict is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The verdict as text, and the exit code.
///
/// # Errors
/// [`VerifyError`] where there is nothing to judge.
pub fn run(arguments: &Arguments) -> Result<(String, u8), VerifyError> {
    let folder = Folder::open(&arguments.folder)?;
    let mut verdict = folder.audit(arguments.server_key)?;
    let cosigned = arguments.quorum.judge(folder.checkpoint())?;
    verdict.findings.extend(cosigned.findings);
    let code = if verdict.findings.is_empty() { 0 } else { EXIT_FINDINGS };
    let text = match arguments.format {
        Format::Text => {
            let witnesses: String = cosigned.lines.iter().map(|line| format!("witness     {line}\n")).collect();
            (witnesses + &describe(&verdict)).trim_end().to_owned()
        }
        Format::Json => serde_json::to_string(&verdict).expect("a verdict always serialises"),
    };
    Ok((text, code))
}

/// Why a folder could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The folder cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log cannot be judged at all.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The witnesses asked for do not fit the quorum.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
}

/// Judges an exported folder. `server_key` overrides the key named in `federation.json`: an auditor who got the
/// key elsewhere need not trust the folder for it.
///
/// # Errors
/// [`VerifyError`] where there is nothing to judge; findings are not errors.
pub fn verify(folder: &Path, server_key: Option<VerifyingKey>) -> Result<Verdict, VerifyError> {
    Ok(Folder::open(folder)?.audit(server_key)?)
}

/// The verdict in words, for a terminal.
pub fn describe(verdict: &Verdict) -> String {
    let mut text = String::new();
    let v = verdict;
    let _ = writeln!(text, "federation  {}", v.federation);
    let _ = writeln!(text, "log         {} entries, root {}", v.entries, v.root);
    let _ = writeln!(
        text,
        "rounds      {} published a model (latest version {}), {} abandoned",
        v.rounds_closed, v.model_version, v.rounds_abandoned
    );
    let _ = writeln!(
        text,
        "promise     unit {}, δ = {:e}, ε at most {} against the server with the assumed colluders; {} parameters",
        v.unit, v.delta, v.epsilon_cap, v.dimension
    );
    let width = v.merchants.iter().map(|m| m.merchant.as_str().len()).max().unwrap_or(8).max(8);
    let _ = writeln!(
        text,
        "\n{:width$}  {:>7}  {:>16}  {:>16}  {:>16}",
        "merchant", "charges", "published models", "server+colluders", "everyone else"
    );
    for merchant in &v.merchants {
        match merchant.epsilon {
            Some(rows) => {
                let _ = writeln!(
                    text,
                    "{:width$}  {:>7}  {:>16.4}  {:>16.4}  {:>16.4}",
                    merchant.merchant.as_str(),
                    merchant.charges,
                    rows.published.epsilon,
                    rows.server.epsilon,
                    rows.everyone_else.epsilon
                );
            }
            None => {
                let _ = writeln!(text, "{:width$}  {:>7}", merchant.merchant.as_str(), merchant.charges);
            }
        }
    }
    if v.findings.is_empty() {
        let _ = writeln!(text, "\nVERIFIED: signatures, tree, plan, charges, rounds and models fit together.");
    } else {
        let _ = writeln!(text, "\nNOT VERIFIED: {} findings", v.findings.len());
        for finding in &v.findings {
            let place = finding.entry.map_or_else(|| "log".to_owned(), |k| format!("entry {k}"));
            let _ = writeln!(text, "  {place}, rule {}: {}", rule_name(finding), finding.what);
        }
    }
    text
}

fn rule_name(finding: &audit::Finding) -> String {
    serde_json::to_value(finding.rule).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
