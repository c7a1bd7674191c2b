//! What the operator hears of merchants whose messages are turned away.
//!
//! The invariant: it hears of each merchant and each part of a round once, however often the merchant tries; so a flood
//! fills no log, and hides nobody else. The words are those of the answer, which hold numbers and digests, never a share, a
//! key or an update; what the merchant chose itself is cut short and shown as plain text.
//!
//! Left out on purpose: any consequence. Whether a merchant is faulty, hostile or unlucky is for people to find out.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use forecastle_crypto::identity::MerchantId;
use tonic::{Code, Status};

use crate::{event::ServerEvent, peer::Peer, round::phase::Stage, server::Shared};

/// The longest reason, in characters.
const REASON_CHARACTERS_MAX: usize = 240;

/// What a merchant was about when it was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Concern {
    KeyShares,
    MaskedUpdates,
    Consistency,
    Unmasking,
    /// The shares in an answer that was taken.
    Answer,
    Outcome,
    Prekeys,
    /// Too many connections or calls.
    Flood,
}

impl Concern {
    pub(crate) fn of(stage: Stage) -> Self {
        match stage {
            Stage::KeyShares => Self::KeyShares,
            Stage::MaskedUpdates => Self::MaskedUpdates,
            Stage::Consistency => Self::Consistency,
            Stage::Unmasking | Stage::Publishing => Self::Unmasking,
        }
    }
}

/// Of whom the operator has heard in the running round, or since the last one.
#[derive(Default)]
pub(crate) struct Told(Mutex<Of>);

/// The round, and who was named for what in it.
#[derive(Default)]
struct Of {
    round: Option<u64>,
    named: BTreeSet<(MerchantId, Concern)>,
}

impl Told {
    /// Whether this is news in `round`.
    fn is_news(&self, round: Option<u64>, merchant: &MerchantId, concern: Concern) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.round != round {
            *told = Of { round, named: BTreeSet::new() };
        }
        told.named.insert((merchant.clone(), concern))
    }
}

impl Shared {
    /// Names a merchant whose message was refused or left out. Not to be called under the hall's lock.
    pub(crate) fn turned_away(&self, merchant: &MerchantId, concern: Concern, reason: &str) {
        let round = self.hall.with(|desk| desk.running.as_ref().map(|running| running.round));
        if self.told.is_news(round, merchant, concern) {
            let event = ServerEvent::TurnedAway { round, merchant: merchant.clone(), reason: plain(reason) };
            self.events.emit(event);
        }
    }

    /// The same of a peer that asks for too much. Strangers and those who never made a call have no name.
    pub(crate) fn peer_turned_away(&self, peer: Peer, reason: &str) {
        match self.admission.merchant(peer) {
            Some(merchant) => self.turned_away(&merchant, Concern::Flood, reason),
            None => tracing::debug!("{peer:?}: {reason}"),
        }
    }

    /// Passes the answer to a merchant's message on, naming the merchant where the answer accuses it.
    pub(crate) fn noted<T>(
        &self,
        merchant: &MerchantId,
        concern: Concern,
        answer: Result<T, Status>,
    ) -> Result<T, Status> {
        if let Err(status) = &answer
            && accuses(status.code())
        {
            self.turned_away(merchant, concern, status.message());
        }
        answer
    }
}

/// Whether an honest merchant is never answered so. It may come too late, find the round gone, or have to repeat a message.
fn accuses(code: Code) -> bool {
    matches!(
        code,
        Code::InvalidArgument
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::OutOfRange
    )
}

/// One line of bounded length.
fn plain(reason: &str) -> String {
    reason.chars().take(REASON_CHARACTERS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_merchant_is_named_once_a_round_and_concern() {
        let told = Told::default();
        let (one, two) = ("one".parse().unwrap(), "two".parse().unwrap());
        assert!(told.is_news(None, &one, Concern::Flood));
        for round in [1, 2] {
            assert!(told.is_news(Some(round), &one, Concern::Flood));
            assert!((0..100).all(|_| !told.is_news(Some(round), &one, Concern::Flood)));
            assert!(told.is_news(Some(round), &two, Concern::Flood));
            assert!(told.is_news(Some(round), &one, Concern::KeyShares));
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(plain("unknown field `a\nWARN all is well\u{1b}[2J`"), "unknown field `a WARN all is well [2J`");
        assert_eq!(plain(&"ü".repeat(1_000)).chars().count(), REASON_CHARACTERS_MAX);
    }
}
