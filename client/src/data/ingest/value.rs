//! Single values as people write them: numbers, dates, yes and no.

use jiff::{
    Timestamp,
    civil::{Date, DateTime, Time},
    tz::Offset,
};

use super::clock::Clock;

/// Years in which a sale can lie.
const YEARS: std::ops::RangeInclusive<i16> = 1900..=2100;

/// A number with an optional currency sign and thousands separators in groups of three; `None` when it is none, or
/// not finite.
pub(super) fn number(text: &str, decimal_comma: bool) -> Option<f64> {
    // Most numbers are plain; a point alone can group thousands where commas are decimal.
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'.' && !decimal_comma;
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() < 18 && digits.bytes().all(is_plain) && digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    let is_decoration = |c: char| c.is_whitespace() || matches!(c, '€' | '$' | '£' | '¥' | '\u{a0}' | '\u{202f}');
    let text = text.trim_matches(is_decoration);
    let (negative, digits) = match text.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.trim_start_matches(is_decoration);
    let (decimal, thousands) = if decimal_comma { (',', '.') } else { ('.', ',') };
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.parse::<i32>().ok()?)),
        None => (digits, None),
    };
    let (whole, fraction) = mantissa.split_once(decimal).unwrap_or((mantissa, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let is_separator = |c: char| c == thousands || matches!(c, '\'' | ' ' | '\u{a0}' | '\u{202f}');
    let groups: Vec<&str> = whole.split(is_separator).collect();
    let grouped = groups.len() > 1;
    for (index, group) in groups.iter().enumerate() {
        let right_length = !grouped || group.len() == 3 || index == 0 && (1..=3).contains(&group.len());
        if !group.bytes().all(|byte| byte.is_ascii_digit()) || !right_length {
            return None;
        }
    }
    let sign = if negative { "-" } else { "" };
    let value: f64 = format!("{sign}{}.{fraction}0e{}", groups.concat(), exponent.unwrap_or(0)).parse().ok()?;
    value.is_finite().then_some(value)
}

/// A flag: 1, true, yes, y, x, t, on / 0, false, no, n, f, off, empty.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "1.0" | "true" | "yes" | "y" | "x" | "t" | "on" => Some(true),
        "" | "0" | "0.0" | "false" | "no" | "n" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// A day with an optional time of day. The day is written in one of `formats` (`iso`, `unix`, `unix-ms` or strptime's
/// `%d.%m.%Y`). With a `clock` the time becomes the shop's, which may move it to another day; without one it is taken as
/// written, and a zone or offset after it is ignored. `None` for days that do not exist and years no shop writes.
pub(super) fn date_time(text: &str, formats: &[String], clock: Option<&Clock>) -> Option<DateTime> {
    let text = text.trim();
    let at = match formats.iter().find_map(|format| instant(text, format)) {
        Some(timestamp) => match clock {
            Some(clock) => clock.of(timestamp),
            None => Offset::UTC.to_datetime(timestamp),
        },
        None => {
            let (day, time) = split(text)?;
            let date = formats.iter().find_map(|format| date(day, format))?;
            match (time, clock) {
                (None, _) => DateTime::from_parts(date, Time::midnight()),
                (Some((time, _)), None) => DateTime::from_parts(date, time),
                (Some((time, zone)), Some(clock)) => clock.read(DateTime::from_parts(date, time), zone)?,
            }
        }
    };
    // Fractions of a second are cut off.
    let at = at.with().subsec_nanosecond(0).build().ok()?;
    YEARS.contains(&at.year()).then_some(at)
}

/// A day in one format.
pub(super) fn date(text: &str, format: &str) -> Option<Date> {
    let date = if format == ISO { iso_date(text)? } else { Date::strptime(format, text).ok()? };
    YEARS.contains(&date.year()).then_some(date)
}

/// The format of ISO 8601 calendar dates: `2024-01-31`, and `2024-1-31`.
pub(super) const ISO: &str = "iso";
/// Seconds since 1970 in UTC.
pub(super) const UNIX: &str = "unix";
/// Milliseconds since 1970 in UTC.
pub(super) const UNIX_MS: &str = "unix-ms";

/// Whether a text is a count of seconds or milliseconds since 1970 within the years of sales.
pub(super) fn is_instant(text: &str, format: &str) -> bool {
    instant(text, format).is_some_and(|at| YEARS.contains(&Offset::UTC.to_datetime(at).year()))
}

/// A count of seconds or milliseconds since 1970.
fn instant(text: &str, format: &str) -> Option<Timestamp> {
    let count = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        // Days such as 03.02.2024 begin with digits and a point too.
        fraction.bytes().all(|byte| byte.is_ascii_digit()).then(|| whole.parse().ok()).flatten()
    };
    match format {
        UNIX => Timestamp::from_second(count()?).ok(),
        UNIX_MS => Timestamp::from_millisecond(count()?).ok(),
        _ => None,
    }
}

fn iso_date(text: &str) -> Option<Date> {
    let mut parts = text.split('-');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| {
        let part = parts.next()?;
        (lengths.contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())).then_some(part)
    };
    let (year, month, day) = (part(4..=4)?, part(1..=2)?, part(1..=2)?);
    if parts.next().is_some() {
        return None;
    }
    Date::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?).ok()
}

/// Splits off a time of day: the part after the first `T` or space that looks like `8:05`.
pub(super) fn split_time(text: &str) -> Option<(&str, Time)> {
    let (day, time) = split(text)?;
    Some((day, time.map_or(Time::midnight(), |(time, _)| time)))
}

/// The day, and the time of day with the zone or offset written after it, empty where there is none.
fn split(text: &str) -> Option<(&str, Option<(Time, &str)>)> {
    let begin = text.char_indices().find(|(at, c)| {
        let rest = &text[at + c.len_utf8()..];
        let hour = rest.split(':').next().unwrap_or_default();
        matches!(c, 'T' | ' ')
            && rest.contains(':')
            && (1..=2).contains(&hour.len())
            && hour.bytes().all(|byte| byte.is_ascii_digit())
    });
    match begin {
        None => Some((text, None)),
        Some((at, _)) => Some((text[..at].trim_end(), Some(time_of_day(&text[at + 1..])?))),
    }
}

fn time_of_day(text: &str) -> Option<(Time, &str)> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, ':' | '.'))).unwrap_or(text.len());
    let (clock, rest) = text.split_at(end);
    let mut parts = clock.split(':');
    let hour: i8 = parts.next()?.parse().ok()?;
    let minute: i8 = parts.next()?.parse().ok()?;
    let second: i8 = match parts.next() {
        None => 0,
        Some(second) => second.split('.').next()?.parse().ok()?,
    };
    if parts.next().is_some() {
        return None;
    }
    let rest = rest.trim();
    let (hour, zone) = match rest.to_ascii_lowercase().as_str() {
        half @ ("am" | "pm") if (1..=12).contains(&hour) => (hour % 12 + if half == "pm" { 12 } else { 0 }, ""),
        zone if zone.is_empty() || matches!(zone, "z" | "utc" | "gmt") || zone.starts_with(['+', '-']) => (hour, rest),
        _ => return None,
    };
    Some((Time::new(hour, minute, second, 0).ok()?, zone))
}

#[cfg(test)]
mod tests {
    use jiff::civil::datetime;

    use super::*;

    #[test]
    fn numbers_are_read_with_currency_signs_and_thousands_separators() {
        for (text, decimal_comma, expected) in [
            ("2.55", false, 2.55),
            (" -3 ", false, -3.0),
            ("$1,234.50", false, 1234.5),
            ("1.234,50 €", true, 1234.5),
            ("1 234,5", true, 1234.5),
            (".5", false, 0.5),
            ("5.", false, 5.0),
            ("1e3", false, 1000.0),
            ("−2", false, -2.0),
        ] {
            assert_eq!(number(text, decimal_comma), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_finite_number_is_refused() {
        for text in
            ["", "-", ".", "abc", "nan", "NaN", "inf", "-Infinity", "1,5", "1,23,456", "1.2.3", "0x10", "1e999", "--1"]
        {
            assert_eq!(number(text, false), None, "{text}");
        }
    }

    #[test]
    fn dates_are_read_with_and_without_a_time() {
        let formats = [ISO.to_owned(), "%d.%m.%Y".to_owned(), "%d %b %Y".to_owned()];
        for (text, expected) in [
            ("2010-12-01 08:26:00", datetime(2010, 12, 1, 8, 26, 0, 0)),
            ("2018-08-26T23:59:59.123Z", datetime(2018, 8, 26, 23, 59, 59, 0)),
            ("2018-08-26T23:59:59+02:00", datetime(2018, 8, 26, 23, 59, 59, 0)),
            ("1.2.2024 7:05", datetime(2024, 2, 1, 7, 5, 0, 0)),
            ("1 Feb 2024", datetime(2024, 2, 1, 0, 0, 0, 0)),
            ("2024-02-01 12:30 am", datetime(2024, 2, 1, 0, 30, 0, 0)),
        ] {
            assert_eq!(date_time(text, &formats, None), Some(expected), "{text}");
        }
    }

    #[test]
    fn impossible_dates_are_refused() {
        let formats = [ISO.to_owned()];
        for text in
            ["2023-02-29", "2024-13-01", "2024-00-10", "0024-01-01", "2524-01-01", "2024-01-01 25:00", "", "soon"]
        {
            assert_eq!(date_time(text, &formats, None), None, "{text}");
        }
    }

    #[test]
    fn a_count_of_seconds_is_the_wall_clock_of_utc() {
        let at = Some(datetime(2024, 1, 2, 9, 30, 0, 0));
        for (text, format) in
            [("1704187800", UNIX), ("1704187800.75", UNIX), ("1704187800123", UNIX_MS), ("1704187800123.5", UNIX_MS)]
        {
            assert_eq!(date_time(text, &[format.to_owned()], None), at, "{text}");
        }
        for text in ["1704187800123", "soon", "03.02.2024 10:00", "3.2.2024", "1704187800.7.5", "."] {
            assert_eq!(date_time(text, &[UNIX.to_owned()], None), None, "{text}");
        }
    }

    #[test]
    fn a_plain_number_is_read_as_any_other() {
        for text in ["0", "17.5", "-17.5", "5.", ".5", "00012", "1.2.3", "-", ".", "", "12345678901234567890"] {
            let slow = number(&format!(" {text}"), false);
            assert_eq!(number(text, false), slow, "{text}");
        }
        assert_eq!(number("1.234", true), Some(1234.0));
    }

    #[test]
    fn a_flag_is_yes_or_no_and_nothing_else() {
        assert_eq!([flag("Yes"), flag(" 0 "), flag(""), flag("maybe")], [Some(true), Some(false), Some(false), None]);
    }
}
