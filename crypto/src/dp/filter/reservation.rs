//! A schedule that was accepted, as it is kept on disk.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::{
    dp::{
        event::DpEvent,
        plan::{Day, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::{MerchantId, Sha256Digest, VerifyingKey},
};

/// The largest line of a budget file accepted, in bytes.
const ENTRY_BYTES_MAX: usize = 64 << 10;

/// One line of a merchant's budget file. Variants are never removed and never change meaning: what was reserved by an
/// old version counts for as long as its data period does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
pub enum BudgetEntry {
    /// A schedule was accepted. A later line for the same run of the same plan takes its place.
    Reserved(Reservation),
}

/// A schedule that a merchant accepted: all of it counts from now on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reservation {
    /// Name of the federation, for people.
    pub federation: String,
    /// Key that signs the federation's offers: which federation it is.
    pub server_key: VerifyingKey,
    /// Name of the merchant there.
    pub merchant: MerchantId,
    /// Digest of the plan.
    pub plan_sha256: Sha256Digest,
    /// Run of the federation.
    pub run: u64,
    /// Whom the guarantee protects.
    pub unit: PrivacyUnit,
    /// First day of the data period.
    pub period_start: Day,
    /// Last day of the data period.
    pub period_end: Day,
    /// What one round releases. While the model is unknown, before rounding to the grid is paid for.
    pub event: DpEvent,
    /// Number of privately trained parameters, once the model is known.
    pub dimension: Option<u32>,
    /// T: rounds of the schedule.
    pub rounds: u32,
    /// δ of the guarantee.
    pub delta: f64,
    /// ε that the plan lets the period cost.
    pub epsilon_cap: f64,
    /// Unix time in milliseconds.
    pub at_ms: u64,
}

/// Why a line of a budget file was refused.
#[derive(Debug, thiserror::Error)]
pub enum BudgetEntryError {
    /// Larger than accepted.
    #[error("the line has {0} bytes; at most {ENTRY_BYTES_MAX} are accepted")]
    TooLarge(usize),
    /// Not JSON of a known variant.
    #[error("the line is not readable, or of a newer version: {0}")]
    Format(String),
    /// A number out of range.
    #[error("the line's `{0}` is out of range")]
    Range(&'static str),
}

impl BudgetEntry {
    /// The line, without its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("an entry always serialises")
    }

    /// Parses and checks a line.
    ///
    /// # Errors
    /// [`BudgetEntryError`]; a budget is never guessed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BudgetEntryError> {
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(BudgetEntryError::TooLarge(bytes.len()));
        }
        let entry: Self = serde_json::from_slice(bytes).map_err(|e| BudgetEntryError::Format(e.to_string()))?;
        let Self::Reserved(reservation) = &entry;
        let checks = [
            ("event", reservation.event.validate().is_ok()),
            ("rounds", reservation.rounds > 0),
            ("delta", reservation.delta > 0.0 && reservation.delta < 1.0),
            ("epsilon-cap", reservation.epsilon_cap.is_finite() && reservation.epsilon_cap > 0.0),
            ("period-start", reservation.period_start <= reservation.period_end),
        ];
        match checks.iter().find(|(_, holds)| !holds) {
            Some((field, _)) => Err(BudgetEntryError::Range(field)),
            None => Ok(entry),
        }
    }
}

impl Reservation {
    /// The whole schedule of `plan`, for a model of `dimension` parameters where it is known.
    ///
    /// # Errors
    /// [`Refusal`] where the plan's numbers make no event.
    pub fn of(
        plan: &PrivacyPlan,
        plan_sha256: Sha256Digest,
        run: u64,
        federation: (&str, VerifyingKey),
        merchant: &MerchantId,
        dimension: Option<u32>,
        at_ms: u64,
    ) -> Result<Self, Refusal> {
        let sigma = match dimension {
            Some(dimension) => {
                plan.effective_noise_multiplier(dimension).map_err(|e| Refusal::Policy(e.to_string()))?
            }
            None => plan.step.noise_multiplier,
        };
        Ok(Self {
            federation: federation.0.to_owned(),
            server_key: federation.1,
            merchant: merchant.clone(),
            plan_sha256,
            run,
            unit: plan.privacy.unit,
            period_start: plan.rounds.period_start,
            period_end: plan.rounds.period_end,
            event: plan.step_event(sigma)?,
            dimension,
            rounds: plan.rounds.count,
            delta: plan.privacy.delta,
            epsilon_cap: plan.privacy.epsilon_cap,
            at_ms,
        })
    }

    /// Whether both are the same run of the same plan.
    pub fn is_same_run(&self, other: &Self) -> bool {
        (self.server_key, self.plan_sha256, self.run) == (other.server_key, other.plan_sha256, other.run)
    }
}
