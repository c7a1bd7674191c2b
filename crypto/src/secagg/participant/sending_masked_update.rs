//! Masks the noised update against all neighbours who shared keys.
//!
//! Advances on [`DeliveredShares`]: U1 of at least m members with this participant among them, and one ciphertext from
//! each neighbour in it. The header is signed together with U1, so that the others open this participant's self-mask only
//! if they saw the same U1. A ciphertext that does not open is noted and passed over: its sender may be faulty, and holding fewer
//! shares than one could endangers nobody's privacy. The invariant: an update without noise cannot get here, since only
//! a [`NoisedUpdate`] is taken.

use std::collections::BTreeMap;
use std::thread;

use zeroize::Zeroizing;

use super::super::error::ParticipantError;
use super::super::graph::Sign;
use super::super::keys::{Channel, ChannelSecret, PrekeySecret, pair_seed, self_mask_key};
use super::super::mask::{self, Mask};
use super::super::messages::{DeliveredShares, HeldShares, MaskedUpdateHeader, SHARERS_CONTEXT, sharers_message};
use super::super::offer::VerifiedOffer;
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::{ConfirmingSurvivors, Member};
use crate::identity::{Sha256Digest, sha256};
use crate::quantize::NoisedUpdate;

/// Shared its keys; waits for the others' shares.
pub struct SendingMaskedUpdate {
    member: Member,
    prekey: PrekeySecret,
    self_seed: Zeroizing<[u8; 32]>,
    held: Vec<(ParticipantNumber, HeldShares)>,
    channels: BTreeMap<ParticipantNumber, ChannelSecret>,
}

impl SendingMaskedUpdate {
    pub(super) fn new(
        member: Member,
        prekey: PrekeySecret,
        self_seed: Zeroizing<[u8; 32]>,
        held: Vec<(ParticipantNumber, HeldShares)>,
        channels: BTreeMap<ParticipantNumber, ChannelSecret>,
    ) -> Self {
        Self { member, prekey, self_seed, held, channels }
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.member.offer
    }

    /// Opens the shares and masks `update`.
    ///
    /// The masked bytes may leave only when a charge that names their digest is durable in the merchant's own ledger.
    ///
    /// # Errors
    /// [`ParticipantError`]: a foreign round or grid, a U1 that is too small, has strangers or leaves this participant
    /// out, shares that are not one from each neighbour in it.
    pub fn mask(
        self,
        delivered: DeliveredShares,
        update: NoisedUpdate,
    ) -> Result<(ConfirmingSurvivors, MaskedUpdate), ParticipantError> {
        const MESSAGE: &str = "delivery of shares";
        let Self { member, prekey, self_seed, mut held, channels } = self;
        let (offer, own) = (&member.offer, member.own);
        let (sid, sharers) = (offer.sid(), delivered.sharers);
        member.check_round(MESSAGE, delivered.sid)?;
        member.check_set(MESSAGE, &sharers, &offer.everyone())?;
        if *update.grid() != offer.grid() {
            return Err(ParticipantError::ForeignGrid);
        }
        let neighbours = offer.graph().neighbours(own).into_iter().filter(|other| sharers.contains(*other));
        if !delivered.sealed.iter().map(|(from, _)| *from).eq(neighbours) {
            return Err(ParticipantError::SharesMismatch);
        }

        let mut unreadable = ParticipantSet::new();
        let mut masks = vec![Mask { key: self_mask_key(&sid, &self_seed, own), sign: Sign::Plus }];
        for (from, sealed) in &delivered.sealed {
            let from = *from;
            let bundle = &offer.entry(from).expect("invariant: U1 is within the roster").bundle;
            let secret = channels.get(&from).expect("invariant: neighbours are each other's holders");
            let channel = Channel::new(&sid, secret, from, own);
            match channel.open(sealed).and_then(|plain| HeldShares::read(&plain, from, own)) {
                Some(shares) => held.push((from, shares)),
                None => {
                    unreadable.insert(from);
                }
            }
            let key = pair_seed(&sid, prekey.mask(), own, &bundle.mask_key, from)
                .map_err(|_| ParticipantError::LowOrder(from))?;
            masks.push(Mask { key, sign: Sign::of_pair(own, from) });
        }
        held.sort_by_key(|(number, _)| *number);

        let grid = offer.grid();
        let bytes = mask::masked(update.residues(), &grid, &masks);
        // Clearing the plain update takes as long as the digest.
        let digest = thread::scope(|scope| {
            scope.spawn(move || drop(update));
            sha256(&bytes)
        });
        let masked = MaskedUpdate {
            header: MaskedUpdateHeader {
                sid,
                length: bytes.len() as u64,
                sha256: digest,
                sharers_signature: member.identity.sign(SHARERS_CONTEXT, &sharers_message(&sid, &sharers)),
            },
            bytes,
        };
        Ok((ConfirmingSurvivors::new(member, sharers, held, unreadable), masked))
    }
}

/// A masked update: uniform to whoever lacks the masks. ⌈d·b/8⌉ bytes.
#[derive(Clone)]
pub struct MaskedUpdate {
    header: MaskedUpdateHeader,
    bytes: Vec<u8>,
}

impl MaskedUpdate {
    /// What announces the bytes.
    pub fn header(&self) -> &MaskedUpdateHeader {
        &self.header
    }

    /// The packed residues.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the bytes, for the charge.
    pub fn sha256(&self) -> Sha256Digest {
        self.header.sha256
    }

    /// Pieces of at most `size` bytes, with the offset of each.
    pub fn chunks(&self, size: usize) -> impl Iterator<Item = (u64, &[u8])> {
        let size = size.max(1);
        self.bytes.chunks(size).enumerate().map(move |(index, chunk)| ((index * size) as u64, chunk))
    }
}
