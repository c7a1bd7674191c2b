//! Tiles of digests and bundles of entries.
//!
//! A tile or bundle has one encoding; a log is read back from its files, and every file's name says which part it is.
#![no_main]

use std::collections::HashMap;

use forecastle_crypto::ledger::tiles::{self, Tile, TileError};
use forecastle_fuzz::{bounded, seeds};
use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: seeds("tile", || {
        let log: Vec<&[u8]> = forecastle_fuzz::LOG.lines().take(5).map(str::as_bytes).collect();
        let bundle = Tile::bundle(&log);
        let size = 5u64.to_be_bytes();
        vec![[size.as_slice(), &bundle].concat(), [size.as_slice(), &[7; 160]].concat(), vec![0; 8 + 2 * 300]]
    }),
    |data: &[u8]| {
        let Some((size, bytes)) = data.split_first_chunk::<8>() else { return };
        let size = u64::from_be_bytes(*size);
        for level in 0..9 {
            let Some(tile) = Tile::of_size_at(size, level) else { continue };
            assert!((1..=tiles::TILE_WIDTH).contains(&tile.width()) && tile.level() == level && tile.first_leaf() < size);
            assert!(tile.path().starts_with(&format!("tile/{level}/")));
            if let Ok(digests) = bounded(bytes.len(), 8, || tile.parse(bytes)) {
                assert!(digests.iter().flat_map(|digest| digest.0).eq(bytes.iter().copied()));
            }
        }
        let Some(tile) = Tile::of_size_at(size, 0) else { return };
        // Each entry is a vector of its own.
        let Ok(leaves) = bounded(bytes.len(), 32, || tile.parse_bundle(bytes)) else { return };
        assert!(leaves.len() == usize::from(tile.width()) && Tile::bundle(&leaves) == bytes);

        let files: HashMap<String, Vec<u8>> = tiles::files(&leaves).collect();
        let read = |path: &str| files.get(path).cloned().ok_or(TileError::Overlong { path: path.to_owned(), entry: 0 });
        assert_eq!(tiles::read_leaves(leaves.len() as u64, read), Ok(leaves.clone()));
        let expected = Tile::of_size(leaves.len() as u64).count() + Tile::bundles_of_size(leaves.len() as u64).count();
        assert_eq!(files.len(), expected, "two files of one name");
    }
);
