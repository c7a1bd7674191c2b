//! Merging order lines into the stored ones, each line in turn; only what makes a line known again is in memory.
//!
//! A line that is there with another status changes it (it came back); a line that is there as it is, is known. The
//! customer is part of what makes two lines the same, so no customer's line is ever dropped for another's. The new table
//! is written beside the old one from the first change on and takes its place at the end.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    hash::{BuildHasher as _, BuildHasherDefault, Hasher, RandomState},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    error::StoreError,
    file::{self, Replacement},
    imports::{Imported, remember},
    order_form::{OrderReader, OrderWriter, StoredOrder},
};
use crate::data::{
    ingest::{ImportReport, Mark, RowError},
    order::{LineStatus, OrderLine, day_number},
    vault::{Sealer, Vault},
};

/// Order lines on their way into a sealed file.
type Writer = OrderWriter<Sealer<Replacement>>;

/// The stored order lines while something is merged into them.
pub(super) struct OrderMerge<'a> {
    vault: &'a Vault,
    path: PathBuf,
    known: Known,
    /// Lines that were stored before.
    stored: u32,
    /// Where they end in the stored file; `None` where there is none.
    stored_end: Option<u64>,
    imports: Vec<Imported>,
    /// The new table, from the first change on.
    writer: Option<Writer>,
    /// Lines whose status changed, by their place in the table.
    changed: BTreeMap<u32, LineStatus>,
}

impl<'a> OrderMerge<'a> {
    /// Begins a table that takes the place of what is stored.
    pub fn anew(vault: &'a Vault, path: &Path) -> Self {
        Self {
            vault,
            path: path.to_owned(),
            known: Known::default(),
            stored: 0,
            stored_end: None,
            imports: Vec::new(),
            writer: None,
            changed: BTreeMap::new(),
        }
    }

    /// Reads what makes the stored lines known again.
    ///
    /// # Errors
    /// When the stored table cannot be read or is damaged.
    pub fn begin(vault: &'a Vault, path: &Path) -> Result<Self, StoreError> {
        let mut merge = Self::anew(vault, path);
        let Some(mut reader) = OrderReader::open(vault, path)? else { return Ok(merge) };
        let mut end = reader.position();
        loop {
            match reader.next()? {
                Some(StoredOrder::Line(line)) => {
                    merge.known.add(&line, path)?;
                    end = reader.position();
                }
                Some(StoredOrder::Import(import)) => merge.imports.push(import),
                None => break,
            }
        }
        (merge.stored, merge.stored_end) = (merge.known.count, Some(end));
        Ok(merge)
    }

    /// What was imported into the table.
    pub fn imports(&self) -> &[Imported] {
        &self.imports
    }

    /// Takes a line in.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn take(&mut self, report: &mut ImportReport, number: u64, line: &OrderLine) -> Result<(), StoreError> {
        match self.known.insert(line, &self.path)? {
            Before::Absent => {
                let path = self.path.clone();
                self.writer()?.line(line).map_err(|error| StoreError::io(&path, error))?;
                report.imported += 1;
            }
            Before::Same(at) if at < self.stored => report.known += 1,
            Before::Same(_) => report.reject(number, &RowError::Duplicate { what: "order line" }),
            Before::OtherStatus(at) => {
                self.changed.insert(at, line.status);
                report.updated += 1;
            }
        }
        Ok(())
    }

    /// Puts the new table in the place of the old one, where anything is new; the import is remembered with it.
    ///
    /// # Errors
    /// When it cannot be written; the old table is then still there.
    pub fn finish(mut self, import: Imported, goes_on_from: Option<&Mark>) -> Result<(), StoreError> {
        let before = self.imports.clone();
        remember(&mut self.imports, import, goes_on_from);
        if self.writer.is_none() && self.changed.is_empty() && before == self.imports {
            return Ok(());
        }
        let path = self.path.clone();
        let failed = |error| StoreError::io(&path, error);
        let imports = std::mem::take(&mut self.imports);
        self.writer()?;
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        if !self.changed.is_empty() {
            writer = self.with_changes(writer)?;
        }
        for import in &imports {
            writer.import(import).map_err(failed)?;
        }
        writer.finish().finish().and_then(Replacement::commit).map_err(failed)
    }

    /// The new table being written; it begins with the stored lines as they are.
    fn writer(&mut self) -> Result<&mut Writer, StoreError> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => {
                let begin = || -> io::Result<Writer> {
                    let mut sealer = file::begin_sealed(self.vault, &self.path, "new")?;
                    let Some(end) = self.stored_end else { return OrderWriter::begin(sealer) };
                    let stored = self.vault.open_file(&self.path)?.ok_or(io::ErrorKind::NotFound)?;
                    io::copy(&mut stored.take(end), &mut sealer)?;
                    Ok(OrderWriter::go_on(sealer))
                };
                begin().map_err(|error| StoreError::io(&self.path, error))?
            }
        };
        Ok(self.writer.insert(writer))
    }

    /// Writes the new table once more, with the statuses that changed.
    fn with_changes(&self, writer: Writer) -> Result<Writer, StoreError> {
        let failed = |error| StoreError::io(&self.path, error);
        // Removed when it is dropped: the table with the changes takes the place.
        let mut unchanged = writer.finish().finish().map_err(failed)?;
        let reread = unchanged.reread().map_err(failed)?;
        let mut reader = OrderReader::of(&self.path, self.vault.open_as(&self.path, reread)?)?;
        let begin = || OrderWriter::begin(file::begin_sealed(self.vault, &self.path, "changed")?);
        let mut changed = begin().map_err(failed)?;
        let mut at = 0;
        while let Some(stored) = reader.next()? {
            let StoredOrder::Line(mut line) = stored else { continue };
            line.status = self.changed.get(&at).copied().unwrap_or(line.status);
            changed.line(&line).map_err(failed)?;
            at += 1;
        }
        Ok(changed)
    }
}

/// What a line meets.
enum Before {
    Absent,
    Same(u32),
    OtherStatus(u32),
}

/// Lines seen, each by 96 bits of a keyed hash over what makes it this line. The keys are drawn anew in every process, so
/// no file can be made to collide; among a billion lines two do by chance with a probability below 1e-11.
#[derive(Default)]
struct Known {
    keys: [RandomState; 2],
    /// What a line is, as bytes; used again for the next one.
    bytes: Vec<u8>,
    /// Place in the table and status, by fingerprint.
    seen: HashMap<Fingerprint, u32, BuildHasherDefault<AsItIs>>,
    count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint([u32; 3]);

/// Bits of a stored place that hold the status.
const STATUS_BITS: u32 = 2;

impl Known {
    /// Adds a stored line at the next place.
    fn add(&mut self, line: &OrderLine, path: &Path) -> Result<(), StoreError> {
        let place = self.next_place(line.status, path)?;
        let fingerprint = self.fingerprint(line);
        self.seen.insert(fingerprint, place);
        Ok(())
    }

    fn next_place(&mut self, status: LineStatus, path: &Path) -> Result<u32, StoreError> {
        if self.count >> (u32::BITS - STATUS_BITS) != 0 {
            return Err(StoreError::TooManyLines { path: path.to_owned() });
        }
        self.count += 1;
        Ok((self.count - 1) << STATUS_BITS | status as u32)
    }

    /// Adds a line at the next place, or says where it is already; a new status is remembered.
    fn insert(&mut self, line: &OrderLine, path: &Path) -> Result<Before, StoreError> {
        let status = line.status as u32;
        let fingerprint = self.fingerprint(line);
        match self.seen.entry(fingerprint) {
            Entry::Vacant(_) => {
                let place = self.next_place(line.status, path)?;
                self.seen.insert(fingerprint, place);
                Ok(Before::Absent)
            }
            Entry::Occupied(mut entry) => {
                let at = *entry.get() >> STATUS_BITS;
                let same = entry.insert(at << STATUS_BITS | status) == at << STATUS_BITS | status;
                Ok(if same { Before::Same(at) } else { Before::OtherStatus(at) })
            }
        }
    }

    /// Of everything but the status, the discount and the channel, as `bound::identity`.
    fn fingerprint(&mut self, line: &OrderLine) -> Fingerprint {
        // Written out once and hashed twice: a hasher takes one long run of bytes faster than many short ones.
        let bytes = &mut self.bytes;
        bytes.clear();
        for text in [line.order.as_str(), line.line.as_deref().unwrap_or_default(), &line.product] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes.push(u8::from(line.customer.is_some()));
        bytes.extend_from_slice(&line.customer.map_or([0; 16], |customer| customer.0));
        bytes.push(u8::from(line.unit_price.is_some()));
        bytes.extend_from_slice(&line.unit_price.map_or(0, f64::to_bits).to_le_bytes());
        bytes.extend_from_slice(&line.quantity.to_bits().to_le_bytes());
        bytes.extend_from_slice(&day_number(line.at.date()).to_le_bytes());
        let time = line.at.time();
        bytes.extend([time.hour(), time.minute(), time.second()].map(|part| part as u8));
        bytes.extend_from_slice(&time.subsec_nanosecond().to_le_bytes());
        let hash = |key: &RandomState| {
            let mut hasher = key.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        };
        let (a, b) = (hash(&self.keys[0]), hash(&self.keys[1]));
        Fingerprint([a as u32, (a >> 32) as u32, b as u32])
    }
}

impl std::hash::Hash for Fingerprint {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u64(u64::from(self.0[0]) | u64::from(self.0[1]) << 32);
    }
}

/// A fingerprint is a hash already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
