//! The form of a sealed file: the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár, "Online Authenticated-Encryption
//! and its Nonce-Reuse Misuse-Resistance", CRYPTO 2015) over AES-256-GCM.
//!
//! ```text
//! "forecastle seal" 1B version | 8B key name | 1B n | n B file name | 32B salt | 7B prefix
//! frames: 4B length of what follows, highest bit set in the last | ciphertext of ≤ 64 KiB | 16B tag
//! ```
//!
//! Each file has a key of its own, HKDF-SHA-256 of the data key with the file's random salt, so that nonces repeat for no two
//! files. A nonce is prefix ‖ number of the chunk ‖ whether it is the last; the header is the associated data of every chunk.
//! All chunks but the last are full. So no chunk can be moved, repeated, left out or taken from another file, and the end
//! cannot be cut off. The length before a chunk is there to tell a file that is cut off from one that was altered; nothing
//! rests on it.
//!
//! One chunk is in memory, whatever the file's length.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
    rand::SecureRandom as _,
};
use zeroize::Zeroizing;

use super::{
    VaultError,
    key::{DataKey, ID_LEN, KeyId},
};

const MAGIC: &[u8; 15] = b"forecastle seal";
const VERSION: u8 = 1;
const SALT_LEN: usize = 32;
const PREFIX_LEN: usize = 7;
const TAG_LEN: usize = 16;
/// Bytes of content in every chunk but the last.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;
/// Bytes of a full chunk in the file, its length included.
pub(super) const FRAME_BYTES: usize = LENGTH_LEN + CHUNK_BYTES + TAG_LEN;
const LENGTH_LEN: usize = 4;
/// Set in the length of the last chunk.
const LAST: u32 = 1 << 31;

/// The key of one file, and the nonces of its chunks.
struct Chunks {
    key: LessSafeKey,
    header: Vec<u8>,
    prefix: [u8; PREFIX_LEN],
    /// Chunks so far.
    count: u32,
}

impl Chunks {
    fn new(data_key: &DataKey, header: Vec<u8>, salt: &[u8], prefix: [u8; PREFIX_LEN]) -> Self {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(data_key.bytes());
        let info: [&[u8]; 1] = [b"forecastle sealed file 1"];
        let expanded = extracted.expand(&info, &AES_256_GCM).expect("a key is shorter than HKDF's longest output");
        Self { key: LessSafeKey::new(UnboundKey::from(expanded)), header, prefix, count: 0 }
    }

    /// The nonce of the next chunk; `None` after 2³² of them.
    fn nonce(&mut self, is_last: bool) -> Option<Nonce> {
        let mut nonce = [0; NONCE_LEN];
        nonce[..PREFIX_LEN].copy_from_slice(&self.prefix);
        nonce[PREFIX_LEN..NONCE_LEN - 1].copy_from_slice(&self.count.to_be_bytes());
        nonce[NONCE_LEN - 1] = u8::from(is_last);
        self.count = self.count.checked_add(1)?;
        Some(Nonce::assume_unique_for_key(nonce))
    }
}

/// A sealed file being written. Without [`Sealer::finish`] it has no end and does not open.
pub struct Sealer<W: Write> {
    to: W,
    chunks: Chunks,
    /// Content of the chunk that is not full yet.
    content: Zeroizing<Vec<u8>>,
}

impl<W: Write> Sealer<W> {
    pub(super) fn begin(key: &DataKey, name: &str, mut to: W) -> io::Result<Self> {
        let mut random = [0; SALT_LEN + PREFIX_LEN];
        ring::rand::SystemRandom::new().fill(&mut random).map_err(|_| VaultError::NoEntropy)?;
        let name_len = u8::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidFilename)?;
        let mut header = MAGIC.to_vec();
        header.push(VERSION);
        header.extend_from_slice(&key.id().0);
        header.push(name_len);
        header.extend_from_slice(name.as_bytes());
        header.extend_from_slice(&random);
        to.write_all(&header)?;
        let (salt, prefix) = random.split_at(SALT_LEN);
        let chunks = Chunks::new(key, header, salt, std::array::from_fn(|i| prefix[i]));
        Ok(Self { to, chunks, content: Zeroizing::new(Vec::with_capacity(CHUNK_BYTES + TAG_LEN)) })
    }

    fn seal_chunk(&mut self, is_last: bool) -> io::Result<()> {
        let nonce = self.chunks.nonce(is_last).ok_or(io::ErrorKind::FileTooLarge)?;
        let header = Aad::from(&self.chunks.header);
        self.chunks
            .key
            .seal_in_place_append_tag(nonce, header, &mut *self.content)
            .map_err(|_| io::Error::other("a chunk could not be sealed"))?;
        let length = self.content.len() as u32 | if is_last { LAST } else { 0 };
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&self.content)?;
        self.content.clear();
        Ok(())
    }

    /// Bytes that wait for their chunk to be full.
    #[cfg(test)]
    pub(super) fn content_len(&self) -> usize {
        self.content.len()
    }

    /// Seals the last chunk; what was written to.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal_chunk(true)?;
        Ok(self.to)
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is sealed when more follows: the last chunk may be full too.
        if self.content.len() == CHUNK_BYTES && !bytes.is_empty() {
            self.seal_chunk(false)?;
        }
        let taken = bytes.len().min(CHUNK_BYTES - self.content.len());
        self.content.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    /// Nothing leaves before its chunk is full.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A sealed file being read. What it yields was authenticated; that nothing is missing is known at its end.
pub struct Opener<R: Read> {
    from: R,
    path: PathBuf,
    chunks: Chunks,
    /// The chunk at hand, opened.
    chunk: Zeroizing<Vec<u8>>,
    /// The content of it that was not handed out yet.
    unread: std::ops::Range<usize>,
    is_last: bool,
}

impl<R: Read> Opener<R> {
    pub(super) fn begin<'a>(
        keys: impl Iterator<Item = &'a DataKey>,
        key_file: &Path,
        path: &Path,
        name: &str,
        mut from: R,
    ) -> Result<Self, VaultError> {
        let header = Header::read(path, &mut from)?;
        let (mut found, mut held) = (None, Vec::new());
        for key in keys {
            held.push(key.id().to_string());
            if key.id() == header.key_id {
                found = Some(key);
            }
        }
        let path = path.to_owned();
        let Some(key) = found else {
            let (sealed_with, key_file) = (header.key_id, key_file.to_owned());
            return Err(VaultError::OtherKey { path, sealed_with, key_file, held: held.join(" and ") });
        };
        if header.name != name {
            return Err(VaultError::OtherFile { path, found: header.name });
        }
        let chunks = Chunks::new(key, header.bytes, &header.salt, header.prefix);
        Ok(Self {
            from,
            path,
            chunks,
            chunk: Zeroizing::new(vec![0; CHUNK_BYTES + TAG_LEN]),
            unread: 0..0,
            is_last: false,
        })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        let (path, chunks) = (self.path.clone(), self.chunks.count);
        let cut_off = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => VaultError::CutOff { path, chunks }.into(),
            _ => error,
        };
        let altered = VaultError::Altered { path: self.path.clone(), chunk: chunks.saturating_add(1) };
        let mut length = [0; LENGTH_LEN];
        self.from.read_exact(&mut length).map_err(cut_off.clone())?;
        let length = u32::from_be_bytes(length);
        self.is_last = length & LAST != 0;
        let length = (length & !LAST) as usize;
        let is_possible = (TAG_LEN..=CHUNK_BYTES + TAG_LEN).contains(&length);
        if !is_possible || !self.is_last && length != CHUNK_BYTES + TAG_LEN {
            return Err(altered.into());
        }
        self.from.read_exact(&mut self.chunk[..length]).map_err(cut_off)?;
        let Some(nonce) = self.chunks.nonce(self.is_last) else { return Err(altered.into()) };
        let header = Aad::from(&self.chunks.header);
        let Ok(content) = self.chunks.key.open_in_place(nonce, header, &mut self.chunk[..length]) else {
            return Err(altered.into());
        };
        self.unread = 0..content.len();
        if self.is_last && self.from.read(&mut [0])? != 0 {
            return Err(altered.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Opener<R> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        while self.unread.is_empty() {
            if self.is_last {
                return Ok(0);
            }
            self.next_chunk()?;
        }
        let taken = to.len().min(self.unread.len());
        to[..taken].copy_from_slice(&self.chunk[self.unread.start..self.unread.start + taken]);
        self.unread.start += taken;
        Ok(taken)
    }
}

/// What stands before the chunks.
struct Header {
    bytes: Vec<u8>,
    key_id: KeyId,
    name: String,
    salt: [u8; SALT_LEN],
    prefix: [u8; PREFIX_LEN],
}

impl Header {
    fn read(path: &Path, from: &mut impl Read) -> Result<Self, VaultError> {
        let not_sealed = || VaultError::NotSealed { path: path.to_owned() };
        let mut bytes = Vec::with_capacity(MAGIC.len() + 2 + ID_LEN + 16 + SALT_LEN + PREFIX_LEN);
        let mut more = |length: usize| -> Result<Vec<u8>, VaultError> {
            let mut part = vec![0; length];
            from.read_exact(&mut part).map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof if bytes.starts_with(MAGIC) => {
                    VaultError::CutOff { path: path.to_owned(), chunks: 0 }
                }
                io::ErrorKind::UnexpectedEof => not_sealed(),
                _ => VaultError::io(path, error),
            })?;
            bytes.extend_from_slice(&part);
            Ok(part)
        };
        if more(MAGIC.len())? != MAGIC {
            return Err(not_sealed());
        }
        let version = more(1)?[0];
        if version != VERSION {
            return Err(VaultError::Version { path: path.to_owned(), found: version });
        }
        let key_id = more(ID_LEN)?;
        let name_len = more(1)?[0];
        let name = String::from_utf8_lossy(&more(usize::from(name_len))?).into_owned();
        let (salt, prefix) = (more(SALT_LEN)?, more(PREFIX_LEN)?);
        Ok(Self {
            key_id: KeyId(std::array::from_fn(|i| key_id[i])),
            name,
            salt: std::array::from_fn(|i| salt[i]),
            prefix: std::array::from_fn(|i| prefix[i]),
            bytes,
        })
    }
}

/// Name of the key that a file is sealed with.
///
/// # Errors
/// Where it is no sealed file.
pub(super) fn key_id_of(path: &Path) -> Result<KeyId, VaultError> {
    let mut file = File::open(path).map_err(|error| VaultError::io(path, error))?;
    Ok(Header::read(path, &mut file)?.key_id)
}
