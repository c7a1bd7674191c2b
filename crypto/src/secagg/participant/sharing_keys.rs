//! Shares the two secrets of the round among their holders.
//!
//! Receives nothing; draws the self-mask seed b and the sharing polynomials, and sends one [`ShareKeys`]. A crash after
//! it was sent loses b: this participant has then dropped out, which the others survive.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::super::error::ParticipantError;
use super::super::keys::{Channel, ChannelSecret, PrekeySecret, commitment};
use super::super::messages::{HeldShares, ShareKeys};
use super::super::shamir;
use super::{Member, SendingMaskedUpdate};
use crate::entropy::{self, Entropy};

/// Accepted an offer; holds the pre-key's secrets.
pub struct SharingKeys {
    member: Member,
    prekey: PrekeySecret,
}

impl SharingKeys {
    pub(super) fn new(member: Member, prekey: PrekeySecret) -> Self {
        Self { member, prekey }
    }

    /// Shares the mask key and a fresh self-mask seed.
    ///
    /// # Errors
    /// [`ParticipantError::Entropy`]; [`ParticipantError::LowOrder`] names a participant whose key is unusable.
    pub fn share_keys(self, entropy: &mut dyn Entropy) -> Result<(SendingMaskedUpdate, ShareKeys), ParticipantError> {
        let Self { member, prekey } = self;
        let (sid, own) = (member.offer.sid(), member.own);
        let threshold = member.offer.threshold().threshold();
        let holders = member.offer.graph().holders(own);
        let self_seed: Zeroizing<[u8; 32]> = entropy::array(entropy)?;
        let of_mask_key = shamir::split(prekey.mask(), threshold, holders.len(), entropy)?;
        let of_self_mask = shamir::split(&self_seed, threshold, holders.len(), entropy)?;

        let mut held = Vec::with_capacity(holders.len());
        let (mut sealed, mut channels) = (Vec::with_capacity(holders.len()), BTreeMap::new());
        for ((number, mask_key), self_mask) in holders.into_iter().zip(of_mask_key).zip(of_self_mask) {
            let shares = HeldShares { mask_key, self_mask };
            if number == own {
                held.push((number, shares));
                continue;
            }
            let entry = member.offer.entry(number).expect("invariant: the graph joins the roster's entries");
            let secret = ChannelSecret::agree(prekey.channel(), &entry.bundle.channel_key)
                .map_err(|_| ParticipantError::LowOrder(number))?;
            let ciphertext = Channel::new(&sid, &secret, own, number).seal(&shares.write(own, number), entropy)?;
            sealed.push((number, ciphertext.try_into().expect("invariant: sealing adds a fixed overhead")));
            channels.insert(number, secret);
        }
        let message = ShareKeys { sid, commitment: commitment(&sid, &self_seed, own), sealed };
        Ok((SendingMaskedUpdate::new(member, prekey, self_seed, held, channels), message))
    }
}
