//! Plots of the report. Lines differ in shade as well as in colour, so that a print in grey can be read.

use forecastle_client::plot::{self, BLUE, GREEN, GRID, INK, ORANGE, VERMILION, label, said};
use jiff::civil::Date;
use plotters::{coord::Shift, prelude::*};

use super::{
    ReportError,
    data::{Fan, Reliability, Round},
};

/// Merchants who were invited and did not stay.
const WAITING: RGBColor = RGBColor(188, 196, 206);
const SERIES: [RGBColor; 4] = [BLUE, VERMILION, GREEN, ORANGE];

type Root<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws into a string; an error names the plot.
fn svg(
    plot: &'static str,
    size: (u32, u32),
    draw: impl FnOnce(&Root<'_>) -> Result<(), String>,
) -> Result<String, ReportError> {
    plot::svg(size, draw).map_err(|reason| ReportError::Plot { plot, reason })
}

/// ε after each round, with the cap.
pub(super) fn epsilon(rounds: &[Round], cap: f64) -> Result<String, ReportError> {
    svg("ε spent", (540, 260), |root| {
        let last = rounds.last().map_or(1, |round| round.number).max(1) as f64;
        let spent = rounds.iter().filter_map(|round| round.epsilon).filter(|epsilon| epsilon.is_finite());
        let top = spent.fold(if cap.is_finite() { cap } else { 1.0 }, f64::max) * 1.15;
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d(0.0..last, 0.0..top)
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
            .y_label_formatter(&|y| format!("{y:.1}"))
            .x_desc("round")
            .y_desc("ε spent")
            .label_style(label(15))
            .axis_desc_style(label(15))
            .draw()
            .map_err(said)?;
        if cap.is_finite() {
            chart
                .draw_series(DashedLineSeries::new([(0.0, cap), (last, cap)], 6, 4, VERMILION.stroke_width(2)))
                .map_err(said)?;
            let text = Text::new(format!("cap {cap}"), (last * 0.02, cap + top * 0.075), label(15));
            chart.draw_series([text]).map_err(said)?;
        }
        let points: Vec<(f64, f64)> = std::iter::once((0.0, 0.0))
            .chain(rounds.iter().filter_map(|round| Some((round.number as f64, round.epsilon?))))
            .filter(|(_, epsilon)| epsilon.is_finite())
            .collect();
        chart.draw_series(AreaSeries::new(points.clone(), 0.0, BLUE.mix(0.12))).map_err(said)?;
        chart.draw_series(LineSeries::new(points, BLUE.stroke_width(2))).map_err(said)?;
        Ok(())
    })
}

/// Survivors of each round, with the number invited.
pub(super) fn survivors(rounds: &[Round]) -> Result<String, ReportError> {
    svg("survivors", (540, 260), |root| {
        let last = rounds.last().map_or(1, |round| round.number).max(1) as f64;
        let invited = rounds.iter().map(|round| round.invited.max(round.survivors)).max().unwrap_or(1).max(1);
        let mut chart = ChartBuilder::on(root)
            .margin(10)
            .x_label_area_size(36)
            .y_label_area_size(46)
            .build_cartesian_2d(0.5..last + 0.5, 0.0..invited as f64 * 1.15)
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
            .label_style(label(15))
            .axis_desc_style(label(15))
            .draw()
            .map_err(said)?;
        let bar = |round: &Round, height: usize, style: ShapeStyle| {
            let middle = round.number as f64;
            Rectangle::new([(middle - 0.36, 0.0), (middle + 0.36, height as f64)], style)
        };
        let waiting = rounds.iter().map(|round| bar(round, round.invited, WAITING.filled()));
        chart.draw_series(waiting).map_err(said)?;
        let survived = rounds.iter().map(|round| bar(round, round.survivors, BLUE.mix(0.75).filled()));
        chart.draw_series(survived).map_err(said)?;
        Ok(())
    })
}

/// How often sales stayed at or below each quantile, against how often they should.
pub(super) fn reliability(methods: &[Reliability]) -> Result<String, ReportError> {
    svg("reliability", (540, 420), |root| {
        let mut chart = ChartBuilder::on(root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(50)
            .build_cartesian_2d(0.0..1.0, 0.0..1.0)
            .map_err(said)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(INK)
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| format!("{x:.1}"))
            .y_label_formatter(&|y| format!("{y:.1}"))
            .x_desc("quantile")
            .y_desc("share of days at or below it")
            .label_style(label(15))
            .axis_desc_style(label(15))
            .draw()
            .map_err(said)?;
        let ideal = DashedLineSeries::new([(0.0, 0.0), (1.0, 1.0)], 5, 4, INK.mix(0.6).stroke_width(1));
        chart
            .draw_series(ideal)
            .map_err(said)?
            .label("perfect")
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], INK.mix(0.6).stroke_width(1)));
        for (method, color) in methods.iter().zip(SERIES.iter().cycle()) {
            let color = *color;
            let points: Vec<(f64, f64)> =
                method.below.iter().enumerate().map(|(i, share)| ((i + 1) as f64 / 10.0, *share)).collect();
            chart
                .draw_series(LineSeries::new(points.clone(), color.stroke_width(2)))
                .map_err(said)?
                .label(method.name.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
            chart.draw_series(points.into_iter().map(|point| Circle::new(point, 3, color.filled()))).map_err(said)?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .border_style(GRID)
            .label_font(label(15))
            .draw()
            .map_err(said)?;
        Ok(())
    })
}

/// A forecast fan over the held-back days, after the recent past.
pub(super) fn fan(fan: &Fan, start: Date) -> Result<String, ReportError> {
    let missing = |values: &[Option<f32>]| values.iter().map(|value| value.unwrap_or(f32::NAN)).collect::<Vec<_>>();
    let drawn = plot::Fan {
        start,
        step_days: i64::from(fan.step_days),
        past: &missing(&fan.history),
        actual: &missing(&fan.actual),
        quantiles: &fan.quantiles,
        rival: &[],
        promoted: &fan.promotion,
        unit: "units",
    };
    drawn.svg().map_err(|reason| ReportError::Plot { plot: "forecast fan", reason })
}
