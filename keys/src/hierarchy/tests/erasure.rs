//! What destruction is worth against the adversary of [`super::attacker`], and that the adversary is worth something.

use std::collections::HashMap;

use super::attacker::{Effort, Loot, attack};
use super::{Known, Vault, groups, id, ids};
use crate::context::Id;
use crate::{Alias, Group, Inserts, KeysError, Shred};

fn holds(loot: &Loot, keys: &Known) -> bool {
    keys.values().all(|(_, key)| loot.subject_keys.contains(key))
}

fn holds_any(loot: &Loot, keys: &Known) -> bool {
    keys.values().any(|(_, key)| loot.subject_keys.contains(key))
}

struct Story {
    vault: Vault,
    all: HashMap<Id, Known>,
    victims: Vec<Id>,
    aliases: HashMap<Id, Alias>,
    slots_before: Vec<u8>,
}

/// `count` subjects with an alias each, inserted over time; then `shredded` of them are erased in one transition.
fn story(count: usize, shredded: usize, batch: usize) -> Story {
    let vault = Vault::new();
    let mut all = HashMap::new();
    let mut aliases = HashMap::new();
    for ids in ids(count).chunks(batch) {
        all.extend(vault.add_subjects(ids, groups(&[1, 3])));
        let tag = |id: &Id| vault.keys().alias_of(&[7; 16], 1, &format!("{id:?}@example.org"));
        let new: Vec<_> = ids.iter().map(|id| (tag(id), *id)).collect();
        aliases.extend(new.iter().map(|(tag, id)| (*id, *tag)));
        vault.add(Inserts { aliases: new, ..Inserts::default() });
    }
    let victims: Vec<Id> = all.keys().copied().take(shredded).collect();
    let slots_before = vault.slots();
    let shreds = victims.iter().flat_map(|id| [Shred::Subject(*id), Shred::Alias(aliases[id], *id)]);
    let epoch = vault.keys().epoch();
    let sealed = vault.shred(&shreds.collect::<Vec<_>>());
    assert_eq!((sealed.epoch_closed, sealed.epoch), (epoch, epoch + 1));
    Story { vault, all, victims, aliases, slots_before }
}

fn the_living_open_and_the_erased_do_not(story: &Story, effort: Effort) {
    let loot = attack(&story.vault.memory.archive(), &story.vault.root, &story.vault.slots(), effort);
    assert!(loot.system_opened);
    for (id, keys) in &story.all {
        let alias = (story.aliases[id].first().unwrap(), *id);
        if story.victims.contains(id) {
            assert!(!holds_any(&loot, keys), "a shredded key was recovered");
            assert!(!loot.aliases.contains(&alias), "a shredded alias was confirmed");
            assert_eq!(story.vault.read(id), None);
            assert!(story.vault.keys().alias(&story.vault.memory, &story.aliases[id]).unwrap().is_empty());
        } else {
            assert!(holds(&loot, keys), "a living key was lost");
            assert!(loot.aliases.contains(&alias), "a living alias was lost");
            assert_eq!(story.vault.read(id).as_ref(), Some(keys));
            assert_eq!(story.vault.keys().alias(&story.vault.memory, &story.aliases[id]).unwrap(), [*id]);
        }
    }
}

#[test]
fn every_byte_ever_written_with_todays_keys_brings_nobody_back() {
    let story = story(300, 30, 60);
    the_living_open_and_the_erased_do_not(&story, Effort::Every);
}

#[test]
fn nobody_comes_back_from_a_tree_of_three_levels() {
    let story = story(6_000, 100, 1_500);
    let deepest = story.vault.memory.archive().iter().map(|(key, _)| key[2]).max();
    assert!(deepest >= Some(2), "the tree is only {deepest:?} deep");
    the_living_open_and_the_erased_do_not(&story, Effort::ByPlace);
}

/// The control: without the erasure of the slot, the same adversary gets everybody. It also shows that the archive is complete.
#[test]
fn an_old_copy_of_the_slot_brings_everybody_back() {
    let story = story(300, 30, 60);
    let loot = attack(&story.vault.memory.archive(), &story.vault.root, &story.slots_before, Effort::ByPlace);
    assert!(story.all.values().all(|keys| holds(&loot, keys)));
    assert!(story.aliases.iter().all(|(id, tag)| loot.aliases.contains(&(tag.first().unwrap(), *id))));
}

#[test]
fn between_begin_and_finish_nothing_is_sealed_yet() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(50), groups(&[1]));
    let victim = *all.keys().next().unwrap();
    let transition = vault.keys().begin(&vault.memory, &[Shred::Subject(victim)]).unwrap();
    vault.memory.commit(transition.writes());
    let caught = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::ByPlace);
    assert!(holds(&caught, &all[&victim]));
    vault.keys().finish(transition).unwrap();
    let late = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::ByPlace);
    assert!(!holds_any(&late, &all[&victim]));
}

/// A bucket's rows from before its split hold keys that have since moved a level down, and lie under a key that still lives.
#[test]
fn the_rows_of_a_bucket_from_before_its_split_go_with_the_first_key_below_it() {
    let vault = Vault::new();
    let early = vault.add_subjects(&ids(10), groups(&[1]));
    assert_eq!(vault.memory.archive().iter().map(|(key, _)| key[2]).max(), Some(0), "still one bucket");
    let late = vault.add_subjects(&ids(200), groups(&[1]));
    let before = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(early.values().all(|keys| holds(&before, keys)));

    let victim = *early.keys().next().unwrap();
    let old_rows = vault.memory.archive();
    vault.shred(&[Shred::Subject(victim)]);
    let after = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(!holds_any(&after, &early[&victim]), "the row from before the split gave the victim away");
    for (id, keys) in early.iter().chain(&late).filter(|(id, _)| **id != victim) {
        assert!(holds(&after, keys));
        assert_eq!(vault.read(id).as_ref(), Some(keys));
    }
    let touched: Vec<_> = old_rows.into_iter().filter(|(key, _)| key[1] == 0 && key[2] == 0).collect();
    assert!(touched.len() >= 2);
    assert_eq!(vault.keys().leftovers_open(&touched), 0);
}

#[test]
fn withdrawing_one_group_destroys_that_key_alone() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(100), groups(&[1, 4, 7]));
    let person = *all.keys().next().unwrap();
    vault.shred(&[Shred::Groups(person, groups(&[4]))]);
    let loot = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    for (id, keys) in &all {
        for (class, (_, key)) in keys {
            assert_eq!(loot.subject_keys.contains(key), (id, class) != (&person, &4));
        }
    }
    assert_eq!(vault.keys().subject(&vault.memory, &person).unwrap().unwrap().groups(), groups(&[1, 7]));
}

#[test]
fn after_a_renewal_only_rewrapped_records_open() {
    let vault = Vault::new();
    vault.add_subjects(&ids(80), groups(&[1, 2]));
    let (person, kept, deleted) = (id(), id(), id());
    let before_keys = vault.add_subjects(&[person], groups(&[1, 2]));
    let old = vault.keys().subject(&vault.memory, &person).unwrap().unwrap();
    let (_, kept_wraps) = old.new_record_key(&kept, groups(&[1, 2])).unwrap();
    let (_, deleted_wraps) = old.new_record_key(&deleted, groups(&[1])).unwrap();

    let transition = vault.keys().begin(&vault.memory, &[Shred::Renew(person, groups(&[1]))]).unwrap();
    let group = Group::new(1).unwrap();
    let rewrapped: Vec<_> =
        kept_wraps.iter().map(|(group, wrap)| (*group, transition.rewrap(&person, &kept, *group, wrap).unwrap())).collect();
    assert!(transition.rewrap(&person, &deleted, group, &kept_wraps[0].1).is_err(), "a wrap of another record was moved");
    assert!(matches!(transition.rewrap(&id(), &kept, group, &kept_wraps[0].1), Err(KeysError::Misuse(_))));
    assert_eq!(transition.keys_after(&person).unwrap().groups(), groups(&[1, 2]));
    vault.memory.commit(transition.writes());
    vault.keys().finish(transition).unwrap();

    let permit = vault.gate.permit(person, group, None, [9; 16]);
    let now = vault.keys().subject(&vault.memory, &person).unwrap().unwrap();
    assert!(now.record_key(&permit, &kept, &rewrapped).is_ok());
    assert!(matches!(now.record_key(&permit, &kept, &kept_wraps), Err(KeysError::Damaged)));
    assert!(matches!(now.record_key(&permit, &deleted, &deleted_wraps), Err(KeysError::Damaged)));
    // The group that was not renewed has the key it had.
    let other = vault.gate.permit(person, Group::new(2).unwrap(), None, [9; 16]);
    assert!(now.record_key(&other, &kept, &kept_wraps).is_ok());

    let loot = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(!loot.subject_keys.contains(&before_keys[&person][&1].1), "the old group key was recovered");
    assert!(loot.subject_keys.contains(&before_keys[&person][&2].1));
}

#[test]
fn a_rotation_of_the_epoch_keeps_everybody_and_closes_the_old_root_row() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(30), groups(&[1]));
    let slots_before = vault.slots();
    let old_root_row: Vec<_> = vault.memory.archive().into_iter().filter(|(key, _)| key[1] == 0xff).collect();
    assert_eq!(vault.keys().leftovers_open(&old_root_row), 1);
    vault.shred(&[]);
    assert_eq!(vault.keys().leftovers_open(&old_root_row), 0);
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    let with_old_slot = attack(&old_root_row, &vault.root, &slots_before, Effort::Every);
    assert_eq!(with_old_slot.rows_opened, 1);
}

#[test]
fn shredding_what_is_not_there_is_no_error() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(3), groups(&[1]));
    vault.shred(&[
        Shred::Subject(id()),
        Shred::Groups(id(), groups(&[1])),
        Shred::Renew(id(), groups(&[1])),
        Shred::Alias(Alias::kept([1; 16], 1, None, Some([1; 24])), id()),
        Shred::Groups(*all.keys().next().unwrap(), groups(&[9])),
        Shred::Renew(*all.keys().next().unwrap(), groups(&[9])),
    ]);
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn a_subject_shredded_and_inserted_again_in_the_same_place_has_other_keys() {
    let vault = Vault::new();
    let person = id();
    let first = vault.add_subjects(&[person], groups(&[1]));
    vault.shred(&[Shred::Subject(person)]);
    let second = vault.add_subjects(&[person], groups(&[1]));
    let loot = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(!holds_any(&loot, &first[&person]));
    assert!(holds(&loot, &second[&person]));
}
