//! `forecastle-audit report` as a user and as a script call it.

mod support;

use std::path::Path;

use forecastle_crypto::dp::{
    canaries::{Look, lower_bound},
    plan::PrivacyPlan,
};
use serde_json::Value;
use support::{DIMENSION, PLAN, alter, audit, stderr, stdout, text, write_log};

fn honest() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    write_log(&folder.path().join("log"), PLAN, |_| ());
    folder
}

fn report(folder: &Path, name: &str, more: &[&str]) -> String {
    let (log, out) = (folder.join("log"), folder.join(name));
    let output = audit(&[&["report", text(&log), "--out", text(&out)], more].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("(verified)"), "{}", stdout(&output));
    std::fs::read_to_string(out).expect("a report")
}

#[test]
fn the_page_stands_alone_and_escapes_what_others_wrote() {
    let folder = honest();
    let page = report(folder.path(), "report.html", &[]);
    assert!(!page.contains("<script") && page.contains("&#60;script&#62;"), "a server's words are text");
    for loading in ["src=", "href=\"http", "url(", "@import", "<link", "<iframe"] {
        assert!(!page.contains(loading), "{loading}");
    }
    assert!(page.contains("default-src 'none'"));
    for heading in
        ["What was promised", "What was not protected", "Art. 17", "§ 1798.105", "NIST SP 800-226", "Annex A"]
    {
        assert!(page.contains(heading), "{heading}");
    }
    assert!(page.contains("This is not a claim of anonymity"));
    assert!(page.contains("<b>Not run.</b>"));
    assert_eq!(page.matches("<svg").count(), 3);
    assert!(!page.contains("NaN") && !page.contains("inf "), "every figure is a number");
}

#[test]
fn json_agrees_with_the_plan_and_itself() {
    let folder = honest();
    let facts: Value = serde_json::from_str(&report(folder.path(), "report.json", &[])).expect("JSON");
    let rows = PrivacyPlan::parse(PLAN.as_bytes()).expect("a plan").epsilon_rows(DIMENSION, 2).expect("rows");
    let of = |position: usize| facts["adversaries"][position]["spent"]["epsilon"].as_f64().expect("ε");
    assert_eq!([of(0), of(1), of(2)], [rows.published.epsilon, rows.server.epsilon, rows.everyone_else.epsilon]);
    // Curves pass through the rows: the noise of each adversary is the plan's.
    let after = facts["over_rounds"].as_array().expect("a list").iter().find(|p| p["rounds"] == 2).expect("two rounds");
    assert_eq!(after["published"].as_f64(), Some(rows.published.epsilon));
    assert_eq!(after["everyone_else"].as_f64(), Some(rows.everyone_else.epsilon));
    // One merchant, one period: nothing added up yet.
    assert_eq!(facts["several_merchants"][0]["server"]["epsilon"].as_f64(), Some(rows.server.epsilon));
    assert_eq!(facts["several_periods"][0]["server"]["epsilon"].as_f64(), Some(rows.server.epsilon));
    let merchants = facts["several_merchants"].as_array().expect("a list");
    assert_eq!(merchants.last().expect("rows")["merchants"], 4, "no more merchants than there are");
    assert!(merchants.windows(2).all(|w| w[0]["server"]["epsilon"].as_f64() < w[1]["server"]["epsilon"].as_f64()));
    // A profile that falls, and odds no looser than (ε, δ) alone allows.
    let profile = facts["adversaries"][1]["profile"].as_array().expect("a list");
    assert!(profile.windows(2).all(|w| w[0]["delta"].as_f64() >= w[1]["delta"].as_f64()));
    let right = facts["adversaries"][1]["odds"]["right_guesses"].as_f64().expect("a share");
    let alone = 1.0 / (1.0 + (-rows.server.epsilon).exp()) + 1e-6;
    assert!(right > 0.5 && right < alone, "{right} {alone}");
}

#[test]
fn csv_has_a_row_for_each_merchant_and_no_formula() {
    let folder = honest();
    let table = report(folder.path(), "spending.csv", &[]);
    let mut reader = csv::Reader::from_reader(table.as_bytes());
    let heads = reader.headers().expect("heads").clone();
    let at = |name: &str| heads.iter().position(|head| head == name).expect("a column");
    let rows: Vec<_> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), 4);
    for row in &rows {
        assert_eq!(&row[at("charges_in_log")], "2");
        assert!(row[at("epsilon_server")].parse::<f64>().expect("a number") > 0.5);
        assert!(row[at("software")].starts_with("'="), "a spreadsheet must not compute {:?}", &row[at("software")]);
    }
}

#[test]
fn the_series_unit_says_what_follows_for_persons() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = PLAN.replace("unit = \"customer\"", "unit = \"series\"");
    write_log(&folder.path().join("log"), &plan, |_| ());
    let page = report(folder.path(), "report.html", &[]);
    assert!(page.contains("The claim protects a series, not a person") && page.contains("several series"));
    let facts: Value = serde_json::from_str(&report(folder.path(), "report.json", &[])).expect("JSON");
    let persons = facts["several_series"].as_array().expect("a list");
    let series = facts["adversaries"][1]["spent"]["epsilon"].as_f64();
    assert!(persons[0]["server"]["epsilon"].as_f64() > series, "a person replaces a series, which costs more");
    assert_eq!(facts["several_merchants"], serde_json::json!([]));
}

#[test]
fn plans_with_local_steps_are_described_as_what_they_are() {
    for (unit, noise, trust, mechanism) in [
        (
            "customer",
            "local",
            "every step at a merchant carries all the noise",
            "stochastic gradient descent at each merchant",
        ),
        ("merchant", "distributed", "at most 1 of a round&#39;s survivors", "whole update is clipped to norm 0.5"),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let plan =
            PLAN.replace("version = 1", "version = 2").replace("unit = \"customer\"", &format!("unit = \"{unit}\""));
        let local =
            format!("[local]\nnoise = \"{noise}\"\nsteps = 3\nlearning-rate = 0.1\nupdate-clip = 0.5\n[rounds]");
        let plan = plan.replace("[rounds]", &local).replace("noise-multiplier = 14.0", "noise-multiplier = 40.0");
        write_log(&folder.path().join("log"), &plan, |_| ());
        let page = report(folder.path(), "report.html", &[]);
        assert!(page.contains(trust), "{unit}: {trust}");
        assert!(page.contains(mechanism), "{unit}: {mechanism}");
        let facts: Value = serde_json::from_str(&report(folder.path(), "report.json", &[])).expect("JSON");
        let (local, whole) = (noise == "local", facts["promise"]["clip"].as_f64());
        assert_eq!(whole, Some(if local { 0.1 } else { 0.5 }), "σ is a multiple of it");
        let of = |row: usize| facts["adversaries"][row]["spent"]["epsilon"].as_f64().expect("ε");
        assert_eq!(of(1) == of(2), local, "nobody else's noise is counted where each merchant adds all of it");
    }
}

#[test]
fn findings_are_shown_and_decide_the_exit_code() {
    let folder = honest();
    alter(&folder.path().join("log"), "\"order-lines\":8", "\"order-lines\":9");
    let out = folder.path().join("report.html");
    let output = audit(&["report", text(&folder.path().join("log")), "--out", text(&out)]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stdout(&output).contains("NOT VERIFIED: 4 findings"), "{}", stdout(&output));
    let page = std::fs::read_to_string(out).expect("a report");
    assert!(page.contains("not verified") && page.contains("contribution-bounds"));
    assert!(page.contains("no figure in this report should be relied on"));
}

const CANARIES: &str = r#"{"version": 1, "unit": "customer", "epsilon": 1.0, "delta": 1e-6, "epsilon_lower_bound": BOUND,
    "confidence": 0.95, "canaries": 1000, "looks": [{"guesses": 1000, "correct": 540}, {"guesses": 120, "correct": 83}],
    "rounds": 40, "noise_multiplier": 31.0, "plan_noise_multiplier": 14.0, "plan_sha256": "PLAN", "own_series": 0,
    "software": "forecastle 0.1.0", "at_ms": 1700000000000}"#;

fn canaries(plan: &str) -> String {
    let looks = [Look { guesses: 1000, correct: 540 }, Look { guesses: 120, correct: 83 }];
    let bound = lower_bound(1000, &looks, 1e-6, 0.95);
    CANARIES.replace("PLAN", plan).replace("BOUND", &bound.to_string())
}

#[test]
fn canaries_are_printed_beside_the_claim() {
    let folder = honest();
    let facts: Value = serde_json::from_str(&report(folder.path(), "report.json", &[])).expect("JSON");
    let plan = facts["promise"]["plan_sha256"].as_str().expect("the plan's digest").to_owned();
    let file = folder.path().join("canaries.json");
    let page_with = |canaries: String| {
        std::fs::write(&file, canaries).expect("written");
        report(folder.path(), "report.html", &["--canaries", text(&file)])
    };
    let another = "0".repeat(64);
    let page = page_with(canaries(&another));
    assert!(page.contains("The claim is not refuted") && page.contains("0.409"), "the bound is shown");
    assert!(page.contains("another plan") && page.contains("no real data beside them"));
    let page = page_with(canaries(&another).replace("\"epsilon\": 1.0", "\"epsilon\": 0.1"));
    assert!(page.contains("The claim is refuted"));
    let page = page_with(canaries(&plan).replace("\"own_series\": 0", "\"own_series\": 84"));
    assert!(page.contains("made from this log&#39;s plan") || page.contains("made from this log's plan"));
    assert!(page.contains("beside 84 real series") && page.contains("stays with the merchant"));
    let page = page_with(canaries(&another).replace("\"customer\"", "\"series\""));
    assert!(page.contains("do not stand for what this federation promises"));
}

#[test]
fn refusals_leave_the_old_file_alone() {
    let folder = honest();
    let (log, out) = (folder.path().join("log"), folder.path().join("report.html"));
    std::fs::write(&out, "the old report").expect("written");
    let bad = folder.path().join("canaries.json");
    std::fs::write(&bad, canaries(&"0".repeat(64)).replace("0.95", "1.5")).expect("written");
    let nowhere = folder.path().join("nowhere");
    let plain = folder.path().join("report");
    for (arguments, named) in [
        (vec!["report", text(&log), "--out", text(&out), "--canaries", text(&bad)], "confidence"),
        (vec!["report", text(&nowhere), "--out", text(&out)], "nowhere"),
        (vec!["report", text(&log), "--out", text(&plain)], "--format"),
        (vec!["report", text(&log), "--out", "/nowhere/at/all.html"], "/nowhere/at/all.html"),
    ] {
        let output = audit(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stderr(&output).contains(named), "{named}: {}", stderr(&output));
    }
    assert_eq!(std::fs::read_to_string(&out).expect("still there"), "the old report");
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    left.sort();
    assert_eq!(left, ["canaries.json", "log", "report.html"], "nothing is left beside");
}
