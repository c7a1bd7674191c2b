//! A merchant's membership in a federation: what is on disk, how the server is reached, and what the merchant
//! believes only after it has verified it.
//!
//! * [`home`]: the state folder and everything in it.
//! * [`join`]: from a one-time invitation to a certificate.
//! * [`connection`]: mutually authenticated TLS 1.3 to the federation's server.
//! * [`log_copy`]: a verified copy of the federation's append-only log.
//! * [`budget`]: what the merchant promised to spend at most, reserved before the promise is given.
//! * [`own_ledger`]: the merchant's own durable record of what it spent; it decides, the log confirms.

pub mod budget;
pub mod connection;
pub mod home;
pub mod join;
pub mod log_copy;
mod log_view;
pub mod own_ledger;
