//! The vault's own keys turn over: both generations work meanwhile, and of the old one nothing is left.

use super::attacker::{Effort, attack};
use super::{Vault, id, ids};
use crate::context::Id;
use crate::place::{ALIASES, ALIASES_ODD};
use crate::{Alias, Inserts, KeysError, RowWrite, Shred, SystemKey, Turn};

const TENANT: Id = [1; 16];

fn text(number: usize) -> String {
    format!("person-{number}@example.org")
}

/// Subjects with an alias each.
fn people(vault: &Vault, count: usize) -> Vec<(Alias, Id)> {
    let people: Vec<_> =
        ids(count).into_iter().enumerate().map(|(n, id)| (vault.keys().alias_of(&TENANT, 1, &text(n)), id)).collect();
    vault.add(Inserts { aliases: people.clone(), ..Inserts::default() });
    people
}

/// What their own rows keep of the aliases.
fn kept(people: &[(Alias, Id)]) -> Vec<(Alias, Id)> {
    people.iter().map(|(alias, id)| (Alias::kept(TENANT, alias.kind(), alias.digest(), alias.first()), *id)).collect()
}

fn find_all(vault: &Vault, people: &[(Alias, Id)]) {
    for (number, (_, id)) in people.iter().enumerate() {
        let alias = vault.keys().alias_of(&TENANT, 1, &text(number));
        assert_eq!(vault.keys().alias(&vault.memory, &alias).unwrap(), [*id], "{number}");
    }
}

/// What the vault does with the rows of a map that has no keys any more.
fn sweep(vault: &Vault, map: u8) {
    let mut gone = Vec::new();
    for key in vault.memory.rows.read().unwrap().keys().filter(|key| key.starts_with(&[b'n', map])) {
        gone.push(RowWrite { key: key.clone(), value: None });
    }
    assert!(!gone.is_empty());
    vault.memory.commit(&gone);
}

#[test]
fn aliases_are_found_under_both_index_keys_and_the_old_bytes_confirm_nothing_in_the_end() {
    let mut vault = Vault::new();
    let people = people(&vault, 300);
    let old_tags: Vec<[u8; 24]> = people.iter().map(|(alias, _)| alias.first().unwrap()).collect();
    vault.shred(&[Shred::Turn(SystemKey::Index, Turn::Begin)]);
    find_all(&vault, &people);

    // Half of them, then a process that ends, then all: to insert again what is there is no error.
    for (from, to) in [(0, 150), (100, 300)] {
        vault.add(Inserts { aliases: kept(&people[from..to]), ..Inserts::default() });
        vault.reopen();
        find_all(&vault, &people);
    }
    let late = (vault.keys().alias_of(&TENANT, 1, &text(300)), id());
    vault.add(Inserts { aliases: vec![late], ..Inserts::default() });
    let before = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::ByPlace);
    assert!(people.iter().zip(&old_tags).all(|((_, id), tag)| before.aliases.contains(&(*tag, *id))), "the test has teeth");

    vault.shred(&[Shred::Turn(SystemKey::Index, Turn::End)]);
    let mut all = people.clone();
    all.push(late);
    find_all(&vault, &all);
    sweep(&vault, ALIASES);
    vault.reopen();
    find_all(&vault, &all);
    let after = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(!after.aliases.iter().any(|(tag, _)| old_tags.contains(tag)), "an old tag was opened");
    assert_eq!(after.aliases.len(), 301);
    let index = |loot: &super::attacker::Loot| loot.system.iter().filter(|(key, _)| *key == SystemKey::Index).count();
    assert_eq!((index(&before), index(&after)), (2, 1), "the old index key is still known");
}

#[test]
fn an_erasure_between_takes_an_alias_from_under_both_keys() {
    let vault = Vault::new();
    let people = people(&vault, 100);
    vault.shred(&[Shred::Turn(SystemKey::Index, Turn::Begin)]);
    vault.add(Inserts { aliases: kept(&people[..50]), ..Inserts::default() });
    for (alias, id) in [kept(&people)[0], kept(&people)[99]] {
        vault.shred(&[Shred::Alias(alias, id)]);
        assert!(vault.keys().alias(&vault.memory, &alias).unwrap().is_empty());
        let loot = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
        assert!(!loot.aliases.iter().any(|(_, owner)| *owner == id), "an entry of the erased was opened");
    }
}

#[test]
fn index_keys_turn_over_again_and_again_and_need_an_empty_tree_for_it() {
    let mut vault = Vault::new();
    let people = people(&vault, 80);
    for (round, map) in [ALIASES, ALIASES_ODD, ALIASES].into_iter().enumerate() {
        vault.shred(&[Shred::Turn(SystemKey::Index, Turn::Begin)]);
        vault.add(Inserts { aliases: kept(&people), ..Inserts::default() });
        vault.shred(&[Shred::Turn(SystemKey::Index, Turn::End)]);
        find_all(&vault, &people);
        let refused = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Index, Turn::Begin)]);
        assert!(matches!(refused, Err(KeysError::Misuse(_))), "round {round}");
        sweep(&vault, map);
        vault.reopen();
        find_all(&vault, &people);
    }
    // What was kept with a digest alone is found all the same.
    let alias = Alias::kept(TENANT, 1, people[0].0.digest(), None);
    assert_eq!(vault.keys().alias(&vault.memory, &alias).unwrap(), [people[0].1]);
}

#[test]
fn rows_and_digests_are_of_both_generations_until_the_old_one_is_destroyed() {
    let mut vault = Vault::new();
    let turn = |turn| [SystemKey::Row, SystemKey::Statistics, SystemKey::Token].map(|key| Shred::Turn(key, turn));
    let named = crate::named("idempotency", &[b"caller", b"key"]);
    let (row, count) = (vault.keys().seal_row(b"k", b"caller").unwrap(), vault.keys().seal_statistic(b"y", b"7").unwrap());
    let (token, digest) = (vault.keys().token_digest("oub_x"), vault.keys().keyed_digest("idempotency", &[b"caller", b"key"]));
    assert_eq!(vault.keys().token_digest_of_inner(&crate::Hierarchy::token_inner("oub_x")), None);
    assert_eq!(
        (vault.keys().age_of(SystemKey::Row, &row), vault.keys().age_of(SystemKey::Statistics, &count)),
        (Some(0), Some(0))
    );
    vault.shred(&turn(Turn::Begin));
    vault.reopen();
    assert_eq!(
        (vault.keys().age_of(SystemKey::Row, &row), vault.keys().age_of(SystemKey::Statistics, &count)),
        (Some(1), Some(1))
    );
    assert_eq!(vault.keys().open_row(b"k", &row).unwrap().bytes(), b"caller");
    assert_eq!(vault.keys().open_statistic(b"y", &count).unwrap().bytes(), b"7");
    assert_eq!(vault.keys().named_digests(&named)[1], digest);
    let tokens = vault.keys().token_digests("oub_x");
    assert_eq!((tokens.len(), tokens[1]), (2, token));
    assert_eq!(vault.keys().token_digest_of_inner(&crate::Hierarchy::token_inner("oub_x")), Some(tokens[0]));
    let anew = vault.keys().seal_row(b"k", b"caller").unwrap();
    assert_eq!(vault.keys().age_of(SystemKey::Row, &anew), Some(0));
    // A row of one generation that is relabelled as one of another does not open.
    let mut relabelled = anew.clone();
    relabelled[8..12].copy_from_slice(&0u32.to_be_bytes());
    assert!(matches!(vault.keys().open_row(b"k", &relabelled), Err(KeysError::Damaged)));
    let before = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);

    vault.shred(&turn(Turn::End));
    vault.reopen();
    assert_eq!(vault.keys().age_of(SystemKey::Row, &row), None);
    assert!(matches!(vault.keys().open_row(b"k", &row), Err(KeysError::Damaged)));
    assert!(matches!(vault.keys().open_statistic(b"y", &count), Err(KeysError::Damaged)));
    assert_eq!(vault.keys().open_row(b"k", &anew).unwrap().bytes(), b"caller");
    assert_eq!((vault.keys().token_digests("oub_x"), vault.keys().named_digests(&named).len()), (vec![tokens[0]], 1));
    let after = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    let gone = before.system.difference(&after.system).count();
    assert_eq!((gone, after.system.difference(&before.system).count()), (3, 0), "three keys went, and none but these");
}

#[test]
fn a_new_signing_key_is_there_before_it_signs_and_the_old_one_leaves_its_public_half() {
    let mut vault = Vault::new();
    let old = vault.keys().public_key();
    let begin = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Signing, Turn::Begin)]).unwrap();
    let successor = begin.successor().unwrap();
    let (new, signature) = (successor.public_key(), successor.sign(b"follows"));
    assert!(new != old && crate::sign::verify(&new, b"follows", &signature));
    assert_eq!(vault.keys().public_key(), old, "the old one signs until the rows are there");
    vault.memory.commit(begin.writes());
    vault.keys().finish(begin).unwrap();
    vault.reopen();
    assert_eq!((vault.keys().public_key(), vault.keys().former_public_keys()), (new, vec![(0, old)]));
    let (public, signature) = vault.keys().sign_as(b"entry");
    assert!(public == new && crate::sign::verify(&new, b"entry", &signature));
    let before = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(before.signers.contains(&old) && before.signers.contains(&new), "the seed is still there: the test has teeth");
    let end = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Signing, Turn::End)]).unwrap();
    assert!(end.successor().is_none());
    vault.memory.commit(end.writes());
    vault.keys().finish(end).unwrap();
    vault.reopen();
    assert_eq!((vault.keys().public_key(), vault.keys().former_public_keys()), (new, vec![(0, old)]));
    let after = attack(&vault.memory.archive(), &vault.root, &vault.slots(), Effort::Every);
    assert!(!after.signers.contains(&old), "who has every byte signs with the old key");
}

#[test]
fn a_turn_that_was_not_committed_leaves_the_keys_as_they_were_and_one_that_was_is_finished() {
    let mut vault = Vault::new();
    let row = vault.keys().seal_row(b"k", b"caller").unwrap();
    let begin = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Row, Turn::Begin)]).unwrap();
    drop(begin);
    vault.reopen();
    assert_eq!(vault.keys().age_of(SystemKey::Row, &row), Some(0));
    let begin = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Row, Turn::Begin)]).unwrap();
    vault.memory.commit(begin.writes());
    drop(begin);
    vault.reopen();
    assert_eq!(vault.keys().age_of(SystemKey::Row, &row), Some(1));
    // Again, as a job that does not know how far it came would.
    vault.shred(&[Shred::Turn(SystemKey::Row, Turn::Begin)]);
    assert_eq!(vault.keys().generations().iter().filter(|one| one.key == SystemKey::Row).count(), 2);
    let abandoned = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Row, Turn::End)]).unwrap();
    vault.keys().abandon(abandoned).unwrap();
    assert_eq!(vault.keys().open_row(b"k", &row).unwrap().bytes(), b"caller");
    let end = vault.keys().begin(&vault.memory, &[Shred::Turn(SystemKey::Row, Turn::End)]).unwrap();
    vault.memory.commit(end.writes());
    drop(end);
    vault.reopen();
    assert!(matches!(vault.keys().open_row(b"k", &row), Err(KeysError::Damaged)));
}

/// A vault from before the fourth map: its root row has three top keys.
#[test]
fn a_root_row_of_three_maps_opens_and_has_four_from_the_next_transition_on() {
    let mut vault = Vault::new();
    let people = people(&vault, 20);
    let root = crate::place::Place::ROOT.row_key();
    let (key, tops) = {
        let writer = vault.keys().writer();
        (writer.key.duplicate(), vault.keys().opened.current().root.bytes()[..120].to_vec())
    };
    let id = crate::tree::key_id(crate::wrap::kind::ROOT_NODE, crate::place::Place::ROOT, vault.keys().epoch());
    let row = crate::wrap::wrap(&key, &id, &super::VAULT, &[], &tops).unwrap();
    vault.memory.commit(&[RowWrite { key: root.to_vec(), value: Some(row) }]);
    vault.reopen();
    find_all(&vault, &people);
    vault.shred(&[Shred::Turn(SystemKey::Index, Turn::Begin)]);
    vault.add(Inserts { aliases: kept(&people), ..Inserts::default() });
    vault.shred(&[Shred::Turn(SystemKey::Index, Turn::End)]);
    vault.reopen();
    find_all(&vault, &people);
    assert_eq!(vault.memory.rows.read().unwrap()[root.as_slice()].len(), 160 + crate::wrap::OVERHEAD);
}
