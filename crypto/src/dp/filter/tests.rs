//! Claims about budgets: what is reserved counts, whatever else happens.

use proptest::prelude::*;

use super::*;
use crate::{
    dp::{
        noise::Variance,
        plan::{ContributionBounds, NoiseMode},
        unit::NeighboringRelation,
    },
    identity::{Sha256Digest, VerifyingKey, sha256},
    ledger::entry::{Charge, Sampler},
};

const OWN: VerifyingKey = VerifyingKey([1; 32]);
const OTHER: VerifyingKey = VerifyingKey([2; 32]);

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn event(sigma: f64) -> DpEvent {
    DpEvent::step(PrivacyUnit::Customer, 0.25, 2, sigma).unwrap()
}

fn plan(name: &str) -> Sha256Digest {
    sha256(name.as_bytes())
}

/// 20 rounds for 2024 at σ = 6: ε ≈ 3.2 at δ = 1e-6.
fn reservation(name: &str) -> Reservation {
    Reservation {
        federation: "market".into(),
        server_key: OWN,
        merchant: "shop".parse().unwrap(),
        plan_sha256: plan(name),
        run: 1,
        unit: PrivacyUnit::Customer,
        period_start: day("2024-01-01"),
        period_end: day("2024-12-31"),
        event: event(6.0),
        dimension: Some(384),
        rounds: 20,
        delta: 1e-6,
        epsilon_cap: 8.0,
        at_ms: 0,
    }
}

fn charge(of: &Reservation, round: u64) -> Charge {
    Charge {
        merchant: of.merchant.clone(),
        run: of.run,
        round,
        sid: sha256(&round.to_le_bytes()),
        plan_sha256: of.plan_sha256,
        unit: of.unit,
        relation: NeighboringRelation::AddOrRemove,
        bounds: ContributionBounds { order_lines: 8, series: 2, units: 40.0 },
        period_start: of.period_start,
        period_end: of.period_end,
        noise: NoiseMode::Distributed,
        event: of.event.clone(),
        clip: 0.1,
        units_per_clip: 4096,
        noise_multiplier: 6.0,
        variance_local: Variance::new(1_000_000, 1).unwrap(),
        survivors_min: 4,
        colluders_assumed: 1,
        sampling_rate: 0.25,
        sampler: Sampler::Poisson,
        dimension: 384,
        delta: of.delta,
        epsilon_cap: of.epsilon_cap,
        charged_before: 0,
        noise_source: "test".into(),
        software: "test".into(),
        masked_sha256: sha256(b"masked"),
        at_ms: 0,
    }
}

fn balance(reservations: &[Reservation], charges: &[Charge]) -> Balance {
    let balances = Budget::new(OWN, reservations, charges).balances(&MerchantPolicy::default()).unwrap();
    assert_eq!(balances.len(), 1, "{balances:?}");
    balances.into_iter().next().unwrap()
}

#[test]
fn a_reservation_counts_in_full_before_the_first_round_and_charges_draw_on_it() {
    let reserved = reservation("a");
    let whole = spent(std::iter::repeat_n(&event(6.0), 20), 1e-6).unwrap();
    let mut charges = Vec::new();
    for round in 1..=20 {
        let budget = Budget::new(OWN, std::slice::from_ref(&reserved), &charges);
        let next = charge(&reserved, round);
        let admission = budget.admit(&next, &MerchantPolicy::default()).unwrap();
        assert_eq!(admission.charged_before, charges.len() as u32);
        charges.push(next);
        let now = balance(std::slice::from_ref(&reserved), &charges);
        assert_eq!((now.reserved, now.rounds_reserved, now.rounds_charged), (whole, 20, round));
        assert_eq!(now.spent, admission.epsilon_after);
        assert!((now.remaining - (8.0 - whole)).abs() < 1e-12);
    }
    assert_eq!(balance(std::slice::from_ref(&reserved), &charges).spent, whole);
    let refused = Budget::new(OWN, std::slice::from_ref(&reserved), &charges)
        .admit(&charge(&reserved, 21), &MerchantPolicy::default());
    assert!(matches!(refused, Err(Refusal::ScheduleUsed { planned: 20 })), "{refused:?}");
}

#[test]
fn a_second_plan_is_refused_when_what_is_left_does_not_suffice_although_little_was_charged() {
    let first = reservation("a");
    let second = Reservation { event: event(3.0), ..reservation("b") };
    let policy = MerchantPolicy::default();
    let alone = Budget::new(OWN, &[], &[]).reserve(&second, &policy).unwrap();
    assert!(alone.epsilon_after < 8.0 && alone.epsilon_before == 0.0);
    let budget = Budget::new(OWN, std::slice::from_ref(&first), &[charge(&first, 1)]);
    let Err(Refusal::CannotReserve { before, would_be, cap, .. }) = budget.reserve(&second, &policy) else {
        panic!("it was reserved")
    };
    assert!(before < cap && would_be > cap, "{before} {would_be} {cap}");
    // One that fits into the rest is taken, and both are composed.
    let small = Reservation { event: event(12.0), ..reservation("c") };
    let both = budget.reserve(&small, &policy).unwrap();
    let expected = spent(std::iter::repeat_n(&event(6.0), 20).chain(std::iter::repeat_n(&event(12.0), 20)), 1e-6);
    assert_eq!(both.epsilon_after, expected.unwrap());
}

#[test]
fn another_federation_s_reservation_counts_as_much_as_ones_own() {
    let elsewhere = Reservation { server_key: OTHER, federation: "bazaar".into(), ..reservation("a") };
    let second = Reservation { event: event(3.0), ..reservation("a") };
    let refused = Budget::new(OWN, std::slice::from_ref(&elsewhere), &[]).reserve(&second, &MerchantPolicy::default());
    assert!(matches!(refused, Err(Refusal::CannotReserve { .. })), "{refused:?}");
    // The same plan file elsewhere is another plan here: nothing is reserved for its rounds.
    let charged = Budget::new(OWN, &[elsewhere], &[]).admit(&charge(&second, 1), &MerchantPolicy::default());
    assert!(matches!(charged, Err(Refusal::NotReserved { run: 1 })), "{charged:?}");
}

#[test]
fn a_round_that_was_reserved_is_never_cut_off_by_a_later_plan() {
    // The first plan lets the period cost 4 only; the second would fit under the merchant's own 8.
    let first = Reservation { epsilon_cap: 4.0, ..reservation("a") };
    let second = Reservation { event: event(8.0), ..reservation("b") };
    let policy = MerchantPolicy::default();
    let refused = Budget::new(OWN, std::slice::from_ref(&first), &[]).reserve(&second, &policy);
    assert!(matches!(refused, Err(Refusal::CannotReserve { cap: 4.0, .. })), "{refused:?}");
    // Once its rounds are used up, its cap binds nobody any more, but its cost stays.
    let charges: Vec<Charge> = (1..=20).map(|round| charge(&first, round)).collect();
    let after = Budget::new(OWN, std::slice::from_ref(&first), &charges).reserve(&second, &policy).unwrap();
    assert!(after.cap == 8.0 && after.epsilon_before > 3.0 && after.epsilon_after > 4.0, "{after:?}");
}

#[test]
fn a_plan_that_spans_two_periods_may_not_cut_off_one_of_them() {
    let policy = MerchantPolicy::default();
    let year = |name: &str, start: &str, end: &str, sigma: f64| Reservation {
        period_start: day(start),
        period_end: day(end),
        event: event(sigma),
        ..reservation(name)
    };
    // `long` overlaps both; `early` and `late` do not overlap each other, but each weighs on `long`.
    let long = year("long", "2024-01-01", "2024-12-31", 5.0);
    let early = year("early", "2024-01-01", "2024-03-31", 5.0);
    let late = year("late", "2024-10-01", "2024-12-31", 4.0);
    let held = [long, early];
    let budget = Budget::new(OWN, &held, &[]);
    let pair = Budget::new(OWN, &held[..1], &[]).reserve(&late, &policy).unwrap();
    assert!(pair.epsilon_after < 8.0, "{pair:?}");
    let refused = budget.reserve(&late, &policy);
    let Err(Refusal::CannotReserve { period_start, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(period_start, day("2024-01-01"), "it is the long plan that would be cut off");
}

#[test]
fn periods_that_share_no_day_have_budgets_of_their_own() {
    let first = Reservation { event: event(3.0), ..reservation("a") };
    let next_year = Reservation {
        period_start: day("2025-01-01"),
        period_end: day("2025-12-31"),
        ..Reservation { event: event(3.0), ..reservation("b") }
    };
    let budget = Budget::new(OWN, std::slice::from_ref(&first), &[]);
    assert_eq!(budget.reserve(&next_year, &MerchantPolicy::default()).unwrap().epsilon_before, 0.0);
    let balances = Budget::new(OWN, &[first, next_year], &[]).balances(&MerchantPolicy::default()).unwrap();
    assert_eq!(balances.len(), 2);
    assert!(balances.iter().all(|b| b.plans == 1 && !b.mixed));
}

#[test]
fn units_do_not_mix_over_the_same_days() {
    let customers = reservation("a");
    let series = Reservation {
        unit: PrivacyUnit::Series,
        event: DpEvent::step(PrivacyUnit::Series, 0.25, 1, 20.0).unwrap(),
        ..reservation("b")
    };
    let policy = MerchantPolicy::default();
    for (held, asked) in [(&customers, &series), (&series, &customers)] {
        let refused = Budget::new(OWN, std::slice::from_ref(held), &[]).reserve(asked, &policy);
        assert!(matches!(refused, Err(Refusal::OtherUnit { .. })), "{refused:?}");
        // Also where the other unit was charged without ever being reserved, as by older software.
        let refused =
            Budget::new(OWN, std::slice::from_ref(held), &[charge(asked, 1)]).admit(&charge(held, 1), &policy);
        assert!(matches!(refused, Err(Refusal::OtherUnit { .. })), "{refused:?}");
    }
    let shown = Budget::new(OWN, &[customers], &[charge(&series, 1)]).balances(&policy).unwrap();
    assert_eq!(shown.len(), 2, "each unit separately");
    assert!(shown.iter().all(|balance| balance.mixed), "and neither as the whole truth");
}

#[test]
fn the_strictest_delta_counts() {
    let loose = Reservation { delta: 1e-5, ..reservation("a") };
    let strict = reservation("b");
    let budget = Budget::new(OWN, &[loose, strict], &[]).balances(&MerchantPolicy::default()).unwrap();
    assert_eq!(budget[0].delta, 1e-6);
    assert_eq!(budget[0].reserved, spent(std::iter::repeat_n(&event(6.0), 40), 1e-6).unwrap());
}

#[test]
fn the_model_s_size_replaces_the_reservation_and_both_together_do_not_count_twice() {
    let unknown = Reservation { dimension: None, ..reservation("a") };
    let known = Reservation { event: event(5.9), ..reservation("a") };
    let now = balance(&[unknown.clone(), known.clone()], &[charge(&known, 1)]);
    assert_eq!(now.reserved, spent(std::iter::repeat_n(&event(5.9), 20), 1e-6).unwrap());
    assert_eq!(now.rounds_reserved, 20);
    // A charge with less noise than was reserved is counted beside it, not hidden by it.
    let cheater = Charge { event: event(1.0), ..charge(&known, 1) };
    assert!(balance(&[known], &[cheater]).reserved > now.reserved);
}

#[test]
fn a_policy_that_was_lowered_stops_the_next_round() {
    let reserved = reservation("a");
    let policy = MerchantPolicy { epsilon_max: 2.0, ..MerchantPolicy::default() };
    let refused = Budget::new(OWN, std::slice::from_ref(&reserved), &[]).admit(&charge(&reserved, 1), &policy);
    assert!(matches!(refused, Err(Refusal::OverCap { cap: 2.0, .. })), "{refused:?}");
}

#[test]
fn lines_of_a_budget_file_are_read_whole_or_refused() {
    let entry = BudgetEntry::Reserved(reservation("a"));
    assert_eq!(BudgetEntry::from_bytes(&entry.to_bytes()).unwrap(), entry);
    let text = String::from_utf8(entry.to_bytes()).unwrap();
    for (from, to) in [
        ("\"reserved\"", "\"promised\""),
        ("\"rounds\":20", "\"rounds\":0"),
        ("\"delta\":1e-6", "\"delta\":1.5"),
        ("\"noise_multiplier\":6.0", "\"noise_multiplier\":-6.0"),
        ("2024-12-31", "2023-12-31"),
        ("\"rounds\":20", "\"rounds\":20,\"more\":1"),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} is not there: {text}");
        assert!(BudgetEntry::from_bytes(changed.as_bytes()).is_err(), "{to}");
    }
    assert!(matches!(BudgetEntry::from_bytes(&vec![b' '; 1 << 17]), Err(BudgetEntryError::TooLarge(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_is_admitted_never_exceeds_the_cap_and_never_less_than_was_charged(
        plans in proptest::collection::vec((0_u8..3, 1_u32..6, 3.0_f64..9.0, 0_u8..3), 1..5),
        order in proptest::collection::vec(0_usize..5, 0..24),
    ) {
        let policy = MerchantPolicy::default();
        let periods = [("2024-01-01", "2024-06-30"), ("2024-04-01", "2024-12-31"), ("2025-01-01", "2025-12-31")];
        let (mut held, mut charges) = (Vec::new(), Vec::new());
        for (number, (period, rounds, sigma, federation)) in plans.into_iter().enumerate() {
            let (start, end) = periods[usize::from(period)];
            let next = Reservation {
                server_key: if federation == 0 { OTHER } else { OWN },
                period_start: day(start),
                period_end: day(end),
                rounds,
                event: event(sigma),
                ..reservation(&number.to_string())
            };
            if Budget::new(OWN, &held, &charges).reserve(&next, &policy).is_ok() {
                held.push(next);
            }
        }
        for (round, at) in (1..).zip(order) {
            let Some(of) = held.get(at).filter(|of| of.server_key == OWN) else { continue };
            let next = charge(of, round);
            let budget = Budget::new(OWN, &held, &charges);
            let used = charges.iter().filter(|c: &&Charge| c.plan_sha256 == of.plan_sha256).count();
            match budget.admit(&next, &policy) {
                Ok(_) => charges.push(next),
                // A reserved round is refused for no other reason than that it is used.
                Err(Refusal::ScheduleUsed { .. }) => prop_assert_eq!(used, of.rounds as usize),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }
        for balance in Budget::new(OWN, &held, &charges).balances(&policy).unwrap() {
            prop_assert!(balance.reserved <= 8.0 && balance.spent <= balance.reserved + 1e-9, "{:?}", balance);
            let really = charges
                .iter()
                .filter(|c| c.period_start <= balance.period_end && balance.period_start <= c.period_end)
                .map(|c| &c.event);
            prop_assert!(balance.spent >= spent(really, balance.delta).unwrap() - 1e-9);
        }
    }
}
