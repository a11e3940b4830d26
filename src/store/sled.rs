//! The store on disk: sled 0.34.7, kept on a short lead.
//!
//! sled's own `flush()` ends in `sync_file_range`, which survives a crash of the process but not of the machine. So
//! [`commit`](Store::commit) applies the batch, flushes, and then syncs sled's file itself (fdatasync) before it
//! returns. The other rules, and what each was learned from, are in docs/adr/0001-sled-with-fdatasync.md:
//!
//! | rule | because |
//! |---|---|
//! | no compression, no timer flush, cache given | its defaults are 1 GiB of cache and a background thread that syncs whenever it likes |
//! | one tree | atomicity across trees is not needed, so it need not be trusted |
//! | keys ≤ 128 B, values ≤ 6,000 B | a leaf of larger ones becomes a blob file, which is never synced |
//! | every call under `catch_unwind` | damaged files make sled panic rather than answer |
//! | the file is synced before sled opens it | after a kill, sled syncs its new snapshot, but the log that it describes only where it cuts the log's tail |
//! | unfinished snapshots are removed before opening | sled takes `snap.X.generating` for a snapshot and refuses to start |
//! | a reserve of free space | a full disk in the middle of a batch ends the process |
//! | a failed flush or sync ends everything | after a failed fsync the kernel drops the dirty pages, and a second fsync succeeds without them |

use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::room::Reserve;
use super::{Batch, MAX_KEY, MAX_VALUE, OnFatal, Row, Store, StoreError};

/// The most cache that sled is given; it takes about three times as much memory.
pub const MAX_CACHE: u64 = 128 << 20;

/// How often, and how long apart, closing looks whether sled has let go of its file: 5 s at most.
const CLOSING_TRIES: u32 = 1_000;
const CLOSING_PAUSE: Duration = Duration::from_millis(5);

/// How to open the store.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Bytes of sled's page cache; more than [`MAX_CACHE`] is cut to it.
    pub cache_bytes: u64,
    /// Free bytes on the file system below which commits are refused; `None` is 64 MiB or 2 %, whichever is smaller.
    pub reserve: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, reserve: None }
    }
}

/// Rows in one sled tree, in a directory that nothing else uses.
pub struct SledStore {
    /// `None` only while it is being dropped.
    database: Option<sled::Db>,
    directory: PathBuf,
    /// The file named `db`, which holds every row. Only synced through this handle.
    file: File,
    reserve: Reserve,
    on_fatal: OnFatal,
    poisoned: AtomicBool,
    /// One commit at a time; holds the names of the snapshots that are durable.
    committing: Mutex<Vec<std::ffi::OsString>>,
    /// Held for writing while a batch is applied, so that a scan sees all of it or nothing.
    applying: RwLock<()>,
}

impl SledStore {
    /// Opens the store in `directory`, and makes it (mode 0700) when it is not there.
    ///
    /// Errors: [`StoreError::Unavailable`] when another process has it open or the disk refuses, and
    /// [`StoreError::Corrupt`] when sled cannot read its own files. It tries once.
    pub fn open(directory: &Path, settings: Settings, on_fatal: OnFatal) -> Result<Self, StoreError> {
        make(directory).map_err(|_| StoreError::Unavailable("making the directory"))?;
        // sled would say no more than that it cannot.
        let mount = rustix::fs::statvfs(directory).map_err(|_| StoreError::Unavailable("looking at the file system"))?;
        if mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) {
            return Err(StoreError::Unavailable("opening the database on a read-only file system"));
        }
        prepare(directory)?;
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(settings.cache_bytes.min(MAX_CACHE))
            .use_compression(false)
            .flush_every_ms(None);
        let database = guarded("opening the database", || config.open())?;
        let (file, snapshots) = settle(directory).map_err(|_| StoreError::Unavailable("syncing the new files"))?;
        Ok(Self {
            database: Some(database),
            directory: directory.to_owned(),
            file,
            reserve: Reserve::new(settings.reserve),
            on_fatal,
            poisoned: AtomicBool::new(false),
            committing: Mutex::new(snapshots),
            applying: RwLock::new(()),
        })
    }

    /// Whether commits still work and sled keeps to its one file.
    pub fn health(&self) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        match names(&self.directory.join("blobs"), "") {
            Ok(blobs) if blobs.is_empty() => Ok(()),
            Ok(_) => Err(StoreError::Corrupt("a row became a blob file")),
            Err(_) => Err(StoreError::Unavailable("listing blob files")),
        }
    }

    /// Puts rows in without making them durable, for a store that nobody uses before a [`commit`](Store::commit) has made it whole.
    /// `None` removes a row. Row by row: sled takes sorted rows half again as fast as in batches.
    pub(crate) fn load<'a>(&self, rows: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<(), StoreError> {
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        if self.reserve.room(&self.directory, false)? == 0 {
            return Err(StoreError::Full);
        }
        let tree = self.tree()?;
        rows.into_iter().try_for_each(|(key, value)| {
            if key.is_empty() || key.len() > MAX_KEY || value.is_some_and(|value| value.len() > MAX_VALUE) {
                return Err(StoreError::TooLarge);
            }
            guarded("loading a row", || match value {
                Some(value) => tree.insert(key, value).map(drop),
                None => tree.remove(key).map(drop),
            })
        })
    }

    fn tree(&self) -> Result<&sled::Tree, StoreError> {
        self.database.as_deref().ok_or(StoreError::Poisoned)
    }

    fn poison(&self, step: &'static str) {
        self.poisoned.store(true, Ordering::Release);
        (self.on_fatal)(step);
    }

    fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let mut writes = sled::Batch::default();
        for (key, value) in &batch.writes {
            match value {
                Some(value) => writes.insert(key.as_slice(), value.as_slice()),
                None => writes.remove(key.as_slice()),
            }
        }
        let tree = self.tree()?;
        let _alone = self.applying.write();
        guarded("applying a batch", || tree.apply_batch(writes))
    }

    fn make_durable(&self, snapshots: &mut Vec<std::ffi::OsString>) -> Result<(), StoreError> {
        let tree = self.tree()?;
        guarded("flushing", || tree.flush())?;
        self.file.sync_data().map_err(|_| StoreError::Unavailable("syncing the database file"))?;
        let now = names(&self.directory, "snap.").map_err(|_| StoreError::Unavailable("listing snapshots"))?;
        if *snapshots != now {
            sync(&self.directory).map_err(|_| StoreError::Unavailable("syncing the directory"))?;
            *snapshots = now;
        }
        sync_blobs(&self.directory).map_err(|_| StoreError::Unavailable("syncing blob files"))
    }
}

impl Store for SledStore {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let tree = self.tree()?;
        guarded("reading a row", || tree.get(key)).map(|value| value.map(|value| value.to_vec()))
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let tree = self.tree()?;
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let _whole = self.applying.read();
        guarded("scanning rows", || {
            let mut rows = Vec::new();
            for row in tree.range::<&[u8], _>((start, Bound::Unbounded)).take(limit) {
                let (key, value) = row?;
                if !key.starts_with(prefix) {
                    break;
                }
                rows.push((key.to_vec(), value.to_vec()));
            }
            Ok(rows)
        })
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        batch.check()?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut snapshots = self.committing.lock();
        if self.poisoned.load(Ordering::Acquire) {
            return Err(StoreError::Poisoned);
        }
        if self.reserve.room(&self.directory, batch.forgets())? == 0 {
            return Err(StoreError::Full);
        }
        let done = self.apply(batch).and_then(|()| self.make_durable(&mut snapshots));
        if let Err(StoreError::Unavailable(step) | StoreError::Corrupt(step)) = done {
            self.poison(step);
        }
        done
    }

    fn room(&self) -> Result<u64, StoreError> {
        self.reserve.room(&self.directory, false)
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        blocks(&self.directory).map_err(|_| StoreError::Unavailable("measuring the files"))
    }
}

impl Drop for SledStore {
    /// sled writes and syncs once more when its last handle goes, and panics when it cannot. Its threads may hold the
    /// file and its lock for some moments longer; this waits for them, so that the next `open` finds the file free.
    fn drop(&mut self) {
        let database = self.database.take();
        if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
            tracing::error!("sled panicked while it was closed");
        }
        let free = (0..CLOSING_TRIES).any(|_| {
            let free = self.file.try_lock().is_ok();
            if !free {
                std::thread::sleep(CLOSING_PAUSE);
            }
            free
        });
        if !free {
            tracing::error!("sled still holds its file; it can be opened again when this process has ended");
        }
    }
}

/// Calls sled, and turns its errors and its panics into ours.
fn guarded<T>(step: &'static str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(sled::Error::Io(_) | sled::Error::Unsupported(_))) => Err(StoreError::Unavailable(step)),
        Ok(Err(_)) | Err(_) => Err(StoreError::Corrupt(step)),
    }
}

fn make(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    directory.parent().map_or(Ok(()), sync)
}

/// Makes what an earlier process left behind fit for sled to read.
fn prepare(directory: &Path) -> Result<(), StoreError> {
    let file = match File::open(directory.join("db")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => return Err(StoreError::Unavailable("opening the database file")),
    };
    // sled takes this lock too, through a handle of its own, so it is given back before sled opens.
    file.try_lock().map_err(|_| StoreError::Unavailable("locking the database file"))?;
    let clean = || -> io::Result<()> {
        for name in names(directory, "snap.")? {
            if name.as_encoded_bytes().ends_with(b".generating") {
                fs::remove_file(directory.join(name))?;
            }
        }
        file.sync_all()
    };
    clean().map_err(|_| StoreError::Unavailable("preparing the database file"))?;
    file.unlock().map_err(|_| StoreError::Unavailable("unlocking the database file"))
}

/// Makes the files that sled makes at opening durable with their names. Gives the file of the rows and the snapshots.
fn settle(directory: &Path) -> io::Result<(File, Vec<std::ffi::OsString>)> {
    let file = File::open(directory.join("db"))?;
    file.sync_all()?;
    sync(&directory.join("conf"))?;
    sync_blobs(directory)?;
    let snapshots = names(directory, "snap.")?;
    sync(&directory.join("blobs"))?;
    sync(directory)?;
    Ok((file, snapshots))
}

/// With sizes as they are there is never a blob file. If there is one all the same, it is synced like every row.
fn sync_blobs(directory: &Path) -> io::Result<()> {
    let directory = directory.join("blobs");
    let blobs = names(&directory, "")?;
    for name in &blobs {
        match sync(&directory.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    if blobs.is_empty() { Ok(()) } else { sync(&directory) }
}

fn sync(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// The names in a directory that start with `prefix`, sorted.
fn names(directory: &Path, prefix: &str) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        if name.as_encoded_bytes().starts_with(prefix.as_bytes()) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What the files of a directory take on the medium, in bytes.
fn blocks(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        match entry.metadata() {
            Ok(file) if file.is_dir() => bytes += blocks(&entry.path())?,
            Ok(file) => bytes += file.blocks() * 512,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
