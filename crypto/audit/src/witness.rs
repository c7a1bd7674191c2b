//! `forecastle-audit witness`: an exported log in, a cosigned checkpoint out.
//!
//! ```text
//! STATE/witness.p8     signing key, PKCS#8 (0600)          STATE/witness.vkey   its verifier key
//! STATE/logs/<SHA-256 of the origin>.json                  the last checkpoint seen of each log, and the log's key
//! STATE/lock                                               held while a checkpoint is decided on
//! ```
//!
//! The invariant: the new head is on disk before the cosignature leaves, and a head is only replaced by one that
//! provably extends it ([`forecastle_crypto::ledger::witness::advance`]). A crash in between costs a cosignature, which
//! the next call gives. State that cannot be read is never begun anew: a forgetful witness would cosign a fork.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use clap::{Args, Subcommand};
use forecastle_crypto::{
    identity::{SigningKey, SigningKeyError, VerifyingKey, sha256},
    ledger::{
        audit::Finding,
        checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
        merkle::ProofError,
        note::{BadKeyName, SignatureType, VerifierKey},
        witness::{WitnessRefusal, advance, cosign},
    },
};
use serde::{Deserialize, Serialize};

use crate::folder::{self, Folder, FolderError};

/// Exit code where a log was refused: it forked, shrank, or contradicts itself.
pub const EXIT_REFUSED: u8 = 1;
/// Exit code where nothing could be decided.
const EXIT_BAD_INPUT: u8 = 2;
/// The largest file of the state, in bytes.
const STATE_BYTES_MAX: u64 = 1 << 20;

/// Shown below `--help`.
pub const EXAMPLES: &str = "\
Examples:
  forecastle-audit witness init --state w1 --name witness.example/w1
  forecastle-audit witness cosign log --state w1 --server-key KEY --out cosigned
  forecastle-server ledger cosign cosigned --witness $(cat w1/witness.vkey)
  forecastle-audit witness show --state w1

Exit codes: 0 cosigned, 1 the log forked, shrank or contradicts itself, 2 nothing could be decided.";

/// What the command line says.
#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Make a witness: a key and an empty memory
    Init {
        /// Folder to make
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// Name of the witness, by convention a URL without its scheme
        #[arg(long, value_name = "NAME")]
        name: String,
    },
    /// Cosign an exported log's checkpoint, if it extends what this witness saw before
    Cosign {
        /// Folder of the exported log
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Folder of the witness
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
        /// The federation's key in hexadecimal, from a source you trust; needed when a log is seen for the first time
        #[arg(long, value_name = "KEY")]
        server_key: Option<VerifyingKey>,
        /// Where to write the cosigned checkpoint [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Show the witness's verifier key and what it remembers
    Show {
        /// Folder of the witness
        #[arg(long, value_name = "DIR")]
        state: PathBuf,
    },
}

/// Why nothing was cosigned.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    /// The log forked or shrank.
    #[error(transparent)]
    Refused(#[from] WitnessRefusal),
    /// Entries, tiles and checkpoint contradict each other.
    #[error(
        "the exported log contradicts itself: {what}. Nothing was cosigned; export it again, and if it stays so tell the federation's merchants"
    )]
    Contradiction {
        /// The first contradiction, naming entry or tile.
        what: String,
    },
    /// The checkpoint is not the log's.
    #[error("{0}; nothing was cosigned")]
    Checkpoint(#[from] CheckpointError),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Seen for the first time.
    #[error(
        "the log {origin:?} was never seen before: name the federation's key with --server-key, from a source you trust (the folder itself says {claimed})"
    )]
    FirstSight {
        /// The log.
        origin: String,
        /// The key in the folder.
        claimed: VerifyingKey,
    },
    /// Another key than the one remembered.
    #[error(
        "the log {origin:?} is known to this witness under the key {known}, not {given}; a federation does not change its key"
    )]
    OtherKey {
        /// The log.
        origin: String,
        /// The key remembered.
        known: VerifyingKey,
        /// The key named.
        given: VerifyingKey,
    },
    /// A name that notes cannot carry.
    #[error(transparent)]
    Name(#[from] BadKeyName),
    /// No key could be made or read.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
    /// Already a witness there.
    #[error("{} is a witness already; its memory is never begun anew", .0.display())]
    Exists(PathBuf),
    /// Never initialised.
    #[error("{} is no witness; make one with `forecastle-audit witness init`", .0.display())]
    NoWitness(PathBuf),
    /// Another process decides at this moment.
    #[error("another process is using the witness in {}; run it again when that has ended", .0.display())]
    Busy(PathBuf),
    /// A file of the state does not read as it was written.
    #[error("{} is damaged: {why}; restore it from its newest backup. An older one would let the witness cosign a fork", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The disk refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Disk {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

impl WitnessError {
    /// The exit code of the verb.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) | Self::Contradiction { .. } => EXIT_REFUSED,
            _ => EXIT_BAD_INPUT,
        }
    }
}

/// Runs the verb; what it returns is for standard output, without its last line feed.
///
/// # Errors
/// [`WitnessError`].
pub fn run(arguments: &Arguments) -> Result<String, WitnessError> {
    match &arguments.verb {
        Verb::Init { state, name } => Ok(Witness::init(state, name)?.verifier.to_string()),
        Verb::Cosign { folder, state, server_key, out } => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            let note = Witness::open(state)?.cosign(&Folder::open(folder)?, *server_key, now)?.to_string();
            match out {
                Some(path) => {
                    write(path, note.as_bytes(), false)?;
                    Ok(format!("wrote {}", path.display()))
                }
                None => Ok(note.trim_end_matches('\n').to_owned()),
            }
        }
        Verb::Show { state } => {
            let witness = Witness::open(state)?;
            let mut text = witness.verifier.to_string();
            for memory in witness.memories()? {
                let head = memory.head()?;
                text.push_str(&format!("\n{}  {} entries, root {}", head.origin, head.size, head.root));
            }
            Ok(text)
        }
    }
}

/// What is remembered of one log.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Memory {
    /// Format version, 1.
    version: u16,
    server_key: VerifyingKey,
    /// The newest signed checkpoint seen.
    checkpoint: String,
}

impl Memory {
    fn head(&self) -> Result<Checkpoint, CheckpointError> {
        let signed = SignedCheckpoint::parse(&self.checkpoint)?;
        let origin = signed.danger_unverified().origin.clone();
        signed.verify_origin(&origin, &self.server_key).cloned()
    }
}

/// A witness with its key and its memory, held by this process.
pub struct Witness {
    folder: PathBuf,
    verifier: VerifierKey,
    key: SigningKey,
    /// The operating system drops it with the process.
    _lock: File,
}

impl Witness {
    /// Makes a witness.
    ///
    /// # Errors
    /// [`WitnessError::Exists`] where there is one, and those of the disk.
    pub fn init(folder: &Path, name: &str) -> Result<Self, WitnessError> {
        let key = SigningKey::generate()?;
        let verifier = VerifierKey::new(name, SignatureType::CosignatureV1, key.verifying_key())?;
        let logs = folder.join("logs");
        fs::create_dir_all(&logs).map_err(disk("create", &logs))?;
        let lock = lock(folder)?;
        if folder.join("witness.vkey").exists() || folder.join("witness.p8").exists() {
            return Err(WitnessError::Exists(folder.to_owned()));
        }
        write(&folder.join("witness.p8"), key.to_pkcs8(), true)?;
        // Written last: its presence means that the witness is whole.
        write(&folder.join("witness.vkey"), format!("{verifier}\n").as_bytes(), false)?;
        Ok(Self { folder: folder.to_owned(), verifier, key, _lock: lock })
    }

    /// Opens a witness.
    ///
    /// # Errors
    /// [`WitnessError::NoWitness`], [`WitnessError::Busy`], [`WitnessError::Damaged`].
    pub fn open(folder: &Path) -> Result<Self, WitnessError> {
        let vkey = folder.join("witness.vkey");
        if !vkey.exists() {
            return Err(WitnessError::NoWitness(folder.to_owned()));
        }
        let lock = lock(folder)?;
        let text = String::from_utf8_lossy(&folder::read(&vkey, STATE_BYTES_MAX)?).into_owned();
        let damaged = |why: String| WitnessError::Damaged { path: vkey.clone(), why };
        let verifier: VerifierKey = text.trim_end().parse().map_err(|e| damaged(format!("{e}")))?;
        let key = SigningKey::from_pkcs8(&folder::read(&folder.join("witness.p8"), STATE_BYTES_MAX)?)?;
        if *verifier.key() != key.verifying_key() || verifier.kind() != SignatureType::CosignatureV1 {
            return Err(damaged("it is not the verifier key of witness.p8".into()));
        }
        Ok(Self { folder: folder.to_owned(), verifier, key, _lock: lock })
    }

    /// Its verifier key.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// Remembers the log's head and returns it cosigned, at `now` seconds since 1970. `server_key` is needed for a log
    /// that was never seen.
    ///
    /// # Errors
    /// [`WitnessError`]; what was remembered then stays as it was.
    pub fn cosign(
        &self,
        log: &Folder,
        server_key: Option<VerifyingKey>,
        now: u64,
    ) -> Result<SignedCheckpoint, WitnessError> {
        let origin = log.checkpoint().danger_unverified().origin.clone();
        let path = self.memory_path(&origin);
        let memory = read_memory(&path)?;
        let key = match (&memory, server_key) {
            (None, None) => return Err(WitnessError::FirstSight { origin, claimed: log.server_key() }),
            (None, Some(given)) => given,
            (Some(memory), Some(given)) if given != memory.server_key => {
                return Err(WitnessError::OtherKey { origin, known: memory.server_key, given });
            }
            (Some(memory), _) => memory.server_key,
        };
        let shown = log.checkpoint().verify_origin(&origin, &key)?.clone();
        if let Some(Finding { entry, what, .. }) = log.contradictions().first() {
            let what = entry.map_or_else(|| what.clone(), |index| format!("entry {index}: {what}"));
            return Err(WitnessError::Contradiction { what });
        }
        if log.tree().root() != shown.root {
            let what = "the entries do not give the root in the checkpoint".to_owned();
            return Err(WitnessError::Contradiction { what });
        }
        if let Some(memory) = &memory {
            let damaged = |e: CheckpointError| WitnessError::Damaged { path: path.clone(), why: e.to_string() };
            let seen = memory.head().map_err(damaged)?;
            let proof = log.tree().consistency_proof(seen.size, shown.size).or_else(|e| match e {
                // A log that shrank has no proof; `advance` says so before it looks at one.
                ProofError::Backwards { .. } => log.tree().consistency_proof(shown.size, shown.size),
                other => Err(other),
            });
            let proof = proof.map_err(|e| WitnessError::Contradiction { what: e.to_string() })?;
            advance(&seen, &shown, &proof)?;
        }
        let memory = Memory { version: 1, server_key: key, checkpoint: log.checkpoint().to_string() };
        let bytes = serde_json::to_vec_pretty(&memory).expect("a memory always serialises");
        write(&path, &bytes, false)?;
        // Durable from here on: a crash before this line gave nothing away, one after it costs a cosignature.
        let mut cosigned = log.checkpoint().clone();
        cosigned.add(cosign(&shown, self.verifier.name(), &self.key, now)?);
        Ok(cosigned)
    }

    fn memory_path(&self, origin: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{}.json", sha256(origin.as_bytes())))
    }

    fn memories(&self) -> Result<Vec<Memory>, WitnessError> {
        let folder = self.folder.join("logs");
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).map_err(disk("read", &folder))? {
            let path = entry.map_err(disk("read", &folder))?.path();
            if path.extension().is_some_and(|e| e == "json") {
                paths.push(path);
            }
        }
        paths.sort();
        Ok(paths.iter().map(|path| read_memory(path)).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }
}

fn read_memory(path: &Path) -> Result<Option<Memory>, WitnessError> {
    let bytes = match folder::read(path, STATE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(FolderError::Missing(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |why: String| WitnessError::Damaged { path: path.to_owned(), why };
    let memory: Memory = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
    if memory.version != 1 {
        return Err(damaged(format!("it is of version {}, written by a newer forecastle-audit", memory.version)));
    }
    Ok(Some(memory))
}

fn disk(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> WitnessError {
    let path = path.to_owned();
    move |source| WitnessError::Disk { action, path, source }
}

fn lock(folder: &Path) -> Result<File, WitnessError> {
    let path = folder.join("lock");
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(disk("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(WitnessError::Busy(folder.to_owned())),
        Err(fs::TryLockError::Error(e)) => Err(disk("lock", &path)(e)),
    }
}

/// Replaces a file in one step: after a crash either the old or the whole new content is there.
fn write(path: &Path, bytes: &[u8], secret: bool) -> Result<(), WitnessError> {
    let sibling = {
        let mut name = path.as_os_str().to_owned();
        name.push(".part");
        PathBuf::from(name)
    };
    let replace = || {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        if secret {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        #[cfg(not(unix))]
        let _ = secret;
        let mut file = options.open(&sibling)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&sibling, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    };
    replace().map_err(disk("write", path))
}
