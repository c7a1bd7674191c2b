//! The ways a merchant's series can be forecast, by name, and which of them it is served with.
//!
//! A merchant is served with one way, or with a mix: the mean of several ways' quantiles, level by level (the average of
//! quantile functions, which keeps them ascending; Lichtendahl, Grushka-Cockayne and Winkler 2013). What is served is the
//! merchant's own choice, kept in its state folder; it never leaves.

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
    /// A baseline.
    Baseline(Method),
}

/// A word that names no way.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no way to forecast called `{word}`; there are {names}", names = Way::all().map(Way::name).collect::<Vec<_>>().join(", "))]
pub struct WayError {
    word: String,
}

impl Way {
    /// Every way: the model as published, made the merchant's own, then the baselines.
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Model, Self::Personal].into_iter().chain(Method::ALL.into_iter().map(Self::Baseline))
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
            Self::Baseline(method) => method.name(),
        }
    }
}

impl FromStr for Way {
    type Err = WayError;

    fn from_str(word: &str) -> Result<Self, WayError> {
        Self::all().find(|way| way.name() == word).ok_or_else(|| WayError { word: word.to_owned() })
    }
}

/// One way, or several whose quantiles are averaged. Written `theta` or `theta+model`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    members: Vec<Way>,
}

impl Served {
    /// Of one way.
    pub fn one(way: Way) -> Self {
        Self { members: vec![way] }
    }

    /// Of several; `None` of none.
    pub fn mix(members: Vec<Way>) -> Option<Self> {
        (!members.is_empty()).then_some(Self { members })
    }

    /// The ways, at least one.
    pub fn members(&self) -> &[Way] {
        &self.members
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
        f.write_str(&self.members.iter().map(|way| way.name()).collect::<Vec<_>>().join("+"))
    }
}

impl FromStr for Served {
    type Err = WayError;

    fn from_str(text: &str) -> Result<Self, WayError> {
        Ok(Self { members: text.split('+').map(str::parse).collect::<Result<_, _>>()? })
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
}

impl Forecasters<'_> {
    /// Forecasts `horizon` steps (at most the model's) after each cut. Baselines use every core.
    ///
    /// # Errors
    /// [`ForwardError`] where a window does not fit the model, or the device fails.
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
            Way::Personal if self.personal.is_some() => {
                let known: Vec<Series> = items.iter().map(|(series, cut)| series.up_to(*cut)).collect();
                Ok(of_model(self.personal.map_or(Ok(Vec::new()), |personal| personal.predict(&known, horizon))?))
            }
            Way::Model | Way::Personal => {
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
            .map(|item| mean(&members.iter().map(|answers| &answers[item].quantiles[..]).collect::<Vec<_>>()))
            .collect())
    }
}

/// Mean of several forecasts, `[horizon][9]` each, level by level.
pub fn mean(forecasts: &[&[[f32; LEVELS_LEN]]]) -> Vec<[f32; LEVELS_LEN]> {
    let steps = forecasts.iter().map(|forecast| forecast.len()).min().unwrap_or(0);
    let share = 1.0 / forecasts.len().max(1) as f64;
    (0..steps)
        .map(|step| {
            std::array::from_fn(|level| {
                forecasts.iter().map(|forecast| share * f64::from(forecast[step][level])).sum::<f64>() as f32
            })
        })
        .collect()
}

/// Maps items on every core, in order.
fn in_parallel<T: Sync, R: Send>(items: &[T], map: impl Fn(&T) -> R + Sync) -> Vec<R> {
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
        assert_eq!(mean(&[&[a], &[b]]), [[0.5, 1.0, 1.5, 2.0, 7.5, 8.0, 8.5, 9.0, 9.5]]);
        assert!(mean(&[]).is_empty());
    }

    #[test]
    fn work_in_parallel_keeps_its_order() {
        let items: Vec<usize> = (0..1_000).collect();
        assert_eq!(in_parallel(&items, |i| i * i), items.iter().map(|i| i * i).collect::<Vec<_>>());
        assert!(in_parallel(&[] as &[usize], |i| *i).is_empty());
    }
}
