//! `forecastle-audit verify DIR`: a federation's exported log, judged offline.
//!
//! The folder is what `forecastle-server ledger export` or `forecastle ledger pull` writes: `entries.jsonl`,
//! `checkpoint`, `federation.json` and, where at hand, `models/<version>.safetensors`.

use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::{
    identity::{Sha256Digest, VerifyingKey, sha256},
    ledger::audit::{self, AuditError, Verdict},
};
use serde::Deserialize;

/// Exit code for a log with findings.
pub const EXIT_FINDINGS: u8 = 1;

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-server ledger export log && forecastle-audit verify log
  forecastle ledger pull --out log && forecastle-audit verify log --format json

Exit codes: 0 verified, 1 findings, 2 the folder could not be judged.";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Folder with entries.jsonl, checkpoint, federation.json and, where at hand, models/
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The federation's key in hexadecimal, from a source you trust (default: the one in federation.json)
    #[arg(long, value_name = "KEY")]
    server_key: Option<VerifyingKey>,
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
    let verdict = verify(&arguments.folder, arguments.server_key)?;
    let code = if verdict.findings.is_empty() { 0 } else { EXIT_FINDINGS };
    let text = match arguments.format {
        Format::Text => describe(&verdict).trim_end().to_owned(),
        Format::Json => serde_json::to_string(&verdict).expect("a verdict always serialises"),
    };
    Ok((text, code))
}

/// Why a folder could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file is missing or unreadable.
    #[error("cannot read {}: {why}; the folder should be one that `forecastle-server ledger export` or `forecastle ledger pull` wrote", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system or parser said.
        why: String,
    },
    /// The log cannot be judged at all.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

/// What `federation.json` says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Origin {
    server_key: VerifyingKey,
}

/// Judges an exported folder. `server_key` overrides the key named in `federation.json`: an auditor who got the
/// key elsewhere need not trust the folder for it.
///
/// # Errors
/// [`VerifyError`] where there is nothing to judge; findings are not errors.
pub fn verify(folder: &Path, server_key: Option<VerifyingKey>) -> Result<Verdict, VerifyError> {
    let key = match server_key {
        Some(key) => key,
        None => {
            let path = folder.join("federation.json");
            let origin: Origin =
                serde_json::from_slice(&read(&path)?).map_err(|e| VerifyError::File { path, why: e.to_string() })?;
            origin.server_key
        }
    };
    let entries = read(&folder.join("entries.jsonl"))?;
    let leaves: Vec<Vec<u8>> = entries.split(|&b| b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec).collect();
    let checkpoint = read(&folder.join("checkpoint"))?;
    let models = digests(&folder.join("models"))?;
    Ok(audit::audit(&leaves, &String::from_utf8_lossy(&checkpoint), &key, &models)?)
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

fn read(path: &Path) -> Result<Vec<u8>, VerifyError> {
    fs::read(path).map_err(|e| VerifyError::File { path: path.to_owned(), why: e.to_string() })
}

/// Digests of the model files at hand; a folder without models is fine.
fn digests(folder: &Path) -> Result<HashMap<u64, Sha256Digest>, VerifyError> {
    let mut found = HashMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(|e| VerifyError::File { path: folder.to_owned(), why: e.to_string() })?.path();
        let version = path
            .extension()
            .is_some_and(|e| e == "safetensors")
            .then(|| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok()))
            .flatten();
        if let Some(version) = version {
            found.insert(version, sha256(&read(&path)?));
        }
    }
    Ok(found)
}
