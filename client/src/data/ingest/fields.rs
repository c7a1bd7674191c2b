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
            "customeruniqueid",
            "customerid",
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
    field(
        "promotion_type",
        false,
        &["promotiontype", "promotype", "promotionkind", "promotionname", "promoname", "campaigntype", "aktionsart"],
    ),
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

/// Names of the column that says who did something, in event logs.
const VISITOR: &[&str] = &[
    "customeruniqueid",
    "customerid",
    "userid",
    "visitorid",
    "customer",
    "customerno",
    "customernumber",
    "clientid",
    "memberid",
    "buyerid",
    "reviewerid",
    "kundennummer",
    "email",
    "customeremail",
    "user",
    "usersession",
    "sessionid",
    "session",
    "cookieid",
];

const EVENTS: &[Field] = &[
    field("product_id", true, PRODUCT),
    field(
        "at",
        true,
        &[
            "eventtime",
            "eventtimestamp",
            "occurredat",
            "timestamp",
            "datetime",
            "createdat",
            "time",
            "ts",
            "date",
            "eventdate",
            "day",
            "datum",
        ],
    ),
    field("event", false, EVENT),
    field("customer_id", false, VISITOR),
    field("count", false, &["count", "events", "eventcount", "hits", "anzahl"]),
    field("views", false, &["views", "pageviews", "productviews", "detailviews", "itemviews", "viewcount"]),
    field("carts", false, &["carts", "addtocarts", "cartadds", "cartadditions", "addedtocart", "cartcount"]),
    field("wishlists", false, &["wishlists", "wishlistadds", "wishes", "favorites", "favourites", "wishlistcount"]),
    field("searches", false, &["searches", "searchhits", "searchclicks", "searchcount"]),
];

/// Fields of an event table that count one kind of event each.
pub(super) const EVENT_COUNTS: [&str; 4] = ["views", "carts", "wishlists", "searches"];

const REVIEWS: &[Field] = &[
    field("review_id", false, &["reviewid"]),
    field("product_id", false, PRODUCT),
    field("order_id", false, &["orderid", "ordernumber", "orderno"]),
    field("customer_id", false, VISITOR),
    field(
        "at",
        true,
        &[
            "reviewcreationdate",
            "reviewdate",
            "reviewtime",
            "unixreviewtime",
            "reviewedat",
            "createdat",
            "timestamp",
            "date",
            "datetime",
            "time",
            "day",
            "datum",
        ],
    ),
    field("score", false, &["reviewscore", "rating", "overall", "starrating", "stars", "score", "bewertung", "sterne"]),
    field(
        "text",
        false,
        &[
            "reviewtext",
            "reviewcommentmessage",
            "reviewbody",
            "reviewcontent",
            "comment",
            "text",
            "body",
            "content",
            "review",
        ],
    ),
    field("title", false, &["reviewcommenttitle", "reviewtitle", "reviewheadline", "summary", "headline", "title"]),
];

const STOCK: &[Field] = &[
    field("product_id", true, PRODUCT),
    field("date", true, &["date", "day", "datum", "snapshotdate", "stockdate", "asof", "timestamp", "datetime"]),
    field(
        "on_hand",
        false,
        &[
            "onhand",
            "stockonhand",
            "quantityonhand",
            "qtyonhand",
            "onhandqty",
            "stocklevel",
            "stockqty",
            "stockquantity",
            "inventory",
            "inventorylevel",
            "inventoryquantity",
            "availablequantity",
            "stock",
            "bestand",
            "lagerbestand",
        ],
    ),
    field("in_stock", false, &["instock", "available", "instockflag", "verfuegbar"]),
];

const OCCASIONS: &[Field] = &[
    field("date", true, &["date", "day", "datum"]),
    field("name", true, &["occasion", "occasionname", "campaign", "campaignname", "eventname", "name", "event"]),
];

/// Names of the column that holds a whole vector.
pub(super) const VECTOR: &[&str] = &["vector", "embedding", "embeddings", "featurevector", "imagevector"];

const VECTORS: &[Field] = &[field("product_id", true, PRODUCT), field("vector", false, VECTOR)];

/// The fields of a kind of table.
pub(super) fn table_fields(kind: TableKind) -> &'static [Field] {
    match kind {
        TableKind::Orders => ORDERS,
        TableKind::Products => PRODUCTS,
        TableKind::Calendar => CALENDAR,
        TableKind::Holidays => HOLIDAYS,
        TableKind::Sales => SALES,
        TableKind::Events => EVENTS,
        TableKind::Reviews => REVIEWS,
        TableKind::Stock => STOCK,
        TableKind::Occasions => OCCASIONS,
        TableKind::Vectors => VECTORS,
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
