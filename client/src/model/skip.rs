//! The structural forecast: level, seasonal profile and recent drift, read off the context by shrunk averages.
//!
//! All of it happens in asinh space, where multiplicative noise is nearly additive and zero is harmless. Effects
//! of known channels (price, promotion, holiday) are taken out of the past first and put back on the future, so
//! that a promotion in the context does not raise the forecast of days without one.
//!
//! With season `p` and `k` seasons ago, a step weighs `exp(−decay·k)` where observed. The mean of each phase is
//! shrunk to the level, its mean square residual to that of all phases, and that to a prior; a fast average of
//! the residuals adds drift. The rates and weights are trainable, kept as logarithms.
//!
//! With fewer than three seasons in the context the phases cannot be told from noise by comparison. There the
//! differences of neighbouring steps measure the noise: they say how far a phase is shrunk and how far it spreads.
//!
//! Effects of further inputs (see [`super::further`]) are part of the same factor.
//!
//! Left out on purpose: trend extrapolation, which hurts at the horizons of retail.

use burn::tensor::Tensor;

use super::batch::Batch;
use super::config::{ModelConfig, SkipKind};
use super::further;
use super::weights::{Weights, product};

/// The most by which an effect may change a step, in logarithms.
const EFFECT_MAX: f32 = 4.0;

/// The structural forecast of a batch, in asinh space.
pub struct Skip {
    /// Centre of each future step `[unit, row, horizon]`.
    pub centre: Tensor<3>,
    /// Logarithm of the spread of each future step `[unit, row, horizon]`.
    pub log_spread: Tensor<3>,
    /// Logarithm of the factor by which known channels change the step `[unit, row, horizon]`.
    pub effect: Tensor<3>,
}

/// Names and starting values of the trainable constants.
pub(super) fn constants(config: &ModelConfig) -> Vec<(&'static str, f32)> {
    let season = config.season as f32;
    let ln = |v: f32| v.ln();
    // Rates a season and a step. A week-of-year profile has a season or two to learn from, so it decays little.
    let (decay, fast) = match config.season {
        1 => (0.12, 0.6),
        s if s < 30 => (0.12, 0.6 / season),
        _ => (0.12, 0.1),
    };
    vec![
        ("log_decay", ln(decay)),             // of a season's weight, each season back
        ("log_level_weight", ln(0.5)),        // of the level, in a phase's mean
        ("log_fast_decay", ln(fast)),         // of the fast average, each step back
        ("log_fast_weight", ln(0.5)),         // of zero, in the fast average
        ("fast_share_start", 0.5),            // of the fast average in the forecast, at the first step
        ("fast_share_end", 0.5),              // and at the last
        ("log_phase_spread_weight", ln(2.0)), // of the common spread, in a phase's spread
        ("log_prior_spread", ln(0.4)),        // prior standard deviation
        ("log_prior_spread_weight", ln(1.0)), // its weight
        ("log_floor", ln(0.05)),              // least standard deviation
        ("spread_growth", 0.0),               // of the log spread, from the first step to the last
    ]
}

/// Seasons from which on they are compared with each other to tell season from noise.
const SEASONS_MIN: usize = 3;

/// Differences of neighbouring steps: what is known of the noise when the context holds too few seasons to compare.
struct StepsApart {
    /// Half the squared differences where both steps are observed, else 0: `[unit, row, season, step]`. Their mean
    /// is the variance of a step's noise, and more where the season is steep.
    squares: Tensor<4>,
    /// 1 where both steps are observed.
    pairs: Tensor<4>,
}

impl StepsApart {
    fn new(z: &Tensor<4>, observed: &Tensor<4>, context: usize) -> Self {
        let [units, rows, seasons, season] = z.dims();
        let flat = |x: &Tensor<4>| x.clone().reshape([units, rows, context]);
        let before = |x: Tensor<3>| {
            let first = x.clone().narrow(2, 0, 1);
            Tensor::cat(vec![first, x.narrow(2, 0, context - 1)], 2)
        };
        let (z, observed) = (flat(z), flat(observed));
        let pairs = observed.clone() * before(observed);
        let squares = (z.clone() - before(z)).square() * pairs.clone() * 0.5;
        let shape = [units, rows, seasons, season];
        Self { squares: squares.reshape(shape), pairs: pairs.reshape(shape) }
    }

    /// Share of the noise in the variance around the level, `[unit, row, 1, 1]`; never 0, so that a phase that was
    /// never observed falls back on the level.
    fn noise_share(&self, z: &Tensor<4>, level: &Tensor<4>, observed: &Tensor<4>) -> Tensor<4> {
        let sum = |x: Tensor<4>| x.sum_dim(3).sum_dim(2);
        let noise = sum(self.squares.clone()) / (sum(self.pairs.clone()) + 1.0);
        let around = (z.clone() - level.clone()).square() * observed.clone();
        let variance = sum(around) / (sum(observed.clone()) + 1.0);
        (noise / (variance + 1e-4)).clamp(0.02, 1.0)
    }
}

/// The sum, where there is anything to add.
fn plus(x: Tensor<3>, further: Option<Tensor<3>>) -> Tensor<3> {
    match further {
        Some(further) => x + further,
        None => x,
    }
}

/// Computes what the encoder corrects: the structural forecast, unless the settings ask for none.
pub fn skip(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Skip {
    match config.skip {
        SkipKind::Structural => structural(config, weights, batch),
        SkipKind::Mean => mean(config, weights, batch),
    }
}

/// The mean of the context with the prior spread, at every step: what is left without a structure.
fn mean(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Skip {
    let shape = [batch.units, batch.rows, config.horizon];
    let zeros = Tensor::<3>::zeros(shape, &batch.past.device().inner());
    // Windows are scaled by their mean, so that it lies at one.
    let log_spread = zeros.clone() + weights.get("skip.log_prior_spread");
    Skip { centre: zeros.clone() + 1.0f32.asinh(), log_spread, effect: zeros }
}

fn structural(config: &ModelConfig, weights: &Weights, batch: &Batch) -> Skip {
    let (units, rows) = (batch.units, batch.rows);
    let (context, horizon, season) = (config.context, config.horizon, config.season);
    let seasons = context / season;
    let device = batch.past.device().inner();
    let constant = |name: &str| weights.scalar(&format!("skip.{name}"));
    let positive = |name: &str| constant(name).exp();

    let effect = |known: &Tensor<3>, part: usize, steps: usize| {
        let shift = product(known.clone(), weights.get("effect.shift").swap_dims(1, 2));
        plus(shift, further::shift(config, weights, batch.further.as_ref(), part))
            .clamp(-EFFECT_MAX, EFFECT_MAX)
            .reshape([units, rows, steps])
    };
    let past = batch.past.clone() * effect(&batch.known_past, 0, context).neg().exp();
    let z = past.asinh().reshape([units, rows, seasons, season]);
    let observed = batch.observed.clone().reshape([units, rows, seasons, season]);

    let steps_apart = (seasons < SEASONS_MIN).then(|| StepsApart::new(&z, &observed, context));

    // Ages: whole seasons back, and steps back.
    let age: Vec<f32> = (0..seasons).rev().map(|k| k as f32).collect();
    let age = Tensor::<1>::from_floats(&age[..], &device).reshape([1, 1, seasons, 1]);
    let step_age: Vec<f32> = (0..context).rev().map(|t| t as f32).collect();
    let step_age = Tensor::<1>::from_floats(&step_age[..], &device).reshape([1, 1, seasons, season]);

    let weight = (positive("log_decay").neg() * age).exp() * observed.clone();
    let phase_weight = weight.clone().sum_dim(2);
    let total_weight = phase_weight.clone().sum_dim(3);
    let phase_sum = (weight.clone() * z.clone()).sum_dim(2);
    let level = phase_sum.clone().sum_dim(3) / (total_weight.clone() + 1e-6);
    let level_weight = match &steps_apart {
        Some(apart) => positive("log_level_weight") * apart.noise_share(&z, &level, &observed),
        None => positive("log_level_weight"),
    };
    let phase = (phase_sum + level_weight.clone() * level) / (phase_weight.clone() + level_weight);

    let residual = z - phase.clone();
    let fast_weight = (positive("log_fast_decay").neg() * step_age).exp() * observed;
    let drift = (fast_weight.clone() * residual.clone()).sum_dim(3).sum_dim(2)
        / (fast_weight.sum_dim(3).sum_dim(2) + positive("log_fast_weight"));

    let squares = match steps_apart {
        Some(apart) => apart.squares.sum_dim(2),
        None => (weight * residual.square()).sum_dim(2),
    };
    let prior_weight = positive("log_prior_spread_weight");
    let common = (squares.clone().sum_dim(3) + prior_weight.clone() * (constant("log_prior_spread") * 2.0).exp())
        / (total_weight + prior_weight);
    let spread_weight = positive("log_phase_spread_weight");
    let variance = (squares + spread_weight.clone() * common) / (phase_weight + spread_weight);
    let log_spread = (variance + (constant("log_floor") * 2.0).exp()).log() * 0.5;

    // Phases repeat along the horizon; shares change linearly from its first step to its last.
    let unroll = |by_phase: Tensor<4>| -> Tensor<3> {
        let times = horizon.div_ceil(season);
        let long = if times > 1 { by_phase.repeat_dim(3, times) } else { by_phase };
        long.narrow(3, 0, horizon).reshape([units, rows, horizon])
    };
    let ahead: Vec<f32> = (0..horizon).map(|t| t as f32 / horizon.max(2).saturating_sub(1) as f32).collect();
    let ahead = Tensor::<1>::from_floats(&ahead[..], &device).reshape([1, 1, horizon]);
    let flat = |name: &str| weights.get(&format!("skip.{name}"));
    let (start, end) = (flat("fast_share_start"), flat("fast_share_end"));
    let share = start.clone() + (end - start) * ahead.clone();
    let growth = flat("spread_growth") * ahead;

    let known_spread = product(batch.known_future.clone(), weights.get("effect.log_spread").swap_dims(1, 2));
    let known_spread = plus(known_spread, further::log_spread(config, weights, batch.further.as_ref()))
        .clamp(-EFFECT_MAX, EFFECT_MAX)
        .reshape([units, rows, horizon]);
    Skip {
        centre: unroll(phase) + share * drift.reshape([units, rows, 1]),
        log_spread: unroll(log_spread) + growth + known_spread,
        effect: effect(&batch.known_future, 1, horizon),
    }
}
