//! The folder of an encoder: which files it has, how large they may be, and the digest that names all of them.
//!
//! Every file is read once, and what was read is both hashed and used: a folder that changes meanwhile gives vectors of
//! no other encoder than the digest names.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Component, Path, PathBuf},
};

use forecastle_crypto::identity::Sha256Digest;
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use serde_json::Value;

use super::{
    EncoderError,
    settings::{self, Settings},
};
use crate::durable::DiskError;

/// Begins what is hashed; another number where the same files would give other vectors.
const LABEL: &[u8] = b"forecastle text encoder 1";
/// Largest file of settings.
const SETTINGS_BYTES_MAX: u64 = 1 << 20;
/// Largest tokenizer; vocabularies of a hundred languages take some 20 MB.
const TOKENIZER_BYTES_MAX: u64 = 64 << 20;
/// Largest file of weights.
const WEIGHTS_BYTES_MAX: u64 = 2 << 30;

/// An encoder's folder, read and checked; its weights are not unpacked yet.
pub struct Directory {
    path: PathBuf,
    digest: Sha256Digest,
    pub(super) settings: Settings,
    pub(super) tokenizer: FileBytes,
    pub(super) weights: FileBytes,
}

/// What a file held.
pub(super) struct FileBytes {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// One entry of `modules.json`.
#[derive(Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

/// What follows the Transformer.
struct Modules {
    /// Folder of the Transformer, empty for the encoder's own.
    transformer: String,
    /// Folder of the pooling's settings.
    pooling: String,
    normalized: bool,
}

impl Directory {
    /// Reads the files of `path`, checks every setting and hashes all of them.
    ///
    /// # Errors
    /// [`EncoderError`] names the file and the setting.
    pub fn open(path: &Path) -> Result<Self, EncoderError> {
        let mut hash = Hash::new();
        let listed = hash.optional(path, "modules.json", SETTINGS_BYTES_MAX)?;
        let modules = match &listed {
            Some(file) => modules(file)?,
            None => Modules { transformer: String::new(), pooling: "1_Pooling".into(), normalized: false },
        };
        let body = path.join(&modules.transformer);
        let config = hash.required(&body, "config.json", SETTINGS_BYTES_MAX)?;
        let limits = hash.optional(&body, "sentence_bert_config.json", SETTINGS_BYTES_MAX)?;
        let words = hash.optional(&body, "tokenizer_config.json", SETTINGS_BYTES_MAX)?;
        let pooling_folder = path.join(&modules.pooling);
        let pooling = match &listed {
            Some(_) => Some(hash.required(&pooling_folder, "config.json", SETTINGS_BYTES_MAX)?),
            None => hash.optional(&pooling_folder, "config.json", SETTINGS_BYTES_MAX)?,
        };
        let settings = settings::Files {
            config: config.json()?,
            limits: limits.as_ref().map(FileBytes::json).transpose()?,
            tokenizer: words.as_ref().map(FileBytes::json).transpose()?,
            pooling: pooling.as_ref().map(FileBytes::json).transpose()?,
        }
        .settings(modules.normalized)?;
        let tokenizer = hash.required(&body, "tokenizer.json", TOKENIZER_BYTES_MAX)?;
        let weights = hash.required(&body, "model.safetensors", WEIGHTS_BYTES_MAX)?;
        Ok(Self { path: path.to_owned(), digest: hash.finish(), settings, tokenizer, weights })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 over all files that decide the vectors: encoders of equal digests give equal vectors.
    pub fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Numbers in a vector of this encoder.
    pub fn width(&self) -> usize {
        self.settings.hidden
    }

    /// Most tokens of a text that are read, its two ends included.
    pub fn longest(&self) -> usize {
        self.settings.longest
    }
}

impl FileBytes {
    fn json(&self) -> Result<settings::Json<'_>, EncoderError> {
        match serde_json::from_slice::<Value>(&self.bytes) {
            Ok(Value::Object(fields)) => Ok(settings::Json { path: &self.path, fields }),
            Ok(_) => Err(self.refuse("is no JSON object: save the encoder again")),
            Err(error) => Err(self.refuse(&format!("is no JSON ({error}): save the encoder again"))),
        }
    }

    pub(super) fn refuse(&self, why: &str) -> EncoderError {
        EncoderError::File { path: self.path.clone(), why: why.to_owned() }
    }
}

/// Reads `modules.json`: a Transformer, its pooling, and perhaps a normalisation.
fn modules(file: &FileBytes) -> Result<Modules, EncoderError> {
    let list: Vec<Module> = serde_json::from_slice(&file.bytes)
        .map_err(|error| file.refuse(&format!("is no list of modules ({error}): save the encoder again")))?;
    let kinds: Vec<&str> = list.iter().map(|module| module.kind.rsplit('.').next().unwrap_or_default()).collect();
    let normalized = match kinds[..] {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        _ => {
            let why = format!(
                "lists the modules {}; only a Transformer, a Pooling and perhaps a Normalize are run: choose an encoder \
                 without others",
                kinds.join(", ")
            );
            return Err(file.refuse(&why));
        }
    };
    let inside = |path: &str| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if let Some(module) = list.iter().find(|module| !inside(&module.path)) {
        return Err(file.refuse(&format!("names the folder `{}`, which is not inside the encoder's own", module.path)));
    }
    Ok(Modules { transformer: list[0].path.clone(), pooling: list[1].path.clone(), normalized })
}

/// Reads files and hashes them on the way: each with its place in the order, whether it is there, and its length.
struct Hash(Context);

impl Hash {
    fn new() -> Self {
        let mut context = Context::new(&SHA256);
        context.update(LABEL);
        Self(context)
    }

    fn required(&mut self, folder: &Path, name: &str, max: u64) -> Result<FileBytes, EncoderError> {
        self.optional(folder, name, max)?.ok_or_else(|| EncoderError::Missing(folder.join(name)))
    }

    fn optional(&mut self, folder: &Path, name: &str, max: u64) -> Result<Option<FileBytes>, EncoderError> {
        let path = folder.join(name);
        let Some(bytes) = read(&path, max)? else {
            self.0.update(&[0]);
            return Ok(None);
        };
        self.0.update(&[1]);
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(&bytes);
        Ok(Some(FileBytes { path, bytes }))
    }

    fn finish(self) -> Sha256Digest {
        let digest = self.0.finish();
        Sha256Digest(std::array::from_fn(|i| digest.as_ref()[i]))
    }
}

/// A whole file of at most `max` bytes; `None` where there is none.
fn read(path: &Path, max: u64) -> Result<Option<Vec<u8>>, EncoderError> {
    let failed = |error| Err(EncoderError::Disk(DiskError::of("read", path)(error)));
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return failed(error),
    };
    let mut bytes = Vec::new();
    if let Err(error) = file.take(max + 1).read_to_end(&mut bytes) {
        return failed(error);
    }
    if bytes.len() as u64 > max {
        return Err(EncoderError::TooLarge { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}
