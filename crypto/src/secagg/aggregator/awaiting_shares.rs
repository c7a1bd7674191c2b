//! Collects everybody's encrypted shares and sorts them by recipient.
//!
//! Receives one [`ShareKeys`] of each participant; closes with U1, its senders, of at least m. The ciphertexts go to a
//! spool at once; what stays in memory is 64 bytes a participant.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::error::{NotTaken, PeerMisbehaved, RoundFailed};
use super::super::messages::{DeliveredShares, SEALED_LENGTH, Sealed, ShareKeys};
use super::super::offer::VerifiedOffer;
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::super::spool::{Spool, SpoolError, Spools};
use super::{AwaitingMaskedUpdates, check_enough, check_sender};
use crate::identity::{Sha256Digest, sha256};

/// The offer is out.
pub struct AwaitingShares {
    offer: VerifiedOffer,
    spools: Arc<dyn Spools>,
    sealed: SealedShares,
    received: BTreeMap<ParticipantNumber, Received>,
}

struct Received {
    /// SHA-256 of the message, to know a repeat by.
    message: Sha256Digest,
    commitment: Sha256Digest,
}

impl AwaitingShares {
    /// Awaits the shares of everybody in the offer's roster.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub fn new(offer: VerifiedOffer, spools: Arc<dyn Spools>) -> Result<Self, SpoolError> {
        let sealed = SealedShares { spool: spools.open()? };
        Ok(Self { offer, spools, sealed, received: BTreeMap::new() })
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
    /// [`PeerMisbehaved`]: a stranger, another round, wrong recipients, a different second message; [`SpoolError`].
    pub fn receive(&mut self, from: ParticipantNumber, message: &ShareKeys) -> Result<(), NotTaken> {
        check_sender(&self.offer, &self.offer.everyone(), from, message.sid)?;
        let recipients = self.offer.graph().neighbours(from);
        if !message.sealed.iter().map(|(to, _)| to).eq(&recipients) {
            return Err(PeerMisbehaved::WrongRecipients(from).into());
        }
        let digest = sha256(&message.encode());
        match self.received.get(&from) {
            Some(first) if first.message == digest => Ok(()),
            Some(_) => Err(PeerMisbehaved::Equivocation(from).into()),
            None => {
                self.sealed.put(&self.offer, from, message)?;
                self.received.insert(from, Received { message: digest, commitment: message.commitment });
                Ok(())
            }
        }
    }

    /// Ends the stage.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than m shared keys.
    pub fn close(self) -> Result<AwaitingMaskedUpdates, RoundFailed> {
        let Self { offer, spools, sealed, received } = self;
        let sharers: ParticipantSet = received.keys().copied().collect();
        check_enough("shared keys", &sharers, offer.threshold().survivors_min())?;
        let commitments = received.into_iter().map(|(from, message)| (from, message.commitment)).collect();
        Ok(AwaitingMaskedUpdates::new(offer, spools, sharers, sealed, commitments))
    }
}

/// The ciphertexts of a round: one row a sender, one record a recipient, in ascending order.
pub(super) struct SealedShares {
    spool: Box<dyn Spool>,
}

impl SealedShares {
    fn row(offer: &VerifiedOffer, from: ParticipantNumber) -> u64 {
        (from.position() * offer.graph().neighbours_each() * SEALED_LENGTH) as u64
    }

    fn put(&mut self, offer: &VerifiedOffer, from: ParticipantNumber, message: &ShareKeys) -> Result<(), SpoolError> {
        let row: Vec<u8> = message.sealed.iter().flat_map(|(_, sealed)| sealed).copied().collect();
        self.spool.write_at(Self::row(offer, from), &row)
    }

    /// What `to` is to be sent.
    pub(super) fn delivery(
        &mut self,
        offer: &VerifiedOffer,
        sharers: &ParticipantSet,
        to: ParticipantNumber,
    ) -> Result<DeliveredShares, SpoolError> {
        let graph = offer.graph();
        let mut sealed = Vec::new();
        for from in graph.neighbours(to).into_iter().filter(|from| sharers.contains(*from)) {
            let recipients = graph.neighbours(from);
            let rank = recipients.binary_search(&to).expect("invariant: being neighbours is mutual");
            let mut record: Sealed = [0; SEALED_LENGTH];
            self.spool.read_at(Self::row(offer, from) + (rank * SEALED_LENGTH) as u64, &mut record)?;
            sealed.push((from, record));
        }
        Ok(DeliveredShares { sid: offer.sid(), sharers: sharers.clone(), sealed })
    }
}
