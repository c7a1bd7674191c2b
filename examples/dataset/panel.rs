//! Series of a task, right-aligned, with the rolling windows on which forecasts are judged.
//!
//! Column `length - 1` of the panel is the last step of every series, so one cut means one number of steps
//! before each series' end. Window `w` of K trains on everything before column `length - (K - w)·horizon`.

use std::{collections::BTreeMap, path::Path};

use forecastle_client::data::{
    order::{day_number, plus_days},
    series::Series,
};
use jiff::civil::{Date, date};
use ring::digest::{SHA256, digest};

use super::{
    DatasetError,
    covariates::Covariates,
    expression::Template,
    rows::{Files, Joined, Records},
    task::{End, EndWord, Missing, Outline, Task},
};

/// One series of a panel.
#[derive(Clone, Debug)]
pub struct PanelSeries {
    /// Identity in forecast files.
    pub unique_id: String,
    /// Owner.
    pub merchant: String,
    /// Target from the first observed step to the last; `known` goes one horizon further.
    pub series: Series,
}

/// All series of a task.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is asked of it.
    pub task: Outline,
    /// Series, sorted by `unique_id`.
    pub series: Vec<PanelSeries>,
    /// Columns of the panel: steps of the longest series.
    pub length: usize,
}

/// A series' part in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Position in [`Panel::series`].
    pub index: usize,
    /// Steps of the series before the cut: `series.y[..cut]` is known, `series.y[cut..cut + horizon]` is judged.
    pub cut: usize,
}

/// A rolling window.
#[derive(Clone, Debug)]
pub struct PanelWindow {
    /// Number, 0 for the earliest.
    pub number: usize,
    /// Column of the panel at which the test steps begin.
    pub cut: usize,
    /// Series with enough history, in the panel's order.
    pub members: Vec<Member>,
}

impl Task {
    /// Reads the task's files from a data folder.
    ///
    /// # Errors
    /// See [`DatasetError`]; each names file, line and column or the field of the task.
    pub fn read(&self, folder: &Path) -> Result<Panel, DatasetError> {
        let files = Files::read(self, folder)?;
        let joined = Joined::of(self, &files)?;
        let records = Records::of(&joined)?;
        panel(self, &files, &joined, &records)
    }
}

pub(super) fn panel(task: &Task, files: &Files, joined: &Joined<'_>, records: &Records) -> Result<Panel, DatasetError> {
    let scope = &joined.scope;
    let step = task.frequency.days();
    let spans = spans(task, records);
    let mut first_row = vec![usize::MAX; records.ids.len()];
    let mut y: Vec<Vec<f64>> = spans
        .iter()
        .map(|span| vec![if task.series.missing == Missing::Zero { 0.0 } else { f64::NAN }; span.steps])
        .collect();
    for record in &records.rows {
        first_row[record.series] = first_row[record.series].min(record.row);
        if let Some(position) = spans[record.series].position(record.day, step) {
            let cell = &mut y[record.series][position];
            *cell = if cell.is_nan() { record.amount } else { *cell + record.amount };
        }
    }
    let length = spans.iter().map(|span| span.steps).max().unwrap_or(0);

    let merchant = Template::bind(scope, "series.merchant", &task.series.merchant)?;
    let text = task.text.as_ref().map(|text| Template::bind(scope, "text", text)).transpose()?;
    let statics = task
        .statics
        .iter()
        .map(|(name, template)| Ok((name, Template::bind(scope, &format!("static.{name}"), template)?)))
        .collect::<Result<Vec<_>, DatasetError>>()?;
    let covariates = Covariates::bind(task, files, joined, records, &spans)?;

    let mut series = Vec::with_capacity(records.ids.len());
    for (position, id) in records.ids.iter().enumerate() {
        let row = joined.row(first_row[position]);
        let owner = merchant.text(scope, row).ok_or_else(|| {
            task.field("series.merchant", format!("series {id:?} has no value for one of its columns"))
        })?;
        let attributes =
            statics.iter().filter_map(|(name, template)| Some(((*name).clone(), template.text(scope, row)?)));
        let y: Vec<f32> = y[position].iter().map(|value| *value as f32).collect();
        // Windows before this step may use what lies before it, so a price's reference comes from there alone.
        let first_test = y.len().saturating_sub(task.evaluation.windows * task.evaluation.horizon);
        series.push(PanelSeries {
            unique_id: id.clone(),
            merchant: task.series.merchant_modulo.map_or(owner.clone(), |modulo| dealt(&owner, modulo)),
            series: Series {
                id: id.clone(),
                frequency: task.frequency,
                start: spans[position].start(step),
                known: covariates.channels(position, row, y.len() + task.evaluation.horizon, first_test),
                y,
                attributes: attributes.collect(),
                text: text.as_ref().and_then(|text| text.text(scope, row)).unwrap_or_default(),
                text_vector: None,
                further: None,
            },
        });
    }
    Ok(Panel { task: task.outline(), series, length })
}

/// First and last step of a series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    /// Day number of the last step.
    pub last: i64,
    /// Number of steps.
    pub steps: usize,
}

impl Span {
    /// Steps are counted back from the last; `None` for days outside.
    pub fn position(self, day: i64, step: i64) -> Option<usize> {
        if day > self.last {
            return None;
        }
        let back = usize::try_from((self.last - day) / step).ok()?;
        self.steps.checked_sub(back + 1)
    }

    /// Date of the first step.
    pub fn start(self, step: i64) -> Date {
        plus_days(date(1970, 1, 1), self.last - (self.steps as i64 - 1) * step)
    }
}

fn spans(task: &Task, records: &Records) -> Vec<Span> {
    let mut first_last = vec![(i64::MAX, i64::MIN); records.ids.len()];
    for record in &records.rows {
        let (first, last) = &mut first_last[record.series];
        *first = (*first).min(record.day);
        *last = (*last).max(record.day);
    }
    let latest = first_last.iter().map(|(_, last)| *last).max().unwrap_or(0);
    first_last
        .into_iter()
        .map(|(first, own)| {
            let last = match task.series.end {
                End::Date(date) => day_number(date.0),
                End::Word(EndWord::Common) => latest,
                End::Word(EndWord::Series) => own,
            };
            let steps = (last - first) / task.frequency.days() + 1;
            Span { last, steps: usize::try_from(steps).unwrap_or(0) }
        })
        .collect()
}

/// SHA-256 of a text, read as one big-endian integer, modulo `modulo`.
fn dealt(text: &str, modulo: u64) -> String {
    let digest = digest(&SHA256, text.as_bytes());
    let rest = digest.as_ref().iter().fold(0_u128, |rest, byte| (rest * 256 + u128::from(*byte)) % u128::from(modulo));
    format!("merchant-{rest:02}")
}

impl Panel {
    /// The rolling windows, earliest first.
    pub fn windows(&self) -> Vec<PanelWindow> {
        let evaluation = &self.task.evaluation;
        let mut windows = Vec::with_capacity(evaluation.windows);
        for number in 0..evaluation.windows {
            let Some(cut) = self.length.checked_sub((evaluation.windows - number) * evaluation.horizon) else {
                continue;
            };
            let mut members = Vec::new();
            for (index, panel_series) in self.series.iter().enumerate() {
                let y = &panel_series.series.y;
                let Some(cut) = cut.checked_sub(self.length - y.len()) else { continue };
                let first = y.iter().position(|value| !value.is_nan()).unwrap_or(y.len());
                if cut >= first + evaluation.minimum_history {
                    members.push(Member { index, cut });
                }
            }
            windows.push(PanelWindow { number, cut, members });
        }
        windows
    }

    /// Test values of a member, `[horizon]`; `NaN` is not scored.
    pub fn actual(&self, member: Member) -> &[f32] {
        &self.series[member.index].series.y[member.cut..member.cut + self.task.evaluation.horizon]
    }

    /// Date of a member's first test step.
    pub fn first_test_date(&self, member: Member) -> Date {
        let series = &self.series[member.index].series;
        plus_days(series.start, member.cut as i64 * series.frequency.days())
    }

    /// Positions of each merchant's series.
    pub fn merchants(&self) -> BTreeMap<&str, Vec<usize>> {
        let mut merchants: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (index, series) in self.series.iter().enumerate() {
            merchants.entry(&series.merchant).or_default().push(index);
        }
        merchants
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dealing_by_hash_is_the_digest_as_an_integer() {
        // python: int.from_bytes(hashlib.sha256(b"85123A").digest(), "big") % 20
        assert_eq!(dealt("85123A", 20), "merchant-16");
        assert_eq!(dealt("22423", 20), "merchant-04");
    }

    #[test]
    fn steps_count_back_from_the_last_day() {
        let span = Span { last: 100, steps: 3 };
        assert_eq!(span.position(100, 7), Some(2));
        assert_eq!(span.position(94, 7), Some(2));
        assert_eq!(span.position(93, 7), Some(1));
        assert_eq!(span.position(101, 7), None);
        assert_eq!(span.position(70, 7), None);
        assert_eq!(day_number(span.start(7)), 86);
    }
}
