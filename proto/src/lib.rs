//! Wire messages and services of Forecastle, and the limits that hold at the door.
//!
//! Everything that comes from the network passes through this crate once: [`limits`] bounds it,
//! [`model`] parses model files, the generated modules hold the protobuf messages. The bytes inside the
//! round's messages are parsed by `forecastle_crypto`, which knows no transport.

pub mod limits;
pub mod model;

/// Joining a federation.
pub mod enrolment {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used, unused_qualifications)]
    tonic::include_proto!("forecastle.enrolment.v1");
}

/// Rounds of secure aggregation.
pub mod round {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used, unused_qualifications)]
    tonic::include_proto!("forecastle.round.v1");
}

/// Published models.
pub mod model_service {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used, unused_qualifications)]
    tonic::include_proto!("forecastle.model.v1");
}

/// The federation's log.
pub mod ledger {
    #![allow(missing_docs, clippy::all, clippy::unwrap_used, unused_qualifications)]
    tonic::include_proto!("forecastle.ledger.v1");
}

pub mod invitation;
