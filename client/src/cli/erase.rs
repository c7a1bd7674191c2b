//! `forecastle data erase`.

use std::{error::Error, fmt, path::PathBuf};

use clap::Args;
use forecastle_crypto::dp::filter::{Balance, Budget};
use serde::Serialize;

use super::{Format, Outcome, customer::Customer, is_confirmed, print_json, privacy::observers};
use crate::{
    data::store::{Erased, Importer, Scope},
    durable::{self, Access},
    federation::{budget::BudgetFolder, home::Home, own_ledger::OwnLedger},
    forecast::Served,
};

/// Erase one customer from the stored tables, and keep their rows out of later imports.
///
/// Removes all rows of the customer, remembers the pseudonym, so that importing the same files again does not bring them
/// back, and says what was removed, what is made anew, and what cannot be reached from here.
#[derive(Args)]
#[command(after_help = "Examples:
  forecastle data erase --customer 17850
  forecastle data erase --customer 17850 --yes --out erasure-2024-07.json
  forecastle data erase --pseudonym 3f0c…  --for-good --yes

What the customer orders after the day of the erasure is taken again, unless --for-good says otherwise. `data import
--forget-erasure ID` takes an erasure back for imports to come. `data show` lists erasures.")]
pub(super) struct Arguments {
    #[command(flatten)]
    customer: Customer,
    /// Leave out what this customer orders later, too.
    #[arg(long)]
    for_good: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// File to write the record to: .json for programs, .txt to read. May be given twice.
    #[arg(long, value_name = "FILE")]
    out: Vec<PathBuf>,
}

/// What was done, and what was not: a record to keep.
#[derive(Serialize)]
struct Record {
    /// Version of this form.
    version: u8,
    /// Day, in UTC.
    day: String,
    #[serde(flatten)]
    erased: Erased,
    /// Whether the choice of `backtest --serve`, which was made on the customer's orders too, was forgotten.
    served_choice_forgotten: bool,
    /// What published models hold; absent where no federation was joined.
    published: Option<Published>,
    /// What is made anew from the remaining rows, in words.
    made_anew: &'static str,
    /// What this program cannot reach, in words.
    not_reached: [&'static str; 3],
}

/// What left this machine before.
#[derive(Serialize)]
struct Published {
    federation: String,
    merchant: String,
    /// Whom the plan protects.
    unit: String,
    delta: f64,
    rounds_charged: u32,
    /// ε of these rounds, by who looks.
    observers: Vec<Observed>,
    /// What was charged and reserved by unit and period, all plans together.
    budgets: Vec<Balance>,
}

/// What one observer can find out.
#[derive(Serialize)]
struct Observed {
    who: &'static str,
    /// Absent where no bound holds.
    epsilon: Option<f64>,
}

const MADE_ANEW: &str = "Series, fine-tuned models and calibrations are made from the tables by every command that needs them and \
                         are kept nowhere, so they are made without the erased rows from now on.";

const NOT_REACHED: [&str; 3] = [
    "The files that were imported, exports of them, and the shop's own database still hold the customer.",
    "Backups of the state folder made before today hold the rows, sealed. After `forecastle data key rotate` and the destruction \
     of every copy of the old key nobody can read them.",
    "Reports and forecasts that were written to files hold no customer, but were made with the rows.",
];

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    for path in &arguments.out {
        is_json(path)?;
    }
    let importer = Importer::open(&home.data())?;
    let Some(customer) = arguments.customer.pseudonym(&importer)? else {
        return Err("say which customer, with --customer ID or --pseudonym HEX".into());
    };
    let rows = importer.rows_of(customer)?;
    let total: u64 = rows.values().sum();
    let is_known = importer.erasure_list()?.iter().any(|one| one.pseudonym == customer.to_string());
    if total == 0 && !is_known {
        return Err(format!(
            "nothing is held about this customer (pseudonym {customer}), so nothing was erased; numbers are compared as the imported \
             files write them, letter by letter"
        )
        .into());
    }
    if total > 0 {
        let counts: Vec<_> = rows.iter().map(|(table, count)| format!("{count} of {table}")).collect();
        let question = format!(
            "Erase {total} rows ({}) of customer {customer}? They cannot be brought back from here.",
            counts.join(", ")
        );
        if !is_confirmed(&question, arguments.yes)? {
            return Err("nothing was erased".into());
        }
    }
    let published = published(home)?;
    // Before the rows go: a choice that is lost without them costs one more backtest, and nothing else.
    let served_choice_forgotten = total > 0 && Served::forget(home.path())?;
    let scope = if arguments.for_good { Scope::ForGood } else { Scope::UpToToday };
    let record = Record {
        version: 1,
        day: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
        erased: importer.erase(customer, scope)?,
        served_choice_forgotten,
        published,
        made_anew: MADE_ANEW,
        not_reached: NOT_REACHED,
    };
    for path in &arguments.out {
        let bytes = if is_json(path)? { serde_json::to_vec_pretty(&record)? } else { record.to_string().into_bytes() };
        durable::write(path, &bytes, Access::Secret)?;
    }
    match format {
        Format::Json => print_json(&record)?,
        Format::Text => {
            say!("{record}");
            for path in &arguments.out {
                say!("written to {}", path.display());
            }
        }
    }
    Ok(())
}

fn is_json(path: &std::path::Path) -> Result<bool, String> {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => Ok(true),
        Some("txt") => Ok(false),
        _ => Err(format!("--out {}: the name must end in .json or .txt", path.display())),
    }
}

/// What this merchant's ledger says of rounds that were charged, as `privacy show` has it.
fn published(home: &Home) -> Result<Option<Published>, Box<dyn Error + Send + Sync>> {
    if !home.is_joined() {
        return Ok(None);
    }
    let membership = home.membership()?;
    let (plan, plan_sha256) = home.plan()?;
    let charges = OwnLedger::open(home.path())?.charges();
    let reservations = BudgetFolder::of(home)?.reservations()?;
    let budgets = Budget::new(membership.server_key, &reservations, &charges).balances(&home.policy()?)?;
    let of_plan: Vec<_> = charges.iter().filter(|charge| charge.plan_sha256 == plan_sha256).collect();
    let rounds_charged = u32::try_from(of_plan.len())?;
    let rows = match of_plan.last() {
        Some(last) => observers(&plan, last.dimension, rounds_charged)?.into(),
        None => Vec::new(),
    };
    Ok(Some(Published {
        federation: membership.federation,
        merchant: membership.merchant.to_string(),
        unit: plan.privacy.unit.name().to_owned(),
        delta: plan.privacy.delta,
        rounds_charged,
        observers: rows
            .into_iter()
            .map(|row| Observed { who: row.who, epsilon: row.exposure.map(|exposure| exposure.spent.epsilon) })
            .collect(),
        budgets,
    }))
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Erased { pseudonym, rows, until, erased_before, is_new } = &self.erased;
        writeln!(f, "Erasure of the customer with the pseudonym {pseudonym}, {}", self.day)?;
        if !is_new {
            let day = erased_before.as_deref().unwrap_or("an earlier day");
            writeln!(f, "  Erased on {day}; nothing has come in since, so there was nothing to remove.")?;
        } else {
            let counts: Vec<_> = rows.iter().map(|(table, count)| format!("{count} rows of {table}")).collect();
            writeln!(f, "  Removed: {}.", if counts.is_empty() { "nothing".into() } else { counts.join(", ") })?;
        }
        match until {
            Some(day) => writeln!(
                f,
                "  Left out of every later import: this customer's rows up to {day}. For that the pseudonym and keyed \
                 hashes of the customer's order numbers are kept, and nothing else."
            )?,
            None => writeln!(
                f,
                "  Left out of every later import: this customer's rows of any day. For that the pseudonym and keyed \
                 hashes of the customer's order numbers are kept, and nothing else."
            )?,
        }
        writeln!(f, "\nMade anew\n  {}", self.made_anew)?;
        if self.served_choice_forgotten {
            writeln!(
                f,
                "  The choice of a way to forecast, which `backtest --serve` had made, was forgotten; run it again to choose anew."
            )?;
        }
        writeln!(f, "\nPublished models")?;
        match &self.published {
            None => {
                writeln!(f, "  No federation was joined from this folder: nothing made of these rows has left it.")?
            }
            Some(published) if published.rounds_charged == 0 => writeln!(
                f,
                "  {} has joined `{}`, but no round was charged: no published model was trained with these rows.",
                published.merchant, published.federation
            )?,
            Some(published) => write_published(f, published)?,
        }
        writeln!(f, "\nNot reached from here")?;
        for sentence in self.not_reached {
            writeln!(f, "  {sentence}")?;
        }
        Ok(())
    }
}

fn write_published(f: &mut fmt::Formatter<'_>, published: &Published) -> fmt::Result {
    let Published { federation, merchant, unit, delta, rounds_charged, observers, .. } = published;
    writeln!(
        f,
        "  {merchant} took part in {rounds_charged} rounds of `{federation}`. Models published since may have learned from these rows, \
         and cannot unlearn them. What they tell about one {unit} stays bounded by what was charged, at δ = {delta:e}:"
    )?;
    for Observed { who, epsilon } in observers {
        match epsilon {
            Some(epsilon) => writeln!(f, "    ε = {epsilon:.4} for {who}")?,
            None => writeln!(f, "    no bound for {who}")?,
        }
    }
    if unit != "customer" {
        writeln!(f, "  These figures are for a {unit}, not for one customer: the plan protects no smaller unit.")?;
    }
    writeln!(f, "  Rounds to come use the remaining rows. No budget comes back: what was charged stays charged.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(published: Option<Published>) -> Record {
        let erased = Erased {
            pseudonym: "66130cdd".into(),
            rows: [(crate::data::ingest::TableKind::Orders, 3)].into(),
            until: Some("2024-05-01".into()),
            erased_before: None,
            is_new: true,
        };
        let day = "2024-05-01".to_owned();
        let (made_anew, not_reached) = (MADE_ANEW, NOT_REACHED);
        Record { version: 1, day, erased, served_choice_forgotten: false, published, made_anew, not_reached }
    }

    fn published(unit: &str, rounds_charged: u32) -> Published {
        Published {
            federation: "tea".into(),
            merchant: "green".into(),
            unit: unit.into(),
            delta: 1e-6,
            rounds_charged,
            observers: vec![
                Observed { who: "the reader", epsilon: Some(6.5) },
                Observed { who: "everybody", epsilon: None },
            ],
            budgets: Vec::new(),
        }
    }

    #[test]
    fn a_record_says_what_published_models_may_still_tell() {
        let said = record(None).to_string();
        assert!(said.contains("3 rows of orders") && said.contains("No federation was joined"), "{said}");
        let said = record(Some(published("customer", 0))).to_string();
        assert!(said.contains("no round was charged") && !said.contains("ε ="), "{said}");
        let said = record(Some(published("customer", 20))).to_string();
        for words in
            ["20 rounds of `tea`", "one customer", "δ = 1e-6", "ε = 6.5000 for the reader", "no bound for everybody"]
        {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(said.contains("No budget comes back") && !said.contains("no smaller unit"), "{said}");
        let said = record(Some(published("series", 20))).to_string();
        assert!(said.contains("not for one customer"), "{said}");
    }
}
