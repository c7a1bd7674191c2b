//! The log as files: C2SP tlog-tiles (c2sp.org/tlog-tiles), height 8.
//!
//! ```text
//! tile/0/000             leaf hashes 0 to 255                 tile/entries/000       their entries
//! tile/0/001.p/44        leaf hashes 256 to 299, so far       tile/entries/001.p/44  their entries
//! tile/1/000.p/1         the root over tile/0/000
//! ```
//!
//! A tile is up to 256 digests of one height, side by side; the one at level *l* + 1 holds the roots of the full tiles
//! at level *l*. Entries come in bundles of the same width, each entry behind its length, a big-endian `u16`.
//!
//! The invariant: names and bytes follow from the log's size and entries alone, so two exports of a log agree wherever
//! both have a full tile, and any web server can publish the folder.
//!
//! Left out on purpose: reading and writing files, pruning, and compression.

use super::{
    entry::ENTRY_BYTES_MAX,
    merkle::{MerkleTree, leaf_hash},
};
use crate::identity::Sha256Digest;

/// Entries of a full tile.
pub const TILE_WIDTH: u16 = 256;
/// log₂ of [`TILE_WIDTH`].
const TILE_HEIGHT: u32 = 8;
/// The largest bundle, in bytes.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH as usize * (2 + ENTRY_BYTES_MAX);
/// The largest tile of digests, in bytes.
pub const TILE_BYTES_MAX: usize = TILE_WIDTH as usize * 32;

// A bundle's lengths are 16 bits wide: no entry may need more.
const _: () = assert!(ENTRY_BYTES_MAX <= u16::MAX as usize);

/// Which tile: level, place in the level, and number of digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    level: u8,
    index: u64,
    /// 1 to 256.
    width: u16,
}

/// A tile or bundle that does not hold what its name says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TileError {
    /// Too short or too long.
    #[error("{path} has {found} bytes, {expected} digests need {}", 32 * expected)]
    Length {
        /// Its name.
        path: String,
        /// Digests that the name promises.
        expected: u16,
        /// Bytes found.
        found: usize,
    },
    /// A bundle that ends in the middle of an entry.
    #[error("{path} ends in the middle of entry {entry}")]
    Torn {
        /// Its name.
        path: String,
        /// The entry's index in the log.
        entry: u64,
    },
    /// A bundle that goes on after its last entry.
    #[error("{path} goes on after its last entry, {entry}")]
    Overlong {
        /// Its name.
        path: String,
        /// The last entry's index in the log.
        entry: u64,
    },
}

impl Tile {
    /// The tiles of digests that a log of `size` entries consists of, by level and place.
    pub fn of_size(size: u64) -> impl Iterator<Item = Self> {
        (0u8..).map(move |level| (level, digests_at(size, level))).take_while(|&(_, digests)| digests > 0).flat_map(
            |(level, digests)| {
                let (full, rest) = (digests >> TILE_HEIGHT, (digests % u64::from(TILE_WIDTH)) as u16);
                let whole = (0..full).map(move |index| Self { level, index, width: TILE_WIDTH });
                whole.chain((rest > 0).then_some(Self { level, index: full, width: rest }))
            },
        )
    }

    /// The last tile of a level in a log of `size` entries; `None` where the level is empty.
    pub fn of_size_at(size: u64, level: u8) -> Option<Self> {
        let last = digests_at(size, level).checked_sub(1)?;
        let width = (last % u64::from(TILE_WIDTH)) as u16 + 1;
        Some(Self { level, index: last >> TILE_HEIGHT, width })
    }

    /// The tiles of leaf hashes alone; each has a bundle of entries beside it.
    pub fn bundles_of_size(size: u64) -> impl Iterator<Item = Self> {
        Self::of_size(size).take_while(|tile| tile.level == 0)
    }

    /// Its level, 0 for leaf hashes.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// Its place in the level.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its number of digests, 1 to 256.
    pub fn width(&self) -> u16 {
        self.width
    }

    /// The first leaf below it.
    pub fn first_leaf(&self) -> u64 {
        // At level 7, the highest there can be, the only tile is the first.
        self.index.checked_shl(TILE_HEIGHT * (u32::from(self.level) + 1)).unwrap_or(0)
    }

    /// Where its digests lie, relative to the log: `tile/<level>/<index>[.p/<width>]`.
    pub fn path(&self) -> String {
        format!("tile/{}/{}", self.level, self.place())
    }

    /// Where its entries lie, for a tile of leaf hashes: `tile/entries/<index>[.p/<width>]`.
    pub fn entries_path(&self) -> String {
        format!("tile/entries/{}", self.place())
    }

    /// The index in groups of three digits, all but the last marked, and the width of a partial tile.
    fn place(&self) -> String {
        let mut place = format!("{:03}", self.index % 1000);
        let mut rest = self.index / 1000;
        while rest > 0 {
            place = format!("x{:03}/{place}", rest % 1000);
            rest /= 1000;
        }
        if self.width < TILE_WIDTH {
            place.push_str(&format!(".p/{}", self.width));
        }
        place
    }

    /// Its content in a tree that is large enough; `None` where the tree is not.
    pub fn bytes(&self, tree: &MerkleTree) -> Option<Vec<u8>> {
        let start = usize::try_from(self.index << TILE_HEIGHT).ok()?;
        let digests = tree.row(TILE_HEIGHT * u32::from(self.level)).get(start..start + usize::from(self.width))?;
        Some(digests.iter().flat_map(|digest| digest.0).collect())
    }

    /// Reads its digests.
    ///
    /// # Errors
    /// [`TileError::Length`].
    pub fn parse(&self, bytes: &[u8]) -> Result<Vec<Sha256Digest>, TileError> {
        let (digests, rest) = bytes.as_chunks::<32>();
        if !rest.is_empty() || digests.len() != usize::from(self.width) {
            return Err(TileError::Length { path: self.path(), expected: self.width, found: bytes.len() });
        }
        Ok(digests.iter().map(|digest| Sha256Digest(*digest)).collect())
    }

    /// The bundle of `leaves`, the entries that belong to this tile of leaf hashes.
    ///
    /// # Panics
    /// Where an entry is longer than [`ENTRY_BYTES_MAX`], which no log accepts.
    pub fn bundle<L: AsRef<[u8]>>(leaves: &[L]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(leaves.iter().map(|leaf| leaf.as_ref().len() + 2).sum());
        for leaf in leaves {
            let length = u16::try_from(leaf.as_ref().len()).expect("no entry is longer than ENTRY_BYTES_MAX");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(leaf.as_ref());
        }
        bytes
    }

    /// Reads the entries of its bundle.
    ///
    /// # Errors
    /// [`TileError::Torn`], [`TileError::Overlong`].
    pub fn parse_bundle(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>, TileError> {
        let mut rest = bytes;
        let mut leaves = Vec::with_capacity(usize::from(self.width));
        for offset in 0..u64::from(self.width) {
            let torn = || TileError::Torn { path: self.entries_path(), entry: self.first_leaf() + offset };
            let (length, following) = rest.split_first_chunk().ok_or_else(torn)?;
            let (leaf, following) =
                following.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(torn)?;
            leaves.push(leaf.to_vec());
            rest = following;
        }
        if !rest.is_empty() {
            let last = self.first_leaf() + u64::from(self.width) - 1;
            return Err(TileError::Overlong { path: self.entries_path(), entry: last });
        }
        Ok(leaves)
    }
}

/// Complete subtrees of height 8·`level` in a log of `size` entries.
fn digests_at(size: u64, level: u8) -> u64 {
    size.checked_shr(TILE_HEIGHT * u32::from(level)).unwrap_or(0)
}

/// All files of a log: relative path and content, tiles first. `leaves` are the exact entries, in order.
///
/// # Panics
/// Where an entry is longer than [`ENTRY_BYTES_MAX`], which no log accepts.
pub fn files<L: AsRef<[u8]>>(leaves: &[L]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let tree = MerkleTree::from_leaf_hashes(leaves.iter().map(|leaf| leaf_hash(leaf.as_ref())));
    let size = leaves.len() as u64;
    let tiles = Tile::of_size(size).map(move |tile| (tile.path(), tile.bytes(&tree).expect("the tree has this size")));
    let bundles = Tile::bundles_of_size(size).map(move |tile| {
        let first = tile.first_leaf() as usize;
        (tile.entries_path(), Tile::bundle(&leaves[first..first + usize::from(tile.width)]))
    });
    tiles.chain(bundles)
}

/// The entries of a log of `size`, from its bundles; `read` gives the content of a path.
///
/// # Errors
/// Those of `read`, and [`TileError`] where a bundle is not one.
pub fn read_leaves<E: From<TileError>>(
    size: u64,
    mut read: impl FnMut(&str) -> Result<Vec<u8>, E>,
) -> Result<Vec<Vec<u8>>, E> {
    let mut leaves = Vec::new();
    for tile in Tile::bundles_of_size(size) {
        leaves.extend(tile.parse_bundle(&read(&tile.entries_path())?)?);
    }
    Ok(leaves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_specifications_example_tree_has_its_tiles() {
        let mut counts = [[0; 2]; 3];
        let mut partial = Vec::new();
        for tile in Tile::of_size(70_000) {
            counts[usize::from(tile.level)][usize::from(tile.width < TILE_WIDTH)] += 1;
            partial.extend((tile.width < TILE_WIDTH).then_some(tile.path()));
        }
        assert_eq!(counts, [[273, 1], [1, 1], [0, 1]]);
        assert_eq!(partial, ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]);
        let paths: Vec<_> = Tile::of_size(256).map(|tile| tile.path()).collect();
        assert_eq!(paths, ["tile/0/000", "tile/1/000.p/1"]);
        assert_eq!(Tile::of_size(0).count(), 0);
        let far = Tile { level: 0, index: 1_234_067, width: 256 };
        assert_eq!(
            (far.path().as_str(), far.entries_path().as_str()),
            ("tile/0/x001/x234/067", "tile/entries/x001/x234/067")
        );
        // The largest log there can be has eight levels.
        let highest = digests_at(u64::MAX, 7);
        assert_eq!((highest, digests_at(u64::MAX, 8)), (255, 0));
        let topmost = Tile::of_size_at(u64::MAX, 7).expect("a tile");
        assert_eq!((topmost.path().as_str(), topmost.first_leaf()), ("tile/7/000.p/255", 0));
    }

    #[test]
    fn a_log_is_read_back_from_its_files_and_every_torn_bundle_is_named() {
        let leaves: Vec<Vec<u8>> = (0..300u16).map(|i| vec![i as u8; usize::from(i) % 7]).collect();
        let files: std::collections::HashMap<_, _> = files(&leaves).collect();
        assert_eq!(files.len(), 5);
        let read = |path: &str| Ok::<_, TileError>(files[path].clone());
        assert_eq!(read_leaves(300, read), Ok(leaves.clone()));
        let tile = Tile::bundles_of_size(300).last().expect("a second tile");
        let bytes = &files["tile/entries/001.p/44"];
        let torn = tile.parse_bundle(&bytes[..bytes.len() - 1]).expect_err("torn");
        assert_eq!(torn, TileError::Torn { path: "tile/entries/001.p/44".into(), entry: 299 });
        let overlong = tile.parse_bundle(&[bytes.as_slice(), &[0]].concat()).expect_err("overlong");
        assert_eq!(overlong, TileError::Overlong { path: "tile/entries/001.p/44".into(), entry: 299 });
        assert!(matches!(tile.parse_bundle(&[]), Err(TileError::Torn { entry: 256, .. })));
        let digests = &files["tile/0/001.p/44"];
        assert_eq!(tile.parse(digests).expect("whole")[0], leaf_hash(&leaves[256]));
        assert!(matches!(tile.parse(&digests[1..]), Err(TileError::Length { expected: 44, found: 1407, .. })));
        assert!(tile.parse(&digests[32..]).is_err());
    }
}
