//! A head for returns: the share of each future step's sales that comes back (see [`crate::data::returns`]).
//!
//! It starts from what the window's own past says: units that came back over units sold, shrunk to a rate that is trained,
//! as is the number of units which that rate is worth (the mean of a beta distribution after binomial counts; Gelman et al.
//! 2013, section 2.4). The day head's hidden layer corrects the logit, so that seasons, prices and promotions, and the
//! product itself, can matter; before training it corrects nothing. The quantiles do not depend on it.
//!
//! Returned units r of sold units n are binomial: `−r ln p − (n − r) ln(1 − p)` plus a constant (McCullagh and Nelder 1989,
//! section 4.4), here the mean over the units sold in the window's future, so that a window counts alike however much it
//! sells. Steps without sales, and those of which it is not known yet what came back, weigh nothing.

use burn::tensor::{Device, Tensor, TensorData, activation};

use super::batch::Batch;
use super::config::ModelConfig;
use super::weights::{Weights, product};
use crate::data::window::Window;

/// Weight of the loss beside that of the other heads.
pub(super) const WEIGHT: f32 = 0.1;
/// Rate that a model begins with.
pub(super) const PRIOR_RATE: f32 = 0.05;
/// Units sold that this rate is worth, to begin with.
pub(super) const PRIOR_UNITS: f32 = 20.0;
/// Bound on a correction of the logit.
const CORRECTION_MAX: f32 = 3.0;
/// Bound on a logit: rates from 0.1 % to 99.9 %.
const LOGIT_MAX: f32 = 6.9;

/// Units sold and units that came back, where known, of a batch.
#[derive(Clone)]
pub(super) struct Returned {
    /// Of the past, known at its end: `[unit, row, 2]`.
    past: Tensor<3>,
    /// Of each future step, 0 where not known: `[unit, row, horizon]` each.
    sold: Tensor<3>,
    returned: Tensor<3>,
}

/// The same while a batch is being filled.
#[derive(Default)]
pub(super) struct ReturnedHost {
    past: Vec<f32>,
    sold: Vec<f32>,
    returned: Vec<f32>,
}

impl ReturnedHost {
    /// Adds a window.
    pub fn push(&mut self, config: &ModelConfig, window: &Window) {
        let steps = window.further.as_deref().map_or(&[][..], |further| &further.returns);
        let known = |[sold, returned]: [f32; 2]| {
            let is_known = sold.is_finite() && returned.is_finite() && sold > 0.0;
            if is_known { [sold, returned.clamp(0.0, sold)] } else { [0.0; 2] }
        };
        let at = |step: usize| steps.get(step).copied().map_or([0.0; 2], known);
        let sum = (0..config.context)
            .map(at)
            .fold([0.0_f64; 2], |sum, step| [sum[0] + f64::from(step[0]), sum[1] + f64::from(step[1])]);
        self.past.extend(sum.map(|units| units as f32));
        for step in config.context..config.context + config.horizon {
            let [sold, returned] = at(step);
            self.sold.push(sold);
            self.returned.push(returned);
        }
    }

    /// The tensors of `units × rows` windows; `None` for a model without the head.
    pub fn finish(self, config: &ModelConfig, units: usize, rows: usize, device: &Device) -> Option<Returned> {
        if !config.returns {
            return None;
        }
        let tensor = |values: Vec<f32>, width: usize| {
            Tensor::<3>::from_data(TensorData::new(values, [units, rows, width]), device)
        };
        Some(Returned {
            past: tensor(self.past, 2),
            sold: tensor(self.sold, config.horizon),
            returned: tensor(self.returned, config.horizon),
        })
    }
}

/// Logits of the rate of each future step, `[unit, row, horizon]`, over the day head's `hidden` layer
/// `[unit, row × horizon, day_hidden]`.
pub(super) fn head(config: &ModelConfig, weights: &Weights, batch: &Batch, hidden: Tensor<3>) -> Tensor<3> {
    let shape = [batch.units, batch.rows, config.horizon];
    let output = product(hidden, weights.get("returns.weight")) + weights.get("returns.bias");
    let correction = output.reshape(shape).clamp(-CORRECTION_MAX, CORRECTION_MAX);
    let prior = weights.get("returns.prior");
    let worth = weights.get("returns.log_prior_units").exp();
    let past = match &batch.returned {
        Some(returned) => returned.past.clone(),
        None => Tensor::zeros([batch.units, batch.rows, 2], &batch.past.device().inner()),
    };
    let (sold, returned) = (past.clone().narrow(2, 0, 1), past.narrow(2, 1, 1));
    let kept = sold - returned.clone();
    let base = (returned + worth.clone() * activation::sigmoid(prior.clone())).log()
        - (kept + worth * activation::sigmoid(prior.neg())).log();
    (base + correction).clamp(-LOGIT_MAX, LOGIT_MAX)
}

/// Mean negative log likelihood of each window's units sold in its future, `[unit, row]`; 0 where nothing is known.
pub(super) fn window_losses(batch: &Batch, logits: &Tensor<3>) -> Tensor<2> {
    let [units, rows, _] = logits.dims();
    let Some(Returned { sold, returned, .. }) = &batch.returned else {
        return Tensor::zeros([units, rows], &batch.past.device().inner());
    };
    // −ln(1 − p) = ln(1 + e^logit), −ln p = ln(1 + e^logit) − logit; logits are bounded.
    let softplus = (logits.clone().exp() + 1.0).log();
    let loss = sold.clone() * softplus - returned.clone() * logits.clone();
    let total = sold.clone().sum_dim(2);
    // Where nothing was sold the sum is 0 whatever it is divided by.
    let divisor = total.clone() + total.equal_elem(0.0).float();
    (loss.sum_dim(2) / divisor).reshape([units, rows])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha12Rng;

    use super::*;
    use crate::{
        data::series::Further,
        device::passes::tests::floats,
        model::{self, Model, device, example, forecast_outputs, training_loss},
    };

    fn config() -> ModelConfig {
        ModelConfig { returns: true, ..ModelConfig::preset("nano-daily").unwrap() }
    }

    /// Windows with `sold` units a step, of which so many come back as `returned` says of each step.
    fn windows(count: usize, sold: f32, mut returned: impl FnMut(usize) -> f32) -> Vec<Window> {
        let mut windows = example::windows(&config(), count, 3);
        for window in &mut windows {
            let returns = (0..window.known.len()).map(|step| [sold, returned(step)]).collect();
            window.further = Some(Arc::new(Further { returns, ..Further::default() }));
        }
        windows
    }

    fn rates(model: &Model, windows: &[Window]) -> Vec<f32> {
        let batch = Batch::plain(model.config(), windows, &device()).unwrap();
        let outputs = forecast_outputs(model.config(), &Weights::shared(model, &device()), &batch);
        floats(activation::sigmoid(outputs.returns.unwrap()))
    }

    #[test]
    fn before_training_the_rate_is_that_of_the_past_shrunk_to_the_prior() {
        let model = Model::untrained(&config(), 1).unwrap();
        let mut all = windows(2, 4.0, |step| if step < 112 { 1.0 } else { 4.0 });
        all[1].further = None;
        let rates = rates(&model, &all);
        // 448 units sold, 112 came back; the prior is a twentieth of twenty units.
        let expected = (112.0 + 1.0) / (448.0 + 20.0);
        assert!(rates[..28].iter().all(|rate| (rate - expected).abs() < 1e-5), "{} {expected}", rates[0]);
        assert!(rates[28..].iter().all(|rate| (rate - PRIOR_RATE).abs() < 1e-6), "{}", rates[28]);
    }

    #[test]
    fn the_loss_is_the_mean_negative_log_likelihood_of_a_unit() {
        let config = config();
        let model = example::model(&config, 1);
        let mut all = windows(3, 5.0, |step| (step % 4) as f32);
        // What is not known, or was not sold, weighs nothing.
        let spoil = |window: &mut Window, step: usize, value: [f32; 2]| {
            Arc::make_mut(window.further.as_mut().unwrap()).returns[112 + step] = value;
        };
        spoil(&mut all[1], 3, [f32::NAN; 2]);
        spoil(&mut all[1], 4, [0.0, 0.0]);
        all[2].further = None;
        let batch = Batch::plain(&config, &all, &device()).unwrap();
        let outputs = forecast_outputs(&config, &Weights::shared(&model, &device()), &batch);
        let losses = floats(window_losses(&batch, outputs.returns.as_ref().unwrap()));
        let rates = rates(&model, &all);
        for (at, window) in all[..2].iter().enumerate() {
            let steps = window.further.as_ref().unwrap().returns[112..].iter().zip(&rates[28 * at..]);
            let known = steps.filter(|([sold, _], _)| *sold > 0.0);
            let (mut loss, mut units) = (0.0, 0.0);
            for ([sold, returned], rate) in known {
                let p = f64::from(*rate);
                loss -= f64::from(*returned) * p.ln() + f64::from(sold - returned) * (1.0 - p).ln();
                units += f64::from(*sold);
            }
            assert!((f64::from(losses[at]) - loss / units).abs() < 1e-4, "{} {}", losses[at], loss / units);
        }
        assert_eq!(losses[2], 0.0);
        // A tenth of it is beside the quantiles' loss.
        let pinball = floats(model::window_losses(&batch, outputs.quantiles.clone()));
        let whole = floats(training_loss(&batch, outputs))[0];
        let expected = pinball.iter().zip(&losses).map(|(a, b)| (a + 0.1 * b) / 3.0).sum::<f32>();
        assert!((whole - expected).abs() < 1e-5 * (1.0 + expected.abs()), "{whole} {expected}");
    }

    #[test]
    fn the_head_changes_no_quantile_and_no_model_that_has_it_not() {
        let plain = example::model(&ModelConfig::preset("nano-daily").unwrap(), 1);
        let with =
            plain.with_settings(&ModelConfig { returns: true, counts: true, ..plain.config().clone() }, 9).unwrap();
        let all = windows(3, 5.0, |step| (step % 4) as f32);
        let quantiles = |model: &Model| {
            let batch = Batch::plain(model.config(), &all, &device()).unwrap();
            floats(model::forward(model.config(), &Weights::shared(model, &device()), &batch))
        };
        assert_eq!(quantiles(&with), quantiles(&plain));
        // However far the head was trained, and whatever came back.
        let at = with.values().len() - 13;
        let names: Vec<&str> = with.layout().entries.iter().map(|entry| entry.name.as_str()).collect();
        assert!(names.ends_with(&["returns.prior", "returns.log_prior_units", "returns.weight", "returns.bias"]));
        let trained = with.values().iter().enumerate().map(|(i, v)| if i >= at { v + 0.7 } else { *v });
        assert_eq!(quantiles(&with.with_values(trained.collect())), quantiles(&plain));
        assert!(plain.snapshot().manifest.settings.get("returns").is_none());
        assert_eq!(with.with_settings(plain.config(), 4).unwrap(), plain);
    }

    #[test]
    fn training_finds_on_which_days_more_comes_back() {
        use crate::train::{Subset, Trainer};
        // One unit in ten comes back, on days with the promotion channel four in ten.
        let mut rng = ChaCha12Rng::seed_from_u64(4);
        let mut all = windows(96, 10.0, |_| 0.0);
        for window in &mut all {
            let promoted: Vec<bool> = (0..140).map(|_| rng.random::<f32>() < 0.3).collect();
            for (channels, promoted) in window.known.iter_mut().zip(&promoted) {
                *channels = [0.0; 12];
                channels[4] = f32::from(u8::from(*promoted));
            }
            let returns = promoted.iter().map(|promoted| {
                let p = if *promoted { 0.4 } else { 0.1 };
                [10.0, (0..10).filter(|_| rng.random::<f32>() < p).count() as f32]
            });
            window.further = Some(Arc::new(Further { returns: returns.collect(), ..Further::default() }));
        }
        let mut trainer = Trainer::new(&Model::untrained(&config(), 1).unwrap(), Subset::Heads, 0.0, false, 0.0);
        let batch: Vec<&Window> = all.iter().collect();
        for _ in 0..300 {
            trainer.step(&batch, 0.02).unwrap();
        }
        let found = rates(&trainer.averaged(), &all);
        let mut means = [(0.0, 0.0); 2];
        for (window, rates) in all.iter().zip(found.chunks_exact(28)) {
            for (channels, rate) in window.known[112..].iter().zip(rates) {
                let (sum, count) = &mut means[usize::from(channels[4] > 0.5)];
                (*sum, *count) = (*sum + rate, *count + 1.0);
            }
        }
        let [usual, promoted] = means.map(|(sum, count)| sum / count);
        assert!((usual - 0.1).abs() < 0.03 && (promoted - 0.4).abs() < 0.06, "{usual} {promoted}");
    }
}
