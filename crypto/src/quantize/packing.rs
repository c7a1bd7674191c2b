//! Residues as a bit stream: b bits each, least significant bit first, no gaps.
//!
//! The invariant: one byte string per vector of residues. The length is exact and the padding bits of the last byte
//! are zero, so two different byte strings never mean the same vector and digests of packed bytes are digests of the
//! vector.

use super::Grid;

/// Why bytes are no packed vector of a grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    /// Too short or too long.
    #[error("expected {expected} bytes, found {found}")]
    Length {
        /// What the grid needs.
        expected: usize,
        /// What was there.
        found: usize,
    },
    /// Bits beyond the last residue are set.
    #[error("the padding bits of the last byte are not zero")]
    Padding,
}

impl Grid {
    /// The number of bytes of a packed vector: ⌈d·b/8⌉.
    pub fn packed_len(&self) -> usize {
        self.packed_len_of(self.dimension())
    }

    /// The number of bytes that `residues` of them take, from a whole byte on.
    pub(crate) fn packed_len_of(&self, residues: usize) -> usize {
        (residues as u64 * u64::from(self.bits())).div_ceil(8) as usize
    }

    /// Packs residues `[d]`. Bits above b are dropped, so any representative modulo 2^b may be given.
    ///
    /// # Errors
    /// [`UnpackError::Length`] (counted in residues) when the vector has another length than the grid.
    pub fn pack(&self, residues: &[u64]) -> Result<Vec<u8>, UnpackError> {
        if residues.len() != self.dimension() {
            return Err(UnpackError::Length { expected: self.dimension(), found: residues.len() });
        }
        let mut out = vec![0; self.packed_len()];
        self.pack_block(residues, &mut out);
        Ok(out)
    }

    /// Packs residues from a multiple of eight on, of any representative, into the bytes they take.
    pub(crate) fn pack_block(&self, residues: &[u64], bytes: &mut [u8]) {
        let bits = u32::from(self.bits());
        if bits == 32 {
            let words = bytes.as_chunks_mut().0;
            words.iter_mut().zip(residues).for_each(|(word, residue)| *word = (*residue as u32).to_le_bytes());
            return;
        }
        let mut words = bytes.chunks_mut(8);
        let mut write = |pending: u64| {
            if let Some(word) = words.next() {
                word.copy_from_slice(&pending.to_le_bytes()[..word.len()]);
            }
        };
        let (mut pending, mut held) = (0u128, 0u32);
        for &residue in residues {
            pending |= u128::from(residue & self.modulus_mask()) << held;
            held += bits;
            if held >= 64 {
                write(pending as u64);
                pending >>= 64;
                held -= 64;
            }
        }
        write(pending as u64);
    }

    /// Unpacks residues `[d]`.
    ///
    /// # Errors
    /// [`UnpackError`] when the length is wrong or padding bits are set.
    pub fn unpack(&self, bytes: &[u8]) -> Result<Vec<u64>, UnpackError> {
        let mut out = vec![0; self.dimension()];
        self.unpack_add(bytes, &mut out)?;
        Ok(out)
    }

    /// Unpacks and adds into `sum` `[d]`, wrapping modulo 2^64 (which keeps residues modulo 2^b), without a second
    /// vector. Nothing is added when the bytes are refused.
    ///
    /// # Errors
    /// [`UnpackError`] when the length is wrong or padding bits are set.
    pub fn unpack_add(&self, bytes: &[u8], sum: &mut [u64]) -> Result<(), UnpackError> {
        if bytes.len() != self.packed_len() {
            return Err(UnpackError::Length { expected: self.packed_len(), found: bytes.len() });
        }
        if !bytes.last().is_none_or(|last| self.is_padded_with_zeros(*last)) {
            return Err(UnpackError::Padding);
        }
        self.add_block(bytes, sum);
        Ok(())
    }

    /// Whether the bits of the last byte of a packed vector that belong to no residue are zero.
    pub(crate) fn is_padded_with_zeros(&self, last: u8) -> bool {
        let used = (self.dimension() as u64 * u64::from(self.bits())) % 8;
        used == 0 || last >> used == 0
    }

    /// Adds the residues in `bytes` into `sum`, wrapping modulo 2^64. The bytes are a packed vector's from a multiple of
    /// eight residues on, as many as `sum` needs.
    pub(crate) fn add_block(&self, bytes: &[u8], sum: &mut [u64]) {
        let bits = u32::from(self.bits());
        let mut words = bytes.chunks(8).map(|chunk| {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let (mut pending, mut held) = (0u128, 0u32);
        for slot in sum.iter_mut() {
            if held < bits {
                pending |= u128::from(words.next().unwrap_or(0)) << held;
                held += 64;
            }
            *slot = slot.wrapping_add(pending as u64 & self.modulus_mask());
            pending >>= bits;
            held -= bits;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn grid(dimension: usize, bits: u8) -> Grid {
        Grid::new(dimension as u32, bits, 1, 1.0).expect("a valid grid")
    }

    #[test]
    fn the_bit_order_is_little_endian() {
        // 9-bit residues 1 and 0x1ff: bits 100000000 111111111, least significant first.
        assert_eq!(grid(2, 9).pack(&[1, 0x1ff]).expect("two residues"), vec![0x01, 0xfe, 0x03]);
    }

    #[test]
    fn wrong_lengths_and_padding_are_refused() {
        let grid = grid(2, 9);
        assert_eq!(grid.unpack(&[0; 2]), Err(UnpackError::Length { expected: 3, found: 2 }));
        assert_eq!(grid.unpack(&[0; 4]), Err(UnpackError::Length { expected: 3, found: 4 }));
        assert_eq!(grid.unpack(&[0, 0, 0x04]), Err(UnpackError::Padding));
        assert_eq!(grid.unpack(&[0, 0, 0x80]), Err(UnpackError::Padding));
        assert!(grid.unpack(&[0, 0, 0x03]).is_ok());
        assert!(grid.pack(&[0]).is_err());
    }

    proptest! {
        #[test]
        fn packing_is_a_bijection(bits in Grid::MIN_BITS..=Grid::MAX_BITS, raw in proptest::collection::vec(any::<u64>(), 1..70)) {
            let grid = grid(raw.len(), bits);
            let residues: Vec<u64> = raw.iter().map(|r| r & ((1 << bits) - 1)).collect();
            let packed = grid.pack(&raw).expect("the right length");
            prop_assert_eq!(packed.len(), grid.packed_len());
            prop_assert_eq!(grid.unpack(&packed).expect("its own packing"), residues);
        }

        #[test]
        fn bytes_that_unpack_pack_to_themselves(bits in Grid::MIN_BITS..=Grid::MAX_BITS, dimension in 1usize..20, seed in any::<u64>()) {
            let grid = grid(dimension, bits);
            let bytes: Vec<u8> = (0..grid.packed_len() as u64).map(|i| (seed.rotate_left(i as u32) ^ i) as u8).collect();
            if let Ok(residues) = grid.unpack(&bytes) {
                prop_assert_eq!(grid.pack(&residues).expect("the right length"), bytes);
            }
        }
    }
}
