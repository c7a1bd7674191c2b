//! The protobuf messages of every service, as they come out of a connection.
//!
//! Protobuf has many encodings of one message; what is written for a message that was read has to read the same, and
//! reading allocates in proportion to what arrived, not to a length that it claims.
#![no_main]

use forecastle_fuzz::{bounded, seeds};
use forecastle_proto::{enrolment, ledger, model_service, round};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fn recode<M: Message + Default + PartialEq>(data: &[u8]) {
    // An empty element of a repeated field is two bytes on the wire and a vector in memory.
    if let Ok(message) = bounded(data.len(), 64, || M::decode(data)) {
        let written = message.encode_to_vec();
        assert!(M::decode(written.as_slice()).is_ok_and(|again| again == message && again.encode_to_vec() == written));
    }
}

/// The messages, by the number that an input begins with.
macro_rules! messages {
    ($($number:literal => $message:ty,)*) => {
        fn read(number: u8, data: &[u8]) {
            match number {
                $($number => recode::<$message>(data),)*
                _ => {}
            }
        }
        fn empty() -> Vec<Vec<u8>> {
            vec![$([&[$number], <$message>::default().encode_to_vec().as_slice()].concat()),*]
        }
    };
}

messages! {
    0 => enrolment::PreviewRequest,
    1 => enrolment::PreviewResponse,
    2 => enrolment::JoinRequest,
    3 => enrolment::JoinResponse,
    4 => round::StatusResponse,
    5 => round::UploadPrekeysRequest,
    6 => round::AwaitOfferRequest,
    7 => round::AwaitOfferResponse,
    8 => round::RoundCall,
    9 => round::ParticipantMessage,
    10 => round::AwaitMessageResponse,
    11 => round::UploadOffsetResponse,
    12 => round::MaskedUpdateChunk,
    13 => round::AwaitOutcomeResponse,
    14 => round::UploadPrekeysResponse,
    15 => ledger::LatestCheckpointRequest,
    16 => ledger::LatestCheckpointResponse,
    17 => ledger::InclusionRequest,
    18 => ledger::InclusionResponse,
    19 => ledger::EntriesRequest,
    20 => ledger::EntriesChunk,
    21 => model_service::ModelReference,
    22 => model_service::GetModelRequest,
    23 => model_service::ModelChunk,
}

fuzz_target!(
    init: seeds("envelope", || {
        let chunk = round::MaskedUpdateChunk {
            part: Some(round::masked_update_chunk::Part::Bytes(round::MaskedUpdateBytes { offset: 9, data: vec![1; 5].into() })),
        };
        let inclusion = ledger::InclusionResponse {
            checkpoint: "market\n1\n".into(),
            consistency: vec![vec![1; 32], vec![2; 32]],
            inclusion: Some(ledger::InclusionPath { index: 3, path: vec![vec![4; 32]] }),
        };
        let join = enrolment::JoinRequest {
            token: vec![5; 32],
            merchant: "shop-1".into(),
            identity_key: vec![6; 32],
            certificate_request: vec![0x30, 0x82],
            signature: vec![7; 64],
        };
        let mut all = empty();
        all.push([&[12], chunk.encode_to_vec().as_slice()].concat());
        all.push([&[18], inclusion.encode_to_vec().as_slice()].concat());
        all.push([&[2], join.encode_to_vec().as_slice()].concat());
        all
    }),
    |data: &[u8]| {
        if let [number, message @ ..] = data {
            read(*number, message);
        }
    }
);
