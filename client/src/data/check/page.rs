//! The report as one HTML file, without scripts and without anything to load.

use askama::Template;

use super::{Check, finding::Finding, plot, text::percent};

/// Imports that the page lists: the last ones.
const IMPORTS_SHOWN: usize = 30;

/// Why a page could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// The plot.
    #[error("the plot of sales by day could not be drawn: {0}")]
    Plot(String),
    /// The template.
    #[error("the page could not be filled in: {0}")]
    Template(#[from] askama::Error),
}

#[derive(Template)]
#[template(path = "check.html")]
struct Page<'a> {
    check: &'a Check,
    command: &'a str,
    verdict: String,
    days_plot: Option<String>,
    /// Findings of one subject each.
    subjects: Vec<(&'static str, Vec<Shown<'a>>)>,
    look: Vec<Shown<'a>>,
    imports: Vec<Import<'a>>,
    imports_left_out: usize,
}

/// A finding as the page shows it.
struct Shown<'a> {
    finding: &'a Finding,
    share: String,
}

impl<'a> From<&'a Finding> for Shown<'a> {
    fn from(finding: &'a Finding) -> Self {
        let Finding { count, of, .. } = *finding;
        Self { finding, share: if of == 0 { String::new() } else { format!("{} of {of}", percent(count, of)) } }
    }
}

struct Import<'a> {
    entry: &'a crate::data::store::ImportEntry,
    rejected: u64,
    reasons: String,
}

/// The page.
///
/// # Errors
/// [`PageError`].
pub fn render(check: &Check, command: &str) -> Result<String, PageError> {
    let mut subjects: Vec<(&'static str, Vec<Shown<'_>>)> = Vec::new();
    let mut in_order: Vec<&Finding> = check.findings.iter().collect();
    in_order.sort_by_key(|finding| finding.subject);
    for finding in in_order {
        let words = finding.subject.words();
        match subjects.last_mut().filter(|(before, _)| *before == words) {
            Some((_, findings)) => findings.push(finding.into()),
            None => subjects.push((words, vec![finding.into()])),
        }
    }
    let imports: Vec<Import<'_>> = check
        .imports
        .iter()
        .rev()
        .take(IMPORTS_SHOWN)
        .map(|entry| Import {
            entry,
            rejected: entry.rejected.values().sum(),
            reasons: entry.rejected.iter().map(|(reason, n)| format!("{n} {reason}")).collect::<Vec<_>>().join(", "),
        })
        .collect();
    let has_days = check.days.units.len() > 1;
    let days_plot = if has_days { Some(plot::days(&check.days).map_err(PageError::Plot)?) } else { None };
    let page = Page {
        verdict: check.verdict(),
        look: check.findings.iter().filter(|finding| finding.look).map(Shown::from).collect(),
        imports_left_out: check.imports.len() - imports.len(),
        days_plot,
        subjects,
        imports,
        check,
        command,
    };
    Ok(page.render()?)
}
