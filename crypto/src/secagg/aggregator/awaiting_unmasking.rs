//! Collects shares, reconstructs the secrets they belong to, and takes the masks out of the sum.
//!
//! Receives one [`UnmaskResponse`] of each signer. For u ∈ U2 it reconstructs the seed b_u and subtracts that self-mask;
//! for v ∈ U1∖U2 it reconstructs the mask key S_v and undoes what each survivor added or subtracted against v. Every
//! secret is compared with its commitment, H(b_u) or the public key of S_v.

use std::collections::BTreeMap;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::graph::{ParticipantNumber, ParticipantSet, Sign};
use super::super::keys::{commitment, pair_seed, public_of, self_mask_key};
use super::super::mask::{self, Mask};
use super::super::messages::{SecretKind, UnmaskResponse};
use super::super::offer::VerifiedOffer;
use super::super::shamir::{self, Recovered, Share};
use super::awaiting_masked_updates::Collected;
use super::{Aggregate, check_enough, check_sender};
use crate::identity::Signature;

/// The unmasking request is out.
pub struct AwaitingUnmasking {
    collected: Collected,
    survivors: ParticipantSet,
    signers: ParticipantSet,
    signatures: Vec<(ParticipantNumber, Signature)>,
    answers: BTreeMap<ParticipantNumber, UnmaskResponse>,
}

impl AwaitingUnmasking {
    pub(super) fn new(
        collected: Collected,
        survivors: ParticipantSet,
        signers: ParticipantSet,
        signatures: Vec<(ParticipantNumber, Signature)>,
    ) -> Self {
        Self { collected, survivors, signers, signatures, answers: BTreeMap::new() }
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.collected.offer
    }

    /// Which signers have not answered.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.signers.difference(&self.answers.keys().copied().collect())
    }

    /// Whether t shares of every secret are there. Waiting longer helps only against wrong shares.
    pub fn is_ready(&self) -> bool {
        let need = usize::from(self.offer().threshold().threshold());
        self.answers.len() >= need && self.collected.sharers.iter().all(|subject| self.shares_of(subject).len() >= need)
    }

    /// Takes the shares that `from` opens. A share may be missing (its dealer's message did not open); one that was not
    /// asked for may not be there.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: not a signer, another round, shares of other secrets, a different second answer.
    pub fn receive(&mut self, from: ParticipantNumber, message: UnmaskResponse) -> Result<(), PeerMisbehaved> {
        check_sender(&self.collected.offer, &self.signers, from, message.sid)?;
        let as_asked = |(subject, kind, _): &(ParticipantNumber, SecretKind, Share)| {
            self.collected.sharers.contains(*subject) && *kind == self.asked(*subject)
        };
        let ascending = message.shares.is_sorted_by(|(a, ..), (b, ..)| a < b);
        if !ascending || !message.shares.iter().all(as_asked) {
            return Err(PeerMisbehaved::OtherShares(from));
        }
        match self.answers.get(&from) {
            Some(first) if first.encode() == message.encode() => Ok(()),
            Some(_) => Err(PeerMisbehaved::Equivocation(from)),
            None => {
                self.answers.insert(from, message);
                Ok(())
            }
        }
    }

    fn asked(&self, subject: ParticipantNumber) -> SecretKind {
        if self.survivors.contains(subject) { SecretKind::SelfMask } else { SecretKind::MaskKey }
    }

    fn shares_of(&self, subject: ParticipantNumber) -> Vec<(ParticipantNumber, &Share)> {
        let share_in = |answer: &UnmaskResponse| answer.shares.binary_search_by_key(&subject, |(of, ..)| *of).ok();
        self.answers
            .iter()
            .filter_map(|(holder, answer)| Some((*holder, &answer.shares[share_in(answer)?].2)))
            .collect()
    }

    /// Unmasks the sum. Takes time proportional to d·(|U2| + |U2|·|U1∖U2|), on all processor cores.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than t answered; [`RoundFailed::MalformedShares`] names a participant whose
    /// secret cannot be reconstructed.
    pub fn close(mut self) -> Result<Aggregate, RoundFailed> {
        let answered: ParticipantSet = self.answers.keys().copied().collect();
        check_enough("answered the unmasking request", &answered, self.offer().threshold().threshold())?;
        let mut accused = ParticipantSet::new();
        let masks = self.masks(&mut accused)?;
        let grid = self.offer().grid();
        let mut sum = std::mem::take(&mut self.collected.sum);
        mask::apply(&mut sum, grid.bits(), &masks);
        let residues = sum.into_iter().map(|word| grid.to_residue(word.cast_signed())).collect();
        Ok(Aggregate {
            offer: self.collected.offer,
            sharers: self.collected.sharers,
            survivors: self.survivors,
            masked_updates: self.collected.masked_updates.into_iter().collect(),
            signatures: self.signatures,
            accused,
            residues,
        })
    }

    /// Every mask that is left in the sum, with the sign that removes it.
    fn masks(&self, accused: &mut ParticipantSet) -> Result<Vec<Mask>, RoundFailed> {
        let Collected { offer, sharers, commitments, .. } = &self.collected;
        let (sid, threshold) = (offer.sid(), offer.threshold().threshold());
        let mut masks = Vec::new();
        for subject in sharers.iter() {
            let shares = self.shares_of(subject);
            let kind = self.asked(subject);
            let bundle = |number| &offer.entry(number).expect("invariant: U1 is within the roster").bundle;
            let recovered = shamir::recover(&shares, threshold, |secret| match kind {
                SecretKind::SelfMask => commitments.get(&subject) == Some(&commitment(&sid, secret, subject)),
                SecretKind::MaskKey => public_of(secret) == bundle(subject).mask_key,
            });
            let malformed = || RoundFailed::MalformedShares {
                subject,
                secret: match kind {
                    SecretKind::SelfMask => "self-mask seed",
                    SecretKind::MaskKey => "mask key",
                },
                holders: shares.iter().map(|(holder, _)| *holder).collect(),
            };
            let Recovered::Secret(secret, wrong) = recovered else {
                return Err(malformed());
            };
            wrong.iter().for_each(|holder| {
                accused.insert(holder);
            });
            match kind {
                SecretKind::SelfMask => {
                    masks.push(Mask { key: self_mask_key(&sid, &secret, subject), sign: Sign::Minus });
                }
                SecretKind::MaskKey => {
                    for survivor in self.survivors.iter() {
                        let key = pair_seed(&sid, &secret, subject, &bundle(survivor).mask_key, survivor)
                            .map_err(|_| malformed())?;
                        masks.push(Mask { key, sign: Sign::of_pair(survivor, subject).opposite() });
                    }
                }
            }
        }
        Ok(masks)
    }
}
