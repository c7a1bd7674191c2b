//! Rounds, one after the other, until the federation's schedule ends.
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

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use forecastle_crypto::{
    dp::{
        filter::{self, Budget, MerchantPolicy, Refusal, Reservation},
        noise::NoiseSampler,
        plan::PrivacyPlan,
        release::Release,
    },
    entropy::SystemEntropy,
    identity::{Sha256Digest, Signature, SigningKey, VerifyingKey, sha256},
    ledger::entry::{Charge, Sampler, SignedCharge},
    quantize::NoisedUpdate,
    secagg::{
        messages::{DeliveredShares, SurvivorSet, UnmaskRequest},
        offer::{SignedOffer, VerifiedOffer},
        participant::AdvertisingKeys,
    },
};
use forecastle_proto::{model::ModelSnapshot, round::await_offer_response::Answer};

use super::{
    event::RoundEvent,
    exchange::{Awaited, Exchange, Outcome},
    pause::Pause,
    prekeys::{PrekeyError, PrekeyStore, READY},
    terms::{self, Agreed, TermsError},
};
use crate::{
    durable::{self, Access, DiskError},
    fault,
    federation::{
        budget::{BudgetError, BudgetFolder},
        connection::{CallError, Connection},
        home::{Home, HomeError, Membership},
        log_copy::{LogCopy, LogError},
        own_ledger::OwnLedger,
    },
};

/// The run that a federation begins with.
const FIRST_RUN: u64 = 1;

/// What one merchant computes in a round.
///
/// Implementations hold the merchant's data; they draw a fresh Poisson sample at every step.
pub trait LocalStep: Send {
    /// Trains from `model` as the plan asks, and releases what follows through `release`, which adds the noise that the
    /// round is charged for and refuses any other kind of training.
    ///
    /// # Errors
    /// A sentence without personal data.
    fn contribute(&mut self, model: &ModelSnapshot, release: Release<'_>) -> Result<NoisedUpdate, String>;
}

/// How to train.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainOptions {
    /// Stop after one round that this merchant took part in.
    pub once: bool,
    /// How long a server that does not answer is tried.
    pub patience: Duration,
}

/// Why training stopped before the schedule ended.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The server does not answer, or refuses.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The federation's log is not believed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The state folder.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The privacy filter.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Pre-keys.
    #[error(transparent)]
    Prekey(#[from] PrekeyError),
    /// The local step failed.
    #[error("this merchant's training step failed: {0}; nothing was sent")]
    Step(String),
    /// The model of the server is not the one in the log.
    #[error(
        "model {version} of the server is not the one the federation's log names; training stops, tell the operator and the other merchants"
    )]
    ForeignModel {
        /// Which version.
        version: u64,
    },
}

impl From<DiskError> for TrainError {
    fn from(error: DiskError) -> Self {
        Self::Home(error.into())
    }
}

impl From<BudgetError> for TrainError {
    fn from(error: BudgetError) -> Self {
        match error {
            BudgetError::Home(error) => Self::Home(error),
            BudgetError::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// Why one round went on without this merchant; the next one may be fine.
enum Missed {
    /// In words.
    Round(String),
    /// Training cannot go on.
    Stop(TrainError),
}

impl<E: Into<TrainError>> From<E> for Missed {
    fn from(error: E) -> Self {
        match error.into() {
            // The round is gone, the server restarted or went on: the next round begins afresh.
            TrainError::Call(e @ (CallError::Gone(_) | CallError::Refused(_) | CallError::Busy { .. })) => {
                Self::Round(e.to_string())
            }
            other => Self::Stop(other),
        }
    }
}

/// A merchant that takes part in rounds.
pub struct Participant {
    home: Home,
    membership: Membership,
    plan: PrivacyPlan,
    plan_sha256: Sha256Digest,
    policy: MerchantPolicy,
    identity: Arc<SigningKey>,
    exchange: Exchange,
    log: LogCopy,
    ledger: OwnLedger,
    budget: BudgetFolder,
    prekeys: PrekeyStore,
    /// Bundles (JSON) that the server has not taken yet.
    unsent: Vec<Vec<u8>>,
    step: Arc<Mutex<Box<dyn LocalStep>>>,
    options: TrainOptions,
    sampler: NoiseSampler,
}

impl Participant {
    /// Opens everything on disk; the network is not touched yet.
    ///
    /// # Errors
    /// Where the state folder is not joined or damaged, or the plan is below the policy.
    pub fn open(home: Home, step: Box<dyn LocalStep>, options: TrainOptions) -> Result<Self, TrainError> {
        let membership = home.membership()?;
        let (plan, plan_sha256) = home.plan()?;
        let policy = home.policy()?;
        policy.accept(&plan)?;
        let connection = Connection::open(&home, &membership)?;
        Ok(Self {
            identity: home.identity()?,
            log: LogCopy::open(&home, &membership)?,
            ledger: OwnLedger::open(home.path())?,
            budget: BudgetFolder::of(&home)?,
            prekeys: PrekeyStore::open(&home)?,
            unsent: Vec::new(),
            exchange: Exchange::new(connection, options.patience, Duration::from_millis(plan.rounds.phase_deadline_ms)),
            step: Arc::new(Mutex::new(step)),
            home,
            membership,
            plan,
            plan_sha256,
            policy,
            options,
            sampler: NoiseSampler::default(),
        })
    }

    /// Has noise drawn by `sampler`; the charge names it.
    #[must_use]
    pub fn with_sampler(self, sampler: NoiseSampler) -> Self {
        Self { sampler, ..self }
    }

    /// Takes part in rounds until the schedule ends (or once). Returns the version of the last model.
    ///
    /// # Errors
    /// [`TrainError`]; run again, it goes on with the next round.
    pub async fn train(&mut self, observe: &mut (dyn FnMut(RoundEvent) + Send)) -> Result<u64, TrainError> {
        // Answers of a round that a crash cut off are of no more use: its states are gone, and with them the round.
        durable::remove_folder(&self.answers())?;
        self.sync(observe).await?;
        let restored = self.take_over_missing(observe)?;
        self.reserve(self.last_charged().map_or(FIRST_RUN, |(run, _)| run))?;
        self.refill(restored).await?;
        let mut after_round = self.last_charged().map_or(0, |(_, round)| round);
        let mut pause = Pause::default();
        loop {
            match self.exchange.await_offer(after_round).await? {
                Answer::Pending(pending) => {
                    observe(RoundEvent::Waiting { present: pending.present });
                    if !self.unsent.is_empty() {
                        self.refill(false).await?;
                    }
                }
                Answer::Finished(finished) => {
                    self.sync(observe).await?;
                    // Not an older one, which this merchant would go on to forecast with.
                    if self.log.latest_model().map(|(version, _)| version) != Some(finished.model_version) {
                        return Err(TrainError::ForeignModel { version: finished.model_version });
                    }
                    self.adopt_model(finished.model_version).await?;
                    observe(RoundEvent::Finished { model_version: finished.model_version });
                    return Ok(finished.model_version);
                }
                Answer::Offer(offer) => {
                    self.sync(observe).await?;
                    // A clone of this folder may be at work at the same moment.
                    if self.take_over_missing(observe)? {
                        self.refill(true).await?;
                    }
                    let offer = match open(offer, &self.membership.server_key) {
                        Ok(offer) => offer,
                        Err(reason) => {
                            // What cannot be opened says nothing, not even which round it is.
                            observe(RoundEvent::Missed { round: after_round.saturating_add(1), reason });
                            tokio::time::sleep(pause.after_a_miss()).await;
                            continue;
                        }
                    };
                    let round = offer.terms().round;
                    // A round that the plan does not have is no reason to pass over those that it has.
                    if round <= u64::from(self.plan.rounds.count) {
                        after_round = after_round.max(round);
                    }
                    match self.take_part(offer, observe).await {
                        Ok(model_version) => {
                            pause.reset();
                            observe(RoundEvent::Published { round, model_version });
                            if self.options.once {
                                return Ok(model_version);
                            }
                        }
                        Err(Missed::Round(reason)) => {
                            observe(RoundEvent::Missed { round, reason });
                            tokio::time::sleep(pause.after_a_miss()).await;
                        }
                        Err(Missed::Stop(error)) => return Err(error),
                    }
                    self.refill(false).await?;
                }
            }
        }
    }

    /// Charges in the federation's log that the own ledger lacks: this folder was restored or cloned. They are taken
    /// over, and the keys on disk, which may have been used elsewhere, are burnt.
    fn take_over_missing(&mut self, observe: &mut (dyn FnMut(RoundEvent) + Send)) -> Result<bool, TrainError> {
        let charges = self.ledger.import_missing(&self.log)?;
        if charges > 0 {
            self.prekeys.burn()?;
            observe(RoundEvent::Restored { charges });
        }
        Ok(charges > 0)
    }

    /// Reserves the whole schedule of `run`, now that the model and with it the cost of rounding is known. Durable
    /// before anything of the run is computed.
    fn reserve(&self, run: u64) -> Result<(), TrainError> {
        let membership = &self.membership;
        let reservation = Reservation::of(
            &self.plan,
            self.plan_sha256,
            run,
            (&membership.federation, membership.server_key),
            &membership.merchant,
            self.log.founded().map(|founded| founded.dimension),
            now_ms(),
        )?;
        self.budget.reserve(membership.server_key, &self.ledger.charges(), &reservation, &self.policy)?;
        Ok(())
    }

    /// ε charged so far for the plan's period, and the cap.
    ///
    /// # Errors
    /// Where the accountant refuses.
    pub fn spent(&self) -> Result<(f64, f64), Refusal> {
        let charges = self.ledger.charges();
        let epsilon = filter::spent(charges.iter().map(|c| &c.event), self.plan.privacy.delta)?;
        Ok((epsilon, self.plan.privacy.epsilon_cap.min(self.policy.epsilon_max)))
    }

    async fn take_part(
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
        let misbehaved = |e: forecastle_crypto::secagg::error::ParticipantError| Missed::Round(e.to_string());
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
        terms: &forecastle_crypto::secagg::offer::RoundTerms,
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

    /// Brings the verified copy of the log up to date, trying a silent server again.
    async fn sync(&mut self, observe: &mut (dyn FnMut(RoundEvent) + Send)) -> Result<(), TrainError> {
        let begun = tokio::time::Instant::now();
        loop {
            match self.log.sync(self.exchange.connection()).await {
                Ok(_) => return Ok(()),
                Err(e) if e.is_transient() && begun.elapsed() < self.options.patience => {
                    observe(RoundEvent::Reconnecting { reason: e.to_string() });
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(e) => return Err(e.into()),
            }
        }
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

    /// The model of `version`, from disk or from the server, verified against the log.
    async fn adopt_model(&self, version: u64) -> Result<ModelSnapshot, TrainError> {
        let digest = self.log.model_digest(version).ok_or(TrainError::ForeignModel { version })?;
        if let Some((held, model)) = self.home.current_model()?
            && held == version
            && model.digest() == digest
        {
            return Ok(model);
        }
        let bytes = self.exchange.model(version).await?;
        if sha256(&bytes) != digest {
            return Err(TrainError::ForeignModel { version });
        }
        let model = ModelSnapshot::from_bytes(&bytes).map_err(HomeError::from)?;
        self.home.store_model(version, &bytes)?;
        Ok(model)
    }

    /// Has pre-keys ready at the server, and none but those on this disk where it shall `replace` them. A server that wants
    /// to be left alone gets them later: those that it has serve for several rounds.
    async fn refill(&mut self, replace: bool) -> Result<(), TrainError> {
        let mut ready = self.exchange.upload_prekeys(Vec::new(), replace).await?;
        if replace {
            self.unsent.clear();
        }
        if ready < READY / 2 && self.unsent.is_empty() && self.prekeys.is_full(READY - ready)? {
            self.prekeys.burn()?;
            ready = self.exchange.upload_prekeys(Vec::new(), true).await?;
        }
        if ready < READY / 2 && self.unsent.is_empty() {
            let bundles = self.prekeys.make(
                READY - ready,
                &self.membership.merchant,
                &self.identity,
                &mut SystemEntropy::new(),
            )?;
            self.unsent = bundles.iter().map(|b| serde_json::to_vec(b).expect("a bundle always serialises")).collect();
        }
        if !self.unsent.is_empty() {
            match self.exchange.upload_prekeys(self.unsent.clone(), false).await {
                Ok(count) => {
                    ready = count;
                    self.unsent.clear();
                }
                Err(CallError::Busy { why, .. }) => tracing::warn!("{ready} pre-keys ready: {why}"),
                Err(error) => return Err(error.into()),
            }
        }
        tracing::debug!("{ready} pre-keys ready");
        Ok(())
    }

    /// Unmasking answers of the running round.
    fn answers(&self) -> std::path::PathBuf {
        self.home.path().join("answers")
    }

    fn last_charged(&self) -> Option<(u64, u64)> {
        self.ledger.charges().iter().map(|c| (c.run, c.round)).max()
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

fn open(offer: forecastle_proto::round::SignedOffer, key: &VerifyingKey) -> Result<VerifiedOffer, String> {
    let signature: [u8; 64] =
        offer.signature.try_into().map_err(|_| "the offer's signature is not 64 bytes long".to_owned())?;
    SignedOffer { bytes: offer.offer, signature: Signature::from_bytes(signature) }.open(key).map_err(|e| e.to_string())
}

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
