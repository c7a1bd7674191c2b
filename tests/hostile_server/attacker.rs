//! What a server computes from what it was given: the arithmetic of the protocol, written from its description.
//!
//! Nothing here comes from `forecastle_crypto` but the types of messages. Where the two agree on what an attack yields, the
//! description in docs/PROTOCOL.md and the code say the same thing, and the gain that a test shows is a gain by the
//! protocol and not by a slip of the code.
//!
//! * Shares: Shamir over GF(2⁸) modulo x⁸+x⁴+x³+x+1, byte by byte, participant n at the point n (on the complete graph).
//! * Keys: HKDF-SHA-256 with the session id as salt, the purpose's label and the numbers of those concerned, two bytes
//!   each, as info.
//! * Masks: AES-256 in counter mode from zero; residue i is the i-th little-endian word modulo 2^b. The lower number adds a
//!   pair's mask, the higher one subtracts it.
//! * Updates: b bits a coordinate, least significant bit first.

use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit as _, StreamCipher as _},
};
use forecastle_crypto::{identity::Sha256Digest, quantize::Grid};
use ring::{aead, hkdf};
use x25519_dalek::{PublicKey, StaticSecret};

/// A participant's number.
pub type Number = u16;

/// A product in GF(2⁸).
fn product(mut a: u8, mut b: u8) -> u8 {
    let mut sum = 0;
    while b != 0 {
        if b & 1 == 1 {
            sum ^= a;
        }
        let carry = a >> 7;
        a <<= 1;
        if carry == 1 {
            a ^= 0x1b;
        }
        b >>= 1;
    }
    sum
}

/// a⁻¹ = a²⁵⁴.
fn inverse(a: u8) -> u8 {
    (0..254).fold(1, |power, _| product(power, a))
}

/// The secret behind shares, each with the number of its holder. Right where there are at least t.
pub fn reconstruct(shares: &[(Number, [u8; 32])]) -> [u8; 32] {
    let mut secret = [0; 32];
    for (own, share) in shares {
        let coefficient = shares.iter().filter(|(other, _)| other != own).fold(1, |so_far, (other, _)| {
            let (own, other) = (*own as u8, *other as u8);
            product(so_far, product(other, inverse(other ^ own)))
        });
        for (byte, value) in secret.iter_mut().zip(share) {
            *byte ^= product(*value, coefficient);
        }
    }
    secret
}

/// A key for one purpose, of the participants `numbers`.
fn derived(sid: &Sha256Digest, secret: &[u8; 32], label: &str, numbers: [Number; 2]) -> [u8; 32] {
    let info = [label.as_bytes(), &[0], &numbers[0].to_be_bytes(), &numbers[1].to_be_bytes()].concat();
    let mut key = [0; 32];
    let info = [info.as_slice()];
    let keys = hkdf::Salt::new(hkdf::HKDF_SHA256, &sid.0).extract(secret);
    keys.expand(&info, hkdf::HKDF_SHA256).expect("one block").fill(&mut key).expect("one block");
    key
}

fn agreed(own: &[u8; 32], other: &[u8; 32]) -> [u8; 32] {
    StaticSecret::from(*own).diffie_hellman(&PublicKey::from(*other)).to_bytes()
}

/// X25519(secret, 9).
pub fn public(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

/// The key of the mask that `owner` adds to its own update.
pub fn self_mask(sid: &Sha256Digest, seed: &[u8; 32], owner: Number) -> [u8; 32] {
    derived(sid, seed, "forecastle/secagg/self-mask/v1", [owner, 0])
}

/// The key of the mask between two participants, from the mask secret of one and the mask key of the other.
pub fn pair_mask(
    sid: &Sha256Digest,
    (own, secret): (Number, &[u8; 32]),
    (other, key): (Number, &[u8; 32]),
) -> [u8; 32] {
    derived(sid, &agreed(secret, key), "forecastle/secagg/pair-mask/v1", [own.min(other), own.max(other)])
}

/// The two shares that `from` sent to `to`: of its mask secret and of its self-mask seed. `secret` is the channel secret of
/// `to`, `key` the channel key of `from`.
pub fn opened(
    sid: &Sha256Digest,
    (from, key): (Number, &[u8; 32]),
    (to, secret): (Number, &[u8; 32]),
    sealed: &[u8],
) -> Option<([u8; 32], [u8; 32])> {
    let numbers = [from.to_be_bytes(), to.to_be_bytes()].concat();
    let key = derived(sid, &agreed(secret, key), "forecastle/secagg/shares/v1", [from, to]);
    let key = aead::LessSafeKey::new(aead::UnboundKey::new(&aead::AES_256_GCM, &key).ok()?);
    let (nonce, body) = sealed.split_first_chunk::<12>()?;
    let mut body = body.to_vec();
    let associated = aead::Aad::from([sid.0.as_slice(), &numbers].concat());
    let plain = key.open_in_place(aead::Nonce::assume_unique_for_key(*nonce), associated, &mut body).ok()?;
    let (mask_secret, self_seed) = plain.strip_prefix(numbers.as_slice())?.split_first_chunk::<32>()?;
    Some((*mask_secret, self_seed.try_into().ok()?))
}

/// d residues of the mask under `key`.
fn expanded(key: &[u8; 32], grid: &Grid) -> Vec<u64> {
    let width = if grid.bits() <= 32 { 4 } else { 8 };
    let mut stream = vec![0; grid.dimension() * width];
    Ctr128BE::<Aes256>::new(key.into(), &[0; 16].into()).apply_keystream(&mut stream);
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |word, byte| word << 8 | u64::from(*byte));
    stream.chunks_exact(width).map(word).collect()
}

/// The residues of a packed update.
fn unpacked(bytes: &[u8], grid: &Grid) -> Vec<u64> {
    let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
    let width = usize::from(grid.bits());
    (0..grid.dimension()).map(|i| (0..width).fold(0, |word, b| word | bit(i * width + b) << b)).collect()
}

/// A masked update without the masks under `added` and `subtracted`.
pub fn bared(update: &[u8], grid: &Grid, added: &[[u8; 32]], subtracted: &[[u8; 32]]) -> Vec<u64> {
    let mut residues = unpacked(update, grid);
    for key in added {
        residues.iter_mut().zip(expanded(key, grid)).for_each(|(r, mask)| *r = r.wrapping_sub(mask));
    }
    for key in subtracted {
        residues.iter_mut().zip(expanded(key, grid)).for_each(|(r, mask)| *r = r.wrapping_add(mask));
    }
    residues.into_iter().map(|residue| residue & ((1 << grid.bits()) - 1)).collect()
}

/// Which secret of a participant a share belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// The seed of its self-mask.
    SelfMask,
    /// Its mask secret.
    MaskKey,
}

/// The shares in an unmasking answer, with whose secret each belongs to: tag, session id, their number in two bytes, then
/// for each the subject in two bytes, the kind (1 or 2) and 32 bytes.
pub fn answered(answer: &[u8]) -> Vec<(Number, Secret, [u8; 32])> {
    let number = |bytes: &[u8]| Number::from_be_bytes([bytes[0], bytes[1]]);
    let shares = answer[35..].chunks_exact(35).map(|share| {
        let kind = if share[2] == 1 { Secret::SelfMask } else { Secret::MaskKey };
        (number(share), kind, share[3..].try_into().expect("32 bytes"))
    });
    let shares: Vec<_> = shares.collect();
    assert_eq!(shares.len(), usize::from(number(&answer[33..])));
    shares
}

#[test]
fn the_field_and_the_sharing_are_those_of_the_description() {
    // FIPS 197, section 4.2: {57}·{83} = {c1}.
    assert_eq!(product(0x57, 0x83), 0xc1);
    assert!((1..=255).all(|a| product(a, inverse(a)) == 1));
    // f(x) = 0x2a ⊕ 0x07·x: f(2) = 0x24, f(3) = 0x23.
    assert_eq!(reconstruct(&[(2, [0x24; 32]), (3, [0x23; 32])]), [0x2a; 32]);
}
