//! Public holidays of a country, computed from the rules of its law, for merchants without a table of holidays.
//!
//! Days that hold in the whole country, on the date itself. A year for which the merchant imported any holiday is the
//! merchant's: nothing is added to it. Left out: holidays of single states, cantons or cities; days off given instead of a
//! holiday on a weekend; days that a government sets for one year; countries whose holidays follow the moon or the
//! equinox. Public knowledge: nothing of a merchant's data enters.

mod rules;

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::civil::Date;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    calendar::{DAYS_TO_HOLIDAY, HOLIDAY, calendar_channels},
    order::plus_days,
    series::Series,
};

/// A country whose holidays are known, by its code (ISO 3166-1 alpha-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(&'static str);

impl Country {
    /// Codes of all that are known.
    pub fn all() -> impl Iterator<Item = &'static str> {
        rules::COUNTRIES.iter().map(|(code, _)| *code)
    }

    /// Its holidays in a year, by day.
    pub fn holidays(self, year: i16) -> BTreeMap<Date, &'static str> {
        let rules = rules::COUNTRIES.iter().find(|(code, _)| *code == self.0).map_or(&[][..], |(_, rules)| *rules);
        rules.iter().filter_map(|rule| Some((rule.day(year)?, rule.name))).collect()
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromStr for Country {
    type Err = String;

    fn from_str(code: &str) -> Result<Self, String> {
        let known = Self::all().find(|known| known.eq_ignore_ascii_case(code.trim()));
        known.map(Self).ok_or_else(|| {
            let all = Self::all().collect::<Vec<_>>().join(", ");
            format!("no holidays are known of `{code}`, only of {all}; import a table of date and name instead")
        })
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Imported holidays, and the country's in years without any, from `first` to `last`.
pub fn with_country(
    imported: &BTreeMap<Date, String>,
    country: Country,
    first: Date,
    last: Date,
) -> BTreeMap<Date, String> {
    let mut all = imported.clone();
    for year in first.year()..=last.year() {
        let is_imported = imported.keys().any(|day| day.year() == year);
        if !is_imported {
            all.extend(country.holidays(year).into_iter().map(|(day, name)| (day, name.to_owned())));
        }
    }
    all
}

/// Puts a country's holidays into the channels of series, beside the imported ones.
pub(super) fn fill(series: &mut [Series], imported: &BTreeMap<Date, String>, country: Country) {
    let ends = |one: &Series| (one.start, plus_days(one.date(one.known.len()), 31));
    let first = series.iter().map(|one| ends(one).0).min();
    let last = series.iter().map(|one| ends(one).1).max();
    let (Some(first), Some(last)) = (first, last) else { return };
    let all = with_country(imported, country, first, last);
    for one in series {
        let channels = calendar_channels(one.frequency, one.start, one.known.len(), &all);
        for (known, channels) in one.known.iter_mut().zip(channels) {
            (known[HOLIDAY], known[DAYS_TO_HOLIDAY]) = (channels[HOLIDAY], channels[DAYS_TO_HOLIDAY]);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn easter_falls_where_the_church_says() {
        for (year, month, day) in
            [(1961, 4, 2), (2000, 4, 23), (2008, 3, 23), (2011, 4, 24), (2019, 4, 21), (2024, 3, 31), (2038, 4, 25)]
        {
            assert_eq!(rules::easter(year), date(year, month, day));
        }
    }

    #[test]
    fn days_that_move_and_days_that_came_or_went_are_where_the_law_put_them() {
        let of = |code: &str, year| code.parse::<Country>().unwrap().holidays(year);
        let has = |code, day: Date| of(code, day.year()).contains_key(&day);
        assert!(has("DE", date(2025, 5, 29)) && has("DE", date(2017, 10, 31)) && !has("DE", date(2018, 10, 31)));
        assert!(has("US", date(2025, 11, 27)) && has("US", date(2026, 5, 25)) && !has("US", date(2020, 6, 19)));
        assert!(has("NL", date(2025, 4, 26)) && !has("NL", date(2025, 4, 27)) && has("NL", date(2024, 4, 27)));
        assert!(has("SE", date(2025, 6, 21)) && has("SE", date(2025, 11, 1)));
        assert!(has("DK", date(2023, 5, 5)) && !has("DK", date(2024, 4, 26)));
        assert!(has("PL", date(2025, 12, 24)) && !has("PL", date(2024, 12, 24)));
        assert!(has("IE", date(2024, 2, 5)) && has("IE", date(2030, 2, 1)) && !has("IE", date(2022, 2, 7)));
    }

    #[test]
    fn every_country_has_christmas_and_a_plausible_number_of_days() {
        for code in Country::all() {
            let days = code.parse::<Country>().unwrap().holidays(2025);
            assert!(days.contains_key(&date(2025, 12, 25)) && (4..=16).contains(&days.len()), "{code}: {}", days.len());
        }
        assert!("XX".parse::<Country>().unwrap_err().contains("DE"));
    }

    #[test]
    fn a_year_with_imported_holidays_is_the_merchant_s() {
        let imported = BTreeMap::from([(date(2024, 8, 1), "our day".to_owned())]);
        let all = with_country(&imported, "DE".parse().unwrap(), date(2024, 6, 1), date(2025, 2, 1));
        assert_eq!(all.keys().filter(|day| day.year() == 2024).count(), 1);
        assert!(all.contains_key(&date(2025, 10, 3)));
    }
}
