//! A small honest log with every key at hand, written as a folder; and the auditor as a user calls it.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    path::Path,
    process::{Command, Output},
};

use forecastle_audit::folder::Folder;
use forecastle_crypto::{
    dp::plan::PrivacyPlan,
    identity::{MerchantId, Sha256Digest, Signature, SigningKey, sha256},
    ledger::{
        checkpoint::Checkpoint,
        entry::{Charge, Enrolled, Entry, Founded, RoundAbandoned, RoundClosed, Sampler, SignedCharge},
        merkle::MerkleTree,
        tiles,
    },
    secagg::{
        ParticipantNumber, ParticipantSet, RoundTerms,
        messages::{CONSISTENCY_CONTEXT, consistency_message},
    },
};

pub const KEY_NAME: &str = "market.example";
pub const DIMENSION: u32 = 100;
const ROUNDS: u64 = 2;

pub const PLAN: &str = r#"
version = 1
name = "audited"
[privacy]
unit = "customer"
delta = 1e-6
epsilon-cap = 4.0
[bounds]
order-lines = 8
series = 2
units = 40.0
[step]
clip = 0.1
noise-multiplier = 14.0
sampling-rate = 1.0
windows-per-series = 4
assumed-series = 1000
series-per-merchant-max = 200
[rounds]
count = 8
cohort-max = 4
survivors-min = 4
colluders-assumed = 1
period-start = "2024-01-01"
period-end = "2025-06-30"
submit-after-ms = 0
phase-deadline-ms = 60000
[integers]
units-per-clip = 4096
bits = 30
[optimizer]
rule = "fedadam"
learning-rate = 0.01
beta1 = 0.9
beta2 = 0.99
epsilon = 1e-8
cosine = true
averaging = 0.9
"#;

pub fn audit(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forecastle-audit")).args(arguments).output().expect("the binary was built")
}

pub fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

pub fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

fn federation() -> SigningKey {
    SigningKey::danger_from_seed(&[200; 32]).expect("32 bytes")
}

fn identity(k: u8) -> SigningKey {
    SigningKey::danger_from_seed(&[k; 32]).expect("32 bytes")
}

fn shop(k: u8) -> MerchantId {
    format!("shop-{k}").parse().expect("an id")
}

fn model(version: u64) -> Sha256Digest {
    sha256(format!("model {version}").as_bytes())
}

fn charge(plan: &PrivacyPlan, text: &str, round: u64, k: u8) -> Charge {
    let sigma = plan.effective_noise_multiplier(DIMENSION).expect("a grid");
    Charge {
        merchant: shop(k),
        run: 1,
        round,
        sid: sha256(&round.to_be_bytes()),
        plan_sha256: PrivacyPlan::digest_of(text.as_bytes()),
        unit: plan.privacy.unit,
        relation: plan.relation(),
        bounds: plan.bounds,
        period_start: plan.rounds.period_start,
        period_end: plan.rounds.period_end,
        noise: plan.noise_mode(),
        event: plan.step_event(sigma).expect("an event"),
        clip: plan.noise_clip(),
        units_per_clip: u64::from(plan.integers.units_per_clip),
        noise_multiplier: plan.step.noise_multiplier,
        variance_local: plan.local_variance().expect("a variance"),
        survivors_min: plan.rounds.survivors_min,
        colluders_assumed: plan.rounds.colluders_assumed,
        sampling_rate: plan.step.sampling_rate,
        sampler: Sampler::Poisson,
        dimension: DIMENSION,
        delta: plan.privacy.delta,
        epsilon_cap: plan.privacy.epsilon_cap,
        charged_before: u32::try_from(round - 1).expect("few rounds"),
        noise_source: "forecastle-exact-discrete-gaussian".into(),
        software: "=forecastle test".into(),
        masked_sha256: sha256(&[round.to_be_bytes().as_slice(), &[k]].concat()),
        at_ms: 1_700_000_000_000 + round,
    }
}

fn closed(plan: &PrivacyPlan, text: &str, round: u64, tree: &MerkleTree, charges: Vec<u64>) -> RoundClosed {
    let everyone: Vec<u8> = vec![1, 2, 3, 4];
    let sid = sha256(&round.to_be_bytes());
    let set: ParticipantSet = everyone.iter().filter_map(|n| ParticipantNumber::new((*n).into())).collect();
    let statement = consistency_message(&sid, &set, &set);
    let consistency: Vec<(u8, Signature)> =
        everyone.iter().map(|k| (*k, identity(*k).sign(CONSISTENCY_CONTEXT, &statement))).collect();
    RoundClosed {
        terms: RoundTerms {
            federation: KEY_NAME.into(),
            run: 1,
            round,
            model_version: round - 1,
            model_sha256: model(round - 1),
            layout_sha256: sha256(b"layout"),
            dimension: DIMENSION,
            bits: plan.integers.bits,
            units_per_clip: u64::from(plan.integers.units_per_clip),
            clip: plan.update_clip(),
            sigma_total: plan.step.noise_multiplier,
            variance_local: plan.local_variance().expect("a variance"),
            survivors_min: plan.rounds.survivors_min,
            threshold: 3,
            neighbours: None,
            colluders_assumed: plan.rounds.colluders_assumed,
            plan_sha256: PrivacyPlan::digest_of(text.as_bytes()),
            deadline_ms: 1_700_000_060_000,
            ledger_size: tree.size(),
            ledger_root: tree.root(),
        },
        sid,
        roster: (1..=4).map(shop).collect(),
        sharers: everyone.clone(),
        survivors: everyone,
        consistency,
        charges,
        noise_multiplier_effective: plan.noise_of(4),
        model_version: round,
        model_sha256: model(round),
        at_ms: 1_700_000_050_000 + round,
    }
}

/// Two published rounds of four merchants, an abandoned one with a hostile reason; `change` may forge each entry before
/// it is sealed.
pub fn write_log(folder: &Path, plan_text: &str, mut change: impl FnMut(&mut Entry)) {
    let plan = PrivacyPlan::parse(plan_text.as_bytes()).expect("a plan");
    let mut tree = MerkleTree::new();
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    let mut push = |mut entry: Entry, tree: &mut MerkleTree| {
        change(&mut entry);
        if let Entry::Charge(signed) = &mut entry {
            let k = signed.charge.merchant.as_str().trim_start_matches("shop-").parse().expect("a shop");
            *signed = SignedCharge::sign(signed.charge.clone(), &identity(k));
        }
        let bytes = entry.to_bytes();
        let index = tree.append(&bytes);
        leaves.push(bytes);
        index
    };
    let founded = Founded {
        version: 1,
        federation: KEY_NAME.into(),
        server_key: federation().verifying_key(),
        plan: plan_text.into(),
        model_sha256: model(0),
        layout_sha256: sha256(b"layout"),
        dimension: DIMENSION,
        at_ms: 1_699_999_000_000,
    };
    push(Entry::Founded(founded), &mut tree);
    for k in 1..=4 {
        let identity = identity(k).verifying_key();
        push(Entry::Enrolled(Enrolled { merchant: shop(k), identity, at_ms: 1_699_999_500_000 }), &mut tree);
    }
    for round in 1..=ROUNDS {
        let head = tree.clone();
        let charges = (1..=4)
            .map(|k| {
                let charge = charge(&plan, plan_text, round, k);
                push(Entry::Charge(SignedCharge::sign(charge, &identity(k))), &mut tree)
            })
            .collect();
        push(Entry::RoundClosed(closed(&plan, plan_text, round, &head, charges)), &mut tree);
    }
    let gone = RoundAbandoned {
        run: 1,
        round: ROUNDS + 1,
        reason: "<script>alert(1)</script>".into(),
        charges: Vec::new(),
        at_ms: 1_700_000_100_000,
    };
    push(Entry::RoundAbandoned(gone), &mut tree);
    let checkpoint = Checkpoint::of(KEY_NAME, &tree).sign(KEY_NAME, &federation()).expect("a name").to_string();
    let origin = serde_json::json!({ "origin": KEY_NAME, "server-key": federation().verifying_key() });
    std::fs::create_dir_all(folder).expect("a folder");
    write_entries(folder, &leaves);
    std::fs::write(folder.join("checkpoint"), checkpoint).expect("written");
    std::fs::write(folder.join("federation.json"), origin.to_string()).expect("written");
}

fn write_entries(folder: &Path, leaves: &[Vec<u8>]) {
    for (path, bytes) in tiles::files(leaves) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        std::fs::write(path, bytes).expect("written");
    }
}

/// Replaces the first `from` in any entry by `to`, tiles included, under the old checkpoint.
pub fn alter(folder: &Path, from: &str, to: &str) {
    let mut leaves = Folder::open(folder).expect("a log").leaves().to_vec();
    let leaf = leaves.iter_mut().find(|leaf| String::from_utf8_lossy(leaf).contains(from)).expect("such an entry");
    *leaf = String::from_utf8_lossy(leaf).replacen(from, to, 1).into_bytes();
    write_entries(folder, &leaves);
}
