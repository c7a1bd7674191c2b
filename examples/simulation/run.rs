//! A task's rolling windows: train, make the model each merchant's own, forecast, score.
//!
//! Invariant: what a window's forecasts are made from ends at that window's cut. True values are looked at only
//! after the window's forecasts exist.

use std::collections::BTreeMap;

use forecastle_client::{
    data::series::Series,
    forecast::{
        metrics::{ScoreError, ScoredForecast, Scores, score},
        personal::{Personal, PersonalError},
    },
    model::{Model, QUANTILE_COUNT},
    train::LocalTraining,
};
use forecastle_crypto::dp::plan::PrivacyPlan;
use jiff::civil::Date;

use super::{
    bounded::Bounded,
    federation::{Federation, FederationError, Privacy, RoundDone},
    parallel,
};
use crate::dataset::{Member, Panel, PanelWindow};

/// Series from which on a merchant fine-tunes and calibrates under [`Local::Auto`]. Below it, a single held-back
/// window or a few would choose between models by chance; calibration refuses fewer than eight as well. Fixed in
/// advance and a matter of public counts only, so that no merchant's data decide for another.
pub const LOCAL_SERIES_MIN: usize = 8;
/// Series that one task forecasts with a model that nobody has made its own.
const SERIES_PER_TASK: usize = 128;

/// What forecasts come from.
#[derive(Clone, Copy, Debug)]
pub enum Method<'a> {
    /// Rounds under a plan, from the start.
    Federated {
        /// The plan.
        plan: &'a PrivacyPlan,
        /// With or without rounding and noise.
        privacy: Privacy,
        /// What merchants train on in place of the panel's series before the first window, under the unit customer.
        bounded: Option<&'a Bounded>,
    },
    /// The start itself, zero rounds.
    NoFederation,
    /// Each merchant trains all parameters by itself, from the start.
    Alone,
}

/// At which windows training happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refit {
    /// At the first; later windows reuse the model. Merchants alone train where they first have a series.
    First,
    /// At each, from the start again. The windows' data overlap, so their ε add up.
    Each,
}

/// Which merchants fine-tune and calibrate at each window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// Those with at least [`LOCAL_SERIES_MIN`] series in the window.
    Auto,
    /// All.
    On,
    /// None.
    Off,
}

/// How to run a task.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// What forecasts come from.
    pub method: Method<'a>,
    /// When training happens.
    pub refit: Refit,
    /// Who fine-tunes.
    pub local: Local,
    /// Seed of sampling, noise and local training.
    pub seed: u64,
}

/// Why a task could not be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The horizon of the model is too short.
    #[error("the task asks for {asked} steps, the model forecasts {most}; choose a warm start of a longer horizon")]
    Horizon {
        /// Steps of the task.
        asked: usize,
        /// Steps of the model.
        most: usize,
    },
    /// Merchants' lines reach into what is to be forecast.
    #[error(
        "the plan's training period ends on {end}, but window {window} is forecast from {begins} on; let rounds.period-end \
         come before it"
    )]
    Period {
        /// Which window.
        window: usize,
        /// Last day of the lines.
        end: Date,
        /// First day to be forecast.
        begins: Date,
    },
    /// Rounds.
    #[error(transparent)]
    Federation(#[from] FederationError),
    /// Local training or forecasting.
    #[error("merchant `{merchant}`: {source}")]
    Personal {
        /// Which merchant, or several with the same model.
        merchant: String,
        /// What is wrong.
        source: PersonalError,
    },
    /// Scores.
    #[error("window {window}: {source}")]
    Score {
        /// Which window.
        window: usize,
        /// Why.
        source: ScoreError,
    },
}

/// Something to tell whoever waits.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A round of the run for a window ended.
    Round {
        /// The window whose cut bounds the data.
        window: usize,
        /// What it did.
        done: RoundDone,
    },
    /// A window was forecast.
    Window {
        /// Number.
        window: usize,
        /// Series forecast.
        series: usize,
        /// Merchants whose local training changed the model.
        tuned: usize,
        /// Scores.
        scores: Scores,
    },
}

/// A window's forecasts.
#[derive(Clone, Debug)]
pub struct WindowForecasts {
    /// Number.
    pub window: usize,
    /// Series and cuts, in the panel's order.
    pub members: Vec<Member>,
    /// `[member][horizon]`, nine ascending quantiles each.
    pub quantiles: Vec<Vec<[f32; QUANTILE_COUNT]>>,
    /// Scores of the window.
    pub scores: Scores,
}

/// As many windows as fit before the first test window, `count` at most, oldest first, a horizon apart: for choices that
/// must not look at the test windows. They are numbered backwards, the last one 0.
pub fn backtest_windows(panel: &Panel, count: usize) -> Vec<PanelWindow> {
    let evaluation = &panel.task.evaluation;
    let Some(first) = panel.windows().into_iter().next() else { return Vec::new() };
    let window = |number: usize| {
        let earlier = (number + 1) * evaluation.horizon;
        let members: Vec<Member> = first
            .members
            .iter()
            .filter_map(|member| {
                let y = &panel.series[member.index].series.y;
                let cut = member.cut.checked_sub(earlier)?;
                let begun = y.iter().position(|value| !value.is_nan())?;
                (cut >= begun + evaluation.minimum_history).then_some(Member { cut, ..*member })
            })
            .collect();
        let cut = first.cut.checked_sub(earlier)?;
        (!members.is_empty()).then_some(PanelWindow { number, cut, members })
    };
    (0..count).rev().filter_map(window).collect()
}

/// Trains, forecasts and scores the given windows, earliest first, from the model `start`.
///
/// # Errors
/// [`RunError`] names the window, merchant or series at fault.
pub fn run(
    panel: &Panel,
    windows: &[PanelWindow],
    start: &Model,
    settings: &Settings<'_>,
    observe: &mut dyn FnMut(Progress),
) -> Result<Vec<WindowForecasts>, RunError> {
    let (asked, most) = (panel.task.evaluation.horizon, start.shape().horizon);
    if asked > most {
        return Err(RunError::Horizon { asked, most });
    }
    let mut shared: Option<Model> = None;
    let mut alone = BTreeMap::new();
    let mut all = Vec::with_capacity(windows.len());
    for window in windows {
        if settings.refit == Refit::Each {
            shared = None;
            alone.clear();
        }
        let (quantiles, tuned) = match settings.method {
            Method::Alone => forecast_alone(panel, window, start, settings, &mut alone)?,
            Method::NoFederation => forecast_shared(panel, window, start, settings)?,
            Method::Federated { plan, privacy, bounded } => {
                let model = match shared.take() {
                    Some(model) => model,
                    None => {
                        let federation = match bounded {
                            None => Federation::before(panel, window.cut, plan, start)?,
                            Some(bounded) => {
                                ends_before(panel, window, bounded)?;
                                Federation::new(plan, bounded.training(start))?
                            }
                        };
                        federation.train(start, privacy, settings.seed, &mut |done| {
                            observe(Progress::Round { window: window.number, done });
                        })?
                    }
                };
                forecast_shared(panel, window, shared.insert(model), settings)?
            }
        };
        let scores =
            scores(panel, window, &quantiles).map_err(|source| RunError::Score { window: window.number, source })?;
        observe(Progress::Window { window: window.number, series: window.members.len(), tuned, scores });
        all.push(WindowForecasts { window: window.number, members: window.members.clone(), quantiles, scores });
    }
    Ok(all)
}

/// What lies before a window's cut may be trained on, and nothing else.
fn ends_before(panel: &Panel, window: &PanelWindow, bounded: &Bounded) -> Result<(), RunError> {
    match window.members.iter().map(|member| panel.first_test_date(*member)).min() {
        Some(begins) if begins <= bounded.end => {
            Err(RunError::Period { window: window.number, end: bounded.end, begins })
        }
        _ => Ok(()),
    }
}

type Quantiles = Vec<[f32; QUANTILE_COUNT]>;

/// Series that one model forecasts: their places among the window's members.
struct Group<'a> {
    merchant: &'a str,
    places: Vec<usize>,
}

/// Members by merchant.
fn by_merchant<'a>(panel: &'a Panel, window: &PanelWindow) -> Vec<Group<'a>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, member) in window.members.iter().enumerate() {
        groups.entry(&panel.series[member.index].merchant).or_default().push(place);
    }
    groups.into_iter().map(|(merchant, places)| Group { merchant, places }).collect()
}

/// The group's series as known at the cut.
fn known(panel: &Panel, window: &PanelWindow, group: &Group<'_>) -> Vec<Series> {
    group
        .places
        .iter()
        .map(|&place| window.members[place])
        .map(|member| panel.series[member.index].series.up_to(member.cut))
        .collect()
}

/// Forecasts from one model, made their own by the merchants that [`Local`] names. Also how many changed it.
fn forecast_shared(
    panel: &Panel,
    window: &PanelWindow,
    model: &Model,
    settings: &Settings<'_>,
) -> Result<(Vec<Quantiles>, usize), RunError> {
    let (tuning, plain): (Vec<_>, Vec<_>) =
        by_merchant(panel, window).into_iter().partition(|group| match settings.local {
            Local::Auto => group.places.len() >= LOCAL_SERIES_MIN,
            Local::On => true,
            Local::Off => false,
        });
    let plain: Vec<usize> = plain.into_iter().flat_map(|group| group.places).collect();
    let plain = plain.chunks(SERIES_PER_TASK).map(|places| (false, Group { merchant: "", places: places.to_vec() }));
    let groups: Vec<(bool, Group<'_>)> = plain.chain(tuning.into_iter().map(|group| (true, group))).collect();
    let forecast = parallel::each(groups, |(tune, group)| -> Result<_, RunError> {
        let series = known(panel, window, &group);
        let failed = |source| RunError::Personal { merchant: group.merchant.to_owned(), source };
        let personal = if tune {
            Personal::train(model, &series, &LocalTraining::fine_tuning(settings.seed)).map_err(failed)?
        } else {
            Personal::untouched(model.clone())
        };
        let quantiles = predict(&personal, &series, panel).map_err(failed)?;
        Ok((group.places, quantiles, personal.steps > 0))
    })?;
    let tuned = forecast.iter().filter(|(_, _, tuned)| *tuned).count();
    Ok((in_place(window, forecast.into_iter().map(|(places, quantiles, _)| (places, quantiles))), tuned))
}

/// Forecasts of merchants who train alone, once each as long as `trained` keeps their models.
fn forecast_alone<'a>(
    panel: &'a Panel,
    window: &PanelWindow,
    start: &Model,
    settings: &Settings<'_>,
    trained: &mut BTreeMap<&'a str, Personal>,
) -> Result<(Vec<Quantiles>, usize), RunError> {
    let groups: Vec<_> =
        by_merchant(panel, window).into_iter().map(|group| (trained.remove(group.merchant), group)).collect();
    let forecast = parallel::each(groups, |(own, group)| -> Result<_, RunError> {
        let series = known(panel, window, &group);
        let failed = |source| RunError::Personal { merchant: group.merchant.to_owned(), source };
        let personal = match own {
            Some(personal) => personal,
            None => Personal::train(start, &series, &LocalTraining::alone(settings.seed)).map_err(failed)?,
        };
        let quantiles = predict(&personal, &series, panel).map_err(failed)?;
        Ok((group, quantiles, personal))
    })?;
    let tuned = forecast.iter().filter(|(_, _, personal)| personal.steps > 0).count();
    let mut placed = Vec::with_capacity(forecast.len());
    for (group, quantiles, personal) in forecast {
        placed.push((group.places, quantiles));
        trained.insert(group.merchant, personal);
    }
    Ok((in_place(window, placed), tuned))
}

fn predict(personal: &Personal, series: &[Series], panel: &Panel) -> Result<Vec<Quantiles>, PersonalError> {
    let forecasts = personal.predict(series, panel.task.evaluation.horizon)?;
    Ok(forecasts.into_iter().map(|forecast| forecast.quantiles).collect())
}

/// Puts the groups' forecasts back into the order of the members.
fn in_place(window: &PanelWindow, groups: impl IntoIterator<Item = (Vec<usize>, Vec<Quantiles>)>) -> Vec<Quantiles> {
    let mut all = vec![Vec::new(); window.members.len()];
    for (places, quantiles) in groups {
        for (place, quantiles) in places.into_iter().zip(quantiles) {
            all[place] = quantiles;
        }
    }
    all
}

fn scores(panel: &Panel, window: &PanelWindow, quantiles: &[Quantiles]) -> Result<Scores, ScoreError> {
    let scored: Vec<ScoredForecast<'_>> = window
        .members
        .iter()
        .zip(quantiles)
        .map(|(&member, quantiles)| ScoredForecast {
            past: &panel.series[member.index].series.y[..member.cut],
            actual: panel.actual(member),
            quantiles,
        })
        .collect();
    score(panel.task.evaluation.season, &scored)
}
