//! A report for a terminal.

use std::fmt;

use super::report::Report;
use crate::forecast::{hierarchy::Level, metrics::Scores};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.ranking().into_iter().map(|row| {
            let row = &self.rows[row];
            let mut cells = vec![row.name.clone()];
            cells.extend(shown(row.all.as_ref()));
            cells.push(row.last.map_or("–".into(), |scores| format!("{:.4}", scores.wql)));
            cells.push(percent(row.fell_back));
            cells.push(format!("{:.1}", row.seconds));
            cells
        });
        let head = ["", "WQL", "WAPE", "MASE", "bias", "cover", "last WQL", "fell back", "seconds"];
        let lines: Vec<Vec<String>> = std::iter::once(head.map(str::to_owned).to_vec()).chain(rows).collect();
        table(f, &lines)?;
        writeln!(
            f,
            "\n{} windows of {} steps, {} series; smaller is better but for cover, the share of cells within the 80 % interval.",
            self.windows.len(),
            self.horizon,
            self.series.len()
        )?;
        if !self.stopped && self.windows.len() < self.windows_wanted {
            let (done, wanted) = (self.windows.len(), self.windows_wanted);
            writeln!(f, "Only {done} of {wanted} windows had a series that could be judged.")?;
        }
        if self.series_left_out > 0 {
            writeln!(f, "{} series were too short or had nothing to judge in every window.", self.series_left_out)?;
        }
        for level in &self.totals {
            let head = match level.level {
                Level::Category => format!("WQL of {} categories", level.totals),
                _ => "WQL of the shop".to_owned(),
            };
            let head = [head, "from its own past".into(), "sum of products".into(), "reconciled".into()].to_vec();
            let cell = |scores: Option<Scores>| scores.map_or("–".to_owned(), |scores| format!("{:.4}", scores.wql));
            let rows = self.ranking().into_iter().map(|row| {
                let row = &level.rows[row];
                vec![row.name.clone(), cell(row.own), cell(row.bottom_up), cell(row.reconciled)]
            });
            writeln!(f)?;
            table(f, &std::iter::once(head).chain(rows).collect::<Vec<_>>())?;
        }
        if !self.totals.is_empty() && self.windows.len() > 1 {
            writeln!(f, "Of totals the first window teaches what errors are like and is not judged.")?;
        }
        write!(f, "\n{}", self.verdict())
    }
}

/// Columns, the first to the left and the others to the right.
fn table(f: &mut fmt::Formatter<'_>, lines: &[Vec<String>]) -> fmt::Result {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let pad = " ".repeat(width(column) - cell.chars().count());
            if column == 0 { write!(f, "{cell}{pad}")? } else { write!(f, "  {pad}{cell}")? }
        }
        writeln!(f)?;
    }
    Ok(())
}

/// WQL, WAPE, MASE, bias, coverage.
pub(super) fn shown(scores: Option<&Scores>) -> [String; 5] {
    let number = |value: f64| if value.is_finite() { format!("{value:.4}") } else { "–".to_owned() };
    match scores {
        None => std::array::from_fn(|_| "–".to_owned()),
        Some(s) => [
            number(s.wql),
            number(s.wape),
            number(s.mase),
            format!("{:+.1} %", 100.0 * s.bias).replace('-', "−"),
            percent(s.coverage80),
        ],
    }
}

/// A share as whole percent; a small one is not called none.
pub(super) fn percent(share: f64) -> String {
    match 100.0 * share {
        p if p > 0.0 && p < 0.5 => "<1 %".to_owned(),
        p => format!("{p:.0} %"),
    }
}
