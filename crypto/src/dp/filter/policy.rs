//! What a merchant never goes below, whatever a server offers.

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::dp::{plan::PrivacyPlan, unit::PrivacyUnit};

/// The merchant's own floor: what it never goes below, whatever a server offers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MerchantPolicy {
    /// The largest ε that a data period may ever cost.
    pub epsilon_max: f64,
    /// The largest δ.
    pub delta_max: f64,
    /// The fewest merchants in a round.
    pub cohort_min: u16,
    /// The fewest merchants of a cohort, and of its survivors, whom this merchant knows: those, itself included, that
    /// were enrolled when it last took part. A server that enrols merchants of its own making finds the old ones in its
    /// way. Asked for from the second round on, since before the first nobody is known.
    #[serde(default = "known_min")]
    pub known_min: u16,
    /// Units it accepts to be protected; `customer` protects persons, `series` does not.
    pub units: Vec<PrivacyUnit>,
}

/// Two besides oneself: enough to refuse a cohort made up overnight, few enough for a federation that grows.
fn known_min() -> u16 {
    3
}

impl Default for MerchantPolicy {
    fn default() -> Self {
        Self {
            epsilon_max: 8.0,
            delta_max: 1e-5,
            cohort_min: 4,
            known_min: known_min(),
            units: vec![PrivacyUnit::Customer, PrivacyUnit::Series],
        }
    }
}

/// One line of a policy, held against a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Floor {
    /// What is compared.
    pub what: &'static str,
    /// What the plan says.
    pub plan: String,
    /// What the policy wants.
    pub policy: String,
    /// Whether the plan keeps it.
    pub kept: bool,
    /// Why not, as part of a sentence; empty where it is kept.
    pub why: String,
}

impl MerchantPolicy {
    /// Every line of the policy, held against a plan, in the order in which [`Self::accept`] refuses.
    pub fn floors(&self, plan: &PrivacyPlan) -> Vec<Floor> {
        let (privacy, rounds) = (&plan.privacy, &plan.rounds);
        let runnable = plan.runnable();
        let units = self.units.iter().map(|unit| unit.name()).collect::<Vec<_>>().join(" or ");
        let floor = |what, plan: String, policy: String, kept: bool, why: String| Floor {
            what,
            plan,
            policy,
            kept,
            why: if kept { String::new() } else { why },
        };
        vec![
            floor(
                "this software can carry it",
                if runnable.is_ok() { "yes" } else { "no" }.into(),
                "yes".into(),
                runnable.is_ok(),
                runnable.err().map(|e| e.to_string()).unwrap_or_default(),
            ),
            floor(
                "ε cap",
                privacy.epsilon_cap.to_string(),
                format!("at most {}", self.epsilon_max),
                privacy.epsilon_cap <= self.epsilon_max,
                format!("its ε cap is {}, the policy allows {}", privacy.epsilon_cap, self.epsilon_max),
            ),
            floor(
                "δ",
                format!("{:e}", privacy.delta),
                format!("at most {:e}", self.delta_max),
                privacy.delta <= self.delta_max,
                format!("its δ is {:e}, the policy allows {:e}", privacy.delta, self.delta_max),
            ),
            floor(
                "merchants in every sum",
                format!("at least {}", rounds.survivors_min),
                format!("at least {}", self.cohort_min),
                rounds.survivors_min >= self.cohort_min,
                format!(
                    "it goes on with {} survivors, the policy wants at least {}",
                    rounds.survivors_min, self.cohort_min
                ),
            ),
            floor(
                "who is protected",
                privacy.unit.to_string(),
                units,
                self.units.contains(&privacy.unit),
                format!("it protects the unit `{}`, which the policy does not accept", privacy.unit),
            ),
        ]
    }

    /// Checks a plan against the policy.
    ///
    /// # Errors
    /// [`Refusal::Policy`] names what is below the floor.
    pub fn accept(&self, plan: &PrivacyPlan) -> Result<(), Refusal> {
        match self.floors(plan).into_iter().find(|floor| !floor.kept) {
            Some(floor) => Err(Refusal::Policy(floor.why)),
            None => Ok(()),
        }
    }
}
