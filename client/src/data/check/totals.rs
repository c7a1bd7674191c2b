//! What totals by series and day say of themselves.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::finding::{Finding, Subject};
use crate::data::{
    order::{SalesRow, days_between},
    prepare::SeriesChoice,
    series::MissingDay,
};

/// Findings about totals.
pub(super) fn findings(rows: &[SalesRow], choice: &SeriesChoice) -> Vec<Finding> {
    let mut series: BTreeMap<&str, (Date, Date, usize)> = BTreeMap::new();
    for row in rows {
        let (first, last, count) = series.entry(&row.series).or_insert((row.date, row.date, 0));
        (*first, *last, *count) = ((*first).min(row.date), (*last).max(row.date), *count + 1);
    }
    let days: usize = series.values().map(|(a, b, _)| usize::try_from(days_between(*a, *b) + 1).unwrap_or(0)).sum();
    let (decision, undo) = match choice.missing {
        MissingDay::Closed => ("taken as closed: days without a value", "missing = \"zero\" in series.toml"),
        MissingDay::Zero => ("counted as days on which nothing was sold", "missing = \"closed\" in series.toml"),
    };
    let negative = rows.iter().filter(|row| row.value < 0.0).count();
    vec![
        Finding::new(
            Subject::Gaps,
            "days without a total, within a series",
            days - rows.len().min(days),
            days,
            decision,
        )
        .undo(undo)
        .look(false),
        Finding::new(Subject::Numbers, "totals below 0", negative, rows.len(), "kept")
            .undo("correct the file and import it again"),
    ]
}
