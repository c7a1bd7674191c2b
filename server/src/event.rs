//! What an operator sees happening: the same events go to the log output, to subscribers and to the screen.
//!
//! The invariant: an event names merchants, rounds and versions, never an update, a key or a share.

use forecastle_crypto::identity::MerchantId;
use serde::Serialize;
use tokio::sync::broadcast;

/// Events kept for a subscriber that reads slowly; older ones are dropped.
const BACKLOG: usize = 4096;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum ServerEvent {
    /// A merchant used its invitation.
    MerchantJoined {
        /// Who.
        merchant: MerchantId,
    },
    /// The server waits for merchants before it starts a round.
    Gathering {
        /// The round that will start.
        round: u64,
        /// Enrolled merchants that are checked in and have a pre-key left.
        present: Vec<MerchantId>,
        /// Enrolled merchants that are not.
        missing: Vec<MerchantId>,
    },
    /// An offer is out.
    RoundStarted {
        /// Number of the round, from 1.
        round: u64,
        /// The merchants invited, in participant order.
        cohort: Vec<MerchantId>,
    },
    /// A phase waits for answers; sent when it begins and when the set changes.
    PhaseWaiting {
        /// Number of the round.
        round: u64,
        /// Which phase.
        phase: PhaseName,
        /// Who has not answered.
        missing: Vec<MerchantId>,
    },
    /// A phase ended without some: they did not answer in time, or what they sent was turned away.
    WentOnWithout {
        /// Number of the round.
        round: u64,
        /// Which phase.
        phase: PhaseName,
        /// Who is missing.
        merchants: Vec<MerchantId>,
    },
    /// What a merchant sent was refused or left out; the others are not concerned. Once a merchant, round and phase.
    TurnedAway {
        /// Number of the round that runs, if any.
        round: Option<u64>,
        /// Whose messages.
        merchant: MerchantId,
        /// Why, as the merchant was told.
        reason: String,
    },
    /// A model was published.
    RoundClosed {
        /// Number of the round.
        round: u64,
        /// Whose updates are in the sum.
        survivors: Vec<MerchantId>,
        /// Version of the new model.
        model_version: u64,
        /// ε of all round numbers used so far, against the server with the assumed colluders; absent where the
        /// accountant refused.
        epsilon: Option<f64>,
    },
    /// A round ended without a model.
    RoundAbandoned {
        /// Number of the round.
        round: u64,
        /// Why.
        reason: String,
    },
    /// The schedule is used up.
    RunFinished {
        /// Version of the last model.
        model_version: u64,
    },
}

/// The phases of a round in which the server waits for merchants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// Encrypted key shares.
    KeyShares,
    /// Masked updates with their charges.
    MaskedUpdates,
    /// Signatures over the set of survivors.
    Consistency,
    /// Shares that remove the masks.
    Unmasking,
}

impl std::fmt::Display for PhaseName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::KeyShares => "key shares",
            Self::MaskedUpdates => "masked updates",
            Self::Consistency => "consistency signatures",
            Self::Unmasking => "unmasking shares",
        })
    }
}

/// Sends events to subscribers and to the log output.
#[derive(Clone)]
pub(crate) struct Events(broadcast::Sender<ServerEvent>);

impl Events {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    pub(crate) fn subscribe(&self) -> broadcast::Receiver<ServerEvent> {
        self.0.subscribe()
    }

    pub(crate) fn emit(&self, event: ServerEvent) {
        match &event {
            ServerEvent::RoundAbandoned { .. } | ServerEvent::TurnedAway { .. } => tracing::warn!("{event}"),
            ServerEvent::Gathering { .. } | ServerEvent::PhaseWaiting { .. } => tracing::debug!("{event}"),
            _ => tracing::info!("{event}"),
        }
        // No subscriber is no fault.
        let _ = self.0.send(event);
    }
}

impl std::fmt::Display for ServerEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MerchantJoined { merchant } => write!(f, "{merchant} joined the federation"),
            Self::Gathering { present, missing, .. } if present.is_empty() && missing.is_empty() => {
                f.write_str("no merchant is enrolled yet: forecastle-server invite create")
            }
            Self::Gathering { round, present, missing } if missing.is_empty() => {
                write!(f, "round {round}: {} merchants are checked in", present.len())
            }
            Self::Gathering { round, present, missing } => {
                write!(f, "round {round}: {} merchants are checked in, waiting for {}", present.len(), names(missing))
            }
            Self::RoundStarted { round, cohort } => {
                write!(f, "round {round}: started with {} merchants", cohort.len())
            }
            Self::PhaseWaiting { round, phase, missing } if missing.is_empty() => {
                write!(f, "round {round}: {phase} are complete")
            }
            Self::PhaseWaiting { round, phase, missing } => {
                write!(f, "round {round}: waiting for {phase} of {}", names(missing))
            }
            Self::WentOnWithout { round, phase, merchants } => {
                write!(f, "round {round}: went on without {phase} of {}", names(merchants))
            }
            Self::TurnedAway { round: Some(round), merchant, reason } => {
                write!(f, "round {round}: {merchant} was turned away: {reason}")
            }
            Self::TurnedAway { round: None, merchant, reason } => write!(f, "{merchant} was turned away: {reason}"),
            Self::RoundClosed { round, survivors, model_version, epsilon } => {
                write!(f, "round {round}: {} merchants made model version {model_version}", survivors.len())?;
                match epsilon {
                    Some(epsilon) => write!(f, ", ε so far {epsilon:.3}"),
                    None => Ok(()),
                }
            }
            Self::RoundAbandoned { round, reason } => write!(f, "round {round}: abandoned, {reason}"),
            Self::RunFinished { model_version } => {
                write!(f, "the schedule is used up; model version {model_version} is the last one")
            }
        }
    }
}

/// At most eight names, then how many more.
pub(crate) fn names(merchants: &[MerchantId]) -> String {
    const SHOWN: usize = 8;
    let mut text = merchants.iter().take(SHOWN).map(MerchantId::as_str).collect::<Vec<_>>().join(", ");
    if merchants.len() > SHOWN {
        text.push_str(&format!(" and {} more", merchants.len() - SHOWN));
    }
    text
}
