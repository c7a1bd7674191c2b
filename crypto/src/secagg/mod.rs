//! Secure aggregation: the server learns the sum of the participants' updates modulo 2^b, and nothing else.
//!
//! The protocol is that of Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal and Seth, *Practical
//! Secure Aggregation for Privacy-Preserving Machine Learning* (CCS 2017), in the variant against an active server, with
//! one-time pre-keys signed ahead of the round in place of a key-advertising stage. Up to 255 participants form the
//! complete graph; above, each has k neighbours only, after Bell, Bonawitz, Gascón, Lepoint and Raykova, *Secure
//! Single-Server Aggregation with (Poly)Logarithmic Overhead* (CCS 2020): [`graph`] draws them, [`threshold`] says against
//! which server a degree holds, [`finder`] finds the published degrees.
//!
//! # One round
//! Every pair of neighbours u, v agrees on a mask that u adds and v subtracts, so pairwise masks cancel in the sum.
//! Should v vanish after others masked against it, its mask key must be opened; so every participant shares its mask
//! key S among them. And since a slow participant's update could then be unmasked by opening the keys of somebody who
//! only *seemed* gone, everybody adds a second, own mask from a seed b, shared likewise. For each participant one of
//! the two is opened: b when its update is in the sum, S when it is not. Never both.
//!
//! ```text
//!  participant u                                server                         state of the aggregator
//!      │   PrekeyBundle(C, S, signature)          │
//!      ├──── ahead of time, in batches ──────────►│                             AwaitingKeys
//!      │                                          │
//!      │◄──── SignedOffer: roster, terms ─────────┤  sid = SHA-256(offer)
//!  SharingKeys                                    │
//!      ├──── ShareKeys: E(shares of S, b), H(b) ─►│                             AwaitingShares
//!      │◄──── DeliveredShares, U1 ────────────────┤  U1: who shared
//!  SendingMaskedUpdate                            │
//!      ├──── x + PRG(b) + Σ ± PRG(s_uv) mod 2^b ─►│                             AwaitingMaskedUpdates
//!      │     and Sign(sid ‖ H(U1))                │
//!      │◄──── SurvivorSet, U2 ────────────────────┤  U2: whose update arrived whole
//!  ConfirmingSurvivors                            │
//!      ├──── Sign(sid ‖ H(U1) ‖ H(U2)) ──────────►│                             AwaitingConsistency
//!      │◄──── UnmaskRequest: ≥ q signatures ──────┤
//!  Unmasking                                      │
//!      ├──── b-shares of U2, S-shares of U1∖U2 ──►│                             AwaitingUnmasking
//!      │                                          │  Σ x over U2                Aggregate
//! ```
//!
//! # What each rule is for
//! * `sid` enters every key, associated datum, commitment and signature: participants who were shown different offers
//!   share nothing, and nothing can be replayed into another round.
//! * 2q > n + n_C ([`threshold`]; q = t on the complete graph): two quorums have an honest member in common, who signs one
//!   pair of sets and answers once. So the server cannot collect the b-quorum and the S-quorum of one participant.
//! * A survivor's self-mask is opened only by those who hold its signature over their own U1: it masked against the
//!   neighbours they believe it did, and none of its masks is missing by a lie of the server's.
//! * |U2| ≥ m, checked by every participant: the noise in the sum was calibrated to m contributions.
//! * Reconstructed secrets are checked against X25519(S, 9) and H(b): a wrong share is noticed, and survived where
//!   enough right ones are left.
//!
//! # How it is driven
//! The states do no input or output, read no clock and draw no randomness of their own. Each consumes itself, so a step
//! out of order or repeated does not compile. On the participant's side three things have to be durable, in this order:
//! the pre-key is struck off before it is used; the privacy charge, naming the masked bytes' SHA-256, is in the
//! merchant's own ledger before the masked bytes leave; the [`participant::Answered`] is stored before it is sent. After
//! a crash at any other point the round is abandoned. The aggregator lives in memory: a server that crashes abandons
//! the round as well, and the charges stay.
//!
//! Left out on purpose: neighbours chosen and committed by the participants (Bell et al. 2020, §4), verifiable secret
//! sharing (a participant who deals bad shares ends the round and is named), and protection of the sum's *correctness*
//! against the server.

pub mod aggregator;
pub mod error;
pub mod finder;
pub mod graph;
pub mod keys;
mod mask;
pub mod messages;
pub mod offer;
pub mod participant;
pub mod participants;
pub mod shamir;
pub mod spool;
pub mod threshold;

pub use aggregator::{
    Aggregate, AwaitingConsistency, AwaitingKeys, AwaitingMaskedUpdates, AwaitingShares, AwaitingUnmasking, Upload,
};
pub use error::{NotTaken, ParticipantError, PeerMisbehaved, RoundFailed};
pub use graph::Graph;
pub use keys::{PrekeyBundle, PrekeySecret, Sid, generate_prekey};
pub use messages::{
    ConsistencySignature, DecodeError, DeliveredShares, MaskedUpdateHeader, ShareKeys, SurvivorSet, UnmaskRequest,
    UnmaskResponse,
};
pub use offer::{OfferError, RosterEntry, RoundOffer, RoundTerms, SignedOffer, VerifiedOffer};
pub use participant::{
    AdvertisingKeys, Answered, ConfirmingSurvivors, MaskedUpdate, SendingMaskedUpdate, SharingKeys, Unmasking,
};
pub use participants::{ParticipantNumber, ParticipantSet};
pub use spool::{MemorySpools, Spool, SpoolError, Spools};
pub use threshold::{Assurance, ThresholdError, ValidThreshold};

#[cfg(test)]
mod tests;
