//! The standard theta method (Assimakopoulos and Nikolopoulos 2000, International Journal of Forecasting 16): simple
//! exponential smoothing with half the slope of the regression line as drift.
//!
//! θ = 2 is not optimised; α and the first level minimise the squared one-step errors of the whole forecast function, as
//! in the model of Fiorucci et al. 2016 (ibid. 32, "STM"). Series whose autocorrelation at the seasonal lag is
//! significant (90 %) are adjusted by classical decomposition first: multiplicatively where all values are positive.

use super::{
    Baseline, Fitted, Future, History,
    decompose::{Season, indices},
    quantile, simplex,
};
use crate::forecast::metrics::LEVELS_LEN;

/// Bounds of the smoothing constant.
const ALPHA: std::ops::RangeInclusive<f64> = 0.1..=0.99;
/// Fewest values: a line and a level need some.
const STEPS_MIN: usize = 8;

/// The method.
pub(super) struct Theta;

/// A fitted forecast function.
struct Line {
    alpha: f64,
    level: f64,
    /// Of the regression line a + b t, t from 1.
    intercept: f64,
    slope: f64,
    steps: usize,
    deviation: f64,
    season: Option<(Season, Vec<f64>)>,
}

impl Baseline for Theta {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let line = Line::fit(history.filled(), history.season())?;
        Some(Box::new(line))
    }
}

impl Line {
    fn fit(y: &[f64], m: usize) -> Option<Self> {
        if y.len() < STEPS_MIN {
            return None;
        }
        let kind = if y.iter().all(|y| *y > 0.0) { Season::Multiplicative } else { Season::Additive };
        let season = if is_seasonal(y, m) { indices(y, m, kind) } else { None };
        // An index of nearly 0 would blow its weekday up.
        let season = season.filter(|found| kind == Season::Additive || found.iter().all(|index| *index > 0.01));
        let mut adjusted = y.to_vec();
        if let Some(indices) = &season {
            for (step, y) in adjusted.iter_mut().enumerate() {
                match kind {
                    Season::Additive => *y -= indices[step % m],
                    Season::Multiplicative => *y /= indices[step % m],
                }
            }
        }
        let (intercept, slope) = regression(&adjusted);
        let mut line = Self {
            alpha: 0.5,
            level: adjusted[0] / 2.0,
            intercept,
            slope,
            steps: 0,
            deviation: 0.0,
            season: season.map(|indices| (kind, indices)),
        };
        let start = [line.level, line.alpha];
        let spread = adjusted[0].abs().max(1.0) * 0.1;
        let (best, _) = simplex::minimise(&start, &[spread, 0.2], 800, |at| {
            if !ALPHA.contains(&at[1]) {
                return f64::INFINITY;
            }
            line.errors(at[0], at[1], &adjusted).map(|(error, _)| error * error).sum()
        });
        (line.alpha, line.steps) = (best[1], adjusted.len());
        let errors: Vec<(f64, f64)> = line.errors(best[0], best[1], &adjusted).collect();
        line.level = errors.last()?.1;
        // The first errors are those of a level that was guessed.
        let later = &errors[3..];
        let mean = later.iter().map(|(error, _)| error).sum::<f64>() / later.len() as f64;
        let squares: f64 = later.iter().map(|(error, _)| (error - mean) * (error - mean)).sum();
        line.deviation = (squares / (later.len() - 1) as f64).sqrt();
        Some(line)
    }

    /// One-step errors, each with the level after it.
    fn errors<'a>(&'a self, level: f64, alpha: f64, y: &'a [f64]) -> impl Iterator<Item = (f64, f64)> + 'a {
        y.iter().enumerate().scan((level, 1.0), move |(level, decay), (_, y)| {
            let error = y - (*level + self.drift(alpha, *decay));
            *level = alpha * y + (1.0 - alpha) * *level;
            *decay *= 1.0 - alpha;
            Some((error, *level))
        })
    }

    /// Half of the line's part in a forecast; `decay` is (1 − α)^(t − 1).
    fn drift(&self, alpha: f64, decay: f64) -> f64 {
        0.5 * (self.intercept * decay + self.slope * (1.0 - decay * (1.0 - alpha)) / alpha)
    }

    /// Means of the steps after the past, in the units of the series.
    fn means(&self, horizon: usize) -> Vec<f64> {
        let (mut level, mut decay) = (self.level, (1.0 - self.alpha).powi(self.steps as i32));
        (0..horizon)
            .map(|step| {
                let mean = level + self.drift(self.alpha, decay);
                level = self.alpha * mean + (1.0 - self.alpha) * level;
                decay *= 1.0 - self.alpha;
                self.seasonal(mean, step)
            })
            .collect()
    }

    fn seasonal(&self, value: f64, step: usize) -> f64 {
        match &self.season {
            None => value,
            Some((Season::Additive, indices)) => value + indices[(self.steps + step) % indices.len()],
            Some((Season::Multiplicative, indices)) => value * indices[(self.steps + step) % indices.len()],
        }
    }
}

impl Fitted for Line {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        let means = self.means(future.horizon).into_iter().enumerate();
        means
            .map(|(step, mean)| {
                // Variance of exponential smoothing, scaled like the level on that weekday.
                let scale = match &self.season {
                    Some((Season::Multiplicative, indices)) => indices[(self.steps + step) % indices.len()],
                    _ => 1.0,
                };
                let deviation = self.deviation * (1.0 + step as f64 * self.alpha * self.alpha).sqrt();
                quantile::normal(mean, scale * deviation)
            })
            .collect()
    }
}

/// Whether the autocorrelation at lag m leaves its 90 % limits.
fn is_seasonal(y: &[f64], m: usize) -> bool {
    if m < 2 || y.len() < 2 * m {
        return false;
    }
    let mean = y.iter().sum::<f64>() / y.len() as f64;
    let product = |lag: usize| -> f64 { y.iter().zip(&y[lag..]).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    let whole = product(0);
    let correlations: Vec<f64> = (1..=m).map(|lag| product(lag) / whole).collect();
    let squares: f64 = correlations[..m - 1].iter().map(|r| r * r).sum();
    correlations[m - 1].abs() / ((1.0 + 2.0 * squares) / y.len() as f64).sqrt() > 1.645
}

/// Intercept and slope of the least-squares line over t = 1, 2, …
fn regression(y: &[f64]) -> (f64, f64) {
    let n = y.len() as f64;
    let (time, mean) = ((n + 1.0) / 2.0, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (step, y) in y.iter().enumerate() {
        let t = step as f64 + 1.0 - time;
        xy += t * (y - mean);
        xx += t * t;
    }
    let slope = xy / xx;
    (mean - slope * time, slope)
}

#[cfg(test)]
mod tests {
    use super::{super::peer_series, *};

    fn agree(means: &[f64], expected: &[f64], tolerance: f64) {
        for (mean, expected) in means.iter().zip(expected) {
            assert!((mean / expected - 1.0).abs() < tolerance, "{means:?}\n{expected:?}");
        }
    }

    #[test]
    fn means_agree_with_statsforecast() {
        let weekly = Line::fit(&peer_series::weekly(), 7).unwrap().means(10);
        let expected = [
            53.520_530_9,
            55.702_556_9,
            57.355_587_4,
            58.723_871_7,
            63.271_611,
            75.696_902_3,
            69.892_179_8,
            53.812_709_2,
            56.006_410_3,
            57.668_214_3,
        ];
        agree(&weekly, &expected, 1e-3);
        let plain = Line::fit(&peer_series::autoregressive(), 1).unwrap().means(10);
        let expected = [
            44.850_157_9,
            44.849_723_8,
            44.849_289_8,
            44.848_855_7,
            44.848_421_6,
            44.847_987_6,
            44.847_553_5,
            44.847_119_5,
            44.846_685_4,
            44.846_251_3,
        ];
        agree(&plain, &expected, 1e-3);
    }

    #[test]
    fn a_line_goes_on_with_half_of_its_slope_at_least() {
        let y: Vec<f64> = (0..60).map(|t| 100.0 + 2.0 * f64::from(t)).collect();
        let means = Line::fit(&y, 7).unwrap().means(10);
        assert!(means[9] > means[0] + 8.9 && means[9] < means[0] + 18.1, "{means:?}");
    }
}
