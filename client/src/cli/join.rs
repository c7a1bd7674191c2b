//! `forecastle join`.

use std::path::PathBuf;

use clap::Args;
use forecastle_crypto::{
    dp::{filter::MerchantPolicy, unit::PrivacyUnit},
    identity::MerchantId,
};
use serde_json::json;

use super::{Format, Outcome, print_json, privacy::training_in_words, runtime};
use crate::{
    federation::{budget::BudgetFolder, home::Home, join::join},
    round::driver::now_ms,
};

/// Join a federation with a one-time invitation.
///
/// Makes this merchant's keys, uses the invitation up, and keeps the federation's privacy plan. The plan is
/// refused when it may cost more than --max-epsilon, or more than is left of the budget for the same days; see
/// `forecastle privacy preview`. Its whole schedule is reserved.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle join \"$(cat invitation.txt)\" --merchant green-garden
  forecastle join --invitation-file invitation.txt --merchant green-garden --max-epsilon 4
  forecastle join --invitation-file invitation.txt --merchant green-garden --accept-unit merchant
  forecastle join --invitation-file second.txt --merchant green-garden --dir second --budget ~/forecastle-budget")]
pub(super) struct Arguments {
    /// The invitation: one line beginning with `fcinvite1.`
    #[arg(required_unless_present = "invitation_file")]
    invitation: Option<String>,
    /// A file that holds the invitation.
    #[arg(long, value_name = "FILE", conflicts_with = "invitation")]
    invitation_file: Option<PathBuf>,
    /// Name under which this merchant is known in the federation: 1 to 64 of a-z, 0-9, -
    #[arg(long, value_name = "NAME")]
    merchant: MerchantId,
    /// The most ε that a data period of this merchant may ever cost.
    #[arg(long, value_name = "EPSILON", default_value_t = MerchantPolicy::default().epsilon_max)]
    max_epsilon: f64,
    /// Also accept a plan that protects this unit: `merchant` hides this merchant as a whole, and gives no customer of it
    /// a guarantee of its own. Customers and series are accepted without asking.
    #[arg(long, value_name = "UNIT")]
    accept_unit: Option<PrivacyUnit>,
    /// Count in this folder what is reserved, together with this merchant's other memberships.
    ///
    /// A merchant that belongs to several federations has one budget for the days of its data. Name the same folder
    /// each time, or the federations' costs add up unseen.
    #[arg(long, value_name = "DIR")]
    budget: Option<PathBuf>,
}

pub(super) fn run(home: &Home, arguments: Arguments, format: Format) -> Outcome {
    let text = match (arguments.invitation, arguments.invitation_file) {
        (Some(text), _) => text,
        (None, Some(path)) => {
            std::fs::read_to_string(&path).map_err(|e| format!("cannot read {}: {e}", path.display()))?
        }
        (None, None) => return Err("give the invitation, or --invitation-file FILE".into()),
    };
    if !(arguments.max_epsilon.is_finite() && arguments.max_epsilon > 0.0) {
        return Err("--max-epsilon must be a positive number".into());
    }
    if let Some(folder) = &arguments.budget {
        BudgetFolder::share(home, folder)?;
    }
    let mut policy = MerchantPolicy { epsilon_max: arguments.max_epsilon, ..MerchantPolicy::default() };
    policy.units.extend(arguments.accept_unit.filter(|unit| !MerchantPolicy::default().units.contains(unit)));
    let (membership, plan) = runtime()?.block_on(join(home, &text, arguments.merchant, &policy, now_ms()))?;
    match format {
        Format::Json => print_json(&json!({
            "federation": membership.federation,
            "merchant": membership.merchant,
            "plan": plan,
        })),
        Format::Text => {
            say!("joined `{}` as `{}`; state in {}", membership.federation, membership.merchant, home.path().display());
            say!(
                "plan `{}`: unit {}, ε at most {} at δ = {:e}, {} rounds over {}..{}",
                plan.name,
                plan.privacy.unit,
                plan.privacy.epsilon_cap,
                plan.privacy.delta,
                plan.rounds.count,
                plan.rounds.period_start,
                plan.rounds.period_end
            );
            say!("{}", training_in_words(&plan));
            if plan.privacy.unit == PrivacyUnit::Customer {
                say!(
                    "used of every customer, in every step: at most {} order lines over {} products, {} units",
                    plan.bounds.order_lines,
                    plan.bounds.series,
                    plan.bounds.units
                );
            }
            say!("next: forecastle data import orders.csv, then forecastle train");
            Ok(())
        }
    }
}
