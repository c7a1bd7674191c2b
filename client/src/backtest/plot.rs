//! Plots of a backtest.

use plotters::prelude::*;

use super::report::{Drawn, Report};
use crate::plot::{BLUE, Fan, GREEN, GRID, INK, VERMILION, label, said, svg};

const LINES: [RGBColor; 4] = [BLUE, VERMILION, GREEN, RGBColor(204, 121, 167)];

/// One series: its recent past, the band of the served way, the median of a rival, what came.
pub(super) fn fan(drawn: &Drawn, step_days: i64) -> Result<String, String> {
    let fan = Fan {
        start: drawn.start,
        step_days,
        past: &drawn.past,
        actual: &drawn.actual,
        quantiles: &drawn.band.1,
        rival: drawn.line.as_ref().map_or(&[], |(_, line)| line),
        promoted: &[],
        unit: "",
    };
    fan.svg()
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
