//! What a backtest found, as programs read it.

use jiff::civil::Date;
use serde::Serialize;

use crate::forecast::{
    hierarchy::Level,
    metrics::{LEVELS_LEN, Scores},
    served::Served,
};

/// Name of the row of mixed ways.
pub const MIX: &str = "mix";
/// Name of the row of the mix whose weights are fitted.
pub const STACKED: &str = "stacked";

/// Windows by which a way is chosen, of so many: those before the last; of four and more not the first either, since mixes know
/// nothing before it.
pub(super) fn choosing(windows: usize) -> std::ops::Range<usize> {
    usize::from(windows >= 4)..windows.saturating_sub(1)
}

/// A whole backtest.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Which model, in words.
    pub model: String,
    /// Whether the model may have been trained on some of the days that judge it.
    pub model_may_know_windows: bool,
    /// Steps of a window.
    pub horizon: usize,
    /// Days of a step: 1 or 7.
    pub step_days: i64,
    /// Windows asked for.
    pub windows_wanted: usize,
    /// Whether the run was stopped before its last window.
    pub stopped: bool,
    /// Windows, earliest first.
    pub windows: Vec<WindowReport>,
    /// One a way, in the order of their names' list; `mix` and `stacked` last.
    pub rows: Vec<RowReport>,
    /// What to serve; `None` with fewer than two windows.
    pub choice: Option<Choice>,
    /// One a series that was judged at least once, in order of identity.
    pub series: Vec<SeriesReport>,
    /// Series that were not judged in any window.
    pub series_left_out: usize,
    /// Totals of categories and of the shop, where there is something to add up.
    pub totals: Vec<LevelReport>,
    /// Local steps that the row `model-personal` kept.
    pub personal_steps: Option<usize>,
    /// Forecasts to look at, of the last window.
    #[serde(skip)]
    pub drawn: Vec<Drawn>,
}

/// One origin.
#[derive(Clone, Debug, Serialize)]
pub struct WindowReport {
    /// Last day that was known.
    #[serde(serialize_with = "as_text")]
    pub known_to: Date,
    /// Series judged.
    pub series: usize,
    /// WQL a row; `None` where nothing but zeros came.
    pub wql: Vec<Option<f64>>,
    /// What the mix was made of.
    pub mix: Served,
    /// What the stacked mix was made of, with its weights.
    pub stacked: Served,
}

/// Totals of one level; means over the windows after the first, which has no earlier errors to go by.
#[derive(Clone, Debug, Serialize)]
pub struct LevelReport {
    /// Category or shop.
    pub level: Level,
    /// Number of totals in the window that had most.
    pub totals: usize,
    /// One a row, in their order.
    pub rows: Vec<LevelRow>,
}

/// One row's totals.
#[derive(Clone, Debug, Serialize)]
pub struct LevelRow {
    /// The row.
    pub name: String,
    /// Forecast from the total's own history.
    pub own: Option<Scores>,
    /// Summed from joint samples of the products.
    pub bottom_up: Option<Scores>,
    /// Reconciled.
    pub reconciled: Option<Scores>,
}

/// One way over all series.
#[derive(Clone, Debug, Serialize)]
pub struct RowReport {
    /// Its name.
    pub name: String,
    /// Mean over all windows.
    pub all: Option<Scores>,
    /// Mean over the windows that choose: those before the last, of four and more without the first.
    pub earlier: Option<Scores>,
    /// The last window.
    pub last: Option<Scores>,
    /// Share of forecasts for which the seasonal naive one stood in.
    pub fell_back: f64,
    /// Time spent forecasting.
    pub seconds: f64,
}

/// Which way is best for this merchant.
#[derive(Clone, Debug, Serialize)]
pub struct Choice {
    /// The row.
    pub row: String,
    /// What to serve: the way itself, or the ways of the mix.
    pub served: Served,
    /// WQL on the windows by which it was chosen.
    pub earlier_wql: f64,
    /// WQL on the last window, which it was not chosen by.
    pub last_wql: Option<f64>,
    /// Its place on the last window, from 1.
    pub last_place: Option<usize>,
    /// The row that turned out best on the last window.
    pub last_best: Option<String>,
}

/// One series over all windows.
#[derive(Clone, Debug, Serialize)]
pub struct SeriesReport {
    /// Identity.
    pub unique_id: String,
    /// Windows in which it was judged.
    pub windows: usize,
    /// What was sold in them.
    pub volume: f64,
    /// Over all its cells, one a row; `None` where nothing but zeros came.
    pub scores: Vec<Option<Scores>>,
    /// The row with the smallest WQL.
    pub best: Option<String>,
}

/// A forecast to look at.
#[derive(Clone, Debug)]
pub struct Drawn {
    /// Series.
    pub unique_id: String,
    /// Its title, where the catalogue has one.
    pub title: String,
    /// Why it is shown.
    pub why: String,
    /// Day of the first value of `past`.
    pub start: Date,
    /// Recent values, `NaN` where missing.
    pub past: Vec<f32>,
    /// What came, `[horizon]`.
    pub actual: Vec<f32>,
    /// Name and quantiles of the way shown as a band.
    pub band: (String, Vec<[f32; LEVELS_LEN]>),
    /// Name and median of a way to compare with.
    pub line: Option<(String, Vec<f32>)>,
    /// WQL of the two, where sales came.
    pub wql: [Option<f64>; 2],
}

impl Report {
    /// Positions of the rows, the smallest WQL over all windows first; rows without one last.
    pub fn ranking(&self) -> Vec<usize> {
        let wql = |row: usize| self.rows[row].all.map_or(f64::INFINITY, |scores| scores.wql);
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        order.sort_by(|a, b| wql(*a).total_cmp(&wql(*b)));
        order
    }

    /// What was found, in a sentence or two.
    pub fn verdict(&self) -> String {
        let Some(choice) = &self.choice else {
            return "One window cannot both choose a way and judge the choice: nothing is chosen. Ask for two or more \
                    windows."
                .to_owned();
        };
        let chosen_by = choosing(self.windows.len());
        let windows = match (chosen_by.len(), chosen_by.start) {
            (1, _) => "the window before the last".to_owned(),
            (count, 0) => format!("the {count} windows before the last"),
            (count, _) => format!("the {count} windows between the first, from which mixes learn, and the last"),
        };
        let mut text = format!(
            "Best for this merchant: {}, with the smallest error (WQL {:.4}) on {windows}.",
            choice.named(),
            choice.earlier_wql
        );
        match (choice.last_wql, choice.last_place, &choice.last_best) {
            (Some(wql), Some(1), _) => {
                text.push_str(&format!(" On the last window, which had no part in the choice, it was best again ({wql:.4})."));
            }
            (Some(wql), Some(place), Some(best)) => text.push_str(&format!(
                " On the last window, which had no part in the choice, its WQL was {wql:.4}, place {place} of {}; {best} was \
                 best there.",
                self.rows.len()
            )),
            _ => text.push_str(" On the last window nothing but zeros came, so it cannot be judged there."),
        }
        text
    }
}

impl Choice {
    /// The row's name, with what a mix is made of.
    pub fn named(&self) -> String {
        if [MIX, STACKED].contains(&self.row.as_str()) {
            format!("{} ({})", self.row, self.served)
        } else {
            self.row.clone()
        }
    }
}

fn as_text<S: serde::Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(date)
}
