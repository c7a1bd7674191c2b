//! What is sealed on the merchant's own disk, and with which key.
//!
//! Every file that holds order lines, or remembers them, is encrypted and authenticated under one random key of 256 bits:
//! the data key. [`stream`] is the form of a sealed file, [`key`] the file of the key, [`place`] where it lies. A [`Vault`] is
//! both opened: it seals with the current key and opens with it, or with the one before while a new key is being put in
//! (`forecastle data key rotate`).
//!
//! Invariant: a file opens whole and under its own name, or says why not. Chunks cannot be reordered, cut off, or swapped
//! between files, and files cannot be swapped for each other. Left out on purpose: an older copy of a sealed file, put back
//! under its own name, opens (a backup that is restored looks the same); and whoever reads the key reads everything, so the
//! key may lie on another disk. See docs/DATA.md.

mod error;
mod key;
mod place;
mod stream;

#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
};

pub use error::VaultError;
pub use key::KeyId;
use key::{DataKey, KeyFile};
pub use place::{move_key, use_key_file};
pub use stream::{Opener, Sealer};

/// Ending of the name of a sealed file.
pub const SEALED: &str = "sealed";
/// Bytes read at once: a chunk and what belongs to it.
const READ_AT_ONCE: usize = stream::FRAME_BYTES;

/// A sealed file being read.
pub type OpenedFile = Opener<BufReader<File>>;

/// The key of a data directory, ready for use. Wiped from memory when dropped; has no `Debug`.
pub struct Vault {
    key_file: PathBuf,
    keys: KeyFile,
}

impl Vault {
    /// Opens the vault of a data directory; makes its key where nothing is sealed yet.
    ///
    /// # Errors
    /// [`VaultError`]: where files are sealed and their key is not there, is damaged, can be read by others, or is another.
    pub fn open(dir: &Path) -> Result<Self, VaultError> {
        let key_file = place::key_file(dir)?;
        let sealed = sealed_files(dir)?;
        let keys = match KeyFile::read(&key_file)? {
            Some(keys) => keys,
            None => match sealed.first() {
                Some(file) => return Err(VaultError::KeyMissing { key_file, sealed_with: stream::key_id_of(file)? }),
                None => {
                    let keys = KeyFile { current: DataKey::generate().ok_or(VaultError::NoEntropy)?, before: None };
                    keys.write(&key_file)?;
                    keys
                }
            },
        };
        Ok(Self { key_file, keys })
    }

    /// Name of the key that seals: safe to show, and of no use for opening.
    pub fn key_id(&self) -> KeyId {
        self.keys.current.id()
    }

    /// Where the key lies.
    pub fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Whether a rotation was begun and not ended: some files may still be sealed with the key before.
    pub fn is_between_keys(&self) -> bool {
        self.keys.before.is_some()
    }

    /// Begins a sealed file; `path` is where it will lie in the end, whose name is sealed with it.
    ///
    /// # Errors
    /// When it cannot be written, or the operating system gives no random bytes.
    pub fn seal<W: Write>(&self, path: &Path, to: W) -> io::Result<Sealer<W>> {
        Sealer::begin(&self.keys.current, &name_of(path), to)
    }

    /// Opens a sealed file; `None` where there is none.
    ///
    /// # Errors
    /// [`VaultError`] where it is no sealed file, of another key or another file's content.
    pub fn open_file(&self, path: &Path) -> Result<Option<OpenedFile>, VaultError> {
        match File::open(path) {
            Ok(file) => self.open_as(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(VaultError::io(path, error)),
        }
    }

    /// Opens what was sealed for `path` and lies elsewhere.
    ///
    /// # Errors
    /// As [`Vault::open_file`].
    pub fn open_as(&self, path: &Path, file: File) -> Result<OpenedFile, VaultError> {
        let from = BufReader::with_capacity(READ_AT_ONCE, file);
        let keys = [Some(&self.keys.current), self.keys.before.as_ref()];
        Opener::begin(keys.into_iter().flatten(), &self.key_file, path, &name_of(path), from)
    }

    /// The whole content of a sealed file; `None` where there is none.
    ///
    /// # Errors
    /// As [`Vault::open_file`], and where it was altered or cut off.
    pub fn read(&self, path: &Path) -> Result<Option<Vec<u8>>, VaultError> {
        let Some(mut opened) = self.open_file(path)? else { return Ok(None) };
        let mut bytes = Vec::new();
        opened.read_to_end(&mut bytes).map_err(|error| VaultError::of(path, error))?;
        Ok(Some(bytes))
    }

    /// Puts a new key in force: the key file then holds it and the one before. Where that was so already (a rotation that
    /// was broken off), it is gone on with. Returns whether a new key was made.
    ///
    /// # Errors
    /// [`VaultError`]; the key file is then as it was.
    pub(in crate::data) fn begin_rotation(&mut self) -> Result<bool, VaultError> {
        if self.is_between_keys() {
            return Ok(false);
        }
        let new = DataKey::generate().ok_or(VaultError::NoEntropy)?;
        let before = std::mem::replace(&mut self.keys.current, new);
        self.keys.before = Some(before);
        if let Err(error) = self.keys.write(&self.key_file) {
            if let Some(before) = self.keys.before.take() {
                self.keys.current = before;
            }
            return Err(error);
        }
        Ok(true)
    }

    /// Forgets the key before, once every file is sealed with the current one.
    ///
    /// # Errors
    /// Where a file is not, or the key file cannot be written.
    pub(in crate::data) fn end_rotation(&mut self, dir: &Path) -> Result<(), VaultError> {
        for file in sealed_files(dir)? {
            let sealed_with = stream::key_id_of(&file)?;
            if sealed_with != self.key_id() {
                let (key_file, held) = (self.key_file.clone(), self.key_id().to_string());
                return Err(VaultError::OtherKey { path: file, sealed_with, key_file, held });
            }
        }
        let before = self.keys.before.take();
        if let Err(error) = self.keys.write(&self.key_file) {
            self.keys.before = before;
            return Err(error);
        }
        Ok(())
    }

    /// Name of the key that a file is sealed with.
    ///
    /// # Errors
    /// Where it is no sealed file.
    pub fn key_id_of(path: &Path) -> Result<KeyId, VaultError> {
        stream::key_id_of(path)
    }
}

/// The name that is sealed with a file: its file name without the ending.
fn name_of(path: &Path) -> String {
    path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The sealed files of a data directory, in order of their names; none where there is no directory.
///
/// # Errors
/// Where it cannot be read.
pub(in crate::data) fn sealed_files(dir: &Path) -> Result<Vec<PathBuf>, VaultError> {
    let failed = |error| VaultError::io(dir, error);
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|ending| ending == SEALED) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
