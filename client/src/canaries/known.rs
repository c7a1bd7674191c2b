//! What the guesser knows of the canaries before the run: their series, and what each adds to a released sum.

use super::{CanaryAuditError, shop::Shop};
use crate::{
    model::Model,
    train::{GradientError, PrivateStep, Sampling, TrainingSeries, clipped_gradients},
};

/// What the guesser knows.
pub(super) struct Known {
    /// Series of all canaries and of the merchant, as they would be trained on.
    series: Vec<TrainingSeries>,
    /// Which canary's each is; of no canary's it is known to be inside.
    pub(super) owners: Vec<Option<usize>>,
}

impl Known {
    pub(super) fn new(
        shop: &Shop,
        canaries: Vec<TrainingSeries>,
        own: &[TrainingSeries],
    ) -> Result<Self, CanaryAuditError> {
        let canaries =
            canaries.into_iter().filter_map(|one| shop.owner(&one.series.id).map(|owner| (one, Some(owner))));
        let usable = |one: &TrainingSeries| !one.cuts.is_empty();
        let (mut series, mut owners): (Vec<_>, Vec<_>) = canaries.filter(|(one, _)| usable(one)).unzip();
        if series.is_empty() {
            return Err(CanaryAuditError::TooShort(shop.period()));
        }
        series.extend(own.iter().filter(|one| usable(one)).cloned());
        owners.resize(series.len(), None);
        Ok(Self { series, owners })
    }

    /// What each series adds to a released vector on average, `[series][d]`; as in a round nothing, where its gradient is
    /// not finite.
    pub(super) fn expected(
        &self,
        model: &Model,
        step: &PrivateStep,
        scale: f64,
        samples: usize,
    ) -> Result<Vec<Vec<f64>>, CanaryAuditError> {
        let all = PrivateStep { rate: 1.0, ..*step };
        let mut windows = Sampling::from_system();
        let mut directions = vec![vec![0.0; model.federated_len()]; self.series.len()];
        for _ in 0..samples {
            let (_, mut units) = all.draw(model.shape(), &self.series, &mut windows)?;
            let gradients = loop {
                match clipped_gradients(model, &units, step.clip) {
                    Err(GradientError::NotFinite { unit, .. }) => units[unit].clear(),
                    other => break other?,
                }
            };
            for (direction, gradient) in directions.iter_mut().zip(gradients) {
                direction.iter_mut().zip(gradient).for_each(|(sum, x)| *sum += scale * x / samples as f64);
            }
        }
        Ok(directions)
    }

    /// Of `count` canaries whose series add `directions` the `wanted` that are least like one another: each time the one of
    /// which most is left when what the chosen ones explain is taken off (Gram–Schmidt with pivoting).
    pub(super) fn least_alike(&self, directions: &[Vec<f64>], count: usize, wanted: usize) -> Vec<usize> {
        let dimension = directions.first().map_or(0, Vec::len);
        let mut left = vec![vec![0.0; dimension]; count];
        // A series of several windows adds something else in every round: without need it is not taken.
        let mut steady = vec![true; count];
        for ((direction, owner), one) in directions.iter().zip(&self.owners).zip(&self.series) {
            if let Some(owner) = *owner {
                left[owner].iter_mut().zip(direction).for_each(|(sum, x)| *sum += x);
                steady[owner] &= one.cuts.len() == 1;
            }
        }
        let mut open: Vec<usize> = (0..count).filter(|&at| steady[at]).collect();
        if open.len() < wanted {
            open = (0..count).collect();
        }
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let mut chosen = Vec::with_capacity(wanted);
        while chosen.len() < wanted {
            let lengths = open.iter().map(|&at| dot(&left[at], &left[at]));
            let Some((place, _)) = lengths.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else { break };
            let next = open.swap_remove(place);
            chosen.push(next);
            let axis = left[next].clone();
            let length = dot(&axis, &axis);
            if length > 0.0 {
                for &at in &open {
                    let share = dot(&left[at], &axis) / length;
                    left[at].iter_mut().zip(&axis).for_each(|(x, a)| *x -= share * a);
                }
            }
        }
        chosen
    }
}
