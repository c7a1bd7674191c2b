//! Windows that exist while they are looked at.
//!
//! A window repeats what its series holds, several kilobytes each; a shop with thousands of products has tens of thousands
//! of windows. Training takes them one batch at a time, so that memory does not grow with their number.

use std::borrow::Cow;

use super::TrainingSeries;
use crate::data::window::{Window, WindowShape};

/// A list of windows, each made when it is asked for.
pub trait Windows: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The window at a position below [`Self::count`].
    fn window(&self, index: usize) -> Cow<'_, Window>;
}

impl Windows for [Window] {
    fn count(&self) -> usize {
        self.len()
    }

    fn window(&self, index: usize) -> Cow<'_, Window> {
        Cow::Borrowed(&self[index])
    }
}

impl Windows for Vec<Window> {
    fn count(&self) -> usize {
        self.len()
    }

    fn window(&self, index: usize) -> Cow<'_, Window> {
        Cow::Borrowed(&self[index])
    }
}

/// Windows of series, by position and cut.
#[derive(Clone, Debug)]
pub struct CutWindows<'a> {
    series: &'a [TrainingSeries],
    shape: WindowShape,
    places: Vec<(usize, usize)>,
}

impl<'a> CutWindows<'a> {
    /// No windows yet, of these series.
    pub fn none(series: &'a [TrainingSeries], shape: WindowShape) -> Self {
        Self { series, shape, places: Vec::new() }
    }

    /// Adds the window of a series whose past ends after `cut` steps.
    ///
    /// # Panics
    /// When there is no such series.
    pub fn add(&mut self, series: usize, cut: usize) {
        assert!(series < self.series.len(), "series {series} of {}", self.series.len());
        self.places.push((series, cut));
    }
}

impl Windows for CutWindows<'_> {
    fn count(&self) -> usize {
        self.places.len()
    }

    fn window(&self, index: usize) -> Cow<'_, Window> {
        let (series, cut) = self.places[index];
        Cow::Owned(self.series[series].window(cut, self.shape))
    }
}
