//! The trees at size, at their limits, and with crowded places.

use super::{Vault, groups, id, ids};
use crate::place::DEEPEST;
use crate::{Inserts, KeysError, Shred};

#[test]
fn a_hundred_thousand_subjects_are_all_found_again() {
    let mut vault = Vault::new();
    let mut all = Vec::new();
    for _ in 0..50 {
        all.extend(vault.add_subjects(&ids(2_000), groups(&[1])));
    }
    for (id, keys) in all.iter().step_by(97) {
        assert_eq!(vault.read(id).as_ref(), Some(keys));
    }
    vault.reopen();
    for (id, keys) in all.iter().step_by(31) {
        assert_eq!(vault.read(id).as_ref(), Some(keys));
    }
    assert_eq!(vault.read(&id()), None);
    let victims: Vec<_> = all.iter().step_by(100).map(|(id, _)| Shred::Subject(*id)).collect();
    vault.shred(&victims);
    for (number, (id, keys)) in all.iter().enumerate().step_by(10) {
        assert_eq!(vault.read(id).as_ref(), Some(keys).filter(|_| number % 100 != 0));
    }
}

/// Ids that share their first 28 bits can only lie in one bucket of the deepest level.
#[test]
fn a_place_that_cannot_be_split_is_full_and_says_so() {
    let vault = Vault::new();
    let crowd = |count: usize| -> Vec<_> {
        ids(count)
            .into_iter()
            .map(|mut id| {
                id[..4].fill(0xab);
                id
            })
            .collect()
    };
    let first = vault.add_subjects(&crowd(30), groups(&[1]));
    assert_eq!(first.len(), 30);
    let mut full = false;
    for _ in 0..10 {
        let subjects = crowd(10).into_iter().map(|id| vault.keys().new_subject(id, groups(&[1])).unwrap()).collect();
        match vault.keys().stage(&vault.memory, Inserts { subjects, ..Inserts::default() }) {
            Ok(staged) => {
                vault.memory.commit(&staged.writes);
                vault.keys().adopt(staged);
            }
            Err(KeysError::Full(_)) => full = true,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(full);
    assert_eq!(vault.memory.archive().iter().map(|(key, _)| key[2]).max(), Some(DEEPEST));
    assert!(first.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)), "an insert that failed did harm");
}

#[test]
fn an_alias_of_many_subjects_leads_to_all_of_them() {
    let vault = Vault::new();
    let tag = vault.keys().alias_of(&[1; 16], 2, "+4312345");
    let mut owners = ids(130);
    let aliases = owners.iter().map(|id| (tag, *id)).collect();
    vault.add(Inserts { aliases, ..Inserts::default() });
    owners.sort_unstable();
    assert_eq!(vault.keys().alias(&vault.memory, &tag).unwrap(), owners);
    vault.add(Inserts { aliases: vec![(tag, owners[0])], ..Inserts::default() });
    vault.shred(&[Shred::Alias(tag, owners[0])]);
    assert_eq!(vault.keys().alias(&vault.memory, &tag).unwrap(), owners[1..]);
    let too_many = ids(30).into_iter().map(|id| (tag, id)).collect();
    let refused = vault.keys().stage(&vault.memory, Inserts { aliases: too_many, ..Inserts::default() });
    assert!(matches!(refused, Err(KeysError::Full(_))));
}

#[test]
fn a_subject_and_its_groups_can_come_in_one_batch() {
    let vault = Vault::new();
    let person = id();
    let new = vault.keys().new_subject(person, groups(&[1])).unwrap();
    let first_keys = super::known(new.keys());
    let inserts = Inserts { subjects: vec![new], groups: vec![(person, groups(&[1, 5])), (id(), groups(&[1]))], aliases: vec![] };
    let added = vault.add(inserts);
    assert_eq!(added.len(), 1, "a subject that is not there gets no groups");
    let keys = vault.read(&person).unwrap();
    assert_eq!(keys.keys().copied().collect::<Vec<_>>(), [0, 1, 5]);
    assert!(first_keys.iter().all(|(class, key)| keys[class] == *key), "a key that was there changed");
    assert_eq!(super::known(&added[0].1), keys);
}

#[test]
fn a_batch_that_never_committed_leaves_nothing() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(40), groups(&[1]));
    let subjects = ids(40).into_iter().map(|id| vault.keys().new_subject(id, groups(&[1])).unwrap()).collect();
    let staged = vault.keys().stage(&vault.memory, Inserts { subjects, ..Inserts::default() }).unwrap();
    drop(staged);
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    let more = vault.add_subjects(&ids(40), groups(&[1]));
    assert!(all.iter().chain(&more).all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn a_subject_cannot_be_inserted_twice() {
    let vault = Vault::new();
    let person = id();
    vault.add_subjects(&[person], groups(&[1]));
    let subjects = vec![vault.keys().new_subject(person, groups(&[1])).unwrap()];
    let refused = vault.keys().stage(&vault.memory, Inserts { subjects, ..Inserts::default() });
    assert!(matches!(refused, Err(KeysError::Misuse(_))));
}

#[test]
fn every_row_of_one_batch_is_written_once() {
    let vault = Vault::new();
    let subjects: Vec<_> = ids(500).into_iter().map(|id| vault.keys().new_subject(id, groups(&[1])).unwrap()).collect();
    let shreds: Vec<_> = subjects.iter().step_by(3).map(|new| Shred::Subject(*new.id())).collect();
    let staged = vault.keys().stage(&vault.memory, Inserts { subjects, ..Inserts::default() }).unwrap();
    let once = |writes: &[crate::RowWrite]| {
        let mut keys: Vec<_> = writes.iter().map(|write| write.key.clone()).collect();
        keys.sort();
        keys.windows(2).all(|pair| pair[0] != pair[1])
    };
    assert!(once(&staged.writes));
    vault.memory.commit(&staged.writes);
    vault.keys().adopt(staged);
    let transition = vault.keys().begin(&vault.memory, &shreds).unwrap();
    assert!(once(transition.writes()));
    vault.keys().abandon(transition).unwrap();
}

#[test]
fn the_vaults_own_keys_last_through_openings_and_epochs() {
    let mut vault = Vault::new();
    let (public, tag) = (vault.keys().public_key(), vault.keys().alias_tag(&[1; 16], 8, "x"));
    let (token, digest) = (vault.keys().token_digest("t"), vault.keys().keyed_digest("l", &[b"p"]));
    let row = vault.keys().seal_row(b"caller", b"secret").unwrap();
    vault.shred(&[]);
    vault.reopen();
    assert_eq!(vault.keys().public_key(), public);
    assert_eq!(vault.keys().alias_tag(&[1; 16], 8, "x"), tag);
    assert_eq!((vault.keys().token_digest("t"), vault.keys().keyed_digest("l", &[b"p"])), (token, digest));
    assert_eq!(vault.keys().open_row(b"caller", &row).unwrap().bytes(), b"secret");
    assert!(vault.keys().open_row(b"token", &row).is_err());
    assert!(crate::sign::verify(&public, b"entry", &vault.keys().sign(b"entry")));
    let kinds: std::collections::HashSet<_> = (0..=255).map(|kind| vault.keys().alias_tag(&[1; 16], kind, "x")).collect();
    assert_eq!(kinds.len(), 256);
}
