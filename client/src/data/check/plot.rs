//! The plot of the report: what was sold day by day, with its gaps.

use plotters::prelude::*;

use super::days::Days;
use crate::plot::{BLUE, GRID, INK, ORANGE, label, said, svg};

/// Gaps that are drawn at most: the longest.
const GAPS_DRAWN: usize = 200;

/// Units a day; gaps are shaded.
pub(super) fn days(days: &Days) -> Result<String, String> {
    let top = days.units.iter().copied().fold(1.0, f64::max) * 1.06;
    let count = days.units.len();
    svg((980, 260), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(28)
            .y_label_area_size(64)
            .build_cartesian_2d(-0.5..count as f64 - 0.5, 0.0..top)
            .map_err(said)?;
        let day = |x: &f64| days.date(x.round().max(0.0) as usize).strftime("%b %Y").to_string();
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(10)
            .y_labels(5)
            .x_label_formatter(&day)
            .y_label_formatter(&|y| format!("{y:.0}"))
            .y_desc("units a day")
            .label_style(label(13))
            .axis_desc_style(label(13))
            .draw()
            .map_err(said)?;
        let gaps = days.runs().into_iter().take(GAPS_DRAWN).map(|(at, length)| {
            let from = at as f64 - 0.5;
            Rectangle::new([(from, 0.0), (from + length as f64, top)], ORANGE.mix(0.35).filled())
        });
        chart.draw_series(gaps).map_err(said)?;
        let points = days.units.iter().enumerate().map(|(at, units)| (at as f64, *units));
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(1))).map_err(said)?;
        Ok(())
    })
}
