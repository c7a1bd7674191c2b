//! Whether one forecast was better than another on the same series, and how sure that is.
//!
//! Relative changes of sums over series, with a paired bootstrap interval: whole series are drawn with replacement, both
//! forecasts' figures of a series together (Efron and Tibshirani 1993; percentile interval, 95 %). It covers which products
//! a merchant happens to have. It does not cover which weeks were judged: those are shared by all series.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::worth::Worth;

/// Series below which no interval is given.
const SERIES_MIN: usize = 10;
const RESAMPLES: usize = 2_000;
const SEED: u64 = 1;

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Finding {
    /// The interval lies below 0: less error or cost.
    Gained,
    /// The interval lies above 0.
    Lost,
    /// It does not say which, or there is none.
    Open,
}

/// One figure of two forecasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// own / other − 1; below 0 is better.
    pub relative: f64,
    /// 95 % interval of it; `None` with fewer than ten series.
    pub interval: Option<[f64; 2]>,
    /// What that says.
    pub finding: Finding,
}

/// Two forecasts.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// What the federation's forecast is compared with.
    pub against: String,
    /// Mean weighted quantile loss.
    pub wql: Option<Change>,
    /// Absolute errors of the median over sales.
    pub wape: Option<Change>,
    /// Cost of stock.
    pub stock_cost: Option<Change>,
}

impl Comparison {
    /// Compares figures of the same series, pairwise: own, other.
    pub(super) fn of(against: &str, pairs: &[(Worth, Worth)]) -> Self {
        let change =
            |of: fn(&Worth) -> f64| change(&pairs.iter().map(|(own, other)| (of(own), of(other))).collect::<Vec<_>>());
        Self {
            against: against.to_owned(),
            // Sales are the same on both sides, so the ratio of sums is the ratio of the scores.
            wql: change(|worth| worth.quantile_loss),
            wape: change(|worth| worth.absolute_error),
            stock_cost: change(|worth| worth.stock_cost),
        }
    }
}

fn change(pairs: &[(f64, f64)]) -> Option<Change> {
    let ratio = |pairs: &mut dyn Iterator<Item = (f64, f64)>| {
        let (own, other) = pairs.fold((0.0, 0.0), |sum, pair| (sum.0 + pair.0, sum.1 + pair.1));
        (other > 0.0).then(|| own / other - 1.0)
    };
    let relative = ratio(&mut pairs.iter().copied())?;
    let interval = (pairs.len() >= SERIES_MIN).then(|| {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut drawn: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| ratio(&mut (0..pairs.len()).map(|_| pairs[rng.random_range(0..pairs.len())])))
            .collect();
        drawn.sort_by(f64::total_cmp);
        let at = |level: f64| drawn.get((level * drawn.len() as f64) as usize).copied().unwrap_or(relative);
        [at(0.025), at(0.975)]
    });
    let finding = match interval {
        Some([_, high]) if high < 0.0 => Finding::Gained,
        Some([low, _]) if low > 0.0 => Finding::Lost,
        _ => Finding::Open,
    };
    Some(Change { relative, interval, finding })
}
