//! A receipt as one HTML file, without scripts and without anything to load.

use askama::Template;
use plotters::prelude::*;

use super::{
    compare::{Change, Comparison, Finding},
    report::{Figures, Group, PriceRow, Receipt, WindowLine, signed},
};
use crate::{
    backtest::PageError,
    plot::{BLUE, GRID, INK, VERMILION, label, said, svg},
};

#[derive(Template)]
#[template(path = "receipt.html")]
struct Page<'a> {
    receipt: &'a Receipt,
    command: &'a str,
    verdict: Vec<String>,
    price: String,
    tables: Vec<Table<'a>>,
    cannot_tell: Vec<String>,
    windows: Vec<(&'a WindowLine, [String; 3])>,
    observers: Vec<(&'a PriceRow, String)>,
    baseline: &'a str,
}

struct Table<'a> {
    group: &'a Group,
    clean: bool,
    rows: Vec<(String, [String; 3])>,
    changes: Vec<(&'a str, [(String, String); 3])>,
    plot: String,
}

/// The page.
///
/// # Errors
/// [`PageError`].
pub fn render(receipt: &Receipt, command: &str) -> Result<String, PageError> {
    let groups = [(&receipt.clean, true), (&receipt.seen, false)];
    let tables = groups.into_iter().filter_map(|(group, clean)| group.as_ref().map(|group| table(group, clean)));
    let page = Page {
        verdict: receipt.verdict(),
        price: receipt.price_in_words(),
        tables: tables.collect::<Result<_, _>>()?,
        cannot_tell: receipt.cannot_tell(),
        windows: receipt.windows.iter().map(|window| (window, window.wql.map(number))).collect(),
        observers: receipt
            .price
            .observers
            .iter()
            .map(|row| (row, row.epsilon.map_or("no bound".to_owned(), |epsilon| format!("{epsilon:.2}"))))
            .collect(),
        baseline: receipt.judged().map_or("", |(group, _)| &group.baseline),
        receipt,
        command,
    };
    Ok(page.render()?)
}

fn table(group: &Group, clean: bool) -> Result<Table<'_>, PageError> {
    let names =
        ["with the federation".to_owned(), "no federation".to_owned(), format!("best baseline: {}", group.baseline)];
    let cells = |figures: &Figures| [number(figures.wql), number(figures.wape), format!("{:.1}", figures.stock_cost)];
    let comparisons = [&group.no_federation, &group.best_baseline];
    Ok(Table {
        group,
        clean,
        rows: names.into_iter().zip(group.figures.iter().map(cells)).collect(),
        changes: comparisons
            .iter()
            .map(|comparison| (comparison.against.as_str(), changes(comparison).map(|(_, change)| told(change))))
            .collect(),
        plot: plot(&comparisons).map_err(|reason| PageError::Plot { what: "the changes".into(), reason })?,
    })
}

fn changes(comparison: &Comparison) -> [(&'static str, Option<&Change>); 3] {
    [
        ("WQL", comparison.wql.as_ref()),
        ("WAPE", comparison.wape.as_ref()),
        ("cost of stock", comparison.stock_cost.as_ref()),
    ]
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.4}"))
}

/// A change, and its interval with what follows from it.
fn told(change: Option<&Change>) -> (String, String) {
    let Some(change) = change else { return ("–".to_owned(), String::new()) };
    let finding = match change.finding {
        Finding::Gained => "better",
        Finding::Lost => "worse",
        Finding::Open => "not to be told apart",
    };
    let interval = change.interval.map_or("too few series for an interval".to_owned(), |[low, high]| {
        format!("{} to {}: {finding}", signed(low), signed(high))
    });
    (signed(change.relative), interval)
}

/// Relative changes with their intervals, one line each; to the left of 0 is better.
fn plot(comparisons: &[&Comparison]) -> Result<String, String> {
    let lines: Vec<(String, &Change)> = comparisons
        .iter()
        .flat_map(|comparison| {
            changes(comparison)
                .into_iter()
                .filter_map(|(what, change)| Some((format!("{what}, beside {}", comparison.against), change?)))
        })
        .collect();
    let ends = lines.iter().flat_map(|(_, change)| {
        let [low, high] = change.interval.unwrap_or([change.relative; 2]);
        [low, high, change.relative]
    });
    let reach = ends.fold(0.01_f64, |reach, end| reach.max(end.abs())) * 1.15;
    let count = lines.len().max(1) as f64;
    svg((900, 60 + 34 * lines.len() as u32), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .margin_left(270)
            .x_label_area_size(28)
            .build_cartesian_2d(-reach..reach, -0.5..count - 0.5)
            .map_err(said)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(7)
            .x_label_formatter(&|x| if x.abs() < 1e-9 { "0".to_owned() } else { signed(*x) })
            .label_style(label(13))
            .draw()
            .map_err(said)?;
        let zero = LineSeries::new([(0.0, -0.5), (0.0, count - 0.5)], INK.stroke_width(1));
        chart.draw_series(zero).map_err(said)?;
        for (line, (name, change)) in lines.iter().enumerate() {
            let y = count - 1.0 - line as f64;
            let color = if name.contains("no-federation") { BLUE } else { VERMILION };
            if let Some([low, high]) = change.interval {
                chart.draw_series(LineSeries::new([(low, y), (high, y)], color.stroke_width(3))).map_err(said)?;
            }
            chart.draw_series([Circle::new((change.relative, y), 5, color.filled())]).map_err(said)?;
            let (_, place) = chart.backend_coord(&(0.0, y));
            root.draw(&Text::new(name.clone(), (12, place - 8), label(14))).map_err(said)?;
        }
        Ok(())
    })
}
