//! The fields that each kind of table has, and the names that shops give their columns.

use super::TableKind;

/// A field: its name, whether a table says nothing without it, and column names it usually has (lower case, letters
/// and digits only, likeliest first).
pub(super) struct Field {
    pub name: &'static str,
    pub required: bool,
    pub usual: &'static [&'static str],
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

/// Names of the column that says what an event is; taken only where some event is an order.
pub(super) const EVENT: &[&str] = &["event", "eventname", "eventtype", "action", "activity", "type"];

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
            "ordername",
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
            "ts",
            "eventtime",
            "occurredat",
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
    field("event", false, EVENT),
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

/// The fields of a kind of table.
pub(super) fn table_fields(kind: TableKind) -> &'static [Field] {
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
