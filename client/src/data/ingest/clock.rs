//! The shop's own clock, where a table is written in another.
//!
//! A day of sales is a day of the shop. What a web shop exports is often written in UTC, so that the evening's orders would
//! count for the next day or the day before. Zones change with the seasons: their rules come with the program, so that a
//! table reads alike on every machine.

use jiff::{
    Timestamp,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

/// Turns written times into those of the shop.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    shop: TimeZone,
    /// Of times without a zone or offset; the shop's own where nothing is said.
    unmarked: Option<TimeZone>,
}

impl Clock {
    /// The zone `shop`, such as `Europe/Berlin`, for times of which the unmarked ones are written in `unmarked`.
    ///
    /// # Errors
    /// The name that is no zone of the IANA time zone database.
    pub fn new(shop: &str, unmarked: Option<&str>) -> Result<Self, String> {
        let zone = |name: &str| TimeZone::get(name).map_err(|_| name.to_owned());
        Ok(Self { shop: zone(shop)?, unmarked: unmarked.map(zone).transpose()? })
    }

    /// What it shows at an instant.
    pub fn of(&self, instant: Timestamp) -> DateTime {
        self.shop.to_datetime(instant)
    }

    /// What it shows at a time that is written with the zone or offset `marked`, empty for none. `None` for an offset that
    /// cannot be read, and beyond the years that can be counted.
    pub fn read(&self, written: DateTime, marked: &str) -> Option<DateTime> {
        let instant = match (marked, &self.unmarked) {
            ("", None) => return Some(written),
            // An hour that the zone skips, or has twice, is read as most calendars do (RFC 5545, section 3.3.5).
            ("", Some(zone)) => zone.to_timestamp(written).ok()?,
            (marked, _) => offset(marked)?.to_timestamp(written).ok()?,
        };
        Some(self.of(instant))
    }
}

/// `Z`, `UTC`, `GMT`, `+02`, `+0200`, `+02:00`.
fn offset(text: &str) -> Option<Offset> {
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return matches!(text.to_ascii_lowercase().as_str(), "z" | "utc" | "gmt").then_some(Offset::UTC),
    };
    let digits: String = text[1..].split(':').collect();
    let is_offset = matches!(digits.len(), 2 | 4) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or("0").parse::<i32>().ok();
    let (hours, minutes) = if is_offset { (part(0..2)?, part(2..4)?) } else { return None };
    (minutes < 60).then(|| Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;
    use crate::data::ingest::value::{ISO, UNIX, UNIX_MS, date_time};

    fn read(clock: &Clock, text: &str) -> Option<DateTime> {
        date_time(text, &[ISO, "%d.%m.%Y", UNIX, UNIX_MS].map(str::to_owned), Some(clock))
    }

    #[test]
    fn an_evening_in_utc_is_the_shop_s_next_day() {
        let berlin = Clock::new("Europe/Berlin", None).unwrap();
        for (text, expected) in [
            ("2024-01-01T23:30:00Z", datetime(2024, 1, 2, 0, 30, 0, 0)),
            ("2024-07-01 22:30 UTC", datetime(2024, 7, 2, 0, 30, 0, 0)),
            ("2024-07-01T23:30:00+02:00", datetime(2024, 7, 1, 23, 30, 0, 0)),
            ("1.7.2024 18:00 -0500", datetime(2024, 7, 2, 1, 0, 0, 0)),
            ("2024-07-01T22:30:00.999+00", datetime(2024, 7, 2, 0, 30, 0, 0)),
            ("1719873000", datetime(2024, 7, 2, 0, 30, 0, 0)),
            ("1719873000123", datetime(2024, 7, 2, 0, 30, 0, 0)),
            // Without a mark: the shop's clock already. Without a time: a day, which no zone moves.
            ("2024-07-01 23:30", datetime(2024, 7, 1, 23, 30, 0, 0)),
            ("2024-07-01", datetime(2024, 7, 1, 0, 0, 0, 0)),
        ] {
            assert_eq!(read(&berlin, text), Some(expected), "{text}");
        }
        for text in
            ["2024-07-01T23:30:00+2", "2024-07-01T23:30:00+02:75", "2024-07-01T23:30:00+99:00", "2024-07-01T23:30+x"]
        {
            assert_eq!(read(&berlin, text), None, "{text}");
        }
    }

    #[test]
    fn unmarked_times_may_be_another_zone_s() {
        let clock = Clock::new("America/Sao_Paulo", Some("UTC")).unwrap();
        assert_eq!(read(&clock, "2018-03-01 01:00:00"), Some(datetime(2018, 2, 28, 22, 0, 0, 0)));
        assert_eq!(read(&clock, "2018-03-01T01:00:00+01:00"), Some(datetime(2018, 2, 28, 21, 0, 0, 0)));
        let skipped = Clock::new("UTC", Some("Europe/Berlin")).unwrap();
        assert_eq!(read(&skipped, "2024-03-31 02:30"), Some(datetime(2024, 3, 31, 1, 30, 0, 0)));
    }

    #[test]
    fn a_zone_that_is_none_is_named() {
        assert_eq!(Clock::new("Europe/Berlim", None).unwrap_err(), "Europe/Berlim");
        assert_eq!(Clock::new("UTC", Some("CET5")).unwrap_err(), "CET5");
    }
}
