//! One model of the family: its recursion, its likelihood, and the parameters that maximise it.
//!
//! Every model runs the same recursion in the absolute error ε = y − ŷ; whether the error is additive or multiplicative
//! changes the likelihood only (Hyndman et al. 2008, table 2.2 and 2.3).

use super::super::{
    decompose::{Season, indices},
    simplex,
};

/// How errors act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Error {
    Additive,
    Multiplicative,
}

/// How the level moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trend {
    None,
    Additive,
    Damped,
}

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    pub(super) error: Error,
    pub(super) trend: Trend,
    pub(super) season: Option<Season>,
}

/// Smoothing constants; those that a model lacks are 0 (φ: 1 without damping, 0 without a trend).
#[derive(Clone, Copy, Debug)]
pub(super) struct Constants {
    pub(super) alpha: f64,
    pub(super) beta: f64,
    pub(super) gamma: f64,
    pub(super) phi: f64,
}

/// Level, slope and the next m seasonal states, the coming one at `phase`.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) level: f64,
    pub(super) slope: f64,
    pub(super) season: Vec<f64>,
    pub(super) phase: usize,
}

/// A model with the parameters that fit best.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) form: Form,
    pub(super) constants: Constants,
    /// After the last value.
    pub(super) state: State,
    /// Of the errors; relative ones where the error is multiplicative.
    pub(super) variance: f64,
    pub(super) aicc: f64,
}

/// Bounds of α, β, γ, and of φ.
const CONSTANT: std::ops::RangeInclusive<f64> = 1e-4..=0.9999;
const DAMPING: std::ops::RangeInclusive<f64> = 0.8..=0.98;

impl State {
    /// Forecast of the next step.
    pub(super) fn next(&self, season: Option<Season>, phi: f64) -> f64 {
        let base = self.level + phi * self.slope;
        match season {
            None => base,
            Some(Season::Additive) => base + self.season[self.phase],
            Some(Season::Multiplicative) => base * self.season[self.phase],
        }
    }

    /// Takes the error ε of that forecast in.
    pub(super) fn learn(&mut self, season: Option<Season>, constants: &Constants, error: f64) {
        let base = self.level + constants.phi * self.slope;
        let (share, index) = match season {
            None => (1.0, 0.0),
            Some(Season::Additive) => (1.0, self.season[self.phase] + constants.gamma * error),
            Some(Season::Multiplicative) => {
                let index = self.season[self.phase];
                (1.0 / index, index + constants.gamma * error / base)
            }
        };
        self.level = base + constants.alpha * error * share;
        self.slope = constants.phi * self.slope + constants.beta * error * share;
        if season.is_some() {
            self.season[self.phase] = index;
            self.phase = (self.phase + 1) % self.season.len();
        }
    }
}

impl Fit {
    /// Fits one form; `None` where the values are too few for its parameters or do not allow it.
    pub(super) fn of(form: Form, y: &[f64], m: usize) -> Option<Self> {
        let n = y.len() as f64;
        let (start, steps) = start(form, y, m)?;
        // σ² is a parameter, too.
        let k = start.len() as f64 + 1.0;
        if n <= k + 1.0 {
            return None;
        }
        let evaluations = 100 * start.len() + 200;
        let judge = |at: &[f64]| likelihood(form, at, y, m);
        let (first, _) = simplex::minimise(&start, &steps, evaluations, judge);
        // A second start around the first end leaves most false bottoms.
        let (best, cost) = simplex::minimise(&first, &steps, evaluations, judge);
        if !cost.is_finite() {
            return None;
        }
        let (constants, mut state) = unpack(form, &best, m)?;
        let squares: f64 = errors(form, &constants, &mut state, y).map(|(error, _)| error * error).sum();
        let aicc = cost + 2.0 * k + 2.0 * k * (k + 1.0) / (n - k - 1.0);
        Some(Self { form, constants, state, variance: squares / (n - k - 1.0), aicc })
    }
}

/// −2 log L without its constant: n log Σe² (+ 2 Σ log|ŷ| with multiplicative errors). Infinite where the form does not allow the
/// parameters.
fn likelihood(form: Form, at: &[f64], y: &[f64], m: usize) -> f64 {
    let Some((constants, mut state)) = unpack(form, at, m) else { return f64::INFINITY };
    let (mut squares, mut logarithms) = (0.0, 0.0);
    for (error, mean) in errors(form, &constants, &mut state, y) {
        squares += error * error;
        if form.error == Error::Multiplicative {
            if mean <= 0.0 {
                return f64::INFINITY;
            }
            logarithms += mean.ln();
        }
    }
    // An exact fit (a constant series) has no likelihood: a floor far below any real one.
    y.len() as f64 * squares.max(1e-200).ln() + 2.0 * logarithms
}

/// Errors as the form means them, with the forecasts; `state` moves to the end.
fn errors<'a>(
    form: Form,
    constants: &'a Constants,
    state: &'a mut State,
    y: &'a [f64],
) -> impl Iterator<Item = (f64, f64)> + 'a {
    y.iter().map(move |y| {
        let mean = state.next(form.season, constants.phi);
        let error = y - mean;
        state.learn(form.season, constants, error);
        (if form.error == Error::Multiplicative { error / mean } else { error }, mean)
    })
}

/// Parameters as the search sees them: constants on a logistic scale, which has no edge to be caught at, then level, slope,
/// and all seasonal states but one, which makes them add up to 0 or to m. 0 < β < α, 0 < γ < 1 − α. `None` where a
/// seasonal factor is not positive.
fn unpack(form: Form, at: &[f64], m: usize) -> Option<(Constants, State)> {
    let mut rest = at.iter().copied();
    let alpha = between(*CONSTANT.start(), *CONSTANT.end(), rest.next()?);
    let beta = if form.trend == Trend::None { 0.0 } else { between(*CONSTANT.start(), alpha, rest.next()?) };
    let gamma = match form.season {
        None => 0.0,
        Some(_) => between(*CONSTANT.start(), (1.0 - alpha).max(*CONSTANT.start()), rest.next()?),
    };
    let phi = match form.trend {
        Trend::None => 0.0,
        Trend::Additive => 1.0,
        Trend::Damped => between(*DAMPING.start(), *DAMPING.end(), rest.next()?),
    };
    let level = rest.next()?;
    let slope = if form.trend == Trend::None { 0.0 } else { rest.next()? };
    let mut season: Vec<f64> = rest.collect();
    match form.season {
        None => {}
        Some(Season::Additive) => season.push(-season.iter().sum::<f64>()),
        Some(Season::Multiplicative) => {
            season.push(m as f64 - season.iter().sum::<f64>());
            if season.iter().any(|index| *index <= 0.0) {
                return None;
            }
        }
    }
    Some((Constants { alpha, beta, gamma, phi }, State { level, slope, season, phase: 0 }))
}

fn between(low: f64, high: f64, at: f64) -> f64 {
    low + (high - low) / (1.0 + (-at).exp())
}

/// Where the search begins, and its first steps: first states from a decomposition and a line through the first values.
fn start(form: Form, y: &[f64], m: usize) -> Option<(Vec<f64>, Vec<f64>)> {
    let season = match form.season {
        Some(kind) => Some((kind, indices(y, m, kind)?)),
        None => None,
    };
    let head = y.len().min(10.max(2 * m));
    let adjusted: Vec<f64> = y[..head]
        .iter()
        .enumerate()
        .map(|(step, y)| match &season {
            None => *y,
            Some((Season::Additive, indices)) => y - indices[step % m],
            Some((Season::Multiplicative, indices)) => y / indices[step % m].max(0.01),
        })
        .collect();
    let (mean, time) = (adjusted.iter().sum::<f64>() / head as f64, (head as f64 + 1.0) / 2.0);
    let slope = adjusted.iter().enumerate().map(|(t, y)| (t as f64 + 1.0 - time) * (y - mean)).sum::<f64>()
        / (0..head).map(|t| (t as f64 + 1.0 - time).powi(2)).sum::<f64>();
    let unit = y.iter().map(|y| y.abs()).sum::<f64>() / y.len() as f64 * 0.05 + 1e-6;
    // α 0.2, β a tenth of it, γ 0.04, φ 0.95.
    let (mut at, mut steps) = (vec![-1.4], vec![1.0]);
    let mut push = |value: f64, step: f64| {
        at.push(value);
        steps.push(step);
    };
    if form.trend != Trend::None {
        push(-2.2, 1.0);
    }
    if form.season.is_some() {
        push(-3.0, 1.0);
    }
    if form.trend == Trend::Damped {
        push(1.6, -1.0);
    }
    push(if form.trend == Trend::None { mean } else { mean - slope * time }, unit);
    if form.trend != Trend::None {
        push(slope, unit / head as f64);
    }
    match &season {
        None => {}
        Some((Season::Additive, indices)) => indices[..m - 1].iter().for_each(|index| push(*index, unit)),
        Some((Season::Multiplicative, indices)) => {
            let indices: Vec<f64> = indices.iter().map(|index| index.max(0.01)).collect();
            let sum = indices.iter().sum::<f64>() / m as f64;
            indices[..m - 1].iter().for_each(|index| push(index / sum, 0.05));
        }
    }
    Some((at, steps))
}
