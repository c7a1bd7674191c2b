//! Vectors of texts that were encoded before, so that a product is encoded once.
//!
//! One file for one encoder: the digest of the encoder's folder, then for each text the SHA-256 of the text and its
//! projected vector, then a SHA-256 over all of that. It is written whole or not at all. A file that is damaged, of another
//! encoder or of another version is as good as none: everything in it can be computed again.
//!
//! Left out on purpose: the texts themselves. The file is readable by its owner only, since a digest tells who guesses a
//! text that it was there.

use std::{collections::BTreeMap, fs, io::ErrorKind, path::PathBuf, sync::Arc};

use forecastle_crypto::identity::{Sha256Digest, sha256};

use crate::{
    data::window::TEXT_BUCKETS,
    durable::{self, Access, DiskError},
};

/// Begins the file; another number where its form changes.
const MAGIC: &[u8; 16] = b"forecastle text1";
/// Most texts that a file keeps, some 100 MB of them.
const TEXTS_MAX: usize = 100_000;
/// Bytes of a text's entry.
const ENTRY_BYTES: usize = 32 + 4 * TEXT_BUCKETS;
/// Bytes before the first entry.
const HEAD_BYTES: usize = MAGIC.len() + 32;

/// A vector and whether it was asked for since the file was read.
struct Entry {
    vector: Arc<Vec<f32>>,
    wanted: bool,
}

/// Vectors of one encoder's texts, by the text's digest.
pub struct VectorCache {
    path: PathBuf,
    encoder: Sha256Digest,
    entries: BTreeMap<Sha256Digest, Entry>,
    texts_max: usize,
    changed: bool,
}

impl VectorCache {
    /// The vectors that `path` holds of this encoder; none where the file is not there, damaged or another encoder's.
    pub fn open(path: PathBuf, encoder: Sha256Digest) -> Self {
        let entries = read(&path).and_then(|bytes| parse(&bytes, encoder)).unwrap_or_default();
        Self { path, encoder, entries, texts_max: TEXTS_MAX, changed: false }
    }

    /// The vector of a text.
    pub fn get(&mut self, text: &str) -> Option<Arc<Vec<f32>>> {
        let entry = self.entries.get_mut(&sha256(text.as_bytes()))?;
        entry.wanted = true;
        Some(Arc::clone(&entry.vector))
    }

    /// Keeps the vector of a text, `[TEXT_BUCKETS]`.
    pub fn insert(&mut self, text: &str, vector: Arc<Vec<f32>>) {
        debug_assert_eq!(vector.len(), TEXT_BUCKETS);
        self.entries.insert(sha256(text.as_bytes()), Entry { vector, wanted: true });
        self.changed = true;
    }

    /// Texts that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the file where something was added. Beyond its bound, texts that nobody asked for this time are left out
    /// first; in memory all stay.
    ///
    /// # Errors
    /// [`DiskError`]; the old file is then still there.
    pub fn save(&mut self) -> Result<(), DiskError> {
        if !self.changed {
            return Ok(());
        }
        let mut written: Vec<_> = self.entries.iter().collect();
        written.sort_by_key(|(_, entry)| !entry.wanted);
        written.truncate(self.texts_max);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + written.len() * ENTRY_BYTES + 32);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.encoder.0);
        for (text, entry) in written {
            bytes.extend_from_slice(&text.0);
            bytes.extend(entry.vector.iter().flat_map(|x| x.to_le_bytes()));
        }
        bytes.extend_from_slice(&sha256(&bytes).0);
        if let Some(folder) = self.path.parent() {
            durable::create_private_folder(folder)?;
        }
        durable::write(&self.path, &bytes, Access::Secret)?;
        self.changed = false;
        Ok(())
    }
}

/// The whole file, unless it is larger than any that was written.
fn read(path: &std::path::Path) -> Option<Vec<u8>> {
    let largest = (HEAD_BYTES + TEXTS_MAX * ENTRY_BYTES + 32) as u64;
    match fs::metadata(path) {
        Ok(about) if about.is_file() && about.len() <= largest => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        _ => {
            tracing::warn!("{} is no file of text vectors; they are computed again", path.display());
            return None;
        }
    }
    fs::read(path).ok()
}

/// The entries of an undamaged file of this encoder.
fn parse(bytes: &[u8], encoder: Sha256Digest) -> Option<BTreeMap<Sha256Digest, Entry>> {
    let (content, digest) = bytes.split_last_chunk::<32>()?;
    if sha256(content).0 != *digest || content.len() < HEAD_BYTES {
        tracing::warn!("the kept text vectors are damaged; they are computed again");
        return None;
    }
    let (head, entries) = content.split_at(HEAD_BYTES);
    if !head.starts_with(MAGIC) || head[MAGIC.len()..] != encoder.0 || !entries.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let entry = |bytes: &[u8]| {
        let (text, numbers) = bytes.split_first_chunk::<32>()?;
        let vector: Vec<f32> = numbers.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        let fine = vector.iter().all(|x| x.is_finite());
        fine.then(|| (Sha256Digest(*text), Entry { vector: Arc::new(vector), wanted: false }))
    };
    entries.chunks_exact(ENTRY_BYTES).map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENCODER: Sha256Digest = Sha256Digest([7; 32]);

    fn vector(first: f32) -> Arc<Vec<f32>> {
        let mut vector = vec![0.25; TEXT_BUCKETS];
        vector[0] = first;
        Arc::new(vector)
    }

    fn filled(folder: &std::path::Path, texts: &[&str]) -> PathBuf {
        let path = folder.join("text/vectors");
        let mut cache = VectorCache::open(path.clone(), ENCODER);
        for (at, text) in texts.iter().enumerate() {
            cache.insert(text, vector(at as f32));
        }
        cache.save().unwrap();
        path
    }

    #[test]
    fn what_was_kept_is_found_again_by_its_text_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path(), &["red mug", "blue mug"]);
        let mut cache = VectorCache::open(path, ENCODER);
        assert_eq!(cache.get("blue mug"), Some(vector(1.0)));
        assert_eq!(cache.get("blue mug "), None);
    }

    #[test]
    fn the_file_is_the_owner_s_and_holds_no_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path(), &["a secret product"]);
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(6).any(|part| part == b"secret"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn another_encoder_s_vectors_are_not_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path(), &["red mug"]);
        assert!(VectorCache::open(path, Sha256Digest([8; 32])).is_empty());
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none_wherever_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path(), &["red mug", "blue mug"]);
        let whole = fs::read(&path).unwrap();
        for at in (0..whole.len()).step_by(61).chain([whole.len() - 1]) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert!(VectorCache::open(path.clone(), ENCODER).is_empty(), "{at}");
            fs::write(&path, &whole[..at]).unwrap();
            assert!(VectorCache::open(path.clone(), ENCODER).is_empty(), "{at}");
        }
        fs::write(&path, b"").unwrap();
        assert!(VectorCache::open(path.clone(), ENCODER).is_empty());
        fs::write(&path, &whole).unwrap();
        assert_eq!(VectorCache::open(path.clone(), ENCODER).len(), 2);
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(VectorCache::open(path, ENCODER).is_empty());
    }

    #[test]
    fn beyond_the_bound_texts_that_nobody_asked_for_are_left_out_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = filled(folder.path(), &["a", "b", "c", "d"]);
        let mut cache = VectorCache::open(path.clone(), ENCODER);
        cache.texts_max = 3;
        assert!(cache.get("b").is_some() && cache.get("d").is_some());
        cache.insert("e", vector(9.0));
        cache.save().unwrap();
        assert_eq!(cache.len(), 5);
        let mut cache = VectorCache::open(path.clone(), ENCODER);
        assert_eq!(cache.len(), 3);
        assert!(["b", "d", "e"].iter().all(|text| cache.get(text).is_some()));
        cache.texts_max = 1;
        cache.insert("f", vector(3.0));
        cache.save().unwrap();
        assert_eq!(VectorCache::open(path, ENCODER).len(), 1);
    }

    #[test]
    fn nothing_is_written_where_nothing_was_added() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vectors");
        VectorCache::open(path.clone(), ENCODER).save().unwrap();
        assert!(!path.exists());
    }
}
