//! What merchants charge: by whom, under which terms, for which event, and only once.
//!
//! A charge is judged twice: its numbers against the plan, and its event against its own numbers, so that one wrong
//! number is one finding.

use super::{Auditor, Rule};
use crate::{
    dp::plan::PrivacyPlan,
    ledger::entry::{Charge, Sampler, SignedCharge},
};

impl Auditor {
    pub(super) fn judge_charge(&mut self, index: u64, signed: SignedCharge) {
        self.judge_author(index, &signed);
        let charge = signed.charge;
        self.judge_terms_of_charge(index, &charge);
        self.judge_event(index, &charge);
        self.judge_repetition(index, &charge);
        *self.charged.entry(charge.merchant.clone()).or_default() += 1;
        let of_round = self.charges_of_round.entry((charge.run, charge.round)).or_default();
        of_round.push((index, charge.merchant.clone()));
        self.masked_digests.entry(charge.masked_sha256).or_insert(index);
        self.charges.insert(index, charge);
    }

    fn judge_author(&mut self, index: u64, signed: &SignedCharge) {
        let who = &signed.charge.merchant;
        match self.identity_of(who) {
            None => self.find(Some(index), Rule::Enrolment, format!("`{who}` charges without being enrolled")),
            Some(identity) => {
                let valid = signed.verify(&identity).is_ok();
                self.expect(valid, index, Rule::ChargeSignature, || format!("the charge is not signed by `{who}`"));
            }
        }
        let revoked = self.revoked_before(who, index);
        self.expect(!revoked, index, Rule::Enrolment, || format!("`{who}` charges after being revoked"));
    }

    fn judge_terms_of_charge(&mut self, index: u64, charge: &Charge) {
        let plan = &self.plan;
        let fields = [
            (Rule::PlanDigest, "the plan's digest", charge.plan_sha256 == self.plan_sha256),
            (Rule::Unit, "unit", charge.unit == plan.privacy.unit),
            (Rule::Unit, "neighbouring relation", charge.relation == plan.relation()),
            (Rule::ContributionBounds, "order lines (K)", charge.bounds.order_lines == plan.bounds.order_lines),
            (Rule::ContributionBounds, "series (L)", charge.bounds.series == plan.bounds.series),
            (Rule::ContributionBounds, "units (Q)", charge.bounds.units == plan.bounds.units),
            (Rule::Period, "first day", charge.period_start == plan.rounds.period_start),
            (Rule::Period, "last day", charge.period_end == plan.rounds.period_end),
            (Rule::Sampler, "sampling rate (q)", charge.sampling_rate == plan.step.sampling_rate),
            (Rule::Sampler, "sampler", charge.sampler == Sampler::Poisson),
            (Rule::NoiseFloor, "noise multiplier (σ)", charge.noise_multiplier == plan.step.noise_multiplier),
            (Rule::NoiseFloor, "noise share", Some(charge.variance_local) == plan.local_variance().ok()),
            (Rule::NoiseFloor, "where noise is added", charge.noise == plan.noise_mode()),
            (Rule::Grid, "clip norm (C)", charge.clip == plan.noise_clip()),
            (Rule::Grid, "units per clip norm (s)", charge.units_per_clip == u64::from(plan.integers.units_per_clip)),
            (Rule::Grid, "dimension (d)", charge.dimension == self.founded.dimension),
            (Rule::Survivors, "fewest survivors (m)", charge.survivors_min == plan.rounds.survivors_min),
            (Rule::Survivors, "assumed colluders (n_C)", charge.colluders_assumed == plan.rounds.colluders_assumed),
            (Rule::PrivacyTarget, "δ", charge.delta == plan.privacy.delta),
            (Rule::PrivacyTarget, "cap", charge.epsilon_cap == plan.privacy.epsilon_cap),
        ];
        self.expect_as_planned(index, &format!("the charge of `{}`", charge.merchant), &fields);
    }

    /// The event must be the one that the charge's own unit, bounds, sampling, noise and grid give, rounding to the
    /// grid paid for.
    fn judge_event(&mut self, index: u64, charge: &Charge) {
        if let Err(why) = charge.event.validate() {
            return self.find(Some(index), Rule::ChargedEvent, format!("records an impossible event: {why}"));
        }
        let mut own: PrivacyPlan = self.plan.clone();
        own.privacy.unit = charge.unit;
        own.bounds = charge.bounds;
        own.step.noise_multiplier = charge.noise_multiplier;
        own.step.sampling_rate = charge.sampling_rate;
        let scale = u32::try_from(charge.units_per_clip);
        own.integers.units_per_clip = scale.unwrap_or(u32::MAX);
        let sigma = own.effective_noise_multiplier(charge.dimension).ok().filter(|_| scale.is_ok());
        let event = sigma.and_then(|sigma| own.step_event(sigma).ok());
        self.expect(event.as_ref() == Some(&charge.event), index, Rule::ChargedEvent, || match sigma {
            Some(sigma) => format!(
                "`{}` charges another event than its own numbers give (σ = {sigma} once rounding to the grid is paid for)",
                charge.merchant
            ),
            None => format!("the grid that `{}` charges for cannot exist", charge.merchant),
        });
    }

    fn judge_repetition(&mut self, index: u64, charge: &Charge) {
        let who = &charge.merchant;
        let of_round = self.charges_of_round.get(&(charge.run, charge.round));
        let twice = of_round.is_some_and(|charges| charges.iter().any(|(_, merchant)| merchant == who));
        self.expect(!twice, index, Rule::RepeatedCharge, || {
            format!("`{who}` charges round {} of run {} twice", charge.round, charge.run)
        });
        if let Some(earlier) = self.masked_digests.get(&charge.masked_sha256) {
            let what = format!("`{who}` charges for the same masked bytes as entry {earlier}");
            self.find(Some(index), Rule::MaskedDigest, what);
        }
        let logged = self.charged.get(who).copied().unwrap_or(0);
        self.expect(charge.charged_before >= logged, index, Rule::ForgottenCharges, || {
            format!(
                "`{who}` counts {} earlier charges, the log holds {logged}: restored or cloned state was not recognised",
                charge.charged_before
            )
        });
        let planned = self.plan.rounds.count;
        self.expect(charge.round <= u64::from(planned), index, Rule::Schedule, || {
            format!("`{who}` charges round {}, {planned} are planned", charge.round)
        });
    }

    /// Charges for rounds that no entry ends, although a later round ended.
    ///
    /// Charges of a round that is still running are in order; so is a charge whose merchant vanished before its update
    /// was complete: it stays spent, without being named by the round.
    pub(super) fn judge_unended_charges(&mut self) {
        let Some(last) = self.last_round else { return };
        let unended: Vec<(u64, u64, u64)> = self
            .charges
            .iter()
            .map(|(index, c)| (*index, c.run, c.round))
            .filter(|(_, run, round)| (*run, *round) < last && !self.ended.contains(&(*run, *round)))
            .collect();
        for (index, run, round) in unended {
            let what = format!("charges round {round} of run {run}, which never ended though later ones did");
            self.find(Some(index), Rule::ChargeWithoutRound, what);
        }
    }
}
