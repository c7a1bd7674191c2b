//! The log in other people's hands: witnesses, auditors and merchants meet a server that forgot, and files that were
//! changed.

#![allow(clippy::unwrap_used, reason = "a test that finds nothing fails")]

use std::path::{Path, PathBuf};

use forecastle_audit::{
    folder::{Folder, FolderError},
    quorum::Quorum,
    witness::{Witness, WitnessError},
};
use forecastle_client::{
    federation::{
        connection::{CallError, Connection},
        log_copy::{LogCopy, LogError},
    },
    round::driver::TrainError,
};
use forecastle_crypto::{
    identity::{SigningKey, VerifyingKey, sha256},
    ledger::{
        audit::{AuditError, Rule},
        checkpoint::{Checkpoint, CheckpointError},
        entry::Entry,
        merkle::{MerkleTree, leaf_hash},
        tiles,
        witness::WitnessRefusal,
    },
};
use forecastle_server::server::{OpenError, Server};
use forecastle_tests::{
    copy_folder,
    merchant::{Merchant, joined},
    plan,
    server::Federation,
};

/// All take part in one round, which publishes `version`.
async fn one_round(merchants: &[Merchant], version: u64) {
    let trainings: Vec<_> = merchants.iter().map(|merchant| merchant.train_once()).collect();
    for training in trainings {
        let (trained, events) = training.end().await;
        assert_eq!(trained.result.unwrap(), version, "{events:?}");
    }
}

async fn export(federation: &Federation, to: &Path) -> PathBuf {
    let _ = std::fs::remove_dir_all(to);
    federation.state().await.export_ledger(to).await.unwrap();
    to.to_owned()
}

/// The folder as it comes out after `change`.
fn changed(folder: &Path, change: impl FnOnce(&Path)) -> Result<Folder, FolderError> {
    let copy = tempfile::tempdir().unwrap();
    copy_folder(folder, copy.path());
    change(copy.path());
    Folder::open(copy.path())
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

/// The only file of a folder, whatever its width.
fn only(folder: PathBuf) -> PathBuf {
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    files[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exported_log_with_a_flipped_bit_a_missing_tile_or_a_stranger_among_its_entries_is_refused_by_name() {
    let federation = Federation::found(&plan(1, 60_000)).await;
    let (folder, merchants) = joined(&federation).await;
    one_round(&merchants, 1).await;
    let log = export(&federation, &folder.path().join("log")).await;
    let key = federation.state().await.server_key();
    let sound = Folder::open(&log).unwrap();
    assert_eq!(sound.contradictions(), []);
    assert_eq!(sound.audit(Some(key)).unwrap().findings, []);
    let (tile, bundle) = (only(log.join("tile/0/000.p")), only(log.join("tile/entries/000.p")));
    let inside = |path: &Path| path.strip_prefix(&log).unwrap().to_owned();

    // One bit of one entry: the entry is named.
    let third: usize = sound.leaves()[..3].iter().map(|leaf| leaf.len() + 2).sum();
    let altered = changed(&log, |copy| flip(&copy.join(inside(&bundle)), third + 40)).unwrap();
    let verdict = altered.audit(Some(key)).unwrap();
    assert!(verdict.findings.iter().any(|f| f.entry == Some(3) && f.rule == Rule::Tree), "{:?}", verdict.findings);
    assert_eq!(altered.contradictions().len(), 1);
    // One bit of one digest: the tile is.
    let altered = changed(&log, |copy| flip(&copy.join(inside(&tile)), 70)).unwrap();
    let findings = altered.audit(Some(key)).unwrap().findings;
    assert_eq!(findings.len(), 1);
    assert!(findings[0].what.contains("tile/0/000.p/") && findings[0].rule == Rule::Tree, "{findings:?}");
    // Another root over the old signature.
    let altered = changed(&log, |copy| {
        let note = sound.checkpoint().to_string();
        let (_, signatures) = note.split_once("\n\n").unwrap();
        let other = Checkpoint { root: sha256(b"other"), ..sound.checkpoint().danger_unverified().clone() };
        std::fs::write(copy.join("checkpoint"), format!("{}\n{signatures}", other.body())).unwrap();
    });
    let findings = altered.unwrap().audit(Some(key)).unwrap().findings;
    assert!(findings.iter().any(|f| f.rule == Rule::Checkpoint && f.what.contains("not signed")), "{findings:?}");

    // A file that is missing, or torn: nothing is judged.
    for missing in [&tile, &bundle] {
        let refused = changed(&log, |copy| std::fs::remove_file(copy.join(inside(missing))).unwrap()).err().unwrap();
        let FolderError::Missing(path) = &refused else { panic!("{refused}") };
        assert!(path.ends_with(inside(missing)), "{refused}");
    }
    let torn = changed(&log, |copy| {
        let path = copy.join(inside(&bundle));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    });
    let last = sound.leaves().len() - 1;
    let torn = torn.err().unwrap().to_string();
    assert!(torn.contains(&format!("entry {last}")) && torn.contains("tile/entries/000.p/"), "{torn}");

    // An entry of the future, under a checkpoint that fits: it is named, and nothing of the log is judged.
    let mut leaves = sound.leaves().to_vec();
    leaves.push(br#"{"entry":"charge-2","what":"nobody knows yet"}"#.to_vec());
    let future = rewritten(&federation, &log, &leaves);
    let refused = future.audit(Some(key)).unwrap_err();
    let AuditError::UnknownEntry { index, kind } = &refused else { panic!("{refused}") };
    assert_eq!((*index, kind.as_str()), (leaves.len() as u64 - 1, "charge-2"));
}

/// An export with other entries, signed by the federation's own key: what a lying server can make.
fn rewritten(federation: &Federation, log: &Path, leaves: &[Vec<u8>]) -> Folder {
    let key =
        SigningKey::from_pkcs8(&std::fs::read(federation.directory().join("keys/federation.key")).unwrap()).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_folder(log, copy.path());
    for (path, bytes) in tiles::files(leaves) {
        let path = copy.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let tree = MerkleTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(leaf)));
    let note = Checkpoint::of("market", &tree).sign("market", &key).unwrap();
    std::fs::write(copy.path().join("checkpoint"), note.to_string()).unwrap();
    Folder::open(copy.path()).unwrap()
}

fn entries_without(folder: &Folder, unwanted: impl Fn(&Entry) -> bool) -> Vec<Vec<u8>> {
    let kept = folder.entries().filter(|(_, entry)| !unwanted(entry.as_ref().unwrap()));
    kept.map(|(_, entry)| entry.unwrap().to_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_cosigns_a_growing_log_and_refuses_every_other_one_by_name() {
    let federation = Federation::found(&plan(2, 60_000)).await;
    let (folder, merchants) = joined(&federation).await;
    let key = federation.state().await.server_key();
    let early = Folder::open(&export(&federation, &folder.path().join("early")).await).unwrap();
    one_round(&merchants, 1).await;
    let log = export(&federation, &folder.path().join("log")).await;
    let grown = Folder::open(&log).unwrap();

    let place = folder.path().join("w1");
    drop(Witness::init(&place, "witness.example/w1").unwrap());
    assert!(matches!(Witness::init(&place, "witness.example/w1"), Err(WitnessError::Exists(_))));
    let witness = Witness::open(&place).unwrap();
    assert!(matches!(Witness::open(&place), Err(WitnessError::Busy(_))));
    // The first time, the key must come from elsewhere.
    assert!(matches!(witness.cosign(&early, None, 1), Err(WitnessError::FirstSight { .. })));
    let stranger = VerifyingKey([3; 32]);
    let refused = witness.cosign(&early, Some(stranger), 1);
    assert!(matches!(refused, Err(WitnessError::Checkpoint(CheckpointError::NotSigned(_)))));
    witness.cosign(&early, Some(key), 1).unwrap();
    assert!(matches!(witness.cosign(&grown, Some(stranger), 1), Err(WitnessError::OtherKey { .. })));
    let cosigned = witness.cosign(&grown, None, 7).unwrap();
    // The same head again, at a later time, after a restart.
    let verifier = witness.verifier().clone();
    drop(witness);
    let witness = Witness::open(&place).unwrap();
    witness.cosign(&grown, None, 8).unwrap();

    // Shorter, or another history of the same or of a greater length.
    let refused = witness.cosign(&early, None, 9).err().unwrap();
    assert!(matches!(refused, WitnessError::Refused(WitnessRefusal::Shrunk { .. })), "{refused}");
    assert_eq!(refused.exit_code(), 1);
    let first = grown.entries().find_map(|(_, entry)| match entry {
        Ok(Entry::Charge(signed)) => Some(signed),
        _ => None,
    });
    let hidden =
        entries_without(&grown, |entry| matches!(entry, Entry::Charge(signed) if Some(signed) == first.as_ref()));
    let mut longer = hidden.clone();
    longer.extend(grown.leaves()[1..4].to_vec());
    for (leaves, shrunk) in [(hidden, true), (longer, false)] {
        let refused = witness.cosign(&rewritten(&federation, &log, &leaves), None, 9).err().unwrap();
        match refused {
            WitnessError::Refused(WitnessRefusal::Shrunk { .. }) => assert!(shrunk),
            WitnessError::Refused(WitnessRefusal::Forked { .. }) => assert!(!shrunk),
            other => panic!("{other}"),
        }
    }
    // A folder that contradicts itself is not believed either.
    let bundle = only(log.join("tile/entries/000.p"));
    let altered = changed(&log, |copy| flip(&copy.join(bundle.strip_prefix(&log).unwrap()), 900)).unwrap();
    assert!(matches!(witness.cosign(&altered, None, 9), Err(WitnessError::Contradiction { .. })));
    // Memory that cannot be read is not begun anew.
    let memory = only(place.join("logs"));
    std::fs::write(&memory, b"{").unwrap();
    assert!(matches!(witness.cosign(&grown, None, 9), Err(WitnessError::Damaged { .. })));

    // The cosignature reaches the auditor by way of the server and by way of a merchant.
    let state = federation.state().await;
    assert_eq!(state.cosign(&cosigned.to_string(), &verifier).await.unwrap().cosignatures, 1);
    let quorum = Quorum { witnesses: vec![verifier], least: None };
    assert_eq!(quorum.judge(grown.checkpoint()).unwrap().findings.len(), 1);
    let again = Folder::open(&export(&federation, &log).await).unwrap();
    assert_eq!(quorum.judge(again.checkpoint()).unwrap().findings, []);
    let home = merchants[0].home();
    let membership = home.membership().unwrap();
    let mut copy = LogCopy::open(&home, &membership).unwrap();
    copy.sync(&Connection::open(&home, &membership).unwrap()).await.unwrap();
    let (leaves, note) = copy.export().unwrap();
    assert_eq!(leaves, again.leaves());
    assert_eq!(note, again.checkpoint().to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_restored_from_an_old_copy_is_noticed_by_its_merchants_and_does_not_start_again() {
    let mut federation = Federation::found(&plan(3, 60_000)).await;
    let (folder, merchants) = joined(&federation).await;
    one_round(&merchants, 1).await;
    let backup = folder.path().join("server-backup");
    federation.kill().await;
    copy_folder(&federation.directory(), &backup);
    federation.restart().await;
    one_round(&merchants, 2).await;

    federation.kill().await;
    std::fs::remove_dir_all(federation.directory()).unwrap();
    copy_folder(&backup, &federation.directory());
    // It cannot know that it forgot: its checkpoint file is of the same old copy.
    federation.restart().await;
    let (trained, _) = merchants[0].train_once().end().await;
    let Err(TrainError::Log(LogError::Call(CallError::Gone(why)))) = &trained.result else {
        panic!("{:?}", trained.result)
    };
    assert!(why.contains("shortened") && why.contains("found a new federation"), "{why}");
    assert_eq!(merchants[0].rounds(), [1, 2], "what was spent stays spent");
    // Every other merchant is refused now, and so is the next start.
    let (trained, _) = merchants[1].train_once().end().await;
    assert!(trained.result.is_err());
    federation.kill().await;
    let refused = match Server::open(&federation.directory()).await {
        Err(OpenError::State(error)) => error.to_string(),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the restored server starts"),
    };
    assert!(refused.contains("shortened"), "{refused}");
}
