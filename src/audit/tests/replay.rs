//! The rows that the trail says must be there.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tempfile::TempDir;

use crate::audit::testing::{ORIGIN, TestKey, entry};
use crate::audit::{Break, Entry, Note, Outcome, Report, Trail, row_hash, verify};

type Store = BTreeMap<String, Vec<u8>>;

struct Vault {
    dir: TempDir,
    key: TestKey,
    store: Store,
    entries: Vec<Entry>,
}

impl Vault {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), key: TestKey::new(ORIGIN), store: Store::new(), entries: Vec::new() }
    }

    fn hash(name: &str, value: &[u8]) -> [u8; 32] {
        row_hash(name.as_bytes(), value)
    }

    /// An entry that writes these rows (`None` removes), without touching the store.
    fn note(&mut self, rows: &[(&str, Option<&[u8]>)]) -> u64 {
        let mut entry = Entry { outcome: Outcome::Done, ..entry(self.entries.len() as u64) };
        for (name, value) in rows {
            entry.dropped.extend(self.store.get(*name).map(|old| Self::hash(name, old)));
            entry.written.extend(value.map(|value| Self::hash(name, value)));
        }
        self.entries.push(entry);
        self.entries.len() as u64 - 1
    }

    /// The same, and the store takes them.
    fn write(&mut self, rows: &[(&str, Option<&[u8]>)]) -> u64 {
        let index = self.note(rows);
        for (name, value) in rows {
            match value {
                Some(value) => self.store.insert((*name).to_owned(), value.to_vec()),
                None => self.store.remove(*name),
            };
        }
        index
    }

    fn void(&mut self, entries: Vec<u64>) -> u64 {
        let note = Note::Void { entries };
        self.entries.push(Entry { outcome: Outcome::Void, note, ..entry(self.entries.len() as u64) });
        self.entries.len() as u64 - 1
    }

    fn verify(&self, store: &Store) -> Report {
        let dir = self.dir.path().join(format!("{}-{}", self.entries.len(), store.len()));
        if !dir.exists() {
            let (trail, _) = Trail::open(&dir, self.key.signer(), self.key.key.public, ORIGIN, None).unwrap();
            let _ = trail.append(&self.entries).unwrap();
        }
        let mut rows = store.iter().map(|(name, value)| (name.clone(), Self::hash(name, value)));
        verify(&dir, &self.key.key.public, Some(&mut rows)).unwrap()
    }
}

fn row(name: &str) -> Option<Break> {
    Some(Break::Row { name: name.into() })
}

#[test]
fn a_changed_rolled_back_swapped_added_or_missing_row_is_named() {
    let mut vault = Vault::new();
    vault.write(&[("a", Some(b"1")), ("b", Some(b"1"))]);
    let second = vault.write(&[("a", Some(b"2")), ("c", Some(b"7"))]);
    vault.write(&[("d", Some(b"x"))]);
    vault.write(&[("d", None)]);
    let right = vault.store.clone();
    let report = vault.verify(&right);
    assert_eq!((report.first_break, report.rows_checked, report.rows_wrong, report.rows_missing), (None, 3, 0, 0));

    let broken = |change: &dyn Fn(&mut Store)| {
        let mut store = right.clone();
        change(&mut store);
        vault.verify(&store).first_break
    };
    let set = |store: &mut Store, name: &str, value: &[u8]| drop(store.insert(name.into(), value.to_vec()));
    assert_eq!(broken(&|store| set(store, "b", b"2")), row("b"), "changed");
    assert_eq!(broken(&|store| set(store, "a", b"1")), row("a"), "rolled back");
    assert_eq!(broken(&|store| set(store, "d", b"x")), row("d"), "resurrected");
    assert_eq!(broken(&|store| set(store, "e", b"x")), row("e"), "added");
    let swap = |store: &mut Store| {
        set(store, "a", b"7");
        set(store, "c", b"2");
    };
    assert_eq!(broken(&swap), row("a"), "swapped");
    assert_eq!(broken(&|store| drop(store.remove("c"))), Some(Break::MissingRow { index: second }), "missing");
}

#[test]
fn the_rows_of_a_voided_entry_are_not_waited_for() {
    let mut vault = Vault::new();
    vault.write(&[("a", Some(b"1"))]);
    let lost = vault.note(&[("a", Some(b"2")), ("b", Some(b"2"))]);
    let store = vault.store.clone();
    assert_eq!(vault.verify(&store).first_break, row("a"));
    vault.write(&[("c", Some(b"1"))]);
    vault.void(vec![lost]);
    vault.write(&[("a", Some(b"3"))]);
    assert_eq!(vault.verify(&vault.store).first_break, None);
}

#[test]
fn only_an_earlier_entry_can_be_voided_and_only_once() {
    for (voids, broken) in [(vec![vec![0, 0]], 1), (vec![vec![0], vec![0]], 2), (vec![vec![1]], 1), (vec![vec![7]], 1)] {
        let mut vault = Vault::new();
        vault.note(&[("a", Some(b"1"))]);
        for void in voids {
            vault.void(void);
        }
        assert_eq!(vault.verify(&Store::new()).first_break, Some(Break::Replay { index: broken }));
    }
}

#[test]
fn an_entry_that_drops_what_never_was_is_named() {
    let mut vault = Vault::new();
    vault.write(&[("a", Some(b"1"))]);
    let mut wrong = entry(1);
    wrong.dropped.push(Vault::hash("a", b"0"));
    vault.entries.push(wrong);
    assert_eq!(vault.verify(&vault.store).first_break, Some(Break::Replay { index: 1 }));
}

#[test]
fn a_row_written_again_with_the_same_bytes_counts_once() {
    let mut vault = Vault::new();
    vault.write(&[("a", Some(b"1"))]);
    vault.write(&[("a", Some(b"1"))]);
    assert_eq!(vault.verify(&vault.store).first_break, None);
    assert_eq!(vault.verify(&Store::new()).first_break, Some(Break::MissingRow { index: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_fits_its_store_and_no_other(
        steps in proptest::collection::vec((proptest::collection::btree_map(0_u8..12, proptest::option::of(0_u8..4), 1..4), 0_u8..5), 1..40),
        victim in any::<prop::sample::Index>(),
    ) {
        let mut vault = Vault::new();
        let mut lost = Vec::new();
        for (rows, fate) in &steps {
            let rows: Vec<_> = rows.iter().map(|(name, value)| (format!("row-{name}"), value.map(|value| vec![value; 3]))).collect();
            let rows: Vec<_> = rows.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
            match fate {
                0 => lost.push(vault.note(&rows)),
                1 if !lost.is_empty() => drop(vault.void(std::mem::take(&mut lost))),
                _ => drop(vault.write(&rows)),
            }
        }
        vault.void(lost);
        prop_assert_eq!(vault.verify(&vault.store).first_break, None);
        if !vault.store.is_empty() {
            let mut store = vault.store.clone();
            let name = store.keys().nth(victim.index(store.len())).unwrap().clone();
            store.get_mut(&name).unwrap().push(9);
            prop_assert_eq!(vault.verify(&store).first_break, row(&name));
        }
    }
}
