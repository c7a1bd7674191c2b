//! Hands out the shares, and adds masked updates into a running sum as they complete.
//!
//! Receives, for each member of U1, a header and its bytes in chunks; an [`Upload`] collects them apart from the state, in
//! a spool of its own, so many can run side by side, and [`AwaitingMaskedUpdates::complete`] checks the digest and adds. A
//! crash here abandons the round. Closes with U2, whose uploads completed, of at least m.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::error::{NotTaken, PeerMisbehaved, RoundFailed};
use super::super::messages::{DeliveredShares, MaskedUpdateHeader, SHARERS_CONTEXT, SurvivorSet, sharers_message};
use super::super::offer::VerifiedOffer;
use super::super::participants::{ParticipantNumber, ParticipantSet};
use super::super::spool::{Spool, SpoolError, Spools};
use super::awaiting_shares::SealedShares;
use super::{AwaitingConsistency, check_enough, check_sender};
use crate::identity::{Sha256Digest, Sha256Stream, Signature};

/// Residues that are read back and added at a time: a whole number of bytes at every width.
const BLOCK_RESIDUES: usize = 1 << 16;

/// Everything about the round that later states need.
pub(super) struct Collected {
    pub(super) offer: VerifiedOffer,
    pub(super) spools: Arc<dyn Spools>,
    pub(super) sharers: ParticipantSet,
    pub(super) commitments: BTreeMap<ParticipantNumber, Sha256Digest>,
    pub(super) masked_updates: BTreeMap<ParticipantNumber, MaskedUpdateHeader>,
    /// Σ of masked updates, in wrapping words of which the low b bits count.
    pub(super) sum: Vec<u64>,
}

impl Collected {
    pub(super) fn survivors(&self) -> ParticipantSet {
        self.masked_updates.keys().copied().collect()
    }

    /// Who of `subjects` is in the sum, with its signature over U1.
    pub(super) fn sharers_signatures(&self, subjects: &[ParticipantNumber]) -> Vec<(ParticipantNumber, Signature)> {
        let signature = |subject| Some((subject, self.masked_updates.get(&subject)?.sharers_signature));
        subjects.iter().copied().filter_map(signature).collect()
    }
}

/// The shares are collected.
pub struct AwaitingMaskedUpdates {
    collected: Collected,
    sealed: SealedShares,
    /// Why the sum holds a part of an update, should that happen.
    torn: Option<SpoolError>,
}

impl AwaitingMaskedUpdates {
    pub(super) fn new(
        offer: VerifiedOffer,
        spools: Arc<dyn Spools>,
        sharers: ParticipantSet,
        sealed: SealedShares,
        commitments: BTreeMap<ParticipantNumber, Sha256Digest>,
    ) -> Self {
        let sum = vec![0; offer.grid().dimension()];
        let collected = Collected { offer, spools, sharers, commitments, masked_updates: BTreeMap::new(), sum };
        Self { collected, sealed, torn: None }
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.collected.offer
    }

    /// U1: who shared keys.
    pub fn sharers(&self) -> &ParticipantSet {
        &self.collected.sharers
    }

    /// Who shared keys and has not delivered.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.sharers().difference(&self.survivors())
    }

    /// Whose updates are in the sum so far.
    pub fn survivors(&self) -> ParticipantSet {
        self.collected.survivors()
    }

    /// What `to`, a member of U1, is to be sent.
    ///
    /// # Errors
    /// [`PeerMisbehaved::NotExpected`] outside U1; [`SpoolError`].
    pub fn delivery(&mut self, to: ParticipantNumber) -> Result<DeliveredShares, NotTaken> {
        let Collected { offer, sharers, .. } = &self.collected;
        if !sharers.contains(to) {
            return Err(PeerMisbehaved::NotExpected(to).into());
        }
        Ok(self.sealed.delivery(offer, sharers, to)?)
    }

    /// The digest of the update of `from`, once it is in the sum.
    pub fn accepted(&self, from: ParticipantNumber) -> Option<Sha256Digest> {
        self.collected.masked_updates.get(&from).map(|header| header.sha256)
    }

    /// What `from` signed of U1 with its update, once that is in the sum.
    pub fn sharers_signature(&self, from: ParticipantNumber) -> Option<Signature> {
        self.collected.masked_updates.get(&from).map(|header| header.sharers_signature)
    }

    /// Opens an upload. The same participant may open one again, after a lost connection.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: not in U1, another round, a length that is not the grid's, no signature over U1, another update
    /// than the one that is in the sum already; [`SpoolError`].
    pub fn begin_upload(&self, from: ParticipantNumber, header: MaskedUpdateHeader) -> Result<Upload, NotTaken> {
        let Collected { offer, sharers, spools, .. } = &self.collected;
        check_sender(offer, sharers, from, header.sid)?;
        let expected = offer.grid().packed_len() as u64;
        if header.length != expected {
            return Err(PeerMisbehaved::UploadLength { from, expected, found: header.length }.into());
        }
        let entry = offer.entry(from).ok_or(PeerMisbehaved::NotExpected(from))?;
        let statement = sharers_message(&header.sid, sharers);
        entry
            .identity
            .verify(SHARERS_CONTEXT, &statement, &header.sharers_signature)
            .map_err(|_| PeerMisbehaved::OtherSharers(from))?;
        if self.accepted(from).is_some_and(|accepted| accepted != header.sha256) {
            return Err(PeerMisbehaved::Equivocation(from).into());
        }
        Ok(Upload { from, header, received: 0, spool: spools.open()?, digest: Sha256Stream::new() })
    }

    /// Adds a complete upload to the sum; an update that is in the sum already is not added twice.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: incomplete, another digest than announced, set padding bits, an upload of another round, or a
    /// different update after the first; [`SpoolError`]. Nothing is added then.
    pub fn complete(&mut self, upload: Upload) -> Result<(), NotTaken> {
        let Upload { from, header, received, mut spool, digest } = upload;
        check_sender(&self.collected.offer, &self.collected.sharers, from, header.sid)?;
        if received < header.length {
            return Err(PeerMisbehaved::UploadIncomplete { from, received, total: header.length }.into());
        }
        match self.accepted(from) {
            Some(accepted) if accepted == header.sha256 => return Ok(()),
            Some(_) => return Err(PeerMisbehaved::Equivocation(from).into()),
            None => {}
        }
        if digest.finish() != header.sha256 {
            return Err(PeerMisbehaved::UploadDigest(from).into());
        }
        self.add(spool.as_mut(), from)?;
        self.collected.masked_updates.insert(from, header);
        Ok(())
    }

    /// Adds block by block. Where one cannot be read back after others were added, the sum is torn and the round lost.
    fn add(&mut self, spool: &mut dyn Spool, from: ParticipantNumber) -> Result<(), NotTaken> {
        let grid = self.collected.offer.grid();
        let mut last = [0];
        spool.read_at(grid.packed_len() as u64 - 1, &mut last)?;
        if !grid.is_padded_with_zeros(last[0]) {
            return Err(PeerMisbehaved::UploadDigest(from).into());
        }
        let mut block = vec![0; grid.packed_len_of(BLOCK_RESIDUES.min(grid.dimension()))];
        for (index, sum) in self.collected.sum.chunks_mut(BLOCK_RESIDUES).enumerate() {
            let bytes = &mut block[..grid.packed_len_of(sum.len())];
            if let Err(error) = spool.read_at(grid.packed_len_of(index * BLOCK_RESIDUES) as u64, bytes) {
                self.torn = (index > 0).then(|| error.clone());
                return Err(error.into());
            }
            grid.add_block(bytes, sum);
        }
        Ok(())
    }

    /// Ends the stage: the survivors are fixed, and late uploads stay out.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than m delivered; [`RoundFailed::Spool`] when an update could be read back only in
    /// part.
    pub fn close(self) -> Result<(AwaitingConsistency, SurvivorSet), RoundFailed> {
        let Self { collected, torn, .. } = self;
        if let Some(error) = torn {
            return Err(error.into());
        }
        let survivors = collected.survivors();
        check_enough("delivered masked updates", &survivors, collected.offer.threshold().survivors_min())?;
        let message = SurvivorSet { sid: collected.offer.sid(), survivors };
        Ok((AwaitingConsistency::new(collected), message))
    }
}

/// A masked update on its way in. It holds the bytes received so far in a spool, without gaps.
pub struct Upload {
    from: ParticipantNumber,
    header: MaskedUpdateHeader,
    received: u64,
    spool: Box<dyn Spool>,
    digest: Sha256Stream,
}

impl Upload {
    /// Who uploads.
    pub fn from(&self) -> ParticipantNumber {
        self.from
    }

    /// Bytes received without a gap: where to resume.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.received == self.header.length
    }

    /// Takes the bytes from `offset` on. What was received before is skipped, so a chunk may be repeated; returns
    /// where the next chunk starts.
    ///
    /// # Errors
    /// [`PeerMisbehaved::UploadGap`] when the chunk leaves a gap or runs past the announced end; [`SpoolError`]. Nothing is
    /// taken then.
    pub fn push(&mut self, offset: u64, chunk: &[u8]) -> Result<u64, NotTaken> {
        let (received, total) = (self.received, self.header.length);
        let end = offset.checked_add(chunk.len() as u64).filter(|end| *end <= total);
        let (Some(end), Some(known)) = (end, received.checked_sub(offset)) else {
            return Err(PeerMisbehaved::UploadGap { from: self.from, offset, received, total }.into());
        };
        let fresh = usize::try_from(known).ok().and_then(|known| chunk.get(known..)).unwrap_or(&[]);
        if !fresh.is_empty() {
            self.spool.write_at(received, fresh)?;
            self.digest.update(fresh);
            self.received = end;
        }
        Ok(self.received)
    }
}
