//! The state directory, opened without serving: what operators' verbs work on, also while a server runs.
//!
//! ```text
//! server.toml                     settings
//! state.sqlite (-wal, -shm)       log, merchants, invitations, rounds, models
//! checkpoint                      newest signed checkpoint, outside the database
//! keys/{authority.der, authority.key, federation.key}
//! models/<version>.safetensors    published models;  models/<version>.optimizer  the newest state
//! lock                            held by the process that serves
//! ```
//!
//! The invariant: nothing here appends to the log; only the process that holds the lock does.

use std::path::{Path, PathBuf};

use forecastle_crypto::{
    dp::{
        accountant,
        plan::{PlanError, PrivacyPlan},
    },
    identity::{Sha256Digest, SigningKey, SigningKeyError, VerifyingKey},
    ledger::{entry::Founded, note::VerifierKey},
};
use forecastle_proto::invitation::Invitation;
use serde::Serialize;
use sqlx::SqlitePool;

use crate::{
    identity::{
        certificates::{Authority, CertificateError},
        invitations::{self, InvitationError, InvitationRow},
        merchants::{self, Merchant},
    },
    ledger::{
        cosign::{self, CosignError, CosignSummary},
        export::{self, ExportSummary, Moment},
        store::{self as log, LedgerError},
    },
    model::registry::{self, ModelRow, RegistryError},
    now_ms,
    settings::{Settings, SettingsError},
    store::{self, StoreError, count_column, files},
};

/// The run of a federation's rounds; version 1 has one.
pub const RUN: u64 = 1;
/// Name of the database file.
pub const DATABASE_FILE: &str = "state.sqlite";
/// Name of the folder with models.
pub const MODELS_FOLDER: &str = "models";
/// Name of the folder with keys.
pub(crate) const KEYS_FOLDER: &str = "keys";
/// Name of the lock file.
pub(crate) const LOCK_FILE: &str = "lock";
/// The authority's certificate, DER, in the folder with keys.
pub(crate) const AUTHORITY_CERTIFICATE_FILE: &str = "authority.der";
/// The authority's key, PKCS#8, in the folder with keys.
pub(crate) const AUTHORITY_KEY_FILE: &str = "authority.key";
/// The key that signs offers and checkpoints, PKCS#8, in the folder with keys.
pub(crate) const FEDERATION_KEY_FILE: &str = "federation.key";
/// The largest key or certificate file, in bytes.
const KEY_BYTES_MAX: usize = 16 << 10;

/// Why a state directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Not a state directory.
    #[error("{0} is no state directory of forecastle-server: make one with `forecastle-server init --dir {0}`")]
    Absent(PathBuf),
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The log.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Database or files.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The plan in the log.
    #[error("the plan of this federation is not one that this version understands: {0}")]
    Plan(#[from] PlanError),
    /// A key file.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// The certificate authority.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A model.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

/// A federation's state on disk.
#[derive(Clone)]
pub struct FederationState {
    directory: PathBuf,
    settings: Settings,
    pool: SqlitePool,
    founded: Founded,
    plan: PrivacyPlan,
    authority_certificate: Vec<u8>,
}

/// What `forecastle-server status` shows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FederationStatus {
    /// Name of the federation.
    pub federation: String,
    /// Key that signs offers and checkpoints.
    pub server_key: VerifyingKey,
    /// Digest of the plan.
    pub plan_sha256: Sha256Digest,
    /// Where it listens.
    pub listen: String,
    /// Round numbers used, abandoned ones included.
    pub rounds_used: u64,
    /// Round numbers planned.
    pub rounds_planned: u64,
    /// Rounds that ended without a model.
    pub rounds_abandoned: u64,
    /// The round that is open, if any.
    pub round_open: Option<u64>,
    /// Version of the newest model.
    pub model_version: u64,
    /// Leaves of the log.
    pub ledger_entries: u64,
    /// ε of the round numbers used, against the server with the assumed colluders.
    pub epsilon: Option<f64>,
    /// The plan's cap.
    pub epsilon_cap: f64,
    /// Enrolled merchants.
    pub merchants: Vec<MerchantStatus>,
}

/// One line of [`FederationStatus`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct MerchantStatus {
    /// Name.
    pub merchant: String,
    /// Pre-keys left.
    pub prekeys_left: u32,
    /// The last round it was invited to; 0 for none.
    pub last_round: u64,
    /// Whether it was revoked.
    pub revoked: bool,
    /// Unix time in milliseconds after which its certificate is refused.
    pub certificate_not_after_ms: u64,
}

impl FederationState {
    /// Opens a state directory.
    ///
    /// # Errors
    /// [`StateError`] when it is none, or of another version.
    pub async fn open(directory: &Path) -> Result<Self, StateError> {
        if !directory.join(crate::settings::FILE).is_file() || !directory.join(DATABASE_FILE).is_file() {
            return Err(StateError::Absent(directory.to_owned()));
        }
        let settings = Settings::read(directory)?;
        let pool = store::open(&directory.join(DATABASE_FILE), false).await?;
        let founded = log::founding(&pool).await?;
        let plan = PrivacyPlan::parse(founded.plan.as_bytes())?;
        let keys = directory.join(KEYS_FOLDER);
        let authority_certificate = files::read_bounded(&keys.join(AUTHORITY_CERTIFICATE_FILE), KEY_BYTES_MAX)?;
        Ok(Self { directory: directory.to_owned(), settings, pool, founded, plan, authority_certificate })
    }

    /// The operator's settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The privacy plan.
    pub fn plan(&self) -> &PrivacyPlan {
        &self.plan
    }

    /// The plan file, exact bytes.
    pub fn plan_bytes(&self) -> &[u8] {
        self.founded.plan.as_bytes()
    }

    /// Digest of the plan file.
    pub fn plan_sha256(&self) -> Sha256Digest {
        PrivacyPlan::digest_of(self.plan_bytes())
    }

    /// Key that signs offers and checkpoints.
    pub fn server_key(&self) -> VerifyingKey {
        self.founded.server_key
    }

    /// Name of the federation.
    pub fn federation(&self) -> &str {
        &self.founded.federation
    }

    /// The first entry of the log.
    pub fn founded(&self) -> &Founded {
        &self.founded
    }

    /// Number of privately trained parameters.
    pub fn dimension(&self) -> u32 {
        self.founded.dimension
    }

    pub(crate) fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn models_folder(&self) -> PathBuf {
        self.directory.join(MODELS_FOLDER)
    }

    pub(crate) fn authority(&self) -> Result<Authority, StateError> {
        let key = self.directory.join(KEYS_FOLDER).join(AUTHORITY_KEY_FILE);
        Ok(Authority::read(self.authority_certificate.clone(), &files::read_bounded(&key, KEY_BYTES_MAX)?)?)
    }

    pub(crate) fn federation_key(&self) -> Result<SigningKey, StateError> {
        let key = self.directory.join(KEYS_FOLDER).join(FEDERATION_KEY_FILE);
        Ok(SigningKey::from_pkcs8(&files::read_bounded(&key, KEY_BYTES_MAX)?)?)
    }

    /// Makes a one-time invitation.
    ///
    /// # Errors
    /// [`InvitationError`] when it could not be stored.
    pub async fn invite(&self, validity: std::time::Duration) -> Result<Invitation, InvitationError> {
        let host = self.settings.advertised_host().expect("settings were checked when they were read");
        let validity_ms = u64::try_from(validity.as_millis()).unwrap_or(u64::MAX);
        let server = self.settings.advertise.trim_end_matches('/');
        invitations::create(&self.pool, server, &host, &self.authority_certificate, now_ms(), validity_ms).await
    }

    /// All invitations, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn invitations(&self) -> Result<Vec<InvitationRow>, StoreError> {
        invitations::list(&self.pool, now_ms()).await
    }

    /// Takes an unused invitation back.
    ///
    /// # Errors
    /// [`InvitationError`] when there is none with this number, or it was used.
    pub async fn revoke_invitation(&self, id: u64) -> Result<(), InvitationError> {
        invitations::revoke(&self.pool, id, now_ms()).await
    }

    /// All enrolled merchants, by name.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn merchants(&self) -> Result<Vec<Merchant>, StoreError> {
        merchants::all(&self.pool).await
    }

    /// All published models, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn models(&self) -> Result<Vec<ModelRow>, StoreError> {
        registry::rows(&self.pool).await
    }

    /// The file of one model version; `None` when there is no such version.
    ///
    /// # Errors
    /// [`RegistryError`] when the file is not as published.
    pub async fn model(&self, version: u64) -> Result<Option<Vec<u8>>, RegistryError> {
        let row = self.models().await?.into_iter().find(|row| row.version == version);
        row.map(|row| registry::read_version(&self.models_folder(), &row)).transpose()
    }

    /// Writes what the offline auditor needs into `target`.
    ///
    /// # Errors
    /// [`LedgerError`] when something cannot be read or written.
    pub async fn export_ledger(&self, target: &Path) -> Result<ExportSummary, LedgerError> {
        export::export(&self.pool, &self.models_folder(), &self.founded, target, Moment::Newest).await
    }

    /// The same as of the newest checkpoint that a witness cosigned.
    ///
    /// # Errors
    /// [`LedgerError`] when something cannot be read or written, or no witness cosigned yet.
    pub async fn export_cosigned_ledger(&self, target: &Path) -> Result<ExportSummary, LedgerError> {
        export::export(&self.pool, &self.models_folder(), &self.founded, target, Moment::Cosigned).await
    }

    /// Keeps a witness's cosignature, which exports and merchants then get.
    ///
    /// # Errors
    /// [`CosignError`] where it is not one over a checkpoint of this log.
    pub async fn cosign(&self, note: &str, witness: &VerifierKey) -> Result<CosignSummary, CosignError> {
        cosign::cosign(&self.pool, &self.founded, note, witness).await
    }

    /// Round numbers used so far, abandoned ones included.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn rounds_used(&self) -> Result<u64, StoreError> {
        let (count,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM rounds").fetch_one(&self.pool).await?;
        count_column(count, "the number of rounds")
    }

    /// ε of `rounds` round numbers, against the server with the assumed colluders; `None` where the accountant
    /// refuses. Takes a moment.
    pub fn epsilon(&self, rounds: u64) -> Option<f64> {
        let rounds = u32::try_from(rounds).ok()?;
        if rounds == 0 {
            return Some(0.0);
        }
        let sigma = self.plan.effective_noise_multiplier(self.dimension()).ok()?;
        let event = self.plan.schedule(sigma, rounds).ok()?;
        Some(accountant::epsilon(&event, self.plan.privacy.delta).ok()?.epsilon)
    }

    /// What the operator sees.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be read.
    pub async fn status(&self) -> Result<FederationStatus, StoreError> {
        let (used, abandoned, open): (i64, i64, Option<i64>) = sqlx::query_as(
            "SELECT COUNT(*), COUNT(CASE WHEN state = 'abandoned' THEN 1 END),
                    MAX(CASE WHEN state = 'open' THEN round END) FROM rounds",
        )
        .fetch_one(&self.pool)
        .await?;
        let (entries,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM leaves").fetch_one(&self.pool).await?;
        let rounds_used = count_column(used, "the number of rounds")?;
        let merchants = self.merchants().await?;
        Ok(FederationStatus {
            federation: self.federation().to_owned(),
            server_key: self.server_key(),
            plan_sha256: self.plan_sha256(),
            listen: self.settings.listen.clone(),
            rounds_used,
            rounds_planned: u64::from(self.plan.rounds.count),
            rounds_abandoned: count_column(abandoned, "the number of rounds")?,
            round_open: open.map(|round| count_column(round, "rounds.round")).transpose()?,
            model_version: self.models().await?.last().map_or(0, |row| row.version),
            ledger_entries: count_column(entries, "the number of leaves")?,
            epsilon: self.epsilon(rounds_used),
            epsilon_cap: self.plan.privacy.epsilon_cap,
            merchants: merchants
                .into_iter()
                .map(|m| MerchantStatus {
                    merchant: m.name.to_string(),
                    prekeys_left: m.prekeys_left,
                    last_round: m.last_round,
                    revoked: m.revoked,
                    certificate_not_after_ms: m.not_after_ms,
                })
                .collect(),
        })
    }
}
