//! The report's data, gathered from everything that ran.

use forecastle_client::data::{bound::BoundReport, calendar::PROMOTION, order::Period, series::Frequency};
use forecastle_crypto::{
    dp::{
        plan::{EpsilonRows, PrivacyPlan},
        unit::PrivacyUnit,
    },
    ledger::audit::Verdict,
};

use super::{
    evaluate::{Exam, coverage, methods, table},
    launch::Imported,
    plan::size_advice,
};
use crate::report::{BoundedLines, Fan, Guarantee, Import, Ledger, Privacy, Reliability, ReportData, Round};

/// Steps of history that a plot shows.
const HISTORY_SHOWN: usize = 84;
/// Products that are plotted.
const FANS: usize = 4;

/// Everything the report is made from.
pub struct Material<'a> {
    /// What it is about.
    pub title: &'a str,
    /// The command line.
    pub command: String,
    /// Time it finished.
    pub finished_at: String,
    /// The plan.
    pub plan: &'a PrivacyPlan,
    /// Privately trained parameters.
    pub dimension: u32,
    /// Training period.
    pub period: Period,
    /// The rounds.
    pub rounds: Vec<Round>,
    /// What the bounds left out.
    pub bounded: &'a BoundReport,
    /// Step of the series.
    pub frequency: Frequency,
    /// The auditor's verdict.
    pub verdict: &'a Verdict,
    /// Imports.
    pub imported: &'a [Imported],
    /// Held-back steps by merchant.
    pub exams: &'a [Exam],
    /// More facts: name and value.
    pub facts: Vec<(String, String)>,
}

/// The three rows of ε for the merchant that was charged most.
pub fn guarantees(rows: Option<EpsilonRows>) -> Vec<Guarantee> {
    let of = |pick: fn(&EpsilonRows) -> f64| rows.as_ref().map(pick);
    vec![
        Guarantee {
            adversary: "anyone who reads the published models".into(),
            means: "sees every model; the noise of all survivors stands in between".into(),
            epsilon: of(|r| r.published.epsilon),
        },
        Guarantee {
            adversary: "the server, with the colluders assumed".into(),
            means: "sees every message, and some merchants tell it their noise; the cap is held against this row"
                .into(),
            epsilon: of(|r| r.server.epsilon),
        },
        Guarantee {
            adversary: "the server and every other merchant".into(),
            means: "everyone else colludes; only the merchant's own noise share is left".into(),
            epsilon: of(|r| r.everyone_else.epsilon),
        },
    ]
}

/// Puts the report together.
pub fn report(material: Material<'_>) -> ReportData {
    let m = material;
    let plan = m.plan;
    let rows = m.verdict.merchants.iter().max_by_key(|s| s.charges).and_then(|s| s.epsilon);
    let bounded_lines = (m.bounded.lines > 0)
        .then_some(BoundedLines { before: m.bounded.lines as u64, kept: m.bounded.lines_kept as u64 });
    let what = match plan.privacy.unit {
        PrivacyUnit::Customer => "one customer of one merchant, with all retained order lines, is added or removed",
        PrivacyUnit::Series => "one series of one merchant is added or removed",
        PrivacyUnit::Merchant => "one merchant's whole contribution is added or removed",
    };
    let claim = match plan.privacy.unit {
        PrivacyUnit::Customer => format!(
            "For any customer of merchant M, of whom in every step at most {} order lines over {} products in the period were used, the messages M sent satisfy (ε, δ)-differential privacy under addition or removal of that customer, against the adversaries above. Other lines were dropped.",
            plan.bounds.order_lines, plan.bounds.series
        ),
        _ => "For any series of merchant M, the messages M sent satisfy (ε, δ)-differential privacy under addition or removal of that series, against the adversaries above. These data name no customers: the claim protects a series, not a person.".into(),
    };
    ReportData {
        title: format!("Forecastle: {}", m.title),
        subtitle: format!(
            "trained on {}..{}, judged on the steps held back after it",
            m.period.start(),
            m.period.end()
        ),
        finished_at: m.finished_at,
        command: m.command,
        facts: m.facts,
        privacy: Privacy {
            unit: plan.privacy.unit.to_string(),
            neighbours: what.into(),
            delta: plan.privacy.delta,
            cap: plan.privacy.epsilon_cap,
            guarantees: guarantees(rows),
            charges: vec![
                (
                    "rounds charged".into(),
                    rows.map_or(0, |_| m.verdict.merchants.iter().map(|s| s.charges).max().unwrap_or(0)).to_string(),
                ),
                ("noise multiplier σ".into(), format!("{:.4} C", plan.step.noise_multiplier)),
                ("clip norm C".into(), plan.step.clip.to_string()),
                ("sampling rate q".into(), plan.step.sampling_rate.to_string()),
                ("fewest survivors m".into(), plan.rounds.survivors_min.to_string()),
                ("colluders assumed".into(), plan.rounds.colluders_assumed.to_string()),
                ("privately trained parameters".into(), m.dimension.to_string()),
                ("grid".into(), format!("{} units per C, {} bits", plan.integers.units_per_clip, plan.integers.bits)),
            ],
            bounds: match plan.privacy.unit {
                PrivacyUnit::Customer => vec![
                    ("order lines (K)".into(), plan.bounds.order_lines.to_string()),
                    ("products (L)".into(), plan.bounds.series.to_string()),
                    ("units (Q)".into(), plan.bounds.units.to_string()),
                ],
                // One clipped gradient, whatever the series holds.
                PrivacyUnit::Series | PrivacyUnit::Merchant => vec![("a step, in norm".into(), "C".into())],
            },
            bounded_lines,
            ledger: Ledger {
                verified: m.verdict.findings.is_empty(),
                root: m.verdict.root.to_string(),
                entries: m.verdict.entries,
                detail: m.verdict.findings.first().map_or_else(
                    || "forecastle-audit recomputed signatures, tree, plan, charges, rounds and models".into(),
                    |f| format!("{} findings; the first: {}", m.verdict.findings.len(), f.what),
                ),
            },
            claim,
        },
        rounds: m.rounds,
        accuracy: table(m.exams, m.frequency),
        fans: fans(m.exams),
        reliability: methods(m.frequency)
            .iter()
            .enumerate()
            .map(|(k, method)| Reliability { name: method.label().into(), below: coverage(m.exams, k) })
            .collect(),
        imports: imports(m.imported),
        size_advice: size_advice(plan, m.dimension),
    }
}

/// Products with most sales in the held-back steps, one a merchant, those with a promotion first.
fn fans(exams: &[Exam]) -> Vec<Fan> {
    let mut picked: Vec<(bool, f32, &Exam, usize)> = exams
        .iter()
        .filter_map(|exam| {
            (0..exam.series.len())
                .map(|k| {
                    let series = &exam.series[k];
                    let horizon = exam.actual[k].len();
                    let promoted = series.known.iter().skip(series.y.len()).take(horizon).any(|c| c[PROMOTION] > 0.0);
                    let sold: f32 = exam.actual[k].iter().filter(|v| v.is_finite()).sum();
                    (promoted, sold, exam, k)
                })
                .max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))
        })
        .collect();
    picked.sort_by(|a, b| b.0.cmp(&a.0).then(b.1.total_cmp(&a.1)));
    picked.into_iter().take(FANS).map(|(promoted, _, exam, k)| fan(exam, k, promoted)).collect()
}

fn fan(exam: &Exam, k: usize, promoted: bool) -> Fan {
    let series = &exam.series[k];
    let finite = |v: &f32| v.is_finite().then_some(*v);
    let from = series.y.len().saturating_sub(HISTORY_SHOWN);
    let horizon = exam.actual[k].len();
    let title = series.text.split(['\n', '.']).next().unwrap_or_default().trim().to_owned();
    Fan {
        title: if title.is_empty() { series.id.clone() } else { title },
        merchant: exam.merchant.clone(),
        start: series.date(from).to_string(),
        step_days: u32::try_from(series.frequency.days()).unwrap_or(1),
        history: series.y[from..].iter().map(finite).collect(),
        actual: exam.actual[k].iter().map(finite).collect(),
        quantiles: exam.forecasts[0][k].clone(),
        promotion: (from..series.y.len() + horizon)
            .map(|t| series.known.get(t).is_some_and(|c| c[PROMOTION] > 0.0))
            .collect(),
        caption: if promoted { "with a promotion in the held-back days".into() } else { String::new() },
    }
}

fn imports(imported: &[Imported]) -> Vec<Import> {
    imported
        .iter()
        .flat_map(|merchant| {
            merchant.reports.iter().map(|report| Import {
                merchant: merchant.merchant.clone(),
                file: report.file.clone(),
                rows: report.rows,
                imported: report.imported,
                rejected: report.reasons.iter().map(|(reason, count)| ((*reason).to_owned(), *count)).collect(),
            })
        })
        .collect()
}
