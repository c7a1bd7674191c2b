//! The merchant's own durable ledger: every charge it ever signed, one JSON line each.
//!
//! Invariant 1 of the architecture lives here: [`OwnLedger::record`] returns only when the charge is on disk, and
//! the round driver sends nothing before that. A crash between the two overcharges; nothing undercharges. Charges draw
//! on reservations ([`super::budget`]), which are made when a plan is accepted.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use forecastle_crypto::ledger::entry::{Charge, SignedCharge};

use super::{home::HomeError, log_copy::LogCopy};
use crate::durable;

/// All charges of this merchant, in memory and on disk.
pub struct OwnLedger {
    path: PathBuf,
    charges: Vec<SignedCharge>,
}

impl OwnLedger {
    /// Reads the ledger of a state folder.
    ///
    /// # Errors
    /// Where a line is not a charge: the ledger is never guessed.
    pub fn open(home: &Path) -> Result<Self, HomeError> {
        let path = home.join("ledger.jsonl");
        let mut charges = Vec::new();
        for (number, line) in durable::read_lines(&path)?.into_iter().enumerate() {
            charges.push(
                serde_json::from_slice(&line)
                    .map_err(|e| HomeError::Damaged { path: path.clone(), why: format!("line {}: {e}", number + 1) })?,
            );
        }
        Ok(Self { path, charges })
    }

    /// Makes a charge durable. Only after this returns may the masked update leave.
    ///
    /// # Errors
    /// Where the disk refuses; the charge then does not count and nothing may be sent.
    pub fn record(&mut self, charge: SignedCharge) -> Result<(), HomeError> {
        let line = serde_json::to_vec(&charge).expect("a charge always serialises");
        durable::append_line(&self.path, &line)?;
        self.charges.push(charge);
        Ok(())
    }

    /// The charges, oldest first.
    pub fn charges(&self) -> Vec<Charge> {
        self.charges.iter().map(|s| s.charge.clone()).collect()
    }

    /// Takes over charges that the federation's log holds for this merchant and this ledger lacks: the machine
    /// was restored from a backup, or cloned. Returns how many; where it is not 0, the pre-keys on disk may have
    /// been used already and must be burnt.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn import_missing(&mut self, log: &LogCopy) -> Result<usize, HomeError> {
        let known: HashSet<_> = self.charges.iter().map(|s| (s.charge.sid, s.charge.masked_sha256)).collect();
        let missing: Vec<SignedCharge> =
            log.own_charges().filter(|s| !known.contains(&(s.charge.sid, s.charge.masked_sha256))).cloned().collect();
        let count = missing.len();
        for charge in missing {
            self.record(charge)?;
        }
        Ok(count)
    }
}
