//! What was released: the entries that a ledger keeps and from which every ε is derived.
//!
//! Invariant: an event that passed [`DpEvent::validate`] has numbers for which the accountant's proofs hold.
//! Variants are only ever added: an old ledger must stay readable for as long as its budgets count.
//!
//! σ is everywhere the noise's standard deviation divided by the clip norm C (a *noise multiplier*); C itself
//! is no part of an event, because the privacy of a Gaussian mechanism does not depend on it.
//!
//! After `dp_event` of google/differential-privacy. Left out on purpose: ε (see [`super::accountant`]), and
//! by whom and when the release was made (see the ledger).

use serde::{Deserialize, Serialize};

use super::unit::{NeighboringRelation, PrivacyUnit};

/// The most series one customer may touch in a [`DpEvent::CustomerStep`].
pub const TOUCHED_MAX: u32 = 1024;
/// The most elementary releases in one event, repetitions counted.
pub const RELEASES_MAX: u64 = 1_000_000_000;
/// How deep events may nest.
pub const DEPTH_MAX: usize = 32;
/// The most entries in all lists of one event together.
pub const ENTRIES_MAX: usize = 1 << 20;

/// One release, or several that look at the same data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "mechanism", rename_all = "snake_case", deny_unknown_fields)]
pub enum DpEvent {
    /// A value of L2 sensitivity 1 plus N(0, σ²I), every input taking part.
    Gaussian {
        /// σ.
        noise_multiplier: f64,
    },
    /// A sum of vectors of norm at most 1 over a Poisson sample, plus N(0, σ²I); one vector is the unit.
    PoissonSubsampledGaussian {
        /// q, in (0, 1].
        sampling_rate: f64,
        /// σ.
        noise_multiplier: f64,
        /// Whether the unit's vector disappears or becomes another one.
        relation: NeighboringRelation,
    },
    /// A sum of vectors of norm at most 1 over a Poisson sample, plus N(0, σ²I), where the unit changes (or
    /// removes, or adds) up to `touched` of the vectors at once. Its dominating pair is proven in
    /// [`super`], "What is proven".
    CustomerStep {
        /// q, in (0, 1]: each series enters with this probability, independently.
        sampling_rate: f64,
        /// L, the most series that one customer touches, 1 to [`TOUCHED_MAX`].
        touched: u32,
        /// σ.
        noise_multiplier: f64,
    },
    /// The same release, made `count` times with fresh randomness, each possibly depending on earlier answers.
    SelfComposed {
        /// What was released each time.
        event: Box<DpEvent>,
        /// How often.
        count: u64,
    },
    /// Several releases, each possibly depending on earlier answers.
    Composed {
        /// In any order; the accountant does not care.
        events: Vec<DpEvent>,
    },
}

/// Why an event was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EventError {
    /// σ is no positive finite number.
    #[error("the noise multiplier must be a positive number, not {0}")]
    NoiseMultiplier(f64),
    /// q is no probability, or zero.
    #[error("the sampling rate must lie above 0 and at most at 1, not at {0}")]
    SamplingRate(f64),
    /// L out of range.
    #[error("a customer may touch 1 to {TOUCHED_MAX} series, not {0}")]
    Touched(u32),
    /// A merchant step was given a sampling rate below one.
    #[error(
        "the merchant unit has no amplification by sampling, because the server chooses the cohort: leave q out or set it to 1, not to {0}"
    )]
    MerchantSampling(f64),
    /// More releases than the accountant's error bounds were worked out for.
    #[error("an event may hold at most {RELEASES_MAX} releases, repetitions counted")]
    TooManyReleases,
    /// Nested deeper than [`DEPTH_MAX`].
    #[error("events may nest at most {DEPTH_MAX} deep")]
    TooDeep,
    /// More list entries than [`ENTRIES_MAX`].
    #[error("an event may list at most {ENTRIES_MAX} entries; merge equal ones into a self-composition")]
    TooManyEntries,
}

impl DpEvent {
    /// One training step under `unit`.
    ///
    /// `touched` is L and matters to the customer unit only. σ = `noise_multiplier` counts in clip norms of one
    /// gradient (customer, series) or of one merchant's whole update (merchant).
    ///
    /// # Errors
    /// [`EventError`] for a number out of range, and for a merchant step with q < 1.
    pub fn step(
        unit: PrivacyUnit,
        sampling_rate: f64,
        touched: u32,
        noise_multiplier: f64,
    ) -> Result<Self, EventError> {
        let event = match unit {
            PrivacyUnit::Customer => Self::CustomerStep { sampling_rate, touched, noise_multiplier },
            PrivacyUnit::Series => Self::PoissonSubsampledGaussian {
                sampling_rate,
                noise_multiplier,
                relation: NeighboringRelation::AddOrRemove,
            },
            PrivacyUnit::Merchant if sampling_rate == 1.0 => Self::Gaussian { noise_multiplier },
            PrivacyUnit::Merchant => return Err(EventError::MerchantSampling(sampling_rate)),
        };
        event.validate()?;
        Ok(event)
    }

    /// This event, `count` times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self::SelfComposed { event: Box::new(self), count }
    }

    /// Checks every number inside.
    ///
    /// # Errors
    /// [`EventError`] names the first number that is out of range.
    pub fn validate(&self) -> Result<(), EventError> {
        let mut entries = 0;
        self.walk(1, 0, &mut entries, &mut |_, _| ()).map(drop)
    }

    /// Calls `visit` with every elementary release and how often it happens, and returns their number.
    ///
    /// # Errors
    /// As [`Self::validate`].
    pub(super) fn for_each_release(&self, mut visit: impl FnMut(&Self, u64)) -> Result<u64, EventError> {
        let mut entries = 0;
        self.walk(1, 0, &mut entries, &mut visit)
    }

    fn walk(
        &self,
        times: u64,
        depth: usize,
        entries: &mut usize,
        visit: &mut impl FnMut(&Self, u64),
    ) -> Result<u64, EventError> {
        if depth >= DEPTH_MAX {
            return Err(EventError::TooDeep);
        }
        let releases = match self {
            Self::Gaussian { noise_multiplier } => {
                check_noise(*noise_multiplier)?;
                visit(self, times);
                times
            }
            Self::PoissonSubsampledGaussian { sampling_rate, noise_multiplier, relation: _ } => {
                check_sampling(*sampling_rate)?;
                check_noise(*noise_multiplier)?;
                visit(self, times);
                times
            }
            Self::CustomerStep { sampling_rate, touched, noise_multiplier } => {
                check_sampling(*sampling_rate)?;
                check_noise(*noise_multiplier)?;
                if !(1..=TOUCHED_MAX).contains(touched) {
                    return Err(EventError::Touched(*touched));
                }
                visit(self, times);
                times
            }
            Self::SelfComposed { event, count } => {
                let times = times.checked_mul(*count).ok_or(EventError::TooManyReleases)?;
                event.walk(times, depth + 1, entries, visit)?
            }
            Self::Composed { events } => {
                *entries += events.len();
                if *entries > ENTRIES_MAX {
                    return Err(EventError::TooManyEntries);
                }
                let mut total = 0_u64;
                for event in events {
                    total = total
                        .checked_add(event.walk(times, depth + 1, entries, visit)?)
                        .ok_or(EventError::TooManyReleases)?;
                }
                total
            }
        };
        if releases > RELEASES_MAX { Err(EventError::TooManyReleases) } else { Ok(releases) }
    }
}

fn check_noise(sigma: f64) -> Result<(), EventError> {
    if sigma.is_finite() && sigma > 0.0 { Ok(()) } else { Err(EventError::NoiseMultiplier(sigma)) }
}

fn check_sampling(q: f64) -> Result<(), EventError> {
    if q > 0.0 && q <= 1.0 { Ok(()) } else { Err(EventError::SamplingRate(q)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_json_and_toml() {
        let event = DpEvent::Composed {
            events: vec![
                DpEvent::step(PrivacyUnit::Customer, 0.01, 5, 2.0).unwrap().times(2000),
                DpEvent::step(PrivacyUnit::Series, 0.02, 1, 1.5).unwrap(),
                DpEvent::step(PrivacyUnit::Merchant, 1.0, 1, 20.0).unwrap(),
            ],
        };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<DpEvent>(&json).unwrap(), event);
        let text = toml::to_string(&event).unwrap();
        assert_eq!(toml::from_str::<DpEvent>(&text).unwrap(), event);
    }

    #[test]
    fn an_event_with_an_unknown_field_or_mechanism_is_refused() {
        let extra = r#"{"mechanism":"gaussian","noise_multiplier":1.0,"epsilon":0.1}"#;
        assert!(serde_json::from_str::<DpEvent>(extra).is_err());
        assert!(serde_json::from_str::<DpEvent>(r#"{"mechanism":"laplace","scale":1.0}"#).is_err());
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let step = DpEvent::step;
        for q in [0.0, -0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(matches!(step(PrivacyUnit::Series, q, 1, 1.0), Err(EventError::SamplingRate(_))), "{q}");
        }
        for sigma in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(matches!(step(PrivacyUnit::Customer, 0.1, 1, sigma), Err(EventError::NoiseMultiplier(_))));
        }
        for touched in [0, TOUCHED_MAX + 1] {
            assert_eq!(step(PrivacyUnit::Customer, 0.1, touched, 1.0), Err(EventError::Touched(touched)));
        }
        assert_eq!(step(PrivacyUnit::Merchant, 0.5, 1, 1.0), Err(EventError::MerchantSampling(0.5)));
    }

    #[test]
    fn endless_nesting_and_counting_are_refused() {
        let mut event = DpEvent::Gaussian { noise_multiplier: 1.0 };
        for _ in 0..DEPTH_MAX {
            event = event.times(1);
        }
        assert_eq!(event.validate(), Err(EventError::TooDeep));
        let event = DpEvent::Gaussian { noise_multiplier: 1.0 }.times(u64::MAX).times(2);
        assert_eq!(event.validate(), Err(EventError::TooManyReleases));
        let one = DpEvent::Gaussian { noise_multiplier: 1.0 }.times(RELEASES_MAX);
        assert_eq!(one.validate(), Ok(()));
        assert_eq!(DpEvent::Composed { events: vec![one.clone(), one] }.validate(), Err(EventError::TooManyReleases));
    }

    #[test]
    fn releases_are_counted_through_every_level() {
        let inner = DpEvent::Composed {
            events: vec![
                DpEvent::Gaussian { noise_multiplier: 1.0 }.times(3),
                DpEvent::Gaussian { noise_multiplier: 2.0 },
            ],
        };
        let mut seen = Vec::new();
        let total = inner.times(5).for_each_release(|release, times| seen.push((release.clone(), times))).unwrap();
        assert_eq!(total, 20);
        assert_eq!(seen.iter().map(|(_, times)| *times).collect::<Vec<_>>(), [15, 5]);
    }
}
