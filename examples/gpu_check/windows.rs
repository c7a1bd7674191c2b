//! Generated windows in which every input of the network is in use.

use std::sync::Arc;

use forecastle_client::{
    data::window::{ATTRIBUTE_BUCKETS, StaticInputs, TEXT_BUCKETS, Window},
    model::ModelConfig,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::generator;

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
