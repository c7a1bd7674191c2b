//! Before the round: a pre-key is published, an offer that names it is waited for.
//!
//! Advances on a [`VerifiedOffer`] whose roster holds this merchant with its own identity key and exactly this
//! pre-key; anything else ends it. Whether the terms are acceptable was decided before, against the merchant's plan.

use std::sync::Arc;

use super::super::error::ParticipantError;
use super::super::keys::PrekeySecret;
use super::super::offer::VerifiedOffer;
use super::{Member, SharingKeys};
use crate::identity::{MerchantId, SigningKey};

/// A merchant with one unused pre-key. The driver has struck the pre-key off its store by the time this exists.
pub struct AdvertisingKeys {
    merchant: MerchantId,
    identity: Arc<SigningKey>,
    prekey: PrekeySecret,
}

impl AdvertisingKeys {
    /// The state before an offer. `prekey` is the secret of the bundle that the offer's roster names for `merchant`.
    pub fn new(merchant: MerchantId, identity: Arc<SigningKey>, prekey: PrekeySecret) -> Self {
        Self { merchant, identity, prekey }
    }

    /// Takes part in the offered round.
    ///
    /// # Errors
    /// [`ParticipantError::NotInvited`], [`ParticipantError::ForeignIdentity`], [`ParticipantError::ForeignPrekey`].
    pub fn accept(self, offer: VerifiedOffer) -> Result<SharingKeys, ParticipantError> {
        let invited = offer.number_of(&self.merchant).and_then(|own| Some((own, offer.entry(own)?)));
        let Some((own, entry)) = invited else {
            return Err(ParticipantError::NotInvited(self.merchant));
        };
        if entry.identity != self.identity.verifying_key() {
            return Err(ParticipantError::ForeignIdentity(self.merchant));
        }
        if !self.prekey.bundle_matches(&entry.bundle) {
            return Err(ParticipantError::ForeignPrekey(entry.bundle.index));
        }
        Ok(SharingKeys::new(Member { offer, own, identity: self.identity }, self.prekey))
    }
}
