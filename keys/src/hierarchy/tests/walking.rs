//! Turning over every key of the trees: nothing old is left, nobody is lost, and nothing that happens meanwhile gets past it.

use super::*;
use crate::wrap::KeyId;
use crate::{Leaf, Walked};

/// Leaves that one step looks at: few, so that interior nodes are cut in two.
const FEW: usize = 37;

impl Vault {
    /// One step of the walk; where the next one begins.
    fn step(&self, since: u64, after: Option<Leaf>) -> Walked {
        let walked = self.keys().walk(&self.memory, since, after, FEW).unwrap();
        if !walked.stale.is_empty() {
            self.shred(&walked.stale.iter().copied().map(Shred::Leaf).collect::<Vec<_>>());
        }
        walked
    }

    /// The whole walk, with something done after every step.
    fn turn_over(&mut self, mut meanwhile: impl FnMut(&mut Self, usize)) {
        let since = self.keys().epoch();
        let (mut after, mut steps) = (None, 0);
        loop {
            after = self.step(since, after).next;
            steps += 1;
            meanwhile(self, steps);
            if after.is_none() {
                return;
            }
        }
    }

    /// The epochs in which the keys of the rows' places were made, as the rows themselves say: no help from the walk.
    fn made(&self) -> Vec<(Vec<u8>, u64)> {
        let mut made = Vec::new();
        self.memory.tree_rows(&mut |key, row| made.push((key.to_vec(), KeyId::read(row).unwrap().epoch))).unwrap();
        made
    }

    fn nothing_is_as_old_as(&self, epoch: u64) {
        for (key, made) in self.made() {
            assert!(made > epoch, "the row {key:?} is under a key of epoch {made}");
        }
    }

    fn tree_of(count: usize) -> (Self, HashMap<Id, Known>) {
        let vault = Self::new();
        // Close together, so that the tree is deep.
        let near = |mut id: Id| {
            id[0] &= 7;
            id
        };
        let ids: Vec<Id> = ids(count).into_iter().map(near).collect();
        let known = vault.add_subjects(&ids, groups(&[1, 2, 5]));
        let alias = |(number, id): (usize, &Id)| (vault.keys().alias_of(&VAULT, 1, &format!("{number}@example.org")), *id);
        let aliases = known.keys().enumerate().map(alias).collect();
        vault.add(Inserts { aliases, ..Inserts::default() });
        (vault, known)
    }
}

#[test]
fn after_the_walk_no_row_is_under_a_key_from_before_and_every_subject_has_the_keys_it_had() {
    let (mut vault, known) = Vault::tree_of(900);
    assert!(vault.made().iter().any(|(key, _)| key[2] == 2), "the tree is deep enough to tell");
    let epoch = vault.keys().epoch();
    vault.turn_over(|_, _| {});
    vault.nothing_is_as_old_as(epoch);
    vault.reopen();
    for (id, keys) in &known {
        assert_eq!(vault.read(id).as_ref(), Some(keys));
    }
}

#[test]
fn a_walk_that_is_cut_short_goes_on_where_it_was_in_another_process() {
    let (mut vault, known) = Vault::tree_of(400);
    let epoch = vault.keys().epoch();
    vault.turn_over(|vault, _| vault.reopen());
    vault.nothing_is_as_old_as(epoch);
    assert!(known.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn what_is_added_split_or_shredded_during_the_walk_does_not_get_past_it() {
    let (mut vault, mut known) = Vault::tree_of(300);
    let epoch = vault.keys().epoch();
    vault.turn_over(|vault, step| {
        if step % 5 == 0 {
            known.extend(vault.add_subjects(&ids(60), groups(&[1])));
        }
        if step % 7 == 0 {
            let victim = *known.keys().next().unwrap();
            vault.shred(&[Shred::Subject(victim)]);
            known.remove(&victim);
        }
    });
    vault.nothing_is_as_old_as(epoch);
    assert!(known.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn a_node_that_was_split_after_the_beginning_is_not_taken_for_new_because_its_children_are() {
    let mut vault = Vault::new();
    vault.add_subjects(&ids(10), groups(&[1]));
    let since = vault.keys().epoch();
    vault.shred(&[]);
    // The bucket at the top becomes a node: its place keeps the old key, its children get new ones.
    vault.add_subjects(&ids(100), groups(&[1]));
    let top = |vault: &Vault| vault.made().into_iter().find(|(key, _)| key[1..] == [0; 6]).unwrap().1;
    assert_eq!(top(&vault), since);
    let mut after = None;
    while let Some(next) = vault.step(since, after).next {
        after = Some(next);
    }
    vault.nothing_is_as_old_as(since);
    vault.reopen();
}

#[test]
fn the_walk_leaves_alone_what_is_new_and_ends() {
    let (mut vault, _) = Vault::tree_of(200);
    let epoch = vault.keys().epoch();
    vault.turn_over(|_, _| {});
    let (before, mut after) = (vault.keys().epoch(), None);
    loop {
        let walked = vault.step(epoch, after);
        assert!(walked.stale.is_empty() && walked.looked_at <= FEW as u64);
        match walked.next {
            Some(next) => {
                assert!(after.is_none_or(|after| after < next) && Leaf::parse(&next.bytes()) == Some(next));
                after = Some(next);
            }
            None => break,
        }
    }
    assert_eq!(vault.keys().epoch(), before);
    assert_eq!((Leaf::parse(&[9; 17]), Leaf::parse(&[0; 16])), (None, None));
}
