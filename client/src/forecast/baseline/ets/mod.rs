//! Exponential smoothing as a state space model, chosen by AICc (Hyndman, Koehler, Snyder and Grose 2002,
//! International Journal of Forecasting 18; Hyndman, Koehler, Ord and Snyder 2008, "Forecasting with Exponential
//! Smoothing").
//!
//! Error additive or multiplicative; trend none, additive or damped; season none, additive or multiplicative. Additive
//! errors with a multiplicative season are left out (unstable), and so are multiplicative trends, as statsforecast leaves
//! them out. Values that are not all positive allow additive models only. Smoothing constants and first states maximise
//! the likelihood together.
//!
//! Additive models have the variance of section 6.3; models with a multiplicative error or season simulate 2,000 paths with
//! a fixed seed, so that the same past gives the same forecast.

mod model;
mod variance;

use super::{Baseline, Fitted, Future, History, decompose::Season};
use crate::forecast::metrics::LEVELS_LEN;
use model::{Error, Fit, Form, Trend};

/// The method.
pub(super) struct AutoEts;

impl Baseline for AutoEts {
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>> {
        let fit = choose(history.filled(), history.season())?;
        Some(Box::new(fit))
    }
}

impl Fitted for Fit {
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]> {
        variance::quantiles(self, future.horizon)
    }
}

/// Fewest values for any model.
const STEPS_MIN: usize = 8;

/// The model with the smallest AICc; `None` where none can be fitted.
fn choose(y: &[f64], m: usize) -> Option<Fit> {
    if y.len() < STEPS_MIN {
        return None;
    }
    let first = y[0];
    if y.iter().all(|y| (y - first).abs() <= 1e-9 * first.abs()) {
        return Fit::of(Form { error: Error::Additive, trend: Trend::None, season: None }, y, 1);
    }
    forms(y, m).filter_map(|form| Fit::of(form, y, m)).min_by(|a, b| a.aicc.total_cmp(&b.aicc))
}

/// The models that these values allow.
fn forms(y: &[f64], m: usize) -> impl Iterator<Item = Form> {
    let positive = y.iter().all(|y| *y > 0.0);
    let seasonal = m > 1 && y.len() > 2 * m;
    let errors = if positive { &[Error::Additive, Error::Multiplicative][..] } else { &[Error::Additive] };
    errors.iter().flat_map(move |&error| {
        [Trend::None, Trend::Additive, Trend::Damped].into_iter().flat_map(move |trend| {
            [None, Some(Season::Additive), Some(Season::Multiplicative)]
                .into_iter()
                .filter(move |season| season.is_none() || seasonal)
                .filter(move |season| *season != Some(Season::Multiplicative) || error == Error::Multiplicative)
                .map(move |season| Form { error, trend, season })
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{super::peer_series, *};

    fn form(error: Error, trend: Trend, season: Option<Season>) -> Form {
        Form { error, trend, season }
    }

    /// Model, AICc, σ², mean of the first and of the last of ten steps, 0.9 quantile of both; by statsforecast.
    struct Peer(Form, f64, f64, [f64; 2], [f64; 2]);

    /// AICc is theirs or better, by little; variance and forecast are near theirs.
    fn agrees(y: &[f64], m: usize, peer: &Peer) {
        let Peer(form, aicc, sigma2, means, highs) = peer;
        let fit = Fit::of(*form, y, m).unwrap();
        assert!((aicc - 0.5..aicc + 0.02).contains(&fit.aicc), "{form:?}: {} {aicc}", fit.aicc);
        assert!((fit.variance / sigma2 - 1.0).abs() < 0.03, "{form:?}: {} {sigma2}", fit.variance);
        let quantiles = variance::quantiles(&fit, 10);
        for (step, mean, high) in [(0, means[0], highs[0]), (9, means[1], highs[1])] {
            let [middle, top] = [4, 8].map(|level| f64::from(quantiles[step][level]));
            assert!((middle / mean - 1.0).abs() < 0.012, "{form:?} {step}: {middle} {mean}");
            assert!((top / high - 1.0).abs() < 0.02, "{form:?} {step}: {top} {high}");
        }
    }

    #[test]
    fn models_without_a_season_agree_with_statsforecast() {
        let y = peer_series::autoregressive();
        use Error::{Additive, Multiplicative};
        for peer in [
            Peer(
                form(Additive, Trend::None, None),
                770.789_435,
                5.042_646,
                [44.836_076_7; 2],
                [47.713_908, 51.759_910_3],
            ),
            Peer(
                form(Additive, Trend::Additive, None),
                775.085_712,
                5.130_124,
                [44.795_117_7, 44.543_706],
                [47.697_803_4, 51.514_986_5],
            ),
            Peer(
                form(Additive, Trend::Damped, None),
                777.300_325,
                5.175_418,
                [44.832_820_4, 44.833_482_2],
                [47.748_292, 51.829_469_5],
            ),
            Peer(
                form(Multiplicative, Trend::None, None),
                770.719_972,
                0.002_037,
                [44.824_139_7; 2],
                [47.416_633_2, 51.007_176_5],
            ),
        ] {
            agrees(&y, 1, &peer);
        }
    }

    #[test]
    fn models_with_a_season_agree_with_statsforecast() {
        let y = peer_series::weekly();
        use Error::{Additive, Multiplicative};
        for peer in [
            Peer(
                form(Additive, Trend::None, Some(Season::Additive)),
                795.970_367,
                9.911_919,
                [53.857_847_2, 57.196_307_7],
                [57.892_650_1, 61.543_369_4],
            ),
            Peer(
                form(Additive, Trend::Additive, Some(Season::Additive)),
                785.223_463,
                8.787_934,
                [55.200_499_5, 59.367_573_2],
                [58.999_591_8, 63.166_718_2],
            ),
            Peer(
                form(Multiplicative, Trend::None, Some(Season::Multiplicative)),
                802.046_167,
                0.003_293,
                [53.248_513_6, 56.888_554_9],
                [57.164_692_2, 61.182_004_5],
            ),
            Peer(
                form(Multiplicative, Trend::Additive, Some(Season::Additive)),
                787.882_128,
                0.002_773,
                [55.332_115_4, 59.389_352_9],
                [59.066_440_1, 63.397_499_6],
            ),
        ] {
            agrees(&y, 7, &peer);
        }
    }

    #[test]
    fn the_choice_is_statsforecast_s() {
        let chosen = |y: &[f64], m| choose(y, m).unwrap().form;
        let additive = form(Error::Additive, Trend::Additive, Some(Season::Additive));
        assert_eq!(chosen(&peer_series::weekly(), 7), additive);
        assert_eq!(chosen(&peer_series::autoregressive(), 1), form(Error::Multiplicative, Trend::None, None));
        assert_eq!(chosen(&peer_series::intermittent(), 7), form(Error::Additive, Trend::None, None));
    }

    #[test]
    fn values_that_are_not_positive_allow_additive_models_only() {
        let additive = |y: &[f64]| forms(y, 7).all(|form| form.error == Error::Additive);
        assert!(additive(&peer_series::intermittent()));
        assert!(!additive(&peer_series::weekly()));
    }
}
