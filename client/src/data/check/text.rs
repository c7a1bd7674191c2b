//! The report for a terminal.

use std::fmt;

use super::{Check, finding::Finding};

impl Finding {
    /// How often, as `12 of 300 (4.0 %)`.
    pub(super) fn how_often(&self) -> String {
        match (self.count, self.of) {
            (count, 0) => count.to_string(),
            (count, of) => format!("{count} of {of} ({})", percent(count, of)),
        }
    }
}

/// A share in percent; what is not nothing is not written as 0.
pub(super) fn percent(count: u64, of: u64) -> String {
    let share = 100.0 * count as f64 / of.max(1) as f64;
    if count > 0 && share < 0.1 { "below 0.1 %".to_owned() } else { format!("{share:.1} %") }
}

impl Check {
    /// The report in one sentence.
    pub fn verdict(&self) -> String {
        let look = self.findings.iter().filter(|finding| finding.look).count();
        match (self.first, self.findings.len(), look) {
            (None, ..) => "Nothing has been imported yet.".to_owned(),
            (_, 0, _) => "Nothing was found that needed a decision.".to_owned(),
            (_, all, 0) => format!("{all} things were found and decided; none of them stands out."),
            (_, all, 1) => format!("{all} things were found and decided; one is worth a look."),
            (_, all, look) => format!("{all} things were found and decided; {look} are worth a look."),
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.verdict())?;
        let tables: Vec<_> = self.tables.iter().map(|table| format!("{} {}", table.rows, table.table)).collect();
        if let (Some(first), Some(last)) = (self.first, self.last) {
            writeln!(f, "{}; sales from {first} to {last}", tables.join(", "))?;
        }
        for finding in &self.findings {
            let mark = if finding.look { "!" } else { " " };
            writeln!(f, "\n{mark} {}: {} {}", finding.subject.words(), finding.how_often(), finding.what)?;
            if !finding.detail.is_empty() {
                writeln!(f, "    {}", finding.detail)?;
            }
            for example in &finding.examples {
                writeln!(f, "    · {example}")?;
            }
            writeln!(f, "    decision: {}", finding.decision)?;
            if let Some(undo) = &finding.undo {
                writeln!(f, "    otherwise: {undo}")?;
            }
        }
        if !self.nothing.is_empty() {
            writeln!(f, "\nLooked for and not found: {}.", self.nothing.join("; "))?;
        }
        Ok(())
    }
}
