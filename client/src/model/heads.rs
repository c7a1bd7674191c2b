//! From codes and the structural forecast to quantiles.
//!
//! Quantiles are `sinh(centre + shift + spread · offset) · effect`, in multiples of the window's scale. Offsets are
//! sums of positive gaps from the median outwards, so quantiles can never cross. The output layer starts at zero:
//! then `shift` and all corrections vanish and the structural forecast remains.
//!
//! Beside them stand a head for counts and one for returns, where the settings ask for them.

use burn::tensor::{Tensor, TensorData, activation};

use super::batch::Batch;
use super::config::ModelConfig;
use super::skip::Skip;
use super::weights::{Weights, product};
use super::{
    QUANTILE_COUNT,
    counts::{self, Counts},
    parameters::OUTPUTS,
    returns,
};

/// Bound on a quantile in asinh space: sinh(10) ≈ 11,000 times the mean of the context.
const ASINH_MAX: f32 = 10.0;
/// Bound on a correction of a log spread or a log gap.
const LOG_MAX: f32 = 3.0;

/// What the heads say of the future steps.
pub struct Outputs {
    /// `[unit, row, horizon, QUANTILE_COUNT]`, ascending, in multiples of the window's scale.
    pub quantiles: Tensor<4>,
    /// Distributions of counts, where the settings ask for them.
    pub counts: Option<Counts>,
    /// Logits of the share of sales that comes back, `[unit, row, horizon]`, where the settings ask for them.
    pub returns: Option<Tensor<3>>,
}

/// The heads' outputs.
pub(super) fn outputs(
    config: &ModelConfig,
    weights: &Weights,
    batch: &Batch,
    skip: &Skip,
    codes: Tensor<3>,
) -> Outputs {
    let (units, rows, horizon) = (batch.units, batch.rows, config.horizon);
    let steps = [units, rows * horizon, 1];
    let device = batch.past.device().inner();

    let centre = skip.centre.clone().reshape(steps);
    let log_spread = skip.log_spread.clone().reshape(steps);
    let features = vec![batch.known_future.clone(), codes, centre.clone(), log_spread.clone()];
    let hidden = product(Tensor::cat(features, 2), weights.get("day.weight")) + weights.get("day.bias");
    let hidden = activation::gelu(hidden);
    let output = product(hidden.clone(), weights.get("output.weight")) + weights.get("output.bias");

    let shift = output.clone().narrow(2, 0, 1);
    let spread = (log_spread + output.clone().narrow(2, 1, 1).clamp(-LOG_MAX, LOG_MAX)).exp();
    let gaps = output.narrow(2, 2, OUTPUTS - 2).clamp(-LOG_MAX, LOG_MAX);
    let gaps = (gaps + weights.get("quantiles.log_gaps")).exp();
    let sums =
        Tensor::<3>::from_data(TensorData::new(offsets_of_gaps(), [1, QUANTILE_COUNT - 1, QUANTILE_COUNT]), &device);
    let offsets = product(gaps, sums) + weights.get("quantiles.centre");
    let z = (centre + shift + spread * offsets).clamp(-ASINH_MAX, ASINH_MAX);
    let factor = skip.effect.clone().reshape(steps).exp();
    let quantiles = (z.sinh() * factor).reshape([units, rows, horizon, QUANTILE_COUNT]);
    let returns = config.returns.then(|| returns::head(config, weights, batch, hidden.clone()));
    let counts = config.counts.then(|| counts::head(config, weights, batch, skip, hidden, &quantiles));
    Outputs { quantiles, counts, returns }
}

/// Matrix `[gap, quantile]` that adds up gaps from the median outwards.
fn offsets_of_gaps() -> Vec<f32> {
    let median = QUANTILE_COUNT / 2;
    let mut matrix = vec![0.0; (QUANTILE_COUNT - 1) * QUANTILE_COUNT];
    for quantile in 0..QUANTILE_COUNT {
        for gap in quantile.min(median)..quantile.max(median) {
            matrix[gap * QUANTILE_COUNT + quantile] = if quantile < median { -1.0 } else { 1.0 };
        }
    }
    matrix
}
