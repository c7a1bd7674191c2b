//! What a baseline may see: one series up to a cut, and what is known in advance of the steps after it.

use super::naive::{filled_past, seasonal};
use crate::{
    data::series::{KNOWN_CHANNELS, Series},
    forecast::metrics::LEVELS_LEN,
};

/// Seasons, of a week of days or of a week each, that the methods with a long memory look back at most: two years of
/// days, five of weeks. Bounds their time.
const SEASONS_MAX: [usize; 2] = [104, 260];

/// One series up to a cut. Nothing behind the cut can be reached through it but what is known in advance.
pub struct History<'a> {
    series: &'a Series,
    cut: usize,
    filled: Vec<f64>,
}

/// The steps to be forecast.
#[derive(Clone, Copy, Debug)]
pub struct Future<'a> {
    /// How many steps.
    pub horizon: usize,
    /// Channels known in advance, `[≤ horizon]`; steps beyond them are all 0.
    pub known: &'a [[f32; KNOWN_CHANNELS]],
}

impl<'a> History<'a> {
    /// The series' first `cut` steps.
    pub fn new(series: &'a Series, cut: usize) -> Self {
        Self { series, cut, filled: filled_past(series, cut) }
    }

    /// What is known of the `horizon` steps after the cut.
    pub fn future(&self, horizon: usize) -> Future<'a> {
        let known = self.series.known.get(self.cut..).unwrap_or_default();
        Future { horizon, known: &known[..horizon.min(known.len())] }
    }

    /// Steps of a season.
    pub fn season(&self) -> usize {
        self.series.season()
    }

    /// The past with gaps filled forward and leading gaps cut off, the latest years of it.
    pub fn filled(&self) -> &[f64] {
        let seasons = SEASONS_MAX[usize::from(self.season() == 1)];
        &self.filled[self.filled.len().saturating_sub(seasons * self.season())..]
    }

    /// Observed steps with their channels: steps before the cut (0 is the last), value, what was known of them.
    pub fn observed(&self) -> impl Iterator<Item = (usize, f64, &'a [f32; KNOWN_CHANNELS])> {
        static NOTHING: [f32; KNOWN_CHANNELS] = [0.0; KNOWN_CHANNELS];
        let (series, cut) = (self.series, self.cut.min(self.series.y.len()));
        (0..cut)
            .filter(move |step| series.y[*step].is_finite())
            .map(move |step| (cut - 1 - step, f64::from(series.y[step]), series.known.get(step).unwrap_or(&NOTHING)))
    }

    /// Whether anything was observed.
    pub fn is_empty(&self) -> bool {
        self.filled.is_empty()
    }

    /// Whether a negative value was observed; such a series may be forecast below 0.
    pub fn has_negative(&self) -> bool {
        self.filled.iter().any(|y| *y < 0.0)
    }

    /// The forecast that stands in where a method cannot be fitted.
    pub(super) fn seasonal_naive(&self, horizon: usize) -> Vec<[f32; LEVELS_LEN]> {
        let season = if self.filled.len() < self.season() { 1 } else { self.season() };
        seasonal(&self.filled, season, horizon)
    }

    pub(super) fn series(&self) -> (&'a Series, usize) {
        (self.series, self.cut)
    }
}
