use std::sync::Arc;

use proptest::prelude::*;
use rand::SeedableRng as _;

use super::*;
use crate::data::series::Further;
use crate::data::signals::{Inputs, KnownFeature, Named as _, PastChannel};
use crate::data::window::Window;
use crate::device::passes::tests::floats;
use crate::model::{self, Trained, Weights, encoder, example};

/// Networks that differ in every extent, by number.
fn config(number: u32) -> ModelConfig {
    let nano = ModelConfig::preset("nano-daily").unwrap();
    let weekly = ModelConfig::preset("nano-weekly").unwrap();
    match number % 5 {
        0 => ModelConfig { context: 28, horizon: 14, d_model: 8, heads: 2, feedforward: 16, ..nano },
        // One token of the past and one of the future.
        1 => ModelConfig { context: 7, horizon: 7, d_model: 12, heads: 3, feedforward: 9, layers: 1, ..nano },
        2 => ModelConfig { context: 20, horizon: 7, d_model: 34, heads: 1, feedforward: 21, day_features: 3, ..weekly },
        3 => ModelConfig { context: 21, horizon: 14, d_model: 40, heads: 4, feedforward: 200, layers: 3, ..nano },
        _ => everything(),
    }
}

/// A network that reads all further inputs.
fn everything() -> ModelConfig {
    let config = ModelConfig {
        context: 28,
        horizon: 14,
        d_model: 16,
        heads: 2,
        feedforward: 24,
        ..ModelConfig::preset("nano-daily").unwrap()
    };
    config.with_inputs(Inputs {
        past_channels: PastChannel::ALL.iter().copied().collect(),
        known_channels: KnownFeature::ALL.iter().copied().collect(),
        vectors: true,
        returns: false,
    })
}

/// Windows with all that a network reads.
fn windows(config: &ModelConfig, count: usize, seed: u64) -> Vec<Window> {
    let mut windows = example::windows(config, count, seed);
    if !config.inputs().is_empty() {
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(seed);
        for window in &mut windows {
            let past = (0..config.context).map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0))).collect();
            let steps = config.context + config.horizon;
            let known = (0..steps).map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0))).collect();
            let vector = window.statics.text.clone();
            window.further = Some(Arc::new(Further { past, known, vector, returns: Vec::new() }));
        }
    }
    windows
}

fn norm(v: impl Iterator<Item = f64>) -> f64 {
    v.map(|x| x * x).sum::<f64>().sqrt()
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    norm(a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)))
}

fn magnitude(v: &[f32]) -> f64 {
    norm(v.iter().map(|x| f64::from(*x)))
}

fn relative(found: &[f32], expected: &[f32]) -> f64 {
    distance(found, expected) / magnitude(expected).max(1e-30)
}

fn batch(config: &ModelConfig, units: &[Vec<Window>], rows: usize) -> Batch {
    let units: Vec<Vec<&Window>> = units.iter().map(|unit| unit.iter().collect()).collect();
    Batch::of_units(config, &units, rows, &model::device()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn codes_are_those_of_the_tensor_library(number in 0u32..5, count in 1usize..7, seed: u64) {
        let config = config(number);
        let model = example::model(&config, seed);
        let batch = batch(&config, &[windows(&config, count, seed)], count);
        let weights = Weights::shared(&model, &model::device());
        let expected = floats(encoder::encode(&config, &weights, &batch, None));
        let found = floats(Encoder::new(&model).encode(&batch));
        prop_assert!(relative(&found, &expected) < 2e-6, "{}", relative(&found, &expected));
    }

    #[test]
    fn gradients_of_every_parameter_are_those_of_the_tensor_library(
        number in 0u32..5, counts in proptest::collection::vec(0usize..4, 1..6), seed: u64,
    ) {
        let config = config(number);
        let model = example::model(&config, seed).training(Trained::All);
        let units: Vec<Vec<Window>> =
            counts.iter().zip(0..).map(|(count, i)| windows(&config, *count, seed ^ i)).collect();
        let rows = counts.iter().copied().max().unwrap_or(0).max(1);
        let batch = batch(&config, &units, rows);
        // Some gradient of the codes, nothing for windows that are not there.
        let length = config.horizon * config.day_features;
        let mut state = seed as f32 % 97.0;
        let mut d_codes = vec![0.0; counts.len() * rows * length];
        for (unit, count) in counts.iter().enumerate() {
            for d in &mut d_codes[unit * rows * length..(unit * rows + count) * length] {
                state = (state * 1.37 + 0.71) % 11.0;
                *d = state - 5.5;
            }
        }
        let weights = Weights::trained(&model, counts.len(), &model::device(), |_| true);
        let codes = encoder::encode(&config, &weights, &batch, None);
        let direction = Tensor::<3>::from_data(TensorData::new(d_codes.clone(), codes.dims()), &model::device());
        let gradients = (codes * direction).sum().backward();

        let trained = Encoder::for_training(&model);
        let (pass, _) = trained.pass(&batch, Shares::of_units(counts.iter().copied(), rows));
        let mut at = 0;
        let places: Vec<_> = model.layout().entries.iter().map(|entry| {
            at += entry.len();
            Some(at - entry.len()..at)
        }).collect();
        let mut seen = vec![false; counts.len()];
        let mut found = vec![vec![0.0; at]; counts.len()];
        pass.gradients(&d_codes, &places, at, |numbers, gradients| {
            for (number, share) in numbers.iter().zip(gradients) {
                assert!(!std::mem::replace(&mut seen[*number], true));
                assert!((squares(&share.gradient) / share.squares - 1.0).abs() < 1e-12);
                found[*number].clone_from(&share.gradient);
            }
        });
        for (number, entry) in model.layout().entries.iter().enumerate() {
            let Some(expected) = weights.get(&entry.name).grad(&gradients) else { continue };
            let expected = floats(expected);
            let place = places[number].clone().unwrap();
            for (unit, expected) in expected.chunks_exact(entry.len()).enumerate() {
                prop_assert_eq!(seen[unit], counts[unit] > 0);
                // A single number may be the little that is left of large terms: measured by the usual coordinate then.
                let usual = magnitude(&found[unit]) * (entry.len() as f64 / at as f64).sqrt();
                let error = distance(&found[unit][place.clone()], expected) / magnitude(expected).max(usual).max(1e-30);
                prop_assert!(error < 1e-5, "{} of unit {unit}: {error}", entry.name);
            }
        }

        // The same, added up.
        let (pass, _) = trained.pass(&batch, Shares::one(counts.len() * rows));
        let sum = pass.add_gradients(&d_codes, &places, vec![1.0; at]);
        let of_units = |i: usize| 1.0 + found.iter().map(|gradient| gradient[i]).sum::<f32>();
        let expected: Vec<f32> = (0..at).map(of_units).collect();
        prop_assert!(relative(&sum, &expected) < 1e-5);
    }
}

#[test]
fn a_unit_has_the_same_gradient_to_the_bit_whoever_stands_beside_it() {
    for number in 0..5 {
        let config = config(number);
        let model = example::model(&config, 4).training(Trained::All);
        let trained = Encoder::for_training(&model);
        let length = config.horizon * config.day_features;
        let places = model.layout().entries.iter().scan(0, |at, entry| {
            *at += entry.len();
            Some(Some(*at - entry.len()..*at))
        });
        let places = places.collect::<Vec<_>>();
        let len = model.values().len();
        let unit = windows(&config, 2, 9);
        let gradient_beside = |before: &[usize], after: usize| {
            let mut units: Vec<_> = before.iter().map(|count| windows(&config, *count, 1)).collect();
            units.push(unit.clone());
            units.push(windows(&config, after, 2));
            let batch = batch(&config, &units, 3);
            let (pass, codes) = trained.pass(&batch, Shares::of_units(units.iter().map(Vec::len), 3));
            let codes = floats(codes.inner());
            let d_codes: Vec<f32> = codes.iter().map(|code| code.cos()).collect();
            let mut found = Vec::new();
            pass.gradients(&d_codes, &places, len, |numbers, gradients| {
                if let Some(at) = numbers.iter().position(|number| *number == before.len()) {
                    found.clone_from(&gradients[at].gradient);
                }
            });
            let start = before.len() * 3 * length;
            (codes[start..start + 2 * length].to_vec(), found)
        };
        let alone = gradient_beside(&[], 0);
        assert!(alone.1.iter().any(|g| *g != 0.0));
        for (before, after) in [(vec![3], 1), (vec![1, 1], 2), (vec![0, 2], 0), (vec![3, 3, 3], 3)] {
            assert_eq!(alone, gradient_beside(&before, after), "{before:?} {after}");
        }
    }
}

#[test]
fn no_windows_are_no_group() {
    assert!(Shares::of_units([0, 0], 3).groups.is_empty());
    assert!(Shares::one(0).groups.is_empty());
}
