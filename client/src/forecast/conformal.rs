//! Local calibration of a merchant's quantiles on its own past forecasts, adaptive to drift.
//!
//! For each level τ the residual `(y − q_τ) / width`, with width = q₀.₉ − q₀.₁ of the step, has a τ-quantile δ_τ among
//! the cells of forecasts whose truth is known; forecasts are moved by δ_τ · width (conformalised quantile regression,
//! Romano, Patterson and Candès 2019, level by level). Sales drift, so that last month's errors say more than last
//! quarter's: residuals of an origin `a` origins back weigh `decay^a` (Barber, Candès, Ramdas and Tibshirani 2023,
//! "Conformal prediction beyond exchangeability"), and which decay is right is judged forward in time, on the last
//! origin when learnt on those before it.
//!
//! Cells of one window move together, so windows count, not cells: δ is shrunk towards 0 by their effective number.
//! A calibration is used only if it helps on each half of the windows that judge it.
//!
//! Invariant: with few windows, or without a gain, calibration is the identity. It stays at the merchant.

use super::forecaster::Forecast;
use crate::model::{QUANTILE_COUNT, QUANTILES};

/// Windows of the judging origin below which nothing is calibrated.
const WINDOWS_MIN: usize = 8;
/// Windows at which half of the correction is believed.
const WINDOWS_HALF: f32 = 16.0;
/// Relative gain in pinball loss that each half must show.
const GAIN_MIN: f64 = 0.005;
/// Largest correction, in widths.
const SHIFT_MAX: f32 = 1.0;
/// Weights of an origin's residuals beside those of the next: from all alike to the newest almost alone.
const DECAYS: [f32; 3] = [1.0, 0.5, 0.2];

/// Forecasts from one origin and what came, `[window][horizon]`, `NaN` where missing.
#[derive(Clone, Debug, Default)]
pub struct PastForecasts {
    /// The forecasts.
    pub forecasts: Vec<Forecast>,
    /// One truth a forecast.
    pub truths: Vec<Vec<f32>>,
}

/// A correction of each quantile, in widths of the forecast's own 80 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    shifts: [f32; QUANTILE_COUNT],
}

impl Calibration {
    /// The calibration that changes nothing.
    pub const IDENTITY: Self = Self { shifts: [0.0; QUANTILE_COUNT] };

    /// Learns from past forecasts, oldest origin first.
    ///
    /// # Panics
    /// When an origin has another number of truths than of forecasts.
    pub fn fit(origins: &[PastForecasts]) -> Self {
        let origins: Vec<Vec<Pair<'_>>> = origins.iter().map(PastForecasts::pairs).collect();
        let Some((judge, before)) = origins.split_last() else { return Self::IDENTITY };
        if judge.len() < WINDOWS_MIN {
            return Self::IDENTITY;
        }
        let halves: [Vec<Pair<'_>>; 2] = [0, 1].map(|half| judge.iter().skip(half).step_by(2).copied().collect());
        let gain =
            |calibration: &Self, judged: &[Pair<'_>]| 1.0 - loss(calibration, judged) / loss(&Self::IDENTITY, judged);
        if before.iter().map(Vec::len).sum::<usize>() < WINDOWS_MIN {
            // One origin alone: each half judges what the other taught.
            let one = std::slice::from_ref;
            let helps = |learnt: usize, judged: usize| {
                gain(&Self::learn(one(&halves[learnt]), 1.0), &halves[judged]) > GAIN_MIN
            };
            return if helps(0, 1) && helps(1, 0) { Self::learn(one(judge), 1.0) } else { Self::IDENTITY };
        }
        let best = DECAYS
            .map(|decay| {
                let learnt = Self::learn(before, decay);
                (decay, halves.each_ref().map(|half| gain(&learnt, half)))
            })
            .into_iter()
            .filter(|(_, gains)| gains.iter().all(|gain| *gain > GAIN_MIN))
            .max_by(|(_, a), (_, b)| (a[0] + a[1]).total_cmp(&(b[0] + b[1])));
        match best {
            Some((decay, _)) => Self::learn(&origins, decay),
            None => Self::IDENTITY,
        }
    }

    /// The shrunk weighted quantiles of the residuals, oldest origin first.
    fn learn(origins: &[Vec<Pair<'_>>], decay: f32) -> Self {
        let weight = |origin: usize| decay.powi((origins.len() - 1 - origin) as i32);
        let windows: f32 = origins.iter().enumerate().map(|(i, pairs)| weight(i) * pairs.len() as f32).sum();
        let belief = windows / (windows + WINDOWS_HALF);
        let mut shifts = [0.0; QUANTILE_COUNT];
        for (level, shift) in shifts.iter_mut().enumerate() {
            let residuals = origins.iter().enumerate().flat_map(|(i, pairs)| {
                cells(pairs).filter_map(move |(q, y)| width(q).map(|w| ((y - q[level]) / w, weight(i))))
            });
            if let Some(quantile) = weighted_quantile(residuals.collect(), QUANTILES[level]) {
                *shift = (belief * quantile).clamp(-SHIFT_MAX, SHIFT_MAX);
            }
        }
        Self { shifts }
    }

    /// Moves a forecast's quantiles, keeps them ascending, and keeps a forecast that knows no negative values so.
    pub fn apply(&self, forecast: &mut Forecast) {
        if *self == Self::IDENTITY {
            return;
        }
        for q in &mut forecast.quantiles {
            *q = self.moved(q);
        }
    }

    fn moved(&self, q: &[f32; QUANTILE_COUNT]) -> [f32; QUANTILE_COUNT] {
        let Some(width) = width(q) else { return *q };
        let least = if q[0] >= 0.0 { 0.0 } else { f32::MIN };
        let mut moved = std::array::from_fn(|i| (q[i] + self.shifts[i] * width).clamp(least, f32::MAX));
        moved.sort_by(f32::total_cmp);
        moved
    }
}

impl PastForecasts {
    /// Windows of which anything came.
    fn pairs(&self) -> Vec<Pair<'_>> {
        assert_eq!(self.forecasts.len(), self.truths.len(), "a truth a forecast");
        let pairs = self.forecasts.iter().zip(&self.truths);
        pairs.filter(|(_, truth)| truth.iter().any(|y| y.is_finite())).collect()
    }
}

/// The smallest value at or below which at least `level` of the weight lies; `None` without values.
fn weighted_quantile(mut values: Vec<(f32, f32)>, level: f32) -> Option<f32> {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let total: f64 = values.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let mut below = 0.0;
    for (value, weight) in &values {
        below += f64::from(*weight);
        // Strictly above, so that equal weights give what the rank ⌊level · n⌋ does.
        if below > f64::from(level) * total + 1e-9 * total {
            return Some(*value);
        }
    }
    values.last().map(|(value, _)| *value)
}

type Pair<'a> = (&'a Forecast, &'a Vec<f32>);

/// Observed cells with their quantiles.
fn cells<'a>(pairs: &'a [Pair<'a>]) -> impl Iterator<Item = (&'a [f32; QUANTILE_COUNT], f32)> {
    pairs
        .iter()
        .flat_map(|(forecast, truth)| forecast.quantiles.iter().zip(truth.iter().copied()))
        .filter(|(_, y)| y.is_finite())
}

/// Width of the 80 % interval, where there is one.
fn width(q: &[f32; QUANTILE_COUNT]) -> Option<f32> {
    let width = q[QUANTILE_COUNT - 1] - q[0];
    (width.is_finite() && width > 1e-6).then_some(width)
}

/// Sum of pinball losses over observed cells and levels after calibration.
fn loss(calibration: &Calibration, pairs: &[Pair<'_>]) -> f64 {
    cells(pairs)
        .map(|(q, y)| {
            let q = calibration.moved(q);
            let pinball = |i: usize| {
                let error = f64::from(y - q[i]);
                let level = f64::from(QUANTILES[i]);
                (level * error).max((level - 1.0) * error)
            };
            (0..QUANTILE_COUNT).map(pinball).sum::<f64>()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forecast(centre: f32) -> Forecast {
        let offsets = [-1.28, -0.84, -0.52, -0.25, 0.0, 0.25, 0.52, 0.84, 1.28];
        Forecast { quantiles: vec![offsets.map(|o: f32| centre + 2.0 * o); 10] }
    }

    /// Windows whose truth lies `bias` above the forecast's centre, spread like its quantiles.
    fn windows(count: usize, bias: f32) -> (Vec<Forecast>, Vec<Vec<f32>>) {
        let spread = [-1.6, -1.0, -0.6, -0.3, -0.1, 0.1, 0.3, 0.6, 1.0, 1.6];
        let truth = |i: usize| spread.map(|s: f32| 50.0 + i as f32 + bias + 2.0 * s).to_vec();
        ((0..count).map(|i| forecast(50.0 + i as f32)).collect(), (0..count).map(truth).collect())
    }

    #[test]
    fn few_windows_change_nothing() {
        let (forecasts, truths) = windows(WINDOWS_MIN - 1, 8.0);
        assert_eq!(Calibration::fit(&[PastForecasts { forecasts, truths }]), Calibration::IDENTITY);
        assert_eq!(Calibration::fit(&[]), Calibration::IDENTITY);
        assert_eq!(Calibration::fit(&[PastForecasts::default()]), Calibration::IDENTITY);
    }

    #[test]
    fn a_constant_bias_is_mostly_removed() {
        let (forecasts, truths) = windows(64, 3.0);
        let calibration = Calibration::fit(&[PastForecasts { forecasts, truths }]);
        let mut moved = forecast(50.0);
        calibration.apply(&mut moved);
        assert!((51.5..=53.5).contains(&moved.quantiles[0][4]), "{:?}", moved.quantiles[0]);
    }

    /// Origins whose truths lie so far above the forecasts.
    fn origins(biases: &[f32]) -> Vec<PastForecasts> {
        let origin = |bias: &f32| {
            let (forecasts, truths) = windows(32, *bias);
            PastForecasts { forecasts, truths }
        };
        biases.iter().map(origin).collect()
    }

    fn median_moved(calibration: &Calibration) -> f32 {
        let mut moved = forecast(50.0);
        calibration.apply(&mut moved);
        moved.quantiles[0][4] - 50.0
    }

    #[test]
    fn after_a_shift_of_level_the_newest_errors_decide() {
        let moved = median_moved(&Calibration::fit(&origins(&[-3.0, -3.0, 3.0, 3.0])));
        assert!(moved > 1.5, "{moved}");
        // And where all origins agree, they are all believed.
        let moved = median_moved(&Calibration::fit(&origins(&[3.0, 3.0, 3.0, 3.0])));
        assert!((2.4..=3.2).contains(&moved), "{moved}");
    }

    #[test]
    fn errors_that_did_not_last_until_the_judging_origin_are_not_corrected() {
        assert_eq!(Calibration::fit(&origins(&[3.0, 3.0, 3.0, 0.0])), Calibration::IDENTITY);
        // Nor is a single odd origin believed before another bears it out.
        let moved = median_moved(&Calibration::fit(&origins(&[0.0, 0.0, 0.0, 3.0])));
        assert!(moved < 1.5, "{moved}");
    }

    #[test]
    fn weighted_quantiles_by_hand() {
        let values = || vec![(3.0, 1.0), (1.0, 1.0), (2.0, 1.0), (4.0, 1.0)];
        assert_eq!(weighted_quantile(values(), 0.5), Some(3.0), "the rank 0.5 * 4 counted from 0");
        assert_eq!(weighted_quantile(values(), 0.1), Some(1.0));
        assert_eq!(weighted_quantile(vec![(1.0, 0.1), (2.0, 0.8), (3.0, 0.1)], 0.5), Some(2.0));
        assert_eq!(weighted_quantile(Vec::new(), 0.5), None);
    }

    #[test]
    fn calibrated_forecasts_are_left_as_they_are() {
        let (forecasts, truths) = windows(64, 0.0);
        let calibration = Calibration::fit(&[PastForecasts { forecasts, truths }]);
        let mut moved = forecast(50.0);
        calibration.apply(&mut moved);
        assert!((moved.quantiles[0][4] - 50.0).abs() < 0.2, "{:?}", moved.quantiles[0]);
    }

    #[test]
    fn missing_truth_teaches_nothing() {
        let (forecasts, mut truths) = windows(64, 3.0);
        truths.iter_mut().flatten().for_each(|y| *y = f32::NAN);
        assert_eq!(Calibration::fit(&[PastForecasts { forecasts, truths }]), Calibration::IDENTITY);
    }

    proptest! {
        #[test]
        fn quantiles_stay_ascending_and_not_negative(
            shifts in prop::array::uniform9(-1.0f32..1.0),
            gaps in prop::array::uniform9(0.0f32..5.0),
        ) {
            let mut sum = 0.0;
            let quantiles = gaps.map(|g| { sum += g; sum });
            let mut forecast = Forecast { quantiles: vec![quantiles] };
            Calibration { shifts }.apply(&mut forecast);
            let q = forecast.quantiles[0];
            prop_assert!(q.windows(2).all(|w| w[0] <= w[1]) && q[0] >= 0.0);
        }
    }
}
