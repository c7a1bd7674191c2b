//! The report as one HTML page: to read in a browser, and to print.

use askama::Template;
use forecastle_crypto::{
    dp::{accountant::Spent, unit::PrivacyUnit},
    ledger::audit::{Class, RoundOutcome, RoundRecord},
};

use super::{
    ReportError,
    facts::{AdversaryFacts, Facts},
    plot, words,
};
use crate::conclusions::{Conclusions, factor_text, per_cent, thousands};

/// The most rounds that the page lists; the JSON report holds all.
const ROUNDS_LISTED: usize = 120;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    facts: &'a Facts,
    summary: Vec<String>,
    over_rounds: String,
    profile: Option<String>,
    cohorts: Option<String>,
    beliefs: Vec<BeliefRow>,
    changes: Vec<(String, Vec<f64>)>,
    /// Merchants in the sum, and in how many rounds.
    sizes: Vec<(u32, usize)>,
    abandoned: Vec<(&'a RoundRecord, &'a str)>,
    published: Vec<Published<'a>>,
    rounds_left_out: usize,
}

/// A belief, and the least and greatest that each adversary may come to.
struct BeliefRow {
    before: f64,
    after: Vec<(String, String)>,
}

struct Published<'a> {
    round: &'a RoundRecord,
    cohort: u32,
    survivors: u32,
    noise: f64,
    version: u64,
    digest: String,
}

/// Fills in the page.
pub(super) fn html(facts: &Facts) -> Result<String, ReportError> {
    let mut published: Vec<Published<'_>> = facts.rounds.iter().filter_map(of_published).collect();
    let mut sizes = std::collections::BTreeMap::<u32, usize>::new();
    for round in &published {
        *sizes.entry(round.survivors).or_default() += 1;
    }
    let bars: Vec<_> = published.iter().map(|p| (p.round.round, p.cohort, p.survivors)).collect();
    let abandoned = facts
        .rounds
        .iter()
        .filter_map(|round| match &round.outcome {
            RoundOutcome::Abandoned { reason } => Some((round, reason.as_str())),
            RoundOutcome::Published { .. } => None,
        })
        .take(ROUNDS_LISTED)
        .collect();
    let rounds_left_out = published.len().saturating_sub(ROUNDS_LISTED);
    published.truncate(ROUNDS_LISTED);
    let charged = facts.rounds_charged > 0;
    let page = Page {
        summary: summary(facts),
        beliefs: beliefs(facts),
        changes: changes(facts),
        over_rounds: plot::over_rounds(&facts.over_rounds, facts.rounds_charged, facts.promise.epsilon_cap)?,
        profile: charged.then(|| plot::profile(&facts.adversaries, facts.promise.delta)).transpose()?,
        cohorts: (!bars.is_empty()).then(|| plot::cohorts(&bars)).transpose()?,
        sizes: sizes.into_iter().collect(),
        abandoned,
        published,
        rounds_left_out,
        facts,
    };
    Ok(page.render()?)
}

fn of_published(round: &RoundRecord) -> Option<Published<'_>> {
    match &round.outcome {
        RoundOutcome::Published { cohort, survivors, noise_multiplier, model_version, model_sha256 } => {
            Some(Published {
                round,
                cohort: *cohort,
                survivors: *survivors,
                noise: *noise_multiplier,
                version: *model_version,
                digest: model_sha256.to_string(),
            })
        }
        RoundOutcome::Abandoned { .. } => None,
    }
}

/// The extremes of each belief, rounded outwards.
fn beliefs(facts: &Facts) -> Vec<BeliefRow> {
    let odds: Vec<&Conclusions> = facts.adversaries.iter().filter_map(|row| row.odds.as_ref()).collect();
    let least = |share: f64| format!("{:.2}\u{a0}%", (share * 1e4).floor() / 1e2);
    let Some(first) = odds.first() else { return Vec::new() };
    (0..first.beliefs.len())
        .map(|k| BeliefRow {
            before: first.beliefs[k].before,
            after: odds
                .iter()
                .filter_map(|odds| odds.beliefs.get(k))
                .map(|belief| (least(belief.at_least), per_cent(belief.at_most, 2)))
                .collect(),
        })
        .collect()
}

/// How likely odds move by more than each factor, for each adversary.
fn changes(facts: &Facts) -> Vec<(String, Vec<f64>)> {
    let odds: Vec<&Conclusions> = facts.adversaries.iter().filter_map(|row| row.odds.as_ref()).collect();
    let Some(first) = odds.first() else { return Vec::new() };
    (0..first.changes.len())
        .map(|k| {
            let chances = odds.iter().filter_map(|odds| odds.changes.get(k)).map(|change| change.chance).collect();
            (format!("× {}", first.changes[k].factor), chances)
        })
        .collect()
}

/// What a reader in a hurry should know.
fn summary(facts: &Facts) -> Vec<String> {
    let promise = &facts.promise;
    let mut said = vec![match facts.findings.len() {
        0 => format!(
            "The log was checked against {} rules and nothing was found that does not fit. All figures were recomputed from \
             its entries.",
            facts.rules_checked
        ),
        _ => format!(
            "The log does not fit together: {}, listed under “Verification”. {}",
            plural(facts.findings.len(), "finding"),
            match facts.findings.iter().map(|finding| finding.class).max() {
                Some(Class::Integrity) =>
                    "Some concern the record itself, so no figure in this report should be relied on.",
                Some(Class::Privacy) =>
                    "Some concern the promise: more may have been spent on a person than the figures say.",
                Some(Class::Order) | None => "They concern book-keeping; no promise is shown to be broken.",
            }
        ),
    }];
    if facts.rounds_charged == 0 {
        said.push("No merchant has charged anything yet, so nothing has been spent.".to_owned());
    }
    if facts.findings.iter().any(|finding| finding.class == Class::Integrity) {
        said.push("What follows is what the log would mean if it could be relied on.".to_owned());
    }
    for row in &facts.adversaries {
        if let (Some(spent), Some(odds)) = (row.spent, &row.odds) {
            said.push(in_words(&row.who, spent, odds, promise.unit));
        }
    }
    if let Some(two) = facts.several_merchants.iter().find(|row| row.merchants == 2) {
        said.push(format!(
            "Whoever is a customer of two of these merchants is protected less: ε = {} against readers of the models, at most \
             {} of guesses right.",
            epsilon(two.published.epsilon),
            per_cent(two.published_right_guesses, 1)
        ));
    }
    said.push(
        "All this presumes that each merchant's software does what it signs; what supports that, and what no log can show, is \
         said under “Verification”. This is not a claim of anonymity."
            .to_owned(),
    );
    said
}

fn in_words(who: &str, spent: Spent, odds: &Conclusions, unit: PrivacyUnit) -> String {
    let claim = format!("Against {who}: ε = {}.", epsilon(spent.epsilon));
    let right = per_cent(odds.right_guesses, 1);
    if odds.right_guesses > 0.99 {
        return format!(
            "{claim} Taken alone this bounds next to nothing: such an observer may become all but certain whether a given \
             {unit} is in the data."
        );
    }
    format!(
        "{claim} A guess whether a given {unit} is in the data, at even odds, is right at most {right} of the time."
    )
}

/// Three decimals, rounded up.
fn epsilon(value: f64) -> String {
    format!("{:.3}", (value * 1e3).ceil() / 1e3)
}

fn plural(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// Words and numbers that the template asks for.
impl Page<'_> {
    fn epsilon(&self, spent: &Spent) -> String {
        epsilon(spent.epsilon)
    }

    fn second(&self, spent: &Spent) -> String {
        spent.epsilon_rdp.map_or_else(|| "none known".to_owned(), epsilon)
    }

    fn share(&self, value: &f64) -> String {
        per_cent(*value, 1)
    }

    /// A chance: per cent, or a power of ten where it is small.
    fn chance(&self, value: &f64) -> String {
        if *value < 1e-4 { format!("{value:.1e}") } else { per_cent(*value, 2) }
    }

    /// The chance that any of `people` meets an exception.
    fn any_of(&self, odds: &Conclusions, people: u32) -> String {
        per_cent((odds.larger_change * f64::from(people)).min(1.0), 2)
    }

    /// "4", or "4 to 6".
    fn range(&self, range: &(u32, u32)) -> String {
        if range.0 == range.1 { range.0.to_string() } else { format!("{} to {}", range.0, range.1) }
    }

    fn factor(&self, odds: &Conclusions) -> String {
        factor_text(odds.epsilon)
    }

    fn number(&self, value: &u64) -> String {
        thousands(*value)
    }

    fn utc(&self, at_ms: &u64) -> String {
        words::utc(*at_ms)
    }

    fn per_customer(&self) -> bool {
        self.facts.promise.unit == PrivacyUnit::Customer
    }

    fn per_series(&self) -> bool {
        self.facts.promise.unit == PrivacyUnit::Series
    }

    /// Whether the canaries stand for something else than the promise protects.
    fn other_kind(&self) -> bool {
        let kind = self.facts.canaries.as_ref().map(|canaries| canaries.result.unit.name());
        kind.is_some_and(|kind| kind != self.facts.promise.unit.name())
    }

    fn counted_more(&self) -> bool {
        self.facts.merchants.iter().any(|merchant| merchant.charges_counted > merchant.charges)
    }

    /// Whether no useful bound holds against this adversary.
    fn hardly_bounded(&self, row: &AdversaryFacts) -> bool {
        row.odds.as_ref().is_some_and(|odds| odds.right_guesses > 0.99)
    }

    /// The style of a curve's key.
    fn key(&self, position: &usize) -> String {
        let (color, dash, _) = plot::LINES[(*position).min(2)];
        let style = match dash {
            0 => "solid",
            3 => "dotted",
            _ => "dashed",
        };
        format!("border-top:3px {style} rgb({},{},{})", color.0, color.1, color.2)
    }

    fn findings_of(&self, class: &str) -> usize {
        self.facts.findings.iter().filter(|finding| finding.class.name() == class).count()
    }
}
