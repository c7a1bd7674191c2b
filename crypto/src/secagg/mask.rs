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
//! a buffer and adds the keystream to it. Masks are added a few at a time, so that the tile is read and written less often.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use zeroize::{Zeroize, Zeroizing};

use super::graph::Sign;
use crate::quantize::Grid;

/// One mask to apply.
pub(super) struct Mask {
    pub(super) key: Zeroizing<[u8; 32]>,
    pub(super) sign: Sign,
}

/// Residues per tile: 4 or 8 KiB of keystream a mask.
const TILE: usize = 1024;

/// Masks whose keystreams are added up in one go.
const GROUP: usize = 4;

/// Bytes of a block of the cipher.
const BLOCK: usize = 16;

/// Below this many residues a second thread costs more than it saves.
const RESIDUES_PER_THREAD: usize = 1 << 16;

/// Applies every mask to `sum` `[d]`, modulo 2^`bits` (the bits above are left arbitrary).
pub(super) fn apply(sum: &mut [u64], bits: u8, masks: &[Mask]) {
    let share = share_of_a_thread(sum.len(), masks.len());
    in_threads(sum.chunks_mut(share).enumerate(), |(index, part)| apply_from(part, index * share, bits, masks));
}

/// [`apply`] on the residues from `start` on.
fn apply_from(sum: &mut [u64], start: usize, bits: u8, masks: &[Mask]) {
    if bits <= 32 {
        apply_words::<u32, 4>(sum, start, masks);
    } else {
        apply_words::<u64, 8>(sum, start, masks);
    }
}

fn apply_words<W: Word<BYTES>, const BYTES: usize>(sum: &mut [u64], start: usize, masks: &[Mask]) {
    expand(sum.len(), start, masks, |range, tile: &[W]| {
        sum[range].iter_mut().zip(tile).for_each(|(s, t)| *s = s.wrapping_add((*t).into()));
    });
}

/// Residues `[d]` with every mask applied, packed: ⌈d·b/8⌉ bytes. The wrapped sums, whose bits above b would tell something
/// of the residues, are never in memory as a whole.
///
/// # Panics
/// Where there are not as many residues as the grid has dimensions.
pub(super) fn masked(residues: &[u64], grid: &Grid, masks: &[Mask]) -> Vec<u8> {
    assert_eq!(residues.len(), grid.dimension(), "invariant: an update has its grid's dimension");
    let mut bytes = vec![0; grid.packed_len()];
    let share = share_of_a_thread(residues.len(), masks.len());
    // A share is a multiple of the tile, and the residues of a tile take whole bytes.
    let parts = residues.chunks(share).zip(bytes.chunks_mut(grid.packed_len_of(share)));
    in_threads(parts.enumerate(), |(index, (part, bytes))| {
        if grid.bits() <= 32 {
            pack_words::<u32, 4>(part, bytes, index * share, grid, masks);
        } else {
            pack_words::<u64, 8>(part, bytes, index * share, grid, masks);
        }
    });
    bytes
}

fn pack_words<W: Word<BYTES>, const BYTES: usize>(
    residues: &[u64],
    bytes: &mut [u8],
    start: usize,
    grid: &Grid,
    masks: &[Mask],
) {
    let mut sum = Zeroizing::new(vec![0; TILE]);
    expand(residues.len(), start, masks, |range, tile: &[W]| {
        let sum = &mut sum[..range.len()];
        let bytes = &mut bytes[grid.packed_len_of(range.start)..grid.packed_len_of(range.end)];
        for ((s, residue), t) in sum.iter_mut().zip(&residues[range]).zip(tile) {
            *s = residue.wrapping_add((*t).into());
        }
        grid.pack_block(sum, bytes);
    });
}

/// How many residues one thread works on: a multiple of [`TILE`].
fn share_of_a_thread(residues: usize, masks: usize) -> usize {
    let work = residues.saturating_mul(masks.max(1)) / RESIDUES_PER_THREAD;
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(work).max(1);
    residues.div_ceil(threads).next_multiple_of(TILE).max(TILE)
}

/// Works on each part in a thread of its own, on the first one in this thread.
fn in_threads<P: Send>(mut parts: impl Iterator<Item = P>, work: impl Fn(P) + Sync) {
    thread::scope(|scope| {
        let first = parts.next();
        let work = &work;
        for part in parts {
            scope.spawn(move || work(part));
        }
        if let Some(part) = first {
            work(part);
        }
    });
}

/// A keystream word.
trait Word<const BYTES: usize>: Copy + Default + Zeroize + Into<u64> {
    fn from_bytes(bytes: [u8; BYTES]) -> Self;
    fn plus(self, other: Self) -> Self;
    fn negated(self) -> Self;
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
            fn negated(self) -> Self {
                self.wrapping_neg()
            }
        }
    };
}
word!(u32, 4);
word!(u64, 8);

/// Expands the masks of `length` residues from `start` on, tile by tile: `each` is given which residues, counted from
/// `start`, and the sum of their masks.
fn expand<W: Word<BYTES>, const BYTES: usize>(
    length: usize,
    start: usize,
    masks: &[Mask],
    mut each: impl FnMut(Range<usize>, &[W]),
) {
    let ciphers = |sign| -> Vec<Aes256> {
        masks.iter().filter(|mask| mask.sign == sign).map(|mask| Aes256::new((&*mask.key).into())).collect()
    };
    let (subtracted, added) = (ciphers(Sign::Minus), ciphers(Sign::Plus));
    let mut counters = vec![Block::default(); TILE * BYTES / BLOCK];
    let mut keystreams = Zeroizing::new(vec![0u8; GROUP * TILE * BYTES]);
    let mut tile = vec![W::default(); TILE];
    for at in (0..length).step_by(TILE) {
        let range = at..length.min(at + TILE);
        let tile = &mut tile[..range.len()];
        let counters = &mut counters[..(range.len() * BYTES).div_ceil(BLOCK)];
        // Parts begin at a multiple of the tile, which is one of whole blocks.
        let first = ((start + at) * BYTES / BLOCK) as u64;
        for (block, counter) in counters.iter_mut().zip(first..) {
            *block = u128::from(counter).to_be_bytes().into();
        }
        tile.fill(W::default());
        add(tile, counters, &subtracted, &mut keystreams);
        tile.iter_mut().for_each(|t| *t = t.negated());
        add(tile, counters, &added, &mut keystreams);
        each(range, tile);
    }
    tile.zeroize();
}

/// Adds every cipher's keystream over `counters` to the tile; `keystreams` is scratch of [`GROUP`] tiles.
fn add<W: Word<BYTES>, const BYTES: usize>(
    tile: &mut [W],
    counters: &[Block],
    ciphers: &[Aes256],
    keystreams: &mut [u8],
) {
    let mut keystreams = keystreams.chunks_exact_mut(TILE * BYTES);
    let mut keystreams: [&mut [u8]; GROUP] =
        std::array::from_fn(|_| &mut keystreams.next().expect("invariant: one each")[..counters.len() * BLOCK]);
    for group in ciphers.chunks(GROUP) {
        for (cipher, keystream) in group.iter().zip(&mut keystreams) {
            let (blocks, _) = Block::slice_as_chunks_mut(keystream);
            cipher.encrypt_blocks_b2b(counters, blocks).expect("invariant: as many blocks as counters");
        }
        keystreams[group.len()..].iter_mut().for_each(|unused| unused.fill(0));
        let [a, b, c, d] = keystreams.each_ref().map(|keystream| &keystream.as_chunks::<BYTES>().0[..tile.len()]);
        for ((((t, a), b), c), d) in tile.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let [a, b, c, d] = [a, b, c, d].map(|bytes| W::from_bytes(*bytes));
            *t = t.plus(a.plus(b)).plus(c.plus(d));
        }
    }
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
    fn what_is_packed_is_the_masked_sum() {
        let masks: Vec<Mask> = (0..11).map(|i| mask(i, if i % 3 == 0 { Sign::Minus } else { Sign::Plus })).collect();
        for (length, bits) in
            [(1, 8), (TILE, 20), (3 * TILE + 5, 27), (RESIDUES_PER_THREAD + 1, 32), (5_000, 33), (4_001, 62)]
        {
            let grid = Grid::new(length as u32, bits, 1, 1.0).expect("a valid grid");
            let residues: Vec<u64> =
                (0..length as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - bits)).collect();
            let mut sum = residues.clone();
            apply(&mut sum, bits, &masks);
            assert_eq!(masked(&residues, &grid, &masks), grid.pack(&sum).expect("as many"), "{length} of {bits} bits");
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
