//! Plans with local steps, from joining to the audited log: noise in every step, and a merchant's whole update.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::time::Duration;

use forecastle_client::round::driver::{Participant, TrainError, TrainOptions};
use forecastle_crypto::{
    dp::{
        event::DpEvent,
        filter::MerchantPolicy,
        plan::{LocalPlan, NoiseMode, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::sha256,
    ledger::entry::{Charge, Entry, RoundClosed},
};
use forecastle_tests::{
    MERCHANTS,
    merchant::{Merchant, Vanish},
    model, plan,
    server::Federation,
};

const ROUNDS: u32 = 3;
const STEPS: u32 = 4;

fn dimension() -> u32 {
    u32::try_from(model().manifest.layout.federated_len()).unwrap()
}

/// [`plan`] with local steps, and as little noise as its cap allows.
fn with_local_steps(unit: PrivacyUnit, noise: NoiseMode) -> PrivacyPlan {
    let mut plan = plan(ROUNDS, 12_000);
    plan.version = 2;
    plan.privacy.unit = unit;
    if unit == PrivacyUnit::Merchant {
        plan.step.sampling_rate = 1.0;
    }
    plan.local = Some(LocalPlan { noise, steps: STEPS, learning_rate: 0.05, update_clip: 1.0, proximal: 0.0 });
    let plan = plan.renoised(plan.privacy.epsilon_cap, ROUNDS, dimension()).unwrap();
    plan.runnable().unwrap();
    plan
}

/// A policy that accepts the unit, whatever it is.
fn willing(unit: PrivacyUnit) -> MerchantPolicy {
    MerchantPolicy { units: vec![unit], ..MerchantPolicy::default() }
}

async fn joined_under(policy: &MerchantPolicy, federation: &Federation) -> (tempfile::TempDir, Vec<Merchant>) {
    let folder = tempfile::tempdir().unwrap();
    let mut merchants = Vec::new();
    for number in 0..MERCHANTS {
        let merchant = Merchant::new(folder.path(), &format!("shop-{number}"));
        merchant.join_under(&federation.invite().await.to_string(), policy).await.unwrap();
        merchant.import(number);
        merchants.push(merchant);
    }
    (folder, merchants)
}

/// Runs the plan's schedule, one merchant vanishing in round 2 after its charge, and returns what the log holds.
async fn run(plan: &PrivacyPlan) -> (Vec<Charge>, Vec<RoundClosed>) {
    let mut federation = Federation::found(plan).await;
    let (_folder, merchants) = joined_under(&willing(plan.privacy.unit), &federation).await;
    let (leaver, stayers) = merchants.split_last().unwrap();
    let mut trainings: Vec<_> = stayers.iter().map(|merchant| merchant.train()).collect();
    let leaving = leaver.train_with(false, Vanish::Charged(2), None);
    assert_eq!(federation.closed(1).await.len(), MERCHANTS);
    leaving.vanished().await;
    // It comes back for the last round, and its charge for round 2 stays.
    trainings.push(leaver.train());
    for (merchant, training) in stayers.iter().chain([leaver]).zip(trainings) {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), u64::from(ROUNDS), "{}: {events:?}", merchant.name);
        let (epsilon, cap) = trained.spent;
        assert!(epsilon > 7.9 && epsilon <= cap && cap == 8.0, "{}: {epsilon} of {cap}", merchant.name);
        assert_eq!(merchant.rounds(), [1, 2, 3], "{}", merchant.name);
    }

    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert_eq!((verdict.rounds_closed, verdict.rounds_abandoned), (ROUNDS, 0));
    let closed: Vec<RoundClosed> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::RoundClosed(closed) => Some(closed.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(closed.iter().map(|c| c.survivors.len()).collect::<Vec<_>>(), [5, 4, 5]);
    let (version, file) = merchants[0].current_model();
    assert_eq!((version, sha256(&file)), (closed[2].model_version, closed[2].model_sha256));
    let digests: Vec<_> = closed.iter().map(|c| c.model_sha256).collect();
    assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != model().digest());
    let charges = entries.into_iter().filter_map(|entry| match entry {
        Entry::Charge(signed) => Some(signed.charge),
        _ => None,
    });
    (charges.collect(), closed)
}

#[tokio::test(flavor = "multi_thread")]
async fn local_steps_that_carry_the_whole_noise_train_a_customer_level_federation() {
    let plan = with_local_steps(PrivacyUnit::Customer, NoiseMode::Local);
    let (charges, closed) = run(&plan).await;
    let sigma = plan.effective_noise_multiplier(dimension()).unwrap();
    let step = DpEvent::step(PrivacyUnit::Customer, plan.step.sampling_rate, plan.bounds.series, sigma).unwrap();
    for charge in &charges {
        assert_eq!(charge.noise, NoiseMode::Local);
        assert_eq!(charge.event, step.clone().times(u64::from(STEPS)), "every step is charged");
        assert_eq!((charge.unit, charge.clip), (PrivacyUnit::Customer, plan.step.clip));
        let whole = plan.step.noise_multiplier * f64::from(plan.integers.units_per_clip);
        assert!(charge.variance_local.sigma() >= whole, "no share of the noise, all of it");
    }
    for round in &closed {
        assert_eq!(round.terms.clip, 1.0, "the grid is the update's");
        // Four survivors or five: each step of each had the planned noise.
        assert_eq!(round.noise_multiplier_effective, plan.step.noise_multiplier);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_updates_without_noise_in_their_steps_train_a_merchant_level_federation() {
    let plan = with_local_steps(PrivacyUnit::Merchant, NoiseMode::Distributed);
    let (charges, closed) = run(&plan).await;
    let sigma = plan.effective_noise_multiplier(dimension()).unwrap();
    for charge in &charges {
        assert_eq!(charge.noise, NoiseMode::Distributed);
        assert_eq!(charge.event, DpEvent::Gaussian { noise_multiplier: sigma }, "once a round, never amplified");
        assert_eq!((charge.unit, charge.clip), (PrivacyUnit::Merchant, 1.0));
    }
    let effective: Vec<f64> = closed.iter().map(|round| round.noise_multiplier_effective).collect();
    assert!(effective[1] < effective[0] && effective[1] >= plan.step.noise_multiplier, "{effective:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchant_level_plan_is_joined_only_by_those_who_say_so() {
    let federation = Federation::found(&with_local_steps(PrivacyUnit::Merchant, NoiseMode::Distributed)).await;
    let folder = tempfile::tempdir().unwrap();
    let merchant = Merchant::new(folder.path(), "shop-0");
    let refused = merchant.join(&federation.invite().await.to_string()).await.unwrap_err().to_string();
    assert!(refused.contains("it protects the unit `merchant`, which the policy does not accept"), "{refused}");
    merchant.join_under(&federation.invite().await.to_string(), &willing(PrivacyUnit::Merchant)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn training_of_another_kind_than_the_plan_s_sends_nothing_and_charges_nothing() {
    let plan = with_local_steps(PrivacyUnit::Customer, NoiseMode::Local);
    let federation = Federation::found(&plan).await;
    let (_folder, merchants) = joined_under(&willing(PrivacyUnit::Customer), &federation).await;
    let (odd, others) = merchants.split_last().unwrap();
    let trainings: Vec<_> = others.iter().map(|merchant| merchant.train_once()).collect();
    // Software that takes one step a round, whatever the plan says.
    let mut other = plan.clone();
    other.local = None;
    let step = odd.step(&other);
    let options = TrainOptions { once: true, patience: Duration::from_secs(30) };
    let mut participant = Participant::open(odd.home(), Box::new(step), options).unwrap();
    let refused = participant.train(&mut |_| ()).await.unwrap_err();
    drop(participant);
    assert!(matches!(refused, TrainError::Step(_)), "{refused}");
    let words = refused.to_string();
    assert!(words.contains("the plan asks for local steps with the whole noise in each"), "{words}");
    assert!(odd.charges().is_empty());
    for training in trainings {
        assert_eq!(training.end().await.0.result.unwrap(), 1);
    }
    let (entries, verdict) = federation.audit().await;
    assert_eq!(verdict.findings, []);
    assert!(odd.rounds_in(&entries).is_empty());
}
