//! `forecastle privacy show`.

use forecastle_crypto::dp::filter::{Balance, Budget};
use serde_json::json;

use super::{claim, observers, print_observers, training_in_words};
use crate::{
    cli::{Format, Outcome, print_json},
    federation::{budget::BudgetFolder, home::Home, log_copy::LogCopy, own_ledger::OwnLedger},
};

pub(super) fn run(home: &Home, format: Format) -> Outcome {
    let membership = home.membership()?;
    let (plan, plan_sha256) = home.plan()?;
    let policy = home.policy()?;
    let charges = OwnLedger::open(home.path())?.charges();
    let reservations = BudgetFolder::of(home)?.reservations()?;
    let balances = Budget::new(membership.server_key, &reservations, &charges).balances(&policy)?;
    let log = LogCopy::open(home, &membership)?;
    // Of this plan alone; what other plans added to a period is in the balances.
    let of_plan: Vec<_> = charges.iter().filter(|c| c.plan_sha256 == plan_sha256).collect();
    let count = u32::try_from(of_plan.len())?;
    let rows = match of_plan.last() {
        Some(last) => Some(observers(&plan, last.dimension, count)?),
        None => None,
    };
    if format == Format::Json {
        return print_json(&json!({
            "merchant": membership.merchant,
            "federation": membership.federation,
            "unit": plan.privacy.unit,
            "noise": plan.noise_mode(),
            "delta": plan.privacy.delta,
            "charges": count,
            "rounds_planned": plan.rounds.count,
            "budgets": balances,
            "observers": rows,
            "log_entries": log.size(),
        }));
    }
    say!("{} in `{}`: {count} of {} rounds charged\n", membership.merchant, membership.federation, plan.rounds.count);
    print_balances(&balances);
    if let Some(rows) = rows {
        say!("\n{}", training_in_words(&plan));
        say!("\nWhat the {count} rounds charged so far let an observer find out:\n");
        print_observers(&rows, &plan);
        say!("\n{}", claim(membership.merchant.as_str(), &plan));
    }
    Ok(())
}

/// One line a (unit, period).
pub(super) fn print_balances(balances: &[Balance]) {
    if balances.is_empty() {
        say!("Nothing is reserved and nothing was spent.");
        return;
    }
    say!("  unit      data period             δ       cap      reserved  spent    remaining  rounds charged");
    for b in balances {
        say!(
            "  {:<8}  {}..{}  {:<6}  {:<7}  {:<8.4}  {:<7.4}  {:<9.4}  {} of {}{}",
            b.unit.name(),
            b.period_start,
            b.period_end,
            format!("{:e}", b.delta),
            b.cap,
            b.reserved,
            b.spent,
            b.remaining,
            b.rounds_charged,
            b.rounds_reserved,
            if b.plans > 1 { format!(", {} plans", b.plans) } else { String::new() }
        );
    }
    say!(
        "\n  What a plan may cost in full is reserved when it is accepted, and each round draws on it. Nothing comes back:\n  \
         not from a round that failed, not from a schedule that ended early, not from erased data."
    );
    if balances.iter().any(|balance| balance.mixed) {
        say!(
            "\n  Some of these days were used under two units. Each figure leaves out what the other unit's rounds released;\n  \
             neither is the whole truth about anybody."
        );
    }
}
