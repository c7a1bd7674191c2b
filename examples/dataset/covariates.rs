//! Covariates known in advance: from the rows themselves or from files of their own, to the model's channels.
//!
//! Roles become channels by the client's own `data::calendar`, so that a benchmark sees exactly what a
//! merchant's forecaster sees. The reference of a price is the median of the series' own prices before its
//! first test window: later prices are known for their own window only.

use std::collections::{BTreeMap, HashMap};

use forecastle_client::data::{
    calendar::{calendar_channels, product_channels},
    order::{ProductDay, day_number, plus_days},
    series::KNOWN_CHANNELS,
};
use jiff::civil::{Date, date};

use super::{
    DatasetError,
    expression::{DateColumn, Number, Place, Scope},
    panel::Span,
    rows::{Files, Joined, Records},
    task::{Known, Role, Task},
};

/// Values of one covariate.
enum Values {
    /// By series and step.
    OfSeries(Vec<HashMap<usize, f64>>),
    /// By key and day; the key's columns are read from a row of the series.
    OfKey { places: Vec<Place>, days: HashMap<String, BTreeMap<i64, f64>> },
}

/// All covariates of a task.
pub(super) struct Covariates<'a> {
    task: &'a Task,
    scope: &'a Scope<'a>,
    spans: &'a [Span],
    /// Days on which any row of a holiday file is non-zero.
    pub holidays: BTreeMap<Date, String>,
    values: Vec<(Role, Values)>,
}

impl<'a> Covariates<'a> {
    /// Reads every covariate of the task.
    pub fn bind(
        task: &'a Task,
        files: &Files,
        joined: &'a Joined<'a>,
        records: &Records,
        spans: &'a [Span],
    ) -> Result<Self, DatasetError> {
        let mut holidays = BTreeMap::new();
        let mut values = Vec::new();
        for (i, known) in task.known.iter().enumerate() {
            let field = format!("known[{i}]");
            if known.role == Role::Holiday {
                for (_, day, value) in file_values(task, files, known, &field)? {
                    if value != 0.0 {
                        holidays.insert(plus_days(date(1970, 1, 1), day), "holiday".to_owned());
                    }
                }
                continue;
            }
            values.push((
                known.role,
                if known.file.is_some() {
                    let places = known.on.iter().map(|name| joined.scope.place(&format!("{field}.on"), name));
                    let places = places.collect::<Result<_, _>>()?;
                    let mut days: HashMap<String, BTreeMap<i64, f64>> = HashMap::new();
                    for (key, day, value) in file_values(task, files, known, &field)? {
                        days.entry(key).or_default().insert(day, value);
                    }
                    Values::OfKey { places, days }
                } else {
                    let number = Number::bind(&joined.scope, &format!("{field}.value"), &known.value)?;
                    let mut by_series = vec![HashMap::new(); records.ids.len()];
                    for record in &records.rows {
                        let step = spans[record.series].position(record.day, task.frequency.days());
                        if let (Some(step), Some(value)) = (step, number.of(&joined.scope, joined.row(record.row))?) {
                            by_series[record.series].insert(step, value);
                        }
                    }
                    Values::OfSeries(by_series)
                },
            ));
        }
        Ok(Self { task, scope: &joined.scope, spans, holidays, values })
    }

    /// What the merchant knows in advance of one series, `[steps]`; `row` is any of its rows.
    pub fn days(&self, series: usize, row: &[Option<usize>], steps: usize) -> Vec<ProductDay> {
        let step_days = self.task.frequency.days();
        let start = day_number(self.spans[series].start(step_days));
        let mut days = vec![ProductDay::default(); steps];
        for (role, values) in &self.values {
            let of_key = match values {
                Values::OfSeries(_) => None,
                Values::OfKey { places, days } => {
                    let key: Option<Vec<&str>> = places.iter().map(|place| self.scope.cell(*place, row)).collect();
                    key.and_then(|key| days.get(&key.join("\u{1f}")))
                }
            };
            for (step, day) in days.iter_mut().enumerate() {
                let value = match values {
                    Values::OfSeries(by_series) => by_series[series].get(&step),
                    Values::OfKey { .. } => of_key.and_then(|days| days.get(&(start + step as i64 * step_days))),
                };
                let Some(value) = value.copied() else { continue };
                match role {
                    Role::Holiday => {}
                    Role::Price => day.price = Some(value),
                    Role::CompetitorPrice => day.competitor_price = Some(value),
                    Role::Promotion => day.promotion = value != 0.0,
                    Role::Coupon => day.coupon = value != 0.0,
                    Role::Markdown => day.markdown = Some(value),
                }
            }
        }
        days
    }

    /// The model's channels of one series, `[steps]`; no price at or after step `first_test` (or, for a short
    /// series, beyond its minimum history) moves the reference.
    pub fn channels(
        &self,
        series: usize,
        row: &[Option<usize>],
        steps: usize,
        first_test: usize,
    ) -> Vec<[f32; KNOWN_CHANNELS]> {
        let start = self.spans[series].start(self.task.frequency.days());
        let mut channels = calendar_channels(self.task.frequency, start, steps, &self.holidays);
        if self.values.is_empty() {
            return channels;
        }
        let days = self.days(series, row, steps);
        let past = first_test.max(self.task.evaluation.minimum_history).min(steps);
        let reference = median(days[..past].iter().filter_map(|day| day.price).filter(|price| *price > 0.0));
        for (channels, day) in channels.iter_mut().zip(&days) {
            // The calendar's part of these is 0, the product's part of the calendar's channels too.
            for (channel, authored) in channels.iter_mut().zip(product_channels(day, reference)) {
                *channel += authored;
            }
        }
        channels
    }
}

/// Key, day and number of every row of a covariate's file that has all three.
fn file_values(
    task: &Task,
    files: &Files,
    known: &Known,
    field: &str,
) -> Result<Vec<(String, i64, f64)>, DatasetError> {
    let (Some(file), Some(rule)) = (&known.file, &known.date) else {
        return Err(task.field(field, "a covariate of this role needs file and date"));
    };
    let scope = Scope { task, tables: vec![files.table(file)] };
    let table = scope.tables[0];
    let date = DateColumn::bind(&scope, &format!("{field}.date"), rule)?;
    let number = Number::bind(&scope, &format!("{field}.value"), &known.value)?;
    let keys: Vec<usize> = known
        .on
        .iter()
        .map(|name| Ok(scope.place(&format!("{field}.on"), name)?.column))
        .collect::<Result<_, DatasetError>>()?;
    let mut values = Vec::with_capacity(table.rows());
    for row in 0..table.rows() {
        let numbers = [Some(row)];
        if let (Some(key), Some(value)) = (table.key(&keys, row), number.of(&scope, &numbers)?) {
            values.push((key, day_number(date.of(&scope, &numbers)?), value));
        }
    }
    Ok(values)
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}
