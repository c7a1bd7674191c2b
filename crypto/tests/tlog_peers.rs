//! The log's tree, files and signatures held against other people's libraries: `ct-merkle`, `tlog_tiles` and
//! `signed_note`. What they make is accepted here, what is made here is accepted by them, and both are the same bytes.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::{cell::RefCell, collections::HashMap};

use data_encoding::BASE64;
use forecastle_crypto::{
    identity::{Sha256Digest, SigningKey},
    ledger::{
        checkpoint::{Checkpoint, SignedCheckpoint},
        merkle::{ConsistencyProof, InclusionProof, MerkleTree, leaf_hash},
        note::{SignatureType, VerifierKey},
        tiles::{self, Tile},
        witness,
    },
};
use proptest::prelude::*;
use signed_note::{Note, Signer as _, StandardSigner, StandardVerifier, Verifier, VerifierList};
use tlog_tiles::{Hash, HashReader, TileHashReader, TileReader};

type PeerTree = ct_merkle::mem_backed_tree::MemoryBackedTree<sha2::Sha256, Vec<u8>>;

/// Entries that differ, some of them empty.
fn entries(count: u64, seed: u64) -> Vec<Vec<u8>> {
    (0..count).map(|i| (i * i + seed).to_be_bytes()[..(i % 9) as usize].to_vec()).collect()
}

fn own_tree(entries: &[Vec<u8>]) -> MerkleTree {
    MerkleTree::from_leaf_hashes(entries.iter().map(|entry| leaf_hash(entry)))
}

fn peer_root(tree: &PeerTree) -> Sha256Digest {
    Sha256Digest(tree.root().as_bytes().as_slice().try_into().unwrap())
}

fn joined(path: &[Sha256Digest]) -> Vec<u8> {
    path.iter().flat_map(|digest| digest.0).collect()
}

/// What `tlog_tiles` keeps of a tree.
struct Stored(Vec<Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|&index| self.0[index as usize]).collect())
    }
}

fn stored(entries: &[Vec<u8>]) -> Stored {
    let mut kept = Stored(Vec::new());
    for (index, entry) in (0..).zip(entries) {
        let more = tlog_tiles::stored_hashes(index, entry, &kept).unwrap();
        kept.0.extend(more);
    }
    kept
}

/// Our files, read by `tlog_tiles`, whose paths name the height.
struct OurFiles {
    files: HashMap<String, Vec<u8>>,
    authenticated: RefCell<usize>,
}

impl TileReader for OurFiles {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[tlog_tiles::Tile]) -> Result<Vec<Vec<u8>>, tlog_tiles::Error> {
        Ok(tiles.iter().map(|tile| self.files[&c2sp_path(tile)].clone()).collect())
    }

    fn save_tiles(&self, tiles: &[tlog_tiles::Tile], _: &[Vec<u8>]) {
        *self.authenticated.borrow_mut() += tiles.len();
    }
}

fn c2sp_path(tile: &tlog_tiles::Tile) -> String {
    tile.path().replacen("tile/8/", "tile/", 1)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn roots_and_proofs_are_those_of_ct_merkle(size in 1u64..700, seed: u64, a: prop::sample::Index, b: prop::sample::Index) {
        let entries = entries(size, seed % 1000);
        let ours = own_tree(&entries);
        let mut theirs = PeerTree::new();
        entries.iter().for_each(|entry| theirs.push(entry.clone()));
        prop_assert_eq!(peer_root(&theirs), ours.root());

        let index = a.index(size as usize) as u64;
        let (own, peer) = (ours.inclusion_proof(index, size).unwrap(), theirs.prove_inclusion(index as usize));
        prop_assert_eq!(peer.as_bytes(), joined(&own.path));
        prop_assert!(own.verify(&leaf_hash(&entries[index as usize]), &ours.root()).is_ok());
        prop_assert!(theirs.root().verify_inclusion(&entries[index as usize], index, &peer).is_ok());

        let old = b.index(size as usize) as u64 + 1;
        let own = ours.consistency_proof(old, size).unwrap();
        if old < size {
            let peer = theirs.prove_consistency((size - old) as usize);
            prop_assert_eq!(peer.as_bytes(), joined(&own.path));
            let mut before = PeerTree::new();
            entries[..old as usize].iter().for_each(|entry| before.push(entry.clone()));
            prop_assert_eq!(peer_root(&before), ours.root_at(old).unwrap());
            prop_assert!(theirs.root().verify_consistency(&before.root(), &peer).is_ok());
        }
        prop_assert!(own.verify(&ours.root_at(old).unwrap(), &ours.root()).is_ok());
    }

    #[test]
    fn proofs_are_accepted_and_refused_as_by_tlog_tiles(
        size in 2u64..600, seed: u64, a: prop::sample::Index, b: prop::sample::Index, bit in 0usize..256,
    ) {
        let entries = entries(size, seed % 1000);
        let (ours, theirs) = (own_tree(&entries), stored(&entries));
        let root = ours.root();
        prop_assert_eq!(tlog_tiles::tree_hash(size, &theirs).unwrap().0, root.0);
        let (index, old) = (a.index(size as usize) as u64, b.index(size as usize - 1) as u64 + 1);
        let leaf = leaf_hash(&entries[index as usize]);
        let path: Vec<_> = tlog_tiles::prove_record(size, index, &theirs).unwrap().iter().map(|h| Sha256Digest(h.0)).collect();
        prop_assert_eq!(&path, &ours.inclusion_proof(index, size).unwrap().path);
        let grown: Vec<_> = tlog_tiles::prove_tree(size, old, &theirs).unwrap().iter().map(|h| Sha256Digest(h.0)).collect();
        prop_assert_eq!(&grown, &ours.consistency_proof(old, size).unwrap().path);

        // The same verdict on a proof with one bit turned over, or one digest more or less.
        let flipped = |path: &[Sha256Digest]| {
            let mut path = path.to_vec();
            if let Some(digest) = path.first_mut() {
                digest.0[bit / 8] ^= 1 << (bit % 8);
            }
            path
        };
        let hashes = |path: &[Sha256Digest]| path.iter().map(|d| Hash(d.0)).collect::<Vec<_>>();
        for path in [path.clone(), flipped(&path), [path.as_slice(), &[leaf]].concat(), path[1..].to_vec()] {
            let own = InclusionProof { index, size, path: path.clone() }.verify(&leaf, &root).is_ok();
            let peer = tlog_tiles::check_record(&hashes(&path), size, Hash(root.0), index, Hash(leaf.0)).is_ok();
            prop_assert_eq!(own, peer);
        }
        let before = ours.root_at(old).unwrap();
        for path in [grown.clone(), flipped(&grown), [grown.as_slice(), &[leaf]].concat(), grown[1..].to_vec()] {
            let own = ConsistencyProof { old_size: old, new_size: size, path: path.clone() }.verify(&before, &root).is_ok();
            let peer = tlog_tiles::check_tree(&hashes(&path), size, Hash(root.0), old, Hash(before.0)).is_ok();
            prop_assert_eq!(own, peer);
        }
    }

    #[test]
    fn tile_names_and_bytes_are_those_of_tlog_tiles(size in 1u64..1500, seed: u64, a: prop::sample::Index) {
        let entries = entries(size, seed % 1000);
        let theirs = stored(&entries);
        let files: HashMap<String, Vec<u8>> = tiles::files(&entries).collect();
        let listed = tlog_tiles::Tile::new_tiles(8, 0, size);
        let mut names: Vec<_> = listed.iter().map(c2sp_path).collect();
        for tile in &listed {
            prop_assert_eq!(&files[&c2sp_path(tile)], &tile.read_data(&theirs).unwrap());
        }
        let mut own: Vec<_> = Tile::of_size(size).map(|tile| tile.path()).collect();
        names.sort();
        own.sort();
        prop_assert_eq!(names, own);

        // Their client proves an entry from our files, which it authenticates against the root first.
        let (index, root) = (a.index(size as usize) as u64, own_tree(&entries).root());
        let reader = OurFiles { files, authenticated: RefCell::new(0) };
        let proof = tlog_tiles::prove_record(size, index, &TileHashReader::new(size, Hash(root.0), &reader)).unwrap();
        prop_assert!(size == 1 || *reader.authenticated.borrow() > 0);
        let leaf = leaf_hash(&entries[index as usize]);
        let path = proof.iter().map(|h| Sha256Digest(h.0)).collect();
        prop_assert_eq!(InclusionProof { index, size, path }.verify(&leaf, &root), Ok(()));
    }

    #[test]
    fn distant_tiles_have_the_names_that_tlog_tiles_gives(size in 1u64..(1 << 50)) {
        for level in 0..7 {
            let last = Tile::of_size_at(size, level);
            let digests = size >> (8 * level);
            prop_assert_eq!(last.is_some(), digests > 0);
            if let Some(tile) = last {
                let peer = tlog_tiles::Tile::new(8, level, tile.index(), tile.width().into(), false);
                prop_assert_eq!(tile.path(), c2sp_path(&peer));
                prop_assert_eq!(tile.index() * 256 + u64::from(tile.width()), digests);
            }
        }
    }

    #[test]
    fn notes_are_signed_and_verified_as_by_signed_note(seed: [u8; 32], size in 0u64..40, other: [u8; 32]) {
        prop_assume!(seed != other);
        const NAME: &str = "market.example/log";
        let key = SigningKey::danger_from_seed(&seed).unwrap();
        let verifier = VerifierKey::new(NAME, SignatureType::Ed25519, key.verifying_key()).unwrap();
        let peer_verifier = StandardVerifier::new(&verifier.to_string()).unwrap();
        prop_assert_eq!(peer_verifier.key_id().to_be_bytes(), verifier.id());
        let secret = BASE64.encode(&[&[1], seed.as_slice()].concat());
        let skey = format!("PRIVATE+KEY+{NAME}+{:08x}+{secret}", peer_verifier.key_id());
        let peer_signer = StandardSigner::new(&skey).unwrap();

        let checkpoint = Checkpoint::of(NAME, &own_tree(&entries(size, 0)));
        let ours = checkpoint.clone().sign(NAME, &key).unwrap();
        let mut theirs = Note::new(checkpoint.body().as_bytes(), &[]).unwrap();
        theirs.add_sigs(&[&peer_signer]).unwrap();
        prop_assert_eq!(String::from_utf8(theirs.to_bytes()).unwrap(), ours.to_string());

        let note = Note::from_bytes(ours.to_string().as_bytes()).unwrap();
        let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(peer_verifier)])).unwrap();
        prop_assert_eq!((verified.len(), unknown.len()), (1, 0));
        let parsed = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
        prop_assert_eq!((parsed.origin(), parsed.size(), parsed.hash().0), (NAME, size, checkpoint.root.0));
        // Another key under the same name is unknown to them and to us.
        let stranger = VerifierKey::new(NAME, SignatureType::Ed25519, SigningKey::danger_from_seed(&other).unwrap().verifying_key()).unwrap();
        let list = VerifierList::new(vec![Box::new(StandardVerifier::new(&stranger.to_string()).unwrap())]);
        prop_assert!(note.verify(&list).is_err());
        prop_assert!(ours.verify(NAME, stranger.key()).is_err());
        prop_assert_eq!(peer_signer.name(), NAME);
    }

    #[test]
    fn cosignatures_verify_under_signed_note(seed: [u8; 32], time in 0u64..(1 << 62), size in 0u64..40) {
        const LOG: &str = "market.example/log";
        const WITNESS: &str = "witness.example/w1";
        let key = SigningKey::danger_from_seed(&seed).unwrap();
        let log = SigningKey::danger_from_seed(&[1; 32]).unwrap();
        let checkpoint = Checkpoint::of(LOG, &own_tree(&entries(size, 0)));
        let mut signed = checkpoint.clone().sign(LOG, &log).unwrap();
        signed.add(witness::cosign(&checkpoint, WITNESS, &key, time).unwrap());

        let cosigner = Cosigner(VerifierKey::new(WITNESS, SignatureType::CosignatureV1, key.verifying_key()).unwrap());
        let log_key = VerifierKey::new(LOG, SignatureType::Ed25519, log.verifying_key()).unwrap();
        let log_verifier = StandardVerifier::new(&log_key.to_string()).unwrap();
        let known = VerifierList::new(vec![Box::new(cosigner.clone()), Box::new(log_verifier)]);
        let note = Note::from_bytes(signed.to_string().as_bytes()).unwrap();
        prop_assert_eq!(note.verify(&known).unwrap().0.len(), 2);
        let read = SignedCheckpoint::parse(std::str::from_utf8(&note.to_bytes()).unwrap()).unwrap();
        prop_assert_eq!(witness::cosigned_at(&read, &cosigner.0), Ok(time));
        prop_assert!(cosigner.verify(checkpoint.body().as_bytes(), &signed.signatures()[1].bytes));
        let larger = Checkpoint { size: size + 1, ..checkpoint };
        prop_assert!(!cosigner.verify(larger.body().as_bytes(), &signed.signatures()[1].bytes));
    }
}

/// c2sp.org/tlog-cosignature written down once more, on the other library's signatures.
#[derive(Clone)]
struct Cosigner(VerifierKey);

impl Verifier for Cosigner {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn key_id(&self) -> u32 {
        signed_note::key_id(self.0.name(), &[&[4], self.0.key().0.as_slice()].concat())
    }

    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Some((time, signature)) = signature.split_first_chunk::<8>() else { return false };
        let header = format!("cosignature/v1\ntime {}\n", u64::from_be_bytes(*time));
        let plain = VerifierKey::new("plain", SignatureType::Ed25519, *self.0.key()).unwrap();
        StandardVerifier::new(&plain.to_string())
            .is_ok_and(|verifier| verifier.verify(&[header.as_bytes(), text].concat(), signature))
    }
}
