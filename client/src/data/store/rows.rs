//! Stored tables as rows of named columns, whatever they hold: counted, written out, and rewritten without some of their rows.
//!
//! Every table has the normal form (see [`super::normal_form`]), so what is asked of all of them is asked here once: a
//! column called `customer` is a pseudonym, one called `order` an order number, one called `at` or `date` the row's day, one
//! called `product`, `series` or `id` what it is about. A new kind of table that names its columns so is exported, erased from and expired like the others.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Reader, ReaderBuilder, WriterBuilder};
use jiff::civil::Date;

use super::{
    error::{NormalFormError, StoreError},
    file::{self, Replacement},
    normal_form::check_version,
};
use crate::data::{
    order::CustomerPseudonym,
    vault::{OpenedFile, Vault},
};

/// Bytes read at a time.
const READ_AT_ONCE: usize = 256 * 1024;

/// A stored table being read.
pub(super) struct StoredRows {
    path: PathBuf,
    reader: Reader<OpenedFile>,
    header: Header,
}

/// The columns of a stored table; the first field of a row is not among them.
pub(super) struct Header {
    record: ByteRecord,
    customer: Option<usize>,
    order: Option<usize>,
    day: Option<usize>,
    subject: Option<usize>,
}

impl Header {
    fn of(record: ByteRecord) -> Self {
        let at = |names: &[&str]| {
            let mut columns = record.iter().enumerate().skip(1);
            columns.find(|(_, column)| names.iter().any(|name| name.as_bytes() == *column)).map(|(at, _)| at)
        };
        let (customer, order, day) = (at(&["customer"]), at(&["order"]), at(&["at", "date"]));
        let subject = at(&["product", "series"]).or_else(|| at(&["id"]));
        Self { record, customer, order, day, subject }
    }

    /// Names of the columns, as files that are imported have them.
    fn names(&self) -> impl Iterator<Item = &str> {
        let names = self.record.iter().map(|name| std::str::from_utf8(name).unwrap_or_default());
        names
            .enumerate()
            .skip(1)
            .map(|(at, name)| if Some(at) == self.subject { subject(name) } else { exported(name) })
    }

    /// Whether rows say whose they are.
    pub fn has_customers(&self) -> bool {
        self.customer.is_some()
    }
}

/// One row, or one import that rows came from.
pub(super) struct StoredRecord<'a> {
    header: &'a Header,
    record: &'a ByteRecord,
}

impl<'a> StoredRecord<'a> {
    fn is_row(&self) -> bool {
        self.record.get(0).is_some_and(<[u8]>::is_empty)
    }

    fn column(&self, at: Option<usize>) -> Option<&'a str> {
        self.record.get(at?).and_then(|field| std::str::from_utf8(field).ok())
    }

    /// Whose row it is; `None` where nobody is named.
    pub fn customer(&self) -> Option<CustomerPseudonym> {
        CustomerPseudonym::from_hex(self.column(self.header.customer)?)
    }

    /// The order that it is of; `None` where it names none.
    pub fn order(&self) -> Option<&'a str> {
        self.column(self.header.order).filter(|order| !order.is_empty())
    }

    /// Its day; `None` where the table has none.
    pub fn day(&self) -> Option<Date> {
        // A time begins with its day.
        let text = self.column(self.header.day)?;
        text.split('T').next()?.parse().ok()
    }

    /// What it is about: a product or a series.
    pub fn subject(&self) -> Option<&'a str> {
        self.column(self.header.subject)
    }

    /// Its fields, in order of the header.
    pub fn fields(&self) -> impl Iterator<Item = &'a str> {
        self.record.iter().skip(1).map(|field| std::str::from_utf8(field).unwrap_or_default())
    }
}

impl StoredRows {
    /// Opens a stored table; `None` where there is none yet.
    ///
    /// # Errors
    /// When it does not open or is no table.
    pub fn open(vault: &Vault, path: &Path) -> Result<Option<Self>, StoreError> {
        let Some(opened) = file::open_sealed(vault, path)? else { return Ok(None) };
        let mut builder = ReaderBuilder::new();
        builder.flexible(true).has_headers(false).buffer_capacity(READ_AT_ONCE);
        let mut reader = builder.from_reader(opened);
        let mut record = ByteRecord::new();
        if !next(&mut reader, path, &mut record)? {
            return Err(damaged(path, 1, "no header"));
        }
        check_version(&record).map_err(|what| damaged(path, 1, what))?;
        Ok(Some(Self { path: path.to_owned(), reader, header: Header::of(record) }))
    }

    /// The columns.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Hands on every row, then says how many there were.
    ///
    /// # Errors
    /// When the table cannot be read to its end, or `take` fails.
    pub fn each(
        mut self,
        mut take: impl FnMut(&StoredRecord<'_>) -> Result<(), StoreError>,
    ) -> Result<u64, StoreError> {
        let (mut record, mut rows) = (ByteRecord::new(), 0);
        while next(&mut self.reader, &self.path, &mut record)? {
            let record = StoredRecord { header: &self.header, record: &record };
            if record.is_row() {
                rows += 1;
                take(&record)?;
            }
        }
        Ok(rows)
    }
}

/// Rewrites a table whole without the rows that `goes` names; the imports stay. Where none is named, nothing is written.
/// Returns how many went.
///
/// # Errors
/// When it cannot be read or written; the old table is then still there.
pub(super) fn remove(vault: &Vault, path: &Path, goes: impl Fn(&StoredRecord<'_>) -> bool) -> Result<u64, StoreError> {
    let mut gone = 0;
    let Some(rows) = StoredRows::open(vault, path)? else { return Ok(0) };
    rows.each(|row| {
        gone += u64::from(goes(row));
        Ok(())
    })?;
    let Some(mut rows) = (if gone > 0 { StoredRows::open(vault, path)? } else { None }) else { return Ok(0) };
    let failed = |error| StoreError::io(path, error);
    let sealer = file::begin_sealed(vault, path, "new").map_err(failed)?;
    let mut writer = WriterBuilder::new().flexible(true).buffer_capacity(READ_AT_ONCE).from_writer(sealer);
    let of_csv = |error: csv::Error| match error.into_kind() {
        csv::ErrorKind::Io(error) => StoreError::io(path, error),
        other => StoreError::io(path, std::io::Error::other(format!("{other:?}"))),
    };
    writer.write_byte_record(&rows.header.record).map_err(of_csv)?;
    let mut record = ByteRecord::new();
    while next(&mut rows.reader, path, &mut record)? {
        let stored = StoredRecord { header: &rows.header, record: &record };
        if !(stored.is_row() && goes(&stored)) {
            writer.write_byte_record(&record).map_err(of_csv)?;
        }
    }
    let sealer = writer.into_inner().map_err(|error| failed(error.into_error()))?;
    sealer.finish().and_then(Replacement::commit).map_err(failed)?;
    Ok(gone)
}

/// Writes rows as CSV, with column names as an import knows them. Names and values behind the last column, which products
/// have, get columns of their own.
///
/// # Errors
/// When the table cannot be read, or `to` cannot be written.
pub(super) fn write_csv(
    open: impl Fn() -> Result<Option<StoredRows>, StoreError>,
    shown: impl Fn(&StoredRecord<'_>) -> bool,
    to: &mut impl Write,
    to_path: &Path,
) -> Result<u64, StoreError> {
    let Some(rows) = open()? else { return Ok(0) };
    let mut columns: Vec<String> = rows.header().names().map(str::to_owned).collect();
    let has_more = columns.last().is_some_and(|name| name == ATTRIBUTES);
    let mut more: Vec<String> = Vec::new();
    if has_more {
        columns.pop();
        rows.each(|row| {
            for name in row.fields().skip(columns.len()).step_by(2) {
                if !more.iter().any(|known| known == name) {
                    more.push(name.to_owned());
                }
            }
            Ok(())
        })?;
    }
    let failed = |error: csv::Error| StoreError::io(to_path, std::io::Error::other(error));
    let mut writer = WriterBuilder::new().from_writer(to);
    writer.write_record(columns.iter().chain(&more)).map_err(failed)?;
    let mut written = 0;
    let Some(rows) = open()? else { return Ok(0) };
    rows.each(|row| {
        if !shown(row) {
            return Ok(());
        }
        written += 1;
        let fields: Vec<&str> = row.fields().collect();
        let (fixed, pairs) = fields.split_at(columns.len().min(fields.len()));
        let value = |name: &String| {
            pairs.chunks(2).find(|pair| pair[0] == name).and_then(|pair| pair.get(1)).copied().unwrap_or_default()
        };
        writer.write_record(fixed.iter().copied().chain(more.iter().map(value))).map_err(failed)
    })?;
    writer.flush().map_err(|error| StoreError::io(to_path, error))?;
    Ok(written)
}

/// Last column of products: names and values follow.
const ATTRIBUTES: &str = "attributes";

fn exported(column: &str) -> &str {
    match column {
        "order" => "order_id",
        "customer" => "customer_pseudonym",
        "product" => "product_id",
        "at" => "ordered_at",
        other => other,
    }
}

/// The same of the column that says what a row is about.
fn subject(column: &str) -> &str {
    match column {
        "series" => "series_id",
        _ => "product_id",
    }
}

fn next(reader: &mut Reader<OpenedFile>, path: &Path, record: &mut ByteRecord) -> Result<bool, StoreError> {
    let line = reader.position().line();
    reader.read_byte_record(record).map_err(|error| {
        let what = error.to_string();
        match error.into_kind() {
            csv::ErrorKind::Io(error) => StoreError::io(path, error),
            _ => damaged(path, line, &what),
        }
    })
}

fn damaged(path: &Path, line: u64, what: &str) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), source: NormalFormError { line, what: what.to_owned() } }
}
