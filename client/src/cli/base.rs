//! The models that verbs start from.

use std::error::Error;

use crate::{
    federation::home::Home,
    model::{Model, assets},
};

/// The model to start from: the federation's latest, or the warm start before the first download.
pub(super) fn base_model(home: &Home) -> Result<(u64, Model), Box<dyn Error + Send + Sync>> {
    match home.current_model()? {
        Some((version, snapshot)) => Ok((version, Model::from_snapshot(&snapshot)?)),
        None => Ok((0, Model::from_snapshot(&assets::warm_start("nano-daily")?)?)),
    }
}

/// The model from before the first round: the earliest that this merchant has of the federation's, or the warm start.
pub(super) fn founding_model(home: &Home) -> Result<(u64, Model), Box<dyn Error + Send + Sync>> {
    match home.earliest_model()? {
        Some((version, snapshot)) => Ok((version, Model::from_snapshot(&snapshot)?)),
        None => base_model(home),
    }
}
