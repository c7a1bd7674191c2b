//! ε and δ of an event, and the noise that a target needs.
//!
//! Invariant: no returned ε, δ or noise multiplier claims more privacy than the event's dominating pairs prove. Where
//! a result cannot be tight (little noise, a great many steps) it is larger, never smaller.
//!
//! Releases without sub-sampling are merged into one Gaussian and, alone, counted in closed form
//! ([`super::gaussian`]). Anything else that has a dominating pair is discretised ([`super::pld`]) and composed
//! ([`super::convolution`]) twice: every release in the order (with the unit, without it), and every release in the other
//! order. The larger ε holds for both neighbours. Orders are never mixed inside one composition, because the data set
//! that holds the unit holds it in every step. Releases of which only Rényi divergences are known ([`super::rdp`]) make
//! the whole composition rest on those; [`basis`] says so.
//!
//! Left out on purpose: deciding what may be spent ([`super::filter`]), and adaptively chosen *parameters*, for which a
//! fixed schedule or a filter is needed.

use serde::{Deserialize, Serialize};

use super::{
    event::{DpEvent, EventError},
    pld::MassError,
    releases::Releases,
};

/// The most different releases (equal ones are merged) in one event.
pub const DISTINCT_MAX: usize = 1024;
/// δ at the end of a [`profile`].
pub const PROFILE_DELTA: f64 = 1e-12;
/// Into how many equal parts a [`profile`] divides its range of ε.
const PROFILE_INTERVALS: u32 = 40;
/// How close to the least possible noise [`noise_multiplier_for`] comes, relatively.
const NOISE_TOLERANCE: f64 = 1e-6;

/// What an event costs at some δ.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Upper bound on ε from privacy loss distributions (closed form for Gaussian releases): the one to rely on.
    pub epsilon: f64,
    /// Upper bound on ε from Rényi divergences, looser and computed independently; `None` where no order was feasible.
    pub epsilon_rdp: Option<f64>,
}

/// One point of a privacy profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfilePoint {
    /// ε.
    pub epsilon: f64,
    /// Upper bound on δ(ε).
    pub delta: f64,
}

/// What an event's ε rests on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// A formula, exact but for rounding.
    ClosedForm,
    /// Privacy loss distributions.
    LossDistribution,
    /// Rényi divergences: nothing better is known of some release, so both figures are the same.
    Renyi,
}

/// Why an event was not counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AccountingError {
    /// δ is no probability below 1, or zero, or below 1e-200.
    #[error("δ must lie strictly between 0 and 1, and not below 1e-200 (1e-6 is usual): {0} does not")]
    Delta(f64),
    /// ε is negative or not a number.
    #[error("ε must be zero or a positive number, not {0}")]
    Epsilon(f64),
    /// The event itself is malformed.
    #[error(transparent)]
    Event(#[from] EventError),
    /// More different releases than are composed at once.
    #[error("the event mixes {0} different releases; at most {DISTINCT_MAX} can be composed")]
    TooManyDistinct(usize),
    /// Losses so large that no grid holds them.
    #[error(
        "so little noise cannot be accounted for: the privacy loss has no useful bound; raise the noise multiplier"
    )]
    TooLittleNoise,
    /// A defect of this accountant.
    #[error("the accountant failed its own check and gives no ε: {0}")]
    Numerical(#[from] MassError),
    /// No noise multiplier was found.
    #[error("no noise multiplier between {least:e} and {greatest:e} reaches ε = {target}")]
    Unreachable {
        /// ε asked for.
        target: f64,
        /// Least multiplier tried.
        least: f64,
        /// Greatest multiplier tried.
        greatest: f64,
    },
}

/// The cost of `event` at `delta`.
///
/// # Errors
/// [`AccountingError`] where a number is out of range, or the noise so little that no finite ε was found. A returned ε
/// is always finite.
pub fn epsilon(event: &DpEvent, delta: f64) -> Result<Spent, AccountingError> {
    check_delta(delta)?;
    let releases = Releases::of(event)?;
    Ok(Spent { epsilon: releases.epsilon(delta)?, epsilon_rdp: releases.renyi().epsilon(delta) })
}

/// An upper bound on δ of `event` at `epsilon`.
///
/// # Errors
/// As [`epsilon`].
pub fn delta(event: &DpEvent, epsilon: f64) -> Result<f64, AccountingError> {
    if !(epsilon >= 0.0 && epsilon.is_finite()) {
        return Err(AccountingError::Epsilon(epsilon));
    }
    Ok(Releases::of(event)?.deltas(&[epsilon])?[0])
}

/// What an event's ε rests on.
///
/// # Errors
/// As [`epsilon`], for malformed events.
pub fn basis(event: &DpEvent) -> Result<Basis, AccountingError> {
    Ok(Releases::of(event)?.basis())
}

/// The whole privacy profile: upper bounds on δ at rising ε, from 0 to where δ is [`PROFILE_DELTA`] at most.
///
/// δ never rises, and as a function of e^ε it is convex, as every true profile is: points above the chord of
/// their neighbours are lowered to it, which a true convex profile below those neighbours justifies. So linear
/// interpolation in e^ε between two points is sound too.
///
/// # Errors
/// As [`epsilon`].
pub fn profile(event: &DpEvent) -> Result<Vec<ProfilePoint>, AccountingError> {
    let releases = Releases::of(event)?;
    let greatest = releases.epsilon(PROFILE_DELTA)?;
    if greatest == 0.0 {
        return Ok(vec![ProfilePoint { epsilon: 0.0, delta: releases.deltas(&[0.0])?[0] }]);
    }
    let epsilons: Vec<f64> =
        (0..=PROFILE_INTERVALS).map(|k| greatest * f64::from(k) / f64::from(PROFILE_INTERVALS)).collect();
    let mut deltas = releases.deltas(&epsilons)?;
    // The last was found as an ε for this δ; asking back may give a hair more.
    if let Some(last) = deltas.last_mut() {
        *last = last.min(PROFILE_DELTA);
    }
    lower_to_convex(&epsilons, &mut deltas);
    Ok(epsilons.into_iter().zip(deltas).map(|(epsilon, delta)| ProfilePoint { epsilon, delta }).collect())
}

/// Makes δ non-increasing and convex in e^ε, never raising it.
fn lower_to_convex(epsilons: &[f64], deltas: &mut [f64]) {
    for k in 1..deltas.len() {
        deltas[k] = deltas[k].min(deltas[k - 1]);
    }
    // e^{ε − ε_max}, so that nothing overflows.
    let greatest = epsilons.last().copied().unwrap_or(0.0);
    let at: Vec<f64> = epsilons.iter().map(|epsilon| (epsilon - greatest).exp()).collect();
    let chord = |a: usize, b: usize, k: usize, deltas: &[f64]| {
        let share = if at[b] > at[a] { (at[k] - at[a]) / (at[b] - at[a]) } else { 0.0 };
        deltas[a] + (deltas[b] - deltas[a]) * share
    };
    let mut corners: Vec<usize> = Vec::new();
    for k in 0..deltas.len() {
        while let [.., a, b] = corners[..]
            && deltas[b] >= chord(a, k, b, deltas)
        {
            corners.pop();
        }
        corners.push(k);
    }
    for pair in corners.windows(2) {
        for k in pair[0] + 1..pair[1] {
            deltas[k] = deltas[k].min(chord(pair[0], pair[1], k, deltas) * (1.0 + 1e-12));
        }
    }
}

/// The least σ for which `event_of(σ)` costs at most `target_epsilon` at `delta`, to a relative 1e-6; at the σ that is
/// returned the target was evaluated and kept.
///
/// `event_of` must become more private with σ; it is asked about σ between 1e-6 and 1e12.
///
/// # Errors
/// [`AccountingError::Unreachable`] where no σ in that range reaches the target, or every σ does.
pub fn noise_multiplier_for(
    target_epsilon: f64,
    delta: f64,
    event_of: impl Fn(f64) -> DpEvent,
) -> Result<f64, AccountingError> {
    check_delta(delta)?;
    if !(target_epsilon > 0.0 && target_epsilon.is_finite()) {
        return Err(AccountingError::Epsilon(target_epsilon));
    }
    // ln ε(σ) − ln target, kept finite, as a function of ln σ.
    let excess = |ln_sigma: f64| -> Result<f64, AccountingError> {
        let spent = match Releases::of(&event_of(ln_sigma.exp())).and_then(|releases| releases.epsilon(delta)) {
            Err(AccountingError::TooLittleNoise) => f64::INFINITY,
            other => other?,
        };
        Ok(spent.clamp(1e-200, 1e200).ln() - target_epsilon.ln())
    };
    let (least, greatest) = (1e-6_f64.ln(), 1e12_f64.ln());
    let unreachable =
        AccountingError::Unreachable { target: target_epsilon, least: least.exp(), greatest: greatest.exp() };
    // Bracket: `low` costs too much, `high` does not. ε falls about as 1/σ or faster, so the excess itself is a fair
    // step.
    let first = excess(0.0)?;
    let (mut low, mut high) = ((0.0, first), (0.0, first));
    while high.1 > 0.0 {
        low = high;
        let next = (high.0 + high.1.clamp(0.1, 6.0) * 1.05).min(greatest);
        if next <= high.0 {
            return Err(unreachable);
        }
        high = (next, excess(next)?);
    }
    while low.1 <= 0.0 {
        high = low;
        let next = (low.0 + low.1.clamp(-1.0, -0.1) * 1.05).max(least);
        if next >= low.0 {
            return Err(unreachable);
        }
        low = (next, excess(next)?);
    }
    // Regula falsi; where one end stays put, the other's close neighbour is tried, so that the bracket really closes.
    while high.0 - low.0 > NOISE_TOLERANCE {
        let secant = low.0 + (high.0 - low.0) * (low.1 / (low.1 - high.1)).clamp(0.0, 1.0);
        let (near_low, near_high) = (secant - low.0, high.0 - secant);
        let inset = (0.9 * NOISE_TOLERANCE).min(0.5 * (high.0 - low.0));
        let at = if near_high <= inset {
            high.0 - inset
        } else if near_low <= inset {
            low.0 + inset
        } else {
            secant
        };
        let value = excess(at)?;
        if value > 0.0 {
            // Illinois: a stale end counts half.
            low = (at, value);
            high.1 *= 0.5;
        } else {
            high = (at, value);
            low.1 *= 0.5;
        }
    }
    Ok(high.0.exp())
}

fn check_delta(delta: f64) -> Result<(), AccountingError> {
    if (1e-200..1.0).contains(&delta) { Ok(()) } else { Err(AccountingError::Delta(delta)) }
}

#[cfg(test)]
mod tests;
