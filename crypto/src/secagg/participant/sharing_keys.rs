//! Shares the two secrets of the round among everybody.
//!
//! Receives nothing; draws the self-mask seed b and the sharing polynomials, and sends one [`ShareKeys`]. A crash after
//! it was sent loses b: this participant has then dropped out, which the others survive.

use zeroize::Zeroizing;

use super::super::error::ParticipantError;
use super::super::keys::{Channel, PrekeySecret, commitment};
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
        let (sid, everyone, own) = (member.offer.sid(), member.offer.everyone(), member.own);
        let threshold = member.offer.threshold().threshold();
        let self_seed: Zeroizing<[u8; 32]> = entropy::array(entropy)?;
        let of_mask_key = shamir::split(prekey.mask(), threshold, &everyone, entropy)?;
        let of_self_mask = shamir::split(&self_seed, threshold, &everyone, entropy)?;

        let mut held = Vec::with_capacity(everyone.len());
        let mut sealed = Vec::with_capacity(everyone.len() - 1);
        for ((number, mask_key), (_, self_mask)) in of_mask_key.into_iter().zip(of_self_mask) {
            let shares = HeldShares { mask_key, self_mask };
            if number == own {
                held.push((number, shares));
                continue;
            }
            let entry = member.offer.entry(number).expect("invariant: everyone() numbers the roster's entries");
            let channel = Channel::new(&sid, prekey.channel(), &entry.bundle.channel_key, own, number)
                .map_err(|_| ParticipantError::LowOrder(number))?;
            let ciphertext = channel.seal(&shares.write(own, number), entropy)?;
            sealed.push((number, ciphertext.try_into().expect("invariant: sealing adds a fixed overhead")));
        }
        let message = ShareKeys { sid, commitment: commitment(&sid, &self_seed, own), sealed };
        Ok((SendingMaskedUpdate::new(member, prekey, self_seed, held), message))
    }
}
