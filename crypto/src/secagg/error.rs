//! What goes wrong in a round, by whose fault it is.
//!
//! Never mixed: [`ParticipantError`] is a participant's reason to leave a round (most of them accuse the server),
//! [`PeerMisbehaved`] is the server's reason to turn one participant's message away (the round goes on; [`NotTaken`] adds
//! the server's own trouble), [`RoundFailed`] is the end of a round.

use super::keys::BundleError;
use super::messages::DecodeError;
use super::offer::OfferError;
use super::participants::{ParticipantNumber, ParticipantSet};
use super::spool::SpoolError;
use crate::entropy::EntropyUnavailable;
use crate::identity::{MerchantId, Sha256Digest};

/// Why a participant leaves the round. Its state is gone; the charge in its ledger stays.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ParticipantError {
    /// This merchant is not in the roster.
    #[error("{0} is not in the offer's roster")]
    NotInvited(MerchantId),
    /// The roster holds another identity key for this merchant.
    #[error(
        "the offer names another identity key for {0} than this machine holds; was the server's directory changed?"
    )]
    ForeignIdentity(MerchantId),
    /// The roster holds a pre-key that this machine does not have the secret of.
    #[error(
        "the offer uses pre-key {0}, which is not the one given; a pre-key that is gone or used is never used again"
    )]
    ForeignPrekey(u64),
    /// No random bytes.
    #[error(transparent)]
    Entropy(#[from] EntropyUnavailable),
    /// A message of another round.
    #[error("a {message} of round {found} arrived in round {expected}")]
    ForeignRound {
        /// Which message.
        message: &'static str,
        /// This round's sid.
        expected: Sha256Digest,
        /// The message's sid.
        found: Sha256Digest,
    },
    /// Participants that are not in the roster, or not where they must have been before.
    #[error("the {message} names {strangers:?}, who cannot be there")]
    Strangers {
        /// Which message.
        message: &'static str,
        /// Who.
        strangers: ParticipantSet,
    },
    /// This participant delivered and is left out.
    #[error("the {0} leaves this participant out although it delivered in time")]
    LeftOut(&'static str),
    /// Fewer than this participant accepts.
    #[error("only {have} participants in the {message}, fewer than the {need} that this round was agreed with")]
    TooFew {
        /// Which message.
        message: &'static str,
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// The delivered shares are not one from each other sharer.
    #[error("the delivered shares are not one from each neighbour in U1")]
    SharesMismatch,
    /// A pairwise secret cannot be agreed on with a key of low order.
    #[error("{0} has a key of low order")]
    LowOrder(ParticipantNumber),
    /// The update was rounded on another grid than the offer's.
    #[error("the update was rounded on another grid than the offer's")]
    ForeignGrid,
    /// A survivor's statement about the sets is not signed by it.
    #[error("the statement of {0} on who survived is not signed by it, or speaks of other sets")]
    ConsistencyForged(ParticipantNumber),
    /// A survivor has not signed that it masked against this participant's U1, or nothing of it is there.
    #[error("{0} did not sign that it masked against the same U1; its secret is not opened")]
    OtherSharers(ParticipantNumber),
    /// One participant in both lists: its self-mask and its pairwise masks would be opened together.
    #[error("the server asks for both secrets of {0:?}; nothing is answered")]
    BothSecrets(ParticipantSet),
    /// The lists are not the agreed survivors and drop-outs.
    #[error("the server asks for other secrets than those of the agreed survivors and drop-outs; nothing is answered")]
    OtherSets,
    /// A different second request.
    #[error("the server asked a second time and differently; this round has its one answer")]
    SecondRequest,
    /// The persisted answer cannot be read.
    #[error("the stored answer is damaged: {0}")]
    StoredAnswer(DecodeError),
}

/// Why the server turns away what one participant sent. The round goes on without the message.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PeerMisbehaved {
    /// The bytes are no such message.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message of another round.
    #[error("{from} sent a message of round {found}")]
    ForeignRound {
        /// The sender.
        from: ParticipantNumber,
        /// The message's sid.
        found: Sha256Digest,
    },
    /// Not expected from this sender at this stage.
    #[error("{0} may not send this now: it is not in the roster or did not take part in the stage before")]
    NotExpected(ParticipantNumber),
    /// A second, different message in the same stage.
    #[error("{0} sent two different messages in one stage; the first counts")]
    Equivocation(ParticipantNumber),
    /// Shares for others than every other holder.
    #[error("{0} did not send one share to each other holder of its secrets")]
    WrongRecipients(ParticipantNumber),
    /// The upload announced another length than the grid's.
    #[error("{from} announced {found} bytes of masked update where {expected} are due")]
    UploadLength {
        /// The sender.
        from: ParticipantNumber,
        /// The grid's packed length.
        expected: u64,
        /// What was announced.
        found: u64,
    },
    /// The header is not signed by its sender for the round's U1.
    #[error("{0} did not sign that it masked against U1")]
    OtherSharers(ParticipantNumber),
    /// A chunk that leaves a gap, or runs past the end.
    #[error("a chunk of {from} starts at byte {offset}, but {received} of {total} bytes are there")]
    UploadGap {
        /// The sender.
        from: ParticipantNumber,
        /// Where the chunk starts.
        offset: u64,
        /// Bytes received before.
        received: u64,
        /// Bytes announced.
        total: u64,
    },
    /// The upload is not complete.
    #[error("{from} delivered {received} of {total} bytes")]
    UploadIncomplete {
        /// The sender.
        from: ParticipantNumber,
        /// Bytes received.
        received: u64,
        /// Bytes announced.
        total: u64,
    },
    /// The bytes are not those that were announced.
    #[error(
        "the masked update of {0} does not have the announced digest, or sets padding bits; it has to be sent again"
    )]
    UploadDigest(ParticipantNumber),
    /// A consistency statement that its sender did not sign for these sets.
    #[error("{0} did not sign the round's survivor sets")]
    ConsistencyForged(ParticipantNumber),
    /// Shares for other secrets than those asked for.
    #[error("{0} answered with shares that were not asked for")]
    OtherShares(ParticipantNumber),
    /// A bundle that is not its merchant's, or appears twice.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A second bundle of the same merchant or with the same keys.
    #[error("{0} is already in the cohort, or its keys are")]
    DuplicateKeys(MerchantId),
    /// The cohort is full.
    #[error("the cohort is full; {0} has to wait for the next round")]
    CohortFull(MerchantId),
}

/// Why a message was not taken.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotTaken {
    /// By its sender's fault; the round goes on without it.
    #[error(transparent)]
    Misbehaved(#[from] PeerMisbehaved),
    /// By the server's: it may be sent again.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// Why a round ended without a sum. It is abandoned: pre-keys are burnt, charges stay.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RoundFailed {
    /// The server's own terms are not acceptable to anyone.
    #[error("the offer would be refused by every participant: {0}")]
    Offer(#[from] OfferError),
    /// Too few at some stage.
    #[error("{have} participants {did}, {need} are needed")]
    TooFew {
        /// What they did.
        did: &'static str,
        /// How many did.
        have: usize,
        /// How many must.
        need: usize,
    },
    /// A secret could not be reconstructed: its owner dealt inconsistent shares, or too many holders returned wrong
    /// ones.
    #[error(
        "the {secret} of {subject} cannot be reconstructed from the shares of {holders:?}: it dealt shares that do not fit together, or several of them lie"
    )]
    MalformedShares {
        /// Whose secret.
        subject: ParticipantNumber,
        /// Which of its two secrets.
        secret: &'static str,
        /// Who returned shares.
        holders: ParticipantSet,
    },
    /// The server's temporary storage gave out.
    #[error(transparent)]
    Spool(#[from] SpoolError),
}
