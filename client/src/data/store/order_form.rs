//! Order lines in the normal form, one at a time: a million of them are read and written without being in memory.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use csv::{ByteRecord, Reader, ReaderBuilder};
use jiff::civil::DateTime;

use super::{
    error::{NormalFormError, StoreError},
    file,
    imports::Imported,
    normal_form::{StoredRow, VERSION, check_version},
};
use crate::data::{
    order::{CustomerPseudonym, LineStatus, OrderLine},
    vault::{OpenedFile, Vault},
};

/// Columns after the version.
const HEADER: &str = "order,line,customer,product,at,quantity,unit_price,discount,status,channel";
/// Bytes read at a time.
const READ_AT_ONCE: usize = 256 * 1024;

/// One record of the stored order lines.
pub(super) enum StoredOrder {
    Line(OrderLine),
    Import(Imported),
}

/// Stored order lines being read.
pub(super) struct OrderReader {
    path: PathBuf,
    reader: Reader<OpenedFile>,
    record: ByteRecord,
}

impl OrderReader {
    /// Opens the stored order lines; `None` where there are none yet.
    pub fn open(vault: &Vault, path: &Path) -> Result<Option<Self>, StoreError> {
        file::open_sealed(vault, path)?.map(|file| Self::of(path, file)).transpose()
    }

    /// Reads an open file; `path` appears in errors.
    pub fn of(path: &Path, file: OpenedFile) -> Result<Self, StoreError> {
        let mut builder = ReaderBuilder::new();
        builder.flexible(true).has_headers(false).buffer_capacity(READ_AT_ONCE);
        let mut reader = Self { path: path.to_owned(), reader: builder.from_reader(file), record: ByteRecord::new() };
        if !reader.read_record()? {
            return Err(reader.damaged("no header"));
        }
        check_version(&reader.record).map_err(|what| reader.damaged(what))?;
        Ok(reader)
    }

    /// Where the next record begins.
    pub fn position(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The next record; `None` at the end.
    pub fn next(&mut self) -> Result<Option<StoredOrder>, StoreError> {
        if !self.read_record()? {
            return Ok(None);
        }
        let row = StoredRow(&self.record);
        let stored = if row.kind().is_empty() {
            order_line(&row).map(StoredOrder::Line)
        } else {
            Imported::parse(&row).map(StoredOrder::Import)
        };
        stored.map(Some).ok_or_else(|| self.damaged("a field does not parse"))
    }

    fn read_record(&mut self) -> Result<bool, StoreError> {
        self.reader.read_byte_record(&mut self.record).map_err(|error| {
            let what = error.to_string();
            match error.into_kind() {
                csv::ErrorKind::Io(error) => StoreError::io(&self.path, error),
                _ => self.damaged(&what),
            }
        })
    }

    fn damaged(&self, what: &str) -> StoreError {
        let line = self.record.position().map_or(1, |position| position.line());
        StoreError::Damaged { path: self.path.clone(), source: NormalFormError { line, what: what.to_owned() } }
    }
}

fn order_line(row: &StoredRow<'_>) -> Option<OrderLine> {
    Some(OrderLine {
        order: row.text(0)?.to_owned(),
        line: row.non_empty(1)?,
        customer: match row.text(2)? {
            "" => None,
            hex => Some(CustomerPseudonym::from_hex(hex)?),
        },
        product: row.text(3)?.to_owned(),
        at: row.parse(4)?,
        quantity: row.finite(5)?,
        unit_price: row.optional(6)?,
        discount: row.finite(7)?,
        status: match row.text(8)? {
            "sold" => LineStatus::Sold,
            "returned" => LineStatus::Returned,
            "cancelled" => LineStatus::Cancelled,
            _ => return None,
        },
        channel: row.non_empty(9)?,
    })
}

/// Order lines being written.
pub(super) struct OrderWriter<W: Write> {
    to: W,
    record: Vec<u8>,
}

impl<W: Write> OrderWriter<W> {
    /// Begins a table.
    pub fn begin(mut to: W) -> io::Result<Self> {
        to.write_all(format!("{VERSION},{HEADER}\n").as_bytes())?;
        Ok(Self { to, record: Vec::new() })
    }

    /// Goes on with a table that ends with a whole record.
    pub fn go_on(to: W) -> Self {
        Self { to, record: Vec::new() }
    }

    /// What was written to.
    pub fn finish(self) -> W {
        self.to
    }

    /// Adds a line.
    pub fn line(&mut self, line: &OrderLine) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        text(record, &line.order);
        text(record, line.line.as_deref().unwrap_or_default());
        record.push(b',');
        if let Some(customer) = line.customer {
            record.extend_from_slice(data_encoding::HEXLOWER.encode(&customer.0).as_bytes());
        }
        text(record, &line.product);
        date_time(record, line.at)?;
        number(record, Some(line.quantity))?;
        number(record, line.unit_price)?;
        number(record, Some(line.discount))?;
        text(
            record,
            match line.status {
                LineStatus::Sold => "sold",
                LineStatus::Returned => "returned",
                LineStatus::Cancelled => "cancelled",
            },
        );
        text(record, line.channel.as_deref().unwrap_or_default());
        record.push(b'\n');
        self.to.write_all(record)
    }

    /// Adds an import, behind all lines.
    pub fn import(&mut self, import: &Imported) -> io::Result<()> {
        let record = &mut self.record;
        record.clear();
        for (at, field) in import.fields().iter().enumerate() {
            text(record, field);
            if at == 0 {
                record.remove(0);
            }
        }
        record.push(b'\n');
        self.to.write_all(record)
    }
}

/// Adds a comma and a text, quoted where it must be (RFC 4180).
fn text(record: &mut Vec<u8>, text: &str) {
    record.push(b',');
    if text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\n' | b'\r')) {
        record.push(b'"');
        for byte in text.bytes() {
            if byte == b'"' {
                record.push(b'"');
            }
            record.push(byte);
        }
        record.push(b'"');
    } else {
        record.extend_from_slice(text.as_bytes());
    }
}

/// Adds a comma and a number in the shortest form that is read back equal.
fn number(record: &mut Vec<u8>, number: Option<f64>) -> io::Result<()> {
    record.push(b',');
    match number {
        None => Ok(()),
        Some(number)
            if number.fract() == 0.0 && number.abs() < 1e15 && (number != 0.0 || number.is_sign_positive()) =>
        {
            write!(record, "{}", number as i64)
        }
        Some(number) => write!(record, "{number}"),
    }
}

/// Adds a comma and a time, as `DateTime` itself writes it.
fn date_time(record: &mut Vec<u8>, at: DateTime) -> io::Result<()> {
    record.push(b',');
    if at.subsec_nanosecond() != 0 || !(1000..=9999).contains(&at.year()) {
        return write!(record, "{at}");
    }
    let mut digits = |number: i16, length: u32, before: Option<u8>| {
        record.extend(before);
        for place in (0..length).rev() {
            record.push(b'0' + u8::try_from(number / 10_i16.pow(place) % 10).unwrap_or_default());
        }
    };
    digits(at.year(), 4, None);
    for (number, before) in
        [(at.month(), b'-'), (at.day(), b'-'), (at.hour(), b'T'), (at.minute(), b':'), (at.second(), b':')]
    {
        digits(i16::from(number), 2, Some(before));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    #[test]
    fn every_line_is_read_back_equal() {
        let dir = tempfile::tempdir().unwrap();
        let (vault, path) = (Vault::open(dir.path()).unwrap(), dir.path().join("orders.sealed"));
        let plain = OrderLine {
            order: "o1".into(),
            line: None,
            customer: Some(CustomerPseudonym([7; 16])),
            product: "mug".into(),
            at: datetime(2024, 1, 2, 9, 5, 7, 0),
            quantity: -3.0,
            unit_price: Some(0.1 + 0.2),
            discount: -0.0,
            status: LineStatus::Returned,
            channel: Some("web".into()),
        };
        let odd = OrderLine {
            order: "\"o\"\r\n,".into(),
            line: Some("7".into()),
            customer: None,
            product: "a,b".into(),
            at: datetime(1900, 12, 31, 23, 59, 59, 5),
            quantity: 1e300,
            unit_price: None,
            discount: 1e-300,
            status: LineStatus::Cancelled,
            channel: None,
        };
        let mut writer = OrderWriter::begin(file::begin_sealed(&vault, &path, "new").unwrap()).unwrap();
        for line in [&plain, &odd] {
            writer.line(line).unwrap();
        }
        writer.finish().finish().unwrap().commit().unwrap();
        let mut reader = OrderReader::open(&vault, &path).unwrap().unwrap();
        for line in [plain, odd] {
            let Some(StoredOrder::Line(read)) = reader.next().unwrap() else { panic!("a line is missing") };
            assert_eq!(read, line);
            assert_eq!(read.discount.to_bits(), line.discount.to_bits());
        }
        assert!(reader.next().unwrap().is_none());
    }
}
