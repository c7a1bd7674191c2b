//! The federation's append-only log at the server: durable append, read-only service with proofs, export for the
//! auditor, witnesses' cosignatures.

pub mod cosign;
pub mod export;
pub(crate) mod service;
pub mod store;
