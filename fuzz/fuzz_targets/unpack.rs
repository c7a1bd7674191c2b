//! Bit streams of residues, for every width of modulus.
//!
//! A byte string of the right length with clear padding is the packing of what it unpacks to; any other is refused.
//! Numbers that are packed come back modulo 2^b, and centred numbers survive being residues.
#![no_main]

use forecastle_crypto::quantize::{Grid, UnpackError};
use forecastle_fuzz::{bounded, seeds};
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let (bits, dimension) = (input.int_in_range(Grid::MIN_BITS..=Grid::MAX_BITS)?, input.int_in_range(1..=300u32)?);
    let grid = Grid::new(dimension, bits, 100, 1.0).expect("in range");
    let modulus = 1u64 << bits;
    assert_eq!(grid.packed_len(), (dimension as usize * usize::from(bits)).div_ceil(8));

    // What arrives, cut or filled up as often as not, so that lengths are right now and then.
    let mut bytes = input.peek_bytes(input.len()).unwrap_or_default().to_vec();
    if input.arbitrary()? {
        bytes.resize(grid.packed_len(), input.arbitrary()?);
    }
    // A sum under way, in words that are not reduced.
    let before: Vec<u64> = (1..=u64::from(dimension)).map(|k| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let mut sum = before.clone();
    let padding = 8 * grid.packed_len() - dimension as usize * usize::from(bits);
    match bounded(bytes.len() + 8 * dimension as usize, 2, || grid.unpack(&bytes)) {
        Ok(residues) => {
            assert!(residues.len() == dimension as usize && residues.iter().all(|residue| *residue < modulus));
            assert_eq!(grid.pack(&residues).as_ref(), Ok(&bytes));
            assert_eq!(grid.unpack_add(&bytes, &mut sum), Ok(()));
            assert!(sum.iter().zip(&before).zip(&residues).all(|((sum, before), r)| *sum == before.wrapping_add(*r)));
            for residue in residues {
                let centred = grid.from_residue(residue);
                assert!(grid.to_residue(centred) == residue && centred.unsigned_abs() <= modulus / 2);
            }
        }
        Err(_) if grid.unpack_add(&bytes, &mut sum).is_ok() || sum != before => panic!("refused bytes were added"),
        Err(UnpackError::Length { expected, found }) => {
            assert!((expected, found) == (grid.packed_len(), bytes.len()) && expected != found);
        }
        Err(UnpackError::Padding) => {
            assert!(
                bytes.len() == grid.packed_len()
                    && bytes.last().is_some_and(|last| last.leading_zeros() < padding as u32)
            );
        }
    }

    let numbers: Vec<u64> = input.arbitrary_iter()?.take(dimension as usize).collect::<Result<_>>()?;
    match grid.pack(&numbers) {
        Ok(packed) => {
            let expected: Vec<u64> = numbers.iter().map(|number| number % modulus).collect();
            assert_eq!(grid.unpack(&packed), Ok(expected));
        }
        Err(_) => assert_ne!(numbers.len(), dimension as usize),
    }
    Ok(())
}

fuzz_target!(
    init: seeds("unpack", || {
        (Grid::MIN_BITS..=Grid::MAX_BITS).step_by(9).map(|bits| {
            let grid = Grid::new(21, bits, 100, 1.0).expect("in range");
            let packed = grid.pack(&(0..21).map(|k: u64| k.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<Vec<_>>());
            [&[bits - Grid::MIN_BITS, 20, 0], packed.expect("21 numbers").as_slice()].concat()
        }).collect::<Vec<_>>()
    }),
    |data: &[u8]| {
        _ = run(data);
    }
);
