//! `forecastle-audit verify` as a user and as a script call it.

mod support;

use forecastle_crypto::ledger::entry::Entry;
use serde_json::Value;
use support::{PLAN, alter, audit, stderr, stdout, text, write_log};

fn judged(change: impl FnMut(&mut Entry)) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    write_log(folder.path(), PLAN, change);
    let output = audit(&["verify", text(folder.path())]);
    (output.status.code(), format!("{}{}", stdout(&output), stderr(&output)))
}

#[test]
fn an_honest_log_is_verified() {
    let (code, said) = judged(|_| ());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("VERIFIED: 36 rules hold") && said.contains("shop-4"), "{said}");
    assert!(said.contains("second opinion"), "{said}");
}

#[test]
fn every_class_has_its_exit_code() {
    // Privacy: a charge for more order lines than planned.
    let (code, said) = judged(|entry| {
        if let Entry::Charge(signed) = entry
            && signed.charge.round == 2
            && signed.charge.merchant.as_str() == "shop-3"
        {
            signed.charge.bounds.order_lines = 9;
        }
    });
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("entry 12, rule contribution-bounds (privacy)"), "{said}");
    // Integrity: a model that does not follow.
    let (code, said) = judged(|entry| {
        if let Entry::RoundClosed(closed) = entry {
            closed.terms.model_version = 7;
        }
    });
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("model-lineage (integrity)"), "{said}");
    // Order: an abandoned round that names what is no charge of its own.
    let (code, said) = judged(|entry| {
        if let Entry::RoundAbandoned(gone) = entry {
            gone.charges.push(5);
        }
    });
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("abandoned-charges (order)"), "{said}");
}

#[test]
fn what_cannot_be_judged_has_code_2_and_a_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let missing = audit(&["verify", text(&folder.path().join("nowhere"))]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("federation.json"), "{}", stderr(&missing));

    write_log(folder.path(), PLAN, |_| ());
    alter(folder.path(), "sampling-rate = 1.0", "sampling-rate = 1.5");
    let plan = audit(&["verify", text(folder.path())]);
    assert_eq!(plan.status.code(), Some(2));
    assert!(stderr(&plan).contains("step.sampling-rate"), "{}", stderr(&plan));
}

#[test]
fn a_flipped_bit_is_an_integrity_finding() {
    let folder = tempfile::tempdir().expect("a folder");
    write_log(folder.path(), PLAN, |_| ());
    alter(folder.path(), "\"order-lines\":8", "\"order-lines\":9");
    let output = audit(&["verify", text(folder.path()), "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let verdict: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    let rules: Vec<&str> =
        verdict["findings"].as_array().expect("a list").iter().filter_map(|f| f["rule"].as_str()).collect();
    assert_eq!(rules, ["tree", "charge-signature", "contribution-bounds", "offered-head"]);
}

#[test]
fn json_holds_what_the_text_says() {
    let folder = tempfile::tempdir().expect("a folder");
    write_log(folder.path(), PLAN, |_| ());
    let output = audit(&["verify", text(folder.path()), "--format", "json"]);
    let verdict: Value = serde_json::from_str(stdout(&output)).expect("JSON");
    assert_eq!(verdict["findings"], serde_json::json!([]));
    assert_eq!((&verdict["rounds-closed"], &verdict["rounds-abandoned"]), (&2.into(), &1.into()));
    let rows = &verdict["merchants"][0]["epsilon"];
    let (pld, rdp) = (rows["server"]["epsilon"].as_f64(), rows["server"]["epsilon_rdp"].as_f64());
    assert!(pld.expect("ε") > 0.5 && pld < rdp, "{rows}");
}

#[test]
fn help_documents_the_exit_codes() {
    let help = audit(&["verify", "--help"]);
    for line in ["0  verified", "1  privacy", "2  the folder could not be judged", "3  integrity", "4  order"] {
        assert!(stdout(&help).contains(line), "{line}");
    }
}
