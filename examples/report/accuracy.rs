//! The table of accuracy by merchant, for the report and for the terminal.

use serde::{Deserialize, Serialize};

/// A way to forecast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Warm start, private rounds, local fine-tuning and calibration.
    Federated,
    /// The same without rounds.
    NoFederation,
    /// Each merchant by itself: all parameters, from the warm start.
    Alone,
    /// What was sold one season ago.
    SeasonalNaive,
    /// Daily series: quantiles of the same weekday in the last eight weeks.
    SameWeekday,
    /// Weekly series: quantiles of the last eight weeks.
    LastWeeks,
}

impl Method {
    /// Name as a column heads it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Federated => "federated",
            Self::NoFederation => "no federation",
            Self::Alone => "alone",
            Self::SeasonalNaive => "seasonal naive",
            Self::SameWeekday => "same weekday",
            Self::LastWeeks => "last 8 weeks",
        }
    }
}

/// Errors of a method, smaller is better.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Mean weighted quantile loss.
    pub wql: f64,
    /// Weighted absolute percentage error of the median.
    pub wape: f64,
}

/// Errors of every method for one merchant, or for all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccuracyRow {
    /// Merchant.
    pub merchant: String,
    /// Number of series judged.
    pub series: usize,
    /// One an entry of [`AccuracyTable::methods`]; `None` where a method was not run or cannot be judged.
    pub scores: Vec<Option<Accuracy>>,
}

/// Errors by merchant and method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AccuracyTable {
    /// Columns.
    pub methods: Vec<Method>,
    /// Merchants.
    pub rows: Vec<AccuracyRow>,
    /// Over all series of all merchants (not the mean of the rows).
    pub total: AccuracyRow,
}

impl AccuracyRow {
    /// Position of the smallest WQL.
    pub fn best(&self) -> Option<usize> {
        self.smallest(|score| score.wql)
    }

    /// Position of the smallest WAPE.
    pub fn best_wape(&self) -> Option<usize> {
        self.smallest(|score| score.wape)
    }

    fn smallest(&self, measure: impl Fn(&Accuracy) -> f64) -> Option<usize> {
        let measured = self.scores.iter().enumerate();
        measured
            .filter_map(|(method, score)| Some((method, measure(score.as_ref()?))))
            .filter(|(_, error)| error.is_finite())
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(method, _)| method)
    }
}

impl AccuracyTable {
    fn wql(&self, row: &AccuracyRow, method: Method) -> Option<f64> {
        let position = self.methods.iter().position(|known| *known == method)?;
        (*row.scores.get(position)?).map(|score| score.wql).filter(|wql| wql.is_finite())
    }

    /// Relative change of WQL from *no federation* to *federated* in a row; negative is better.
    pub fn gain(&self, row: &AccuracyRow) -> Option<f64> {
        let without = self.wql(row, Method::NoFederation).filter(|wql| *wql > 0.0)?;
        Some(self.wql(row, Method::Federated)? / without - 1.0)
    }

    /// Merchants for whom the federated model is no better than the same model without rounds.
    pub fn not_helped(&self) -> Vec<&str> {
        let worse = |row: &&AccuracyRow| self.gain(row).is_some_and(|gain| gain >= 0.0);
        self.rows.iter().filter(worse).map(|row| row.merchant.as_str()).collect()
    }

    /// What federation did, in one or two sentences, good or bad.
    pub fn verdict(&self) -> String {
        let (Some(gain), Some(federated), Some(without)) = (
            self.gain(&self.total),
            self.wql(&self.total, Method::Federated),
            self.wql(&self.total, Method::NoFederation),
        ) else {
            return "The federated model was not compared with the same model without rounds.".to_owned();
        };
        let judged = self.rows.iter().filter(|row| self.gain(row).is_some()).count();
        let helped = judged - self.not_helped().len();
        let mut text = if gain < 0.0 {
            format!(
                "Federation lowered the error (WQL) from {without:.4} to {federated:.4}, {:.1} % less, and helped \
                 {helped} of {judged} merchants.",
                -100.0 * gain
            )
        } else {
            format!(
                "Federation did not help: the error (WQL) is {federated:.4} with it and {without:.4} without; it \
                 helped {helped} of {judged} merchants."
            )
        };
        if let Some(best) = self.total.best().filter(|best| self.methods[*best] != Method::Federated) {
            text.push_str(&format!(" Over all merchants, {:?} was best.", self.methods[best].label()));
        }
        text
    }

    /// The table for a terminal: WQL / WAPE by method, `*` after the smallest WQL of a row.
    pub fn to_text(&self) -> String {
        let mut cells = vec![vec!["merchant".to_owned(), "series".to_owned()]];
        cells[0].extend(self.methods.iter().map(|method| method.label().to_owned()));
        for row in self.rows.iter().chain([&self.total]) {
            let best = row.best();
            let mut line = vec![row.merchant.clone(), row.series.to_string()];
            line.extend(row.scores.iter().enumerate().map(|(method, score)| {
                let mark = if best == Some(method) { "*" } else { " " };
                score.map_or("–".to_owned(), |score| format!("{:.4} / {:.4}{mark}", score.wql, score.wape))
            }));
            cells.push(line);
        }
        let columns = cells.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            cells.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let rule = "─".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1));
        let mut text = String::new();
        for (number, line) in cells.iter().enumerate() {
            if number == 1 || number + 1 == cells.len() {
                text.push_str(&rule);
                text.push('\n');
            }
            for (column, cell) in line.iter().enumerate() {
                let pad = " ".repeat(widths[column] - cell.chars().count());
                let gap = if column == 0 { "" } else { "  " };
                // Names are aligned left, numbers and their headings right.
                let (before, after) = if column == 0 { ("", pad.as_str()) } else { (pad.as_str(), "") };
                text.push_str(&format!("{gap}{before}{cell}{after}"));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text.push_str("WQL / WAPE, smaller is better; * marks the smallest WQL of a row.\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(merchant: &str, scores: &[f64]) -> AccuracyRow {
        let scores = scores.iter().map(|wql| wql.is_finite().then_some(Accuracy { wql: *wql, wape: wql * 1.2 }));
        AccuracyRow { merchant: merchant.into(), series: 84, scores: scores.collect() }
    }

    fn table(total: &[f64]) -> AccuracyTable {
        AccuracyTable {
            methods: vec![Method::Federated, Method::NoFederation, Method::Alone],
            rows: vec![row("Copper Kettle", &[0.4, 0.5, 0.45]), row("Quay", &[0.6, 0.55, f64::NAN])],
            total: row("all", total),
        }
    }

    #[test]
    fn the_smallest_error_is_marked_and_columns_are_aligned() {
        let text = table(&[0.45, 0.52, 0.5]).to_text();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[2].contains("0.4000 / 0.4800*") && !lines[2].contains("0.5000 / 0.6000*"), "{text}");
        assert!(lines[3].contains("0.5500 / 0.6600*") && lines[3].ends_with('–'), "{text}");
        let column = |line: &str, what: &str| line[..line.find(what).unwrap()].chars().count();
        assert_eq!(column(lines[2], " / "), column(lines[3], " / "), "{text}");
    }

    #[test]
    fn the_verdict_says_when_federation_does_not_help() {
        let helped = table(&[0.45, 0.5, 0.48]);
        assert!(helped.verdict().contains("10.0 % less, and helped 1 of 2"), "{}", helped.verdict());
        assert_eq!(helped.not_helped(), ["Quay"]);
        let hurt = table(&[0.52, 0.5, 0.48]).verdict();
        assert!(hurt.starts_with("Federation did not help") && hurt.contains("\"alone\" was best"), "{hurt}");
    }
}
