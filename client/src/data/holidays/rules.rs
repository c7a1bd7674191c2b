//! The rules, country by country: what the laws on public holidays say of the whole country.
//!
//! The days of 2015 to 2026 were compared with an independent collection of the same laws. It has, beyond these, days set for
//! one year (funerals, jubilees, elections), Sundays that are none by law, eves, and days on which only some are off.

use jiff::civil::{Date, Weekday};

use self::{
    Weekday::{Monday, Saturday, Thursday},
    When::{Brigid, Easter, From, Last, Nth, On, OnOrBeforeSunday},
};
use crate::data::order::plus_days;

/// When a holiday is.
#[derive(Clone, Copy)]
enum When {
    /// On a date.
    On(i8, i8),
    /// On a date, or the day before where it is a Sunday.
    OnOrBeforeSunday(i8, i8),
    /// So many days after Easter Sunday.
    Easter(i64),
    /// The n-th such weekday of a month.
    Nth(i8, Weekday, i8),
    /// The last such weekday of a month.
    Last(i8, Weekday),
    /// The first such weekday on or after a date.
    From(i8, i8, Weekday),
    /// The first Monday of February, or its first day where that is a Friday.
    Brigid,
}

/// A holiday and the years in which it is one.
pub(super) struct Rule {
    pub name: &'static str,
    when: When,
    since: i16,
    until: i16,
}

impl Rule {
    /// Its day in a year; `None` where it is none, or the year is none of the calendar.
    pub fn day(&self, year: i16) -> Option<Date> {
        let day = |month, day| Date::new(year, month, day).ok();
        if !(self.since..=self.until).contains(&year) {
            return None;
        }
        match self.when {
            On(month, of) => day(month, of),
            OnOrBeforeSunday(month, of) => {
                let on = day(month, of)?;
                Some(if on.weekday() == Weekday::Sunday { plus_days(on, -1) } else { on })
            }
            Easter(days) => Some(plus_days(easter(year), days)),
            Nth(month, weekday, n) => day(month, 1)?.nth_weekday_of_month(n, weekday).ok(),
            Last(month, weekday) => day(month, 1)?.nth_weekday_of_month(-1, weekday).ok(),
            From(month, of, weekday) => {
                let from = day(month, of)?;
                Some(plus_days(from, i64::from(weekday.since(from.weekday()))))
            }
            Brigid => {
                let first = day(2, 1)?;
                let is_friday = first.weekday() == Weekday::Friday;
                Some(plus_days(first, if is_friday { 0 } else { i64::from(Monday.since(first.weekday())) }))
            }
        }
    }
}

/// Easter Sunday of the Gregorian calendar (Meeus, "Astronomical Algorithms", chapter 8).
pub(super) fn easter(year: i16) -> Date {
    let (golden, century) = (i64::from(year % 19), i64::from(year / 100));
    let correction = (century - century / 4 - (8 * century + 13) / 25 + 19 * golden + 15) % 30;
    // The two exceptions keep the full moon before the 19th of April.
    let moon = correction - i64::from(correction == 29) - i64::from(correction == 28 && golden > 10);
    let full_moon = plus_days(Date::new(year, 3, 21).unwrap_or(Date::MAX), moon);
    let to_sunday = i64::from(Weekday::Sunday.since(full_moon.weekday()));
    plus_days(full_moon, if to_sunday == 0 { 7 } else { to_sunday })
}

const fn rule(name: &'static str, when: When) -> Rule {
    Rule { name, when, since: 1900, until: 9999 }
}

const fn since(year: i16, name: &'static str, when: When) -> Rule {
    Rule { name, when, since: year, until: 9999 }
}

const fn within(from: i16, to: i16, name: &'static str, when: When) -> Rule {
    Rule { name, when, since: from, until: to }
}

const NEW_YEAR: Rule = rule("New Year's Day", On(1, 1));
const EPIPHANY: Rule = rule("Epiphany", On(1, 6));
const MAUNDY_THURSDAY: Rule = rule("Maundy Thursday", Easter(-3));
const GOOD_FRIDAY: Rule = rule("Good Friday", Easter(-2));
const EASTER: Rule = rule("Easter Sunday", Easter(0));
const EASTER_MONDAY: Rule = rule("Easter Monday", Easter(1));
const LABOUR: Rule = rule("Labour Day", On(5, 1));
const ASCENSION: Rule = rule("Ascension Day", Easter(39));
const WHIT_SUNDAY: Rule = rule("Whit Sunday", Easter(49));
const WHIT_MONDAY: Rule = rule("Whit Monday", Easter(50));
const CORPUS_CHRISTI: Rule = rule("Corpus Christi", Easter(60));
const ASSUMPTION: Rule = rule("Assumption Day", On(8, 15));
const ALL_SAINTS: Rule = rule("All Saints' Day", On(11, 1));
const ALL_SAINTS_SATURDAY: Rule = rule("All Saints' Day", From(10, 31, Saturday));
const IMMACULATE_CONCEPTION: Rule = rule("Immaculate Conception", On(12, 8));
const CHRISTMAS: Rule = rule("Christmas Day", On(12, 25));
const SECOND_CHRISTMAS: Rule = rule("Second Day of Christmas", On(12, 26));
const MIDSUMMER: Rule = rule("Midsummer Day", From(6, 20, Saturday));

/// Codes and rules.
pub(super) const COUNTRIES: &[(&str, &[Rule])] = &[
    (
        "AT",
        &[
            NEW_YEAR,
            EPIPHANY,
            EASTER_MONDAY,
            LABOUR,
            ASCENSION,
            WHIT_MONDAY,
            CORPUS_CHRISTI,
            ASSUMPTION,
            rule("National Day", On(10, 26)),
            ALL_SAINTS,
            IMMACULATE_CONCEPTION,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "AU",
        &[
            NEW_YEAR,
            rule("Australia Day", On(1, 26)),
            GOOD_FRIDAY,
            EASTER_MONDAY,
            rule("Anzac Day", On(4, 25)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "BE",
        &[
            NEW_YEAR,
            EASTER_MONDAY,
            LABOUR,
            ASCENSION,
            WHIT_MONDAY,
            rule("National Day", On(7, 21)),
            ASSUMPTION,
            ALL_SAINTS,
            rule("Armistice Day", On(11, 11)),
            CHRISTMAS,
        ],
    ),
    (
        "BR",
        &[
            NEW_YEAR,
            GOOD_FRIDAY,
            rule("Tiradentes Day", On(4, 21)),
            LABOUR,
            rule("Independence Day", On(9, 7)),
            rule("Our Lady of Aparecida", On(10, 12)),
            rule("All Souls' Day", On(11, 2)),
            rule("Republic Day", On(11, 15)),
            since(2024, "Black Awareness Day", On(11, 20)),
            CHRISTMAS,
        ],
    ),
    ("CA", &[NEW_YEAR, GOOD_FRIDAY, rule("Canada Day", On(7, 1)), rule("Labour Day", Nth(9, Monday, 1)), CHRISTMAS]),
    ("CH", &[NEW_YEAR, ASCENSION, rule("National Day", On(8, 1)), CHRISTMAS]),
    (
        "CZ",
        &[
            NEW_YEAR,
            since(2016, "Good Friday", Easter(-2)),
            EASTER_MONDAY,
            LABOUR,
            rule("Victory Day", On(5, 8)),
            rule("Saints Cyril and Methodius Day", On(7, 5)),
            rule("Jan Hus Day", On(7, 6)),
            rule("Statehood Day", On(9, 28)),
            rule("Independence Day", On(10, 28)),
            rule("Freedom and Democracy Day", On(11, 17)),
            rule("Christmas Eve", On(12, 24)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "DE",
        &[
            NEW_YEAR,
            GOOD_FRIDAY,
            EASTER_MONDAY,
            LABOUR,
            ASCENSION,
            WHIT_MONDAY,
            since(1990, "Unity Day", On(10, 3)),
            within(2017, 2017, "Reformation Day", On(10, 31)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "DK",
        &[
            NEW_YEAR,
            MAUNDY_THURSDAY,
            GOOD_FRIDAY,
            EASTER,
            EASTER_MONDAY,
            within(1900, 2023, "Great Prayer Day", Easter(26)),
            ASCENSION,
            WHIT_SUNDAY,
            WHIT_MONDAY,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "EE",
        &[
            NEW_YEAR,
            rule("Independence Day", On(2, 24)),
            GOOD_FRIDAY,
            EASTER,
            rule("Spring Day", On(5, 1)),
            WHIT_SUNDAY,
            rule("Victory Day", On(6, 23)),
            rule("Midsummer Day", On(6, 24)),
            rule("Independence Restoration Day", On(8, 20)),
            rule("Christmas Eve", On(12, 24)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "ES",
        &[
            NEW_YEAR,
            EPIPHANY,
            GOOD_FRIDAY,
            LABOUR,
            ASSUMPTION,
            rule("National Day", On(10, 12)),
            ALL_SAINTS,
            rule("Constitution Day", On(12, 6)),
            IMMACULATE_CONCEPTION,
            CHRISTMAS,
        ],
    ),
    (
        "FI",
        &[
            NEW_YEAR,
            EPIPHANY,
            GOOD_FRIDAY,
            EASTER,
            EASTER_MONDAY,
            rule("May Day", On(5, 1)),
            ASCENSION,
            WHIT_SUNDAY,
            MIDSUMMER,
            ALL_SAINTS_SATURDAY,
            rule("Independence Day", On(12, 6)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "FR",
        &[
            NEW_YEAR,
            EASTER_MONDAY,
            LABOUR,
            rule("Victory Day", On(5, 8)),
            ASCENSION,
            WHIT_MONDAY,
            rule("National Day", On(7, 14)),
            ASSUMPTION,
            ALL_SAINTS,
            rule("Armistice Day", On(11, 11)),
            CHRISTMAS,
        ],
    ),
    (
        // England and Wales.
        "GB",
        &[
            NEW_YEAR,
            GOOD_FRIDAY,
            EASTER_MONDAY,
            within(1978, 2019, "Early May Bank Holiday", Nth(5, Monday, 1)),
            within(2020, 2020, "Early May Bank Holiday", On(5, 8)),
            since(2021, "Early May Bank Holiday", Nth(5, Monday, 1)),
            within(1971, 2021, "Spring Bank Holiday", Last(5, Monday)),
            within(2022, 2022, "Spring Bank Holiday", On(6, 2)),
            since(2023, "Spring Bank Holiday", Last(5, Monday)),
            rule("Late Summer Bank Holiday", Last(8, Monday)),
            CHRISTMAS,
            rule("Boxing Day", On(12, 26)),
        ],
    ),
    (
        "HR",
        &[
            NEW_YEAR,
            EPIPHANY,
            EASTER,
            EASTER_MONDAY,
            LABOUR,
            within(2002, 2019, "Statehood Day", On(6, 25)),
            since(2020, "Statehood Day", On(5, 30)),
            CORPUS_CHRISTI,
            rule("Anti-Fascist Struggle Day", On(6, 22)),
            rule("Victory Day", On(8, 5)),
            ASSUMPTION,
            within(2002, 2019, "Independence Day", On(10, 8)),
            ALL_SAINTS,
            since(2020, "Remembrance Day", On(11, 18)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "HU",
        &[
            NEW_YEAR,
            rule("1848 Revolution Day", On(3, 15)),
            since(2017, "Good Friday", Easter(-2)),
            EASTER,
            EASTER_MONDAY,
            LABOUR,
            WHIT_SUNDAY,
            WHIT_MONDAY,
            rule("State Foundation Day", On(8, 20)),
            rule("1956 Revolution Day", On(10, 23)),
            ALL_SAINTS,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "IE",
        &[
            NEW_YEAR,
            since(2023, "Saint Brigid's Day", Brigid),
            rule("Saint Patrick's Day", On(3, 17)),
            EASTER_MONDAY,
            rule("May Day", Nth(5, Monday, 1)),
            rule("June Bank Holiday", Nth(6, Monday, 1)),
            rule("August Bank Holiday", Nth(8, Monday, 1)),
            rule("October Bank Holiday", Last(10, Monday)),
            CHRISTMAS,
            rule("Saint Stephen's Day", On(12, 26)),
        ],
    ),
    (
        "IT",
        &[
            NEW_YEAR,
            EPIPHANY,
            EASTER,
            EASTER_MONDAY,
            rule("Liberation Day", On(4, 25)),
            LABOUR,
            rule("Republic Day", On(6, 2)),
            ASSUMPTION,
            since(2026, "Saint Francis' Day", On(10, 4)),
            ALL_SAINTS,
            IMMACULATE_CONCEPTION,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "LU",
        &[
            NEW_YEAR,
            EASTER_MONDAY,
            LABOUR,
            since(2019, "Europe Day", On(5, 9)),
            ASCENSION,
            WHIT_MONDAY,
            rule("National Day", On(6, 23)),
            ASSUMPTION,
            ALL_SAINTS,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "MX",
        &[
            NEW_YEAR,
            since(2006, "Constitution Day", Nth(2, Monday, 1)),
            since(2007, "Benito Juárez's Birthday", Nth(3, Monday, 3)),
            LABOUR,
            rule("Independence Day", On(9, 16)),
            since(2006, "Revolution Day", Nth(11, Monday, 3)),
            CHRISTMAS,
        ],
    ),
    (
        "NL",
        &[
            NEW_YEAR,
            EASTER,
            EASTER_MONDAY,
            since(2014, "King's Day", OnOrBeforeSunday(4, 27)),
            ASCENSION,
            WHIT_SUNDAY,
            WHIT_MONDAY,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "NO",
        &[
            NEW_YEAR,
            MAUNDY_THURSDAY,
            GOOD_FRIDAY,
            EASTER,
            EASTER_MONDAY,
            LABOUR,
            rule("Constitution Day", On(5, 17)),
            ASCENSION,
            WHIT_SUNDAY,
            WHIT_MONDAY,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "PL",
        &[
            NEW_YEAR,
            since(2011, "Epiphany", On(1, 6)),
            EASTER,
            EASTER_MONDAY,
            LABOUR,
            rule("Constitution Day", On(5, 3)),
            WHIT_SUNDAY,
            CORPUS_CHRISTI,
            ASSUMPTION,
            ALL_SAINTS,
            rule("Independence Day", On(11, 11)),
            since(2025, "Christmas Eve", On(12, 24)),
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "PT",
        &[
            NEW_YEAR,
            GOOD_FRIDAY,
            EASTER,
            rule("Freedom Day", On(4, 25)),
            LABOUR,
            rule("Portugal Day", On(6, 10)),
            since(2016, "Corpus Christi", Easter(60)),
            ASSUMPTION,
            since(2016, "Republic Day", On(10, 5)),
            since(2016, "All Saints' Day", On(11, 1)),
            since(2016, "Restoration of Independence", On(12, 1)),
            IMMACULATE_CONCEPTION,
            CHRISTMAS,
        ],
    ),
    (
        "SE",
        &[
            NEW_YEAR,
            EPIPHANY,
            GOOD_FRIDAY,
            EASTER,
            EASTER_MONDAY,
            LABOUR,
            ASCENSION,
            WHIT_SUNDAY,
            since(2005, "National Day", On(6, 6)),
            MIDSUMMER,
            ALL_SAINTS_SATURDAY,
            CHRISTMAS,
            SECOND_CHRISTMAS,
        ],
    ),
    (
        "US",
        &[
            NEW_YEAR,
            rule("Martin Luther King Jr. Day", Nth(1, Monday, 3)),
            rule("Washington's Birthday", Nth(2, Monday, 3)),
            rule("Memorial Day", Last(5, Monday)),
            since(2021, "Juneteenth", On(6, 19)),
            rule("Independence Day", On(7, 4)),
            rule("Labor Day", Nth(9, Monday, 1)),
            rule("Columbus Day", Nth(10, Monday, 2)),
            rule("Veterans Day", On(11, 11)),
            rule("Thanksgiving", Nth(11, Thursday, 4)),
            CHRISTMAS,
        ],
    ),
];
