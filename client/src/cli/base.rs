//! The models that verbs start from.

use std::error::Error;

use crate::{
    federation::home::Home,
    model::{Model, assets},
};

type Found = Result<(u64, Model), Box<dyn Error + Send + Sync>>;

/// What rounds train: the federation's latest model, or the warm start before the first download.
pub(super) fn shared_model(home: &Home) -> Found {
    match home.current_model()? {
        Some((version, snapshot)) => Ok((version, Model::from_snapshot(&snapshot)?)),
        None => Ok((0, Model::from_snapshot(&assets::warm_start("nano-daily")?)?)),
    }
}

/// The shared model from before the first round: the earliest that this merchant has of the federation's, or the warm start.
pub(super) fn shared_founding_model(home: &Home) -> Found {
    match home.earliest_model()? {
        Some((version, snapshot)) => Ok((version, Model::from_snapshot(&snapshot)?)),
        None => shared_model(home),
    }
}

/// The model that forecasts here: the shared one, set to read also what this merchant chose for itself in `series.toml`.
pub(super) fn base_model(home: &Home) -> Found {
    reading_more(home, shared_model(home)?)
}

/// The same from before the first round.
pub(super) fn founding_model(home: &Home) -> Found {
    reading_more(home, shared_founding_model(home)?)
}

fn reading_more(home: &Home, (version, model): (u64, Model)) -> Found {
    let inputs = model.config().inputs().or(home.series_choice()?.inputs);
    Ok((version, model.with_inputs(inputs)?))
}
