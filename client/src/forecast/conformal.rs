//! Local calibration of a merchant's quantiles on its own held-back windows.
//!
//! For each level τ the residual `(y − q_τ) / width`, with width = q₀.₉ − q₀.₁ of the step, has a τ-quantile δ_τ among
//! the held-back cells; forecasts are moved by δ_τ · width (conformalised quantile regression, Romano, Patterson
//! and Candès 2019, level by level). Cells of one window move together, so windows count, not cells: δ is shrunk
//! towards 0 by their number, and used only if it helps on each half of the windows when learnt on the other.
//!
//! Invariant: with few windows, or without a gain, calibration is the identity. It stays at the merchant.

use super::forecaster::Forecast;
use crate::model::{QUANTILE_COUNT, QUANTILES};

/// Windows below which nothing is calibrated.
const WINDOWS_MIN: usize = 8;
/// Windows at which half of the correction is believed.
const WINDOWS_HALF: f32 = 16.0;
/// Relative gain in pinball loss that each half must show.
const GAIN_MIN: f64 = 0.005;
/// Largest correction, in widths.
const SHIFT_MAX: f32 = 1.0;

/// A correction of each quantile, in widths of the forecast's own 80 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    shifts: [f32; QUANTILE_COUNT],
}

impl Calibration {
    /// The calibration that changes nothing.
    pub const IDENTITY: Self = Self { shifts: [0.0; QUANTILE_COUNT] };

    /// Learns from held-back windows: forecasts and what came, `[window][horizon]`, `NaN` where missing.
    ///
    /// # Panics
    /// When the two slices differ in length.
    pub fn fit(forecasts: &[Forecast], truths: &[Vec<f32>]) -> Self {
        assert_eq!(forecasts.len(), truths.len(), "a truth a forecast");
        let pairs: Vec<Pair<'_>> =
            forecasts.iter().zip(truths).filter(|(_, truth)| truth.iter().any(|y| y.is_finite())).collect();
        if pairs.len() < WINDOWS_MIN {
            return Self::IDENTITY;
        }
        let halves: [Vec<Pair<'_>>; 2] = [0, 1].map(|half| pairs.iter().skip(half).step_by(2).copied().collect());
        let helps = |learnt: &[Pair<'_>], judged: &[Pair<'_>]| {
            loss(&Self::learn(learnt), judged) < loss(&Self::IDENTITY, judged) * (1.0 - GAIN_MIN)
        };
        if helps(&halves[0], &halves[1]) && helps(&halves[1], &halves[0]) {
            Self::learn(&pairs)
        } else {
            Self::IDENTITY
        }
    }

    fn learn(pairs: &[Pair<'_>]) -> Self {
        let belief = pairs.len() as f32 / (pairs.len() as f32 + WINDOWS_HALF);
        let mut shifts = [0.0; QUANTILE_COUNT];
        for (level, shift) in shifts.iter_mut().enumerate() {
            let mut residuals: Vec<f32> =
                cells(pairs).filter_map(|(q, y)| width(q).map(|w| (y - q[level]) / w)).collect();
            if residuals.is_empty() {
                continue;
            }
            let rank = (QUANTILES[level] * residuals.len() as f32) as usize;
            let rank = rank.min(residuals.len() - 1);
            let (_, quantile, _) = residuals.select_nth_unstable_by(rank, f32::total_cmp);
            *shift = (belief * *quantile).clamp(-SHIFT_MAX, SHIFT_MAX);
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
        let least = if q[0] >= 0.0 { 0.0 } else { f32::NEG_INFINITY };
        let mut moved = std::array::from_fn(|i| (q[i] + self.shifts[i] * width).max(least));
        moved.sort_by(f32::total_cmp);
        moved
    }
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
        assert_eq!(Calibration::fit(&forecasts, &truths), Calibration::IDENTITY);
        assert_eq!(Calibration::fit(&[], &[]), Calibration::IDENTITY);
    }

    #[test]
    fn a_constant_bias_is_mostly_removed() {
        let (forecasts, truths) = windows(64, 3.0);
        let calibration = Calibration::fit(&forecasts, &truths);
        let mut moved = forecast(50.0);
        calibration.apply(&mut moved);
        assert!((51.5..=53.5).contains(&moved.quantiles[0][4]), "{:?}", moved.quantiles[0]);
    }

    #[test]
    fn calibrated_forecasts_are_left_as_they_are() {
        let (forecasts, truths) = windows(64, 0.0);
        let calibration = Calibration::fit(&forecasts, &truths);
        let mut moved = forecast(50.0);
        calibration.apply(&mut moved);
        assert!((moved.quantiles[0][4] - 50.0).abs() < 0.2, "{:?}", moved.quantiles[0]);
    }

    #[test]
    fn missing_truth_teaches_nothing() {
        let (forecasts, mut truths) = windows(64, 3.0);
        truths.iter_mut().flatten().for_each(|y| *y = f32::NAN);
        assert_eq!(Calibration::fit(&forecasts, &truths), Calibration::IDENTITY);
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
