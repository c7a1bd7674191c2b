//! HKDF-SHA-256: Project Wycheproof and RFC 5869.
//!
//! `secagg::keys` takes 32 bytes, with a salt of 32 bytes and an `info` of two pieces. Here lengths are the vectors' own,
//! and each is asked for twice: with `info` whole and in pieces. More than 255 blocks are refused.

use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use wycheproof::{
    TestResult,
    hkdf::{TestName, TestSet},
};

/// As many bytes as the vector has.
struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]], length: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; length];
    let key = Salt::new(HKDF_SHA256, salt).extract(secret);
    key.expand(info, Bytes(length)).and_then(|key| key.fill(&mut out)).ok()?;
    Some(out)
}

#[test]
fn wycheproof_derivations_are_as_published_and_too_long_ones_refused() {
    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    assert_eq!(set.number_of_tests, 86);
    let mut refused = 0;
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let about = format!("case {}: {}", test.tc_id, test.comment);
        let (front, back) = test.info.split_at(test.info.len() / 2);
        let whole = derive(&test.salt, &test.ikm, &[&test.info], test.size);
        assert_eq!(derive(&test.salt, &test.ikm, &[front, back], test.size), whole, "{about}");
        match test.result {
            TestResult::Valid => assert_eq!(whole.as_deref(), Some(&test.okm[..]), "{about}"),
            TestResult::Invalid => {
                assert_eq!(whole, None, "{about}");
                assert!(test.size > 255 * 32, "{about}");
                refused += 1;
            }
            TestResult::Acceptable => panic!("{about}: there was none of these when this was written"),
        }
    }
    assert_eq!(refused, 3);
}

#[test]
fn rfc_5869_appendix_a_agrees() {
    let counted = |from: u8, to: u8| (from..=to).collect::<Vec<u8>>();
    let vectors = [
        (
            vec![0x0b; 22],
            counted(0x00, 0x0c),
            counted(0xf0, 0xf9),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            counted(0x00, 0x4f),
            counted(0x60, 0xaf),
            counted(0xb0, 0xff),
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            vec![0x0b; 22],
            Vec::new(),
            Vec::new(),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (secret, salt, info, expected) in vectors {
        let derived = derive(&salt, &secret, &[&info], expected.len() / 2).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&derived), expected);
    }
}
