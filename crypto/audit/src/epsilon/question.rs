//! A question about ε, δ or σ, and the event it is about.
//!
//! Invariant: every number that was given is used or refused by name, so that nobody reads an answer to another
//! question than the one asked.

use clap::{Args, ValueEnum};
use forecastle_crypto::dp::{
    event::{DpEvent, NoiseDraw},
    unit::{NeighboringRelation, PrivacyUnit},
};
use serde::{Deserialize, Serialize};

use super::EpsilonError;

/// One question: what was released, and two of σ, ε and δ.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A step of Forecastle's training, and whom it protects: customer, series or merchant
    #[arg(long, value_name = "UNIT", conflicts_with = "mechanism")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<PrivacyUnit>,
    /// Anyone's mechanism instead
    #[arg(long, value_name = "MECHANISM")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<Mechanism>,
    /// Probability with which each series (record) enters a step, above 0 and at most 1 (not for merchant)
    #[arg(long, value_name = "Q", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<f64>,
    /// Noise: standard deviation as a multiple of the clip norm C; for laplace the scale b as a multiple of the
    /// sensitivity; for discrete-gaussian and skellam the standard deviation in grid units
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Number of steps (rounds, releases; epochs for shuffled-gaussian) composed
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// δ: the probability with which the bound may fail, such as 1e-6
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<f64>,
    /// ε, to ask for the δ that belongs to it, or (with --delta, without --sigma) for the least noise that keeps both
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epsilon: Option<f64>,
    /// Most series that one customer touches, or most records of one person [default: 1]
    #[arg(long, value_name = "L", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touched: Option<u32>,
    /// Number of merchants of which one person is a customer (customer only) [default: 1]
    #[arg(long, value_name = "M", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchants: Option<u32>,
    /// With --merchants: whether noise is drawn once for their sum, or by each [default: shared]
    #[arg(long, value_name = "DRAW", value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Draw>,
    /// What happens to the records (gaussian only) [default: removed]
    #[arg(long, value_name = "CHANGE", value_enum)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
    /// Euclidean sensitivity in grid units (discrete-gaussian, skellam)
    #[arg(long, value_name = "UNITS", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<f64>,
    /// Coordinates of the released vector (discrete-gaussian, skellam) [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<u32>,
    /// Independent noise shares in the sum, each of standard deviation --sigma (discrete-gaussian) [default: 1]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<u32>,
    /// Records in the data set (fixed-size-gaussian)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<u64>,
    /// Records in a batch (fixed-size-gaussian)
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch_size: Option<u64>,
    /// ρ (concentrated)
    #[arg(long, value_name = "RHO", allow_negative_numbers = true)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// Any event, as ledgers write it (in a batch; on the command line --event names a file)
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<DpEvent>,
}

/// Mechanisms that other systems use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mechanism {
    /// Gaussian noise on a sum of clipped records; with --q below 1 over a Poisson sample (DP-SGD)
    Gaussian,
    /// DP-SGD over shuffled epochs with batches of fixed size; --steps counts epochs
    ShuffledGaussian,
    /// DP-SGD with batches of fixed size, each drawn without replacement
    FixedSizeGaussian,
    /// Laplace noise on one number
    Laplace,
    /// Discrete Gaussian noise on integers, or the sum of several such shares
    DiscreteGaussian,
    /// Skellam noise on integers
    Skellam,
    /// Anything known to be ρ-zCDP
    Concentrated,
}

impl Mechanism {
    /// The name on command lines and in batches.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::ShuffledGaussian => "shuffled-gaussian",
            Self::FixedSizeGaussian => "fixed-size-gaussian",
            Self::Laplace => "laplace",
            Self::DiscreteGaussian => "discrete-gaussian",
            Self::Skellam => "skellam",
            Self::Concentrated => "concentrated",
        }
    }

    /// The arguments that mean something for it, besides steps, ε and δ.
    fn uses(self) -> &'static [&'static str] {
        match self {
            Self::Gaussian => &["sigma", "q", "touched", "change"],
            Self::ShuffledGaussian | Self::Laplace => &["sigma"],
            Self::FixedSizeGaussian => &["sigma", "population", "batch-size"],
            Self::DiscreteGaussian => &["sigma", "sensitivity", "dimension", "shares"],
            Self::Skellam => &["sigma", "sensitivity", "dimension"],
            Self::Concentrated => &["rho"],
        }
    }
}

/// How noise is drawn for a person known to several merchants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// Once, for the sum over all merchants
    Shared,
    /// By every merchant for its own release
    PerMerchant,
}

/// What happens to a person's records between neighbouring data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// They are there or are not
    Removed,
    /// They are exchanged for others
    Replaced,
}

impl Question {
    /// The event asked about, with noise `sigma`.
    ///
    /// # Errors
    /// [`EpsilonError`] for what is missing, means nothing here, or is out of range.
    pub fn released(&self, sigma: f64) -> Result<DpEvent, EpsilonError> {
        let one = match (&self.event, self.unit, self.mechanism) {
            (Some(event), None, None) => {
                self.refuse_unused("an event of its own", &[])?;
                event.clone()
            }
            (None, Some(unit), None) => self.step(unit, sigma)?,
            (None, None, Some(mechanism)) => self.mechanism(mechanism, sigma)?,
            _ => return Err(EpsilonError::WhatWasReleased),
        };
        let steps = match (self.steps, &self.event) {
            (Some(0), _) => return Err(EpsilonError::NoSteps),
            (Some(steps), _) => steps,
            // An event says itself how often it happened.
            (None, Some(_)) => 1,
            (None, None) => return Err(EpsilonError::Missing("steps")),
        };
        let run = one.times(steps);
        run.validate()?;
        Ok(run)
    }

    /// Whether noise is a number of this question, so that it can be asked for.
    pub fn has_sigma(&self) -> bool {
        self.event.is_none() && self.mechanism != Some(Mechanism::Concentrated)
    }

    fn step(&self, unit: PrivacyUnit, sigma: f64) -> Result<DpEvent, EpsilonError> {
        if unit != PrivacyUnit::Customer {
            if self.touched.is_some_and(|touched| touched != 1) {
                return Err(EpsilonError::TouchedWithoutCustomer(unit));
            }
            self.refuse_unused(&format!("the {unit} unit"), &["sigma", "q", "touched"])?;
        }
        self.refuse_unused("the customer unit", &["sigma", "q", "touched", "merchants", "noise"])?;
        let q = match (unit, self.q) {
            (PrivacyUnit::Merchant, q) => q.unwrap_or(1.0),
            (_, q) => q.ok_or(EpsilonError::NoSamplingRate(unit))?,
        };
        let touched = self.touched.unwrap_or(1);
        if unit != PrivacyUnit::Customer {
            return Ok(DpEvent::step(unit, q, touched, sigma)?);
        }
        let draw = match self.noise.unwrap_or(Draw::Shared) {
            Draw::Shared => NoiseDraw::Shared,
            Draw::PerMerchant => NoiseDraw::PerMerchant,
        };
        Ok(DpEvent::person_step(self.merchants.unwrap_or(1), draw, q, touched, sigma)?)
    }

    fn mechanism(&self, mechanism: Mechanism, sigma: f64) -> Result<DpEvent, EpsilonError> {
        self.refuse_unused(&format!("the mechanism {}", mechanism.name()), mechanism.uses())?;
        let needed = |value: Option<f64>, name| value.ok_or(EpsilonError::Missing(name));
        let dimension = self.dimension.unwrap_or(1);
        Ok(match mechanism {
            Mechanism::Gaussian => {
                let (sampling_rate, touched) = (self.q.unwrap_or(1.0), self.touched.unwrap_or(1));
                match (self.change.unwrap_or(Change::Removed), touched) {
                    // One record: the event that other ledgers write, too.
                    (change, 1) => DpEvent::PoissonSubsampledGaussian {
                        sampling_rate,
                        noise_multiplier: sigma,
                        relation: match change {
                            Change::Removed => NeighboringRelation::AddOrRemove,
                            Change::Replaced => NeighboringRelation::Replace,
                        },
                    },
                    (Change::Removed, touched) => {
                        DpEvent::GroupStep { sampling_rate, touched, noise_multiplier: sigma }
                    }
                    (Change::Replaced, touched) => {
                        DpEvent::CustomerStep { sampling_rate, touched, noise_multiplier: sigma }
                    }
                }
            }
            Mechanism::ShuffledGaussian => DpEvent::ShuffledEpoch { noise_multiplier: sigma },
            Mechanism::FixedSizeGaussian => DpEvent::FixedSizeSubsampledGaussian {
                population: self.population.ok_or(EpsilonError::Missing("population"))?,
                batch: self.batch_size.ok_or(EpsilonError::Missing("batch-size"))?,
                noise_multiplier: sigma,
            },
            Mechanism::Laplace => DpEvent::Laplace { noise_multiplier: sigma },
            Mechanism::DiscreteGaussian => DpEvent::DiscreteGaussian {
                noise_units: sigma,
                shares: self.shares.unwrap_or(1),
                sensitivity_units: needed(self.sensitivity, "sensitivity")?,
                dimension,
            },
            Mechanism::Skellam => DpEvent::Skellam {
                variance_units: sigma * sigma,
                sensitivity_units: needed(self.sensitivity, "sensitivity")?,
                dimension,
            },
            Mechanism::Concentrated => DpEvent::Concentrated { rho: needed(self.rho, "rho")? },
        })
    }

    /// Refuses an argument that was given but means nothing for `what`.
    fn refuse_unused(&self, what: &str, used: &[&str]) -> Result<(), EpsilonError> {
        let given = [
            ("sigma", self.sigma.is_some()),
            ("q", self.q.is_some()),
            ("touched", self.touched.is_some()),
            ("merchants", self.merchants.is_some()),
            ("noise", self.noise.is_some()),
            ("change", self.change.is_some()),
            ("sensitivity", self.sensitivity.is_some()),
            ("dimension", self.dimension.is_some()),
            ("shares", self.shares.is_some()),
            ("population", self.population.is_some()),
            ("batch-size", self.batch_size.is_some()),
            ("rho", self.rho.is_some()),
        ];
        match given.into_iter().find(|(name, given)| *given && !used.contains(name)) {
            Some((name, _)) => Err(EpsilonError::Unused { name, what: what.to_owned() }),
            None => Ok(()),
        }
    }
}
