//! Entries, checkpoints and proofs for those who ask.

use std::fs::{self, File};
use std::sync::Arc;

use super::TrailError;
use super::checkpoint::Checkpoint;
use super::codec;
use super::disk::{Disk, SegmentFile};
use super::entry::Entry;
use super::merkle::{self, Hash};
use super::proof::Proof;
use super::segment::{FRAME, HEADER, Step, step};
use super::tiles::{View, WIDTH};
use super::trail::{OldSegment, STRIDE, Shared, Trail};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;

impl Trail {
    /// Up to `limit` entries from index `from` on, with their indices.
    pub fn entries(&self, from: u64, limit: usize) -> Result<Vec<(u64, Entry)>, TrailError> {
        let mut entries = Vec::new();
        self.shared().each(from, limit, |index, bytes| {
            let entry = codec::decode(bytes).map_err(|_| TrailError::broken(index, "not a canonical entry"))?;
            entries.push((index, entry));
            Ok(())
        })?;
        Ok(entries)
    }

    /// A signed checkpoint: of this size, or of everything that is durable.
    ///
    /// While the vault is sealed only the last one that was signed can be had.
    pub fn checkpoint(&self, size: Option<u64>) -> Result<String, TrailError> {
        let shared = self.shared();
        let (size, root) = match size {
            Some(size) if size > shared.flow.synced() => return Err(TrailError::OutOfRange),
            Some(size) => (size, merkle::range_root(&mut shared.view(), 0, size)?),
            None => self.durable_head(),
        };
        let kept = shared.kept.lock().last.clone();
        match kept {
            Some((last, note)) if last == size => return Ok(note),
            _ => {}
        }
        let checkpoint = Checkpoint { origin: shared.origin.clone(), size, root };
        checkpoint.signed(&*shared.signer).ok_or(TrailError::NoSigner)
    }

    /// The inclusion path of an entry in the tree of `size` entries.
    pub fn inclusion(&self, index: u64, size: u64) -> Result<Vec<Hash>, TrailError> {
        let mut view = self.shared().view();
        if index >= size || size > view.size() {
            return Err(TrailError::OutOfRange);
        }
        merkle::inclusion(&mut view, index, size)
    }

    /// The proof that the tree of `to` entries only adds to the tree of `from` entries.
    pub fn consistency(&self, from: u64, to: u64) -> Result<Vec<Hash>, TrailError> {
        let mut view = self.shared().view();
        if from > to || to > view.size() {
            return Err(TrailError::OutOfRange);
        }
        merkle::consistency(&mut view, from, to)
    }

    /// The offline proof of a durable entry (c2sp.org/tlog-proof@v1), with the entry's bytes as `extra`.
    pub fn proof(&self, index: u64) -> Result<String, TrailError> {
        let shared = self.shared();
        let checkpoint = match self.checkpoint(None) {
            Err(TrailError::NoSigner) => shared.kept.lock().last.clone().map(|(_, note)| note).ok_or(TrailError::NoSigner)?,
            other => other?,
        };
        let size = Checkpoint::verified(&checkpoint, &*shared.trusted.read()).map_err(|_| TrailError::NoSigner)?.size;
        if index >= shared.flow.synced() {
            return Err(TrailError::OutOfRange);
        }
        if index >= size {
            return Err(TrailError::NoSigner);
        }
        let mut entry = Vec::new();
        shared.each(index, 1, |_, bytes| {
            entry.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(Proof { entry, index, path: self.inclusion(index, size)?, checkpoint }.to_string())
    }

    /// The first `width` hashes (1 to 256) of a tile, as tlog-tiles serves them.
    pub fn tile(&self, level: u32, index: u64, width: usize) -> Result<Vec<u8>, TrailError> {
        if level > 7 || !(1..=WIDTH).contains(&width) {
            return Err(TrailError::OutOfRange);
        }
        let mut view = self.shared().view();
        // Compared as tiles, so that no index overflows.
        let held = view.size().checked_shr(8 * level).unwrap_or(0);
        if index > held / WIDTH as u64 || (index == held / WIDTH as u64 && width as u64 > held % WIDTH as u64) {
            return Err(TrailError::OutOfRange);
        }
        Ok(view.tile(level, index, width)?.as_flattened().to_vec())
    }
}

impl Shared {
    pub(super) fn view(&self) -> View {
        let tree = self.writer.lock().tree.clone();
        View::new(&self.dir, tree)
    }

    /// Hands on the bytes of up to `limit` entries from `from` on.
    fn each(
        &self,
        from: u64,
        limit: usize,
        mut take: impl FnMut(u64, &[u8]) -> Result<(), TrailError>,
    ) -> Result<(), TrailError> {
        let mut index = from;
        let mut left = limit as u64;
        while left > 0 {
            let Some(place) = self.place(index)? else { break };
            let last = place.until.min(from.saturating_add(limit as u64));
            index = walk(&place, last, |at, bytes| if at < index { Ok(()) } else { take(at, bytes) })?;
            left = from.saturating_add(limit as u64) - index;
        }
        Ok(())
    }

    /// Where to start reading for an entry.
    fn place(&self, index: u64) -> Result<Option<Place>, TrailError> {
        let (old, until) = {
            let writer = self.writer.lock();
            let size = writer.tree.frontier().size();
            if index >= size {
                return Ok(None);
            }
            if index >= writer.first {
                let stride = (index - writer.first) / STRIDE;
                let at = writer.marks.get(stride as usize).copied().ok_or(TrailError::OutOfRange)?;
                let first = writer.first + stride * STRIDE;
                return Ok(Some(Place { file: Arc::clone(&writer.file), at, first, until: size }));
            }
            let next = writer.old.partition_point(|segment| segment.first <= index);
            let until = writer.old.get(next).map_or(writer.first, |segment| segment.first);
            (next.checked_sub(1).and_then(|at| writer.old.get(at)).cloned(), until)
        };
        let old = old.ok_or(TrailError::OutOfRange)?;
        let stride = (index - old.first) / STRIDE;
        let at = old.marks()?.get(stride as usize).copied().ok_or(TrailError::broken(index, "not in its segment"))?;
        let file = File::open(&old.path).map_err(TrailError::at("open a segment"))?;
        let file = Arc::new(SegmentFile::new(file, &Disk::Plain));
        Ok(Some(Place { file, at, first: old.first + stride * STRIDE, until }))
    }
}

impl OldSegment {
    /// Places of every 256th entry, found when they are first needed by going from frame to frame.
    fn marks(&self) -> Result<&[u64], TrailError> {
        if let Some(marks) = self.marks.get() {
            return Ok(marks);
        }
        let bytes = fs::read(&self.path).map_err(TrailError::at("read a segment"))?;
        let (mut at, mut count, mut marks) = (HEADER, 0, Vec::new());
        while let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk()).map(|length| u32::from_be_bytes(*length))
            && length != 0
        {
            if u64::is_multiple_of(count, STRIDE) {
                marks.push(at as u64);
            }
            at += FRAME + length as usize;
            count += 1;
        }
        Ok(self.marks.get_or_init(|| marks))
    }
}

/// A frame of a segment at or before an entry that is looked for.
struct Place {
    file: Arc<SegmentFile>,
    at: u64,
    /// The index of the entry there.
    first: u64,
    /// The first index that is not in the segment.
    until: u64,
}

/// Goes from a place to entry `last`; the index where it stopped.
fn walk(place: &Place, last: u64, mut take: impl FnMut(u64, &[u8]) -> Result<(), TrailError>) -> Result<u64, TrailError> {
    let (mut index, mut at) = (place.first, place.at);
    let mut buffer = vec![0; CHUNK];
    while index < last {
        let count = place.file.read_at(&mut buffer, at).map_err(TrailError::at("read a segment"))?;
        let mut done = 0;
        while index < last
            && let Step::Frame { entry, end, .. } = step(&buffer[..count], done)
        {
            take(index, entry)?;
            (index, done) = (index + 1, end);
        }
        if done == 0 {
            // Not even one frame: it is longer than the buffer, or damaged.
            let needed = buffer.first_chunk().map_or(0, |length| u32::from_be_bytes(*length) as usize).saturating_add(FRAME);
            if needed <= buffer.len() || needed > codec::LONGEST + FRAME {
                return Err(TrailError::broken(index, "its frame is damaged"));
            }
            buffer.resize(needed, 0);
        }
        at += done as u64;
    }
    Ok(index)
}
