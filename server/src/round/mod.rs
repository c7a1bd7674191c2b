//! Rounds: who takes part, which phase runs, and the thin driver that puts clock and messages into the
//! aggregator's states of `forecastle_crypto::secagg`.
//!
//! ```text
//! service, upload ──► phase::Hall (one lock: the aggregator's state, who is present, how rounds ended)
//!                        ▲   │ wakes
//!                     driver ◄┘   closes a phase when all answered or its time is over, makes it durable
//! ```
//!
//! The invariant: the protocol's decisions are the aggregator's. These modules know sessions, deadlines and the
//! disk, and hold no arithmetic.

pub mod charge;
pub mod cohort;
pub(crate) mod driver;
pub(crate) mod misconduct;
pub(crate) mod phase;
pub mod prekeys;
pub(crate) mod publish;
pub(crate) mod service;
pub(crate) mod spool;
pub(crate) mod upload;
