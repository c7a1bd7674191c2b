//! Croston's method and its two corrections, for products that sell on few days.
//!
//! Croston 1972 ("Forecasting and stock control for intermittent demands", Operational Research Quarterly 23):
//! size of a sale and time between sales are smoothed apart, the forecast is their quotient. SBA (Syntetos and Boylan
//! 2005, International Journal of Forecasting 21) takes off α/2 of it, its bias. TSB (Teunter, Syntetos and Babai 2011,
//! European Journal of Operational Research 214) smooths the probability of a sale at every step instead, and so forgets
//! a product that is no longer sold. Smoothing constants are 0.1 throughout; nothing is optimised.

use super::{Baseline, Fitted, Future, History, quantile};
use crate::forecast::metrics::LEVELS_LEN;

/// Smoothing constant of sizes, intervals and probabilities.
const ALPHA: f64 = 0.1;

/// Which of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Croston,
    Sba,
    Tsb,
}

/// A flat forecast with the quantiles of its past errors.
struct Flat {
    rate: f64,
    errors: [f64; LEVELS_LEN],
}

impl Baseline for Kind {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let (rates, rate) = self.rates(history.filled())?;
        let errors = rates.iter().zip(history.filled()).filter_map(|(rate, y)| Some(y - (*rate)?)).collect();
        Some(Box::new(Flat { rate, errors: quantile::empirical(errors) }))
    }
}

impl Fitted for Flat {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        vec![self.errors.map(|error| (self.rate + error) as f32); future.horizon]
    }
}

impl Kind {
    /// The forecast made before each step (`None` before the first sale) and the one after the last. A past without
    /// a sale is forecast as 0; one with negative values, not at all.
    fn rates(self, y: &[f64]) -> Option<(Vec<Option<f64>>, f64)> {
        if y.is_empty() || y.iter().any(|y| *y < 0.0) {
            return None;
        }
        let (mut size, mut interval): (Option<f64>, Option<f64>) = (None, None);
        // TSB's probability begins with whether the first step had a sale.
        let mut probability = f64::from(y[0] > 0.0);
        let mut since = 0.0;
        let rate = |size: Option<f64>, interval: Option<f64>, probability: f64| match self {
            Self::Croston => Some(size? / interval?),
            Self::Sba => Some((1.0 - ALPHA / 2.0) * size? / interval?),
            Self::Tsb => Some(probability * size?),
        };
        let mut before = Vec::with_capacity(y.len());
        for (step, &y) in y.iter().enumerate() {
            before.push(rate(size, interval, probability));
            since += 1.0;
            if step > 0 {
                probability += ALPHA * (f64::from(y > 0.0) - probability);
            }
            if y > 0.0 {
                size = Some(size.map_or(y, |size| size + ALPHA * (y - size)));
                interval = Some(interval.map_or(since, |interval| interval + ALPHA * (since - interval)));
                since = 0.0;
            }
        }
        Some((before, rate(size, interval, probability).unwrap_or(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::peer_series, *};

    #[test]
    fn rates_agree_with_statsforecast() {
        let y = peer_series::intermittent();
        for (kind, expected) in [(Kind::Croston, 1.067_342_16), (Kind::Sba, 1.013_975_05), (Kind::Tsb, 1.411_386_99)] {
            let (_, rate) = kind.rates(&y).unwrap();
            assert!((rate - expected).abs() < 1e-8, "{kind:?} {rate}");
        }
    }

    #[test]
    fn a_product_that_is_no_longer_sold_is_forgotten_by_tsb_only() {
        let y: Vec<f64> = (0..100).map(|day| if day < 50 && day % 3 == 0 { 4.0 } else { 0.0 }).collect();
        let rate = |kind: Kind| kind.rates(&y).unwrap().1;
        assert!(rate(Kind::Tsb) < 0.02, "{}", rate(Kind::Tsb));
        assert!(rate(Kind::Croston) > 1.0, "{}", rate(Kind::Croston));
    }

    #[test]
    fn no_forecast_uses_the_step_it_is_for() {
        let mut y = peer_series::intermittent();
        for kind in [Kind::Croston, Kind::Sba, Kind::Tsb] {
            let (before, _) = kind.rates(&y).unwrap();
            y[60] += 100.0;
            let (changed, _) = kind.rates(&y).unwrap();
            y[60] -= 100.0;
            assert_eq!(before[..=60], changed[..=60], "{kind:?}");
            assert_ne!(before[61], changed[61], "{kind:?}");
        }
    }
}
