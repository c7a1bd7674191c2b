//! Plan files.
//!
//! A plan that is accepted keeps its cap, and is written, bare or with comments, to a file that reads the same.
#![no_main]

use forecastle_crypto::{
    dp::{accountant, plan::PrivacyPlan},
    ledger::entry::Entry,
};
use forecastle_fuzz::{LOG, seeds};
use libfuzzer_sys::fuzz_target;

const LOCAL: &str = "\n[local]\nnoise = \"local\"\nsteps = 4\nlearning-rate = 0.05\nupdate-clip = 0.5\n";

fuzz_target!(
    init: seeds("plan", || {
        let Ok(Entry::Founded(founded)) = Entry::from_bytes(LOG.lines().next().unwrap_or_default().as_bytes()) else {
            unreachable!("the log begins with its founding")
        };
        let local = founded.plan.replacen("version = 1", "version = 2", 1).replacen("\n[rounds]", &format!("{LOCAL}\n[rounds]"), 1);
        let merchant = local
            .replacen("\"customer\"", "\"merchant\"", 1)
            .replacen("\"local\"", "\"distributed\"", 1)
            .replacen("sampling-rate = 0.25", "sampling-rate = 1.0", 1);
        vec![founded.plan, local, merchant]
    }),
    |data: &[u8]| {
        let Ok(plan) = PrivacyPlan::parse(data) else { return };
        for text in [plan.to_toml(), plan.to_documented_toml("A heading\nof two lines")] {
            assert_eq!(PrivacyPlan::parse(text.as_bytes()).ok().as_ref(), Some(&plan));
        }
        let schedule = plan.schedule(plan.step.noise_multiplier, plan.rounds.count).expect("an accepted plan's schedule");
        let spent = accountant::epsilon(&schedule, plan.privacy.delta).expect("an accepted plan was counted");
        assert!(spent.epsilon <= plan.privacy.epsilon_cap);
    }
);
