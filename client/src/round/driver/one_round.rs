//! One round, from an accepted offer to its outcome.
//!
//! The order of writing and sending, and what a crash between two lines would mean:
//!
//! 1. the pre-key's secret is taken off the disk — crash: the key is burnt, the round missed;
//! 2. key shares are sent;
//! 3. gradients are summed, rounded, noised (in every local step, or once), masked, all in memory — crash: nothing has
//!    left;
//! 4. the charge, drawn on what was reserved when training began, is fsynced into the own ledger — crash:
//!    overcharged, the round abandoned;
//! 5. charge and masked update are sent — crash: charged, the server has it whole or not at all; it is never
//!    computed again, so the same data never leave with fresh noise —
//!    then the server proves that the charge is in the log, or this merchant says nothing more in the round;
//! 6. the unmasking answer is fsynced, then sent — crash: it is not sent again in another form, since the round
//!    cannot be resumed: its states live in memory only.

use std::time::Duration;

use forecastle_crypto::{
    dp::{filter::Budget, release::Release},
    entropy::SystemEntropy,
    identity::Sha256Digest,
    ledger::entry::{Charge, Sampler, SignedCharge},
    secagg::{
        error::ParticipantError,
        messages::{DeliveredShares, SurvivorSet, UnmaskRequest},
        offer::{RoundTerms, VerifiedOffer},
        participant::AdvertisingKeys,
    },
};

use super::{Missed, Participant, TrainError, now_ms};
use crate::{
    durable::{self, Access},
    fault,
    federation::connection::CallError,
    round::{
        event::RoundEvent,
        exchange::{Awaited, Outcome},
        prekeys::PrekeyError,
        terms::{self, Agreed, TermsError},
    },
};

impl Participant {
    /// Takes part in the offered round. Returns the version of the model that it published.
    pub(super) async fn take_part(
        &mut self,
        offer: VerifiedOffer,
        observe: &mut (dyn FnMut(RoundEvent) + Send),
    ) -> Result<u64, Missed> {
        let offered_at = tokio::time::Instant::now();
        let terms = offer.terms().clone();
        let (version, _) =
            self.log.latest_model().ok_or_else(|| CallError::Answer("the federation's log names no model".into()))?;
        let model = self.adopt_model(version).await?;
        let agreed = Agreed {
            plan: &self.plan,
            plan_sha256: self.plan_sha256,
            policy: &self.policy,
            log: &self.log,
            federation: &self.membership.federation,
            model: &model,
            charged: self.last_charged(),
            now_ms: now_ms(),
        };
        terms::check(&offer, &agreed).map_err(|e: TermsError| Missed::Round(e.to_string()))?;
        let own = offer
            .number_of(&self.membership.merchant)
            .and_then(|n| offer.entry(n))
            .ok_or_else(|| Missed::Round("the round does not name this merchant".into()))?
            .bundle
            .clone();
        // A further run of the same plan is a schedule of its own.
        self.reserve(terms.run)?;
        observe(RoundEvent::Started { round: terms.round, cohort: offer.roster().len() });
        let names: Vec<_> = offer.roster().iter().map(|entry| entry.merchant.clone()).collect();
        let sid = offer.sid();
        let digest = Sha256Digest(sid.0);
        let sid_bytes = sid.0.to_vec();

        let secret = match self.prekeys.take(&own) {
            Ok(secret) => secret,
            Err(PrekeyError::Unknown | PrekeyError::Foreign) => {
                return Err(Missed::Round("its pre-key was burnt; a later round has a fresh one".into()));
            }
            Err(error) => return Err(error.into()),
        };
        fault::point("pre-key-taken");
        let misbehaved = |e: ParticipantError| Missed::Round(e.to_string());
        let state = AdvertisingKeys::new(self.membership.merchant.clone(), self.identity.clone(), secret)
            .accept(offer.clone())
            .map_err(misbehaved)?;
        let mut entropy = SystemEntropy::new();
        let (state, shares) = state.share_keys(&mut entropy).map_err(misbehaved)?;
        self.exchange.share_keys(&sid_bytes, shares.encode()).await?;
        fault::point("shares-sent");

        // Training does not depend on the others' shares: both are waited for at once.
        let (step, plan, dimension) = (self.step.clone(), self.plan.clone(), terms.dimension);
        let sampler = self.sampler;
        let training = tokio::task::spawn_blocking(move || {
            let mut step = step.lock().map_err(|_| "an earlier step ended badly".to_owned())?;
            let mut noise = sampler.source().map_err(|e| e.to_string())?;
            let release = Release::new(&plan, dimension, noise.as_mut()).map_err(|e| e.to_string())?;
            let noised = step.contribute(&model, release)?;
            Ok::<_, String>((noised, noise.name()))
        });
        let delivered = self.exchange.await_message(&sid_bytes, Awaited::Shares).await?.map_err(Missed::Round)?;
        let (noised, noise_source) =
            training.await.map_err(|e| TrainError::Step(e.to_string()))?.map_err(TrainError::Step)?;
        let delivered = DeliveredShares::decode(&delivered).map_err(|e| Missed::Round(e.to_string()))?;
        let (state, update) = state.mask(delivered, noised).map_err(misbehaved)?;
        for from in state.unreadable().iter() {
            tracing::warn!("round {}: the key shares of {} did not open", terms.round, names[from.position()]);
        }
        fault::point("masked");

        let earlier = self.ledger.charges();
        let charge = self.charge(&terms, digest, update.sha256(), noise_source, earlier.len())?;
        let reservations = self.budget.reservations()?;
        let budget = Budget::new(self.membership.server_key, &reservations, &earlier);
        let admission = budget.admit(&charge, &self.policy)?;
        fault::point("admitted");
        let signed = SignedCharge::sign(charge, &self.identity);
        self.ledger.record(signed.clone())?;
        fault::point("charged");
        observe(RoundEvent::Charged { round: terms.round, epsilon: admission.epsilon_after, cap: admission.cap });
        tokio::time::sleep_until(offered_at + Duration::from_millis(self.plan.rounds.submit_after_ms)).await;
        self.exchange.send_masked_update(&sid_bytes, &signed, &update).await?;
        drop(update);
        fault::point("update-sent");

        let survivors = self.exchange.await_message(&sid_bytes, Awaited::Survivors).await?.map_err(Missed::Round)?;
        // From here on this merchant's update is in the sum: where the others were enough to open it, what this one
        // has to say is no longer needed, and the round is its own all the same.
        let survivors = SurvivorSet::decode(&survivors).map_err(|e| Missed::Round(e.to_string()))?;
        let names = survivors.survivors.iter().filter_map(|number| Some(&offer.entry(number)?.merchant));
        terms::check_known("survivors", names, &self.log, &self.policy).map_err(|e| Missed::Round(e.to_string()))?;
        let (state, signature) = state.confirm(survivors).map_err(misbehaved)?;
        // What this merchant spends is in the log, where everybody counts it, or it helps no further: without its word
        // and its share nothing of the update is opened by its doing.
        self.prove(&signed, observe).await?;
        let heard = was_heard(self.exchange.confirm(&sid_bytes, signature.encode()).await)?;
        fault::point("confirmed");
        let request = match heard {
            true => self.exchange.await_message(&sid_bytes, Awaited::UnmaskRequest).await?.ok(),
            false => None,
        };
        if let Some(request) = request {
            let request = UnmaskRequest::decode(&request).map_err(|e| Missed::Round(e.to_string()))?;
            let answered = state.unmask(&request).map_err(misbehaved)?;
            let folder = self.answers();
            durable::create_private_folder(&folder)?;
            durable::write(&folder.join(format!("{digest}.answer")), &answered.to_bytes(), Access::Secret)?;
            fault::point("answer-kept");
            let response = answered.answer(&request).map_err(misbehaved)?;
            was_heard(self.exchange.unmask(&sid_bytes, response.encode()).await)?;
            fault::point("unmasked");
        }
        let outcome = self.exchange.await_outcome(&sid_bytes).await?;
        fault::point("ended");
        durable::remove(&self.answers().join(format!("{digest}.answer")))?;
        match outcome {
            Outcome::Published { model_version } => {
                self.sync(observe).await?;
                // It is this round's model only where the log says so.
                if self.log.published_by(digest) != Some(model_version) {
                    return Err(TrainError::ForeignModel { version: model_version }.into());
                }
                self.adopt_model(model_version).await?;
                Ok(model_version)
            }
            Outcome::Ended { reason } => Err(Missed::Round(reason)),
        }
    }

    fn charge(
        &self,
        terms: &RoundTerms,
        sid: Sha256Digest,
        masked_sha256: Sha256Digest,
        noise_source: &str,
        charged_before: usize,
    ) -> Result<Charge, TrainError> {
        let plan = &self.plan;
        let as_step = |e: &dyn std::fmt::Display| TrainError::Step(e.to_string());
        let multiplier = plan.effective_noise_multiplier(terms.dimension).map_err(|e| as_step(&e))?;
        Ok(Charge {
            merchant: self.membership.merchant.clone(),
            run: terms.run,
            round: terms.round,
            sid,
            plan_sha256: self.plan_sha256,
            unit: plan.privacy.unit,
            relation: plan.relation(),
            bounds: plan.bounds,
            period_start: plan.rounds.period_start,
            period_end: plan.rounds.period_end,
            noise: plan.noise_mode(),
            event: plan.step_event(multiplier).map_err(|e| as_step(&e))?,
            clip: plan.noise_clip(),
            units_per_clip: u64::from(plan.integers.units_per_clip),
            noise_multiplier: plan.step.noise_multiplier,
            variance_local: terms.variance_local,
            survivors_min: plan.rounds.survivors_min,
            colluders_assumed: plan.rounds.colluders_assumed,
            sampling_rate: plan.step.sampling_rate,
            sampler: Sampler::Poisson,
            dimension: terms.dimension,
            delta: plan.privacy.delta,
            epsilon_cap: plan.privacy.epsilon_cap,
            charged_before: u32::try_from(charged_before).unwrap_or(u32::MAX),
            noise_source: noise_source.to_owned(),
            software: concat!("forecastle ", env!("CARGO_PKG_VERSION")).to_owned(),
            masked_sha256,
            at_ms: now_ms(),
        })
    }

    /// Has the server prove that a charge is in the log, trying a silent server again.
    async fn prove(
        &mut self,
        charge: &SignedCharge,
        observe: &mut (dyn FnMut(RoundEvent) + Send),
    ) -> Result<(), TrainError> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.log.prove(self.exchange.connection(), charge).await {
                Ok(()) => return Ok(()),
                Err(e) if e.is_transient() && begun.elapsed() < self.options.patience => {
                    observe(RoundEvent::Reconnecting { reason: e.to_string() });
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// Whether a message that others may have made superfluous was taken.
fn was_heard(sent: Result<(), CallError>) -> Result<bool, CallError> {
    match sent {
        Ok(()) => Ok(true),
        Err(CallError::Gone(reason)) => {
            tracing::debug!("not needed any more: {reason}");
            Ok(false)
        }
        Err(error) => Err(error),
    }
}
