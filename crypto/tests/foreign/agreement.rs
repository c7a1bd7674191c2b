//! X25519: Project Wycheproof and RFC 7748.
//!
//! Wycheproof leaves points on the twist, u coordinates that are not reduced and points of low order to the
//! implementation. Decided here: the first two are agreed with as RFC 7748 §5 computes it, since an X25519 ladder is
//! safe on the twist; a shared secret of zero is refused, whoever's key led to it.

use forecastle_crypto::{
    entropy::SeededEntropy,
    identity::{MerchantId, SigningKey},
    secagg::keys::{AgreementKey, BundleError, PREKEY_CONTEXT, PrekeyBundle, PrekeySecret, generate_prekey},
};
use wycheproof::{
    TestResult,
    xdh::{TestFlag, TestName, TestSet},
};
use x25519_dalek::{PublicKey, StaticSecret};

use crate::hex;

/// What `secagg::keys` does: `None` where the shared secret is zero.
fn agree(secret: [u8; 32], public: [u8; 32]) -> Option<[u8; 32]> {
    let shared = StaticSecret::from(secret).diffie_hellman(&PublicKey::from(public));
    shared.was_contributory().then(|| shared.to_bytes())
}

/// A bundle that its merchant really signed, with any mask key.
fn signed_bundle(mask_key: AgreementKey) -> (MerchantId, SigningKey, PrekeyBundle) {
    let merchant: MerchantId = "shop-1".parse().unwrap();
    let identity = SigningKey::danger_from_seed(&[1; 32]).unwrap();
    let mut entropy = SeededEntropy::danger_from_seed([2; 32]);
    let (bundle, _) = generate_prekey(&merchant, &identity, 7, &mut entropy).unwrap();
    let index = bundle.index.to_be_bytes();
    let message = [
        merchant.as_str().as_bytes(),
        &[0],
        identity.verifying_key().as_bytes(),
        &index,
        bundle.channel_key.as_bytes(),
        mask_key.as_bytes(),
    ]
    .concat();
    let signature = identity.sign(PREKEY_CONTEXT, &message);
    (merchant, identity, PrekeyBundle { mask_key, signature, ..bundle })
}

#[test]
fn wycheproof_agreements_are_as_published_and_zero_is_refused() {
    let set = TestSet::load(TestName::X25519).unwrap();
    assert_eq!(set.number_of_tests, 518);
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let about = format!("case {}: {}", test.tc_id, test.comment);
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        let public: [u8; 32] = test.public_key[..].try_into().unwrap();
        let shared: [u8; 32] = test.shared_secret[..].try_into().unwrap();
        let zero = test.flags.contains(&TestFlag::ZeroSharedSecret);
        assert_eq!(zero, shared == [0; 32], "{about}");
        match agree(secret, public) {
            Some(ours) => {
                assert_eq!(ours, shared, "{about}");
                agreed += 1;
            }
            None => {
                assert!(zero && test.result == TestResult::Acceptable, "{about} was refused");
                refused += 1;
            }
        }
    }
    assert_eq!((agreed, refused), (487, 31));
}

#[test]
fn wycheproof_keys_of_low_order_or_in_a_second_form_are_refused_in_a_bundle_and_all_others_taken() {
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut taken, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let (merchant, identity, bundle) = signed_bundle(AgreementKey(test.public_key[..].try_into().unwrap()));
        let of_no_use =
            [TestFlag::LowOrderPublic, TestFlag::NonCanonicalPublic].iter().any(|flag| test.flags.contains(flag));
        match bundle.verify(&merchant, &identity.verifying_key()) {
            Ok(()) if !of_no_use => taken += 1,
            Err(BundleError::WeakKey { index: 7, .. }) if of_no_use => refused += 1,
            other => panic!("case {}: {}: {other:?}", test.tc_id, test.comment),
        }
    }
    assert_eq!((taken, refused), (474, 44));
}

#[test]
fn rfc_7748_section_5_2_agrees() {
    let vectors = [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ];
    for (scalar, u, expected) in vectors {
        assert_eq!(agree(hex(scalar), hex(u)), Some(hex(expected)));
    }
    // Iterated: each result is the next scalar, and each scalar the next u coordinate.
    let mut nine = [0; 32];
    nine[0] = 9;
    let (mut scalar, mut u) = (nine, nine);
    for iteration in 1..=1000 {
        (scalar, u) = (agree(scalar, u).unwrap(), scalar);
        if iteration == 1 {
            assert_eq!(scalar, hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
        }
    }
    assert_eq!(scalar, hex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
}

#[test]
fn rfc_7748_section_6_1_keys_are_the_public_halves_of_stored_pre_keys() {
    let channel: [u8; 32] = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let mask: [u8; 32] = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let stored = [7u64.to_be_bytes().as_slice(), &channel, &mask].concat();
    let mask_key = AgreementKey(hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"));
    let (_, _, bundle) = signed_bundle(mask_key);
    let channel_key = AgreementKey(hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"));
    let secret = PrekeySecret::from_bytes(&stored).unwrap();
    assert!(secret.bundle_matches(&PrekeyBundle { channel_key, ..bundle.clone() }));
    assert!(!secret.bundle_matches(&PrekeyBundle { channel_key: mask_key, ..bundle }));
}
