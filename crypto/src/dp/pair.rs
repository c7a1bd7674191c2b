//! The dominating pairs that are composed on a grid, whatever their kind.
//!
//! Left out on purpose: which pair belongs to which event ([`super::releases`]).

use super::{
    laplace::LaplacePair,
    lattice::LatticePair,
    mixture::MixturePair,
    pld::{self, MassError, PrivacyLoss, Tails},
};

/// A pair (P, Q) in one order.
#[derive(Clone, Debug)]
pub(super) enum LossPair {
    /// Mixtures of Gaussians.
    Mixture(MixturePair),
    /// Laplace noise on a real number.
    Laplace(LaplacePair),
    /// Integer noise on an integer.
    Lattice(LatticePair),
}

impl LossPair {
    /// The loss on a grid of `step`.
    ///
    /// # Errors
    /// [`MassError`] where the result does not have total mass one.
    pub(super) fn discretise(&self, step: f64, tails: Tails) -> Result<PrivacyLoss, MassError> {
        match self {
            Self::Mixture(pair) => PrivacyLoss::new(pair, step, tails),
            Self::Laplace(pair) => pair.discretise(step),
            Self::Lattice(pair) => pair.discretise(step),
        }
    }

    /// The finest step that the number of cells allows.
    pub(super) fn least_step(&self, tails: Tails) -> f64 {
        match self {
            Self::Mixture(pair) => pld::least_step(pair, tails),
            Self::Laplace(pair) => pair.least_step(),
            Self::Lattice(pair) => pair.least_step(),
        }
    }

    /// E_P[L²], to some per cent.
    pub(super) fn second_moment(&self) -> f64 {
        match self {
            Self::Mixture(pair) => pld::second_moment(pair),
            Self::Laplace(pair) => pair.second_moment(),
            Self::Lattice(pair) => pair.second_moment(),
        }
    }

    /// A number of which all losses that have a probability of their own are multiples, if there is one: on a grid that
    /// holds them they stay where they are, instead of being spread over two cells.
    pub(super) fn spacing(&self) -> Option<f64> {
        match self {
            Self::Mixture(_) => None,
            Self::Laplace(pair) => Some(pair.mu),
            Self::Lattice(pair) => pair.spacing(),
        }
    }

    /// How far the means of P and Q lie apart at most, in units of the noise.
    pub(super) fn reach(&self) -> f64 {
        match self {
            Self::Mixture(pair) => pair.reach().0.max(pair.reach().1),
            Self::Laplace(pair) => pair.mu,
            // Bounded where the event was flattened.
            Self::Lattice(_) => 0.0,
        }
    }
}
