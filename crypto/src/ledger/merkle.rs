//! Append-only Merkle trees after RFC 9162 (Certificate Transparency 2.0, §2.1), over SHA-256.
//!
//! The invariant: a root commits to the number of leaves and to each of them in order; what a verifier accepts was
//! computed from nothing but digests, so proofs from anywhere may be checked. A leaf is hashed as SHA-256(0x00 ‖ leaf), a
//! node as SHA-256(0x01 ‖ left ‖ right), which keeps leaves and nodes apart.
//!
//! Left out on purpose: storage ([`super::tiles`] gives the files' names and bytes). The tree keeps every complete
//! subtree's digest in memory, 64 bytes per leaf.

use serde::{Deserialize, Serialize};

use crate::identity::{Sha256Digest, Sha256Stream, sha256};

/// The hash of a leaf whose content is `entry`.
pub fn leaf_hash(entry: &[u8]) -> Sha256Digest {
    let mut stream = Sha256Stream::new();
    stream.update(&[0]);
    stream.update(entry);
    stream.finish()
}

/// The hash of an inner node.
pub fn node_hash(left: &Sha256Digest, right: &Sha256Digest) -> Sha256Digest {
    let mut stream = Sha256Stream::new();
    stream.update(&[1]);
    stream.update(&left.0);
    stream.update(&right.0);
    stream.finish()
}

/// The root over leaf hashes; SHA-256 of nothing when there are none.
pub fn root_of(leaves: &[Sha256Digest]) -> Sha256Digest {
    match leaves {
        [] => sha256(b""),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len() as u64) as usize);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The largest power of two below `size`, which is at least 2.
fn split(size: u64) -> u64 {
    1 << (63 - (size - 1).leading_zeros())
}

/// Why a proof cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// No such leaf in a tree of that size.
    #[error("entry {index} is not in a tree of {size} entries")]
    NoSuchLeaf {
        /// The leaf asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The tree never had that size.
    #[error("the log holds {size} entries and cannot prove anything about {asked}")]
    NoSuchSize {
        /// The size asked for.
        asked: u64,
        /// The tree's size.
        size: u64,
    },
    /// A later tree cannot be smaller.
    #[error("a tree of {new} entries cannot extend one of {old}")]
    Backwards {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
}

/// A proof that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefused {
    /// Too few or too many digests, or sizes that contradict each other.
    #[error("the proof has a shape that no tree of these sizes gives")]
    Shape,
    /// The digests lead to another root.
    #[error("the proof leads to another root: the log was changed, or the proof belongs to another log")]
    Root,
}

/// A growing list of leaves.
#[derive(Debug, Clone, Default)]
pub struct MerkleTree {
    /// `levels[k][i]` is the root of the complete subtree over leaves i·2^k .. (i+1)·2^k.
    levels: Vec<Vec<Sha256Digest>>,
}

impl MerkleTree {
    /// A tree without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree over leaf hashes.
    pub fn from_leaf_hashes(leaves: impl IntoIterator<Item = Sha256Digest>) -> Self {
        let mut tree = Self::new();
        for leaf in leaves {
            tree.append_leaf_hash(leaf);
        }
        tree
    }

    /// Appends an entry and returns its index.
    pub fn append(&mut self, entry: &[u8]) -> u64 {
        self.append_leaf_hash(leaf_hash(entry))
    }

    /// Appends a leaf by its hash and returns its index.
    pub fn append_leaf_hash(&mut self, leaf: Sha256Digest) -> u64 {
        let index = self.size();
        let mut digest = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let row = &mut self.levels[level];
            row.push(digest);
            if row.len() % 2 == 1 {
                break;
            }
            digest = node_hash(&row[row.len() - 2], &row[row.len() - 1]);
        }
        index
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.levels.first().map_or(0, |leaves| leaves.len() as u64)
    }

    /// The leaf hashes, in order.
    pub fn leaves(&self) -> &[Sha256Digest] {
        self.row(0)
    }

    /// The roots of the complete subtrees of height `level`, in order.
    pub(crate) fn row(&self, level: u32) -> &[Sha256Digest] {
        self.levels.get(level as usize).map_or(&[], Vec::as_slice)
    }

    /// The root over all leaves.
    pub fn root(&self) -> Sha256Digest {
        self.subtree(0, self.size())
    }

    /// The root over the first `size` leaves.
    ///
    /// # Errors
    /// [`ProofError::NoSuchSize`] beyond the tree.
    pub fn root_at(&self, size: u64) -> Result<Sha256Digest, ProofError> {
        self.check_size(size)?;
        Ok(self.subtree(0, size))
    }

    /// The root over leaves `start..end`, where `start` is a multiple of the power of two that covers the range.
    fn subtree(&self, start: u64, end: u64) -> Sha256Digest {
        let length = end - start;
        if length == 0 {
            return sha256(b"");
        }
        if length.is_power_of_two() {
            let level = length.trailing_zeros();
            return self.levels[level as usize][(start >> level) as usize];
        }
        let middle = start + split(length);
        node_hash(&self.subtree(start, middle), &self.subtree(middle, end))
    }

    fn check_size(&self, asked: u64) -> Result<(), ProofError> {
        if asked > self.size() { Err(ProofError::NoSuchSize { asked, size: self.size() }) } else { Ok(()) }
    }

    /// Proof that leaf `index` is in the tree of the first `size` leaves (RFC 9162 §2.1.3.1).
    ///
    /// # Errors
    /// [`ProofError`] when there is no such leaf or size.
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<InclusionProof, ProofError> {
        self.check_size(size)?;
        if index >= size {
            return Err(ProofError::NoSuchLeaf { index, size });
        }
        let (mut start, mut end) = (0, size);
        let mut path = Vec::new();
        while end - start > 1 {
            let middle = start + split(end - start);
            if index < middle {
                path.push(self.subtree(middle, end));
                end = middle;
            } else {
                path.push(self.subtree(start, middle));
                start = middle;
            }
        }
        path.reverse();
        Ok(InclusionProof { index, size, path })
    }

    /// Proof that the tree of `new` leaves extends that of `old` (RFC 9162 §2.1.4.1).
    ///
    /// # Errors
    /// [`ProofError`] when a size is beyond the tree, or `new` < `old`.
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<ConsistencyProof, ProofError> {
        self.check_size(new)?;
        if new < old {
            return Err(ProofError::Backwards { old, new });
        }
        let mut path = Vec::new();
        if old > 0 && old < new {
            let (mut start, mut end) = (0, new);
            // `known`: the subtree in hand is the old tree itself, whose root the verifier has.
            let mut known = true;
            while old != end {
                let middle = start + split(end - start);
                if old <= middle {
                    path.push(self.subtree(middle, end));
                    end = middle;
                } else {
                    path.push(self.subtree(start, middle));
                    start = middle;
                    known = false;
                }
            }
            if !known {
                path.push(self.subtree(start, end));
            }
            path.reverse();
        }
        Ok(ConsistencyProof { old_size: old, new_size: new, path })
    }
}

/// Proof that an entry is at a place of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InclusionProof {
    /// The entry's index, from 0.
    pub index: u64,
    /// The size of the tree that the proof is about.
    pub size: u64,
    /// Sibling digests, from the leaf upwards; at most 64.
    pub path: Vec<Sha256Digest>,
}

impl InclusionProof {
    /// Checks that `leaf` is entry `index` of the tree of `size` entries with this `root` (RFC 9162 §2.1.3.2). Where
    /// `size` and `root` come from a checkpoint, the caller compares the checkpoint's size with the proof's.
    ///
    /// # Errors
    /// [`ProofRefused`].
    pub fn verify(&self, leaf: &Sha256Digest, root: &Sha256Digest) -> Result<(), ProofRefused> {
        if self.index >= self.size {
            return Err(ProofRefused::Shape);
        }
        let (mut place, mut last) = (self.index, self.size - 1);
        let mut digest = *leaf;
        for sibling in &self.path {
            if last == 0 {
                return Err(ProofRefused::Shape);
            }
            if place & 1 == 1 || place == last {
                digest = node_hash(sibling, &digest);
                while place & 1 == 0 && place != 0 {
                    place >>= 1;
                    last >>= 1;
                }
            } else {
                digest = node_hash(&digest, sibling);
            }
            place >>= 1;
            last >>= 1;
        }
        match last {
            0 if digest == *root => Ok(()),
            0 => Err(ProofRefused::Root),
            _ => Err(ProofRefused::Shape),
        }
    }
}

/// Proof that a log only grew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsistencyProof {
    /// The earlier size.
    pub old_size: u64,
    /// The later size.
    pub new_size: u64,
    /// Digests from which both roots follow; empty when a size is 0 or both are equal.
    pub path: Vec<Sha256Digest>,
}

impl ConsistencyProof {
    /// Checks that the tree with `new_root` begins with the tree that has `old_root` (RFC 9162 §2.1.4.2).
    ///
    /// # Errors
    /// [`ProofRefused`].
    pub fn verify(&self, old_root: &Sha256Digest, new_root: &Sha256Digest) -> Result<(), ProofRefused> {
        let (old, new) = (self.old_size, self.new_size);
        if old > new {
            return Err(ProofRefused::Shape);
        }
        if old == new || old == 0 {
            let same = if old == new { old_root == new_root } else { *old_root == sha256(b"") };
            return match (self.path.is_empty(), same) {
                (false, _) => Err(ProofRefused::Shape),
                (true, false) => Err(ProofRefused::Root),
                (true, true) => Ok(()),
            };
        }
        // A complete old tree is its own first digest.
        let mut digests = self.path.iter();
        let first = if old.is_power_of_two() { Some(old_root) } else { digests.next() };
        let first = first.ok_or(ProofRefused::Shape)?;
        let (mut place, mut last) = (old - 1, new - 1);
        while place & 1 == 1 {
            place >>= 1;
            last >>= 1;
        }
        let (mut old_digest, mut new_digest) = (*first, *first);
        for sibling in digests {
            if last == 0 {
                return Err(ProofRefused::Shape);
            }
            if place & 1 == 1 || place == last {
                old_digest = node_hash(sibling, &old_digest);
                new_digest = node_hash(sibling, &new_digest);
                while place & 1 == 0 && place != 0 {
                    place >>= 1;
                    last >>= 1;
                }
            } else {
                new_digest = node_hash(&new_digest, sibling);
            }
            place >>= 1;
            last >>= 1;
        }
        if last != 0 {
            return Err(ProofRefused::Shape);
        }
        if old_digest == *old_root && new_digest == *new_root { Ok(()) } else { Err(ProofRefused::Root) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The eight leaves that Certificate Transparency's reference code tests with.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

    /// Their roots at sizes 1 to 8, from the same place.
    const ROOTS: [&str; 8] = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn known() -> MerkleTree {
        let mut tree = MerkleTree::new();
        for leaf in LEAVES {
            tree.append(&data_encoding::HEXLOWER.decode(leaf.as_bytes()).expect("hex"));
        }
        tree
    }

    fn tree_of(size: u64) -> MerkleTree {
        let mut tree = MerkleTree::new();
        for i in 0..size {
            assert_eq!(tree.append(&i.to_be_bytes()), i);
        }
        tree
    }

    #[test]
    fn roots_match_certificate_transparency() {
        let tree = known();
        assert_eq!(MerkleTree::new().root(), sha256(b""));
        for (size, root) in (1u64..).zip(ROOTS) {
            assert_eq!(tree.root_at(size).expect("in range").to_string(), root, "size {size}");
        }
        assert_eq!(tree.root_at(9), Err(ProofError::NoSuchSize { asked: 9, size: 8 }));
    }

    #[test]
    fn proofs_match_certificate_transparency() {
        let tree = known();
        let hex = |path: &[Sha256Digest]| path.iter().map(|d| d.to_string()).collect::<Vec<_>>();
        assert_eq!(
            hex(&tree.inclusion_proof(5, 8).expect("in range").path),
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
        assert_eq!(
            hex(&tree.consistency_proof(6, 8).expect("in range").path),
            [
                "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    #[test]
    fn every_proof_of_small_trees_verifies_and_only_for_its_own_place() {
        let tree = tree_of(40);
        for size in 0..=40 {
            let root = tree.root_at(size).expect("in range");
            let leaves: Vec<_> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            assert_eq!(root, root_of(&leaves));
            for index in 0..size {
                let proof = tree.inclusion_proof(index, size).expect("in range");
                let leaf = leaf_hash(&index.to_be_bytes());
                assert_eq!(proof.verify(&leaf, &root), Ok(()));
                assert!(proof.verify(&leaf_hash(b"another"), &root).is_err());
                let moved = InclusionProof { index: (index + 1) % size.max(2), ..proof.clone() };
                assert!(size == 1 || moved.verify(&leaf, &root).is_err());
                let longer = InclusionProof { path: [proof.path.as_slice(), &[leaf]].concat(), ..proof };
                assert!(longer.verify(&leaf, &root).is_err());
            }
            for old in 0..=size {
                let old_root = tree.root_at(old).expect("in range");
                let proof = tree.consistency_proof(old, size).expect("in range");
                assert_eq!(proof.verify(&old_root, &root), Ok(()), "{old} to {size}");
                let forged = leaf_hash(b"forged");
                assert!(proof.verify(&forged, &root).is_err());
                // From the empty tree everything is an extension.
                assert!(old == 0 && size > 0 || proof.verify(&old_root, &forged).is_err());
                let longer = ConsistencyProof { path: [proof.path.as_slice(), &[forged]].concat(), ..proof };
                assert!(longer.verify(&old_root, &root).is_err());
            }
        }
        assert_eq!(tree.inclusion_proof(3, 3), Err(ProofError::NoSuchLeaf { index: 3, size: 3 }));
        assert_eq!(tree.consistency_proof(4, 3), Err(ProofError::Backwards { old: 4, new: 3 }));
    }

    proptest! {
        #[test]
        fn a_rewritten_log_cannot_prove_that_it_extends_the_old_one(
            old in 1u64..60, more in 1u64..60, changed in any::<proptest::sample::Index>(),
        ) {
            let honest = tree_of(old);
            let changed = changed.index(old as usize) as u64;
            let mut rewritten = MerkleTree::new();
            for i in 0..old + more {
                rewritten.append(&if i == changed { u64::MAX } else { i }.to_be_bytes());
            }
            let proof = rewritten.consistency_proof(old, old + more).expect("in range");
            prop_assert_eq!(proof.verify(&honest.root(), &rewritten.root()), Err(ProofRefused::Root));
        }
    }
}
