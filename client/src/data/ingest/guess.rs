//! Guessing what a table is and which of its columns is which, from the names shops give their columns.
//!
//! A guess is shown to the merchant and written to `mapping.toml`; where it would be a coin toss (day or month first),
//! the file is refused until somebody says.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    IngestError, TableKind,
    fields::{EVENT, EVENT_COUNTS, VECTOR, fields, required, table_fields},
    mapping::{DiscountUnit, TableMapping},
    objects::list_of,
    table::Table,
    value::{ISO, UNIX, UNIX_MS, date, is_instant, number, split_time},
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
    let is_whole = required(TableKind::Orders).all(|field| has(field) || said(TableKind::Orders).any(|f| f == field));
    if let Some(kind) = detect_signals(table).filter(|_| !is_whole) {
        return Some(kind);
    }
    if has("customer_id") || has("order_id") && has("product_id") {
        return Some(TableKind::Orders);
    }
    let has_quantity = guess_columns(TableKind::Stock, table).contains_key("on_hand");
    TableKind::ALL.into_iter().find(|kind| {
        let columns = guess_columns(*kind, table);
        let beside_required = columns.len().saturating_sub(required(*kind).count());
        let says_something = match kind {
            TableKind::Products => beside_required > 0,
            // With a quantity beside it, a flag is the stock table's.
            TableKind::Calendar => {
                let flag_only = beside_required == 1 && columns.contains_key("in_stock");
                beside_required > 0 && !(flag_only && has_quantity)
            }
            TableKind::Events => is_event_table(&columns, table),
            TableKind::Reviews => false,
            TableKind::Stock => columns.contains_key("on_hand"),
            TableKind::Vectors => columns.contains_key("vector") || !numbered(table).is_empty(),
            TableKind::Orders | TableKind::Holidays | TableKind::Sales | TableKind::Occasions => true,
        };
        says_something
            && required(*kind).all(|field| columns.contains_key(field) || said(*kind).any(|said| said == field))
    })
}

/// An event log or reviews, whose customer numbers would otherwise make them order lines.
fn detect_signals(table: &Table) -> Option<TableKind> {
    let reviews = guess_columns(TableKind::Reviews, table);
    let by_somebody = ["customer_id", "order_id", "review_id"].iter().any(|field| reviews.contains_key(*field));
    let of_something = ["product_id", "order_id"].iter().any(|field| reviews.contains_key(*field));
    if reviews.contains_key("score") && reviews.contains_key("at") && by_somebody && of_something {
        return Some(TableKind::Reviews);
    }
    let events = guess_columns(TableKind::Events, table);
    let is_log = ["product_id", "at", "event"].iter().all(|field| events.contains_key(*field));
    is_log.then_some(TableKind::Events)
}

/// Whether something in a table says which events its rows are.
fn is_event_table(columns: &BTreeMap<String, String>, table: &Table) -> bool {
    let says = |field: &str| columns.contains_key(field) || table.hints().constants.contains_key(field);
    says("event") || EVENT_COUNTS.iter().any(|field| says(field))
}

/// Columns that are called alike but for a number at the end, in the order of their numbers: the entries of a vector.
fn numbered(table: &Table) -> Vec<String> {
    const ENTRIES_MIN: usize = 8;
    let mut named: BTreeMap<&str, Vec<(u32, &String)>> = BTreeMap::new();
    for column in table.header() {
        let name = column.trim_end_matches(|c: char| c.is_ascii_digit());
        if let Ok(number) = column[name.len()..].parse() {
            named.entry(name).or_default().push((number, column));
        }
    }
    let Some(mut entries) = named.into_values().max_by_key(Vec::len).filter(|all| all.len() >= ENTRIES_MIN) else {
        return Vec::new();
    };
    entries.sort_unstable();
    entries.into_iter().map(|(_, column)| column.clone()).collect()
}

/// A mapping for a table of this kind.
///
/// # Errors
/// When a required column is not recognised, or dates cannot be read, or can be read in two ways.
pub fn guess(kind: TableKind, table: &Table) -> Result<TableMapping, IngestError> {
    let columns = guess_columns(kind, table);
    let hints = table.hints();
    let mut constants = hints.constants.clone();
    // A table of order items, to which the orders were joined, often has a row for each piece.
    let has_lines = kind == TableKind::Orders && columns.contains_key("line") && table.joined().next().is_some();
    if has_lines && !columns.contains_key("quantity") {
        constants.entry("quantity".to_owned()).or_insert_with(|| "1".to_owned());
    }
    let is_known = |field: &str| columns.contains_key(field) || constants.contains_key(field);
    let mut missing: Vec<_> = required(kind).filter(|field| !is_known(field)).collect();
    match kind {
        TableKind::Events if !is_event_table(&columns, table) => missing.push("event"),
        TableKind::Reviews if !is_known("product_id") && !is_known("order_id") => missing.push("product_id"),
        TableKind::Stock if !is_known("on_hand") && !is_known("in_stock") => missing.push("on_hand"),
        TableKind::Vectors if !is_known("vector") && numbered(table).is_empty() => missing.push("vector"),
        _ => {}
    }
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
        constants,
        ..TableMapping::default()
    };
    let sample = |field: &str| -> &[String] {
        columns.get(field).and_then(|column| table.column(column)).map_or(&[], |at| table.sample(at))
    };
    mapping.decimal_comma =
        ["unit_price", "quantity", "discount", "list_price", "price", "value", "competitor_price", "score", "on_hand"]
            .iter()
            .any(|field| has_decimal_comma(sample(field)));
    if kind == TableKind::Orders {
        let over_one =
            sample("discount").iter().filter_map(|value| number(value, mapping.decimal_comma)).any(|d| d > 1.0);
        mapping.discount_unit = if over_one { DiscountUnit::Percent } else { DiscountUnit::Fraction };
        (mapping.order_events, mapping.return_events) = guess_events(sample("event"));
    }
    if kind == TableKind::Events {
        let behaviours = guess_behaviours(sample("event"));
        [mapping.view_events, mapping.cart_events, mapping.wish_events, mapping.search_events] = behaviours;
    }
    if kind == TableKind::Reviews {
        let scores = sample("score").iter().filter_map(|value| number(value, mapping.decimal_comma));
        let best = scores.fold(0.0, f64::max);
        mapping.score_max = [5.0, 10.0, 100.0].into_iter().find(|max| best <= *max);
    }
    if kind == TableKind::Vectors && !columns.contains_key("vector") {
        mapping.attributes = numbered(table);
    }
    mapping.time_zone.clone_from(&hints.time_zone);
    for date_field in ["ordered_at", "date", "at", "listed_on"] {
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
            .filter(|column| !names_customers(column) && !VECTOR.contains(&plain(column).as_str()))
            .take(ATTRIBUTES_MAX)
            .cloned()
            .collect();
    }
    mapping.columns = columns;
    Ok(mapping)
}

/// Whether a column usually holds customer numbers: such a column is never kept as an attribute.
fn names_customers(column: &str) -> bool {
    [TableKind::Orders, TableKind::Events]
        .iter()
        .flat_map(|kind| table_fields(*kind))
        .any(|field| field.name == "customer_id" && field.usual.contains(&plain(column).as_str()))
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

/// Names of events that are no orders, by kind: views, carts, wish-lists, searches (lower case, letters and digits only).
const BEHAVIOURS: [&[&str]; 4] = [
    &["view", "views", "viewed", "pageview", "productview", "productviewed", "viewitem", "viewproduct", "detail", "pv"],
    &["cart", "addtocart", "cartadd", "addcart", "addedtocart", "productadded", "productaddedtocart", "basket", "atc"],
    &[
        "wishlist",
        "wish",
        "addtowishlist",
        "wishlistadd",
        "productaddedtowishlist",
        "favorite",
        "favourite",
        "fav",
        "like",
    ],
    &["search", "searchclick", "searchresult", "searchimpression", "productsearched", "searched"],
];

/// The events in a column that are views, carts, wish-lists and searches.
fn guess_behaviours(sample: &[String]) -> [Vec<String>; 4] {
    let met: BTreeSet<&String> = sample.iter().collect();
    BEHAVIOURS.map(|usual| {
        met.iter().filter(|value| usual.contains(&plain(value).as_str())).map(|value| (*value).clone()).collect()
    })
}

/// Which of the usual names of behaviour an event bears, as a position in views, carts, wish-lists, searches.
pub(super) fn usual_behaviour(event: &str) -> Option<usize> {
    let event = plain(event);
    BEHAVIOURS.iter().position(|usual| usual.contains(&event.as_str()))
}

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
        let is_no_event = |at: usize| {
            field.usual == EVENT
                && match kind {
                    TableKind::Events => guess_behaviours(table.sample(at)).iter().all(Vec::is_empty),
                    _ => guess_events(table.sample(at)).0.is_empty(),
                }
        };
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
        let readable = |value: &&String| value.len() > 8 && is_instant(value, format);
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
