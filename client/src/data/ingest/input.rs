//! Where a table's bytes come from, and its text: unpacked, decoded, in pieces of bounded size.
//!
//! An input is opened more than once (to guess, to find where an earlier import stopped, to read), so what cannot be
//! opened twice, such as a pipe, is held in memory. Whether a file is packed is judged by its first bytes, never by
//! its name.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    sync::Arc,
};

use encoding_rs::{Decoder, Encoding, UTF_8};

use super::IngestError;

/// Longest text read, unpacked. Memory does not grow with it; it stops a small file that unpacks without end.
const TEXT_BYTES_MAX: u64 = 1 << 36;
/// Longest input that is held in memory because it can be read only once.
const HELD_BYTES_MAX: u64 = 1 << 30;
/// Bytes read at a time.
const PIECE: usize = 256 * 1024;
/// Largest window that a zstd file may ask for, as a power of two: the most that `zstd --long` makes without more words.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// How much of a query's answer is asked for. Of a file it is always all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// Every row.
    All,
    /// The first rows; none of them is the column names alone.
    First(u64),
    /// Rows in the order of a column that only grows, from its last value on, and those without a value.
    After {
        /// The column.
        column: &'a str,
        /// Its last value, where there was one.
        value: Option<&'a str>,
    },
}

/// What can be opened again and again: the text that a query answers.
pub trait Answer: Send + Sync {
    /// What messages and reports call it: the database, without a password.
    fn name(&self) -> &str;

    /// What tells this query from any other: the database and the words, without a password.
    fn query(&self) -> &str;

    /// A new answer from its beginning, as CSV.
    ///
    /// # Errors
    /// When the query cannot be asked.
    fn open(&self, part: Part<'_>) -> Result<Box<dyn Read>, IngestError>;
}

/// Whether a source is the address of a PostgreSQL database rather than a file.
pub fn is_postgres_address(source: &str) -> bool {
    // A slip in the slashes must not make a file name of it, which messages would repeat.
    source.starts_with("postgres:") || source.starts_with("postgresql:")
}

/// Bytes to be read as a table.
#[derive(Clone)]
pub struct Input {
    name: String,
    source: Source,
}

#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Bytes(Arc<[u8]>),
    Answer(Arc<dyn Answer>),
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").field("name", &self.name()).finish_non_exhaustive()
    }
}

impl Input {
    /// A file. What is no regular file (a pipe, standard input) is read into memory.
    ///
    /// # Errors
    /// When it cannot be opened, or is a pipe that carries too much.
    pub fn file(path: &Path) -> Result<Self, IngestError> {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into());
        let unreadable = |source| IngestError::Unreadable { file: path.display().to_string(), source };
        let file = File::open(path).map_err(unreadable)?;
        let kind = file.metadata().map_err(unreadable)?;
        if kind.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        if kind.is_file() {
            return Ok(Self { name, source: Source::File(path.to_owned()) });
        }
        let mut bytes = Vec::new();
        file.take(HELD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > HELD_BYTES_MAX {
            return Err(IngestError::TooLarge { file: name, limit_bytes: HELD_BYTES_MAX });
        }
        Ok(Self { name, source: Source::Bytes(bytes.into()) })
    }

    /// Bytes in memory; `name` appears in messages.
    pub fn bytes(name: &str, bytes: &[u8]) -> Self {
        Self { name: name.to_owned(), source: Source::Bytes(bytes.into()) }
    }

    /// The answer to a query.
    pub fn answer(answer: Arc<dyn Answer>) -> Self {
        Self { name: answer.name().to_owned(), source: Source::Answer(answer) }
    }

    /// Name in messages and reports.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What tells a query from any other; none for a file.
    pub fn query(&self) -> Option<&str> {
        match &self.source {
            Source::Answer(answer) => Some(answer.query()),
            _ => None,
        }
    }

    #[cfg(feature = "parquet")]
    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// The bytes as they lie there.
    fn raw(&self, part: Part<'_>) -> Result<Box<dyn Read>, IngestError> {
        Ok(match &self.source {
            Source::File(path) => Box::new(File::open(path).map_err(|source| self.unreadable(source))?),
            Source::Bytes(bytes) => Box::new(io::Cursor::new(Arc::clone(bytes))),
            Source::Answer(answer) => answer.open(part)?,
        })
    }

    /// The first bytes as they lie there, at most `count`.
    pub(super) fn head(&self, count: usize) -> Result<Vec<u8>, IngestError> {
        let mut head = Vec::new();
        // A query is asked for its column names only: it answers in text.
        let raw = self.raw(Part::First(0))?;
        raw.take(count as u64).read_to_end(&mut head).map_err(|source| self.unreadable(source))?;
        Ok(head)
    }

    /// The SHA-256 of all the bytes as they lie there, and how many they are.
    #[cfg(feature = "parquet")]
    pub(super) fn digest(&self) -> Result<(u64, [u8; 32]), IngestError> {
        let (mut raw, mut length) = (self.raw(Part::All)?, 0);
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut piece = vec![0; PIECE];
        loop {
            match raw.read(&mut piece).map_err(|source| self.unreadable(source))? {
                0 => break,
                count => {
                    context.update(&piece[..count]);
                    length += count as u64;
                }
            }
        }
        Ok((length, finish(context)))
    }

    /// The text, from its beginning; of a query's answer the part asked for.
    ///
    /// # Errors
    /// When the input cannot be opened or the encoding is unknown.
    pub(super) fn text(&self, encoding: Option<&str>, part: Part<'_>) -> Result<Text, IngestError> {
        let named = match encoding {
            None => None,
            Some(label) => Some(
                Encoding::for_label(label.as_bytes())
                    .ok_or_else(|| IngestError::UnknownEncoding { file: self.name.clone(), label: label.to_owned() })?,
            ),
        };
        let mut raw = BufReader::with_capacity(PIECE, self.raw(part)?);
        let head = io::BufRead::fill_buf(&mut raw).map_err(|source| self.unreadable(source))?;
        let (reader, packing): (Box<dyn Read>, _) = if head.starts_with(&[0x1f, 0x8b]) {
            (Box::new(flate2::bufread::MultiGzDecoder::new(raw)), Some("gzip"))
        } else if head.starts_with(&ZSTD_MAGIC) {
            let mut decoder = zstd::Decoder::with_buffer(raw).map_err(|source| self.unreadable(source))?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|source| self.unreadable(source))?;
            (Box::new(decoder), Some("zstd"))
        } else {
            (Box::new(raw), None)
        };
        Ok(Text { name: self.name.clone(), reader, packing, named, decoder: None, begun: false, read: 0 })
    }

    fn unreadable(&self, source: io::Error) -> IngestError {
        failed(&self.name, source)
    }
}

/// First bytes of a zstd frame.
pub(super) const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A SHA-256 as bytes.
pub(super) fn finish(context: ring::digest::Context) -> [u8; 32] {
    let digest = context.finish();
    std::array::from_fn(|at| digest.as_ref()[at])
}

/// A reader's error: what a query's answer says of itself, or what the system said of a file.
fn failed(name: &str, source: io::Error) -> IngestError {
    match source.downcast::<IngestError>() {
        Ok(error) => error,
        Err(source) => IngestError::Unreadable { file: name.to_owned(), source },
    }
}

/// A text being read. A legacy encoding is decoded when it is named, UTF-16 also when the text bears its mark; bytes
/// that are no UTF-8 stay as they are and are reported row by row.
pub(super) struct Text {
    name: String,
    reader: Box<dyn Read>,
    packing: Option<&'static str>,
    named: Option<&'static Encoding>,
    decoder: Option<Decoder>,
    begun: bool,
    read: u64,
}

impl Text {
    /// Adds the next piece to `text`; false when there is none.
    ///
    /// # Errors
    /// When the input cannot be read or unpacked, or unpacks to more than is read.
    pub fn next_piece(&mut self, text: &mut Vec<u8>) -> Result<bool, IngestError> {
        let start = text.len();
        if self.begun && self.decoder.is_none() {
            text.resize(start + PIECE, 0);
            let count = self.read(&mut text[start..])?;
            text.truncate(start + count);
            return Ok(count > 0);
        }
        let mut piece = vec![0; PIECE];
        let mut count = self.read(&mut piece)?;
        let mut skip = 0;
        if !self.begun {
            // The mark of an encoding is three bytes long.
            while count < 3 {
                match self.read(&mut piece[count..])? {
                    0 => break,
                    more => count += more,
                }
            }
            self.begun = true;
            let marked = Encoding::for_bom(&piece[..count]);
            let encoding = marked.map(|(encoding, _)| encoding).or(self.named).unwrap_or(UTF_8);
            skip = marked.map_or(0, |(_, length)| length);
            if encoding != UTF_8 {
                self.decoder = Some(encoding.new_decoder_without_bom_handling());
            }
        }
        let raw = &piece[skip..count];
        let Some(decoder) = &mut self.decoder else {
            text.extend_from_slice(raw);
            return Ok(count > 0);
        };
        let room = decoder.max_utf8_buffer_length(raw.len()).unwrap_or(4 * PIECE);
        text.resize(start + room, 0);
        let (_, _, written, _) = decoder.decode_to_utf8(raw, &mut text[start..], count == 0);
        text.truncate(start + written);
        if count == 0 {
            self.decoder = None;
        }
        Ok(count > 0 || written > 0)
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize, IngestError> {
        let count = loop {
            match self.reader.read(piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) => break count,
                Err(error) => {
                    let of_the_system = error.raw_os_error().is_some();
                    return Err(match self.packing {
                        Some(packing) if !of_the_system => {
                            IngestError::Unpack { file: self.name.clone(), packing, reason: error.to_string() }
                        }
                        _ => failed(&self.name, error),
                    });
                }
            }
        };
        self.read += count as u64;
        if self.read > TEXT_BYTES_MAX {
            return Err(IngestError::TooLarge { file: self.name.clone(), limit_bytes: TEXT_BYTES_MAX });
        }
        Ok(count)
    }
}
