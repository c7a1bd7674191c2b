//! A participant's side of the round, one file per state.
//!
//! `AdvertisingKeys → SharingKeys → SendingMaskedUpdate → ConfirmingSurvivors → Unmasking → Answered`. Every step
//! consumes its state, and an error ends the participation: a server that sends something unacceptable gets no second
//! try in the same round. The invariant: whatever the server says, for each other participant this one opens at most
//! one of its two secrets, and nothing at all unless q survivors signed the same two sets, the second of which has at
//! least m members and this participant among them.

mod advertising_keys;
mod confirming_survivors;
mod sending_masked_update;
mod sharing_keys;
mod unmasking;

use std::sync::Arc;

pub use advertising_keys::AdvertisingKeys;
pub use confirming_survivors::ConfirmingSurvivors;
pub use sending_masked_update::{MaskedUpdate, SendingMaskedUpdate};
pub use sharing_keys::SharingKeys;
pub use unmasking::{Answered, Unmasking};

use super::error::ParticipantError;
use super::keys::Sid;
use super::offer::VerifiedOffer;
use super::participants::{ParticipantNumber, ParticipantSet};
use crate::identity::SigningKey;

/// What stays the same through the round.
struct Member {
    offer: VerifiedOffer,
    own: ParticipantNumber,
    identity: Arc<SigningKey>,
}

impl Member {
    fn check_round(&self, message: &'static str, found: Sid) -> Result<(), ParticipantError> {
        let expected = self.offer.sid();
        if found == expected { Ok(()) } else { Err(ParticipantError::ForeignRound { message, expected, found }) }
    }

    /// A set that the server names: within `whole`, with this participant in it, and of at least m members.
    fn check_set(
        &self,
        message: &'static str,
        set: &ParticipantSet,
        whole: &ParticipantSet,
    ) -> Result<(), ParticipantError> {
        let strangers = set.difference(whole);
        if !strangers.is_empty() {
            return Err(ParticipantError::Strangers { message, strangers });
        }
        if !set.contains(self.own) {
            return Err(ParticipantError::LeftOut(message));
        }
        let need = usize::from(self.offer.threshold().survivors_min());
        if set.len() < need {
            return Err(ParticipantError::TooFew { message, have: set.len(), need });
        }
        Ok(())
    }
}
