//! Answers for a person: what is claimed, and what it lets an attacker conclude.

use std::fmt::Write as _;

use forecastle_crypto::dp::{accountant::Basis, unit::PrivacyUnit};

use super::{Answer, Change, Draw, Mechanism, ProfileAnswer, Question};

/// One answer.
pub(super) fn answer(answer: &Answer) -> String {
    let question = &answer.question;
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "Protected: {}.", subject(question, answer.sigma()));
    for note in notes(question) {
        let _ = writeln!(text, "{note}");
    }
    if let Some(sigma) = answer.sigma_found {
        let _ = writeln!(text, "Least noise that keeps this: --sigma {}", shown(sigma));
    }
    let basis = match answer.basis {
        Basis::ClosedForm => "closed form",
        Basis::LossDistribution => "privacy loss distributions, upper bound",
        Basis::Renyi => "Rényi divergences, upper bound: nothing better is known of this mechanism",
    };
    let delta = answer.delta();
    let _ = writeln!(text, "ε = {:.4} at δ = {delta:e} ({basis})", round_up(answer.epsilon));
    match answer.epsilon_rdp {
        _ if answer.basis == Basis::Renyi => {}
        Some(rdp) => {
            let _ = writeln!(text, "ε = {:.4} by Rényi divergences (second opinion, looser)", round_up(rdp));
        }
        None => {
            let _ = writeln!(text, "Rényi divergences give no second opinion here.");
        }
    }
    // e^ε/(1 + e^ε), rounded up as ε is.
    let posterior = 100.0 / (1.0 + (-answer.epsilon).exp());
    let shown = (posterior * 100.0).ceil() / 100.0;
    let _ = write!(
        text,
        "In words: whoever was 50 % sure that the data were used can become at most {shown:.2} % sure from what was released; \
         that the odds change by more than twice as much has a chance of at most {:e}.",
        2.0 * delta
    );
    if answer.epsilon > 10.0 {
        let _ = write!(
            text,
            "\nThat is next to no protection: more noise, fewer steps or a lower sampling rate would help."
        );
    }
    text
}

/// A profile as a table.
pub(super) fn profile(answer: &ProfileAnswer) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "Protected: {}.", subject(&answer.question, answer.question.sigma));
    for note in notes(&answer.question) {
        let _ = writeln!(text, "{note}");
    }
    let _ = writeln!(text, "{:>12}  δ at most", "ε");
    for point in &answer.profile {
        let _ = writeln!(text, "{:12.4}  {:.4e}", round_up(point.epsilon), up_to_four_digits(point.delta));
    }
    let _ = write!(text, "Between two rows δ is at most what linear interpolation in e^ε gives.");
    text
}

/// Four decimals, never less than the number itself.
pub(super) fn round_up(value: f64) -> f64 {
    (value * 1e4).ceil() / 1e4
}

/// σ as it was given, or, where it was found, rounded up in its seventh digit.
fn shown(sigma: f64) -> String {
    let unit = 10_f64.powi(sigma.log10().floor() as i32 - 6);
    let rounded = (sigma / unit).ceil() * unit;
    let short = format!("{:.*}", usize::try_from(-unit.log10().round() as i32).unwrap_or(0), rounded);
    if format!("{sigma}").len() <= short.len() { format!("{sigma}") } else { short }
}

/// A number that prints with five significant digits to no less than itself.
fn up_to_four_digits(value: f64) -> f64 {
    if value > 0.0 { value * (1.0 + 5.1e-5) } else { 0.0 }
}

fn subject(question: &Question, sigma: Option<f64>) -> String {
    let times = |one: &str, many: &str| match question.steps.unwrap_or(1) {
        1 => format!("1 {one}"),
        steps => format!("{steps} {many}"),
    };
    let sigma = sigma.map_or_else(String::new, shown);
    let steps = times("step", "steps");
    let touched = question.touched.unwrap_or(1);
    if question.event.is_some() {
        return format!("whom the event's own terms say, over {}", times("such event", "such events"));
    }
    if let Some(unit) = question.unit {
        let who = match (unit, touched) {
            (PrivacyUnit::Customer, 1) => "a customer that touches one series".to_owned(),
            (PrivacyUnit::Customer, touched) => format!("a customer that touches at most {touched} series"),
            (PrivacyUnit::Series, _) => "one product's series".to_owned(),
            (PrivacyUnit::Merchant, _) => "everything one merchant contributes".to_owned(),
        };
        let each = if question.merchants.unwrap_or(1) > 1 {
            format!(" at each of {} merchants", question.merchants.unwrap_or(1))
        } else {
            String::new()
        };
        return format!("{who}{each}, over {steps} with noise of {sigma} clip norms");
    }
    let records = match (touched, question.change.unwrap_or(Change::Removed)) {
        (1, Change::Removed) => "one record, there or not".to_owned(),
        (1, Change::Replaced) => "one record, exchanged for another".to_owned(),
        (n, Change::Removed) => format!("up to {n} records, there or not"),
        (n, Change::Replaced) => format!("up to {n} records, exchanged for others"),
    };
    let releases = times("release", "releases");
    match question.mechanism {
        Some(Mechanism::Gaussian) | None => format!("{records}, over {steps} with noise of {sigma} clip norms"),
        Some(Mechanism::ShuffledGaussian) => format!(
            "one record, exchanged for another, over {} with noise of {sigma} clip norms",
            times("shuffled epoch", "shuffled epochs")
        ),
        Some(Mechanism::FixedSizeGaussian) => {
            format!("one record, exchanged for another, over {steps} with noise of {sigma} clip norms")
        }
        Some(Mechanism::Laplace) => {
            format!("whatever moves one number by its sensitivity, over {releases} with scale {sigma} sensitivities")
        }
        Some(Mechanism::DiscreteGaussian | Mechanism::Skellam) => format!(
            "whatever moves {} by {} units, over {releases} with noise of {sigma} units{}",
            match question.dimension.unwrap_or(1) {
                1 => "an integer".to_owned(),
                n => format!("{n} integers"),
            },
            question.sensitivity.unwrap_or(0.0),
            question.shares.map_or_else(String::new, |shares| format!(" in each of {shares} shares")),
        ),
        Some(Mechanism::Concentrated) => {
            format!("whom the mechanism's own terms say, over {releases} of ρ = {}", question.rho.unwrap_or(0.0))
        }
    }
}

/// What the figure leaves out or assumes.
fn notes(question: &Question) -> Vec<&'static str> {
    let mut notes = Vec::new();
    if question.unit == Some(PrivacyUnit::Merchant) {
        notes.push("No amplification by sampling is counted, because the server chooses the cohort.");
    }
    if question.merchants.unwrap_or(1) > 1 {
        notes.push(match question.noise.unwrap_or(Draw::Shared) {
            Draw::Shared => "The noise is drawn once for the sum over all merchants.",
            Draw::PerMerchant => "Every merchant draws its own full noise.",
        });
    }
    match question.mechanism {
        Some(Mechanism::Gaussian) if question.q.is_some_and(|q| q < 1.0) => {
            notes.push(
                "Counts only if every record enters each step by its own coin. Shuffled or fixed-size batches cost more: see --mechanism.",
            );
        }
        Some(Mechanism::ShuffledGaussian) => {
            notes.push("No amplification by shuffling is counted: none of this kind is proven here.");
        }
        _ => {}
    }
    notes
}
