//! The tree's hashes in the shape of C2SP tlog-tiles: 256 hashes a tile, eight levels of the tree apart.
//!
//! Full tiles are files `tile/<L>/<N>` below the trail's directory, N in groups of three digits (`x001/x234/067`). The
//! partial ones stand in memory and are made again from the entries at start.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keys::digest::node_hash;

use super::TrailError;
use super::merkle::{Frontier, Hash, Nodes};

/// Hashes in a full tile.
pub(crate) const WIDTH: usize = 256;

/// Levels of the tree in a tile.
const HEIGHT: u32 = 8;

/// A tile with all of its hashes.
#[derive(Clone)]
pub(crate) struct FullTile {
    pub(crate) level: u32,
    pub(crate) index: u64,
    pub(crate) hashes: Arc<[Hash]>,
}

impl FullTile {
    /// Writes the tile's file. It need not be durable: what is missing or torn is made again at start.
    pub(crate) fn write(&self, dir: &Path) -> io::Result<()> {
        let path = path(dir, self.level, self.index);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, self.hashes.as_flattened())
    }
}

/// The tree as far as it is held in memory.
#[derive(Clone, Default)]
pub(crate) struct Tree {
    frontier: Frontier,
    /// Per level, the hashes of the tile that is not full yet.
    partial: Vec<Vec<Hash>>,
    /// Full tiles that have no file yet.
    pending: Vec<FullTile>,
}

impl Tree {
    pub(crate) fn frontier(&self) -> &Frontier {
        &self.frontier
    }

    pub(crate) fn push(&mut self, leaf: Hash) {
        let (partial, pending) = (&mut self.partial, &mut self.pending);
        let count = self.frontier.size() + 1;
        self.frontier.push(leaf, |height, hash| {
            if height % HEIGHT != 0 {
                return;
            }
            let level = (height / HEIGHT) as usize;
            if partial.len() <= level {
                partial.push(Vec::with_capacity(WIDTH));
            }
            let tile = &mut partial[level];
            tile.push(*hash);
            if tile.len() == WIDTH {
                let index = (count >> (HEIGHT * (level as u32 + 1))) - 1;
                pending.push(FullTile { level: level as u32, index, hashes: tile.as_slice().into() });
                tile.clear();
            }
        });
    }

    /// Full tiles that wait for their files.
    pub(crate) fn pending(&self) -> &[FullTile] {
        &self.pending
    }

    /// The same tree with these tiles in the place of their files.
    pub(crate) fn with_pending(mut self, tiles: &[FullTile]) -> Self {
        self.pending.extend_from_slice(tiles);
        self
    }

    /// Forgets the first `count` pending tiles, which now have files.
    pub(crate) fn written(&mut self, count: usize) {
        self.pending.drain(..count.min(self.pending.len()));
    }

    /// Takes the pending tiles away.
    pub(crate) fn take_pending(&mut self) -> Vec<FullTile> {
        std::mem::take(&mut self.pending)
    }

    /// The tree of `size` leaves, from the files of full tiles; `None` where one is missing.
    pub(crate) fn restore(dir: &Path, size: u64) -> Option<Self> {
        let mut view = View { dir: dir.to_owned(), size, tree: Self::default(), cache: HashMap::new() };
        let count_at = |level: u32| size.checked_shr(HEIGHT * level).unwrap_or(0);
        for level in (0..).take_while(|level| count_at(*level) > 0) {
            let count = count_at(level);
            let first = count - count % WIDTH as u64;
            let partial = match level {
                _ if first == count => Vec::new(),
                0 => read(dir, 0, first / WIDTH as u64).ok()?.into_iter().take((count - first) as usize).collect(),
                // Each hash of a partial tile is the root of a full tile below it.
                _ => (first..count).map(|index| view.root_of_tile(level - 1, index)).collect::<Result<_, _>>().ok()?,
            };
            view.tree.partial.push(partial);
        }
        let mut peaks = Vec::new();
        let mut start = 0;
        for height in (0..u64::BITS).rev().filter(|height| size >> height & 1 == 1) {
            peaks.push(view.node(height, start >> height).ok()?);
            start += 1 << height;
        }
        Some(Self { frontier: Frontier::of(size, peaks)?, ..view.tree })
    }
}

/// The tree at one moment, with its files: where proofs are made from.
pub(crate) struct View {
    dir: PathBuf,
    size: u64,
    tree: Tree,
    cache: HashMap<(u32, u64), Vec<Hash>>,
}

impl View {
    pub(crate) fn new(dir: &Path, tree: Tree) -> Self {
        Self { dir: dir.to_owned(), size: tree.frontier.size(), tree, cache: HashMap::new() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// The root of a full tile.
    fn root_of_tile(&mut self, level: u32, index: u64) -> Result<Hash, TrailError> {
        Ok(fold(self.tile(level, index, WIDTH)?))
    }

    /// The first `width` hashes of a tile.
    pub(crate) fn tile(&mut self, level: u32, index: u64, width: usize) -> Result<&[Hash], TrailError> {
        let held = self.size.checked_shr(HEIGHT * level).unwrap_or(0);
        let tile = if held / WIDTH as u64 == index && held != 0 {
            self.tree.partial.get(level as usize).map(Vec::as_slice)
        } else if let Some(tile) = self.tree.pending.iter().find(|tile| tile.level == level && tile.index == index) {
            Some(&*tile.hashes)
        } else {
            let read = match self.cache.remove(&(level, index)) {
                Some(read) => read,
                None => read(&self.dir, level, index)?,
            };
            Some(self.cache.entry((level, index)).or_insert(read).as_slice())
        };
        tile.and_then(|tile| tile.get(..width)).ok_or(TrailError::OutOfRange)
    }
}

impl Nodes for View {
    type Error = TrailError;

    fn node(&mut self, height: u32, index: u64) -> Result<Hash, TrailError> {
        let (level, inner) = (height / HEIGHT, height % HEIGHT);
        let first = index << inner;
        let start = (first % WIDTH as u64) as usize;
        Ok(fold(&self.tile(level, first / WIDTH as u64, start + (1 << inner))?[start..]))
    }
}

/// The root over hashes whose number is a power of two.
fn fold(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => [0; 32],
        [hash] => *hash,
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node_hash(&fold(left), &fold(right))
        }
    }
}

/// The file of a full tile.
pub(crate) fn path(dir: &Path, level: u32, index: u64) -> PathBuf {
    let mut groups = vec![format!("{:03}", index % 1000)];
    let mut rest = index / 1000;
    while rest > 0 {
        groups.push(format!("x{:03}", rest % 1000));
        rest /= 1000;
    }
    let mut path = dir.join("tile").join(level.to_string());
    path.extend(groups.iter().rev());
    path
}

/// The hashes of a full tile.
pub(crate) fn read(dir: &Path, level: u32, index: u64) -> Result<Vec<Hash>, TrailError> {
    let bytes = fs::read(path(dir, level, index)).map_err(TrailError::at("read a tile"))?;
    let (hashes, rest) = bytes.as_chunks();
    if rest.is_empty() && hashes.len() == WIDTH { Ok(hashes.to_vec()) } else { Err(TrailError::DamagedTile { level, index }) }
}
