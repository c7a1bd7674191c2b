//! What it cost: ε of every merchant's charges by both accountants, against the cap and the schedule.
//!
//! Invariant: ε is never computed from fewer or cheaper releases than the log shows. Where a merchant's own count
//! exceeds the log's, its count is used; where charged events differ from the plan's, the larger ε is.

use std::collections::{BTreeSet, HashMap};

use super::{Auditor, MerchantSpending, Rule};
use crate::{
    dp::{
        accountant::{self, AccountingError, Spent},
        event::DpEvent,
        plan::EpsilonRows,
    },
    identity::MerchantId,
    ledger::entry::Charge,
};

/// By how much the second opinion may be smaller than the first: both are upper bounds, and the first is tight to
/// about 1e-4.
const AGREEMENT_ABSOLUTE: f64 = 2e-3;
/// The same, relatively.
const AGREEMENT_RELATIVE: f64 = 1e-2;

/// Whether the two accountants may both be right: ε from Rényi divergences is looser by nature, so it must not be
/// smaller than the one from privacy loss distributions by more than their rounding.
///
/// Without a second opinion there is nothing to contradict.
pub fn accountants_agree(spent: &Spent) -> bool {
    let least = spent.epsilon - AGREEMENT_ABSOLUTE - AGREEMENT_RELATIVE * spent.epsilon;
    spent.epsilon_rdp.is_none_or(|rdp| rdp >= least)
}

impl Auditor {
    pub(super) fn judge_spending(&mut self) -> Vec<MerchantSpending> {
        let mut priced: HashMap<u32, Result<EpsilonRows, String>> = HashMap::new();
        let mut by_merchant: HashMap<MerchantId, Vec<(u64, Charge)>> = HashMap::new();
        for (index, charge) in std::mem::take(&mut self.charges) {
            by_merchant.entry(charge.merchant.clone()).or_default().push((index, charge));
        }
        std::mem::take(&mut self.order)
            .into_iter()
            .map(|merchant| {
                let own = by_merchant.remove(&merchant).unwrap_or_default();
                let charges = u32::try_from(own.len()).unwrap_or(u32::MAX);
                let claimed = own.iter().map(|(_, c)| c.charged_before.saturating_add(1)).max().unwrap_or(0);
                let last = own.last().map(|(index, _)| *index);
                let counted = self.judge_schedule(last, &merchant, charges, claimed);
                let epsilon = (charges > 0).then(|| self.price(last, &merchant, counted, &own, &mut priced)).flatten();
                self.spending(merchant, &own, counted, epsilon)
            })
            .collect()
    }

    /// The number of releases to count, no more than can be scheduled.
    fn judge_schedule(&mut self, last: Option<u64>, merchant: &MerchantId, charges: u32, claimed: u32) -> u32 {
        let planned = self.plan.rounds.count;
        let counted = charges.max(claimed);
        if counted > planned {
            self.find(
                last,
                Rule::Schedule,
                format!("`{merchant}` charged {counted} rounds by its own count, {planned} are planned"),
            );
        }
        counted.min(planned.max(charges))
    }

    /// The three rows, and whether the second of them keeps the cap.
    fn price(
        &mut self,
        last: Option<u64>,
        merchant: &MerchantId,
        counted: u32,
        own: &[(u64, Charge)],
        priced: &mut HashMap<u32, Result<EpsilonRows, String>>,
    ) -> Option<EpsilonRows> {
        let dimension = self.founded.dimension;
        let plan = &self.plan;
        let rows = priced
            .entry(counted)
            .or_insert_with(|| plan.epsilon_rows(dimension, counted).map_err(|e| e.to_string()))
            .clone();
        let mut rows = match rows {
            Ok(rows) => rows,
            Err(why) => {
                self.find(last, Rule::Cap, format!("ε of `{merchant}` cannot be computed: {why}"));
                return None;
            }
        };
        let planned = plan.effective_noise_multiplier(dimension).ok().and_then(|sigma| plan.step_event(sigma).ok());
        // Impossible events are findings of their own; here the plan's stand in for them.
        let odd: Vec<&DpEvent> = own
            .iter()
            .map(|(_, charge)| &charge.event)
            .filter(|event| Some(*event) != planned.as_ref() && event.validate().is_ok())
            .collect();
        if !odd.is_empty() {
            let as_planned = own.len() - odd.len();
            match composed(&odd, planned.as_ref(), as_planned as u64, self.plan.privacy.delta) {
                Ok(spent) if spent.epsilon > rows.server.epsilon => rows.server = spent,
                Ok(_) => {}
                Err(why) => self.find(last, Rule::Cap, format!("the charges of `{merchant}` cannot be priced: {why}")),
            }
        }
        let spent = rows.server.epsilon;
        let cap = self.plan.privacy.epsilon_cap;
        if spent > cap {
            self.find(last, Rule::Cap, format!("`{merchant}` spent ε = {spent:.4}, the cap is {cap}"));
        }
        for (row, spent) in [
            ("published models", rows.published),
            ("server and colluders", rows.server),
            ("everyone else", rows.everyone_else),
        ] {
            if !accountants_agree(&spent) {
                self.find(
                    last,
                    Rule::Accountants,
                    format!(
                        "`{merchant}`, {row}: ε = {:.4} by privacy loss distributions, but only {:.4} by Rényi divergences: one accountant is wrong",
                        spent.epsilon,
                        spent.epsilon_rdp.unwrap_or(f64::NAN)
                    ),
                );
            }
        }
        Some(rows)
    }

    fn spending(
        &self,
        merchant: MerchantId,
        own: &[(u64, Charge)],
        counted: u32,
        epsilon: Option<EpsilonRows>,
    ) -> MerchantSpending {
        let member = self.members.get(&merchant);
        let names = |of: fn(&Charge) -> &String| own.iter().map(|(_, c)| of(c).clone()).collect::<BTreeSet<_>>();
        let times = || own.iter().map(|(_, c)| c.at_ms);
        MerchantSpending {
            enrolled_at_ms: member.map_or(0, |m| m.enrolled_at_ms),
            revoked_at_ms: member.and_then(|m| m.revoked).map(|(_, at)| at),
            charges: u32::try_from(own.len()).unwrap_or(u32::MAX),
            charges_counted: counted,
            rounds_in_sum: self.in_sums.get(&merchant).copied().unwrap_or(0),
            epsilon,
            noise_sources: names(|c| &c.noise_source),
            software: names(|c| &c.software),
            charged_at_ms: times().min().zip(times().max()),
            merchant,
        }
    }
}

/// `odd` events once each, and `planned` `times` times.
fn composed(odd: &[&DpEvent], planned: Option<&DpEvent>, times: u64, delta: f64) -> Result<Spent, AccountingError> {
    let mut events: Vec<DpEvent> = odd.iter().map(|event| (*event).clone()).collect();
    if let Some(planned) = planned.filter(|_| times > 0) {
        events.push(planned.clone().times(times));
    }
    accountant::epsilon(&DpEvent::Composed { events }, delta)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opinion_below_the_first_is_a_contradiction() {
        let spent = |epsilon, epsilon_rdp| Spent { epsilon, epsilon_rdp };
        assert!(accountants_agree(&spent(8.0, Some(9.1))));
        assert!(accountants_agree(&spent(8.0, Some(7.999))), "rounding of both");
        assert!(accountants_agree(&spent(8.0, None)));
        assert!(!accountants_agree(&spent(8.0, Some(7.5))));
        assert!(!accountants_agree(&spent(0.01, Some(0.0))));
        assert!(!accountants_agree(&spent(8.0, Some(f64::NAN))));
    }
}
