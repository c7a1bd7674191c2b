//! The state folder of one merchant.
//!
//! ```text
//! federation.toml   who and where; written last when joining, so its presence means "joined"
//! ca.der client.der certificates            identity.p8 tls.p8   keys (0600)
//! plan.toml         the federation's privacy plan, exact bytes
//! policy.toml       the merchant's own floor, editable      series.toml  what one series is
//! text.toml         the sentence encoder that reads texts, where one was chosen      text/  vectors of texts, by content
//! ledger.jsonl      what this merchant charged, durable before anything leaves
//! budget/           what it promised to spend at most (see `budget`); `budget-folder` where that is elsewhere
//! log/              verified copy of the federation's log
//! prekeys/          one-time secrets (0600), deleted before use
//! answers/          unmasking answers of the round under way (0600)
//! models/           published models, by version
//! data/             imported orders (see `data::store`)
//! ```
//!
//! Invariant: one process at a time writes here (a lock file sees to it).

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use forecastle_crypto::{
    dp::{
        filter::MerchantPolicy,
        plan::{PlanError, PrivacyPlan},
    },
    identity::{MerchantId, Sha256Digest, SigningKey, VerifyingKey},
};
use forecastle_proto::model::{ModelFileError, ModelSnapshot};
use fs4::TryLockError;
use serde::{Deserialize, Serialize};

use crate::{
    data::prepare::SeriesChoice,
    durable::{self, Access, DiskError},
    text::inputs::TextChoice,
};

/// What `federation.toml` says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Membership {
    /// Format version, 1.
    pub version: u16,
    /// Name of the federation; also the origin of its checkpoints.
    pub federation: String,
    /// Base address of the server, `https://host:port`.
    pub server: String,
    /// Name that the server's certificate carries.
    pub server_name: String,
    /// This merchant.
    pub merchant: MerchantId,
    /// Key that signs offers and checkpoints.
    pub server_key: VerifyingKey,
}

/// Why the state folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Never joined.
    #[error("{} has not joined a federation yet; run `forecastle join INVITATION --merchant NAME` first", .0.display())]
    NotJoined(PathBuf),
    /// Already joined.
    #[error("{} has already joined the federation `{federation}` as `{merchant}`; choose another --dir to join a second one", path.display())]
    AlreadyJoined {
        /// The folder.
        path: PathBuf,
        /// Which federation.
        federation: String,
        /// Under which name.
        merchant: MerchantId,
    },
    /// Another process holds the folder.
    #[error("another forecastle process is using {}; wait for it or stop it", .0.display())]
    Busy(PathBuf),
    /// A file is unreadable.
    #[error("{} is damaged: {why}; restore it from a backup", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A shared budget folder is not where it was.
    #[error("the budget folder {} is gone; put it back (what it holds was promised), or mount its disk", .0.display())]
    BudgetGone(PathBuf),
    /// Something is reserved in another budget folder already.
    #[error("this merchant's budget is kept in {} already; leave out --budget, or choose another --dir", .0.display())]
    BudgetMoved(PathBuf),
    /// The disk refused.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The stored plan does not parse any more.
    #[error("plan.toml: {0}")]
    Plan(#[from] PlanError),
    /// A stored model does not parse any more.
    #[error("stored model: {0}")]
    Model(#[from] ModelFileError),
}

/// An opened, locked state folder.
pub struct Home {
    path: PathBuf,
    /// Held for as long as the home is open; the operating system drops it with the process.
    _lock: File,
}

impl Home {
    /// Opens the folder, creating it where it does not exist, and locks it.
    ///
    /// # Errors
    /// [`HomeError::Busy`] when another process holds it.
    pub fn open(path: &Path) -> Result<Self, HomeError> {
        durable::create_private_folder(path)?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(DiskError::of("create", &lock_path))?;
        match fs4::FileExt::try_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HomeError::Busy(path.to_owned())),
            Err(TryLockError::Error(e)) => return Err(DiskError::of("lock", &lock_path)(e).into()),
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of imported data.
    pub fn data(&self) -> PathBuf {
        self.path.join("data")
    }

    /// What was agreed when joining.
    ///
    /// # Errors
    /// [`HomeError::NotJoined`], or the file is damaged.
    pub fn membership(&self) -> Result<Membership, HomeError> {
        let path = self.path.join("federation.toml");
        if !path.exists() {
            return Err(HomeError::NotJoined(self.path.clone()));
        }
        self.read_toml("federation.toml")
    }

    /// True once `federation.toml` exists.
    pub fn is_joined(&self) -> bool {
        self.path.join("federation.toml").exists()
    }

    /// The plan and the digest of its file.
    ///
    /// # Errors
    /// Where the file is missing or does not parse.
    pub fn plan(&self) -> Result<(PrivacyPlan, Sha256Digest), HomeError> {
        let bytes = durable::read(&self.path.join("plan.toml"))?;
        Ok((PrivacyPlan::parse(&bytes)?, PrivacyPlan::digest_of(&bytes)))
    }

    /// The merchant's own floor; the default where no file says otherwise.
    ///
    /// # Errors
    /// Where `policy.toml` does not parse.
    pub fn policy(&self) -> Result<MerchantPolicy, HomeError> {
        if !self.path.join("policy.toml").exists() {
            return Ok(MerchantPolicy::default());
        }
        self.read_toml("policy.toml")
    }

    /// What one series is; the default where `series.toml` does not exist.
    ///
    /// # Errors
    /// Where the file does not parse.
    pub fn series_choice(&self) -> Result<SeriesChoice, HomeError> {
        if !self.path.join("series.toml").exists() {
            return Ok(SeriesChoice::default());
        }
        self.read_toml("series.toml")
    }

    /// Keeps what one series is.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn set_series_choice(&self, choice: SeriesChoice) -> Result<(), HomeError> {
        let text = toml::to_string_pretty(&choice).expect("a choice always serialises");
        Ok(durable::write(&self.path.join("series.toml"), text.as_bytes(), Access::Ordinary)?)
    }

    /// The sentence encoder that reads texts; `None` where `text.toml` does not exist.
    ///
    /// # Errors
    /// Where the file does not parse.
    pub fn text_choice(&self) -> Result<Option<TextChoice>, HomeError> {
        if self.path.join("text.toml").exists() { self.read_toml("text.toml").map(Some) } else { Ok(None) }
    }

    /// Keeps which sentence encoder reads texts; with `None`, hashed n-grams do again.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn set_text_choice(&self, choice: Option<&TextChoice>) -> Result<(), HomeError> {
        let path = self.path.join("text.toml");
        match choice {
            Some(choice) => {
                let text = toml::to_string_pretty(choice).expect("a choice of a UTF-8 path always serialises");
                Ok(durable::write(&path, text.as_bytes(), Access::Ordinary)?)
            }
            None => {
                durable::remove_folder(&self.path.join("text"))?;
                Ok(durable::remove(&path)?)
            }
        }
    }

    /// File of the vectors of texts.
    pub fn text_vectors(&self) -> PathBuf {
        self.path.join("text").join("vectors")
    }

    /// The identity key.
    ///
    /// # Errors
    /// Where the file is missing or damaged.
    pub fn identity(&self) -> Result<Arc<SigningKey>, HomeError> {
        let path = self.path.join("identity.p8");
        let bytes = zeroize::Zeroizing::new(durable::read(&path)?);
        SigningKey::from_pkcs8(&bytes).map(Arc::new).map_err(|e| HomeError::Damaged { path, why: e.to_string() })
    }

    /// Keeps a published model and makes it the current one.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn store_model(&self, version: u64, bytes: &[u8]) -> Result<(), HomeError> {
        let folder = self.path.join("models");
        durable::create_private_folder(&folder)?;
        durable::write(&folder.join(format!("{version}.safetensors")), bytes, Access::Ordinary)?;
        durable::write(&folder.join("current"), version.to_string().as_bytes(), Access::Ordinary)?;
        Ok(())
    }

    /// The current model and its version; `None` before the first download.
    ///
    /// # Errors
    /// Where a stored file is damaged.
    pub fn current_model(&self) -> Result<Option<(u64, ModelSnapshot)>, HomeError> {
        let current = self.path.join("models").join("current");
        if !current.exists() {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&durable::read(&current)?).trim().to_owned();
        let version: u64 =
            text.parse().map_err(|_| HomeError::Damaged { path: current, why: format!("`{text}` is no version") })?;
        Ok(Some((version, self.model(version)?)))
    }

    /// The earliest model that is still stored, and its version; `None` before the first download.
    ///
    /// # Errors
    /// Where the folder cannot be read, or the file is damaged.
    pub fn earliest_model(&self) -> Result<Option<(u64, ModelSnapshot)>, HomeError> {
        let folder = self.path.join("models");
        if !folder.exists() {
            return Ok(None);
        }
        let entries = std::fs::read_dir(&folder).map_err(DiskError::of("read", &folder))?;
        let version = |name: std::ffi::OsString| name.to_str()?.strip_suffix(".safetensors")?.parse::<u64>().ok();
        let versions = entries.filter_map(|entry| version(entry.ok()?.file_name()));
        versions.min().map(|version| Ok((version, self.model(version)?))).transpose()
    }

    /// One stored model.
    ///
    /// # Errors
    /// Where it is missing or damaged.
    pub fn model(&self, version: u64) -> Result<ModelSnapshot, HomeError> {
        let path = self.path.join("models").join(format!("{version}.safetensors"));
        Ok(ModelSnapshot::from_bytes(&durable::read(&path)?)?)
    }

    fn read_toml<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<T, HomeError> {
        let path = self.path.join(name);
        let bytes = durable::read(&path)?;
        let text =
            std::str::from_utf8(&bytes).map_err(|e| HomeError::Damaged { path: path.clone(), why: e.to_string() })?;
        toml::from_str(text).map_err(|e| HomeError::Damaged { path, why: e.to_string() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let _home = Home::open(folder.path()).unwrap();
        assert!(matches!(Home::open(folder.path()), Err(HomeError::Busy(_))));
    }

    #[test]
    fn an_empty_folder_says_how_to_join() {
        let folder = tempfile::tempdir().unwrap();
        let error = Home::open(folder.path()).unwrap().membership().unwrap_err().to_string();
        assert!(error.contains("forecastle join"), "{error}");
    }
}
