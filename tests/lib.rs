//! What the end-to-end tests share: a server that can be killed, and merchants with a little data.
//!
//! Everything is the real thing: `forecastle_server` on a loopback port, `forecastle_client` with its state folders,
//! mutual TLS between them, the shipped warm start. Only the plan is small: few rounds, short phases.
//!
//! Left out: any knowledge of what the tests claim.

pub mod merchant;
pub mod process;
pub mod server;

use std::{path::Path, time::Duration};

use forecastle_audit::folder::Folder;
use forecastle_client::model::assets::warm_start;
use forecastle_crypto::{dp::plan::PrivacyPlan, ledger::entry::Entry};
use forecastle_proto::model::ModelSnapshot;
use forecastle_server::plans::FOUR_MERCHANTS;

/// Merchants of a federation: five, of which one may drop out.
pub const MERCHANTS: usize = 5;
/// Longest time that anything in a test may take before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The shipped plan for four or five merchants, with `rounds` rounds, phases of `phase_ms` and a short data period.
pub fn plan(rounds: u32, phase_ms: u64) -> PrivacyPlan {
    let mut plan = PrivacyPlan::parse(FOUR_MERCHANTS.as_bytes()).expect("the shipped plan is valid");
    plan.rounds.count = rounds;
    plan.rounds.phase_deadline_ms = phase_ms;
    plan.rounds.submit_after_ms = 0;
    plan.rounds.period_start = "2024-01-01".parse().expect("a day");
    plan.rounds.period_end = "2024-06-30".parse().expect("a day");
    plan.step.sampling_rate = 0.5;
    plan.step.windows_per_series = 1;
    plan
}

/// The model a federation begins with.
pub fn model() -> ModelSnapshot {
    warm_start("nano-daily").expect("the warm start ships")
}

/// Copies a folder with everything in it. A file that a running program has renamed meanwhile is not there any more, as in
/// any copy of a folder in use.
///
/// # Panics
/// Where the disk refuses.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a new folder");
    for entry in std::fs::read_dir(from).expect("a readable folder") {
        let path = entry.expect("a readable folder").path();
        let target = to.join(path.file_name().expect("entries have names"));
        if path.is_dir() {
            copy_folder(&path, &target);
        } else {
            match std::fs::copy(&path, &target) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                copied => drop(copied.expect("a copied file")),
            }
        }
    }
}

/// The entries of an exported log.
///
/// # Panics
/// Where one is not readable.
pub fn read_entries(folder: &Path) -> Vec<Entry> {
    let folder = Folder::open(folder).expect("an exported log");
    folder.entries().map(|(index, entry)| entry.unwrap_or_else(|e| panic!("entry {index}: {e}"))).collect()
}
