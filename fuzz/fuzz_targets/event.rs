//! Events as they stand in charges: anything that a hostile log could make the accountant look at.
//!
//! An event that passes its check is written as it was read; its ε, where there is one, is finite, not negative, and no
//! smaller for a smaller δ.
#![no_main]

use forecastle_crypto::{
    dp::{accountant, event::DpEvent},
    ledger::entry::Entry,
};
use forecastle_fuzz::{LOG, OTHER_ENTRIES, bounded, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds("event", || {
        let more = [
            r#"{"mechanism":"composed","events":[{"mechanism":"laplace","noise_multiplier":2.0},{"mechanism":"self_composed","count":9,"event":{"mechanism":"skellam","variance_units":99.5,"sensitivity_units":3.0,"dimension":1}}]}"#,
            r#"{"mechanism":"within_ratio","log_ratio":1e-9,"event":{"mechanism":"discrete_gaussian","noise_units":7.0,"shares":3,"sensitivity_units":2.0,"dimension":4}}"#,
            r#"{"mechanism":"fixed_size_subsampled_gaussian","population":1000,"batch":10,"noise_multiplier":1.5}"#,
            r#"{"mechanism":"group_step","sampling_rate":0.01,"touched":3,"noise_multiplier":1.5}"#,
        ];
        let logged = LOG.lines().chain(OTHER_ENTRIES.lines()).filter_map(|line| match Entry::from_bytes(line.as_bytes()) {
            Ok(Entry::Charge(signed)) => serde_json::to_vec(&signed.charge.event).ok(),
            _ => None,
        });
        logged.chain(more.iter().map(|text| text.as_bytes().to_vec())).collect()
    }),
    |data: &[u8]| {
        let Ok(event) = bounded(data.len(), 128, || serde_json::from_slice::<DpEvent>(data)) else { return };
        let written = serde_json::to_vec(&event).expect("an event always serialises");
        assert_eq!(serde_json::from_slice::<DpEvent>(&written).ok().as_ref(), Some(&event));
        if event.validate().is_err() {
            assert!(accountant::epsilon(&event, 1e-6).is_err(), "a malformed event was counted");
            return;
        }
        let (Ok(usual), Ok(strict)) = (accountant::epsilon(&event, 1e-6), accountant::epsilon(&event, 1e-9)) else {
            return;
        };
        assert!(usual.epsilon.is_finite() && usual.epsilon >= 0.0, "{usual:?}");
        assert!(strict.epsilon >= usual.epsilon * (1.0 - 1e-9), "{strict:?} at a smaller δ than {usual:?}");
        // Both figures are upper bounds, so neither has to be the smaller one.
        assert!(usual.epsilon_rdp.is_none_or(|epsilon| epsilon >= 0.0));
    }
);
