//! The offline auditor: files and numbers in, a verdict out.
//!
//! Invariant: everything is computed again from events by [`forecastle_crypto::dp::accountant`]; no ε that somebody else
//! wrote down is believed. Nothing here opens a socket.
//!
//! One module for each verb of `forecastle-audit`, and [`odds`], [`canaries`] and [`folder`] that they read with.

pub mod canaries;
pub mod epsilon;
pub mod explain;
pub mod folder;
pub mod odds;
pub mod report;
pub mod verify;
