//! The report: one HTML file that explains a run, with plots, without scripts and without anything to load.
//!
//! It says what was run, what privacy was promised and spent, what each round did, and how good the forecasts
//! were — also where federation did not help. Left out on purpose: anything of a merchant's data beyond the few
//! forecasts it is given to draw; the report is made where all merchants are the user's own.

mod accuracy;
mod data;
mod plot;

use std::path::{Path, PathBuf};

use askama::Template;
use jiff::civil::Date;

pub use accuracy::{Accuracy, AccuracyRow, AccuracyTable, Method};
pub use data::{BoundedLines, Fan, Guarantee, Import, Ledger, Privacy, Reliability, ReportData, Round};

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A field of the data does not fit the others.
    #[error("report: {field}: {why}")]
    Field {
        /// The field.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// A plot could not be drawn.
    #[error("report: the plot {plot:?} could not be drawn: {reason}")]
    Plot {
        /// Which plot.
        plot: &'static str,
        /// What the plotting library said.
        reason: String,
    },
    /// The page could not be filled in.
    #[error("report: the page could not be filled in: {0}")]
    Page(#[from] askama::Error),
    /// The file cannot be written.
    #[error("cannot write {}: {source}; check the folder and the free space", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The page, with everything computed that the template shows.
#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    data: &'a ReportData,
    verdict: String,
    dropped: Option<String>,
    epsilon_plot: String,
    survivors_plot: String,
    reliability_plot: Option<String>,
    fans: Vec<(&'a Fan, String)>,
    heads: Vec<&'static str>,
    rows: Vec<PageRow>,
    not_helped: Vec<&'a str>,
    rounds: Vec<&'a Round>,
    rounds_left_out: usize,
    seconds: String,
    imports: Imports<'a>,
}

struct PageRow {
    merchant: String,
    series: usize,
    cells: Vec<PageCell>,
    gain: Option<String>,
    gain_is_good: bool,
    total: bool,
}

struct PageCell {
    wql: String,
    wape: String,
    best_wql: bool,
    best_wape: bool,
}

struct Imports<'a> {
    rows: u64,
    imported: u64,
    rejected: u64,
    /// Files with refused rows.
    refused: Vec<(&'a Import, String)>,
}

/// Rounds that the table shows at most; first and last ones.
const ROUNDS_SHOWN: usize = 12;

/// The report as HTML.
///
/// # Errors
/// [`ReportError::Field`] for data that contradict themselves, and what plotting and the template may say.
pub fn render(data: &ReportData) -> Result<String, ReportError> {
    check(data)?;
    let fans = data
        .fans
        .iter()
        .map(|fan| {
            let start: Date = fan.start.parse().map_err(|_| ReportError::Field {
                field: format!("fans: {}", fan.title),
                why: format!("start {:?} is no date such as 2025-05-05", fan.start),
            })?;
            Ok((fan, plot::fan(fan, start)?))
        })
        .collect::<Result<_, ReportError>>()?;
    let reliability_plot = (!data.reliability.is_empty()).then(|| plot::reliability(&data.reliability)).transpose()?;
    let table = &data.accuracy;
    let rows =
        table.rows.iter().map(|row| page_row(table, row, false)).chain([page_row(table, &table.total, true)]).collect();
    let shown = |round: &&Round| {
        let position = round.number.saturating_sub(1) as usize;
        data.rounds.len() <= ROUNDS_SHOWN || position < 4 || position + 4 >= data.rounds.len()
    };
    let rounds: Vec<&Round> = data.rounds.iter().filter(shown).collect();
    let page = Page {
        verdict: table.verdict(),
        dropped: data.privacy.bounded_lines.filter(|lines| lines.before > 0).map(|lines| {
            let dropped = lines.before - lines.kept;
            let share = 100.0 * dropped as f64 / lines.before as f64;
            format!("{} of {} order lines ({share:.1} %)", grouped(&dropped), grouped(&lines.before))
        }),
        epsilon_plot: plot::epsilon(&data.rounds, data.privacy.cap)?,
        survivors_plot: plot::survivors(&data.rounds)?,
        reliability_plot,
        fans,
        heads: table.methods.iter().map(|method| method.label()).collect(),
        rows,
        not_helped: table.not_helped(),
        rounds_left_out: data.rounds.len() - rounds.len(),
        rounds,
        seconds: format!("{:.0}", data.rounds.iter().map(|round| round.seconds).sum::<f64>()),
        imports: imports(&data.imports),
        data,
    };
    Ok(page.render()?)
}

/// Writes the report; the file appears whole or not at all.
///
/// # Errors
/// As [`render`], and [`ReportError::Write`].
pub fn write(data: &ReportData, path: &Path) -> Result<(), ReportError> {
    let html = render(data)?;
    let failed = |source| ReportError::Write { path: path.into(), source };
    let unfinished = path.with_extension("html.part");
    std::fs::write(&unfinished, html).map_err(failed)?;
    std::fs::rename(&unfinished, path).map_err(failed)
}

fn check(data: &ReportData) -> Result<(), ReportError> {
    let wrong = |field: String, why: String| Err(ReportError::Field { field, why });
    let methods = data.accuracy.methods.len();
    for row in data.accuracy.rows.iter().chain([&data.accuracy.total]) {
        if row.scores.len() != methods {
            let why = format!("{} scores for {methods} methods", row.scores.len());
            return wrong(format!("accuracy: {}", row.merchant), why);
        }
    }
    for fan in &data.fans {
        if fan.actual.len() != fan.quantiles.len() {
            let why = format!("{} held-back days, {} forecasts", fan.actual.len(), fan.quantiles.len());
            return wrong(format!("fans: {}", fan.title), why);
        }
    }
    if data.privacy.bounded_lines.is_some_and(|lines| lines.kept > lines.before) {
        return wrong("privacy.bounded_lines".into(), "more lines were kept than there were".into());
    }
    Ok(())
}

fn page_row(table: &AccuracyTable, row: &AccuracyRow, total: bool) -> PageRow {
    let (best, best_wape) = (row.best(), row.best_wape());
    let cells = row.scores.iter().enumerate().map(|(method, score)| PageCell {
        wql: score.map_or("–".to_owned(), |score| format!("{:.4}", score.wql)),
        wape: score.map_or("–".to_owned(), |score| format!("{:.4}", score.wape)),
        best_wql: best == Some(method),
        best_wape: best_wape == Some(method),
    });
    let gain = table.gain(row);
    PageRow {
        merchant: row.merchant.clone(),
        series: row.series,
        cells: cells.collect(),
        gain: gain.map(|gain| format!("{:+.1} %", 100.0 * gain).replace('-', "−")),
        gain_is_good: gain.is_some_and(|gain| gain < 0.0),
        total,
    }
}

fn imports(imports: &[Import]) -> Imports<'_> {
    let refused = imports.iter().filter(|import| !import.rejected.is_empty()).map(|import| {
        let reasons = import.rejected.iter().map(|(reason, count)| format!("{count} × {reason}"));
        (import, reasons.collect::<Vec<_>>().join(", "))
    });
    Imports {
        rows: imports.iter().map(|import| import.rows).sum(),
        imported: imports.iter().map(|import| import.imported).sum(),
        rejected: imports.iter().flat_map(|import| &import.rejected).map(|(_, count)| count).sum(),
        refused: refused.collect(),
    }
}

/// A whole number with thin spaces between groups of three digits.
fn grouped(number: &u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// An ε as it reads in a table.
fn epsilon_text(epsilon: &Option<f64>) -> String {
    epsilon.filter(|epsilon| epsilon.is_finite()).map_or("no bound".to_owned(), |epsilon| format!("{epsilon:.2}"))
}

#[cfg(test)]
mod tests;
