//! Order lines from a table.

use std::{cell::RefCell, collections::HashMap};

use super::{
    DiscountUnit, ImportReport, IngestError, RowError, TableKind, TableMapping,
    columns::{Cells, Columns, Parsed},
    reading::ReadTo,
    table::Table,
};
use crate::data::{
    order::{CustomerPseudonym, LineStatus, OrderLine},
    pseudonym::PseudonymKey,
};

/// Most units on one line.
const QUANTITY_MAX: f64 = 1_000_000.0;
/// Longest order, line, customer or product number, in characters.
pub(super) const IDENTITY_MAX: usize = 200;
/// Customers whose pseudonyms are kept at hand while a file is read.
const CUSTOMERS_AT_HAND: usize = 1 << 17;

/// Reads order lines after `from`, one at a time; `take` gets each with its line of the file. Raw customer ids end here.
///
/// # Errors
/// When the mapping does not fit the table, the table cannot be read, or `take` fails.
pub fn read_orders<E: From<IngestError>>(
    table: &Table,
    mapping: &TableMapping,
    pseudonyms: &PseudonymKey,
    from: &ReadTo,
    take: impl FnMut(&mut ImportReport, u64, OrderLine) -> Result<(), E>,
) -> Result<(ImportReport, ReadTo), E> {
    let columns = Columns::new(TableKind::Orders, table, mapping)?;
    let customers = Customers::new(pseudonyms);
    columns.read(from, |cells| order_line(cells, mapping, &customers), take)
}

/// Pseudonyms, each computed once for a run of lines.
pub(super) struct Customers<'a> {
    key: &'a PseudonymKey,
    at_hand: RefCell<HashMap<Box<str>, CustomerPseudonym>>,
}

impl<'a> Customers<'a> {
    pub fn new(key: &'a PseudonymKey) -> Self {
        Self { key, at_hand: RefCell::default() }
    }

    /// The pseudonym of a raw number.
    pub fn pseudonym(&self, raw: &str) -> CustomerPseudonym {
        let mut at_hand = self.at_hand.borrow_mut();
        if let Some(pseudonym) = at_hand.get(raw) {
            return *pseudonym;
        }
        if at_hand.len() == CUSTOMERS_AT_HAND {
            at_hand.clear();
        }
        let pseudonym = self.key.pseudonym(raw);
        at_hand.insert(raw.into(), pseudonym);
        pseudonym
    }
}

/// What an event is to the orders.
#[derive(PartialEq, Eq)]
enum Event {
    Order,
    Return,
    Other,
}

fn event(cells: &Cells<'_>, mapping: &TableMapping) -> Result<Event, RowError> {
    if mapping.order_events.is_empty() && mapping.return_events.is_empty() {
        return Ok(Event::Order);
    }
    let word = cells.text("event", IDENTITY_MAX)?.unwrap_or_default();
    let is_in = |values: &[String]| values.iter().any(|value| value.eq_ignore_ascii_case(word));
    Ok(if is_in(&mapping.order_events) {
        Event::Order
    } else if is_in(&mapping.return_events) {
        Event::Return
    } else {
        Event::Other
    })
}

fn order_line(
    cells: &Cells<'_>,
    mapping: &TableMapping,
    customers: &Customers<'_>,
) -> Result<Parsed<OrderLine>, RowError> {
    let event = event(cells, mapping)?;
    if event == Event::Other {
        return Ok(Parsed::OtherEvent);
    }
    let order = cells.required("order_id", IDENTITY_MAX)?.to_owned();
    let line = cells.text("line", IDENTITY_MAX)?.map(str::to_owned);
    let customer = cells.text("customer_id", IDENTITY_MAX)?.map(|raw| customers.pseudonym(raw));
    let product = cells.required("product_id", IDENTITY_MAX)?.to_owned();
    let at = cells.date_time("ordered_at")?.ok_or(RowError::Missing { column: "ordered_at" })?;
    let quantity = cells.number("quantity")?.ok_or(RowError::Missing { column: "quantity" })?;
    if quantity == 0.0 {
        return Err(RowError::ZeroQuantity);
    }
    if quantity.abs() > QUANTITY_MAX {
        return Err(RowError::OutOfRange { column: "quantity", value: quantity });
    }
    // A return that is an event of its own is goods that come back, whatever sign its quantity has.
    let quantity = if event == Event::Return { -quantity.abs() } else { quantity };
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
    let line = OrderLine { order, line, customer, product, at, quantity, unit_price, discount, status, channel };
    Ok(Parsed::Row(line))
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
