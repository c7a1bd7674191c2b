//! Random windows and models for tests.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::{Model, ModelConfig};
use crate::data::series::KNOWN_CHANNELS;
use crate::data::window::{ATTRIBUTE_BUCKETS, StaticInputs, TEXT_BUCKETS, Window};

/// Windows with seasons, gaps and all channels in use.
pub(crate) fn windows(config: &ModelConfig, count: usize, seed: u64) -> Vec<Window> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    (0..count).map(|_| window(config, &mut rng)).collect()
}

fn window(config: &ModelConfig, rng: &mut ChaCha12Rng) -> Window {
    let level: f32 = rng.random_range(0.0..40.0);
    let phases: Vec<f32> = (0..config.season).map(|_| rng.random_range(0.3..1.7)).collect();
    let mut y = |t: usize, gap: f32| {
        let noise: f32 = rng.random_range(0.5..1.5);
        let missing = rng.random::<f32>() < gap;
        if missing { f32::NAN } else { (level * phases[t % config.season] * noise).round() }
    };
    let past = (0..config.context).map(|t| y(t, 0.1)).collect();
    let future = (0..config.horizon).map(|t| y(config.context + t, 0.1)).collect();
    let known = (0..config.context + config.horizon)
        .map(|_| std::array::from_fn::<f32, KNOWN_CHANNELS, _>(|_| rng.random_range(-1.0..1.0)))
        .collect();
    let mut unit = |len: usize| {
        let v: Vec<f32> = (0..len).map(|_| rng.random_range(-1.0..1.0)).collect();
        let norm = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.into_iter().map(|x| x / norm).collect()
    };
    let statics = Arc::new(StaticInputs { attributes: unit(ATTRIBUTE_BUCKETS), text: unit(TEXT_BUCKETS) });
    Window { past, known, statics, future, further: None }
}

/// A model away from its start, so that no gradient vanishes for lack of training.
pub(crate) fn model(config: &ModelConfig, seed: u64) -> Model {
    let start = Model::untrained(config, seed).expect("presets are valid");
    let mut rng = ChaCha12Rng::seed_from_u64(seed ^ 0x5eed);
    let values = start.values().iter().map(|v| v + rng.random_range(-0.1..0.1)).collect();
    start.with_values(values)
}
