//! What the server says of its log: proofs, cosignatures, and that it never goes on with a shorter one.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod support;

use std::{fs, path::Path};

use forecastle_crypto::{
    identity::{Sha256Digest, SigningKey, sha256},
    ledger::{
        checkpoint::{Checkpoint, CheckpointError, SignedCheckpoint},
        entry::Entry,
        merkle::{ConsistencyProof, InclusionProof, leaf_hash},
        note::{SignatureType, VerifierKey},
        witness::{cosign, cosigned_at},
    },
};
use forecastle_proto::ledger::{EntriesRequest, InclusionRequest, LatestCheckpointRequest};
use forecastle_server::{
    ledger::{cosign::CosignError, store::LedgerError},
    server::{OpenError, Server},
    state::StateError,
};
use support::*;
use tonic::Code;

const WITNESS: &str = "witness.example/w1";

async fn newest(merchant: &Merchant, seen: &str) -> (String, Vec<Vec<u8>>) {
    let answer = merchant.ledger().latest_checkpoint(LatestCheckpointRequest { seen: seen.into() }).await.unwrap();
    let answer = answer.into_inner();
    (answer.checkpoint, answer.consistency)
}

fn head(note: &str) -> Checkpoint {
    SignedCheckpoint::parse(note).unwrap().danger_unverified().clone()
}

fn digests(path: Vec<Vec<u8>>) -> Vec<Sha256Digest> {
    path.into_iter().map(|digest| Sha256Digest(digest.try_into().unwrap())).collect()
}

async fn revoke(federation: &Federation, merchant: &Merchant) {
    federation.server.revoke_merchant(&merchant.name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn growth_and_inclusion_are_proven() {
    let federation = Federation::start(&plan(1, 3_000)).await;
    let merchants = federation.merchants(3).await;
    let (first, none) = newest(&merchants[0], "").await;
    assert!(none.is_empty());
    revoke(&federation, &merchants[1]).await;
    revoke(&federation, &merchants[2]).await;
    let (second, path) = newest(&merchants[0], &first).await;
    let (old, new) = (head(&first), head(&second));
    assert_eq!((old.size, new.size), (4, 6));
    let proof = ConsistencyProof { old_size: 4, new_size: 6, path: digests(path) };
    assert_eq!(proof.verify(&old.root, &new.root), Ok(()));

    for (index, entry) in federation.entries().await.iter().enumerate() {
        let leaf = leaf_hash(&entry.to_bytes());
        let request = InclusionRequest { leaf_hash: leaf.0.to_vec(), seen: first.clone() };
        let answer = merchants[0].ledger().inclusion(request).await.unwrap().into_inner();
        assert_eq!(answer.checkpoint, second);
        assert_eq!(digests(answer.consistency), proof.path);
        let found = answer.inclusion.unwrap();
        assert_eq!(found.index, index as u64);
        let proof = InclusionProof { index: found.index, size: 6, path: digests(found.path) };
        assert_eq!(proof.verify(&leaf, &new.root), Ok(()));
    }
    let unknown = InclusionRequest { leaf_hash: sha256(b"never logged").0.to_vec(), seen: String::new() };
    assert_eq!(merchants[0].ledger().inclusion(unknown).await.unwrap().into_inner().inclusion, None);

    let short = InclusionRequest { leaf_hash: vec![1; 31], seen: String::new() };
    assert_eq!(merchants[0].ledger().inclusion(short).await.unwrap_err().code(), Code::InvalidArgument);
    // What this federation never signed proves nothing against it.
    let stranger = SigningKey::generate().unwrap();
    let foreign = Checkpoint { size: 99, ..old }.sign("federation", &stranger).unwrap().to_string();
    for seen in [foreign, first.replace("\n4\n", "\n99\n"), "x".into()] {
        let refused = merchants[0].ledger().latest_checkpoint(LatestCheckpointRequest { seen }).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(newest(&merchants[0], &second).await, (second, vec![]));
}

/// Opens the state directory again, which must fail.
async fn refusal(directory: &Path) -> LedgerError {
    match Server::open(directory).await {
        Err(OpenError::State(StateError::Ledger(error))) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the restored log is served again"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_that_a_merchant_outran_stops_and_does_not_start_again() {
    let federation = Federation::start(&plan(1, 3_000)).await;
    let mut merchants = federation.merchants(3).await;
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&federation.state_directory(), copy.path());
    revoke(&federation, &merchants[1]).await;
    let (seen, _) = newest(&merchants[0], "").await;
    assert_eq!(head(&seen).size, 5);

    // The whole directory comes back, its checkpoint file too: by itself the server cannot notice.
    let federation = federation.restored(copy.path()).await;
    merchants[0].reconnect().await;
    assert_eq!(head(&newest(&merchants[0], "").await.0).size, 4);
    let refused = merchants[0].ledger().latest_checkpoint(LatestCheckpointRequest { seen: seen.clone() }).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("shortened") && refused.message().contains("of 5"), "{refused}");
    // From now on nothing is read or written any more, whoever asks.
    let empty = LatestCheckpointRequest::default();
    assert_eq!(merchants[0].ledger().latest_checkpoint(empty).await.unwrap_err().code(), Code::FailedPrecondition);
    let entries = EntriesRequest { from: 0, to: 1 };
    assert_eq!(merchants[0].ledger().entries(entries).await.unwrap_err().code(), Code::FailedPrecondition);
    assert!(federation.server.revoke_merchant(&merchants[2].name).await.is_err());
    let directory = federation.stop().await;
    assert!(matches!(refusal(&directory.path().join("state")).await, LedgerError::Shortened { found: 4, signed: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_server_that_went_on_another_way_is_refused_as_a_fork() {
    let federation = Federation::start(&plan(1, 3_000)).await;
    let mut merchants = federation.merchants(3).await;
    let copy = tempfile::tempdir().unwrap();
    copy_folder(&federation.state_directory(), copy.path());
    revoke(&federation, &merchants[1]).await;
    let (seen, _) = newest(&merchants[0], "").await;
    let federation = federation.restored(copy.path()).await;
    revoke(&federation, &merchants[2]).await;
    merchants[0].reconnect().await;
    let request = LatestCheckpointRequest { seen };
    let refused = merchants[0].ledger().latest_checkpoint(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("altered"), "{refused}");
    let directory = federation.stop().await;
    assert!(matches!(refusal(&directory.path().join("state")).await, LedgerError::Altered { size: 5 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn cosignatures_are_kept_for_their_checkpoint_and_given_out_with_it() {
    let federation = Federation::start(&plan(1, 3_000)).await;
    let merchants = federation.merchants(3).await;
    let state = federation.server.state();
    let key = SigningKey::generate().unwrap();
    let witness = VerifierKey::new(WITNESS, SignatureType::CosignatureV1, key.verifying_key()).unwrap();
    let (plain, _) = newest(&merchants[0], "").await;
    let cosigned = |time| {
        let mut signed = SignedCheckpoint::parse(&plain).unwrap();
        signed.add(cosign(&head(&plain), WITNESS, &key, time).unwrap());
        signed.to_string()
    };
    assert!(matches!(
        state.export_cosigned_ledger(tempfile::tempdir().unwrap().path()).await,
        Err(LedgerError::NotCosigned)
    ));
    let summary = state.cosign(&cosigned(7), &witness).await.unwrap();
    assert_eq!((summary.entries, summary.at, summary.cosignatures), (4, 7, 1));
    // The newer one takes the place of the older; lines of strangers in the file are not taken over.
    let mut crowded = SignedCheckpoint::parse(&cosigned(8)).unwrap();
    crowded.add(cosign(&head(&plain), "stranger", &SigningKey::generate().unwrap(), 9).unwrap());
    let summary = state.cosign(&crowded.to_string(), &witness).await.unwrap();
    assert_eq!((summary.at, summary.cosignatures), (8, 1));

    let (given, _) = newest(&merchants[0], &plain).await;
    let given = SignedCheckpoint::parse(&given).unwrap();
    assert_eq!(cosigned_at(&given, &witness), Ok(8));
    assert_eq!(given.signatures().len(), 2);
    assert!(given.verify_origin("federation", &merchants[0].server_key).is_ok());
    let target = tempfile::tempdir().unwrap();
    state.export_ledger(target.path()).await.unwrap();
    assert_eq!(fs::read_to_string(target.path().join("checkpoint")).unwrap(), given.to_string());

    // The log grows: its newest checkpoint has no cosignature, the one before keeps its own.
    revoke(&federation, &merchants[1]).await;
    assert_eq!(SignedCheckpoint::parse(&newest(&merchants[0], "").await.0).unwrap().signatures().len(), 1);
    let target = tempfile::tempdir().unwrap();
    assert_eq!(state.export_cosigned_ledger(target.path()).await.unwrap().entries, 4);
    assert_eq!(read_entries(target.path()).len(), 4);
    let target = tempfile::tempdir().unwrap();
    assert_eq!(state.export_ledger(target.path()).await.unwrap().entries, 5);
    assert!(matches!(read_entries(target.path()).last(), Some(Entry::Revoked(_))));

    // What is refused.
    let stranger =
        VerifierKey::new(WITNESS, SignatureType::CosignatureV1, SigningKey::generate().unwrap().verifying_key());
    let not_signed = state.cosign(&cosigned(7), &stranger.unwrap()).await;
    assert!(matches!(not_signed, Err(CosignError::Checkpoint(CheckpointError::NotSigned(_)))));
    let moved = cosigned(7).replace("\n4\n", "\n5\n");
    assert!(matches!(
        state.cosign(&moved, &witness).await,
        Err(CosignError::Checkpoint(CheckpointError::BadSignature(_)))
    ));
    let server_key = fs::read(federation.state_directory().join("keys/federation.key")).unwrap();
    let server_key = SigningKey::from_pkcs8(&server_key).unwrap();
    let fork = Checkpoint { root: sha256(b"another log"), ..head(&plain) };
    let mut other = fork.clone().sign("federation", &server_key).unwrap();
    other.add(cosign(&fork, WITNESS, &key, 7).unwrap());
    assert!(matches!(state.cosign(&other.to_string(), &witness).await, Err(CosignError::OtherLog { size: 4 })));
    let ahead = Checkpoint { size: 9, ..fork };
    let mut other = ahead.clone().sign("federation", &server_key).unwrap();
    other.add(cosign(&ahead, WITNESS, &key, 7).unwrap());
    assert!(matches!(state.cosign(&other.to_string(), &witness).await, Err(CosignError::OtherLog { size: 9 })));
}
