//! Names, shapes, order and starting values of the parameters.
//!
//! Every parameter belongs to the smallest set of [`Trained`] that holds it; federated are those of the set that the
//! settings name. By default they turn codes and known channels into quantiles, a few hundred values, and the encoder
//! below them stays as the warm start left it, or is trained by a merchant for itself.

use forecastle_proto::model::{ParameterEntry, ParameterLayout};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::config::{ModelConfig, Trained};
use super::further;
use super::{QUANTILE_COUNT, counts::COUNT_OUTPUTS, returns, skip};
use crate::data::series::KNOWN_CHANNELS;
use crate::data::window::{ATTRIBUTE_BUCKETS, TEXT_BUCKETS};

/// Numbers that the output layer corrects at each future step: shift, log spread and the log gaps between
/// neighbouring quantiles.
pub(super) const OUTPUTS: usize = 2 + QUANTILE_COUNT - 1;
/// Numbers that the day head reads besides codes and known channels: the skip's centre and log spread.
pub(super) const SKIP_FEATURES: usize = 2;

/// Standard deviation of what [`large`] draws.
const LARGE: f32 = 100.0;

/// How a parameter starts.
enum Start {
    /// The same value everywhere.
    Constant(f32),
    /// One value an element.
    Values(Vec<f32>),
    /// Normal of this standard deviation.
    Normal(f32),
}

/// A parameter before it has values.
struct Spec {
    name: String,
    shape: Vec<usize>,
    /// The smallest set that holds it.
    part: Trained,
    start: Start,
}

/// Layout of a network of these settings.
pub(super) fn layout(config: &ModelConfig) -> ParameterLayout {
    let entries = specs(config)
        .into_iter()
        .map(|s| ParameterEntry { name: s.name, shape: s.shape, federated: s.part <= config.trained })
        .collect();
    ParameterLayout { entries }
}

/// Whether a parameter stands above the encoder: skip, effects, day head and output layer.
pub(crate) fn above_the_encoder(entry: &ParameterEntry) -> bool {
    let named = |part: &str| entry.name.starts_with(part);
    ["skip.", "quantiles.", "effect.", "day.", "output.", "counts.", "returns."].into_iter().any(named)
        || named("further.") && [".shift", ".log_spread"].iter().any(|part| entry.name.ends_with(part))
}

/// Starting values in layout order.
pub(super) fn initial(config: &ModelConfig, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut values = Vec::new();
    for spec in specs(config) {
        let len = spec.shape.iter().product();
        match spec.start {
            Start::Constant(v) => values.extend(std::iter::repeat_n(v, len)),
            Start::Values(v) => values.extend(v),
            Start::Normal(sd) => values.extend((0..len).map(|_| sd * normal(&mut rng))),
        }
    }
    values
}

/// A standard normal draw (Box–Muller, one of the pair).
fn normal(rng: &mut impl Rng) -> f32 {
    let u: f64 = 1.0 - rng.random::<f64>();
    let v: f64 = rng.random();
    ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
}

/// Large random values, the same for equal lengths.
pub(super) fn large(values: &mut [f32]) {
    let mut rng = ChaCha12Rng::seed_from_u64(values.len() as u64);
    values.iter_mut().for_each(|value| *value = LARGE * normal(&mut rng));
}

fn specs(config: &ModelConfig) -> Vec<Spec> {
    let d = config.d_model;
    let mut specs = Vec::new();
    let mut add = |name: &str, shape: &[usize], part: Trained, start: Start| {
        specs.push(Spec { name: name.into(), shape: shape.to_vec(), part, start });
    };
    let fan_in = |inputs: usize| Start::Normal((inputs as f32).powf(-0.5));

    // Structural forecast and heads.
    for (name, value) in skip::constants(config) {
        add(&format!("skip.{name}"), &[1], Trained::Skip, Start::Constant(value));
    }
    add("quantiles.centre", &[1], Trained::Skip, Start::Constant(0.0));
    add("quantiles.log_gaps", &[QUANTILE_COUNT - 1], Trained::Skip, Start::Values(normal_log_gaps()));
    add("effect.shift", &[KNOWN_CHANNELS], Trained::Skip, Start::Constant(0.0));
    add("effect.log_spread", &[KNOWN_CHANNELS], Trained::Skip, Start::Constant(0.0));
    let features = KNOWN_CHANNELS + config.day_features + SKIP_FEATURES;
    add("day.weight", &[features, config.day_hidden], Trained::Heads, fan_in(features));
    add("day.bias", &[config.day_hidden], Trained::Heads, Start::Constant(0.0));
    add("output.weight", &[config.day_hidden, OUTPUTS], Trained::Skip, Start::Constant(0.0));
    add("output.bias", &[OUTPUTS], Trained::Skip, Start::Constant(0.0));
    if config.counts {
        add("counts.weight", &[config.day_hidden, COUNT_OUTPUTS], Trained::Skip, Start::Constant(0.0));
        add("counts.bias", &[COUNT_OUTPUTS], Trained::Skip, Start::Constant(0.0));
    }

    // The encoder.
    let past = config.patch * (2 + KNOWN_CHANNELS);
    let future = config.patch * KNOWN_CHANNELS;
    for (kind, width) in [("past", past), ("future", future)] {
        add(&format!("embed.{kind}.linear.weight"), &[width, d], Trained::All, fan_in(width));
        add(&format!("embed.{kind}.hidden.weight"), &[width, d], Trained::All, fan_in(width));
        add(&format!("embed.{kind}.hidden.bias"), &[d], Trained::Adapters, Start::Constant(0.0));
        add(&format!("embed.{kind}.output.weight"), &[d, d], Trained::All, fan_in(d));
        add(&format!("embed.{kind}.bias"), &[d], Trained::Adapters, Start::Normal(0.1));
    }
    for (kind, width) in [("attributes", ATTRIBUTE_BUCKETS), ("text", TEXT_BUCKETS)] {
        // The vectors have norm 1 whatever their length, so rows of norm 1 keep the token of order 1.
        add(&format!("embed.{kind}.weight"), &[width, d], Trained::All, fan_in(d));
        add(&format!("embed.{kind}.gate"), &[1], Trained::Adapters, Start::Constant(0.0));
        add(&format!("embed.{kind}.bias"), &[d], Trained::Adapters, Start::Normal(0.1));
    }
    let residual = (2.0 * config.layers as f32).powf(-0.5);
    for b in 0..config.layers {
        add(&format!("blocks.{b}.attention_norm"), &[d], Trained::Adapters, Start::Constant(1.0));
        add(&format!("blocks.{b}.qkv.weight"), &[d, 3 * d], Trained::All, fan_in(d));
        let sd = residual * (d as f32).powf(-0.5);
        add(&format!("blocks.{b}.attention_output.weight"), &[d, d], Trained::All, Start::Normal(sd));
        add(&format!("blocks.{b}.feedforward_norm"), &[d], Trained::Adapters, Start::Constant(1.0));
        add(&format!("blocks.{b}.up.weight"), &[d, config.feedforward], Trained::All, fan_in(d));
        add(&format!("blocks.{b}.up.bias"), &[config.feedforward], Trained::Adapters, Start::Constant(0.0));
        let sd = residual * (config.feedforward as f32).powf(-0.5);
        add(&format!("blocks.{b}.down.weight"), &[config.feedforward, d], Trained::All, Start::Normal(sd));
    }
    add("final_norm", &[d], Trained::Adapters, Start::Constant(1.0));
    let codes = config.patch * config.day_features;
    add("codes.weight", &[d, codes], Trained::All, fan_in(d));
    add("codes.bias", &[codes], Trained::Adapters, Start::Constant(0.0));

    // Of further inputs, behind everything that is there without them.
    for further::Parameter { name, shape, part, fan_in: inputs } in further::parameters(config) {
        add(&name, &shape, part, inputs.map_or(Start::Constant(0.0), fan_in));
    }
    if config.returns {
        let logit = (returns::PRIOR_RATE / (1.0 - returns::PRIOR_RATE)).ln();
        add("returns.prior", &[1], Trained::Skip, Start::Constant(logit));
        add("returns.log_prior_units", &[1], Trained::Skip, Start::Constant(returns::PRIOR_UNITS.ln()));
        add("returns.weight", &[config.day_hidden, 1], Trained::Skip, Start::Constant(0.0));
        add("returns.bias", &[1], Trained::Skip, Start::Constant(0.0));
    }
    specs
}

/// Logarithms of the gaps between the standard normal's quantiles at neighbouring levels.
fn normal_log_gaps() -> Vec<f32> {
    // Φ⁻¹ at 0.5, 0.6, …, 0.9 (Abramowitz and Stegun, table 26.5).
    const UPPER: [f32; 5] = [0.0, 0.253_347, 0.524_401, 0.841_621, 1.281_552];
    let gaps = |i: usize| (UPPER[i + 1] - UPPER[i]).ln();
    (0..4).rev().chain(0..4).map(gaps).collect()
}
