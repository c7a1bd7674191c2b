//! What a model says of a series beside quantiles: the distribution of counts, and what comes back of what is sold.
//!
//! Both come of the first model among the ways that a merchant is served with; baselines say nothing of either, and a mix is
//! one of quantiles alone. They are not calibrated. Where they mean nothing there is nothing: no distribution of counts for a
//! series that is none, no returns in a shop that keeps no record of them.

use std::sync::Arc;

use super::{Forecaster, NegativeBinomial, Served, served::Forecasters};
use crate::{
    data::{
        clean::ReturnPolicy,
        series::Series,
        window::{StaticInputs, Window},
    },
    model::{ForwardError, QUANTILE_COUNT},
};

/// What the heads say of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beside {
    /// Distribution of each step, `[horizon]`; `None` where the past is not one of counts.
    pub counts: Option<Vec<NegativeBinomial>>,
    /// Share of each step's sales that comes back, `[horizon]`; `None` where nothing is known to have come back.
    pub rates: Option<Vec<f32>>,
}

/// What comes back of one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Returns {
    /// Share of the units sold that comes back.
    pub rate: f64,
    /// Expected units that come back.
    pub returned: f64,
    /// Expected units that stay sold.
    pub net: f64,
}

impl Returns {
    /// Of a share and of `units` expected, which count what stays or, under [`ReturnPolicy::Gross`], all that is ordered.
    pub fn of(rate: f32, units: f64, policy: ReturnPolicy) -> Self {
        let rate = f64::from(rate);
        match policy {
            ReturnPolicy::Gross => Self { rate, returned: units * rate, net: units * (1.0 - rate) },
            ReturnPolicy::Net => Self { rate, returned: units * rate / (1.0 - rate), net: units },
        }
    }
}

impl Beside {
    /// Expected units of a step: of the distribution of counts, or else the mean of the quantiles.
    pub fn expected(&self, step: usize, quantiles: &[f32; QUANTILE_COUNT]) -> f64 {
        match self.counts.as_ref().and_then(|counts| counts.get(step)) {
            Some(count) => f64::from(count.mean),
            None => quantiles.iter().map(|q| f64::from(*q)).sum::<f64>() / QUANTILE_COUNT as f64,
        }
    }
}

impl Forecasters<'_> {
    /// The model that says something beside quantiles; `None` where a merchant is served by baselines alone.
    pub fn speaker(&self, served: &Served) -> Option<&Forecaster> {
        let way = served.members().iter().copied().find(|way| way.uses_model())?;
        Some(self.own(way).map_or(self.model, |own| own.forecaster()))
    }

    /// What the model says of each series after its cut, for `horizon` steps.
    ///
    /// # Errors
    /// [`ForwardError`] where a window does not fit the model, or the device fails.
    pub fn beside(
        &self,
        served: &Served,
        items: &[(&Series, usize)],
        horizon: usize,
    ) -> Result<Vec<Beside>, ForwardError> {
        let mut all = vec![Beside::default(); items.len()];
        let Some(speaker) = self.speaker(served).filter(|one| one.config().counts || one.config().returns) else {
            return Ok(all);
        };
        let window = |(series, cut): &(&Series, usize)| {
            Window::at(series, Arc::new(StaticInputs::of(series)), *cut, speaker.shape())
        };
        let windows: Vec<Window> = items.iter().map(window).collect();
        let heads = speaker.heads(&windows)?;
        if let Some(counts) = heads.counts {
            for ((one, mut steps), window) in all.iter_mut().zip(counts).zip(&windows) {
                steps.truncate(horizon);
                one.counts = window.holds_counts().then_some(steps);
            }
        }
        if let Some(rates) = heads.returns {
            for ((one, mut steps), (series, _)) in all.iter_mut().zip(rates).zip(items) {
                steps.truncate(horizon);
                let is_recorded = series.further.as_ref().is_some_and(|further| !further.returns.is_empty());
                one.rates = is_recorded.then_some(steps);
            }
        }
        Ok(all)
    }
}
