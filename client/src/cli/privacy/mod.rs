//! `forecastle privacy show` and `forecastle privacy preview`.

mod preview;
mod show;

use clap::Subcommand;
use forecastle_crypto::dp::{
    accountant::AccountingError,
    odds::{self, Exposure},
    plan::{PlanError, PrivacyPlan},
    release::Kind,
    unit::PrivacyUnit,
};
use serde::Serialize;

use super::{Format, Outcome};
use crate::federation::home::Home;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// What this merchant has spent of its customers' privacy, against whom, and what is left.
    #[command(after_help = "Examples:
  forecastle privacy show
  forecastle privacy show --format json")]
    Show,
    /// What a federation's plan would mean for this merchant's customers; nothing is agreed or sent.
    ///
    /// Reads the plan from a file, from the server that an invitation names (the invitation is not used up), or
    /// from the state folder of a federation that was joined. What is computed from imported orders is shown here
    /// and nowhere else.
    #[command(after_help = "Examples:
  forecastle privacy preview --plan plan.toml
  forecastle privacy preview --invitation-file invitation.txt
  forecastle privacy preview --max-epsilon 4")]
    Preview(preview::Arguments),
}

pub(super) fn run(home: &Home, verb: Verb, format: Format) -> Outcome {
    match verb {
        Verb::Show => show::run(home, format),
        Verb::Preview(arguments) => preview::run(home, &arguments, format),
    }
}

/// False alarms at which detection is stated.
const FALSE_ALARMS: f64 = 0.05;

/// What one observer can do.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Observer {
    pub(super) who: &'static str,
    /// `None` where so little noise is left that nothing can be bounded.
    pub(super) exposure: Option<Exposure>,
}

/// What each of the three observers can do after `rounds` rounds with a model of `dimension` parameters.
pub(super) fn observers(plan: &PrivacyPlan, dimension: u32, rounds: u32) -> Result<[Observer; 3], PlanError> {
    let noise = plan.noise_rows(plan.effective_noise_multiplier(dimension)?);
    let observer = |who, sigma: f64| -> Result<Observer, PlanError> {
        let event = plan.schedule(sigma, rounds)?;
        let exposure = match odds::exposure(&event, plan.privacy.delta, FALSE_ALARMS) {
            Ok(exposure) => Some(exposure),
            Err(AccountingError::TooLittleNoise) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(Observer { who, exposure })
    };
    Ok([
        observer("anyone who reads the published models", noise.published)?,
        observer("the server, with the colluders assumed in the plan", noise.server)?,
        observer("the server, with every other merchant", noise.everyone_else)?,
    ])
}

/// The three rows as a table, and how to read them.
fn print_observers(observers: &[Observer], plan: &PrivacyPlan) {
    let heads = ["who looks", "ε", "by RDP", "odds at most", "right guesses"];
    say!("  {:50}  {:<9}  {:<9}  {:<23}  {:<13}  detected", heads[0], heads[1], heads[2], heads[3], heads[4]);
    for Observer { who, exposure } in observers {
        match exposure {
            Some(e) => {
                let odds = format!("{} : 1", odds::to_one(e.odds));
                let (right, detected) = (odds::percent(e.right_guesses), odds::percent(e.detection_rate));
                let second = e.spent.epsilon_rdp.map_or_else(|| "none".to_owned(), |epsilon| format!("{epsilon:.4}"));
                say!("  {who:50}  {:<9.4}  {second:<9}  {odds:<23}  {right:<13}  {detected}", e.spent.epsilon);
            }
            None => say!("  {who:50}  no bound: hardly any noise is left"),
        }
    }
    let unit = plan.privacy.unit;
    say!(
        "\n  ε at δ = {:e}; the second opinion by RDP is looser. `odds`: who thought it as likely as not that a given {unit} is in the data, and has seen\n  \
         everything, may come to hold these odds at most, apart from an accident of probability δ. `right guesses` and `detected` are what\n  \
         the best test can reach: from even odds, and with {} false alarms.",
        plan.privacy.delta,
        odds::percent(FALSE_ALARMS)
    );
}

/// What leaves in a round, and where its noise is added.
pub(super) fn training_in_words(plan: &PrivacyPlan) -> String {
    let steps = plan.local.map_or(1, |local| local.steps);
    match Kind::of(plan) {
        Kind::GradientSum => {
            "a round is one step: what leaves is a sum of clipped gradients with this merchant's share of the noise"
                .into()
        }
        Kind::NoisedSteps => format!(
            "a round is {steps} local steps, each with the whole noise and each charged: an update is private even without \
             secure aggregation"
        ),
        Kind::WholeUpdate => format!(
            "a round is {steps} local steps without noise: their update is clipped as a whole and gets this merchant's \
             share of the noise, which hides the merchant and gives no customer of it a guarantee"
        ),
    }
}

/// The promise in words, as docs/PRIVACY.md has it.
fn claim(merchant: &str, plan: &PrivacyPlan) -> String {
    let unit = plan.privacy.unit;
    let (whom, dropped) = match unit {
        PrivacyUnit::Customer => (
            format!(
                "any customer of merchant {merchant}, of whom in every step at most {} order lines over {} products\nin \
                 the period were used",
                plan.bounds.order_lines, plan.bounds.series
            ),
            "Other lines were dropped. ",
        ),
        PrivacyUnit::Series => (format!("any series of merchant {merchant}"), ""),
        PrivacyUnit::Merchant => (format!("merchant {merchant} as a whole, not for single customers of it"), ""),
    };
    let removed = match unit {
        PrivacyUnit::Merchant => "its whole contribution".to_owned(),
        PrivacyUnit::Customer | PrivacyUnit::Series => format!("that {unit}"),
    };
    format!(
        "For {whom}, the messages {merchant} sent satisfy\n(ε, δ)-differential privacy \
         under addition or removal of {removed}, against the observers above.\n{dropped}This is not a claim of anonymity."
    )
}

#[cfg(test)]
mod tests {
    use forecastle_crypto::dp::plan::{LocalPlan, NoiseMode};

    use super::*;

    const PLAN: &str = include_str!("../../../../server/plans/four-merchants.toml");

    fn plan(unit: PrivacyUnit, noise: Option<NoiseMode>) -> PrivacyPlan {
        let mut plan = PrivacyPlan::parse(PLAN.as_bytes()).unwrap();
        plan.privacy.unit = unit;
        plan.local =
            noise.map(|noise| LocalPlan { noise, steps: 7, learning_rate: 0.1, update_clip: 1.0, proximal: 0.0 });
        plan
    }

    #[test]
    fn each_kind_of_training_is_told_and_a_merchant_s_guarantee_is_called_no_customer_s() {
        let one_step = plan(PrivacyUnit::Customer, None);
        assert!(training_in_words(&one_step).contains("one step"));
        assert!(claim("shop", &one_step).starts_with("For any customer of merchant shop, of whom in every step"));
        let local = plan(PrivacyUnit::Series, Some(NoiseMode::Local));
        assert!(training_in_words(&local).contains("7 local steps, each with the whole noise"));
        assert!(claim("shop", &local).starts_with("For any series of merchant shop, the messages"));
        let merchant = plan(PrivacyUnit::Merchant, Some(NoiseMode::Distributed));
        assert!(training_in_words(&merchant).contains("no customer"));
        assert!(claim("shop", &merchant).contains("not for single customers of it"));
    }
}
