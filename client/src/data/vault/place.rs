//! Where the key file lies: in the data directory (`data.key`), or where the merchant put it, which the data directory
//! remembers (`key-location`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    VaultError,
    key::{DataKey, KeyFile},
    sealed_files, stream,
};
use crate::durable::{self, Access};

/// Name of the key file where nobody said otherwise.
const KEY_FILE: &str = "data.key";
/// File that says where the key lies.
const LOCATION_FILE: &str = "key-location";

/// The key file of a data directory, whether or not it is there.
///
/// # Errors
/// Where what is remembered cannot be read.
pub(super) fn key_file(dir: &Path) -> Result<PathBuf, VaultError> {
    let location = dir.join(LOCATION_FILE);
    match fs::read_to_string(&location) {
        Ok(text) => Ok(PathBuf::from(text.trim_end_matches('\n'))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(dir.join(KEY_FILE)),
        Err(error) => Err(VaultError::io(&location, error)),
    }
}

fn remember(dir: &Path, key_file: &Path) -> Result<(), VaultError> {
    let location = dir.join(LOCATION_FILE);
    let text = key_file.to_str().ok_or_else(|| {
        let error = io::Error::other("its name is not plain text (UTF-8); choose another");
        VaultError::io(key_file, error)
    })?;
    Ok(durable::write(&location, format!("{text}\n").as_bytes(), Access::Secret)?)
}

/// Takes the key from `path` from now on. Where nothing is sealed yet and no file is there, a new key is made there.
///
/// # Errors
/// Where files are sealed with another key, or the key is not there.
pub fn use_key_file(dir: &Path, path: &Path) -> Result<(), VaultError> {
    let path = std::path::absolute(path).map_err(|error| VaultError::io(path, error))?;
    durable::create_private_folder(dir)?;
    let sealed = sealed_files(dir)?;
    match (KeyFile::read(&path)?, sealed.first()) {
        (Some(keys), Some(file)) => {
            let sealed_with = stream::key_id_of(file)?;
            let ids = keys.ids();
            if !ids.contains(&sealed_with) {
                let held = ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ");
                return Err(VaultError::OtherKey { path: file.clone(), sealed_with, key_file: path, held });
            }
        }
        (Some(_), None) if key_file(dir)? == path => {}
        (Some(_), None) => return Err(VaultError::KeyOfAnother(path)),
        (None, Some(_)) if key_file(dir)?.exists() => {
            return Err(VaultError::KeyElsewhere { path, at: key_file(dir)? });
        }
        (None, Some(file)) => {
            return Err(VaultError::KeyMissing { key_file: path, sealed_with: stream::key_id_of(file)? });
        }
        (None, None) => {
            // In this order, so that after a crash between the two the place is taken for this folder's.
            remember(dir, &path)?;
            KeyFile { current: DataKey::generate().ok_or(VaultError::NoEntropy)?, before: None }.write(&path)?;
        }
    }
    if key_file(dir)? != path { remember(dir, &path) } else { Ok(()) }
}

/// Moves the key file: written at its new place, remembered, then removed from the old one. A crash leaves it at both.
/// Returns where it was.
///
/// # Errors
/// Where a file is there already, or the disk refuses.
pub fn move_key(dir: &Path, to: &Path) -> Result<PathBuf, VaultError> {
    let to = std::path::absolute(to).map_err(|error| VaultError::io(to, error))?;
    let from = key_file(dir)?;
    let keys = match KeyFile::read(&from)? {
        Some(keys) => keys,
        None => return Err(VaultError::io(&from, io::ErrorKind::NotFound.into())),
    };
    match KeyFile::read(&to)? {
        // What a crash between the two steps left.
        Some(there) if there.ids() == keys.ids() && from != to => {}
        Some(_) => return Err(VaultError::KeyThere(to)),
        None => keys.write(&to)?,
    }
    remember(dir, &to)?;
    durable::remove(&from)?;
    Ok(from)
}
