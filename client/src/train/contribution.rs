//! What a merchant contributes to a round: one sum of clipped gradients, or the update of several local steps.
//!
//! The plan says which ([`Kind`]); what makes it private, and the argument for that, is in
//! [`forecastle_crypto::dp::release`], through whose one door everything leaves.
//!
//! Local steps are plain gradient steps on the parameters that rounds train, each on a fresh Poisson sample of the
//! series, drawn back towards the round's model where the plan says so (FedProx, Li et al. 2020). Under local noise every step's sum is noised before anything is computed from it, and divided by a public
//! constant: a step divided by the merchant's own number of series would tell that number. Without noise (merchant unit)
//! it is divided by that number, which is allowed there and gives each merchant the same say.
//!
//! # Which data
//! Under the customer unit the bounded lines of the period, in every local step the same data set: a round does not mix
//! imports, nor do its steps. Under the merchant unit all lines of the period: only the clip of the whole update protects,
//! and it does so whatever the update was computed from, so that bounding customers first would cost accuracy and
//! protect nobody. Lines outside the period stay out, since budgets are counted by period.
//!
//! Left out on purpose: momentum and adaptive local steps. Their state would have to begin anew each round, since a
//! merchant that carried it over would keep more of a run than the model.

use forecastle_crypto::{
    dp::{
        plan::PrivacyPlan,
        release::{Kind, Release, ReleaseError},
    },
    quantize::NoisedUpdate,
};

use super::{
    merchant::private_step,
    private::{PrivateStep, PrivateStepError, TrainingSeries},
    sampler::Sampling,
};
use crate::model::{Model, ModelError};

/// Why a merchant contributes nothing to a round.
#[derive(Debug, thiserror::Error)]
pub enum ContributionError {
    /// Sampling or gradients.
    #[error(transparent)]
    Step(#[from] PrivateStepError),
    /// What leaves is not what the plan charges, or rounding or noise failed.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// A local step left the numbers.
    #[error("a local step left the numbers: {0}; the plan's local.learning-rate is too large")]
    Weights(#[from] ModelError),
}

/// A plan's training of one round at a merchant.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RoundTraining {
    /// One sum of clipped gradients.
    GradientSum(PrivateStep),
    /// Local steps, every one of them noised.
    NoisedSteps(LocalSteps),
    /// Local steps without noise, of which only the whole update is released.
    WholeUpdate(LocalSteps),
}

/// The public constants of a round's local steps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocalSteps {
    /// Sampling and clipping of each step.
    pub step: PrivateStep,
    /// Number of steps.
    pub count: u32,
    /// Learning rate.
    pub rate: f64,
    /// What a step's sum is divided by.
    pub divisor: Divisor,
    /// μ of FedProx: the pull back towards the model that the round began with.
    pub proximal: f64,
}

/// What the sum of one local step is divided by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Divisor {
    /// A constant of the plan.
    Public(f64),
    /// The sampled series that have a window, one at least. Never where steps are released one by one.
    OwnSeries,
}

impl RoundTraining {
    /// What `plan` asks for.
    pub fn of(plan: &PrivacyPlan) -> Self {
        let steps = |divisor| {
            let local = plan.local.expect("invariant: both kinds with local steps have the section");
            let step = private_step(plan);
            LocalSteps { step, count: local.steps, rate: local.learning_rate, divisor, proximal: local.proximal }
        };
        match Kind::of(plan) {
            Kind::GradientSum => Self::GradientSum(private_step(plan)),
            Kind::NoisedSteps => Self::NoisedSteps(steps(Divisor::Public(plan.local_divisor()))),
            Kind::WholeUpdate => Self::WholeUpdate(steps(Divisor::OwnSeries)),
        }
    }

    /// The sampling and clipping of each step.
    pub fn step(&self) -> PrivateStep {
        match self {
            Self::GradientSum(step) => *step,
            Self::NoisedSteps(steps) | Self::WholeUpdate(steps) => steps.step,
        }
    }

    /// Trains on `series` from `model` and releases what follows.
    ///
    /// # Errors
    /// [`ContributionError`]; nothing may leave then.
    pub fn contribute(
        &self,
        model: &Model,
        series: &[TrainingSeries],
        sampling: &mut Sampling,
        mut release: Release<'_>,
    ) -> Result<NoisedUpdate, ContributionError> {
        match self {
            Self::GradientSum(step) => Ok(release.gradient_sum(&step.gradient_sum(model, series, sampling)?.0)?),
            Self::NoisedSteps(steps) => {
                let update = steps.walk(model, series, sampling, |sum| Ok(release.noised_step(&sum)?))?;
                Ok(release.update_of_noised_steps(update)?)
            }
            Self::WholeUpdate(steps) => Ok(release.whole_update(steps.walk(model, series, sampling, Ok)?)?),
        }
    }
}

impl LocalSteps {
    /// Takes the steps from `model` and returns the update: federated weights before less after, `[federated_len]`.
    ///
    /// `release` sees every step's sum of clipped gradients before it is divided and walked along; it returns the sum
    /// that is walked along, noised or not.
    ///
    /// # Errors
    /// [`ContributionError`], also `release`'s own.
    pub fn walk(
        &self,
        model: &Model,
        series: &[TrainingSeries],
        sampling: &mut Sampling,
        mut release: impl FnMut(Vec<f64>) -> Result<Vec<f64>, ContributionError>,
    ) -> Result<Vec<f64>, ContributionError> {
        let mut model = model.clone();
        let start: Vec<f64> = model.federated().into_iter().map(f64::from).collect();
        let mut weights = start.clone();
        for _ in 0..self.count {
            let (sum, present) = self.step.gradient_sum(&model, series, sampling)?;
            let divisor = match self.divisor {
                Divisor::Public(constant) => constant,
                Divisor::OwnSeries => present.max(1) as f64,
            };
            for ((weight, before), gradient) in weights.iter_mut().zip(&start).zip(release(sum)?) {
                *weight -= self.rate * (gradient / divisor + self.proximal * (*weight - before));
            }
            let rounded: Vec<f32> = weights.iter().map(|&weight| weight as f32).collect();
            model.set_federated(&rounded)?;
        }
        Ok(start.into_iter().zip(weights).map(|(before, after)| before - after).collect())
    }
}

#[cfg(test)]
#[path = "contribution_tests.rs"]
mod tests;
