//! Collects shares, reconstructs the secrets they belong to, and takes the masks out of the sum.
//!
//! Receives one [`UnmaskResponse`] of each signer. For u ∈ U2 it reconstructs the seed b_u and subtracts that self-mask;
//! for v ∈ U1∖U2 it reconstructs the mask key S_v and undoes what each surviving neighbour added or subtracted against v.
//! Every secret is compared with its commitment, H(b_u) or the public key of S_v. Shares wait in a spool; secrets are
//! reconstructed one after another, and masks taken out a batch at a time.

use std::collections::BTreeMap;

use zeroize::Zeroizing;

use super::super::error::{NotTaken, PeerMisbehaved, RoundFailed};
use super::super::graph::{Graph, Point, Sign};
use super::super::keys::{commitment, pair_seed, public_of, self_mask_key};
use super::super::mask::{self, Mask};
use super::super::messages::{SecretKind, UnmaskRequest, UnmaskResponse};
use super::super::offer::VerifiedOffer;
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::super::shamir::{self, Recovered, SECRET_LENGTH, Share};
use super::super::spool::{Spool, SpoolError};
use super::awaiting_masked_updates::Collected;
use super::{Aggregate, check_enough, check_sender};
use crate::identity::{Sha256Digest, Signature, sha256};

/// Masks taken out in one pass over the sum.
const MASKS_PER_PASS: usize = 256;

/// The survivors agree.
pub struct AwaitingUnmasking {
    collected: Collected,
    survivors: ParticipantSet,
    signers: ParticipantSet,
    signatures: Vec<(ParticipantNumber, Signature)>,
    /// SHA-256 of each answer, to know a repeat by.
    answers: BTreeMap<ParticipantNumber, Sha256Digest>,
    shares: OpenedShares,
}

impl AwaitingUnmasking {
    pub(super) fn new(
        collected: Collected,
        survivors: ParticipantSet,
        signers: ParticipantSet,
        signatures: Vec<(ParticipantNumber, Signature)>,
    ) -> Result<Self, SpoolError> {
        let of_each = vec![0; collected.offer.roster().len()];
        let shares = OpenedShares { spool: collected.spools.open()?, of_each };
        Ok(Self { collected, survivors, signers, signatures, answers: BTreeMap::new(), shares })
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.collected.offer
    }

    /// Who signed, and is asked to unmask.
    pub fn signers(&self) -> &ParticipantSet {
        &self.signers
    }

    /// What `to` is asked.
    ///
    /// # Errors
    /// [`PeerMisbehaved::NotExpected`] for one that has not signed.
    pub fn request(&self, to: ParticipantNumber) -> Result<UnmaskRequest, PeerMisbehaved> {
        if !self.signers.contains(to) {
            return Err(PeerMisbehaved::NotExpected(to));
        }
        let subjects = self.offer().graph().neighbours(to);
        Ok(UnmaskRequest {
            sid: self.offer().sid(),
            reveal_self_masks: self.survivors.clone(),
            reveal_mask_keys: self.collected.sharers.difference(&self.survivors),
            // A quorum is enough to verify.
            signatures: self.signatures.iter().take(usize::from(self.offer().threshold().quorum())).cloned().collect(),
            sharers_signatures: self.collected.sharers_signatures(&subjects),
        })
    }

    /// Which signers have not answered.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.signers.difference(&self.answers.keys().copied().collect())
    }

    /// Whether t shares of every secret are there. Waiting longer helps only against wrong shares.
    pub fn is_ready(&self) -> bool {
        let need = self.offer().threshold().threshold();
        self.collected.sharers.iter().all(|subject| self.shares.of_each[subject.position()] >= need)
    }

    /// Takes the shares that `from` opens. A share may be missing (its dealer's message did not open); one that was not
    /// asked for may not be there.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: not a signer, another round, shares of other secrets, a different second answer;
    /// [`SpoolError`].
    pub fn receive(&mut self, from: ParticipantNumber, message: &UnmaskResponse) -> Result<(), NotTaken> {
        check_sender(&self.collected.offer, &self.signers, from, message.sid)?;
        let subjects = self.offer().graph().subjects(from);
        let as_asked = |(subject, kind, _): &(ParticipantNumber, SecretKind, Share)| {
            subjects.binary_search(subject).is_ok()
                && self.collected.sharers.contains(*subject)
                && *kind == self.asked(*subject)
        };
        let ascending = message.shares.is_sorted_by(|(a, ..), (b, ..)| a < b);
        if !ascending || !message.shares.iter().all(as_asked) {
            return Err(PeerMisbehaved::OtherShares(from).into());
        }
        let digest = sha256(&Zeroizing::new(message.encode()));
        match self.answers.get(&from) {
            Some(first) if *first == digest => Ok(()),
            Some(_) => Err(PeerMisbehaved::Equivocation(from).into()),
            None => {
                self.shares.put(self.collected.offer.graph(), from, &subjects, message)?;
                self.answers.insert(from, digest);
                Ok(())
            }
        }
    }

    fn asked(&self, subject: ParticipantNumber) -> SecretKind {
        if self.survivors.contains(subject) { SecretKind::SelfMask } else { SecretKind::MaskKey }
    }

    /// Unmasks the sum. Takes time proportional to d·(|U2| + Σ over v ∈ U1∖U2 of its surviving neighbours), on all
    /// processor cores.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than t answered; [`RoundFailed::MalformedShares`] names a participant whose
    /// secret cannot be reconstructed; [`RoundFailed::Spool`].
    pub fn close(mut self) -> Result<Aggregate, RoundFailed> {
        let answered: ParticipantSet = self.answers.keys().copied().collect();
        check_enough("answered the unmasking request", &answered, self.offer().threshold().threshold())?;
        let grid = self.offer().grid();
        let mut sum = std::mem::take(&mut self.collected.sum);
        let mut accused = ParticipantSet::new();
        let mut masks = Vec::new();
        for subject in self.collected.sharers.clone().iter() {
            let (secret, wrong) = self.reconstruct(subject, &answered)?;
            wrong.into_iter().for_each(|holder| {
                accused.insert(holder);
            });
            self.masks_of(subject, &secret, &mut masks);
            if masks.len() >= MASKS_PER_PASS {
                mask::apply(&mut sum, grid.bits(), &masks);
                masks.clear();
            }
        }
        mask::apply(&mut sum, grid.bits(), &masks);
        sum.iter_mut().for_each(|word| *word = grid.to_residue(word.cast_signed()));
        Ok(Aggregate {
            offer: self.collected.offer,
            sharers: self.collected.sharers,
            survivors: self.survivors,
            masked_updates: self.collected.masked_updates.into_iter().map(|(n, header)| (n, header.sha256)).collect(),
            signatures: self.signatures,
            accused,
            residues: sum,
        })
    }

    /// The secret of `subject` that was asked for, and who returned a wrong share of it.
    fn reconstruct(
        &mut self,
        subject: ParticipantNumber,
        answered: &ParticipantSet,
    ) -> Result<(Zeroizing<[u8; SECRET_LENGTH]>, Vec<ParticipantNumber>), RoundFailed> {
        let kind = self.asked(subject);
        let offer = &self.collected.offer;
        let holders = offer.graph().holders(subject);
        let shares = self.shares.of(offer.graph(), subject, &holders, answered)?;
        let shares: Vec<_> = shares.iter().map(|(point, share)| (*point, share)).collect();
        let expected = self.collected.commitments.get(&subject);
        let public = offer.entry(subject).map(|entry| entry.bundle.mask_key);
        let sid = offer.sid();
        let thresholds = offer.threshold();
        let recovered = shamir::recover(&shares, thresholds.threshold(), thresholds.colluders(), |secret| match kind {
            SecretKind::SelfMask => expected == Some(&commitment(&sid, secret, subject)),
            SecretKind::MaskKey => public == Some(public_of(secret)),
        });
        match recovered {
            Recovered::Secret(secret, wrong) => {
                Ok((secret, wrong.into_iter().map(|point| holders[point.rank()]).collect()))
            }
            Recovered::Nothing => Err(RoundFailed::MalformedShares {
                subject,
                secret: match kind {
                    SecretKind::SelfMask => "self-mask seed",
                    SecretKind::MaskKey => "mask key",
                },
                holders: shares.iter().map(|(point, _)| holders[point.rank()]).collect(),
            }),
        }
    }

    /// The masks that `secret` of `subject` left in the sum, with the signs that remove them.
    fn masks_of(&self, subject: ParticipantNumber, secret: &[u8; SECRET_LENGTH], masks: &mut Vec<Mask>) {
        let offer = &self.collected.offer;
        let sid = offer.sid();
        match self.asked(subject) {
            SecretKind::SelfMask => {
                masks.push(Mask { key: self_mask_key(&sid, secret, subject), sign: Sign::Minus });
            }
            SecretKind::MaskKey => {
                let neighbours = offer.graph().neighbours(subject).into_iter();
                for survivor in neighbours.filter(|other| self.survivors.contains(*other)) {
                    let bundle = &offer.entry(survivor).expect("invariant: U2 is within the roster").bundle;
                    // The offer's keys were checked: none is of low order.
                    let Ok(key) = pair_seed(&sid, secret, subject, &bundle.mask_key, survivor) else {
                        unreachable!("an offer with a key of low order is not opened");
                    };
                    masks.push(Mask { key, sign: Sign::of_pair(survivor, subject).opposite() });
                }
            }
        }
    }
}

/// Opened shares: one row a holder, one record a subject, in ascending order. A record says first whether it is there.
struct OpenedShares {
    spool: Box<dyn Spool>,
    /// How many shares of each participant's secret are there.
    of_each: Vec<u16>,
}

const RECORD: usize = 1 + SECRET_LENGTH;

impl OpenedShares {
    fn row(graph: &Graph, holder: ParticipantNumber) -> u64 {
        (holder.position() * graph.holders_each() * RECORD) as u64
    }

    fn put(
        &mut self,
        graph: &Graph,
        holder: ParticipantNumber,
        subjects: &[ParticipantNumber],
        message: &UnmaskResponse,
    ) -> Result<(), SpoolError> {
        let mut row = Zeroizing::new(vec![0; subjects.len() * RECORD]);
        for (subject, _, share) in &message.shares {
            let rank = subjects.binary_search(subject).expect("invariant: checked by the caller");
            let record = &mut row[rank * RECORD..][..RECORD];
            record[0] = 1;
            record[1..].copy_from_slice(&share.0);
        }
        self.spool.write_at(Self::row(graph, holder), &row)?;
        message.shares.iter().for_each(|(subject, ..)| self.of_each[subject.position()] += 1);
        Ok(())
    }

    /// The shares of the secret of `subject` that its `holders` returned.
    fn of(
        &mut self,
        graph: &Graph,
        subject: ParticipantNumber,
        holders: &[ParticipantNumber],
        answered: &ParticipantSet,
    ) -> Result<Vec<(Point, Share)>, SpoolError> {
        let mut shares = Vec::new();
        for (rank, holder) in holders.iter().enumerate().filter(|(_, holder)| answered.contains(**holder)) {
            let subjects = graph.subjects(*holder);
            let at = subjects.binary_search(&subject).expect("invariant: holding is mutual");
            let mut record = Zeroizing::new([0; RECORD]);
            self.spool.read_at(Self::row(graph, *holder) + (at * RECORD) as u64, record.as_mut_slice())?;
            if let (1, Some(point), Some(share)) = (record[0], Point::of_rank(rank), record[1..].first_chunk()) {
                shares.push((point, Share(*share)));
            }
        }
        Ok(shares)
    }
}
