use proptest::prelude::*;

use super::*;
use crate::device::passes::tests::floats;
use crate::model::{ModelConfig, Trained, example};

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

/// Units of one to three windows each.
fn units(config: &ModelConfig, count: usize) -> Vec<Vec<Window>> {
    (0..count).map(|i| example::windows(config, 1 + i % 3, i as u64)).collect()
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Gradient of one unit, in a pass of its own by the tensor library.
fn alone(model: &Model, unit: &[Window]) -> Vec<f64> {
    let mut raw = Vec::new();
    raw_gradients(model, None, &[unit.to_vec()], unit.len(), 0, |_, gradients| {
        raw.extend(gradients[0].gradient.iter().map(|&g| f64::from(g)));
        Ok(())
    })
    .unwrap();
    raw
}

/// Each unit in a pass of its own, its gradient clipped after the fact.
fn naive_sum(model: &Model, units: &[Vec<Window>], clip: f64) -> Vec<f64> {
    let mut sum = vec![0.0; model.federated_len()];
    for unit in units {
        let mut raw = alone(model, unit);
        let factor = (clip / norm(&raw)).min(1.0);
        raw.iter_mut().for_each(|g| *g *= factor);
        sum.iter_mut().zip(&raw).for_each(|(s, g)| *s += g);
    }
    sum
}

fn assert_near(a: &[f64], b: &[f64], relative: f64) {
    let difference: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    assert!(norm(&difference) <= relative * norm(b), "{} of {}", norm(&difference), norm(b));
}

#[test]
fn the_sum_equals_a_loop_over_the_units() {
    let config = config();
    let model = example::model(&config, 1);
    let units = units(&config, device::place().passes().units + 5);
    for clip in [1e-3, 0.3, 1e6] {
        let sum = clipped_gradient_sum(&model, &units, clip).unwrap();
        assert_near(&sum, &naive_sum(&model, &units, clip), 1e-5);
    }
}

#[test]
fn whatever_is_trained_the_sum_equals_a_loop_and_units_do_not_meet() {
    let config = config();
    for trained in Trained::ALL {
        let model = example::model(&config, 1).training(trained);
        let units = units(&config, 7);
        let each = clipped_gradients(&model, &units, 0.3).unwrap();
        let sum = clipped_gradient_sum(&model, &units, 0.3).unwrap();
        assert_near(&sum, &naive_sum(&model, &units, 0.3), 1e-5);
        let mut changed = units.clone();
        changed[2] = example::windows(&config, 2, 777);
        let after = clipped_gradients(&model, &changed, 0.3).unwrap();
        for unit in [0, 1, 3, 4, 5, 6] {
            assert_eq!(each[unit], after[unit], "{trained}, unit {unit}");
        }
        assert_ne!(each[2], after[2], "{trained}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    /// Units with up to four windows or none, in networks down to one token of the past and one of the future.
    #[test]
    fn every_parameter_of_every_unit_is_as_in_a_loop(
        counts in proptest::collection::vec(0usize..5, 0..12),
        tokens in (1usize..4, 1usize..3),
        d_model in 1usize..5,
        trained in 0usize..4,
        seed: u64,
    ) {
        let config = ModelConfig {
            context: 7 * tokens.0,
            horizon: 7 * tokens.1,
            d_model: 4 * d_model,
            feedforward: 5 * d_model,
            ..config()
        };
        let model = example::model(&config, seed).training(Trained::ALL[trained]);
        let units: Vec<Vec<Window>> =
            counts.iter().zip(0..).map(|(count, i)| example::windows(&config, *count, seed ^ i)).collect();
        let each = clipped_gradients(&model, &units, 1e12).unwrap();
        prop_assert_eq!(each.len(), units.len());
        for (unit, found) in units.iter().zip(each) {
            if unit.is_empty() {
                prop_assert_eq!(found, vec![0.0; model.federated_len()]);
                continue;
            }
            let expected = alone(&model, unit);
            let mut at = 0;
            for entry in model.layout().entries.iter().filter(|entry| entry.federated) {
                let part = at..at + entry.len();
                at = part.end;
                let error: Vec<f64> = found[part.clone()].iter().zip(&expected[part.clone()]).map(|(a, b)| a - b).collect();
                // A single number may be the little that is left of large terms: measured by the usual coordinate then.
                let usual = norm(&expected) * (entry.len() as f64 / expected.len() as f64).sqrt();
                let bound = 1e-5 * norm(&expected[part]).max(usual);
                prop_assert!(norm(&error) <= bound, "{}: {} {}", entry.name, norm(&error), bound);
            }
        }
        for clip in [1e-3, 1e6] {
            let sum = clipped_gradient_sum(&model, &units, clip).unwrap();
            let mut expected = vec![0.0; sum.len()];
            for gradient in clipped_gradients(&model, &units, clip).unwrap() {
                prop_assert!(norm(&gradient) <= clip);
                add(&mut expected, &gradient);
            }
            let difference: Vec<f64> = sum.iter().zip(&expected).map(|(a, b)| a - b).collect();
            prop_assert!(norm(&difference) <= 1e-13 * units.len() as f64 * clip.min(norm(&expected) + 1e-300));
        }
    }
}

fn add(sum: &mut [f64], gradient: &[f64]) {
    sum.iter_mut().zip(gradient).for_each(|(total, g)| *total += g);
}

#[test]
fn a_single_window_works() {
    let config = config();
    let model = example::model(&config, 1);
    let unit = vec![example::windows(&config, 1, 9)];
    let sum = clipped_gradient_sum(&model, &unit, 1e6).unwrap();
    assert_near(&sum, &naive_sum(&model, &unit, 1e6), 1e-5);
    assert!(norm(&sum) > 0.0);
}

#[test]
fn no_units_and_units_without_windows_give_zeros() {
    let model = example::model(&config(), 1);
    for units in [vec![], vec![vec![], vec![]]] {
        let sum = clipped_gradient_sum(&model, &units, 1.0).unwrap();
        assert_eq!(sum, vec![0.0; model.federated_len()]);
    }
}

#[test]
fn a_unit_without_targets_contributes_nothing() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        let mut units = units(&config, 3);
        units[1].iter_mut().for_each(|w| w.future.fill(f32::NAN));
        let each = clipped_gradients(&model, &units, 1.0).unwrap();
        assert_eq!(each[1], vec![0.0; model.federated_len()]);
        assert!(norm(&each[0]) > 0.0 && norm(&each[2]) > 0.0);
    }
}

#[test]
fn no_clipped_gradient_is_longer_than_the_clip() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        for clip in [1e-4, 0.05, 0.5] {
            for gradient in clipped_gradients(&model, &units(&config, 9), clip).unwrap() {
                assert!(norm(&gradient) <= clip, "{} exceeds {clip}", norm(&gradient));
            }
        }
    }
}

#[test]
fn changing_or_removing_a_unit_leaves_every_other_gradient_to_the_bit() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        let units = units(&config, 12);
        let before = clipped_gradients(&model, &units, 0.2).unwrap();
        let mut changed = units.clone();
        changed[4] = example::windows(&config, 2, 777);
        let after = clipped_gradients(&model, &changed, 0.2).unwrap();
        for unit in (0..12).filter(|&u| u != 4) {
            assert_eq!(before[unit], after[unit], "unit {unit}");
        }
        assert_ne!(before[4], after[4]);
        let mut removed = units;
        removed.remove(4);
        let mut expected = before;
        expected.remove(4);
        assert_eq!(clipped_gradients(&model, &removed, 0.2).unwrap(), expected);
    }
}

#[test]
fn removing_a_unit_leaves_those_that_move_to_another_pass_to_the_bit() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        let mut units = units(&config, device::place().passes().units + 8);
        let mut expected = clipped_gradients(&model, &units, 0.2).unwrap();
        units.remove(4);
        expected.remove(4);
        assert_eq!(clipped_gradients(&model, &units, 0.2).unwrap(), expected);
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    for trained in [Trained::Heads, Trained::All] {
        differences(trained);
    }
}

#[test]
fn gradients_of_all_heads_agree_with_finite_differences_and_units_do_not_meet() {
    let config = ModelConfig { counts: true, returns: true, ..config() };
    let mut units = units(&config, 7);
    for (at, window) in units.iter_mut().flatten().enumerate() {
        let steps = (0..config.context + config.horizon).map(|step| {
            let known = (step + at) % 5 > 0;
            if known { [(step % 9) as f32, ((step + at) % 3).min(step % 9) as f32] } else { [f32::NAN; 2] }
        });
        let further = crate::data::series::Further { returns: steps.collect(), ..Default::default() };
        window.further = Some(std::sync::Arc::new(further));
    }
    for trained in [Trained::Skip, Trained::Heads, Trained::All] {
        let model = example::model(&config, 3).training(trained);
        differences_of(&model, &units[1]);
        let each = clipped_gradients(&model, &units, 0.3).unwrap();
        assert_near(&clipped_gradient_sum(&model, &units, 0.3).unwrap(), &naive_sum(&model, &units, 0.3), 1e-5);
        // What came back of one unit's sales moves that unit's gradient, and no other's by a bit.
        let mut changed = units.clone();
        let further = std::sync::Arc::make_mut(changed[2][0].further.as_mut().unwrap());
        further.returns[config.context + 1] = [8.0, 7.0];
        let after = clipped_gradients(&model, &changed, 0.3).unwrap();
        for unit in [0, 1, 3, 4, 5, 6] {
            assert_eq!(each[unit], after[unit], "{trained}, unit {unit}");
        }
        assert_ne!(each[2], after[2], "{trained}");
        assert!(after.iter().all(|gradient| norm(gradient) <= 0.3));
    }
}

fn differences(trained: Trained) {
    let config = config();
    differences_of(&example::model(&config, 3).training(trained), &example::windows(&config, 2, 5));
}

fn differences_of(model: &Model, unit: &Vec<Window>) {
    let config = model.config();
    let loss = |federated: &[f32]| -> f64 {
        let mut moved = model.clone();
        moved.set_federated(federated).unwrap();
        let device = model::device();
        let batch = Batch::of_units(config, &[unit.iter().collect()], unit.len(), &device).unwrap();
        let weights = Weights::shared(&moved, &device);
        let outputs = model::forecast_outputs(config, &weights, &batch);
        f64::from(floats(model::training_loss(&batch, outputs))[0])
    };
    let gradient = clipped_gradients(model, std::slice::from_ref(unit), 1e9).unwrap().remove(0);
    let start = model.federated();
    // Along the gradient and along single coordinates; the pinball loss has kinks, so the steps are short.
    let along = |direction: &[f64]| -> (f64, f64) {
        let h = 2e-3 / norm(direction);
        let at = |sign: f64| {
            let moved: Vec<f32> =
                start.iter().zip(direction).map(|(&v, d)| (f64::from(v) + sign * h * d) as f32).collect();
            loss(&moved)
        };
        let slope: f64 = gradient.iter().zip(direction).map(|(g, d)| g * d).sum();
        ((at(1.0) - at(-1.0)) / (2.0 * h), slope)
    };
    let (measured, slope) = along(&gradient);
    assert!((measured - slope).abs() <= 0.02 * slope.abs(), "{measured} {slope}");
    let agree = |among: &[usize], looked_at: &mut dyn Iterator<Item = usize>| {
        let largest = among.iter().map(|&at| gradient[at].abs()).fold(0.0, f64::max);
        assert!(largest > 0.0);
        for coordinate in looked_at {
            let mut direction = vec![0.0; gradient.len()];
            direction[coordinate] = 1.0;
            let (measured, slope) = along(&direction);
            let name = federated_name(model, coordinate);
            assert!((measured - slope).abs() <= 0.03 * largest, "{coordinate} of {name}: {measured} {slope} {largest}");
        }
    };
    let all: Vec<usize> = (0..gradient.len()).collect();
    agree(&all, &mut all.iter().copied().step_by(7.max(gradient.len() / 60) | 1));
    // A small head beside the others is held against its own size, coordinate by coordinate.
    for head in ["counts.", "returns."] {
        let own: Vec<usize> = all.iter().copied().filter(|&at| federated_name(model, at).starts_with(head)).collect();
        if !own.is_empty() {
            agree(&own, &mut own.iter().copied());
        }
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_refused_and_the_unit_named() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        let mut units = units(&config, 3);
        // Finite inputs whose product with the weights overflows.
        units[2][0].known.iter_mut().for_each(|channels| *channels = [f32::MAX; 12]);
        match clipped_gradient_sum(&model, &units, 1.0) {
            Err(GradientError::NotFinite { unit: 2, .. }) => {}
            other => panic!("{other:?}"),
        }
        let mut others = units.clone();
        others[2].clear();
        let without = clipped_gradient_sum(&model, &others, 1.0).unwrap();
        assert_eq!(finite_gradient_sum(&model, &units, 1.0).unwrap(), without);
        units[2][0].known[0][0] = f32::NAN;
        match clipped_gradient_sum(&model, &units, 1.0) {
            Err(GradientError::Window { unit: 2, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_clipping_norm_that_is_no_positive_number_is_refused() {
    let model = example::model(&config(), 1);
    for clip in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(clipped_gradient_sum(&model, &[], clip), Err(GradientError::Clip(_))));
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_without_memory_for_a_pass_gives_the_same_gradients_in_smaller_ones() {
    let config = config();
    let model = example::model(&config, 1);
    let units = units(&config, 21);
    let roomy = clipped_gradients(&model, &units, 0.2).unwrap();
    let small = passes::tests::on_small_gpu(8, 5, || clipped_gradients(&model, &units, 0.2)).unwrap();
    assert_eq!(small.len(), roomy.len());
    for (small, roomy) in small.iter().zip(&roomy) {
        assert_near(small, roomy, 1e-5);
    }
    let error = passes::tests::on_small_gpu(8, 0, || clipped_gradient_sum(&model, &units, 0.2)).unwrap_err();
    assert!(matches!(error, GradientError::Device(DeviceFailure::Pass { .. })), "{error}");
}

#[test]
fn a_window_in_which_nothing_was_seen_has_no_gradient() {
    let config = config();
    for trained in [Trained::Heads, Trained::All] {
        let model = example::model(&config, 1).training(trained);
        let gradients = clipped_gradients(&model, &[vec![Window::empty(model.shape()); 2]], 1.0).unwrap();
        assert_eq!(gradients, [vec![0.0; model.federated_len()]]);
    }
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_rehearsal_computes_a_full_pass_and_says_where_the_device_cannot() {
    let step = crate::train::PrivateStep { clip: 0.1, rate: 0.5, windows_per_series: 2 };
    let model = example::model(&config(), 1);
    step.rehearse(&model).unwrap();
    let error = passes::tests::on_small_gpu(11, 0, || step.rehearse(&model)).unwrap_err().to_string();
    assert!(error.contains("cuda:11") && error.contains("--device cpu"), "{error}");
}
