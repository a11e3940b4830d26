//! An acknowledged commit survives a power cut at any moment; with sled's own flush alone it does not.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use oubliette::store::sled::{Settings, SledStore};
use oubliette::store::{Batch, Store, StoreError};

use super::recording::{place, run};
use crate::recorder::{Kind, Loss, Random, Recording};

const CHILD: &str = "store::power_cut::commits_until_the_end";

/// Rows of one batch; all of a batch are there or none.
const ROWS: u32 = 5;

/// Batches write to the same places again and again, so that sled reuses its segments.
const PLACES: u32 = 40;

fn open(directory: &Path) -> Result<SledStore, StoreError> {
    let settings = Settings { cache_bytes: 1 << 20, reserve: Some(0) };
    SledStore::open(&directory.join("db"), settings, Arc::new(|step| panic!("fatal: {step}")))
}

/// The batch of this number. Values grow to the largest that a row may have.
fn batch(number: u32) -> Batch {
    let mut batch = Batch::default();
    for row in 0..ROWS {
        let key = [b"r".as_slice(), &(number % PLACES).to_be_bytes(), &row.to_be_bytes()].concat();
        if number.wrapping_mul(7) % 13 == row {
            batch.remove(key);
        } else {
            let length = 40 + number as usize * 977 % if number.is_multiple_of(10) { 5_960 } else { 300 };
            batch.put(key, number.to_be_bytes().repeat(length.div_ceil(4)));
        }
    }
    batch.put(b"j".as_slice(), number.to_be_bytes());
    batch
}

/// What the rows are after batches 1 to `last`.
fn rows_after(last: u32) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = std::collections::BTreeMap::new();
    for (key, value) in (1..=last).flat_map(|number| batch(number).writes) {
        match value {
            Some(value) => rows.insert(key, value),
            None => rows.remove(&key),
        };
    }
    rows.into_iter().collect()
}

#[test]
#[ignore = "run by the tests below, in a process of its own"]
fn commits_until_the_end() {
    let Some((directory, setting)) = place() else { return };
    let mut words = setting.split(' ');
    let how = words.next().unwrap();
    let (first, last): (u32, u32) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().parse().unwrap());
    let acknowledged = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("acknowledged")).unwrap();
    drop(open(&directory).unwrap());
    match how {
        "wrapper" => {
            let store = open(&directory).unwrap();
            for number in first..=last {
                store.commit(&batch(number)).unwrap();
                acknowledged.write_at(&number.to_be_bytes(), 0).unwrap();
            }
            end(store, &setting);
        }
        // Commits until the disk refuses; from then on the store answers that it is poisoned, and reads go on.
        "refused" => {
            let fatal = Arc::new(AtomicU32::new(0));
            let told = Arc::clone(&fatal);
            let settings = Settings { cache_bytes: 1 << 20, reserve: Some(0) };
            let on_fatal = Arc::new(move |_: &'static str| {
                told.fetch_add(1, Ordering::SeqCst);
            });
            let store = SledStore::open(&directory.join("db"), settings, on_fatal).unwrap();
            let refused = (first..=last).find(|&number| {
                let done = store.commit(&batch(number));
                done.is_err() || acknowledged.write_at(&number.to_be_bytes(), 0).is_err()
            });
            let refused = refused.expect("the disk refuses at last");
            assert_eq!(store.commit(&batch(refused)), Err(StoreError::Poisoned));
            assert_eq!(fatal.load(Ordering::SeqCst), 1);
            assert!(store.row(b"j").unwrap().is_some());
        }
        // What a program does that trusts sled: the same batches, and its own flush.
        "flush" => {
            let config = sled::Config::new().path(directory.join("db")).flush_every_ms(None).cache_capacity(1 << 20);
            let tree = config.open().unwrap();
            for number in first..=last {
                let mut writes = sled::Batch::default();
                for (key, value) in batch(number).writes {
                    match value {
                        Some(value) => writes.insert(key, value),
                        None => writes.remove(key),
                    }
                }
                tree.apply_batch(writes).unwrap();
                tree.flush().unwrap();
                acknowledged.write_at(&number.to_be_bytes(), 0).unwrap();
            }
            end(tree, &setting);
        }
        other => panic!("{other}"),
    }
}

/// Closes the store, or leaves the process as kill -9 does.
fn end<T>(store: T, setting: &str) {
    if setting.ends_with("abort") {
        std::process::abort();
    }
    drop(store);
}

/// What the medium gives back after a cut.
#[derive(Debug, PartialEq)]
enum After {
    /// Everything that was acknowledged, and at most what was in flight.
    Kept,
    /// So many acknowledged batches are gone, and the rest is whole.
    Lost(u32),
    /// The store does not open.
    Closed,
    /// Rows of different moments.
    Torn,
}

fn after(recording: &Recording, cut: usize, loss: Loss) -> After {
    let number = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_be_bytes);
    let acknowledged = recording.last_written("acknowledged", cut).map_or(0, number);
    let home = tempfile::tempdir().unwrap();
    recording.image(cut, loss).write(home.path());
    let Ok(store) = open(home.path()) else { return After::Closed };
    let Ok(rows) = store.scan(b"", None, usize::MAX) else { return After::Closed };
    let last = store.row(b"j").unwrap().map_or(0, |value| number(&value));
    if rows != rows_after(last) || last > acknowledged + 1 {
        After::Torn
    } else if last < acknowledged {
        After::Lost(acknowledged - last)
    } else {
        After::Kept
    }
}

/// Cuts at `count` moments after the first acknowledgement, in each way; gives what came back.
fn cuts(recording: &Recording, count: u64, seed: u64) -> Vec<(usize, Loss, After)> {
    let mut random = Random(seed);
    let start = (0..recording.events.len()).find(|&cut| recording.last_written("acknowledged", cut).is_some()).unwrap();
    let mut outcomes = Vec::new();
    for seed in 0..count {
        let cut = start + random.below((recording.events.len() - start) as u64 + 1) as usize;
        for loss in [Loss::Everything, Loss::SomeWrites(seed), Loss::SomePages(seed), Loss::Nothing] {
            outcomes.push((cut, loss, after(recording, cut, loss)));
        }
    }
    outcomes
}

/// `OUBLIETTE_CUTS="500 7 3000"` asks for 500 moments from the seed 7 in 3,000 batches, for a long run.
fn campaign() -> Option<(u64, u64, u32)> {
    let asked = std::env::var("OUBLIETTE_CUTS").ok()?;
    let mut words = asked.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

#[test]
fn no_acknowledged_commit_is_lost_in_a_power_cut() {
    let (moments, seed, batches) = campaign().unwrap_or((30, 1, 400));
    let home = tempfile::tempdir().unwrap();
    let (_, log) = run(CHILD, home.path(), &format!("wrapper 1 {batches}"));
    let recording = Recording::load(&log, None);
    let bad: Vec<_> = cuts(&recording, moments, seed).into_iter().filter(|(_, _, after)| *after != After::Kept).collect();
    assert!(
        bad.is_empty(),
        "{} cuts of {} events lost something, first {:?}",
        bad.len(),
        recording.events.len(),
        &bad[..bad.len().min(5)]
    );
}

#[test]
fn with_sleds_own_flush_acknowledged_commits_are_lost() {
    let home = tempfile::tempdir().unwrap();
    let (_, log) = run(CHILD, home.path(), "flush 1 400 abort");
    let recording = Recording::load(&log, None);
    let outcomes = cuts(&recording, 15, 2);
    let lost = outcomes.iter().filter(|(_, loss, after)| matches!(loss, Loss::Everything) && matches!(after, After::Lost(1..)));
    assert!(lost.count() >= 10, "the control must lose what it acknowledged: {outcomes:?}");
    let killed = outcomes.iter().filter(|(_, loss, _)| matches!(loss, Loss::Nothing));
    assert!(killed.clone().all(|(_, _, after)| *after == After::Kept), "a killed process alone loses nothing: {outcomes:?}");
}

#[test]
fn a_cut_while_the_store_opens_after_a_kill_loses_nothing_that_it_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let (_, log) = run(CHILD, home.path(), "wrapper 1 200");
    let killed = Recording::load(&log, None);
    // The kill comes between sled's write and the sync.
    let kill = killed.events.iter().rposition(|event| event.kind == Kind::SyncFileRange).unwrap();
    let home = tempfile::tempdir().unwrap();
    killed.image(kill, Loss::Nothing).write(&home.path().join("watched"));
    let (_, log) = run(CHILD, home.path(), "wrapper 201 200");
    let recording = killed.then(kill, &Recording::load(&log, None));

    let opening = &recording.events[kill..];
    let synced = opening.iter().position(|event| event.kind == Kind::Fsync).unwrap();
    let written = opening.iter().position(|event| event.kind == Kind::Write).unwrap();
    assert!(synced < written, "what the killed process wrote is synced before sled builds on it");

    for cut in kill..=recording.events.len() {
        for loss in [Loss::Everything, Loss::SomeWrites(cut as u64), Loss::SomePages(cut as u64)] {
            let after = after(&recording, cut, loss);
            assert_eq!(after, After::Kept, "at {cut} of {kill}..={}, {loss:?}", recording.events.len());
        }
    }
}

#[test]
fn a_disk_that_refuses_in_the_middle_ends_commits_and_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("watched");
    fs::create_dir(&directory).unwrap();
    // The largest file may be 1.5 MiB; the signal that comes with the refusal is ignored, so that write(2) fails.
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f $1; shift; exec \"$@\"", "sh", "3072"]).arg(std::env::current_exe().unwrap());
    limited.args([CHILD, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    limited.env("OUBLIETTE_TEST_DIR", &directory).env("OUBLIETTE_TEST_SETTING", "refused 1 5000");
    let done = limited.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let number = |bytes: Vec<u8>| u32::from_be_bytes(bytes.try_into().unwrap());
    let acknowledged = number(fs::read(directory.join("acknowledged")).unwrap());
    assert!((10..5000).contains(&acknowledged), "{acknowledged}");
    let store = open(&directory).unwrap();
    let last = number(store.row(b"j").unwrap().unwrap());
    assert!((acknowledged..=acknowledged + 1).contains(&last), "{acknowledged} {last}");
    assert_eq!(store.scan(b"", None, usize::MAX).unwrap(), rows_after(last));
}

#[test]
fn the_watched_directory_holds_sleds_files_alone() {
    let home = tempfile::tempdir().unwrap();
    let (directory, _) = run(CHILD, home.path(), "wrapper 1 20");
    let mut names: Vec<String> =
        fs::read_dir(directory.join("db")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with("snap."));
    names.sort();
    assert_eq!(names, ["blobs", "conf", "db"]);
    drop(File::open(directory.join("db/db")).unwrap());
}
