//! Stored entries of the log, read for ever.
//!
//! `golden/log.jsonl` is the beginning of a log that a federation wrote, `golden/others.jsonl` holds one entry of each
//! kind and unit that is not in it. Lines are added when a kind is; none is ever changed or taken away.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::collections::{BTreeSet, HashMap};

use forecastle_crypto::{
    dp::{event::DpEvent, unit::PrivacyUnit},
    identity::{MerchantId, Signature},
    ledger::{
        audit::{Rule, audit},
        entry::{Charge, ENTRY_BYTES_MAX, Entry, RoundClosed, Sampler},
        merkle::MerkleTree,
    },
};

const LOG: &str = include_str!("golden/log.jsonl");
const OTHERS: &str = include_str!("golden/others.jsonl");

fn entries(lines: &str) -> Vec<Entry> {
    lines.lines().map(|line| Entry::from_bytes(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

#[test]
fn every_kind_of_entry_ever_stored_is_read_and_written_byte_for_byte() {
    let mut kinds = BTreeSet::new();
    for line in LOG.lines().chain(OTHERS.lines()) {
        let entry = Entry::from_bytes(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(String::from_utf8(entry.to_bytes()).unwrap(), line);
        let kind = line.strip_prefix(r#"{"entry":""#).and_then(|rest| rest.split_once('"')).unwrap().0;
        kinds.insert(kind.to_owned());
    }
    let known = ["charge", "enrolled", "founded", "revoked", "round-abandoned", "round-closed"];
    assert_eq!(kinds.iter().map(String::as_str).collect::<Vec<_>>(), known);
    // And the bytes are those of the day they were stored.
    let tree = |lines: &str, count: usize| {
        let mut tree = MerkleTree::new();
        lines.lines().take(count).for_each(|line| _ = tree.append(line.as_bytes()));
        tree.root().to_string()
    };
    assert_eq!(tree(LOG, 10), "65f4027d22ccb6f9a33a47a68af974bd1a2ceb9c5c78aa1a86faecb678b205a2");
    assert_eq!(tree(OTHERS, 4), "0343f6a8a033a5f71ef48fe9e2493067ec50225da4003bb082902b2fafae0023");
}

#[test]
fn stored_entries_mean_today_what_they_meant_then() {
    let log = entries(LOG);
    let Entry::Founded(founded) = &log[0] else { panic!("{:?}", log[0]) };
    assert_eq!((founded.federation.as_str(), founded.version, founded.dimension), ("marketplace", 1, 384));
    let Entry::Charge(signed) = &log[5] else { panic!("{:?}", log[5]) };
    let charge = &signed.charge;
    assert_eq!((charge.merchant.as_str(), charge.unit, charge.round), ("copper-kettle-001", PrivacyUnit::Customer, 1));
    assert!(matches!(charge.event, DpEvent::CustomerStep { sampling_rate: 0.25, touched: 2, .. }));
    assert_eq!((charge.delta, charge.epsilon_cap, charge.survivors_min, charge.colluders_assumed), (1e-6, 8.0, 4, 1));
    let Entry::RoundClosed(closed) = &log[9] else { panic!("{:?}", log[9]) };
    assert_eq!((closed.charges.as_slice(), closed.model_version), ([5, 7, 8, 6].as_slice(), 1));

    let others = entries(OTHERS);
    assert!(matches!(&others[0], Entry::Revoked(revoked) if revoked.merchant.as_str() == "old-mill-004"));
    assert!(matches!(&others[1], Entry::RoundAbandoned(gone) if gone.charges == [10, 11] && gone.round == 2));
    let charge = |entry: &Entry| match entry {
        Entry::Charge(signed) => signed.charge.clone(),
        other => panic!("{other:?}"),
    };
    assert!(matches!(charge(&others[2]).event, DpEvent::PoissonSubsampledGaussian { sampling_rate: 0.25, .. }));
    assert_eq!(charge(&others[2]).unit, PrivacyUnit::Series);
    assert!(matches!(charge(&others[3]).event, DpEvent::Gaussian { .. }));
    assert_eq!(charge(&others[3]).unit, PrivacyUnit::Merchant);
}

#[test]
fn a_stored_log_is_judged_sound_but_for_what_it_counted_too_low() {
    let leaves: Vec<Vec<u8>> = LOG.lines().map(|line| line.as_bytes().to_vec()).collect();
    let Entry::Founded(founded) = entries(LOG).remove(0) else { panic!("not founded") };
    let verdict = audit(&leaves, "", &founded.server_key, &HashMap::new()).unwrap();
    // The software that wrote it charged √d/2 units for rounding a customer's change, of which the proof wants √d, and
    // nothing for noise being integers: that is named at every charge, now and for ever. Nothing else is but the
    // checkpoint, which is not there.
    let found: Vec<_> = verdict.findings.iter().map(|f| (f.entry, f.rule)).collect();
    let low = |entry| (Some(entry), Rule::ChargedEvent);
    assert_eq!(found, [(None, Rule::Checkpoint), low(5), low(6), low(7), low(8)], "{:?}", verdict.findings);
    assert!(verdict.findings[1..].iter().all(|f| f.what.contains("charges another event than its own numbers give")));
    assert_eq!((verdict.rounds_closed, verdict.merchants.len()), (1, 4));
    let log = entries(LOG);
    let identities: HashMap<_, _> = log
        .iter()
        .filter_map(|entry| match entry {
            Entry::Enrolled(enrolled) => Some((enrolled.merchant.clone(), enrolled.identity)),
            _ => None,
        })
        .collect();
    let charges: Vec<_> =
        log.iter().filter_map(|e| if let Entry::Charge(signed) = e { Some(signed) } else { None }).collect();
    assert_eq!(charges.len(), 4);
    for signed in charges {
        assert!(signed.verify(&identities[&signed.charge.merchant]).is_ok());
    }
}

#[test]
fn the_largest_round_there_can_be_fits_an_entry() {
    let Some(Entry::RoundClosed(closed)) = entries(LOG).pop() else { panic!("the log ends with a round") };
    let numbers: Vec<u8> = (1..=255).collect();
    let roster = numbers.iter().map(|k| format!("{k:0>64}").parse::<MerchantId>().unwrap()).collect();
    let mut terms = closed.terms.clone();
    terms.federation = "f".repeat(64);
    (terms.run, terms.round, terms.model_version) = (u64::MAX, u64::MAX, u64::MAX);
    (terms.ledger_size, terms.deadline_ms) = (u64::MAX, u64::MAX);
    (terms.clip, terms.sigma_total) = (1.234_567_890_123_456_7e-300, 1.234_567_890_123_456_7e-300);
    let largest = RoundClosed {
        terms,
        roster,
        sharers: numbers.clone(),
        survivors: numbers.clone(),
        consistency: numbers.iter().map(|&k| (k, Signature([255; 64]))).collect(),
        // A log of a million million entries.
        charges: vec![999_999_999_999; 255],
        noise_multiplier_effective: 1.234_567_890_123_456_7e-300,
        model_version: u64::MAX,
        at_ms: u64::MAX,
        ..closed
    };
    let bytes = Entry::RoundClosed(largest.clone()).to_bytes();
    assert!(bytes.len() <= ENTRY_BYTES_MAX, "{}", bytes.len());
    assert_eq!(Entry::from_bytes(&bytes).unwrap(), Entry::RoundClosed(largest));
}

/// A charge leaves the merchant with every round. Each of its fields is the plan's, the round's or the software's, but the
/// digest, which is of masked bytes. A field that is added stops this from compiling until somebody has said the same of it.
#[test]
fn a_charge_says_these_things_and_no_others() {
    let log = entries(LOG);
    let Entry::Charge(signed) = &log[5] else { panic!("{:?}", log[5]) };
    let Charge {
        // Who, and which round.
        merchant: _,
        run: _,
        round: _,
        sid: _,
        // Of the plan.
        plan_sha256: _,
        unit: _,
        relation: _,
        bounds: _,
        period_start: _,
        period_end: _,
        noise: _,
        event: _,
        clip: _,
        units_per_clip: _,
        noise_multiplier: _,
        variance_local: _,
        survivors_min: _,
        colluders_assumed: _,
        sampling_rate: _,
        sampler: Sampler::Poisson,
        dimension: _,
        delta: _,
        epsilon_cap: _,
        // How many charges this merchant made before, which the log shows anyway.
        charged_before: _,
        // Of the software and the clock.
        noise_source: _,
        software: _,
        at_ms: _,
        // Of what is sent, masked.
        masked_sha256,
    } = &signed.charge;
    assert_eq!(masked_sha256.0.len(), 32);
}
