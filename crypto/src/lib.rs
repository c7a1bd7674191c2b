//! Secure aggregation, differential privacy and the privacy ledger of Forecastle.
//!
//! One crate, because they share one invariant: the number of survivors that permits unmasking is the number that the
//! noise was calibrated with. What merchants are promised is in [`dp`], how only sums leave is in [`secagg`] and
//! [`quantize`], and how anyone can check it afterwards is in [`ledger`].
//!
//! Nothing here reads a clock, a file or a socket, or starts a runtime.

pub mod dp;
pub mod entropy;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod identity;
pub mod ledger;
pub mod quantize;
pub mod secagg;
