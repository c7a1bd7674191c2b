//! New products, told on those that were new once: each is forecast on the day of its launch, as if it had no past.
//!
//! Only what was known on that day takes part: launches whose first horizon was over by then. A product that was there from
//! the beginning of the data has no launch. The model is the published one as it is; one that was fine-tuned on
//! all series would know what is asked.

use serde::Serialize;

use super::BacktestError;
use crate::{
    data::series::Series,
    forecast::{
        Forecaster,
        metrics::{LEVELS_LEN, ScoredForecast, Scores, Tally},
        newcomer::{Analogues, Profile, launches},
        served::{Forecasters, Way},
    },
    model::Model,
};

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct NewcomerReport {
    /// Launches that were forecast.
    pub launches: usize,
    /// Steps forecast of each; the first is not judged.
    pub horizon: usize,
    /// One a way.
    pub rows: Vec<NewcomerRow>,
}

/// One way to forecast a product without a past.
#[derive(Clone, Debug, Serialize)]
pub struct NewcomerRow {
    /// Its name.
    pub name: &'static str,
    /// In a few words.
    pub what: &'static str,
    /// Over all launches.
    pub scores: Option<Scores>,
}

const ROWS: [(&str, &str); 4] = [
    ("analogues", "how the 20 most similar products began"),
    ("model-on-analogues", "the model, with their beginnings for a past"),
    ("category", "how all products of the category began"),
    ("model", "the model, without a past"),
];

/// Forecasts the latest `most` launches within `series`, which all end at the same step; `price` is a product's, where the
/// merchant names one.
///
/// # Errors
/// [`BacktestError`].
pub fn newcomers(
    model: &Model,
    series: &[Series],
    price: &dyn Fn(&str) -> Option<f64>,
    horizon: usize,
    most: usize,
) -> Result<NewcomerReport, BacktestError> {
    if !(2..=model.shape().horizon).contains(&horizon) {
        return Err(BacktestError::Settings(format!("the horizon must lie in 2..={}", model.shape().horizon)));
    }
    let longest = series.iter().map(|one| one.y.len()).max().unwrap_or(0);
    let profiles: Vec<Profile> = series.iter().map(|one| Profile::of(one, price(&one.id))).collect();
    // Age at the end of the data; whoever was there from the beginning may be older.
    let mut launched: Vec<usize> =
        (0..series.len()).filter(|i| (horizon..longest).contains(&series[*i].y.len())).collect();
    launched.sort_by_key(|i| (series[*i].y.len(), series[*i].id.clone()));
    let mut new = Vec::new();
    for i in launched.iter().copied() {
        if new.len() == most {
            break;
        }
        let known = launches(series, &profiles, series[i].y.len());
        if let Some(nearest) = Analogues::nearest(&profiles[i], &known, horizon) {
            let category = Analogues::of_category(&profiles[i], &known, horizon);
            let quantiles = nearest.forecast(&series[i].up_to(0), horizon);
            let by_category =
                category.map_or_else(|| quantiles.clone(), |all| all.forecast(&series[i].up_to(0), horizon));
            new.push((i, quantiles, by_category, nearest.past(&series[i].up_to(0))));
        }
    }
    let forecaster = Forecaster::of(model.clone());
    let forecasters = Forecasters { model: &forecaster, personal: None, unfederated: None };
    let with_past: Vec<(&Series, usize)> = new.iter().map(|(_, _, _, (past, cut))| (past, *cut)).collect();
    let empty: Vec<(&Series, usize)> = new.iter().map(|(i, ..)| (&series[*i], 0)).collect();
    let [with_past, empty] = [with_past, empty].map(|items| forecasters.answers(Way::Model, &items, horizon));
    let (with_past, empty) = (with_past?, empty?);
    let mut tallies = [Tally::default(); ROWS.len()];
    for (number, (i, nearest, category, _)) in new.iter().enumerate() {
        let mut actual = series[*i].y[..horizon].to_vec();
        actual[0] = f32::NAN;
        let rows: [&[[f32; LEVELS_LEN]]; ROWS.len()] =
            [nearest, &with_past[number].quantiles, category, &empty[number].quantiles];
        for (tally, quantiles) in tallies.iter_mut().zip(rows) {
            let scored = ScoredForecast { past: &[], actual: &actual, quantiles };
            tally.add(series[*i].season(), *i, &scored)?;
        }
    }
    let rows = ROWS.iter().zip(&tallies);
    let rows = rows.map(|((name, what), tally)| NewcomerRow { name, what, scores: tally.scores() }).collect();
    Ok(NewcomerReport { launches: new.len(), horizon, rows })
}

impl std::fmt::Display for NewcomerReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{:20}  {:>8}  {:>8}  {:>8}  {:>6}", "", "WQL", "WAPE", "bias", "cover")?;
        for row in &self.rows {
            match &row.scores {
                None => writeln!(f, "{:20}  {:>8}", row.name, "–")?,
                Some(s) => writeln!(
                    f,
                    "{:20}  {:>8.4}  {:>8.4}  {:>7.1}%  {:>5.0}%  {}",
                    row.name,
                    s.wql,
                    s.wape,
                    100.0 * s.bias,
                    100.0 * s.coverage80,
                    row.what
                )?,
            }
        }
        write!(
            f,
            "\n{} launches, each forecast as if it had no past, from what was known on that day; {} steps, the first not judged.",
            self.launches, self.horizon
        )
    }
}
