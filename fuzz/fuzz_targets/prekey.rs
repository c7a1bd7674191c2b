//! Bundles of public pre-keys as merchants upload them, and stored pre-keys.
//!
//! A bundle that its merchant did not sign is refused; one that it did is accepted exactly when its two keys differ and
//! neither is of low order.
#![no_main]

use forecastle_crypto::secagg::{PrekeyBundle, PrekeySecret};
use forecastle_fuzz::{bounded, federation, seeds};
use libfuzzer_sys::fuzz_target;

/// Whether a point of low order, by another scalar than the code under test uses, or not below 2^255 − 19.
fn of_no_use(key: &[u8; 32]) -> bool {
    let mut modulus = [0xff; 32];
    (modulus[0], modulus[31]) = (0xed, 0x7f);
    x25519_dalek::x25519([0x7b; 32], *key) == [0; 32] || key.iter().rev().ge(modulus.iter().rev())
}

fuzz_target!(
    init: seeds("prekey", || {
        let (bundle, secret) = federation::prekey(1);
        let mut weak = bundle.clone();
        weak.mask_key.0 = [0; 32];
        let mut twice = bundle.clone();
        twice.mask_key = twice.channel_key;
        let json = [bundle, weak, twice].map(|bundle| serde_json::to_vec(&bundle).expect("a bundle always serialises"));
        json.into_iter().chain([secret.to_bytes().to_vec()]).collect()
    }),
    |data: &[u8]| {
        if let Ok(bundle) = bounded(data.len(), 16, || serde_json::from_slice::<PrekeyBundle>(data)) {
            published(bundle);
        }
        if let Ok(secret) = PrekeySecret::from_bytes(data) {
            assert_eq!(secret.to_bytes().as_slice(), data);
        }
    }
);

fn published(mut bundle: PrekeyBundle) {
    let (merchant, identity) = (federation::merchant(1), federation::identity(1));
    let written = serde_json::to_vec(&bundle).expect("a bundle always serialises");
    assert_eq!(serde_json::from_slice::<PrekeyBundle>(&written).ok().as_ref(), Some(&bundle));
    let (genuine, secret) = federation::prekey(1);
    let verified = bundle.verify(&merchant, &identity.verifying_key()).is_ok();
    assert!(!verified || bundle == genuine, "a bundle that nobody signed was accepted");
    let same_keys = bundle.channel_key == genuine.channel_key && bundle.mask_key == genuine.mask_key;
    assert_eq!(secret.bundle_matches(&bundle), same_keys && bundle.index == genuine.index);

    federation::sign_bundle(&merchant, &identity, &mut bundle);
    let weak =
        bundle.channel_key == bundle.mask_key || of_no_use(&bundle.channel_key.0) || of_no_use(&bundle.mask_key.0);
    assert_eq!(bundle.verify(&merchant, &identity.verifying_key()).is_err(), weak);
    assert!(bundle.verify(&federation::merchant(2), &identity.verifying_key()).is_err());
}
