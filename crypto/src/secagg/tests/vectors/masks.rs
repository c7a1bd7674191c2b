//! Masks and packed residues.

use zeroize::Zeroizing;

use super::*;
use crate::quantize::UnpackError;
use crate::secagg::graph::Sign;
use crate::secagg::mask::{self, Mask};

pub(super) struct Expansion;

#[derive(Serialize, Deserialize)]
pub(super) struct ExpansionInput {
    key: Hex,
    bits: u8,
    first: usize,
    count: usize,
}

impl Topic for Expansion {
    const FILE: &'static str = "expansion";
    const ABOUT: &'static str = "The residues of a mask, `count` of them from the one with index `first` on.";
    type Given = ();
    type Input = ExpansionInput;
    type Output = Vec<u64>;

    fn cases() -> Vec<Planned<ExpansionInput>> {
        let input = |key: [u8; 32], bits, first, count| ExpansionInput { key: key.into(), bits, first, count };
        let key = fixed("a mask");
        vec![
            good("the zero key, 32 bits", input([0; 32], 32, 0, 4)),
            good("the zero key, 62 bits", input([0; 32], 62, 0, 2)),
            good("8 bits", input(key, 8, 0, 9)),
            good("20 bits", input(key, 20, 0, 9)),
            good("32 bits", input(key, 32, 0, 5)),
            good("33 bits: words of 64 bits from here on", input(key, 33, 0, 5)),
            good("62 bits", input(key, 62, 0, 5)),
            good("32 bits where the counter's second byte begins", input(key, 32, 1_022, 4)),
            good("62 bits there", input(key, 62, 510, 4)),
        ]
    }

    fn run(_: Option<&()>, input: &ExpansionInput) -> Result<Vec<u64>, String> {
        let mut sum = vec![0; input.first + input.count];
        mask::apply(&mut sum, input.bits, &[Mask { key: Zeroizing::new(input.key.array()), sign: Sign::Plus }]);
        Ok(sum[input.first..].iter().map(|word| word & ((1 << input.bits) - 1)).collect())
    }
}

pub(super) struct Packing;

#[derive(Serialize, Deserialize)]
pub(super) struct PackingInput {
    bits: u8,
    residues: Vec<u64>,
}

impl Topic for Packing {
    const FILE: &'static str = "packing";
    const ABOUT: &'static str = "Residues, packed.";
    type Given = ();
    type Input = PackingInput;
    type Output = Hex;

    fn cases() -> Vec<Planned<PackingInput>> {
        let input = |bits, residues: &[u64]| PackingInput { bits, residues: residues.to_vec() };
        vec![
            good("9 bits: 1 and 511", input(9, &[1, 511])),
            good("8 bits", input(8, &[0, 1, 127, 128, 255])),
            good("20 bits", input(20, &[0, 1, 0xf_ffff, 0x12_345])),
            good("33 bits", input(33, &[0x1_0000_0001, 0x1_ffff_ffff, 0x0_dead_beef])),
            good("62 bits", input(62, &[(1 << 62) - 1, 1, 1 << 61, 0x0123_4567_89ab_cdef])),
        ]
    }

    fn run(_: Option<&()>, input: &PackingInput) -> Result<Hex, String> {
        let packed = grid(input.residues.len(), input.bits).pack(&input.residues).expect("the grid's dimension");
        Ok(packed.into())
    }
}

fn grid(dimension: usize, bits: u8) -> Grid {
    Grid::new(u32::try_from(dimension).expect("small"), bits, 1, 1.0).expect("a grid")
}

pub(super) struct Unpacking;

#[derive(Serialize, Deserialize)]
pub(super) struct UnpackingInput {
    bits: u8,
    dimension: usize,
    bytes: Hex,
}

impl Topic for Unpacking {
    const FILE: &'static str = "unpacking";
    const ABOUT: &'static str = "Packed residues, unpacked.";
    type Given = ();
    type Input = UnpackingInput;
    type Output = Vec<u64>;

    fn cases() -> Vec<Planned<UnpackingInput>> {
        let input = |bits, dimension, bytes: &[u8]| UnpackingInput { bits, dimension, bytes: bytes.into() };
        let (length, padding) = ("a packed vector has ceil(d b / 8) bytes", "padding bits are zero");
        vec![
            good("9 bits: 1 and 511", input(9, 2, &[0x01, 0xfe, 0x03])),
            good("no padding", input(8, 2, &[0xff, 0x80])),
            good("62 bits", input(62, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f])),
            bad("a byte too few", length, "Length", input(9, 2, &[0; 2])),
            bad("a byte too many", length, "Length", input(9, 2, &[0; 4])),
            bad("no bytes", length, "Length", input(9, 2, &[])),
            bad("the lowest padding bit", padding, "Padding", input(9, 2, &[0, 0, 0x04])),
            bad("the highest padding bit", padding, "Padding", input(9, 2, &[0, 0, 0x80])),
        ]
    }

    fn run(_: Option<&()>, input: &UnpackingInput) -> Result<Vec<u64>, String> {
        grid(input.dimension, input.bits).unpack(&input.bytes.0).map_err(|error: UnpackError| variant(&error))
    }
}
