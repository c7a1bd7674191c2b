//! Entries of the log, signed charges as a merchant sends them, and lines of a merchant's budget file.
//!
//! An entry has one encoding: what is accepted is what would be written. A charge is judged by its meaning, so its bytes
//! may differ, but what is written for it reads the same, and its signature holds for its merchant alone.
#![no_main]

use forecastle_crypto::{
    dp::{filter::BudgetEntry, plan::PrivacyPlan},
    identity::sha256,
    ledger::entry::{ENTRY_BYTES_MAX, Entry, SignedCharge},
};
use forecastle_fuzz::{LOG, OTHER_ENTRIES, bounded, federation, seeds};
use libfuzzer_sys::fuzz_target;

fn budget_line() -> Vec<u8> {
    let Ok(Entry::Founded(founded)) = Entry::from_bytes(LOG.lines().next().unwrap_or_default().as_bytes()) else {
        unreachable!("the log begins with its founding")
    };
    let plan = PrivacyPlan::parse(founded.plan.as_bytes()).expect("the log's plan");
    let of = ("market", federation::server().verifying_key());
    let reservation = forecastle_crypto::dp::filter::Reservation::of(
        &plan,
        sha256(founded.plan.as_bytes()),
        1,
        of,
        &federation::merchant(1),
        Some(384),
        0,
    );
    BudgetEntry::Reserved(reservation.expect("a plan that was run")).to_bytes()
}

fuzz_target!(
    init: seeds("entry", || {
        let mut lines: Vec<Vec<u8>> =
            LOG.lines().chain(OTHER_ENTRIES.lines()).map(|line| line.as_bytes().to_vec()).collect();
        let charges: Vec<Vec<u8>> = lines
            .iter()
            .filter_map(|line| match Entry::from_bytes(line) {
                Ok(Entry::Charge(signed)) => serde_json::to_vec(&signed).ok(),
                _ => None,
            })
            .collect();
        lines.extend(charges);
        lines.push(budget_line());
        lines
    }),
    |data: &[u8]| {
        // Internally tagged variants are buffered field by field before they are read.
        if let Ok(entry) = bounded(data.len(), 64, || Entry::from_bytes(data)) {
            assert_eq!(entry.to_bytes(), data);
            assert!(data.len() <= ENTRY_BYTES_MAX);
            if let Entry::Charge(signed) = &entry {
                charge(signed);
            }
        }
        if let Ok(signed) = bounded(data.len(), 64, || serde_json::from_slice::<SignedCharge>(data)) {
            charge(&signed);
        }
        if let Ok(entry) = bounded(data.len(), 64, || BudgetEntry::from_bytes(data)) {
            assert_eq!(BudgetEntry::from_bytes(&entry.to_bytes()).ok().as_ref(), Some(&entry));
        }
    }
);

fn charge(signed: &SignedCharge) {
    let (own, other) = (federation::key(1), federation::key(2));
    let written = serde_json::to_vec(signed).expect("a charge always serialises");
    assert_eq!(serde_json::from_slice::<SignedCharge>(&written).ok().as_ref(), Some(signed));
    assert!(signed.verify(&own.verifying_key()).is_err(), "a charge that nobody signed verified");
    let mut again = SignedCharge::sign(signed.charge.clone(), &own);
    assert!(again.verify(&own.verifying_key()).is_ok() && again.verify(&other.verifying_key()).is_err());
    // The signature reaches every field that is written; one number is enough to show it.
    again.charge.at_ms ^= 1;
    assert!(again.verify(&own.verifying_key()).is_err());
    // As an entry of the log it has one encoding.
    let entry = Entry::Charge(signed.clone()).to_bytes();
    if entry.len() <= ENTRY_BYTES_MAX {
        assert_eq!(Entry::from_bytes(&entry).ok(), Some(Entry::Charge(signed.clone())));
    }
}
