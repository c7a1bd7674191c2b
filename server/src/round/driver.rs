//! Conducts the rounds of the run, one after another: gathers merchants, opens phases, ends each when everybody
//! answered or its time is over, publishes or abandons.
//!
//! What is durable when, and what a crash there means:
//!
//! 1. *pre-keys used, round open* (one transaction) — before the offer is published. A crash after it burns the
//!    pre-keys and the round number; nobody has seen the offer, or whoever has finds the round abandoned.
//! 2. *charges* — each before its update is taken (`upload`). A crash leaves them in the log; they stay spent.
//! 3. *nothing* during consistency and unmasking: the aggregate lives in memory. A crash abandons the round.
//! 4. *model and optimizer files*, then *entry, rows and checkpoint* (one transaction, `publish`). Before the
//!    commit a crash abandons the round and the files are removed; after it the model is published.
//! 5. *abandonment* (one transaction). A crash before it repeats it at the next start.
//!
//! The invariant: at most one round is open, in memory and on disk, and a new one starts only after the last one's
//! end is durable.

use std::{sync::Arc, time::Duration};

use forecastle_crypto::{
    ledger::entry::{Entry, RoundAbandoned},
    secagg::{AwaitingKeys, AwaitingShares, RoundFailed, RoundTerms, SignedOffer, VerifiedOffer},
};
use tokio::time::{Instant, sleep};

use crate::{
    event::{self, ServerEvent},
    identity::merchants::{self, Merchant},
    ledger::store::LedgerError,
    now_ms,
    round::{
        cohort,
        misconduct::Concern,
        phase::{Open, Outcome, Running, Stage},
        prekeys,
    },
    server::Shared,
    state::RUN,
    store::{StoreError, count_column, stored},
};

/// Pause after a failure of disk or database before it is tried again.
const RETRY: Duration = Duration::from_secs(3);
/// How often presence is looked at without a bell: merchants leave silently.
const LOOK: Duration = Duration::from_secs(1);
/// Events about waiting are at least this far apart.
const EVENT_PAUSE: Duration = Duration::from_millis(150);
/// Longest time for stragglers once the unmasking answers would do: one of them may yet replace a share that does
/// not fit.
const UNMASKING_GRACE_MAX: Duration = Duration::from_secs(2);

/// The longest reason that is logged, in characters: with 255 charges the entry stays far below its bound.
const REASON_CHARACTERS_MAX: usize = 1_000;

/// Why the open round has to be abandoned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Abandon {
    /// Too few, or shares that do not fit.
    #[error("{0}")]
    Failed(#[from] RoundFailed),
    /// The optimizer or the model refused the step.
    #[error("the step could not be taken: {0}")]
    Step(String),
    /// The server stops.
    #[error("the server was stopped")]
    Stopping,
    /// A task of ours panicked.
    #[error("the server failed: {0}")]
    Bug(String),
}

impl Abandon {
    /// The reason, with the names of merchants where the protocol knows numbers.
    fn in_words(&self, offer: &VerifiedOffer) -> String {
        let name = |number| offer.entry(number).map(|entry| entry.merchant.clone());
        match self {
            Self::Failed(RoundFailed::MalformedShares { subject, secret, holders }) => {
                let holders: Vec<_> = holders.iter().filter_map(name).collect();
                let subject = name(*subject).map_or_else(|| subject.to_string(), |merchant| merchant.to_string());
                format!(
                    "the {secret} of {subject} cannot be reconstructed from the shares of {}: {subject} dealt shares that do not fit together, or several of them lie",
                    if holders.is_empty() { "nobody".to_owned() } else { event::names(&holders) }
                )
            }
            other => other.to_string(),
        }
    }
}

impl Shared {
    /// Conducts rounds until the schedule is used up or the server stops.
    pub(crate) async fn conduct(self: Arc<Self>) {
        while !self.stopping() {
            match self.state.rounds_used().await {
                Err(error) => self.pause(&error).await,
                Ok(used) if used >= u64::from(self.state.plan().rounds.count) => return self.finish(),
                Ok(used) => {
                    let round = used + 1;
                    let Some(cohort) = self.gather(round).await else { continue };
                    match self.open(round, cohort).await {
                        Ok(Some((state, signed))) => self.run(round, state, signed).await,
                        Ok(None) => {}
                        Err(error) => self.pause(&error).await,
                    }
                }
            }
        }
    }

    fn finish(&self) {
        let model_version = self.registry.latest().row.version;
        self.hall.with(|desk| desk.finished = Some(model_version));
        self.hall.notify();
        self.events.emit(ServerEvent::RunFinished { model_version });
    }

    pub(crate) fn stopping(&self) -> bool {
        self.hall.with(|desk| desk.stopping)
    }

    /// Reports a failure that may pass (a full disk) and waits a little.
    pub(crate) async fn pause(&self, error: &(dyn std::error::Error + Send + Sync)) {
        tracing::error!("{error}; trying again");
        let _ = self.hall.wait_until(Instant::now() + RETRY, |desk| desk.stopping.then_some(())).await;
    }

    /// Waits for a cohort. `None` when the database failed or the server stops.
    async fn gather(&self, round: u64) -> Option<Vec<Merchant>> {
        let plan = self.state.plan();
        let fewest = usize::from(cohort::fewest(plan));
        let mut enough_since = None;
        let mut told = None;
        let mut changes = self.hall.changes();
        loop {
            changes.borrow_and_update();
            if self.stopping() {
                return None;
            }
            let enrolled = match merchants::all(self.state.pool()).await {
                Ok(all) => {
                    let now = now_ms();
                    all.into_iter().filter(|m| !m.revoked && m.not_after_ms > now).collect::<Vec<_>>()
                }
                Err(error) => {
                    self.pause(&error).await;
                    return None;
                }
            };
            let expected = enrolled.len().max(usize::from(self.state.settings().expected_merchants));
            let (present, missing): (Vec<_>, Vec<_>) = self.hall.with(|desk| {
                let now = Instant::now();
                enrolled.into_iter().partition(|m| m.prekeys_left > 0 && desk.is_present(&m.name, now))
            });
            let names = |merchants: &[Merchant]| merchants.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
            let event = ServerEvent::Gathering { round, present: names(&present), missing: names(&missing) };
            if told.as_ref() != Some(&event) {
                self.events.emit(event.clone());
                told = Some(event);
            }
            if present.len() < fewest {
                enough_since = None;
            } else {
                let since = *enough_since.get_or_insert_with(Instant::now);
                let everyone = present.len() >= expected.min(usize::from(plan.rounds.cohort_max));
                if everyone || since.elapsed() >= self.state.settings().gather() {
                    return cohort::choose(present, plan);
                }
            }
            let next = enough_since.map_or(LOOK, |since| {
                (since + self.state.settings().gather()).saturating_duration_since(Instant::now()).min(LOOK)
            });
            let _ = tokio::time::timeout(next.max(Duration::from_millis(1)), changes.changed()).await;
        }
    }

    /// Uses pre-keys up, signs the offer, and makes both durable. `None` when the cohort fell apart meanwhile.
    async fn open(
        &self,
        round: u64,
        cohort: Vec<Merchant>,
    ) -> Result<Option<(AwaitingShares, SignedOffer)>, LedgerError> {
        let (ledger_size, ledger_root) = self.ledger.head().await?;
        let mut transaction = crate::store::begin_write(self.state.pool()).await?;
        let mut keys = AwaitingKeys::new();
        for merchant in &cohort {
            let Some(bundle) = prekeys::take(&mut transaction, &merchant.name, round).await? else {
                return Ok(None);
            };
            // Bundles were checked when they were kept; two merchants that share a key are turned away here,
            // and their pre-keys stay burnt.
            if let Err(error) = keys.add(merchant.name.clone(), merchant.identity, bundle) {
                let reason = format!("{error}; it is left out of round {round}");
                self.turned_away(&merchant.name, Concern::KeyShares, &reason);
            }
            sqlx::query("UPDATE merchants SET last_round = ? WHERE name = ?")
                .bind(stored(round))
                .bind(merchant.name.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        let size = u16::try_from(keys.len()).unwrap_or(u16::MAX);
        let terms = self.terms(round, size, ledger_size, ledger_root);
        let (state, signed) = match terms.and_then(|terms| Ok(keys.close(terms, &self.key, self.spools.clone())?)) {
            Ok(opened) => opened,
            Err(error) => {
                // The pre-keys that brought this about stay used; the round number was not.
                transaction.commit().await?;
                tracing::error!("round {round} could not be offered: {error}");
                sleep(RETRY).await;
                return Ok(None);
            }
        };
        sqlx::query("INSERT INTO rounds (round, sid, state, started_ms) VALUES (?, ?, 'open', ?)")
            .bind(stored(round))
            .bind(state.offer().sid().as_bytes().to_vec())
            .bind(stored(now_ms()))
            .execute(&mut *transaction)
            .await?;
        // Stage 1. A crash before this: no pre-key is used and the round number is free, nobody saw the offer.
        // A crash after: both are used, the next start abandons the round.
        transaction.commit().await?;
        cohort.iter().for_each(|merchant| self.admission.prekey_used(merchant.fingerprint, std::time::Instant::now()));
        Ok(Some((state, signed)))
    }

    fn terms(
        &self,
        round: u64,
        cohort: u16,
        ledger_size: u64,
        ledger_root: forecastle_crypto::identity::Sha256Digest,
    ) -> Result<RoundTerms, Abandon> {
        let plan = self.state.plan();
        let latest = self.registry.latest();
        let step = |e: &dyn std::fmt::Display| Abandon::Step(e.to_string());
        let threshold = plan.threshold(cohort).map_err(|e| step(&e))?;
        let variance_local = plan.local_variance().map_err(|e| step(&e))?;
        Ok(RoundTerms {
            federation: self.state.federation().to_owned(),
            run: RUN,
            round,
            model_version: latest.row.version,
            model_sha256: latest.row.sha256,
            layout_sha256: self.state.founded().layout_sha256,
            dimension: self.state.founded().dimension,
            bits: plan.integers.bits,
            units_per_clip: u64::from(plan.integers.units_per_clip),
            clip: plan.update_clip(),
            sigma_total: plan.step.noise_multiplier,
            variance_local,
            survivors_min: threshold.survivors_min(),
            threshold: threshold.threshold(),
            neighbours: threshold.neighbours(),
            colluders_assumed: threshold.colluders(),
            plan_sha256: self.state.plan_sha256(),
            // Key sharing and masked updates take one phase each.
            deadline_ms: now_ms() + 2 * plan.rounds.phase_deadline_ms,
            ledger_size,
            ledger_root,
        })
    }

    /// Takes an open round to its end, and makes the end durable.
    async fn run(self: &Arc<Self>, round: u64, state: AwaitingShares, signed: SignedOffer) {
        let offer = state.offer().clone();
        let sid = offer.sid();
        let cohort = offer.roster().iter().map(|entry| entry.merchant.clone()).collect();
        self.hall.with(|desk| {
            desk.start(Running {
                round,
                offer: offer.clone(),
                signed,
                stage: Stage::KeyShares,
                state: Some(Open::KeyShares(state)),
                sharers: Default::default(),
                uploads: Default::default(),
                survivors: None,
                signers: Default::default(),
            });
        });
        self.hall.notify();
        self.events.emit(ServerEvent::RoundStarted { round, cohort });
        // ε so far is worked out while the round runs.
        let epsilon = {
            let shared = Arc::clone(self);
            tokio::task::spawn_blocking(move || shared.state.epsilon(round))
        };
        let outcome = match self.phases(round).await {
            Ok(aggregate) => self.publish(round, aggregate).await,
            Err(abandon) => Err(abandon),
        };
        match outcome {
            Ok((outcome, survivors, model_version)) => {
                self.hall.end_round(sid, outcome);
                let epsilon = epsilon.await.ok().flatten();
                self.events.emit(ServerEvent::RoundClosed { round, survivors, model_version, epsilon });
            }
            Err(abandon) => {
                let reason = abandon.in_words(&offer);
                self.hall.end_round(sid, Outcome::Abandoned(reason.clone()));
                // Stage 5: until it is durable, no other round starts.
                while let Err(error) = abandon_on_disk(self, round, &reason).await {
                    if self.stopping() {
                        // The next start finds the round open and abandons it.
                        tracing::error!("round {round} could not be recorded as abandoned: {error}");
                        return;
                    }
                    self.pause(&error).await;
                }
                self.events.emit(ServerEvent::RoundAbandoned { round, reason });
            }
        }
    }

    /// Opens and closes the four phases.
    async fn phases(self: &Arc<Self>, round: u64) -> Result<forecastle_crypto::secagg::Aggregate, Abandon> {
        loop {
            self.answers(round).await?;
            // The stage stays until what the next one hands out is there: whoever asks in between waits.
            let state = self.hall.with(|desk| {
                let running = desk.running.as_mut().expect("only this task ends a round");
                running.state.take().expect("only this task closes a phase")
            });
            match state {
                Open::KeyShares(state) => {
                    let next = state.close()?;
                    let sharers = next.sharers().clone();
                    self.open_phase(Stage::MaskedUpdates, Open::MaskedUpdates(next), |running| {
                        running.sharers = sharers;
                    });
                }
                Open::MaskedUpdates(state) => {
                    let (next, message) = state.close()?;
                    self.open_phase(Stage::Consistency, Open::Consistency(next), |running| {
                        running.survivors = Some(message);
                    });
                }
                Open::Consistency(state) => {
                    // Every survivor's charge became durable before its bytes were taken: see `upload`.
                    let next = state.close()?;
                    let signers = next.signers().clone();
                    self.open_phase(Stage::Unmasking, Open::Unmasking(next), |running| running.signers = signers);
                }
                Open::Unmasking(state) => {
                    self.hall.with(|desk| {
                        desk.running.as_mut().expect("only this task ends a round").stage = Stage::Publishing;
                    });
                    let unmasked = tokio::task::spawn_blocking(move || state.close()).await;
                    return Ok(unmasked.map_err(|e| Abandon::Bug(e.to_string()))??);
                }
            }
        }
    }

    fn open_phase(&self, stage: Stage, state: Open, record: impl FnOnce(&mut Running)) {
        self.hall.with(|desk| {
            let running = desk.running.as_mut().expect("only this task ends a round");
            record(running);
            running.stage = stage;
            running.state = Some(state);
        });
        self.hall.notify();
    }

    /// Waits until everybody answered, the phase's time is over, or enough answered and the stragglers' time is
    /// over too.
    async fn answers(&self, round: u64) -> Result<(), Abandon> {
        let whole = Duration::from_millis(self.state.plan().rounds.phase_deadline_ms);
        let deadline = Instant::now() + whole;
        let mut enough_since: Option<Instant> = None;
        let mut told = None;
        loop {
            let (phase, waiting, names, enough) = self.hall.with(|desk| {
                let running = desk.running.as_ref().expect("only this task ends a round");
                let (phase, waiting) = running.waiting().expect("only this task closes a phase");
                let names = running.names(&waiting);
                (phase, waiting, names, running.is_enough())
            });
            if told.as_ref() != Some(&waiting) {
                self.events.emit(ServerEvent::PhaseWaiting { round, phase, missing: names.clone() });
                told = Some(waiting.clone());
            }
            let now = Instant::now();
            if waiting.is_empty() {
                return Ok(());
            }
            let until = if enough {
                (*enough_since.get_or_insert(now) + (whole / 4).min(UNMASKING_GRACE_MAX)).min(deadline)
            } else {
                deadline
            };
            if now >= until {
                self.events.emit(ServerEvent::WentOnWithout { round, phase, merchants: names });
                return Ok(());
            }
            let known = waiting.clone();
            let stopping = self
                .hall
                .wait_until(until, move |desk| {
                    let changed = desk.running.as_ref().and_then(Running::waiting).is_some_and(|(_, set)| set != known);
                    (desk.stopping || changed).then_some(desk.stopping)
                })
                .await;
            if stopping == Some(true) {
                return Err(Abandon::Stopping);
            }
            // Answers that come together are reported together.
            if stopping.is_some() && waiting.len() > 16 {
                sleep(EVENT_PAUSE).await;
            }
        }
    }
}

/// Records that a round ended without a model, with every charge made for it.
pub(crate) async fn abandon_on_disk(shared: &Shared, round: u64, reason: &str) -> Result<(), LedgerError> {
    let now = now_ms();
    let mut batch = shared.ledger.begin().await?;
    let rows: Vec<(i64,)> = sqlx::query_as("SELECT ledger_index FROM charges WHERE round = ? ORDER BY ledger_index")
        .bind(stored(round))
        .fetch_all(batch.connection())
        .await?;
    let charges = rows
        .into_iter()
        .map(|(index,)| count_column(index, "charges.ledger_index"))
        .collect::<Result<Vec<_>, StoreError>>()?;
    let reason = reason.chars().take(REASON_CHARACTERS_MAX).collect();
    let entry = RoundAbandoned { run: RUN, round, reason, charges, at_ms: now };
    // An attempt whose commit succeeded without our hearing of it must not be repeated.
    let open = sqlx::query(
        "UPDATE rounds SET state = 'abandoned', ended_ms = ?, ledger_index = ? WHERE round = ? AND state = 'open'",
    );
    let index = batch.push(&Entry::RoundAbandoned(entry)).await?;
    let changed = open
        .bind(stored(now))
        .bind(stored(index))
        .bind(stored(round))
        .execute(batch.connection())
        .await?
        .rows_affected();
    if changed == 1 {
        batch.commit().await?;
    }
    Ok(())
}
