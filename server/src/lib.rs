//! The aggregation server of a Forecastle federation: enrols merchants, conducts rounds of secure aggregation,
//! steps the server's optimizer, publishes versioned models and keeps the federation's append-only log.
//!
//! The invariant: what the server ever holds of a merchant is a masked update, and the sum over at least the
//! planned number of survivors; every charge is durable in the log before unmasking shares are asked for; a
//! published model is never lost and the log never shrinks, wherever a crash falls.
//!
//! Start with [`init::init`], then [`server::Server::open`] and [`server::Server::serve`]. Operators' verbs that
//! need no running server work on [`state::FederationState`].
//!
//! Left out on purpose: the network that a model's numbers belong to (only clients know it) and the verdict on
//! the log (the auditor works offline, from exported files).

mod admission;
mod connections;
pub mod event;
pub mod identity;
pub mod init;
pub mod ledger;
pub mod model;
mod peer;
pub mod plans;
pub mod round;
pub mod server;
pub mod settings;
pub mod state;
pub mod store;
mod transport;

/// Unix time in milliseconds by this machine's clock.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or(0)
}
