//! What merchants author: products, their calendar, holidays, and totals of merchants without order lines.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};

use super::{
    ImportReport, IngestError, RowError, TableKind, TableMapping,
    columns::{Cells, Columns, NAME_MAX, Parsed},
    reading::ReadTo,
    table::Table,
};
use crate::data::order::{Product, ProductDay, SalesRow};

/// Largest total of a step.
const TOTAL_MAX: f64 = 1e12;
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

/// Rows with the lines of the file they come from, the report so far, and how far the file was read.
pub(super) type Read<T> = Result<(Vec<(u64, T)>, ImportReport, ReadTo), IngestError>;

/// Every row that parses.
pub(super) fn collect<T>(
    columns: &Columns<'_>,
    from: &ReadTo,
    parse: impl Fn(&Cells<'_>) -> Result<T, RowError>,
) -> Read<T> {
    let mut rows = Vec::new();
    let (report, read_to) = columns.read::<T, IngestError>(
        from,
        |cells| parse(cells).map(Parsed::Row),
        |_, line, row| {
            rows.push((line, row));
            Ok(())
        },
    )?;
    Ok((rows, report, read_to))
}

/// Products from a table. Errors when the mapping does not fit it.
pub fn read_products(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<Product> {
    let columns = Columns::new(TableKind::Products, table, mapping)?;
    let attributes: Vec<(&String, usize)> =
        mapping.attributes.iter().filter_map(|column| Some((column, table.column(column)?))).collect();
    collect(&columns, from, |cells| {
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
            if let Some(value) = cells.attribute(at, TITLE_MAX)? {
                product.attributes.push((name.clone(), value.to_owned()));
            }
        }
        Ok(product)
    })
}

/// Product days from a table. Errors when the mapping does not fit it.
pub fn read_calendar(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<ProductDayRow> {
    collect(&Columns::new(TableKind::Calendar, table, mapping)?, from, |cells| {
        let promotion_type = cells.text("promotion_type", NAME_MAX)?.map(Arc::from);
        Ok(ProductDayRow {
            product: cells.required("product_id", NAME_MAX)?.to_owned(),
            date: cells.date("date")?,
            day: ProductDay {
                price: cells.price("price")?.filter(|price| *price > 0.0),
                promotion: cells.flag("promotion")?.unwrap_or(promotion_type.is_some()),
                promotion_type,
                coupon: cells.flag("coupon")?.unwrap_or(false),
                in_stock: cells.flag("in_stock")?,
                competitor_price: cells.price("competitor_price")?.filter(|price| *price > 0.0),
                markdown: cells.price("markdown")?,
            },
        })
    })
}

/// Holidays from a table. Errors when the mapping does not fit it.
pub fn read_holidays(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<HolidayRow> {
    collect(&Columns::new(TableKind::Holidays, table, mapping)?, from, |cells| {
        Ok(HolidayRow { date: cells.date("date")?, name: cells.required("name", NAME_MAX)?.to_owned() })
    })
}

/// Totals from a table. Errors when the mapping does not fit it.
pub fn read_sales(table: &Table, mapping: &TableMapping, from: &ReadTo) -> Read<SalesRow> {
    collect(&Columns::new(TableKind::Sales, table, mapping)?, from, |cells| {
        let value = cells.number("value")?.ok_or(RowError::Missing { column: "value" })?;
        if value.abs() > TOTAL_MAX {
            return Err(RowError::OutOfRange { column: "value", value });
        }
        Ok(SalesRow { series: cells.required("series_id", NAME_MAX)?.to_owned(), date: cells.date("date")?, value })
    })
}
