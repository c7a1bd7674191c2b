//! Where a merchant's reservations are kept: what it promised at most to spend, durable before the promise is given.
//!
//! ```text
//! budget/reservations.jsonl   one accepted schedule a line (`filter::BudgetEntry`)
//! budget/lock                 held while the file is read or written
//! budget-folder               in the state folder: the path of a budget folder elsewhere, where one is shared
//! ```
//!
//! Invariant: [`BudgetFolder::reserve`] returns only when the reservation is on disk, and decides under the lock, so
//! that two processes cannot both take the rest of a budget. A crash before the line is whole leaves nothing reserved
//! and nothing joined; a crash after it leaves too much reserved, never too little.
//!
//! A merchant that belongs to several federations has a state folder for each. The days of its data have *one* budget:
//! let all of them share a folder (`forecastle join --budget DIR`). Folders that do not know of each other cannot add
//! up what they spend; that is the merchant's to see to, and said in docs/PRIVACY.md.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use forecastle_crypto::{
    dp::filter::{Budget, BudgetEntry, MerchantPolicy, Refusal, Reservation, Reserved},
    identity::VerifyingKey,
    ledger::entry::Charge,
};

use super::home::{Home, HomeError};
use crate::{
    durable::{self, Access, DiskError},
    fault,
};

/// In the state folder: where the budget is, if not here.
const POINTER: &str = "budget-folder";
/// In the budget folder.
const RESERVATIONS: &str = "reservations.jsonl";

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The files.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The budget does not suffice.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl From<DiskError> for BudgetError {
    fn from(error: DiskError) -> Self {
        Self::Home(error.into())
    }
}

/// The folder that holds the reservations of one state folder, or of several.
pub struct BudgetFolder {
    path: PathBuf,
}

impl BudgetFolder {
    /// The budget of a state folder: its own, or the shared one that it names.
    ///
    /// # Errors
    /// Where the shared folder is gone: an empty one in its place would forget what was spent.
    pub fn of(home: &Home) -> Result<Self, HomeError> {
        let pointer = home.path().join(POINTER);
        if pointer.exists() {
            let bytes = durable::read(&pointer)?;
            let path = PathBuf::from(String::from_utf8_lossy(&bytes).trim_end().to_owned());
            if !path.join(RESERVATIONS).exists() {
                return Err(HomeError::BudgetGone(path));
            }
            return Ok(Self { path });
        }
        let path = home.path().join("budget");
        durable::create_private_folder(&path)?;
        Ok(Self { path })
    }

    /// Lets a state folder that has reserved nothing yet count in `folder`, together with whoever else does.
    ///
    /// # Errors
    /// [`HomeError::BudgetMoved`] where something is reserved elsewhere already.
    pub fn share(home: &Home, folder: &Path) -> Result<Self, HomeError> {
        durable::create_private_folder(folder)?;
        let path = folder.canonicalize().map_err(DiskError::of("find", folder))?;
        let now = Self::of(home)?;
        if now.path == path {
            return Ok(now);
        }
        if !now.reservations()?.is_empty() {
            return Err(HomeError::BudgetMoved(now.path));
        }
        let shared = Self { path };
        let lock = shared.lock()?;
        let file = shared.path.join(RESERVATIONS);
        if !file.exists() {
            durable::write(&file, b"", Access::Ordinary)?;
        }
        drop(lock);
        let text = shared.path.to_str().ok_or_else(|| HomeError::Damaged {
            path: shared.path.clone(),
            why: "the folder's name is no UTF-8".into(),
        })?;
        durable::write(&home.path().join(POINTER), text.as_bytes(), Access::Ordinary)?;
        Ok(shared)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All reservations, in the order in which they were made.
    ///
    /// # Errors
    /// Where a line is none: a budget is never guessed.
    pub fn reservations(&self) -> Result<Vec<Reservation>, HomeError> {
        // Also for reading: a line that another process is writing must not be taken for a torn one.
        let _lock = self.lock()?;
        self.read()
    }

    /// Reserves a whole schedule durably, given the `charges` of the federation whose server signs with `own`. What is
    /// reserved already is only held against the policy again.
    ///
    /// # Errors
    /// [`BudgetError::Refused`] where what is left does not suffice; nothing was written then.
    pub fn reserve(
        &self,
        own: VerifyingKey,
        charges: &[Charge],
        next: &Reservation,
        policy: &MerchantPolicy,
    ) -> Result<Reserved, BudgetError> {
        let _lock = self.lock()?;
        let held = self.read()?;
        let reserved = Budget::new(own, &held, charges).reserve(next, policy)?;
        let latest = held.iter().rev().find(|other| other.is_same_run(next));
        if latest.is_none_or(|other| (&other.event, other.rounds) != (&next.event, next.rounds)) {
            fault::point("reserving");
            let line = BudgetEntry::Reserved(next.clone()).to_bytes();
            durable::append_line(&self.path.join(RESERVATIONS), &line)?;
            fault::point("reserved");
        }
        Ok(reserved)
    }

    fn read(&self) -> Result<Vec<Reservation>, HomeError> {
        let path = self.path.join(RESERVATIONS);
        let mut reservations = Vec::new();
        for (number, line) in durable::read_lines(&path)?.into_iter().enumerate() {
            let BudgetEntry::Reserved(reservation) = BudgetEntry::from_bytes(&line)
                .map_err(|e| HomeError::Damaged { path: path.clone(), why: format!("line {}: {e}", number + 1) })?;
            reservations.push(reservation);
        }
        Ok(reservations)
    }

    /// Waits for the lock; the operating system drops it with the file, or with the process.
    fn lock(&self) -> Result<File, HomeError> {
        let path = self.path.join("lock");
        let lock = File::create(&path).map_err(DiskError::of("create", &path))?;
        fs4::FileExt::lock(&lock).map_err(DiskError::of("lock", &path))?;
        Ok(lock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecastle_crypto::{dp::plan::PrivacyPlan, identity::sha256};

    const OWN: VerifyingKey = VerifyingKey([1; 32]);
    const PLAN: &str = include_str!("../../../server/plans/four-merchants.toml");

    fn reservation(federation: u8, sigma: f64) -> Reservation {
        let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
        plan.step.noise_multiplier = sigma;
        let of = (["market", "bazaar"][usize::from(federation)], VerifyingKey([federation + 1; 32]));
        Reservation::of(&plan, sha256(&[federation]), 1, of, &"shop".parse().unwrap(), Some(384), 0).unwrap()
    }

    fn home(folder: &tempfile::TempDir, name: &str) -> Home {
        Home::open(&folder.path().join(name)).unwrap()
    }

    #[test]
    fn a_reservation_is_on_disk_when_it_is_made_and_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder, "a");
        let policy = MerchantPolicy::default();
        let budget = BudgetFolder::of(&home).unwrap();
        let first = budget.reserve(OWN, &[], &reservation(0, 3.0), &policy).unwrap();
        let again = BudgetFolder::of(&home).unwrap().reserve(OWN, &[], &reservation(0, 3.0), &policy).unwrap();
        assert_eq!(first.epsilon_after, again.epsilon_after);
        assert_eq!(budget.reservations().unwrap(), [reservation(0, 3.0)]);
        // More noise than before replaces it in what counts, and both lines stay.
        budget.reserve(OWN, &[], &reservation(0, 3.1), &policy).unwrap();
        assert_eq!(budget.reservations().unwrap().len(), 2);
    }

    #[test]
    fn two_state_folders_that_share_a_budget_cannot_both_take_all_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let policy = MerchantPolicy::default();
        let shared = folder.path().join("shared");
        let (a, b) = (home(&folder, "a"), home(&folder, "b"));
        BudgetFolder::share(&a, &shared).unwrap().reserve(OWN, &[], &reservation(0, 3.0), &policy).unwrap();
        let second = BudgetFolder::share(&b, &shared).unwrap();
        let refused = second.reserve(VerifyingKey([2; 32]), &[], &reservation(1, 3.0), &policy);
        assert!(matches!(refused, Err(BudgetError::Refused(Refusal::CannotReserve { .. }))));
        assert_eq!(second.reservations().unwrap().len(), 1, "nothing was written");
        // A folder that reserved on its own cannot quietly leave that behind.
        let alone = home(&folder, "alone");
        BudgetFolder::of(&alone).unwrap().reserve(OWN, &[], &reservation(0, 3.0), &policy).unwrap();
        assert!(matches!(BudgetFolder::share(&alone, &shared), Err(HomeError::BudgetMoved(_))));
        // And a shared folder that is gone is not begun afresh.
        std::fs::remove_dir_all(&shared).unwrap();
        assert!(matches!(BudgetFolder::of(&a), Err(HomeError::BudgetGone(_))));
    }

    #[test]
    fn a_torn_line_was_never_reserved_and_a_damaged_one_is_no_budget() {
        let folder = tempfile::tempdir().unwrap();
        let home = home(&folder, "a");
        let policy = MerchantPolicy::default();
        let budget = BudgetFolder::of(&home).unwrap();
        budget.reserve(OWN, &[], &reservation(0, 3.0), &policy).unwrap();
        let path = budget.path().join(RESERVATIONS);
        let whole = std::fs::read(&path).unwrap();
        let torn = [&whole[..], &whole[..whole.len() / 2]].concat();
        std::fs::write(&path, torn).unwrap();
        assert_eq!(budget.reservations().unwrap().len(), 1);
        std::fs::write(&path, [b"{}\n", &whole[..]].concat()).unwrap();
        let error = budget.reservations().unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("reservations.jsonl"), "{error}");
    }
}
