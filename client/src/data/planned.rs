//! Days to be forecast for which a merchant that plans prices has planned none.
//!
//! A price that is missing is not guessed: its channels are 0, which reads as the usual price. The merchant is told which
//! products and days these are, since a forecast of a promotion that was forgotten in the table is wrong without looking so.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::order::{Catalogue, plus_days};

/// Products without a price on the same days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unplanned<'a> {
    /// Runs of days, first and last of each.
    pub days: Vec<(Date, Date)>,
    /// The products.
    pub products: Vec<&'a str>,
}

/// Which of `products` have prices in the calendar, but none on some day from `first` to `last`; those with the same days
/// together, most products first.
pub fn without_price<'a>(
    catalogue: &Catalogue,
    products: impl Iterator<Item = &'a str>,
    first: Date,
    last: Date,
) -> Vec<Unplanned<'a>> {
    let mut by_days: BTreeMap<Vec<(Date, Date)>, Vec<&str>> = BTreeMap::new();
    for product in products {
        let Some(calendar) = catalogue.calendar.get(product) else { continue };
        if !calendar.values().any(|day| day.price.is_some()) {
            continue;
        }
        let (mut runs, mut day) = (Vec::<(Date, Date)>::new(), first);
        while day <= last {
            if calendar.get(&day).is_none_or(|planned| planned.price.is_none()) {
                match runs.last_mut().filter(|(_, end)| plus_days(*end, 1) == day) {
                    Some((_, end)) => *end = day,
                    None => runs.push((day, day)),
                }
            }
            if day == Date::MAX {
                break;
            }
            day = plus_days(day, 1);
        }
        if !runs.is_empty() {
            by_days.entry(runs).or_default().push(product);
        }
    }
    let mut all: Vec<_> = by_days.into_iter().map(|(days, products)| Unplanned { days, products }).collect();
    all.sort_by_key(|group| std::cmp::Reverse(group.products.len()));
    all
}

/// Products that a sentence names.
const NAMED: usize = 20;
/// Runs of days that a sentence names.
const RUNS_NAMED: usize = 4;

impl std::fmt::Display for Unplanned<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let days: Vec<String> = self.days.iter().take(RUNS_NAMED).map(run).collect();
        let more_days = if self.days.len() > RUNS_NAMED { " and on further days" } else { "" };
        let named = self.products.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
        let more = match self.products.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        write!(f, "no price is planned {}{more_days} for {named}{more}", days.join(", "))
    }
}

fn run((first, last): &(Date, Date)) -> String {
    if first == last { format!("on {first}") } else { format!("from {first} to {last}") }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::data::order::ProductDay;

    #[test]
    fn exact_products_and_days_are_named_and_those_without_any_prices_are_not() {
        let priced = |price| ProductDay { price, ..ProductDay::default() };
        let day = |day| date(2024, 3, day);
        let mut catalogue = Catalogue::default();
        let mut plan = |product: &str, days: &[i8]| {
            let calendar = days.iter().map(|at| (day(*at), priced(Some(2.0)))).collect();
            catalogue.calendar.insert(product.into(), calendar);
        };
        plan("mug", &[1, 2, 5]);
        plan("saw", &[1, 2, 3, 4, 5, 6]);
        plan("axe", &[1, 2, 5]);
        catalogue.calendar.insert("nail".into(), [(day(1), priced(None))].into());
        let products = ["mug", "saw", "axe", "nail", "unknown"];
        let found = without_price(&catalogue, products.into_iter(), day(2), day(6));
        let days = vec![(day(3), day(4)), (day(6), day(6))];
        assert_eq!(found, [Unplanned { days, products: vec!["mug", "axe"] }]);
        assert_eq!(
            found[0].to_string(),
            "no price is planned from 2024-03-03 to 2024-03-04, on 2024-03-06 for mug, axe"
        );
    }
}
