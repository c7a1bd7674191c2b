//! Windows: the past, the known future and the target that one training or test example sees.
//!
//! A window is a function of one series alone: its scale and its inputs never depend on another series, which
//! is what lets a clipped gradient be charged to that series only.

use std::sync::Arc;

use super::returns::settled_steps;
use super::series::{Further, KNOWN_CHANNELS, Series};
use super::signals::{EXTRA_KNOWN, PAST_CHANNELS};
use crate::text::{DEFAULT_SALT, HashedNgrams, TextEncoder, hash_attributes};

/// Extent of a window in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowShape {
    /// Steps of the past.
    pub context: usize,
    /// Steps of the future.
    pub horizon: usize,
}

/// Length of the hashed attribute vector of a series.
pub const ATTRIBUTE_BUCKETS: usize = 64;
/// Length of the text vector of a series.
pub const TEXT_BUCKETS: usize = 256;

/// What never changes along a series, shared by all its windows.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticInputs {
    /// Salted-hash multi-hot vector of the attributes, `[ATTRIBUTE_BUCKETS]`, Euclidean norm 1 (or all 0).
    pub attributes: Vec<f32>,
    /// The text's vector, of hashed character 3–5-grams or a sentence encoder, `[TEXT_BUCKETS]`, Euclidean norm 1 (or all 0).
    pub text: Vec<f32>,
}

/// One example: `context` past steps, `horizon` future steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Past target `[context]`, oldest first; `NaN` where missing or before the series began.
    pub past: Vec<f32>,
    /// Known channels `[context + horizon]`; all 0 where the series had not begun.
    pub known: Vec<[f32; KNOWN_CHANNELS]>,
    /// Attributes and text.
    pub statics: Arc<StaticInputs>,
    /// Future target `[horizon]`; `NaN` where missing or not yet known. Never an input.
    pub future: Vec<f32>,
    /// What else was chosen: the past `[context]`, what is known and what came back `[context + horizon]`; `None` where nothing
    /// was. What came back of the future is never an input.
    pub further: Option<Arc<Further>>,
}

impl Window {
    /// A window in which nothing was seen and nothing is known.
    pub fn empty(shape: WindowShape) -> Self {
        let statics = StaticInputs { attributes: vec![0.0; ATTRIBUTE_BUCKETS], text: vec![0.0; TEXT_BUCKETS] };
        Self {
            past: vec![f32::NAN; shape.context],
            known: vec![[0.0; KNOWN_CHANNELS]; shape.context + shape.horizon],
            statics: Arc::new(statics),
            future: vec![f32::NAN; shape.horizon],
            further: None,
        }
    }
}

impl StaticInputs {
    /// Attributes and text of a series: hashed under the default public salt, or the text's vector that it carries.
    pub fn of(series: &Series) -> Self {
        match &series.text_vector {
            None => Self::with(series, &HashedNgrams::default(), DEFAULT_SALT),
            Some(vector) => {
                Self { attributes: hash_attributes(&series.attributes, DEFAULT_SALT), text: vector.to_vec() }
            }
        }
    }

    /// Attributes and text of a series under another encoder and salt.
    pub fn with(series: &Series, encoder: &dyn TextEncoder, salt: &[u8]) -> Self {
        Self { attributes: hash_attributes(&series.attributes, salt), text: encoder.encode(&series.text) }
    }
}

impl Window {
    /// The window whose past ends after `cut` steps of the series.
    ///
    /// Steps before the series began and steps beyond its last are `NaN` in the target and 0 in the known
    /// channels; `cut` may lie beyond the end of `y` (a forecast of days for which nothing was recorded yet).
    pub fn at(series: &Series, statics: Arc<StaticInputs>, cut: usize, shape: WindowShape) -> Self {
        let target = |step: Option<usize>| step.and_then(|step| series.y.get(step)).copied().unwrap_or(f32::NAN);
        let past = (0..shape.context).map(|i| target((cut + i).checked_sub(shape.context))).collect();
        let future = (0..shape.horizon).map(|i| target(Some(cut + i))).collect();
        let known = (0..shape.context + shape.horizon)
            .map(|i| {
                let step = (cut + i).checked_sub(shape.context);
                step.and_then(|step| series.known.get(step)).copied().unwrap_or([0.0; KNOWN_CHANNELS])
            })
            .collect();
        let further = series.further.as_deref().map(|further| Arc::new(cut_out(series, further, cut, shape)));
        Self { past, known, statics, future, further }
    }
}

/// Largest count that a distribution of counts is fitted to.
const COUNT_MAX: f32 = 1e5;

impl Window {
    /// Whether all that was observed are whole numbers of nothing or something, few enough for their likelihood in `f32`.
    pub fn holds_counts(&self) -> bool {
        let mut observed = self.past.iter().chain(&self.future).filter(|y| !y.is_nan());
        observed.all(|y| *y >= 0.0 && *y < COUNT_MAX && y.fract() == 0.0)
    }
}

/// What a window sees of the further inputs: the past ends with it, and what lies outside the series is not known. What came
/// back of a step is known when time enough has passed: of the past by the cut, of the future by the end of the series.
fn cut_out(series: &Series, further: &Further, cut: usize, shape: WindowShape) -> Further {
    let step = |i: usize| (cut + i).checked_sub(shape.context);
    let past = |i| step(i).and_then(|step| further.past.get(step)).copied().unwrap_or([f32::NAN; PAST_CHANNELS]);
    let known = |i| step(i).and_then(|step| further.known.get(step)).copied().unwrap_or([0.0; EXTRA_KNOWN]);
    let settled = settled_steps(series.frequency);
    let returns = |i: usize| {
        let known = if i < shape.context { cut.min(series.y.len()) } else { series.y.len() };
        let step = step(i).filter(|step| step + settled < known);
        step.and_then(|step| further.returns.get(step)).copied().unwrap_or([f32::NAN; 2])
    };
    let empty = |is_empty: bool, len: usize| if is_empty { 0 } else { len };
    Further {
        past: (0..empty(further.past.is_empty(), shape.context)).map(past).collect(),
        known: (0..empty(further.known.is_empty(), shape.context + shape.horizon)).map(known).collect(),
        vector: further.vector.clone(),
        returns: (0..empty(further.returns.is_empty(), shape.context + shape.horizon)).map(returns).collect(),
    }
}

/// Cuts at which a series gives a training example, in increasing order.
///
/// Each has at least `past_min` steps behind it and a whole horizon before the end of `y`; a series too short for
/// that gives every cut with a step on either side, its missing future unscored. Cuts with nothing observed on one
/// side are left out. To train on what was known at some date, pass [`Series::up_to`] that date: no cut of the
/// shortened series looks beyond it.
pub fn training_cuts(series: &Series, shape: WindowShape, past_min: usize) -> Vec<usize> {
    let len = series.y.len();
    let past_min = past_min.max(1);
    let cuts = if len >= past_min + shape.horizon { past_min..=len - shape.horizon } else { 1..=len.saturating_sub(1) };
    let mut observed_before = Vec::with_capacity(len + 1);
    observed_before.push(0_usize);
    for y in &series.y {
        let count = observed_before.last().copied().unwrap_or(0);
        observed_before.push(count + usize::from(y.is_finite()));
    }
    let observed = |from: usize, to: usize| observed_before[to.min(len)] - observed_before[from.min(len)];
    cuts.filter(|&cut| observed(cut.saturating_sub(shape.context), cut) > 0 && observed(cut, cut + shape.horizon) > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::series::Frequency;

    const SHAPE: WindowShape = WindowShape { context: 4, horizon: 2 };

    fn series(y: &[f32], future: usize) -> Series {
        let known = (0..y.len() + future)
            .map(|step| {
                let mut channels = [0.0; KNOWN_CHANNELS];
                channels[0] = step as f32 + 1.0;
                channels
            })
            .collect();
        Series {
            id: "mug".into(),
            frequency: Frequency::Daily,
            start: date(2024, 1, 1),
            y: y.to_vec(),
            known,
            attributes: vec![("category".into(), "kitchen".into())],
            text: "a red mug".into(),
            text_vector: None,
            further: None,
        }
    }

    fn at(series: &Series, cut: usize) -> Window {
        Window::at(series, Arc::new(StaticInputs::of(series)), cut, SHAPE)
    }

    fn first_channel(window: &Window) -> Vec<f32> {
        window.known.iter().map(|channels| channels[0]).collect()
    }

    #[test]
    fn a_window_in_the_middle_copies_the_steps_around_its_cut() {
        let window = at(&series(&[1., 2., 3., 4., 5., 6., 7.], 2), 5);
        assert_eq!(window.past, [2., 3., 4., 5.]);
        assert_eq!(window.future, [6., 7.]);
        assert_eq!(first_channel(&window), [2., 3., 4., 5., 6., 7.]);
    }

    #[test]
    fn before_the_start_the_target_is_missing_and_the_known_channels_are_zero() {
        let window = at(&series(&[1., 2., 3., 4.], 2), 2);
        assert!(window.past[0].is_nan() && window.past[1].is_nan());
        assert_eq!(window.past[2..], [1., 2.]);
        assert_eq!(first_channel(&window), [0., 0., 1., 2., 3., 4.]);
    }

    #[test]
    fn beyond_the_end_the_target_is_missing_and_the_known_future_stays() {
        let window = at(&series(&[1., 2., 3., 4.], 1), 4);
        assert!(window.future.iter().all(|y| y.is_nan()));
        assert_eq!(first_channel(&window), [1., 2., 3., 4., 5., 0.]);
        let cold = at(&series(&[], 2), 0);
        assert!(cold.past.iter().all(|y| y.is_nan()));
        assert_eq!(first_channel(&cold), [0., 0., 0., 0., 1., 2.]);
    }

    #[test]
    fn the_future_target_never_reaches_an_input() {
        let known = series(&[1., 2., 3., 4., 5., 6.], 0);
        let hidden = known.up_to(4);
        let (with, without) = (at(&known, 4), at(&hidden, 4));
        assert_eq!((with.past, with.known), (without.past, without.known));
        assert!(without.future.iter().all(|y| y.is_nan()));
    }

    #[test]
    fn training_cuts_leave_a_whole_horizon_and_something_observed_on_both_sides() {
        assert_eq!(training_cuts(&series(&[1.; 8], 2), SHAPE, 3), [3, 4, 5, 6]);
        let gap = series(&[1., 1., f32::NAN, f32::NAN, 1., 1., 1.], 0);
        assert_eq!(training_cuts(&gap, SHAPE, 1), [1, 3, 4, 5]);
        assert!(training_cuts(&series(&[f32::NAN; 9], 0), SHAPE, 1).is_empty());
    }

    #[test]
    fn a_series_shorter_than_a_window_still_gives_cuts() {
        assert_eq!(training_cuts(&series(&[1., 1., 1.], 2), SHAPE, 4), [1, 2]);
        assert!(training_cuts(&series(&[1.], 2), SHAPE, 4).is_empty());
        assert!(training_cuts(&series(&[], 2), SHAPE, 4).is_empty());
    }
}
