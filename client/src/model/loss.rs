//! What training minimises: pinball loss in scaled space, where a cell's loss is a fraction of its series' usual sales, and
//! the likelihoods of counts and of returns where there are heads for them.
//!
//! Missing cells (closed, out of stock, not yet known) weigh nothing: they are censored, not zero.

use burn::tensor::{Tensor, activation};

use super::batch::Batch;
use super::{QUANTILE_COUNT, QUANTILES, counts, heads::Outputs, returns};

/// Mean of 2 × pinball over each window's observed cells and the quantiles, `[unit, row]`.
///
/// A window without observed cells has loss 0.
pub fn window_losses(batch: &Batch, quantiles: Tensor<4>) -> Tensor<2> {
    let [units, rows, horizon, _] = quantiles.dims();
    let device = batch.target.device().inner();
    let levels = Tensor::<1>::from_floats(QUANTILES, &device).reshape([1, 1, 1, QUANTILE_COUNT]);
    let error: Tensor<4> = batch.target.clone().unsqueeze_dim(3) - quantiles;
    // level · e where e ≥ 0, (level − 1) · e elsewhere
    let pinball = levels * error.clone() + activation::relu(error.neg());
    let cells = pinball.mean_dim(3).reshape([units, rows, horizon]) * batch.cell_weight.clone();
    cells.sum_dim(2).reshape([units, rows]) * 2.0
}

/// Sum over units of the mean loss of each unit's windows, `[1]`: the quantiles' alone, or for windows of counts the
/// likelihood and a share of the quantiles'; and a tenth of the likelihood of returns where there is a head for them.
pub fn training_loss(batch: &Batch, outputs: Outputs) -> Tensor<1> {
    let pinball = window_losses(batch, outputs.quantiles);
    let mut losses = match outputs.counts {
        None => pinball,
        Some(counts) => {
            let share = batch.counted() * (counts::PINBALL_WEIGHT - 1.0) + 1.0;
            pinball * share + counts::window_losses(batch, &counts)
        }
    };
    if let Some(logits) = outputs.returns {
        losses = losses + returns::window_losses(batch, &logits) * returns::WEIGHT;
    }
    (losses * batch.row_weight.clone()).sum()
}
