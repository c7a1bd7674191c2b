//! A merchant's process is killed (-9) at every named point, and never spends less than it sent.
//!
//! The real program, stopped exactly at a point by a feature that only tests build in, and killed from outside. Before
//! `charged`, nothing may have left; from there on, the charge must be on disk whatever the server saw. After every
//! kill the same folder goes on.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::{collections::BTreeSet, path::Path};

use forecastle_client::{
    fault::POINTS,
    federation::{budget::BudgetFolder, own_ledger::OwnLedger},
};
use forecastle_crypto::{
    dp::{
        filter::{self, Budget, MerchantPolicy},
        plan::PrivacyPlan,
    },
    ledger::entry::{Charge, Entry},
};
use forecastle_tests::{MERCHANTS, merchant::Merchant, plan, process::Process, server::Federation};

/// The merchant that is killed.
const KILLED: &str = "shop-4";
/// Points of joining; the others are a round's.
const JOINING: [&str; 3] = ["enrolled", "reserving", "reserved"];

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_forecastle-stoppable"))
}

/// Enough rounds for every kill, also where a busy machine misses some.
fn long_plan() -> PrivacyPlan {
    let mut plan = plan(60, 6_000);
    plan.step.noise_multiplier = 24.0;
    plan
}

/// Runs `arguments` up to `point` and kills the process there.
async fn killed_at(merchant: &Merchant, arguments: &[&str], point: &str) {
    let (folder, point) = (merchant.folder.clone(), point.to_owned());
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut process = Process::start(program(), &folder, &arguments, Some(&point));
        process.wait_for(&format!("stopped at {point}"));
        process.kill();
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

/// Runs `arguments` to their end.
async fn completed(merchant: &Merchant, arguments: &[&str]) -> Vec<String> {
    let folder = merchant.folder.clone();
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Process::start(program(), &folder, &arguments, None).end()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn reservations(merchant: &Merchant) -> usize {
    BudgetFolder::of(&merchant.home()).unwrap().reservations().unwrap().len()
}

/// This merchant's charges in the federation's log.
async fn logged(federation: &Federation) -> Vec<Charge> {
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    let own = entries.into_iter().filter_map(|entry| match entry {
        Entry::Charge(signed) if signed.charge.merchant.as_str() == KILLED => Some(signed.charge),
        _ => None,
    });
    own.collect()
}

/// The own ledger holds every charge of the log, no round twice, and the budget counts all of it.
fn never_less(merchant: &Merchant, logged: &[Charge], after: &str) -> Vec<Charge> {
    let own = OwnLedger::open(&merchant.folder).unwrap().charges();
    for charge in logged {
        assert!(own.contains(charge), "after {after}: round {} is in the log and not in the own ledger", charge.round);
    }
    let rounds: BTreeSet<(u64, u64)> = own.iter().map(|charge| (charge.run, charge.round)).collect();
    assert_eq!(rounds.len(), own.len(), "after {after}: a round was charged twice");
    let home = merchant.home();
    let key = home.membership().unwrap().server_key;
    let reserved = BudgetFolder::of(&home).unwrap().reservations().unwrap();
    let balances = Budget::new(key, &reserved, &own).balances(&MerchantPolicy::default()).unwrap();
    let [balance] = &balances[..] else { panic!("after {after}: {balances:?}") };
    let sent = filter::spent(logged.iter().map(|charge| &charge.event), balance.delta).unwrap();
    assert!(balance.spent >= sent, "after {after}: {} spent, {sent} sent", balance.spent);
    assert!(balance.reserved >= balance.spent && balance.reserved <= balance.cap, "after {after}: {balance:?}");
    own
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_killed_at_any_point_never_counts_less_than_it_sent() {
    let federation = Federation::found(&long_plan()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut others = Vec::new();
    for number in 0..MERCHANTS - 1 {
        let merchant = Merchant::new(folder.path(), &format!("shop-{number}"));
        merchant.join(&federation.invite().await.to_string()).await.unwrap();
        merchant.import(number);
        others.push(merchant);
    }
    let merchant = Merchant::new(folder.path(), KILLED);
    let invitation = folder.path().join("invitation");
    std::fs::write(&invitation, federation.invite().await.to_string()).unwrap();
    let join = ["join", "--invitation-file", invitation.to_str().unwrap(), "--merchant", KILLED];

    // Joining: not a member before the schedule is reserved, and reserved once however often it is tried.
    for (point, reserved) in JOINING.iter().zip([0, 0, 1]) {
        killed_at(&merchant, &join, point).await;
        assert!(!merchant.home().is_joined(), "joined after {point}");
        assert_eq!(reservations(&merchant), reserved, "after {point}");
    }
    completed(&merchant, &join).await;
    assert!(merchant.home().is_joined());
    assert_eq!(reservations(&merchant), 1);
    merchant.import(MERCHANTS - 1);

    // A round. The others go on all the while.
    let _trainings: Vec<_> = others.iter().map(|other| other.train()).collect();
    let train = ["train", "--format", "json", "--patience", "30"];
    let mut before = BTreeSet::new();
    let charged_from = POINTS.iter().position(|point| *point == "charged").unwrap();
    for (index, point) in POINTS.iter().enumerate().filter(|(_, point)| !JOINING.contains(point)) {
        killed_at(&merchant, &train, point).await;
        let logged = logged(&federation).await;
        let own = never_less(&merchant, &logged, point);
        let rounds: BTreeSet<u64> = own.iter().map(|charge| charge.round).collect();
        let fresh = rounds.difference(&before).count();
        assert!(before.is_subset(&rounds), "after {point}: a charge was forgotten");
        if index >= charged_from {
            assert!(fresh >= 1, "after {point}: the round it was killed in is not charged");
        } else {
            // Every new charge belongs to a round that it lived through: nothing of the last one had left.
            let sent = logged.iter().filter(|charge| !before.contains(&charge.round)).count();
            assert_eq!(fresh, sent, "after {point}: charged without having been sent");
        }
        before = rounds;
    }

    // What was promised when joining still holds, with the cost of rounding in it, and the run goes on.
    assert_eq!(reservations(&merchant), 2, "the schedule, and the same with the model's size");
    completed(&merchant, &["train", "--once", "--patience", "30"]).await;
    let logged = logged(&federation).await;
    let own = never_less(&merchant, &logged, "the last round");
    assert!(own.len() > before.len() && !logged.is_empty());
    let shown = completed(&merchant, &["privacy", "show", "--format", "json"]).await;
    let shown: serde_json::Value = serde_json::from_str(&shown.concat()).unwrap();
    assert_eq!(shown["budgets"][0]["rounds-charged"], own.len());
    assert_eq!(shown["budgets"][0]["rounds-reserved"], 60);
}
