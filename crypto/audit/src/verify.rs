//! `forecastle-audit verify DIR`: a federation's exported log, judged offline.
//!
//! The folder is what `forecastle-server ledger export` or `forecastle ledger pull` writes, see [`crate::folder`].

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::{
    dp::accountant::Spent,
    identity::VerifyingKey,
    ledger::audit::{AuditError, Class, Rule, Verdict},
};

use crate::{
    folder::{Folder, FolderError},
    quorum::{Quorum, QuorumError},
};

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-server ledger export log && forecastle-audit verify log
  forecastle ledger pull --out log && forecastle-audit verify log --format json
  forecastle-audit verify log --server-key 12421f34…   (the key as the federation published it)
  forecastle-audit verify log --witness $(cat w1.vkey) --witness $(cat w2.vkey) --witness-quorum 1

Exit codes, the gravest finding deciding:
  0  verified: no findings
  1  privacy: more may have been spent on a person than was promised (ε, bounds, sampling, noise, survivors, caps)
  2  the folder could not be judged: unreadable, or of a version that this program does not know
  3  integrity: signatures, tree, digests or models do not fit; nothing else in the log can then be relied on
  4  order: rounds, cohorts and charges do not fit together, though no promise is shown to be broken";

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

/// The exit code of a verdict: 0 without findings, else that of the gravest class.
pub fn exit_code(verdict: &Verdict) -> u8 {
    match verdict.gravest() {
        None => 0,
        Some(Class::Privacy) => 1,
        Some(Class::Integrity) => 3,
        Some(Class::Order) => 4,
    }
}

/// The verdict as text, and the exit code.
///
/// # Errors
/// [`VerifyError`] where there is nothing to judge.
pub fn run(arguments: &Arguments) -> Result<(String, u8), VerifyError> {
    let (verdict, witnesses) = verify_with(&arguments.folder, arguments.server_key, &arguments.quorum)?;
    let text = match arguments.format {
        Format::Text => {
            let witnesses: String = witnesses.iter().map(|line| format!("witness     {line}\n")).collect();
            (witnesses + &describe(&verdict)).trim_end().to_owned()
        }
        Format::Json => serde_json::to_string(&verdict).expect("a verdict always serialises"),
    };
    Ok((text, exit_code(&verdict)))
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

/// The same, with the witnesses' cosignatures counted: the verdict, and one line on each witness.
///
/// # Errors
/// [`VerifyError`] where there is nothing to judge, or the quorum asks for more witnesses than are named.
pub fn verify_with(
    folder: &Path,
    server_key: Option<VerifyingKey>,
    quorum: &Quorum,
) -> Result<(Verdict, Vec<String>), VerifyError> {
    let folder = Folder::open(folder)?;
    let mut verdict = folder.audit(server_key)?;
    let cosigned = quorum.judge(folder.checkpoint())?;
    verdict.findings.extend(cosigned.findings);
    Ok((verdict, cosigned.lines))
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
    spending(&mut text, v);
    if v.findings.is_empty() {
        let _ = writeln!(
            text,
            "\nVERIFIED: {} rules hold; signatures, tree, plan, charges, rounds and models fit together.",
            Rule::ALL.len()
        );
        if v.models_compared == 0 {
            let _ = writeln!(text, "No model files were in the folder, so none were compared with the log.");
        }
    } else {
        let _ = writeln!(text, "\nNOT VERIFIED: {} findings", v.findings.len());
        for finding in &v.findings {
            let place = finding.entry.map_or_else(|| "log".to_owned(), |k| format!("entry {k}"));
            let _ = writeln!(text, "  {place}, rule {} ({}): {}", finding.rule, finding.class, finding.what);
        }
    }
    text
}

fn spending(text: &mut String, v: &Verdict) {
    let width = v.merchants.iter().map(|m| m.merchant.as_str().len()).max().unwrap_or(8).max(8);
    let _ = writeln!(
        text,
        "\n{:width$}  {:>7}  {:>18}  {:>18}  {:>18}",
        "merchant", "charges", "published models", "server+colluders", "everyone else"
    );
    for merchant in &v.merchants {
        let counted = if merchant.charges_counted > merchant.charges {
            format!("{}+{}", merchant.charges, merchant.charges_counted - merchant.charges)
        } else {
            merchant.charges.to_string()
        };
        let _ = write!(text, "{:width$}  {counted:>7}", merchant.merchant.as_str());
        if let Some(rows) = merchant.epsilon {
            for spent in [rows.published, rows.server, rows.everyone_else] {
                let _ = write!(text, "  {:>18}", both(&spent));
            }
        }
        text.push('\n');
    }
    let _ =
        writeln!(text, "ε by privacy loss distributions (in brackets: second opinion, by Rényi divergences, looser)");
    if v.merchants.iter().any(|m| m.charges_counted > m.charges) {
        let _ =
            writeln!(text, "+n: charges that the merchant itself counts and that never reached the log; they count");
    }
}

/// Both accountants' ε, rounded up.
fn both(spent: &Spent) -> String {
    let up = |epsilon: f64| (epsilon * 1e4).ceil() / 1e4;
    match spent.epsilon_rdp {
        Some(rdp) => format!("{:.4} ({:.4})", up(spent.epsilon), up(rdp)),
        None => format!("{:.4} (none)", up(spent.epsilon)),
    }
}
