//! Damaged, swapped and rolled-back rows: an error, never a wrong key.

use super::{Vault, groups, ids};
use crate::bucket::{AliasEntry, Bucket, SubjectEntry};
use crate::place::Place;
use crate::system::SystemEntry;
use crate::{Hierarchy, Keyring, KeysError, Shred};

#[test]
fn a_flipped_bit_in_any_tree_row_is_an_error_for_all_who_need_it() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(40), groups(&[1]));
    let rows: Vec<_> = vault.memory.rows.read().unwrap().clone().into_iter().collect();
    let mut flips = 0;
    for (row_key, row) in rows.iter().filter(|(key, _)| key[1] == 0) {
        let place = Place::parse(row_key).unwrap();
        let above = |id: &[u8; 16]| {
            let index = u128::from_be_bytes(*id) >> (128 - 7 * u32::from(place.level)).min(127);
            place.level == 0 || index == u128::from(place.index)
        };
        let below: Vec<_> = all.iter().filter(|(id, _)| above(id)).collect();
        assert!(!below.is_empty());
        for byte in (0..row.len()).step_by(1 + row.len() / 150) {
            let mut flipped = row.clone();
            flipped[byte] ^= 1 << (byte % 8);
            vault.memory.rows.write().unwrap().insert(row_key.clone(), flipped);
            vault.keys().opened.forget();
            for (id, _) in &below {
                assert!(matches!(vault.keys().subject(&vault.memory, id), Err(KeysError::Damaged)), "byte {byte}");
            }
            flips += 1;
        }
        vault.memory.rows.write().unwrap().insert(row_key.clone(), row.clone());
    }
    assert!(flips > 1_000);
    vault.keys().opened.forget();
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn a_row_in_another_place_or_cut_short_does_not_open() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(60), groups(&[1]));
    let rows: Vec<_> = vault.memory.rows.read().unwrap().clone().into_iter().filter(|(key, _)| key[1] == 0).collect();
    for (place, original) in &rows {
        for (_, other) in rows.iter().filter(|(other, _)| other != place) {
            vault.memory.rows.write().unwrap().insert(place.clone(), other.clone());
            vault.keys().opened.forget();
            let damaged = all.keys().filter(|id| vault.keys().subject(&vault.memory, id).is_err()).count();
            assert!(damaged > 0);
        }
        for length in [0, 1, 19, 20, 91, 92, original.len() - 1] {
            vault.memory.rows.write().unwrap().insert(place.clone(), original[..length].to_vec());
            vault.keys().opened.forget();
            assert!(all.keys().any(|id| vault.keys().subject(&vault.memory, id).is_err()));
        }
        vault.memory.rows.write().unwrap().insert(place.clone(), original.clone());
    }
}

#[test]
fn a_row_from_before_a_shred_is_refused_after_it() {
    let vault = Vault::new();
    let all = vault.add_subjects(&ids(100), groups(&[1]));
    let victim = *all.keys().next().unwrap();
    let old = vault.memory.rows.read().unwrap().clone();
    vault.shred(&[Shred::Subject(victim)]);
    for (row_key, row) in old.iter().filter(|(key, _)| key[1] == 0) {
        let Some(now) = vault.memory.rows.write().unwrap().insert(row_key.clone(), row.clone()) else {
            vault.memory.rows.write().unwrap().remove(row_key);
            continue;
        };
        vault.keys().opened.forget();
        match vault.keys().subject(&vault.memory, &victim) {
            Ok(None) | Err(KeysError::Damaged) => {}
            _ => panic!("a rolled-back row brought the victim back"),
        }
        vault.memory.rows.write().unwrap().insert(row_key.clone(), now);
    }
}

#[test]
fn a_database_from_before_a_shred_does_not_open_and_costs_no_key() {
    let mut vault = Vault::new();
    let all = vault.add_subjects(&ids(20), groups(&[1]));
    let victim = *all.keys().next().unwrap();
    let old = vault.memory.rows.read().unwrap().clone();
    for epochs in 1..=2 {
        vault.shred(&[Shred::Subject(victim)]);
        let now = std::mem::replace(&mut *vault.memory.rows.write().unwrap(), old.clone());
        let slots = vault.slots();
        vault.close();
        let open = || {
            let keyring = Keyring::open(&vault.keyring()).unwrap();
            Hierarchy::open(super::VAULT, vault.root.duplicate(), keyring, &vault.memory).map(drop)
        };
        assert!(matches!(open(), Err(KeysError::RolledBack)), "{epochs} epochs back");
        vault.memory.rows.write().unwrap().clear();
        assert!(matches!(open(), Err(KeysError::RolledBack)), "no database");
        assert_eq!(vault.slots(), slots, "a refused opening wrote to the keyring");
        *vault.memory.rows.write().unwrap() = now;
        vault.reopen();
    }
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys).filter(|_| *id != victim)));
}

#[test]
fn an_old_keyring_with_todays_database_is_refused() {
    let mut vault = Vault::new();
    vault.add_subjects(&ids(5), groups(&[1]));
    let old = vault.slots();
    vault.shred(&[]);
    vault.close();
    std::fs::write(vault.keyring(), &old).unwrap();
    let keyring = Keyring::open(&vault.keyring()).unwrap();
    let refused = Hierarchy::open(super::VAULT, vault.root.duplicate(), keyring, &vault.memory);
    assert!(matches!(refused.map(drop), Err(KeysError::RolledBack)));
    assert_eq!(vault.slots(), old);
}

#[test]
fn a_root_key_of_another_vault_opens_nothing_and_costs_nothing() {
    let mut vault = Vault::new();
    let all = vault.add_subjects(&ids(5), groups(&[1]));
    let slots = vault.slots();
    vault.close();
    let keyring = Keyring::open(&vault.keyring()).unwrap();
    let other = crate::root::RootKey::random().unwrap();
    let refused = Hierarchy::open(super::VAULT, other, keyring, &vault.memory);
    assert!(matches!(refused.map(drop), Err(KeysError::Damaged)));
    assert_eq!(vault.slots(), slots);
    vault.reopen();
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..6_000), count in 0_u16..80) {
        let mut counted = count.to_be_bytes().to_vec();
        counted.extend_from_slice(&bytes);
        let plain = crate::secret::Plaintext::new(zeroize::Zeroizing::new(bytes.clone()));
        let _ = (crate::node::Node::parse(&plain), crate::node::Node::parse_root(&plain));
        for bytes in [&bytes, &counted] {
            let _ = (Bucket::<SubjectEntry>::parse(bytes), Bucket::<AliasEntry>::parse(bytes), Bucket::<SystemEntry>::parse(bytes));
            let _ = (Place::parse(bytes), crate::keyring::parse_slot(bytes), crate::root::parse(bytes).map(drop));
        }
    }
}
