use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use super::super::conformance;
use super::*;

fn open(directory: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(directory, Settings { cache_bytes: 1 << 20, reserve: Some(0) }, Arc::new(|step| panic!("fatal: {step}")))
}

fn batch(key: &[u8]) -> Batch {
    let mut batch = Batch::default();
    batch.put(key, key);
    batch
}

#[test]
fn the_store_on_disk_keeps_the_contract() {
    let home = tempfile::tempdir().unwrap();
    let mut number = 0;
    conformance::all(&mut || {
        number += 1;
        Box::new(open(&home.path().join(number.to_string())).unwrap())
    });
}

#[test]
fn rows_are_there_after_the_store_was_closed_and_its_directory_is_private() {
    let home = tempfile::tempdir().unwrap();
    let directory = home.path().join("data/db");
    let store = open(&directory).unwrap();
    store.commit(&batch(b"a")).unwrap();
    assert!(store.size_on_disk().unwrap() > 0);
    assert_eq!(store.health(), Ok(()));
    drop(store);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(open(&directory).unwrap().row(b"a"), Ok(Some(b"a".to_vec())));
}

#[test]
fn a_closed_store_can_be_opened_at_once() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..40u8 {
        let store = open(home.path()).unwrap();
        (0..20).for_each(|row| store.commit(&batch(&[round, row])).unwrap());
    }
}

#[test]
fn two_processes_cannot_have_it_open() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    assert!(matches!(open(home.path()), Err(StoreError::Unavailable("locking the database file"))));
    store.commit(&batch(b"still works")).unwrap();
}

#[test]
fn a_commit_below_the_reserve_is_refused_unless_it_serves_forgetting() {
    let home = tempfile::tempdir().unwrap();
    let statistics = rustix::fs::statvfs(home.path()).unwrap();
    let free = statistics.f_bavail * statistics.f_frsize;
    let reserve = Some(free.saturating_mul(3));
    let settings = Settings { reserve, ..Settings::default() };
    let store = SledStore::open(home.path(), settings, Arc::new(|step| panic!("fatal: {step}"))).unwrap();
    assert_eq!(store.room(), Ok(0));
    assert_eq!(store.commit(&batch(b"r")), Err(StoreError::Full));
    assert_eq!(store.row(b"r"), Ok(None));
    store.commit(&batch(b"x tombstone")).unwrap();
}

#[test]
fn a_failed_sync_poisons_the_store_and_tells_the_process() {
    let home = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&steps);
    let settings = Settings { reserve: Some(0), ..Settings::default() };
    let mut store = SledStore::open(home.path(), settings, Arc::new(move |step| told.lock().push(step))).unwrap();
    store.commit(&batch(b"a")).unwrap();
    // fdatasync of this device fails with EINVAL.
    store.file = File::open("/dev/null").unwrap();
    assert_eq!(store.commit(&batch(b"b")), Err(StoreError::Unavailable("syncing the database file")));
    assert_eq!(store.commit(&batch(b"c")), Err(StoreError::Poisoned));
    assert_eq!(store.health(), Err(StoreError::Poisoned));
    assert_eq!(*steps.lock(), ["syncing the database file"]);
    assert_eq!(store.row(b"a"), Ok(Some(b"a".to_vec())), "reading goes on");
}

#[test]
fn damaged_files_are_an_error_and_not_a_panic() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    (0..200u8).for_each(|row| store.commit(&batch(&[row; 60])).unwrap());
    drop(store);
    drop(open(home.path()).unwrap());
    let snapshot = names(home.path(), "snap.").unwrap().pop().unwrap();
    let path = home.path().join(snapshot);
    let mut bytes = fs::read(&path).unwrap();
    bytes[10] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(open(home.path()), Err(StoreError::Corrupt("opening the database"))));
}

#[test]
fn flipped_bits_anywhere_are_an_answer_or_an_error() {
    let home = tempfile::tempdir().unwrap();
    let original = home.path().join("original");
    let store = open(&original).unwrap();
    (0..300u16).for_each(|row| store.commit(&batch(&row.to_be_bytes().repeat(20))).unwrap());
    drop(store);
    drop(open(&original).unwrap());
    let bytes = fs::read(original.join("db")).unwrap();
    let used = bytes.iter().rposition(|byte| *byte > 1).unwrap();
    let mut refused = 0;
    for flip in 0..30usize {
        let directory = home.path().join(flip.to_string());
        make(&directory).unwrap();
        for name in names(&original, "").unwrap().iter().filter(|name| *name != "blobs") {
            fs::copy(original.join(name), directory.join(name)).unwrap();
        }
        let mut damaged = bytes.clone();
        damaged[flip * 1_037_389 % used] ^= 1 << (flip % 8);
        fs::write(directory.join("db"), damaged).unwrap();
        let read = open(&directory).and_then(|store| store.scan(b"", None, usize::MAX).map(|rows| rows.len()));
        match read {
            Ok(rows) => assert!(rows <= 300),
            Err(error) => {
                assert!(matches!(error, StoreError::Corrupt(_) | StoreError::Unavailable(_)));
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "damage is noticed at least at times");
}

#[test]
fn a_panic_inside_sled_is_an_error_of_the_step() {
    let panicking = guarded::<()>("reading a row", || panic!("as sled does with damaged pages"));
    assert_eq!(panicking, Err(StoreError::Corrupt("reading a row")));
}

#[test]
fn an_unfinished_snapshot_does_not_stop_the_next_start() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    store.commit(&batch(b"a")).unwrap();
    drop(store);
    fs::write(home.path().join("snap.FFFFFFFFFFFFFFFF.generating"), b"cut").unwrap();
    assert_eq!(open(home.path()).unwrap().row(b"a"), Ok(Some(b"a".to_vec())));
    assert!(names(home.path(), "snap.").unwrap().iter().all(|name| !name.as_encoded_bytes().ends_with(b".generating")));
}

#[test]
fn the_largest_rows_never_become_blob_files() {
    let home = tempfile::tempdir().unwrap();
    let store = open(home.path()).unwrap();
    let key = |row: u16| {
        let mut key = vec![b'r'; super::super::MAX_KEY];
        key[126..].copy_from_slice(&row.to_be_bytes());
        key
    };
    for round in 0..6u16 {
        for first in (0..200).step_by(40) {
            let mut batch = Batch::default();
            for row in first..first + 40 {
                // Removals leave thin leaves, which sled merges with full neighbours.
                if (row / 5 + round) % 3 == 0 {
                    batch.remove(key(row));
                } else {
                    batch.put(key(row), vec![row as u8; super::super::MAX_VALUE]);
                }
            }
            store.commit(&batch).unwrap();
            assert_eq!(store.health(), Ok(()));
        }
    }
}
