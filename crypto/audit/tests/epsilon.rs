//! `forecastle-audit epsilon` as a user and as a script call it.

use std::{
    io::Write,
    process::{Command, Output},
};

use serde_json::{Value, json};

fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forecastle-audit")).args(arguments).output().expect("the binary was built")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

fn batch_file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

const SERIES: [&str; 11] =
    ["epsilon", "--unit", "series", "--q", "0.01", "--sigma", "1", "--steps", "1000", "--delta", "1e-5"];

#[test]
fn json_has_the_promised_keys() {
    let output = audit(&[&SERIES[..], &["--format", "json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    assert_eq!(answer["unit"], "series");
    assert_eq!(answer["delta"], 1e-5);
    let (pld, rdp) = (answer["epsilon"].as_f64().expect("ε"), answer["epsilon_rdp"].as_f64().expect("RDP"));
    assert!(pld > 1.82 && pld < rdp && rdp < 2.2, "{answer}");
}

#[test]
fn text_says_what_epsilon_means() {
    let output = audit(&SERIES);
    assert!(output.status.success());
    assert!(stdout(&output).contains("50 % sure") && stdout(&output).contains("ε = 1.82"), "{}", stdout(&output));
}

#[test]
fn a_batch_comes_back_in_order_with_answers_added() {
    let questions = json!([
        {"unit": "series", "q": 0.01, "sigma": 1.0, "steps": 1000, "delta": 1e-5},
        {"unit": "customer", "q": 0.05, "sigma": 8.0, "steps": 500, "delta": 1e-6, "touched": 3},
        {"unit": "merchant", "sigma": 20, "steps": 1000, "delta": 1e-6},
    ]);
    let file = batch_file(&questions.to_string());
    let output = audit(&["epsilon", "--batch", file.path().to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answers: Vec<Value> = serde_json::from_str(stdout(&output)).expect("a JSON list");
    assert_eq!(answers.len(), 3);
    for (answer, question) in answers.iter().zip(questions.as_array().expect("list")) {
        for (key, value) in question.as_object().expect("object") {
            assert_eq!(answer[key].as_f64(), value.as_f64(), "{key}");
            assert_eq!(answer[key].as_str(), value.as_str(), "{key}");
        }
        assert!(answer["epsilon"].as_f64().expect("ε") > 0.0);
        assert!(answer.get("epsilon_rdp").is_some());
    }
    assert!((answers[2]["epsilon"].as_f64().expect("ε") - 8.306_225_049_954_728).abs() < 1e-9);
}

#[test]
fn bad_input_is_one_sentence_and_exit_code_two() {
    let cases: [(&[&str], &str); 7] = [
        (&["--unit", "series", "--q", "1.5", "--sigma", "1", "--steps", "1", "--delta", "1e-6"], "sampling rate"),
        (&["--unit", "series", "--q", "0.5", "--sigma", "-1", "--steps", "1", "--delta", "1e-6"], "noise multiplier"),
        (&["--unit", "series", "--q", "0.5", "--sigma", "1", "--steps", "0", "--delta", "1e-6"], "at least 1"),
        (&["--unit", "series", "--q", "0.5", "--sigma", "1", "--steps", "1", "--delta", "1"], "δ"),
        (&["--unit", "series", "--sigma", "1", "--steps", "1", "--delta", "1e-6"], "--q"),
        (&["--unit", "merchant", "--q", "0.5", "--sigma", "1", "--steps", "1", "--delta", "1e-6"], "server chooses"),
        (
            &["--unit", "series", "--q", "0.5", "--sigma", "1", "--steps", "1", "--delta", "1e-6", "--touched", "3"],
            "--touched",
        ),
    ];
    for (arguments, expected) in cases {
        let output = audit(&[&["epsilon"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stdout(&output).is_empty());
        let message = stderr(&output);
        assert!(message.contains(expected) && message.trim_end().lines().count() == 1, "{message}");
    }
}

#[test]
fn what_the_parser_refuses_is_exit_code_two_as_well() {
    for arguments in [
        &["epsilon", "--unit", "person", "--q", "0.5", "--sigma", "1", "--steps", "1", "--delta", "1e-6"][..],
        &["epsilon", "--unit", "series"],
        &["epsilon", "--batch", "a.json", "--q", "0.1"],
        &["epsilon", "--unit", "series", "--q", "much", "--sigma", "1", "--steps", "1", "--delta", "1e-6"],
        &["guess"],
    ] {
        let output = audit(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(stdout(&output).is_empty() && !stderr(&output).is_empty());
    }
}

#[test]
fn a_bad_batch_is_refused_whole_and_says_where() {
    let cases = [
        ("no json", "line 1"),
        (r#"[{"unit":"series","q":0.1,"sigma":1,"steps":1,"delta":1e-6,"epsilon":1}]"#, "epsilon"),
        (
            r#"[{"unit":"series","q":0.1,"sigma":1,"steps":1,"delta":1e-6},{"unit":"series","q":0,"sigma":1,"steps":1,"delta":1e-6}]"#,
            "question 2",
        ),
    ];
    for (text, expected) in cases {
        let file = batch_file(text);
        let output = audit(&["epsilon", "--batch", file.path().to_str().expect("UTF-8")]);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(stdout(&output).is_empty() && stderr(&output).contains(expected), "{}", stderr(&output));
    }
    let output = audit(&["epsilon", "--batch", "/nonexistent/questions.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot read"));
}

#[test]
fn help_shows_examples() {
    let output = audit(&["epsilon", "--help"]);
    assert!(output.status.success());
    for expected in ["Examples:", "--touched", "--batch", "clip norm"] {
        assert!(stdout(&output).contains(expected), "{expected} in {}", stdout(&output));
    }
}

#[test]
fn other_peoples_mechanisms_have_answers() {
    let cases: [(&[&str], f64, f64); 5] = [
        (&["--mechanism", "gaussian", "--q", "0.01", "--sigma", "2", "--steps", "2000", "--touched", "5"], 6.15, 6.17),
        // Ten releases of scale 10: pure privacy of ε = 1 at most.
        (&["--mechanism", "laplace", "--sigma", "10", "--steps", "10"], 0.5, 1.001),
        (
            &[
                "--mechanism",
                "skellam",
                "--sigma",
                "100",
                "--sensitivity",
                "19.5",
                "--dimension",
                "1024",
                "--steps",
                "1",
            ],
            0.8,
            0.9,
        ),
        (&["--mechanism", "discrete-gaussian", "--sigma", "1", "--sensitivity", "1", "--steps", "1"], 4.4, 4.6),
        (&["--mechanism", "shuffled-gaussian", "--sigma", "2", "--steps", "1"], 4.8, 5.0),
    ];
    for (arguments, least, greatest) in cases {
        let output = audit(&[&["epsilon"], arguments, &["--delta", "1e-6", "--format", "json"]].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let answer: Value = serde_json::from_str(stdout(&output)).expect("JSON");
        let epsilon = answer["epsilon"].as_f64().expect("ε");
        assert!(epsilon > least && epsilon < greatest, "{answer}");
        assert!(answer["basis"].is_string());
    }
}

#[test]
fn delta_and_sigma_can_be_asked_for() {
    let base = ["epsilon", "--unit", "merchant", "--steps", "1", "--format", "json"];
    let of = |more: &[&str]| -> Value {
        let output = audit(&[&base[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_str(stdout(&output)).expect("JSON")
    };
    // Published: σ = 2.230476271186421 for ε = 2 at δ = 1e-6.
    let sigma = of(&["--epsilon", "2", "--delta", "1e-6"])["sigma"].as_f64().expect("σ");
    assert!((sigma / 2.230_476_271_186_421 - 1.0).abs() < 2e-6);
    let delta = of(&["--epsilon", "2", "--sigma", "2.230476271186421"])["delta"].as_f64().expect("δ");
    assert!((delta / 1e-6 - 1.0).abs() < 1e-6, "{delta}");
}

#[test]
fn a_profile_is_a_falling_list() {
    let output = audit(&[&SERIES[..9], &["--profile", "--format", "json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    let points = answer["profile"].as_array().expect("a list");
    let deltas: Vec<f64> = points.iter().map(|point| point["delta"].as_f64().expect("δ")).collect();
    assert!(deltas.len() > 20 && deltas.windows(2).all(|pair| pair[0] >= pair[1]));
    let text = audit(&[&SERIES[..9], &["--profile"]].concat());
    assert_eq!(stdout(&text).lines().count(), points.len() + 3, "{}", stdout(&text));
    assert_eq!(audit(&[&SERIES[..], &["--profile"]].concat()).status.code(), Some(2), "--delta and --profile");
}

#[test]
fn an_event_file_is_read_as_ledgers_write_it() {
    let event = r#"{"mechanism":"composed","events":[
        {"mechanism":"gaussian","noise_multiplier":20.0},
        {"mechanism":"within_ratio","log_ratio":1e-9,"event":{"mechanism":"customer_step","sampling_rate":0.1,"touched":2,"noise_multiplier":8.0}}]}"#;
    let file = batch_file(event);
    let path = file.path().to_str().expect("UTF-8");
    let output = audit(&["epsilon", "--event", path, "--steps", "40", "--delta", "1e-6", "--format", "json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let answer: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    assert!(answer["epsilon"].as_f64().expect("ε") > 1.0);
    assert_eq!(audit(&["epsilon", "--event", path, "--sigma", "1", "--delta", "1e-6"]).status.code(), Some(2));
    let broken = batch_file(r#"{"mechanism":"gaussian","noise_multiplier":null}"#);
    let output = audit(&["epsilon", "--event", broken.path().to_str().expect("UTF-8"), "--delta", "1e-6"]);
    assert!(output.status.code() == Some(2) && stderr(&output).contains("JSON event"), "{}", stderr(&output));
}
