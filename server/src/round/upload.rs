//! Receives masked updates: announced with their charge, then in chunks, resumable after a lost connection.
//!
//! In order, and what a crash in between means:
//!
//! 1. header and charge are checked; nothing is kept yet;
//! 2. the charge becomes durable in the log *before any byte of the update is taken*. A crash after this
//!    over-counts at most: the round is abandoned and the charge stays spent;
//! 3. bytes are collected in a temporary file; a crash loses them with the round;
//! 4. the complete update is verified and added to the sum.
//!
//! The invariant: no byte that the aggregator holds lacks a durable charge, so charges always precede the request
//! for unmasking shares. One participant has one charge and one upload a round.

use std::{sync::Arc, time::Duration};

use forecastle_crypto::{
    ledger::entry::{Entry, SignedCharge},
    secagg::{MaskedUpdateHeader, Upload},
};
use forecastle_proto::{
    limits::{CHARGE_BYTES_MAX, CHUNK_BYTES_MAX, STREAM_TIMEOUT_MS},
    round::{MaskedUpdateChunk, MaskedUpdateStart, masked_update_chunk::Part},
};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{
    identity::merchants::{self, Merchant, internal},
    ledger::store::LedgerError,
    round::{
        charge::{self, Expected},
        phase::{Hall, Open, Progress, Running, Session, Slot, between_phases, not_taken, over, too_late},
    },
    server::Shared,
    store::{StoreError, stored},
};

/// The longest pause between two chunks.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The most chunks in a row that bring nothing new: whoever resumes begins where it is told to.
const IDLE_CHUNKS_MAX: u32 = 64;
/// The largest header accepted, in bytes.
const HEADER_BYTES_MAX: usize = 256;

/// A claimed upload: puts the slot to rest again whatever happens.
struct Claim {
    hall: Arc<Hall>,
    sid: Vec<u8>,
    merchant: Merchant,
    upload: Option<Box<Upload>>,
    charged: bool,
}

/// What claiming a slot led to.
enum Claimed {
    /// In the sum already: nothing to do.
    Complete(u64),
    /// This call works on it.
    Working(Option<Box<Upload>>, bool),
}

impl Shared {
    /// Receives one stream; returns how many bytes are held.
    pub(crate) async fn receive_masked_update(
        self: &Arc<Self>,
        merchant: &Merchant,
        stream: Streaming<MaskedUpdateChunk>,
    ) -> Result<u64, Status> {
        timeout(Duration::from_millis(STREAM_TIMEOUT_MS), self.receive(merchant, stream))
            .await
            .unwrap_or_else(|_| Err(Status::deadline_exceeded("the upload took too long: resume it")))
    }

    async fn receive(
        self: &Arc<Self>,
        merchant: &Merchant,
        mut stream: Streaming<MaskedUpdateChunk>,
    ) -> Result<u64, Status> {
        let Some(Part::Start(start)) = next(&mut stream).await? else {
            return Err(Status::invalid_argument("an upload begins with its header and charge"));
        };
        if start.header.len() > HEADER_BYTES_MAX || start.charge.len() > CHARGE_BYTES_MAX {
            return Err(Status::invalid_argument("the header or the charge of the upload is too large"));
        }
        let header = MaskedUpdateHeader::decode(&start.header).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let signed = self.check_charge(merchant, &start, &header).await?;

        let mut claim = match self.hall.with(|desk| claim(desk.session(&start.sid, &merchant.name)?, &start))? {
            Claimed::Complete(length) => return Ok(length),
            Claimed::Working(upload, charged) => Claim {
                hall: Arc::clone(&self.hall),
                sid: start.sid.clone(),
                merchant: merchant.clone(),
                upload,
                charged,
            },
        };
        if !claim.charged {
            self.record_charge(merchant, signed).await?;
            claim.charged = true;
        }
        if claim.upload.is_none() {
            let begun = self.hall.with(|desk| match desk.session(&start.sid, &merchant.name)? {
                Session::Running(running, number) => match &running.state {
                    Some(Open::MaskedUpdates(state)) => state.begin_upload(number, header).map_err(|e| not_taken(&e)),
                    _ => Err(too_late()),
                },
                Session::Ended(outcome) => Err(over(&outcome)),
            })?;
            claim.upload = Some(Box::new(begun));
        }
        let mut idle = 0;
        loop {
            // Kept in the claim all the while, so that a lost connection leaves it to be resumed.
            let upload = claim.upload.as_mut().expect("an upload was begun above");
            if upload.is_complete() {
                break;
            }
            let received = upload.received();
            let part = tokio::select! {
                part = next(&mut stream) => part?,
                // The rest would be of no use, however slowly it comes.
                status = self.hall.uploads_over(&start.sid, &merchant.name) => return Err(status),
            };
            let chunk = match part {
                None => return Ok(upload.received()),
                Some(Part::Start(_)) => {
                    return Err(Status::invalid_argument("an upload has one header, at its beginning"));
                }
                Some(Part::Bytes(chunk)) => chunk,
            };
            if chunk.data.len() > CHUNK_BYTES_MAX {
                return Err(Status::invalid_argument(format!(
                    "the chunk has {} bytes; at most {CHUNK_BYTES_MAX} are accepted",
                    chunk.data.len()
                )));
            }
            upload.push(chunk.offset, &chunk.data).map_err(|e| not_taken(&e))?;
            idle = if upload.received() > received { 0 } else { idle + 1 };
            if idle > IDLE_CHUNKS_MAX {
                return Err(Status::invalid_argument(format!(
                    "{idle} chunks brought nothing new: go on at byte {received}"
                )));
            }
        }
        let upload = claim.upload.take().expect("the loop above ended with it complete");
        self.complete(&claim, *upload)
    }

    /// Checks the charge against the running round.
    async fn check_charge(
        &self,
        merchant: &Merchant,
        start: &MaskedUpdateStart,
        header: &MaskedUpdateHeader,
    ) -> Result<SignedCharge, Status> {
        let (offer, round) = self.hall.with(|desk| match desk.session(&start.sid, &merchant.name)? {
            Session::Running(running, _) => Ok((running.offer.clone(), running.round)),
            Session::Ended(outcome) => Err(over(&outcome)),
        })?;
        // Charges of other rounds: this round's own may be there already when an upload is resumed.
        let (logged,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM charges WHERE merchant = ? AND round <> ?")
            .bind(merchant.name.as_str())
            .bind(stored(round))
            .fetch_one(self.state.pool())
            .await
            .map_err(|e| internal(StoreError::from(e)))?;
        let expected = Expected {
            merchant,
            offer: &offer,
            plan: self.state.plan(),
            masked_sha256: header.sha256,
            logged: u32::try_from(logged).unwrap_or(u32::MAX),
        };
        charge::check(&start.charge, &expected).map_err(|error| {
            let text = error.to_string();
            match error {
                charge::ChargeError::Signature(_) => Status::permission_denied(text),
                charge::ChargeError::Forgotten { .. } => Status::failed_precondition(text),
                _ => Status::invalid_argument(text),
            }
        })
    }

    /// Makes a charge durable, once a round and merchant.
    async fn record_charge(&self, merchant: &Merchant, signed: SignedCharge) -> Result<(), Status> {
        self.recorded(merchant, signed).await.map_err(internal)?
    }

    /// The inner result says why the log would not be in order with this charge.
    async fn recorded(&self, merchant: &Merchant, signed: SignedCharge) -> Result<Result<(), Status>, LedgerError> {
        let (round, masked) = (signed.charge.round, signed.charge.masked_sha256.as_bytes().to_vec());
        let mut batch = self.ledger.begin().await?;
        // Since its call began: an entry in its name may not follow that one.
        if merchants::is_revoked(batch.connection(), &merchant.name).await? {
            return Ok(Err(merchants::revoked()));
        }
        let known: Option<(i64,)> = sqlx::query_as("SELECT ledger_index FROM charges WHERE round = ? AND merchant = ?")
            .bind(stored(round))
            .bind(merchant.name.as_str())
            .fetch_optional(batch.connection())
            .await?;
        // A commit whose answer was lost: the slot did not learn of it, the log did.
        if known.is_some() {
            return Ok(Ok(()));
        }
        let (repeated,): (i64,) = sqlx::query_as("SELECT COUNT(*) FROM charges WHERE masked_sha256 = ?")
            .bind(&masked)
            .fetch_one(batch.connection())
            .await?;
        if repeated > 0 {
            return Ok(Err(Status::invalid_argument(
                "the charge's `masked-sha256` was charged for before: no two masked updates are the same",
            )));
        }
        let index = batch.push(&Entry::Charge(signed)).await?;
        sqlx::query("INSERT INTO charges (round, merchant, ledger_index, masked_sha256) VALUES (?, ?, ?, ?)")
            .bind(stored(round))
            .bind(merchant.name.as_str())
            .bind(stored(index))
            .bind(masked)
            .execute(batch.connection())
            .await?;
        batch.commit().await?;
        Ok(Ok(()))
    }

    /// Adds a complete upload to the sum.
    fn complete(&self, claim: &Claim, upload: Upload) -> Result<u64, Status> {
        let length = upload.received();
        self.hall.with(|desk| match desk.session(&claim.sid, &claim.merchant.name)? {
            Session::Running(running, number) => {
                let Some(Open::MaskedUpdates(state)) = &mut running.state else { return Err(too_late()) };
                // An update with another digest than announced is dropped: the slot rests empty, and the same
                // announcement may send it again.
                state.complete(upload).map_err(|e| not_taken(&e))?;
                if let Some(slot) = running.uploads.get_mut(&number) {
                    slot.progress = Progress::Complete(length);
                }
                Ok(())
            }
            Session::Ended(outcome) => Err(over(&outcome)),
        })?;
        self.hall.notify();
        Ok(length)
    }
}

/// Claims the caller's slot, or makes it.
fn claim(session: Session<'_>, start: &MaskedUpdateStart) -> Result<Claimed, Status> {
    let (running, number): (&mut Running, _) = match session {
        Session::Running(running, number) => (running, number),
        Session::Ended(outcome) => return Err(over(&outcome)),
    };
    let open = match &running.state {
        Some(Open::MaskedUpdates(state)) => {
            if !state.sharers().contains(number) {
                return Err(Status::failed_precondition(
                    "your key shares are not part of this round: wait for the next offer",
                ));
            }
            true
        }
        _ => false,
    };
    let between = running.is_between_phases();
    match running.uploads.get_mut(&number) {
        Some(slot) if slot.header != start.header || slot.charge != start.charge => Err(Status::already_exists(
            "another masked update or charge was announced for this round before; the first counts",
        )),
        Some(Slot { progress: Progress::Complete(length), .. }) => Ok(Claimed::Complete(*length)),
        _ if between => Err(between_phases()),
        _ if !open => Err(too_late()),
        Some(slot) => match std::mem::replace(&mut slot.progress, Progress::Busy) {
            Progress::Resting { upload, charged } => Ok(Claimed::Working(upload, charged)),
            _ => Err(Status::aborted("an upload of yours is still at work: ask again in a second")),
        },
        None => {
            let slot = Slot { header: start.header.clone(), charge: start.charge.clone(), progress: Progress::Busy };
            running.uploads.insert(number, slot);
            Ok(Claimed::Working(None, false))
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let (upload, charged) = (self.upload.take(), self.charged);
        self.hall.with(|desk| {
            let Ok(Session::Running(running, number)) = desk.session(&self.sid, &self.merchant.name) else { return };
            if let Some(slot) = running.uploads.get_mut(&number)
                && matches!(slot.progress, Progress::Busy)
            {
                slot.progress = Progress::Resting { upload, charged };
            }
        });
    }
}

/// The next part of a stream; `None` at its end. Slow senders are given up.
async fn next(stream: &mut Streaming<MaskedUpdateChunk>) -> Result<Option<Part>, Status> {
    let chunk = timeout(PAUSE_MAX, stream.message())
        .await
        .map_err(|_| Status::deadline_exceeded("no chunk arrived for half a minute: resume the upload"))??;
    match chunk {
        None => Ok(None),
        Some(MaskedUpdateChunk { part: Some(part) }) => Ok(Some(part)),
        Some(MaskedUpdateChunk { part: None }) => Err(Status::invalid_argument("a chunk of the upload is empty")),
    }
}
