//! A file's bytes as a table: unpacked, decoded, its delimiter found, its header read.

use std::{borrow::Cow, io::Read as _};

use encoding_rs::{Encoding, UTF_8};

use super::{
    IngestError, TableKind,
    record::Records,
    report::RowError,
    value::{ISO, date, number},
};

/// Longest file read, unpacked.
const TABLE_BYTES_MAX: u64 = 1 << 30;
/// Columns of a table.
const COLUMNS_MAX: usize = 1_000;
/// Bytes looked at when judging whether a file is text, and which delimiter it uses.
const HEAD_BYTES: usize = 64 * 1024;
/// Delimiters tried, in order of preference.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// How a table is written, where that is known; what is `None` is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFormat {
    /// Field delimiter, one ASCII character.
    pub delimiter: Option<char>,
    /// Name of the encoding (WHATWG label), such as `windows-1252`. Unknown means UTF-8, or UTF-16 after its mark.
    pub encoding: Option<String>,
}

/// A table in memory.
#[derive(Debug)]
pub struct Table {
    name: String,
    bytes: Vec<u8>,
    delimiter: u8,
    header: Vec<String>,
}

/// One row: the line on which it begins, and its fields or what is wrong with it.
pub(super) type Row<'a> = (u64, Result<Vec<Cow<'a, [u8]>>, RowError>);

impl Table {
    /// Reads a plain or gzipped table. `name` appears in messages only.
    ///
    /// # Errors
    /// When the file is no table, is too large, does not unpack, has no header, or its encoding is unknown.
    pub fn from_bytes(name: &str, bytes: &[u8], format: &TableFormat) -> Result<Self, IngestError> {
        let unpacked = unpack(name, bytes)?;
        if unpacked.iter().all(u8::is_ascii_whitespace) {
            return Err(IngestError::Empty { file: name.to_owned(), expected: EXPECTED });
        }
        let bytes = decode(name, unpacked, format.encoding.as_deref())?;
        if let Some(found) = other_format(&bytes) {
            return Err(IngestError::NotATable { file: name.to_owned(), found, expected: EXPECTED });
        }
        let delimiter = match format.delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()) {
            Some(delimiter) if delimiter.is_ascii() => delimiter,
            _ => sniff_delimiter(&bytes),
        };
        let header = read_header(name, &bytes, delimiter)?;
        Ok(Self { name: name.to_owned(), bytes, delimiter, header })
    }

    /// Name of the file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Column names, trimmed.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Delimiter given or found.
    pub fn delimiter(&self) -> char {
        char::from(self.delimiter)
    }

    /// Position of a column by its exact name; the first of several.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.header.iter().position(|column| column == name)
    }

    /// The header as one line, for messages.
    pub fn header_shown(&self) -> String {
        let mut shown: String = self.header.join(",").chars().take(300).collect();
        shown.retain(|c| !c.is_control());
        shown
    }

    /// Rows after the header. A surplus of empty fields at the end of a row is no error.
    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let width = self.header.len();
        let mut records = Records::new(&self.bytes, self.delimiter);
        records.next();
        records.expect_width(width);
        records.map(move |record| {
            let row = match record.fields {
                None => Err(RowError::Quote),
                Some(mut fields) => {
                    while fields.len() > width && fields.last().is_some_and(|field| field.is_empty()) {
                        fields.pop();
                    }
                    if fields.len() == width {
                        Ok(fields)
                    } else {
                        Err(RowError::FieldCount { expected: width, found: fields.len() })
                    }
                }
            };
            (record.line, row)
        })
    }

    /// Non-empty values of a column, as far as they are text; at most `limit`.
    pub(super) fn sample(&self, column: usize, limit: usize) -> Vec<String> {
        self.rows()
            .filter_map(|(_, row)| Some(std::str::from_utf8(row.ok()?.get(column)?).ok()?.trim().to_owned()))
            .filter(|value| !value.is_empty())
            .take(limit)
            .collect()
    }
}

/// A header for messages about files that are no table at all.
const EXPECTED: &str = "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel";

fn unpack<'a>(name: &str, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, IngestError> {
    let too_large = || IngestError::TooLarge { file: name.to_owned(), limit_bytes: TABLE_BYTES_MAX };
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return if bytes.len() as u64 > TABLE_BYTES_MAX { Err(too_large()) } else { Ok(bytes.into()) };
    }
    let mut unpacked = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes)
        .take(TABLE_BYTES_MAX + 1)
        .read_to_end(&mut unpacked)
        .map_err(|error| IngestError::Gzip { file: name.to_owned(), reason: error.to_string() })?;
    if unpacked.len() as u64 > TABLE_BYTES_MAX { Err(too_large()) } else { Ok(unpacked.into()) }
}

/// UTF-8 without its mark. A legacy encoding is decoded when it is named, UTF-16 also when the file bears its mark;
/// bytes that do not fit stay as they are and are reported row by row.
fn decode(name: &str, bytes: Cow<'_, [u8]>, label: Option<&str>) -> Result<Vec<u8>, IngestError> {
    let named = match label {
        None => None,
        Some(label) => Some(
            Encoding::for_label(label.as_bytes())
                .ok_or_else(|| IngestError::UnknownEncoding { file: name.to_owned(), label: label.to_owned() })?,
        ),
    };
    let marked = Encoding::for_bom(&bytes);
    let encoding = marked.map(|(encoding, _)| encoding).or(named).unwrap_or(UTF_8);
    let start = marked.map_or(0, |(_, length)| length);
    if encoding == UTF_8 {
        let mut bytes = bytes.into_owned();
        bytes.drain(..start);
        return Ok(bytes);
    }
    Ok(encoding.decode_without_bom_handling(&bytes[start..]).0.into_owned().into_bytes())
}

/// What a file is that is no table.
fn other_format(bytes: &[u8]) -> Option<&'static str> {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    for (magic, found) in [
        (b"PK\x03\x04".as_slice(), "a ZIP archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"PAR1", "a Parquet file"),
        (b"%PDF", "a PDF document"),
        (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
        (b"BZh", "compressed with bzip2"),
        (b"SQLite format 3", "a SQLite database"),
    ] {
        if head.starts_with(magic) {
            return Some(found);
        }
    }
    match head.trim_ascii_start().first() {
        Some(b'<') => return Some("HTML or XML"),
        Some(b'{' | b'[') => return Some("JSON"),
        _ => {}
    }
    let control = head.iter().filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()).count();
    (head.contains(&0) || control * 20 > head.len()).then_some("binary data")
}

/// The delimiter that splits the header, and most of the first rows into as many fields as the header.
fn sniff_delimiter(bytes: &[u8]) -> u8 {
    let head = &bytes[..bytes.len().min(HEAD_BYTES)];
    let score = |delimiter: u8| {
        let mut records = Records::new(head, delimiter).take(20).filter_map(|record| Some(record.fields?.len()));
        let width = records.next().unwrap_or(0);
        let agreeing = records.filter(|other| *other == width).count();
        if width < 2 { (0, 0) } else { (agreeing + 1, width) }
    };
    // `max_by_key` takes the last of equals, so the preferred delimiter comes last.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
}

fn read_header(name: &str, bytes: &[u8], delimiter: u8) -> Result<Vec<String>, IngestError> {
    let not_a_table =
        |found| IngestError::NotATable { file: name.to_owned(), found, expected: TableKind::Orders.expected_header() };
    let record = Records::new(bytes, delimiter).next().and_then(|record| record.fields);
    let fields = record.ok_or_else(|| not_a_table("text whose first row has an open quote"))?;
    if fields.len() < 2 {
        return Err(not_a_table("text without columns"));
    }
    if fields.len() > COLUMNS_MAX {
        return Err(not_a_table("text with more than a thousand columns"));
    }
    let header: Vec<String> = fields.iter().map(|field| String::from_utf8_lossy(field).trim().to_owned()).collect();
    let values = header
        .iter()
        .filter(|name| name.is_empty() || number(name, false).is_some() || date(name, ISO).is_some())
        .count();
    if 2 * values > header.len() {
        let found = header.join(",").chars().filter(|c| !c.is_control()).take(80).collect();
        return Err(IngestError::NoHeader { file: name.to_owned(), found, expected: EXPECTED });
    }
    Ok(header)
}
