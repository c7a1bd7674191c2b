//! One seasonal ARIMA model: its polynomials, the conditional sum of squares, and forecasts.
//!
//! φ(B) Φ(B^m) (w_t − μ) = θ(B) Θ(B^m) e_t for the differenced values w (Box and Jenkins; Hyndman and Athanasopoulos,
//! "Forecasting: Principles and Practice", 3rd ed., 9.9). The first p + mP errors are taken as 0, and σ² is the mean of the
//! other squares, as R's `arima(method = "CSS")` has it.

use super::super::{decompose::variance, quantile, simplex};
use super::difference;
use crate::forecast::metrics::LEVELS_LEN;

/// Roots of smaller modulus make a model unfit to forecast with.
const ROOT_MIN: f64 = 1.01;

/// Orders (p, d, q)(P, D, Q)\[m\], and whether the differenced values have a mean of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    pub(super) p: usize,
    pub(super) d: usize,
    pub(super) q: usize,
    pub(super) seasonal_p: usize,
    pub(super) seasonal_d: usize,
    pub(super) seasonal_q: usize,
    pub(super) m: usize,
    pub(super) constant: bool,
}

/// A model with the parameters that fit best.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    pub(super) order: Order,
    pub(super) aicc: f64,
    /// Mean of the squared errors, as peers print it.
    #[cfg(test)]
    variance: f64,
    parameters: Vec<f64>,
    /// Squared errors over degrees of freedom.
    adjusted: f64,
    mean: f64,
    y: Vec<f64>,
    errors: Vec<f64>,
}

/// Lags with their coefficients, lag 1 or more.
type Lags = Vec<(usize, f64)>;

impl Order {
    /// Values after all differences.
    pub(super) fn differenced(&self, y: &[f64]) -> Vec<f64> {
        let mut w = y.to_vec();
        for _ in 0..self.seasonal_d {
            w = difference(&w, self.m);
        }
        for _ in 0..self.d {
            w = difference(&w, 1);
        }
        w
    }

    /// Estimated numbers, σ² included.
    fn parameter_count(&self) -> usize {
        self.p + self.q + self.seasonal_p + self.seasonal_q + usize::from(self.constant) + 1
    }

    /// φ, θ, Φ, Θ as slices of the parameters.
    fn split<'a>(&self, at: &'a [f64]) -> [&'a [f64]; 4] {
        let (ar, rest) = at.split_at(self.p);
        let (ma, rest) = rest.split_at(self.q);
        let (seasonal_ar, rest) = rest.split_at(self.seasonal_p);
        [ar, ma, seasonal_ar, &rest[..self.seasonal_q]]
    }

    /// Lags of w and of the errors, with signs so that both are added: w_t = Σ a w + e_t + Σ b e.
    fn lags(&self, at: &[f64]) -> (Lags, Lags) {
        let [ar, ma, seasonal_ar, seasonal_ma] = self.split(at);
        (product(ar, seasonal_ar, self.m, -1.0), product(ma, seasonal_ma, self.m, 1.0))
    }

    /// Whether every polynomial's roots lie beyond modulus `least`.
    fn is_stable(&self, at: &[f64], least: f64) -> bool {
        let [ar, ma, seasonal_ar, seasonal_ma] = self.split(at);
        let negated = |coefficients: &[f64]| coefficients.iter().map(|c| -c).collect::<Vec<_>>();
        let seasonal = least.powi(self.m as i32);
        roots_beyond(ar, least)
            && roots_beyond(&negated(ma), least)
            && roots_beyond(seasonal_ar, seasonal)
            && roots_beyond(&negated(seasonal_ma), seasonal)
    }
}

impl Fit {
    /// Estimates one model; `None` where the values are too few or no such model is fit to forecast.
    pub(super) fn of(order: Order, y: &[f64]) -> Option<Self> {
        let w = order.differenced(y);
        let skipped = order.p + order.m * order.seasonal_p;
        let (n, k) = (w.len(), order.parameter_count());
        if n <= k + 1 || n < skipped + k.max(3) {
            return None;
        }
        let mean = w.iter().sum::<f64>() / n as f64;
        let scale = variance(&w).sqrt();
        if scale <= 1e-9 * (1.0 + mean.abs()) {
            let mean = if order.constant { mean } else { 0.0 };
            let errors = vec![0.0; n];
            let parameters = vec![0.0; k - 1 - usize::from(order.constant)];
            let y = y.to_vec();
            let aicc = f64::NEG_INFINITY;
            return Some(Self {
                order,
                aicc,
                #[cfg(test)]
                variance: 0.0,
                parameters,
                adjusted: 0.0,
                mean,
                y,
                errors,
            });
        }
        // In units of their own spread and centre, so that one step length suits every series.
        let centre = if order.constant { mean } else { 0.0 };
        let standard: Vec<f64> = w.iter().map(|w| (w - centre) / scale).collect();
        let mut errors = vec![0.0; n];
        let mut squares = |at: &[f64]| {
            if !order.is_stable(at, 1.0) {
                return f64::INFINITY;
            }
            let mean = if order.constant { at[at.len() - 1] } else { 0.0 };
            residuals(&standard, mean, &order.lags(at), skipped, &mut errors);
            errors.iter().map(|e| e * e).sum()
        };
        let start = vec![0.0; k - 1];
        let steps = vec![0.2; k - 1];
        let (first, _) = simplex::minimise(&start, &steps, 60 * k, &mut squares);
        let (best, _) = simplex::minimise(&first, &vec![0.05; k - 1], 80 * k, &mut squares);
        if !order.is_stable(&best, ROOT_MIN) {
            return None;
        }
        let sum = squares(&best) * scale * scale;
        let used = n - skipped;
        let variance = sum / used as f64;
        let (n, k) = (n as f64, k as f64);
        let aicc = n * variance.max(1e-300).ln() + 2.0 * k * n / (n - k - 1.0);
        let shift = if order.constant { best[best.len() - 1] * scale } else { 0.0 };
        Some(Self {
            order,
            aicc,
            #[cfg(test)]
            variance,
            parameters: best,
            adjusted: sum / (used as f64 - k + 1.0).max(1.0),
            mean: centre + shift,
            y: y.to_vec(),
            errors: errors.iter().map(|e| e * scale).collect(),
        })
    }

    /// Quantiles of the next steps: normal, with the variance of the ψ weights.
    pub(super) fn forecast(&self, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
        let deviations = self.deviations(horizon);
        let means = self.means(horizon);
        means.iter().zip(deviations).map(|(mean, deviation)| quantile::normal(*mean, deviation)).collect()
    }

    /// Lags of y itself, differences included, lags of the errors, and the constant beside them.
    fn undifferenced(&self) -> (Lags, Lags, f64) {
        let (ar, ma) = self.order.lags(&self.parameters);
        let constant = self.mean * (1.0 - ar.iter().map(|(_, a)| a).sum::<f64>());
        let mut polynomial = vec![1.0];
        for (lag, a) in &ar {
            if polynomial.len() <= *lag {
                polynomial.resize(lag + 1, 0.0);
            }
            polynomial[*lag] -= a;
        }
        let lags = std::iter::repeat_n(1, self.order.d).chain(std::iter::repeat_n(self.order.m, self.order.seasonal_d));
        for lag in lags {
            let mut longer = polynomial.clone();
            longer.resize(polynomial.len() + lag, 0.0);
            for (i, c) in polynomial.iter().enumerate() {
                longer[i + lag] -= c;
            }
            polynomial = longer;
        }
        let own = polynomial.iter().enumerate().skip(1).filter(|(_, c)| **c != 0.0).map(|(lag, c)| (lag, -c)).collect();
        (own, ma, constant)
    }

    fn means(&self, horizon: usize) -> Vec<f64> {
        let (own, ma, constant) = self.undifferenced();
        let (mut y, n) = (self.y.clone(), self.y.len());
        for step in 0..horizon {
            let past: f64 = own.iter().filter_map(|(lag, a)| Some(a * y.get((n + step).checked_sub(*lag)?)?)).sum();
            let late: f64 = ma
                .iter()
                .filter_map(|(lag, b)| Some(b * self.errors.get((self.errors.len() + step).checked_sub(*lag)?)?))
                .sum();
            y.push(constant + past + late);
        }
        y.split_off(n)
    }

    fn deviations(&self, horizon: usize) -> Vec<f64> {
        let (own, ma, _) = self.undifferenced();
        let mut psi: Vec<f64> = Vec::with_capacity(horizon);
        let mut sum = 0.0;
        (0..horizon)
            .map(|k| {
                let direct = if k == 0 { 1.0 } else { ma.iter().filter(|(lag, _)| *lag == k).map(|(_, b)| b).sum() };
                let carried: f64 = own.iter().filter_map(|(lag, a)| Some(a * psi.get(k.checked_sub(*lag)?)?)).sum();
                psi.push(direct + carried);
                sum += psi[k] * psi[k];
                (self.adjusted * sum).sqrt()
            })
            .collect()
    }
}

/// (1 + s Σ c_i B^i)(1 + s Σ C_j B^(mj)) − 1, times s: with s = −1 the lags of an autoregression, with 1 those of a moving
/// average.
fn product(plain: &[f64], seasonal: &[f64], m: usize, sign: f64) -> Lags {
    let mut lags = Vec::with_capacity((plain.len() + 1) * (seasonal.len() + 1));
    for (j, outer) in std::iter::once(&1.0).chain(seasonal).enumerate() {
        let outer = if j == 0 { 1.0 } else { sign * outer };
        for (i, inner) in std::iter::once(&1.0).chain(plain).enumerate() {
            let inner = if i == 0 { 1.0 } else { sign * inner };
            if i + j > 0 {
                lags.push((i + m * j, sign * outer * inner));
            }
        }
    }
    lags
}

/// Errors of the recursion; the first `skipped` are 0.
fn residuals(w: &[f64], mean: f64, (ar, ma): &(Lags, Lags), skipped: usize, errors: &mut [f64]) {
    errors[..skipped].fill(0.0);
    for t in skipped..w.len() {
        let mut error = w[t] - mean;
        for (lag, a) in ar {
            error -= a * (w[t - lag] - mean);
        }
        for (lag, b) in ma {
            if *lag <= t {
                error -= b * errors[t - lag];
            }
        }
        errors[t] = error;
    }
}

/// Whether all roots of 1 − Σ c_i z^i have a modulus above `least`: the step-down recursion on the coefficients of
/// 1 − Σ c_i leastⁱ zⁱ finds partial autocorrelations below 1 only (Barndorff-Nielsen and Schou 1973).
fn roots_beyond(coefficients: &[f64], least: f64) -> bool {
    let mut c: Vec<f64> = coefficients.iter().enumerate().map(|(i, c)| c * least.powi(i as i32 + 1)).collect();
    while let Some(last) = c.pop() {
        // Also where it is no number.
        if last.is_nan() || last.abs() >= 1.0 {
            return false;
        }
        let n = c.len();
        c = (0..n).map(|i| (c[i] + last * c[n - 1 - i]) / (1.0 - last * last)).collect();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::{super::super::peer_series, *};

    const PLAIN: Order = Order { p: 0, d: 0, q: 0, seasonal_p: 0, seasonal_d: 0, seasonal_q: 0, m: 1, constant: true };
    const SEASONAL: Order = Order { m: 7, seasonal_d: 1, constant: false, ..PLAIN };

    fn near(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= tolerance, "{found:?} {expected:?}");
        }
    }

    /// σ² and standard errors of 10 steps without the degrees of freedom, as R and statsforecast have them.
    fn spread(fit: &Fit) -> (f64, Vec<f64>) {
        let unadjusted = (fit.variance / fit.adjusted).sqrt();
        (fit.variance, fit.deviations(10).iter().map(|d| d * unadjusted).collect())
    }

    #[test]
    fn an_autoregression_agrees_with_statsforecast_and_returns_to_its_mean() {
        let y = peer_series::autoregressive();
        let fit = Fit::of(Order { p: 1, ..PLAIN }, &y).unwrap();
        near(&fit.parameters[..1], &[0.617_870_521], 2e-4);
        near(&[fit.mean], &[49.726_044_2], 3e-3);
        let (variance, deviations) = spread(&fit);
        near(&[variance], &[4.143_236], 1e-4);
        near(&[deviations[0], deviations[1], deviations[9]], &[2.035_494, 2.392_692, 2.588_680], 1e-3);
        let means: Vec<f64> = (1..=10).map(|h| fit.mean + fit.parameters[0].powi(h) * (45.25 - fit.mean)).collect();
        near(&fit.means(10), &means, 1e-9);
    }

    #[test]
    fn mixed_and_differenced_models_agree_with_statsforecast() {
        let y = peer_series::autoregressive();
        let mixed = Fit::of(Order { p: 2, q: 1, ..PLAIN }, &y).unwrap();
        assert!(mixed.variance <= 4.147_068 + 1e-4, "{}", mixed.variance);
        let moving = Fit::of(Order { d: 1, q: 1, constant: false, ..PLAIN }, &y).unwrap();
        near(&moving.parameters, &[-0.271_056], 2e-3);
        let (_, deviations) = spread(&moving);
        near(&[deviations[0], deviations[9]], &[2.217_107, 5.331_315], 0.03);
    }

    #[test]
    fn seasonal_models_agree_with_statsforecast() {
        let y = peer_series::weekly();
        let fit = Fit::of(Order { p: 1, q: 1, seasonal_q: 1, ..SEASONAL }, &y).unwrap();
        near(&fit.parameters, &[0.917_394, -0.787_262, -0.735_181], 0.02);
        let (variance, deviations) = spread(&fit);
        near(&[variance], &[12.079_542], 0.01);
        near(
            &[deviations[0], deviations[6], deviations[7], deviations[9]],
            &[3.475_564, 3.593_341, 3.785_264, 3.817_908],
            0.02,
        );
        let drift = Fit::of(Order { p: 1, seasonal_p: 1, constant: true, ..SEASONAL }, &y).unwrap();
        near(&drift.parameters[..2], &[0.049_954, -0.390_453], 3e-3);
        near(&[drift.mean / 7.0], &[0.088_999], 2e-3);
        near(&[spread(&drift).0], &[13.163_56], 0.01);
    }

    #[test]
    fn a_drift_and_a_season_are_carried_on() {
        let y: Vec<f64> = (0..70).map(|t| f64::from(t) + [0., 5., 9., 1., 1., 7., 3.][t as usize % 7]).collect();
        let fit = Fit::of(Order { constant: true, ..SEASONAL }, &y).unwrap();
        let expected: Vec<f64> =
            (70..80).map(|t| f64::from(t) + [0., 5., 9., 1., 1., 7., 3.][t as usize % 7]).collect();
        near(&fit.means(10), &expected, 1e-9);
        assert_eq!(fit.variance, 0.0);
    }

    #[test]
    fn roots_near_the_unit_circle_are_seen() {
        assert!(roots_beyond(&[0.5], 1.01) && roots_beyond(&[], 1.01));
        assert!(!roots_beyond(&[1.0], 1.0) && !roots_beyond(&[0.995], 1.01));
        // 1 − 1.4 z + 0.8 z²: modulus √1.25.
        assert!(roots_beyond(&[1.4, -0.8], 1.1) && !roots_beyond(&[1.4, -0.8], 1.12));
        assert!(!roots_beyond(&[f64::NAN], 1.0));
    }
}
