//! Collects the survivors' signatures over both sets.
//!
//! Receives one [`ConsistencySignature`] of each survivor, verified at once; closes with at least q of them.

use std::collections::BTreeMap;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::messages::{CONSISTENCY_CONTEXT, ConsistencySignature, consistency_message};
use super::super::offer::VerifiedOffer;
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::awaiting_masked_updates::Collected;
use super::{AwaitingUnmasking, check_enough, check_sender};
use crate::identity::Signature;

/// The survivors are fixed.
pub struct AwaitingConsistency {
    collected: Collected,
    survivors: ParticipantSet,
    signatures: BTreeMap<ParticipantNumber, Signature>,
}

impl AwaitingConsistency {
    pub(super) fn new(collected: Collected) -> Self {
        let survivors = collected.survivors();
        Self { collected, survivors, signatures: BTreeMap::new() }
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.collected.offer
    }

    /// U2.
    pub fn survivors(&self) -> &ParticipantSet {
        &self.survivors
    }

    /// Which survivors have not signed.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.survivors.difference(&self.signatures.keys().copied().collect())
    }

    /// Takes the signature of `from`.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: not a survivor, another round, not its signature over these sets. (Ed25519 signatures are
    /// deterministic for honest signers; a second valid one changes nothing and the first is kept.)
    pub fn receive(&mut self, from: ParticipantNumber, message: &ConsistencySignature) -> Result<(), PeerMisbehaved> {
        let Collected { offer, sharers, .. } = &self.collected;
        check_sender(offer, &self.survivors, from, message.sid)?;
        let entry = offer.entry(from).ok_or(PeerMisbehaved::NotExpected(from))?;
        let statement = consistency_message(&offer.sid(), sharers, &self.survivors);
        entry
            .identity
            .verify(CONSISTENCY_CONTEXT, &statement, &message.signature)
            .map_err(|_| PeerMisbehaved::ConsistencyForged(from))?;
        self.signatures.entry(from).or_insert(message.signature);
        Ok(())
    }

    /// Ends the stage: the survivors who signed are asked to unmask. Before the first of them is, the charges of all
    /// survivors have to be durable in the federation's ledger.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than q signed; [`RoundFailed::Spool`].
    pub fn close(self) -> Result<AwaitingUnmasking, RoundFailed> {
        let Self { collected, survivors, signatures } = self;
        let signers: ParticipantSet = signatures.keys().copied().collect();
        check_enough("signed the survivor sets", &signers, collected.offer.threshold().quorum())?;
        Ok(AwaitingUnmasking::new(collected, survivors, signers, signatures.into_iter().collect())?)
    }
}
