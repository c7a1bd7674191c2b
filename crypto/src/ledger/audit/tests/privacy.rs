//! Rules about the promise.

use super::forge::{Forge, PLAN, assert_only, charge, halved, identity, plan, record_event};
use crate::{
    dp::{
        event::DpEvent,
        plan::PrivacyPlan,
        unit::{NeighboringRelation, PrivacyUnit},
    },
    ledger::{
        audit::Rule,
        entry::{Charge, Entry, SignedCharge},
    },
};

/// Forges the charge of `shop-2` in round 1 and seals the log again.
fn charged(change: impl FnOnce(&mut Charge)) -> Forge {
    let mut forge = Forge::honest();
    change(forge.charge(1, 2));
    forge.seal();
    forge
}

fn assert_charge(rule: Rule, change: impl FnOnce(&mut Charge)) {
    let forge = charged(change);
    assert_only(&forge, rule, Some(forge.charge_index(1, 2)));
}

#[test]
fn another_unit_or_relation() {
    assert_charge(Rule::Unit, |charge| {
        charge.unit = PrivacyUnit::Series;
        record_event(charge);
    });
    assert_charge(Rule::Unit, |charge| charge.relation = NeighboringRelation::Replace);
}

#[test]
fn other_contribution_bounds() {
    assert_charge(Rule::ContributionBounds, |charge| charge.bounds.order_lines = 9);
    assert_charge(Rule::ContributionBounds, |charge| charge.bounds.units = 400.0);
    assert_charge(Rule::ContributionBounds, |charge| {
        charge.bounds.series = 1;
        record_event(charge);
    });
}

#[test]
fn another_period() {
    assert_charge(Rule::Period, |charge| charge.period_end = "2025-07-31".parse().unwrap());
    assert_charge(Rule::Period, |charge| charge.period_start = "2023-12-31".parse().unwrap());
}

#[test]
fn another_sampling_rate() {
    assert_charge(Rule::Sampler, |charge| {
        charge.sampling_rate = 0.25;
        record_event(charge);
    });
}

#[test]
fn less_noise_than_planned() {
    assert_charge(Rule::NoiseFloor, |charge| charge.variance_local = halved(charge.variance_local));
    // σ overstated: the charge would look cheaper than what was done.
    assert_charge(Rule::NoiseFloor, |charge| {
        charge.noise_multiplier = 24.0;
        record_event(charge);
    });
    let mut forge = Forge::honest();
    let terms = &mut forge.closed(1).terms;
    terms.variance_local = halved(terms.variance_local);
    forge.seal();
    assert_only(&forge, Rule::NoiseFloor, Some(forge.closed_index(1)));
}

#[test]
fn another_grid() {
    assert_charge(Rule::Grid, |charge| charge.clip = 0.2);
    assert_charge(Rule::Grid, |charge| {
        charge.units_per_clip = 2048;
        record_event(charge);
    });
    assert_charge(Rule::Grid, |charge| {
        charge.dimension = 10;
        record_event(charge);
    });
    let mut forge = Forge::honest();
    forge.closed(1).terms.bits = 20;
    forge.seal();
    assert_only(&forge, Rule::Grid, Some(forge.closed_index(1)));
}

#[test]
fn a_grid_that_cannot_exist_is_no_panic() {
    let forge = charged(|charge| {
        charge.units_per_clip = u64::MAX;
        charge.colluders_assumed = u16::MAX;
    });
    let rules: Vec<Rule> = forge.findings().iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [Rule::Grid, Rule::Survivors, Rule::ChargedEvent]);
}

#[test]
fn a_charge_that_does_not_pay_for_rounding() {
    assert_charge(Rule::ChargedEvent, |charge| charge.event = plan().step_event(charge.noise_multiplier).unwrap());
}

#[test]
fn a_charge_that_counts_a_customer_as_one_record() {
    assert_charge(Rule::ChargedEvent, |charge| {
        let DpEvent::CustomerStep { sampling_rate, noise_multiplier, .. } = charge.event else { panic!() };
        charge.event = DpEvent::CustomerStep { sampling_rate, noise_multiplier, touched: 1 };
    });
}

#[test]
fn an_impossible_event() {
    assert_charge(Rule::ChargedEvent, |charge| {
        charge.event = DpEvent::CustomerStep { sampling_rate: 1.5, touched: 2, noise_multiplier: 12.0 };
    });
}

#[test]
fn fewer_survivors_than_the_noise_is_calibrated_to() {
    assert_charge(Rule::Survivors, |charge| charge.survivors_min = 2);
    assert_charge(Rule::Survivors, |charge| charge.colluders_assumed = 0);

    // Three of four confirmed, as many as this cohort needs; only m is not kept.
    let mut forge = Forge::honest();
    let closed = forge.closed(1);
    closed.terms.threshold = 3;
    closed.survivors.truncate(3);
    closed.charges.truncate(3);
    closed.consistency.truncate(3);
    closed.noise_multiplier_effective = 12.0 * (2.0_f64 / 3.0).sqrt();
    forge.seal();
    assert_only(&forge, Rule::Survivors, Some(forge.closed_index(1)));
}

#[test]
fn another_target() {
    assert_charge(Rule::PrivacyTarget, |charge| charge.delta = 1e-3);
    assert_charge(Rule::PrivacyTarget, |charge| charge.epsilon_cap = 80.0);
}

#[test]
fn noise_that_the_survivors_did_not_add() {
    let mut forge = Forge::honest();
    forge.closed(2).noise_multiplier_effective = 12.0 * (4.0_f64 / 3.0).sqrt();
    forge.seal();
    assert_only(&forge, Rule::EffectiveNoise, Some(forge.closed_index(2)));
}

#[test]
fn one_round_charged_twice() {
    let mut forge = Forge::honest();
    let mut again = charge(4, 3, 3);
    again.masked_sha256 = crate::identity::sha256(b"other bytes");
    forge.entries.push(Entry::Charge(SignedCharge::sign(again, &identity(3))));
    assert_only(&forge, Rule::RepeatedCharge, Some(22));
}

#[test]
fn charges_that_a_restored_merchant_forgot() {
    let mut forge = Forge::honest();
    forge.charge(4, 3).charged_before = 1;
    forge.seal();
    assert_only(&forge, Rule::ForgottenCharges, Some(forge.charge_index(4, 3)));
}

#[test]
fn the_same_masked_bytes_charged_twice() {
    let mut forge = Forge::honest();
    let earlier = forge.charge(1, 3).masked_sha256;
    forge.charge(2, 3).masked_sha256 = earlier;
    forge.seal();
    assert_only(&forge, Rule::MaskedDigest, Some(forge.charge_index(2, 3)));
}

#[test]
fn a_survivor_without_a_charge() {
    let mut forge = Forge::honest();
    forge.closed(2).charges.pop();
    forge.seal();
    assert_only(&forge, Rule::RoundWithoutCharge, Some(forge.closed_index(2)));

    // The charge of the round before does not do.
    let mut forge = Forge::honest();
    let before = forge.charge_index(1, 1) as u64;
    forge.closed(2).charges[0] = before;
    forge.seal();
    assert_only(&forge, Rule::RoundWithoutCharge, Some(forge.closed_index(2)));
}

#[test]
fn more_rounds_than_scheduled() {
    let mut forge = Forge::honest();
    forge.entries.push(Entry::Charge(SignedCharge::sign(charge(9, 3, 4), &identity(3))));
    assert_only(&forge, Rule::Schedule, Some(22));
    // The same by the merchant's own count.
    let mut forge = Forge::honest();
    let index = forge.charge_index(4, 3);
    forge.charge(4, 3).charged_before = u32::MAX;
    forge.seal();
    assert_only(&forge, Rule::Schedule, Some(index));
}

/// A plan never schedules more than its cap, so a cap can only be exceeded by charges that cost more than planned: a
/// costlier event alone is found as such, and once the sum exceeds the cap as that, too.
#[test]
fn charges_that_cost_more_than_the_cap() {
    let costly = |sigma| DpEvent::CustomerStep { sampling_rate: 1.0, touched: 2, noise_multiplier: sigma };
    let forge = charged(|charge| charge.event = costly(11.0));
    assert_only(&forge, Rule::ChargedEvent, Some(forge.charge_index(1, 2)));
    let forge = charged(|charge| charge.event = costly(1.0));
    let found: Vec<_> = forge.findings().iter().map(|f| (f.rule, f.entry)).collect();
    let (index, last) = (forge.charge_index(1, 2) as u64, forge.charge_index(3, 2) as u64);
    assert_eq!(found, [(Rule::ChargedEvent, Some(index)), (Rule::Cap, Some(last))]);
    let spent = forge.audit().unwrap().merchants[1].epsilon.unwrap().server.epsilon;
    assert!(spent > 8.0, "the costlier event is what is reported: {spent}");
}

#[test]
fn a_cap_is_kept_by_every_valid_plan() {
    assert!(PLAN.contains("epsilon-cap = 8.0"));
    let tight = PLAN.replace("epsilon-cap = 8.0", "epsilon-cap = 0.5");
    assert!(PrivacyPlan::parse(tight.as_bytes()).is_err());
}
