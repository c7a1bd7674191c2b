//! An honest build is not accused; one that leaves out noise, clipping or bounds is found out.
//!
//! Coins, samples and noise are the operating system's, so each run is a new one. An honest run is wrongly accused with
//! probability 10⁻⁶ at most, which is the error stated there. A broken build has four runs in which to be found out.

use super::*;
use crate::{
    data::order::{Catalogue, CustomerPseudonym, LineStatus, OrderLine, plus_days},
    model::{ModelConfig, example},
};
use forecastle_crypto::dp::noise::Variance;

const PLAN: &str = include_str!("../../../server/plans/four-merchants.toml");

fn model() -> Model {
    let preset = ModelConfig::preset("nano-daily").unwrap();
    let config = ModelConfig { context: 28, horizon: 14, d_model: 8, heads: 2, feedforward: 16, ..preset };
    example::model(&config, 1)
}

fn plan(unit: PrivacyUnit) -> PrivacyPlan {
    let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    plan.privacy.unit = unit;
    plan.step.windows_per_series = 1;
    plan
}

fn request() -> Request {
    Request { canaries: 32, epsilon: 0.5, rounds: 40, confidence: 0.95 }
}

fn audit(plan: &PrivacyPlan) -> CanaryAudit<'static> {
    let digest = Sha256Digest([7; 32]);
    CanaryAudit::new(plan, digest, &model(), SeriesChoice::default(), NoiseSampler::Exact, &request()).unwrap()
}

/// Would be accused wrongly once in a million runs at most.
fn honest(plan: &PrivacyPlan) -> CanaryAudit<'static> {
    CanaryAudit { confidence: 1.0 - 1e-6, ..audit(plan) }
}

fn result(audit: &CanaryAudit<'_>, own: Option<&Tables<'_>>) -> CanaryRun {
    let mut rounds = 0;
    let run = audit.run(own, "test", 1, &mut |done| rounds = done.round).unwrap();
    run.check().unwrap();
    assert_eq!((rounds, run.rounds, run.canaries), (40, 40, 32));
    println!("{}: refuted up to {:.3} of {:.3}, {:?}", run.unit, run.epsilon_lower_bound, run.epsilon, run.looks);
    run
}

fn found_out(audit: &CanaryAudit<'_>, own: Option<&Tables<'_>>) -> bool {
    (0..4).any(|_| result(audit, own).refutes())
}

/// Adds nothing.
struct Silent;

impl NoiseSource for Silent {
    fn add_discrete_gaussian(&mut self, _: Variance, _: &mut [i64]) -> Result<(), NoiseError> {
        Ok(())
    }

    fn name(&self) -> &'static str {
        "none"
    }
}

#[test]
fn an_honest_build_is_not_accused() {
    for unit in [PrivacyUnit::Customer, PrivacyUnit::Series] {
        let run = result(&honest(&plan(unit)), None);
        assert!(!run.refutes());
        assert!(run.epsilon > 0.45 && run.epsilon <= 0.5, "{}", run.epsilon);
        assert_eq!(run.own_series, 0);
    }
}

#[test]
fn a_build_without_noise_is_found_out() {
    for unit in [PrivacyUnit::Customer, PrivacyUnit::Series] {
        let mut audit = audit(&plan(unit));
        audit.noise = Box::new(|| Ok(Box::new(Silent)));
        assert!(found_out(&audit, None));
    }
}

#[test]
fn a_build_that_does_not_clip_is_found_out() {
    for unit in [PrivacyUnit::Customer, PrivacyUnit::Series] {
        let mut audit = audit(&plan(unit));
        audit.run.step.clip = 1e9;
        assert!(found_out(&audit, None));
    }
}

#[test]
fn a_build_that_does_not_bound_contributions_is_found_out() {
    let mut audit = audit(&plan(PrivacyUnit::Customer));
    audit.run.bounds.order_lines = u32::MAX;
    audit.run.bounds.series = u32::MAX;
    audit.run.bounds.units = 1e12;
    assert!(found_out(&audit, None));
}

/// Twelve products that many customers buy.
fn orders(plan: &PrivacyPlan) -> Vec<OrderLine> {
    let period = prepare::period_of(plan).unwrap();
    let line = |number: usize| OrderLine {
        order: format!("o{number}"),
        line: None,
        customer: Some(CustomerPseudonym([(number % 251) as u8; 16])),
        product: format!("p{}", number % 12),
        at: plus_days(period.end(), -((number * 7 % 120) as i64)).at(9, 0, 0, 0),
        quantity: (number % 5 + 1) as f64,
        unit_price: Some(2.0),
        discount: 0.0,
        status: LineStatus::Sold,
        channel: None,
    };
    (0..600).map(line).collect()
}

#[test]
fn canaries_are_found_beside_real_series_too_and_the_result_says_that_there_were_some() {
    let plan = plan(PrivacyUnit::Customer);
    let period = prepare::period_of(&plan).unwrap();
    let holidays = (0..20).map(|week| (plus_days(period.end(), -7 * week - 2), "market day".to_owned())).collect();
    let (orders, catalogue) = (orders(&plan), Catalogue { holidays, ..Catalogue::default() });
    let key = ContributionKey::ephemeral().unwrap();
    let own = Tables { orders: &orders, sales: &[], catalogue: &catalogue, signals: None, key };
    let run = result(&honest(&plan), Some(&own));
    assert!(!run.refutes());
    assert_eq!(run.own_series, 12);
    let mut broken = audit(&plan);
    broken.noise = Box::new(|| Ok(Box::new(Silent)));
    assert!(found_out(&broken, Some(&own)));
}

#[test]
fn noised_local_steps_are_audited_as_well() {
    let mut plan = plan(PrivacyUnit::Customer);
    plan.version = 2;
    plan.local = Some(forecastle_crypto::dp::plan::LocalPlan {
        noise: forecastle_crypto::dp::plan::NoiseMode::Local,
        steps: 2,
        learning_rate: 0.05,
        update_clip: 0.01,
        proximal: 0.0,
    });
    assert!(!result(&honest(&plan), None).refutes());
    let mut broken = audit(&plan);
    broken.noise = Box::new(|| Ok(Box::new(Silent)));
    assert!(found_out(&broken, None));
}

#[test]
fn what_cannot_be_audited_is_refused_by_name() {
    let digest = Sha256Digest([7; 32]);
    let refused = |unit, change: &dyn Fn(&mut Request)| {
        let mut request = request();
        change(&mut request);
        let audit =
            CanaryAudit::new(&plan(unit), digest, &model(), SeriesChoice::default(), NoiseSampler::Exact, &request);
        audit.err().expect("refused").to_string()
    };
    assert!(refused(PrivacyUnit::Merchant, &|_| ()).contains("whole merchant"));
    assert!(refused(PrivacyUnit::Series, &|r| r.canaries = 3).contains("canaries"));
    assert!(refused(PrivacyUnit::Series, &|r| r.confidence = 1.0).contains("confidence"));
    assert!(refused(PrivacyUnit::Series, &|r| r.epsilon = f64::NAN).contains("epsilon"));
    let said = refused(PrivacyUnit::Series, &|r| r.rounds = 0);
    assert!(said.contains("rounds"), "{said}");
}
