//! Key trees of some size over rows in memory, made once for all benches.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::{OnceLock, PoisonError, RwLock};

use keys::secret::SecretString;
use keys::{Gate, Group, GroupSet, Hierarchy, Id, Inserts, Keyring, RowWrite, Rows, RowsError, root};

/// The vault's id.
pub(crate) const VAULT: Id = [7; 16];

/// Subjects that are staged in one batch while a tree grows.
const BATCH: usize = 1000;

/// A hierarchy with its committed rows.
pub(crate) struct Forest {
    pub(crate) hierarchy: Hierarchy,
    pub(crate) gate: Gate,
    pub(crate) rows: Committed,
    /// The root key and the keyring, which is written at every transition.
    _files: tempfile::TempDir,
}

/// Rows in memory.
#[derive(Default)]
pub(crate) struct Committed(RwLock<BTreeMap<Vec<u8>, Vec<u8>>>);

impl Committed {
    /// Takes what was staged.
    pub(crate) fn apply(&self, writes: &[RowWrite]) {
        let mut rows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for write in writes {
            match &write.value {
                Some(value) => rows.insert(write.key.clone(), value.clone()),
                None => rows.remove(&write.key),
            };
        }
    }
}

impl Rows for Committed {
    fn row(&self, row_key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(row_key).cloned())
    }

    fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), RowsError> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).iter().for_each(|(key, value)| each(key, value));
        Ok(())
    }
}

/// The tree with so many subjects; it is made when it is first asked for.
pub(crate) fn of(subjects: usize) -> &'static Forest {
    static SMALL: OnceLock<Forest> = OnceLock::new();
    static LARGE: OnceLock<Forest> = OnceLock::new();
    let place = if subjects <= 10_000 { &SMALL } else { &LARGE };
    place.get_or_init(|| Forest::grown(subjects))
}

/// Subject number `n`: spread over the tree like a random id.
pub(crate) fn subject(n: usize) -> Id {
    let digest = keys::digest::sha256(&[&n.to_be_bytes()]);
    digest[..16].try_into().expect("32 bytes have a first half")
}

/// The groups of every subject.
pub(crate) fn groups() -> GroupSet {
    [1, 2].into_iter().filter_map(Group::new).collect()
}

/// A directory on the disk that goes when it is dropped.
pub(crate) fn directory() -> tempfile::TempDir {
    let below = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&below).expect("the target directory can be written");
    let private = Permissions::from_mode(0o700);
    tempfile::Builder::new().permissions(private).tempdir_in(below).expect("the target directory can be written")
}

impl Forest {
    fn grown(subjects: usize) -> Self {
        let files = directory();
        let passphrase = SecretString::from("correct horse battery staple");
        let root = root::create(&files.path().join("root"), &passphrase, VAULT).expect("a root key");
        let keyring = Keyring::create(&files.path().join("keyring"), VAULT).expect("a keyring");
        let (hierarchy, gate, writes) = Hierarchy::create(VAULT, root, keyring).expect("a hierarchy");
        let rows = Committed::default();
        rows.apply(&writes);
        let forest = Self { hierarchy, gate, rows, _files: files };
        for first in (0..subjects).step_by(BATCH) {
            forest.insert(first..subjects.min(first + BATCH));
        }
        forest
    }

    /// Adds subjects in one batch.
    pub(crate) fn insert(&self, numbers: std::ops::Range<usize>) {
        let subjects = numbers.map(|n| self.hierarchy.new_subject(subject(n), groups()).expect("keys of a subject")).collect();
        let staged = self.hierarchy.stage(&self.rows, Inserts { subjects, ..Inserts::default() }).expect("staging");
        self.rows.apply(&staged.writes);
        self.hierarchy.adopt(staged);
    }
}
