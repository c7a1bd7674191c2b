//! `forecastle-audit explain` as a user and as a script call it.

mod support;

use serde_json::Value;
use support::{audit, stderr, stdout};

#[test]
fn a_claim_is_explained_in_words_and_numbers() {
    let output = audit(&["explain", "--epsilon", "1", "--delta", "1e-6", "--people", "50000"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let said = stdout(&output);
    for part in ["What the claim says", "73.11", "50,000 people", "What it does not say", "anonymous"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn json_holds_odds_and_sentences() {
    let output = audit(&["explain", "--epsilon", "0.5", "--delta", "0", "--format", "json"]);
    let explained: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    let right = explained["right_guesses"].as_f64().expect("a share");
    assert!((right - 0.622_459).abs() < 1e-6, "{right}");
    assert_eq!(explained["larger_change"], 0.0);
    assert!(explained["says"].as_array().is_some_and(|said| said.len() >= 4));
    assert!(explained.get("people").is_none());
}

#[test]
fn impossible_claims_are_refused_by_name() {
    for (epsilon, delta, named) in [
        ("-1", "1e-6", "--epsilon"),
        ("inf", "1e-6", "--epsilon"),
        ("NaN", "0", "--epsilon"),
        ("1", "1", "--delta"),
        ("1", "-0.1", "--delta"),
    ] {
        let output = audit(&["explain", "--epsilon", epsilon, "--delta", delta]);
        assert_eq!(output.status.code(), Some(2), "{epsilon} {delta}");
        assert!(stderr(&output).contains(named), "{}", stderr(&output));
        assert!(stdout(&output).is_empty());
    }
}
