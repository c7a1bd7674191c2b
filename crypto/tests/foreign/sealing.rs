//! AES-256-GCM with nonces of 96 bits and whole tags: Project Wycheproof, which holds NIST's own cases too.
//!
//! Nothing else is used here, so vectors for shorter keys are of no concern, and a nonce of another length cannot even be
//! made: that counts as refused, although Wycheproof calls long ones valid.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use wycheproof::{
    TestResult,
    aead::{Test, TestName, TestSet},
};

/// What `secagg::keys` does when it opens; `None` where it is refused.
fn open(test: &Test, nonce: Nonce) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
    let mut body = [&test.ct[..], &test.tag].concat();
    let length = key.open_in_place(nonce, Aad::from(&test.aad[..]), &mut body).ok()?.len();
    body.truncate(length);
    Some(body)
}

/// What `secagg::keys` does when it seals.
fn seal(test: &Test, nonce: Nonce) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
    let mut body = test.pt.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(&test.aad[..]), &mut body).unwrap();
    body
}

#[test]
fn wycheproof_ciphertexts_are_made_as_published_and_forged_ones_refused() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    assert_eq!(set.number_of_tests, 316);
    let (mut opened, mut refused, mut other_nonces) = (0, 0, 0);
    for group in set.test_groups.iter().filter(|group| group.key_size == 256) {
        assert_eq!(group.tag_size, 128);
        for test in &group.tests {
            let about = format!("case {}: {}", test.tc_id, test.comment);
            let nonce = || Nonce::try_assume_unique_for_key(&test.nonce);
            let (Ok(first), Ok(second)) = (nonce(), nonce()) else {
                assert_ne!(test.nonce.len(), 12, "{about}");
                other_nonces += 1;
                continue;
            };
            match test.result {
                TestResult::Valid => {
                    assert_eq!(open(test, first).as_deref(), Some(&test.pt[..]), "{about}");
                    assert_eq!(seal(test, second), [&test.ct[..], &test.tag].concat(), "{about}");
                    opened += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(open(test, first), None, "{about}");
                    refused += 1;
                }
                TestResult::Acceptable => panic!("{about}: there was none of these when this was written"),
            }
        }
    }
    assert_eq!((opened, refused, other_nonces), (39, 27, 39));
}

#[test]
fn wycheproof_keys_of_other_lengths_are_no_keys() {
    let set = TestSet::load(TestName::AesGcm).unwrap();
    for group in set.test_groups.iter().filter(|group| group.key_size != 256) {
        assert!(group.tests.iter().all(|test| UnboundKey::new(&AES_256_GCM, &test.key).is_err()));
    }
}
