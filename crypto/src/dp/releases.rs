//! An event flattened into what composition needs: how much un-sampled Gaussian, how often each release that has a
//! dominating pair of its own, and what is known through Rényi divergences.
//!
//! Invariant: both orders of the neighbours are evaluated, each throughout the whole composition. Left out on purpose:
//! checking numbers ([`super::event`]) and what is done with the result ([`super::accountant`]).

use std::collections::BTreeMap;

use super::{
    accountant::{AccountingError, Basis, DISTINCT_MAX},
    convolution::{Composition, TooFine},
    event::DpEvent,
    gaussian,
    integer::IntegerNoise,
    laplace::LaplacePair,
    lattice::{GAUSSIAN_UNITS_MAX, LatticePair, SKELLAM_UNITS_MAX},
    mixture::MixturePair,
    noise::tau,
    pair::LossPair,
    pld::{CELLS_MAX, MassError, Tails},
    rdp::{Curve, DiscreteGaussianSum, RenyiComposition},
    unit::NeighboringRelation,
};

/// The widest grid step that is used where nothing asks for a finer or allows only a coarser one.
const STEP: f64 = 1e-3;
/// Σμ² from which on a Gaussian is no longer counted: its ε, about μ²/2, says nothing any more.
const SQUARED_MU_MAX: f64 = 1e100;
/// The farthest mean, in units of the noise, that a release on the grid may have: beyond, ε is in the millions.
const REACH_MAX: f64 = 4096.0;
/// The most grid points of all distributions of one composition together: 256 MiB.
const CELLS_TOTAL: f64 = 33_554_432.0;
/// Λ above which ε + 2Λ is not worth computing.
const LOG_RATIO_MAX: f64 = 200.0;

/// An event, flattened: order does not matter to a composition.
#[derive(Default)]
pub(super) struct Releases {
    /// Σμ² of everything that is a Gaussian without sub-sampling, or a function of one.
    squared_mu: f64,
    /// Releases with other pairs.
    paired: BTreeMap<Kind, u64>,
    /// Λ of everything that only resembles what is counted here.
    log_ratio: f64,
    /// The second opinion.
    renyi: Renyi,
}

#[derive(Default)]
struct Renyi {
    /// Σρ of everything concentrated, Gaussians included.
    rho: f64,
    /// What has neither ρ nor a pair.
    curves: Vec<(Curve, u64)>,
    /// Λ that was declared by events and holds here too.
    log_ratio: f64,
    /// Some release has no pair.
    alone: bool,
    /// Some release's pair was obtained at a loss, so that the second opinion may be the smaller.
    sharper: bool,
}

/// A release with a pair of its own, comparable so that equal ones merge. Numbers are kept as bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Sub-sampled vectors; `two_sided` where they change, one-sided where they come or go.
    Sampled { two_sided: bool, touched: u32, rate: u64, sigma: u64 },
    /// Laplace noise of ratio μ.
    Laplace { mu: u64 },
    /// Discrete Gaussian noise on an integer.
    DiscreteGaussian { sigma: u64, shift: u64 },
    /// Skellam noise on an integer.
    Skellam { variance: u64, shift: u64 },
}

/// Which neighbour the output was drawn from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    WithUnit,
    WithoutUnit,
}

impl Releases {
    /// Flattens and checks an event.
    pub(super) fn of(event: &DpEvent) -> Result<Self, AccountingError> {
        let mut releases = Self::default();
        let mut terms = 0.0;
        event.for_each_release(|release, times| {
            if times > 0 {
                terms += 1.0;
                releases.add(release, times);
            }
        })?;
        if releases.paired.len() > DISTINCT_MAX {
            return Err(AccountingError::TooManyDistinct(releases.paired.len()));
        }
        // Enlarged by more than the rounding of the squares and of their sum.
        let enlarged = 1.0 + f64::EPSILON * (8.0 + terms);
        releases.squared_mu *= enlarged;
        releases.log_ratio *= enlarged;
        releases.renyi.rho *= enlarged;
        releases.renyi.log_ratio *= enlarged;
        if releases.squared_mu < SQUARED_MU_MAX { Ok(releases) } else { Err(AccountingError::TooLittleNoise) }
    }

    fn add(&mut self, release: &DpEvent, times: u64) {
        match *release {
            DpEvent::Gaussian { noise_multiplier } => self.gaussian(1.0 / noise_multiplier, times),
            DpEvent::ShuffledEpoch { noise_multiplier } => self.gaussian(2.0 / noise_multiplier, times),
            DpEvent::PoissonSubsampledGaussian { sampling_rate, noise_multiplier, relation } => {
                self.sampled(relation == NeighboringRelation::Replace, 1, sampling_rate, noise_multiplier, times);
            }
            DpEvent::CustomerStep { sampling_rate, touched, noise_multiplier } => {
                self.sampled(true, touched, sampling_rate, noise_multiplier, times);
            }
            DpEvent::GroupStep { sampling_rate, touched, noise_multiplier } => {
                self.sampled(false, touched, sampling_rate, noise_multiplier, times);
            }
            DpEvent::FixedSizeSubsampledGaussian { population, batch, noise_multiplier } => {
                // Rounded up by more than the division errs.
                let share = (batch as f64 / population as f64 * (1.0 + f64::EPSILON)).min(1.0);
                self.renyi_only(Curve::WithoutReplacement { share, mu: 2.0 / noise_multiplier }, times);
            }
            DpEvent::Laplace { noise_multiplier } => {
                let mu = 1.0 / noise_multiplier;
                self.paired(Kind::Laplace { mu: mu.to_bits() }, times);
                self.renyi.curves.push((Curve::Laplace(LaplacePair { mu }), times));
            }
            DpEvent::DiscreteGaussian { noise_units, shares, sensitivity_units, dimension } => {
                self.discrete_gaussian(noise_units, shares, sensitivity_units, dimension, times);
            }
            DpEvent::Skellam { variance_units, sensitivity_units, dimension } => {
                let absolute = absolute_sensitivity(sensitivity_units, dimension);
                let curve = Curve::Skellam { variance: variance_units, euclidean: sensitivity_units, absolute };
                if dimension == 1 && variance_units.sqrt() <= SKELLAM_UNITS_MAX && sensitivity_units < 1e9 {
                    let shift = sensitivity_units.floor() as u64;
                    if shift > 0 {
                        self.paired(Kind::Skellam { variance: variance_units.to_bits(), shift }, times);
                        self.renyi.curves.push((curve, times));
                    }
                } else {
                    self.renyi_only(curve, times);
                }
            }
            DpEvent::Concentrated { rho } => {
                self.renyi.rho += times as f64 * rho;
                self.renyi.alone = true;
            }
            DpEvent::WithinRatio { log_ratio, event: _ } => {
                self.log_ratio += times as f64 * log_ratio;
                self.renyi.log_ratio += times as f64 * log_ratio;
            }
            DpEvent::SelfComposed { .. } | DpEvent::Composed { .. } => {}
        }
    }

    fn gaussian(&mut self, mu: f64, times: u64) {
        let squared = times as f64 * mu * mu;
        self.squared_mu += squared;
        self.renyi.rho += 0.5 * squared;
    }

    fn paired(&mut self, kind: Kind, times: u64) {
        let count = self.paired.entry(kind).or_default();
        *count = count.saturating_add(times);
    }

    fn renyi_only(&mut self, curve: Curve, times: u64) {
        self.renyi.curves.push((curve, times));
        self.renyi.alone = true;
    }

    fn sampled(&mut self, two_sided: bool, touched: u32, rate: f64, sigma: f64, times: u64) {
        if rate == 1.0 {
            // Every input takes part: the sum moves by L, or from −L to +L.
            let sensitivity = f64::from(touched) * if two_sided { 2.0 } else { 1.0 };
            self.gaussian(sensitivity / sigma, times);
        } else {
            self.paired(Kind::Sampled { two_sided, touched, rate: rate.to_bits(), sigma: sigma.to_bits() }, times);
        }
    }

    fn discrete_gaussian(&mut self, local: f64, shares: u32, sensitivity: f64, dimension: u32, times: u64) {
        let count = times as f64;
        let (variance, d) = (local * local * f64::from(shares) * (1.0 - 4.0 * f64::EPSILON), f64::from(dimension));
        // An integer cannot move by a fraction of a unit.
        let sensitivity = if dimension == 1 { sensitivity.floor() } else { sensitivity };
        if sensitivity == 0.0 {
            return;
        }
        let absolute = absolute_sensitivity(sensitivity, dimension);
        let noise = IntegerNoise::new(local * local, shares, dimension);
        let log_ratio = noise.map_or(f64::INFINITY, |noise| noise.sum_log_ratio());
        let tau = tau(local, shares);
        let sum = DiscreteGaussianSum::new(variance, sensitivity, absolute, d, log_ratio, tau);
        if shares == 1 {
            self.renyi.rho += 0.5 * count * sensitivity * sensitivity / variance;
        } else {
            self.renyi.curves.push((Curve::DiscreteGaussianSum(sum), times));
        }
        if dimension == 1 && variance.sqrt() <= GAUSSIAN_UNITS_MAX && sensitivity < REACH_MAX * variance.sqrt() {
            self.log_ratio += count * log_ratio;
            let kind = Kind::DiscreteGaussian { sigma: variance.sqrt().to_bits(), shift: sensitivity as u64 };
            self.paired(kind, times);
            self.renyi.sharper |= shares > 1;
            return;
        }
        self.renyi.sharper = true;
        match noise.and_then(|noise| noise.as_gaussian_for(times)) {
            Ok(bound) => {
                self.squared_mu += count * (sensitivity / bound.sigma_units).powi(2);
                self.log_ratio += count * bound.log_ratio;
            }
            Err(_) => self.renyi.alone = true,
        }
    }

    fn mu(&self) -> f64 {
        self.squared_mu.sqrt()
    }

    /// An upper bound on ε at `delta`.
    pub(super) fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        let second = || self.renyi().epsilon(delta);
        if self.renyi.alone {
            return second().ok_or(AccountingError::TooLittleNoise);
        }
        let first = self.paired_epsilon(delta * (-self.log_ratio).exp()).map(|epsilon| epsilon + 2.0 * self.log_ratio);
        match (first, self.renyi.sharper.then(second).flatten()) {
            (Ok(first), Some(second)) => Ok(first.min(second)),
            (Err(AccountingError::TooLittleNoise), Some(second)) => Ok(second),
            (first, _) => first,
        }
    }

    fn paired_epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        if self.log_ratio > LOG_RATIO_MAX || delta < 1e-280 {
            return Err(AccountingError::TooLittleNoise);
        }
        if self.paired.is_empty() {
            return Ok(gaussian::epsilon(self.mu(), delta));
        }
        if let Some(pair) = self.single_laplace() {
            return Ok(pair.epsilon(delta));
        }
        // What each release may lose to infinite loss adds up to a ten-millionth of δ.
        let top = (delta * 1e-7 / self.count()).clamp(1e-290, 1e-12);
        Ok(self.worst_order(self.tails(top), |composition| Ok(vec![composition.epsilon(delta)?]))?[0])
    }

    /// Upper bounds on δ at rising `epsilons`.
    pub(super) fn deltas(&self, epsilons: &[f64]) -> Result<Vec<f64>, AccountingError> {
        let renyi = self.renyi();
        if self.renyi.alone {
            let one = |epsilon: &f64| renyi.delta(*epsilon).ok_or(AccountingError::TooLittleNoise);
            return epsilons.iter().map(one).collect();
        }
        // Below zero nothing is proven but that a probability is at most one.
        let below = epsilons.iter().filter(|epsilon| **epsilon < 2.0 * self.log_ratio).count();
        let left: Vec<f64> = epsilons[below..].iter().map(|epsilon| epsilon - 2.0 * self.log_ratio).collect();
        let scaled = |delta: f64| (delta * self.log_ratio.exp()).min(1.0);
        let first = match self.paired_deltas(&left) {
            Err(AccountingError::TooLittleNoise) if self.renyi.sharper => vec![1.0; left.len()],
            deltas => deltas?.into_iter().map(scaled).collect(),
        };
        let mut deltas = vec![1.0; below];
        deltas.extend(first);
        if self.renyi.sharper {
            for (delta, epsilon) in deltas.iter_mut().zip(epsilons) {
                *delta = renyi.delta(*epsilon).map_or(*delta, |second| second.min(*delta));
            }
        }
        Ok(deltas)
    }

    fn paired_deltas(&self, epsilons: &[f64]) -> Result<Vec<f64>, AccountingError> {
        if self.log_ratio > LOG_RATIO_MAX {
            return Err(AccountingError::TooLittleNoise);
        }
        if self.paired.is_empty() {
            return Ok(epsilons.iter().map(|epsilon| gaussian::delta(self.mu(), *epsilon)).collect());
        }
        if let Some(pair) = self.single_laplace() {
            return Ok(epsilons.iter().map(|epsilon| pair.delta(*epsilon)).collect());
        }
        self.worst_order(self.tails(1e-40), |composition| composition.deltas(epsilons))
    }

    fn single_laplace(&self) -> Option<LaplacePair> {
        match self.paired.first_key_value() {
            Some((Kind::Laplace { mu }, 1)) if self.paired.len() == 1 && self.squared_mu == 0.0 => {
                Some(LaplacePair { mu: f64::from_bits(*mu) })
            }
            _ => None,
        }
    }

    /// Number of elementary releases.
    fn count(&self) -> f64 {
        1.0 + self.paired.values().map(|count| *count as f64).sum::<f64>()
    }

    /// The smallest losses may be moved up a little: a part 10^-10 of the mass in all.
    fn tails(&self, top: f64) -> Tails {
        Tails { bottom: (1e-10 / self.count()).clamp(top, 1e-12), top }
    }

    /// The larger results of both orders.
    fn worst_order(
        &self,
        tails: Tails,
        evaluate: impl Fn(&Composition<'_>) -> Result<Vec<f64>, TooFine>,
    ) -> Result<Vec<f64>, AccountingError> {
        let forth = self.in_order(Order::WithUnit, tails, &evaluate)?;
        if self.paired.keys().all(|kind| kind.is_its_own_mirror_image()) {
            return Ok(forth);
        }
        let back = self.in_order(Order::WithoutUnit, tails, &evaluate)?;
        Ok(forth.into_iter().zip(back).map(|(forth, back)| forth.max(back)).collect())
    }

    fn in_order(
        &self,
        order: Order,
        tails: Tails,
        evaluate: &impl Fn(&Composition<'_>) -> Result<Vec<f64>, TooFine>,
    ) -> Result<Vec<f64>, AccountingError> {
        let mut pairs: Vec<(LossPair, u64)> =
            self.paired.iter().map(|(kind, count)| (kind.pair(order, tails.top), *count)).collect();
        if self.squared_mu > 0.0 {
            pairs.push((LossPair::Mixture(MixturePair::gaussian(self.mu())), 1));
        }
        on_grid(&pairs, tails, evaluate)
    }

    /// The same releases for the second opinion.
    pub(super) fn renyi(&self) -> RenyiComposition {
        let sampled = self.paired.iter().filter_map(|(kind, count)| Some((kind.untrimmed()?, *count)));
        RenyiComposition {
            rho: self.renyi.rho,
            curves: self.renyi.curves.iter().cloned().chain(sampled).collect(),
            log_ratio: self.renyi.log_ratio,
            alone: self.renyi.alone,
        }
    }

    /// What ε rests on.
    pub(super) fn basis(&self) -> Basis {
        if self.renyi.alone {
            Basis::Renyi
        } else if self.paired.is_empty() || self.single_laplace().is_some() {
            Basis::ClosedForm
        } else {
            Basis::LossDistribution
        }
    }
}

/// Δ₁ ≤ √d·Δ₂ by Cauchy–Schwarz, and Δ₁ ≤ Δ₂² because |x| ≤ x² for integers.
fn absolute_sensitivity(euclidean: f64, dimension: u32) -> f64 {
    (f64::from(dimension).sqrt() * euclidean).min(euclidean * euclidean)
}

impl Kind {
    fn is_its_own_mirror_image(self) -> bool {
        !matches!(self, Self::Sampled { two_sided: false, .. })
    }

    fn pair(self, order: Order, tail: f64) -> LossPair {
        let number = f64::from_bits;
        match self {
            Self::Sampled { two_sided, touched, rate, sigma } => {
                LossPair::Mixture(match (two_sided, order) {
                    (true, _) => MixturePair::double,
                    (false, Order::WithUnit) => MixturePair::removal,
                    (false, Order::WithoutUnit) => MixturePair::addition,
                }(touched, number(rate), number(sigma), tail))
            }
            Self::Laplace { mu } => LossPair::Laplace(LaplacePair { mu: number(mu) }),
            Self::DiscreteGaussian { sigma, shift } => {
                LossPair::Lattice(LatticePair::gaussian(number(sigma), shift, tail))
            }
            Self::Skellam { variance, shift } => LossPair::Lattice(LatticePair::skellam(number(variance), shift, tail)),
        }
    }

    /// For Rényi divergences: what trimming cuts off has none that could be charged to δ.
    fn untrimmed(self) -> Option<Curve> {
        let Self::Sampled { two_sided, touched, rate, sigma } = self else { return None };
        let of = |order: fn(u32, f64, f64, f64) -> MixturePair| {
            order(touched, f64::from_bits(rate), f64::from_bits(sigma), 0.0)
        };
        Some(Curve::Mixture(match (two_sided, touched) {
            (true, _) => vec![of(MixturePair::double)],
            (false, 1) => vec![of(MixturePair::removal)],
            (false, _) => vec![of(MixturePair::removal), of(MixturePair::addition)],
        }))
    }
}

/// Discretises `pairs` as finely as is useful and feasible, and evaluates their composition.
pub(super) fn on_grid(
    pairs: &[(LossPair, u64)],
    tails: Tails,
    evaluate: &impl Fn(&Composition<'_>) -> Result<Vec<f64>, TooFine>,
) -> Result<Vec<f64>, AccountingError> {
    if pairs.iter().any(|(pair, _)| pair.reach() > REACH_MAX) {
        return Err(AccountingError::TooLittleNoise);
    }
    let mut step = grid_step(pairs, tails);
    // Each refusal says by how much the grid is too fine; the second step fits unless the spread itself grew with it.
    for _ in 0..12 {
        if !(step.is_finite() && step < 1e9) {
            break;
        }
        let losses = pairs
            .iter()
            .map(|(pair, count)| Ok((pair.discretise(step, tails)?, *count)))
            .collect::<Result<Vec<_>, MassError>>()?;
        match evaluate(&Composition::new(&losses)) {
            Ok(results) if results.iter().all(|result| result.is_finite()) => return Ok(results),
            Ok(_) => break,
            Err(TooFine { factor }) => step *= factor.max(1.25),
        }
    }
    Err(AccountingError::TooLittleNoise)
}

/// A step of at most [`STEP`] that keeps the excess of the grid small: its cells add about h²/6 to the variance of
/// each release's loss, which should be little against that variance itself and, over all releases (weighted by a tilt
/// of some ten), against 1e-4. A coarser one where the losses of one release, or all losses together, would not fit
/// otherwise; and a divisor of the widest spacing of atoms, if there are any and the number of cells allows it.
fn grid_step(pairs: &[(LossPair, u64)], tails: Tails) -> f64 {
    let releases: f64 = pairs.iter().map(|(_, count)| *count as f64).sum();
    let variance: f64 = pairs.iter().map(|(pair, count)| *count as f64 * pair.second_moment()).sum();
    let wanted = STEP.min((1.5e-4 / releases).sqrt()).min(0.02 * (variance / releases).sqrt()).max(1e-9);
    let finest = || pairs.iter().map(|(pair, _)| pair.least_step(tails));
    let least = finest().fold(finest().sum::<f64>() * CELLS_MAX as f64 / CELLS_TOTAL, f64::max).max(1e-9);
    let spacing = pairs.iter().filter_map(|(pair, _)| pair.spacing()).fold(0.0, f64::max);
    let step = wanted.max(least);
    let aligned = spacing / (spacing / step).ceil();
    if spacing > 0.0 && aligned >= least { aligned } else { step }
}
