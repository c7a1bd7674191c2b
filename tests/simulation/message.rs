//! What travels: the protocol's messages as bytes, with the little that the transport adds.

use forecastle_crypto::{
    identity::Sha256Digest,
    secagg::{PrekeyBundle, SignedOffer},
};

/// A merchant's number outside any round.
pub type Name = usize;

/// Merchant → server.
#[derive(Clone)]
pub enum Up {
    /// Present, with pre-keys to use.
    Hello(Vec<PrekeyBundle>),
    Shares {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    /// Announces an upload with its charge; asks how much is there.
    Announce {
        sid: Sha256Digest,
        header: Vec<u8>,
    },
    Chunk {
        sid: Sha256Digest,
        offset: u64,
        bytes: Vec<u8>,
    },
    Confirmation {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    Answer {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
}

/// Server → merchant.
#[derive(Clone)]
pub enum Down {
    Offer(SignedOffer),
    Delivered {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    /// So much of the update is there.
    Held {
        sid: Sha256Digest,
        bytes: u64,
    },
    Survivors {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    Request {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    Ended {
        sid: Sha256Digest,
    },
}

/// What a party does next, in this order; a crash may fall between any two.
pub enum Action<M> {
    Send(Name, M),
    /// Something that survives a crash.
    Write(Durable),
}

/// What is written to a disk.
#[derive(Clone)]
pub enum Durable {
    /// Merchant: the secret of a pre-key, before its bundle is given out.
    PrekeyMade(u64, Vec<u8>),
    /// Merchant: a pre-key is struck off before it is used.
    PrekeyTaken(u64),
    /// Merchant: its own ledger.
    Charged {
        sid: Sha256Digest,
        update: Sha256Digest,
    },
    /// Merchant: the answer before it is sent.
    Answered {
        sid: Sha256Digest,
        bytes: Vec<u8>,
    },
    /// Server: pre-keys used and the round open.
    Opened {
        sid: Sha256Digest,
        used: Vec<(Name, u64)>,
    },
    /// Server: a charge in the log, before any byte of the update is taken.
    Logged {
        sid: Sha256Digest,
        merchant: Name,
        update: Sha256Digest,
    },
    /// Server: the round's end.
    Closed {
        sid: Sha256Digest,
        survivors: Vec<Name>,
        sum: Vec<u64>,
    },
    Abandoned {
        sid: Sha256Digest,
    },
}
