//! The data key and its file.
//!
//! The file is text, so that it can be printed and put into a safe: comments, then a line for the current key and, while a
//! new key is being put in, one for the key before. A line is the key's name and the key in hexadecimal digits; the name is
//! derived from the key, so a slip in copying shows.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
};

use data_encoding::HEXLOWER;
use ring::{hmac, rand::SecureRandom as _};
use zeroize::Zeroizing;

use super::VaultError;
use crate::durable::{self, Access};

/// Bytes of a key.
pub(super) const KEY_LEN: usize = 32;
/// Bytes of a key's name.
pub(super) const ID_LEN: usize = 8;
/// Longest key file that is read: two keys and a page of comments.
const KEY_FILE_BYTES_MAX: u64 = 4096;

/// Name of a key: 64 bits of a keyed hash, from which nothing of the key follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId(pub(super) [u8; ID_LEN]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl serde::Serialize for KeyId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A data key. Wiped from memory when dropped; has no `Debug`.
pub(super) struct DataKey(Zeroizing<[u8; KEY_LEN]>);

impl DataKey {
    /// A fresh key from the operating system's generator; `None` when that fails.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        ring::rand::SystemRandom::new().fill(bytes.as_mut_slice()).ok()?;
        Some(Self(bytes))
    }

    /// The bytes, for deriving keys of files and for nothing else.
    pub fn bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.as_slice());
        let tag = hmac::sign(&key, b"forecastle data key name 1");
        KeyId(std::array::from_fn(|i| tag.as_ref()[i]))
    }

    /// A line of the key file, without its end; `None` where it is none.
    fn from_line(line: &str) -> Option<Self> {
        let (id, hex) = line.trim().split_once(' ')?;
        let mut bytes = Zeroizing::new([0; KEY_LEN]);
        if hex.len() != 2 * KEY_LEN {
            return None;
        }
        HEXLOWER.decode_mut(hex.as_bytes(), bytes.as_mut_slice()).ok()?;
        let key = Self(bytes);
        (key.id().to_string() == id).then_some(key)
    }
}

/// What a key file holds.
pub(super) struct KeyFile {
    /// The key that seals.
    pub current: DataKey,
    /// The key before, while files are being sealed anew.
    pub before: Option<DataKey>,
}

impl KeyFile {
    /// Reads a key file; `None` where there is none.
    ///
    /// # Errors
    /// Where others can read it, or it is damaged.
    pub fn read(path: &Path) -> Result<Option<Self>, VaultError> {
        let failed = |error| VaultError::io(path, error);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let about = file.metadata().map_err(failed)?;
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777;
            if mode & 0o077 != 0 {
                return Err(VaultError::KeyExposed { path: path.to_owned(), mode });
            }
        }
        let damaged = || VaultError::KeyDamaged { path: path.to_owned() };
        if !about.is_file() || about.len() > KEY_FILE_BYTES_MAX {
            return Err(damaged());
        }
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
        file.take(KEY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => damaged(),
            _ => failed(error),
        })?;
        let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
        let mut keys = lines.map(|line| DataKey::from_line(line).ok_or_else(damaged));
        let current = keys.next().ok_or_else(damaged)??;
        let before = keys.next().transpose()?;
        if keys.next().is_some() {
            return Err(damaged());
        }
        Ok(Some(Self { current, before }))
    }

    /// Writes the file, whole and readable by its owner only.
    ///
    /// # Errors
    /// Where the disk refuses; the old file is then still there.
    pub fn write(&self, path: &Path) -> Result<(), VaultError> {
        let mut text = Zeroizing::new(String::with_capacity(KEY_FILE_BYTES_MAX as usize));
        text.push_str(
            "# The data key of Forecastle: the name and the key. Whoever has it and the folder `data` reads what was imported;\n\
             # without it nobody does. Keep a copy apart from the data.\n",
        );
        for key in [Some(&self.current), self.before.as_ref()].into_iter().flatten() {
            text.push_str(&key.id().to_string());
            text.push(' ');
            HEXLOWER.encode_append(key.bytes(), &mut text);
            text.push('\n');
        }
        Ok(durable::write(path, text.as_bytes(), Access::Secret)?)
    }

    /// Names of the keys in it.
    pub fn ids(&self) -> Vec<KeyId> {
        [Some(&self.current), self.before.as_ref()].into_iter().flatten().map(DataKey::id).collect()
    }
}
