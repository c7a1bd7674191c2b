//! Gathers pre-keys into a roster and publishes the offer.
//!
//! Receives one bundle of each merchant to be invited, taken from the store of published pre-keys; each bundle is used
//! up by this, whatever becomes of the round.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::keys::{AgreementKey, PrekeyBundle};
use super::super::offer::{OFFER_VERSION, RosterEntry, RoundOffer, RoundTerms, SignedOffer};
use super::super::participants::ParticipantNumber;
use super::super::spool::Spools;
use super::AwaitingShares;
use crate::identity::{MerchantId, SigningKey, VerifyingKey};

/// A cohort in the making.
#[derive(Default)]
pub struct AwaitingKeys {
    roster: Vec<RosterEntry>,
    merchants: HashSet<MerchantId>,
    identities: HashSet<VerifyingKey>,
    keys: HashSet<AgreementKey>,
}

impl AwaitingKeys {
    /// An empty cohort.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many merchants are in.
    pub fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether nobody is in yet.
    pub fn is_empty(&self) -> bool {
        self.roster.is_empty()
    }

    /// Puts `merchant` into the cohort.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: a full cohort, a merchant or key that is in already, a bundle that is not the merchant's.
    pub fn add(
        &mut self,
        merchant: MerchantId,
        identity: VerifyingKey,
        bundle: PrekeyBundle,
    ) -> Result<(), PeerMisbehaved> {
        if self.len() == usize::from(ParticipantNumber::MAX) {
            return Err(PeerMisbehaved::CohortFull(merchant));
        }
        bundle.verify(&merchant, &identity)?;
        let known = self.merchants.contains(&merchant) || self.identities.contains(&identity);
        if known || self.keys.contains(&bundle.channel_key) || self.keys.contains(&bundle.mask_key) {
            return Err(PeerMisbehaved::DuplicateKeys(merchant));
        }
        self.keys.extend([bundle.channel_key, bundle.mask_key]);
        self.merchants.insert(merchant.clone());
        self.identities.insert(identity);
        self.roster.push(RosterEntry { merchant, identity, bundle });
        Ok(())
    }

    /// Signs the offer, after checking it as every participant will. What the round collects goes into `spools`.
    ///
    /// # Errors
    /// [`RoundFailed::Offer`] when participants would refuse it, [`RoundFailed::Spool`].
    pub fn close(
        self,
        terms: RoundTerms,
        federation: &SigningKey,
        spools: Arc<dyn Spools>,
    ) -> Result<(AwaitingShares, SignedOffer), RoundFailed> {
        let offer = RoundOffer { version: OFFER_VERSION, terms, roster: self.roster };
        let signed = SignedOffer::sign(&offer, federation)?;
        let verified = signed.open(&federation.verifying_key())?;
        Ok((AwaitingShares::new(verified, spools)?, signed))
    }
}
