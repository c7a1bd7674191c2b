//! What is kept from window to window, and what follows from it in the end.

use super::{
    report::{Choice, MIX, Report, RowReport, STACKED, SeriesReport, WindowReport, choosing},
    run::Settings,
    totals::TotalsState,
};
use crate::{
    data::series::Series,
    forecast::{
        metrics::{Scores, Tally},
        served::{Served, Way},
        stacking::{Cells, Stacking},
    },
};

/// Ways in the mix.
const MIXED: usize = 3;
/// Rows after those of the ways: the mix and the stacked mix.
pub(super) const MIXES: usize = 2;

/// What is kept from window to window.
pub(super) struct State {
    pub(super) windows: Vec<WindowReport>,
    /// Scores of each window by row; some hundred bytes a window.
    scores: Vec<Vec<Option<Scores>>>,
    /// By series and row.
    series: Vec<Vec<Tally>>,
    judged: Vec<usize>,
    stacking: Stacking,
    pub(super) totals: TotalsState,
    /// Number of the last window that was done.
    pub(super) last: usize,
    pub(super) seconds: Vec<f64>,
    pub(super) fell_back: Vec<usize>,
}

impl State {
    pub(super) fn new(rows: usize, series: usize) -> Self {
        Self {
            windows: Vec::new(),
            scores: Vec::new(),
            series: vec![vec![Tally::default(); rows]; series],
            judged: vec![0; series],
            stacking: Stacking::default(),
            totals: TotalsState::new(rows),
            last: 0,
            seconds: vec![0.0; rows],
            fell_back: vec![0; rows],
        }
    }

    /// The three best ways so far; before the first window, all of them.
    pub(super) fn mix(&self, ways: &[Way]) -> Served {
        let mean = mean_of(&self.scores, ways.len());
        let mut ranked: Vec<(f64, Way)> =
            mean.iter().zip(ways).map(|(scores, way)| (scores.map_or(f64::INFINITY, |s| s.wql), *way)).collect();
        if !self.scores.is_empty() {
            ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
            ranked.truncate(MIXED);
        }
        let members = ranked.into_iter().map(|(_, way)| way).collect();
        Served::mix(members).unwrap_or(Served::one(Way::Model))
    }

    /// The best weights on the windows so far; before the first window, all alike.
    pub(super) fn stacked(&self, ways: &[Way]) -> Served {
        self.stacking.fit(ways).unwrap_or(Served::one(Way::Model))
    }

    pub(super) fn close(
        &mut self,
        known_to: jiff::civil::Date,
        [mix, stacked]: [Served; MIXES],
        cells: Cells,
        sums: &[Tally],
        judged: Vec<(usize, Vec<Tally>)>,
    ) {
        self.stacking.add(cells);
        let scores: Vec<Option<Scores>> = sums.iter().map(Tally::scores).collect();
        let wql = scores.iter().map(|scores| scores.map(|scores| scores.wql)).collect();
        self.windows.push(WindowReport { known_to, series: judged.len(), wql, mix, stacked });
        self.scores.push(scores);
        for (position, own) in judged {
            self.judged[position] += 1;
            for (total, one) in self.series[position].iter_mut().zip(&own) {
                total.merge(one);
            }
        }
    }

    pub(super) fn report(&self, settings: &Settings, series: &[Series], personal_steps: Option<usize>) -> Report {
        let names: Vec<String> =
            settings.ways.iter().map(|way| way.name()).chain([MIX, STACKED]).map(str::to_owned).collect();
        let count = self.windows.len();
        let all = mean_of(&self.scores, names.len());
        let earlier = mean_of(&self.scores[choosing(count)], names.len());
        let last = &self.scores[count - 1];
        let forecasts: usize = self.windows.iter().map(|window| window.series).sum();
        let rows = names
            .iter()
            .enumerate()
            .map(|(row, name)| RowReport {
                name: name.clone(),
                all: all[row],
                earlier: earlier[row],
                last: last[row],
                fell_back: self.fell_back[row] as f64 / forecasts.max(1) as f64,
                seconds: self.seconds[row],
            })
            .collect();
        let judged = series.iter().zip(&self.series).zip(&self.judged).filter(|(_, windows)| **windows > 0);
        let found = judged.map(|((one, tallies), windows)| {
            let scores: Vec<Option<Scores>> = tallies.iter().map(Tally::scores).collect();
            let best = smallest(&scores).map(|(row, _)| names[row].clone());
            SeriesReport { unique_id: one.id.clone(), windows: *windows, volume: tallies[0].volume(), scores, best }
        });
        let found: Vec<SeriesReport> = found.collect();
        Report {
            model: settings.model.clone(),
            model_may_know_windows: settings.model_may_know_windows,
            horizon: settings.horizon,
            step_days: series.first().map_or(1, |series| series.frequency.days()),
            windows_wanted: settings.windows,
            stopped: false,
            choice: self.choice(&names, &earlier, settings),
            windows: self.windows.clone(),
            rows,
            series_left_out: series.len() - found.len(),
            series: found,
            totals: self.totals.report(&names),
            personal_steps,
            drawn: Vec::new(),
        }
    }

    /// The best on the windows that choose, told by the last.
    fn choice(&self, names: &[String], earlier: &[Option<Scores>], settings: &Settings) -> Option<Choice> {
        let (row, earlier_wql) = smallest(earlier)?;
        let (last, window) = (self.scores.last()?, self.windows.last()?);
        let mixed = if row == settings.ways.len() { &window.mix } else { &window.stacked };
        let served = settings.ways.get(row).map_or(mixed.clone(), |way| Served::one(*way));
        let last_wql = last[row].map(|scores| scores.wql);
        let better = |own: f64| last.iter().flatten().filter(|scores| scores.wql < own).count();
        Some(Choice {
            row: names[row].clone(),
            served,
            earlier_wql,
            last_wql,
            last_place: last_wql.map(|own| 1 + better(own)),
            last_best: smallest(last).map(|(best, _)| names[best].clone()),
        })
    }
}

/// Mean over windows by row; `None` where no window has a score.
fn mean_of(windows: &[Vec<Option<Scores>>], rows: usize) -> Vec<Option<Scores>> {
    (0..rows).map(|row| Scores::mean(&windows.iter().filter_map(|scores| scores[row]).collect::<Vec<_>>())).collect()
}

/// Position and WQL of the smallest WQL.
fn smallest(scores: &[Option<Scores>]) -> Option<(usize, f64)> {
    let scored = scores.iter().enumerate().filter_map(|(row, scores)| Some((row, (*scores)?.wql)));
    scored.min_by(|a, b| a.1.total_cmp(&b.1))
}
