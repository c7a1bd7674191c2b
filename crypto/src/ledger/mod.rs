//! The privacy ledger: events in an append-only Merkle log that anyone can check afterwards.
//!
//! * [`entry`]: what is recorded. Events, from which ε is derived; never a bare ε.
//! * [`merkle`]: the tree over the entries (RFC 9162 hashes), inclusion and consistency.
//! * [`tiles`]: the tree and its entries as files (C2SP tlog-tiles).
//! * [`checkpoint`]: the signed size and root (C2SP tlog-checkpoint); [`note`]: its keys and signature lines.
//! * [`witness`]: who remembers a log's head and cosigns what extends it (C2SP tlog-cosignature).
//! * [`audit`]: the verdict over a whole log.

pub mod audit;
pub mod checkpoint;
pub mod entry;
pub mod merkle;
pub mod note;
pub mod tiles;
pub mod witness;
