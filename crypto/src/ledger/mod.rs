//! The privacy ledger: events in an append-only Merkle log that anyone can check afterwards.
//!
//! * [`entry`]: what is recorded. Events, from which ε is derived; never a bare ε.
//! * [`merkle`]: the tree over the entries (RFC 9162 hashes), inclusion and consistency.
//! * [`checkpoint`]: the signed size and root (C2SP signed note).
//! * [`audit`]: the verdict over a whole log.

pub mod audit;
pub mod checkpoint;
pub mod entry;
pub mod merkle;
