//! The hall: what runs now, who is present, and how the last rounds ended, under one lock.
//!
//! Calls read and change it for the length of a few instructions; whoever waits is woken on every change. The
//! driver takes the aggregator's state out to close a phase and puts the next one in.
//!
//! The invariant: a message reaches the aggregator only if its session is the running one, its sender is in the
//! roster, and its phase is open. Everything else is answered here: a repeat of what was accepted, a message that
//! came too late, a session that is over or was never known.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use forecastle_crypto::{
    identity::{MerchantId, Sha256Digest},
    secagg::{
        AwaitingConsistency, AwaitingMaskedUpdates, AwaitingShares, AwaitingUnmasking, NotTaken, ParticipantNumber,
        ParticipantSet, PeerMisbehaved, SignedOffer, SurvivorSet, Upload, VerifiedOffer,
    },
};
use tokio::{sync::watch, time::Instant};
use tonic::Status;

use crate::event::PhaseName;

/// How long a merchant counts as present after its last call for an offer ended.
const PRESENCE_GRACE: Duration = Duration::from_secs(3);
/// Ended rounds that late callers are still told about.
const ENDED_KEPT: usize = 16;

/// The lock, and the bell that wakes whoever waits.
pub(crate) struct Hall {
    desk: Mutex<Desk>,
    changed: watch::Sender<u64>,
}

/// Everything that calls and driver share.
#[derive(Default)]
pub(crate) struct Desk {
    /// The round that runs.
    pub(crate) running: Option<Running>,
    /// The schedule is used up; version of the last model.
    pub(crate) finished: Option<u64>,
    /// The server is stopping.
    pub(crate) stopping: bool,
    ended: VecDeque<Ended>,
    present: BTreeMap<MerchantId, Presence>,
}

/// A round between its offer and its end.
pub(crate) struct Running {
    pub(crate) round: u64,
    pub(crate) offer: VerifiedOffer,
    /// The offer as it is sent.
    pub(crate) signed: SignedOffer,
    /// The phase that is open, or was closed last.
    pub(crate) stage: Stage,
    /// The open phase's state; `None` while the driver works on it.
    pub(crate) state: Option<Open>,
    /// U1, once key sharing is over.
    pub(crate) sharers: ParticipantSet,
    /// Announced masked updates.
    pub(crate) uploads: BTreeMap<ParticipantNumber, Slot>,
    /// S3, once uploads are over.
    pub(crate) survivors: Option<SurvivorSet>,
    /// Who signed, once the consistency check is over.
    pub(crate) signers: ParticipantSet,
}

/// Stages in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    KeyShares,
    MaskedUpdates,
    Consistency,
    Unmasking,
    Publishing,
}

/// The aggregator's state of the open phase.
pub(crate) enum Open {
    KeyShares(AwaitingShares),
    MaskedUpdates(AwaitingMaskedUpdates),
    Consistency(AwaitingConsistency),
    Unmasking(AwaitingUnmasking),
}

/// One participant's masked update: announced, charged, on its way or complete.
pub(crate) struct Slot {
    /// Header and charge as first announced: a second announcement must be the same.
    pub(crate) header: Vec<u8>,
    pub(crate) charge: Vec<u8>,
    pub(crate) progress: Progress,
}

/// How far an upload is.
pub(crate) enum Progress {
    /// A call is at work on it.
    Busy,
    /// Between two calls. `charged` says whether the charge is durable.
    Resting { upload: Option<Box<Upload>>, charged: bool },
    /// In the sum; its length in bytes.
    Complete(u64),
}

/// How a round ended.
#[derive(Clone)]
struct Ended {
    sid: Sha256Digest,
    outcome: Outcome,
}

/// What callers of a session that is over are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Published { model_version: u64, model_sha256: Sha256Digest, ledger_index: u64 },
    Abandoned(String),
}

struct Presence {
    /// Calls for an offer that are open.
    calls: u32,
    /// When the last one ended without an offer; a merchant that was just given one is busy with it.
    last_seen: Option<Instant>,
}

/// Marks a merchant as present for as long as it lives.
pub(crate) struct CheckIn {
    hall: Arc<Hall>,
    merchant: MerchantId,
    /// It was given an offer: it is not waiting for another one.
    pub(crate) served: bool,
}

/// Where a session stands for a caller.
pub(crate) enum Session<'a> {
    Running(&'a mut Running, ParticipantNumber),
    Ended(Outcome),
}

impl Hall {
    pub(crate) fn new() -> Self {
        Self { desk: Mutex::new(Desk::default()), changed: watch::channel(0).0 }
    }

    /// Works under the lock. Nothing inside waits.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Desk) -> T) -> T {
        // A panic inside is a bug of ours in one call; the state it left is checked by the aggregator anyway,
        // and one bad call must not end the server.
        work(&mut self.desk.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Wakes everyone who waits.
    pub(crate) fn notify(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Sees every change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Waits until `check` has an answer or `deadline` passes (`None`).
    pub(crate) async fn wait_until<T>(
        &self,
        deadline: Instant,
        mut check: impl FnMut(&mut Desk) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.changed.subscribe();
        loop {
            // Seen first, checked second: a change in between wakes the wait below.
            changes.borrow_and_update();
            if let Some(answer) = self.with(&mut check) {
                return Some(answer);
            }
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep_until(deadline) => return None,
            }
        }
    }

    /// Waits until masked updates of the session are not taken any more; the answer to whoever is still sending one.
    pub(crate) async fn uploads_over(&self, sid: &[u8], merchant: &MerchantId) -> Status {
        let mut changes = self.changed.subscribe();
        loop {
            changes.borrow_and_update();
            let over = self.with(|desk| match desk.session(sid, merchant) {
                Ok(Session::Running(running, _)) => (running.stage > Stage::MaskedUpdates).then(too_late),
                Ok(Session::Ended(outcome)) => Some(over(&outcome)),
                Err(status) => Some(status),
            });
            if let Some(status) = over {
                return status;
            }
            // The sender lives as long as the hall.
            let _ = changes.changed().await;
        }
    }

    /// Checks a merchant in for the next round.
    pub(crate) fn check_in(self: &Arc<Self>, merchant: &MerchantId) -> CheckIn {
        let is_new = self.with(|desk| {
            let now = Instant::now();
            let is_new = !desk.is_present(merchant, now);
            let presence = desk.present.entry(merchant.clone()).or_insert(Presence { calls: 0, last_seen: None });
            presence.calls += 1;
            is_new
        });
        if is_new {
            self.notify();
        }
        CheckIn { hall: Arc::clone(self), merchant: merchant.clone(), served: false }
    }

    /// Ends the running round for everyone.
    pub(crate) fn end_round(&self, sid: Sha256Digest, outcome: Outcome) {
        self.with(|desk| {
            desk.running = None;
            desk.ended.push_front(Ended { sid, outcome });
            desk.ended.truncate(ENDED_KEPT);
        });
        self.notify();
    }
}

impl Drop for CheckIn {
    fn drop(&mut self) {
        self.hall.with(|desk| {
            if let Some(presence) = desk.present.get_mut(&self.merchant) {
                presence.calls -= 1;
                presence.last_seen = (!self.served).then(Instant::now);
            }
        });
    }
}

impl Desk {
    /// Opens a round. Its cohort is present for the next one only once it asks again.
    pub(crate) fn start(&mut self, running: Running) {
        for entry in running.offer.roster() {
            if let Some(presence) = self.present.get_mut(&entry.merchant) {
                presence.last_seen = None;
            }
        }
        self.running = Some(running);
    }

    /// Whether a merchant waits for an offer, or did a moment ago.
    pub(crate) fn is_present(&self, merchant: &MerchantId, now: Instant) -> bool {
        self.present.get(merchant).is_some_and(|p| {
            p.calls > 0 || p.last_seen.is_some_and(|seen| now.saturating_duration_since(seen) < PRESENCE_GRACE)
        })
    }

    /// How many merchants are present.
    pub(crate) fn present(&self, now: Instant) -> u32 {
        let count = self.present.keys().filter(|m| self.is_present(m, now)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Finds a session for a caller.
    pub(crate) fn session(&mut self, sid: &[u8], merchant: &MerchantId) -> Result<Session<'_>, Status> {
        let sid: [u8; 32] = sid.try_into().map_err(|_| Status::invalid_argument("a session id is 32 bytes long"))?;
        let sid = Sha256Digest(sid);
        if let Some(ended) = self.ended.iter().find(|ended| ended.sid == sid) {
            return Ok(Session::Ended(ended.outcome.clone()));
        }
        match &mut self.running {
            Some(running) if running.offer.sid() == sid => match running.offer.number_of(merchant) {
                Some(number) => Ok(Session::Running(running, number)),
                None => Err(Status::permission_denied("you are not in the roster of this round")),
            },
            _ => Err(Status::not_found("this round is not known here: drop it and wait for the next offer")),
        }
    }
}

impl Running {
    /// Which phase waits, and for whom; `None` while the driver works.
    pub(crate) fn waiting(&self) -> Option<(PhaseName, ParticipantSet)> {
        Some(match self.state.as_ref()? {
            Open::KeyShares(state) => (PhaseName::KeyShares, state.waiting_for()),
            Open::MaskedUpdates(state) => (PhaseName::MaskedUpdates, state.waiting_for()),
            Open::Consistency(state) => (PhaseName::Consistency, state.waiting_for()),
            Open::Unmasking(state) => (PhaseName::Unmasking, state.waiting_for()),
        })
    }

    /// Whether the open phase could close now, though some have not answered.
    ///
    /// Only unmasking can. Who is missing before is missing from the sum, and a signer fewer is one drop-out fewer
    /// that unmasking survives: the whole time is theirs.
    pub(crate) fn is_enough(&self) -> bool {
        matches!(&self.state, Some(Open::Unmasking(state)) if state.is_ready())
    }

    /// Whether the driver works on what the next phase hands out: who was heard will be known in a moment.
    pub(crate) fn is_between_phases(&self) -> bool {
        self.state.is_none() && self.stage < Stage::Publishing
    }

    /// The merchants behind a set of numbers.
    pub(crate) fn names(&self, set: &ParticipantSet) -> Vec<MerchantId> {
        set.iter().filter_map(|number| Some(self.offer.entry(number)?.merchant.clone())).collect()
    }
}

/// The answer to a message whose phase is over.
pub(crate) fn too_late() -> Status {
    Status::failed_precondition("this came too late: the round went on without it; wait for the next offer")
}

/// The answer to a message that comes while a phase is being closed: clients repeat it.
pub(crate) fn between_phases() -> Status {
    Status::unavailable("the server is closing a phase: send this again in a moment")
}

/// The answer to a message of a round that is over.
pub(crate) fn over(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Published { .. } => Status::failed_precondition("this round is over: wait for the next offer"),
        Outcome::Abandoned(reason) => {
            Status::failed_precondition(format!("this round was abandoned ({reason}): wait for the next offer"))
        }
    }
}

/// The answer to a message that the aggregator did not take.
pub(crate) fn not_taken(error: &NotTaken) -> Status {
    match error {
        NotTaken::Misbehaved(PeerMisbehaved::Equivocation(_)) => Status::already_exists(error.to_string()),
        NotTaken::Misbehaved(PeerMisbehaved::NotExpected(_)) => Status::failed_precondition(error.to_string()),
        NotTaken::Misbehaved(_) => Status::invalid_argument(error.to_string()),
        NotTaken::Spool(error) => {
            tracing::error!("{error}");
            Status::unavailable("the server could not keep this: send it again in a moment")
        }
    }
}
