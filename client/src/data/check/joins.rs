//! Whether the tables know of each other: what is sold, what the catalogue describes, what the calendar plans.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;

use super::finding::{EXAMPLES, Finding, Subject};
use crate::data::order::{Catalogue, Period, days_between};

/// Days since its last sale after which a product looks as if it was no longer sold.
const SLEEPING_DAYS: i64 = 90;
/// Days in which a shop meets a holiday.
const HOLIDAY_DAYS: i64 = 180;

/// Findings about `sold` (day, product or series, units), in the light of what the merchant authored.
pub(super) fn findings(
    sold: &[(Date, &str, f64)],
    catalogue: &Catalogue,
    period: Period,
    has_country: bool,
) -> Vec<Finding> {
    let mut last: BTreeMap<&str, (Date, usize)> = BTreeMap::new();
    for (day, product, _) in sold {
        let (seen, count) = last.entry(product).or_insert((*day, 0));
        (*seen, *count) = ((*seen).max(*day), *count + 1);
    }
    let mut findings = Vec::new();
    let mut add = |what, missing: Vec<&str>, of: usize, decision, undo: &str| {
        let finding = Finding::new(Subject::Catalogue, what, missing.len(), of, decision).undo(undo);
        findings.push(finding.examples(missing.iter().map(|name| (*name).to_owned())));
    };
    let (products, calendar) = (&catalogue.products, &catalogue.calendar);
    let absent_from = |is_there: &dyn Fn(&str) -> bool| {
        let mut absent: Vec<(&str, usize)> =
            last.iter().filter(|(id, _)| !is_there(id)).map(|(id, (_, count))| (*id, *count)).collect();
        absent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        absent.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    if !products.is_empty() {
        add(
            "products sold that the product table does not have, best-selling first",
            absent_from(&|id| products.contains_key(id)),
            last.len(),
            "kept; forecast without category and text",
            "bring them in a table of products; numbers must be written the same in both",
        );
        let never: Vec<&str> = products.keys().map(String::as_str).filter(|id| !last.contains_key(id)).collect();
        add(
            "products that were never sold",
            never,
            products.len(),
            "kept; forecast from what is like them",
            "remove them from the table where they are no longer offered, and import it with --anew",
        );
        let bare = products.values().filter(|product| product.category.is_empty()).map(|product| product.id.as_str());
        let bare: Vec<&str> = bare.filter(|id| last.contains_key(id)).collect();
        add(
            "products sold that have no category",
            bare,
            last.len(),
            "kept",
            "give the category's column in mapping.toml",
        );
    }
    if !calendar.is_empty() {
        let planned = calendar.keys().map(String::as_str);
        let unknown: Vec<&str> = planned.filter(|id| !last.contains_key(id) && !products.contains_key(*id)).collect();
        add(
            "products of the calendar that no other table has",
            unknown,
            calendar.len(),
            "kept; forecast from the calendar alone",
            "numbers must be written the same in all tables",
        );
        add(
            "products sold without prices or promotions in the calendar",
            absent_from(&|id| calendar.contains_key(id)),
            last.len(),
            "kept; forecast without them",
            "bring them in a table of product, date and price or promotion",
        );
    }
    let sleeping: Vec<&str> = last
        .iter()
        .filter(|(_, (day, _))| days_between(*day, period.end()) > SLEEPING_DAYS)
        .map(|(id, _)| *id)
        .collect();
    let finding = Finding::new(
        Subject::Gaps,
        "products without a sale in the last 90 days",
        sleeping.len(),
        last.len(),
        "kept; their forecast is near 0",
    );
    findings.push(finding.look(false).examples(sleeping.iter().take(EXAMPLES).map(|id| (*id).to_owned())));
    if !has_country {
        findings.push(holidays(catalogue, period));
    }
    findings
}

/// Years of the period in which the table of holidays has none.
fn holidays(catalogue: &Catalogue, period: Period) -> Finding {
    let known: BTreeSet<i16> = catalogue.holidays.keys().map(|day| day.year()).collect();
    let years: Vec<i16> = (period.start().year()..=period.end().year())
        .filter(|year| {
            let first = period.start().max(Date::constant(*year, 1, 1));
            let last = period.end().min(Date::constant(*year, 12, 31));
            !known.contains(year) && days_between(first, last) >= HOLIDAY_DAYS
        })
        .collect();
    Finding::new(
        Subject::Catalogue,
        "years with sales and without holidays",
        years.len(),
        0,
        "no day counts as a holiday",
    )
    .undo("bring them in a table of date and name, or name the country in series.toml, such as country = \"DE\"")
    .look(true)
    .examples(years.iter().map(i16::to_string))
}
