//! Forecasts that need no shared model, each from one series' own past: what the model has to beat.
//!
//! A [`Baseline`] is fitted on a [`History`] and becomes a [`Fitted`], which forecasts nine quantiles a step. A series too
//! short or too odd for a method gives no fit, and [`Method::forecast`] says so while it falls back on the seasonal
//! naive forecast: every method answers every series.
//!
//! Quantiles: naive, theta, ETS and ARIMA take a normal distribution with their model's own variance (ETS with
//! multiplicative errors simulates). Croston, SBA, TSB and the regression state a mean only; theirs are the point
//! forecast plus the empirical quantiles of their own one-step residuals. Where the past has no negative value, no
//! quantile is negative, as in the model's forecasts.
//!
//! ETS and ARIMA are own code: of the crates for Rust, `augurs-ets` knows no seasons, and the others that are kept up
//! bring more than a hundred thousand lines. Held against statsforecast in the tests (`tests/peers/baselines.py`).
//! Left out: trees, prophets, anything that looks at several series at once.

mod arima;
mod decompose;
mod ets;
mod history;
mod intermittent;
mod naive;
mod quantile;
mod regression;
mod simplex;
mod theta;

#[cfg(test)]
mod bad_series_tests;
#[cfg(test)]
mod peer_series;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::metrics::LEVELS_LEN;

pub use history::{Future, History};
pub use naive::{naive, seasonal_naive, window_quantiles};
pub(super) use quantile::weighted as weighted_quantiles;

/// A way to forecast one series from its own past.
pub trait Baseline: Sync {
    /// Learns from a past; `None` where it is too short or too odd for this method.
    fn fit(&self, history: &History<'_>) -> Option<Box<dyn Fitted>>;
}

/// A baseline that has seen a past.
pub trait Fitted {
    /// Quantiles of the steps after the past, `[horizon][9]`.
    fn quantiles(&self, future: &Future<'_>) -> Vec<[f32; LEVELS_LEN]>;
}

/// The baselines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// The last value.
    Naive,
    /// The value one season ago.
    SeasonalNaive,
    /// Quantiles of the same weekday in the last eight weeks, or of the last eight weeks.
    SameWeekday,
    /// Croston 1972.
    Croston,
    /// Syntetos and Boylan 2005.
    Sba,
    /// Teunter, Syntetos and Babai 2011.
    Tsb,
    /// The standard theta method, Assimakopoulos and Nikolopoulos 2000.
    Theta,
    /// Exponential smoothing chosen by AICc, Hyndman et al. 2002.
    AutoEts,
    /// Seasonal ARIMA chosen stepwise, Hyndman and Khandakar 2008.
    AutoArima,
    /// Ridge regression on calendar, price and promotion.
    Regression,
}

/// A word that names no baseline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no baseline `{0}`; there are {names}", names = Method::ALL.map(Method::name).join(", "))]
pub struct MethodError(String);

/// What a method said of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Quantiles, `[horizon][9]`, finite and ascending.
    pub quantiles: Vec<[f32; LEVELS_LEN]>,
    /// Whether the seasonal naive forecast stands in, because the method could not be fitted.
    pub fell_back: bool,
}

impl Method {
    /// Every baseline, the simplest first.
    pub const ALL: [Self; 10] = [
        Self::Naive,
        Self::SeasonalNaive,
        Self::SameWeekday,
        Self::Croston,
        Self::Sba,
        Self::Tsb,
        Self::Theta,
        Self::AutoEts,
        Self::AutoArima,
        Self::Regression,
    ];

    /// Name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::SeasonalNaive => "seasonal-naive",
            Self::SameWeekday => "same-weekday",
            Self::Croston => "croston",
            Self::Sba => "sba",
            Self::Tsb => "tsb",
            Self::Theta => "theta",
            Self::AutoEts => "auto-ets",
            Self::AutoArima => "auto-arima",
            Self::Regression => "regression",
        }
    }

    /// The method itself.
    pub fn baseline(self) -> &'static dyn Baseline {
        match self {
            Self::Naive => &naive::Naive,
            Self::SeasonalNaive => &naive::SeasonalNaive,
            Self::SameWeekday => &naive::SameWeekday,
            Self::Croston => &intermittent::Kind::Croston,
            Self::Sba => &intermittent::Kind::Sba,
            Self::Tsb => &intermittent::Kind::Tsb,
            Self::Theta => &theta::Theta,
            Self::AutoEts => &ets::AutoEts,
            Self::AutoArima => &arima::AutoArima,
            Self::Regression => &regression::Regression,
        }
    }

    /// Forecasts one series; never fails. A past without any value is forecast as 0.
    pub fn forecast(self, history: &History<'_>, future: &Future<'_>) -> Answer {
        let usable = |quantiles: &Vec<[f32; LEVELS_LEN]>| quantiles.iter().flatten().all(|q| q.is_finite());
        let fitted = self.baseline().fit(history).map(|fitted| fitted.quantiles(future)).filter(usable);
        let fell_back = fitted.is_none();
        let mut quantiles = fitted.unwrap_or_else(|| history.seasonal_naive(future.horizon));
        let least = if history.has_negative() { f32::MIN } else { 0.0 };
        for step in &mut quantiles {
            // A value beyond the range of f32 becomes the largest one.
            let mut highest = least;
            for q in step.iter_mut() {
                highest = highest.max(if q.is_nan() { 0.0 } else { q.clamp(f32::MIN, f32::MAX) });
                *q = highest;
            }
        }
        Answer { quantiles, fell_back }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = MethodError;

    fn from_str(word: &str) -> Result<Self, MethodError> {
        Self::ALL.into_iter().find(|method| method.name() == word).ok_or_else(|| MethodError(word.to_owned()))
    }
}
