//! What order lines say of themselves: empty fields, repetitions, times, prices, channels; and what cleaning decided.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;

use super::finding::{EXAMPLES, Finding, Subject};
use crate::data::{
    clean::{CleaningReport, CleaningRules, ReturnPolicy},
    ingest::TableMapping,
    order::OrderLine,
    winsorise::Lowered,
};

/// A price this many times its product's median, or this part of it, stands out: the misreading of a decimal comma is 100.
const PRICE_FACTOR: f64 = 20.0;
/// Lines with a price that a product needs before one stands out.
const PRICES_MIN: usize = 5;
/// First and last hour of the night, in which shops sell little.
const NIGHT: std::ops::Range<i8> = 1..5;
/// Share of lines at night from which the clock may be another zone's; a sixth of the day is the share of a flat day.
const NIGHT_SHARE: f64 = 1.0 / 6.0;
/// Formats in which day and month can be confused.
const CONFUSABLE: [&str; 6] = ["%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y"];

/// Findings about order lines as they were imported.
pub(super) fn findings(lines: &[OrderLine], mapping: Option<&TableMapping>, today: Date) -> Vec<Finding> {
    let count = |is: &dyn Fn(&&OrderLine) -> bool| lines.iter().filter(is).count();
    let of = lines.len();
    let mut findings = vec![
        Finding::new(
            Subject::MissingValues,
            "order lines without a customer",
            count(&|line| line.customer.is_none()),
            of,
            "kept; each counts as a customer of its own, so that nothing that comes back is set against it",
        )
        .undo("give the customer's column with --column customer_id=NAME and import with --anew"),
        Finding::new(
            Subject::MissingValues,
            "order lines without a price",
            count(&|line| line.unit_price.is_none()),
            of,
            "kept; units are forecast, not turnover",
        ),
        repeated(lines),
        alike(lines),
        channels(lines),
    ];
    let formats = mapping.map_or(&[][..], |mapping| mapping.date_formats.as_slice());
    let confusable = formats.iter().find(|format| CONFUSABLE.contains(&format.as_str()));
    let could_be_swapped = |line: &&OrderLine| {
        let day = line.at.date();
        day.day() <= 12 && i16::from(day.day()) != i16::from(day.month())
    };
    let swapped = if confusable.is_some() { count(&could_be_swapped) } else { 0 };
    let read = if confusable.is_some_and(|format| format.starts_with("%m")) {
        "read with the month first, as dates that can be read in one way only are"
    } else {
        "read with the day first, as dates that can be read in one way only are"
    };
    findings.push(
        Finding::new(Subject::Dates, "order lines whose day and month could be swapped", swapped, of, read)
            .undo("the other way: --date-format, with --anew")
            .look(false),
    );
    let future = |line: &&OrderLine| line.at.date() > today;
    findings.push(
        Finding::new(Subject::Dates, "order lines dated in the future", count(&future), of, "kept")
            .undo("correct the dates, or the date format, and import with --anew")
            .look(true),
    );
    findings.extend(times(lines));
    findings
}

/// Lines that are the same but for the order number.
fn repeated(lines: &[OrderLine]) -> Finding {
    let mut seen = HashMap::with_capacity(lines.len());
    let mut again: Vec<(&str, &str, &str)> = Vec::new();
    for line in lines.iter().filter(|line| line.customer.is_some()) {
        let price = line.unit_price.map(f64::to_bits);
        let key = (line.customer, line.product.as_str(), line.at, line.quantity.to_bits(), price);
        match seen.insert(key, line.order.as_str()) {
            Some(order) if order != line.order => again.push((order, &line.order, &line.product)),
            _ => {}
        }
    }
    let examples = again.iter().take(EXAMPLES).map(|(a, b, product)| format!("orders {a} and {b}: {product}"));
    Finding::new(
        Subject::Duplicates,
        "order lines like another of the same customer and moment, under another order number",
        again.len(),
        lines.len(),
        "kept; two orders can be alike",
    )
    .undo("if they are one order exported twice, remove one from the file and import with --anew")
    .examples(examples)
}

/// Products whose numbers differ only in case, blanks or leading zeros.
fn alike(lines: &[OrderLine]) -> Finding {
    let products: BTreeSet<&str> = lines.iter().map(|line| line.product.as_str()).collect();
    let mut plain: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for product in &products {
        let name: String = product.chars().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect();
        plain.entry(name.trim_start_matches('0').to_owned()).or_default().push(product);
    }
    let groups: Vec<&Vec<&str>> = plain.values().filter(|names| names.len() > 1).collect();
    Finding::new(
        Subject::Duplicates,
        "products whose numbers differ only in case, blanks or leading zeros",
        groups.iter().map(|names| names.len()).sum(),
        products.len(),
        "kept apart, as different products",
    )
    .undo("if they are the same, write one number into the file and import with --anew")
    .look(!groups.is_empty())
    .examples(groups.iter().map(|names| names.join(" and ")))
}

fn channels(lines: &[OrderLine]) -> Finding {
    let mut channels: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines {
        *channels.entry(line.channel.as_deref().unwrap_or("none")).or_default() += 1;
    }
    let named = channels.keys().filter(|name| **name != "none").count();
    let lower: BTreeSet<String> = channels.keys().map(|name| name.to_lowercase()).collect();
    let mut largest: Vec<(&str, usize)> = channels.iter().map(|(name, count)| (*name, *count)).collect();
    largest.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let shown = largest.iter().map(|(name, count)| {
        format!("{name}: {count} lines ({:.1} %)", 100.0 * *count as f64 / lines.len().max(1) as f64)
    });
    Finding::new(Subject::Channels, "sales channels", named, 0, "added together")
        .undo("to forecast them apart, import each into a state folder of its own (--dir)")
        .detail(if lower.len() < channels.len() { "some differ only in case" } else { "" })
        .look(lower.len() < channels.len())
        .examples(shown)
}

/// Time of day: whether there is one, and whether it looks like the shop's own.
fn times(lines: &[OrderLine]) -> [Finding; 2] {
    let midnight = lines.iter().filter(|line| line.at.time() == jiff::civil::Time::midnight()).count();
    let timed = lines.len() - midnight;
    let night = lines
        .iter()
        .filter(|line| NIGHT.contains(&line.at.hour()) && line.at.time() != jiff::civil::Time::midnight())
        .count();
    [
        Finding::new(
            Subject::Times,
            "order lines at midnight sharp: a day without a time",
            midnight,
            lines.len(),
            "kept",
        )
        .undo("nothing is lost: series are of days or weeks")
        .look(false),
        Finding::new(
            Subject::Times,
            "order lines between 1 and 5 o'clock at night",
            night,
            timed,
            "kept; a time is the shop's own clock: as it is written, or in the time-zone of mapping.toml",
        )
        .undo(
            "if the clock is another zone's: time-zone = \"Europe/Berlin\" (and written-in-zone = \"UTC\", where times have \
             no offset) under [orders] in mapping.toml, and import with --anew",
        )
        .look(night as f64 > NIGHT_SHARE * timed as f64 && timed > 0),
    ]
}

/// Prices that stand out from others of the same product.
pub(super) fn prices(lines: &[OrderLine]) -> Vec<Finding> {
    let mut prices: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for line in lines {
        if let Some(price) = line.unit_price.filter(|price| *price > 0.0) {
            prices.entry(&line.product).or_default().push(price);
        }
    }
    let of: usize = prices.values().map(Vec::len).sum();
    let (mut count, mut worst) = (0, Vec::new());
    for (product, prices) in &mut prices {
        if prices.len() < PRICES_MIN {
            continue;
        }
        prices.sort_by(f64::total_cmp);
        let median = prices[prices.len() / 2];
        let far = |price: &f64| (price / median).max(median / price);
        count += prices.iter().filter(|price| far(price) > PRICE_FACTOR).count();
        if let Some(price) = prices.iter().max_by(|a, b| far(a).total_cmp(&far(b))).filter(|p| far(p) > PRICE_FACTOR) {
            worst.push((far(price), format!("{product}: {price}, usually {median}")));
        }
    }
    worst.sort_by(|a, b| b.0.total_cmp(&a.0));
    let finding = Finding::new(
        Subject::Numbers,
        "prices more than 20 times, or less than a twentieth of, the usual price of their product",
        count,
        of,
        "kept; flagged only",
    );
    let finding = finding.undo("if a comma was read as a point, see decimal-comma in mapping.toml; import with --anew");
    vec![finding.examples(worst.into_iter().map(|(_, text)| text))]
}

/// What cleaning decided.
pub(super) fn decisions(report: &CleaningReport, rules: &CleaningRules) -> Vec<Finding> {
    let of = report.lines;
    let is_net = rules.returns == ReturnPolicy::Net;
    let other_way = if is_net { "returns = \"gross\"" } else { "returns = \"net\"" };
    let other_way = format!("{other_way} under [cleaning] in series.toml");
    let came_back = if is_net {
        "taken from the same customer's earlier lines of the product; without one they change nothing"
    } else {
        "left out; what was ordered counts whether or not it came back"
    };
    let zero_prices = if rules.keep_zero_prices { "false" } else { "true" };
    let outliers = report.outlier_lines.iter();
    let outliers =
        outliers.map(|l| format!("order {}: {} × {} (usually {})", l.order, l.quantity, l.product, l.median));
    vec![
        Finding::new(Subject::Returns, "order lines of cancelled orders", report.cancelled, of, "left out")
            .undo("cancelled-values = [] under [orders] in mapping.toml; import with --again"),
        Finding::new(Subject::Returns, "order lines marked as returned", report.returned, of, "left out")
            .undo(other_way.clone()),
        Finding::new(Subject::Returns, "order lines with a negative quantity", report.negative, of, came_back)
            .detail(if is_net {
                let (taken, left) = (report.netted_units, report.unmatched_units);
                format!("{taken} units were taken from earlier lines, {left} had none to be taken from")
            } else {
                format!("{} units", report.unmatched_units)
            })
            .look(is_net && report.unmatched_units > report.netted_units)
            .undo(other_way),
        Finding::new(Subject::Returns, "order lines at a price of 0", report.zero_price, of, "left out as samples")
            .undo(format!("keep-zero-prices = {zero_prices} under [cleaning] in series.toml")),
        Finding::new(
            Subject::Outliers,
            "order lines with an unusual quantity for their product",
            report.outliers,
            of,
            "kept as they are; flagged only",
        )
        .detail(format!("at least 20 units, and more than {} times the median", rules.outlier_factor))
        .look(report.outliers > 0)
        .undo(
            "winsorise = 0.99 in series.toml lowers days that stand out; outlier-factor under [cleaning] sets the flag",
        )
        .examples(outliers),
    ]
}

/// What winsorising lowered, where it was asked for.
pub(super) fn lowered(share: Option<f64>, lowered: Option<Lowered>) -> Finding {
    let lowered = lowered.unwrap_or_default();
    Finding::new(
        Subject::Outliers,
        "days lowered to what their series usually reaches at most (winsorised)",
        lowered.steps,
        0,
        "lowered in forecasts made here; the stored lines and private training are untouched",
    )
    .detail(format!(
        "{:.0} units of {} series, above the quantile {}",
        lowered.units,
        lowered.series,
        share.unwrap_or(1.0)
    ))
    .undo("remove winsorise from series.toml")
}
