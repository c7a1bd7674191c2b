//! What rounds did: their order, terms, cohort, survivors, signed statements, charges and noise.

use std::collections::HashSet;

use super::{Auditor, RoundOutcome, RoundRecord, Rule};
use crate::{
    identity::MerchantId,
    ledger::entry::{RoundAbandoned, RoundClosed},
    secagg::{
        ParticipantNumber, ParticipantSet, ValidThreshold,
        messages::{CONSISTENCY_CONTEXT, consistency_message},
    },
};

/// By how much, relatively, the noise that a round claims may differ from what is recomputed: rounding of floats.
const NOISE_TOLERANCE: f64 = 1e-9;

impl Auditor {
    pub(super) fn judge_round(&mut self, index: u64, closed: &RoundClosed) {
        let terms = &closed.terms;
        self.advance(index, terms.run, terms.round);
        self.judge_offer(index, closed);
        self.judge_terms_of_round(index, closed);
        self.judge_roster(index, closed);
        let sets_fit = self.judge_sets(index, closed);
        self.judge_statements(index, closed, sets_fit);
        self.judge_charges_of_round(index, closed);
        let noise = self.judge_noise(index, closed);
        self.judge_lineage(index, closed);
        self.heads.push((index, terms.ledger_size, terms.ledger_root));
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let outcome = RoundOutcome::Published {
            cohort: count(closed.roster.len()),
            survivors: count(closed.survivors.len()),
            noise_multiplier: noise,
            model_version: closed.model_version,
            model_sha256: closed.model_sha256,
        };
        self.record(index, terms.run, terms.round, closed.at_ms, outcome);
        for merchant in closed.survivors.iter().filter_map(|number| member_of(closed, *number)) {
            *self.in_sums.entry(merchant.clone()).or_default() += 1;
        }
    }

    pub(super) fn judge_abandoned(&mut self, index: u64, gone: RoundAbandoned) {
        let (run, round) = (gone.run, gone.round);
        self.advance(index, run, round);
        let named: HashSet<u64> = gone.charges.iter().copied().collect();
        let own = self.charges_of_round.get(&(run, round));
        let own: HashSet<u64> = own.into_iter().flatten().map(|(at, _)| *at).collect();
        let list = |set: HashSet<&u64>| {
            let mut sorted: Vec<_> = set.into_iter().collect();
            sorted.sort_unstable();
            sorted.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let (foreign, missing): (HashSet<_>, HashSet<_>) =
            (named.difference(&own).collect(), own.difference(&named).collect());
        self.expect(foreign.is_empty(), index, Rule::AbandonedCharges, || {
            format!("names as charges of the round what is none: entries {}", list(foreign))
        });
        self.expect(missing.is_empty(), index, Rule::AbandonedCharges, || {
            format!("leaves out charges of the round: entries {}", list(missing))
        });
        self.record(index, run, round, gone.at_ms, RoundOutcome::Abandoned { reason: gone.reason });
    }

    fn record(&mut self, entry: u64, run: u64, round: u64, at_ms: u64, outcome: RoundOutcome) {
        self.ended.insert((run, round));
        // Charges are counted once the whole log is read.
        self.rounds.push(RoundRecord { entry, run, round, at_ms, charges: 0, outcome });
    }

    fn advance(&mut self, index: u64, run: u64, round: u64) {
        let later = self.last_round.is_none_or(|last| (run, round) > last);
        self.expect(later, index, Rule::RoundOrder, || {
            format!("round {round} of run {run} ends a second time or out of order")
        });
        self.last_round = self.last_round.max(Some((run, round)));
        let planned = self.plan.rounds.count;
        self.expect(round <= u64::from(planned), index, Rule::Schedule, || {
            format!("ends round {round}, {planned} are planned")
        });
    }

    fn judge_offer(&mut self, index: u64, closed: &RoundClosed) {
        self.expect(closed.terms.federation == self.founded.federation, index, Rule::Offer, || {
            format!("the offer was `{}`'s", closed.terms.federation)
        });
        if let Some(earlier) = self.offers.insert(closed.sid, index) {
            self.find(Some(index), Rule::Offer, format!("names the same offer as the round in entry {earlier}"));
        }
    }

    fn judge_terms_of_round(&mut self, index: u64, closed: &RoundClosed) {
        let (terms, plan) = (&closed.terms, &self.plan);
        let fields = [
            (Rule::PlanDigest, "the plan's digest", terms.plan_sha256 == self.plan_sha256),
            (Rule::NoiseFloor, "noise multiplier (σ)", terms.sigma_total == plan.step.noise_multiplier),
            (Rule::NoiseFloor, "noise share", Some(terms.variance_local) == plan.local_variance().ok()),
            (Rule::Grid, "clip norm (C)", terms.clip == plan.update_clip()),
            (Rule::Grid, "units per clip norm (s)", terms.units_per_clip == u64::from(plan.integers.units_per_clip)),
            (Rule::Grid, "bits (b)", terms.bits == plan.integers.bits),
            (Rule::Grid, "dimension (d)", terms.dimension == self.founded.dimension),
            (Rule::Grid, "layout", terms.layout_sha256 == self.founded.layout_sha256),
            (Rule::Survivors, "fewest survivors (m)", terms.survivors_min == plan.rounds.survivors_min),
            (Rule::Survivors, "assumed colluders (n_C)", terms.colluders_assumed == plan.rounds.colluders_assumed),
        ];
        self.expect_as_planned(index, "the round", &fields);
        let cohort = u16::try_from(closed.roster.len()).unwrap_or(u16::MAX);
        let rounds = self.plan.rounds;
        let threshold =
            ValidThreshold::new(cohort, rounds.survivors_min, closed.terms.threshold, rounds.colluders_assumed);
        if let Err(why) = threshold {
            self.find(Some(index), Rule::Threshold, why.to_string());
        }
    }

    fn judge_roster(&mut self, index: u64, closed: &RoundClosed) {
        let (cohort, allowed) = (closed.roster.len(), self.plan.rounds.cohort_max);
        self.expect(cohort <= usize::from(allowed), index, Rule::Roster, || {
            format!("{cohort} merchants, the plan allows {allowed}")
        });
        let mut seen = HashSet::new();
        for merchant in &closed.roster {
            let what = if !seen.insert(merchant) {
                "is named twice"
            } else if self.identity_of(merchant).is_none() {
                "never enrolled"
            } else if self.revoked_before(merchant, closed.terms.ledger_size) {
                "was revoked before the offer was made"
            } else {
                continue;
            };
            self.find(Some(index), Rule::Roster, format!("`{merchant}` {what}"));
        }
    }

    /// Whether U2 ⊆ U1 ⊆ roster, without repetition.
    fn judge_sets(&mut self, index: u64, closed: &RoundClosed) -> bool {
        let (u1, u2) = (&closed.sharers, &closed.survivors);
        let fit = distinct_members(u1, closed.roster.len())
            && distinct_members(u2, closed.roster.len())
            && u2.iter().all(|k| u1.contains(k));
        self.expect(fit, index, Rule::SurvivorSets, || {
            "the survivors are not part of those that shared keys, or not of the cohort".into()
        });
        let fewest = self.plan.rounds.survivors_min;
        self.expect(u2.len() >= usize::from(fewest), index, Rule::Survivors, || {
            format!("{} survivors, fewer than the {fewest} that the noise is calibrated to", u2.len())
        });
        fit
    }

    fn judge_statements(&mut self, index: u64, closed: &RoundClosed, sets_fit: bool) {
        if !sets_fit {
            // There is no statement that such sets could be held against; the sets are the finding.
            return;
        }
        let statement = consistency_message(&closed.sid, &set(&closed.sharers), &set(&closed.survivors));
        let mut confirmed = HashSet::new();
        for (number, signature) in &closed.consistency {
            let identity = member_of(closed, *number).and_then(|merchant| self.identity_of(merchant));
            let valid = closed.survivors.contains(number)
                && identity.is_some_and(|key| key.verify(CONSISTENCY_CONTEXT, &statement, signature).is_ok());
            if valid {
                confirmed.insert(*number);
            }
            self.expect(valid, index, Rule::Consistency, || {
                format!("participant {number}'s statement about the survivors is not valid")
            });
        }
        let threshold = usize::from(closed.terms.threshold);
        // Statements that are invalid were found above; too few that were made at all is another flaw.
        let made: HashSet<u8> = closed.consistency.iter().map(|(number, _)| *number).collect();
        let enough = confirmed.len() >= threshold || made.len() > confirmed.len();
        self.expect(enough, index, Rule::Consistency, || {
            format!("{} survivors confirmed the same set, {threshold} are needed", confirmed.len())
        });
    }

    fn judge_charges_of_round(&mut self, index: u64, closed: &RoundClosed) {
        let (survivors, charges) = (&closed.survivors, &closed.charges);
        self.expect(charges.len() == survivors.len(), index, Rule::RoundWithoutCharge, || {
            format!("{} survivors but {} charges", survivors.len(), charges.len())
        });
        for (number, at) in survivors.iter().zip(charges) {
            let fits = self.charges.get(at).is_some_and(|charge| {
                Some(&charge.merchant) == member_of(closed, *number)
                    && charge.sid == closed.sid
                    && (charge.run, charge.round) == (closed.terms.run, closed.terms.round)
            });
            self.expect(fits, index, Rule::RoundWithoutCharge, || {
                format!("entry {at} is not participant {number}'s charge for this round")
            });
        }
    }

    /// σ as a multiple of C that stands between the survivors and the server with the assumed colluders.
    fn judge_noise(&mut self, index: u64, closed: &RoundClosed) -> f64 {
        let survivors = closed.survivors.len();
        let expected = self.plan.noise_of(survivors);
        let claimed = closed.noise_multiplier_effective;
        let close = (claimed - expected).abs() <= NOISE_TOLERANCE * expected.max(1.0);
        self.expect(close, index, Rule::EffectiveNoise, || {
            format!("claims noise of {claimed} clip norms; {survivors} survivors add {expected}")
        });
        expected
    }
}

fn member_of(closed: &RoundClosed, number: u8) -> Option<&MerchantId> {
    usize::from(number).checked_sub(1).and_then(|position| closed.roster.get(position))
}

fn distinct_members(numbers: &[u8], cohort: usize) -> bool {
    let distinct: HashSet<u8> = numbers.iter().copied().collect();
    distinct.len() == numbers.len() && numbers.iter().all(|&k| k >= 1 && usize::from(k) <= cohort)
}

fn set(numbers: &[u8]) -> ParticipantSet {
    numbers.iter().filter_map(|number| ParticipantNumber::new(u16::from(*number))).collect()
}
