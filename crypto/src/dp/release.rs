//! The one door through which what a merchant computed in a round becomes what may be masked.
//!
//! Invariant: a [`NoisedUpdate`] that left through here carries the noise of the event that the plan charges for the
//! round, no less. Training calls the method of its kind; the method of another kind is refused by name, so that code
//! and plan cannot disagree on where the noise is added.
//!
//! # One step a round
//! The sum of clipped gradients goes onto the grid and gets the merchant's noise share ([`Release::gradient_sum`]). Its
//! sensitivity is [`crate::quantize`]'s and the customer step's ([`super`], "What is proven").
//!
//! Before that it is projected onto the ball of radius (most series of a merchant)·C, so that no merchant's integers
//! wrap around, however many series it has. Counted from the projected sum of what both data sets share, j sampled
//! series still move it by at most j·C, because a projection brings no two points further apart, and that is all the
//! argument asks for ([`super`], "Projected and rounded sums"). Choosing *which* series may take part would not do:
//! removing one of them would let another in.
//!
//! # Noised local steps (customer and series units)
//! Each local step's sum of clipped gradients goes onto a grid of its own and gets the *whole* noise σC
//! ([`Release::noised_step`]).
//!
//! *Within a round.* Step k computes its gradients at weights that follow from the published model and the noised sums of
//! steps 1 to k − 1, and draws a Poisson sample of its own. So a round is the adaptive composition of its steps: given
//! all earlier noised sums, the pair of the customer step (or of the sampled Gaussian) dominates step k, and the composition
//! theorem that carries a run over its rounds carries a round over its steps. The event of the round is `steps` times the
//! step's, and the divisor a public constant.
//!
//! *From the steps to the update.* The update is the weights before less the weights after: a fixed linear function of
//! the noised sums. Clipping and rounding it look at no data either. A function of a private release is as private
//! (post-processing), whatever its own reach is: so no further noise is added, neither here nor by others, and masking is a
//! second line of defence. Others' noise is not counted on, because the clip is no linear function.
//!
//! # A whole update, noised once (merchant unit)
//! Local steps without noise give an update x = f(data, model, own coins); f is arbitrary, for nothing is assumed of it but
//! that its value is clipped to C as a whole ([`Release::whole_update`]). Neighbours: the merchant's contribution, or zero
//! in its place. Given its coins, x differs from 0 by at most C, on the grid by at most s + √d units; a mixture of
//! shifted Gaussians over the coins is no easier to tell from the unshifted one than its worst component (joint
//! convexity). So a round is one Gaussian release, never amplified: the server chooses who takes part.
//!
//! One customer may turn such an update around completely, from one point of the ball to the opposite one, and whether it
//! does is not bounded by any clip of gradients: each later step is computed at weights that the customer moved.
//! That is why it is a merchant's guarantee and is called nothing else. An update that is not finite is released as
//! zero, noised, since a merchant that fell silent would say something about its data.

use super::{
    clip,
    noise::{NoiseError, NoiseSource, Variance},
    plan::{NoiseMode, PrivacyPlan},
    unit::PrivacyUnit,
};
use crate::quantize::{Grid, GridError, NoisedUpdate, QuantizeError};

/// What a plan asks of a merchant in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One step over all merchants; a noise share at each.
    GradientSum,
    /// Local steps, each with the whole noise.
    NoisedSteps,
    /// Local steps without noise, their update clipped once; a noise share at each merchant.
    WholeUpdate,
}

impl Kind {
    /// The kind that `plan` asks for.
    pub fn of(plan: &PrivacyPlan) -> Self {
        match plan.local.map(|local| local.noise) {
            None => Self::GradientSum,
            Some(NoiseMode::Local) => Self::NoisedSteps,
            Some(NoiseMode::Distributed) => Self::WholeUpdate,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::GradientSum => "one step a round with a noise share",
            Self::NoisedSteps => "local steps with the whole noise in each",
            Self::WholeUpdate => "a whole update with a noise share",
        })
    }
}

/// Why nothing may leave.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The training is another one than the plan's.
    #[error("the plan asks for {planned}, the training gave {found}; nothing may leave")]
    OtherKind {
        /// The plan's.
        planned: Kind,
        /// The training's.
        found: Kind,
    },
    /// Steps without noise whose update would hide no customer.
    #[error("an update of steps without noise hides a merchant, never a {0}; nothing may leave")]
    NotThisUnit(PrivacyUnit),
    /// More or fewer local steps than are charged.
    #[error("{taken} local steps were noised, the plan charges {planned}; nothing may leave")]
    Steps {
        /// The plan's.
        planned: u32,
        /// Noised so far.
        taken: u32,
    },
    /// The local steps left the numbers. Their noise decided that as much as the data: it is no secret.
    #[error("the local steps diverged; the plan's local.learning-rate is too large for its noise")]
    Diverged,
    /// The plan's noise.
    #[error("the plan's noise: {0}")]
    Noise(#[from] NoiseError),
    /// The plan's grid.
    #[error("the plan's integers: {0}")]
    Grid(#[from] GridError),
    /// Rounding.
    #[error(transparent)]
    Rounding(#[from] QuantizeError),
}

/// One round's release by one merchant.
pub struct Release<'a> {
    kind: Kind,
    unit: PrivacyUnit,
    /// What is masked lives here.
    grid: Grid,
    /// Sums of local steps live here: as fine in units of C, and so wide that nothing wraps around.
    steps_grid: Grid,
    /// How long a sum of clipped gradients may be.
    reach: f64,
    variance: Variance,
    steps_planned: u32,
    steps_taken: u32,
    noise: &'a mut dyn NoiseSource,
}

impl<'a> Release<'a> {
    /// For a round of `plan` with `dimension` parameters, with noise from `noise`.
    ///
    /// # Errors
    /// [`ReleaseError`] where grid or noise cannot exist.
    pub fn new(plan: &PrivacyPlan, dimension: u32, noise: &'a mut dyn NoiseSource) -> Result<Self, ReleaseError> {
        let units = u64::from(plan.integers.units_per_clip);
        Ok(Self {
            kind: Kind::of(plan),
            unit: plan.privacy.unit,
            grid: plan.grid(dimension)?,
            steps_grid: Grid::new(dimension, Grid::MAX_BITS, units, plan.noise_clip())?,
            reach: f64::from(plan.step.series_per_merchant_max) * plan.step.clip,
            variance: plan.local_variance()?,
            steps_planned: plan.local.map_or(1, |local| local.steps),
            steps_taken: 0,
            noise,
        })
    }

    /// What the plan asks for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sum of clipped gradients `[d]` of the round's only step, with this merchant's noise share.
    ///
    /// # Errors
    /// [`ReleaseError::OtherKind`], and where rounding or noise fails.
    pub fn gradient_sum(self, sum: &[f64]) -> Result<NoisedUpdate, ReleaseError> {
        self.expect(Kind::GradientSum)?;
        Ok(self.grid.quantize(&clip::projected(sum, self.reach))?.with_noise(self.noise, self.variance)?)
    }

    /// The sum of clipped gradients `[d]` of one local step, with the whole noise in it: from here on it is private.
    ///
    /// # Errors
    /// [`ReleaseError::OtherKind`], [`ReleaseError::Steps`] where the plan charges no further step, and where rounding or
    /// noise fails.
    pub fn noised_step(&mut self, sum: &[f64]) -> Result<Vec<f64>, ReleaseError> {
        self.expect(Kind::NoisedSteps)?;
        if self.steps_taken == self.steps_planned {
            return Err(ReleaseError::Steps { planned: self.steps_planned, taken: self.steps_taken + 1 });
        }
        self.steps_taken += 1;
        let noised =
            self.steps_grid.quantize(&clip::projected(sum, self.reach))?.with_noise(self.noise, self.variance)?;
        Ok(self.steps_grid.dequantize(noised.residues()))
    }

    /// The update `[d]` that follows from the noised steps and from nothing else, clipped and rounded.
    ///
    /// # Errors
    /// [`ReleaseError::OtherKind`], [`ReleaseError::Steps`] unless exactly the planned steps were noised, and
    /// [`ReleaseError::Diverged`].
    pub fn update_of_noised_steps(self, mut update: Vec<f64>) -> Result<NoisedUpdate, ReleaseError> {
        self.expect(Kind::NoisedSteps)?;
        if self.steps_taken != self.steps_planned {
            return Err(ReleaseError::Steps { planned: self.steps_planned, taken: self.steps_taken });
        }
        clip::to_norm(&mut update, self.grid.clip()).map_err(|_| ReleaseError::Diverged)?;
        Ok(self.grid.quantize(&update)?.danger_without_noise())
    }

    /// A whole update `[d]` of steps without noise, clipped here to C, with this merchant's noise share. Under the merchant
    /// unit only.
    ///
    /// # Errors
    /// [`ReleaseError::OtherKind`], [`ReleaseError::NotThisUnit`], and where noise fails.
    pub fn whole_update(self, mut update: Vec<f64>) -> Result<NoisedUpdate, ReleaseError> {
        self.expect(Kind::WholeUpdate)?;
        if self.unit != PrivacyUnit::Merchant {
            return Err(ReleaseError::NotThisUnit(self.unit));
        }
        if clip::to_norm(&mut update, self.grid.clip()).is_err() {
            update.fill(0.0);
        }
        Ok(self.grid.quantize(&update)?.with_noise(self.noise, self.variance)?)
    }

    fn expect(&self, found: Kind) -> Result<(), ReleaseError> {
        if self.kind == found { Ok(()) } else { Err(ReleaseError::OtherKind { planned: self.kind, found }) }
    }
}

#[cfg(test)]
#[path = "release_tests.rs"]
mod tests;
