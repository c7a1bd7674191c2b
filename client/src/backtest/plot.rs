//! Plots of a backtest, as SVG text.
//!
//! Colours are those of Okabe and Ito, which people with any colour vision tell apart.

use jiff::civil::Date;
use plotters::{coord::Shift, prelude::*};

use super::report::{Drawn, Report};
use crate::data::order::plus_days;

const INK: RGBColor = RGBColor(34, 41, 54);
const GRID: RGBColor = RGBColor(226, 230, 236);
const BLUE: RGBColor = RGBColor(0, 114, 178);
const VERMILION: RGBColor = RGBColor(213, 94, 0);
const LINES: [RGBColor; 4] = [BLUE, VERMILION, RGBColor(0, 158, 115), RGBColor(204, 121, 167)];

fn svg(
    size: (u32, u32),
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), String>,
) -> Result<String, String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&root)?;
        root.present().map_err(said)?;
    }
    Ok(text)
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn label(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// One series: its recent past, the band of the served way, the median of a rival, what came.
pub(super) fn fan(drawn: &Drawn, step_days: i64) -> Result<String, String> {
    let (past, quantiles) = (drawn.past.len(), &drawn.band.1);
    let steps = past + quantiles.len();
    let finite = |value: &f32| value.is_finite();
    let line = drawn.line.as_ref().map_or(&[][..], |(_, line)| line);
    let values = drawn.past.iter().chain(&drawn.actual);
    let all = values.clone().chain(quantiles.iter().flatten()).chain(line).copied().filter(finite);
    let top = all.clone().fold(1.0, f32::max) * 1.08;
    let bottom = all.fold(0.0, f32::min) * 1.08;
    svg((900, 270), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.5..steps as f64 - 0.5, bottom..top)
            .map_err(said)?;
        let day = |x: &f64| date_of(drawn.start, *x, step_days);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(10)
            .y_labels(5)
            .x_label_formatter(&day)
            .y_label_formatter(&|y| if top < 8.0 { format!("{y:.1}") } else { format!("{y:.0}") })
            .label_style(label(13))
            .draw()
            .map_err(said)?;
        let level =
            |quantile: usize| quantiles.iter().enumerate().map(move |(step, q)| ((past + step) as f64, q[quantile]));
        for lower in 0..4 {
            let band: Vec<(f64, f32)> = level(lower).chain(level(8 - lower).rev()).collect();
            chart.draw_series([Polygon::new(band, BLUE.mix(0.16))]).map_err(said)?;
        }
        chart.draw_series(LineSeries::new(level(4), BLUE.stroke_width(2))).map_err(said)?;
        let rival = line.iter().enumerate().map(|(step, y)| ((past + step) as f64, *y));
        chart.draw_series(DashedLineSeries::new(rival, 5, 4, VERMILION.stroke_width(2))).map_err(said)?;
        let cut = past as f64 - 0.5;
        let divide = DashedLineSeries::new([(cut, bottom), (cut, top)], 3, 3, INK.mix(0.5).stroke_width(1));
        chart.draw_series(divide).map_err(said)?;
        let mut run: Vec<(f64, f32)> = Vec::new();
        let mut runs = Vec::new();
        for (step, value) in values.clone().enumerate() {
            if value.is_finite() {
                run.push((step as f64, *value));
            } else {
                runs.push(std::mem::take(&mut run));
            }
        }
        runs.push(run);
        for run in runs {
            chart.draw_series(LineSeries::new(run, INK.mix(0.55).stroke_width(1))).map_err(said)?;
        }
        let came = drawn.actual.iter().enumerate().filter(|(_, y)| y.is_finite());
        let dots = came.map(|(step, y)| Circle::new(((past + step) as f64, *y), 3, INK.filled()));
        chart.draw_series(dots).map_err(said)?;
        Ok(())
    })
}

/// WQL of the best rows, window by window; names with their colours beside it.
pub(super) fn windows(report: &Report) -> Result<(String, Vec<(String, String)>), String> {
    let rows: Vec<usize> = report.ranking().into_iter().take(LINES.len()).collect();
    let values = |row: usize| {
        report.windows.iter().enumerate().filter_map(move |(window, w)| Some((window as f64, w.wql[row]?)))
    };
    let all = rows.iter().flat_map(|row| values(*row).map(|(_, wql)| wql));
    let (least, most) = all.fold((f64::INFINITY, 0.0_f64), |(a, b), wql| (a.min(wql), b.max(wql)));
    let least = if least.is_finite() { least } else { 0.0 };
    let margin = (most - least).max(0.02) * 0.15;
    let count = report.windows.len();
    let text = svg((640, 260), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(34)
            .y_label_area_size(56)
            .build_cartesian_2d(-0.4..count as f64 - 0.6, (least - margin).max(0.0)..most + margin)
            .map_err(said)?;
        let named = |x: &f64| {
            let near = x.round();
            let window = report.windows.get(near.max(0.0) as usize).filter(|_| (x - near).abs() < 1e-6 && near >= 0.0);
            window.map_or(String::new(), |window| window.known_to.strftime("%-d %b %Y").to_string())
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(count.clamp(2, 8))
            .y_labels(5)
            .x_label_formatter(&named)
            .y_label_formatter(&|y| format!("{y:.3}"))
            .label_style(label(13))
            .draw()
            .map_err(said)?;
        for (row, color) in rows.iter().zip(LINES) {
            let points: Vec<(f64, f64)> = values(*row).collect();
            chart.draw_series(LineSeries::new(points.clone(), color.stroke_width(2))).map_err(said)?;
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, color.filled()))).map_err(said)?;
        }
        Ok(())
    })?;
    let key = rows
        .iter()
        .zip(LINES)
        .map(|(row, RGBColor(r, g, b))| (report.rows[*row].name.clone(), format!("#{r:02x}{g:02x}{b:02x}")));
    Ok((text, key.collect()))
}

fn date_of(start: Date, step: f64, step_days: i64) -> String {
    plus_days(start, step.round() as i64 * step_days).strftime("%-d %b").to_string()
}
