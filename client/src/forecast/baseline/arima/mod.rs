//! Seasonal ARIMA with orders chosen stepwise (Hyndman and Khandakar 2008, "Automatic time series forecasting: the
//! forecast package for R", Journal of Statistical Software 27(3)).
//!
//! One seasonal difference where the season's strength exceeds 0.64, then up to two differences while the KPSS test
//! rejects a level (5 %); then a walk over the orders p, q ≤ 5 and P, Q ≤ 2 and the constant, from four models on, towards the
//! smallest AICc. Models with a root of modulus below 1.01 are not taken.
//!
//! Models are estimated by the conditional sum of squares, the walk's and the chosen one, where the paper estimates the
//! chosen one anew by exact likelihood. Left out: that, regressors, transformations.

mod model;

use std::collections::BTreeSet;

use super::{
    Baseline, Fitted, Future, History,
    decompose::{strength, variance},
};
use crate::forecast::metrics::LEVELS_LEN;
use model::{Fit, Order};

/// The method.
pub(super) struct AutoArima;

impl Baseline for AutoArima {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let fit = choose(history.filled(), history.season())?;
        Some(Box::new(fit))
    }
}

impl Fitted for Fit {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        self.forecast(future.horizon)
    }
}

/// Fewest values for any model.
const STEPS_MIN: usize = 10;
/// Strength of the season from which on it is differenced away.
const STRENGTH: f64 = 0.64;
/// Critical value of the KPSS test of a level at 5 % (Kwiatkowski et al. 1992, table 1).
const KPSS_5_PERCENT: f64 = 0.463;
/// Models looked at, at most.
const MODELS_MAX: usize = 94;

/// The model at which the walk ends; `None` where none can be fitted.
fn choose(y: &[f64], m: usize) -> Option<Fit> {
    if y.len() < STEPS_MIN {
        return None;
    }
    let (d, seasonal_d) = differences(y, m);
    let base = Order { p: 0, d, q: 0, seasonal_p: 0, seasonal_d, seasonal_q: 0, m, constant: d + seasonal_d < 2 };
    if variance(&base.differenced(y)) < 1e-12 {
        return Fit::of(base, y);
    }
    Walk::new(y, base).run()
}

/// Differences and seasonal differences that make the values stationary.
fn differences(y: &[f64], m: usize) -> (usize, usize) {
    let seasonal = usize::from(m > 1 && y.len() >= 3 * m && strength(y, m) > STRENGTH);
    let mut w = if seasonal == 1 { difference(y, m) } else { y.to_vec() };
    let mut d = 0;
    while d < 2 && variance(&w) > 1e-12 && kpss(&w) > KPSS_5_PERCENT {
        d += 1;
        w = difference(&w, 1);
    }
    (d, seasonal)
}

fn difference(y: &[f64], lag: usize) -> Vec<f64> {
    y.iter().zip(y.get(lag..).unwrap_or_default()).map(|(earlier, later)| later - earlier).collect()
}

/// Statistic of the KPSS test of a level, with a Bartlett kernel of ⌊3 √n / 13⌋ lags.
fn kpss(y: &[f64]) -> f64 {
    let n = y.len() as f64;
    let mean = y.iter().sum::<f64>() / n;
    let centred: Vec<f64> = y.iter().map(|y| y - mean).collect();
    let (mut sum, mut squares) = (0.0, 0.0);
    for value in &centred {
        sum += value;
        squares += sum * sum;
    }
    let product = |lag: usize| -> f64 { centred.iter().zip(&centred[lag..]).map(|(a, b)| a * b).sum() };
    let lags = (3.0 * n.sqrt() / 13.0).floor() as usize;
    let long_run =
        product(0) + 2.0 * (1..=lags).map(|lag| (1.0 - lag as f64 / (lags as f64 + 1.0)) * product(lag)).sum::<f64>();
    squares / (n * long_run)
}

/// The stepwise search.
struct Walk<'a> {
    y: &'a [f64],
    base: Order,
    tried: BTreeSet<Order>,
    best: Option<Fit>,
}

impl<'a> Walk<'a> {
    fn new(y: &'a [f64], base: Order) -> Self {
        Self { y, base, tried: BTreeSet::new(), best: None }
    }

    fn run(mut self) -> Option<Fit> {
        for [p, q, seasonal_p, seasonal_q] in [[2, 2, 1, 1], [0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 1]] {
            let seasonal = usize::from(self.base.m > 1);
            let (seasonal_p, seasonal_q) = (seasonal * seasonal_p, seasonal * seasonal_q);
            self.look_at(Order { p, q, seasonal_p, seasonal_q, ..self.base });
        }
        self.look_at(Order { constant: false, ..self.base });
        while let Some(here) = self.best.as_ref().map(|fit| fit.order) {
            if !self.neighbours(here).into_iter().any(|order| self.look_at(order)) {
                break;
            }
        }
        self.best
    }

    /// Whether a model not yet seen is better than the best.
    fn look_at(&mut self, order: Order) -> bool {
        if self.tried.len() >= MODELS_MAX || !self.allows(order) || !self.tried.insert(order) {
            return false;
        }
        let Some(fit) = Fit::of(order, self.y) else { return false };
        let better = self.best.as_ref().is_none_or(|best| fit.aicc < best.aicc);
        if better {
            self.best = Some(fit);
        }
        better
    }

    fn allows(&self, order: Order) -> bool {
        let third = self.y.len() / 3;
        let most = 5.min(third);
        let seasonal_most = if order.m > 1 { 2.min(third / order.m) } else { 0 };
        order.p <= most
            && order.q <= most
            && order.seasonal_p <= seasonal_most
            && order.seasonal_q <= seasonal_most
            && (self.base.constant || !order.constant)
    }

    /// Orders one step away, seasonal ones first.
    fn neighbours(&self, here: Order) -> Vec<Order> {
        let steps = [[-1, 0], [0, -1], [1, 0], [0, 1], [-1, -1], [-1, 1], [1, -1], [1, 1]];
        let moved = |a: usize, b: usize, [x, y]: [isize; 2]| Some((a.checked_add_signed(x)?, b.checked_add_signed(y)?));
        let seasonal = steps.iter().filter(|_| here.m > 1).filter_map(|step| {
            let (seasonal_p, seasonal_q) = moved(here.seasonal_p, here.seasonal_q, *step)?;
            Some(Order { seasonal_p, seasonal_q, ..here })
        });
        let plain = steps.iter().filter_map(|step| {
            let (p, q) = moved(here.p, here.q, *step)?;
            Some(Order { p, q, ..here })
        });
        seasonal.chain(plain).chain([Order { constant: !here.constant, ..here }]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::peer_series, *};

    #[test]
    fn differences_are_those_that_statsforecast_takes() {
        assert_eq!(differences(&peer_series::weekly(), 7), (0, 1));
        assert_eq!(differences(&peer_series::intermittent(), 7), (0, 0));
        assert_eq!(differences(&peer_series::autoregressive(), 1), (0, 0));
        let walk: Vec<f64> = peer_series::autoregressive()
            .iter()
            .scan(0.0, |sum, y| {
                *sum += y - 49.0;
                Some(*sum)
            })
            .collect();
        assert_eq!(differences(&walk, 1).0, 1);
    }

    #[test]
    fn the_kpss_statistic_is_statsmodels() {
        // statsmodels.tsa.stattools.kpss(y, "c", nlags=2) of the series of tests/peers/baselines.py
        assert!((kpss(&peer_series::weekly()) - KPSS_WEEKLY).abs() < 1e-6, "{}", kpss(&peer_series::weekly()));
        let found = kpss(&peer_series::autoregressive());
        assert!((found - KPSS_AUTOREGRESSIVE).abs() < 1e-6, "{found}");
    }

    const KPSS_WEEKLY: f64 = 1.289_534_131_988_468_3;
    const KPSS_AUTOREGRESSIVE: f64 = 0.178_440_234_447_966_1;

    #[test]
    fn the_choice_is_as_good_as_statsforecast_s() {
        let chosen = |y: &[f64], m| choose(y, m).unwrap();
        let plain = chosen(&peer_series::autoregressive(), 1);
        assert_eq!((plain.order.p, plain.order.q, plain.order.constant), (1, 0, true));
        // statsforecast's choice for it, (0,0,1) with a mean, or one with a smaller AICc.
        let sparse = peer_series::intermittent();
        let theirs = Order { q: 1, ..chosen(&sparse, 7).order };
        let theirs = Order { p: 0, seasonal_p: 0, seasonal_q: 0, constant: true, ..theirs };
        assert!(chosen(&sparse, 7).aicc <= Fit::of(theirs, &sparse).unwrap().aicc + 1e-6);
        let y = peer_series::weekly();
        let weekly = chosen(&y, 7);
        assert_eq!((weekly.order.d, weekly.order.seasonal_d, weekly.order.constant), (0, 1, true));
        let theirs = Order { p: 0, q: 0, seasonal_p: 0, seasonal_q: 1, ..weekly.order };
        assert!(weekly.aicc <= Fit::of(theirs, &y).unwrap().aicc + 1e-6, "{:?}", weekly.order);
    }
}
