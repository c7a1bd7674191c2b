//! Checkpoints, cosignatures and verifier keys as text.
//!
//! What is parsed is written byte for byte as it was read. A text that somebody else wrote never verifies under a key that
//! did not sign it; the same head signed by that key does, with all the other lines still there.
#![no_main]

use forecastle_crypto::{
    identity::VerifyingKey,
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        merkle::MerkleTree,
        note::{NoteSignature, SignatureType, VerifierKey},
        witness,
    },
};
use forecastle_fuzz::{bounded, federation, seeds};
use libfuzzer_sys::fuzz_target;

const WITNESS: &str = "witness.example/w1";

fn cosigned() -> SignedCheckpoint {
    let mut tree = MerkleTree::new();
    forecastle_fuzz::LOG.lines().for_each(|line| _ = tree.append(line.as_bytes()));
    let head = Checkpoint::of("market", &tree);
    let mut signed = head.clone().sign("market", &federation::server()).expect("a name");
    signed.add(witness::cosign(&head, WITNESS, &federation::key(9), 1_700_000_000).expect("a name"));
    signed
}

fuzz_target!(
    init: seeds("checkpoint", || {
        let signed = cosigned();
        let key = VerifierKey::new("market", SignatureType::Ed25519, federation::server().verifying_key()).expect("a name");
        vec![signed.to_string(), signed.signatures()[1].to_string(), key.to_string()]
    }),
    |data: &[u8]| {
        let Ok(text) = std::str::from_utf8(data) else { return };
        // A line of base64 costs its text, its bytes and its place in the list.
        if let Ok(parsed) = bounded(data.len(), 16, || SignedCheckpoint::parse(text)) {
            assert_eq!(parsed.to_string(), text);
            assert_eq!(SignedCheckpoint::parse(&parsed.to_string()).as_ref(), Ok(&parsed));
            checkpoint(parsed);
        }
        if let Some(line) = NoteSignature::parse(text) {
            assert_eq!(line.to_string(), text);
        }
        if let Ok(key) = text.parse::<VerifierKey>() {
            assert_eq!(key.to_string(), text);
            assert_eq!(VerifierKey::new(key.name(), key.kind(), *key.key()).as_ref(), Ok(&key));
        }
    }
);

fn checkpoint(parsed: SignedCheckpoint) {
    let (head, server, witness) = (parsed.danger_unverified().clone(), federation::server(), federation::key(9));
    let known = cosigned();
    let is_known = parsed.danger_unverified() == known.danger_unverified();
    let names: Vec<String> = parsed.signatures().iter().map(|line| line.name.clone()).collect();
    for name in names.iter().map(String::as_str).chain(["market"]) {
        assert!(is_known || parsed.verify(name, &server.verifying_key()).is_err(), "a forged head verified");
        assert!(parsed.verify(name, &VerifyingKey::from_bytes([7; 32])).is_err());
    }
    let cosigner = VerifierKey::new(WITNESS, SignatureType::CosignatureV1, witness.verifying_key()).expect("a name");
    assert!(is_known || witness::cosigned_at(&parsed, &cosigner).is_err());

    // Signed for real, beside whatever else the text carried.
    let signed = head.clone().sign("market", &server).expect("a parsed origin can be signed");
    let mut all = parsed;
    all.add(signed.signatures()[0].clone());
    all.add(witness::cosign(&head, WITNESS, &witness, 77).expect("a name"));
    assert_eq!(all.verify("market", &server.verifying_key()), Ok(&head));
    assert_eq!(witness::cosigned_at(&all, &cosigner), Ok(77));
    assert_eq!(all.verify_origin("market", &server.verifying_key()).is_ok(), head.origin == "market");
    // Two lines may be more than a text may have; where they are not, it is read back.
    if let Ok(again) = SignedCheckpoint::parse(&all.to_string()) {
        assert_eq!(again, all);
    }
}
