//! Which column of a file means what: guessed once, kept in `mapping.toml`, edited by the merchant.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{
    TableKind,
    clock::Clock,
    fields::{fields, required},
    objects::lists,
    table::{Table, TableFormat},
    value::{ISO, UNIX, UNIX_MS},
};

/// How a discount column is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiscountUnit {
    /// 0.2 is a fifth of the price.
    #[default]
    Fraction,
    /// 20 is a fifth of the price.
    Percent,
}

/// How one kind of table is written and which column is which.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct TableMapping {
    /// Field delimiter; found out where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Encoding, such as `windows-1252`; UTF-8 where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<String>,
    /// Numbers are written 1.234,56.
    pub decimal_comma: bool,
    /// Ways in which days are written: `iso` (2024-01-31) or strptime formats such as `%d.%m.%Y`, after any of which a
    /// time of day may follow; `unix` and `unix-ms` count from 1970 in UTC.
    pub date_formats: Vec<String>,
    /// Time zone of the shop, such as `Europe/Berlin`: times with a zone, an offset or counted from 1970 are turned into its
    /// clock. Where absent, a time is taken as it is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Time zone in which times without a zone or offset are written, where it is not the shop's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written_in_zone: Option<String>,
    /// Orders: how the discount column is written.
    pub discount_unit: DiscountUnit,
    /// Orders: values of the status column that mean "returned", compared without case.
    pub returned_values: Vec<String>,
    /// Orders: values of the status column that mean "cancelled", compared without case.
    pub cancelled_values: Vec<String>,
    /// Orders: beginnings of an order number that mark a return or a cancellation, such as `C`.
    pub return_order_prefixes: Vec<String>,
    /// Orders: values of the event column that are orders, compared without case. Where none is named, every row is one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub order_events: Vec<String>,
    /// Orders: values of the event column that are goods coming back.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub return_events: Vec<String>,
    /// Events: values of the event column that are views, compared without case. Where none is named for any kind, the usual
    /// names are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub view_events: Vec<String>,
    /// Events: values that are things put into a cart.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cart_events: Vec<String>,
    /// Events: values that are things put on a wish-list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wish_events: Vec<String>,
    /// Events: values that are things found by searching.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search_events: Vec<String>,
    /// Reviews: the best score there is; the worst is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_max: Option<f64>,
    /// Queries: the column that only grows (a number, a time of change), from whose last value the next import goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// Field to column name.
    pub columns: BTreeMap<String, String>,
    /// Field to a value that every row has.
    pub constants: BTreeMap<String, String>,
    /// Products: columns kept as attributes under their own names. Vectors: the columns that hold its numbers, in order.
    pub attributes: Vec<String>,
}

impl Default for TableMapping {
    fn default() -> Self {
        Self {
            delimiter: None,
            encoding: None,
            decimal_comma: false,
            date_formats: vec![ISO.to_owned()],
            time_zone: None,
            written_in_zone: None,
            discount_unit: DiscountUnit::Fraction,
            returned_values: ["returned", "return", "refunded", "refund"].map(str::to_owned).to_vec(),
            cancelled_values: ["cancelled", "canceled", "unavailable", "void"].map(str::to_owned).to_vec(),
            return_order_prefixes: Vec::new(),
            order_events: Vec::new(),
            return_events: Vec::new(),
            view_events: Vec::new(),
            cart_events: Vec::new(),
            wish_events: Vec::new(),
            search_events: Vec::new(),
            score_max: None,
            cursor: None,
            columns: BTreeMap::new(),
            constants: BTreeMap::new(),
            attributes: Vec::new(),
        }
    }
}

/// Why a mapping cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MappingError {
    /// A field that this kind of table does not have.
    #[error("the mapping names the field `{field}`, which {table} do not have; the fields are {known}")]
    UnknownField {
        /// The kind of table.
        table: TableKind,
        /// The field named.
        field: String,
        /// The fields there are.
        known: String,
    },
    /// A column that the file does not have.
    #[error("the mapping takes `{field}` from the column `{column}`, which the file does not have (`{header}`)")]
    UnknownColumn {
        /// The field.
        field: String,
        /// The column named.
        column: String,
        /// The file's columns.
        header: String,
    },
    /// A column to go on from that the answer to a query does not have.
    #[error("the mapping's cursor is the column `{column}`, which the query does not answer with (`{header}`)")]
    UnknownCursor {
        /// The column named.
        column: String,
        /// The answer's columns.
        header: String,
    },
    /// A field without which the table says nothing.
    #[error("the mapping has no column for `{field}`, nor a constant")]
    MissingField {
        /// The field.
        field: &'static str,
    },
    /// Columns of two lists, of which no rows can be made.
    #[error(
        "the mapping takes columns from two lists of one object, `{one}` and `{other}`; rows are made of one list only, \
         so keep the columns of one"
    )]
    TwoLists {
        /// A column of one list.
        one: String,
        /// A column of the other.
        other: String,
    },
    /// Events are chosen, but no column says what an event is.
    #[error("the mapping names kinds of events, but no column for `event`")]
    NoEventColumn,
    /// A date format that cannot be used.
    #[error(
        "the mapping's date format `{format}` is none; write `iso`, `unix`, `unix-ms` or strptime fields such as \
         `%d.%m.%Y`"
    )]
    DateFormat {
        /// The format.
        format: String,
    },
    /// A time zone that nobody knows.
    #[error(
        "the mapping's time zone `{zone}` is none; write one of the IANA database, such as `Europe/Berlin` or `UTC`"
    )]
    TimeZone {
        /// The zone.
        zone: String,
    },
    /// Times of another zone, and no zone to turn them into.
    #[error("the mapping says in which zone times are written, but not the shop's own: add time-zone = \"…\"")]
    NoTimeZone,
    /// Not the TOML expected.
    #[error("mapping.toml: {reason}")]
    Toml {
        /// What the parser said.
        reason: String,
    },
}

impl MappingError {
    /// Whether it would be wrong for any file: then no guess can be what was meant.
    pub fn is_of_the_mapping_alone(&self) -> bool {
        !matches!(self, Self::UnknownColumn { .. })
    }
}

impl TableMapping {
    /// How the table is written, as far as the mapping says.
    pub fn format(&self) -> TableFormat {
        TableFormat { delimiter: self.delimiter, encoding: self.encoding.clone() }
    }

    /// How a table is written, in words: what an import shows beside the columns.
    pub(super) fn written(&self, kind: TableKind, table: &Table) -> BTreeMap<&'static str, String> {
        let mut written = BTreeMap::new();
        if ["ordered_at", "date", "at", "listed_on"].iter().any(|field| self.columns.contains_key(*field)) {
            written.insert("dates", self.date_formats.join(" or "));
        }
        if let Some(zone) = &self.time_zone {
            let unmarked = self.written_in_zone.as_ref();
            let unmarked = unmarked.map_or_else(String::new, |zone| format!(", from {zone} where none is written"));
            written.insert("times turned into", format!("{zone}{unmarked}"));
        }
        if self.decimal_comma {
            written.insert("numbers", "1.234,56".to_owned());
        }
        if kind == TableKind::Orders && self.columns.contains_key("discount") {
            let unit = if self.discount_unit == DiscountUnit::Percent { "in percent" } else { "as fractions" };
            written.insert("discounts", unit.to_owned());
        }
        let joined: Vec<String> = table.joined().map(|(name, by)| format!("{name} by {by}")).collect();
        if !joined.is_empty() {
            written.insert("further columns from", joined.join(", "));
        }
        if let Some(encoding) = table.encoding() {
            written.insert("encoding", encoding.to_owned());
        }
        written
    }

    /// Checks that every field is one of the kind's, every column is in the file, and nothing required is missing. An
    /// event log need not have columns that are not required.
    pub fn check(&self, kind: TableKind, table: &Table) -> Result<(), MappingError> {
        for field in self.columns.keys().chain(self.constants.keys()) {
            if !fields(kind).any(|known| known == field) {
                let known = fields(kind).collect::<Vec<_>>().join(", ");
                return Err(MappingError::UnknownField { table: kind, field: field.clone(), known });
            }
        }
        let attributes = self.attributes.iter().map(|column| (column, column));
        for (field, column) in self.columns.iter().chain(attributes) {
            let may_be_absent = table.has_optional_fields() && !required(kind).any(|required| required == field);
            if table.column(column).is_none() && !may_be_absent {
                return Err(MappingError::UnknownColumn {
                    field: field.clone(),
                    column: column.clone(),
                    header: table.header_shown(),
                });
            }
        }
        let cursor = self.cursor.as_ref().filter(|_| table.query().is_some());
        if let Some(column) = cursor.filter(|column| table.column(column).is_none()) {
            return Err(MappingError::UnknownCursor { column: column.clone(), header: table.header_shown() });
        }
        let mut lists = lists(self.columns.values()).into_values();
        if let (Some(one), Some(other)) = (lists.next(), lists.next()) {
            return Err(MappingError::TwoLists { one: one.to_owned(), other: other.to_owned() });
        }
        let chosen = [&self.order_events, &self.return_events, &self.view_events, &self.cart_events];
        let chosen = chosen.into_iter().chain([&self.wish_events, &self.search_events]);
        let chooses_events = chosen.into_iter().any(|events| !events.is_empty());
        if chooses_events && !self.columns.contains_key("event") {
            return Err(MappingError::NoEventColumn);
        }
        for field in required(kind) {
            if !self.columns.contains_key(field) && !self.constants.contains_key(field) {
                return Err(MappingError::MissingField { field });
            }
        }
        for format in &self.date_formats {
            let is_format = [ISO, UNIX, UNIX_MS].contains(&format.as_str())
                || ["%d", "%e", "%j"].iter().any(|day| format.contains(day));
            if !is_format {
                return Err(MappingError::DateFormat { format: format.clone() });
            }
        }
        self.clock().map(|_| ())
    }

    /// The shop's clock, where times are to be turned into it.
    pub(super) fn clock(&self) -> Result<Option<Clock>, MappingError> {
        match (&self.time_zone, &self.written_in_zone) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(MappingError::NoTimeZone),
            (Some(shop), unmarked) => {
                let clock = Clock::new(shop, unmarked.as_deref());
                clock.map(Some).map_err(|zone| MappingError::TimeZone { zone })
            }
        }
    }
}

/// The mappings of all kinds of tables that a merchant has brought.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mapping {
    /// Order lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orders: Option<TableMapping>,
    /// Products.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub products: Option<TableMapping>,
    /// Prices, promotions and stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calendar: Option<TableMapping>,
    /// Holidays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holidays: Option<TableMapping>,
    /// Totals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sales: Option<TableMapping>,
    /// Events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<TableMapping>,
    /// Reviews.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviews: Option<TableMapping>,
    /// Stock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stock: Option<TableMapping>,
    /// The merchant's own events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occasions: Option<TableMapping>,
    /// Vectors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<TableMapping>,
}

impl Mapping {
    /// Reads `mapping.toml`.
    pub fn from_toml(text: &str) -> Result<Self, MappingError> {
        toml::from_str(text).map_err(|error| MappingError::Toml { reason: error.to_string() })
    }

    /// Text of `mapping.toml`, with a line that says what it is for.
    pub fn to_toml(&self) -> Result<String, MappingError> {
        let text = toml::to_string_pretty(self).map_err(|error| MappingError::Toml { reason: error.to_string() })?;
        Ok(format!(
            "# Which column of an imported file means what. Edit it when a guess is wrong; the next import uses it.\n\
             # A file without the columns of a section is guessed, which the import says; delete a section to have it \
             guessed anew.\n# After a change import the files once more with --anew, as lines read otherwise would count \
             twice.\n\n\
             {text}"
        ))
    }

    /// Mapping of one kind of table.
    pub fn table(&self, kind: TableKind) -> Option<&TableMapping> {
        match kind {
            TableKind::Orders => self.orders.as_ref(),
            TableKind::Products => self.products.as_ref(),
            TableKind::Calendar => self.calendar.as_ref(),
            TableKind::Holidays => self.holidays.as_ref(),
            TableKind::Sales => self.sales.as_ref(),
            TableKind::Events => self.events.as_ref(),
            TableKind::Reviews => self.reviews.as_ref(),
            TableKind::Stock => self.stock.as_ref(),
            TableKind::Occasions => self.occasions.as_ref(),
            TableKind::Vectors => self.vectors.as_ref(),
        }
    }

    /// Place of one kind of table.
    pub fn table_mut(&mut self, kind: TableKind) -> &mut Option<TableMapping> {
        match kind {
            TableKind::Orders => &mut self.orders,
            TableKind::Products => &mut self.products,
            TableKind::Calendar => &mut self.calendar,
            TableKind::Holidays => &mut self.holidays,
            TableKind::Sales => &mut self.sales,
            TableKind::Events => &mut self.events,
            TableKind::Reviews => &mut self.reviews,
            TableKind::Stock => &mut self.stock,
            TableKind::Occasions => &mut self.occasions,
            TableKind::Vectors => &mut self.vectors,
        }
    }
}
