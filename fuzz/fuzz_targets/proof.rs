//! Proofs about the log, made up and mended at will.
//!
//! Over a tree of the input's leaves, the one path that verifies is the one the tree gives: whatever path verifies is equal
//! to it, and none verifies for another leaf, place or root.
#![no_main]

use forecastle_crypto::{
    identity::{Sha256Digest, sha256},
    ledger::merkle::{MerkleTree, root_of},
};
use forecastle_fuzz::seeds;
use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};

/// What is done to an honest proof.
#[derive(Clone, Copy)]
enum Change {
    Flip(usize, u8),
    Drop(usize),
    Repeat(usize),
    Swap(usize, usize),
    Append(u8),
    Sizes(u64, u64),
}

impl Change {
    fn of(input: &mut Unstructured<'_>) -> Result<Self> {
        Ok(match input.int_in_range(0..=5u8)? {
            0 => Self::Flip(input.arbitrary()?, input.arbitrary()?),
            1 => Self::Drop(input.arbitrary()?),
            2 => Self::Repeat(input.arbitrary()?),
            3 => Self::Swap(input.arbitrary()?, input.arbitrary()?),
            4 => Self::Append(input.arbitrary()?),
            _ => Self::Sizes(input.arbitrary()?, input.arbitrary()?),
        })
    }

    fn apply(self, path: &mut Vec<Sha256Digest>, sizes: [&mut u64; 2]) {
        let length = path.len();
        match self {
            Self::Append(byte) => path.push(sha256(&[byte])),
            Self::Sizes(first, second) => [*sizes[0], *sizes[1]] = [first, second],
            _ if length == 0 => {}
            Self::Flip(at, bit) => path[at % length].0[usize::from(bit) / 8] ^= 1 << (bit % 8),
            Self::Drop(at) => _ = path.remove(at % length),
            Self::Repeat(at) => path.insert(at % length, path[at % length]),
            Self::Swap(a, b) => path.swap(a % length, b % length),
        }
    }
}

fn run(data: &[u8]) -> Result<()> {
    let mut input = Unstructured::new(data);
    let size = input.int_in_range(1..=80u64)?;
    let leaves: Vec<Sha256Digest> = (0..size).map(|leaf| sha256(&leaf.to_be_bytes())).collect();
    let tree = MerkleTree::from_leaf_hashes(leaves.iter().copied());
    assert_eq!(tree.root(), root_of(&leaves));
    let (index, old) = (input.int_in_range(0..=size - 1)?, input.int_in_range(0..=size)?);
    let (mut inclusion, mut consistency) = (
        tree.inclusion_proof(index, size).expect("a leaf of it"),
        tree.consistency_proof(old, size).expect("a size of it"),
    );
    let (honest_inclusion, honest_consistency) = (inclusion.clone(), consistency.clone());
    let (root, old_root) = (tree.root(), tree.root_at(old).expect("a size of it"));
    assert!(inclusion.verify(&leaves[index as usize], &root).is_ok() && consistency.verify(&old_root, &root).is_ok());
    for _ in 0..input.int_in_range(0..=4u8)? {
        let change = Change::of(&mut input)?;
        change.apply(&mut inclusion.path, [&mut inclusion.index, &mut inclusion.size]);
        change.apply(&mut consistency.path, [&mut consistency.old_size, &mut consistency.new_size]);
    }
    // A proof of another size is a proof about another tree: whoever asks compares the sizes first.
    if inclusion.size == size && inclusion.index == index {
        assert_eq!(inclusion.verify(&leaves[index as usize], &root).is_ok(), inclusion == honest_inclusion);
    }
    if (consistency.old_size, consistency.new_size) == (old, size) {
        assert_eq!(consistency.verify(&old_root, &root).is_ok(), consistency == honest_consistency);
    }
    // With whatever sizes: no panic, and never for a leaf that is not there.
    assert!(inclusion.verify(&sha256(b"no such leaf"), &root).is_err());
    _ = consistency.verify(&old_root, &root);
    Ok(())
}

fuzz_target!(
    init: seeds("proof", || vec![vec![1; 40], (0..120).collect::<Vec<u8>>(), vec![0xff; 64]]),
    |data: &[u8]| {
        _ = run(data);
    }
);
