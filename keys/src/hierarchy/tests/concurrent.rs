//! Readers and the one committer at the same time.

use std::collections::HashSet;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::{Memory, Vault, groups, id, ids, known};
use crate::place::{Place, SUBJECTS, digit, subject_bits};
use crate::{Group, GroupSet, Id, Inserts, RowWrite, Rows, Shred};

const WRAP: &[u8] = b"wrap";

fn keep_wrap(memory: &Memory, wrap: Vec<u8>, writes: &[RowWrite]) {
    let mut writes = writes.to_vec();
    writes.push(RowWrite { key: WRAP.to_vec(), value: Some(wrap) });
    memory.commit(&writes);
}

/// With caches so small that nearly every read goes through the rows, and with roomy ones.
#[test]
fn reads_go_on_through_transitions_and_never_see_the_dead() {
    for (subjects, nodes) in [(16, 4), (65_536, 8_192)] {
        let mut vault = Vault::new();
        vault.hierarchy = vault.hierarchy.take().map(|hierarchy| hierarchy.with_cache(subjects, nodes));
        run(&vault);
    }
}

fn run(vault: &Vault) {
    let all = vault.add_subjects(&ids(3_000), groups(&[1, 2]));
    let everybody: Vec<Id> = all.keys().copied().collect();
    // One subject is renewed over and over, and its record's wrap moves along in the same batch.
    let (renewed, record, group) = (id(), id(), Group::new(1).unwrap());
    vault.add_subjects(&[renewed], groups(&[1]));
    let keys = vault.keys().subject(&vault.memory, &renewed).unwrap().unwrap();
    let (_, wraps) = keys.new_record_key(&record, groups(&[1])).unwrap();
    keep_wrap(&vault.memory, wraps[0].1.clone(), &[]);
    drop(keys);

    let (gone, doomed): (RwLock<HashSet<Id>>, RwLock<HashSet<Id>>) = Default::default();
    let (stop, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for seed in 0..3_u64 {
            let (gone, doomed, stop, reads, all, everybody) = (&gone, &doomed, &stop, &reads, &all, &everybody);
            scope.spawn(move || {
                let mut state = seed * 7_919 + 1;
                while !stop.load(Ordering::Relaxed) {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let id = &everybody[(state >> 33) as usize % everybody.len()];
                    let was_gone = gone.read().unwrap().contains(id);
                    match vault.keys().subject(&vault.memory, id).unwrap() {
                        Some(keys) => {
                            assert!(!was_gone, "a subject was read after its erasure was sealed");
                            assert_eq!(known(&keys), all[id]);
                        }
                        None => assert!(doomed.read().unwrap().contains(id), "a living subject was not found"),
                    }
                    read_renewed(vault, &renewed, &record, group);
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let work = || -> Result<(), crate::KeysError> {
            for (round, victims) in everybody.chunks(7).take(150).enumerate() {
                let keys = vault.keys();
                let mut shreds: Vec<_> = victims.iter().map(|id| Shred::Subject(*id)).collect();
                shreds.push(Shred::Renew(renewed, groups(&[1])));
                let transition = keys.begin(&vault.memory, &shreds)?;
                thread::yield_now();
                if round % 5 == 4 {
                    keys.abandon(transition)?;
                } else {
                    doomed.write().unwrap().extend(victims);
                    let old = vault.memory.row(WRAP)?.unwrap();
                    let wrap = transition.rewrap(&renewed, &record, group, &old)?;
                    keep_wrap(&vault.memory, wrap, transition.writes());
                    thread::yield_now();
                    keys.finish(transition)?;
                    gone.write().unwrap().extend(victims);
                }
                let subjects = (0..20).map(|_| keys.new_subject(id(), GroupSet::EMPTY)).collect::<Result<_, _>>()?;
                let staged = keys.stage(&vault.memory, Inserts { subjects, ..Inserts::default() })?;
                vault.memory.commit(&staged.writes);
                thread::yield_now();
                keys.adopt(staged);
            }
            Ok(())
        };
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done.unwrap();
    });
    assert!(reads.load(Ordering::Relaxed) > 100);
    let gone = gone.into_inner().unwrap();
    for (id, keys) in &all {
        assert_eq!(vault.read(id).as_ref(), Some(keys).filter(|_| !gone.contains(id)));
    }
}

/// As the vault reads: keys, then rows; both again when they do not open, for a commit may have come between.
fn read_renewed(vault: &Vault, renewed: &Id, record: &Id, group: Group) {
    let opens = || {
        let keys = vault.keys().subject(&vault.memory, renewed).unwrap().unwrap();
        let wrap = vault.memory.row(WRAP).unwrap().unwrap();
        let permit = vault.gate.permit(*renewed, group, None, [0; 16]);
        keys.record_key(&permit, record, &[(group, wrap)]).is_ok()
    };
    loop {
        let turn = vault.keys().turn();
        if opens() || opens() {
            return;
        }
        assert_ne!(vault.keys().turn(), turn, "a read failed twice though nothing came between");
    }
}

/// The race that would let a shredded key back in: a reader opens a row, a transition runs from beginning to end, the reader caches what it has.
/// Once with the bucket, the last row on the way, and once with the interior node above it.
#[test]
fn what_was_read_before_a_transition_is_not_cached_after_it() {
    struct Slow<'a> {
        vault: &'a Vault,
        victim: Id,
        at: Vec<u8>,
        done: AtomicBool,
    }
    impl Rows for Slow<'_> {
        fn row(&self, row_key: &[u8]) -> Result<Option<Vec<u8>>, crate::RowsError> {
            let row = self.vault.memory.row(row_key);
            if row_key == self.at && !self.done.swap(true, Ordering::SeqCst) {
                self.vault.shred(&[Shred::Subject(self.victim)]);
            }
            row
        }

        fn tree_rows(&self, each: &mut dyn FnMut(&[u8], &[u8])) -> Result<(), crate::RowsError> {
            self.vault.memory.tree_rows(each)
        }
    }
    for level in [0, 1] {
        let vault = Vault::new();
        // Alone in its bucket, whose row goes: who looks for it below the old node finds nothing, and has no cause to look again.
        let mut victim = id();
        victim[0] = 0;
        let others: Vec<_> = ids(200).into_iter().filter(|id| id[0] > 1).collect();
        vault.add_subjects(&others, groups(&[1]));
        vault.add_subjects(&[victim], groups(&[1]));
        let bucket = Place::top(SUBJECTS).child(digit(subject_bits(&victim), 0));
        let at = if level == 0 { Place::top(SUBJECTS) } else { bucket };
        let old: Vec<_> = vault.memory.archive().into_iter().filter(|(key, _)| key[..] == bucket.row_key()).collect();
        assert_eq!(vault.keys().leftovers_open(&old), old.len(), "they open as long as the victim lives");
        vault.keys().opened.forget();

        let slow = Slow { vault: &vault, victim, at: at.row_key().to_vec(), done: AtomicBool::new(false) };
        let seen = vault.keys().subject(&slow, &victim).unwrap();
        assert!(slow.done.load(Ordering::SeqCst));
        assert_eq!(seen.is_some(), level == 1, "who opened the bucket before the transition has its keys, who did not has none");
        assert_eq!(vault.keys().leftovers_open(&old), 0, "an interior node from before stayed in the cache");
        assert_eq!(vault.read(&victim), None, "a shredded key stayed in the cache");
    }
}

#[test]
fn while_a_transition_is_open_readers_see_each_row_as_it_is() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(300), groups(&[1, 2]));
    let mut people = all.keys();
    let (shredded, changed) = (*people.next().unwrap(), *people.next().unwrap());
    let shreds = [Shred::Subject(shredded), Shred::Groups(changed, groups(&[2]))];
    let transition = vault.keys().begin(&vault.memory, &shreds).unwrap();
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    vault.memory.commit(transition.writes());
    assert_eq!(vault.read(&shredded), None);
    assert_eq!(vault.read(&changed).unwrap().keys().copied().collect::<Vec<_>>(), [0, 1]);
    let rest = || all.iter().filter(|(id, _)| **id != shredded && **id != changed);
    assert!(rest().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    vault.keys().opened.forget();
    assert!(rest().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    vault.keys().finish(transition).unwrap();
    assert!(rest().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    vault.keys().opened.forget();
    assert!(rest().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn one_transition_at_a_time() {
    let vault = Vault::new();
    let refused = |result: Result<(), crate::KeysError>| matches!(result, Err(crate::KeysError::Misuse(_)));
    let first = vault.keys().begin(&vault.memory, &[]).unwrap();
    assert!(refused(vault.keys().begin(&vault.memory, &[]).map(drop)));
    assert!(refused(vault.keys().stage(&vault.memory, Inserts::default()).map(drop)));
    assert!(refused(vault.keys().rotate_root(crate::root::RootKey::random().unwrap(), || Ok(()))));
    vault.keys().abandon(first).unwrap();
    let other = Vault::new();
    let foreign = other.keys().begin(&other.memory, &[]).unwrap();
    assert!(refused(vault.keys().finish(foreign).map(drop)));
}
