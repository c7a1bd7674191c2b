//! The offline auditor: files and numbers in, a verdict out.
//!
//! Invariant: everything is computed again from events by [`forecastle_crypto::dp::accountant`]; no ε that somebody else
//! wrote down is believed. Nothing here opens a socket.
//!
//! [`folder`] reads an exported log, [`quorum`] counts its witnesses; besides them, one module for each verb of `forecastle-audit`.

pub mod epsilon;
pub mod folder;
pub mod quorum;
pub mod verify;
pub mod witness;
