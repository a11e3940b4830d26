//! The hierarchy as a whole, over rows in memory that keep everything ever written.

mod attacker;
mod concurrent;
mod damage;
mod erasure;
mod files;
mod model;
mod places;
mod trees;
mod turning;
mod walking;

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, RwLock};

use tempfile::TempDir;

use crate::context::{Group, GroupSet, Id};
use crate::error::RowsError;
use crate::random;
use crate::root::RootKey;
use crate::subject::SubjectKeys;
use crate::{Gate, Hierarchy, Inserts, Keyring, RowWrite, Rows, Sealed, Shred};

/// Committed rows, and every version of a row that was ever committed: what a forensic laboratory would find.
#[derive(Default)]
struct Memory {
    rows: RwLock<HashMap<Vec<u8>, Vec<u8>>>,
    archive: Mutex<Vec<(Vec<u8>, Vec<u8>)>>,
}

impl Memory {
    fn commit(&self, writes: &[RowWrite]) {
        let mut rows = self.rows.write().unwrap();
        for write in writes {
            match &write.value {
                Some(value) => {
                    assert!(value.len() <= 6_000, "a row of {} bytes", value.len());
                    self.archive.lock().unwrap().push((write.key.clone(), value.clone()));
                    rows.insert(write.key.clone(), value.clone())
                }
                None => rows.remove(&write.key),
            };
        }
    }

    fn archive(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.archive.lock().unwrap().clone()
    }
}

impl Rows for Memory {
    fn row(&self, row_key: &[u8]) -> Result<Option<Vec<u8>>, RowsError> {
        Ok(self.rows.read().unwrap().get(row_key).cloned())
    }

    fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), RowsError> {
        for (key, value) in &*self.rows.read().unwrap() {
            if key.first() == Some(&b'n') {
                each(key, value);
            }
        }
        Ok(())
    }
}

const VAULT: Id = *b"the vault's id..";

/// A vault that can be closed, crashed and opened again.
struct Vault {
    directory: TempDir,
    memory: Memory,
    root: RootKey,
    hierarchy: Option<Hierarchy>,
    gate: Gate,
}

impl Vault {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = RootKey::random().unwrap();
        let keyring = Keyring::create(&directory.path().join("keys/keyring"), VAULT).unwrap();
        let (hierarchy, gate, writes) = Hierarchy::create(VAULT, root.duplicate(), keyring).unwrap();
        let memory = Memory::default();
        memory.commit(&writes);
        Self { directory, memory, root, hierarchy: Some(hierarchy), gate }
    }

    fn keys(&self) -> &Hierarchy {
        self.hierarchy.as_ref().unwrap()
    }

    fn keyring(&self) -> PathBuf {
        self.directory.path().join("keys/keyring")
    }

    fn slots(&self) -> Vec<u8> {
        std::fs::read(self.keyring()).unwrap()
    }

    /// Forgets everything in memory, as kill -9 would.
    fn close(&mut self) {
        self.hierarchy = None;
    }

    fn reopen(&mut self) {
        self.close();
        let keyring = Keyring::open(&self.keyring()).unwrap();
        let (hierarchy, gate) = Hierarchy::open(VAULT, self.root.duplicate(), keyring, &self.memory).unwrap();
        (self.hierarchy, self.gate) = (Some(hierarchy), gate);
    }

    fn add(&self, inserts: Inserts) -> Vec<(Id, Arc<SubjectKeys>)> {
        let staged = self.keys().stage(&self.memory, inserts).unwrap();
        self.memory.commit(&staged.writes);
        let added = staged.added.clone();
        self.keys().adopt(staged);
        added
    }

    fn add_subjects(&self, ids: &[Id], groups: GroupSet) -> HashMap<Id, Known> {
        let subjects: Vec<_> = ids.iter().map(|id| self.keys().new_subject(*id, groups).unwrap()).collect();
        let known = subjects.iter().map(|new| (*new.id(), known(new.keys()))).collect();
        self.add(Inserts { subjects, ..Inserts::default() });
        known
    }

    fn shred(&self, shreds: &[Shred]) -> Sealed {
        let transition = self.keys().begin(&self.memory, shreds).unwrap();
        self.memory.commit(transition.writes());
        self.keys().finish(transition).unwrap()
    }

    /// What the vault itself can still read of a subject.
    fn read(&self, id: &Id) -> Option<Known> {
        self.keys().subject(&self.memory, id).unwrap().map(|keys| known(&keys))
    }
}

/// The keys of a subject, by class: generation and bytes.
type Known = BTreeMap<u16, (u32, [u8; 32])>;

fn known(keys: &SubjectKeys) -> Known {
    keys.entries().map(|entry| (entry.class, (entry.generation, *entry.key.bytes()))).collect()
}

fn id() -> Id {
    random::bytes().unwrap()
}

fn ids(count: usize) -> Vec<Id> {
    (0..count).map(|_| id()).collect()
}

fn groups(numbers: &[u8]) -> GroupSet {
    numbers.iter().map(|number| Group::new(*number).unwrap()).collect()
}
