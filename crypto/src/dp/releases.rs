//! An event flattened into what composition needs: how much un-sampled Gaussian, and how often each sub-sampled
//! release.
//!
//! Invariant: both orders of the neighbours are evaluated, each throughout the whole composition. Left out on purpose:
//! checking numbers ([`super::event`]) and what is done with the result ([`super::accountant`]).

use std::collections::BTreeMap;

use super::{
    accountant::{AccountingError, DISTINCT_MAX},
    convolution::{Composition, TooFine},
    event::DpEvent,
    gaussian,
    mixture::MixturePair,
    pld::{MassError, PrivacyLoss, least_step, second_moment},
    rdp::RenyiComposition,
    unit::NeighboringRelation,
};

/// The widest grid step that is used where nothing asks for a finer or allows only a coarser one.
const STEP: f64 = 1e-4;
/// Σμ² from which on a Gaussian is no longer counted: its ε, about μ²/2, says nothing any more.
const SQUARED_MU_MAX: f64 = 1e100;
/// The farthest mean, in units of the noise, that a sub-sampled release may have: beyond, ε is in the millions.
const REACH_MAX: f64 = 4096.0;

/// An event, flattened: order does not matter to a composition.
pub(super) struct Releases {
    /// Σμ² of everything that is not sub-sampled.
    squared_mu: f64,
    sampled: BTreeMap<Sampled, u64>,
}

impl Releases {
    /// Flattens and checks an event.
    pub(super) fn of(event: &DpEvent) -> Result<Self, AccountingError> {
        let (mut squared_mu, mut gaussians) = (0.0, 0.0);
        let mut sampled: BTreeMap<Sampled, u64> = BTreeMap::new();
        event.for_each_release(|release, times| {
            let (changed, rate, sigma) = match *release {
                DpEvent::Gaussian { noise_multiplier } => (0, 1.0, noise_multiplier),
                DpEvent::PoissonSubsampledGaussian { sampling_rate, noise_multiplier, relation } => {
                    let changed = match relation {
                        NeighboringRelation::AddOrRemove => 0,
                        NeighboringRelation::Replace => 1,
                    };
                    (changed, sampling_rate, noise_multiplier)
                }
                DpEvent::CustomerStep { sampling_rate, touched, noise_multiplier } => {
                    (touched, sampling_rate, noise_multiplier)
                }
                DpEvent::SelfComposed { .. } | DpEvent::Composed { .. } => return,
            };
            if times == 0 {
                return;
            }
            if rate == 1.0 {
                // Every input takes part: the sum moves by 1, or from −L to +L.
                let sensitivity = if changed == 0 { 1.0 } else { 2.0 * f64::from(changed) };
                gaussians += 1.0;
                squared_mu += times as f64 * (sensitivity / sigma) * (sensitivity / sigma);
            } else {
                let key = Sampled { changed, rate_bits: rate.to_bits(), sigma_bits: sigma.to_bits() };
                let count = sampled.entry(key).or_default();
                *count = count.saturating_add(times);
            }
        })?;
        if sampled.len() > DISTINCT_MAX {
            return Err(AccountingError::TooManyDistinct(sampled.len()));
        }
        // Enlarged by more than the rounding of the squares and of their sum.
        let squared_mu = squared_mu * (1.0 + f64::EPSILON * (4.0 + gaussians));
        if squared_mu < SQUARED_MU_MAX {
            Ok(Self { squared_mu, sampled })
        } else {
            Err(AccountingError::TooLittleNoise)
        }
    }

    fn mu(&self) -> f64 {
        self.squared_mu.sqrt()
    }

    /// An upper bound on ε at `delta`.
    pub(super) fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        if self.sampled.is_empty() {
            return Ok(gaussian::epsilon(self.mu(), delta));
        }
        let releases: f64 = 1.0 + self.sampled.values().map(|count| *count as f64).sum::<f64>();
        let tail = (delta * 1e-10 / releases).clamp(1e-250, 1e-20);
        self.worst_order(tail, |composition| composition.epsilon(delta))
    }

    /// An upper bound on δ at `epsilon`.
    pub(super) fn delta(&self, epsilon: f64) -> Result<f64, AccountingError> {
        if self.sampled.is_empty() {
            return Ok(gaussian::delta(self.mu(), epsilon));
        }
        self.worst_order(1e-40, |composition| composition.delta(epsilon))
    }

    /// The larger result of both orders; `tail` is what each release may lose to infinite loss.
    fn worst_order(
        &self,
        tail: f64,
        evaluate: impl Fn(&Composition<'_>) -> Result<f64, TooFine>,
    ) -> Result<f64, AccountingError> {
        let forth = self.in_order(Order::WithUnit, tail, &evaluate)?;
        // Double mixtures and Gaussians are their own mirror images.
        if self.sampled.keys().all(|release| release.changed > 0) {
            return Ok(forth);
        }
        Ok(forth.max(self.in_order(Order::WithoutUnit, tail, &evaluate)?))
    }

    fn in_order(
        &self,
        order: Order,
        tail: f64,
        evaluate: &impl Fn(&Composition<'_>) -> Result<f64, TooFine>,
    ) -> Result<f64, AccountingError> {
        let mut pairs: Vec<(MixturePair, u64)> =
            self.sampled.iter().map(|(release, count)| (release.pair(order, tail), *count)).collect();
        if self.squared_mu > 0.0 {
            pairs.push((MixturePair::gaussian(self.mu()), 1));
        }
        on_grid(&pairs, tail, evaluate)
    }

    /// The same releases for the second opinion.
    pub(super) fn renyi(&self) -> RenyiComposition {
        // Untrimmed: what trimming cuts off has no Rényi divergence that could be charged to δ.
        let pairs = self.sampled.iter().map(|(release, count)| (release.pair(Order::WithUnit, 0.0), *count)).collect();
        RenyiComposition { squared_mu: self.squared_mu, pairs }
    }
}

/// A sub-sampled release, comparable so that equal ones merge.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Sampled {
    /// Series that change at once; 0 stands for one that is added or removed.
    changed: u32,
    rate_bits: u64,
    sigma_bits: u64,
}

/// Which neighbour the output was drawn from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    WithUnit,
    WithoutUnit,
}

impl Sampled {
    fn rate(self) -> f64 {
        f64::from_bits(self.rate_bits)
    }

    fn sigma(self) -> f64 {
        f64::from_bits(self.sigma_bits)
    }

    fn pair(self, order: Order, trim: f64) -> MixturePair {
        match (self.changed, order) {
            (0, Order::WithUnit) => MixturePair::removal(1, self.rate(), self.sigma(), trim),
            (0, Order::WithoutUnit) => MixturePair::addition(1, self.rate(), self.sigma(), trim),
            (changed, _) => MixturePair::double(changed, self.rate(), self.sigma(), trim),
        }
    }
}

/// Discretises `pairs` as finely as is useful and feasible, and evaluates their composition.
pub(super) fn on_grid(
    pairs: &[(MixturePair, u64)],
    tail: f64,
    evaluate: &impl Fn(&Composition<'_>) -> Result<f64, TooFine>,
) -> Result<f64, AccountingError> {
    if pairs.iter().any(|(pair, _)| pair.reach().0.max(pair.reach().1) > REACH_MAX) {
        return Err(AccountingError::TooLittleNoise);
    }
    let mut step = grid_step(pairs, tail);
    // Each refusal says by how much the grid is too fine; the second step fits unless the spread itself grew with it.
    for _ in 0..12 {
        if !(step.is_finite() && step < 1e9) {
            break;
        }
        let losses = pairs
            .iter()
            .map(|(pair, count)| Ok((PrivacyLoss::new(pair, step, tail)?, *count)))
            .collect::<Result<Vec<_>, MassError>>()?;
        match evaluate(&Composition::new(&losses)) {
            Ok(result) if result.is_finite() => return Ok(result),
            Ok(_) => break,
            Err(TooFine { factor }) => step *= factor.max(1.25),
        }
    }
    Err(AccountingError::TooLittleNoise)
}

/// A step of at most [`STEP`] that keeps the excess of the grid small: its cells add about h²/6 to the variance of
/// each release's loss, which should be little against that variance itself and, over all releases (weighted by a tilt
/// of some ten), against 1e-4. A coarser one where the losses of one release would not fit otherwise.
fn grid_step(pairs: &[(MixturePair, u64)], tail: f64) -> f64 {
    let releases: f64 = pairs.iter().map(|(_, count)| *count as f64).sum();
    let variance: f64 = pairs.iter().map(|(pair, count)| *count as f64 * second_moment(pair)).sum();
    let wanted = STEP.min((6e-5 / releases).sqrt()).min(0.02 * (variance / releases).sqrt()).max(1e-9);
    pairs.iter().map(|(pair, _)| least_step(pair, tail)).fold(wanted, f64::max)
}
