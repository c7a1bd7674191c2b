//! A merchant's private training over its own store: what a round asks of the data.
//!
//! The data set is read once and stays as it is until training ends: a round never mixes lines from before and
//! after an import.

use forecastle_crypto::{
    dp::{plan::PrivacyPlan, release::Release, unit::PrivacyUnit},
    identity::Sha256Digest,
    quantize::NoisedUpdate,
};
use forecastle_proto::model::ModelSnapshot;

use super::{PrivateStep, PrivateStepError, RoundTraining, Sampling, TrainingSeries};
use crate::{
    data::{
        prepare::{self, PrepareError, Prepared, SeriesChoice, Tables},
        series::Frequency,
        signals::{Inputs, private},
    },
    model::{Model, ModelConfig, ModelError},
    round::driver::LocalStep,
};

/// Seasons (weeks, or quarters of a year) behind a training window at least: shorter pasts say little.
pub const PAST_SEASONS_MIN: usize = 4;

/// Series of one merchant, bounded as the plan's unit asks, and the plan's training of a round.
pub struct MerchantStep {
    series: Vec<TrainingSeries>,
    training: RoundTraining,
    sampling: Sampling,
    /// Whose vectors the series' texts have; checked against every model where it is told.
    texts: Option<Option<Sha256Digest>>,
    /// What the series carry beside, and whom the plan protects; checked against every model where it is told.
    inputs: Option<(Inputs, PrivacyUnit)>,
}

/// Why a merchant cannot take part with its data.
#[derive(Debug, thiserror::Error)]
pub enum MerchantStepError {
    /// The data do not fit the plan.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// The model's settings are unusable.
    #[error(transparent)]
    Model(#[from] ModelError),
}

impl MerchantStep {
    /// Builds the series for `plan` and a network of `config`. Returns also what was left out.
    ///
    /// # Errors
    /// [`MerchantStepError`] says what to import.
    pub fn new(
        tables: &Tables<'_>,
        choice: SeriesChoice,
        plan: &PrivacyPlan,
        config: &ModelConfig,
    ) -> Result<(Self, Prepared), MerchantStepError> {
        let choice = choice.for_inputs(config.inputs());
        let prepared = prepare::bounded_series(tables, choice, config.frequency, plan)?;
        let step = Self::over(training_series(prepared.series.clone(), config), plan);
        Ok((step.with_inputs_for(config.inputs(), plan.privacy.unit), prepared))
    }

    /// Does a step without data, so that a GPU has compiled for it before a round waits.
    ///
    /// # Errors
    /// [`PrivateStepError`] where the device cannot do a step.
    pub fn rehearse(&self, model: &Model) -> Result<(), PrivateStepError> {
        self.training.step().rehearse(model)
    }

    /// The plan's training over series that are bounded already.
    pub fn over(series: Vec<TrainingSeries>, plan: &PrivacyPlan) -> Self {
        Self { series, training: RoundTraining::of(plan), sampling: Sampling::from_system(), texts: None, inputs: None }
    }

    /// From now on, only models trained with the text encoder that `config` names (or with none) are trained on.
    #[must_use]
    pub fn with_texts_for(self, config: &ModelConfig) -> Self {
        Self { texts: Some(config.text_encoder), ..self }
    }

    /// From now on, only models are trained on that read no more than the series carry, and nothing that `unit` cannot bound.
    #[must_use]
    pub fn with_inputs_for(self, inputs: Inputs, unit: PrivacyUnit) -> Self {
        Self { inputs: Some((inputs, unit)), ..self }
    }
}

/// Series with their training cuts for a network of `config`.
pub fn training_series(series: Vec<crate::data::series::Series>, config: &ModelConfig) -> Vec<TrainingSeries> {
    let past_min = past_min(config.frequency);
    series.into_iter().map(|s| TrainingSeries::new(s, config.shape(), past_min)).collect()
}

/// Steps that a training window has behind it at least.
pub fn past_min(frequency: Frequency) -> usize {
    match frequency {
        Frequency::Daily => PAST_SEASONS_MIN * 7,
        Frequency::Weekly => PAST_SEASONS_MIN * 3,
    }
}

/// The public constants of a plan's step.
pub fn private_step(plan: &PrivacyPlan) -> PrivateStep {
    PrivateStep {
        clip: plan.step.clip,
        rate: plan.step.sampling_rate,
        windows_per_series: plan.step.windows_per_series as usize,
    }
}

impl LocalStep for MerchantStep {
    fn contribute(&mut self, model: &ModelSnapshot, release: Release<'_>) -> Result<NoisedUpdate, String> {
        let model = Model::from_snapshot(model).map_err(|e| e.to_string())?;
        if self.texts.is_some_and(|encoder| encoder != model.config().text_encoder) {
            return Err(
                "the federation's model reads texts in another way than the one that training began with; run \
                        `forecastle train` again, which begins with this one"
                    .into(),
            );
        }
        if let Some((carried, unit)) = self.inputs {
            private::check(model.config().inputs(), unit).map_err(|e| e.to_string())?;
            if carried.or(model.config().inputs()) != carried {
                return Err("the federation's model reads other inputs than the one that training began with; run \
                            `forecastle train` again, which begins with this one"
                    .into());
            }
        }
        self.training.contribute(&model, &self.series, &mut self.sampling, release).map_err(|e| e.to_string())
    }
}
