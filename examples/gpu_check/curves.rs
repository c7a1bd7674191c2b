//! The same training on the GPU and on the processor: plain steps of all parameters, and private rounds.
//!
//! A GPU rounds products otherwise (see [`crate::checks`]), so after a step its weights differ in the last bits, and each
//! later gradient is taken elsewhere: two trainings part, and no bound on single weights is honest. What must agree is
//! what training is for, the loss. The tolerance is one for the mean of the last fifth of a curve: a wrong gradient, an
//! update lost or a unit counted twice shows there.

use std::thread;

use forecastle_client::{
    data::window::Window,
    device::{Place, on},
    model::{Model, ModelConfig},
    train::{Subset, Trainer, clipped_gradient_sum, weighted_quantile_loss},
};
use forecastle_crypto::dp::plan::{OptimizerPlan, OptimizerRule};
use forecastle_server::model::optimizer::ServerOptimizer;
use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use serde::Serialize;

use crate::{AnyError, chance, checks::CLIP, windows};

/// Largest relative difference of the mean loss over the last fifth of a curve.
pub const TOLERANCE: f64 = 2e-2;
/// Privacy units of a private round, one window each.
const UNITS: usize = 128;
/// Windows by which private rounds are judged.
const HELD_BACK: usize = 256;
/// Private rounds between two looks at them.
const LOOK_EVERY: usize = 5;

/// Losses of the same training on each device.
#[derive(Serialize)]
pub struct Curve {
    /// What was trained and how.
    pub what: &'static str,
    /// Steps between two points.
    pub every: usize,
    pub cpu: Vec<f64>,
    pub gpu: Option<Vec<f64>>,
    /// Relative difference of the mean loss over the last fifth.
    pub difference: Option<f64>,
}

impl Curve {
    /// Whether both curves end alike; true without a GPU.
    pub fn passed(&self) -> bool {
        self.difference.is_none_or(|d| d <= TOLERANCE)
    }

    /// Trains at both places at once: nothing is timed.
    fn of(
        what: &'static str,
        every: usize,
        gpu: Option<Place>,
        train: impl Fn() -> Result<Vec<f64>, AnyError> + Sync,
    ) -> Result<Self, AnyError> {
        let (cpu, gpu) = thread::scope(|scope| {
            let cpu = scope.spawn(|| on(Place::CPU, &train));
            let gpu = gpu.map(|gpu| on(gpu, &train)).transpose();
            (cpu.join(), gpu)
        });
        let (cpu, gpu) = (cpu.map_err(|_| "the processor's training panicked")??, gpu?);
        let difference = gpu.as_ref().map(|gpu| (tail(gpu) - tail(&cpu)).abs() / tail(&cpu));
        Ok(Self { what, every, cpu, gpu, difference })
    }
}

/// Plain training of all parameters from their untrained start, on the same batches.
pub fn plain(config: &ModelConfig, gpu: Option<Place>, steps: usize, batch: usize) -> Result<Curve, AnyError> {
    const BATCHES: usize = 16;
    let start = Model::untrained(config, 1)?;
    let pool = windows::windows(config, batch * BATCHES.min(steps), 2);
    Curve::of("plain training of all parameters, loss of each batch", 1, gpu, || {
        let mut trainer = Trainer::new(&start, Subset::All, 0.01, false, 0.0);
        (0..steps)
            .map(|step| {
                let first = step % BATCHES * batch;
                let windows: Vec<&Window> = pool[first..first + batch].iter().collect();
                Ok(trainer.step(&windows, 2e-3)?.into())
            })
            .collect()
    })
}

/// Private rounds from the untrained start: clipped gradient sums of the same units, the same noise, the server's
/// optimizer.
///
/// The noise is a generator's, for comparison only: noise that protects comes from the cryptographic core.
pub fn private(config: &ModelConfig, gpu: Option<Place>, rounds: usize) -> Result<Curve, AnyError> {
    const BATCHES: usize = 8;
    let optimizer = OptimizerPlan {
        rule: OptimizerRule::FedAdam,
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        cosine: true,
        averaging: 0.0,
    };
    let start = Model::untrained(config, 1)?;
    let pool = windows::units(config, UNITS * BATCHES, 1, 5);
    let held_back = windows::windows(config, HELD_BACK, 6);
    Curve::of("private rounds of the federated parameters, loss on held-back windows", LOOK_EVERY, gpu, || {
        let mut model = start.clone();
        let mut optimizer = ServerOptimizer::new(&optimizer, u32::try_from(rounds)?, &model.federated());
        let mut rng = ChaCha12Rng::seed_from_u64(7);
        let mut losses = Vec::new();
        for round in 1..=rounds {
            let first = round % BATCHES * UNITS;
            let mut sum = clipped_gradient_sum(&model, &pool[first..first + UNITS], CLIP)?;
            sum.iter_mut().for_each(|g| *g += CLIP * f64::from(chance::normal(&mut rng, 0.0, 1.0)));
            optimizer.step(&sum, UNITS as f64)?;
            model.set_federated(&optimizer.published(round as u64))?;
            if round % LOOK_EVERY == 0 {
                losses.push(weighted_quantile_loss(&model, &held_back)?.ok_or("the generated windows are all empty")?);
            }
        }
        Ok(losses)
    })
}

/// Mean of the last fifth.
fn tail(losses: &[f64]) -> f64 {
    let last = &losses[losses.len() - losses.len().div_ceil(5)..];
    last.iter().sum::<f64>() / last.len() as f64
}
