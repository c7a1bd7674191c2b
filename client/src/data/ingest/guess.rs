//! Guessing what a table is and which of its columns is which, from the names shops give their columns.
//!
//! A guess is shown to the merchant and written to `mapping.toml`; where it would be a coin toss (day or month first),
//! the file is refused until somebody says.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    IngestError, TableKind,
    fields::{EVENT, fields, required, table_fields},
    mapping::{DiscountUnit, TableMapping},
    objects::list_of,
    table::Table,
    value::{ISO, UNIX, UNIX_MS, clock, date, number, split_time},
};

/// Columns kept as attributes of a product.
const ATTRIBUTES_MAX: usize = 32;

/// What a table is, judged by its header; `None` when nothing fits.
///
/// A header with order or customer numbers is one of order lines even where another column is missing or misspelt:
/// taking it for anything else could keep customer numbers as if they were product attributes.
pub fn detect(table: &Table) -> Option<TableKind> {
    let order_columns = guess_columns(TableKind::Orders, table);
    let said = |kind| fields(kind).filter(|field| table.hints().constants.contains_key(*field));
    let has = |field| order_columns.contains_key(field);
    if has("customer_id") || has("order_id") && has("product_id") {
        return Some(TableKind::Orders);
    }
    TableKind::ALL.into_iter().find(|kind| {
        let columns = guess_columns(*kind, table);
        let beside_required = columns.len().saturating_sub(required(*kind).count());
        let says_something = match kind {
            TableKind::Products | TableKind::Calendar => beside_required > 0,
            TableKind::Orders | TableKind::Holidays | TableKind::Sales => true,
        };
        says_something
            && required(*kind).all(|field| columns.contains_key(field) || said(*kind).any(|said| said == field))
    })
}

/// A mapping for a table of this kind.
///
/// # Errors
/// When a required column is not recognised, or dates cannot be read, or can be read in two ways.
pub fn guess(kind: TableKind, table: &Table) -> Result<TableMapping, IngestError> {
    let columns = guess_columns(kind, table);
    let hints = table.hints();
    let is_known = |field: &str| columns.contains_key(field) || hints.constants.contains_key(field);
    let missing: Vec<_> = required(kind).filter(|field| !is_known(field)).collect();
    if !missing.is_empty() {
        return Err(IngestError::MissingColumns {
            file: table.name().to_owned(),
            table: kind,
            missing,
            header: table.header_shown(),
        });
    }
    let mut mapping = TableMapping {
        delimiter: table.delimiter(),
        encoding: table.encoding().map(str::to_owned),
        constants: hints.constants.clone(),
        ..TableMapping::default()
    };
    let sample = |field: &str| -> &[String] {
        columns.get(field).and_then(|column| table.column(column)).map_or(&[], |at| table.sample(at))
    };
    mapping.decimal_comma = ["unit_price", "quantity", "discount", "list_price", "price", "value", "competitor_price"]
        .iter()
        .any(|field| has_decimal_comma(sample(field)));
    if kind == TableKind::Orders {
        let over_one =
            sample("discount").iter().filter_map(|value| number(value, mapping.decimal_comma)).any(|d| d > 1.0);
        mapping.discount_unit = if over_one { DiscountUnit::Percent } else { DiscountUnit::Fraction };
        (mapping.order_events, mapping.return_events) = guess_events(sample("event"));
    }
    for date_field in ["ordered_at", "date", "listed_on"] {
        if let Some(column) = columns.get(date_field) {
            mapping.date_formats = match &hints.date_format {
                Some(format) => vec![format.clone()],
                None => vec![guess_date_format(kind, table, column, sample(date_field))?],
            };
        }
    }
    if kind == TableKind::Products {
        mapping.attributes = table
            .header()
            .iter()
            .filter(|column| !column.is_empty() && !columns.values().any(|used| used == *column))
            .filter(|column| !names_customers(column))
            .take(ATTRIBUTES_MAX)
            .cloned()
            .collect();
    }
    mapping.columns = columns;
    Ok(mapping)
}

/// Whether a column usually holds customer numbers: such a column is never kept as an attribute.
fn names_customers(column: &str) -> bool {
    let customer = table_fields(TableKind::Orders).iter().find(|field| field.name == "customer_id");
    customer.is_some_and(|field| field.usual.contains(&plain(column).as_str()))
}

/// A column name as the lists above write it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Names of events that are orders, likeliest first (lower case, letters and digits only). Shops log several events for
/// one order (placed, paid, shipped); one kind is taken, so that no order counts twice.
const ORDER_EVENTS: [&str; 16] = [
    "purchase",
    "purchased",
    "ordercompleted",
    "orderpaid",
    "orderplaced",
    "ordercreated",
    "orderconfirmed",
    "neworder",
    "order",
    "ordered",
    "sale",
    "sold",
    "checkoutcompleted",
    "checkout",
    "transaction",
    "buy",
];
/// Names of events that are returns, likeliest first.
const RETURN_EVENTS: [&str; 7] =
    ["orderreturned", "returned", "return", "orderrefunded", "refunded", "refund", "itemreturned"];

/// The events in a column that are orders, and those that are returns; none where none has a usual name.
fn guess_events(sample: &[String]) -> (Vec<String>, Vec<String>) {
    let met: BTreeSet<&String> = sample.iter().collect();
    let likeliest = |usual: &[&str]| -> Vec<String> {
        let named =
            |name: &&str| met.iter().filter(|value| plain(value) == *name).map(|value| (*value).clone()).collect();
        usual.iter().map(named).find(|values: &Vec<String>| !values.is_empty()).unwrap_or_default()
    };
    let orders = likeliest(&ORDER_EVENTS);
    let returns = if orders.is_empty() { Vec::new() } else { likeliest(&RETURN_EVENTS) };
    (orders, returns)
}

/// Names that say something only with the name before them: `payment.amount` is no quantity.
const VAGUE: [&str; 14] = [
    "amount",
    "count",
    "id",
    "value",
    "y",
    "type",
    "name",
    "text",
    "source",
    "description",
    "status",
    "action",
    "product",
    "item",
];

/// How far from the root a column is that is usually called `usual`: 0 by its whole name, more by the end of its path.
fn is_called(column: &str, usual: &str) -> Option<u8> {
    if plain(column) == usual {
        return Some(0);
    }
    let (mut depth, mut rest) = (1, column);
    while let Some((_, end)) = rest.split_once('.') {
        let is_vague = !end.contains('.') && VAGUE.contains(&plain(end).as_str());
        if plain(end) == usual && !is_vague {
            return Some(depth);
        }
        (rest, depth) = (end, depth + 1);
    }
    None
}

/// Takes for each field the likeliest column that no earlier field has taken. Rows can be made of one list of an object
/// only: the one with which most required fields are found, or none.
fn guess_columns(kind: TableKind, table: &Table) -> BTreeMap<String, String> {
    let lists: BTreeSet<&str> = table.header().iter().filter_map(|column| list_of(column)).collect();
    let found = |columns: &BTreeMap<String, String>| {
        (required(kind).filter(|field| columns.contains_key(*field)).count(), columns.len())
    };
    let mut best = guess_columns_of(kind, table, None);
    for list in lists {
        let columns = guess_columns_of(kind, table, Some(list));
        if found(&columns) > found(&best) {
            best = columns;
        }
    }
    best
}

/// The same for one list; columns of others are left alone.
fn guess_columns_of(kind: TableKind, table: &Table, list: Option<&str>) -> BTreeMap<String, String> {
    let mut columns = table.hints().columns.clone();
    let mut taken: Vec<bool> =
        table.header().iter().map(|column| columns.values().any(|said| said == column)).collect();
    let is_said =
        |field: &str| table.hints().columns.contains_key(field) || table.hints().constants.contains_key(field);
    for field in table_fields(kind).iter().filter(|field| !is_said(field.name)) {
        let at = likeliest(field.usual, table.header(), list, |at| !taken[at]);
        let is_no_event = |at: usize| field.usual == EVENT && guess_events(table.sample(at)).0.is_empty();
        if let Some(at) = at.filter(|at| !is_no_event(*at)) {
            taken[at] = true;
            columns.insert(field.name.to_owned(), table.header()[at].clone());
        }
    }
    columns
}

/// The column called by the likeliest of the usual names: directly in the list, then at the root, then further within.
fn likeliest(usual: &[&str], header: &[String], list: Option<&str>, is_free: impl Fn(usize) -> bool) -> Option<usize> {
    // Position, whether it lies in the list, and its name from there or from the root.
    let columns: Vec<(usize, bool, &str)> = header
        .iter()
        .enumerate()
        .filter(|(at, column)| is_free(*at) && (list_of(column).is_none() || list_of(column) == list))
        .map(|(at, column)| match list_of(column) {
            Some(list) => (at, true, column[list.len()..].trim_start_matches(['[', ']', '.'])),
            None => (at, false, column.as_str()),
        })
        .collect();
    let directly = |in_list: bool| {
        usual.iter().find_map(|usual| {
            columns.iter().find(|(_, within, name)| *within == in_list && is_called(name, usual) == Some(0))
        })
    };
    let within = || {
        usual.iter().find_map(|usual| {
            let called = columns.iter().filter_map(|column| Some((is_called(column.2, usual)?, column)));
            called.min_by_key(|(depth, column)| (*depth, column.0)).map(|(_, column)| column)
        })
    };
    directly(true).or_else(|| directly(false)).or_else(within).map(|column| column.0)
}

/// Whether the numbers of a column use a comma where a point would be: some can only be read so, and more of them
/// than can only be read with a point.
fn has_decimal_comma(sample: &[String]) -> bool {
    let only = |comma: bool| {
        sample.iter().filter(|value| number(value, comma).is_some() && number(value, !comma).is_none()).count()
    };
    only(true) > only(false)
}

/// Ways of writing days, beside ISO, of which only one can be meant.
const FORMATS: [&str; 11] = [
    ISO,
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%Y%m%d",
    "%d.%m.%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
    "%d.%m.%y",
    "%d %B %Y",
    "%B %d, %Y",
];
/// Ways of writing days in which day and month can be confused: day first, month first.
const CONFUSABLE: [(&str, &str); 3] = [("%d/%m/%Y", "%m/%d/%Y"), ("%d-%m-%Y", "%m-%d-%Y"), ("%d/%m/%y", "%m/%d/%y")];

fn guess_date_format(kind: TableKind, table: &Table, column: &str, sample: &[String]) -> Result<String, IngestError> {
    // A damaged file has some unreadable dates; a wrong format leaves most of them unreadable.
    let enough = |count: usize| 2 * count > sample.len();
    for format in [UNIX, UNIX_MS] {
        // Nine digits at least: shorter numbers are days such as 20240131.
        let readable = |value: &&String| value.len() > 8 && clock(value, format).is_some();
        if enough(sample.iter().filter(readable).count()) {
            return Ok(format.to_owned());
        }
    }
    let days: Vec<&str> = sample.iter().filter_map(|value| Some(split_time(value)?.0)).collect();
    let readable = |format: &str| days.iter().filter(|day| date(day, format).is_some()).count();
    let file = || table.name().to_owned();
    let Some(example) = sample.first().cloned() else { return Ok(ISO.to_owned()) };
    if let Some(format) = FORMATS.into_iter().find(|format| enough(readable(format))) {
        return Ok(format.to_owned());
    }
    for (day_first, month_first) in CONFUSABLE {
        let (mut day, mut month) = (readable(day_first), readable(month_first));
        if !enough(day.max(month)) {
            continue;
        }
        // The first rows of a long file can lie within the first days of one month; then all of it is looked at.
        if let Some(at) = table.column(column).filter(|_| day == month) {
            (day, month) = (0, 0);
            table.each_value(at, |value| {
                let value = split_time(value).map_or("", |(day, _)| day);
                day += usize::from(date(value, day_first).is_some());
                month += usize::from(date(value, month_first).is_some());
            })?;
        }
        return match day.cmp(&month) {
            std::cmp::Ordering::Greater => Ok(day_first.to_owned()),
            std::cmp::Ordering::Less => Ok(month_first.to_owned()),
            std::cmp::Ordering::Equal => {
                let column = column.to_owned();
                Err(IngestError::AmbiguousDates { file: file(), table: kind, column, example, day_first, month_first })
            }
        };
    }
    let example = example.chars().take(40).collect();
    Err(IngestError::UnknownDates { file: file(), table: kind, column: column.to_owned(), example })
}
