//! Reading segments again at start: frames, entries, tiles and checkpoints against each other.

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::TrailError;
use super::checkpoint::Checkpoint;
use super::codec;
use super::disk::{Disk, SegmentFile};
use super::entry::Note;
use super::merkle::{self, Hash};
use super::open::{LostTail, Notes, TornTail};
use super::segment::{self, HEADER, Header, Step, step};
use super::tiles::{self, FullTile, Tree, View};
use super::trail::STRIDE;

/// What a medium writes whole or not at all.
const SECTOR: usize = 512;

/// Reading segments again.
pub(super) struct Scan<'a> {
    dir: &'a Path,
    pub(super) tree: Tree,
    /// Checkpoints by size, the largest first, that the scan has not reached yet.
    ahead: Vec<&'a Checkpoint>,
    protected: u64,
    /// Largest size at which a checkpoint agreed.
    agreed: u64,
    /// Checkpoints with another root.
    disagreed: Vec<&'a Checkpoint>,
    /// Losses that the trail itself records: entries from the first number up to the second.
    recorded: Vec<(u64, u64)>,
    /// Tiles on disk with other hashes, and the first entry that differs.
    differing: Vec<FullTile>,
    first_difference: Option<u64>,
    mended: u64,
    pub(super) marks: Vec<Vec<u64>>,
    /// First index and last offset of the segment that was read last.
    pub(super) end: Option<(u64, u64)>,
}

impl<'a> Scan<'a> {
    pub(super) fn new(dir: &'a Path, notes: &'a Notes, known: Option<(u64, Hash)>, tree: Tree) -> Self {
        let size = tree.frontier().size();
        let mut ahead: Vec<_> = notes.signed.iter().map(|(checkpoint, _)| checkpoint).filter(|note| note.size > size).collect();
        ahead.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        Self {
            dir,
            tree,
            ahead,
            protected: notes.protected(known),
            agreed: 0,
            disagreed: Vec::new(),
            recorded: Vec::new(),
            differing: Vec::new(),
            first_difference: None,
            mended: 0,
            marks: Vec::new(),
            end: None,
        }
    }

    /// Whether a power cut can have left this segment without the end of the one before: neither was synced, and what is
    /// missing was never written.
    pub(super) fn hole_before(&self, header: &Header) -> bool {
        let size = self.tree.frontier().size();
        size >= self.protected
            && header.first > size
            && header.before.zip(self.end).is_some_and(|((first, said), (last, end))| first == last && said > end)
    }

    /// Reads one segment; what was cut off its end, if anything. `until` is where the next segment says that this one ends.
    pub(super) fn segment(&mut self, path: &Path, header: &Header, until: Option<u64>) -> Result<Option<TornTail>, TrailError> {
        let first = self.tree.frontier().size();
        if header.first != first {
            return Err(TrailError::broken(first.min(header.first), "missing between two segments"));
        }
        if self.end.is_some_and(|end| header.before != Some(end)) || (first == 0) != header.before.is_none() {
            return Err(TrailError::broken(first, "its segment does not follow the one before"));
        }
        let bytes = fs::read(path).map_err(TrailError::at("read a segment"))?;
        let (mut at, mut marks, mut torn) = (HEADER, Vec::new(), None);
        loop {
            let index = self.tree.frontier().size();
            match step(&bytes, at) {
                Step::Frame { entry, leaf, end } => {
                    self.entry(index, entry)?;
                    if (index - first).is_multiple_of(STRIDE) {
                        marks.push(at as u64);
                    }
                    self.push(leaf)?;
                    at = end;
                }
                Step::End => break,
                Step::Damaged if self.is_unsynced_tail(&bytes, at, index, until) => {
                    torn = Some(TornTail { index, bytes: used(&bytes[at..]) });
                    let file = OpenOptions::new().write(true).open(path).map_err(TrailError::at("open a segment"))?;
                    SegmentFile::new(file, &Disk::Plain).cut(at as u64).map_err(TrailError::at("cut a torn tail"))?;
                    break;
                }
                Step::Damaged => return Err(TrailError::broken(index, "its frame is damaged")),
            }
        }
        self.marks.push(marks);
        self.end = Some((first, at as u64));
        Ok(torn)
    }

    fn entry(&mut self, index: u64, bytes: &[u8]) -> Result<(), TrailError> {
        let entry = codec::decode(bytes).map_err(|_| TrailError::broken(index, "not a canonical entry"))?;
        if let Note::LostTail { expected, found, .. } = entry.note
            && found <= index
        {
            self.recorded.push((found, expected));
        }
        Ok(())
    }

    fn push(&mut self, leaf: Hash) -> Result<(), TrailError> {
        self.tree.push(leaf);
        for tile in self.tree.take_pending() {
            match tiles::read(self.dir, tile.level, tile.index) {
                Ok(hashes) if *hashes == *tile.hashes => {}
                Ok(hashes) => {
                    let place = hashes.iter().zip(&*tile.hashes).position(|(there, made)| there != made).unwrap_or(0);
                    let width = 1_u64 << (8 * tile.level);
                    self.first_difference.get_or_insert((tile.index * tiles::WIDTH as u64 + place as u64) * width);
                    self.differing.push(tile);
                }
                Err(_) => {
                    self.mended += 1;
                    tile.write(self.dir).map_err(TrailError::at("write a tile"))?;
                }
            }
        }
        let frontier = self.tree.frontier();
        while let Some(checkpoint) = self.ahead.pop_if(|checkpoint| checkpoint.size == frontier.size()) {
            if checkpoint.root == frontier.root() {
                self.agreed = checkpoint.size;
            } else {
                self.disagreed.push(checkpoint);
            }
        }
        Ok(())
    }

    /// Whether the damage at `at` can be a tail that no sync had covered, rather than a change of what was durable.
    fn is_unsynced_tail(&self, bytes: &[u8], at: usize, index: u64, until: Option<u64>) -> bool {
        let next = segment::next_whole(bytes, at);
        let followed = next.is_some() || until.is_some();
        if index < self.protected {
            // A durable entry may be missing with all that followed it (that is a lost tail), but not be there and wrong.
            return !followed && !segment::is_complete(bytes, at);
        }
        let end = until.map_or(bytes.len(), |until| bytes.len().min(until as usize));
        !followed || has_unwritten_sector(bytes, at, next.unwrap_or(end))
    }

    /// Compares what was read with the checkpoints on disk and the one known from outside.
    pub(super) fn judge(&self, notes: &Notes, known: Option<(u64, Hash)>) -> Result<Option<LostTail>, TrailError> {
        let found = self.tree.frontier().size();
        let is_recorded = |size: u64| self.recorded.iter().any(|(from, to)| (from + 1..=*to).contains(&size));
        let signed = notes.signed.iter().map(|(checkpoint, _)| (checkpoint.size, checkpoint.root));
        let longest = signed.chain(known).filter(|(size, _)| *size > found && !is_recorded(*size)).max();
        let wrong = self.disagreed.iter().map(|checkpoint| checkpoint.size).min();
        let known_wrong = known.filter(|(size, _)| *size <= found).and_then(|(size, root)| {
            let there = merkle::range_root(&mut View::new(self.dir, self.tree.clone()), 0, size);
            (there.ok() != Some(root)).then_some(size)
        });
        if let Some(size) = wrong.into_iter().chain(known_wrong).filter(|size| !is_recorded(*size)).min() {
            let first = self.first_difference.filter(|index| *index < size).unwrap_or(self.agreed);
            return Err(TrailError::broken(first, "it, or one behind it, differs from what a checkpoint signs"));
        }
        Ok(longest.map(|(expected, root)| LostTail { expected, root, found }))
    }

    /// Writes the tiles whose hashes were not those of the entries, now that the entries are known to be right.
    pub(super) fn mend(&mut self) -> Result<u64, TrailError> {
        for tile in self.differing.drain(..) {
            tile.write(self.dir).map_err(TrailError::at("write a tile"))?;
            self.mended += 1;
        }
        Ok(self.mended)
    }
}

/// Whether what lies between `at` and `end` has the zeros of before in some sector: all of its bytes of that sector, be they few, because
/// the sector before the hole may have been written earlier, with nothing behind the last entry, and not again.
fn has_unwritten_sector(bytes: &[u8], at: usize, end: usize) -> bool {
    let mut from = at;
    while from < end.min(bytes.len()) {
        let to = (from + 1).next_multiple_of(SECTOR).min(end);
        if bytes.get(from..to).is_some_and(segment::is_zero) {
            return true;
        }
        from = to;
    }
    false
}

/// Bytes before the zeros at the end.
pub(super) fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}
