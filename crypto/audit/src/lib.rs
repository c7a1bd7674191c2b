//! The offline auditor: files and numbers in, a verdict out.
//!
//! Invariant: everything is computed again from events by [`forecastle_crypto::dp::accountant`]; no ε that somebody else
//! wrote down is believed. Nothing here opens a socket.
//!
//! One module for each verb of `forecastle-audit`; besides them, [`folder`] reads an exported log, [`quorum`] counts its
//! witnesses, [`canaries`] reads an empirical audit, and [`conclusions`] says what a guarantee allows.

pub mod canaries;
pub mod conclusions;
pub mod epsilon;
pub mod explain;
pub mod folder;
pub mod quorum;
pub mod report;
pub mod verify;
pub mod witness;
