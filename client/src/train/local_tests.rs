use super::*;
use crate::data::window::StaticInputs;
use crate::model::{ModelConfig, example};

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

/// Windows in which sales double whenever the promotion channel is set.
fn promoted(config: &ModelConfig, count: usize, seed: u64) -> Vec<Window> {
    let mut windows = example::windows(config, count, seed);
    for window in &mut windows {
        for (t, channels) in window.known.iter_mut().enumerate() {
            *channels = [0.0; 12];
            channels[4] = f32::from(u8::from(t % 5 < 2));
        }
        let known = window.known.clone();
        let steps = window.past.iter_mut().chain(window.future.iter_mut());
        for (y, channels) in steps.zip(known) {
            *y *= 1.0 + channels[4];
        }
    }
    windows
}

#[test]
fn gradient_descent_and_dropout_learn_as_well_and_the_seed_decides() {
    let (start, windows) = (example::model(&config(), 1), promoted(&config(), 32, 1));
    let trained = |rule, dropout, seed| {
        let training = LocalTraining { rule, dropout, seed, rate: 0.05, improvement_min: 0.0, ..quick(Subset::All) };
        training.run(&start, &windows, &windows, &mut silent).unwrap()
    };
    let momentum = Rule::Sgd { momentum: 0.9 };
    let plain = trained(momentum, 0.0, 1);
    assert!(plain.validation_after.unwrap() < 0.98 * plain.validation_before.unwrap(), "{plain:?}");
    let dropped = trained(momentum, 0.2, 1);
    assert!(dropped.validation_after < dropped.validation_before);
    assert_ne!(dropped.model, plain.model);
    assert_eq!(dropped.model, trained(momentum, 0.2, 1).model);
}

fn quick(subset: Subset) -> LocalTraining {
    LocalTraining { subset, steps: 60, batch: 16, rate: 0.01, evaluate_every: 10, ..LocalTraining::fine_tuning(1) }
}

fn silent(_: &Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

#[test]
fn it_learns_an_effect_that_the_start_does_not_know() {
    let config = config();
    let start = Model::untrained(&config, 1).unwrap();
    let (train, validation) = (promoted(&config, 96, 1), promoted(&config, 64, 2));
    let test = promoted(&config, 64, 3);
    for subset in [Subset::Heads, Subset::All] {
        let outcome = quick(subset).run(&start, &train, &validation, &mut silent).unwrap();
        let before = weighted_quantile_loss(&start, &test).unwrap().unwrap();
        let after = weighted_quantile_loss(&outcome.model, &test).unwrap().unwrap();
        assert!(after < 0.97 * before, "{subset:?}: {before} to {after}");
        assert!(outcome.steps > 0 && outcome.validation_after < outcome.validation_before);
    }
}

#[test]
fn the_federated_subset_leaves_the_encoder_alone() {
    let config = config();
    let start = Model::untrained(&config, 1).unwrap();
    let windows = promoted(&config, 48, 1);
    let outcome = quick(Subset::Heads).run(&start, &windows, &windows, &mut silent).unwrap();
    let mut back = outcome.model.clone();
    assert_ne!(outcome.model.federated(), start.federated());
    back.set_federated(&start.federated()).unwrap();
    assert_eq!(back, start);
}

#[test]
fn equal_seeds_train_alike() {
    let config = config();
    let start = Model::untrained(&config, 1).unwrap();
    let windows = promoted(&config, 48, 1);
    let run = |seed| {
        let training = LocalTraining { seed, ..quick(Subset::Heads) };
        training.run(&start, &windows, &windows, &mut silent).unwrap().model
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn a_refit_learns_from_windows_that_chose_nothing() {
    let start = Model::untrained(&config(), 1).unwrap();
    let (train, test) = (promoted(&config(), 96, 1), promoted(&config(), 64, 3));
    let settings = quick(Subset::Heads);
    let model = settings.refit(&start, &train, 40).unwrap();
    let loss = |model: &Model| weighted_quantile_loss(model, &test).unwrap().unwrap();
    assert!(loss(&model) < 0.97 * loss(&start));
    assert_eq!(model, settings.refit(&start, &train, 40).unwrap());
    assert_ne!(model, settings.refit(&start, &train, 39).unwrap());
    assert_eq!(settings.refit(&start, &train, 0).unwrap(), start);
    assert_eq!(settings.refit(&start, &train[..0], 40).unwrap(), start);
}

#[test]
fn nothing_to_learn_from_or_to_choose_by_returns_the_start() {
    let config = config();
    let start = example::model(&config, 1);
    let windows = promoted(&config, 4, 1);
    for (train, validation) in [(&windows[..0], &windows[..]), (&windows[..], &windows[..0])] {
        let outcome = quick(Subset::All).run(&start, train, validation, &mut silent).unwrap();
        assert_eq!((outcome.model, outcome.steps), (start.clone(), 0));
    }
}

#[test]
fn it_stops_when_told_to() {
    let config = config();
    let start = Model::untrained(&config, 1).unwrap();
    let windows = promoted(&config, 16, 1);
    let error = quick(Subset::Heads).run(&start, &windows, &windows, &mut |_| ControlFlow::Break(())).unwrap_err();
    assert!(matches!(error, LocalTrainingError::Cancelled { steps: 10 }));
}

#[test]
#[cfg(not(feature = "cuda"))]
fn a_device_without_memory_for_a_batch_trains_alike_in_parts() {
    use crate::device::passes::tests::on_small_gpu;
    let config = config();
    let start = example::model(&config, 1);
    let windows = example::windows(&config, 40, 2);
    let batch: Vec<&Window> = windows.iter().collect();
    let indices: Vec<usize> = (0..batch.len()).collect();
    let train = |subset| {
        let codes = Codes::compute(&start, &windows).unwrap();
        let mut trainer = Trainer::new(&start, subset, 0.0, false, 0.0);
        let losses: Vec<f32> = (0..6)
            .map(|_| match subset {
                Subset::Heads => trainer.step_with_codes(&batch, &indices, &codes, 1e-3).unwrap(),
                Subset::HeadsAndText | Subset::All => trainer.step(&batch, 1e-3).unwrap(),
            })
            .collect();
        (losses, weighted_quantile_loss(&trainer.averaged(), &windows).unwrap().unwrap())
    };
    for (index, subset) in [(9, Subset::Heads), (10, Subset::All)] {
        let (roomy, small) = (train(subset), on_small_gpu(index, 7, || train(subset)));
        assert!(roomy.0.iter().zip(&small.0).all(|(a, b)| (a - b).abs() <= 1e-4 * a.abs()), "{roomy:?} {small:?}");
        assert!((roomy.1 - small.1).abs() <= 1e-4 * roomy.1, "{roomy:?} {small:?}");
    }
}

/// Windows whose future is four times or a quarter of their past, which only their text tells.
fn told_by_text(config: &ModelConfig, count: usize) -> Vec<Window> {
    let mut windows = example::windows(config, count, 3);
    for (at, window) in windows.iter_mut().enumerate() {
        let (factor, sign) = if at % 2 == 0 { (4.0, 1.0) } else { (0.25, -1.0) };
        window.past.iter_mut().for_each(|y| *y = 20.0);
        window.future.iter_mut().for_each(|y| *y = 20.0 * factor);
        window.known.iter_mut().for_each(|channels| *channels = [0.0; 12]);
        let text = (0..256).map(|i| if i % 7 == 0 { sign / 37f32.sqrt() } else { 0.0 }).collect();
        window.statics = std::sync::Arc::new(StaticInputs { attributes: vec![0.0; 64], text });
    }
    windows
}

#[test]
fn fine_tuning_opens_the_text_s_gate_where_texts_tell_something() {
    let config = config();
    let start = Model::untrained(&config, 1).unwrap();
    assert!(!start.reads_text());
    let windows = told_by_text(&config, 32);
    let after = |subset| {
        let training = LocalTraining { steps: 200, patience: 20, ..quick(subset) };
        let outcome = training.run(&start, &windows, &windows, &mut silent).unwrap();
        (outcome.validation_after.unwrap(), outcome.model)
    };
    let (without, blind) = after(Subset::Heads);
    let (with, reading) = after(Subset::HeadsAndText);
    assert!(with < 0.5 * without, "{with} {without}");
    assert!(reading.reads_text() && !blind.reads_text());
    let mut at = 0;
    for entry in &start.layout().entries {
        let range = at..at + entry.len();
        at = range.end;
        if !entry.federated && !entry.name.starts_with("embed.text.") {
            assert_eq!(start.values()[range.clone()], reading.values()[range], "{}", entry.name);
        }
    }
}
