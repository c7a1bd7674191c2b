//! `forecastle-audit witness` as a person or a script runs it.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use forecastle_crypto::{
    identity::SigningKey,
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        merkle::{MerkleTree, leaf_hash},
        note::VerifierKey,
        tiles,
        witness::cosigned_at,
    },
};

/// Runs the verb in `folder`.
fn witness(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = Command::new(env!("CARGO_BIN_EXE_forecastle-audit"))
        .arg("witness")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn key() -> SigningKey {
    SigningKey::danger_from_seed(&[1; 32]).unwrap()
}

/// Writes an exported log.
fn export(folder: &Path, name: &str, entries: impl IntoIterator<Item = String>) -> PathBuf {
    let leaves: Vec<Vec<u8>> = entries.into_iter().map(String::into_bytes).collect();
    let target = folder.join(name);
    for (path, bytes) in tiles::files(&leaves) {
        let path = target.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let tree = MerkleTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(leaf)));
    let note = Checkpoint::of("market", &tree).sign("market", &key()).unwrap();
    fs::write(target.join("checkpoint"), note.to_string()).unwrap();
    let origin = format!(r#"{{"origin":"market","server-key":"{}"}}"#, key().verifying_key());
    fs::write(target.join("federation.json"), origin).unwrap();
    target
}

fn numbers(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|i| format!("entry {i}"))
}

#[test]
fn a_witness_is_made_cosigns_and_refuses_with_an_exit_code_for_each() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| witness(folder.path(), arguments);
    export(folder.path(), "short", numbers(300));
    export(folder.path(), "long", numbers(700));
    export(folder.path(), "fork", numbers(250).chain(["another".into()]).chain(numbers(500)));

    let (code, vkey, _) = run(&["init", "--state", "w", "--name", "witness.example/w1"]);
    assert_eq!(code, 0);
    let verifier: VerifierKey = vkey.trim_end().parse().unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("w/witness.vkey")).unwrap(), vkey);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join("w/witness.p8")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let (code, _, why) = run(&["init", "--state", "w", "--name", "witness.example/w1"]);
    assert!(code == 2 && why.contains("a witness already"), "{why}");
    let (code, out, why) = run(&["cosign", "short", "--state", "w"]);
    assert!(code == 2 && out.is_empty() && why.contains("--server-key"), "{why}");
    let trusted = key().verifying_key().to_string();
    let (code, out, why) = run(&["cosign", "short", "--state", "w", "--server-key", &trusted]);
    assert_eq!((code, why.as_str()), (0, ""));
    let signed = SignedCheckpoint::parse(&out).unwrap();
    assert!(cosigned_at(&signed, &verifier).unwrap() > 1_700_000_000);
    let (code, _, _) = run(&["cosign", "long", "--state", "w", "--out", "cosigned"]);
    assert_eq!(code, 0);
    let signed = SignedCheckpoint::parse(&fs::read_to_string(folder.path().join("cosigned")).unwrap()).unwrap();
    assert_eq!(signed.danger_unverified().size, 700);
    assert!(cosigned_at(&signed, &verifier).is_ok());

    let (code, out, why) = run(&["cosign", "short", "--state", "w"]);
    assert!(code == 1 && out.is_empty() && why.contains("shrank") && why.contains("300"), "{why}");
    let (code, out, why) = run(&["cosign", "fork", "--state", "w"]);
    assert!(code == 1 && out.is_empty() && why.contains("forked"), "{why}");
    fs::remove_file(folder.path().join("long/tile/1/000.p/2")).unwrap();
    let (code, out, why) = run(&["cosign", "long", "--state", "w"]);
    assert!(code == 2 && out.is_empty() && why.contains("tile/1/000.p/2 is missing"), "{why}");
    let (code, _, why) = run(&["cosign", "long", "--state", "nowhere"]);
    assert!(code == 2 && why.contains("witness init"), "{why}");
    let (code, out, _) = run(&["show", "--state", "w"]);
    assert!(code == 0 && out.starts_with(vkey.trim_end()) && out.contains("market  700 entries"), "{out}");
}

#[test]
fn nothing_is_cosigned_that_could_not_be_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| witness(folder.path(), arguments);
    export(folder.path(), "short", numbers(3));
    export(folder.path(), "long", numbers(5));
    export(folder.path(), "fork", ["x".to_owned(), "y".into(), "z".into(), "w".into()]);
    run(&["init", "--state", "w", "--name", "w"]);
    let trusted = key().verifying_key().to_string();
    assert_eq!(run(&["cosign", "short", "--state", "w", "--server-key", &trusted]).0, 0);
    // The disk refuses the new memory.
    let memory = fs::read_dir(folder.path().join("w/logs")).unwrap().next().unwrap().unwrap().path();
    let obstacle = memory.with_extension("json.part");
    fs::create_dir(&obstacle).unwrap();
    let (code, out, why) = run(&["cosign", "long", "--state", "w"]);
    assert!(code == 2 && out.is_empty() && why.contains("cannot write"), "{why}");
    // What it knew before still holds: a fork of that is refused, and the longer log is cosigned once there is room.
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(run(&["cosign", "fork", "--state", "w"]).0, 1);
    assert_eq!(run(&["cosign", "long", "--state", "w"]).0, 0);
}
