//! Order lines from a table.

use super::{
    DiscountUnit, ImportReport, IngestError, RowError, TableKind, TableMapping,
    reference::{Cells, Columns},
    table::Table,
};
use crate::data::{
    order::{LineStatus, OrderLine},
    pseudonym::PseudonymKey,
};

/// Most units on one line.
const QUANTITY_MAX: f64 = 1_000_000.0;
/// Longest order, line, customer or product number, in characters.
const IDENTITY_MAX: usize = 200;

/// Order lines with the lines of the file they come from, and the report so far. Raw customer ids end here.
///
/// # Errors
/// When the mapping does not fit the table.
pub fn read_orders(
    table: &Table,
    mapping: &TableMapping,
    pseudonyms: &PseudonymKey,
) -> Result<(Vec<(u64, OrderLine)>, ImportReport), IngestError> {
    let columns = Columns::new(TableKind::Orders, table, mapping)?;
    columns.read(|cells| order_line(cells, mapping, pseudonyms))
}

fn order_line(cells: &Cells<'_>, mapping: &TableMapping, pseudonyms: &PseudonymKey) -> Result<OrderLine, RowError> {
    let order = cells.required("order_id", IDENTITY_MAX)?.to_owned();
    let line = cells.text("line", IDENTITY_MAX)?.map(str::to_owned);
    let customer = cells.text("customer_id", IDENTITY_MAX)?.map(|raw| pseudonyms.pseudonym(raw));
    let product = cells.required("product_id", IDENTITY_MAX)?.to_owned();
    let at = cells.date_time("ordered_at")?.ok_or(RowError::Missing { column: "ordered_at" })?;
    let quantity = cells.number("quantity")?.ok_or(RowError::Missing { column: "quantity" })?;
    if quantity == 0.0 {
        return Err(RowError::ZeroQuantity);
    }
    if quantity.abs() > QUANTITY_MAX {
        return Err(RowError::OutOfRange { column: "quantity", value: quantity });
    }
    let unit_price = cells.price("unit_price")?;
    let discount = match (cells.number("discount")?, mapping.discount_unit) {
        (None, _) => 0.0,
        (Some(fraction), DiscountUnit::Fraction) => fraction,
        (Some(percent), DiscountUnit::Percent) => percent / 100.0,
    };
    if !(0.0..=1.0).contains(&discount) {
        return Err(RowError::OutOfRange { column: "discount", value: discount });
    }
    let status = status(cells, mapping, &order)?;
    let channel = cells.text("channel", IDENTITY_MAX)?.map(str::to_owned);
    Ok(OrderLine { order, line, customer, product, at, quantity, unit_price, discount, status, channel })
}

fn status(cells: &Cells<'_>, mapping: &TableMapping, order: &str) -> Result<LineStatus, RowError> {
    let word = cells.text("status", IDENTITY_MAX)?.unwrap_or_default();
    let is_in = |values: &[String]| values.iter().any(|value| value.eq_ignore_ascii_case(word));
    let marked = cells.flag("returned")?.unwrap_or(false)
        || mapping.return_order_prefixes.iter().any(|prefix| !prefix.is_empty() && order.starts_with(prefix));
    Ok(if is_in(&mapping.cancelled_values) {
        LineStatus::Cancelled
    } else if marked || is_in(&mapping.returned_values) {
        LineStatus::Returned
    } else {
        LineStatus::Sold
    })
}
