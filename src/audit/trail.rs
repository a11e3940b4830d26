//! The trail while it is open: appending, and what appending needs.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};

use super::TrailError;
use super::disk::{Disk, SegmentFile, is_full};
use super::entry::Entry;
use super::flow::{Flow, Mode, Receipt, Ticket};
use super::keeper::{Keeper, Kept};
use super::merkle::{Frontier, Hash};
use super::open::{self, Findings};
use super::segment::{self, FULL, HEADER, Header};
use super::signers::{KeyAndSignature, PublicKeys};
use super::tiles::Tree;

/// Signs checkpoints, and says with what key; `None` while the vault is sealed.
pub type Signer = Arc<dyn Fn(&[u8]) -> Option<KeyAndSignature> + Send + Sync>;

/// Entries between two places in a segment that are remembered.
pub(super) const STRIDE: u64 = 256;

/// Zeros that a new segment starts with.
pub(super) const FIRST_FILL: usize = 256 * 1024;

/// The open trail. Dropping it closes it.
pub struct Trail {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
}

#[derive(Default)]
struct Threads {
    sync: Option<JoinHandle<()>>,
    keep: Option<JoinHandle<()>>,
}

/// What the trail shares with its two threads.
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) origin: String,
    /// Keys that checkpoints of this trail may be signed by.
    pub(super) trusted: RwLock<PublicKeys>,
    pub(super) signer: Signer,
    pub(super) disk: Disk,
    /// A segment that would grow beyond this is followed by a new one.
    pub(super) full: u64,
    pub(super) writer: Mutex<Writer>,
    pub(super) filled: Condvar,
    pub(super) written: AtomicU64,
    pub(super) closed: AtomicBool,
    pub(super) flow: Flow,
    /// The tree's edge at the size that is durable.
    pub(super) durable: Mutex<Frontier>,
    pub(super) keeper: Keeper,
    pub(super) kept: Mutex<Kept>,
    /// Held open for its lock, until the trail is closed.
    pub(super) lock: Mutex<Option<File>>,
}

/// What only one appender at a time may touch.
pub(super) struct Writer {
    pub(super) file: Arc<SegmentFile>,
    /// Index of the segment's first entry.
    pub(super) first: u64,
    /// Where the next frame goes.
    pub(super) offset: u64,
    /// Up to here the file is filled with zeros or frames.
    pub(super) ahead: u64,
    /// The keeper is writing zeros from `ahead` on: nobody may write there.
    pub(super) filling: bool,
    /// There was no room for more zeros; another try is made with the next checkpoint.
    pub(super) full_disk: bool,
    pub(super) tree: Tree,
    /// Places of every 256th entry of the active segment.
    pub(super) marks: Vec<u64>,
    pub(super) old: Vec<Arc<OldSegment>>,
    /// The active segment has bytes that no sync has covered.
    pub(super) dirty: bool,
    /// So have these older ones.
    pub(super) unsynced: Vec<Arc<SegmentFile>>,
    /// A file was made whose name no sync has covered.
    pub(super) unnamed: bool,
    /// Old segments whose zeros are to be cut off, and where.
    pub(super) uncut: Vec<(Arc<SegmentFile>, u64)>,
}

/// A segment that is complete.
pub(super) struct OldSegment {
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) marks: OnceLock<Vec<u64>>,
}

/// The frames that a thread is about to append: bytes, and leaf hash and start of each.
#[derive(Default)]
struct Frames {
    bytes: Vec<u8>,
    leaves: Vec<(Hash, u64)>,
}

thread_local! {
    static FRAMES: RefCell<Frames> = RefCell::default();
}

impl Trail {
    /// Opens the trail in `dir`, or makes a new one. What was recovered or lost is in the findings, which the vault says and
    /// records; a trail that was changed is refused.
    ///
    /// `trusted` are the keys that its checkpoints may be signed by.
    /// `known` is the newest size and root that are kept outside (the keyring's checkpoint).
    pub fn open(
        dir: &Path,
        signer: Signer,
        trusted: impl Into<PublicKeys>,
        origin: &str,
        known: Option<(u64, [u8; 32])>,
    ) -> Result<(Self, Findings), TrailError> {
        Self::open_on(Disk::Plain, dir, signer, trusted, origin, known)
    }

    /// Takes checkpoints by one more key from now on: it is about to follow the one that signs.
    pub fn trust(&self, key: [u8; 32]) {
        self.shared.trusted.write().add(key);
    }

    /// Whether an earlier write or sync failed, so that nothing is taken any more.
    pub fn is_poisoned(&self) -> bool {
        self.shared.flow.is_failed()
    }

    /// The same on a disk that can be made to fail.
    pub fn open_on(
        disk: Disk,
        dir: &Path,
        signer: Signer,
        trusted: impl Into<PublicKeys>,
        origin: &str,
        known: Option<(u64, [u8; 32])>,
    ) -> Result<(Self, Findings), TrailError> {
        Self::open_sized(FULL, disk, dir, signer, trusted, origin, known)
    }

    /// The same with segments of at most `full` bytes.
    pub(super) fn open_sized(
        full: u64,
        disk: Disk,
        dir: &Path,
        signer: Signer,
        trusted: impl Into<PublicKeys>,
        origin: &str,
        known: Option<(u64, [u8; 32])>,
    ) -> Result<(Self, Findings), TrailError> {
        let (mut shared, findings) = open::open(disk, dir, signer, trusted.into(), origin, known)?;
        shared.full = full;
        let shared = Arc::new(shared);
        let trail = Self { shared: Arc::clone(&shared), threads: Mutex::default() };
        let start = |name: &str, run: fn(&Shared)| {
            let shared = Arc::clone(&shared);
            let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
            thread.map(Some).map_err(TrailError::at("start a thread"))
        };
        trail.threads.lock().sync = start("trail-sync", Shared::sync_loop)?;
        trail.threads.lock().keep = start("trail-keep", Shared::keep_loop)?;
        Ok((trail, findings))
    }

    /// Adds entries, one after the other without others between them. They are written, not durable yet.
    ///
    /// A failed write poisons the trail; an entry without canonical form fails before anything is written.
    pub fn append(&self, entries: &[Entry]) -> Result<Ticket, TrailError> {
        FRAMES.with_borrow_mut(|frames| {
            frames.bytes.clear();
            frames.leaves.clear();
            for entry in entries {
                let start = frames.bytes.len() as u64;
                frames.leaves.push((segment::frame(entry, &mut frames.bytes)?, start));
            }
            let ticket = self.shared.write(frames);
            frames.bytes.shrink_to(1 << 20);
            ticket
        })
    }

    /// Waits until the entries are durable.
    pub async fn durable(&self, ticket: Ticket) -> Result<Receipt, TrailError> {
        self.shared.flow.durable(ticket).await
    }

    /// The same for a thread of its own.
    pub fn durable_blocking(&self, ticket: Ticket) -> Result<Receipt, TrailError> {
        self.shared.flow.durable_blocking(ticket)
    }

    /// What releases a read: durable entries, or with [`Mode::Written`] entries that become durable within 10 ms.
    pub async fn released(&self, ticket: Ticket, mode: Mode) -> Result<Receipt, TrailError> {
        match mode {
            Mode::Durable => self.durable(ticket).await,
            Mode::Written => self.shared.flow.written(ticket),
        }
    }

    /// How many entries were appended.
    pub fn size(&self) -> u64 {
        self.shared.written.load(Ordering::Acquire)
    }

    /// How many entries are durable.
    pub fn durable_size(&self) -> u64 {
        self.shared.flow.synced()
    }

    /// Size and root over all entries, durable or not.
    pub fn head(&self) -> (u64, Hash) {
        let frontier = self.shared.writer.lock().tree.frontier().clone();
        (frontier.size(), frontier.root())
    }

    /// Size and root over the durable entries: what a checkpoint may state.
    pub fn durable_head(&self) -> (u64, Hash) {
        let frontier = self.shared.durable.lock().clone();
        (frontier.size(), frontier.root())
    }

    /// Syncs, signs a last checkpoint, ends the threads and gives up the lock. Later appends answer `Closed`; reading goes on.
    pub fn close(&self) {
        let mut threads = self.threads.lock();
        {
            let _writer = self.shared.writer.lock();
            self.shared.closed.store(true, Ordering::Release);
        }
        // The keeper signs what is durable, so it ends after the last sync. A thread that panicked has nothing left to do.
        self.shared.flow.stop();
        let _ = threads.sync.take().map(JoinHandle::join);
        self.shared.keeper.stop();
        let _ = threads.keep.take().map(JoinHandle::join);
        self.shared.lock.lock().take();
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn write(&self, frames: &Frames) -> Result<Ticket, TrailError> {
        let length = frames.bytes.len() as u64;
        let mut writer = self.writer.lock();
        loop {
            if self.flow.is_failed() {
                return Err(TrailError::Poisoned);
            }
            if self.closed.load(Ordering::Acquire) {
                return Err(TrailError::Closed);
            }
            if writer.offset > HEADER as u64 && writer.offset + length > self.full {
                self.roll(&mut writer).inspect_err(|error| {
                    if !matches!(error, TrailError::Full) {
                        self.flow.poison();
                    }
                })?;
            }
            if !writer.filling || writer.offset + length <= writer.ahead {
                break;
            }
            self.filled.wait(&mut writer);
        }
        let first = writer.tree.frontier().size();
        if let Err(source) = writer.file.write_at(&frames.bytes, writer.offset) {
            if is_full(&source) && writer.file.take_back(writer.offset, length, writer.ahead).is_ok() {
                return Err(TrailError::Full);
            }
            self.flow.poison();
            return Err(TrailError::Io { step: "write to the trail", source });
        }
        let (start, offset) = (writer.first, writer.offset);
        for (index, (leaf, at)) in (first..).zip(&frames.leaves) {
            if (index - start).is_multiple_of(STRIDE) {
                writer.marks.push(offset + at);
            }
            writer.tree.push(*leaf);
        }
        writer.offset += length;
        writer.ahead = writer.ahead.max(writer.offset);
        writer.dirty = true;
        let count = frames.leaves.len() as u64;
        self.written.store(first + count, Ordering::Release);
        let keep = writer.wants_fill(self.full) || writer.tree.pending().len() >= 64;
        drop(writer);
        if keep {
            self.keeper.poke();
        }
        Ok(Ticket { first, count })
    }

    /// Starts the next segment.
    fn roll(&self, writer: &mut Writer) -> Result<(), TrailError> {
        let first = writer.tree.frontier().size();
        let file =
            Arc::new(create_segment(&self.dir, &self.disk, &Header { first, before: Some((writer.first, writer.offset)) })?);
        let old = std::mem::replace(&mut writer.file, file);
        writer.unsynced.push(Arc::clone(&old));
        writer.uncut.push((old, writer.offset));
        writer.old.push(Arc::new(OldSegment {
            first: writer.first,
            path: segment::path(&self.dir, writer.first),
            marks: std::mem::take(&mut writer.marks).into(),
        }));
        (writer.first, writer.offset, writer.ahead, writer.filling) = (first, HEADER as u64, FIRST_FILL as u64, false);
        (writer.dirty, writer.unnamed) = (true, true);
        Ok(())
    }

    /// Syncs whenever somebody waits, until the trail is closed.
    fn sync_loop(&self) {
        loop {
            let go_on = self.flow.due();
            if !self.flow.is_failed() && self.sync().is_err() {
                self.flow.poison();
            }
            if !go_on {
                return;
            }
        }
    }

    fn sync(&self) -> Result<(), TrailError> {
        let (frontier, files, unnamed) = {
            let mut writer = self.writer.lock();
            let mut files = std::mem::take(&mut writer.unsynced);
            if std::mem::take(&mut writer.dirty) {
                files.push(Arc::clone(&writer.file));
            }
            (writer.tree.frontier().clone(), files, std::mem::take(&mut writer.unnamed))
        };
        for file in &files {
            file.sync().map_err(TrailError::at("sync the trail"))?;
        }
        if unnamed {
            sync_directory(&self.dir)?;
        }
        let end = frontier.size();
        *self.durable.lock() = frontier;
        self.flow.advance(end);
        Ok(())
    }
}

impl Writer {
    /// How many zeros are written ahead at once: as much as there is, between 256 KiB and 8 MiB.
    pub(super) fn fill_step(&self) -> u64 {
        self.offset.clamp(FIRST_FILL as u64, 8 << 20)
    }

    /// Whether so few zeros are left that more should be written.
    pub(super) fn wants_fill(&self, full: u64) -> bool {
        !self.filling && !self.full_disk && self.ahead < full && self.ahead - self.offset < self.fill_step() / 2
    }
}

/// Makes the file of a new segment, with its header and first zeros. Neither is durable yet. Nothing is left of one for which there is no room.
pub(super) fn create_segment(dir: &Path, disk: &Disk, header: &Header) -> Result<SegmentFile, TrailError> {
    let path = segment::path(dir, header.first);
    let refused =
        |step| move |source: std::io::Error| if is_full(&source) { TrailError::Full } else { TrailError::Io { step, source } };
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).map_err(refused("make a segment"))?;
    let file = SegmentFile::new(file, disk);
    let mut bytes = header.bytes().to_vec();
    bytes.resize(FIRST_FILL, 0);
    if let Err(source) = file.write_at(&bytes, 0) {
        fs::remove_file(&path).map_err(TrailError::at("remove a segment without room"))?;
        return Err(refused("write a segment's header")(source));
    }
    Ok(file)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> Result<(), TrailError> {
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(TrailError::at("sync the trail's directory"))
}
