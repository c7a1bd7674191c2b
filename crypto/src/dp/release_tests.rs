//! Claims about what may leave, by kind of training.

use super::*;
use crate::dp::{
    noise::ExactSampler,
    plan::tests::{PLAN, local_steps},
};

const DIMENSION: u32 = 400;

fn plans() -> [PrivacyPlan; 3] {
    [PLAN.to_owned(), local_steps("customer", "local", 0.25), local_steps("merchant", "distributed", 1.0)]
        .map(|text| PrivacyPlan::parse(text.as_bytes()).unwrap())
}

/// Adds nothing and counts how much was asked for.
#[derive(Default)]
struct Counting {
    draws: Vec<(Variance, usize)>,
}

impl NoiseSource for Counting {
    fn add_discrete_gaussian(&mut self, variance: Variance, out: &mut [i64]) -> Result<(), NoiseError> {
        self.draws.push((variance, out.len()));
        Ok(())
    }

    fn name(&self) -> &'static str {
        "none"
    }
}

fn values(update: &NoisedUpdate) -> Vec<f64> {
    update.grid().dequantize(update.residues())
}

fn norm(vector: &[f64]) -> f64 {
    vector.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[test]
fn each_kind_adds_the_noise_that_its_plan_charges() {
    let zeros = vec![0.0; DIMENSION as usize];
    let [one_step, local, merchant] = plans();

    let mut noise = Counting::default();
    Release::new(&one_step, DIMENSION, &mut noise).unwrap().gradient_sum(&zeros).unwrap();
    // σ = 8 in ten shares less a colluder's.
    assert_eq!(noise.draws, [(one_step.local_variance().unwrap(), 400)]);
    assert!((noise.draws[0].0.sigma() / (8.0 * 4096.0 / 3.0) - 1.0).abs() < 1e-9);

    let mut noise = Counting::default();
    let mut release = Release::new(&local, DIMENSION, &mut noise).unwrap();
    (0..5).for_each(|_| drop(release.noised_step(&zeros).unwrap()));
    release.update_of_noised_steps(zeros.clone()).unwrap();
    assert_eq!(noise.draws.len(), 5, "every step is noised, the update is not noised again");
    assert!(noise.draws.iter().all(|(variance, len)| variance.sigma() >= 10.0 * 4096.0 && *len == 400));

    let mut noise = Counting::default();
    Release::new(&merchant, DIMENSION, &mut noise).unwrap().whole_update(zeros).unwrap();
    assert_eq!(noise.draws.len(), 1);
    assert!((noise.draws[0].0.sigma() / (10.0 * 4096.0 / 3.0) - 1.0).abs() < 1e-9);
}

#[test]
fn a_merchant_reaches_no_further_than_the_plan_s_most_series_would() {
    let [plan, _, _] = plans();
    let most = f64::from(plan.step.series_per_merchant_max) * plan.step.clip;
    let direction = [1.0 / f64::from(DIMENSION).sqrt(); DIMENSION as usize];
    for (length, expected) in [(0.5, 0.5), (1.0, 1.0), (7.0, 1.0)] {
        let sum: Vec<f64> = direction.iter().map(|x| x * most * length).collect();
        let update = Release::new(&plan, DIMENSION, &mut Counting::default()).unwrap().gradient_sum(&sum).unwrap();
        assert!((norm(&values(&update)) / most - expected).abs() < 1e-3, "{length}");
    }
}

#[test]
fn training_of_another_kind_than_the_plan_s_is_refused_by_name() {
    let zeros = vec![0.0; DIMENSION as usize];
    for plan in plans() {
        let planned = Kind::of(&plan);
        let mut noise = Counting::default();
        let mut refused = Vec::new();
        for kind in [Kind::GradientSum, Kind::NoisedSteps, Kind::WholeUpdate] {
            let mut release = Release::new(&plan, DIMENSION, &mut noise).unwrap();
            let result = match kind {
                Kind::GradientSum => release.gradient_sum(&zeros).map(drop),
                Kind::NoisedSteps => release.noised_step(&zeros).map(drop),
                Kind::WholeUpdate => release.whole_update(zeros.clone()).map(drop),
            };
            match result {
                Ok(()) => assert_eq!(kind, planned),
                Err(ReleaseError::OtherKind { planned: p, found }) => {
                    assert_eq!((p, found), (planned, kind));
                    refused.push(kind);
                }
                Err(other) => panic!("{other}"),
            }
        }
        assert_eq!(refused.len(), 2);
        assert_eq!(noise.draws.len(), 1, "what is refused draws no noise");
    }
}

#[test]
fn an_update_of_other_than_the_planned_steps_may_not_leave() {
    let zeros = vec![0.0; DIMENSION as usize];
    let [_, local, _] = plans();
    let mut noise = Counting::default();
    let mut release = Release::new(&local, DIMENSION, &mut noise).unwrap();
    (0..4).for_each(|_| drop(release.noised_step(&zeros).unwrap()));
    let refused = release.update_of_noised_steps(zeros.clone());
    assert!(matches!(refused, Err(ReleaseError::Steps { planned: 5, taken: 4 })));
    // An update that no noise went into is the same, with none taken.
    let release = Release::new(&local, DIMENSION, &mut noise).unwrap();
    let bare = release.update_of_noised_steps(zeros.clone());
    assert!(matches!(bare, Err(ReleaseError::Steps { planned: 5, taken: 0 })));
    let mut release = Release::new(&local, DIMENSION, &mut noise).unwrap();
    (0..5).for_each(|_| drop(release.noised_step(&zeros).unwrap()));
    assert!(matches!(release.noised_step(&zeros), Err(ReleaseError::Steps { planned: 5, taken: 6 })));
}

#[test]
fn an_un_noised_update_leaves_under_no_unit_but_the_merchant_s() {
    // No plan file says this: a plan changed in memory after it was checked.
    for unit in [PrivacyUnit::Customer, PrivacyUnit::Series] {
        let [_, _, mut plan] = plans();
        plan.privacy.unit = unit;
        assert!(plan.check().is_err());
        let mut noise = Counting::default();
        let refused = Release::new(&plan, DIMENSION, &mut noise).unwrap().whole_update(vec![0.0; 400]);
        assert!(matches!(refused, Err(ReleaseError::NotThisUnit(u)) if u == unit));
        assert!(noise.draws.is_empty());
    }
}

#[test]
fn a_whole_update_is_never_longer_than_its_clip_and_zero_where_it_is_no_number() {
    let [_, _, plan] = plans();
    let mut noise = Counting::default();
    let mut released =
        |update: Vec<f64>| values(&Release::new(&plan, DIMENSION, &mut noise).unwrap().whole_update(update).unwrap());
    let direction: Vec<f64> = (0..DIMENSION).map(|i| f64::from(i % 7) - 3.0).collect();
    // The clip is 1 and rounding moves a coordinate by half a unit of 1/4096.
    let slack = 20.0 * 0.5 / 4096.0;
    for length in [1e-3, 1.0, 1e6, 1e100] {
        let scale = length / norm(&direction);
        let update = released(direction.iter().map(|x| x * scale).collect());
        assert!(norm(&update) <= 1.0 + slack && norm(&update) >= length.min(1.0) - slack, "{length}");
    }
    let mut broken = direction;
    broken[17] = f64::NAN;
    assert_eq!(released(broken), vec![0.0; 400]);
    assert_eq!(noise.draws.len(), 5, "zero is noised like anything else");
}

#[test]
fn a_noised_step_is_the_sum_and_its_noise_and_never_wraps_around() {
    let [_, mut plan, _] = plans();
    // So few bits that an update of norm 1 just fits; a step's sum is far beyond them.
    plan.integers.bits = 14;
    let mut noise = ExactSampler::danger_from_seed([7; 32]);
    let sigma = 10.0 * 0.1;
    // As long as the plan's 200 series of norm 0.1 can be.
    let sum = vec![0.99 * sigma; DIMENSION as usize];
    let mut release = Release::new(&plan, DIMENSION, &mut noise).unwrap();
    let noised = release.noised_step(&sum).unwrap();
    let errors: Vec<f64> = noised.iter().zip(&sum).map(|(x, y)| (x - y) / sigma).collect();
    // 400 standard Gaussians: a mean beyond 0.3 is six standard deviations, a variance off by 0.45 more than six.
    let mean = errors.iter().sum::<f64>() / 400.0;
    let variance = errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / 399.0;
    assert!(mean.abs() < 0.3 && (variance - 1.0).abs() < 0.45, "{mean} {variance}");
}

#[test]
fn steps_that_diverged_give_no_update() {
    let [_, plan, _] = plans();
    let mut noise = Counting::default();
    let mut release = Release::new(&plan, DIMENSION, &mut noise).unwrap();
    (0..5).for_each(|_| drop(release.noised_step(&[0.0; 400]).unwrap()));
    let diverged = release.update_of_noised_steps(vec![f64::INFINITY; 400]);
    assert!(matches!(diverged, Err(ReleaseError::Diverged)));
}
