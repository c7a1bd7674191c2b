//! A report as one HTML file, with plots, without scripts and without anything to load.

use askama::Template;

use crate::forecast::hierarchy::Level;

use super::{
    plot,
    report::{Drawn, Report, RowReport},
    text::{percent, shown},
};

/// Series that the table lists at most: those that sold most.
const SERIES_SHOWN: usize = 50;

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// A plot.
    #[error("the plot of {what} could not be drawn: {reason}")]
    Plot {
        /// Which plot.
        what: String,
        /// What the plotting library said.
        reason: String,
    },
    /// The template.
    #[error("the page could not be filled in: {0}")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "backtest.html")]
struct Page<'a> {
    report: &'a Report,
    title: &'a str,
    command: &'a str,
    verdict: String,
    serving: Option<String>,
    span: (String, String),
    rows: Vec<Row<'a>>,
    windows_plot: String,
    windows_key: Vec<(String, String)>,
    fans: Vec<(&'a Drawn, String)>,
    series: Vec<Line<'a>>,
    wins: Vec<(&'a str, usize)>,
    totals: Vec<TotalsTable<'a>>,
}

struct TotalsTable<'a> {
    title: String,
    rows: Vec<(&'a str, bool, [String; 3])>,
}

struct Row<'a> {
    row: &'a RowReport,
    cells: [String; 5],
    last: String,
    fell_back: String,
    seconds: String,
    chosen: bool,
    what: &'static str,
}

struct Line<'a> {
    id: &'a str,
    windows: usize,
    chosen: [String; 5],
    best: &'a str,
    best_wql: String,
}

/// The page.
///
/// # Errors
/// [`PageError`].
pub fn render(report: &Report, title: &str, command: &str) -> Result<String, PageError> {
    let chosen = report.choice.as_ref().map(|choice| choice.row.as_str());
    let ranking = report.ranking();
    let rows = ranking.iter().map(|row| {
        let row = &report.rows[*row];
        Row {
            cells: shown(row.all.as_ref()),
            last: wql(row.last.map(|scores| scores.wql)),
            fell_back: percent(row.fell_back),
            seconds: format!("{:.1}", row.seconds),
            chosen: chosen == Some(&row.name),
            what: explained(&row.name),
            row,
        }
    });
    let plotted = |what: &str| {
        let what = what.to_owned();
        move |reason| PageError::Plot { what, reason }
    };
    let (windows_plot, windows_key) = plot::windows(report).map_err(plotted("the windows"))?;
    let fans = report
        .drawn
        .iter()
        .map(|drawn| Ok((drawn, plot::fan(drawn, report.step_days).map_err(plotted(&drawn.unique_id))?)));
    // The chosen row's scores by series, or those of the best row.
    let position = report.rows.iter().position(|row| Some(row.name.as_str()) == chosen).unwrap_or(ranking[0]);
    let mut series: Vec<&super::SeriesReport> = report.series.iter().collect();
    series.sort_by(|a, b| b.volume.total_cmp(&a.volume));
    let lines = series.iter().take(SERIES_SHOWN).map(|s| {
        let best = s.best.as_deref().unwrap_or("–");
        let row = report.rows.iter().position(|row| row.name == best);
        Line {
            id: &s.unique_id,
            windows: s.windows,
            chosen: shown(s.scores[position].as_ref()),
            best,
            best_wql: wql(row.and_then(|row| s.scores[row]).map(|scores| scores.wql)),
        }
    });
    let mut wins: Vec<(&str, usize)> = report
        .rows
        .iter()
        .map(|row| {
            let won = report.series.iter().filter(|s| s.best.as_deref() == Some(row.name.as_str()));
            (row.name.as_str(), won.count())
        })
        .filter(|(_, won)| *won > 0)
        .collect();
    wins.sort_by_key(|(_, won)| std::cmp::Reverse(*won));
    let day =
        |date: Option<jiff::civil::Date>| date.map_or("–".to_owned(), |date| date.strftime("%-d %B %Y").to_string());
    let first = report.windows.first().map(|window| crate::data::order::plus_days(window.known_to, 1));
    let last = report
        .windows
        .last()
        .map(|window| crate::data::order::plus_days(window.known_to, report.horizon as i64 * report.step_days));
    let totals = report.totals.iter().map(|level| TotalsTable {
        title: match level.level {
            Level::Category => format!("{} categories", level.totals),
            _ => "the shop".to_owned(),
        },
        rows: ranking
            .iter()
            .map(|row| {
                let row = &level.rows[*row];
                let cells = [row.own, row.bottom_up, row.reconciled].map(|scores| wql(scores.map(|scores| scores.wql)));
                (row.name.as_str(), chosen == Some(&row.name), cells)
            })
            .collect(),
    });
    let page = Page {
        totals: totals.collect(),
        verdict: report.verdict(),
        serving: report.choice.as_ref().map(|choice| choice.served.to_string()),
        span: (day(first), day(last)),
        rows: rows.collect(),
        windows_plot,
        windows_key,
        fans: fans.collect::<Result<_, PageError>>()?,
        series: lines.collect(),
        wins,
        report,
        title,
        command,
    };
    Ok(page.render()?)
}

fn wql(wql: Option<f64>) -> String {
    wql.map_or("–".to_owned(), |wql| format!("{wql:.4}"))
}

/// A row in a few words.
fn explained(row: &str) -> &'static str {
    match row {
        "model" => "the published model as it is",
        "model-personal" => "the published model, fine-tuned and calibrated on your series",
        "no-federation" => "the model from before the first round, fine-tuned and calibrated on your series",
        "mix" => "average of the three best so far",
        "stacked" => "average of all, with weights that were best so far",
        "naive" => "the last value",
        "seasonal-naive" => "the value one season ago",
        "same-weekday" => "quantiles of the same weekday, last eight weeks",
        "croston" | "sba" | "tsb" => "for products that sell on few days",
        "theta" => "smoothing with half of the trend",
        "auto-ets" => "exponential smoothing, chosen by AICc",
        "auto-arima" => "seasonal ARIMA, chosen stepwise",
        "regression" => "on calendar, price and promotion",
        _ => "",
    }
}
