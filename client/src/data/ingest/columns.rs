//! Which cell of a row is which field, and cells as values.
//!
//! Invariant: a cell is bounded and checked before anything is made of it; what is wrong with it is said with the
//! field's name.

use jiff::civil::{Date, DateTime};

use super::{
    ImportReport, IngestError, RowError, TableKind, TableMapping,
    clock::Clock,
    currency,
    fields::fields,
    reading::{ReadTo, Reading},
    row::Row,
    table::Table,
    value::{date_time, flag, number},
};

/// Highest price or amount of money.
const MONEY_MAX: f64 = 1e9;
/// Longest product, series or category name, in characters.
pub(super) const NAME_MAX: usize = 200;

/// Where each field of a kind of table comes from.
pub(super) struct Columns<'a> {
    kind: TableKind,
    table: &'a Table,
    mapping: &'a TableMapping,
    clock: Option<Clock>,
    sources: Vec<(&'static str, Source<'a>)>,
    /// Which columns are read at all.
    wanted: Vec<bool>,
}

/// A column, or a value that every row has.
enum Source<'a> {
    Column(usize),
    Constant(&'a str),
}

/// What a row says.
pub(super) enum Parsed<T> {
    /// A row of the table.
    Row(T),
    /// An event of a kind that is no row of it.
    OtherEvent,
}

impl<'a> Columns<'a> {
    pub fn new(kind: TableKind, table: &'a Table, mapping: &'a TableMapping) -> Result<Self, IngestError> {
        let refused = |source| IngestError::Mapping { file: table.name().to_owned(), table: kind, source };
        mapping.check(kind, table).map_err(refused)?;
        let clock = mapping.clock().map_err(refused)?;
        let sources: Vec<_> = fields(kind)
            .filter_map(|field| {
                let column = mapping.columns.get(field).and_then(|column| table.column(column));
                let source = match column {
                    Some(at) => Source::Column(at),
                    None => Source::Constant(mapping.constants.get(field)?),
                };
                Some((field, source))
            })
            .collect();
        let mut wanted = vec![false; table.header().len()];
        let attributes = mapping.attributes.iter().filter_map(|column| table.column(column));
        let columns = sources.iter().filter_map(|(_, source)| match source {
            Source::Column(at) => Some(*at),
            Source::Constant(_) => None,
        });
        for at in columns.chain(attributes).chain(mapping.cursor.as_ref().and_then(|column| table.column(column))) {
            wanted[at] = true;
        }
        Ok(Self { kind, table, mapping, clock, sources, wanted })
    }

    /// Parses every row after `from` and hands the good ones on with their line; those that fail are in the report.
    pub fn read<T, E: From<IngestError>>(
        &self,
        from: &ReadTo,
        parse: impl Fn(&Cells<'_>) -> Result<Parsed<T>, RowError>,
        mut take: impl FnMut(&mut ImportReport, u64, T) -> Result<(), E>,
    ) -> Result<(ImportReport, ReadTo), E> {
        let cursor_column = self.mapping.cursor.as_ref().and_then(|column| self.table.column(column));
        let (mut report, mut cursor, mut row) = (self.report(), None, Row::default());
        report.read_from = from.cursor.clone().filter(|_| cursor_column.is_some() && self.table.query().is_some());
        let mut rows: Box<dyn Reading> = self.table.rows(&self.wanted, from, self.mapping.cursor.as_deref())?;
        while rows.read(&mut row)? {
            report.rows += 1;
            // Of an answer rows are counted; its lines are nowhere to be looked up.
            let number = if self.table.query().is_some() { report.rows } else { row.number };
            let parsed = match row.error.take() {
                Some(error) => Err(error),
                None => parse(&Cells { columns: self, row: &row }),
            };
            match parsed {
                Ok(Parsed::Row(value)) => take(&mut report, number, value)?,
                Ok(Parsed::OtherEvent) => report.other_events += 1,
                Err(error) => report.reject(number, &error),
            }
            if let Some(value) = cursor_column.map(|at| row.cell(at)).filter(|value| !value.is_empty()) {
                let cursor = cursor.get_or_insert_with(Vec::new);
                cursor.clear();
                cursor.extend_from_slice(value);
            }
        }
        let mark = match rows.mark().filter(|_| self.table.query().is_none()) {
            Some(mark) => Some(mark),
            None => self.table.whole_mark(report.rows)?,
        };
        let cursor = cursor.map(|value| String::from_utf8_lossy(&value).into_owned());
        Ok((report, ReadTo { mark, cursor }))
    }

    fn report(&self) -> ImportReport {
        let used = |column: &String| {
            let named = self.mapping.columns.values().chain(&self.mapping.attributes).chain(&self.mapping.cursor);
            named.into_iter().any(|taken| taken == column)
        };
        let unused = self.table.header().iter().filter(|column| !used(column)).cloned().collect();
        let (columns, absent) =
            self.mapping.columns.clone().into_iter().partition(|(_, column)| self.table.column(column).is_some());
        let mut report = ImportReport::new(self.table.name(), self.kind, columns, unused);
        report.absent = absent;
        report.constants = self.mapping.constants.clone();
        report.written = self.mapping.written(self.kind, self.table);
        report.currencies = currency::met(self.kind, self.table, self.mapping);
        report.counted_in = self.table.counted_in();
        report.order_events = self.mapping.order_events.clone();
        report.return_events = self.mapping.return_events.clone();
        report
    }
}

/// The values of one row, by field.
pub(super) struct Cells<'a> {
    columns: &'a Columns<'a>,
    row: &'a Row,
}

impl Cells<'_> {
    /// A column's value, trimmed; `None` when empty.
    fn at(&self, at: usize, column: &'static str, limit: usize) -> Result<Option<&str>, RowError> {
        let text = std::str::from_utf8(self.row.cell(at)).map_err(|_| RowError::Encoding { column })?.trim();
        if text.len() > limit && text.chars().nth(limit).is_some() {
            return Err(RowError::TooLong { column, limit });
        }
        Ok((!text.is_empty()).then_some(text))
    }

    fn source(&self, field: &'static str) -> Option<&Source<'_>> {
        self.columns.sources.iter().find(|(name, _)| *name == field).map(|(_, source)| source)
    }

    /// The value of a column that is kept as an attribute.
    pub fn attribute(&self, at: usize, limit: usize) -> Result<Option<&str>, RowError> {
        self.at(at, "attribute", limit)
    }

    /// A field's value; `None` when the table does not have it or it is empty.
    pub fn text(&self, field: &'static str, limit: usize) -> Result<Option<&str>, RowError> {
        match self.source(field) {
            None => Ok(None),
            Some(Source::Column(at)) => self.at(*at, field, limit),
            Some(Source::Constant(value)) => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
        }
    }

    /// A field's value that must not be empty.
    pub fn required(&self, field: &'static str, limit: usize) -> Result<&str, RowError> {
        self.text(field, limit)?.ok_or(RowError::Missing { column: field })
    }

    /// A finite number. What the file itself calls a number is written with a point, whatever people write.
    pub fn number(&self, field: &'static str) -> Result<Option<f64>, RowError> {
        let Some(text) = self.text(field, NAME_MAX)? else { return Ok(None) };
        let is_number = matches!(self.source(field), Some(Source::Column(at)) if self.row.is_number(*at));
        match number(text, self.columns.mapping.decimal_comma && !is_number) {
            Some(number) => Ok(Some(number)),
            None => Err(RowError::Number { column: field, value: RowError::shown(text) }),
        }
    }

    /// A price or an amount, ≥ 0.
    pub fn price(&self, field: &'static str) -> Result<Option<f64>, RowError> {
        match self.number(field)? {
            Some(value) if value < 0.0 => Err(RowError::NegativePrice { column: field, value }),
            Some(value) if value > MONEY_MAX => Err(RowError::OutOfRange { column: field, value }),
            price => Ok(price),
        }
    }

    /// Yes or no; `None` when the cell is empty or absent.
    pub fn flag(&self, field: &'static str) -> Result<Option<bool>, RowError> {
        let Some(text) = self.text(field, NAME_MAX)? else { return Ok(None) };
        match flag(text) {
            Some(flag) => Ok(Some(flag)),
            None => Err(RowError::Flag { column: field, value: RowError::shown(text) }),
        }
    }

    /// A day with an optional time.
    pub fn date_time(&self, field: &'static str) -> Result<Option<DateTime>, RowError> {
        let Some(text) = self.text(field, NAME_MAX)? else { return Ok(None) };
        match date_time(text, &self.columns.mapping.date_formats, self.columns.clock.as_ref()) {
            Some(at) => Ok(Some(at)),
            None => Err(RowError::Date { column: field, value: RowError::shown(text) }),
        }
    }

    /// A day that must not be empty.
    pub fn date(&self, field: &'static str) -> Result<Date, RowError> {
        Ok(self.date_time(field)?.ok_or(RowError::Missing { column: field })?.date())
    }
}
