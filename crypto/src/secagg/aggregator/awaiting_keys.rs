//! Gathers pre-keys into a roster and publishes the offer.
//!
//! Receives one bundle of each merchant to be invited, taken from the store of published pre-keys; each bundle is used
//! up by this, whatever becomes of the round.

use std::collections::HashSet;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::keys::{AgreementKey, PrekeyBundle};
use super::super::offer::{OFFER_VERSION, RosterEntry, RoundOffer, RoundTerms, SignedOffer};
use super::super::threshold::ValidThreshold;
use super::AwaitingShares;
use crate::identity::{MerchantId, SigningKey, VerifyingKey};

/// A cohort in the making.
#[derive(Default)]
pub struct AwaitingKeys {
    roster: Vec<RosterEntry>,
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
        if self.len() == usize::from(ValidThreshold::MAX_PARTICIPANTS) {
            return Err(PeerMisbehaved::CohortFull(merchant));
        }
        bundle.verify(&merchant, &identity)?;
        let known = self.roster.iter().any(|entry| entry.merchant == merchant || entry.identity == identity);
        if known || self.keys.contains(&bundle.channel_key) || self.keys.contains(&bundle.mask_key) {
            return Err(PeerMisbehaved::DuplicateKeys(merchant));
        }
        self.keys.extend([bundle.channel_key, bundle.mask_key]);
        self.roster.push(RosterEntry { merchant, identity, bundle });
        Ok(())
    }

    /// Signs the offer, after checking it as every participant will.
    ///
    /// # Errors
    /// [`RoundFailed::Offer`] when participants would refuse it.
    pub fn close(
        self,
        terms: RoundTerms,
        federation: &SigningKey,
    ) -> Result<(AwaitingShares, SignedOffer), RoundFailed> {
        let offer = RoundOffer { version: OFFER_VERSION, terms, roster: self.roster };
        let signed = SignedOffer::sign(&offer, federation)?;
        let verified = signed.open(&federation.verifying_key())?;
        Ok((AwaitingShares::new(verified), signed))
    }
}
