//! What a merchant has spent decides what it still sends, whatever the server offers.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use forecastle_client::{
    federation::{budget::BudgetFolder, join::JoinError, own_ledger::OwnLedger},
    round::driver::{TrainError, now_ms},
};
use forecastle_crypto::{
    dp::{
        event::DpEvent,
        filter::{MerchantPolicy, Refusal},
        plan::PrivacyPlan,
    },
    identity::{Sha256Digest, sha256},
    ledger::entry::{Charge, NoiseMode, Sampler, SignedCharge},
};
use forecastle_tests::{
    merchant::{Merchant, joined},
    model, plan,
    server::Federation,
};

/// A charge for `event` in a round before the federation's first, signed by `merchant`.
fn earlier(merchant: &Merchant, plan_sha256: Sha256Digest, event: DpEvent, plan: &PrivacyPlan) -> SignedCharge {
    let charge = Charge {
        merchant: merchant.name.parse().unwrap(),
        run: 1,
        round: 0,
        sid: sha256(b"an earlier round"),
        plan_sha256,
        unit: plan.privacy.unit,
        relation: plan.relation(),
        bounds: plan.bounds,
        period_start: plan.rounds.period_start,
        period_end: plan.rounds.period_end,
        noise: NoiseMode::Distributed,
        event,
        clip: plan.step.clip,
        units_per_clip: u64::from(plan.integers.units_per_clip),
        noise_multiplier: plan.step.noise_multiplier,
        variance_local: plan.local_variance().unwrap(),
        survivors_min: plan.rounds.survivors_min,
        colluders_assumed: plan.rounds.colluders_assumed,
        sampling_rate: plan.step.sampling_rate,
        sampler: Sampler::Poisson,
        dimension: u32::try_from(model().manifest.layout.federated_len()).unwrap(),
        delta: plan.privacy.delta,
        epsilon_cap: plan.privacy.epsilon_cap,
        charged_before: 0,
        noise_source: "test".into(),
        software: "test".into(),
        masked_sha256: sha256(b"an earlier update"),
        at_ms: now_ms(),
    };
    SignedCharge::sign(charge, &merchant.home().identity().unwrap())
}

/// Runs a round in which `shop-0` has `charges` behind it. It must refuse with nothing sent, while the others publish.
async fn refused(charges: impl Fn(&Merchant, Sha256Digest, &PrivacyPlan) -> Vec<SignedCharge>) -> Refusal {
    let mut federation = Federation::found(&plan(2, 8_000)).await;
    let (_folder, merchants) = joined(&federation).await;
    let (plan, plan_sha256) = merchants[0].home().plan().unwrap();
    let mut ledger = OwnLedger::open(&merchants[0].folder).unwrap();
    let charges = charges(&merchants[0], plan_sha256, &plan);
    for charge in &charges {
        ledger.record(charge.clone()).unwrap();
    }

    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train_once()).collect();
    let survivors = federation.closed(1).await;
    assert_eq!(survivors.len(), 4);
    assert!(!survivors.contains(&"shop-0".parse().unwrap()));
    let mut ends = Vec::new();
    for training in trainings {
        ends.push(training.end().await.0.result);
    }
    assert!(ends[1..].iter().all(|end| matches!(end, Ok(1))));
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert!(merchants[0].rounds_in(&entries).is_empty(), "no update of it reached the server");
    assert_eq!(merchants[0].charges().len(), charges.len(), "a refused round is not charged");
    match ends.remove(0) {
        Err(TrainError::Refused(refusal)) => refusal,
        other => panic!("it did not refuse: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_whose_schedule_is_used_up_refuses_a_further_round() {
    let refusal = refused(|merchant, plan_sha256, plan| {
        let dimension = u32::try_from(model().manifest.layout.federated_len()).unwrap();
        let event = plan.step_event(plan.effective_noise_multiplier(dimension).unwrap()).unwrap();
        (0..plan.rounds.count).map(|_| earlier(merchant, plan_sha256, event.clone(), plan)).collect()
    })
    .await;
    assert!(matches!(refusal, Refusal::ScheduleUsed { planned: 2 }), "{refusal}");
    assert!(refusal.to_string().contains("nothing was sent"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_plan_cost_for_the_same_period_counts_against_the_cap() {
    let refusal = refused(|merchant, _, plan| {
        // Hardly any noise: this one release costs more than the cap.
        let event = DpEvent::step(plan.privacy.unit, plan.step.sampling_rate, plan.bounds.series, 0.4).unwrap();
        vec![earlier(merchant, sha256(b"another plan"), event, plan)]
    })
    .await;
    let Refusal::CannotReserve { would_be, cap, before, .. } = refusal else { panic!("{refusal}") };
    assert!(would_be > cap && cap == 8.0 && before > cap, "{before}, {would_be} of {cap}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_federation_over_the_same_days_is_refused_before_its_invitation_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (Merchant::new(folder.path(), "here"), Merchant::new(folder.path(), "there"));
    let shared = folder.path().join("budget");
    BudgetFolder::share(&here.home(), &shared).unwrap();
    BudgetFolder::share(&there.home(), &shared).unwrap();
    // Each may cost this merchant 1.2 times what one schedule does.
    let (one, dimension) = (plan(3, 8_000), u32::try_from(model().manifest.layout.federated_len()).unwrap());
    let policy = MerchantPolicy {
        epsilon_max: 1.2 * one.epsilon_rows(dimension, 3).unwrap().server.epsilon,
        ..MerchantPolicy::default()
    };
    let strict = |mut plan: PrivacyPlan| {
        plan.privacy.epsilon_cap = policy.epsilon_max;
        plan
    };
    let (first, second) =
        (Federation::found(&strict(plan(3, 8_000))).await, Federation::found(&strict(plan(3, 9_000))).await);
    here.join_under(&first.invite().await.to_string(), &policy).await.unwrap();
    let invitation = second.invite().await.to_string();
    let refused = there.join_under(&invitation, &policy).await.unwrap_err();
    assert!(matches!(refused, JoinError::Policy(Refusal::CannotReserve { .. })), "{refused}");
    assert!(!there.home().is_joined());
    assert!(second.state().await.merchants().await.unwrap().is_empty(), "nobody waits for a merchant that refused");
    // With a larger budget of its own will it fits, and both count.
    let wide = MerchantPolicy { epsilon_max: 2.0 * policy.epsilon_max, ..policy };
    let error = there.join_under(&invitation, &wide).await.unwrap_err();
    assert!(error.to_string().contains("nothing was reserved"), "the first plan's own cap still stands: {error}");
}
