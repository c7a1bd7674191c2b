use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::{
    data::{
        series::Further,
        signals::{KnownFeature, Named, PastChannel},
        window::Window,
    },
    device::passes::tests::floats,
};

#[test]
fn every_preset_makes_a_model_that_survives_its_file() {
    for preset in PRESETS {
        let config = ModelConfig::preset(preset).unwrap();
        let model = Model::untrained(&config, 1).unwrap();
        let bytes = model.snapshot().to_bytes();
        let back = Model::from_snapshot(&ModelSnapshot::from_bytes(&bytes).unwrap()).unwrap();
        assert_eq!(back, model);
    }
}

#[test]
fn small_presets_read_what_nano_ones_read_with_more_parameters() {
    for step in ["daily", "weekly"] {
        let [nano, small] = ["nano", "small"].map(|size| ModelConfig::preset(&format!("{size}-{step}")).unwrap());
        assert_eq!((nano.frequency, nano.shape(), nano.season), (small.frequency, small.shape(), small.season));
        let [nano, small] = [nano, small].map(|config| Model::untrained(&config, 1).unwrap().values().len());
        assert!((700_000..1_000_000).contains(&small) && nano < 60_000, "{step}: {nano} {small}");
    }
}

#[test]
fn nano_presets_train_at_most_five_hundred_values_in_rounds() {
    for preset in PRESETS.iter().filter(|p| p.starts_with("nano")) {
        let model = Model::untrained(&ModelConfig::preset(preset).unwrap(), 1).unwrap();
        assert!((100..=500).contains(&model.federated_len()), "{preset}: {}", model.federated_len());
    }
}

#[test]
fn sets_of_trained_parameters_grow_and_change_no_forecast() {
    let model = example::model(&ModelConfig::preset("nano-daily").unwrap(), 1);
    assert_eq!(model.training(Trained::Heads), model, "the default set is written as before it had a name");
    let sets = Trained::ALL.map(|set| model.training(set));
    let lens = sets.each_ref().map(Model::federated_len);
    assert!(lens.windows(2).all(|pair| pair[0] < pair[1]), "{lens:?}");
    assert_eq!(lens[3], model.values().len());
    for set in &sets {
        assert_eq!(set.values(), model.values());
        let bytes = set.snapshot().to_bytes();
        assert_eq!(&Model::from_snapshot(&ModelSnapshot::from_bytes(&bytes).unwrap()).unwrap(), set);
        for entry in &set.layout().entries {
            let frozen = !above_the_encoder(entry) && set.config().trained.freezes_the_encoder();
            assert!(!(frozen && entry.federated), "{} of a frozen encoder is trained", entry.name);
        }
    }
}

#[test]
fn a_model_under_settings_with_more_parameters_keeps_those_it_has() {
    let config = ModelConfig::preset("nano-daily").unwrap();
    let model = example::model(&config, 1);
    let more = model.with_settings(&ModelConfig { counts: true, ..config.clone() }, 9).unwrap();
    assert!(more.values().len() > model.values().len());
    let windows = example::windows(&config, 2, 4);
    let forecast = |model: &Model| {
        let batch = Batch::plain(model.config(), &windows, &device()).unwrap();
        floats(forward(model.config(), &Weights::shared(model, &device()), &batch))
    };
    assert_eq!(forecast(&more), forecast(&model));
    assert_eq!(more.with_settings(&config, 7).unwrap(), model);
}

#[test]
fn without_the_skip_an_untrained_model_forecasts_the_mean() {
    let config = ModelConfig { skip: SkipKind::Mean, ..ModelConfig::preset("nano-daily").unwrap() };
    let weights = Weights::shared(&Model::untrained(&config, 1).unwrap(), &device());
    let batch = Batch::plain(&config, &example::windows(&config, 3, 4), &device()).unwrap();
    for quantiles in floats(forward(&config, &weights, &batch)).chunks_exact(QUANTILE_COUNT) {
        assert!((quantiles[4] - 1.0).abs() < 1e-5 && quantiles[0] < 0.9 && quantiles[8] > 1.1, "{quantiles:?}");
    }
}

#[test]
fn seeds_decide_the_hidden_weights() {
    let config = ModelConfig::preset("nano-daily").unwrap();
    let model = |seed| Model::untrained(&config, seed).unwrap();
    assert_eq!(model(1), model(1));
    assert_ne!(model(1), model(2));
}

#[test]
fn the_untrained_model_is_the_structural_forecast() {
    let config = ModelConfig::preset("nano-daily").unwrap();
    let windows = example::windows(&config, 6, 4);
    let forecast = |seed| {
        let weights = Weights::shared(&Model::untrained(&config, seed).unwrap(), &device());
        let batch = Batch::plain(&config, &windows, &device()).unwrap();
        let skip = skip::skip(&config, &weights, &batch);
        (floats(forward(&config, &weights, &batch)), floats(skip.centre))
    };
    let (quantiles, centre) = forecast(1);
    // Hidden weights do not matter, and the median is the skip's centre.
    assert_eq!(quantiles, forecast(2).0);
    for (q, centre) in quantiles.chunks_exact(QUANTILE_COUNT).zip(centre) {
        assert!((q[4] - centre.sinh()).abs() <= 1e-4 * (1.0 + q[4].abs()), "{} {}", q[4], centre.sinh());
    }
}

#[test]
fn a_periodic_past_is_continued_with_its_season() {
    let config = ModelConfig::preset("nano-daily").unwrap();
    let model = Model::untrained(&config, 1).unwrap();
    let mut windows = example::windows(&config, 1, 4);
    let week = [10.0, 12.0, 11.0, 13.0, 20.0, 30.0, 5.0];
    for (t, y) in windows[0].past.iter_mut().enumerate() {
        *y = week[t % 7];
    }
    let weights = Weights::shared(&model, &device());
    let batch = Batch::plain(&config, &windows, &device()).unwrap();
    let quantiles = floats(forward(&config, &weights, &batch));
    for (t, q) in quantiles.chunks_exact(QUANTILE_COUNT).enumerate() {
        let median = q[4] * batch.scales()[0];
        assert!((median / week[t % 7] - 1.0).abs() < 0.1, "day {t}: {median}");
    }
}

#[test]
fn a_past_without_observations_gives_finite_quantiles() {
    for preset in PRESETS {
        let config = ModelConfig::preset(preset).unwrap();
        let mut windows = example::windows(&config, 2, 4);
        windows[0].past.fill(f32::NAN);
        windows[1].past[..config.context - 1].fill(f32::NAN);
        let weights = Weights::shared(&example::model(&config, 1), &device());
        let batch = Batch::plain(&config, &windows, &device()).unwrap();
        assert!(floats(forward(&config, &weights, &batch)).iter().all(|q| q.is_finite()), "{preset}");
    }
}

#[test]
fn missing_targets_weigh_nothing() {
    let config = ModelConfig::preset("nano-weekly").unwrap();
    let weights = Weights::shared(&example::model(&config, 1), &device());
    let mut windows = example::windows(&config, 2, 4);
    windows[0].future.fill(f32::NAN);
    let batch = Batch::plain(&config, &windows, &device()).unwrap();
    let losses = floats(window_losses(&batch, forward(&config, &weights, &batch)));
    assert!(losses[0] == 0.0 && losses[1] > 0.0, "{losses:?}");
}

#[test]
fn a_model_of_another_kind_is_refused() {
    let model = Model::untrained(&ModelConfig::preset("nano-daily").unwrap(), 1).unwrap();
    let mut other = model.snapshot();
    other.manifest.architecture = "patch-encoder-9".into();
    assert!(matches!(Model::from_snapshot(&other), Err(ModelError::Architecture(_))));
    let mut wider = model.snapshot();
    wider.manifest.settings["d_model"] = 64.into();
    assert!(matches!(Model::from_snapshot(&wider), Err(ModelError::Layout(_))));
    let mut odd = model.snapshot();
    odd.manifest.settings["heads"] = 5.into();
    assert!(matches!(Model::from_snapshot(&odd), Err(ModelError::Setting { setting: "heads", .. })));
    let mut unknown = model.snapshot();
    unknown.manifest.settings["colour"] = 1.into();
    assert!(matches!(Model::from_snapshot(&unknown), Err(ModelError::Settings(_))));
}

#[test]
fn new_federated_values_are_checked() {
    let mut model = Model::untrained(&ModelConfig::preset("nano-daily").unwrap(), 1).unwrap();
    let before = model.clone();
    let len = model.federated_len();
    assert!(model.set_federated(&vec![0.0; len - 1]).is_err());
    assert!(model.set_federated(&vec![f32::NAN; len]).is_err());
    assert_eq!(model, before);
    model.set_federated(&vec![0.5; len]).unwrap();
    assert_eq!(model.federated(), vec![0.5; len]);
}

#[test]
fn an_unknown_preset_lists_the_known() {
    let error = ModelConfig::preset("giant").unwrap_err().to_string();
    assert!(error.contains("nano-daily"), "{error}");
}

#[test]
fn shipped_warm_starts_are_models_of_their_preset_and_were_trained() {
    for preset in ["nano-daily", "nano-weekly", "nano-weekly-long"] {
        let snapshot = assets::warm_start(preset).unwrap();
        assert!(snapshot.to_bytes().len() < 1 << 20, "{preset} is larger than 1 MB");
        let model = Model::from_snapshot(&snapshot).unwrap();
        assert_eq!(model.config(), &ModelConfig::preset(preset).unwrap());
        // Trained means: dearer products sell less, and the output layer has left zero.
        let untrained = Model::untrained(model.config(), 1).unwrap();
        assert_ne!(model.federated(), untrained.federated());
        let windows = example::windows(model.config(), 1, 1);
        let with_price = |log_price: f32| {
            let mut window = windows[0].clone();
            window.known.iter_mut().for_each(|channels| *channels = [0.0; 12]);
            window.known[model.config().context..].iter_mut().for_each(|channels| channels[2] = log_price);
            let weights = Weights::shared(&model, &device());
            let batch = Batch::plain(model.config(), [&window], &device()).unwrap();
            floats(forward(model.config(), &weights, &batch)).iter().sum::<f32>()
        };
        assert!(with_price(0.3) < with_price(0.0) && with_price(0.0) < with_price(-0.3), "{preset}");
    }
    for preset in ["small-daily", "small-weekly"] {
        let error = assets::warm_start(preset).unwrap_err();
        assert!(matches!(error, ModelError::NoWarmStart(_)));
        let command = format!("--example warm_start -- --preset {preset} --out {preset}.safetensors");
        assert!(error.to_string().contains(&command), "{error}");
    }
}

#[test]
fn a_model_names_the_encoder_of_its_texts_and_is_written_as_before_where_it_has_none() {
    let config = ModelConfig::preset("nano-daily").unwrap();
    let plain = Model::untrained(&config, 1).unwrap();
    assert!(plain.snapshot().manifest.settings.get("text_encoder").is_none());
    let text_encoder = Some(forecastle_crypto::identity::Sha256Digest([0xab; 32]));
    let named = Model::untrained(&ModelConfig { text_encoder, ..config }, 1).unwrap();
    let bytes = named.snapshot().to_bytes();
    let back = Model::from_snapshot(&ModelSnapshot::from_bytes(&bytes).unwrap()).unwrap();
    assert_eq!(back.config().text_encoder, text_encoder);
    assert_ne!(plain.snapshot().digest(), named.snapshot().digest());
}

#[test]
fn the_shipped_warm_starts_have_learned_nothing_of_texts() {
    for preset in ["nano-daily", "nano-weekly", "nano-weekly-long"] {
        let model = Model::from_snapshot(&assets::warm_start(preset).unwrap()).unwrap();
        assert!(!model.reads_text(), "{preset}");
        assert_eq!(model.config().text_encoder, None);
    }
}

/// A window with all further inputs, and one without any.
fn further_windows(config: &ModelConfig) -> [Window; 2] {
    let bare = example::windows(config, 1, 9).remove(0);
    let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(3);
    let past = (0..config.context).map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0))).collect();
    let steps = config.context + config.horizon;
    let known = (0..steps).map(|_| std::array::from_fn(|_| rng.random_range(0.0..1.0))).collect();
    let vector = bare.statics.text.clone();
    let full = Window { further: Some(Arc::new(Further { past, known, vector, returns: Vec::new() })), ..bare.clone() };
    [full, bare]
}

fn everything() -> Inputs {
    Inputs {
        past_channels: PastChannel::ALL.iter().copied().collect(),
        known_channels: KnownFeature::ALL.iter().copied().collect(),
        vectors: true,
        returns: false,
    }
}

fn forecast(model: &Model, window: &Window) -> Vec<f32> {
    let batch = Batch::plain(model.config(), [window], &device()).unwrap();
    floats(forward(model.config(), &Weights::shared(model, &device()), &batch))
}

#[test]
fn a_model_that_begins_to_read_more_forecasts_the_same_to_the_bit() {
    for preset in ["nano-daily", "nano-weekly", "nano-weekly-long"] {
        let plain = Model::from_snapshot(&assets::warm_start(preset).unwrap()).unwrap();
        let more = plain.with_inputs(everything()).unwrap();
        let [full, bare] = further_windows(plain.config());
        assert_eq!(forecast(&more, &full), forecast(&plain, &full), "{preset}");
        assert_eq!(forecast(&more, &bare), forecast(&plain, &bare), "{preset}");
        // What is there without them comes first, in its old order.
        let old = plain.layout().entries.len();
        assert_eq!(more.layout().entries[..old], plain.layout().entries[..]);
        assert_eq!(more.values()[..plain.values().len()], *plain.values());
        assert_eq!(more.with_inputs(Inputs::default()).unwrap(), plain);
        let bytes = more.snapshot().to_bytes();
        assert_eq!(Model::from_snapshot(&ModelSnapshot::from_bytes(&bytes).unwrap()).unwrap(), more);
    }
}

#[test]
fn an_absent_input_has_no_effect_however_much_was_learned_and_a_present_one_has() {
    let plain = Model::from_snapshot(&assets::warm_start("nano-daily").unwrap()).unwrap();
    let more = plain.with_inputs(everything()).unwrap();
    let start = plain.values().len();
    let moved = more.values().iter().enumerate().map(|(at, v)| if at < start { *v } else { v + 0.1 }).collect();
    let learned = more.with_values(moved);
    let [full, bare] = further_windows(plain.config());
    assert_eq!(forecast(&learned, &bare), forecast(&plain, &bare));
    assert_ne!(forecast(&learned, &full), forecast(&plain, &full));
    // One input at a time is known: each of them counts.
    let further = full.further.clone().unwrap();
    for at in 0..PastChannel::ALL.len() {
        let past = further.past.iter().map(|row| std::array::from_fn(|c| if c == at { row[c] } else { f32::NAN }));
        let one = Further { past: past.collect(), ..Further::default() };
        let window = Window { further: Some(Arc::new(one)), ..bare.clone() };
        assert_ne!(forecast(&learned, &window), forecast(&plain, &window), "{:?}", PastChannel::ALL[at]);
    }
    for one in [
        Further { known: further.known.clone(), ..Further::default() },
        Further { vector: further.vector.clone(), ..Further::default() },
    ] {
        let window = Window { further: Some(Arc::new(one)), ..bare.clone() };
        assert_ne!(forecast(&learned, &window), forecast(&plain, &window));
    }
}

#[test]
fn what_was_learned_of_one_input_is_kept_when_another_is_added() {
    let plain = Model::from_snapshot(&assets::warm_start("nano-daily").unwrap()).unwrap();
    let views = Inputs { past_channels: [PastChannel::Views].into_iter().collect(), ..Inputs::default() };
    let more = plain.with_inputs(views).unwrap();
    let learned = more.with_values(more.values().iter().map(|v| v + 0.01).collect());
    let [full, _] = further_windows(plain.config());
    assert_eq!(forecast(&learned.with_inputs(everything()).unwrap(), &full), forecast(&learned, &full));
}

#[test]
fn a_lagged_channel_acts_so_many_steps_later_and_never_on_earlier_steps() {
    let plain = Model::from_snapshot(&assets::warm_start("nano-daily").unwrap()).unwrap();
    let views = Inputs { past_channels: [PastChannel::Views].into_iter().collect(), ..Inputs::default() };
    let more = plain.with_inputs(views).unwrap();
    let at = plain.values().len();
    assert_eq!(more.layout().entries[plain.layout().entries.len()].name, "further.views.shift");
    // The weight of the fourth lag; views of the last day of the past then act on the fourth day ahead, and on no other.
    let mut values = more.values().to_vec();
    values[at + 3] = 0.2;
    let model = more.with_values(values);
    let [full, bare] = further_windows(plain.config());
    let rows = |last: f32| {
        let context = plain.config().context;
        let past = (0..context).map(|step| [if step + 1 == context { last } else { 10.0 }; PastChannel::ALL.len()]);
        let further = Further { past: past.collect(), ..Further::default() };
        forecast(&model, &Window { further: Some(Arc::new(further)), ..bare.clone() })
    };
    let median = |forecast: &[f32], step: usize| forecast[step * QUANTILE_COUNT + 4];
    let (few, many) = (rows(10.0), rows(40.0));
    for step in 0..plain.config().horizon {
        let ratio = median(&many, step) / median(&few, step);
        assert!(if step == 3 { ratio > 1.5 } else { (0.97..1.03).contains(&ratio) }, "step {step}: {ratio}");
    }
    drop(full);
}
