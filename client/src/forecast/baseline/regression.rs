//! Linear regression on what is known in advance: weekday, holidays, price, promotion, season of the year.
//!
//! Ridge (Hoerl and Kennard 1970) on standardised columns, the intercept free of the penalty; older steps count less. The
//! penalty is the one of four with the smallest weighted leave-one-out error, which has a closed form (Hastie, Tibshirani
//! and Friedman, "The Elements of Statistical Learning", 7.10). Quantiles: the mean plus the weighted quantiles of the
//! leave-one-out residuals. Only observed steps teach. Left out: lags of the target, products of columns.

use super::{Baseline, Fitted, Future, History, quantile};
use crate::{
    data::{
        calendar::{WEEKDAY_COS, WEEKDAY_SIN, YEAR_SIN},
        series::KNOWN_CHANNELS,
    },
    forecast::metrics::LEVELS_LEN,
};

/// Penalties tried.
const STRENGTHS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];
/// Steps after which a step counts half: eight weeks of days, or half a year of weeks.
const HALF_LIFE: [f64; 2] = [56.0, 26.0];
/// Steps from which on the season of the year is learnt; with less, its phases are a trend in disguise.
const YEAR: [usize; 2] = [365, 52];
/// Fewest observed steps.
const STEPS_MIN: [usize; 2] = [28, 16];

/// The method.
pub(super) struct Regression;

struct Linear {
    design: Design,
    ridge: Ridge,
    errors: [f64; LEVELS_LEN],
}

/// Which columns a row has.
#[derive(Clone, Copy)]
struct Design {
    season: usize,
    /// Whether the past is long enough for the phases of the year.
    year: bool,
}

impl Design {
    /// Columns of a step `ahead` of the cut (negative: before it).
    fn row(self, ahead: i64, known: &[f32; KNOWN_CHANNELS]) -> Vec<f64> {
        let phase = ahead.rem_euclid(self.season as i64);
        let weekdays = (1..self.season as i64).map(|day| f64::from(u8::from(phase == day)));
        let channels = known.iter().enumerate().filter_map(|(channel, value)| match channel {
            WEEKDAY_SIN | WEEKDAY_COS => None,
            YEAR_SIN.. if !self.year => None,
            _ => Some(f64::from(*value)),
        });
        weekdays.chain(channels).collect()
    }
}

impl Baseline for Regression {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let weekly = usize::from(history.season() == 1);
        let observed: Vec<_> = history.observed().collect();
        let oldest = observed.first()?.0;
        if observed.len() < STEPS_MIN[weekly] {
            return None;
        }
        let design = Design { season: history.season(), year: oldest >= YEAR[weekly] };
        let rows: Vec<Vec<f64>> =
            observed.iter().map(|(age, _, known)| design.row(-(*age as i64) - 1, known)).collect();
        let y: Vec<f64> = observed.iter().map(|(_, y, _)| *y).collect();
        let weights: Vec<f64> =
            observed.iter().map(|(age, _, _)| 0.5_f64.powf(*age as f64 / HALF_LIFE[weekly])).collect();
        let (_, ridge, residuals) = STRENGTHS
            .iter()
            .filter_map(|strength| {
                let ridge = Ridge::fit(&rows, &y, &weights, *strength)?;
                let residuals = ridge.left_out(&rows, &y, &weights);
                let error: f64 = residuals.iter().zip(&weights).map(|(r, w)| w * r * r).sum();
                error.is_finite().then_some((error, ridge, residuals))
            })
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        let errors = quantile::weighted(residuals.into_iter().zip(weights).collect());
        Some(Box::new(Linear { design, ridge, errors }))
    }
}

impl Fitted for Linear {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        (0..future.horizon)
            .map(|step| {
                let known = future.known.get(step).copied().unwrap_or([0.0; KNOWN_CHANNELS]);
                let mean = self.ridge.value(&self.design.row(step as i64, &known));
                self.errors.map(|error| (mean + error) as f32)
            })
            .collect()
    }
}

/// A weighted ridge regression.
struct Ridge {
    mean: f64,
    centre: Vec<f64>,
    /// 0 for a column that never changes: it takes no part.
    scale: Vec<f64>,
    coefficients: Vec<f64>,
    /// (ZᵀWZ + λI)⁻¹, `[columns][columns]`.
    inverse: Vec<Vec<f64>>,
    weight: f64,
}

impl Ridge {
    fn fit(rows: &[Vec<f64>], y: &[f64], weights: &[f64], strength: f64) -> Option<Self> {
        let columns = rows.first()?.len();
        let weight: f64 = weights.iter().sum();
        let average =
            |value: &dyn Fn(usize) -> f64| weights.iter().enumerate().map(|(i, w)| w * value(i)).sum::<f64>() / weight;
        let mean = average(&|i| y[i]);
        let centre: Vec<f64> = (0..columns).map(|c| average(&|i| rows[i][c])).collect();
        let scale = (0..columns)
            .map(|c| {
                let deviation = average(&|i| (rows[i][c] - centre[c]).powi(2)).sqrt();
                if deviation > 1e-9 { 1.0 / deviation } else { 0.0 }
            })
            .collect();
        let mut ridge = Self { mean, centre, scale, coefficients: Vec::new(), inverse: Vec::new(), weight };
        let mut gram = vec![vec![0.0; columns]; columns];
        let mut moments = vec![0.0; columns];
        for ((row, y), w) in rows.iter().zip(y).zip(weights) {
            let z = ridge.standard(row);
            for (c, zc) in z.iter().enumerate() {
                moments[c] += w * zc * (y - mean);
                for (entry, zd) in gram[c].iter_mut().zip(&z) {
                    *entry += w * zc * zd;
                }
            }
        }
        for (c, row) in gram.iter_mut().enumerate() {
            row[c] += strength;
        }
        ridge.inverse = inverse(&gram)?;
        ridge.coefficients = ridge.inverse.iter().map(|row| dot(row, &moments)).collect();
        Some(ridge)
    }

    fn standard(&self, row: &[f64]) -> Vec<f64> {
        row.iter().zip(&self.centre).zip(&self.scale).map(|((x, centre), scale)| (x - centre) * scale).collect()
    }

    fn value(&self, row: &[f64]) -> f64 {
        self.mean + dot(&self.standard(row), &self.coefficients)
    }

    /// What each row's residual would be, had it been left out (weights and standardisation kept).
    fn left_out(&self, rows: &[Vec<f64>], y: &[f64], weights: &[f64]) -> Vec<f64> {
        rows.iter()
            .zip(y)
            .zip(weights)
            .map(|((row, y), w)| {
                let z = self.standard(row);
                let leverage: f64 = self.inverse.iter().zip(&z).map(|(row, zc)| zc * dot(row, &z)).sum();
                let own = w * (1.0 / self.weight + leverage);
                (y - self.value(row)) / (1.0 - own).max(0.05)
            })
            .collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Inverse of a symmetric positive definite matrix, by Gauss and Jordan; `None` where it is not.
fn inverse(matrix: &[Vec<f64>]) -> Option<Vec<Vec<f64>>> {
    let n = matrix.len();
    let mut left = matrix.to_vec();
    let mut right: Vec<Vec<f64>> = (0..n).map(|i| (0..n).map(|j| f64::from(u8::from(i == j))).collect()).collect();
    for i in 0..n {
        let pivot = left[i][i];
        if !(pivot.is_finite() && pivot > 0.0) {
            return None;
        }
        for entry in left[i].iter_mut().chain(&mut right[i]) {
            *entry /= pivot;
        }
        let (pivot_left, pivot_right) = (left[i].clone(), right[i].clone());
        for j in (0..n).filter(|j| *j != i) {
            let factor = left[j][i];
            for (entry, pivot) in left[j].iter_mut().zip(&pivot_left).chain(right[j].iter_mut().zip(&pivot_right)) {
                *entry -= factor * pivot;
            }
        }
    }
    Some(right)
}

#[cfg(test)]
mod tests {
    use super::{super::peer_series, *};

    fn weekly() -> (Vec<Vec<f64>>, Vec<f64>, Vec<f64>) {
        let rows = (0..112_i32)
            .map(|t| (1..7).map(|d| f64::from(t % 7 == d)).chain([f64::from(t % 28 < 3)]).collect())
            .collect();
        let weights = (0..112).map(|t| 0.5_f64.powf((111.0 - f64::from(t)) / 56.0)).collect();
        (rows, peer_series::weekly(), weights)
    }

    #[test]
    fn fitted_values_agree_with_numpy() {
        let (rows, y, weights) = weekly();
        let ridge = Ridge::fit(&rows, &y, &weights, 1.0).unwrap();
        let expected = [51.212_809_7, 52.926_466_4, 53.885_034_5, 55.055_017, 59.139_880_8, 71.553_945_1, 65.754_651_4];
        for (row, expected) in rows.iter().zip(expected) {
            assert!((ridge.value(row) - expected).abs() < 1e-6, "{} {expected}", ridge.value(row));
        }
    }

    #[test]
    fn the_closed_form_of_leaving_one_out_is_what_leaving_it_out_gives() {
        // With all weights equal and columns fixed, the closed form is exact but for the moved standardisation.
        let (rows, y, _) = weekly();
        let weights = vec![1.0; y.len()];
        let whole = Ridge::fit(&rows, &y, &weights, 1.0).unwrap().left_out(&rows, &y, &weights);
        for left in [0, 40, 111] {
            let mut without = weights.clone();
            without[left] = 0.0;
            let ridge = Ridge::fit(&rows, &y, &without, 1.0).unwrap();
            let residual = y[left] - ridge.value(&rows[left]);
            assert!((residual - whole[left]).abs() < 0.02, "{residual} {}", whole[left]);
        }
    }

    #[test]
    fn a_column_that_never_changes_takes_no_part() {
        let rows: Vec<Vec<f64>> = (0..30).map(|t| vec![f64::from(t % 2), 5.0]).collect();
        let y: Vec<f64> = (0..30).map(|t| 3.0 + f64::from(t % 2)).collect();
        let ridge = Ridge::fit(&rows, &y, &[1.0; 30], 1e-6).unwrap();
        assert_eq!(ridge.coefficients[1], 0.0);
        assert!((ridge.value(&[1.0, 9.0]) - 4.0).abs() < 1e-6);
    }
}
