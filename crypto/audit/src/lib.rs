//! The offline auditor: files and numbers in, a verdict out.
//!
//! Invariant: everything is computed again from events by [`forecastle_crypto::dp::accountant`]; no ε that somebody else
//! wrote down is believed. Nothing here opens a socket.
//!
//! One module for each verb of `forecastle-audit`.

pub mod epsilon;
pub mod verify;
