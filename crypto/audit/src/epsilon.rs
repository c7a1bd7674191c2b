//! `forecastle-audit epsilon`: what a number of equal releases costs, or any event; or a list of such questions.
//!
//! Invariant: a question is parsed into an event before anything is computed, so that a bad number is refused by
//! name; and a batch is answered whole or not at all. Left out on purpose: whose releases they were, which a ledger
//! describes and `verify` reads.

mod question;
mod words;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use forecastle_crypto::dp::{
    accountant::{self, AccountingError, Basis, ProfilePoint},
    event::{DpEvent, EventError},
    unit::PrivacyUnit,
};
use serde::{Serialize, de::DeserializeOwned};

pub use question::{Change, Draw, Mechanism, Question};

/// The largest batch or event file that is read, in bytes.
pub const BATCH_BYTES_MAX: u64 = 16 << 20;

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Of --sigma, --delta and --epsilon give two; the third is computed.

Examples:
  Any customer that touches at most 3 series, 500 rounds:
    forecastle-audit epsilon --unit customer --q 0.05 --sigma 8 --steps 500 --delta 1e-6 --touched 3

  A person who is a customer of two merchants:
    forecastle-audit epsilon --unit customer --q 0.05 --sigma 8 --steps 500 --delta 1e-6 --touched 3 --merchants 2

  One product's series, as a script would ask:
    forecastle-audit epsilon --unit series --q 0.01 --sigma 1 --steps 1000 --delta 1e-5 --format json

  A whole merchant; its rounds are chosen by the server, so there is no sampling rate:
    forecastle-audit epsilon --unit merchant --sigma 20 --steps 100 --delta 1e-6

  Somebody's DP-SGD, people with up to 5 records, who leave with all of them:
    forecastle-audit epsilon --mechanism gaussian --q 0.01 --sigma 2 --steps 2000 --delta 1e-6 --touched 5

  The same trained in 20 shuffled epochs, as most code really does:
    forecastle-audit epsilon --mechanism shuffled-gaussian --sigma 2 --steps 20 --delta 1e-6

  The least Laplace noise for ten counts with ε = 1:
    forecastle-audit epsilon --mechanism laplace --steps 10 --epsilon 1 --delta 1e-9

  Summed integers under ten merchants' discrete Gaussian shares:
    forecastle-audit epsilon --mechanism discrete-gaussian --sigma 300 --shares 10 --sensitivity 500 --dimension 400 --steps 40 --delta 1e-6

  The whole privacy profile, every δ with its ε:
    forecastle-audit epsilon --unit series --q 0.01 --sigma 1 --steps 1000 --profile

  A sequence of different releases, written as a ledger's event:
    forecastle-audit epsilon --event year.json --delta 1e-6

  Many at once; the file holds [{\"unit\":\"series\",\"q\":0.01,\"sigma\":1,\"steps\":1000,\"delta\":1e-5}, …]:
    forecastle-audit epsilon --batch questions.json";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(flatten)]
    question: Question,
    /// File with one event as JSON, as ledgers write it; repeated --steps times
    #[arg(long, value_name = "FILE", conflicts_with_all = ["unit", "mechanism"])]
    event: Option<PathBuf>,
    /// Print the whole privacy profile, δ for rising ε, instead of one figure
    #[arg(long, conflicts_with_all = ["delta", "epsilon", "batch"])]
    profile: bool,
    /// File with a JSON list of questions, keys as the arguments above with _ for -; prints that list with epsilon,
    /// epsilon_rdp and basis added
    #[arg(long, value_name = "FILE", conflicts_with_all = [
        "unit", "mechanism", "event", "q", "sigma", "steps", "delta", "epsilon", "touched", "merchants", "noise", "change",
        "sensitivity", "dimension", "shares", "population", "batch_size", "rho",
    ])]
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

/// A question with its answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// What was asked, without what was computed.
    #[serde(flatten)]
    pub question: Question,
    /// σ, where that was asked for: the least that keeps ε and δ.
    #[serde(rename = "sigma", skip_serializing_if = "Option::is_none")]
    pub sigma_found: Option<f64>,
    /// δ, where that was asked for: an upper bound.
    #[serde(rename = "delta", skip_serializing_if = "Option::is_none")]
    pub delta_found: Option<f64>,
    /// Upper bound on ε, always finite.
    pub epsilon: f64,
    /// Upper bound on ε from Rényi divergences, or none.
    pub epsilon_rdp: Option<f64>,
    /// What ε rests on.
    pub basis: Basis,
}

impl Answer {
    /// δ, asked or found.
    fn delta(&self) -> f64 {
        self.delta_found.or(self.question.delta).unwrap_or(0.0)
    }

    /// σ, asked or found.
    fn sigma(&self) -> Option<f64> {
        self.sigma_found.or(self.question.sigma)
    }
}

/// A question with the whole profile.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProfileAnswer {
    /// What was asked.
    #[serde(flatten)]
    pub question: Question,
    /// What the bounds rest on.
    pub basis: Basis,
    /// Upper bounds on δ, ε rising.
    pub profile: Vec<ProfilePoint>,
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
    /// No, or more than one, description of what was released.
    #[error("say what was released by one of --unit, --mechanism and --event (or ask many questions with --batch)")]
    WhatWasReleased,
    /// Not two of the three numbers.
    #[error(
        "give two of --sigma, --epsilon and --delta (of an event and of concentrated, which hold their noise, one of --epsilon and --delta): the remaining one is computed"
    )]
    TwoOfThree,
    /// An argument that means nothing here.
    #[error("--{name} means nothing for {what}: leave it out")]
    Unused {
        /// Which argument.
        name: &'static str,
        /// What was asked about.
        what: String,
    },
    /// A number out of range.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The accountant refused.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
    /// An argument is missing.
    #[error("--{0} is missing")]
    Missing(&'static str),
    /// The file was not read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than [`BATCH_BYTES_MAX`].
    #[error("{path} has {bytes} bytes; at most {BATCH_BYTES_MAX} are read, so split the list")]
    BatchTooLarge {
        /// Which file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The file is no list of questions, or no event.
    #[error("{path} is no {expected}: {why}")]
    Json {
        /// Which file.
        path: String,
        /// What it should hold.
        expected: &'static str,
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
    let mut question = arguments.question.clone();
    if let Some(path) = &arguments.event {
        question.event = Some(read::<DpEvent>(path, "JSON event")?);
    }
    if arguments.profile {
        let answer = profile(question)?;
        return Ok(match arguments.format {
            Format::Text => words::profile(&answer),
            Format::Json => json(&answer),
        });
    }
    let answer = answer(question)?;
    Ok(match arguments.format {
        Format::Text => words::answer(&answer),
        Format::Json => json(&answer),
    })
}

/// Answers one question.
///
/// # Errors
/// [`EpsilonError`] names the number that is wrong.
pub fn answer(question: Question) -> Result<Answer, EpsilonError> {
    let (sigma_found, delta_found) = match (question.sigma, question.epsilon, question.delta) {
        (sigma, None, Some(_)) if sigma.is_some() || !question.has_sigma() => (None, None),
        (sigma, Some(epsilon), None) if sigma.is_some() || !question.has_sigma() => {
            let event = question.released(sigma.unwrap_or(1.0))?;
            (None, Some(accountant::delta(&event, epsilon)?))
        }
        (None, Some(epsilon), Some(delta)) if question.has_sigma() => {
            // Everything but σ is checked here, and σ runs over positive numbers only.
            question.released(1.0)?;
            let event = |sigma| question.released(sigma).expect("invariant: only σ differs from a checked question");
            (Some(accountant::noise_multiplier_for(epsilon, delta, event)?), None)
        }
        _ => return Err(EpsilonError::TwoOfThree),
    };
    let event = question.released(question.sigma.or(sigma_found).unwrap_or(1.0))?;
    let basis = accountant::basis(&event)?;
    // Where δ was found, ε is what was asked; the second opinion is about that δ.
    let (epsilon, epsilon_rdp) = match (question.epsilon, delta_found.or(question.delta)) {
        (Some(asked), Some(delta)) if delta_found.is_some() => {
            let second = (1e-200..1.0).contains(&delta).then(|| accountant::epsilon(&event, delta)).transpose()?;
            (asked, second.and_then(|spent| spent.epsilon_rdp))
        }
        (_, delta) => {
            let spent = accountant::epsilon(&event, delta.ok_or(EpsilonError::Missing("delta"))?)?;
            (spent.epsilon, spent.epsilon_rdp)
        }
    };
    // The answer holds every key once.
    let question = Question { epsilon: None, ..question };
    Ok(Answer { question, sigma_found, delta_found, epsilon, epsilon_rdp, basis })
}

/// The whole profile of one question.
///
/// # Errors
/// As [`answer`].
pub fn profile(question: Question) -> Result<ProfileAnswer, EpsilonError> {
    let sigma = match question.sigma {
        Some(sigma) => sigma,
        None if question.has_sigma() => return Err(EpsilonError::Missing("sigma")),
        None => 1.0,
    };
    let event = question.released(sigma)?;
    Ok(ProfileAnswer { basis: accountant::basis(&event)?, profile: accountant::profile(&event)?, question })
}

fn read<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, EpsilonError> {
    let name = path.display().to_string();
    let failed = |source| EpsilonError::Read { path: name.clone(), source };
    let bytes = fs::metadata(path).map_err(failed)?.len();
    if bytes > BATCH_BYTES_MAX {
        return Err(EpsilonError::BatchTooLarge { path: name, bytes });
    }
    let text = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|why| EpsilonError::Json { path: name, expected, why })
}

fn batch(path: &Path) -> Result<String, EpsilonError> {
    let questions: Vec<Question> = read(path, "JSON list of {unit or mechanism, q, sigma, steps, delta, touched, …}")?;
    let answers = questions
        .into_iter()
        .enumerate()
        .map(|(k, question)| {
            answer(question).map_err(|source| EpsilonError::InBatch {
                path: path.display().to_string(),
                number: k + 1,
                source: Box::new(source),
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(json(&answers))
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string_pretty(value).expect("invariant: answers hold numbers and names only")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(unit: PrivacyUnit) -> Question {
        Question {
            unit: Some(unit),
            q: Some(0.05),
            sigma: Some(8.0),
            steps: Some(500),
            delta: Some(1e-6),
            ..Question::default()
        }
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
    fn two_of_the_three_numbers_give_the_third() {
        let asked = answer(question(PrivacyUnit::Series)).unwrap();
        let delta =
            answer(Question { epsilon: Some(asked.epsilon), delta: None, ..question(PrivacyUnit::Series) }).unwrap();
        assert!((delta.delta_found.unwrap() / 1e-6 - 1.0).abs() < 1e-3, "{delta:?}");
        let sigma =
            answer(Question { epsilon: Some(asked.epsilon), sigma: None, ..question(PrivacyUnit::Series) }).unwrap();
        assert!((sigma.sigma_found.unwrap() / 8.0 - 1.0).abs() < 1e-4, "{sigma:?}");
        for wrong in [
            Question { epsilon: Some(1.0), ..question(PrivacyUnit::Series) },
            Question { sigma: None, ..question(PrivacyUnit::Series) },
            Question { delta: None, ..question(PrivacyUnit::Series) },
        ] {
            assert!(matches!(answer(wrong), Err(EpsilonError::TwoOfThree)));
        }
    }

    #[test]
    fn what_means_nothing_here_is_refused_by_name() {
        let refused = answer(Question { shares: Some(3), ..question(PrivacyUnit::Customer) }).unwrap_err();
        assert!(refused.to_string().contains("--shares"), "{refused}");
        let laplace = Question { unit: None, mechanism: Some(Mechanism::Laplace), ..question(PrivacyUnit::Series) };
        let refused = answer(laplace.clone()).unwrap_err();
        assert!(refused.to_string().contains("--q means nothing for the mechanism laplace"), "{refused}");
        assert!(answer(Question { q: None, ..laplace.clone() }).is_ok());
        let both = Question { unit: Some(PrivacyUnit::Series), ..laplace };
        assert!(matches!(answer(both), Err(EpsilonError::WhatWasReleased)));
    }

    #[test]
    fn every_mechanism_has_an_answer() {
        let common = Question { sigma: Some(4.0), steps: Some(3), delta: Some(1e-6), ..Question::default() };
        let of = |mechanism, more: Question| Question { mechanism: Some(mechanism), ..more };
        let questions = [
            of(Mechanism::Gaussian, Question { q: Some(0.1), ..common.clone() }),
            of(Mechanism::Gaussian, Question { touched: Some(3), change: Some(Change::Replaced), ..common.clone() }),
            of(Mechanism::ShuffledGaussian, common.clone()),
            of(Mechanism::FixedSizeGaussian, Question { population: Some(100), batch_size: Some(5), ..common.clone() }),
            of(Mechanism::Laplace, common.clone()),
            of(Mechanism::DiscreteGaussian, Question { sensitivity: Some(3.0), dimension: Some(9), ..common.clone() }),
            of(Mechanism::Skellam, Question { sensitivity: Some(3.0), ..common.clone() }),
            of(Mechanism::Concentrated, Question { sigma: None, rho: Some(0.1), ..common }),
        ];
        for question in questions {
            let answer = answer(question).unwrap();
            assert!(answer.epsilon > 0.0 && answer.epsilon.is_finite());
            assert!(words::answer(&answer).contains("In words"), "{answer:?}");
        }
    }

    #[test]
    fn what_is_shown_is_never_below_what_was_computed() {
        assert_eq!(words::round_up(1.000_01), 1.000_1);
        let text = words::answer(&answer(question(PrivacyUnit::Customer)).unwrap());
        assert!(text.contains("% sure") && text.contains("δ = 1e-6"), "{text}");
    }
}
