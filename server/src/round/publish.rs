//! From the sum to a published model.
//!
//! In order, and what a crash in between means:
//!
//! 1. the optimizer steps in memory: nothing is on disk, the round is abandoned at the next start;
//! 2. model file and optimizer state are written and synchronised: files without a row are removed at the next
//!    start, the round is abandoned;
//! 3. one transaction: the `RoundClosed` entry, its checkpoint, the model's row, the round's end. Its commit *is* the
//!    publication. Before it: as 2. After it: the model is there whatever happens;
//! 4. memory: callers learn of it.
//!
//! A transaction that fails (a full disk) is tried again for as long as the server runs, because the sum cannot be
//! had a second time.

use std::{collections::BTreeMap, sync::Arc};

use forecastle_crypto::{
    identity::MerchantId,
    ledger::entry::{Entry, RoundClosed},
    secagg::{Aggregate, ParticipantNumber, ParticipantSet},
};

use crate::{
    ledger::store::LedgerError,
    model::registry::{RegistryError, Staged},
    now_ms,
    round::{driver::Abandon, misconduct::Concern, phase::Outcome},
    server::Shared,
    store::{StoreError, count_column, stored},
};

impl Shared {
    /// Publishes the model that follows from a round's sum. Returns what callers are told, the survivors and the
    /// model's version.
    pub(crate) async fn publish(
        self: &Arc<Self>,
        round: u64,
        aggregate: Aggregate,
    ) -> Result<(Outcome, Vec<MerchantId>, u64), Abandon> {
        for merchant in names(&aggregate, &aggregate.accused) {
            self.turned_away(&merchant, Concern::Answer, "unmasking shares of it did not fit and were left out");
        }
        // Steps 1 and 2.
        let aggregate = Arc::new(aggregate);
        let mut staged = loop {
            let (shared, summed) = (Arc::clone(self), Arc::clone(&aggregate));
            let stepped = tokio::task::spawn_blocking(move || shared.step(round, &summed)).await;
            match stepped.map_err(|e| Abandon::Bug(e.to_string()))? {
                Ok(staged) => break staged,
                Err(Stepping::Refused(why)) => return Err(Abandon::Step(why)),
                Err(Stepping::Disk(error)) if !self.stopping() => self.pause(&error).await,
                Err(Stepping::Disk(_)) => return Err(Abandon::Stopping),
            }
        };
        // Step 3.
        let ledger_index = loop {
            match self.commit(round, &aggregate, &mut staged).await {
                Ok(index) => break index,
                Err(error) if !self.stopping() => self.pause(&error).await,
                Err(_) => return Err(Abandon::Stopping),
            }
        };
        // Step 4.
        let outcome =
            Outcome::Published { model_version: staged.version(), model_sha256: staged.sha256(), ledger_index };
        let version = staged.version();
        self.registry.publish(staged);
        Ok((outcome, names(&aggregate, &aggregate.survivors), version))
    }

    fn step(&self, round: u64, aggregate: &Aggregate) -> Result<Staged, Stepping> {
        let plan = self.state.plan();
        let mut optimizer = self.registry.latest().optimizer.clone();
        optimizer.step(&aggregate.dequantize(), plan.divisor()).map_err(|e| Stepping::Refused(e.to_string()))?;
        self.registry.stage(round, optimizer, now_ms()).map_err(|error| match error {
            RegistryError::Store(error) => Stepping::Disk(error),
            other => Stepping::Refused(other.to_string()),
        })
    }

    /// One transaction: entry, checkpoint, model row, end of the round. Returns the entry's index.
    async fn commit(&self, round: u64, aggregate: &Aggregate, staged: &mut Staged) -> Result<u64, LedgerError> {
        let now = now_ms();
        let mut batch = self.ledger.begin().await?;
        // A commit that succeeded without our hearing of it.
        let ended: Option<(i64,)> =
            sqlx::query_as("SELECT ledger_index FROM rounds WHERE round = ? AND state = 'closed'")
                .bind(stored(round))
                .fetch_optional(batch.connection())
                .await?;
        if let Some((index,)) = ended {
            return Ok(count_column(index, "rounds.ledger_index")?);
        }
        let rows: Vec<(String, i64)> = sqlx::query_as("SELECT merchant, ledger_index FROM charges WHERE round = ?")
            .bind(stored(round))
            .fetch_all(batch.connection())
            .await?;
        let indexes: BTreeMap<String, i64> = rows.into_iter().collect();
        let charges = names(aggregate, &aggregate.survivors)
            .iter()
            .map(|merchant| match indexes.get(merchant.as_str()) {
                Some(&index) => count_column(index, "charges.ledger_index"),
                None => Err(StoreError::Damaged(format!("the charge of survivor {merchant} is missing"))),
            })
            .collect::<Result<Vec<u64>, StoreError>>()?;
        let terms = aggregate.offer.terms().clone();
        // An entry holds numbers of one byte; plans with larger cohorts are not founded.
        let byte = |number: ParticipantNumber| u8::try_from(number.get()).ok();
        let numbers = |set: &ParticipantSet| set.iter().filter_map(byte).collect::<Vec<u8>>();
        let entry = RoundClosed {
            sid: aggregate.offer.sid(),
            roster: aggregate.offer.roster().iter().map(|e| e.merchant.clone()).collect(),
            sharers: numbers(&aggregate.sharers),
            survivors: numbers(&aggregate.survivors),
            consistency: aggregate.signatures.iter().filter_map(|(n, s)| Some((byte(*n)?, *s))).collect(),
            charges,
            noise_multiplier_effective: self.state.plan().noise_of(aggregate.survivors.len()),
            model_version: staged.version(),
            model_sha256: staged.sha256(),
            at_ms: now,
            terms,
        };
        let index = batch.push(&Entry::RoundClosed(entry)).await?;
        staged.insert(batch.connection(), index).await?;
        sqlx::query("UPDATE rounds SET state = 'closed', ended_ms = ?, ledger_index = ? WHERE round = ?")
            .bind(stored(now))
            .bind(stored(index))
            .bind(stored(round))
            .execute(batch.connection())
            .await?;
        batch.commit().await?;
        Ok(index)
    }
}

/// Why a step was not staged.
enum Stepping {
    /// The numbers do not allow it: no later attempt will.
    Refused(String),
    /// The disk does not: a later attempt may.
    Disk(StoreError),
}

fn names(aggregate: &Aggregate, set: &ParticipantSet) -> Vec<MerchantId> {
    set.iter().filter_map(|number| Some(aggregate.offer.entry(number)?.merchant.clone())).collect()
}
