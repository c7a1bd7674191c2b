//! Files into rows: every row is imported or rejected with its line number and a reason.
//!
//! A file that is no table is refused whole, with what was expected. A [`TableMapping`] says which column means what;
//! it is guessed from usual column names where the merchant gave none, and kept for them to edit. Nothing here writes to
//! the disk, and no input bytes can make it panic. A file of any length is read in bounded memory: an [`Input`] is
//! unpacked and decoded piece by piece, a [`Table`] hands on one row at a time.
//!
//! Left out: spreadsheets.

mod clock;
mod columns;
mod currency;
mod delimited;
mod fields;
mod guess;
mod input;
mod join;
mod json_lines;
mod mapping;
mod objects;
mod orders;
#[cfg(feature = "parquet")]
mod parquet_file;
#[cfg(feature = "postgres")]
mod postgres;
mod reading;
mod record;
mod reference;
mod report;
mod row;
mod signals;
mod table;
mod value;
mod window;

#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod signals_tests;
#[cfg(test)]
mod tests;

use std::{fmt, io};

pub use guess::{detect, guess};
pub use input::{Answer, Input, Part, is_postgres_address};
pub use mapping::{DiscountUnit, Mapping, MappingError, TableMapping};
pub use orders::read_orders;
#[cfg(feature = "postgres")]
pub use postgres::PostgresQuery;
pub use reading::ReadTo;
pub use reference::{HolidayRow, ProductDayRow, read_calendar, read_holidays, read_products, read_sales};
pub use report::{ImportReport, MappingOrigin, REJECTED_LISTED, RejectedRow, RowError};
use serde::{Deserialize, Serialize};
pub use signals::{
    OccasionRow, StockRow, VectorRow, counts_events, read_events, read_occasions, read_reviews, read_stock,
    read_vectors,
};
pub use table::{Hints, Table, TableFormat};
use thiserror::Error;
pub use window::Mark;

/// The tables a merchant can bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TableKind {
    /// Order lines.
    Orders,
    /// Product information.
    Products,
    /// Price, promotion and stock by product and day, planned days too.
    Calendar,
    /// Holidays.
    Holidays,
    /// Totals by series and day, from merchants without order lines.
    Sales,
    /// What customers do without buying: views, carts, wish-lists, searches.
    Events,
    /// What customers write.
    Reviews,
    /// What is on hand, by product and day.
    Stock,
    /// The merchant's own events.
    Occasions,
    /// Vectors of products that the merchant made from pictures, sounds or anything else.
    Vectors,
}

impl TableKind {
    /// Every kind, in the order in which a header is compared with them.
    pub const ALL: [Self; 10] = [
        Self::Orders,
        Self::Sales,
        Self::Calendar,
        Self::Holidays,
        Self::Products,
        Self::Events,
        Self::Reviews,
        Self::Stock,
        Self::Occasions,
        Self::Vectors,
    ];

    /// Name in `mapping.toml` and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Orders => "orders",
            Self::Products => "products",
            Self::Calendar => "calendar",
            Self::Holidays => "holidays",
            Self::Sales => "sales",
            Self::Events => "events",
            Self::Reviews => "reviews",
            Self::Stock => "stock",
            Self::Occasions => "occasions",
            Self::Vectors => "vectors",
        }
    }

    /// The canonical header, as messages show it.
    pub fn expected_header(self) -> &'static str {
        match self {
            Self::Orders => "order_id,customer_id,product_id,ordered_at,quantity,unit_price,discount,returned,channel",
            Self::Products => "product_id,title,category,description,list_price,listed_on",
            Self::Calendar => "product_id,date,price,promotion,coupon,in_stock",
            Self::Holidays => "date,name",
            Self::Sales => "series_id,date,value",
            Self::Events => "event_time,event_type,product_id,user_id",
            Self::Reviews => "product_id,customer_id,review_date,rating,text",
            Self::Stock => "product_id,date,on_hand",
            Self::Occasions => "date,occasion",
            Self::Vectors => "product_id,vector",
        }
    }
}

impl fmt::Display for TableKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a whole file was refused.
#[derive(Debug, Error)]
pub enum IngestError {
    /// Nothing in it.
    #[error("{file} is empty; expected a table with a header row, such as `{expected}`")]
    Empty {
        /// Name of the file.
        file: String,
        /// A header that would be understood.
        expected: &'static str,
    },
    /// Some other kind of file.
    #[error(
        "{file} is {found}, not a table; export it as CSV (UTF-8, comma, semicolon or tab) with a header row such as \
         `{expected}`, as JSON lines or as Parquet"
    )]
    NotATable {
        /// Name of the file.
        file: String,
        /// What it looks like.
        found: &'static str,
        /// A header that would be understood.
        expected: &'static str,
    },
    /// Longer than is read.
    #[error("{file} is larger than {limit_bytes} bytes unpacked; split it and import the parts one after the other")]
    TooLarge {
        /// Name of the file.
        file: String,
        /// The limit.
        limit_bytes: u64,
    },
    /// Damaged compression.
    #[error("{file} does not unpack as {packing} ({reason}); transfer it again")]
    Unpack {
        /// Name of the file.
        file: String,
        /// How it is compressed.
        packing: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A Parquet file that cannot be read.
    #[error(
        "{file} cannot be read as Parquet ({reason}); transfer it again, or write it with Snappy, zstd or no compression"
    )]
    Parquet {
        /// Name of the file.
        file: String,
        /// What the decoder said.
        reason: String,
    },
    /// The system cannot read it.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// An address that is none.
    #[error("the address of the database is no `postgres://user@host:port/database`: {reason}")]
    DatabaseAddress {
        /// What is wrong with it.
        reason: String,
    },
    /// A database that does not let us in.
    #[error("{database} cannot be read: {reason}")]
    Database {
        /// The database, without a password.
        database: String,
        /// What it, or the system, said.
        reason: String,
    },
    /// A query that cannot be answered.
    #[error("{database} does not answer the query: {reason}; correct what follows --query")]
    Query {
        /// The database, without a password.
        database: String,
        /// What it said.
        reason: String,
    },
    /// A file of which nothing could be used.
    #[error(
        "none of the {rows} rows of {file} could be used as {table} (row by row: {reasons}; the first, {counted_in} \
         {line}: {first}); say what is what with --column, --date-format or --encoding, or correct [{table}] in \
         mapping.toml"
    )]
    NothingUsable {
        /// Name of the file.
        file: String,
        /// Read as this.
        table: TableKind,
        /// Its rows.
        rows: u64,
        /// Reasons and how often each.
        reasons: String,
        /// What rows are counted in.
        counted_in: &'static str,
        /// Where the first was rejected.
        line: u64,
        /// And why.
        first: String,
    },
    /// It became another file while it was being read.
    #[error("{file} changed while it was being read; import it again when nothing writes to it")]
    Changed {
        /// Name of the file.
        file: String,
    },
    /// The first row holds values.
    #[error("the first row of {file} is no header (`{found}`); add column names, such as `{expected}`")]
    NoHeader {
        /// Name of the file.
        file: String,
        /// The first row.
        found: String,
        /// A header that would be understood.
        expected: &'static str,
    },
    /// No kind of table fits the header.
    #[error(
        "the columns of {file} (`{header}`) fit no table; say what it is, such as --table orders --column \
         order_id=NAME for each column that is not recognised, or name them as order lines do `{}`, totals `{}`, \
         products `{}`, a calendar `{}`, holidays `{}`, events `{}`, reviews `{}` or stock `{}`",
        TableKind::Orders.expected_header(),
        TableKind::Sales.expected_header(),
        TableKind::Products.expected_header(),
        TableKind::Calendar.expected_header(),
        TableKind::Holidays.expected_header(),
        TableKind::Events.expected_header(),
        TableKind::Reviews.expected_header(),
        TableKind::Stock.expected_header()
    )]
    UnknownTable {
        /// Name of the file.
        file: String,
        /// Its columns.
        header: String,
    },
    /// Columns without which the table says nothing.
    #[error(
        "{file} as {table}: no column for {}; its columns are `{header}`; name the right one with --column \
         {}=NAME, or with --constant {}=VALUE what every row has",
        missing.join(", "),
        missing.first().unwrap_or(&"field"),
        missing.first().unwrap_or(&"field")
    )]
    MissingColumns {
        /// Name of the file.
        file: String,
        /// Read as this.
        table: TableKind,
        /// What is missing.
        missing: Vec<&'static str>,
        /// Its columns.
        header: String,
    },
    /// The mapping does not fit.
    #[error("{file} as {table}: {source}")]
    Mapping {
        /// Name of the file.
        file: String,
        /// Read as this.
        table: TableKind,
        /// What is wrong with the mapping.
        #[source]
        source: MappingError,
    },
    /// Two tables that cannot be joined.
    #[error("{file} (`{header}`) and {other} (`{other_header}`) have no column in common to be joined by")]
    NothingInCommon {
        /// Name of the file.
        file: String,
        /// Its columns.
        header: String,
        /// Name of the other one.
        other: String,
        /// Its columns.
        other_header: String,
    },
    /// A table to be joined that does not say one thing.
    #[error("{file} has several rows of {by} `{value}`; only a table with one row of each can be joined")]
    SeveralRows {
        /// Name of the file.
        file: String,
        /// The column.
        by: String,
        /// Its value.
        value: String,
    },
    /// An encoding nobody knows.
    #[error("{file}: the encoding `{label}` is unknown; try `windows-1252` or `utf-8`")]
    UnknownEncoding {
        /// Name of the file.
        file: String,
        /// The name given.
        label: String,
    },
    /// Day and month cannot be told apart.
    #[error(
        "{file} as {table}: in column `{column}` dates such as `{example}` can be read day first or month first; say which \
         with --date-format {day_first} or --date-format {month_first}"
    )]
    AmbiguousDates {
        /// Name of the file.
        file: String,
        /// Read as this.
        table: TableKind,
        /// The column.
        column: String,
        /// A date from it.
        example: String,
        /// The format with the day first.
        day_first: &'static str,
        /// The format with the month first.
        month_first: &'static str,
    },
    /// No known way of writing dates.
    #[error(
        "{file} as {table}: the dates in column `{column}`, such as `{example}`, are written in no known way; say how with \
         --date-format, such as --date-format '%d. %B %Y'"
    )]
    UnknownDates {
        /// Name of the file.
        file: String,
        /// Read as this.
        table: TableKind,
        /// The column.
        column: String,
        /// A value from it.
        example: String,
    },
}
