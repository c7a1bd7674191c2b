//! The held-back steps, by merchant and method.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use forecastle_client::{
    data::series::{Frequency, Series},
    forecast::{
        baseline,
        metrics::{ScoredForecast, score},
        personal::{Personal, PersonalError},
    },
    model::Model,
    train::LocalTraining,
};

use crate::report::{Accuracy, AccuracyRow, AccuracyTable, Method};

/// Nine quantiles a step.
pub type Quantiles = Vec<[f32; 9]>;

/// How many ways to forecast are compared.
const METHOD_COUNT: usize = 5;

/// Columns of the table, in order.
pub fn methods(frequency: Frequency) -> [Method; METHOD_COUNT] {
    let window = match frequency {
        Frequency::Daily => Method::SameWeekday,
        Frequency::Weekly => Method::LastWeeks,
    };
    [Method::Federated, Method::NoFederation, Method::Alone, Method::SeasonalNaive, window]
}

/// One merchant's series up to the cut, and what came true.
pub struct Exam {
    /// Name.
    pub merchant: String,
    /// Series that end where the held-back steps begin.
    pub series: Vec<Series>,
    /// What came true, `[horizon]` each.
    pub actual: Vec<Vec<f32>>,
    /// Forecasts by method, in the order of [`methods`]: `[method][series]`.
    pub forecasts: Vec<Vec<Quantiles>>,
}

impl Exam {
    /// Pairs series with what came true; series without a truth are left out.
    pub fn new(merchant: String, series: Vec<Series>, mut truth: HashMap<String, Vec<f32>>) -> Self {
        let (mut kept, mut actual) = (Vec::new(), Vec::new());
        for one in series {
            let judged = truth.remove(&one.id).filter(|y| y.iter().any(|v| v.is_finite()));
            if let Some(y) = judged.filter(|_| one.y.iter().any(|v| v.is_finite())) {
                kept.push(one);
                actual.push(y);
            }
        }
        Self { merchant, series: kept, actual, forecasts: Vec::new() }
    }

    /// Forecasts by every method.
    ///
    /// # Errors
    /// Where local training fails.
    pub fn sit(&mut self, federated: &Model, warm: &Model, horizon: usize, seed: u64) -> Result<(), PersonalError> {
        let tuned = |base: &Model, settings: LocalTraining| -> Result<Vec<Quantiles>, PersonalError> {
            let personal = Personal::train(base, &self.series, &settings)?;
            Ok(personal.predict(&self.series, horizon)?.into_iter().map(|f| f.quantiles).collect())
        };
        let plain = |method: fn(&Series, usize, usize) -> Quantiles| -> Vec<Quantiles> {
            self.series.iter().map(|s| method(s, s.y.len(), horizon)).collect()
        };
        self.forecasts = vec![
            tuned(federated, LocalTraining::fine_tuning(seed))?,
            tuned(warm, LocalTraining::fine_tuning(seed))?,
            tuned(warm, LocalTraining::alone(seed))?,
            plain(baseline::seasonal_naive),
            plain(baseline::window_quantiles),
        ];
        Ok(())
    }

    /// Scores of one method; `None` where nothing can be judged.
    fn accuracy(&self, method: usize) -> Option<Accuracy> {
        accuracy(self.scored(method))
    }

    fn scored(&self, method: usize) -> Vec<(&Series, &[f32], &Quantiles)> {
        self.series
            .iter()
            .zip(&self.actual)
            .zip(&self.forecasts[method])
            .map(|((s, y), q)| (s, y.as_slice(), q))
            .collect()
    }
}

/// All merchants sit, on two threads; `done` is told how many have.
///
/// # Errors
/// The first merchant's error.
pub fn sit_all(
    exams: &mut [Exam],
    federated: &Model,
    warm: &Model,
    horizon: usize,
    seed: u64,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(), PersonalError> {
    let finished = AtomicUsize::new(0);
    let queue = Mutex::new(exams.iter_mut());
    let failed = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from).min(4) {
            scope.spawn(|| {
                loop {
                    let Some(exam) = queue.lock().ok().and_then(|mut q| q.next()) else { return };
                    if let Err(error) = exam.sit(federated, warm, horizon, seed) {
                        if let Ok(mut first) = failed.lock() {
                            first.get_or_insert(error);
                        }
                        return;
                    }
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    match failed.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// The table over all merchants; the total is over all series, not the mean of the rows.
pub fn table(exams: &[Exam], frequency: Frequency) -> AccuracyTable {
    let rows = exams
        .iter()
        .map(|exam| AccuracyRow {
            merchant: exam.merchant.clone(),
            series: exam.series.len(),
            scores: (0..METHOD_COUNT).map(|m| exam.accuracy(m)).collect(),
        })
        .collect();
    let total = AccuracyRow {
        merchant: "all".into(),
        series: exams.iter().map(|e| e.series.len()).sum(),
        scores: (0..METHOD_COUNT).map(|m| accuracy(exams.iter().flat_map(|e| e.scored(m)).collect())).collect(),
    };
    AccuracyTable { methods: methods(frequency).to_vec(), rows, total }
}

/// Share of judged cells that lie at or below each quantile.
pub fn coverage(exams: &[Exam], method: usize) -> [f64; 9] {
    let (mut below, mut cells) = ([0usize; 9], 0usize);
    for (_, actual, quantiles) in exams.iter().flat_map(|e| e.scored(method)) {
        for (y, q) in actual.iter().zip(quantiles).filter(|(y, _)| y.is_finite()) {
            cells += 1;
            for (count, level) in below.iter_mut().zip(q) {
                *count += usize::from(y <= level);
            }
        }
    }
    below.map(|count| count as f64 / cells.max(1) as f64)
}

fn accuracy(forecasts: Vec<(&Series, &[f32], &Quantiles)>) -> Option<Accuracy> {
    let season = forecasts.first()?.0.season();
    let scored: Vec<ScoredForecast<'_>> = forecasts
        .iter()
        .map(|(series, actual, quantiles)| ScoredForecast { past: &series.y, actual, quantiles })
        .collect();
    let scores = score(season, &scored).ok()?;
    (scores.wql.is_finite() && scores.wape.is_finite()).then_some(Accuracy { wql: scores.wql, wape: scores.wape })
}
