//! A federation on loopback and merchants that speak its protocol without any client: real mutual TLS, real
//! participants of `forecastle_crypto`, no training.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

mod federation;
mod merchant;

use std::time::Duration;

use forecastle_proto::model::{ModelManifest, ModelSnapshot, ParameterEntry, ParameterLayout};
use forecastle_server::plans::FOUR_MERCHANTS;

pub use federation::{Federation, copy_folder, database_closed, read_entries, read_leaves};
pub use merchant::{Awaited, Masked, Merchant, Seen, Vanish, connect, join_request, pem, send_join, sid};

/// Trained parameters of the test model.
pub const DIMENSION: usize = 7;
/// Longest time that anything in a test may take.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The plan for four or five merchants with short phases.
pub fn plan(rounds: u32, phase_ms: u64) -> String {
    FOUR_MERCHANTS
        .replace("submit-after-ms = 3000", "submit-after-ms = 0")
        .replace("count = 20", &format!("count = {rounds}"))
        .replace("phase-deadline-ms = 60000", &format!("phase-deadline-ms = {phase_ms}"))
}

/// Ten values, seven of them trained.
pub fn model() -> ModelSnapshot {
    let entry = |name: &str, size: usize, federated| ParameterEntry { name: name.into(), shape: vec![size], federated };
    let manifest = ModelManifest {
        version: 1,
        architecture: "test".into(),
        settings: serde_json::json!({}),
        layout: ParameterLayout { entries: vec![entry("frozen", 3, false), entry("trained", DIMENSION, true)] },
    };
    ModelSnapshot::new(manifest, (0..10).map(|i| i as f32 / 8.0).collect()).unwrap()
}

/// Lets all merchants take part in one round at once, each vanishing as told; returns what they saw and masked.
pub async fn round(
    merchants: &mut Vec<Merchant>,
    after_round: u64,
    vanish: impl Fn(usize) -> Vanish,
) -> Vec<(Seen, Vec<u64>)> {
    let tasks: Vec<_> = std::mem::take(merchants)
        .into_iter()
        .enumerate()
        .map(|(i, mut merchant)| {
            let vanish = vanish(i);
            tokio::spawn(async move {
                let gradient: Vec<f64> = (0..DIMENSION).map(|k| 0.05 * (i as f64 + 1.0) - 0.01 * k as f64).collect();
                let seen = merchant.take_part(after_round, &gradient, vanish).await;
                (merchant, seen)
            })
        })
        .collect();
    let mut seen = Vec::new();
    for task in tasks {
        let (merchant, outcome) = tokio::time::timeout(PATIENCE, task).await.expect("the round ends in time").unwrap();
        merchants.push(merchant);
        seen.push(outcome.unwrap());
    }
    seen
}
