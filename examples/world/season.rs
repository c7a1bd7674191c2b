//! The marketplace's calendar: holidays that everybody keeps, and pay days.

use std::collections::BTreeMap;

use forecastle_client::data::order::plus_days;
use jiff::civil::{Date, Weekday, date};

/// Holidays from the year of `first` to the year of `last`, by day.
pub(super) fn holidays(first: Date, last: Date) -> BTreeMap<Date, &'static str> {
    let mut days = BTreeMap::new();
    for year in first.year()..=last.year() {
        let easter = easter(year);
        for (day, name) in [
            (date(year, 1, 1), "New Year's Day"),
            (date(year, 2, 14), "Valentine's Day"),
            (plus_days(easter, -2), "Good Friday"),
            (plus_days(easter, 1), "Easter Monday"),
            (date(year, 5, 1), "Labour Day"),
            (nth(date(year, 5, 1), Weekday::Sunday, 2), "Mother's Day"),
            (nth(date(year, 7, 1), Weekday::Saturday, 2), "Harbour Fair"),
            (date(year, 7, 21), "National Day"),
            (date(year, 8, 15), "Assumption Day"),
            (date(year, 11, 1), "All Saints' Day"),
            (nth(date(year, 11, 1), Weekday::Friday, 4), "Black Friday"),
            (date(year, 12, 25), "Christmas Day"),
            (date(year, 12, 26), "Second Christmas Day"),
        ] {
            if first <= day && day <= last {
                days.insert(day, name);
            }
        }
    }
    days
}

/// Whether wages have just come: the 25th to the 27th.
pub(super) fn is_payday(day: Date) -> bool {
    (25..=27).contains(&day.day())
}

/// The `count`-th such weekday on or after a day.
fn nth(from: Date, weekday: Weekday, count: i64) -> Date {
    let wait = i64::from(from.weekday().until(weekday));
    plus_days(from, wait + 7 * (count - 1))
}

/// Easter Sunday of the Gregorian calendar (the anonymous algorithm, Meeus, *Astronomical Algorithms*, ch. 8).
fn easter(year: i16) -> Date {
    let y = i32::from(year);
    let (a, b, c) = (y % 19, y / 100, y % 100);
    let (d, e) = (b / 4, b % 4);
    let g = (b - (b + 8) / 25 + 1) / 3;
    let h = (19 * a + b - d - g + 15) % 30;
    let (i, k) = (c / 4, c % 4);
    let l = (32 + 2 * e + 2 * i - h - k) % 7;
    let m = (a + 11 * h + 22 * l) / 451;
    let sum = h + l - 7 * m + 114;
    plus_days(date(year, 3, 1), i64::from(if sum / 31 == 4 { 31 } else { 0 } + sum % 31))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn movable_feasts_fall_where_the_almanac_says() {
        assert_eq!(easter(2024), date(2024, 3, 31));
        assert_eq!(easter(2025), date(2025, 4, 20));
        assert_eq!(easter(2038), date(2038, 4, 25));
        let days = holidays(date(2024, 1, 1), date(2025, 12, 31));
        assert_eq!(days[&date(2024, 11, 22)], "Black Friday");
        assert_eq!(days[&date(2025, 5, 11)], "Mother's Day");
        assert_eq!(days[&date(2025, 7, 12)], "Harbour Fair");
        assert_eq!(days.len(), 26);
    }
}
