//! What was sold day by day, and the days on which nothing was.

use jiff::civil::{Date, Weekday};
use serde::Serialize;

use super::finding::{Finding, Subject};
use crate::data::order::{Period, days_between, plus_days};

/// Days in a row without a sale that are named.
const RUN_MIN: usize = 3;
/// Days in a row that are worth a look.
const RUN_WORTH_A_LOOK: usize = 7;
/// Share of a usual day below which the last day looks as if it was not over.
const LAST_DAY_SHARE: f64 = 0.4;
/// Days that a usual day is judged by.
const USUAL_DAYS: usize = 28;
/// Times a weekday must have come before it is called a day on which the shop is closed.
const WEEKS_MIN: usize = 4;
/// All days of a week.
const WEEK: [(Weekday, &str); 7] = [
    (Weekday::Monday, "Mondays"),
    (Weekday::Tuesday, "Tuesdays"),
    (Weekday::Wednesday, "Wednesdays"),
    (Weekday::Thursday, "Thursdays"),
    (Weekday::Friday, "Fridays"),
    (Weekday::Saturday, "Saturdays"),
    (Weekday::Sunday, "Sundays"),
];

/// Units sold each day, from the first sale to the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Days {
    /// First day; `None` before any import.
    #[serde(serialize_with = "as_text")]
    pub start: Option<Date>,
    /// Units a day, negative ones and what was left out by cleaning aside.
    pub units: Vec<f64>,
}

/// Days as people write them.
pub(super) fn as_text<S: serde::Serializer>(days: &Option<Date>, to: S) -> Result<S::Ok, S::Error> {
    days.map(|day| day.to_string()).serialize(to)
}

impl Days {
    /// Adds sales up by day; those outside `period` do not count.
    pub(super) fn of(period: Period, sales: impl Iterator<Item = (Date, f64)>) -> Self {
        let mut units = vec![0.0; usize::try_from(period.days()).unwrap_or(0)];
        for (day, sold) in sales {
            let at = usize::try_from(days_between(period.start(), day)).ok();
            if let Some(total) = at.and_then(|at| units.get_mut(at)) {
                *total += sold;
            }
        }
        Self { start: Some(period.start()), units }
    }

    /// Day of a position.
    pub(super) fn date(&self, at: usize) -> Date {
        plus_days(self.start.unwrap_or(Date::constant(1970, 1, 1)), at as i64)
    }

    /// Weekdays on which nothing was ever sold, where they came often enough to tell.
    fn closed(&self) -> Vec<(Weekday, &'static str)> {
        let is_closed = |weekday: Weekday| {
            let mut on = self.units.iter().enumerate().filter(|(at, _)| self.date(*at).weekday() == weekday);
            on.clone().count() >= WEEKS_MIN && on.all(|(_, units)| *units == 0.0)
        };
        WEEK.into_iter().filter(|(weekday, _)| is_closed(*weekday)).collect()
    }

    /// Runs of days without a sale, longest first, as position and length; days that are always closed neither count nor
    /// end a run.
    pub(super) fn runs(&self) -> Vec<(usize, usize)> {
        let closed = self.closed();
        let is_open = |at: usize| !closed.iter().any(|(weekday, _)| *weekday == self.date(at).weekday());
        let (mut runs, mut begin, mut open) = (Vec::new(), None, 0);
        for at in 0..=self.units.len() {
            let sold = self.units.get(at).is_none_or(|units| *units != 0.0);
            if !sold && is_open(at) {
                begin = begin.or(Some(at));
                open += 1;
            } else if sold {
                if let Some(begin) = begin.take().filter(|_| open >= RUN_MIN) {
                    runs.push((begin, at - begin));
                }
                open = 0;
            }
        }
        runs.sort_by_key(|(_, length)| std::cmp::Reverse(*length));
        runs
    }

    pub(super) fn gaps(&self) -> Vec<Finding> {
        let (closed, runs, total) = (self.closed(), self.runs(), self.units.len());
        let as_zero = "counted as days on which nothing was sold";
        let undo = "a calendar with in_stock = 0 on these days (for each product) makes them days without a value";
        let last = self.units.last().copied().unwrap_or(0.0);
        let mut usual: Vec<f64> =
            self.units.iter().rev().skip(1).take(USUAL_DAYS).copied().filter(|u| *u > 0.0).collect();
        usual.sort_by(f64::total_cmp);
        let median = usual.get(usual.len() / 2).copied().unwrap_or(0.0);
        let is_short = last < LAST_DAY_SHARE * median;
        vec![
            Finding::new(Subject::Gaps, "weekdays on which nothing was ever sold", closed.len(), 0, as_zero)
                .detail(closed.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")),
            Finding::new(
                Subject::Gaps,
                "days within gaps of three days or more",
                runs.iter().map(|r| r.1).sum(),
                total,
                as_zero,
            )
            .undo(undo)
            .look(runs.first().is_some_and(|run| run.1 >= RUN_WORTH_A_LOOK))
            .examples(
                runs.iter()
                    .map(|(at, length)| format!("{} to {}: {length} days", self.date(*at), self.date(at + length - 1))),
            ),
            Finding::new(
                Subject::Gaps,
                "last day with far less than a usual day's sales",
                usize::from(is_short),
                0,
                "kept",
            )
            .detail(format!("{last:.0} units on {}, usually {median:.0}", self.date(total.saturating_sub(1))))
            .undo("if the export was made before the day was over, import a later one")
            .look(is_short),
        ]
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    /// Ten weeks from a Monday, ten units a day; `f` changes some.
    fn days(f: impl Fn(usize) -> Option<f64>) -> Days {
        Days { start: Some(date(2024, 1, 1)), units: (0..70).map(|at| f(at).unwrap_or(10.0)).collect() }
    }

    #[test]
    fn a_closed_weekday_is_no_gap_and_does_not_end_one() {
        // Saturday, the closed Sunday and Monday are two days without a sale.
        let days = days(|at| (at % 7 == 6 || (18..23).contains(&at) || [33, 35].contains(&at)).then_some(0.0));
        assert_eq!(days.closed(), [(Weekday::Sunday, "Sundays")]);
        // Friday to Tuesday, over a Sunday.
        assert_eq!(days.runs(), [(18, 5)]);
        let gaps = days.gaps();
        assert_eq!((gaps[0].count, gaps[1].count, gaps[1].look), (1, 5, false));
        assert_eq!(gaps[1].examples, ["2024-01-19 to 2024-01-23: 5 days"]);
    }

    #[test]
    fn two_days_are_no_gap_a_week_is_worth_a_look_and_so_is_a_short_last_day() {
        let days = days(|at| match at {
            10 | 11 => Some(0.0),
            30..37 => Some(0.0),
            69 => Some(3.0),
            _ => None,
        });
        let gaps = days.gaps();
        assert_eq!((gaps[1].count, gaps[1].look, gaps[2].count), (7, true, 1));
        assert!(gaps[2].detail.starts_with("3 units on 2024-03-10"), "{}", gaps[2].detail);
    }
}
