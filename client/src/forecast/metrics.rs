//! Scores of quantile forecasts: WQL, WAPE, MASE, SQL, coverage and bias, as fev-bench defines them.
//!
//! A cell is one step of one series. Missing cells are not scored. The expected values of the tests come from the
//! evaluation protocol's own Python on the same arrays. Left out: RMSSE and WRMSSE.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Number of quantile levels.
pub const LEVELS_LEN: usize = 9;
/// Quantile levels of every forecast, in order.
pub const LEVELS: [f64; LEVELS_LEN] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];
/// Position of the median among the levels: the point forecast.
pub const MEDIAN: usize = 4;

/// One series' forecast beside what came true.
#[derive(Clone, Copy, Debug)]
pub struct ScoredForecast<'a> {
    /// Everything before the forecast, `NaN` where missing; scales MASE and SQL.
    pub past: &'a [f32],
    /// What came true, `[horizon]`, `NaN` where missing.
    pub actual: &'a [f32],
    /// Forecast, `[horizon][9]` at [`LEVELS`].
    pub quantiles: &'a [[f32; LEVELS_LEN]],
}

/// Why forecasts could not be scored.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ScoreError {
    /// Forecast and truth differ in length.
    #[error("series {index}: {forecast} forecast steps for {actual} actual steps; they must be equally many")]
    Length {
        /// Position of the series.
        index: usize,
        /// Steps forecast.
        forecast: usize,
        /// Steps known.
        actual: usize,
    },
    /// A quantile is not a number.
    #[error("series {index}, step {step}: a quantile is not finite")]
    NotFinite {
        /// Position of the series.
        index: usize,
        /// Step of the horizon.
        step: usize,
    },
    /// Nothing was observed, or only zeros: relative errors have no meaning.
    #[error("no cell was observed with a value other than 0, so relative errors are undefined")]
    NothingToScore,
}

/// Scores of one window, or their mean over windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean weighted quantile loss: 2 · pinball loss over Σ|y|, mean of the nine levels.
    pub wql: f64,
    /// Σ|y − median| / Σ|y|.
    pub wape: f64,
    /// Mean |y − median| over the series' in-sample seasonal difference; `NaN` where no series has one.
    pub mase: f64,
    /// Mean 2 · pinball loss over the series' in-sample seasonal difference; `NaN` where no series has one.
    pub sql: f64,
    /// Share of cells between the 0.1 and the 0.9 quantile (nominal 0.8).
    pub coverage80: f64,
    /// Σ(median − y) / Σ|y|.
    pub bias: f64,
    /// Cells scored.
    pub cells: usize,
}

impl Scores {
    /// Mean of every score over windows, cells added up; `None` without windows.
    pub fn mean(windows: &[Self]) -> Option<Self> {
        if windows.is_empty() {
            return None;
        }
        let mean = |score: fn(&Self) -> f64| windows.iter().map(score).sum::<f64>() / windows.len() as f64;
        Some(Self {
            wql: mean(|s| s.wql),
            wape: mean(|s| s.wape),
            mase: mean(|s| s.mase),
            sql: mean(|s| s.sql),
            coverage80: mean(|s| s.coverage80),
            bias: mean(|s| s.bias),
            cells: windows.iter().map(|s| s.cells).sum(),
        })
    }
}

/// Scores one window of forecasts; `season` is the step m of the seasonal difference (7 daily, 1 weekly).
///
/// Series whose seasonal difference is 0 or unknown do not count in MASE and SQL.
pub fn score(season: usize, forecasts: &[ScoredForecast<'_>]) -> Result<Scores, ScoreError> {
    let mut tally = Tally::default();
    for (index, forecast) in forecasts.iter().enumerate() {
        tally.add(season, index, forecast)?;
    }
    tally.scores().ok_or(ScoreError::NothingToScore)
}

/// Mean |y_t − y_(t−m)| over the steps where both are observed; `None` where there is none, or where it is 0.
fn seasonal_difference(past: &[f32], season: usize) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0_u32);
    for (earlier, later) in past.iter().zip(past.get(season..)?) {
        let difference = f64::from(*later) - f64::from(*earlier);
        if difference.is_finite() {
            sum += difference.abs();
            count += 1;
        }
    }
    (count > 0 && sum > 0.0).then(|| sum / f64::from(count))
}

/// Running sums from which [`Scores`] follow: what a long backtest keeps of forecasts that it has thrown away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    cells: usize,
    actual: f64,
    absolute_error: f64,
    error: f64,
    quantile_loss: f64,
    covered: usize,
    scaled_cells: usize,
    scaled_error: f64,
    scaled_quantile_loss: f64,
}

impl Tally {
    /// Adds the cells of one forecast; `index` names the series in errors. Nothing is added when it is refused.
    ///
    /// # Errors
    /// [`ScoreError::Length`], [`ScoreError::NotFinite`].
    pub fn add(&mut self, season: usize, index: usize, forecast: &ScoredForecast<'_>) -> Result<(), ScoreError> {
        if forecast.actual.len() != forecast.quantiles.len() {
            return Err(ScoreError::Length {
                index,
                forecast: forecast.quantiles.len(),
                actual: forecast.actual.len(),
            });
        }
        if let Some(step) = forecast.quantiles.iter().position(|q| q.iter().any(|quantile| !quantile.is_finite())) {
            return Err(ScoreError::NotFinite { index, step });
        }
        let scale = seasonal_difference(forecast.past, season);
        for (actual, quantiles) in forecast.actual.iter().zip(forecast.quantiles) {
            if actual.is_finite() {
                self.add_cell(f64::from(*actual), quantiles.map(f64::from), scale);
            }
        }
        Ok(())
    }

    /// Adds the cells of another.
    pub fn merge(&mut self, other: &Self) {
        self.cells += other.cells;
        self.actual += other.actual;
        self.absolute_error += other.absolute_error;
        self.error += other.error;
        self.quantile_loss += other.quantile_loss;
        self.covered += other.covered;
        self.scaled_cells += other.scaled_cells;
        self.scaled_error += other.scaled_error;
        self.scaled_quantile_loss += other.scaled_quantile_loss;
    }

    fn add_cell(&mut self, actual: f64, quantiles: [f64; LEVELS_LEN], scale: Option<f64>) {
        let median = quantiles[MEDIAN];
        let loss = LEVELS
            .iter()
            .zip(quantiles)
            .map(|(level, quantile)| 2.0 * ((actual - quantile) * (f64::from(actual <= quantile) - level)).abs())
            .sum::<f64>()
            / LEVELS_LEN as f64;
        let error = (actual - median).abs();
        self.cells += 1;
        self.actual += actual.abs();
        self.absolute_error += error;
        self.error += median - actual;
        self.quantile_loss += loss;
        self.covered += usize::from(quantiles[0] <= actual && actual <= quantiles[LEVELS_LEN - 1]);
        if let Some(scale) = scale {
            self.scaled_cells += 1;
            self.scaled_error += error / scale;
            self.scaled_quantile_loss += loss / scale;
        }
    }

    /// Σ|y| of the cells so far.
    pub fn volume(&self) -> f64 {
        self.actual
    }

    /// Σ of mean quantile losses so far.
    pub fn quantile_loss(&self) -> f64 {
        self.quantile_loss
    }

    /// Σ|y − median| so far.
    pub fn absolute_error(&self) -> f64 {
        self.absolute_error
    }

    /// The scores so far; `None` before a cell with a value other than 0.
    pub fn scores(&self) -> Option<Scores> {
        let scaled_cells = self.scaled_cells as f64;
        (self.actual > 0.0).then(|| Scores {
            wql: self.quantile_loss / self.actual,
            wape: self.absolute_error / self.actual,
            mase: self.scaled_error / scaled_cells,
            sql: self.scaled_quantile_loss / scaled_cells,
            coverage80: self.covered as f64 / self.cells as f64,
            bias: self.error / self.actual,
            cells: self.cells,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: f32 = f32::NAN;
    /// Three series of eight past and four future steps: gaps, zeros, and one without variation in its past.
    const Y: [[f32; 12]; 3] = [
        [5., 7., N, 6., 9., 4., 8., 3., 6., N, 7., 10.],
        [N, N, 2., 0., 0., 3., 1., 0., N, 2., 0., 4.],
        [4., 4., 4., 4., 4., 4., 4., 4., 5., 6., N, 3.],
    ];

    /// Quantile j of step s of series i: (1.5 i + 0.75 s + 1) + j (0.5 + 0.25 i).
    fn quantiles(series: usize) -> [[f32; 9]; 4] {
        let (i, base) = (series as f32, |step: usize| 1.5 * series as f32 + 0.75 * step as f32 + 1.0);
        std::array::from_fn(|step| std::array::from_fn(|level| base(step) + level as f32 * (0.5 + 0.25 * i)))
    }

    fn scores(season: usize) -> Scores {
        let quantiles = [quantiles(0), quantiles(1), quantiles(2)];
        let forecasts: Vec<_> =
            (0..3).map(|i| ScoredForecast { past: &Y[i][..8], actual: &Y[i][8..], quantiles: &quantiles[i] }).collect();
        score(season, &forecasts).unwrap()
    }

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }

    #[test]
    fn scores_agree_with_the_evaluation_protocol() {
        let weekly = scores(1);
        near(weekly.wql, 0.693_152_454_780_361_8);
        near(weekly.wape, 0.889_534_883_720_930_3);
        near(weekly.mase, 2.012_061_403_508_772);
        near(weekly.sql, 1.611_842_105_263_157_7);
        near(weekly.bias, 0.412_790_697_674_418_6);
        near(weekly.coverage80, 0.222_222_222_222_222_2);
        assert_eq!(weekly.cells, 9);
        let seasonal = scores(3);
        near(seasonal.mase, 4.371_212_121_212_121);
        near(seasonal.sql, 3.5);
    }

    #[test]
    fn a_perfect_forecast_costs_nothing_and_covers_everything() {
        let exact = [[3.0; 9], [4.0; 9]];
        let perfect = ScoredForecast { past: &[1., 2., 3.], actual: &[3., 4.], quantiles: &exact };
        let scores = score(1, &[perfect]).unwrap();
        assert_eq!((scores.wql, scores.mase, scores.bias, scores.coverage80), (0.0, 0.0, 0.0, 1.0));
    }

    #[test]
    fn unequal_lengths_unscorable_cells_and_broken_quantiles_are_refused() {
        let one = [[1.0; 9]];
        let forecast = |actual, quantiles| ScoredForecast { past: &[1., 2.], actual, quantiles };
        assert_eq!(
            score(1, &[forecast(&[1., 2.], &one)]),
            Err(ScoreError::Length { index: 0, forecast: 1, actual: 2 })
        );
        assert_eq!(score(1, &[forecast(&[N], &one)]), Err(ScoreError::NothingToScore));
        assert_eq!(score(1, &[forecast(&[1.], &[[N; 9]])]), Err(ScoreError::NotFinite { index: 0, step: 0 }));
        assert_eq!(score(7, &[]), Err(ScoreError::NothingToScore));
    }

    #[test]
    fn the_mean_over_windows_weighs_windows_equally() {
        let [a, b] = [scores(1), scores(3)];
        let mean = Scores::mean(&[a, b]).unwrap();
        near(mean.mase, (a.mase + b.mase) / 2.0);
        assert_eq!(mean.cells, 18);
        assert_eq!(Scores::mean(&[]), None);
    }
}
