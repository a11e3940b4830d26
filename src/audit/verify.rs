//! The walk over the whole trail, and over the rows that it says must be there.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::TrailError;
use super::checkpoint::{self, Checkpoint};
use super::codec;
use super::entry::{Entry, Note, Outcome};
use super::keeper;
use super::merkle::Hash;
use super::rows::Live;
use super::segment::{self, HEADER, Header, Step, step};
use super::signers::Trusted;
use super::tiles::{self, Tree};

/// What the walk found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Whole entries before the first break.
    pub entries: u64,
    /// Root over them.
    pub root: Hash,
    /// Checkpoints whose signature and root were checked.
    pub checkpoints: u64,
    /// Entries that a signed checkpoint covers.
    pub signed: u64,
    /// Losses that the trail itself records: entries from the first index up to the second.
    pub lost: Vec<(u64, u64)>,
    /// Rows that were compared.
    pub rows_checked: u64,
    /// Rows that are not as the trail says: changed, rolled back, swapped or added.
    pub rows_wrong: u64,
    /// Rows that the trail says must be there and are not. A changed row counts here and above.
    pub rows_missing: u64,
    /// The first thing that is not as it must be.
    pub first_break: Option<Break>,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Break {
    /// An entry is missing, damaged, changed or out of its place.
    Entry {
        /// Its index.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// A header of a segment is damaged or in the wrong place.
    Segment {
        /// The first index that the segment's name states.
        first: u64,
    },
    /// A note in a file of checkpoints is damaged, or not signed by the key.
    Checkpoint {
        /// The how-manieth note of all that are kept, from 0.
        place: u64,
    },
    /// A tile's file holds other hashes than the entries have.
    Tile {
        /// Level.
        level: u32,
        /// Index.
        index: u64,
    },
    /// An entry drops a row that was never written, or voids what cannot be voided.
    Replay {
        /// The entry.
        index: u64,
    },
    /// A row of the store is not as the trail says.
    Row {
        /// Its name.
        name: String,
    },
    /// A row is missing from the store.
    MissingRow {
        /// The entry that wrote it.
        index: u64,
    },
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry { index, what } => write!(f, "entry {index}: {what}"),
            Self::Segment { first } => write!(f, "entry {first}: the header of its segment is damaged or in the wrong place"),
            Self::Checkpoint { place } => write!(f, "checkpoint {place}: damaged, or not signed by this key"),
            Self::Tile { level, index } => write!(f, "tile {index} of level {level}: other hashes than the entries have"),
            Self::Replay { index } => write!(f, "entry {index}: replaces or takes back what was not there"),
            Self::Row { name } => write!(f, "row {name}: not as the trail says"),
            Self::MissingRow { index } => write!(f, "a row that entry {index} wrote is missing"),
        }
    }
}

/// The rows of the store as they are now: a name to call each by, and its [`row_hash`](super::row_hash).
pub type Rows<'a> = &'a mut dyn Iterator<Item = (String, [u8; 32])>;

/// Walks the trail in `dir`: every frame, entry, tile, and every checkpoint with its signature; then, where `rows` are given,
/// replays what was written and dropped and compares. An error is a file that could not be read.
///
/// A vault that is running has entries behind its last checkpoint and may be writing one, so it is walked best after `close`.
pub fn verify(dir: &Path, trusted: &impl Trusted, rows: Option<Rows<'_>>) -> Result<Report, TrailError> {
    let mut walk =
        Walk { dir, report: Report::default(), tree: Tree::default(), difference: None, live: None, voids: BTreeSet::new() };
    if rows.is_some() {
        walk.live = Some(Live::new());
    }
    walk.report.root = walk.tree.frontier().root();
    let mut found = walk.trail(trusted)?;
    if found.is_none()
        && let Some(rows) = rows
    {
        found = walk.rows(rows)?;
    }
    walk.report.first_break = found;
    Ok(walk.report)
}

struct Walk<'a> {
    dir: &'a Path,
    report: Report,
    tree: Tree,
    /// The first tile with other hashes than the entries, and the first entry that it differs at.
    difference: Option<(Break, u64)>,
    live: Option<Live>,
    voids: BTreeSet<u64>,
}

impl Walk<'_> {
    fn trail(&mut self, trusted: &impl Trusted) -> Result<Option<Break>, TrailError> {
        let mut notes = match self.notes(trusted)? {
            Ok(notes) => notes,
            Err(bad) => return Ok(Some(bad)),
        };
        notes.sort_by_key(|checkpoint| std::cmp::Reverse(checkpoint.size));
        let found = each_entry(self.dir, |index, entry, leaf| self.entry(index, &entry, leaf, &mut notes))?;
        let size = self.tree.frontier().size();
        (self.report.entries, self.report.root) = (size, self.tree.frontier().root());
        if found.is_some() {
            return Ok(found);
        }
        notes.retain(|checkpoint| !self.is_recorded(checkpoint.size));
        if !notes.is_empty() {
            return Ok(Some(Break::Entry { index: size, what: "missing, though a checkpoint covers it" }));
        }
        Ok(self.difference.take().map(|(tile, _)| tile))
    }

    /// Every checkpoint that is kept, or the first that is not one.
    fn notes(&self, trusted: &impl Trusted) -> Result<Result<Vec<Checkpoint>, Break>, TrailError> {
        let mut kept: Vec<Checkpoint> = Vec::new();
        for path in [keeper::old_path(self.dir), keeper::path(self.dir)] {
            let bytes = match fs::read(path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                bytes => bytes.map_err(TrailError::at("read the checkpoints"))?,
            };
            let bad = |kept: &Vec<_>| Break::Checkpoint { place: kept.len() as u64 };
            let mut whole = 0;
            for note in checkpoint::notes(&bytes) {
                whole += note.len();
                match Checkpoint::verified(std::str::from_utf8(note).unwrap_or_default(), trusted) {
                    Ok(checkpoint) if kept.first().is_none_or(|first| first.origin == checkpoint.origin) => kept.push(checkpoint),
                    _ => return Ok(Err(bad(&kept))),
                }
            }
            if whole != bytes.len() {
                return Ok(Err(bad(&kept)));
            }
        }
        Ok(Ok(kept))
    }

    fn entry(&mut self, index: u64, entry: &Entry, leaf: Hash, notes: &mut Vec<Checkpoint>) -> Option<Break> {
        self.tree.push(leaf);
        self.compare_tiles();
        match &entry.note {
            Note::LostTail { expected, found, .. } if *found <= index => self.report.lost.push((*found, *expected)),
            Note::Void { entries } => {
                for voided in entries {
                    if entry.outcome != Outcome::Void || *voided >= index || !self.voids.insert(*voided) {
                        return Some(Break::Replay { index });
                    }
                }
            }
            _ => {}
        }
        if let Some(live) = &mut self.live {
            live.apply(entry);
        }
        let frontier = self.tree.frontier();
        while let Some(checkpoint) = notes.pop_if(|checkpoint| checkpoint.size <= frontier.size()) {
            let agrees = checkpoint.size == frontier.size() && checkpoint.root == frontier.root();
            if agrees {
                self.report.checkpoints += 1;
                self.report.signed = checkpoint.size;
            } else if checkpoint.size != 0 && !self.is_recorded(checkpoint.size) {
                let differs = self.difference.as_ref().map(|(_, index)| *index).filter(|index| *index < checkpoint.size);
                let what = "it, or one behind it, differs from what a checkpoint signs";
                return Some(Break::Entry { index: differs.unwrap_or(self.report.signed), what });
            }
        }
        None
    }

    fn is_recorded(&self, size: u64) -> bool {
        self.report.lost.iter().any(|(from, to)| (from + 1..=*to).contains(&size))
    }

    /// Looks for other hashes in the files of tiles that have just become full. One that is not there is made at the next start.
    fn compare_tiles(&mut self) {
        for tile in self.tree.take_pending() {
            let there = match tiles::read(self.dir, tile.level, tile.index) {
                Err(TrailError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => continue,
                other => other.unwrap_or_default(),
            };
            if *there != *tile.hashes {
                let place = there.iter().zip(&*tile.hashes).position(|(there, made)| there != made).unwrap_or(0) as u64;
                let entry = (tile.index * tiles::WIDTH as u64 + place) << (8 * tile.level);
                self.difference.get_or_insert((Break::Tile { level: tile.level, index: tile.index }, entry));
            }
        }
    }

    fn rows(&mut self, rows: Rows<'_>) -> Result<Option<Break>, TrailError> {
        let mut live = self.live.take().unwrap_or_else(Live::new);
        if !self.voids.is_empty() {
            each_entry(self.dir, |index, entry, _| {
                if self.voids.contains(&index) {
                    live.revert(&entry);
                }
                None
            })?;
        }
        let overdrawn: BTreeSet<_> = live.overdrawn().copied().collect();
        if !overdrawn.is_empty() {
            return self
                .first_entry(|entry| entry.dropped.iter().any(|hash| overdrawn.contains(hash)), |index| Break::Replay { index });
        }
        let mut found = None;
        for (name, hash) in rows {
            self.report.rows_checked += 1;
            if !live.take(&hash) {
                self.report.rows_wrong += 1;
                found.get_or_insert(Break::Row { name });
            }
        }
        self.report.rows_missing = live.missing();
        if found.is_none() && self.report.rows_missing > 0 {
            let writes = |entry: &Entry| entry.written.iter().any(|hash| live.misses(hash));
            return self.first_entry(writes, |index| Break::MissingRow { index });
        }
        Ok(found)
    }

    /// The first entry that was not voided and is as `wanted`.
    fn first_entry(&self, wanted: impl Fn(&Entry) -> bool, name: impl Fn(u64) -> Break) -> Result<Option<Break>, TrailError> {
        each_entry(self.dir, |index, entry, _| (!self.voids.contains(&index) && wanted(&entry)).then(|| name(index)))
    }
}

/// Goes through all entries until `take` breaks or one is not whole.
fn each_entry(dir: &Path, mut take: impl FnMut(u64, Entry, Hash) -> Option<Break>) -> Result<Option<Break>, TrailError> {
    let segments = segment::list(dir).map_err(TrailError::at("list the trail"))?;
    let (mut index, mut before) = (0, None);
    for (place, found) in segments.iter().enumerate() {
        if found.first != index {
            return Ok(Some(Break::Entry { index: index.min(found.first), what: "missing between two segments" }));
        }
        let bytes = fs::read(&found.path).map_err(TrailError::at("read a segment"))?;
        if Header::parse(&bytes) != Some(Header { first: index, before }) {
            // The header may be whole and say that the segment before was longer.
            let longer = Header::parse(&bytes).and_then(|header| header.before).zip(before);
            let shortened = longer.is_some_and(|(said, is)| said.0 == is.0 && said.1 != is.1);
            let what = "not where the next segment says that this one ends";
            return Ok(Some(if shortened { Break::Entry { index, what } } else { Break::Segment { first: index } }));
        }
        let mut at = HEADER;
        loop {
            match step(&bytes, at) {
                Step::Frame { entry, leaf, end } => {
                    let Ok(entry) = codec::decode(entry) else {
                        return Ok(Some(Break::Entry { index, what: "not a canonical entry" }));
                    };
                    if let Some(found) = take(index, entry, leaf) {
                        return Ok(Some(found));
                    }
                    (at, index) = (end, index + 1);
                }
                Step::End => break,
                Step::Damaged => return Ok(Some(Break::Entry { index, what: "its frame is damaged" })),
            }
        }
        before = Some((found.first, at as u64));
        if place + 1 < segments.len() && at == HEADER {
            return Ok(Some(Break::Entry { index, what: "missing from its segment" }));
        }
    }
    Ok(None)
}
