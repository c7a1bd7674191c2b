//! The report's drawings, as SVG text.
//!
//! Colours are those of Okabe and Ito, which people with any colour vision tell apart; lines differ in their dashes
//! too, so that a print in grey can be read. The library writes no text that comes from a log.

use plotters::{coord::Shift, prelude::*};

use super::{
    ReportError,
    facts::{AdversaryFacts, AfterRounds},
};
use crate::conclusions::Point;

const INK: RGBColor = RGBColor(34, 41, 54);
const GRID: RGBColor = RGBColor(226, 230, 236);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(200, 130, 0);
const VERMILION: RGBColor = RGBColor(184, 76, 0);
/// One for each adversary: colour, and length of dash and gap (0: solid).
pub(super) const LINES: [(RGBColor, i32, i32); 3] = [(BLUE, 0, 0), (VERMILION, 9, 4), (ORANGE, 3, 3)];
const FONT: &str = "sans-serif";

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn svg(plot: &'static str, draw: impl FnOnce(&Root<'_>) -> Result<(), String>) -> Result<String, ReportError> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (560, 300)).into_drawing_area();
        draw(&root).and_then(|()| root.present().map_err(|error| error.to_string()))
    }
    .map_err(|why| ReportError::Plot { plot, why })?;
    // A picture scales with the page; its words are in the caption.
    Ok(text.replacen("<svg width=\"560\" height=\"300\"", "<svg role=\"img\"", 1))
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn label(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// ε after each number of charged rounds, for the three adversaries; where the log stands, and the cap.
pub(super) fn over_rounds(points: &[AfterRounds], charged: u32, cap: f64) -> Result<String, ReportError> {
    let series: [Vec<(f64, f64)>; 3] = [
        points.iter().map(|p| (f64::from(p.rounds), p.published)).collect(),
        points.iter().map(|p| (f64::from(p.rounds), p.server)).collect(),
        points.iter().map(|p| (f64::from(p.rounds), p.everyone_else)).collect(),
    ];
    let last = points.last().map_or(1.0, |point| f64::from(point.rounds)).max(1.0);
    let top = series.iter().flatten().map(|(_, epsilon)| *epsilon).fold(cap, f64::max) * 1.08;
    svg("ε over rounds", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(54)
            .build_cartesian_2d(0.0..last, 0.0..top)
            .map_err(said)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(8)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_desc("charged rounds")
            .y_desc("ε")
            .label_style(label(18))
            .axis_desc_style(label(18))
            .draw()
            .map_err(said)?;
        let charged = f64::from(charged);
        let marks = [vec![(0.0, cap), (last, cap)], vec![(charged, 0.0), (charged, top)]];
        for mark in marks {
            chart.draw_series(LineSeries::new(mark, INK.mix(0.55).stroke_width(1))).map_err(said)?;
        }
        let words = [
            Text::new(format!("cap {cap}"), (last * 0.015, cap + top * 0.07), label(17)),
            Text::new("charged".to_owned(), ((charged - last * 0.13).max(last * 0.015), top * 0.985), label(17)),
        ];
        chart.draw_series(words).map_err(said)?;
        for (points, line) in series.into_iter().zip(LINES) {
            draw_line(&mut chart, std::iter::once((0.0, 0.0)).chain(points).collect(), line)?;
        }
        Ok(())
    })
}

/// δ at each ε, on a logarithmic scale, for the three adversaries.
pub(super) fn profile(rows: &[AdversaryFacts], delta: f64) -> Result<String, ReportError> {
    // ln of nothing is no number: δ is cut where it stops mattering.
    let log = |point: &Point| (point.epsilon, point.delta.max(1e-13).log10());
    let right = rows.iter().flat_map(|row| &row.profile).map(|point| point.epsilon).fold(1.0, f64::max);
    let bottom = -12.0_f64;
    svg("privacy profile", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(66)
            .build_cartesian_2d(0.0..right, bottom..0.0)
            .map_err(said)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(8)
            .y_labels(7)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("1e{y:.0}"))
            .x_desc("ε")
            .y_desc("δ")
            .label_style(label(18))
            .axis_desc_style(label(18))
            .draw()
            .map_err(said)?;
        let stated = delta.log10();
        chart
            .draw_series(LineSeries::new([(0.0, stated), (right, stated)], INK.mix(0.55).stroke_width(1)))
            .map_err(said)?;
        let words = Text::new(format!("δ = {delta:e}"), (right * 0.86, stated + 0.9), label(17));
        chart.draw_series([words]).map_err(said)?;
        for (row, line) in rows.iter().zip(LINES) {
            draw_line(&mut chart, row.profile.iter().map(log).collect(), line)?;
        }
        Ok(())
    })
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn draw_line(
    chart: &mut Chart<'_, '_>,
    points: Vec<(f64, f64)>,
    (color, dash, gap): (RGBColor, i32, i32),
) -> Result<(), String> {
    let style = color.stroke_width(2);
    if dash == 0 {
        chart.draw_series(LineSeries::new(points, style)).map_err(said)?;
    } else {
        chart.draw_series(DashedLineSeries::new(points, dash, gap, style)).map_err(said)?;
    }
    Ok(())
}

/// Merchants in the sum of each round, of those invited.
pub(super) fn cohorts(rounds: &[(u64, u32, u32)]) -> Result<String, ReportError> {
    let first = rounds.iter().map(|round| round.0).min().unwrap_or(1) as f64;
    let last = rounds.iter().map(|round| round.0).max().unwrap_or(1) as f64;
    let invited = rounds.iter().map(|round| round.1.max(round.2)).max().unwrap_or(1).max(1);
    svg("cohorts", |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(46)
            .y_label_area_size(54)
            .build_cartesian_2d(first - 0.5..last + 0.5, 0.0..f64::from(invited) * 1.1)
            .map_err(said)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(8)
            .y_labels(5)
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.0}"))
            .x_desc("round")
            .y_desc("merchants")
            .label_style(label(18))
            .axis_desc_style(label(18))
            .draw()
            .map_err(said)?;
        let bar = |round: u64, height: u32, style: ShapeStyle| {
            let middle = round as f64;
            Rectangle::new([(middle - 0.36, 0.0), (middle + 0.36, f64::from(height))], style)
        };
        let asked = rounds.iter().map(|(round, invited, _)| bar(*round, *invited, GRID.filled()));
        chart.draw_series(asked).map_err(said)?;
        let stayed = rounds.iter().map(|(round, _, survivors)| bar(*round, *survivors, BLUE.mix(0.75).filled()));
        chart.draw_series(stayed).map_err(said)?;
        Ok(())
    })
}
