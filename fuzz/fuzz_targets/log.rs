//! Whole logs as an auditor gets them: entries that are changed, moved, repeated or made up, under any checkpoint.
//!
//! The auditor never panics, and never finds a log sound that is not the one the checkpoint was signed for.
#![no_main]

use std::collections::HashMap;

use forecastle_crypto::{
    identity::VerifyingKey,
    ledger::{audit::audit, checkpoint::Checkpoint, entry::Entry, merkle::MerkleTree},
};
use forecastle_fuzz::{LOG, OTHER_ENTRIES, federation, seeds};
use libfuzzer_sys::fuzz_target;

/// The key in the log's first line. Nobody has its private half.
fn founder() -> VerifyingKey {
    match Entry::from_bytes(LOG.lines().next().unwrap_or_default().as_bytes()) {
        Ok(Entry::Founded(founded)) => founded.server_key,
        other => unreachable!("the log begins with its founding: {other:?}"),
    }
}

fuzz_target!(
    init: seeds("log", || {
        let rows: Vec<&str> = LOG.lines().chain(OTHER_ENTRIES.lines()).collect();
        vec![rows[..10].join("\n"), rows.join("\n"), rows[..6].join("\n"), rows[..3].join("\n"), rows[0].to_owned()]
    }),
    |data: &[u8]| {
        let leaves: Vec<Vec<u8>> = data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        let tree = {
            let mut tree = MerkleTree::new();
            leaves.iter().for_each(|leaf| _ = tree.append(leaf));
            tree
        };
        let models = HashMap::new();
        // Under a checkpoint that the auditor's key signed, so that the entries are what is judged.
        let signed = Checkpoint::of("marketplace", &tree).sign("marketplace", &federation::server()).expect("a name");
        let trusted = federation::server().verifying_key();
        let judged = audit(&leaves, &signed.to_string(), &trusted, &models);
        // And under the key that the founding entry names, which never signed such a thing.
        if judged.is_ok()
            && let Ok(verdict) = audit(&leaves, &signed.to_string(), &founder(), &models)
        {
            assert!(!verdict.findings.is_empty(), "a log under a forged checkpoint was found sound");
        }
    }
);
