//! What merchants author: products, their calendar, holidays, and totals of merchants without order lines.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::civil::{Date, DateTime};

use super::{
    ImportReport, IngestError, RowError, TableKind, TableMapping,
    guess::fields,
    table::Table,
    value::{date_time, flag, number},
};
use crate::data::order::{Product, ProductDay, SalesRow};

/// Highest price or amount of money.
const MONEY_MAX: f64 = 1e9;
/// Largest total of a step.
const TOTAL_MAX: f64 = 1e12;
/// Longest product, series or category name, in characters.
const NAME_MAX: usize = 200;
/// Longest title or attribute.
const TITLE_MAX: usize = 1_000;
/// Longest description.
const DESCRIPTION_MAX: usize = 20_000;

/// One row of a calendar table.
#[derive(Clone, Debug, PartialEq)]
pub struct ProductDayRow {
    /// Product identity.
    pub product: String,
    /// The day.
    pub date: Date,
    /// What the merchant set for it.
    pub day: ProductDay,
}

/// One row of a holiday table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolidayRow {
    /// The day.
    pub date: Date,
    /// Its name.
    pub name: String,
}

/// Rows with the lines of the file they come from, and the report so far.
type Read<T> = Result<(Vec<(u64, T)>, ImportReport), IngestError>;

/// Products from a table. Errors when the mapping does not fit it.
pub fn read_products(table: &Table, mapping: &TableMapping) -> Read<Product> {
    let columns = Columns::new(TableKind::Products, table, mapping)?;
    let attributes: Vec<(&String, usize)> =
        mapping.attributes.iter().filter_map(|column| Some((column, table.column(column)?))).collect();
    columns.read(|cells| {
        let text = |field, limit| Ok(cells.text(field, limit)?.unwrap_or_default().to_owned());
        let mut product = Product {
            id: cells.required("product_id", NAME_MAX)?.to_owned(),
            title: text("title", TITLE_MAX)?,
            category: text("category", NAME_MAX)?,
            description: text("description", DESCRIPTION_MAX)?,
            list_price: cells.price("list_price")?.filter(|price| *price > 0.0),
            listed_on: cells.date_time("listed_on")?.map(DateTime::date),
            attributes: Vec::new(),
        };
        for &(name, at) in &attributes {
            if let Some(value) = cells.at(at, "attribute", TITLE_MAX)? {
                product.attributes.push((name.clone(), value.to_owned()));
            }
        }
        Ok(product)
    })
}

/// Product days from a table. Errors when the mapping does not fit it.
pub fn read_calendar(table: &Table, mapping: &TableMapping) -> Read<ProductDayRow> {
    Columns::new(TableKind::Calendar, table, mapping)?.read(|cells| {
        Ok(ProductDayRow {
            product: cells.required("product_id", NAME_MAX)?.to_owned(),
            date: cells.date("date")?,
            day: ProductDay {
                price: cells.price("price")?.filter(|price| *price > 0.0),
                promotion: cells.flag("promotion")?.unwrap_or(false),
                coupon: cells.flag("coupon")?.unwrap_or(false),
                in_stock: cells.flag("in_stock")?,
                competitor_price: cells.price("competitor_price")?.filter(|price| *price > 0.0),
                markdown: cells.price("markdown")?,
            },
        })
    })
}

/// Holidays from a table. Errors when the mapping does not fit it.
pub fn read_holidays(table: &Table, mapping: &TableMapping) -> Read<HolidayRow> {
    Columns::new(TableKind::Holidays, table, mapping)?
        .read(|cells| Ok(HolidayRow { date: cells.date("date")?, name: cells.required("name", NAME_MAX)?.to_owned() }))
}

/// Totals from a table. Errors when the mapping does not fit it.
pub fn read_sales(table: &Table, mapping: &TableMapping) -> Read<SalesRow> {
    Columns::new(TableKind::Sales, table, mapping)?.read(|cells| {
        let value = cells.number("value")?.ok_or(RowError::Missing { column: "value" })?;
        if value.abs() > TOTAL_MAX {
            return Err(RowError::OutOfRange { column: "value", value });
        }
        Ok(SalesRow { series: cells.required("series_id", NAME_MAX)?.to_owned(), date: cells.date("date")?, value })
    })
}

/// Where each field of a kind of table comes from.
pub(super) struct Columns<'a> {
    kind: TableKind,
    table: &'a Table,
    mapping: &'a TableMapping,
    sources: BTreeMap<&'static str, Source<'a>>,
}

/// A column, or a value that every row has.
enum Source<'a> {
    Column(usize),
    Constant(&'a str),
}

impl<'a> Columns<'a> {
    pub fn new(kind: TableKind, table: &'a Table, mapping: &'a TableMapping) -> Result<Self, IngestError> {
        mapping.check(kind, table).map_err(|source| IngestError::Mapping {
            file: table.name().to_owned(),
            table: kind,
            source,
        })?;
        let sources = fields(kind)
            .filter_map(|field| {
                let column = mapping.columns.get(field).and_then(|column| table.column(column));
                let source = match column {
                    Some(at) => Source::Column(at),
                    None => Source::Constant(mapping.constants.get(field)?),
                };
                Some((field, source))
            })
            .collect();
        Ok(Self { kind, table, mapping, sources })
    }

    /// Parses every row; those that fail are in the report with their line.
    pub fn read<T>(&self, parse: impl Fn(&Cells<'_>) -> Result<T, RowError>) -> Read<T> {
        let used = |column: &String| {
            self.mapping.columns.values().chain(&self.mapping.attributes).any(|taken| taken == column)
        };
        let unused = self.table.header().iter().filter(|column| !used(column)).cloned().collect();
        let mut report = ImportReport::new(self.table.name(), self.kind, self.mapping.columns.clone(), unused);
        let mut rows = Vec::new();
        for (line, row) in self.table.rows() {
            report.rows += 1;
            match row.and_then(|fields| parse(&Cells { columns: self, fields: &fields })) {
                Ok(row) => rows.push((line, row)),
                Err(error) => report.reject(line, &error),
            }
        }
        Ok((rows, report))
    }
}

/// The values of one row, by field.
pub(super) struct Cells<'a> {
    columns: &'a Columns<'a>,
    fields: &'a [Cow<'a, [u8]>],
}

impl Cells<'_> {
    /// A column's value, trimmed; `None` when empty.
    fn at(&self, at: usize, column: &'static str, limit: usize) -> Result<Option<&str>, RowError> {
        let bytes = self.fields.get(at).map_or(&[][..], |field| field);
        let text = std::str::from_utf8(bytes).map_err(|_| RowError::Encoding { column })?.trim();
        if text.chars().nth(limit).is_some() {
            return Err(RowError::TooLong { column, limit });
        }
        Ok((!text.is_empty()).then_some(text))
    }

    /// A field's value; `None` when the table does not have it or it is empty.
    pub fn text(&self, field: &'static str, limit: usize) -> Result<Option<&str>, RowError> {
        match self.columns.sources.get(field) {
            None => Ok(None),
            Some(Source::Column(at)) => self.at(*at, field, limit),
            Some(Source::Constant(value)) => Ok(Some(value.trim()).filter(|value| !value.is_empty())),
        }
    }

    /// A field's value that must not be empty.
    pub fn required(&self, field: &'static str, limit: usize) -> Result<&str, RowError> {
        self.text(field, limit)?.ok_or(RowError::Missing { column: field })
    }

    /// A finite number.
    pub fn number(&self, field: &'static str) -> Result<Option<f64>, RowError> {
        let Some(text) = self.text(field, NAME_MAX)? else { return Ok(None) };
        match number(text, self.columns.mapping.decimal_comma) {
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
        match date_time(text, &self.columns.mapping.date_formats) {
            Some(at) => Ok(Some(at)),
            None => Err(RowError::Date { column: field, value: RowError::shown(text) }),
        }
    }

    /// A day that must not be empty.
    pub fn date(&self, field: &'static str) -> Result<Date, RowError> {
        Ok(self.date_time(field)?.ok_or(RowError::Missing { column: field })?.date())
    }
}
