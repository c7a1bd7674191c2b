//! The privacy filter: decides at the merchant, before anything leaves, whether one more round is admitted.
//!
//! Invariant: the ε of everything ever charged for a (unit, period), the next charge included, never exceeds
//! the merchant's own cap. Charges count from the moment they are written, whether or not the round succeeded;
//! nothing is refunded. Overlapping periods count together.
//!
//! The schedule is fixed in advance (Rogers et al. 2016 need nothing more than ordinary composition then);
//! adaptive schedules are left out on purpose.

use serde::{Deserialize, Serialize};

use super::{
    accountant::{self, AccountingError},
    event::DpEvent,
    plan::{Day, PrivacyPlan},
    unit::PrivacyUnit,
};
use crate::ledger::entry::Charge;

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

/// What a period has cost so far and would cost with one more round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Admission {
    /// Charges already made for the period.
    pub charged_before: u32,
    /// ε after the round.
    pub epsilon_after: f64,
}

/// Why a round or plan was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The cap would be exceeded.
    #[error(
        "the round would bring ε for {period_start}..{period_end} to {would_be:.3}, above the cap {cap}: nothing was sent; no budget comes back, a later data period has its own"
    )]
    OverCap {
        /// First day of the period.
        period_start: Day,
        /// Last day of the period.
        period_end: Day,
        /// ε with the round.
        would_be: f64,
        /// The cap.
        cap: f64,
    },
    /// The plan schedules fewer rounds.
    #[error("all {planned} rounds of the plan are charged: nothing was sent")]
    ScheduleUsed {
        /// Rounds of the plan.
        planned: u32,
    },
    /// The plan violates the merchant's policy.
    #[error("the federation's plan goes below this merchant's policy: {0}")]
    Policy(String),
    /// ε could not be computed.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
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

/// Admits the charge `next`, given all `earlier` charges of this merchant, or refuses it.
///
/// The cap is the smaller of the charge's own and `policy.epsilon_max`; `planned` is the plan's number of
/// rounds.
///
/// # Errors
/// [`Refusal`] when the cap or the schedule is used up, or the accountant refuses the numbers.
pub fn admit(earlier: &[Charge], next: &Charge, planned: u32, policy: &MerchantPolicy) -> Result<Admission, Refusal> {
    let same_period: Vec<&Charge> =
        earlier.iter().filter(|c| c.period_start <= next.period_end && next.period_start <= c.period_end).collect();
    let of_run = same_period.iter().filter(|c| c.run == next.run && c.plan_sha256 == next.plan_sha256).count();
    if of_run >= planned as usize {
        return Err(Refusal::ScheduleUsed { planned });
    }
    let epsilon_after = spent(same_period.iter().map(|c| &c.event).chain([&next.event]), next.delta)?;
    let cap = next.epsilon_cap.min(policy.epsilon_max);
    if epsilon_after > cap {
        return Err(Refusal::OverCap {
            period_start: next.period_start,
            period_end: next.period_end,
            would_be: epsilon_after,
            cap,
        });
    }
    Ok(Admission { charged_before: u32::try_from(same_period.len()).unwrap_or(u32::MAX), epsilon_after })
}

/// ε of a list of charged events at `delta`; equal events are counted, not repeated.
///
/// # Errors
/// [`AccountingError`] as the accountant's.
pub fn spent<'a>(events: impl Iterator<Item = &'a DpEvent>, delta: f64) -> Result<f64, AccountingError> {
    let mut counted: Vec<(&DpEvent, u64)> = Vec::new();
    for event in events {
        match counted.iter_mut().find(|(known, _)| *known == event) {
            Some((_, count)) => *count += 1,
            None => counted.push((event, 1)),
        }
    }
    if counted.is_empty() {
        return Ok(0.0);
    }
    let mut events: Vec<DpEvent> = counted
        .into_iter()
        .map(|(event, count)| DpEvent::SelfComposed { event: Box::new(event.clone()), count })
        .collect();
    let whole = if events.len() == 1 { events.remove(0) } else { DpEvent::Composed { events } };
    Ok(accountant::epsilon(&whole, delta)?.epsilon)
}
