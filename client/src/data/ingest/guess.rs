//! Guessing what a table is and which of its columns is which, from the names shops give their columns.
//!
//! A guess is shown to the merchant and written to `mapping.toml`; where it would be a coin toss (day or month first),
//! the file is refused until somebody says.

use std::collections::BTreeMap;

use super::{
    IngestError, TableKind,
    mapping::{DiscountUnit, TableMapping},
    table::Table,
    value::{ISO, date, number, split_time},
};

/// Values of a column that a guess looks at.
const SAMPLE: usize = 20_000;
/// Columns kept as attributes of a product.
const ATTRIBUTES_MAX: usize = 32;

/// A field: its name, whether a table says nothing without it, and column names it usually has (lower case, letters
/// and digits only, likeliest first).
struct Field {
    name: &'static str,
    required: bool,
    usual: &'static [&'static str],
}

const fn field(name: &'static str, required: bool, usual: &'static [&'static str]) -> Field {
    Field { name, required, usual }
}

const PRODUCT: &[&str] = &[
    "productid",
    "sku",
    "stockcode",
    "itemid",
    "articleid",
    "productcode",
    "itemcode",
    "articleno",
    "articlenumber",
    "lineitemsku",
    "variantsku",
    "asin",
    "ean",
    "gtin",
    "artikelnummer",
    "artikelnr",
    "product",
    "item",
    "article",
    "artikel",
];

const ORDERS: &[Field] = &[
    field(
        "order_id",
        true,
        &[
            "orderid",
            "invoiceno",
            "invoice",
            "orderno",
            "ordernumber",
            "invoicenumber",
            "receiptid",
            "receiptno",
            "transactionid",
            "bestellnummer",
            "auftragsnummer",
            "rechnungsnummer",
            "order",
        ],
    ),
    field("line", false, &["line", "lineno", "orderline", "orderlineid", "orderitemid", "lineitemid", "position"]),
    field(
        "customer_id",
        false,
        &[
            "customerid",
            "customeruniqueid",
            "customer",
            "customerno",
            "customernumber",
            "clientid",
            "userid",
            "buyerid",
            "memberid",
            "kundennummer",
            "kundenid",
            "email",
            "customeremail",
        ],
    ),
    field("product_id", true, PRODUCT),
    field(
        "ordered_at",
        true,
        &[
            "orderedat",
            "invoicedate",
            "orderdate",
            "orderpurchasetimestamp",
            "createdat",
            "date",
            "datetime",
            "timestamp",
            "purchasedate",
            "transactiondate",
            "saledate",
            "day",
            "bestelldatum",
            "datum",
            "time",
        ],
    ),
    field(
        "quantity",
        true,
        &["quantity", "qty", "units", "lineitemquantity", "count", "amount", "pieces", "menge", "anzahl", "unitssold"],
    ),
    field(
        "unit_price",
        false,
        &["unitprice", "price", "lineitemprice", "itemprice", "sellingprice", "einzelpreis", "preis"],
    ),
    field("discount", false, &["discount", "discountrate", "discountpercent", "lineitemdiscount", "rabatt"]),
    field("returned", false, &["returned", "isreturn", "isreturned", "refunded", "retoure"]),
    field("status", false, &["status", "orderstatus", "linestatus"]),
    field("channel", false, &["channel", "saleschannel", "source", "marketplace", "kanal"]),
];

const PRODUCTS: &[Field] = &[
    field(
        "product_id",
        true,
        &[
            "productid",
            "sku",
            "stockcode",
            "itemid",
            "articleid",
            "productcode",
            "itemcode",
            "articleno",
            "articlenumber",
            "variantsku",
            "asin",
            "ean",
            "gtin",
            "artikelnummer",
            "artikelnr",
            "seriesid",
            "id",
        ],
    ),
    field("title", false, &["title", "name", "productname", "itemname", "producttitle", "bezeichnung", "product"]),
    field(
        "category",
        false,
        &["category", "productcategory", "productcategoryname", "department", "type", "kategorie"],
    ),
    field("description", false, &["description", "bodyhtml", "productdescription", "beschreibung", "text"]),
    field("list_price", false, &["listprice", "price", "msrp", "rrp", "variantprice", "unitprice", "preis"]),
    field("listed_on", false, &["listedon", "publishedat", "createdat", "launchdate", "introducedon", "listeddate"]),
];

const CALENDAR: &[Field] = &[
    field("product_id", true, PRODUCT),
    field("date", true, &["date", "day", "datum", "week"]),
    field("price", false, &["price", "unitprice", "sellingprice", "preis"]),
    field("promotion", false, &["promotion", "promo", "onpromotion", "onpromo", "deal", "aktion"]),
    field("coupon", false, &["coupon", "voucher", "gutschein"]),
    field("in_stock", false, &["instock", "available", "instockflag", "verfuegbar"]),
    field("competitor_price", false, &["competitorprice", "competitor", "marketprice"]),
    field("markdown", false, &["markdown", "markdownamount"]),
];

const HOLIDAYS: &[Field] = &[
    field("date", true, &["date", "day", "calendardate", "datum"]),
    field("name", true, &["name", "holiday", "holidayname", "event", "description", "feiertag"]),
];

const SALES: &[Field] = &[
    field(
        "series_id",
        true,
        &[
            "seriesid",
            "uniqueid",
            "storeid",
            "airstoreid",
            "series",
            "store",
            "shop",
            "itemid",
            "productid",
            "sku",
            "item",
            "product",
            "id",
        ],
    ),
    field("date", true, &["date", "day", "ds", "visitdate", "saledate", "week", "datum"]),
    field(
        "value",
        true,
        &[
            "value",
            "y",
            "sales",
            "visitors",
            "units",
            "quantity",
            "qty",
            "turnover",
            "revenue",
            "weeklysales",
            "sold",
            "demand",
            "umsatz",
        ],
    ),
];

fn table_fields(kind: TableKind) -> &'static [Field] {
    match kind {
        TableKind::Orders => ORDERS,
        TableKind::Products => PRODUCTS,
        TableKind::Calendar => CALENDAR,
        TableKind::Holidays => HOLIDAYS,
        TableKind::Sales => SALES,
    }
}

/// Names of a kind's fields.
pub(super) fn fields(kind: TableKind) -> impl Iterator<Item = &'static str> {
    table_fields(kind).iter().map(|field| field.name)
}

/// Names of a kind's required fields.
pub(super) fn required(kind: TableKind) -> impl Iterator<Item = &'static str> {
    table_fields(kind).iter().filter(|field| field.required).map(|field| field.name)
}

/// What a table is, judged by its header; `None` when nothing fits.
///
/// A header with order or customer numbers is one of order lines even where another column is missing or misspelt:
/// taking it for anything else could keep customer numbers as if they were product attributes.
pub fn detect(table: &Table) -> Option<TableKind> {
    let order_columns = guess_columns(TableKind::Orders, table);
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
        says_something && required(*kind).all(|field| columns.contains_key(field))
    })
}

/// A mapping for a table of this kind.
///
/// # Errors
/// When a required column is not recognised, or dates cannot be read, or can be read in two ways.
pub fn guess(kind: TableKind, table: &Table) -> Result<TableMapping, IngestError> {
    let columns = guess_columns(kind, table);
    let missing: Vec<_> = required(kind).filter(|field| !columns.contains_key(*field)).collect();
    if !missing.is_empty() {
        return Err(IngestError::MissingColumns {
            file: table.name().to_owned(),
            table: kind,
            missing,
            header: table.header_shown(),
        });
    }
    let mut mapping = TableMapping { delimiter: Some(table.delimiter()), ..TableMapping::default() };
    let sample = |field: &str| -> Vec<String> {
        columns.get(field).and_then(|column| table.column(column)).map_or_else(Vec::new, |at| table.sample(at, SAMPLE))
    };
    mapping.decimal_comma = ["unit_price", "quantity", "discount", "list_price", "price", "value", "competitor_price"]
        .iter()
        .any(|field| has_decimal_comma(&sample(field)));
    if kind == TableKind::Orders {
        let over_one =
            sample("discount").iter().filter_map(|value| number(value, mapping.decimal_comma)).any(|d| d > 1.0);
        mapping.discount_unit = if over_one { DiscountUnit::Percent } else { DiscountUnit::Fraction };
    }
    for date_field in ["ordered_at", "date", "listed_on"] {
        if let Some(column) = columns.get(date_field) {
            mapping.date_formats = vec![guess_date_format(kind, table, column, &sample(date_field))?];
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
    let customer = ORDERS.iter().find(|field| field.name == "customer_id");
    customer.is_some_and(|field| field.usual.contains(&plain(column).as_str()))
}

/// A column name as the lists above write it.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Takes for each field the likeliest column that no earlier field has taken.
fn guess_columns(kind: TableKind, table: &Table) -> BTreeMap<String, String> {
    let header: Vec<String> = table.header().iter().map(|name| plain(name)).collect();
    let mut taken = vec![false; header.len()];
    let mut columns = BTreeMap::new();
    for field in table_fields(kind) {
        let at = field
            .usual
            .iter()
            .find_map(|usual| header.iter().enumerate().position(|(at, name)| !taken[at] && name == usual));
        if let Some(at) = at {
            taken[at] = true;
            columns.insert(field.name.to_owned(), table.header()[at].clone());
        }
    }
    columns
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
    let days: Vec<&str> = sample.iter().filter_map(|value| Some(split_time(value)?.0)).collect();
    let readable = |format: &str| days.iter().filter(|day| date(day, format).is_some()).count();
    let file = || table.name().to_owned();
    let Some(example) = sample.first().cloned() else { return Ok(ISO.to_owned()) };
    // A damaged file has some unreadable dates; a wrong format leaves most of them unreadable.
    let enough = |count: usize| 2 * count > sample.len();
    if let Some(format) = FORMATS.into_iter().find(|format| enough(readable(format))) {
        return Ok(format.to_owned());
    }
    for (day_first, month_first) in CONFUSABLE {
        let (day, month) = (readable(day_first), readable(month_first));
        if enough(day.max(month)) {
            return match day.cmp(&month) {
                std::cmp::Ordering::Greater => Ok(day_first.to_owned()),
                std::cmp::Ordering::Less => Ok(month_first.to_owned()),
                std::cmp::Ordering::Equal => {
                    Err(IngestError::AmbiguousDates { file: file(), table: kind, column: column.to_owned(), example })
                }
            };
        }
    }
    let example = example.chars().take(40).collect();
    Err(IngestError::UnknownDates { file: file(), table: kind, column: column.to_owned(), example })
}
