//! What the plots of reports have in common, and the one that several show: a forecast fan.
//!
//! Plots are SVG text. Colours are those of Okabe and Ito, which people with any colour vision tell apart.

use jiff::civil::Date;
use plotters::{coord::Shift, prelude::*};

use crate::data::order::plus_days;
use crate::forecast::metrics::LEVELS_LEN;

/// Lines of axes, words, what was observed.
pub const INK: RGBColor = RGBColor(34, 41, 54);
/// Lines behind.
pub const GRID: RGBColor = RGBColor(226, 230, 236);
/// What is told about.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
/// What it is compared with.
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
/// A third.
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
/// A fourth; promotions.
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);

/// Draws into a string, `size` pixels wide and high.
///
/// # Errors
/// What the plotting library says.
pub fn svg(
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

/// A plotting error in words: its own types name the backend.
pub fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// How words are written, `size` pixels high.
pub fn label(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

/// One series: its recent past, a band of quantiles, what came. `NaN` stands for what is missing.
pub struct Fan<'a> {
    /// Day of the first value of `past`.
    pub start: Date,
    /// Days from one step to the next.
    pub step_days: i64,
    /// Recent values.
    pub past: &'a [f32],
    /// What came after them.
    pub actual: &'a [f32],
    /// Quantiles of each step after `past`, `[horizon][9]`.
    pub quantiles: &'a [[f32; LEVELS_LEN]],
    /// The median of something to compare with, `[horizon]` or empty; dashed.
    pub rival: &'a [f32],
    /// Promotion or not, from the first value of `past` on; shaded.
    pub promoted: &'a [bool],
    /// What the values are, beside the axis; may be empty.
    pub unit: &'a str,
}

impl Fan<'_> {
    /// The plot.
    ///
    /// # Errors
    /// What the plotting library says.
    pub fn svg(&self) -> Result<String, String> {
        let past = self.past.len();
        let steps = past + self.quantiles.len();
        let finite = |value: &f32| value.is_finite();
        let values = self.past.iter().chain(self.actual);
        let all = values.clone().chain(self.quantiles.iter().flatten()).chain(self.rival).copied().filter(finite);
        let top = all.clone().fold(1.0, f32::max) * 1.08;
        let bottom = all.fold(0.0, f32::min) * 1.08;
        svg((900, 280), |root| {
            let mut chart = ChartBuilder::on(root)
                .margin(10)
                .x_label_area_size(28)
                .y_label_area_size(56)
                .build_cartesian_2d(-0.5..steps as f64 - 0.5, bottom..top)
                .map_err(said)?;
            let day = |x: &f64| plus_days(self.start, x.round() as i64 * self.step_days).strftime("%-d %b").to_string();
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
                .y_desc(self.unit)
                .label_style(label(13))
                .axis_desc_style(label(13))
                .draw()
                .map_err(said)?;
            let promoted = self.promoted.iter().take(steps).enumerate().filter(|(_, on)| **on).map(|(step, _)| {
                let x = step as f64;
                Rectangle::new([(x - 0.5, bottom), (x + 0.5, top)], ORANGE.mix(0.22).filled())
            });
            chart.draw_series(promoted).map_err(said)?;
            let after = |step: usize| (past + step) as f64;
            let level =
                |quantile: usize| self.quantiles.iter().enumerate().map(move |(step, q)| (after(step), q[quantile]));
            for lower in 0..LEVELS_LEN / 2 {
                let band: Vec<(f64, f32)> = level(lower).chain(level(LEVELS_LEN - 1 - lower).rev()).collect();
                chart.draw_series([Polygon::new(band, BLUE.mix(0.16))]).map_err(said)?;
            }
            chart.draw_series(LineSeries::new(level(LEVELS_LEN / 2), BLUE.stroke_width(2))).map_err(said)?;
            let rival = self.rival.iter().enumerate().map(|(step, y)| (after(step), *y));
            chart.draw_series(DashedLineSeries::new(rival, 5, 4, VERMILION.stroke_width(2))).map_err(said)?;
            let cut = past as f64 - 0.5;
            let divide = DashedLineSeries::new([(cut, bottom), (cut, top)], 3, 3, INK.mix(0.5).stroke_width(1));
            chart.draw_series(divide).map_err(said)?;
            let observed: Vec<(f64, f32)> = values.enumerate().map(|(step, value)| (step as f64, *value)).collect();
            for run in observed.split(|(_, value)| !value.is_finite()) {
                let line = LineSeries::new(run.iter().copied(), INK.mix(0.55).stroke_width(1));
                chart.draw_series(line).map_err(said)?;
            }
            let came = observed.into_iter().skip(past).filter(|(_, value)| value.is_finite());
            chart.draw_series(came.map(|point| Circle::new(point, 3, INK.filled()))).map_err(said)?;
            Ok(())
        })
    }
}
