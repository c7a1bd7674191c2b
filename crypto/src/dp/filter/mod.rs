//! The privacy filter: decides at the merchant, before anything leaves, what may still be spent.
//!
//! Invariant: the ε of everything a merchant ever promised or charged for a (unit, period) never exceeds its cap, and
//! a round that was promised is never refused later because of another plan. Nothing is refunded.
//!
//! # Reserve, then charge
//! A plan's schedule is fixed in advance, so ordinary composition counts it (adaptively chosen *parameters* would need
//! a filter in the sense of Rogers et al. 2016, and are left out). Accepting a plan reserves all of it: every round
//! with its noise, at once ([`Budget::reserve`]). Each round then draws on the reservation ([`Budget::admit`]). What is
//! counted for a plan is the larger of what it reserved and what it charged, event by event; plans add up by
//! composing their events at one δ, the smallest of all. Ending a schedule early gives nothing back: whether to go on is
//! decided after seeing models, so the guarantee is the one of the whole schedule.
//!
//! Every plan whose period overlaps counts. A reservation is held against the cap of its own period and of every plan
//! it overlaps that has rounds left; so none of them is cut short by it. (Periods that overlap a common third one, but not each other, are
//! counted in the third one's total only: no day of data belongs to both.)
//!
//! # Units do not mix
//! A budget is of one unit. A customer's guarantee says nothing about a whole series or merchant, which hold many
//! customers. A series' guarantee says nothing about customers, because that training does not bound in how many
//! series a customer is. Nor does a customer's event bound a series removed *before* the contribution bounds are
//! applied: the lines kept of that series' customers would move to other series. Only a merchant's guarantee holds for
//! its customers and series too (replacing one contribution by another costs a Gaussian with half the noise), but then the
//! merchant's own would be lost to the other plan. So a plan of another unit over days that are already
//! counted is refused ([`Refusal::OtherUnit`]). Where old ledgers hold such a mixture, each unit is shown separately,
//! and [`Balance::mixed`] says that neither figure is the whole truth.

mod budget;
mod policy;
mod reservation;
#[cfg(test)]
mod tests;

pub use budget::{Admission, Balance, Budget, Reserved};
pub use policy::{Floor, MerchantPolicy};
pub use reservation::{BudgetEntry, BudgetEntryError, Reservation};

use super::{
    accountant::{self, AccountingError},
    event::{DpEvent, EventError},
    plan::Day,
    unit::PrivacyUnit,
};

/// Why a round or plan was not admitted.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The cap would be exceeded by a round.
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
    /// The cap would be exceeded by a plan's whole schedule.
    #[error(
        "the plan's {rounds} rounds would bring ε for {period_start}..{period_end} from {before:.3} to {would_be:.3}, above the cap {cap}: nothing was reserved; a plan with more noise, with fewer rounds or for a later data period may fit"
    )]
    CannotReserve {
        /// First day of the period.
        period_start: Day,
        /// Last day of the period.
        period_end: Day,
        /// Rounds of the schedule.
        rounds: u32,
        /// ε reserved before.
        before: f64,
        /// ε with the schedule.
        would_be: f64,
        /// The cap.
        cap: f64,
    },
    /// The days are counted under another unit.
    #[error(
        "the days {period_start}..{period_end} already carry a plan that protects a {held}; one that protects a {asked} would leave neither promise standing: use a plan of the same unit, or another data period"
    )]
    OtherUnit {
        /// First day of the plan that is there.
        period_start: Day,
        /// Last day of the plan that is there.
        period_end: Day,
        /// Its unit.
        held: PrivacyUnit,
        /// The unit asked for.
        asked: PrivacyUnit,
    },
    /// The charge belongs to no reservation.
    #[error("nothing is reserved for run {run} of this plan: nothing was sent; start `forecastle train` again")]
    NotReserved {
        /// The run.
        run: u64,
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
    /// The plan's numbers make no event.
    #[error(transparent)]
    Event(#[from] EventError),
}

/// ε of a list of charged events at `delta`; equal events are counted, not repeated.
///
/// # Errors
/// [`AccountingError`] as the accountant's.
pub fn spent<'a>(events: impl Iterator<Item = &'a DpEvent>, delta: f64) -> Result<f64, AccountingError> {
    let mut counted = Counted::default();
    events.for_each(|event| counted.add(event, 1));
    counted.epsilon(delta)
}

/// Events and how often each happened.
#[derive(Clone, Default)]
struct Counted(Vec<(DpEvent, u64)>);

impl Counted {
    fn add(&mut self, event: &DpEvent, count: u64) {
        match self.0.iter_mut().find(|(known, _)| known == event) {
            Some((_, so_far)) => *so_far = so_far.saturating_add(count),
            None => self.0.push((event.clone(), count)),
        }
    }

    /// At least `count` of `event`.
    fn raise(&mut self, event: &DpEvent, count: u64) {
        match self.0.iter_mut().find(|(known, _)| known == event) {
            Some((_, so_far)) => *so_far = count.max(*so_far),
            None => self.0.push((event.clone(), count)),
        }
    }

    fn add_all(&mut self, other: &Self) {
        other.0.iter().for_each(|(event, count)| self.add(event, *count));
    }

    fn epsilon(&self, delta: f64) -> Result<f64, AccountingError> {
        if self.0.iter().all(|(_, count)| *count == 0) {
            return Ok(0.0);
        }
        let mut events: Vec<DpEvent> = self.0.iter().map(|(event, count)| event.clone().times(*count)).collect();
        let whole = if events.len() == 1 { events.remove(0) } else { DpEvent::Composed { events } };
        Ok(accountant::epsilon(&whole, delta)?.epsilon)
    }
}
