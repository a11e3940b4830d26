//! Opening the trail: what is read again, what is mended, what is only said, and what is refused.
//!
//! The last segments are read and hashed again; what is before them stands in full tiles, whose root the checkpoints sign.
//! `verify` reads everything.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use parking_lot::{Condvar, Mutex, RwLock};

use super::checkpoint::{self, Checkpoint};
use super::disk::{Disk, SegmentFile};
use super::entry::Note;
use super::flow::Flow;
use super::keeper::{self, Keeper, Kept};
use super::merkle::{self, Hash};
use super::note::BadNote;
use super::scan::{Scan, used};
use super::segment::{self, Found, HEADER, Header};
use super::signers::PublicKeys;
use super::tiles::{Tree, View};
use super::trail::{FIRST_FILL, OldSegment, Shared, Signer, Writer, create_segment, sync_directory};
use super::{TrailError, trail};

/// How many segments, from the last one back, are read again at start.
const READ_AGAIN: usize = 2;

/// How many places further back are tried for a start from tiles, before everything is read.
const MOST_TRIES: usize = 64;

/// How many checkpoints, from the last one back, are checked at start.
const CHECKED: usize = 16;

/// What was found at start, beside a whole trail. All of it is to be said, and the first two are to be recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Entries in the trail.
    pub entries: u64,
    /// The trail is shorter than a checkpoint says.
    pub lost_tail: Option<LostTail>,
    /// Bytes behind the last whole entry were cut off; no sync had covered them, so nothing was released on them.
    pub torn: Option<TornTail>,
    /// Notes in the files of checkpoints that are damaged or not by the vault's key.
    pub bad_checkpoints: u64,
    /// Tiles that were made again from the entries.
    pub mended_tiles: u64,
}

/// A trail that is shorter than it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LostTail {
    /// The size that a checkpoint, on disk or known from outside, names.
    pub expected: u64,
    /// Its root.
    pub root: Hash,
    /// The size that was found.
    pub found: u64,
}

impl LostTail {
    /// The note by which the trail records it.
    pub fn note(&self) -> Note {
        Note::LostTail { expected: self.expected, root: self.root, found: self.found }
    }
}

/// A tail that was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TornTail {
    /// The first index that is not there.
    pub index: u64,
    /// How many bytes were cut off, without the zeros at the end.
    pub bytes: u64,
}

impl TornTail {
    /// The note by which the trail records it.
    pub fn note(&self) -> Note {
        Note::TornTail { index: self.index, bytes: self.bytes }
    }
}

pub(super) fn open(
    disk: Disk,
    dir: &Path,
    signer: Signer,
    trusted: PublicKeys,
    origin: &str,
    known: Option<(u64, Hash)>,
) -> Result<(Shared, Findings), TrailError> {
    fs::create_dir_all(dir).map_err(TrailError::at("make the trail's directory"))?;
    let lock = lock(dir)?;
    let notes = Notes::read(dir, &trusted, origin)?;
    let mut segments = segment::list(dir).map_err(TrailError::at("list the trail"))?;
    let mut findings = Findings { bad_checkpoints: notes.bad, ..Findings::default() };
    let headers = headers(&mut segments, &notes, known, &mut findings)?;
    let start = suspicious(&segments, &headers).unwrap_or(usize::MAX).min(segments.len().saturating_sub(READ_AGAIN));

    // The tile that a segment begins in may not be full yet, so that it can only be had by starting earlier.
    let candidates = (1..=start).rev().take(MOST_TRIES);
    let mut restored = candidates.filter_map(|at| Some((at, Tree::restore(dir, segments.get(at)?.first)?)));
    let restored = restored.next().filter(|(_, tree)| notes.agrees_below(dir, tree));
    let (start, tree) = restored.unwrap_or_default();
    let mut scan = Scan::new(dir, &notes, known, tree);
    for at in start..segments.len() {
        let next = headers.get(at + 1).and_then(|next| next.before);
        let (torn, kept) = match scan.hole_before(&headers[at]) {
            true => (Some(TornTail { index: scan.tree.frontier().size(), bytes: 0 }), at),
            false => (scan.segment(&segments[at].path, &headers[at], next.map(|(_, end)| end))?, at + 1),
        };
        if torn.is_some() {
            for later in segments.drain(kept..) {
                fs::remove_file(&later.path).map_err(TrailError::at("remove an unsynced segment"))?;
            }
            findings.torn = torn;
            break;
        }
    }
    findings.lost_tail = scan.judge(&notes, known)?;
    findings.mended_tiles = scan.mend()?;
    findings.entries = scan.tree.frontier().size();

    let writer = writer(dir, &disk, &segments, scan, start)?;
    let size = writer.tree.frontier().size();
    let shared = Shared {
        dir: dir.to_owned(),
        origin: origin.to_owned(),
        trusted: RwLock::new(trusted),
        signer,
        disk,
        full: segment::FULL,
        written: AtomicU64::new(size),
        durable: Mutex::new(writer.tree.frontier().clone()),
        writer: Mutex::new(writer),
        filled: Condvar::new(),
        closed: AtomicBool::new(false),
        flow: Flow::at(size),
        keeper: Keeper::default(),
        kept: Mutex::new(Kept::open(dir, notes.whole, notes.last())?),
        lock: Mutex::new(Some(lock)),
    };
    Ok((shared, findings))
}

fn lock(dir: &Path) -> Result<File, TrailError> {
    let file = OpenOptions::new().create(true).append(true).open(dir.join("lock"));
    let file = file.map_err(TrailError::at("open the trail's lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(TrailError::InUse),
        Err(TryLockError::Error(source)) => Err(TrailError::Io { step: "lock the trail", source }),
    }
}

/// The last checkpoints on disk, in the order in which they were signed.
pub(super) struct Notes {
    pub(super) signed: Vec<(Checkpoint, String)>,
    bad: u64,
    /// Bytes of the newer file without a torn last note.
    whole: u64,
}

impl Notes {
    fn read(dir: &Path, trusted: &PublicKeys, origin: &str) -> Result<Self, TrailError> {
        let (older, newer) = (read(&keeper::old_path(dir))?, read(&keeper::path(dir))?);
        let mut newer: Vec<_> = checkpoint::notes(&newer).collect();
        // The end of the last one may have come to the medium without its beginning.
        newer.pop_if(|last| last.contains(&0));
        let whole = newer.iter().map(|note| note.len()).sum::<usize>() as u64;
        let all: Vec<_> = checkpoint::notes(&older).chain(newer).collect();
        let mut notes = Self { signed: Vec::new(), bad: 0, whole };
        let mut foreign = false;
        for note in &all[all.len().saturating_sub(CHECKED)..] {
            let note = std::str::from_utf8(note).unwrap_or_default();
            match Checkpoint::verified(note, trusted) {
                Ok(checkpoint) if checkpoint.origin == origin => notes.signed.push((checkpoint, note.to_owned())),
                other => {
                    notes.bad += 1;
                    foreign |= matches!(other, Ok(_) | Err(BadNote::Unsigned));
                }
            }
        }
        // Damage is said and mended by the next checkpoint; a whole file by somebody else is not.
        if notes.signed.is_empty() && foreign { Err(TrailError::Foreign) } else { Ok(notes) }
    }

    fn last(&self) -> Option<(u64, String)> {
        self.signed.last().map(|(checkpoint, note)| (checkpoint.size, note.clone()))
    }

    /// Entries below this were durable once.
    pub(super) fn protected(&self, known: Option<(u64, Hash)>) -> u64 {
        let last = self.signed.last().map_or(0, |(checkpoint, _)| checkpoint.size);
        last.max(known.map_or(0, |(size, _)| size))
    }

    /// Whether the newest checkpoint that this tree covers is of this tree.
    fn agrees_below(&self, dir: &Path, tree: &Tree) -> bool {
        let covered = self.signed.iter().rev().find(|(checkpoint, _)| checkpoint.size <= tree.frontier().size());
        covered.is_none_or(|(checkpoint, _)| {
            let root = merkle::range_root(&mut View::new(dir, tree.clone()), 0, checkpoint.size);
            root.is_ok_and(|root| root == checkpoint.root)
        })
    }
}

/// A file's bytes; nothing where there is no file.
fn read(path: &Path) -> Result<Vec<u8>, TrailError> {
    match fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        bytes => bytes.map_err(TrailError::at("read the checkpoints")),
    }
}

/// The headers of the segments. A last segment whose header was never synced is removed.
fn headers(
    segments: &mut Vec<Found>,
    notes: &Notes,
    known: Option<(u64, Hash)>,
    findings: &mut Findings,
) -> Result<Vec<Header>, TrailError> {
    let mut headers = Vec::new();
    for at in 0..segments.len() {
        let Found { first, path } = segments[at].clone();
        let mut bytes = [0; HEADER];
        let file =
            File::open(&path).map(|file| SegmentFile::new(file, &Disk::Plain)).map_err(TrailError::at("open a segment"))?;
        let length = file.read_at(&mut bytes, 0).map_err(TrailError::at("read a segment"))?;
        match Header::parse(&bytes[..length]) {
            Some(header) if header.first == first => headers.push(header),
            _ => {
                let whole = fs::read(&path).map_err(TrailError::at("read a segment"))?;
                let unsynced = at + 1 == segments.len()
                    && first >= notes.protected(known)
                    && segment::is_zero(&bytes[..length])
                    && segment::next_whole(&whole, 0).is_none();
                if !unsynced {
                    return Err(TrailError::broken(first, "the header of its segment is damaged"));
                }
                fs::remove_file(&path).map_err(TrailError::at("remove an unsynced segment"))?;
                findings.torn = Some(TornTail { index: first, bytes: used(&whole) });
            }
        }
    }
    segments.truncate(headers.len());
    Ok(headers)
}

/// The first segment whose successor does not know it, or is missing: from there on everything is read.
fn suspicious(segments: &[Found], headers: &[Header]) -> Option<usize> {
    let fits = |at: usize| match (at.checked_sub(1), headers[at].before) {
        (None, before) => before.is_none(),
        (Some(_), None) => false,
        (Some(before), Some((first, bytes))) => {
            headers[before].first == first && fs::metadata(&segments[before].path).is_ok_and(|file| file.len() >= bytes)
        }
    };
    (0..headers.len()).find(|at| !fits(*at)).map(|at| at.saturating_sub(1))
}

/// Everything an appender needs, with all that was read made durable.
fn writer(dir: &Path, disk: &Disk, segments: &[Found], scan: Scan<'_>, start: usize) -> Result<Writer, TrailError> {
    let mut marks = vec![None; start];
    marks.extend(scan.marks.into_iter().map(Some));
    let (file, first, offset, ahead) = match (segments.last(), scan.end) {
        (Some(last), Some((first, offset))) => {
            let file = OpenOptions::new().read(true).write(true).open(&last.path).map_err(TrailError::at("open a segment"))?;
            let ahead = file.metadata().map_err(TrailError::at("measure a segment"))?.len();
            (SegmentFile::new(file, disk), first, offset, ahead)
        }
        _ => {
            let file = create_segment(dir, disk, &Header { first: 0, before: None })?;
            (file, 0, HEADER as u64, FIRST_FILL as u64)
        }
    };
    // Another process may have written without a sync, so what was read is not yet what is durable.
    for segment in segments.iter().rev().skip(1).take(1) {
        let synced = File::open(&segment.path).and_then(|file| file.sync_data());
        synced.map_err(TrailError::at("sync the trail"))?;
    }
    file.sync().map_err(TrailError::at("sync the trail"))?;
    sync_directory(dir)?;
    let old = segments.iter().zip(&mut marks).take(segments.len().saturating_sub(1)).map(|(segment, marks)| {
        let marks = marks.take().map_or_else(Default::default, Into::into);
        Arc::new(OldSegment { first: segment.first, path: segment.path.clone(), marks })
    });
    let old = old.collect();
    let marks = marks.pop().flatten().unwrap_or_default();
    Ok(trail::Writer {
        file: Arc::new(file),
        first,
        offset,
        ahead: ahead.max(offset),
        filling: false,
        full_disk: false,
        tree: scan.tree,
        marks,
        old,
        dirty: false,
        unsynced: Vec::new(),
        unnamed: false,
        uncut: Vec::new(),
    })
}
