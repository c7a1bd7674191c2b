//! `forecastle privacy preview`: what a plan would mean, before anything is agreed.

use std::path::PathBuf;

use clap::Args;
use forecastle_crypto::{
    dp::{
        filter::{Budget, Floor, MerchantPolicy, Reservation},
        plan::{NoiseMode, PLAN_BYTES_MAX, PrivacyPlan},
        unit::PrivacyUnit,
    },
    identity::{MerchantId, VerifyingKey},
};
use serde::Serialize;

use super::{Observer, observers, print_observers, training_in_words};
use crate::{
    cli::{Format, Outcome, base::shared_model, print_json, runtime},
    data::{bound::BoundReport, prepare, store::DataStore},
    federation::{
        budget::BudgetFolder,
        home::Home,
        join::{Preview, preview},
        log_copy::LogCopy,
        own_ledger::OwnLedger,
    },
    round::driver::now_ms,
};

#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The invitation: one line beginning with `fcinvite1.`
    invitation: Option<String>,
    /// A file that holds the invitation.
    #[arg(long, value_name = "FILE", conflicts_with = "invitation")]
    invitation_file: Option<PathBuf>,
    /// A plan file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["invitation", "invitation_file"])]
    plan: Option<PathBuf>,
    /// The most ε that a data period of this merchant may ever cost [default: as in policy.toml, or 8].
    #[arg(long, value_name = "EPSILON")]
    max_epsilon: Option<f64>,
    /// Privately trained parameters of the model [default: the joined federation's, or those of the warm start].
    #[arg(long, value_name = "NUMBER")]
    parameters: Option<u32>,
}

/// Everything that is shown.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer {
    federation: Option<String>,
    plan: PrivacyPlan,
    parameters: u32,
    observers: [Observer; 3],
    contribution_bounds: Contribution,
    floors: Vec<Floor>,
    budget: Fit,
    accepted: bool,
    not_protected: Vec<String>,
}

/// What the plan's bounds would leave of the data at hand. For the merchant's eyes only.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "data")]
enum Contribution {
    /// Nothing imported, or not usable under this plan.
    Unknown { why: String },
    /// Imported, and bounded.
    Bounded { series: usize, report: Option<BoundReport> },
}

/// Whether the whole schedule fits into what is left of the merchant's budget.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case", tag = "fits")]
enum Fit {
    /// It does.
    Yes { reserved_before: f64, reserved_after: f64, cap: f64 },
    /// It does not.
    No { why: String },
}

pub(super) fn run(home: &Home, arguments: &Arguments, format: Format) -> Outcome {
    let shown = source(home, arguments)?;
    let plan = &shown.plan;
    let mut policy = home.policy()?;
    if let Some(most) = arguments.max_epsilon {
        if !(most.is_finite() && most > 0.0) {
            return Err("--max-epsilon must be a positive number".into());
        }
        policy.epsilon_max = most;
    }
    let (_, model) = shared_model(home)?;
    let parameters = match (arguments.parameters, known_dimension(home)?) {
        (Some(given), _) => given,
        (None, Some(known)) => known,
        (None, None) => u32::try_from(model.federated_len())?,
    };
    let store = DataStore::open(&home.data())?;
    let choice = home.series_choice()?.for_inputs(model.config().inputs());
    let bounded = prepare::bounded_series(&(&store).into(), choice, model.config().frequency, plan);
    let contribution_bounds = match bounded {
        Ok(prepared) => Contribution::Bounded { series: prepared.series.len(), report: prepared.bounds },
        Err(error) => Contribution::Unknown { why: error.to_string() },
    };
    let floors = policy.floors(plan);
    let budget = fit(home, &shown, parameters, &policy)?;
    let answer = Answer {
        accepted: floors.iter().all(|floor| floor.kept) && matches!(budget, Fit::Yes { .. }),
        federation: (!shown.federation.is_empty()).then(|| shown.federation.clone()),
        parameters,
        observers: observers(plan, parameters, plan.rounds.count)?,
        contribution_bounds,
        floors,
        budget,
        not_protected: not_protected(plan),
        plan: shown.plan,
    };
    match format {
        Format::Json => print_json(&answer),
        Format::Text => {
            print(&answer, arguments.parameters.is_none() && known_dimension(home)?.is_none());
            Ok(())
        }
    }
}

/// The plan, and of which federation it is where that is known.
fn source(home: &Home, arguments: &Arguments) -> Result<Preview, Box<dyn std::error::Error + Send + Sync>> {
    let read = |path: &PathBuf| std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()));
    let file = |plan_bytes: Vec<u8>, federation: String, server_key: VerifyingKey| {
        let plan = PrivacyPlan::parse(&plan_bytes)?;
        Ok(Preview { federation, server_key, plan, plan_bytes })
    };
    if let Some(path) = &arguments.plan {
        let length = std::fs::metadata(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?.len();
        if length > PLAN_BYTES_MAX as u64 {
            return Err(format!("{} is no plan: it has {length} bytes", path.display()).into());
        }
        // Of no federation yet: a key that nobody has.
        return file(read(path)?, String::new(), VerifyingKey::from_bytes([0; 32]));
    }
    let text = match (&arguments.invitation, &arguments.invitation_file) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(path)) => Some(String::from_utf8_lossy(&read(path)?).trim().to_owned()),
        (None, None) => None,
    };
    if let Some(text) = text {
        return Ok(runtime()?.block_on(preview(&text, now_ms()))?);
    }
    if !home.is_joined() {
        return Err(
            "say which plan: --plan FILE, --invitation-file FILE, or --dir with a federation that was joined".into()
        );
    }
    let membership = home.membership()?;
    file(crate::durable::read(&home.path().join("plan.toml"))?, membership.federation, membership.server_key)
}

/// Parameters of the joined federation's model, from its log.
fn known_dimension(home: &Home) -> Result<Option<u32>, Box<dyn std::error::Error + Send + Sync>> {
    if !home.is_joined() {
        return Ok(None);
    }
    Ok(LogCopy::open(home, &home.membership()?)?.founded().map(|founded| founded.dimension))
}

fn fit(
    home: &Home,
    shown: &Preview,
    parameters: u32,
    policy: &MerchantPolicy,
) -> Result<Fit, Box<dyn std::error::Error + Send + Sync>> {
    // Whose name it will be is of no matter to the budget.
    let (own, merchant) = match home.is_joined() {
        true => home.membership().map(|m| (m.server_key, m.merchant))?,
        false => (shown.server_key, "this-merchant".parse::<MerchantId>()?),
    };
    let charges = OwnLedger::open(home.path())?.charges();
    let reservations = BudgetFolder::of(home)?.reservations()?;
    let digest = PrivacyPlan::digest_of(&shown.plan_bytes);
    let federation = (shown.federation.as_str(), shown.server_key);
    let run = charges.iter().filter(|c| c.plan_sha256 == digest).map(|c| c.run).max().unwrap_or(1);
    let fitted = Reservation::of(&shown.plan, digest, run, federation, &merchant, Some(parameters), now_ms())
        .and_then(|next| Budget::new(own, &reservations, &charges).reserve(&next, policy));
    Ok(match fitted {
        Ok(r) => Fit::Yes { reserved_before: r.epsilon_before, reserved_after: r.epsilon_after, cap: r.cap },
        Err(refusal) => Fit::No { why: refusal.to_string() },
    })
}

/// What the guarantee leaves open, in the order of how often it is misunderstood.
fn not_protected(plan: &PrivacyPlan) -> Vec<String> {
    let mut list = Vec::new();
    match plan.privacy.unit {
        PrivacyUnit::Customer => list.push(
            "A person who buys from several merchants is a customer of each: the figures add up over merchants, and over data periods."
                .to_owned(),
        ),
        PrivacyUnit::Series => list.push(
            "People: the figures are about one product's series. A customer who buys many products is hidden less, by an amount that is not bounded here."
                .to_owned(),
        ),
        PrivacyUnit::Merchant => {
            list.push(
                "Anything smaller than this merchant: the lines of one customer may turn its whole update around, which the figures do not count."
                    .to_owned(),
            );
        }
    }
    list.extend(
        [
            "That this merchant is a member, and in which rounds it took part.",
            "What follows about a person from other people's data: a small ε is not anonymity.",
            "Forecasts and local fine-tuning use every order line; they never leave this machine, and whoever reads them reads that.",
        ]
        .map(str::to_owned),
    );
    if plan.noise_mode() == NoiseMode::Distributed {
        list.push(
            "Against everyone else together only this merchant's own share of the noise counts: the last row.".into(),
        );
    }
    list
}

fn print(answer: &Answer, assumed: bool) {
    let (plan, privacy, rounds) = (&answer.plan, &answer.plan.privacy, &answer.plan.rounds);
    let of = answer.federation.as_ref().map(|name| format!(" of `{name}`")).unwrap_or_default();
    say!("Plan `{}`{of}", plan.name);
    say!(
        "  {} rounds over the data of {}..{}, at least {} merchants in every sum, {} assumed to collude",
        rounds.count,
        rounds.period_start,
        rounds.period_end,
        rounds.survivors_min,
        rounds.colluders_assumed
    );
    say!("  ε at most {} at δ = {:e}, for one {}", privacy.epsilon_cap, privacy.delta, privacy.unit);
    let model = if assumed { ", assumed (--parameters)" } else { "" };
    say!("  a model of {} privately trained parameters{model}", answer.parameters);
    say!("  {}\n", training_in_words(plan));

    let about = match privacy.unit {
        PrivacyUnit::Merchant => "you as a whole".to_owned(),
        unit => format!("one {unit} of yours"),
    };
    say!("After all rounds, an observer can find out about {about}:\n");
    print_observers(&answer.observers, plan);

    say!("\nWhat training would use of your data (computed here, shown here only):\n");
    if privacy.unit == PrivacyUnit::Customer {
        say!(
            "  of each customer, in every step, at most {} order lines over {} products, {} units",
            plan.bounds.order_lines,
            plan.bounds.series,
            plan.bounds.units
        );
    }
    match &answer.contribution_bounds {
        Contribution::Unknown { why } => say!("  your own share is not known: {why}"),
        Contribution::Bounded { series, report } => {
            say!("  {series} of your series would take part");
            if let Some(report) = report {
                say!("  {report}");
                if report.anonymous_lines > 0 {
                    say!(
                        "  {} lines name no customer; each counts as a customer of its own, so a person behind several\n  \
                         of them is protected for each line only.",
                        report.anonymous_lines
                    );
                }
            }
        }
    }

    say!("\nNot protected:\n");
    answer.not_protected.iter().for_each(|line| say!("  - {line}"));

    say!("\nYour policy:\n");
    for floor in &answer.floors {
        let mark = if floor.kept { "kept   " } else { "REFUSED" };
        say!("  {mark}  {}: {} (policy: {})", floor.what, floor.plan, floor.policy);
        if !floor.kept {
            say!("           {}", floor.why);
        }
    }
    match &answer.budget {
        Fit::Yes { reserved_before, reserved_after, cap } => say!(
            "  kept     budget of these days: ε {reserved_before:.4} reserved before, {reserved_after:.4} with this plan, cap {cap}"
        ),
        Fit::No { why } => say!("  REFUSED  budget of these days\n           {why}"),
    }
    let verdict = if answer.accepted { "would be accepted" } else { "would be refused" };
    say!("\nThis plan {verdict}. Nothing was sent, agreed or reserved.");
}
