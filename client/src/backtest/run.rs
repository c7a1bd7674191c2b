//! Rolling the origin through the past.

use std::{ops::ControlFlow, time::Instant};

use super::{
    report::{Drawn, Report},
    state::{MIXES, State},
    totals::WindowTotals,
};
use crate::{
    data::series::Series,
    forecast::{
        Forecaster,
        hierarchy::Quantiles,
        metrics::{LEVELS_LEN, MEDIAN, ScoreError, ScoredForecast, Tally},
        personal::{Personal, PersonalError},
        served::{Forecasters, Served, Way},
        stacking::Cells,
    },
    model::{ForwardError, Model},
    train::{LocalTraining, merchant::past_min},
};

/// Series that are forecast together; bounds memory.
const CHUNK: usize = 256;
/// Steps of the past that a drawing shows.
const PAST_DRAWN: usize = 84;

/// What to roll.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which model it is, in words.
    pub model: String,
    /// Whether it may have been trained on some of the days that will judge it.
    pub model_may_know_windows: bool,
    /// Number of origins; the last leaves one horizon.
    pub windows: usize,
    /// Steps to forecast at each, at most the model's horizon.
    pub horizon: usize,
    /// Steps from one origin to the next.
    pub stride: usize,
    /// Ways to compare, each once.
    pub ways: Vec<Way>,
    /// Only so many series: those that sold most before the first origin. All where `None`.
    pub series_max: Option<usize>,
    /// Forecasts of the last window to keep for drawing.
    pub drawings: usize,
}

/// How far a run is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Window at work, from 0.
    pub window: usize,
    /// Series done in it.
    pub series: usize,
    /// Series in it.
    pub of: usize,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// A number that makes no sense.
    #[error("{0}")]
    Settings(String),
    /// Series are too short for a single window.
    #[error(
        "no series is long enough: even the last window needs {needed} steps, and something observed on both sides of its \
         origin; the longest series has {longest}. Ask for a shorter horizon, or import more of the past"
    )]
    TooShort {
        /// Steps that the last window needs.
        needed: usize,
        /// Steps of the longest series.
        longest: usize,
    },
    /// Stopped before the first window was done.
    #[error("stopped before the first window was done; nothing to report")]
    Stopped,
    /// The merchant's own model.
    #[error(transparent)]
    Personal(#[from] PersonalError),
    /// The model.
    #[error(transparent)]
    Forward(#[from] ForwardError),
    /// A forecast that cannot be scored.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// The models that ways start from.
#[derive(Clone, Copy)]
pub struct Models<'a> {
    /// The published one.
    pub published: &'a Model,
    /// The one from before the first round, where there was a round.
    pub before: Option<&'a Model>,
}

impl<'a> Models<'a> {
    /// Before any round.
    pub fn of(published: &'a Model) -> Self {
        Self { published, before: None }
    }
}

/// Runs a backtest over `series`, which all end at the same step. Where `observe` breaks, the
/// windows done so far are reported.
///
/// # Errors
/// [`BacktestError`].
pub fn run(
    models: Models<'_>,
    series: &[Series],
    settings: &Settings,
    observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, BacktestError> {
    let model = models.published;
    let roll = Roll::new(settings, model)?;
    let series = roll.chosen(series);
    roll.check_long_enough(&series)?;
    let forecaster = Forecaster::of(model.clone());
    // Made once, of what was known at the first origin; later windows use them again.
    let known = roll.known_at_first(&series);
    let trained = |base: &Model| Personal::train(base, &known, &LocalTraining::fine_tuning_of(&known, 1));
    let (wanted, unfederated) = (settings.ways.contains(&Way::Personal), settings.ways.contains(&Way::NoFederation));
    let personal = (wanted || unfederated && models.before.is_none()).then(|| trained(model)).transpose()?;
    let unfederated = models.before.filter(|_| unfederated).map(trained).transpose()?;
    let forecasters =
        Forecasters { model: &forecaster, personal: personal.as_ref(), unfederated: unfederated.as_ref() };
    let mut state = State::new(settings.ways.len() + MIXES, series.len());
    let mut stopped = false;
    for window in 0..settings.windows {
        let items = roll.items(&series, window);
        if items.is_empty() {
            continue;
        }
        if roll.window(&forecasters, &series, &items, window, &mut state, observe)?.is_break() {
            stopped = true;
            break;
        }
    }
    if state.windows.is_empty() {
        return Err(BacktestError::Stopped);
    }
    let steps = personal.as_ref().map(|personal| personal.steps);
    let mut report = state.report(settings, &series, steps);
    report.stopped = stopped;
    report.drawn = roll.drawings(&forecasters, &series, &report, state.last)?;
    Ok(report)
}

fn check(settings: &Settings, longest: usize) -> Result<(), BacktestError> {
    let wrong = |why: String| Err(BacktestError::Settings(why));
    if settings.windows == 0 || settings.stride == 0 {
        return wrong("a backtest needs at least one window and one step between windows".into());
    }
    if !(1..=longest).contains(&settings.horizon) {
        return wrong(format!("the horizon must lie in 1..={longest}, as far as the model reaches"));
    }
    if settings.ways.is_empty() {
        return wrong("no way to forecast was named".into());
    }
    Ok(())
}

/// Origins over series that end together.
pub(crate) struct Roll<'a> {
    settings: &'a Settings,
    past_min: usize,
}

/// A series' position among those of the run, and where a window cuts it.
type Item = (usize, usize);

impl<'a> Roll<'a> {
    /// Of settings that make sense for a model.
    pub(crate) fn new(settings: &'a Settings, model: &Model) -> Result<Self, BacktestError> {
        check(settings, model.shape().horizon)?;
        Ok(Self { settings, past_min: past_min(model.config().frequency) })
    }

    /// Refuses series that no window can judge.
    pub(crate) fn check_long_enough(&self, series: &[Series]) -> Result<(), BacktestError> {
        if (0..self.settings.windows).all(|window| self.items(series, window).is_empty()) {
            let longest = series.iter().map(|s| s.y.len()).max().unwrap_or(0);
            return Err(BacktestError::TooShort { needed: self.past_min + self.settings.horizon, longest });
        }
        Ok(())
    }

    /// What was known at the first origin: all that a merchant's own model is made of.
    pub(crate) fn known_at_first(&self, series: &[Series]) -> Vec<Series> {
        series.iter().filter_map(|s| Some(s.up_to(self.cut(s, 0)?))).filter(|s| !s.y.is_empty()).collect()
    }

    /// Steps of a series before a window's origin; `None` where it had not begun.
    fn cut(&self, series: &Series, window: usize) -> Option<usize> {
        let behind = self.settings.horizon + (self.settings.windows - 1 - window) * self.settings.stride;
        series.y.len().checked_sub(behind)
    }

    /// The series to look at, in order of identity.
    pub(crate) fn chosen(&self, series: &[Series]) -> Vec<Series> {
        let Some(most) = self.settings.series_max else { return series.to_vec() };
        let sold = |series: &Series| {
            let known = &series.y[..self.cut(series, 0).unwrap_or(0)];
            known.iter().filter(|y| y.is_finite()).map(|y| f64::from(*y)).sum::<f64>()
        };
        let mut ranked: Vec<(f64, &Series)> = series.iter().map(|s| (sold(s), s)).collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.id.cmp(&b.1.id)));
        let mut chosen: Vec<Series> = ranked.into_iter().take(most).map(|(_, s)| s.clone()).collect();
        chosen.sort_by(|a, b| a.id.cmp(&b.id));
        chosen
    }

    /// Series that a window can judge: long enough a past, something observed before and after.
    pub(crate) fn items(&self, series: &[Series], window: usize) -> Vec<Item> {
        let judged = |(position, series): (usize, &Series)| {
            let cut = self.cut(series, window).filter(|cut| *cut >= self.past_min)?;
            let observed = |y: &[f32]| y.iter().any(|y| y.is_finite());
            (observed(&series.y[..cut]) && observed(&series.y[cut..cut + self.settings.horizon]))
                .then_some((position, cut))
        };
        series.iter().enumerate().filter_map(judged).collect()
    }

    /// Forecasts and scores one window, chunk by chunk.
    fn window(
        &self,
        forecasters: &Forecasters<'_>,
        series: &[Series],
        items: &[Item],
        window: usize,
        state: &mut State,
        observe: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, BacktestError> {
        let (horizon, ways) = (self.settings.horizon, &self.settings.ways);
        let rows = ways.len() + MIXES;
        let mixes = [state.mix(ways), state.stacked(ways)];
        let of_mix = |mix: &Served, forecasts: &[&[[f32; LEVELS_LEN]]]| {
            let of = |way: &Way| Some(forecasts[ways.iter().position(|known| known == way)?]);
            mix.averaged(&mix.members().iter().filter_map(of).collect::<Vec<_>>())
        };
        let mut cells = Cells::new(ways.len(), items.len() * horizon, window);
        let totals = WindowTotals::of(series, items, horizon);
        let mut kept: Vec<(Vec<Quantiles>, Vec<Quantiles>)> = vec![(Vec::new(), Vec::new()); rows];
        let mut sums = vec![Tally::default(); rows];
        // A window that is not finished must not count: series are tallied apart until it is.
        let mut judged: Vec<(usize, Vec<Tally>)> = Vec::with_capacity(items.len());
        let (mut seconds, mut fell_back) = (vec![0.0; rows], vec![0_usize; rows]);
        for (number, chunk) in items.chunks(CHUNK).enumerate() {
            let done = Progress { window, series: number * CHUNK, of: items.len() };
            if observe(done).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            let cuts: Vec<(&Series, usize)> = chunk.iter().map(|(position, cut)| (&series[*position], *cut)).collect();
            let mut answers = Vec::with_capacity(ways.len());
            for (row, way) in ways.iter().enumerate() {
                let start = Instant::now();
                let found = forecasters.answers(*way, &cuts, horizon)?;
                seconds[row] += start.elapsed().as_secs_f64();
                fell_back[row] += found.iter().filter(|answer| answer.fell_back).count();
                answers.push(found);
                if observe(done).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            for (item, (position, cut)) in chunk.iter().enumerate() {
                let one = &series[*position];
                let found: Vec<&[[f32; LEVELS_LEN]]> =
                    answers.iter().map(|answers| &answers[item].quantiles[..]).collect();
                let actual = &one.y[*cut..*cut + horizon];
                cells.add(actual, &found);
                let mixed = mixes.each_ref().map(|mix| of_mix(mix, &found));
                let all = found.iter().copied().chain(mixed.iter().map(Vec::as_slice));
                let mut own = Vec::with_capacity(rows);
                for ((sum, quantiles), (kept, _)) in sums.iter_mut().zip(all).zip(&mut kept) {
                    let scored = ScoredForecast { past: &one.y[..*cut], actual, quantiles };
                    sum.add(one.season(), *position, &scored)?;
                    let mut tally = Tally::default();
                    tally.add(one.season(), *position, &scored)?;
                    own.push(tally);
                    if totals.is_some() {
                        kept.push(quantiles.to_vec());
                    }
                }
                judged.push((*position, own));
            }
        }
        if let Some(totals) = &totals {
            let cuts = totals.items();
            let answers =
                ways.iter().map(|way| forecasters.answers(*way, &cuts, horizon)).collect::<Result<Vec<_>, _>>()?;
            for total in 0..cuts.len() {
                let found: Vec<&[[f32; LEVELS_LEN]]> =
                    answers.iter().map(|answers| &answers[total].quantiles[..]).collect();
                let mixed = mixes.each_ref().map(|mix| of_mix(mix, &found));
                let all = found.into_iter().map(<[_]>::to_vec).chain(mixed);
                kept.iter_mut().zip(all).for_each(|((_, kept), quantiles)| kept.push(quantiles));
            }
            state.totals.judge(totals, &kept)?;
        }
        let (first, cut) = items[0];
        let known_to = crate::data::order::plus_days(series[first].date(cut), -1);
        state.close(known_to, mixes, cells, &sums, judged);
        state.last = window;
        state.seconds.iter_mut().zip(&seconds).for_each(|(total, one)| *total += one);
        state.fell_back.iter_mut().zip(&fell_back).for_each(|(total, one)| *total += one);
        Ok(ControlFlow::Continue(()))
    }

    /// The last window's forecasts of a few series, made anew: the two that sold most, one in the middle, and those that
    /// the chosen way knew least about.
    fn drawings(
        &self,
        forecasters: &Forecasters<'_>,
        series: &[Series],
        report: &Report,
        last: usize,
    ) -> Result<Vec<Drawn>, BacktestError> {
        let horizon = self.settings.horizon;
        let ranking = report.ranking();
        let named = |row: &str| row.parse::<Way>().ok().map(Served::one);
        let band = match &report.choice {
            Some(choice) => choice.served.clone(),
            None => ranking
                .iter()
                .find_map(|row| named(&report.rows[*row].name))
                .unwrap_or(Served::one(self.settings.ways[0])),
        };
        // Beside the model its best rival, beside a rival the model.
        let of_model = |served: &Served| matches!(served.members(), [Way::Model | Way::Personal | Way::NoFederation]);
        let line = ranking
            .iter()
            .filter_map(|row| named(&report.rows[*row].name))
            .find(|served| *served != band && of_model(served) != of_model(&band))
            .or_else(|| ranking.iter().filter_map(|row| named(&report.rows[*row].name)).find(|served| *served != band));
        let mut items = self.items(series, last);
        let sold = |(position, cut): &Item| {
            let actual = &series[*position].y[*cut..*cut + horizon];
            actual.iter().filter(|y| y.is_finite()).map(|y| f64::from(y.abs())).sum::<f64>()
        };
        items.retain(|item| sold(item) > 0.0);
        items.sort_by(|a, b| sold(b).total_cmp(&sold(a)));
        let mut picked: Vec<(Item, &str)> = Vec::new();
        let wanted = self.settings.drawings.min(items.len());
        let worst = |item: &Item| {
            let id = &series[item.0].id;
            let row = report.rows.iter().position(|row| report.choice.as_ref().is_some_and(|c| c.row == row.name));
            let found = report.series.iter().find(|s| s.unique_id == *id)?;
            Some((*found.scores.get(row.unwrap_or(ranking[0]))?)?.wql)
        };
        // Where little was sold, a large relative error says little: the worst of the better-selling half.
        let upper = &items[..items.len().div_ceil(2)];
        let least_known = upper.iter().max_by(|a, b| worst(a).unwrap_or(0.0).total_cmp(&worst(b).unwrap_or(0.0)));
        let candidates = [
            (items.first(), "sold most in the last window"),
            (least_known, "of the better-selling half, the one with the largest relative error"),
            (items.get(items.len() / 2), "in the middle by sales"),
            (items.get(1), "sold second most in the last window"),
            (items.get(items.len() / 4), "a quarter from the top by sales"),
            (items.get(3 * items.len() / 4), "a quarter from the bottom by sales"),
        ];
        for (item, why) in candidates {
            let Some(item) = item else { continue };
            if picked.len() < wanted && picked.iter().all(|(known, _)| known != item) {
                picked.push((*item, why));
            }
        }
        let cuts: Vec<(&Series, usize)> =
            picked.iter().map(|((position, cut), _)| (&series[*position], *cut)).collect();
        let bands = forecasters.serve(&band, &cuts, horizon)?;
        let lines = line.as_ref().map(|line| forecasters.serve(line, &cuts, horizon)).transpose()?;
        let mut drawn = Vec::with_capacity(picked.len());
        for (number, ((_, why), (one, cut))) in picked.iter().zip(&cuts).enumerate() {
            let from = cut.saturating_sub(PAST_DRAWN);
            let actual = one.y[*cut..cut + horizon].to_vec();
            let wql = |quantiles: &[[f32; LEVELS_LEN]]| {
                let mut tally = Tally::default();
                let scored = ScoredForecast { past: &one.y[..*cut], actual: &actual, quantiles };
                tally.add(one.season(), number, &scored).ok()?;
                tally.scores().map(|scores| scores.wql)
            };
            let other = lines.as_ref().map(|lines| &lines[number][..]);
            drawn.push(Drawn {
                unique_id: one.id.clone(),
                title: one.text.split(". ").next().unwrap_or_default().chars().take(80).collect(),
                why: (*why).to_owned(),
                start: one.date(from),
                past: one.y[from..*cut].to_vec(),
                wql: [wql(&bands[number]), other.and_then(wql)],
                line: line
                    .as_ref()
                    .zip(other)
                    .map(|(line, quantiles)| (line.to_string(), quantiles.iter().map(|q| q[MEDIAN]).collect())),
                band: (band.to_string(), bands[number].clone()),
                actual,
            });
        }
        Ok(drawn)
    }
}
