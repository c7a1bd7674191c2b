//! Every field that a merchant sends, by name: what is not here does not leave.
//!
//! A loss, a count of rows, an accuracy, a chosen checkpoint would be a release that nobody charges. So a new field on the
//! way to the server fails here until it is written down, with what it says about a merchant's data: nothing, or something
//! that is charged.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::collections::BTreeSet;

/// Fields of all messages that a merchant sends. None is computed from orders but the masked bytes (`MaskedUpdateBytes`) and
/// their digest inside the charge.
const SENT: [&str; 25] = [
    "enrolment.v1.JoinRequest.certificate_request",
    "enrolment.v1.JoinRequest.identity_key",
    "enrolment.v1.JoinRequest.merchant",
    "enrolment.v1.JoinRequest.signature",
    "enrolment.v1.JoinRequest.token",
    "enrolment.v1.PreviewRequest.token",
    "ledger.v1.EntriesRequest.from",
    "ledger.v1.EntriesRequest.to",
    "ledger.v1.InclusionRequest.leaf_hash",
    "ledger.v1.InclusionRequest.seen",
    "ledger.v1.LatestCheckpointRequest.seen",
    "model.v1.GetModelRequest.version",
    "round.v1.AwaitOfferRequest.after_round",
    "round.v1.AwaitOfferRequest.wait_ms",
    "round.v1.MaskedUpdateBytes.data",
    "round.v1.MaskedUpdateBytes.offset",
    "round.v1.MaskedUpdateStart.charge",
    "round.v1.MaskedUpdateStart.header",
    "round.v1.MaskedUpdateStart.sid",
    "round.v1.ParticipantMessage.message",
    "round.v1.ParticipantMessage.sid",
    "round.v1.RoundCall.sid",
    "round.v1.RoundCall.wait_ms",
    "round.v1.UploadPrekeysRequest.bundles",
    "round.v1.UploadPrekeysRequest.replace",
];

#[test]
fn a_merchant_sends_these_fields_and_no_others() {
    let files = ["enrolment", "round", "model", "ledger"].map(|n| format!("proto/forecastle/{n}/v1/{n}.proto"));
    let root = env!("CARGO_MANIFEST_DIR");
    let set = protox::compile(files.map(|file| format!("{root}/{file}")), [format!("{root}/proto")]).unwrap();
    let mut sent = BTreeSet::new();
    for file in &set.file {
        for method in file.service.iter().flat_map(|service| &service.method) {
            let mut open = vec![method.input_type().to_owned()];
            while let Some(name) = open.pop() {
                let home = set.file.iter().find(|file| name.starts_with(&format!(".{}.", file.package()))).unwrap();
                let package = format!(".{}.", home.package());
                let message = home
                    .message_type
                    .iter()
                    .find(|m| format!("{package}{}", m.name()) == name)
                    .expect("a known message");
                for field in &message.field {
                    if field.type_name().is_empty() {
                        sent.insert(format!("{}.{}", name.trim_start_matches(".forecastle."), field.name()));
                    } else {
                        open.push(field.type_name().to_owned());
                    }
                }
            }
        }
    }
    let expected: BTreeSet<String> = SENT.iter().map(|&field| field.to_owned()).collect();
    assert_eq!(sent, expected);
}
