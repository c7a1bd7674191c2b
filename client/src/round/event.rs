//! What happens while a merchant trains, for whoever watches. Holds no data of the merchant.

use serde::Serialize;

/// One step that a person would want to see.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum RoundEvent {
    /// The federation's log held charges that the own ledger lacked: restored or cloned state.
    Restored {
        /// Charges taken over.
        charges: usize,
    },
    /// Checked in; waiting for a round to begin.
    Waiting {
        /// Merchants present.
        present: u32,
    },
    /// A round began with this merchant.
    Started {
        /// Round number.
        round: u64,
        /// Merchants in the cohort.
        cohort: usize,
    },
    /// The charge is durable and the update may leave.
    Charged {
        /// Round number.
        round: u64,
        /// ε of the period after this round, against the server with the assumed colluders.
        epsilon: f64,
        /// The cap.
        cap: f64,
    },
    /// The round published a model.
    Published {
        /// Round number.
        round: u64,
        /// Its version.
        model_version: u64,
    },
    /// The round went on without this merchant, or ended without a model. What was charged stays charged.
    Missed {
        /// Round number.
        round: u64,
        /// Why.
        reason: String,
    },
    /// The server does not answer; trying again.
    Reconnecting {
        /// Why.
        reason: String,
    },
    /// No further round will come.
    Finished {
        /// Last model.
        model_version: u64,
    },
}
