//! An exported log as a folder of files: what `forecastle-server ledger export` and `forecastle ledger pull` write.
//!
//! ```text
//! checkpoint                     signed size and root (C2SP tlog-checkpoint)
//! tile/<level>/<index>[.p/<n>]   digests, tile/entries/… the entries (C2SP tlog-tiles)
//! federation.json                name and key of the federation
//! models/<version>.safetensors   where at hand
//! ```
//!
//! The invariant: a folder is read whole or refused with the name of the file that is wrong; every file is bounded
//! before it is read. What is read is not believed yet: [`Folder::audit`] judges it, and names the entry whose bytes are
//! not those that the signed root commits to.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use forecastle_crypto::{
    identity::{Sha256Digest, VerifyingKey, sha256},
    ledger::{
        audit::{self, AuditError, Finding, Rule, Verdict},
        checkpoint::{CHECKPOINT_BYTES_MAX, SignedCheckpoint},
        entry::{Entry, EntryError},
        merkle::{MerkleTree, leaf_hash},
        tiles::{BUNDLE_BYTES_MAX, TILE_BYTES_MAX, Tile, TileError},
    },
};
use serde::Deserialize;

/// The largest model file read, in bytes.
const MODEL_BYTES_MAX: u64 = 1 << 30;
/// The largest `federation.json` read, in bytes.
const ORIGIN_BYTES_MAX: u64 = 64 << 10;
/// Places that are named one by one where tiles and entries contradict each other.
const PLACES_MAX: usize = 20;

/// Why a folder could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// A file that the log must have is not there.
    #[error("{} is missing; the log is incomplete without it, and nothing of it is judged. Export the log again with `forecastle-server ledger export` or `forecastle ledger pull`", .0.display())]
    Missing(PathBuf),
    /// A file is unreadable or too large.
    #[error("cannot read {}: {why}; the folder should be one that `forecastle-server ledger export` or `forecastle ledger pull` wrote", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the operating system or parser said.
        why: String,
    },
    /// A tile or bundle of another shape than its name says.
    #[error("{source} (in {})", path.display())]
    Tile {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: TileError,
    },
}

impl FolderError {
    fn of(path: &Path) -> impl FnOnce(String) -> Self {
        let path = path.to_owned();
        move |why| Self::File { path, why }
    }
}

/// What `federation.json` says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Origin {
    server_key: VerifyingKey,
}

/// An exported log, in memory.
pub struct Folder {
    checkpoint: SignedCheckpoint,
    leaves: Vec<Vec<u8>>,
    tree: MerkleTree,
    server_key: VerifyingKey,
    models: HashMap<u64, Sha256Digest>,
    contradictions: Vec<Finding>,
}

impl Folder {
    /// Reads a folder.
    ///
    /// # Errors
    /// [`FolderError`] names the first file that is missing or wrong.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let origin_path = path.join("federation.json");
        let origin: Origin = serde_json::from_slice(&read(&origin_path, ORIGIN_BYTES_MAX)?)
            .map_err(|e| FolderError::of(&origin_path)(e.to_string()))?;
        let note_path = path.join("checkpoint");
        let note = String::from_utf8(read(&note_path, CHECKPOINT_BYTES_MAX as u64)?)
            .map_err(|e| FolderError::of(&note_path)(e.to_string()))?;
        let checkpoint = SignedCheckpoint::parse(&note).map_err(|e| FolderError::of(&note_path)(e.to_string()))?;

        let size = checkpoint.danger_unverified().size;
        let wrong = |source| FolderError::Tile { path: path.to_owned(), source };
        let mut leaves = Vec::new();
        let mut written = Vec::new();
        for tile in Tile::of_size(size) {
            let digests = read(&path.join(tile.path()), TILE_BYTES_MAX as u64)?;
            written.push((tile, tile.parse(&digests).map_err(wrong)?));
            if tile.level() == 0 {
                let bundle = read(&path.join(tile.entries_path()), BUNDLE_BYTES_MAX as u64)?;
                leaves.extend(tile.parse_bundle(&bundle).map_err(wrong)?);
            }
        }
        let tree = MerkleTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(leaf)));
        let contradictions = contradictions(checkpoint.danger_unverified().root, &tree, &written);
        let models = digests(&path.join("models"))?;
        Ok(Self { checkpoint, leaves, tree, server_key: origin.server_key, models, contradictions })
    }

    /// The entries' exact bytes, in order.
    pub fn leaves(&self) -> &[Vec<u8>] {
        &self.leaves
    }

    /// The tree over the entries.
    pub fn tree(&self) -> &MerkleTree {
        &self.tree
    }

    /// The entries with their indexes; one that cannot be read says why.
    pub fn entries(&self) -> impl Iterator<Item = (u64, Result<Entry, EntryError>)> + '_ {
        (0u64..).zip(self.leaves.iter().map(|leaf| Entry::from_bytes(leaf)))
    }

    /// The tree head with its signatures, not verified.
    pub fn checkpoint(&self) -> &SignedCheckpoint {
        &self.checkpoint
    }

    /// The federation's key as the folder names it: compare it with one from elsewhere.
    pub fn server_key(&self) -> VerifyingKey {
        self.server_key
    }

    /// Digests of the model files at hand, by version.
    pub fn models(&self) -> &HashMap<u64, Sha256Digest> {
        &self.models
    }

    /// Where entries, tiles and the root in the checkpoint contradict each other; empty in a sound folder. Each names
    /// the entry or the tile.
    pub fn contradictions(&self) -> &[Finding] {
        &self.contradictions
    }

    /// Judges the folder under `server_key`, or under the key that the folder itself names.
    ///
    /// # Errors
    /// [`AuditError`] where there is nothing to judge; findings are not errors.
    pub fn audit(&self, server_key: Option<VerifyingKey>) -> Result<Verdict, AuditError> {
        let key = server_key.unwrap_or(self.server_key);
        let mut verdict = audit::audit(&self.leaves, &self.checkpoint.to_string(), &key, &self.models)?;
        verdict.findings.splice(0..0, self.contradictions.iter().cloned());
        Ok(verdict)
    }
}

/// Compares what the entries give with the tiles that were written, and both with the signed root: the part that gives
/// the root is right, the other one was altered.
fn contradictions(root: Sha256Digest, tree: &MerkleTree, written: &[(Tile, Vec<Sha256Digest>)]) -> Vec<Finding> {
    let find = |entry, what: String| Finding::new(entry, Rule::Tree, what);
    let leaf_tiles = written.iter().filter(|(tile, _)| tile.level() == 0);
    let tiled = MerkleTree::from_leaf_hashes(leaf_tiles.flat_map(|(_, digests)| digests.iter().copied()));
    let mut found = Vec::new();
    // Which entries: only the leaf tiles can tell.
    for (index, (leaf, digest)) in (0u64..).zip(tree.leaves().iter().zip(tiled.leaves())) {
        if leaf != digest && tree.root() != root {
            let what = if tiled.root() == root {
                "its bytes are not those that the log committed to: they were altered".to_owned()
            } else {
                "its bytes and its leaf hash do not fit, and neither leads to the root in the checkpoint".to_owned()
            };
            found.push(find(Some(index), what));
        }
    }
    for (tile, digests) in written {
        let expected = if tiled.root() == root { &tiled } else { tree };
        let bytes: Vec<u8> = digests.iter().flat_map(|digest| digest.0).collect();
        let fits = tile.bytes(expected).is_some_and(|expected| expected == bytes);
        if !fits && expected.root() == root {
            found.push(find(None, format!("{} does not follow from the entries: it was altered", tile.path())));
        }
    }
    let more = found.len().saturating_sub(PLACES_MAX);
    found.truncate(PLACES_MAX);
    if more > 0 {
        found.push(find(None, format!("{more} more places contradict each other")));
    }
    found
}

/// Reads a file of at most `bytes_max` bytes.
pub(crate) fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, FolderError> {
    let mut bytes = Vec::new();
    let outcome = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes));
    match outcome {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(FolderError::Missing(path.to_owned())),
        Err(e) => Err(FolderError::of(path)(e.to_string())),
        Ok(read) if read as u64 > bytes_max => {
            Err(FolderError::of(path)(format!("it is larger than {bytes_max} bytes")))
        }
        Ok(_) => Ok(bytes),
    }
}

/// Digests of the model files at hand; a folder without models is fine.
fn digests(folder: &Path) -> Result<HashMap<u64, Sha256Digest>, FolderError> {
    let mut found = HashMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry.map_err(|e| FolderError::of(folder)(e.to_string()))?.path();
        let version = path
            .extension()
            .is_some_and(|e| e == "safetensors")
            .then(|| path.file_stem().and_then(|s| s.to_str()).and_then(|s| s.parse().ok()))
            .flatten();
        if let Some(version) = version {
            found.insert(version, sha256(&read(&path, MODEL_BYTES_MAX)?));
        }
    }
    Ok(found)
}
