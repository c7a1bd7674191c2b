//! `forecastle privacy show`.

use clap::Subcommand;
use forecastle_crypto::dp::{filter, plan::PrivacyPlan, unit::PrivacyUnit};
use serde_json::json;

use super::{Format, Outcome, print_json};
use crate::federation::{home::Home, log_copy::LogCopy, own_ledger::OwnLedger};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// What this merchant has spent of its customers' privacy, against whom, and what is left.
    #[command(after_help = "Examples:
  forecastle privacy show
  forecastle privacy show --format json")]
    Show,
}

pub(super) fn run(home: &Home, verb: &Verb, format: Format) -> Outcome {
    let Verb::Show = verb;
    let membership = home.membership()?;
    let (plan, _) = home.plan()?;
    let policy = home.policy()?;
    let charges = OwnLedger::open(home.path())?.charges();
    let log = LogCopy::open(home, &membership)?;
    let cap = plan.privacy.epsilon_cap.min(policy.epsilon_max);
    let spent = filter::spent(charges.iter().map(|c| &c.event), plan.privacy.delta)?;
    let count = u32::try_from(charges.len())?;
    let rows = match (charges.last(), count) {
        (Some(last), 1..) => Some(plan.epsilon_rows(last.dimension, count)?),
        _ => None,
    };
    if format == Format::Json {
        return print_json(&json!({
            "merchant": membership.merchant,
            "unit": plan.privacy.unit,
            "delta": plan.privacy.delta,
            "epsilon": spent,
            "epsilon_cap": cap,
            "charges": count,
            "rounds_planned": plan.rounds.count,
            "period_start": plan.rounds.period_start,
            "period_end": plan.rounds.period_end,
            "rows": rows,
            "log_entries": log.size(),
        }));
    }
    say!(
        "{} in `{}`, data period {}..{}",
        membership.merchant,
        membership.federation,
        plan.rounds.period_start,
        plan.rounds.period_end
    );
    say!(
        "charged {count} of {} rounds; ε = {spent:.4} of at most {cap} at δ = {:e}",
        plan.rounds.count,
        plan.privacy.delta
    );
    if let Some(rows) = rows {
        say!("\n  who looks                                              ε (PLD)   second opinion (RDP)");
        for (who, row) in [
            ("anyone who reads the published models", rows.published),
            ("the server, with the colluders assumed in the plan", rows.server),
            ("the server, with every other merchant", rows.everyone_else),
        ] {
            let rdp = row.epsilon_rdp.map_or_else(|| "no bound known".to_owned(), |e| format!("{e:.4}"));
            say!("  {who:52}  {:>8.4}   {rdp}", row.epsilon);
        }
        say!("\n{}", claim(membership.merchant.as_str(), &plan));
        let odds = spent.exp();
        say!(
            "In words: who held an even guess about whether a given {} is in the data may become right in at most\n\
             {:.2} of 100 cases against the server and its assumed colluders, apart from a chance of {:e}.",
            plan.privacy.unit,
            100.0 * odds / (1.0 + odds),
            plan.privacy.delta
        );
    }
    Ok(())
}

/// The promise in words, as docs/PRIVACY.md has it.
fn claim(merchant: &str, plan: &PrivacyPlan) -> String {
    let unit = plan.privacy.unit;
    let used = match unit {
        PrivacyUnit::Customer => format!(
            ", of whom in every step at most {} order lines over {} products\nin the period were used",
            plan.bounds.order_lines, plan.bounds.series
        ),
        PrivacyUnit::Series | PrivacyUnit::Merchant => String::new(),
    };
    let dropped = if unit == PrivacyUnit::Customer { "Other lines were dropped. " } else { "" };
    format!(
        "For any {unit} of merchant {merchant}{used}, the messages {merchant} sent satisfy\n(ε, δ)-differential privacy \
         under addition or removal of that {unit}, against the observers above.\n{dropped}This is not a claim of anonymity."
    )
}
