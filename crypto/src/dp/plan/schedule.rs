//! What a plan releases, on which grid, under how much noise, and what that costs.
//!
//! Invariant: the event of a round covers everything that leaves a merchant in it. Where every local step carries the
//! whole noise, each of them is a release, although only the update that follows from them is sent.

use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::SHARE_UNITS_MIN;
use super::{NoiseMode, PlanError, PrivacyPlan};
use crate::{
    dp::{
        accountant::{self, Spent},
        event::{DpEvent, EventError},
        integer::{IntegerNoise, SMOOTHING_UNITS},
        noise::{NoiseError, Variance},
        unit::NeighboringRelation,
    },
    quantize::{Grid, GridError, bits_needed},
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

/// The noise multiplier that stands between a merchant and each adversary, in the order of [`EpsilonRows`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseRows {
    /// Against readers of the published models.
    pub published: f64,
    /// Against the server with the assumed colluders.
    pub server: f64,
    /// Against everyone else together.
    pub everyone_else: f64,
}

impl PrivacyPlan {
    /// Where the noise is added.
    pub fn noise_mode(&self) -> NoiseMode {
        self.local.map_or(NoiseMode::Distributed, |local| local.noise)
    }

    /// The event of one round with noise `noise_multiplier`·C.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn step_event(&self, noise_multiplier: f64) -> Result<DpEvent, EventError> {
        let step = DpEvent::step(self.privacy.unit, self.step.sampling_rate, self.bounds.series, noise_multiplier)?;
        Ok(match self.local {
            Some(local) if local.noise == NoiseMode::Local => step.times(u64::from(local.steps)),
            _ => step,
        })
    }

    /// The event of `rounds` charged rounds with noise `noise_multiplier`·C in each.
    ///
    /// # Errors
    /// [`EventError`] where a number is out of range.
    pub fn schedule(&self, noise_multiplier: f64, rounds: u32) -> Result<DpEvent, EventError> {
        let event = self.step_event(noise_multiplier)?.times(u64::from(rounds));
        event.validate()?;
        Ok(event)
    }

    /// The integer grid of updates of `dimension` parameters.
    ///
    /// # Errors
    /// [`GridError`] where the dimension does not fit.
    pub fn grid(&self, dimension: u32) -> Result<Grid, GridError> {
        Grid::new(dimension, self.integers.bits, u64::from(self.integers.units_per_clip), self.update_clip())
    }

    /// The norm that is `units-per-clip` units on the grid of what is masked: of one series' gradient, or of a whole
    /// update after local steps.
    pub fn update_clip(&self) -> f64 {
        self.local.map_or(self.step.clip, |local| local.update_clip)
    }

    /// C, of which σ is a multiple: the norm of one series' gradient, or under the merchant unit of the whole update.
    pub fn noise_clip(&self) -> f64 {
        match self.noise_mode() {
            NoiseMode::Local => self.step.clip,
            NoiseMode::Distributed => self.update_clip(),
        }
    }

    /// What the server divides a round's sum by, a public constant: q times the assumed number of series where the sum
    /// is one of gradients, the largest number of merchants where it is one of updates. Neither depends on who took
    /// part, nor on anybody's data.
    pub fn divisor(&self) -> f64 {
        match self.local {
            None => self.step.sampling_rate * f64::from(self.step.assumed_series),
            Some(_) => f64::from(self.rounds.cohort_max),
        }
    }

    /// What a merchant divides the noised sum of one of its local steps by: q times the assumed number of series of a
    /// merchant, the federation's shared evenly. A public constant, never the merchant's own count: divided by that, the
    /// released step would tell it.
    pub fn local_divisor(&self) -> f64 {
        self.step.sampling_rate * f64::from(self.step.assumed_series) / f64::from(self.rounds.cohort_max)
    }

    /// σ, as a multiple of C, that stands against the server with the assumed colluders once `survivors` merchants are in
    /// the sum: m − n_C shares make the planned one, and variances add. Where every merchant adds all of it to its own
    /// steps, it is the planned one whoever survives.
    pub fn noise_of(&self, survivors: usize) -> f64 {
        let added = match self.noise_mode() {
            NoiseMode::Distributed => (survivors as f64 - f64::from(self.rounds.colluders_assumed)).max(0.0),
            NoiseMode::Local => 1.0,
        };
        self.step.noise_multiplier * (added / self.shares()).sqrt()
    }

    /// σ that really protects, as a multiple of C, for `dimension` parameters, with what integers cost taken off the
    /// planned one: rounding widens the sensitivity ([`crate::quantize`]), and integer noise is a function of a slightly
    /// narrower Gaussian ([`crate::dp::integer`]).
    ///
    /// The noise is narrowed share by share, which is more than is needed for the sum of several, so that the rows of
    /// [`Self::noise_rows`] follow from it. What remains is the ratio e^Λ to a function of that Gaussian. Shares have at
    /// least [`SHARE_UNITS_MIN`] units, so Λ of the largest run that a plan can describe is below 10⁻¹⁶, less than a
    /// float near ε = 1 can carry: events do not repeat it.
    ///
    /// # Errors
    /// [`PlanError`] where the dimension does not fit or the noise is too coarse.
    pub fn effective_noise_multiplier(&self, dimension: u32) -> Result<f64, PlanError> {
        // Both depend on units per clip alone: local steps are rounded as finely as updates are.
        let cost = self.grid(dimension)?.rounding_cost();
        let units = f64::from(self.integers.units_per_clip);
        let share = self.step.noise_multiplier * units / self.shares().sqrt();
        let bound = IntegerNoise::new(share * share, 1, dimension).and_then(|noise| noise.as_gaussian());
        let bound = bound.map_err(|e| PlanError::Field { field: "integers.units-per-clip", why: e.to_string() })?;
        Ok(bound.sigma_units * self.shares().sqrt() / (units * cost))
    }

    /// The least σ that has to protect for the schedule to keep within the cap.
    ///
    /// # Errors
    /// [`PlanError`] where a number is out of range or no σ does.
    pub fn least_noise(&self) -> Result<f64, PlanError> {
        // Asked once with any σ, so that a number out of range is named instead of met below.
        self.schedule(1.0, self.rounds.count)?;
        Ok(accountant::noise_multiplier_for(self.privacy.epsilon_cap, self.privacy.delta, |sigma| {
            self.schedule(sigma, self.rounds.count).expect("invariant: only σ differs from a schedule that was valid")
        })?)
    }

    /// The σ to plan for `effective` of it to protect: the inverse of [`Self::effective_noise_multiplier`] on this plan's
    /// grid, rounded upwards to six digits, which keep a file readable.
    ///
    /// # Errors
    /// [`PlanError`] where the dimension does not fit.
    pub fn noise_multiplier_for(&self, effective: f64, dimension: u32) -> Result<f64, PlanError> {
        let smoothing = SMOOTHING_UNITS * self.shares().sqrt() / f64::from(self.integers.units_per_clip);
        let planned = (effective * self.grid(dimension)?.rounding_cost()).hypot(smoothing);
        Ok((planned * 1e6).ceil() / 1e6)
    }

    /// This plan with `rounds` rounds and the least noise that keeps them within `epsilon` for `dimension` parameters:
    /// the same training under another claim.
    ///
    /// # Errors
    /// [`PlanError`] where no noise does, or what it needs does not fit the integers.
    pub fn renoised(&self, epsilon: f64, rounds: u32, dimension: u32) -> Result<Self, PlanError> {
        let mut plan = self.clone();
        plan.privacy.epsilon_cap = epsilon;
        plan.rounds.count = rounds;
        plan.step.noise_multiplier = plan.noise_multiplier_for(plan.least_noise()?, dimension)?;
        plan.integers.bits = plan.bits_needed(dimension)?;
        plan.check()?;
        Ok(plan)
    }

    /// Variance of one merchant's noise in squared grid units, rounded up: its share (σ·s)²/(m − n_C) of a distributed
    /// sum, or (σ·s)² where every local step carries the whole noise.
    ///
    /// # Errors
    /// [`NoiseError`] where it is too large or small for the sampler.
    pub fn local_variance(&self) -> Result<Variance, NoiseError> {
        let sigma_units = self.step.noise_multiplier * f64::from(self.integers.units_per_clip);
        Ok(Variance::from_sigma_ceil(sigma_units / self.shares().sqrt())?)
    }

    /// m − n_C, the merchants whose noise makes σ; 1 where each adds all of it.
    pub fn shares(&self) -> f64 {
        match self.noise_mode() {
            NoiseMode::Distributed => f64::from(self.rounds.survivors_min - self.rounds.colluders_assumed),
            NoiseMode::Local => 1.0,
        }
    }

    /// The noise multiplier against each adversary, where `noise_multiplier` is the one against the server. Noise that
    /// every merchant adds in full is the same against all of them: that others' noise also hides it is not claimed,
    /// because an update is no linear function of its steps.
    pub fn noise_rows(&self, noise_multiplier: f64) -> NoiseRows {
        let honest = self.shares();
        let all = match self.noise_mode() {
            NoiseMode::Distributed => f64::from(self.rounds.survivors_min),
            NoiseMode::Local => 1.0,
        };
        NoiseRows {
            published: noise_multiplier * (all / honest).sqrt(),
            server: noise_multiplier,
            everyone_else: noise_multiplier / honest.sqrt(),
        }
    }

    /// The three rows of ε after `rounds` charged rounds with `dimension` parameters.
    ///
    /// # Errors
    /// [`PlanError`] where the accountant refuses.
    pub fn epsilon_rows(&self, dimension: u32, rounds: u32) -> Result<EpsilonRows, PlanError> {
        let noise = self.noise_rows(self.effective_noise_multiplier(dimension)?);
        let row = |sigma: f64| -> Result<Spent, PlanError> {
            Ok(accountant::epsilon(&self.schedule(sigma, rounds)?, self.privacy.delta)?)
        };
        Ok(EpsilonRows {
            published: row(noise.published)?,
            server: row(noise.server)?,
            everyone_else: row(noise.everyone_else)?,
        })
    }

    /// The fewest bits with which no coordinate of any round's sum wraps around, but for probability 2⁻⁴⁰ over the run.
    ///
    /// Without noise a merchant's coordinate is at most s units for each of its series, or s for its whole clipped
    /// update; the noise of the whole cohort is added on top, unless it is inside the clipped update already.
    ///
    /// # Errors
    /// [`GridError::NeedsMoreBits`] where no residue holds it, [`NoiseError`] (as a plan's field) where the noise fits
    /// no sampler.
    pub fn bits_needed(&self, dimension: u32) -> Result<u8, PlanError> {
        let merchants = f64::from(self.rounds.cohort_max);
        let summands = if self.local.is_some() { 1.0 } else { f64::from(self.step.series_per_merchant_max) };
        let reach = merchants * summands * f64::from(self.integers.units_per_clip);
        let noise = match self.noise_mode() {
            NoiseMode::Distributed => {
                let share = self
                    .local_variance()
                    .map_err(|e| PlanError::Field { field: "step.noise-multiplier", why: e.to_string() })?;
                share.sigma() * merchants.sqrt()
            }
            NoiseMode::Local => 0.0,
        };
        Ok(bits_needed(reach, noise, dimension, self.rounds.count)?)
    }

    /// The neighbouring relation that the unit is counted under.
    pub fn relation(&self) -> NeighboringRelation {
        NeighboringRelation::AddOrRemove
    }
}
