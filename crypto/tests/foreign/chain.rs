//! From two X25519 keys to the bytes that leave: the whole way of one pair's shares, worked out a second time.
//!
//! For every agreement that Wycheproof publishes, a participant with the published secret sends its shares to one with the
//! published key. The test works out the same bytes from the *published* shared secret: HKDF from another library's
//! SHA-256, the shares by hand from the known coefficients, the ciphertext with the same AEAD. Nothing but the vectors and
//! `docs/PROTOCOL.md` goes into it.

use forecastle_crypto::{
    dp::noise::Variance,
    entropy::{Entropy, SeededEntropy},
    identity::{MerchantId, SigningKey, sha256},
    secagg::{
        AdvertisingKeys, OfferError, PrekeySecret, RosterEntry, RoundOffer, RoundTerms, ShareKeys, SignedOffer,
        keys::{AgreementKey, PREKEY_CONTEXT, PrekeyBundle},
    },
};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use wycheproof::xdh::{TestFlag, TestName, TestSet};
use x25519_dalek::x25519;

const NINE: [u8; 32] = {
    let mut u = [0; 32];
    u[0] = 9;
    u
};
const MASK_SECRET: [u8; 32] = [0x55; 32];
const ENTROPY: [u8; 32] = [0x66; 32];

fn key(byte: u8) -> SigningKey {
    SigningKey::danger_from_seed(&[byte; 32]).unwrap()
}

fn merchant(name: &str) -> MerchantId {
    name.parse().unwrap()
}

/// A roster entry of a merchant that signed whatever keys it was given.
fn entry(name: &str, identity: &SigningKey, channel: [u8; 32], mask: [u8; 32]) -> RosterEntry {
    let (public, index) = (identity.verifying_key(), 5u64);
    let parts: [&[u8]; 6] = [name.as_bytes(), &[0], public.as_bytes(), &index.to_be_bytes(), &channel, &mask];
    let signature = identity.sign(PREKEY_CONTEXT, &parts.concat());
    let bundle = PrekeyBundle { index, channel_key: AgreementKey(channel), mask_key: AgreementKey(mask), signature };
    RosterEntry { merchant: merchant(name), identity: public, bundle }
}

fn terms() -> RoundTerms {
    RoundTerms {
        federation: "market".into(),
        run: 1,
        round: 1,
        model_version: 0,
        model_sha256: sha256(b"model"),
        layout_sha256: sha256(b"layout"),
        dimension: 4,
        bits: 20,
        units_per_clip: 100,
        clip: 1.0,
        sigma_total: 0.5,
        variance_local: Variance::from_sigma_ceil(50.0).unwrap(),
        survivors_min: 2,
        threshold: 2,
        neighbours: None,
        colluders_assumed: 0,
        plan_sha256: sha256(b"plan"),
        deadline_ms: 1,
        ledger_size: 0,
        ledger_root: sha256(b""),
    }
}

/// HMAC-SHA-256 (RFC 2104) of the pieces one after another.
fn hmac(key: &[u8; 32], pieces: &[&[u8]]) -> [u8; 32] {
    let mut pad = [0; 64];
    pad[..32].copy_from_slice(key);
    let mut inner = Sha256::new_with_prefix(pad.map(|byte| byte ^ 0x36));
    pieces.iter().for_each(|piece| inner.update(piece));
    let mut outer = Sha256::new_with_prefix(pad.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// One block of HKDF (RFC 5869).
fn hkdf(salt: &[u8; 32], secret: &[u8; 32], info: &[&[u8]]) -> [u8; 32] {
    let extracted = hmac(salt, &[secret]);
    hmac(&extracted, &[&info.concat(), &[1]])
}

/// The share of participant 2 under the line with this constant term and slope: `secret` ⊕ 2·`slope` in GF(2⁸).
fn share_at_two(secret: &[u8; 32], slope: &[u8]) -> Vec<u8> {
    let double = |byte: u8| (byte << 1) ^ if byte >> 7 == 1 { 0x1b } else { 0 };
    secret.iter().zip(slope).map(|(secret, slope)| secret ^ double(*slope)).collect()
}

/// What participant 1 sends participant 2, from the published shared secret.
fn expected(sid: &[u8; 32], shared: &[u8; 32]) -> Vec<u8> {
    // In the order of use: b, the line through S, the line through b, the nonce.
    let mut drawn = [0; 32 + 32 + 32 + 12];
    SeededEntropy::danger_from_seed(ENTROPY).fill(&mut drawn).unwrap();
    let (seed, rest) = drawn.split_first_chunk::<32>().unwrap();
    let nonce: [u8; 12] = rest[64..].try_into().unwrap();
    let ends = [0, 1, 0, 2];
    let plain = [&ends[..], &share_at_two(&MASK_SECRET, &rest[..32]), &share_at_two(seed, &rest[32..64])].concat();
    let key = hkdf(sid, shared, &[b"forecastle/secagg/shares/v1\0", &ends]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
    let mut body = plain;
    let associated = [sid.as_slice(), &ends].concat();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(associated), &mut body).unwrap();
    [nonce.as_slice(), &body].concat()
}

#[test]
fn shares_leave_as_the_published_shared_secret_says() {
    let set = TestSet::load(TestName::X25519).unwrap();
    let (mut agreed, mut refused) = (0, 0);
    for test in set.test_groups.iter().flat_map(|group| &group.tests) {
        let about = format!("case {}: {}", test.tc_id, test.comment);
        let secret: [u8; 32] = test.private_key[..].try_into().unwrap();
        let public: [u8; 32] = test.public_key[..].try_into().unwrap();
        let own = entry("shop-1", &key(1), x25519(secret, NINE), x25519(MASK_SECRET, NINE));
        let other = entry("shop-2", &key(2), public, x25519([0x77; 32], NINE));
        let offer = RoundOffer { version: 1, terms: terms(), roster: vec![own, other] };
        let signed = SignedOffer::sign(&offer, &key(3)).unwrap();
        let opened = match signed.open(&key(3).verifying_key()) {
            Ok(opened) => opened,
            Err(OfferError::Bundle(_))
                if [TestFlag::ZeroSharedSecret, TestFlag::NonCanonicalPublic]
                    .iter()
                    .any(|flag| test.flags.contains(flag)) =>
            {
                refused += 1;
                continue;
            }
            Err(other) => panic!("{about}: {other}"),
        };
        let stored = [5u64.to_be_bytes().as_slice(), &secret, &MASK_SECRET].concat();
        let state = AdvertisingKeys::new(merchant("shop-1"), key(1).into(), PrekeySecret::from_bytes(&stored).unwrap());
        let mut entropy = SeededEntropy::danger_from_seed(ENTROPY);
        let (_, message) = state.accept(opened).and_then(|state| state.share_keys(&mut entropy)).unwrap();
        let ShareKeys { sid, commitment, sealed } = message;
        assert_eq!(sid.0, <[u8; 32]>::from(Sha256::digest(&signed.bytes)), "{about}");
        assert_eq!(sealed.len(), 1, "{about}");
        assert_eq!(sealed[0].1.to_vec(), expected(&sid.0, test.shared_secret[..].try_into().unwrap()), "{about}");
        // H(b): b is the first that was drawn.
        let mut seed = [0; 32];
        SeededEntropy::danger_from_seed(ENTROPY).fill(&mut seed).unwrap();
        let committed = [b"forecastle/secagg/commitment/v1\0".as_slice(), &sid.0, &[0, 1], &seed].concat();
        assert_eq!(commitment.0, <[u8; 32]>::from(Sha256::digest(committed)), "{about}");
        agreed += 1;
    }
    assert_eq!((agreed, refused), (474, 44));
}
