//! AES-256 in counter mode, big-endian over all 128 bits: NIST SP 800-38A and FIPS 197.
//!
//! Masks and seeded entropy count from zero; the library call is the one of `secagg::mask` and `entropy`.

use aes::Aes256;
use ctr::{
    Ctr128BE,
    cipher::{KeyIvInit, StreamCipher, StreamCipherSeek},
};
use forecastle_crypto::entropy::{Entropy, SeededEntropy};

use crate::hex;

#[test]
fn sp_800_38a_section_f_5_5_agrees_from_any_block_on() {
    let key: [u8; 32] = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
    let counter: [u8; 16] = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
    let plain: [u8; 64] = hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51\
         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
    let cipher: [u8; 64] = hex("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5\
         2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
    for block in 0..4 {
        let mut stream = Ctr128BE::<Aes256>::new(&key.into(), &counter.into());
        stream.seek(16 * block as u64);
        let mut body = plain[16 * block..].to_vec();
        stream.apply_keystream(&mut body);
        assert_eq!(body, cipher[16 * block..], "from block {block}");
    }
}

#[test]
fn seeded_entropy_begins_with_the_ciphers_of_zero_and_one() {
    // AES-256 of the blocks 0 and 1, alone: counter mode from zero is their concatenation.
    use aes::cipher::{BlockCipherEncrypt, KeyInit};
    let key: [u8; 32] = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
    let cipher = Aes256::new(&key.into());
    // FIPS 197, appendix C.3.
    let mut block = hex::<16>("00112233445566778899aabbccddeeff").into();
    cipher.encrypt_block(&mut block);
    assert_eq!(block, hex::<16>("8ea2b7ca516745bfeafc49904b496089"));
    let mut expected = Vec::new();
    for counter in [0u128, 1] {
        let mut block = counter.to_be_bytes().into();
        cipher.encrypt_block(&mut block);
        expected.extend_from_slice(&block);
    }
    let mut drawn = [0; 32];
    SeededEntropy::danger_from_seed(key).fill(&mut drawn).unwrap();
    assert_eq!(drawn.as_slice(), expected);
}
