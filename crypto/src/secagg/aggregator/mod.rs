//! The server's side of the round, one file per state.
//!
//! `AwaitingKeys → AwaitingShares → AwaitingMaskedUpdates → AwaitingConsistency → AwaitingUnmasking → Aggregate`. Each
//! state receives messages until its driver closes it, at a deadline or when nobody is waited for. A message that is
//! turned away ([`PeerMisbehaved`]) changes nothing; a byte-identical repeat is accepted and changes nothing; closing a
//! state with too few participants ends the round ([`RoundFailed`]).
//!
//! The invariant: a participant's update enters the sum whole and verified or not at all, and who is in the sum is
//! exactly whose self-mask is asked for. Who a message comes from is the transport's knowledge (mutual TLS) and is
//! passed in.
//!
//! Memory: the running sum takes 8·d bytes and what is known of each participant some 300; everything that grows with
//! the cohort's shares or its updates goes to [`super::spool`].

mod awaiting_consistency;
mod awaiting_keys;
mod awaiting_masked_updates;
mod awaiting_shares;
mod awaiting_unmasking;

pub use awaiting_consistency::AwaitingConsistency;
pub use awaiting_keys::AwaitingKeys;
pub use awaiting_masked_updates::{AwaitingMaskedUpdates, Upload};
pub use awaiting_shares::AwaitingShares;
pub use awaiting_unmasking::AwaitingUnmasking;

use super::error::{PeerMisbehaved, RoundFailed};
use super::keys::Sid;
use super::offer::VerifiedOffer;
use super::participants::{ParticipantNumber, ParticipantSet};
use crate::identity::{Sha256Digest, Signature};
use crate::quantize::Grid;

/// What a finished round leaves: the sum over the survivors, and what the ledger records of it.
#[derive(Debug, Clone)]
pub struct Aggregate {
    /// The round's offer.
    pub offer: VerifiedOffer,
    /// U1: who shared keys.
    pub sharers: ParticipantSet,
    /// U2: whose updates are in the sum.
    pub survivors: ParticipantSet,
    /// Digests of the masked updates as they arrived, in ascending order of survivors.
    pub masked_updates: Vec<(ParticipantNumber, Sha256Digest)>,
    /// The survivors' signatures over both sets.
    pub signatures: Vec<(ParticipantNumber, Signature)>,
    /// Who returned shares that do not belong to the secret they were a share of (or whose dealers dealt them so).
    pub accused: ParticipantSet,
    /// Σ over U2 modulo 2^b, `[d]`.
    pub residues: Vec<u64>,
}

impl Aggregate {
    /// The grid of the sum.
    pub fn grid(&self) -> Grid {
        self.offer.grid()
    }

    /// The sum in the gradient's own scale, `[d]`. To become a mean it is divided by a public constant, never by the
    /// number of survivors.
    pub fn dequantize(&self) -> Vec<f64> {
        self.grid().dequantize(&self.residues)
    }
}

fn check_sender(
    offer: &VerifiedOffer,
    expected: &ParticipantSet,
    from: ParticipantNumber,
    found: Sid,
) -> Result<(), PeerMisbehaved> {
    if !expected.contains(from) {
        return Err(PeerMisbehaved::NotExpected(from));
    }
    if found != offer.sid() {
        return Err(PeerMisbehaved::ForeignRound { from, found });
    }
    Ok(())
}

fn check_enough(did: &'static str, set: &ParticipantSet, need: u16) -> Result<(), RoundFailed> {
    let (have, need) = (set.len(), usize::from(need));
    if have < need { Err(RoundFailed::TooFew { did, have, need }) } else { Ok(()) }
}
