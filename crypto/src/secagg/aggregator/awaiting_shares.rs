//! Collects everybody's encrypted shares and sorts them by recipient.
//!
//! Receives one [`ShareKeys`] of each participant; closes with U1, its senders, of at least m.

use std::collections::BTreeMap;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::graph::{ParticipantNumber, ParticipantSet};
use super::super::messages::{DeliveredShares, ShareKeys};
use super::super::offer::VerifiedOffer;
use super::{AwaitingMaskedUpdates, check_enough, check_sender};

/// The offer is out.
pub struct AwaitingShares {
    offer: VerifiedOffer,
    received: BTreeMap<ParticipantNumber, ShareKeys>,
}

impl AwaitingShares {
    /// Awaits the shares of everybody in the offer's roster.
    pub fn new(offer: VerifiedOffer) -> Self {
        Self { offer, received: BTreeMap::new() }
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.offer
    }

    /// Who has not sent shares.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.offer.everyone().difference(&self.received.keys().copied().collect())
    }

    /// Takes the shares that `from` sends.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: a stranger, another round, wrong recipients, a different second message.
    pub fn receive(&mut self, from: ParticipantNumber, message: ShareKeys) -> Result<(), PeerMisbehaved> {
        check_sender(&self.offer, &self.offer.everyone(), from, message.sid)?;
        let others = self.offer.everyone().without(from);
        if !message.sealed.iter().map(|(to, _)| *to).eq(others.iter()) {
            return Err(PeerMisbehaved::WrongRecipients(from));
        }
        match self.received.get(&from) {
            Some(first) if *first == message => Ok(()),
            Some(_) => Err(PeerMisbehaved::Equivocation(from)),
            None => {
                self.received.insert(from, message);
                Ok(())
            }
        }
    }

    /// Ends the stage: what each member of U1 is to be sent.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than m shared keys.
    pub fn close(self) -> Result<(AwaitingMaskedUpdates, Vec<(ParticipantNumber, DeliveredShares)>), RoundFailed> {
        let Self { offer, received } = self;
        let sharers: ParticipantSet = received.keys().copied().collect();
        check_enough("shared keys", &sharers, offer.threshold().survivors_min())?;
        let deliveries = sharers
            .iter()
            .map(|to| {
                let sealed = received
                    .iter()
                    .filter(|(from, _)| **from != to)
                    .filter_map(|(from, message)| {
                        let index = message.sealed.binary_search_by_key(&to, |(recipient, _)| *recipient).ok()?;
                        Some((*from, message.sealed[index].1))
                    })
                    .collect();
                (to, DeliveredShares { sid: offer.sid(), sharers, sealed })
            })
            .collect();
        let commitments = received.into_iter().map(|(from, message)| (from, message.commitment)).collect();
        Ok((AwaitingMaskedUpdates::new(offer, sharers, commitments), deliveries))
    }
}
