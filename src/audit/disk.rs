//! The files under the trail, with a second kind whose writes and syncs fail on demand, for tests of what a bad disk does.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;

/// What the trail's files stand on.
#[derive(Clone, Default)]
pub enum Disk {
    /// The operating system's files.
    #[default]
    Plain,
    /// The same, until the faults strike.
    Failing(Arc<Faults>),
}

/// How many more writes and syncs succeed. Everything succeeds until told otherwise.
pub struct Faults {
    writes: AtomicI64,
    full: AtomicBool,
    syncs: AtomicI64,
    done: AtomicI64,
    /// For each file (its inode) that was written to since its last sync, from where on.
    unsynced: Mutex<HashMap<u64, u64>>,
}

impl Default for Faults {
    fn default() -> Self {
        let endless = || AtomicI64::new(i64::MAX);
        Self {
            writes: endless(),
            full: AtomicBool::new(false),
            syncs: endless(),
            done: AtomicI64::new(0),
            unsynced: Mutex::default(),
        }
    }
}

impl Faults {
    /// Lets `left` more writes succeed; those after that stop half-way with `EIO`.
    pub fn fail_writes_after(&self, left: i64) {
        self.full.store(false, Ordering::SeqCst);
        self.writes.store(left, Ordering::SeqCst);
    }

    /// Lets `left` more writes succeed; those after that stop half-way with `ENOSPC`.
    pub fn fill_up_after(&self, left: i64) {
        self.full.store(true, Ordering::SeqCst);
        self.writes.store(left, Ordering::SeqCst);
    }

    /// There is room again, and nothing fails.
    pub fn heal(&self) {
        self.writes.store(i64::MAX, Ordering::SeqCst);
        self.syncs.store(i64::MAX, Ordering::SeqCst);
    }

    /// Lets `left` more syncs succeed; the one after that fails with `EIO`.
    pub fn fail_syncs_after(&self, left: i64) {
        self.syncs.store(left, Ordering::SeqCst);
    }

    /// How many syncs of entries were done.
    pub fn syncs_done(&self) -> i64 {
        self.done.load(Ordering::SeqCst)
    }

    /// From where on a power cut may take or tear what was written, for each file by its inode.
    pub fn unsynced(&self) -> HashMap<u64, u64> {
        self.unsynced.lock().clone()
    }

    fn note(&self, inode: u64, from: u64) {
        self.unsynced.lock().entry(inode).and_modify(|at| *at = from.min(*at)).or_insert(from);
    }
}

/// Whether the disk, or the share of it that is ours, is full: what was not written then is not there, and nothing else is lost.
pub(crate) fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// One segment's file.
pub(crate) struct SegmentFile {
    file: File,
    disk: Disk,
}

impl SegmentFile {
    pub(crate) fn new(file: File, disk: &Disk) -> Self {
        Self { file, disk: disk.clone() }
    }

    /// One write(2) where the operating system takes everything at once.
    pub(crate) fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        if let Disk::Failing(faults) = &self.disk {
            faults.note(self.file.metadata()?.ino(), at);
            if faults.writes.fetch_sub(1, Ordering::SeqCst) <= 0 {
                self.file.write_all_at(&bytes[..bytes.len() / 2], at)?;
                let full = faults.full.load(Ordering::SeqCst);
                return Err(if full { io::ErrorKind::StorageFull.into() } else { io::Error::other("injected") });
            }
        }
        self.file.write_all_at(bytes, at)
    }

    /// Takes a write back that the disk had no room for: zeros again up to `ahead`, and nothing behind it.
    pub(crate) fn take_back(&self, at: u64, length: u64, ahead: u64) -> io::Result<()> {
        self.fill(at, ahead.min(at + length))?;
        if at + length > ahead { self.file.set_len(ahead) } else { Ok(()) }
    }

    /// Makes what was written durable (fdatasync).
    pub(crate) fn sync(&self) -> io::Result<()> {
        let Disk::Failing(faults) = &self.disk else { return self.file.sync_data() };
        if faults.syncs.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::other("injected"));
        }
        // What is written from here on may not be covered.
        let inode = self.file.metadata()?.ino();
        let from = faults.unsynced.lock().remove(&inode);
        let done = self.file.sync_data();
        match (&done, from) {
            (Ok(()), _) => _ = faults.done.fetch_add(1, Ordering::SeqCst),
            (Err(_), Some(from)) => faults.note(inode, from),
            (Err(_), None) => {}
        }
        done
    }

    /// Fills `from..to` with zeros, so that later syncs need not write the file's metadata.
    pub(crate) fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut at = from;
        while at < to {
            let part = (to - at).min(zeros.len() as u64);
            self.file.write_all_at(&zeros[..part as usize], at)?;
            at += part;
        }
        Ok(())
    }

    /// Cuts the file at `length`.
    pub(crate) fn cut(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()
    }

    /// Fills `buffer` from `at`; short at the end of the file.
    pub(crate) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}
