//! One-time pre-keys: made ahead of time, uploaded, and deleted from disk before they are used.
//!
//! Invariant: a secret is used for at most one round. Its file is gone before the first message of that round
//! leaves; a crash in between burns the key, which costs one round and nothing else. Indexes are random, so that
//! a restored folder cannot repeat one.

use std::path::PathBuf;

use forecastle_crypto::{
    entropy::{Entropy, EntropyUnavailable},
    identity::{MerchantId, SigningKey},
    secagg::keys::{PrekeyBundle, PrekeySecret, generate_prekey},
};

use crate::{
    durable::{self, Access, DiskError},
    federation::home::Home,
};

/// Pre-keys that are kept ready at the server.
pub const READY: u32 = 16;
/// Secrets on disk, from which on more are not made: a server that loses bundle after bundle, or says so, makes this
/// merchant begin with fresh ones instead of filling its disk.
pub const KEPT_MAX: usize = 256;

/// Why a pre-key could not be made or taken.
#[derive(Debug, thiserror::Error)]
pub enum PrekeyError {
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// The server offered a pre-key that this merchant no longer has.
    #[error("the round uses a pre-key that this machine has already used or burnt")]
    Unknown,
    /// The stored secret does not belong to the offered bundle.
    #[error("the round's pre-key is not the one this merchant made")]
    Foreign,
}

/// The secrets on disk.
pub struct PrekeyStore {
    folder: PathBuf,
}

impl PrekeyStore {
    /// The store of a state folder.
    ///
    /// # Errors
    /// Where the folder cannot be made.
    pub fn open(home: &Home) -> Result<Self, DiskError> {
        let folder = home.path().join("prekeys");
        durable::create_private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// Makes `count` pre-keys; their secrets are on disk before the bundles are returned for upload.
    ///
    /// # Errors
    /// Where disk or randomness refuse.
    pub fn make(
        &self,
        count: u32,
        merchant: &MerchantId,
        identity: &SigningKey,
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<PrekeyBundle>, PrekeyError> {
        let mut bundles = Vec::with_capacity(count as usize);
        for _ in 0..count {
            let mut index = [0; 8];
            entropy.fill(&mut index)?;
            // 53 bits: an index survives JSON readers that only know floating-point numbers.
            let index = u64::from_le_bytes(index) >> 11;
            let (bundle, secret) = generate_prekey(merchant, identity, index, entropy)?;
            durable::write(&self.path(index), &secret.to_bytes(), Access::Secret)?;
            bundles.push(bundle);
        }
        Ok(bundles)
    }

    /// Whether `count` more would be more than are kept.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn is_full(&self, count: u32) -> Result<bool, DiskError> {
        let kept = std::fs::read_dir(&self.folder).map_err(DiskError::of("read", &self.folder))?.count();
        Ok(kept + count as usize > KEPT_MAX)
    }

    /// Takes the secret of `bundle` out of the store for good.
    ///
    /// # Errors
    /// [`PrekeyError::Unknown`] when it was used or burnt before.
    pub fn take(&self, bundle: &PrekeyBundle) -> Result<PrekeySecret, PrekeyError> {
        let path = self.path(bundle.index);
        if !path.exists() {
            return Err(PrekeyError::Unknown);
        }
        let bytes = zeroize::Zeroizing::new(durable::read(&path)?);
        durable::remove(&path)?;
        let secret = PrekeySecret::from_bytes(&bytes).map_err(|_| PrekeyError::Foreign)?;
        if !secret.bundle_matches(bundle) {
            return Err(PrekeyError::Foreign);
        }
        Ok(secret)
    }

    /// Deletes all secrets: the folder was restored or cloned, and they may have been used elsewhere.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn burn(&self) -> Result<(), DiskError> {
        let entries = std::fs::read_dir(&self.folder).map_err(DiskError::of("read", &self.folder))?;
        for entry in entries {
            let path = entry.map_err(DiskError::of("read", &self.folder))?.path();
            durable::remove(&path)?;
        }
        Ok(())
    }

    fn path(&self, index: u64) -> PathBuf {
        self.folder.join(format!("{index}.key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use forecastle_crypto::entropy::SeededEntropy;

    #[test]
    fn a_store_is_full_before_the_disk_is_and_empty_after_it_was_burnt() {
        let folder = tempfile::tempdir().unwrap();
        let store = PrekeyStore::open(&Home::open(folder.path()).unwrap()).unwrap();
        let (merchant, identity) = ("shop".parse().unwrap(), SigningKey::generate().unwrap());
        let mut entropy = SeededEntropy::danger_from_seed([1; 32]);
        for _ in 0..KEPT_MAX / READY as usize {
            assert!(!store.is_full(READY).unwrap());
            store.make(READY, &merchant, &identity, &mut entropy).unwrap();
        }
        assert!(store.is_full(1).unwrap());
        store.burn().unwrap();
        assert!(!store.is_full(READY).unwrap());
    }
}
