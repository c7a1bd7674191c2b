//! A file or an answer as a table: what it is written in, its column names, and its rows one after the other.
//!
//! What it is written in is judged by its first bytes. Rows are never all in memory.

use std::{cell::OnceCell, collections::BTreeMap, fmt};

#[cfg(feature = "parquet")]
use super::parquet_file::{self, ParquetRows};
use super::{
    IngestError, TableKind,
    delimited::{Delimited, DelimitedRows},
    input::{Input, Part, ZSTD_MAGIC},
    join::{Joined, JoinedRows},
    json_lines::{self, JsonRows},
    reading::{ReadTo, Reading, SAMPLE, SAMPLE_VALUE_MAX},
    row::Row,
    window::{Mark, Window},
};

/// Bytes looked at when judging what a file is.
const HEAD_BYTES: usize = 64 * 1024;

/// What a text is taken for that is no UTF-8: the encoding of exports on Windows in western Europe and America.
const LEGACY_ENCODING: &str = "windows-1252";

/// First bytes of a Parquet file.
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// How a table is written, where that is known; what is `None` is found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFormat {
    /// Field delimiter, one ASCII character.
    pub delimiter: Option<char>,
    /// Name of the encoding (WHATWG label), such as `windows-1252`. Unknown means UTF-8, or UTF-16 after its mark.
    pub encoding: Option<String>,
}

/// What is known of a table beforehand; the rest is guessed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// Field to column name.
    pub columns: BTreeMap<String, String>,
    /// Field to a value that every row has.
    pub constants: BTreeMap<String, String>,
    /// How days are written, as `date-formats` in a mapping.
    pub date_format: Option<String>,
    /// The shop's time zone, as `time-zone` in a mapping.
    pub time_zone: Option<String>,
    /// Encoding, as `encoding` in a mapping.
    pub encoding: Option<String>,
}

impl Hints {
    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What a table is written in.
enum Form {
    Delimited(Delimited),
    JsonLines,
    #[cfg(feature = "parquet")]
    Parquet,
}

/// A table that can be read, more than once.
pub struct Table {
    input: Input,
    encoding: Option<String>,
    form: Form,
    /// Its own columns, and those that other tables bring.
    header: Vec<String>,
    /// What other tables bring.
    joined: Vec<Joined>,
    hints: Hints,
    /// Values of each column, from the first rows.
    values: OnceCell<Vec<Vec<String>>>,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("name", &self.name()).field("header", &self.header).finish_non_exhaustive()
    }
}

impl Table {
    /// Opens a table, plain or packed.
    ///
    /// # Errors
    /// When it is no table, does not unpack, has no header, or its encoding is unknown.
    pub fn open(input: &Input, format: &TableFormat) -> Result<Self, IngestError> {
        let name = input.name();
        let head = input.head(HEAD_BYTES)?;
        let table = |form, header, values: Option<Vec<Vec<String>>>| Self {
            input: input.clone(),
            encoding: format.encoding.clone(),
            form,
            header,
            joined: Vec::new(),
            hints: Hints::default(),
            values: values.map_or_else(OnceCell::new, OnceCell::from),
        };
        if input.query().is_none() && head.starts_with(PARQUET_MAGIC) {
            #[cfg(feature = "parquet")]
            {
                let (header, values) = parquet_file::discover(input)?;
                return Ok(table(Form::Parquet, header, Some(values)));
            }
            #[cfg(not(feature = "parquet"))]
            return Err(not_a_table(name, "a Parquet file, which this build cannot read (feature `parquet`)"));
        }
        let is_packed = head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&ZSTD_MAGIC);
        if let Some(found) = other_format(&head).filter(|_| !is_packed) {
            return Err(not_a_table(name, found));
        }
        let text = || input.text(format.encoding.as_deref(), Part::First(0));
        let mut head = Vec::new();
        let mut beginning = text()?;
        while head.len() < HEAD_BYTES && beginning.next_piece(&mut head)? {}
        if head.iter().all(u8::is_ascii_whitespace) {
            return Err(IngestError::Empty { file: name.to_owned(), expected: TableKind::Orders.expected_header() });
        }
        if let Some(found) = other_format(&head).or_else(|| binary(&head)) {
            return Err(not_a_table(name, found));
        }
        if head.trim_ascii_start().first() == Some(&b'{') && input.query().is_none() {
            let (header, values) = json_lines::discover(name, text()?)?;
            return Ok(table(Form::JsonLines, header, Some(values)));
        }
        let encoding = match &format.encoding {
            None if is_legacy(&head) => Some(LEGACY_ENCODING.to_owned()),
            given => given.clone(),
        };
        let text = input.text(encoding.as_deref(), Part::First(0))?;
        let form = Delimited::of(name, &head, text, format.delimiter)?;
        let header = form.header.clone();
        Ok(Self { encoding, ..table(Form::Delimited(form), header, None) })
    }

    /// The same table, with what is known of it.
    #[must_use]
    pub fn with(self, hints: &Hints) -> Self {
        Self { hints: hints.clone(), ..self }
    }

    /// The same table, with further columns from another that has one row for each value of a column that both have.
    ///
    /// # Errors
    /// When there is no such column, or several rows.
    pub fn joined_with(mut self, other: &Self) -> Result<Self, IngestError> {
        let joined = Joined::new(self.name(), &self.header, other)?;
        self.header.extend(joined.columns.iter().cloned());
        self.joined.push(joined);
        Ok(self)
    }

    /// Names of the tables that bring further columns, and the column that each is joined by.
    pub(super) fn joined(&self) -> impl Iterator<Item = (&str, &str)> {
        self.joined.iter().map(|joined| (joined.name.as_str(), joined.by.as_str()))
    }

    /// Number of its own columns.
    fn own_width(&self) -> usize {
        self.header.len() - self.joined.iter().map(|joined| joined.columns.len()).sum::<usize>()
    }

    /// What is known of it.
    pub(super) fn hints(&self) -> &Hints {
        &self.hints
    }

    /// Encoding given or found; none for UTF-8.
    pub fn encoding(&self) -> Option<&str> {
        self.encoding.as_deref()
    }

    /// Name of the file.
    pub fn name(&self) -> &str {
        self.input.name()
    }

    /// What tells a query from any other; none for a file.
    pub fn query(&self) -> Option<&str> {
        self.input.query()
    }

    /// Column names, trimmed.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Delimiter given or found, where fields are delimited.
    pub fn delimiter(&self) -> Option<char> {
        match &self.form {
            Form::Delimited(form) => Some(char::from(form.delimiter)),
            _ => None,
        }
    }

    /// Whether a row need not have every field, as the objects of an event log do not.
    pub fn has_optional_fields(&self) -> bool {
        matches!(self.form, Form::JsonLines)
    }

    /// What rows are counted in: `line` of the file, or `row` where it has no lines.
    pub fn counted_in(&self) -> &'static str {
        match &self.form {
            Form::Delimited(_) if self.input.query().is_some() => "row",
            Form::Delimited(_) | Form::JsonLines => "line",
            #[cfg(feature = "parquet")]
            Form::Parquet => "row",
        }
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

    /// Rows, all of them or those after what was read. Cells of columns that are not `wanted` may be empty. `cursor` is the
    /// column in whose order a query answers.
    pub(super) fn rows(
        &self,
        wanted: &[bool],
        from: &ReadTo,
        cursor: Option<&str>,
    ) -> Result<Box<dyn Reading + '_>, IngestError> {
        let mut wanted = wanted.to_vec();
        for joined in &self.joined {
            wanted[joined.key] = true;
        }
        let own = self.own_width();
        let (header, wanted) = (&self.header[..own], &wanted[..own]);
        let part = cursor.map_or(Part::All, |column| Part::After { column, value: from.cursor.as_deref() });
        let text = || self.input.text(self.encoding.as_deref(), part);
        let mark = from.mark.as_ref();
        let rows: Box<dyn Reading> = match &self.form {
            Form::Delimited(form) => Box::new(DelimitedRows::new(&self.input, text()?, form, mark)?),
            Form::JsonLines => Box::new(JsonRows::new(text()?, header, wanted, mark)?),
            // Known as a whole, and to such a file nothing is added.
            #[cfg(feature = "parquet")]
            Form::Parquet if mark.is_some() => Box::new(NoRows),
            #[cfg(feature = "parquet")]
            Form::Parquet => Box::new(ParquetRows::new(&self.input, header, wanted)?),
        };
        Ok(if self.joined.is_empty() { rows } else { Box::new(JoinedRows { rows, joined: &self.joined }) })
    }

    /// Of the places at which earlier imports stopped, the furthest that this table has too: what comes before it was
    /// read already.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub fn read_before(&self, marks: &[Mark]) -> Result<Option<Mark>, IngestError> {
        if marks.is_empty() || self.input.query().is_some() {
            return Ok(None);
        }
        match &self.form {
            Form::Delimited(_) | Form::JsonLines => {
                Window::new(self.input.text(self.encoding.as_deref(), Part::All)?).longest_mark(marks)
            }
            #[cfg(feature = "parquet")]
            Form::Parquet => {
                let (bytes, digest) = self.input.digest()?;
                Ok(marks.iter().find(|mark| mark.bytes == bytes && mark.digest == digest).copied())
            }
        }
    }

    /// Non-empty values of a column, as far as they are text, from the first rows.
    pub(super) fn sample(&self, column: usize) -> &[String] {
        if let Some(at) = column.checked_sub(self.own_width()) {
            return self.joined.iter().flat_map(|joined| &joined.samples).nth(at).map_or(&[], Vec::as_slice);
        }
        let values = self.values.get_or_init(|| {
            let mut values = vec![Vec::new(); self.header.len()];
            // What cannot be read is reported by the import itself.
            let Ok(text) = self.input.text(self.encoding.as_deref(), Part::First(SAMPLE as u64)) else { return values };
            let Form::Delimited(form) = &self.form else { return values };
            let Ok(mut rows) = DelimitedRows::new(&self.input, text, form, None) else { return values };
            let mut row = Row::default();
            for _ in 0..SAMPLE {
                if !matches!(rows.read(&mut row), Ok(true)) {
                    break;
                }
                for (at, values) in values.iter_mut().enumerate().take(row.len()) {
                    let value = std::str::from_utf8(row.cell(at)).map(str::trim).unwrap_or_default();
                    if (1..=SAMPLE_VALUE_MAX).contains(&value.len()) && row.error.is_none() {
                        values.push(value.to_owned());
                    }
                }
            }
            values
        });
        values.get(column).map_or(&[], Vec::as_slice)
    }

    /// Every value of a column that is text, to the end of the table.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub(super) fn each_value(&self, column: usize, mut look: impl FnMut(&str)) -> Result<(), IngestError> {
        let wanted: Vec<bool> = (0..self.header.len()).map(|at| at == column).collect();
        let (mut rows, mut row) = (self.rows(&wanted, &ReadTo::default(), None)?, Row::default());
        while rows.read(&mut row)? {
            if row.error.is_none() {
                look(std::str::from_utf8(row.cell(column)).map(str::trim).unwrap_or_default());
            }
        }
        Ok(())
    }

    /// Mark of a whole file that cannot be added to, and of which only all or nothing is known.
    #[cfg_attr(not(feature = "parquet"), allow(unused_variables, reason = "only Parquet files have such a mark"))]
    pub(super) fn whole_mark(&self, rows: u64) -> Result<Option<Mark>, IngestError> {
        match &self.form {
            Form::Delimited(_) | Form::JsonLines => Ok(None),
            #[cfg(feature = "parquet")]
            Form::Parquet => {
                let (bytes, digest) = self.input.digest()?;
                Ok(Some(Mark { bytes, line: rows + 1, digest }))
            }
        }
    }
}

/// Nothing that was not read before.
#[cfg(feature = "parquet")]
struct NoRows;

#[cfg(feature = "parquet")]
impl Reading for NoRows {
    fn read(&mut self, _row: &mut Row) -> Result<bool, IngestError> {
        Ok(false)
    }
}

/// Whether a text is written in an encoding from before Unicode: more of its lines are no UTF-8 than are more than ASCII
/// and UTF-8. The last line may be cut.
fn is_legacy(head: &[u8]) -> bool {
    let (mut other, mut utf8) = (0, 0);
    let mut lines: Vec<&[u8]> = head.split(|byte| *byte == b'\n').collect();
    if lines.len() > 1 {
        lines.pop();
    }
    for line in lines.into_iter().filter(|line| !line.is_ascii()) {
        if std::str::from_utf8(line).is_ok() { utf8 += 1 } else { other += 1 }
    }
    other > utf8
}

fn not_a_table(name: &str, found: &'static str) -> IngestError {
    IngestError::NotATable { file: name.to_owned(), found, expected: TableKind::Orders.expected_header() }
}

/// What a file is that is no table.
fn other_format(head: &[u8]) -> Option<&'static str> {
    for (magic, found) in [
        (b"PK\x03\x04".as_slice(), "a ZIP archive or an Excel workbook"),
        (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
        (b"PAR1", "a Parquet file within another compression (unpack it first)"),
        (b"%PDF", "a PDF document"),
        (b"BZh", "compressed with bzip2"),
        (b"\xfd7zXZ\x00", "compressed with xz"),
        (b"SQLite format 3", "a SQLite database"),
        (b"Obj\x01", "an Avro file"),
    ] {
        if head.starts_with(magic) {
            return Some(found);
        }
    }
    match head.trim_ascii_start().first() {
        Some(b'<') => Some("HTML or XML"),
        Some(b'[') => Some("one JSON list (`jq -c '.[]'` writes it as JSON lines)"),
        _ => None,
    }
}

fn binary(head: &[u8]) -> Option<&'static str> {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let control = head.iter().filter(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace()).count();
    (head.contains(&0) || control * 20 > head.len()).then_some("binary data")
}
