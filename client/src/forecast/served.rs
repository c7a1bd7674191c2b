//! The ways a merchant's series can be forecast, by name, and which of them it is served with.
//!
//! A merchant is served with one way, or with a mix: the weighted mean of several ways' quantiles, level by level (the
//! average of quantile functions, which keeps them ascending; Lichtendahl, Grushka-Cockayne and Winkler 2013). What is
//! served is the merchant's own choice, kept in its state folder; it never leaves.

use std::{
    fmt,
    num::NonZero,
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    Forecaster,
    baseline::{Answer, History, Method},
    metrics::LEVELS_LEN,
    personal::Personal,
};
use crate::{
    data::{
        finite,
        series::Series,
        window::{StaticInputs, Window},
    },
    durable::{self, Access, DiskError},
    model::ForwardError,
};

/// File of the choice, in the state folder.
const FILE: &str = "served.toml";

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The published model as it is.
    Model,
    /// The published model, fine-tuned and calibrated on this merchant's own series.
    Personal,
    /// The model from before the first round, fine-tuned and calibrated in the same way: what there was without
    /// the federation.
    NoFederation,
    /// A baseline.
    Baseline(Method),
}

/// A word that names no way, or a weight that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WayError {
    /// No way is called that.
    #[error("there is no way to forecast called `{0}`; there are {names}", names = Way::all().map(Way::name).collect::<Vec<_>>().join(", "))]
    Unknown(String),
    /// Not a positive number.
    #[error("`{0}` is no weight; write a mix like 0.6*theta+0.4*model, with weights above 0")]
    Weight(String),
}

impl Way {
    /// Every way: the model as published, made the merchant's own, the same without federation, then the baselines.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Model, Self::Personal, Self::NoFederation].into_iter().chain(Method::ALL.into_iter().map(Self::Baseline))
    }

    /// Whether a model forecasts, rather than a baseline.
    pub fn uses_model(self) -> bool {
        !matches!(self, Self::Baseline(_))
    }

    /// Name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Personal => "model-personal",
            Self::NoFederation => "no-federation",
            Self::Baseline(method) => method.name(),
        }
    }
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(word: &str) -> Result<Self, WayError> {
        Self::all().find(|way| way.name() == word).ok_or_else(|| WayError::Unknown(word.to_owned()))
    }
}

/// One way, or several whose quantiles are averaged. Written `theta`, `theta+model` or `0.7*theta+0.3*model`.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    members: Vec<Way>,
    /// Above 0, with sum 1.
    weights: Vec<f64>,
}

/// Digits after the point of a weight, in files and in use: what is written is what is served.
const WEIGHT_STEPS: f64 = 1_000.0;

impl Served {
    /// Of one way.
    pub fn one(way: Way) -> Self {
        Self { members: vec![way], weights: vec![1.0] }
    }

    /// Of several, alike; `None` of none.
    pub fn mix(members: Vec<Way>) -> Option<Self> {
        let share = 1.0 / members.len() as f64;
        (!members.is_empty()).then(|| Self { weights: vec![share; members.len()], members })
    }

    /// Of several with weights ≥ 0, which are scaled to sum 1 and rounded to thousandths; ways whose weight rounds to 0 are
    /// left out. `None` where nothing is left.
    pub fn weighted(ways: impl IntoIterator<Item = (Way, f64)>) -> Option<Self> {
        let ways: Vec<(Way, f64)> =
            ways.into_iter().filter(|(_, weight)| *weight > 0.0 && weight.is_finite()).collect();
        let total: f64 = ways.iter().map(|(_, weight)| weight).sum();
        let mut rounded: Vec<(Way, f64)> = ways
            .into_iter()
            .map(|(way, weight)| (way, (WEIGHT_STEPS * weight / total).round()))
            .filter(|(_, steps)| *steps > 0.0)
            .collect();
        let sum: f64 = rounded.iter().map(|(_, steps)| steps).sum();
        let largest = rounded.iter_mut().max_by(|a, b| a.1.total_cmp(&b.1))?;
        largest.1 += WEIGHT_STEPS - sum;
        let (members, steps): (Vec<Way>, Vec<f64>) = rounded.into_iter().unzip();
        Some(Self { members, weights: steps.into_iter().map(|steps| steps / WEIGHT_STEPS).collect() })
    }

    /// The ways, at least one.
    pub fn members(&self) -> &[Way] {
        &self.members
    }

    /// Their weights, which add up to 1.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// The mean of forecasts of [`Self::members`], `[horizon][9]` each, in their order.
    pub fn averaged(&self, forecasts: &[&[[f32; LEVELS_LEN]]]) -> Vec<[f32; LEVELS_LEN]> {
        let steps = forecasts.iter().map(|forecast| forecast.len()).min().unwrap_or(0);
        let at = |step: usize, level: usize| {
            let parts = forecasts.iter().zip(&self.weights);
            parts.map(|(forecast, weight)| weight * f64::from(forecast[step][level])).sum::<f64>() as f32
        };
        (0..steps).map(|step| std::array::from_fn(|level| at(step, level))).collect()
    }

    /// What was chosen for the state folder; `None` where nothing was.
    ///
    /// # Errors
    /// Where the file cannot be read or names no way.
    pub fn read(state: &Path) -> Result<Option<Self>, ServedError> {
        let path = state.join(FILE);
        if !path.exists() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&durable::read(&path)?).into_owned();
        let file = || path.display().to_string();
        let stored: Stored = toml::from_str(&text).map_err(|e| ServedError::Damaged(file(), e.to_string()))?;
        Ok(Some(stored.served.parse().map_err(|e: WayError| ServedError::Damaged(file(), e.to_string()))?))
    }

    /// Forgets the choice. Returns whether there was one.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn forget(state: &Path) -> Result<bool, ServedError> {
        let path = state.join(FILE);
        let was_there = path.exists();
        durable::remove(&path)?;
        Ok(was_there)
    }

    /// Keeps the choice; the file is replaced whole.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&self, state: &Path) -> Result<(), ServedError> {
        let text = format!(
            "# Which way `forecastle forecast` takes; written by `forecastle backtest --serve`.\nserved = \"{self}\"\n"
        );
        Ok(durable::write(&state.join(FILE), text.as_bytes(), Access::Ordinary)?)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    served: String,
}

/// Why a choice cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ServedError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file.
    #[error("{0}: {1}; correct the file or delete it")]
    Damaged(String, String),
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let alike = self.weights.iter().all(|weight| *weight == self.weights[0]);
        for (number, (way, weight)) in self.members.iter().zip(&self.weights).enumerate() {
            let plus = if number == 0 { "" } else { "+" };
            if alike { write!(f, "{plus}{}", way.name())? } else { write!(f, "{plus}{weight}*{}", way.name())? }
        }
        Ok(())
    }
}

impl FromStr for Served {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        let part = |part: &str| match part.split_once('*') {
            None => Ok((part.trim().parse()?, None)),
            Some((weight, way)) => {
                let wrong = || WayError::Weight(weight.trim().to_owned());
                let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
                if !(weight > 0.0 && weight.is_finite()) {
                    return Err(wrong());
                }
                Ok((way.trim().parse()?, Some(weight)))
            }
        };
        let parts: Vec<(Way, Option<f64>)> = text.split('+').map(part).collect::<Result<_, _>>()?;
        let served = if parts.iter().all(|(_, weight)| weight.is_none()) {
            Self::mix(parts.into_iter().map(|(way, _)| way).collect())
        } else {
            Self::weighted(parts.into_iter().map(|(way, weight)| (way, weight.unwrap_or(1.0))))
        };
        served.ok_or_else(|| WayError::Weight(text.to_owned()))
    }
}

impl Serialize for Served {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Everything that the ways need.
pub struct Forecasters<'a> {
    /// The published model.
    pub model: &'a Forecaster,
    /// The same made the merchant's own; the published one stands in where it is missing.
    pub personal: Option<&'a Personal>,
    /// The model from before the first round made the merchant's own; where it is missing there was no round, and
    /// `personal` is the same.
    pub unfederated: Option<&'a Personal>,
}

impl Forecasters<'_> {
    /// The merchant's own model behind a way, if there is one.
    pub(super) fn own(&self, way: Way) -> Option<&Personal> {
        match way {
            Way::Personal => self.personal,
            Way::NoFederation => self.unfederated.or(self.personal),
            Way::Model | Way::Baseline(_) => None,
        }
    }

    /// Forecasts `horizon` steps (at most the model's) after each cut. Baselines use every core.
    ///
    /// # Errors
    /// [`ForwardError`] where a series holds a number that is none, a window does not fit the model, or the device fails.
    pub fn answers(&self, way: Way, items: &[(&Series, usize)], horizon: usize) -> Result<Vec<Answer>, ForwardError> {
        let of_model = |forecasts: Vec<super::Forecast>| {
            let answer = |mut forecast: super::Forecast| {
                forecast.truncate(horizon);
                Answer { quantiles: forecast.quantiles, fell_back: false }
            };
            forecasts.into_iter().map(answer).collect()
        };
        match way {
            Way::Baseline(method) => Ok(in_parallel(items, |(series, cut)| {
                let history = History::new(series, *cut);
                method.forecast(&history, &history.future(horizon))
            })),
            Way::Model | Way::Personal | Way::NoFederation => {
                if let Some(own) = self.own(way) {
                    let known: Vec<Series> = items.iter().map(|(series, cut)| series.up_to(*cut)).collect();
                    return Ok(of_model(own.predict(&known, horizon)?));
                }
                items.iter().try_for_each(|(series, _)| finite::check(series))?;
                let shape = self.model.shape();
                let window = |(series, cut): &(&Series, usize)| {
                    Window::at(series, Arc::new(StaticInputs::of(series)), *cut, shape)
                };
                Ok(of_model(self.model.predict(&items.iter().map(window).collect::<Vec<_>>())?))
            }
        }
    }

    /// Forecasts as the merchant is served.
    ///
    /// # Errors
    /// As [`Forecasters::answers`].
    pub fn serve(
        &self,
        served: &Served,
        items: &[(&Series, usize)],
        horizon: usize,
    ) -> Result<Vec<Vec<[f32; LEVELS_LEN]>>, ForwardError> {
        let members =
            served.members().iter().map(|way| self.answers(*way, items, horizon)).collect::<Result<Vec<_>, _>>()?;
        Ok((0..items.len())
            .map(|item| {
                served.averaged(&members.iter().map(|answers| &answers[item].quantiles[..]).collect::<Vec<_>>())
            })
            .collect())
    }
}

/// Maps items on every core, in order.
pub(crate) fn in_parallel<T: Sync, R: Send>(items: &[T], map: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(items.len().max(1));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let (position, Some(item)) = {
            let position = next.fetch_add(1, Ordering::Relaxed);
            (position, items.get(position))
        } {
            done.push((position, map(item)));
        }
        done
    };
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            match other.join() {
                Ok(part) => done.extend(part),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        done
    });
    done.sort_unstable_by_key(|(position, _)| *position);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_survives_its_file_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Served::read(folder.path()).unwrap(), None);
        let mix: Served = "theta+model-personal".parse().unwrap();
        assert_eq!(mix.members(), [Way::Baseline(Method::Theta), Way::Personal]);
        mix.write(folder.path()).unwrap();
        assert_eq!(Served::read(folder.path()).unwrap(), Some(mix));
        std::fs::write(folder.path().join(FILE), "served = \"oracle\"").unwrap();
        let error = Served::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(FILE) && error.contains("oracle") && error.contains("auto-ets"), "{error}");
    }

    #[test]
    fn a_mix_is_the_mean_of_its_members_and_stays_ascending() {
        let [a, b] = [[1., 2., 3., 4., 5., 6., 7., 8., 9.], [0., 0., 0., 0., 10., 10., 10., 10., 10.]];
        let alike: Served = "theta+naive".parse().unwrap();
        assert_eq!(alike.averaged(&[&[a], &[b]]), [[0.5, 1.0, 1.5, 2.0, 7.5, 8.0, 8.5, 9.0, 9.5]]);
        let weighted: Served = "0.9*theta+0.1*naive".parse().unwrap();
        assert_eq!(weighted.averaged(&[&[a], &[b]])[0][4], 5.5);
        assert!(alike.averaged(&[]).is_empty());
    }

    #[test]
    fn weights_are_told_as_they_are_used() {
        let third = 1.0 / 3.0;
        let ways = [
            (Way::Model, third),
            (Way::Personal, third),
            (Way::NoFederation, third),
            (Way::all().last().unwrap(), 1e-5),
        ];
        let mix = Served::weighted(ways).unwrap();
        assert_eq!(mix.members(), [Way::Model, Way::Personal, Way::NoFederation]);
        assert_eq!(mix.weights().iter().sum::<f64>(), 1.0);
        let text = mix.to_string();
        assert_eq!(text.parse::<Served>().unwrap(), mix);
        assert!(text.contains("0.333*") && text.contains("0.334*"), "{text}");
        assert_eq!("2*theta + naive".parse::<Served>().unwrap().to_string(), "0.667*theta+0.333*naive");
        assert_eq!("0.4*theta".parse::<Served>().unwrap(), Served::one(Way::Baseline(Method::Theta)));
        for wrong in ["-1*theta", "0*theta", "x*theta", "inf*theta", "NaN*naive+theta"] {
            assert!(matches!(wrong.parse::<Served>(), Err(WayError::Weight(_))), "{wrong}");
        }
        assert_eq!("1*oracle".parse::<Served>(), Err(WayError::Unknown("oracle".into())));
        assert_eq!(Served::weighted([(Way::Model, 0.0), (Way::Personal, f64::NAN)]), None);
    }

    #[test]
    fn work_in_parallel_keeps_its_order() {
        let items: Vec<usize> = (0..1_000).collect();
        assert_eq!(in_parallel(&items, |i| i * i), items.iter().map(|i| i * i).collect::<Vec<_>>());
        assert!(in_parallel(&[] as &[usize], |i| *i).is_empty());
    }
}
