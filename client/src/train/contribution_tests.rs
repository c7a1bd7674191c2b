//! Claims about what a merchant contributes, by kind of training.

use forecastle_crypto::{
    dp::{
        noise::{ExactSampler, NoiseError, NoiseSource, Variance},
        plan::{LocalPlan, NoiseMode},
        unit::PrivacyUnit,
    },
    identity::Sha256Digest,
};
use jiff::civil::date;

use super::*;
use crate::{
    data::series::{Frequency, KNOWN_CHANNELS, Series},
    model::{Model, ModelConfig, example},
    round::driver::LocalStep,
    train::{
        GradientError, clipped_gradient_sum,
        merchant::{MerchantStep, training_series},
    },
};

const PLAN: &str = include_str!("../../../server/plans/four-merchants.toml");

fn config() -> ModelConfig {
    ModelConfig {
        context: 28,
        horizon: 14,
        d_model: 8,
        heads: 2,
        feedforward: 16,
        ..ModelConfig::preset("nano-daily").unwrap()
    }
}

fn series(count: usize, seed: usize) -> Vec<TrainingSeries> {
    let one = |number: usize| Series {
        id: format!("p{number}"),
        frequency: Frequency::Daily,
        start: date(2024, 1, 1),
        y: (0..90).map(|t| 5.0 + ((t * 7 + (number + seed) * 13) % 11) as f32).collect(),
        known: (0..90)
            .map(|t| [if (t + number + seed).is_multiple_of(5) { 1.0 } else { 0.0 }; KNOWN_CHANNELS])
            .collect(),
        attributes: Vec::new(),
        text: String::new(),
        text_vector: None,
        further: None,
    };
    training_series((0..count).map(one).collect(), &config())
}

/// The shipped plan for few merchants, its rounds changed to `steps` local steps.
fn plan(unit: PrivacyUnit, noise: NoiseMode, steps: u32) -> PrivacyPlan {
    let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
    plan.version = 2;
    plan.privacy.unit = unit;
    plan.privacy.epsilon_cap = 1e3;
    plan.step.sampling_rate = if unit == PrivacyUnit::Merchant { 1.0 } else { 0.5 };
    plan.local = Some(LocalPlan { noise, steps, learning_rate: 0.5, update_clip: 10.0, proximal: 0.0 });
    plan.check().unwrap();
    plan
}

/// The shipped plan for few merchants: one step a round.
fn one_step() -> PrivacyPlan {
    PrivacyPlan::parse(PLAN.as_bytes()).unwrap()
}

fn noised_steps(steps: u32) -> PrivacyPlan {
    plan(PrivacyUnit::Customer, NoiseMode::Local, steps)
}

/// Writes the same numbers over everything, whatever was there: noise so large that the data no longer show.
#[derive(Default)]
struct Drowning {
    draws: u32,
}

impl NoiseSource for Drowning {
    fn add_discrete_gaussian(&mut self, _: Variance, out: &mut [i64]) -> Result<(), NoiseError> {
        self.draws += 1;
        let draws = i64::from(self.draws);
        out.iter_mut().enumerate().for_each(|(i, value)| *value = draws * (i as i64 % 9 - 4) * 100);
        Ok(())
    }

    fn name(&self) -> &'static str {
        "drowning"
    }
}

fn contributed(plan: &PrivacyPlan, series: &[TrainingSeries], seed: u64, noise: &mut dyn NoiseSource) -> Vec<u64> {
    let model = example::model(&config(), 1);
    let release = Release::new(plan, u32::try_from(model.federated_len()).unwrap(), noise).unwrap();
    let mut sampling = Sampling::danger_seeded(seed);
    RoundTraining::of(plan).contribute(&model, series, &mut sampling, release).unwrap().residues().to_vec()
}

#[test]
fn an_update_of_noised_steps_follows_from_what_they_released_and_from_nothing_else() {
    let plan = noised_steps(3);
    let from = |series: &[TrainingSeries], seed| contributed(&plan, series, seed, &mut Drowning::default());
    let update = from(&series(6, 1), 1);
    assert!(update.iter().any(|residue| *residue != 0));
    // Other data, another number of series, another sample, no data at all: once the released sums are the same, so
    // is the update, to the bit.
    assert_eq!(update, from(&series(6, 77), 1));
    assert_eq!(update, from(&series(15, 1), 2));
    assert_eq!(update, from(&[], 3));
    // And it is the walk along them, by hand: learning rate over the public divisor, clipped, rounded.
    let grid = plan.grid(u32::try_from(update.len()).unwrap()).unwrap();
    let unit = plan.step.clip / f64::from(plan.integers.units_per_clip);
    let along = |i: usize| (1.0 + 2.0 + 3.0) * ((i % 9) as f64 - 4.0) * 100.0 * unit;
    let expected: Vec<f64> = (0..update.len()).map(|i| 0.5 * along(i) / plan.local_divisor()).collect();
    assert!(expected.iter().map(|x| x * x).sum::<f64>().sqrt() < 10.0, "not clipped");
    for (found, expected) in grid.dequantize(&update).iter().zip(&expected) {
        assert!((found - expected).abs() <= 0.6 * grid.unit(), "{found} {expected}");
    }
}

#[test]
fn an_empty_sample_is_noised_in_every_step_all_the_same() {
    let mut plan = noised_steps(4);
    plan.step.sampling_rate = 1e-12;
    let mut noise = Drowning::default();
    contributed(&plan, &series(6, 1), 1, &mut noise);
    assert_eq!(noise.draws, 4);
    let mut noise = Drowning::default();
    contributed(&noised_steps(4), &[], 1, &mut noise);
    assert_eq!(noise.draws, 4, "nor does a merchant without data stand out");
}

#[test]
fn an_empty_sample_of_a_single_step_is_noised_as_any_other() {
    let mut plan = one_step();
    plan.step.sampling_rate = 1e-12;
    let from = |plan: &PrivacyPlan, series: &[TrainingSeries]| {
        let mut noise = Drowning::default();
        let update = contributed(plan, series, 1, &mut noise);
        assert_eq!(noise.draws, 1);
        update
    };
    // Drowned, all three look alike: same length, same values.
    assert_eq!(from(&plan, &series(6, 1)), from(&plan, &[]));
    assert_eq!(from(&plan, &[]), from(&one_step(), &series(6, 1)));
}

#[test]
fn the_sum_of_a_single_step_is_divided_by_nothing_of_the_merchant_s() {
    let model = example::model(&config(), 1);
    let mut once = series(4, 1);
    once.iter_mut().for_each(|one| one.cuts.truncate(1));
    let twice = [once.clone(), once.clone()].concat();
    let step = PrivateStep { rate: 1.0, windows_per_series: 1, ..private_step(&one_step()) };
    let sum = |series: &[TrainingSeries]| step.gradient_sum(&model, series, &mut Sampling::danger_seeded(1)).unwrap().0;
    for (two, one) in sum(&twice).iter().zip(sum(&once)) {
        assert!((two - 2.0 * one).abs() <= 1e-9 * one.abs().max(1e-9), "{two} {one}");
    }
}

#[test]
fn a_whole_update_is_noised_once() {
    let plan = plan(PrivacyUnit::Merchant, NoiseMode::Distributed, 4);
    let mut noise = Drowning::default();
    contributed(&plan, &series(6, 1), 1, &mut noise);
    assert_eq!(noise.draws, 1);
}

#[test]
fn noised_steps_are_divided_by_a_constant_and_the_others_by_the_merchant_s_own_count() {
    let model = example::model(&config(), 1);
    let update = |plan: &PrivacyPlan, series: &[TrainingSeries]| {
        let (RoundTraining::NoisedSteps(mut steps) | RoundTraining::WholeUpdate(mut steps)) = RoundTraining::of(plan)
        else {
            panic!("no local steps")
        };
        // One step over all series, each with the only window that it then has.
        (steps.count, steps.step.rate, steps.step.windows_per_series) = (1, 1.0, 1);
        steps.walk(&model, series, &mut Sampling::danger_seeded(1), Ok).unwrap()
    };
    let mut once = series(4, 1);
    once.iter_mut().for_each(|one| one.cuts.truncate(1));
    let twice = [once.clone(), once.clone()].concat();
    let ratio = |a: &[f64], b: &[f64]| -> f64 {
        let norm = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        norm(a) / norm(b)
    };
    let public = noised_steps(1);
    assert!((ratio(&update(&public, &twice), &update(&public, &once)) - 2.0).abs() < 1e-4);
    let own = plan(PrivacyUnit::Merchant, NoiseMode::Distributed, 1);
    assert!((ratio(&update(&own, &twice), &update(&own, &once)) - 1.0).abs() < 1e-4);
}

#[test]
fn every_local_step_draws_a_sample_of_its_own_and_moves_on() {
    let model = example::model(&config(), 1);
    let series = series(12, 1);
    let RoundTraining::NoisedSteps(steps) = RoundTraining::of(&noised_steps(3)) else { panic!("no local steps") };
    let sums = |rate: f64, sampled: f64| {
        let mut steps = LocalSteps { rate, ..steps };
        steps.step.rate = sampled;
        let mut seen = Vec::new();
        let keep = |sum: Vec<f64>| {
            seen.push(sum.clone());
            Ok(sum)
        };
        let update = steps.walk(&model, &series, &mut Sampling::danger_seeded(3), keep).unwrap();
        assert!(update.iter().any(|x| *x != 0.0));
        seen
    };
    // At a learning rate of next to nothing the weights stay, and only the samples make the sums differ.
    let still = sums(1e-12, 0.5);
    assert!(still[0] != still[1] && still[1] != still[2] && still[0] != still[2]);
    // The same samples at other weights give other sums, from the second step on.
    let moving = sums(0.5, 0.5);
    assert_eq!(moving[0], still[0]);
    assert_ne!(moving[1], still[1]);
}

#[test]
fn a_proximal_term_draws_every_step_back_to_the_model_of_the_round() {
    let model = example::model(&config(), 1);
    let RoundTraining::NoisedSteps(steps) = RoundTraining::of(&noised_steps(3)) else { panic!("no local steps") };
    assert_eq!(steps.proximal, 0.0, "unless the plan asks for it there is none");
    // Whatever the data say, every step walks along the same sum; a constant makes the recursion easy by hand.
    let walked = |proximal: f64| {
        let steps = LocalSteps { rate: 0.5, divisor: Divisor::Public(1.0), proximal, ..steps };
        let along = |sum: Vec<f64>| Ok(vec![0.01; sum.len()]);
        steps.walk(&model, &series(2, 1), &mut Sampling::danger_seeded(1), along).unwrap()[0]
    };
    assert!((walked(0.0) - 0.015).abs() < 1e-12);
    // d ← d + 0.5 (0.01 − 0.4 d): 0.005, 0.009, 0.0122.
    assert!((walked(0.4) - 0.0122).abs() < 1e-12, "{}", walked(0.4));
}

#[test]
fn local_steps_learn() {
    use crate::train::weighted_quantile_loss;
    let start = example::model(&config(), 1);
    let series = series(8, 1);
    let windows: Vec<_> = series.iter().map(|one| one.window(one.cuts[0], start.shape())).collect();
    let RoundTraining::WholeUpdate(steps) = RoundTraining::of(&plan(PrivacyUnit::Merchant, NoiseMode::Distributed, 30))
    else {
        panic!("no local steps")
    };
    let update = steps.walk(&start, &series, &mut Sampling::danger_seeded(5), Ok).unwrap();
    let mut after = start.clone();
    let moved: Vec<f32> = start.federated().iter().zip(&update).map(|(w, u)| (f64::from(*w) - u) as f32).collect();
    after.set_federated(&moved).unwrap();
    let loss = |model: &Model| weighted_quantile_loss(model, &windows).unwrap().unwrap();
    assert!(loss(&after) < 0.95 * loss(&start), "{} {}", loss(&after), loss(&start));
}

#[test]
fn a_series_that_leaves_the_numbers_counts_as_zero_and_silences_nobody() {
    let model = example::model(&config(), 1);
    let mut broken = series(4, 1);
    broken[2].series.known.iter_mut().for_each(|channels| *channels = [f32::MAX; KNOWN_CHANNELS]);
    let without: Vec<TrainingSeries> =
        broken.iter().enumerate().filter(|(i, _)| *i != 2).map(|(_, s)| s.clone()).collect();
    let step = PrivateStep { rate: 1.0, ..private_step(&noised_steps(1)) };
    for one in [&broken, &without] {
        assert_eq!(one.iter().filter(|s| s.cuts.is_empty()).count(), 0);
    }
    let single = |all: &[TrainingSeries]| -> Vec<TrainingSeries> {
        let mut all = all.to_vec();
        all.iter_mut().for_each(|one| one.cuts.truncate(1));
        all
    };
    let sum =
        |all: &[TrainingSeries]| step.gradient_sum(&model, &single(all), &mut Sampling::danger_seeded(1)).unwrap().0;
    let refused = clipped_gradient_sum(&model, &[vec![broken[2].window(broken[2].cuts[0], model.shape())]], 1.0);
    assert!(matches!(refused, Err(GradientError::NotFinite { .. })));
    assert_eq!(sum(&broken), sum(&without));
    // And in a round, whichever kind it is.
    for plan in [one_step(), noised_steps(2), plan(PrivacyUnit::Merchant, NoiseMode::Distributed, 2)] {
        let mut plan = plan;
        plan.step.sampling_rate = 1.0;
        let mut noise = Drowning::default();
        contributed(&plan, &broken, 1, &mut noise);
        assert!(noise.draws > 0);
    }
}

#[test]
fn equal_seeds_contribute_alike_and_others_do_not() {
    let plan = noised_steps(2);
    let from = |seed: u64, noise: u8| {
        contributed(&plan, &series(6, 1), seed, &mut ExactSampler::danger_from_seed([noise; 32]))
    };
    assert_eq!(from(1, 1), from(1, 1));
    assert_ne!(from(1, 1), from(2, 1));
    assert_ne!(from(1, 1), from(1, 2));
}

#[test]
fn a_model_that_reads_texts_in_another_way_is_not_trained_on() {
    let plan = one_step();
    let named = |text_encoder| ModelConfig { text_encoder, ..config() };
    let contributed = |begun_with, offered| {
        let mut step = MerchantStep::over(series(3, 1), &plan).with_texts_for(&named(begun_with));
        let model = Model::untrained(&named(offered), 1).unwrap();
        let mut noise = Drowning::default();
        let release = Release::new(&plan, u32::try_from(model.federated_len()).unwrap(), &mut noise).unwrap();
        step.contribute(&model.snapshot(), release).map(|_| ())
    };
    let encoder = Some(Sha256Digest([1; 32]));
    assert_eq!(contributed(None, None), Ok(()));
    assert_eq!(contributed(encoder, encoder), Ok(()));
    for (begun_with, offered) in [(None, encoder), (encoder, None), (encoder, Some(Sha256Digest([2; 32])))] {
        assert!(contributed(begun_with, offered).unwrap_err().contains("train` again"));
    }
}
