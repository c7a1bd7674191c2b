//! Training that never leaves the merchant: fine-tuning after the rounds, the row without federation, and the row alone.
//!
//! All three start from a model and differ only in that start and in how long they train. Validation is by time
//! (the caller holds back the last horizon of the training period), the start itself is a candidate, and the best
//! on validation wins, so that local training cannot return a model that validates worse than its start.

use std::ops::ControlFlow;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;

use super::plain::{Codes, PlainError, Rule, Subset, Trainer, weighted_quantile_loss};
use super::windows::Windows;
use crate::data::{series::Series, window::Window};
use crate::model::{ForwardError, Model};

/// Why local training gave no model.
#[derive(Debug, thiserror::Error)]
pub enum LocalTrainingError {
    /// A window that does not fit, or diverged training.
    #[error(transparent)]
    Plain(#[from] PlainError),
    /// A validation window that does not fit.
    #[error("validation: {0}")]
    Validation(#[from] ForwardError),
    /// The caller asked to stop.
    #[error("local training was cancelled after {steps} steps; the model is as before")]
    Cancelled {
        /// Steps done.
        steps: usize,
    },
}

/// Settings of local training.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalTraining {
    /// Which parameters move.
    pub subset: Subset,
    /// The most steps.
    pub steps: usize,
    /// Windows a step.
    pub batch: usize,
    /// Learning rate at the first step; falls to zero along a half cosine.
    pub rate: f32,
    /// Decay towards the starting weights, which are the federation's: how strongly the shared model is trusted. The
    /// local objective is thereby regularised towards the federation's mean (Liu, Hu, Wu and Smith 2022, MR-MTL).
    pub anchor: f32,
    /// Steps between two looks at the validation windows.
    pub evaluate_every: usize,
    /// Looks without improvement after which training stops.
    pub patience: usize,
    /// Relative improvement on validation below which the start is kept.
    pub improvement_min: f64,
    /// Rule by which they move.
    pub rule: Rule,
    /// Share of what each block adds that is dropped, where the encoder is trained.
    pub dropout: f32,
    /// Order of the windows, and what is dropped.
    pub seed: u64,
}

impl LocalTraining {
    /// Fine-tuning of skip and heads after the rounds, also for the row without federation.
    pub fn fine_tuning(seed: u64) -> Self {
        Self {
            subset: Subset::Heads,
            steps: 120,
            batch: 64,
            rate: 0.003,
            anchor: 0.1,
            evaluate_every: 20,
            patience: 2,
            improvement_min: 0.002,
            rule: Rule::AdamW,
            dropout: 0.0,
            seed,
        }
    }

    /// Fine-tuning for these series: also of what reads vectors, where a sentence encoder or the merchant gave them some.
    pub fn fine_tuning_of(series: &[Series], seed: u64) -> Self {
        let is_known = |vector: &[f32]| vector.iter().any(|x| *x != 0.0);
        let speaks = |series: &Series| {
            series.text_vector.as_ref().is_some_and(|vector| is_known(vector))
                || series.further.as_ref().is_some_and(|further| is_known(&further.vector))
        };
        let subset = if series.iter().any(speaks) { Subset::HeadsAndText } else { Subset::Heads };
        Self { subset, ..Self::fine_tuning(seed) }
    }

    /// Longer training of all parameters from the warm start, for a merchant on its own.
    pub fn alone(seed: u64) -> Self {
        Self {
            subset: Subset::All,
            steps: 400,
            batch: 64,
            rate: 0.001,
            anchor: 0.05,
            evaluate_every: 25,
            patience: 4,
            improvement_min: 0.002,
            rule: Rule::AdamW,
            dropout: 0.0,
            seed,
        }
    }

    /// Trains on `train`, choosing by `validation`; `report` is called at every look and may stop it.
    ///
    /// Without train or validation windows the start is returned as it is: there is nothing to choose by.
    ///
    /// # Errors
    /// [`LocalTrainingError`]; the model given is never changed.
    pub fn run(
        &self,
        model: &Model,
        train: &(impl Windows + ?Sized),
        validation: &(impl Windows + ?Sized),
        report: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<LocalOutcome, LocalTrainingError> {
        let before = weighted_quantile_loss(model, validation)?;
        let mut best =
            LocalOutcome { model: model.clone(), steps: 0, validation_before: before, validation_after: before };
        let (Some(before), false) = (before, train.count() == 0) else { return Ok(best) };
        let mut least = before * (1.0 - self.improvement_min);
        let mut looks_without = 0;
        let mut walk = Walk::begin(self, model, train)?;
        for step in 0..self.steps {
            let loss = walk.step(step)?;
            if (step + 1) % self.evaluate_every.max(1) != 0 && step + 1 != self.steps {
                continue;
            }
            let candidate = walk.trainer.averaged();
            let value = weighted_quantile_loss(&candidate, validation)?.unwrap_or(f64::INFINITY);
            looks_without += 1;
            if value < least {
                least = value;
                looks_without = 0;
                best = LocalOutcome {
                    model: candidate,
                    steps: step + 1,
                    validation_before: Some(before),
                    validation_after: Some(value),
                };
            }
            let progress = Progress { step: step + 1, steps: self.steps, loss, validation: value };
            if report(&progress).is_break() {
                return Err(LocalTrainingError::Cancelled { steps: step + 1 });
            }
            if looks_without >= self.patience {
                break;
            }
        }
        Ok(best)
    }

    /// Trains a fixed number of steps on `train`, the learning rate falling to zero over them; nothing is held back and
    /// nothing chosen. For the number of steps that [`Self::run`] found on fewer windows.
    ///
    /// # Errors
    /// [`LocalTrainingError`]; the model given is never changed.
    pub fn refit(
        &self,
        model: &Model,
        train: &(impl Windows + ?Sized),
        steps: usize,
    ) -> Result<Model, LocalTrainingError> {
        if steps == 0 || train.count() == 0 {
            return Ok(model.clone());
        }
        let settings = Self { steps, ..self.clone() };
        let mut walk = Walk::begin(&settings, model, train)?;
        (0..steps).try_for_each(|step| walk.step(step).map(|_| ()))?;
        Ok(walk.trainer.averaged())
    }
}

/// Training on its way.
struct Walk<'a, W: ?Sized> {
    settings: &'a LocalTraining,
    train: &'a W,
    trainer: Trainer,
    /// What the encoder says of each window, where it does not move.
    codes: Option<Codes>,
    order: Order,
}

impl<'a, W: Windows + ?Sized> Walk<'a, W> {
    fn begin(settings: &'a LocalTraining, model: &Model, train: &'a W) -> Result<Self, PlainError> {
        let codes = match settings.subset {
            Subset::Heads => Some(Codes::compute(model, train)?),
            Subset::HeadsAndText | Subset::All => None,
        };
        let trainer = Trainer::new(model, settings.subset, settings.anchor, true, 0.9)
            .by(settings.rule)
            .dropping(settings.dropout, settings.seed);
        Ok(Self { settings, train, trainer, codes, order: Order::new(train.count(), settings.seed) })
    }

    /// One step on the next windows, counted from 0; its loss.
    fn step(&mut self, step: usize) -> Result<f32, PlainError> {
        let indices = self.order.next(self.settings.batch);
        let windows: Vec<_> = indices.iter().map(|&i| self.train.window(i)).collect();
        let windows: Vec<&Window> = windows.iter().map(AsRef::as_ref).collect();
        let rate = self.settings.rate * cosine(step, self.settings.steps);
        match &self.codes {
            Some(codes) => self.trainer.step_with_codes(&windows, &indices, codes, rate),
            None => self.trainer.step(&windows, rate),
        }
    }
}

/// Half a cosine from 1 at the first step to 0 after the last.
pub fn cosine(step: usize, steps: usize) -> f32 {
    0.5 * (1.0 + (std::f32::consts::PI * step as f32 / steps.max(1) as f32).cos())
}

/// A look at the validation windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps planned.
    pub steps: usize,
    /// Loss of the last batch, in scaled space.
    pub loss: f32,
    /// Weighted quantile loss on the validation windows.
    pub validation: f64,
}

/// What local training found.
#[derive(Clone, Debug)]
pub struct LocalOutcome {
    /// The best model on validation; the start where nothing was better.
    pub model: Model,
    /// Steps after which it was found; 0 for the start.
    pub steps: usize,
    /// Weighted quantile loss of the start on the validation windows, where it is defined.
    pub validation_before: Option<f64>,
    /// And of the best model.
    pub validation_after: Option<f64>,
}

/// Endless passes over the windows, each in a new random order.
struct Order {
    indices: Vec<usize>,
    at: usize,
    rng: ChaCha12Rng,
}

impl Order {
    fn new(len: usize, seed: u64) -> Self {
        let mut order = Self { indices: (0..len).collect(), at: 0, rng: ChaCha12Rng::seed_from_u64(seed) };
        order.indices.shuffle(&mut order.rng);
        order
    }

    fn next(&mut self, count: usize) -> Vec<usize> {
        let mut taken = Vec::with_capacity(count.min(self.indices.len()));
        while taken.len() < count.max(1).min(self.indices.len()) {
            if self.at == self.indices.len() {
                self.at = 0;
                self.indices.shuffle(&mut self.rng);
            }
            taken.push(self.indices[self.at]);
            self.at += 1;
        }
        taken
    }
}

#[cfg(test)]
#[path = "local_tests.rs"]
mod tests;
