//! What a merchant's tables say, one type a row.
//!
//! Invariant: nothing here identifies a customer to anyone without the merchant's key; the raw customer id ends
//! at the import (see [`super::pseudonym`]). Times are civil: the wall clock the merchant wrote.

use std::{collections::BTreeMap, fmt, sync::Arc};

use jiff::{
    Span,
    civil::{Date, DateTime, Weekday},
};

/// Keyed pseudonym of a customer: the first 128 bits of HMAC-SHA-256 over the raw id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CustomerPseudonym(pub [u8; 16]);

impl fmt::Display for CustomerPseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for CustomerPseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerPseudonym({self})")
    }
}

impl CustomerPseudonym {
    /// Reads the 32 hexadecimal digits that `Display` writes.
    pub fn from_hex(text: &str) -> Option<Self> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// What became of an order line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LineStatus {
    /// Sold and kept, as far as the merchant knows.
    Sold,
    /// Sent back.
    Returned,
    /// Called off before it was delivered.
    Cancelled,
}

/// One line of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderLine {
    /// The merchant's order number.
    pub order: String,
    /// Number of the line within its order, where the merchant keeps one.
    pub line: Option<String>,
    /// Whose order; `None` is a sale without a customer account.
    pub customer: Option<CustomerPseudonym>,
    /// Product identity, as in the catalogue.
    pub product: String,
    /// When it was ordered.
    pub at: DateTime,
    /// Units, finite and not 0; negative for goods that come back.
    pub quantity: f64,
    /// Price of one unit in the merchant's currency, finite and ≥ 0.
    pub unit_price: Option<f64>,
    /// Share of the price that was taken off, 0 to 1.
    pub discount: f64,
    /// Sold, returned or cancelled.
    pub status: LineStatus,
    /// Sales channel, in the merchant's words.
    pub channel: Option<String>,
}

/// Product information, authored by the merchant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Product {
    /// Identity, as in order lines.
    pub id: String,
    /// Name shown to customers; empty where unknown.
    pub title: String,
    /// Category; empty where unknown.
    pub category: String,
    /// Description; empty where unknown.
    pub description: String,
    /// Price without promotion, > 0.
    pub list_price: Option<f64>,
    /// First day on which it could be bought.
    pub listed_on: Option<Date>,
    /// Any further fixed property, name and value.
    pub attributes: Vec<(String, String)>,
}

/// What the merchant set, or plans, for one product on one day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProductDay {
    /// Price of one unit, > 0.
    pub price: Option<f64>,
    /// A promotion runs.
    pub promotion: bool,
    /// What kind of promotion, in the merchant's words.
    pub promotion_type: Option<Arc<str>>,
    /// A coupon is out.
    pub coupon: bool,
    /// Whether it can be bought; `None` where the merchant did not say.
    pub in_stock: Option<bool>,
    /// Price of the same thing elsewhere, > 0.
    pub competitor_price: Option<f64>,
    /// Money spent on marking down, ≥ 0, in the merchant's currency.
    pub markdown: Option<f64>,
}

/// Everything the merchant authors, and public holidays: the inputs that no customer influences.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// Products by identity.
    pub products: BTreeMap<String, Product>,
    /// Prices, promotions and stock by product and day, past and planned.
    pub calendar: BTreeMap<String, BTreeMap<Date, ProductDay>>,
    /// Holidays by day, with their names.
    pub holidays: BTreeMap<Date, String>,
}

/// One step of a series from a merchant who has totals only (visitors a day, turnover a week).
#[derive(Clone, Debug, PartialEq)]
pub struct SalesRow {
    /// Series identity.
    pub series: String,
    /// Day, or any day of the week for weekly totals.
    pub date: Date,
    /// The total, finite; may be negative (turnover less returns).
    pub value: f64,
}

/// A span of days, both ends included. Chosen by people, never derived from customers' data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    start: Date,
    end: Date,
}

impl Period {
    /// `None` when the end lies before the start.
    pub fn new(start: Date, end: Date) -> Option<Self> {
        (start <= end).then_some(Self { start, end })
    }

    /// First day.
    pub fn start(self) -> Date {
        self.start
    }

    /// Last day.
    pub fn end(self) -> Date {
        self.end
    }

    /// Whether the day lies inside.
    pub fn contains(self, day: Date) -> bool {
        self.start <= day && day <= self.end
    }

    /// Number of days, at least 1.
    pub fn days(self) -> i64 {
        days_between(self.start, self.end) + 1
    }
}

/// Days from `a` to `b`, negative when `b` is earlier.
pub fn days_between(a: Date, b: Date) -> i64 {
    day_number(b) - day_number(a)
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (Howard Hinnant, `days_from_civil`).
pub fn day_number(date: Date) -> i64 {
    let month = i64::from(date.month());
    let year = i64::from(date.year()) - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = (month + 9) % 12;
    let day_of_year = (153 * shifted_month + 2) / 5 + i64::from(date.day()) - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The day `days` later; dates saturate at the ends of the calendar (years −9999 and 9999).
pub fn plus_days(date: Date, days: i64) -> Date {
    Span::new().try_days(days).map_or(Date::MAX, |span| date.saturating_add(span))
}

/// The Monday of that day's week.
pub fn monday_of(date: Date) -> Date {
    plus_days(date, -i64::from(date.weekday().since(Weekday::Monday)))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn day_numbers_count_days_across_leap_years_and_the_epoch() {
        assert_eq!(day_number(date(1970, 1, 1)), 0);
        assert_eq!(day_number(date(1969, 12, 31)), -1);
        assert_eq!(day_number(date(2000, 3, 1)), 11_017);
        let mut day = date(1896, 2, 27);
        for expected in day_number(day)..day_number(day) + 4_000 {
            assert_eq!(day_number(day), expected);
            day = plus_days(day, 1);
        }
    }

    #[test]
    fn a_week_begins_on_monday() {
        assert_eq!(monday_of(date(2024, 1, 7)), date(2024, 1, 1));
        assert_eq!(monday_of(date(2024, 1, 8)), date(2024, 1, 8));
    }

    #[test]
    fn a_period_that_ends_before_it_starts_is_refused() {
        assert!(Period::new(date(2024, 1, 2), date(2024, 1, 1)).is_none());
        let period = Period::new(date(2024, 1, 1), date(2024, 1, 31)).unwrap();
        assert_eq!(period.days(), 31);
        assert!(period.contains(date(2024, 1, 31)) && !period.contains(date(2024, 2, 1)));
    }

    #[test]
    fn a_pseudonym_survives_its_text_form() {
        let pseudonym = CustomerPseudonym(std::array::from_fn(|i| i as u8 * 17));
        assert_eq!(CustomerPseudonym::from_hex(&pseudonym.to_string()), Some(pseudonym));
        assert_eq!(CustomerPseudonym::from_hex("abc"), None);
    }
}
