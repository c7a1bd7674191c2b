//! Naive, seasonal naive and same-weekday quantiles: forecasts without parameters.
//!
//! Naive and seasonal naive take their intervals from in-sample residuals with a normal distribution, gaps filled
//! forward, as statsforecast does (Hyndman & Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed., 5.5).

use super::{Baseline, Fitted, Future, History, quantile};
use crate::{
    data::series::{Frequency, Series},
    forecast::metrics::LEVELS_LEN,
};

/// Weeks that the empirical quantiles look back.
const WINDOW_WEEKS: usize = 8;

/// The last value, with an interval that widens with the square root of the step. All 0 without a past.
///
/// Returns `[horizon][9]`.
pub fn naive(series: &Series, cut: usize, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    seasonal(&filled_past(series, cut), 1, horizon)
}

/// The value one season ago (7 days; 1 week in weekly series), with an interval that widens from season to season.
///
/// A past shorter than a season falls back on [`naive`]. Returns `[horizon][9]`.
pub fn seasonal_naive(series: &Series, cut: usize, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    let past = filled_past(series, cut);
    let season = if past.len() < series.season() { 1 } else { series.season() };
    seasonal(&past, season, horizon)
}

/// Empirical quantiles of the same weekday in the last 8 weeks, or of the last 8 weeks in weekly series.
///
/// Where nothing was observed there, the whole past of the same weekday serves, then the whole past, then 0.
/// Interpolated linearly between order statistics. Returns `[horizon][9]`.
pub fn window_quantiles(series: &Series, cut: usize, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    let past = &series.y[..cut.min(series.y.len())];
    let season = series.season();
    let window = match series.frequency {
        Frequency::Daily => 7 * WINDOW_WEEKS,
        Frequency::Weekly => WINDOW_WEEKS,
    };
    let observed = |steps: usize, phase: usize| -> Vec<f64> {
        let first = cut.saturating_sub(steps);
        (first..past.len())
            .filter(|step| step % season == phase % season)
            .map(|step| f64::from(past[step]))
            .filter(|y| y.is_finite())
            .collect()
    };
    (0..season.min(horizon))
        .map(|step| {
            let phase = cut + step;
            let mut sample = observed(window, phase);
            if sample.is_empty() {
                sample = observed(cut, phase);
            }
            if sample.is_empty() {
                sample = past.iter().filter(|y| y.is_finite()).map(|y| f64::from(*y)).collect();
            }
            quantile::empirical(sample).map(|q| q as f32)
        })
        .cycle()
        .take(horizon)
        .collect()
}

/// The past with leading gaps cut off and every other gap filled with the value before it.
pub(super) fn filled_past(series: &Series, cut: usize) -> Vec<f64> {
    let mut filled = Vec::with_capacity(cut);
    for y in (0..cut).map(|step| series.y.get(step).copied().unwrap_or(f32::NAN)) {
        if y.is_finite() {
            filled.push(f64::from(y));
        } else if let Some(last) = filled.last() {
            filled.push(*last);
        }
    }
    filled
}

/// Past values repeated, season by season, with an interval that widens with each. All 0 without a past.
pub(super) fn seasonal(past: &[f64], season: usize, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
    if past.is_empty() {
        return vec![[0.0; LEVELS_LEN]; horizon];
    }
    let residuals = past.iter().zip(&past[season..]).map(|(earlier, later)| later - earlier);
    let residual_count = past.len() - season;
    let deviation = if residual_count == 0 {
        0.0
    } else {
        (residuals.map(|residual| residual * residual).sum::<f64>() / residual_count as f64).sqrt()
    };
    (0..horizon)
        .map(|step| {
            let value = past[past.len() - season + step % season];
            let spread = deviation * ((step / season + 1) as f64).sqrt();
            quantile::normal(value, spread)
        })
        .collect()
}

/// [`naive`] as a [`Baseline`].
pub(super) struct Naive;
/// [`seasonal_naive`] as a [`Baseline`].
pub(super) struct SeasonalNaive;
/// [`window_quantiles`] as a [`Baseline`].
pub(super) struct SameWeekday;

/// Past values that are repeated, season by season.
struct Repeated {
    past: Vec<f64>,
    season: usize,
}

impl Baseline for Naive {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let (series, cut) = history.series();
        Some(Box::new(Repeated { past: filled_past(series, cut), season: 1 }))
    }
}

impl Baseline for SeasonalNaive {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let (series, cut) = history.series();
        let past = filled_past(series, cut);
        (past.len() >= series.season()).then(|| Box::new(Repeated { past, season: series.season() }) as Box<dyn Fitted>)
    }
}

impl Fitted for Repeated {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        seasonal(&self.past, self.season, future.horizon)
    }
}

/// Quantiles of each phase of the season, from the step after the past on.
struct Phases(Vec<[f32; LEVELS_LEN]>);

impl Baseline for SameWeekday {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let (series, cut) = history.series();
        Some(Box::new(Phases(window_quantiles(series, cut, series.season()))))
    }
}

impl Fitted for Phases {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        self.0.iter().copied().cycle().take(future.horizon).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const N: f32 = f32::NAN;

    fn series(frequency: Frequency, y: &[f32]) -> Series {
        Series {
            id: "mug".into(),
            frequency,
            start: date(2024, 1, 1),
            y: y.to_vec(),
            known: Vec::new(),
            attributes: Vec::new(),
            text: String::new(),
            text_vector: None,
            further: None,
        }
    }

    fn medians(quantiles: &[[f32; LEVELS_LEN]]) -> Vec<f32> {
        quantiles.iter().map(|q| q[4]).collect()
    }

    #[test]
    fn seasonal_naive_repeats_the_last_week_and_widens_with_each() {
        let y: Vec<f32> = (0..14).map(|day| (day % 7) as f32 + if day < 7 { 0.0 } else { 2.0 }).collect();
        let forecast = seasonal_naive(&series(Frequency::Daily, &y), 14, 9);
        assert_eq!(medians(&forecast), [2., 3., 4., 5., 6., 7., 8., 2., 3.]);
        // Every residual is 2, so σ = 2 in the first week and 2√2 in the second.
        let upper = |step: usize| f64::from(forecast[step][8] - forecast[step][4]);
        assert!((upper(0) - 2.0 * 1.281_551_565_5).abs() < 1e-5);
        assert!((upper(7) - 2.0 * 2.0_f64.sqrt() * 1.281_551_565_5).abs() < 1e-5);
    }

    #[test]
    fn gaps_are_filled_forward_and_leading_gaps_do_not_count() {
        let weekly = series(Frequency::Weekly, &[N, N, 4., N, 6., N]);
        assert_eq!(medians(&seasonal_naive(&weekly, 6, 2)), [6., 6.]);
        // Residuals of 4 4 6 6: 0, 2, 0.
        let deviation = (4.0_f64 / 3.0).sqrt();
        let upper = f64::from(seasonal_naive(&weekly, 6, 2)[1][8]);
        assert!((upper - (6.0 + deviation * 2.0_f64.sqrt() * 1.281_551_565_5)).abs() < 1e-5);
    }

    #[test]
    fn nothing_after_the_cut_is_used() {
        let all = series(Frequency::Daily, &[1., 2., 3., 4., 5., 6., 7., 8., 90., 90.]);
        let cut = all.up_to(8);
        assert_eq!(seasonal_naive(&all, 8, 3), seasonal_naive(&cut, 8, 3));
        assert_eq!(window_quantiles(&all, 8, 3), window_quantiles(&cut, 8, 3));
        assert_eq!(naive(&all, 8, 3), naive(&cut, 8, 3));
    }

    #[test]
    fn quantiles_of_the_same_weekday_interpolate_like_numpy() {
        // Mondays 0 to 8, one of them closed and one older than 8 weeks; other days 100.
        let mut y = vec![100.0_f32; 63];
        for week in 0..9 {
            y[7 * week] = week as f32;
        }
        y[7] = N;
        let forecast = window_quantiles(&series(Frequency::Daily, &y), 63, 8);
        // numpy.quantile([2,3,4,5,6,7,8], [.1, .5, .9])
        assert_eq!([forecast[0][0], forecast[0][4], forecast[0][8]], [2.6, 5.0, 7.4]);
        assert_eq!(forecast[1], [100.0; 9]);
        assert_eq!(forecast[7], forecast[0]);
    }

    #[test]
    fn an_unseen_weekday_falls_back_on_the_whole_past() {
        let forecast = window_quantiles(&series(Frequency::Daily, &[2., 4.]), 2, 7);
        assert_eq!(medians(&forecast), [3., 3., 3., 3., 3., 2., 4.]);
    }

    #[test]
    fn weekly_quantiles_are_those_of_the_last_eight_weeks() {
        let y: Vec<f32> = (0..12).map(|week| week as f32).collect();
        let forecast = window_quantiles(&series(Frequency::Weekly, &y), 12, 2);
        assert_eq!(medians(&forecast), [7.5, 7.5]);
    }

    #[test]
    fn a_series_without_a_past_is_forecast_as_zero() {
        let empty = series(Frequency::Daily, &[]);
        for forecast in [naive(&empty, 0, 3), seasonal_naive(&empty, 0, 3), window_quantiles(&empty, 0, 3)] {
            assert_eq!(forecast, vec![[0.0; LEVELS_LEN]; 3]);
        }
    }

    #[test]
    fn a_cut_beyond_the_recorded_days_is_no_panic() {
        let short = series(Frequency::Daily, &[1., 2.]);
        assert_eq!(window_quantiles(&short, 9, 2).len(), 2);
        assert_eq!(medians(&seasonal_naive(&short, 9, 1)), [2.0]);
    }
}

#[cfg(test)]
#[path = "restaurant_tests.rs"]
mod restaurant_tests;
