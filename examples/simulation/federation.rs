//! Rounds of private training over all merchants at once.
//!
//! A round: each merchant samples its series and draws their windows; the clipped gradients of all merchants'
//! series are computed in common batches (a unit's gradient depends on no other unit) and added up by merchant;
//! each merchant's sum is rounded to the plan's grid and gets its own share of exact discrete Gaussian noise; the
//! residues are added modulo 2^b, and the server's optimizer steps. A merchant without a sampled series sends its
//! noise all the same.
//!
//! Without privacy the sums are added as they are: clipped, but neither rounded nor noised.

use std::ops::Range;

use forecastle_client::{
    data::window::Window,
    model::{Model, ModelError},
    train::{
        ContributionError, GradientError, PrivateStep, PrivateStepError, RoundTraining, Sampling, TrainingSeries,
        clipped_gradients, merchant::training_series,
    },
};
use forecastle_crypto::{
    dp::{
        noise::{ExactSampler, NoiseError},
        plan::PrivacyPlan,
        release::{Release, ReleaseError},
    },
    identity::sha256,
    quantize::{GridError, QuantizeError, ResidueSum},
};
use forecastle_server::model::optimizer::{ServerOptimizer, StepError};

use super::parallel;
use crate::dataset::Panel;

/// Series whose gradients one task computes; a multiple of what one backward pass holds, so that results do not
/// depend on the number of processors.
const UNITS_PER_TASK: usize = 32;

/// Whether sums are rounded and noised before they are added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privacy {
    /// As in a real round.
    On,
    /// Clipped only: the same rounds without what privacy costs.
    Off,
}

/// Why a federation cannot be simulated.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// More merchants than the plan's integers are dimensioned for.
    #[error("the task has {merchants} merchants, the plan's rounds.cohort-max is {most}: raise it, or propose a plan")]
    Cohort {
        /// Merchants of the task.
        merchants: usize,
        /// The plan's limit.
        most: u16,
    },
    /// Fewer merchants than the plan's noise is calibrated to: their shares would not add up to it.
    #[error(
        "the task has {merchants} merchants, the plan's rounds.survivors-min is {least}: their noise shares would not add up to the planned noise; lower it, or propose a plan"
    )]
    Survivors {
        /// Merchants of the task.
        merchants: usize,
        /// The plan's m.
        least: u16,
    },
    /// The plan's grid.
    #[error("the plan's integers do not fit the model: {0}")]
    Grid(#[from] GridError),
    /// Sampling.
    #[error(transparent)]
    Step(#[from] PrivateStepError),
    /// A series whose gradient cannot be computed.
    #[error("series `{id}`: {source}")]
    Series {
        /// Identity of the series.
        id: String,
        /// What is wrong.
        source: GradientError,
    },
    /// Adding up.
    #[error(transparent)]
    Sum(#[from] QuantizeError),
    /// Noise.
    #[error(transparent)]
    Noise(#[from] NoiseError),
    /// A merchant's training, or what of it may leave.
    #[error("merchant `{merchant}`: {source}")]
    Contribution {
        /// Which merchant.
        merchant: String,
        /// What is wrong.
        source: ContributionError,
    },
    /// The optimizer refused.
    #[error("round {round}: {source}")]
    Optimizer {
        /// Which round.
        round: u32,
        /// Why.
        source: StepError,
    },
    /// The model refused new values.
    #[error(transparent)]
    Model(#[from] ModelError),
}

/// What a round did, for the screen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundDone {
    /// Number, from 1.
    pub round: u32,
    /// Series sampled over all merchants; `None` where they take local steps, each with a sample of its own.
    pub sampled: Option<usize>,
    /// Euclidean length of the released sum over the plan's divisor.
    pub step_norm: f64,
}

/// All merchants' training series under one plan.
pub struct Federation<'a> {
    pub(super) plan: &'a PrivacyPlan,
    pub(super) merchants: Vec<(String, Vec<TrainingSeries>)>,
}

impl<'a> Federation<'a> {
    /// The federation that trains on everything before column `cut` of the panel: all of its merchants, also those
    /// none of whose series has begun.
    ///
    /// # Errors
    /// [`FederationError::Cohort`] and [`FederationError::Survivors`].
    pub fn before(panel: &Panel, cut: usize, plan: &'a PrivacyPlan, model: &Model) -> Result<Self, FederationError> {
        let merchants = panel
            .merchants()
            .into_iter()
            .map(|(merchant, indices)| {
                let series = indices
                    .into_iter()
                    .map(|i| &panel.series[i].series)
                    .map(|series| series.up_to((cut + series.y.len()).saturating_sub(panel.length)))
                    .collect();
                (merchant.to_owned(), training_series(series, model.config()))
            })
            .collect();
        Self::new(plan, merchants)
    }

    /// A federation of named merchants with their series.
    ///
    /// # Errors
    /// As [`Self::before`].
    pub fn new(plan: &'a PrivacyPlan, merchants: Vec<(String, Vec<TrainingSeries>)>) -> Result<Self, FederationError> {
        let count = merchants.len();
        if count > usize::from(plan.rounds.cohort_max) {
            return Err(FederationError::Cohort { merchants: count, most: plan.rounds.cohort_max });
        }
        if count < usize::from(plan.rounds.survivors_min) {
            return Err(FederationError::Survivors { merchants: count, least: plan.rounds.survivors_min });
        }
        Ok(Self { plan, merchants })
    }

    /// Runs the plan's whole schedule from `start` and returns what its last round publishes.
    ///
    /// # Errors
    /// [`FederationError`] names the merchant, series or round at fault.
    pub fn train(
        &self,
        start: &Model,
        privacy: Privacy,
        seed: u64,
        observe: &mut dyn FnMut(RoundDone),
    ) -> Result<Model, FederationError> {
        let (plan, divisor) = (self.plan, self.plan.divisor());
        let mut sampling = Sampling::danger_seeded(seed);
        let mut noise = ExactSampler::danger_from_seed(sha256(&seed.to_le_bytes()).0);
        let mut optimizer = ServerOptimizer::new(&plan.optimizer, plan.rounds.count, &start.federated());
        let mut model = start.clone();
        for round in 1..=plan.rounds.count {
            let (sum, sampled) = match RoundTraining::of(plan) {
                RoundTraining::GradientSum(step) => {
                    let batch = self.sample(step, &model, &mut sampling)?;
                    let sums = self.merchant_sums(step, &model, &batch)?;
                    let sum = match privacy {
                        Privacy::On => self.noised_sum(&sums, &mut noise)?,
                        Privacy::Off => plain_sum(&sums, model.federated_len()),
                    };
                    (sum, Some(batch.units.len()))
                }
                RoundTraining::NoisedSteps(steps) | RoundTraining::WholeUpdate(steps) => {
                    (self.update_sum(steps, &model, privacy, (seed, round))?, None)
                }
            };
            optimizer.step(&sum, divisor).map_err(|source| FederationError::Optimizer { round, source })?;
            model.set_federated(&optimizer.published(u64::from(round)))?;
            let step_norm = sum.iter().map(|v| (v / divisor).powi(2)).sum::<f64>().sqrt();
            observe(RoundDone { round, sampled, step_norm });
        }
        Ok(model)
    }

    /// Every merchant's own Poisson sample, one after the other.
    fn sample(&self, step: PrivateStep, model: &Model, sampling: &mut Sampling) -> Result<Sampled, FederationError> {
        let mut batch = Sampled { units: Vec::new(), series: Vec::new(), of_merchant: Vec::new() };
        for (_, series) in &self.merchants {
            let (sampled, units) = step.draw(model.shape(), series, sampling)?;
            let first = batch.units.len();
            batch.units.extend(units);
            batch.series.extend(sampled);
            batch.of_merchant.push(first..batch.units.len());
        }
        Ok(batch)
    }

    /// Sum of the clipped gradients of each merchant's sampled series, `[merchant][d]`.
    fn merchant_sums(
        &self,
        step: PrivateStep,
        model: &Model,
        batch: &Sampled,
    ) -> Result<Vec<Vec<f64>>, FederationError> {
        let tasks: Vec<(usize, &[Vec<Window>])> = batch
            .units
            .chunks(UNITS_PER_TASK)
            .enumerate()
            .map(|(task, units)| (task * UNITS_PER_TASK, units))
            .collect();
        let gradients = parallel::each(tasks, |(first, units)| {
            clipped_gradients(model, units, step.clip).map_err(|source| match source {
                GradientError::Window { unit, .. } | GradientError::NotFinite { unit, .. } => {
                    FederationError::Series { id: self.id_of(batch, first + unit), source }
                }
                GradientError::Clip(_) | GradientError::Device(_) => {
                    FederationError::Step(PrivateStepError::Gradient(source))
                }
            })
        })?;
        let gradients: Vec<Vec<f64>> = gradients.into_iter().flatten().collect();
        Ok(batch.of_merchant.iter().map(|own| plain_sum(&gradients[own.clone()], model.federated_len())).collect())
    }

    /// What the server would decode after a round: every merchant's rounded sum with its noise share, added
    /// modulo 2^b.
    fn noised_sum(&self, sums: &[Vec<f64>], noise: &mut ExactSampler) -> Result<Vec<f64>, FederationError> {
        let dimension = u32::try_from(sums.first().map_or(0, Vec::len)).unwrap_or(u32::MAX);
        let mut total = ResidueSum::new(self.plan.grid(dimension)?);
        for ((merchant, _), sum) in self.merchants.iter().zip(sums) {
            let named = |source: ReleaseError| FederationError::Contribution {
                merchant: merchant.clone(),
                source: source.into(),
            };
            let release = Release::new(self.plan, dimension, noise).map_err(named)?;
            total.add(&release.gradient_sum(sum).map_err(named)?)?;
        }
        Ok(total.dequantize())
    }

    fn id_of(&self, batch: &Sampled, unit: usize) -> String {
        let owner = batch.of_merchant.iter().position(|own| own.contains(&unit));
        owner.map_or_else(String::new, |m| self.merchants[m].1[batch.series[unit]].series.id.clone())
    }
}

/// A round's sample over all merchants.
struct Sampled {
    /// Windows of each sampled series.
    units: Vec<Vec<Window>>,
    /// Position of each among its merchant's series.
    series: Vec<usize>,
    /// Which units are each merchant's.
    of_merchant: Vec<Range<usize>>,
}

pub(super) fn plain_sum(vectors: &[Vec<f64>], dimension: usize) -> Vec<f64> {
    let mut sum = vec![0.0; dimension];
    for vector in vectors {
        for (total, value) in sum.iter_mut().zip(vector) {
            *total += value;
        }
    }
    sum
}
