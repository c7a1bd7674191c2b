//! For how long rows are kept: `retention.toml` in the data directory, written by the merchant.
//!
//! ```toml
//! orders = "36 months"
//! sales = "10 years"
//! ```
//!
//! A row is dropped when its day lies before today less the period: by every import, from what comes in and from what is
//! stored, and by `forecastle data expire`. Tables without days (products) cannot be named.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use jiff::{Span, civil::Date};
use serde::Serialize;

use super::{
    Importer, StoreError,
    erasures::today,
    file,
    rows::{self, StoredRows},
};
use crate::data::ingest::TableKind;

/// File of the periods, in the data directory.
const FILE: &str = "retention.toml";
/// Longest period in years; a longer one is a slip.
const YEARS_MAX: i64 = 200;

/// A period of calendar time, such as 36 months.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    count: i64,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Days,
    Weeks,
    Months,
    Years,
}

impl Unit {
    const ALL: [(Self, &'static str, i64); 4] =
        [(Self::Days, "day", 366), (Self::Weeks, "week", 53), (Self::Months, "month", 12), (Self::Years, "year", 1)];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(unit, ..)| *unit == self).map_or("", |(_, name, _)| name)
    }
}

impl Age {
    /// The first day that is kept on a day.
    pub fn kept_from(self, today: Date) -> Date {
        let span = match self.unit {
            Unit::Days => Span::new().try_days(self.count),
            Unit::Weeks => Span::new().try_weeks(self.count),
            Unit::Months => Span::new().try_months(self.count),
            Unit::Years => Span::new().try_years(self.count),
        };
        span.map_or(Date::MIN, |span| today.saturating_sub(span))
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no period; write a whole number of days, weeks, months or years, such as \"36 months\""
            )
        };
        let (count, unit) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
        let count: i64 = count.parse().map_err(|_| wrong())?;
        let unit = unit.trim().trim_end_matches('s').to_lowercase();
        let (unit, name, a_year) = Unit::ALL.into_iter().find(|(_, name, _)| *name == unit).ok_or_else(wrong)?;
        if count < 1 || count > YEARS_MAX * a_year {
            return Err(format!("`{text}` is out of range; write 1 {name} at least and {YEARS_MAX} years at most"));
        }
        Ok(Self { count, unit })
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.count, self.unit.name(), if self.count == 1 { "" } else { "s" })
    }
}

impl Serialize for Age {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The periods that are set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    periods: BTreeMap<TableKind, Age>,
}

impl Retention {
    /// The period of a table, where one is set.
    pub fn of(&self, kind: TableKind) -> Option<Age> {
        self.periods.get(&kind).copied()
    }

    /// Whether no period is set.
    pub fn is_empty(&self) -> bool {
        self.periods.is_empty()
    }

    fn read(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let Some(bytes) = file::read(&path)? else { return Ok(Self::default()) };
        Self::parse(&String::from_utf8_lossy(&bytes)).map_err(|reason| StoreError::Retention { path, reason })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        let mut periods = BTreeMap::new();
        for (name, value) in table {
            let dated = || {
                let names: Vec<_> =
                    TableKind::ALL.into_iter().filter(|kind| may_expire(*kind)).map(TableKind::name).collect();
                names.join(", ")
            };
            let kind = TableKind::ALL.into_iter().find(|kind| kind.name() == name);
            let kind = kind.ok_or_else(|| format!("there is no table `{name}`; tables with days are {}", dated()))?;
            if !may_expire(kind) {
                return Err(format!(
                    "rows of {name} are not dropped by age; tables for which a period can be set are {}",
                    dated()
                ));
            }
            let text = value.as_str().ok_or_else(|| {
                format!("the period of {name} is no text; write it in quotes, such as {name} = \"36 months\"")
            })?;
            periods.insert(kind, text.parse().map_err(|error: String| format!("{name}: {error}"))?);
        }
        Ok(Self { periods })
    }
}

/// Whether a table's rows can be too old to be kept. Holidays of the past are no data of the shop.
fn may_expire(kind: TableKind) -> bool {
    match kind {
        TableKind::Products | TableKind::Holidays | TableKind::Occasions | TableKind::Vectors => false,
        TableKind::Orders
        | TableKind::Sales
        | TableKind::Calendar
        | TableKind::Events
        | TableKind::Reviews
        | TableKind::Stock => true,
    }
}

/// What is too old, of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expired {
    /// The table.
    pub table: TableKind,
    /// Its period.
    pub period: Age,
    /// The first day that is kept.
    pub kept_from: String,
    /// Rows before that day.
    pub rows: u64,
}

impl Importer {
    /// The periods that are set.
    ///
    /// # Errors
    /// When `retention.toml` says something else.
    pub fn retention(&self) -> Result<Retention, StoreError> {
        Retention::read(&self.dir)
    }

    /// Where periods are set.
    pub fn retention_path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    /// The rows that are too old today; nothing is changed.
    ///
    /// # Errors
    /// When `retention.toml` or a table cannot be read.
    pub fn too_old(&self) -> Result<Vec<Expired>, StoreError> {
        self.each_period(|path, from| {
            let Some(stored) = StoredRows::open(&self.vault, path)? else { return Ok(0) };
            let mut count = 0;
            stored.each(|row| {
                count += u64::from(row.day().is_some_and(|day| day < from));
                Ok(())
            })?;
            Ok(count)
        })
    }

    /// Drops the rows that are too old today; each table is rewritten whole.
    ///
    /// # Errors
    /// When `retention.toml` or a table cannot be read or written; a table is as before or without them.
    pub fn expire(&self) -> Result<Vec<Expired>, StoreError> {
        let _lock = self.lock()?;
        let expired = self
            .each_period(|path, from| rows::remove(&self.vault, path, |row| row.day().is_some_and(|day| day < from)))?;
        self.remove_remains()?;
        Ok(expired)
    }

    /// The same of one table, while it is locked.
    pub(super) fn expire_table(&self, kind: TableKind, from: Date) -> Result<u64, StoreError> {
        rows::remove(&self.vault, &self.table_path(kind), |row| row.day().is_some_and(|day| day < from))
    }

    fn each_period(&self, rows: impl Fn(&Path, Date) -> Result<u64, StoreError>) -> Result<Vec<Expired>, StoreError> {
        let retention = self.retention()?;
        let of = |(table, period): (&TableKind, &Age)| {
            let from = period.kept_from(today());
            let rows = rows(&self.table_path(*table), from)?;
            Ok(Expired { table: *table, period: *period, kept_from: from.to_string(), rows })
        };
        retention.periods.iter().map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn periods_are_calendar_time() {
        let today = date(2024, 3, 31);
        for (text, from) in [
            ("1 day", date(2024, 3, 30)),
            ("2 weeks", date(2024, 3, 17)),
            ("1 month", date(2024, 2, 29)),
            (" 36  months ", date(2021, 3, 31)),
            ("10 Years", date(2014, 3, 31)),
        ] {
            assert_eq!(text.parse::<Age>().unwrap().kept_from(today), from, "{text}");
        }
        assert_eq!("36 months".parse::<Age>().unwrap().to_string(), "36 months");
    }

    #[test]
    fn anything_else_is_refused_with_what_to_write() {
        for text in [
            "",
            "36",
            "months",
            "36months",
            "-1 months",
            "0 days",
            "1.5 years",
            "3 moons",
            "201 years",
            "99999999 days",
        ] {
            let error = text.parse::<Age>().unwrap_err();
            assert!(error.contains(&format!("`{text}`")) && error.contains("write"), "{error}");
        }
        for (text, expected) in [
            ("orders = 36", "orders = \"36 months\""),
            ("order = \"1 year\"", "no table `order`; tables with days are orders, sales, calendar"),
            ("products = \"1 year\"", "products are not dropped by age"),
            ("orders = \"soon\"", "orders: `soon` is no period"),
            ("orders", "expected"),
        ] {
            let error = Retention::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(Retention::parse("").unwrap().is_empty());
    }
}
