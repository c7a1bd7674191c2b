//! `forecastle-audit explain --epsilon E --delta D`: what a claim means, in words and odds.
//!
//! Invariant: every sentence is true of any mechanism that keeps the claim, and says no more than the claim does.
//! Left out on purpose: whether a claim is true (that is what `verify` and `epsilon` are for).

use std::fmt::Write as _;

use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::conclusions::{Conclusions, Point, factor_text, per_cent, thousands};

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-audit explain --epsilon 1 --delta 1e-6
  forecastle-audit explain --epsilon 8 --delta 1e-6 --people 50000
  forecastle-audit explain --epsilon 2.96 --delta 1e-6 --format json";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    /// ε of the claim, zero or more
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    /// δ of the claim, from 0 to below 1
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: f64,
    /// How many people the claim is made to: says what δ means for that many
    #[arg(long, value_name = "N")]
    people: Option<u64>,
    /// How to print the answer
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

/// A claim that is none.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum ExplainError {
    /// ε is negative or not a number.
    #[error("--epsilon must be zero or a positive number, not {0}")]
    Epsilon(f64),
    /// δ is no probability below 1.
    #[error("--delta must be at least 0 and below 1 (1e-6 is usual), not {0}: at 1 nothing at all is promised")]
    Delta(f64),
}

/// The explanation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What the claim allows.
    #[serde(flatten)]
    pub odds: Conclusions,
    /// How many people the claim is made to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<u64>,
    /// What the claim says, sentence by sentence.
    pub says: Vec<String>,
    /// What it does not say.
    pub does_not_say: Vec<String>,
}

/// The explanation, printed.
///
/// # Errors
/// [`ExplainError`] names the number that is wrong.
pub fn run(arguments: &Arguments) -> Result<String, ExplainError> {
    let explanation = explain(arguments.epsilon, arguments.delta, arguments.people)?;
    Ok(match arguments.format {
        Format::Text => text(&explanation),
        Format::Json => serde_json::to_string_pretty(&explanation).expect("numbers and sentences always serialise"),
    })
}

/// What (ε, δ) means.
///
/// # Errors
/// [`ExplainError`] names the number that is wrong.
pub fn explain(epsilon: f64, delta: f64, people: Option<u64>) -> Result<Explanation, ExplainError> {
    if !(epsilon.is_finite() && epsilon >= 0.0) {
        return Err(ExplainError::Epsilon(epsilon));
    }
    if !(0.0..1.0).contains(&delta) {
        return Err(ExplainError::Delta(delta));
    }
    let odds = Conclusions::of(Point { epsilon, delta }, &[]);
    Ok(Explanation { says: says(&odds, people), does_not_say: does_not_say(), odds, people })
}

/// What the claim says, in sentences.
fn says(odds: &Conclusions, people: Option<u64>) -> Vec<String> {
    let mut said = vec![
        "It compares two worlds that differ only in whether the data of one protected unit (a person, say) were used. \
         The observer may know everything else: the method, the plan, and the data of everybody else."
            .to_owned(),
        format!(
            "Guessing which world it is, where both were equally likely, no observer is right more than {} of the time. \
             Blind guessing is right 50\u{a0}% of the time.",
            per_cent(odds.right_guesses, 2)
        ),
    ];
    let found = &odds.found[0];
    said.push(format!(
        "An observer who accuses wrongly {} of those whose data were not used finds at most {} of those whose data were. \
         Blind guessing finds as many as it accuses wrongly.",
        per_cent(found.false_positives, 0),
        per_cent(found.true_positives, 2)
    ));
    let rare = odds.beliefs[2];
    said.push(format!(
        "Conclusions change by a factor of at most {}, either way. Where 1 of 100 people was used and an observer knows no more \
         than that, its belief about one of them grows from 1\u{a0}% to at most {}.{}",
        factor_text(odds.epsilon),
        per_cent(rare.at_most, 2),
        if odds.delta > 0.0 {
            format!(
                " δ is the exception: the chance that odds change by more than twice that factor is at most {:e}.",
                odds.larger_change
            )
        } else {
            String::new()
        }
    ));
    said.push(match (odds.delta, people) {
        (0.0, _) => "With δ = 0 there is no exception to this.".to_owned(),
        (delta, None) => format!(
            "δ = {delta:e} is the room in which the claim promises nothing: it should be far smaller than one in the number \
             of people concerned (1 in {} here).",
            thousands((1.0 / delta).floor() as u64)
        ),
        (delta, Some(people)) => {
            let any = (odds.larger_change * people as f64).min(1.0);
            let judged = match any {
                any if any < 0.01 => "that is little",
                any if any < 0.1 => "a smaller δ would be better",
                _ => "a smaller δ should be asked for",
            };
            format!(
                "δ = {delta:e} is the room in which the claim promises nothing. That any one of {} people meets such an \
                 exception has a chance of at most {}: {judged}.",
                thousands(people),
                per_cent(any, 2)
            )
        }
    });
    if odds.right_guesses > 0.99 {
        said.push(
            "With numbers like these an observer may become all but certain: taken alone, this claim protects nobody. It \
             may still describe a careful system, because it is an upper bound; then a smaller one should be proven."
                .to_owned(),
        );
    }
    said
}

fn does_not_say() -> Vec<String> {
    [
        "That anyone is anonymous, or that nothing can be inferred about a person: what follows from other people's data \
         follows with or without that person's own.",
        "What a real attacker reaches: these are upper bounds, and what is known in attacks is usually far less.",
        "Whose data count as one unit. Ask: a person, a person's purchases at one shop, one purchase, one product? For \
         how long? Two releases add up, and so do two shops and two years.",
        "Who the observer may be. A figure against readers of a result says nothing against the one who computed it.",
        "That the claim is kept. It should be recomputed from what was released, and tested.",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The explanation for a terminal.
fn text(explanation: &Explanation) -> String {
    let Explanation { odds, says, does_not_say, .. } = explanation;
    let mut text = format!("ε = {}, δ = {}\n", odds.epsilon, small(odds.delta));
    let list = |text: &mut String, heading: &str, sentences: &[String]| {
        let _ = writeln!(text, "\n{heading}");
        for sentence in sentences {
            let _ = writeln!(text, "{}", wrapped(sentence));
        }
    };
    list(&mut text, "What the claim says", says);
    let _ = writeln!(text, "\nWhat may become of a belief that someone's data were used");
    let _ = writeln!(text, "  {:>8}   {:>16}   {:>16}", "before", "after, at most", "after, at least");
    for belief in &odds.beliefs {
        // The lower bound is rounded down.
        let least = (belief.at_least * 1e5).floor() / 1e3;
        let least = format!("{least:.3} %");
        let _ =
            writeln!(text, "  {:>8}   {:>16}   {least:>16}", per_cent(belief.before, 1), per_cent(belief.at_most, 3));
    }
    let _ = writeln!(text, "\nWhat can be found, by how many are accused wrongly");
    for found in &odds.found {
        let _ = writeln!(
            text,
            "  {:>6} wrongly accused: at most {} found",
            per_cent(found.false_positives, 1),
            per_cent(found.true_positives, 2)
        );
    }
    list(&mut text, "What it does not say", does_not_say);
    text.trim_end().to_owned()
}

fn small(delta: f64) -> String {
    if delta == 0.0 { "0".to_owned() } else { format!("{delta:e}") }
}

/// A list item of at most 100 columns.
fn wrapped(sentence: &str) -> String {
    let mut lines = vec![String::from("  *")];
    for word in sentence.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.chars().count() + 1 + word.chars().count() > 100 {
            lines.push(format!("    {word}"));
        } else {
            line.push(' ');
            line.push_str(word);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_that_are_none_are_refused_by_name() {
        for epsilon in [-0.1, f64::NAN, f64::INFINITY] {
            assert!(matches!(explain(epsilon, 1e-6, None), Err(ExplainError::Epsilon(_))));
        }
        for delta in [1.0, -1e-9, 2.0, f64::NAN] {
            assert!(matches!(explain(1.0, delta, None), Err(ExplainError::Delta(_))));
        }
    }

    #[test]
    fn the_words_carry_the_numbers() {
        let text = text(&explain(1.0, 1e-6, Some(4_000)).unwrap()).replace('\u{a0}', " ");
        for expected in ["73.11 %", "2.72", "2.673 %", "4,000 people", "2e-6", "0.80 %: that is little"] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
        assert!(!text.contains("all but certain"));
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn a_claim_that_protects_nobody_is_called_so() {
        let said = explain(8.0, 1e-6, None).unwrap().says.join(" ");
        assert!(said.contains("all but certain"), "{said}");
        let said = explain(1.0, 1e-3, Some(1_000_000)).unwrap().says.join(" ");
        assert!(said.contains("a smaller δ should be asked for"), "{said}");
    }

    #[test]
    fn without_delta_there_is_no_exception() {
        let said = explain(0.0, 0.0, None).unwrap().says.join(" ");
        assert!(said.contains("no exception") && said.contains("50.00\u{a0}%"), "{said}");
    }
}
