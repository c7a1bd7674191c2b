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
    /// Units it accepts to be protected; `customer` protects persons, `series` does not.
    pub units: Vec<PrivacyUnit>,
}

impl Default for MerchantPolicy {
    fn default() -> Self {
        Self {
            epsilon_max: 8.0,
            delta_max: 1e-5,
            cohort_min: 4,
            units: vec![PrivacyUnit::Customer, PrivacyUnit::Series],
        }
    }
}

impl MerchantPolicy {
    /// Checks a plan against the policy.
    ///
    /// # Errors
    /// [`Refusal::Policy`] names what is below the floor.
    pub fn accept(&self, plan: &PrivacyPlan) -> Result<(), Refusal> {
        let refuse = |why: String| Err(Refusal::Policy(why));
        if let Err(why) = plan.runnable() {
            return refuse(why.to_string());
        }
        if plan.privacy.epsilon_cap > self.epsilon_max {
            return refuse(format!(
                "its ε cap is {}, the policy allows {}",
                plan.privacy.epsilon_cap, self.epsilon_max
            ));
        }
        if plan.privacy.delta > self.delta_max {
            return refuse(format!("its δ is {:e}, the policy allows {:e}", plan.privacy.delta, self.delta_max));
        }
        if plan.rounds.survivors_min < self.cohort_min {
            return refuse(format!(
                "it goes on with {} survivors, the policy wants at least {}",
                plan.rounds.survivors_min, self.cohort_min
            ));
        }
        if !self.units.contains(&plan.privacy.unit) {
            return refuse(format!("it protects the unit `{}`, which the policy does not accept", plan.privacy.unit));
        }
        Ok(())
    }
}
