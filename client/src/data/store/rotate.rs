//! A new data key: every sealed file is sealed anew, one after the other.
//!
//! The key file holds both keys until no file needs the old one. So a crash at any point leaves every file readable, with
//! the old key or the new one, and `forecastle data key rotate` run again goes on where it stopped.

use std::io;

use serde::Serialize;

use super::{Importer, StoreError, file};
use crate::data::vault::{KeyId, Vault, sealed_files};

/// What a rotation did.
#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    /// Files that were sealed anew.
    pub files: usize,
    /// The key now.
    pub key: KeyId,
    /// Whether a rotation that had been broken off was gone on with.
    pub went_on: bool,
}

impl Importer {
    /// Puts a new data key in.
    ///
    /// # Errors
    /// When a file cannot be read or written. Everything stays readable, and the next call goes on.
    pub fn rotate_key(&mut self) -> Result<Rotated, StoreError> {
        let _lock = self.lock()?;
        let went_on = !self.vault.begin_rotation()?;
        let mut files = 0;
        for path in sealed_files(&self.dir)? {
            if Vault::key_id_of(&path)? == self.vault.key_id() {
                continue;
            }
            let failed = |error| StoreError::io(&path, error);
            let Some(mut opened) = file::open_sealed(&self.vault, &path)? else { continue };
            let mut sealer = file::begin_sealed(&self.vault, &path, "new").map_err(failed)?;
            io::copy(&mut opened, &mut sealer).map_err(failed)?;
            sealer.finish().and_then(file::Replacement::commit).map_err(failed)?;
            files += 1;
        }
        // What is left of interrupted imports is sealed with the old key, and of no use.
        self.remove_remains()?;
        self.vault.end_rotation(&self.dir)?;
        Ok(Rotated { files, key: self.vault.key_id(), went_on })
    }
}
