//! Founding a federation: one state directory, made whole or not at all.
//!
//! The invariant: everything is written into a sibling of the directory and renamed into place at the end. A crash
//! leaves the sibling, never half a federation; an existing federation is never overwritten.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use forecastle_crypto::{
    dp::{
        plan::{PlanError, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::{Sha256Digest, SigningKey, SigningKeyError, VerifyingKey},
    ledger::entry::Founded,
    quantize::GridError,
};
use forecastle_proto::{
    limits::FEDERATION_NAME_MAX,
    model::{ModelFileError, ModelSnapshot},
};
use serde::Serialize;

use crate::{
    identity::certificates::{Authority, CertificateError},
    ledger::store::{CHECKPOINT_FILE, LedgerError, LedgerStore},
    model::registry::Registry,
    now_ms,
    settings::{self, Settings, SettingsError},
    state::{
        AUTHORITY_CERTIFICATE_FILE, AUTHORITY_KEY_FILE, DATABASE_FILE, FEDERATION_KEY_FILE, KEYS_FOLDER, MODELS_FOLDER,
    },
    store::{self, StoreError, files},
};

/// What a federation is founded with.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// Name of the federation: 1 to 64 of letters, digits, `-`, `_`, `.`, `/`. Also the origin of its checkpoints.
    pub federation: String,
    /// Address and port to listen on.
    pub listen: String,
    /// How merchants reach the server, `https://host:port`.
    pub advertise: String,
    /// More host names or IP addresses for the server's certificate.
    pub names: Vec<String>,
    /// The plan file.
    pub plan: Vec<u8>,
    /// Version 0 of the model, a model file.
    pub model: Vec<u8>,
    /// How long a round waits for further merchants once enough are there.
    pub gather: Duration,
    /// Merchants to wait for (within `gather`) even before so many are enrolled; 0 for those enrolled.
    pub expected_merchants: u16,
    /// Days for which merchants' certificates are valid.
    pub certificate_days: u16,
}

/// What was founded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Founding {
    /// Name of the federation.
    pub federation: String,
    /// Key that signs offers and checkpoints; publish it where auditors find it.
    pub server_key: VerifyingKey,
    /// Digest of the plan.
    pub plan_sha256: Sha256Digest,
    /// Digest of version 0 of the model.
    pub model_sha256: Sha256Digest,
    /// Number of privately trained parameters.
    pub dimension: u32,
}

/// Why no federation was founded. Nothing was left behind.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Something is there already.
    #[error(
        "{0} is there already and not empty: choose another directory, or start the federation in it with `forecastle-server serve`"
    )]
    Exists(PathBuf),
    /// A bad name.
    #[error("`{0}` is no federation name: 1 to {FEDERATION_NAME_MAX} letters, digits, `-`, `_`, `.` or `/`")]
    Name(String),
    /// The plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan's grid and this model.
    #[error("the plan's grid does not fit the model: {0}")]
    Grid(#[from] GridError),
    /// The modulus could wrap around.
    #[error("plan field `integers.bits`: {found} bits could overflow with {merchants} merchants; {needed} are enough")]
    Bits {
        /// The plan's.
        found: u8,
        /// Enough.
        needed: u8,
        /// The largest cohort.
        merchants: u16,
    },
    /// The model.
    #[error("the model file: {0}")]
    Model(#[from] ModelFileError),
    /// The model reads what no client can bound for a customer.
    #[error(
        "the model reads `{0}`, which clients refuse to train on under the unit `customer`: stock on hand is what customers bought; make one without it, or plan the unit `series`"
    )]
    NotBounded(String),
    /// Nothing to train.
    #[error("the model file marks no parameter as federated: there is nothing to train")]
    NothingToTrain,
    /// The settings.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A key.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// A certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The log.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Database or files.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl InitOptions {
    /// A plan and a model; everything else as a federation on this machine would want it.
    pub fn new(plan: Vec<u8>, model: Vec<u8>) -> Self {
        Self {
            federation: "federation".into(),
            listen: "127.0.0.1:7443".into(),
            advertise: "https://127.0.0.1:7443".into(),
            names: Vec::new(),
            plan,
            model,
            gather: Duration::from_secs(10),
            expected_merchants: 0,
            certificate_days: 365,
        }
    }
}

/// Founds a federation in `directory`, which must not exist or be empty.
///
/// # Errors
/// [`InitError`]; nothing is left behind.
pub async fn init(directory: &Path, options: &InitOptions) -> Result<Founding, InitError> {
    let occupied = fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_some());
    if occupied || directory.is_file() {
        return Err(InitError::Exists(directory.to_owned()));
    }
    let checked = Checked::new(options)?;
    // The folder's parents may be missing: the platform's data directory often is.
    let parent = directory.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| StoreError::file(format!("creating {}", parent.display()), e))?;
    let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let sibling = parent.join(format!(".{name}.founding-{}", std::process::id()));
    let _ = fs::remove_dir_all(&sibling);
    let built = checked.build(&sibling).await;
    let placed = built.and_then(|founding| {
        // An empty directory may be there already; renaming over it needs it gone on some platforms.
        let _ = fs::remove_dir(directory);
        fs::rename(&sibling, directory)
            .and_then(|()| files::sync_directory(parent))
            .map_err(|e| StoreError::file(format!("creating {}", directory.display()), e))?;
        Ok(founding)
    });
    if placed.is_err() {
        let _ = fs::remove_dir_all(&sibling);
    }
    placed
}

/// Options whose every part was checked.
struct Checked<'a> {
    options: &'a InitOptions,
    settings: Settings,
    plan: PrivacyPlan,
    plan_text: String,
    model: ModelSnapshot,
    dimension: u32,
}

impl<'a> Checked<'a> {
    fn new(options: &'a InitOptions) -> Result<Self, InitError> {
        let name = &options.federation;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        if name.is_empty() || name.len() > FEDERATION_NAME_MAX || !name.bytes().all(allowed) {
            return Err(InitError::Name(name.clone()));
        }
        let settings = Settings {
            version: 1,
            listen: options.listen.clone(),
            advertise: options.advertise.clone(),
            names: options.names.clone(),
            gather_ms: u64::try_from(options.gather.as_millis()).unwrap_or(u64::MAX),
            expected_merchants: options.expected_merchants,
            certificate_days: options.certificate_days,
            connections_max: settings::connections_max(),
        };
        settings.check()?;
        let plan = PrivacyPlan::parse(&options.plan)?;
        let plan_text = String::from_utf8(options.plan.clone()).map_err(|e| PlanError::Format(e.to_string()))?;
        let model = ModelSnapshot::from_bytes(&options.model)?;
        let dimension = u32::try_from(model.manifest.layout.federated_len())
            .expect("a model has fewer parameters than a u32 counts");
        if dimension == 0 {
            return Err(InitError::NothingToTrain);
        }
        check_inputs(&plan, &model)?;
        plan.runnable()?;
        plan.grid(dimension)?;
        check_bits(&plan, dimension)?;
        Ok(Self { options, settings, plan, plan_text, model, dimension })
    }

    async fn build(self, directory: &Path) -> Result<Founding, InitError> {
        let now = now_ms();
        let keys = directory.join(KEYS_FOLDER);
        let models = directory.join(MODELS_FOLDER);
        for folder in [directory, &keys, &models] {
            files::create_private_directory(folder)?;
        }
        let authority = Authority::create(&self.options.federation)?;
        let key = Arc::new(SigningKey::generate()?);
        files::write_atomically(&keys.join(AUTHORITY_CERTIFICATE_FILE), &authority.certificate)?;
        files::write_atomically(&keys.join(AUTHORITY_KEY_FILE), &authority.key)?;
        files::write_atomically(&keys.join(FEDERATION_KEY_FILE), key.to_pkcs8())?;
        files::write_atomically(&directory.join(settings::FILE), self.settings.to_file().as_bytes())?;

        let layout_sha256 = self.model.manifest.layout.digest();
        let mut staged = Registry::stage_first(&models, &self.plan, self.options.model.clone(), self.model, now)?;
        let pool = store::open(&directory.join(DATABASE_FILE), true).await?;
        let founded = Founded {
            version: 1,
            federation: self.options.federation.clone(),
            server_key: key.verifying_key(),
            plan: self.plan_text,
            model_sha256: staged.sha256(),
            layout_sha256,
            dimension: self.dimension,
            at_ms: now,
        };
        let founding = Founding {
            federation: founded.federation.clone(),
            server_key: founded.server_key,
            plan_sha256: PrivacyPlan::digest_of(&self.options.plan),
            model_sha256: founded.model_sha256,
            dimension: founded.dimension,
        };
        LedgerStore::found(pool.clone(), directory.join(CHECKPOINT_FILE), key, founded).await?;
        let mut connection = pool.acquire().await.map_err(StoreError::from)?;
        staged.insert(&mut connection, 0).await?;
        drop(connection);
        // Closing folds the write-ahead log into the file, which is about to be renamed.
        pool.close().await;
        Ok(founding)
    }
}

/// Refuses a model that merchants would refuse: the server knows nothing of models but the names in their settings.
fn check_inputs(plan: &PrivacyPlan, model: &ModelSnapshot) -> Result<(), InitError> {
    const UNBOUNDED: &str = "stock";
    let channels = model.manifest.settings.get("past_channels").and_then(|channels| channels.as_array());
    let reads = channels.is_some_and(|channels| channels.iter().any(|channel| channel == UNBOUNDED));
    if reads && plan.privacy.unit == PrivacyUnit::Customer {
        return Err(InitError::NotBounded(UNBOUNDED.to_owned()));
    }
    Ok(())
}

/// Refuses a modulus in which a round's sum could wrap around.
fn check_bits(plan: &PrivacyPlan, dimension: u32) -> Result<(), InitError> {
    let needed = plan.bits_needed(dimension)?;
    if plan.integers.bits < needed {
        return Err(InitError::Bits { found: plan.integers.bits, needed, merchants: plan.rounds.cohort_max });
    }
    Ok(())
}
