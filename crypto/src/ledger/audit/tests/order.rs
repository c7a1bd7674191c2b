//! Rules about rounds, cohorts and charges fitting together.

use super::forge::{Forge, MERCHANTS, assert_only, charge, identity, shop};
use crate::{
    identity::{Signature, sha256},
    ledger::{
        audit::Rule,
        entry::{Entry, Revoked, SignedCharge},
    },
};

#[test]
fn a_round_that_ends_twice() {
    let mut forge = Forge::honest();
    let again = forge.abandoned().clone();
    forge.entries.push(Entry::RoundAbandoned(again));
    assert_only(&forge, Rule::RoundOrder, Some(22));
}

#[test]
fn a_round_that_ends_after_a_later_one() {
    let mut forge = Forge::honest();
    let mut late = forge.abandoned().clone();
    (late.run, late.charges) = (0, Vec::new());
    forge.entries.push(Entry::RoundAbandoned(late));
    assert_only(&forge, Rule::RoundOrder, Some(22));
}

#[test]
fn a_roster_with_a_stranger_or_a_repetition() {
    // The fifth of round 2 dropped out, so nothing else hangs on its name.
    for stranger in [shop(9), shop(1)] {
        let mut forge = Forge::honest();
        forge.closed(2).roster[4] = stranger;
        forge.seal();
        assert_only(&forge, Rule::Roster, Some(forge.closed_index(2)));
    }
}

#[test]
fn a_roster_with_a_revoked_merchant() {
    let mut forge = Forge::honest();
    // shop-5 is revoked right after round 1, and round 2 is offered on a log that says so. Its charges go as well.
    let at = forge.closed_index(1) + 1;
    for round in [2, 3] {
        let index = forge.charge_index(round, 5);
        forge.entries.remove(index);
    }
    forge.entries.insert(at, Entry::Revoked(Revoked { merchant: shop(5), at_ms: 6_000 }));
    for charge in &mut forge.closed(2).charges {
        *charge += 1;
    }
    forge.closed(2).terms.ledger_size = at as u64 + 1;
    let third = [1, 2].map(|k| forge.charge_index(3, k) as u64);
    forge.abandoned().charges = third.to_vec();
    forge.seal();
    assert_only(&forge, Rule::Roster, Some(forge.closed_index(2)));
}

#[test]
fn a_cohort_larger_than_planned() {
    let mut forge = Forge::honest();
    let plan = super::forge::PLAN.replace("cohort-max = 5", "cohort-max = 4");
    assert_ne!(plan, super::forge::PLAN);
    let digest = crate::dp::plan::PrivacyPlan::digest_of(plan.as_bytes());
    for entry in &mut forge.entries {
        match entry {
            Entry::Founded(founded) => founded.plan.clone_from(&plan),
            Entry::Charge(signed) => signed.charge.plan_sha256 = digest,
            Entry::RoundClosed(closed) => closed.terms.plan_sha256 = digest,
            _ => {}
        }
    }
    forge.seal();
    assert_eq!(MERCHANTS, 5);
    assert_only(&forge, Rule::Roster, Some(forge.closed_index(2)));
}

#[test]
fn survivors_who_did_not_share_keys() {
    let mut forge = Forge::honest();
    forge.closed(2).sharers = vec![1, 2, 3, 5];
    forge.seal();
    assert_only(&forge, Rule::SurvivorSets, Some(forge.closed_index(2)));
}

#[test]
fn participants_outside_the_cohort() {
    let mut forge = Forge::honest();
    forge.closed(2).sharers = vec![1, 2, 3, 4, 9];
    forge.seal();
    assert_only(&forge, Rule::SurvivorSets, Some(forge.closed_index(2)));
    // A statement by such a one is not valid, and no panic.
    let mut forge = Forge::honest();
    forge.closed(2).consistency.push((0, Signature([0; 64])));
    forge.seal();
    assert_only(&forge, Rule::Consistency, Some(forge.closed_index(2)));
}

#[test]
fn an_offer_of_another_federation() {
    let mut forge = Forge::honest();
    forge.closed(2).terms.federation = "elsewhere.example".into();
    forge.seal();
    assert_only(&forge, Rule::Offer, Some(forge.closed_index(2)));
}

#[test]
fn one_offer_for_two_rounds() {
    let mut forge = Forge::honest();
    let first = forge.closed(1).sid;
    forge.closed(2).sid = first;
    for k in 1..=4 {
        forge.charge(2, k).sid = first;
    }
    forge.seal();
    assert_only(&forge, Rule::Offer, Some(forge.closed_index(2)));
}

#[test]
fn a_charge_for_a_round_that_never_ended() {
    let mut forge = Forge::honest();
    let mut stray = charge(2, 4, 2);
    (stray.run, stray.round, stray.masked_sha256) = (0, 7, sha256(b"stray"));
    forge.entries.push(Entry::Charge(SignedCharge::sign(stray, &identity(4))));
    assert_only(&forge, Rule::ChargeWithoutRound, Some(22));
}

#[test]
fn an_abandoned_round_that_names_other_charges() {
    let mut forge = Forge::honest();
    let foreign = forge.charge_index(1, 1) as u64;
    forge.abandoned().charges.push(foreign);
    forge.seal();
    assert_only(&forge, Rule::AbandonedCharges, Some(20));
    let mut forge = Forge::honest();
    forge.abandoned().charges.pop();
    forge.seal();
    assert_only(&forge, Rule::AbandonedCharges, Some(20));
}
