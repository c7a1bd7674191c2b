//! Masks: a 256-bit key, expanded to d residues modulo 2^b and added or subtracted.
//!
//! The expansion is AES-256 in counter mode (NIST SP 800-38A, big-endian counter from zero) under a key that serves
//! one mask of one round. Residue i is the i-th little-endian word of the keystream modulo 2^b, of 32 bits for
//! b ≤ 32 and of 64 bits above; since 2^b divides the word's range, residues are exactly uniform.
//!
//! The invariant: adding a mask and subtracting the same mask leaves residues modulo 2^b unchanged. Accumulators are
//! full 64-bit words that wrap; whoever hands them on reduces them. Expansion and addition are fused over tiles that
//! stay in the first-level cache, so no mask ever exists as a whole, and long vectors are split over threads. A tile is
//! encrypted from counters that all its masks share: faster than a stream cipher's interface, which counts for each, clears
//! a buffer and adds the keystream to it.

use std::num::NonZeroUsize;
use std::thread;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use zeroize::{Zeroize, Zeroizing};

use super::graph::Sign;

/// One mask to apply.
pub(super) struct Mask {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) sign: Sign,
}

/// Residues per tile: 8 or 16 KiB of keystream.
const TILE: usize = 2048;

/// Bytes of a block of the cipher.
const BLOCK: usize = 16;

/// Below this many residues a second thread costs more than it saves.
const RESIDUES_PER_THREAD: usize = 1 << 16;

/// Applies every mask to `sum` `[d]`, modulo 2^`bits` (the bits above are left arbitrary).
pub(super) fn apply(sum: &mut [u64], bits: u8, masks: &[Mask]) {
    let work = sum.len().saturating_mul(masks.len().max(1)) / RESIDUES_PER_THREAD;
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(work).max(1);
    let share = sum.len().div_ceil(threads).next_multiple_of(TILE);
    thread::scope(|scope| {
        let mut parts = sum.chunks_mut(share).enumerate();
        let first = parts.next();
        for (index, part) in parts {
            scope.spawn(move || apply_from(part, index * share, bits, masks));
        }
        if let Some((_, part)) = first {
            apply_from(part, 0, bits, masks);
        }
    });
}

/// [`apply`] on the residues from `start` on.
fn apply_from(sum: &mut [u64], start: usize, bits: u8, masks: &[Mask]) {
    if bits <= 32 {
        apply_words::<u32, 4>(sum, start, masks);
    } else {
        apply_words::<u64, 8>(sum, start, masks);
    }
}

/// A keystream word.
trait Word<const BYTES: usize>: Copy + Default + Zeroize + Into<u64> {
    fn from_bytes(bytes: [u8; BYTES]) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
}

macro_rules! word {
    ($type:ty, $bytes:literal) => {
        impl Word<$bytes> for $type {
            fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self::from_le_bytes(bytes)
            }
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
        }
    };
}
word!(u32, 4);
word!(u64, 8);

fn apply_words<W: Word<BYTES>, const BYTES: usize>(sum: &mut [u64], start: usize, masks: &[Mask]) {
    let ciphers: Vec<_> = masks.iter().map(|mask| (Aes256::new((&*mask.key).into()), mask.sign)).collect();
    let mut counters = vec![Block::default(); TILE * BYTES / BLOCK];
    let mut keystream = Zeroizing::new(vec![0u8; TILE * BYTES]);
    let mut tile = vec![W::default(); TILE];
    // Parts begin at a multiple of the tile, which is one of whole blocks.
    let first_block = (start * BYTES / BLOCK) as u64;
    for (part, first) in sum.chunks_mut(TILE).zip((first_block..).step_by(TILE * BYTES / BLOCK)) {
        let tile = &mut tile[..part.len()];
        tile.fill(W::default());
        let counters = &mut counters[..(part.len() * BYTES).div_ceil(BLOCK)];
        for (block, counter) in counters.iter_mut().zip(first..) {
            *block = u128::from(counter).to_be_bytes().into();
        }
        let keystream = &mut keystream[..counters.len() * BLOCK];
        for (cipher, sign) in &ciphers {
            let (blocks, _) = Block::slice_as_chunks_mut(keystream);
            cipher.encrypt_blocks_b2b(counters, blocks).expect("invariant: as many blocks as counters");
            let (words, _) = keystream.as_chunks::<BYTES>();
            let pairs = tile.iter_mut().zip(words);
            match sign {
                Sign::Plus => pairs.for_each(|(t, word)| *t = t.plus(W::from_bytes(*word))),
                Sign::Minus => pairs.for_each(|(t, word)| *t = t.minus(W::from_bytes(*word))),
            }
        }
        part.iter_mut().zip(&*tile).for_each(|(s, t)| *s = s.wrapping_add((*t).into()));
    }
    tile.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(byte: u8, sign: Sign) -> Mask {
        Mask { key: Zeroizing::new([byte; 32]), sign }
    }

    fn reduced(sum: &[u64], bits: u8) -> Vec<u64> {
        sum.iter().map(|word| word & ((1 << bits) - 1)).collect()
    }

    #[test]
    fn the_expansion_is_aes_256_in_counter_mode() {
        // The first block is AES-256 of a zero block; under the zero key that is the well-known
        // dc95c078a2408989ad48a21492842087 (NIST KAT "ECBVarTxt256" family, zero plaintext and key).
        let mut sum = vec![0u64; 4];
        apply(&mut sum, 32, &[mask(0, Sign::Plus)]);
        assert_eq!(sum, vec![0x78c095dc, 0x898940a2, 0x14a248ad, 0x87208492]);
        let mut wide = vec![0u64; 2];
        apply(&mut wide, 62, &[mask(0, Sign::Plus)]);
        assert_eq!(wide, vec![0x8989_40a2_78c0_95dc, 0x8720_8492_14a2_48ad]);
    }

    #[test]
    fn what_is_added_and_subtracted_cancels() {
        for bits in [8, 20, 32, 33, 62] {
            let start: Vec<u64> = (0..5000).map(|i| i * 37 % 251).collect();
            let mut sum = start.clone();
            apply(&mut sum, bits, &[mask(1, Sign::Plus), mask(2, Sign::Minus)]);
            assert_ne!(reduced(&sum, bits), reduced(&start, bits));
            apply(&mut sum, bits, &[mask(1, Sign::Minus), mask(2, Sign::Plus)]);
            assert_eq!(reduced(&sum, bits), reduced(&start, bits), "{bits} bits");
        }
    }

    #[test]
    fn threads_and_tiles_do_not_change_the_mask() {
        let length = 3 * RESIDUES_PER_THREAD + 77;
        for bits in [30, 40] {
            let masks = [mask(3, Sign::Plus), mask(4, Sign::Minus)];
            let mut together = vec![0u64; length];
            apply(&mut together, bits, &masks);
            let mut alone = vec![0u64; length];
            apply_from(&mut alone, 0, bits, &masks);
            assert_eq!(together, alone);
            let mut later = vec![0u64; length - 2 * TILE];
            apply_from(&mut later, 2 * TILE, bits, &masks);
            assert_eq!(later, alone[2 * TILE..]);
        }
    }
}
