//! What was released: the entries that a ledger keeps and from which every ε is derived.
//!
//! Invariant: an event that passed [`DpEvent::validate`] has numbers for which the accountant's proofs hold.
//! Variants are only ever added: an old ledger must stay readable for as long as its budgets count.
//!
//! A *noise multiplier* is the noise's standard deviation (Laplace: its scale b) divided by the clip norm or
//! sensitivity; that norm itself is no part of an event, because only the quotient counts. Noise on integers is given
//! in units of the grid, with the sensitivity beside it, because there the grid counts too.
//!
//! What is known of each release, and with which proof, is said at its variant. "Rényi only" means that no dominating
//! pair is known here: its ε comes from Rényi divergences alone, and so does that of every composition it is part of.
//!
//! After `dp_event` of google/differential-privacy. Left out on purpose: ε (see [`super::accountant`]), and
//! by whom and when the release was made (see the ledger).

use serde::{Deserialize, Serialize};

use super::{
    integer::{IntegerNoise, IntegerNoiseError},
    unit::{NeighboringRelation, PrivacyUnit},
};

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
    /// A sum of vectors of norm at most 1 over a Poisson sample, plus N(0, σ²I), where up to `touched` vectors
    /// disappear or are added together: group privacy of ordinary DP-SGD. Proven as the one-sided case in [`super`].
    GroupStep {
        /// q, in (0, 1].
        sampling_rate: f64,
        /// The most vectors of one unit, 1 to [`TOUCHED_MAX`].
        touched: u32,
        /// σ.
        noise_multiplier: f64,
    },
    /// One epoch over a shuffled data set, cut into batches of a fixed size, each batch's sum of vectors of norm at
    /// most 1 released with N(0, σ²I); one vector is exchanged for another.
    ///
    /// *No amplification is counted.* Given the permutation, one release of the epoch changes by at most 2 and all
    /// others not at all, so an epoch is dominated by one Gaussian of ratio 2/σ (joint convexity over permutations).
    /// Counting it as Poisson-sampled would be wrong by far: see Chua et al. 2024, "How private are DP-SGD
    /// implementations?".
    ShuffledEpoch {
        /// σ.
        noise_multiplier: f64,
    },
    /// A sum of vectors of norm at most 1 over a batch drawn without replacement, plus N(0, σ²I); one vector is
    /// exchanged for another (norm of the difference at most 2). Rényi only: Wang, Balle, Kasiviswanathan 2019, theorem
    /// 27.
    FixedSizeSubsampledGaussian {
        /// Vectors in the data set; public.
        population: u64,
        /// Vectors in a batch, 1 to `population`.
        batch: u64,
        /// σ.
        noise_multiplier: f64,
    },
    /// One real number of sensitivity 1 plus Laplace noise of scale b. Proven in the private module `laplace`.
    Laplace {
        /// b.
        noise_multiplier: f64,
    },
    /// A vector of integers, plus the sum of `shares` independent discrete Gaussians on every coordinate.
    ///
    /// One coordinate: the loss is listed atom by atom (private module `lattice`). Several: as a real Gaussian, by
    /// [`super::integer`]; beside it the concentrated bound of Canonne, Kamath, Steinke 2020 (theorem 4), for sums with
    /// what they cost by [`super::integer`] or by Kairouz, Liu, Steinke 2021 (theorem 1). The smaller ε is taken, all
    /// being proven.
    DiscreteGaussian {
        /// σ of one share, in units: the parameter of the distribution, which for small σ is not quite its deviation.
        noise_units: f64,
        /// Number of shares; 1 is an ordinary discrete Gaussian.
        shares: u32,
        /// Euclidean sensitivity, in units.
        sensitivity_units: f64,
        /// Number of coordinates.
        dimension: u32,
    },
    /// A vector of integers plus Skellam noise of total variance μ on every coordinate; sums of Skellam noise are
    /// Skellam noise.
    ///
    /// One coordinate and up to some four thousand units of noise: atom by atom (private module `lattice`). Otherwise
    /// Rényi only, by the main theorem of Agarwal, Kairouz, Liu 2021.
    Skellam {
        /// μ, in squared units.
        variance_units: f64,
        /// Euclidean sensitivity, in units.
        sensitivity_units: f64,
        /// Number of coordinates.
        dimension: u32,
    },
    /// Anything that is ρ-concentrated differentially private (Bun and Steinke 2016): D_α ≤ ρα for every order. Rényi
    /// only.
    Concentrated {
        /// ρ.
        rho: f64,
    },
    /// A release whose distribution is, on every data set, point by point within e^{±Λ} of a function of `event`'s.
    /// If `event` is (ε, δ)-private, this is (ε + 2Λ, e^Λ δ)-private ([`super::integer`], step 3).
    WithinRatio {
        /// What it resembles.
        event: Box<DpEvent>,
        /// Λ.
        log_ratio: f64,
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

/// How often the noise of one step is drawn, for a person known to several merchants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoiseDraw {
    /// Once, for the sum over all merchants (distributed noise).
    Shared,
    /// By each merchant for its own release (local noise).
    PerMerchant,
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
    /// A sensitivity that is no positive finite number.
    #[error("the sensitivity must be a positive number of units, not {0}")]
    Sensitivity(f64),
    /// No coordinates.
    #[error("the released vector must have at least one coordinate")]
    Dimension,
    /// No noise shares.
    #[error("the noise must consist of at least one share")]
    Shares,
    /// A batch that is no part of its population.
    #[error("a batch holds at least one and at most all of the data: {batch} of {population} is impossible")]
    Batch {
        /// Batch size.
        batch: u64,
        /// Population size.
        population: u64,
    },
    /// ρ is no positive finite number.
    #[error("ρ must be a positive number, not {0}")]
    Rho(f64),
    /// Λ is negative or not finite.
    #[error("the logarithm of a ratio must be zero or a positive number, not {0}")]
    LogRatio(f64),
    /// Noise on integers that cannot be counted as Gaussian.
    #[error(transparent)]
    IntegerNoise(#[from] IntegerNoiseError),
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

    /// One training step for a person who is a customer of `merchants` merchants at once and touches up to `touched`
    /// series at each.
    ///
    /// Where the noise is drawn once for the sum of all merchants, at most mL vectors of one sum change: a
    /// [`Self::CustomerStep`] with mL series. Where every merchant draws its own full noise, m releases change, of L
    /// vectors each: m steps, composed. (A single Gaussian with μ√m would need noise without sub-sampling.)
    ///
    /// # Errors
    /// [`EventError`] for a number out of range; mL counts as the number of touched series.
    pub fn person_step(
        merchants: u32,
        draw: NoiseDraw,
        sampling_rate: f64,
        touched: u32,
        noise_multiplier: f64,
    ) -> Result<Self, EventError> {
        if merchants == 0 {
            return Err(EventError::Touched(0));
        }
        let step = |touched| Self::step(PrivacyUnit::Customer, sampling_rate, touched, noise_multiplier);
        match draw {
            NoiseDraw::Shared => step(touched.checked_mul(merchants).ok_or(EventError::Touched(u32::MAX))?),
            NoiseDraw::PerMerchant => Ok(step(touched)?.times(u64::from(merchants))),
        }
    }

    /// One training step whose sum was rounded to integers and noised with discrete Gaussian shares: the step of
    /// [`Self::step`] with all that the integers cost.
    ///
    /// `sensitivity_units` is what one changed vector moves the rounded sum by, in grid units: for the customer unit
    /// *on either side* of what both data sets share, for series and merchant in all. The noise is replaced by the
    /// Gaussian of [`IntegerNoise::as_gaussian`], and Λ charged.
    ///
    /// # Errors
    /// [`EventError`] for a number out of range, and where the noise is too coarse.
    pub fn integer_step(
        unit: PrivacyUnit,
        sampling_rate: f64,
        touched: u32,
        sensitivity_units: f64,
        noise: &IntegerNoise,
    ) -> Result<Self, EventError> {
        check_sensitivity(sensitivity_units)?;
        let gaussian = noise.as_gaussian()?;
        let noise_multiplier = gaussian.sigma_units / sensitivity_units * (1.0 - f64::EPSILON);
        let event = Box::new(Self::step(unit, sampling_rate, touched, noise_multiplier)?);
        Ok(Self::WithinRatio { event, log_ratio: gaussian.log_ratio })
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

    /// Calls `visit` with every elementary release and every [`Self::WithinRatio`], and how often each happens; returns
    /// the number of elementary releases.
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
            Self::WithinRatio { event, log_ratio } => {
                if !(log_ratio.is_finite() && *log_ratio >= 0.0) {
                    return Err(EventError::LogRatio(*log_ratio));
                }
                visit(self, times);
                event.walk(times, depth + 1, entries, visit)?
            }
            elementary => {
                elementary.check_numbers()?;
                visit(self, times);
                times
            }
        };
        if releases > RELEASES_MAX { Err(EventError::TooManyReleases) } else { Ok(releases) }
    }

    /// Checks the numbers of an elementary release.
    fn check_numbers(&self) -> Result<(), EventError> {
        match *self {
            Self::Gaussian { noise_multiplier }
            | Self::ShuffledEpoch { noise_multiplier }
            | Self::Laplace { noise_multiplier } => check_noise(noise_multiplier),
            Self::PoissonSubsampledGaussian { sampling_rate, noise_multiplier, relation: _ } => {
                check_sampling(sampling_rate)?;
                check_noise(noise_multiplier)
            }
            Self::CustomerStep { sampling_rate, touched, noise_multiplier }
            | Self::GroupStep { sampling_rate, touched, noise_multiplier } => {
                check_sampling(sampling_rate)?;
                check_noise(noise_multiplier)?;
                if (1..=TOUCHED_MAX).contains(&touched) { Ok(()) } else { Err(EventError::Touched(touched)) }
            }
            Self::FixedSizeSubsampledGaussian { population, batch, noise_multiplier } => {
                check_noise(noise_multiplier)?;
                if (1..=population).contains(&batch) { Ok(()) } else { Err(EventError::Batch { batch, population }) }
            }
            Self::DiscreteGaussian { noise_units, shares, sensitivity_units, dimension } => {
                check_noise(noise_units)?;
                check_sensitivity(sensitivity_units)?;
                match (shares, dimension) {
                    (0, _) => Err(EventError::Shares),
                    (_, 0) => Err(EventError::Dimension),
                    _ => Ok(()),
                }
            }
            Self::Skellam { variance_units, sensitivity_units, dimension } => {
                check_noise(variance_units)?;
                check_sensitivity(sensitivity_units)?;
                if dimension > 0 { Ok(()) } else { Err(EventError::Dimension) }
            }
            Self::Concentrated { rho } if rho.is_finite() && rho > 0.0 => Ok(()),
            Self::Concentrated { rho } => Err(EventError::Rho(rho)),
            Self::SelfComposed { .. } | Self::Composed { .. } | Self::WithinRatio { .. } => Ok(()),
        }
    }
}

fn check_sensitivity(units: f64) -> Result<(), EventError> {
    if units.is_finite() && units > 0.0 { Ok(()) } else { Err(EventError::Sensitivity(units)) }
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
        assert!(serde_json::from_str::<DpEvent>(r#"{"mechanism":"exponential","epsilon":1.0}"#).is_err());
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
