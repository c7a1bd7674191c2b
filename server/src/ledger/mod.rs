//! The federation's append-only log at the server: durable append, read-only service, export for the auditor.

pub mod export;
pub(crate) mod service;
pub mod store;
