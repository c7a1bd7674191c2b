//! One thing found: how often, what was decided, what undoes it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::data::store::ImportEntry;

/// Examples that a finding names.
pub(super) const EXAMPLES: usize = 5;
/// Share of a table from which a finding is worth a look, where nothing else decides.
pub(super) const SHARE_WORTH_A_LOOK: f64 = 0.05;

/// What a finding is about; reports keep this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// Rows that an import left out.
    Import,
    /// Empty fields.
    MissingValues,
    /// Rows that may be there twice.
    Duplicates,
    /// Goods that came back, orders that were called off.
    Returns,
    /// Values that stand out.
    Outliers,
    /// Days that can be read in two ways.
    Dates,
    /// Time of day and time zone.
    Times,
    /// Prices, currencies, decimal commas.
    Numbers,
    /// Sales channels.
    Channels,
    /// Days on which nothing was sold.
    Gaps,
    /// Products of one table that another does not have.
    Catalogue,
}

impl Subject {
    /// As reports write it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Import => "imports",
            Self::MissingValues => "missing values",
            Self::Duplicates => "duplicates",
            Self::Returns => "returns",
            Self::Outliers => "outliers",
            Self::Dates => "dates",
            Self::Times => "times and time zones",
            Self::Numbers => "prices, currencies, decimal commas",
            Self::Channels => "sales channels",
            Self::Gaps => "gaps",
            Self::Catalogue => "catalogue",
        }
    }
}

/// One thing found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub subject: Subject,
    /// What was counted, in words that follow the count.
    pub what: &'static str,
    /// How often.
    pub count: u64,
    /// Of so many; 0 where there is no whole.
    pub of: u64,
    /// More words: how many units, which channels.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What was decided.
    pub decision: &'static str,
    /// What undoes the decision, or what to do where something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Whether it is worth a look.
    pub look: bool,
    /// The first of them, or the largest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

impl Finding {
    /// A finding that is worth a look where it concerns a twentieth of the whole.
    pub(super) fn new(subject: Subject, what: &'static str, count: usize, of: usize, decision: &'static str) -> Self {
        let look = of > 0 && count as f64 > SHARE_WORTH_A_LOOK * of as f64;
        Self {
            subject,
            what,
            count: count as u64,
            of: of as u64,
            detail: String::new(),
            decision,
            undo: None,
            look,
            examples: Vec::new(),
        }
    }

    pub(super) fn undo(mut self, undo: impl Into<String>) -> Self {
        self.undo = Some(undo.into());
        self
    }

    pub(super) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    pub(super) fn look(mut self, look: bool) -> Self {
        self.look = look && self.count > 0;
        self
    }

    /// Keeps the first few.
    pub(super) fn examples(mut self, examples: impl IntoIterator<Item = String>) -> Self {
        self.examples = examples.into_iter().take(EXAMPLES).collect();
        self
    }
}

/// Rows that imports left out, by reason.
pub(super) fn of_imports(imports: &[ImportEntry]) -> Vec<Finding> {
    let rows: u64 = imports.iter().map(|import| import.rows).sum();
    let mut by_reason: BTreeMap<&str, (u64, Vec<String>)> = BTreeMap::new();
    for import in imports {
        for (reason, count) in &import.rejected {
            let (total, files) = by_reason.entry(reason).or_default();
            *total += count;
            files.push(format!("{} of {} ({})", count, import.file, import.day));
        }
    }
    let mut findings = Vec::new();
    for (reason, (count, files)) in by_reason {
        let (what, undo) = in_words(reason);
        let finding =
            Finding::new(Subject::Import, what, count as usize, rows as usize, "left out, each with its reason");
        findings.push(finding.undo(undo).examples(files));
    }
    let several = imports.iter().filter(|import| import.currencies.len() > 1);
    let shown = several.clone().map(|import| {
        let signs: Vec<String> = import.currencies.iter().map(|(sign, count)| format!("{sign} {count}")).collect();
        format!("{}: {}", import.file, signs.join(", "))
    });
    let finding = Finding::new(
        Subject::Numbers,
        "imports with more than one currency",
        several.clone().count(),
        imports.len(),
        "amounts were taken as they are, whatever their currency",
    );
    let undo = "write amounts in one currency into the file and import it with --anew";
    findings.push(finding.look(true).undo(undo).examples(shown));
    findings
}

/// A reason as a report words it, and what helps.
fn in_words(reason: &str) -> (&'static str, &'static str) {
    match reason {
        "field-count" => ("rows with too few or too many fields", "mend the file and import it again"),
        "quote" => ("rows with a quote that is not closed", "mend the file and import it again"),
        "encoding" => ("rows that are not UTF-8", "set encoding in mapping.toml and import with --again"),
        "missing-value" => ("rows without a value they need", "mend the file and import it again"),
        "too-long" => ("rows with a value longer than any real one", "mend the file and import it again"),
        "date" => ("rows with a date that is none", "add its way of writing to date-formats in mapping.toml, --again"),
        "number" => ("rows with a number that is none", "see decimal-comma in mapping.toml, import with --again"),
        "negative-price" => {
            ("rows with a price below 0", "they are corrections of bills; if not, correct the file and import it again")
        }
        "out-of-range" => ("rows with a number no shop writes", "correct the file and import it again"),
        "zero-quantity" => ("rows of no units", "correct the file and import it again"),
        "flag" => ("rows with a flag that is neither yes nor no", "correct the file and import it again"),
        "duplicate" => (
            "rows that repeat one of the same file",
            "if both are real, give the column of line numbers with --column line=NAME and import with --anew",
        ),
        "json" => ("lines that are no JSON object", "mend the file and import it again"),
        _ => ("rows that could not be used", "mend the file and import it again"),
    }
}
