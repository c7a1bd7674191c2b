//! `forecastle-audit epsilon`: the cost of a number of equal training steps, or of a list of such questions.
//!
//! Invariant: a question is parsed into an event before anything is computed, so that a bad number is refused by
//! name; and a batch is answered whole or not at all. Left out on purpose: releases that differ from step to step,
//! which a ledger describes and `verify` reads.

use std::{fmt::Write as _, fs, io, path::PathBuf};

use clap::{Args, ValueEnum};
use forecastle_crypto::dp::{
    accountant::{self, AccountingError},
    event::{DpEvent, EventError},
    unit::{PrivacyUnit, UnknownUnit},
};
use serde::{Deserialize, Serialize};

/// The largest batch file that is read, in bytes.
pub const BATCH_BYTES_MAX: u64 = 16 << 20;

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  Any customer that touches at most 3 series, 500 rounds:
    forecastle-audit epsilon --unit customer --q 0.05 --sigma 8 --steps 500 --delta 1e-6 --touched 3

  One product's series, as a script would ask:
    forecastle-audit epsilon --unit series --q 0.01 --sigma 1 --steps 1000 --delta 1e-5 --format json

  A whole merchant; its rounds are chosen by the server, so there is no sampling rate:
    forecastle-audit epsilon --unit merchant --sigma 20 --steps 100 --delta 1e-6

  Many at once; the file holds [{\"unit\":\"series\",\"q\":0.01,\"sigma\":1,\"steps\":1000,\"delta\":1e-5}, …]:
    forecastle-audit epsilon --batch questions.json";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Whom the guarantee protects: customer, series or merchant
    #[arg(long, required_unless_present = "batch", value_name = "UNIT")]
    unit: Option<PrivacyUnit>,
    /// Probability with which each series enters a step, above 0 and at most 1 (not for merchant)
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    q: Option<f64>,
    /// Noise: standard deviation as a multiple of the clip norm C
    #[arg(long, required_unless_present = "batch", value_name = "S", allow_negative_numbers = true)]
    sigma: Option<f64>,
    /// Number of steps (rounds) composed
    #[arg(long, required_unless_present = "batch", value_name = "T", allow_negative_numbers = true)]
    steps: Option<u64>,
    /// δ: the probability with which the bound may fail, such as 1e-6
    #[arg(long, required_unless_present = "batch", value_name = "D", allow_negative_numbers = true)]
    delta: Option<f64>,
    /// Most series that one customer touches (customer only) [default: 1]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    touched: Option<u32>,
    /// File with a JSON list of {unit, q, sigma, steps, delta, touched}; prints that list with epsilon and
    /// epsilon_rdp added
    #[arg(long, value_name = "FILE", conflicts_with_all = ["unit", "q", "sigma", "steps", "delta", "touched"])]
    batch: Option<PathBuf>,
    /// How to print the answer to one question; a batch is always JSON
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Sentences for a person
    Text,
    /// One JSON object
    Json,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// q; absent for the merchant unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
    /// σ as a multiple of C.
    pub sigma: f64,
    /// T.
    pub steps: u64,
    /// δ.
    pub delta: f64,
    /// L; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<u32>,
}

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// Upper bound on ε, always finite.
    pub epsilon: f64,
    /// Upper bound on ε from Rényi divergences, or none.
    pub epsilon_rdp: Option<f64>,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EpsilonError {
    /// Customer and series steps need q.
    #[error("the {0} unit needs a sampling rate: give --q, the probability with which each series enters a step")]
    NoSamplingRate(PrivacyUnit),
    /// L only means something for customers.
    #[error("--touched counts the series of one customer and means nothing for the {0} unit: leave it out")]
    TouchedWithoutCustomer(PrivacyUnit),
    /// T is zero.
    #[error("--steps must be at least 1")]
    NoSteps,
    /// A number out of range.
    #[error(transparent)]
    Event(#[from] EventError),
    /// No privacy unit.
    #[error(transparent)]
    Unit(#[from] UnknownUnit),
    /// The accountant refused.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// An argument is missing that the parser should have asked for.
    #[error("--{0} is missing")]
    Missing(&'static str),
    /// The batch file was not read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The batch file is larger than [`BATCH_BYTES_MAX`].
    #[error("{path} has {bytes} bytes; at most {BATCH_BYTES_MAX} are read, so split the list")]
    BatchTooLarge {
        /// Which file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The batch file is no list of questions.
    #[error("{path} is no JSON list of {{unit, q, sigma, steps, delta, touched}}: {why}")]
    Batch {
        /// Which file.
        path: String,
        /// Where and what.
        why: serde_json::Error,
    },
    /// One question of a batch.
    #[error("question {number} of {path}: {source}")]
    InBatch {
        /// Which file.
        path: String,
        /// Counted from 1.
        number: usize,
        /// What is wrong with it.
        source: Box<EpsilonError>,
    },
}

/// Answers what the command line asks; the text is for standard output.
///
/// # Errors
/// [`EpsilonError`], one sentence each.
pub fn run(arguments: &Arguments) -> Result<String, EpsilonError> {
    if let Some(path) = &arguments.batch {
        return batch(path);
    }
    let answer = answer(Question {
        unit: arguments.unit.ok_or(EpsilonError::Missing("unit"))?,
        q: arguments.q,
        sigma: arguments.sigma.ok_or(EpsilonError::Missing("sigma"))?,
        steps: arguments.steps.ok_or(EpsilonError::Missing("steps"))?,
        delta: arguments.delta.ok_or(EpsilonError::Missing("delta"))?,
        touched: arguments.touched,
    })?;
    Ok(match arguments.format {
        Format::Text => sentences(&answer),
        Format::Json => json(&answer),
    })
}

/// Answers one question.
///
/// # Errors
/// [`EpsilonError`] names the number that is wrong.
pub fn answer(question: Question) -> Result<Answer, EpsilonError> {
    let spent = accountant::epsilon(&event(&question)?, question.delta)?;
    Ok(Answer { question, epsilon: spent.epsilon, epsilon_rdp: spent.epsilon_rdp })
}

fn event(question: &Question) -> Result<DpEvent, EpsilonError> {
    let &Question { unit, q, sigma, steps, delta: _, touched } = question;
    if steps == 0 {
        return Err(EpsilonError::NoSteps);
    }
    if unit != PrivacyUnit::Customer && touched.is_some_and(|touched| touched != 1) {
        return Err(EpsilonError::TouchedWithoutCustomer(unit));
    }
    let q = match (unit, q) {
        (PrivacyUnit::Merchant, q) => q.unwrap_or(1.0),
        (_, q) => q.ok_or(EpsilonError::NoSamplingRate(unit))?,
    };
    let run = DpEvent::step(unit, q, touched.unwrap_or(1), sigma)?.times(steps);
    run.validate()?;
    Ok(run)
}

fn batch(path: &std::path::Path) -> Result<String, EpsilonError> {
    let name = path.display().to_string();
    let read = |source| EpsilonError::Read { path: name.clone(), source };
    let bytes = fs::metadata(path).map_err(read)?.len();
    if bytes > BATCH_BYTES_MAX {
        return Err(EpsilonError::BatchTooLarge { path: name, bytes });
    }
    let text = fs::read(path).map_err(read)?;
    let questions: Vec<Question> =
        serde_json::from_slice(&text).map_err(|why| EpsilonError::Batch { path: name.clone(), why })?;
    let answers = questions
        .into_iter()
        .enumerate()
        .map(|(k, question)| {
            answer(question).map_err(|source| EpsilonError::InBatch {
                path: name.clone(),
                number: k + 1,
                source: Box::new(source),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json(&answers))
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("answers hold numbers and names only")
}

/// The answer for a person: what is claimed, and what it lets an attacker conclude.
fn sentences(answer: &Answer) -> String {
    let Answer { question, epsilon, epsilon_rdp } = answer;
    let protected = match (question.unit, question.touched.unwrap_or(1)) {
        (PrivacyUnit::Customer, 1) => "a customer that touches one series".to_owned(),
        (PrivacyUnit::Customer, touched) => format!("a customer that touches at most {touched} series"),
        (PrivacyUnit::Series, _) => "one product's series".to_owned(),
        (PrivacyUnit::Merchant, _) => "everything one merchant contributes".to_owned(),
    };
    let mut text = String::new();
    let steps = if question.steps == 1 { "1 step".to_owned() } else { format!("{} steps", question.steps) };
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Protected: {protected}, over {steps} with noise of {} clip norms.", question.sigma);
    if question.unit == PrivacyUnit::Merchant {
        let _ = writeln!(text, "No amplification by sampling is counted, because the server chooses the cohort.");
    }
    let _ = writeln!(
        text,
        "ε = {:.4} at δ = {:e} (privacy loss distributions, upper bound)",
        round_up(*epsilon),
        question.delta
    );
    match epsilon_rdp {
        Some(rdp) => {
            let _ = writeln!(text, "ε = {:.4} by Rényi divergences (second opinion, looser)", round_up(*rdp));
        }
        None => {
            let _ = writeln!(text, "Rényi divergences give no second opinion here.");
        }
    }
    // e^ε/(1 + e^ε), rounded up as ε is.
    let posterior = 100.0 / (1.0 + (-epsilon).exp());
    let shown = (posterior * 100.0).ceil() / 100.0;
    let _ = write!(
        text,
        "In words: whoever was 50 % sure that the data were used can become at most {shown:.2} % sure from what was released, \
         except with probability about {:e}.",
        question.delta
    );
    if *epsilon > 10.0 {
        let _ = write!(
            text,
            "\nThat is next to no protection: more noise, fewer steps or a lower sampling rate would help."
        );
    }
    text
}

/// Four decimals, never less than the number itself.
fn round_up(value: f64) -> f64 {
    (value * 1e4).ceil() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(unit: PrivacyUnit) -> Question {
        Question { unit, q: Some(0.05), sigma: 8.0, steps: 500, delta: 1e-6, touched: None }
    }

    #[test]
    fn a_merchant_has_no_amplification() {
        let refused = answer(question(PrivacyUnit::Merchant)).unwrap_err();
        assert!(refused.to_string().contains("server chooses the cohort"), "{refused}");
        let whole = answer(Question { q: None, ..question(PrivacyUnit::Merchant) }).unwrap();
        let same = answer(Question { q: Some(1.0), ..question(PrivacyUnit::Merchant) }).unwrap();
        assert_eq!(whole.epsilon, same.epsilon);
    }

    #[test]
    fn touched_belongs_to_customers() {
        let refused = answer(Question { touched: Some(3), ..question(PrivacyUnit::Series) });
        assert!(matches!(refused, Err(EpsilonError::TouchedWithoutCustomer(PrivacyUnit::Series))));
        let more = answer(Question { touched: Some(3), ..question(PrivacyUnit::Customer) }).unwrap();
        assert!(more.epsilon > answer(question(PrivacyUnit::Customer)).unwrap().epsilon);
    }

    #[test]
    fn what_is_shown_is_never_below_what_was_computed() {
        assert_eq!(round_up(1.000_01), 1.000_1);
        let text = sentences(&answer(question(PrivacyUnit::Customer)).unwrap());
        assert!(text.contains("% sure") && text.contains("δ = 1e-6"), "{text}");
    }
}
