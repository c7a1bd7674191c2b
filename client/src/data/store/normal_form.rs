//! The tables as the store writes them: CSV with fixed columns, exact numbers, pseudonyms instead of customers.
//!
//! What was written is read back equal, bit for bit. The header names the version; a file without it, or with a row
//! that does not parse, is damaged. Behind the rows stand the imports that they came from, so that a table and what is
//! known of its sources are replaced in one step. Order lines, of which there are many, are in [`super::order_form`].

use std::{collections::BTreeMap, str::FromStr, sync::Arc};

use csv::{ByteRecord, ReaderBuilder, StringRecord, WriterBuilder};
use jiff::civil::Date;

use super::{error::NormalFormError, imports::Imported};
use crate::data::order::{Product, ProductDay, SalesRow};

/// First column of every header: the version of the normal form.
pub(super) const VERSION: &str = "forecastle-1";

/// Rows of a table and the imports that they came from.
pub(super) type Stored<T> = (T, Vec<Imported>);

type Calendar = BTreeMap<String, BTreeMap<Date, ProductDay>>;

/// Products as bytes; attributes follow the fixed columns as name, value, name, value.
pub(super) fn write_products(products: &BTreeMap<String, Product>, imports: &[Imported]) -> Vec<u8> {
    let header = ["id", "title", "category", "description", "list_price", "listed_on", "attributes"];
    write(&header, imports, products.values(), |product| {
        let mut fields = vec![
            product.id.clone(),
            product.title.clone(),
            product.category.clone(),
            product.description.clone(),
            optional(product.list_price),
            product.listed_on.map(|day| day.to_string()).unwrap_or_default(),
        ];
        fields.extend(product.attributes.iter().flat_map(|(name, value)| [name.clone(), value.clone()]));
        fields
    })
}

/// Products from bytes.
pub(super) fn read_products(bytes: &[u8]) -> Result<Stored<BTreeMap<String, Product>>, NormalFormError> {
    let (products, imports) = read(bytes, |row| {
        let attributes = (6..row.len()).step_by(2);
        Some(Product {
            id: row.text(0)?.to_owned(),
            title: row.text(1)?.to_owned(),
            category: row.text(2)?.to_owned(),
            description: row.text(3)?.to_owned(),
            list_price: row.optional(4)?,
            listed_on: match row.text(5)? {
                "" => None,
                day => Some(day.parse().ok()?),
            },
            attributes: attributes
                .map(|at| Some((row.text(at)?.to_owned(), row.text(at + 1)?.to_owned())))
                .collect::<Option<_>>()?,
        })
    })?;
    Ok((products.into_iter().map(|product| (product.id.clone(), product)).collect(), imports))
}

/// The calendar as bytes.
pub(super) fn write_calendar(calendar: &Calendar, imports: &[Imported]) -> Vec<u8> {
    let header =
        ["product", "date", "price", "promotion", "coupon", "in_stock", "competitor_price", "markdown", "type"];
    let rows = calendar.iter().flat_map(|(product, days)| days.iter().map(move |(date, day)| (product, date, day)));
    write(&header, imports, rows, |(product, date, day)| {
        vec![
            product.clone(),
            date.to_string(),
            optional(day.price),
            day.promotion.to_string(),
            day.coupon.to_string(),
            day.in_stock.map(|flag| flag.to_string()).unwrap_or_default(),
            optional(day.competitor_price),
            optional(day.markdown),
            day.promotion_type.as_deref().unwrap_or_default().to_owned(),
        ]
    })
}

/// The calendar from bytes.
pub(super) fn read_calendar(bytes: &[u8]) -> Result<Stored<Calendar>, NormalFormError> {
    let (rows, imports) = read(bytes, |row| {
        let day = ProductDay {
            price: row.optional(2)?,
            promotion: row.parse(3)?,
            coupon: row.parse(4)?,
            in_stock: match row.text(5)? {
                "" => None,
                flag => Some(flag.parse().ok()?),
            },
            competitor_price: row.optional(6)?,
            markdown: row.optional(7)?,
            // Tables from before there were kinds of promotions have no such field.
            promotion_type: row.text(8).filter(|kind| !kind.is_empty()).map(Arc::from),
        };
        Some((row.text(0)?.to_owned(), row.parse::<Date>(1)?, day))
    })?;
    let mut calendar = Calendar::new();
    for (product, date, day) in rows {
        calendar.entry(product).or_default().insert(date, day);
    }
    Ok((calendar, imports))
}

/// Holidays as bytes.
pub(super) fn write_holidays(holidays: &BTreeMap<Date, String>, imports: &[Imported]) -> Vec<u8> {
    write(&["date", "name"], imports, holidays.iter(), |(date, name)| vec![date.to_string(), name.clone()])
}

/// Holidays from bytes.
pub(super) fn read_holidays(bytes: &[u8]) -> Result<Stored<BTreeMap<Date, String>>, NormalFormError> {
    let (rows, imports) = read(bytes, |row| Some((row.parse(0)?, row.text(1)?.to_owned())))?;
    Ok((rows.into_iter().collect(), imports))
}

/// Totals as bytes.
pub(super) fn write_sales(rows: &[SalesRow], imports: &[Imported]) -> Vec<u8> {
    write(&["series", "date", "value"], imports, rows.iter(), |row| {
        vec![row.series.clone(), row.date.to_string(), row.value.to_string()]
    })
}

/// Totals from bytes.
pub(super) fn read_sales(bytes: &[u8]) -> Result<Stored<Vec<SalesRow>>, NormalFormError> {
    read(bytes, |row| Some(SalesRow { series: row.text(0)?.to_owned(), date: row.parse(1)?, value: row.finite(2)? }))
}

pub(super) fn optional(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Writes a header, rows, each led by an empty field under the version, and the imports.
pub(super) fn write<T>(
    header: &[&str],
    imports: &[Imported],
    rows: impl Iterator<Item = T>,
    fields: impl Fn(T) -> Vec<String>,
) -> Vec<u8> {
    let mut writer = WriterBuilder::new().flexible(true).from_writer(Vec::new());
    let header: StringRecord = std::iter::once(VERSION).chain(header.iter().copied()).collect();
    // Writing to memory cannot fail, and `flexible` allows rows of any length.
    writer.write_record(&header).expect("a vector accepts every write");
    for row in rows {
        let record: StringRecord = std::iter::once(String::new()).chain(fields(row)).collect();
        writer.write_record(&record).expect("a vector accepts every write");
    }
    for import in imports {
        writer.write_record(import.fields()).expect("a vector accepts every write");
    }
    writer.into_inner().expect("a vector accepts every flush")
}

/// Reads what [`write`] wrote; no bytes at all are an empty table.
pub(super) fn read<T>(
    bytes: &[u8],
    parse: impl Fn(&StoredRow<'_>) -> Option<T>,
) -> Result<Stored<Vec<T>>, NormalFormError> {
    let (mut rows, mut imports) = (Vec::new(), Vec::new());
    if bytes.is_empty() {
        return Ok((rows, imports));
    }
    let mut reader = ReaderBuilder::new().flexible(true).has_headers(false).from_reader(bytes);
    let mut record = ByteRecord::new();
    let mut first = true;
    loop {
        let line = reader.position().line();
        let damaged = |what: &str| NormalFormError { line, what: what.to_owned() };
        if !reader.read_byte_record(&mut record).map_err(|error| damaged(&error.to_string()))? {
            return if first { Err(damaged("no header")) } else { Ok((rows, imports)) };
        }
        match record.get(0) {
            _ if first => {
                check_version(&record).map_err(damaged)?;
                first = false;
            }
            Some(b"") => rows.push(parse(&StoredRow(&record)).ok_or_else(|| damaged("a field does not parse"))?),
            _ => imports.push(Imported::parse(&StoredRow(&record)).ok_or_else(|| damaged("a field does not parse"))?),
        }
    }
}

/// Whether the first record of a file is the header of this version.
pub(super) fn check_version(header: &ByteRecord) -> Result<(), &'static str> {
    let is_this = header.get(0) == Some(VERSION.as_bytes());
    is_this.then_some(()).ok_or("not written by this version of the program")
}

/// A stored row; positions do not count the leading version field.
pub(super) struct StoredRow<'a>(pub &'a ByteRecord);

impl StoredRow<'_> {
    /// The leading field: empty for a row of the table.
    pub fn kind(&self) -> &[u8] {
        self.0.get(0).unwrap_or_default()
    }

    fn len(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    pub fn text(&self, at: usize) -> Option<&str> {
        std::str::from_utf8(self.0.get(at + 1)?).ok()
    }

    pub fn non_empty(&self, at: usize) -> Option<Option<String>> {
        let text = self.text(at)?;
        Some((!text.is_empty()).then(|| text.to_owned()))
    }

    pub fn parse<T: FromStr>(&self, at: usize) -> Option<T> {
        self.text(at)?.parse().ok()
    }

    pub fn finite(&self, at: usize) -> Option<f64> {
        self.parse(at).filter(|value: &f64| value.is_finite())
    }

    pub fn optional(&self, at: usize) -> Option<Option<f64>> {
        match self.text(at)? {
            "" => Some(None),
            _ => self.finite(at).map(Some),
        }
    }
}
