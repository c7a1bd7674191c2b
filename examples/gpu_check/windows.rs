//! Generated windows in which every input of the network is in use, and networks to read them.

use std::sync::Arc;

use forecastle_client::{
    data::window::{ATTRIBUTE_BUCKETS, StaticInputs, TEXT_BUCKETS, Window},
    model::{Model, ModelConfig, assets},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::{AnyError, generator};

/// A preset's warm start, or a network a little away from its start where none ships: at the start itself the output layer
/// is zero, and behind it all gradients are.
pub fn model(preset: &str) -> Result<Model, AnyError> {
    if let Ok(snapshot) = assets::warm_start(preset) {
        return Ok(Model::from_snapshot(&snapshot)?);
    }
    let mut snapshot = Model::untrained(&ModelConfig::preset(preset)?, 1)?.snapshot();
    let mut rng = ChaCha12Rng::seed_from_u64(8);
    snapshot.values.iter_mut().for_each(|v| *v += rng.random_range(-0.02f32..0.02));
    Ok(Model::from_snapshot(&snapshot)?)
}

/// `count` windows of a network's extent; equal seeds give equal windows.
pub fn windows(config: &ModelConfig, count: usize, seed: u64) -> Vec<Window> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let mut window = generator::window(config, &mut rng);
            let mut unit = |len: usize| unit_vector(len, &mut rng);
            window.statics = Arc::new(StaticInputs { attributes: unit(ATTRIBUTE_BUCKETS), text: unit(TEXT_BUCKETS) });
            window
        })
        .collect()
}

/// `count` privacy units of `each` windows.
pub fn units(config: &ModelConfig, count: usize, each: usize, seed: u64) -> Vec<Vec<Window>> {
    windows(config, count * each, seed).chunks(each).map(<[Window]>::to_vec).collect()
}

fn unit_vector(len: usize, rng: &mut ChaCha12Rng) -> Vec<f32> {
    let values: Vec<f32> = (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    let norm = values.iter().map(|x| x * x).sum::<f32>().sqrt();
    values.into_iter().map(|x| x / norm).collect()
}
