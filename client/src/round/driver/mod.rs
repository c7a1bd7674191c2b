//! Rounds, one after the other, until the federation's schedule ends.
//!
//! What happens within one of them is in [`one_round`]; here is what stands between: following the log, budgets, fresh
//! pre-keys, and when training ends.

mod one_round;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use forecastle_crypto::{
    dp::{
        filter::{self, MerchantPolicy, Refusal, Reservation},
        noise::NoiseSampler,
        plan::PrivacyPlan,
        release::Release,
    },
    entropy::SystemEntropy,
    identity::{Sha256Digest, Signature, SigningKey, VerifyingKey, sha256},
    quantize::NoisedUpdate,
    secagg::offer::{SignedOffer, VerifiedOffer},
};
use forecastle_proto::{model::ModelSnapshot, round::await_offer_response::Answer};

use super::{
    event::RoundEvent,
    exchange::Exchange,
    pause::Pause,
    prekeys::{PrekeyError, PrekeyStore, READY},
};
use crate::{
    durable::{self, DiskError},
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

fn open(offer: forecastle_proto::round::SignedOffer, key: &VerifyingKey) -> Result<VerifiedOffer, String> {
    let signature: [u8; 64] =
        offer.signature.try_into().map_err(|_| "the offer's signature is not 64 bytes long".to_owned())?;
    SignedOffer { bytes: offer.offer, signature: Signature::from_bytes(signature) }.open(key).map_err(|e| e.to_string())
}

/// Unix time in milliseconds.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}
