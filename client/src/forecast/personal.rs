//! From a shared model to one merchant's forecasts: local fine-tuning, local calibration, prediction.
//!
//! Everything here uses all of the merchant's lines and therefore never leaves it. The same steps serve the
//! forecasts after federated rounds, the row *no federation* (from the warm start) and the row *alone* (longer, all
//! parameters), so that the rows differ only in what they should differ in.

use std::ops::ControlFlow;

use super::{Calibration, Forecast, Forecaster, PastForecasts};
use crate::{
    data::{
        finite::{self, NotFinite},
        series::Series,
        window::Window,
    },
    model::{ForwardError, Model},
    train::{CutWindows, LocalTraining, LocalTrainingError, TrainingSeries, Windows, merchant::training_series},
};

/// Most training windows that one series gives to local training; more windows of the same series look alike.
const WINDOWS_PER_SERIES: usize = 12;
/// Past origins, a horizon apart, whose forecasts calibrate the next.
const ORIGINS: usize = 4;
/// Windows that exist at the same time while past origins are forecast.
const TOGETHER: usize = 1024;

/// A model made a merchant's own.
pub struct Personal {
    forecaster: Forecaster,
    calibration: Calibration,
    /// Steps of local training that were kept; 0 where the shared model was better as it was.
    pub steps: usize,
}

/// Why a model could not be made a merchant's own.
#[derive(Debug, thiserror::Error)]
pub enum PersonalError {
    /// A series with a number that is none.
    #[error(transparent)]
    Series(#[from] NotFinite),
    /// Local training.
    #[error(transparent)]
    Training(#[from] LocalTrainingError),
    /// Prediction.
    #[error(transparent)]
    Prediction(#[from] ForwardError),
}

impl Personal {
    /// Trains `base` on the given series (cut to what is known) and calibrates on their last horizons.
    ///
    /// First no window of the last horizon is trained on: it chooses when to stop, and judges the calibration. The horizons
    /// before it were trained on, so that their errors may be a little too small; the judge would see that. Then training is
    /// repeated for as many steps on all windows, since the last horizon says most about the next; the calibration stays that
    /// of the model that had not seen it.
    ///
    /// # Errors
    /// [`PersonalError`].
    pub fn train(base: &Model, series: &[Series], settings: &LocalTraining) -> Result<Self, PersonalError> {
        series.iter().try_for_each(finite::check)?;
        let (shape, horizon) = (base.shape(), base.shape().horizon);
        let all = training_series(series.to_vec(), base.config());
        let none = CutWindows::none(&all, shape);
        let (mut train, mut every, mut validation) = (none.clone(), none.clone(), none.clone());
        let mut origins: [CutWindows<'_>; ORIGINS] = std::array::from_fn(|_| none.clone());
        for (place, one) in all.iter().enumerate() {
            let last = one.series.y.len().saturating_sub(horizon);
            let earlier = spread(&one.cuts, |cut| cut + horizon <= last);
            earlier.iter().for_each(|&cut| train.add(place, cut));
            spread(&one.cuts, |cut| cut <= last).into_iter().for_each(|cut| every.add(place, cut));
            if one.cuts.contains(&last) && !earlier.is_empty() {
                validation.add(place, last);
                for (back, windows) in (1..ORIGINS).zip(origins.iter_mut().rev().skip(1)) {
                    let cut = last.saturating_sub(back * horizon);
                    if one.cuts.contains(&cut) {
                        windows.add(place, cut);
                    }
                }
            }
        }
        let outcome = settings.run(base, &train, &validation, &mut |_| ControlFlow::Continue(()))?;
        origins[ORIGINS - 1] = validation;
        let calibration = Self::calibrate(&Forecaster::of(outcome.model), &origins)?;
        let forecaster = Forecaster::of(settings.refit(base, &every, outcome.steps)?);
        Ok(Self { forecaster, calibration, steps: outcome.steps })
    }

    /// `base` as it is, without local training or calibration.
    pub fn untouched(base: Model) -> Self {
        Self { forecaster: Forecaster::of(base), calibration: Calibration::IDENTITY, steps: 0 }
    }

    /// Forecasts the steps after the end of each series, `horizon` of them (at most the model's).
    ///
    /// # Errors
    /// [`ForwardError`].
    pub fn predict(&self, series: &[Series], horizon: usize) -> Result<Vec<Forecast>, ForwardError> {
        series.iter().try_for_each(finite::check)?;
        let shape = self.forecaster.shape();
        let windows: Vec<Window> = series
            .iter()
            .map(|s| TrainingSeries::new(s.clone(), shape, usize::MAX >> 1).window(s.y.len(), shape))
            .collect();
        let mut forecasts = self.forecaster.predict(&windows)?;
        for forecast in &mut forecasts {
            self.calibration.apply(forecast);
            forecast.truncate(horizon);
        }
        Ok(forecasts)
    }

    /// The model under the calibration: what it says beside quantiles is not calibrated.
    pub fn forecaster(&self) -> &Forecaster {
        &self.forecaster
    }

    /// Learns from the windows of past origins, oldest first.
    fn calibrate(forecaster: &Forecaster, origins: &[CutWindows<'_>]) -> Result<Calibration, ForwardError> {
        let past = origins.iter().filter(|windows| windows.count() > 0).map(|windows| {
            let mut past = PastForecasts::default();
            let every: Vec<usize> = (0..windows.count()).collect();
            for some in every.chunks(TOGETHER) {
                let some: Vec<Window> = some.iter().map(|&i| windows.window(i).into_owned()).collect();
                past.forecasts.extend(forecaster.predict(&some)?);
                past.truths.extend(some.into_iter().map(|window| window.future));
            }
            Ok(past)
        });
        Ok(Calibration::fit(&past.collect::<Result<Vec<_>, ForwardError>>()?))
    }
}

/// The latest of the cuts that are allowed, and others before it, evenly spread: at most [`WINDOWS_PER_SERIES`].
fn spread(cuts: &[usize], allowed: impl Fn(usize) -> bool) -> Vec<usize> {
    let allowed: Vec<usize> = cuts.iter().copied().filter(|&cut| allowed(cut)).collect();
    let stride = allowed.len().div_ceil(WINDOWS_PER_SERIES).max(1);
    allowed.into_iter().rev().step_by(stride).collect()
}
