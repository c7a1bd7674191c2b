//! Adds masked updates into a running sum as they complete.
//!
//! Receives, for each member of U1, a header and its bytes in chunks; an [`Upload`] collects them apart from the state,
//! so many can run side by side, and [`AwaitingMaskedUpdates::complete`] checks the digest and adds. A crash here
//! abandons the round. Closes with U2, whose uploads completed, of at least m.

use std::collections::BTreeMap;

use super::super::error::{PeerMisbehaved, RoundFailed};
use super::super::graph::{ParticipantNumber, ParticipantSet};
use super::super::messages::{MaskedUpdateHeader, SurvivorSet};
use super::super::offer::VerifiedOffer;
use super::{AwaitingConsistency, check_enough, check_sender};
use crate::identity::{Sha256Digest, Sha256Stream};

/// Everything about the round that later states need.
pub(super) struct Collected {
    pub(super) offer: VerifiedOffer,
    pub(super) sharers: ParticipantSet,
    pub(super) commitments: BTreeMap<ParticipantNumber, Sha256Digest>,
    pub(super) masked_updates: BTreeMap<ParticipantNumber, Sha256Digest>,
    /// Σ of masked updates, in wrapping words of which the low b bits count.
    pub(super) sum: Vec<u64>,
}

impl Collected {
    pub(super) fn survivors(&self) -> ParticipantSet {
        self.masked_updates.keys().copied().collect()
    }
}

/// The shares are delivered.
pub struct AwaitingMaskedUpdates(Collected);

impl AwaitingMaskedUpdates {
    pub(super) fn new(
        offer: VerifiedOffer,
        sharers: ParticipantSet,
        commitments: BTreeMap<ParticipantNumber, Sha256Digest>,
    ) -> Self {
        let sum = vec![0; offer.grid().dimension()];
        Self(Collected { offer, sharers, commitments, masked_updates: BTreeMap::new(), sum })
    }

    /// The round's offer.
    pub fn offer(&self) -> &VerifiedOffer {
        &self.0.offer
    }

    /// Who shared keys and has not delivered.
    pub fn waiting_for(&self) -> ParticipantSet {
        self.0.sharers.difference(&self.survivors())
    }

    /// Whose updates are in the sum so far.
    pub fn survivors(&self) -> ParticipantSet {
        self.0.survivors()
    }

    /// The digest of the update of `from`, once it is in the sum.
    pub fn accepted(&self, from: ParticipantNumber) -> Option<Sha256Digest> {
        self.0.masked_updates.get(&from).copied()
    }

    /// Opens an upload. The same participant may open one again, after a lost connection.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: not in U1, another round, a length that is not the grid's, another update than the one that
    /// is in the sum already.
    pub fn begin_upload(&self, from: ParticipantNumber, header: MaskedUpdateHeader) -> Result<Upload, PeerMisbehaved> {
        check_sender(&self.0.offer, &self.0.sharers, from, header.sid)?;
        let expected = self.0.offer.grid().packed_len();
        if header.length != expected as u64 {
            return Err(PeerMisbehaved::UploadLength { from, expected: expected as u64, found: header.length });
        }
        if self.accepted(from).is_some_and(|accepted| accepted != header.sha256) {
            return Err(PeerMisbehaved::Equivocation(from));
        }
        Ok(Upload { from, header, total: expected, bytes: Vec::new(), digest: Sha256Stream::new() })
    }

    /// Adds a complete upload to the sum; an update that is in the sum already is not added twice.
    ///
    /// # Errors
    /// [`PeerMisbehaved`]: incomplete, another digest than announced, set padding bits, an upload of another round, or a
    /// different update after the first.
    pub fn complete(&mut self, upload: Upload) -> Result<(), PeerMisbehaved> {
        let Upload { from, header, total, bytes, digest } = upload;
        check_sender(&self.0.offer, &self.0.sharers, from, header.sid)?;
        if bytes.len() < total {
            return Err(PeerMisbehaved::UploadIncomplete { from, received: bytes.len(), total });
        }
        if digest.finish() != header.sha256 {
            return Err(PeerMisbehaved::UploadDigest(from));
        }
        match self.accepted(from) {
            Some(accepted) if accepted == header.sha256 => return Ok(()),
            Some(_) => return Err(PeerMisbehaved::Equivocation(from)),
            None => {}
        }
        let grid = self.0.offer.grid();
        grid.unpack_add(&bytes, &mut self.0.sum).map_err(|_| PeerMisbehaved::UploadDigest(from))?;
        self.0.masked_updates.insert(from, header.sha256);
        Ok(())
    }

    /// Ends the stage: the survivors are fixed, and late uploads stay out.
    ///
    /// # Errors
    /// [`RoundFailed::TooFew`] when fewer than m delivered.
    pub fn close(self) -> Result<(AwaitingConsistency, SurvivorSet), RoundFailed> {
        let survivors = self.survivors();
        check_enough("delivered a masked update", &survivors, self.0.offer.threshold().survivors_min())?;
        let message = SurvivorSet { sid: self.0.offer.sid(), survivors };
        Ok((AwaitingConsistency::new(self.0), message))
    }
}

/// One participant's masked update on its way in. Independent of the state that opened it, so that it can live in the
/// task that reads the connection.
pub struct Upload {
    from: ParticipantNumber,
    header: MaskedUpdateHeader,
    total: usize,
    bytes: Vec<u8>,
    digest: Sha256Stream,
}

impl Upload {
    /// Who uploads.
    pub fn from(&self) -> ParticipantNumber {
        self.from
    }

    /// Bytes received without a gap: where to resume.
    pub fn received(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all bytes are there.
    pub fn is_complete(&self) -> bool {
        self.bytes.len() == self.total
    }

    /// Takes the bytes from `offset` on. What was received before is skipped, so a chunk may be repeated; returns
    /// where the next chunk starts.
    ///
    /// # Errors
    /// [`PeerMisbehaved::UploadGap`] when the chunk leaves a gap or runs past the announced end; nothing is taken then.
    pub fn push(&mut self, offset: usize, chunk: &[u8]) -> Result<usize, PeerMisbehaved> {
        let received = self.bytes.len();
        let end = offset.checked_add(chunk.len()).filter(|end| *end <= self.total);
        let (Some(_), Some(known)) = (end, received.checked_sub(offset)) else {
            return Err(PeerMisbehaved::UploadGap { from: self.from, offset, received, total: self.total });
        };
        let fresh = chunk.get(known..).unwrap_or(&[]);
        self.digest.update(fresh);
        self.bytes.extend_from_slice(fresh);
        Ok(self.bytes.len())
    }
}
