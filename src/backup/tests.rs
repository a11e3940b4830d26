//! Targets over a store in memory: what a stop, a refusal and a target that is away leave behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keys::Id;

use super::frame::{FrameReader, Kind, decode_rows};
use super::ship::{Base, Target, numbered};
use super::{BackupError, Backups, Origin, Public, SealPolicy, Settings};
use crate::audit::note::VerifyingKey;
use crate::audit::{PublicKeys, Trail};
use crate::model::time::Clock;
use crate::store::layout::{CommitMark, RowKey};
use crate::store::memory::{Fault, MemoryStore};
use crate::store::{Batch, Row, Store, StoreError};

const VAULT: Id = [7; 16];
const PUBLIC: [u8; 32] = [9; 32];

/// A store that counts its scans, and fails the one that it is told to.
struct Counted {
    inner: MemoryStore,
    scans: AtomicU64,
    fails_at: AtomicU64,
}

impl Store for Counted {
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.row(key)
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        if self.scans.fetch_add(1, Ordering::Relaxed) + 1 == self.fails_at.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("scanning"));
        }
        self.inner.scan(prefix, after, limit)
    }

    fn commit(&self, batch: &Batch) -> Result<(), StoreError> {
        self.inner.commit(batch)
    }

    fn room(&self) -> Result<u64, StoreError> {
        self.inner.room()
    }

    fn size_on_disk(&self) -> Result<u64, StoreError> {
        self.inner.size_on_disk()
    }
}

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<Counted>,
    trail: Arc<Trail>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Counted { inner: MemoryStore::new(), scans: AtomicU64::new(0), fails_at: AtomicU64::new(0) };
        let trail = Trail::open(&dir.path().join("trail"), Arc::new(|_: &[u8]| None), PUBLIC, "test", None).unwrap().0;
        Self { dir, store: Arc::new(store), trail: Arc::new(trail) }
    }

    fn origin(&self) -> Origin {
        let (home, trail) = (self.dir.path().to_owned(), self.trail.clone());
        let newest = VerifyingKey { name: "test".into(), public: PUBLIC };
        let public = Public::of(PublicKeys::from(PUBLIC), &newest, "");
        Origin { vault: VAULT, public, home, trail, clock: Clock::system() }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn settings(&self, targets: &[&str]) -> Settings {
        let targets = targets.iter().map(|name| self.folder(name)).collect();
        Settings { targets, every: None, keep: 1, seal: SealPolicy::AfterBackup, needed: 0, bytes_per_second: 0 }
    }

    fn target(&self, settings: &Settings) -> Target {
        Target::attach(settings.targets[0].clone(), settings, &self.origin(), self.store.clone(), 1)
    }

    /// Both targets, each with a base.
    fn backups(&self, settings: &Settings) -> Arc<Backups> {
        let store: Arc<dyn Store> = self.store.clone();
        let backups = Backups::attach(settings, &self.origin(), &store, 1);
        for target in backups.targets() {
            let base = target.make_base().unwrap();
            target.locked().base = Some(base);
        }
        backups
    }
}

/// A batch of this number with one row.
fn batch(number: u64, key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(key.to_vec(), value.to_vec());
    batch.put(RowKey::Mark.bytes(), CommitMark { number, entries: 0 }.bytes());
    batch
}

/// A batch that opens an epoch.
fn closing(number: u64) -> Batch {
    batch(number, b"n\xff", &[1; 40])
}

/// Every row of a base, in order.
fn rows_of(folder: &Path, base: &Base) -> Vec<Row> {
    let mut rows = Vec::new();
    for file in &base.files {
        let mut reader = FrameReader::open(&folder.join(&file.name), Kind::Rows, &VAULT).unwrap();
        while let Some(frame) = reader.next().unwrap() {
            rows.extend(decode_rows(&frame.payload).unwrap().into_iter().map(|(key, value)| (key, value.unwrap())));
        }
    }
    rows
}

/// The numbers of the batches in the log, and the rows of the last one.
fn log_of(folder: &Path) -> (Vec<u64>, Vec<Row>) {
    let (mut all, mut last) = (Vec::new(), Vec::new());
    for first in numbered(&folder.join("log"), "log-").unwrap() {
        let path = folder.join(format!("log/log-{first:016x}"));
        let mut reader = FrameReader::open(&path, Kind::Log, &VAULT).unwrap();
        while let Some(frame) = reader.next().unwrap() {
            all.push(frame.number);
            last = decode_rows(&frame.payload).unwrap().into_iter().map(|(key, value)| (key, value.unwrap())).collect();
        }
    }
    (all, last)
}

#[test]
fn a_base_that_was_cut_off_goes_on_after_its_last_whole_part_and_holds_every_row_once() {
    let bench = Bench::new();
    // Two parts and a bit.
    for (number, chunk) in (1..).zip(0..50_u32) {
        let mut rows = Batch::default();
        (0..500_u32)
            .for_each(|row| rows.put([b"r".as_slice(), &(chunk * 500 + row).to_be_bytes()].concat(), vec![row as u8; 6_000]));
        rows.put(RowKey::Mark.bytes(), CommitMark { number, entries: 0 }.bytes());
        bench.store.commit(&rows).unwrap();
    }
    let settings = bench.settings(&["one"]);
    let target = bench.target(&settings);
    bench.store.fails_at.store(40, Ordering::Relaxed);
    assert!(matches!(target.make_base(), Err(BackupError::Store(_))));
    drop(target);
    let folder = bench.folder("one");
    let base = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let base = base.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with("base-")).last().unwrap();
    let kept = fs::metadata(base.join("rows-00000000")).unwrap().modified().unwrap();
    // Another process: what is whole stays, and only what is missing is read.
    bench.store.scans.store(0, Ordering::Relaxed);
    bench.store.fails_at.store(0, Ordering::Relaxed);
    let target = bench.target(&settings);
    let made = target.make_base().unwrap();
    assert_eq!(fs::metadata(base.join("rows-00000000")).unwrap().modified().unwrap(), kept);
    assert!(bench.store.scans.load(Ordering::Relaxed) < 35, "{} scans", bench.store.scans.load(Ordering::Relaxed));
    let rows = rows_of(&folder, &made);
    assert_eq!(rows.len(), 25_001);
    assert_eq!(rows, bench.store.scan(b"", None, usize::MAX).unwrap());
    assert!(!base.join("part.new").exists());
}

#[test]
fn a_throttled_base_ends_when_it_is_told_to() {
    let bench = Bench::new();
    for number in 1..=2 {
        bench.store.commit(&batch(number, &[b'r', number as u8], &[1; 5_000])).unwrap();
    }
    // A byte a second: unless it were told to stop, this would take hours; unless it were throttled, it would be done.
    let target = bench.target(&Settings { bytes_per_second: 1, ..bench.settings(&["one"]) });
    std::thread::scope(|threads| {
        let making = threads.spawn(|| target.make_base());
        while target.written.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        assert!(!making.is_finished());
        target.stopping.store(true, Ordering::Release);
        assert!(matches!(making.join().unwrap(), Err(BackupError::Stopped)));
    });
}

#[test]
fn a_batch_that_the_store_refuses_is_taken_back_from_every_target() {
    let bench = Bench::new();
    bench.store.commit(&batch(1, b"ra", b"1")).unwrap();
    let backups = bench.backups(&bench.settings(&["one", "two"]));
    let store = backups.store();
    store.commit(&batch(2, b"rb", b"2")).unwrap();
    bench.store.inner.fail(1, Fault::Full);
    assert_eq!(store.commit(&batch(3, b"rc", b"never")), Err(StoreError::Full));
    store.commit(&batch(3, b"rd", b"3")).unwrap();
    for name in ["one", "two"] {
        let (numbers, last) = log_of(&bench.folder(name));
        assert_eq!((numbers, &last[0]), (vec![2, 3], &(b"rd".to_vec(), b"3".to_vec())), "{name}");
    }
    assert!(backups.standing().iter().all(|target| target.whole && target.trouble.is_none()));
}

#[test]
fn an_epoch_is_closed_only_where_as_many_targets_as_are_needed_hold_its_rows() {
    let bench = Bench::new();
    bench.store.commit(&batch(1, b"ra", b"1")).unwrap();
    let all = bench.backups(&bench.settings(&["one", "two"]));
    let store = all.store();
    fs::rename(bench.folder("two"), bench.folder("away")).unwrap();
    // Both are needed: it is refused, and the one that took it is left as it was.
    assert!(matches!(store.commit(&closing(2)), Err(StoreError::Unavailable(_))));
    assert!(bench.store.row(b"n\xff").unwrap().is_none());
    assert_eq!(all.standing().iter().map(|target| target.whole).collect::<Vec<_>>(), [true, false]);
    assert!(all.covers(0).is_empty());
    store.commit(&batch(2, b"rb", b"2")).unwrap();
    assert_eq!(log_of(&bench.folder("one")).1[0].0, b"rb");
    assert!(matches!(store.commit(&closing(3)), Err(StoreError::Unavailable(_))));
    drop((store, all));

    // One is enough: the other one is away, and the list of those that hold it says so.
    let bench = Bench::new();
    bench.store.commit(&batch(1, b"ra", b"1")).unwrap();
    let either = bench.backups(&Settings { needed: 1, ..bench.settings(&["one", "two"]) });
    fs::rename(bench.folder("two"), bench.folder("away")).unwrap();
    either.store().commit(&closing(2)).unwrap();
    assert_eq!(either.covers(0).iter().map(|(target, _)| target.to_path_buf()).collect::<Vec<_>>(), [bench.folder("one")]);
    assert_eq!(log_of(&bench.folder("one")).0, [2]);
}
