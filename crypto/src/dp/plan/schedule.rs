//! What a plan releases, on which grid, under how much noise, and what that costs.

use serde::{Deserialize, Serialize};

use super::{PlanError, PrivacyPlan};
use crate::{
    dp::{
        accountant::{self, Spent},
        event::{DpEvent, EventError},
        noise::{NoiseError, Variance},
        unit::{NeighboringRelation, PrivacyUnit},
    },
    quantize::{Change, Grid, GridError},
};

/// ε of the whole schedule as each adversary sees it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpsilonRows {
    /// Anyone who reads the published models: the noise of at least m survivors.
    pub published: Spent,
    /// The server with the assumed colluders: the planned σ.
    pub server: Spent,
    /// Everyone but this merchant colludes: its own noise share only.
    pub everyone_else: Spent,
}

impl PrivacyPlan {
    /// The event of one round with noise `noise_multiplier`·C in its sum.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn step_event(&self, noise_multiplier: f64) -> Result<DpEvent, EventError> {
        DpEvent::step(self.privacy.unit, self.step.sampling_rate, self.bounds.series, noise_multiplier)
    }

    /// The event of `rounds` charged rounds with noise `noise_multiplier`·C in each sum.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn schedule(&self, noise_multiplier: f64, rounds: u32) -> Result<DpEvent, EventError> {
        let step = Box::new(self.step_event(noise_multiplier)?);
        Ok(DpEvent::SelfComposed { event: step, count: u64::from(rounds) })
    }

    /// The integer grid of updates of `dimension` parameters.
    ///
    /// # Errors
    /// [`GridError`] where the dimension does not fit.
    pub fn grid(&self, dimension: u32) -> Result<Grid, GridError> {
        Grid::new(dimension, self.integers.bits, u64::from(self.integers.units_per_clip), self.step.clip)
    }

    /// What one unit changes in a released sum.
    pub fn change(&self) -> Change {
        match self.privacy.unit {
            PrivacyUnit::Customer => Change::Replaced,
            PrivacyUnit::Series | PrivacyUnit::Merchant => Change::Removed,
        }
    }

    /// σ that really protects, as a multiple of C, for `dimension` parameters: rounding the sum to the grid
    /// widens the sensitivity, so the planned σ counts for less.
    ///
    /// # Errors
    /// [`GridError`] where the dimension does not fit.
    pub fn effective_noise_multiplier(&self, dimension: u32) -> Result<f64, GridError> {
        Ok(self.step.noise_multiplier / self.grid(dimension)?.rounding_cost(self.change()))
    }

    /// Variance of one merchant's noise share in squared grid units: (σ·s)²/(m − n_C), rounded up.
    ///
    /// # Errors
    /// [`NoiseError`] where the share is too large or small for the sampler.
    pub fn local_variance(&self) -> Result<Variance, NoiseError> {
        let honest = f64::from(self.rounds.survivors_min - self.rounds.colluders_assumed);
        let sigma_units = self.step.noise_multiplier * f64::from(self.integers.units_per_clip) / honest.sqrt();
        Ok(Variance::from_sigma_ceil(sigma_units)?)
    }

    /// The three rows of ε after `rounds` charged rounds with `dimension` parameters.
    ///
    /// # Errors
    /// [`PlanError`] where the accountant refuses.
    pub fn epsilon_rows(&self, dimension: u32, rounds: u32) -> Result<EpsilonRows, PlanError> {
        let sigma = self.effective_noise_multiplier(dimension)?;
        let honest = f64::from(self.rounds.survivors_min - self.rounds.colluders_assumed);
        let row = |sigma: f64| -> Result<Spent, PlanError> {
            Ok(accountant::epsilon(&self.schedule(sigma, rounds)?, self.privacy.delta)?)
        };
        Ok(EpsilonRows {
            published: row(sigma * (f64::from(self.rounds.survivors_min) / honest).sqrt())?,
            server: row(sigma)?,
            everyone_else: row(sigma / honest.sqrt())?,
        })
    }

    /// The neighbouring relation that the unit is counted under.
    pub fn relation(&self) -> NeighboringRelation {
        NeighboringRelation::AddOrRemove
    }
}
