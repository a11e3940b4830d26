//! The files under the trail, with a second kind whose writes and syncs fail on demand, for tests of what a bad disk does.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

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
    syncs: AtomicI64,
    done: AtomicI64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { writes: AtomicI64::new(i64::MAX), syncs: AtomicI64::new(i64::MAX), done: AtomicI64::new(0) }
    }
}

impl Faults {
    /// Lets `left` more writes succeed; the one after that stops half-way with `ENOSPC`.
    pub fn fail_writes_after(&self, left: i64) {
        self.writes.store(left, Ordering::SeqCst);
    }

    /// Lets `left` more syncs succeed; the one after that fails with `EIO`.
    pub fn fail_syncs_after(&self, left: i64) {
        self.syncs.store(left, Ordering::SeqCst);
    }

    /// How many syncs of entries were done.
    pub fn syncs_done(&self) -> i64 {
        self.done.load(Ordering::SeqCst)
    }
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
        if let Disk::Failing(faults) = &self.disk
            && faults.writes.fetch_sub(1, Ordering::SeqCst) <= 0
        {
            self.file.write_all_at(&bytes[..bytes.len() / 2], at)?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.write_all_at(bytes, at)
    }

    /// Makes what was written durable (fdatasync).
    pub(crate) fn sync(&self) -> io::Result<()> {
        if let Disk::Failing(faults) = &self.disk {
            if faults.syncs.fetch_sub(1, Ordering::SeqCst) <= 0 {
                return Err(io::Error::other("injected"));
            }
            faults.done.fetch_add(1, Ordering::SeqCst);
        }
        self.file.sync_data()
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
