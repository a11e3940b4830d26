//! The two files of keys: who may touch them, what damage and crashes do to them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use super::{VAULT, Vault, groups, ids};
use crate::keyring::{SLOT, parse_slot};
use crate::root::{self, RootKey};
use crate::secret::SecretString;
use crate::{Hierarchy, Keyring, KeysError, Shred};

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn epochs(vault: &Vault) -> Vec<Option<u64>> {
    vault.slots().chunks(SLOT).map(|slot| parse_slot(slot).map(|slot| slot.epoch)).collect()
}

#[test]
fn a_keyring_that_others_can_reach_is_refused() {
    let mut vault = Vault::new();
    vault.close();
    let (path, directory) = (vault.keyring(), vault.keyring().parent().unwrap().to_owned());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
    let refused = || matches!(Keyring::open(&path), Err(KeysError::TooOpen(_)));
    for (file, bits) in [(&path, 0o640), (&path, 0o604), (&path, 0o620), (&directory, 0o750), (&directory, 0o701)] {
        mode(file, bits);
        assert!(refused(), "mode {bits:o} of {file:?}");
        mode(file, bits & 0o700);
    }
    let second_name = directory.join("second");
    fs::hard_link(&path, &second_name).unwrap();
    assert!(refused(), "a second name");
    fs::remove_file(&second_name).unwrap();
    std::os::unix::fs::symlink(&path, &second_name).unwrap();
    assert!(matches!(Keyring::open(&second_name), Err(KeysError::Keyring(..))), "a symbolic link was followed");
    assert!(Keyring::open(&path).is_ok());
}

#[test]
fn one_keyring_is_for_one_process() {
    let vault = Vault::new();
    assert!(matches!(Keyring::open(&vault.keyring()), Err(KeysError::Locked)));
    assert!(matches!(Keyring::create(&vault.keyring(), VAULT), Err(KeysError::Keyring("create", _))));
}

#[test]
fn one_slot_holds_the_epoch_and_the_other_is_free() {
    let mut vault = Vault::new();
    vault.shred(&[]);
    for epoch in 3..8 {
        vault.shred(&[]);
        assert_eq!(epochs(&vault).iter().flatten().collect::<Vec<_>>(), [&epoch]);
    }
    let before = vault.slots();
    vault.reopen();
    let after = vault.slots();
    let free = epochs(&vault).iter().position(Option::is_none).unwrap();
    assert_ne!(before[free * SLOT..][..SLOT], after[free * SLOT..][..SLOT], "a free slot is filled anew at every opening");
}

#[test]
fn a_checkpoint_is_kept_and_never_risks_the_epoch() {
    let mut vault = Vault::new();
    let all = vault.add_subjects(&ids(5), groups(&[1]));
    assert_eq!(vault.keys().last_checkpoint(), None);
    for size in 1..6 {
        vault.keys().checkpoint(size, [size as u8; 32]).unwrap();
        assert_eq!(vault.keys().last_checkpoint(), Some((size, [size as u8; 32])));
        if size > 2 {
            vault.shred(&[]);
        }
        vault.reopen();
        assert_eq!(vault.keys().last_checkpoint(), Some((size, [size as u8; 32])));
        assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    }
    vault.keys().checkpoint(10, [10; 32]).unwrap();
    vault.keys().checkpoint(11, [11; 32]).unwrap();
    vault.close();
    assert_eq!(epochs(&vault), [Some(4), Some(4)]);
    // The newest copy is torn: the one before it still opens the vault, a checkpoint behind.
    let slots: Vec<_> = vault.slots().chunks(SLOT).map(|slot| parse_slot(slot).unwrap().sequence).collect();
    let newest = usize::from(slots[1] > slots[0]);
    let file = fs::OpenOptions::new().write(true).open(vault.keyring()).unwrap();
    file.write_all_at(&[0; 512], (newest * SLOT) as u64 + 1024).unwrap();
    vault.reopen();
    assert_eq!(vault.keys().last_checkpoint(), Some((10, [10; 32])));
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
}

#[test]
fn a_checkpoint_during_a_transition_is_written_at_its_end() {
    let mut vault = Vault::new();
    for committed in [true, false] {
        let transition = vault.keys().begin(&vault.memory, &[]).unwrap();
        vault.keys().checkpoint(7, [u8::from(committed); 32]).unwrap();
        if committed {
            vault.memory.commit(transition.writes());
            vault.keys().finish(transition).unwrap();
        } else {
            vault.keys().abandon(transition).unwrap();
        }
        vault.reopen();
        assert_eq!(vault.keys().last_checkpoint(), Some((7, [u8::from(committed); 32])));
    }
}

/// The checkpoint is not secret, but nobody without the root key can write another one.
#[test]
fn a_forged_checkpoint_does_not_open() {
    let mut vault = Vault::new();
    vault.keys().checkpoint(7, [7; 32]).unwrap();
    vault.close();
    let mut slots = vault.slots();
    for slot in slots.chunks_mut(SLOT) {
        slot[164..172].copy_from_slice(&6_u64.to_be_bytes());
        let sum = crate::digest::sha256(&[&slot[..SLOT - 32]]);
        slot[SLOT - 32..].copy_from_slice(&sum);
    }
    fs::write(vault.keyring(), slots).unwrap();
    let keyring = Keyring::open(&vault.keyring()).unwrap();
    let refused = Hierarchy::open(VAULT, vault.root.duplicate(), keyring, &vault.memory);
    assert!(matches!(refused.map(drop), Err(KeysError::Damaged)));
}

#[test]
fn every_flipped_bit_of_a_slot_makes_it_no_slot() {
    let vault = Vault::new();
    let slots = vault.slots();
    let whole = slots.chunks(SLOT).find(|slot| parse_slot(slot).is_some()).unwrap();
    for bit in 0..SLOT * 8 {
        let mut flipped = whole.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(parse_slot(&flipped).is_none(), "bit {bit}");
    }
    assert!(parse_slot(&whole[..SLOT - 1]).is_none());
}

/// kill -9 at each step, seen from the files.
#[test]
fn an_interrupted_transition_is_taken_back_or_finished_at_the_next_opening() {
    for (committed, closed) in [(false, None), (true, Some(1))] {
        let mut vault = Vault::new();
        let all = vault.add_subjects(&ids(10), groups(&[1]));
        let victim = *all.keys().next().unwrap();
        let transition = vault.keys().begin(&vault.memory, &[Shred::Subject(victim)]).unwrap();
        assert_eq!(epochs(&vault).iter().flatten().count(), 2);
        if committed {
            vault.memory.commit(transition.writes());
        }
        drop(transition);
        vault.reopen();
        assert_eq!(epochs(&vault).into_iter().flatten().collect::<Vec<_>>(), [if committed { 2 } else { 1 }]);
        assert_eq!(vault.keys().epoch(), closed.map_or(1, |closed| closed + 1));
        assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys).filter(|_| !committed || *id != victim)));
        vault.shred(&[]);
    }
}

#[test]
fn the_root_key_can_be_changed_and_the_old_one_opens_nothing_then() {
    let mut vault = Vault::new();
    let all = vault.add_subjects(&ids(10), groups(&[1]));
    let new = RootKey::random().unwrap();
    vault.keys().rotate_root(new.duplicate(), || Ok(())).unwrap();
    vault.close();
    let open = |root: &RootKey| {
        let keyring = Keyring::open(&vault.keyring()).unwrap();
        Hierarchy::open(VAULT, root.duplicate(), keyring, &vault.memory).map(drop)
    };
    assert!(matches!(open(&vault.root), Err(KeysError::Damaged)));
    assert!(open(&new).is_ok());
    vault.root = new;
    vault.reopen();
    assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
    vault.shred(&[]);
    vault.reopen();
}

#[test]
fn a_change_of_the_root_key_can_stop_anywhere() {
    for installed in [false, true] {
        let mut vault = Vault::new();
        let all = vault.add_subjects(&ids(10), groups(&[1]));
        vault.keys().checkpoint(1, [1; 32]).unwrap();
        let new = RootKey::random().unwrap();
        // What the file holds when the machine stops inside `install`: both root keys open it.
        let mut stopped = Vec::new();
        let install = || {
            stopped = vault.slots();
            Err(KeysError::Misuse("the disk is full"))
        };
        assert!(vault.keys().rotate_root(new.duplicate(), install).is_err());
        assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
        vault.keys().checkpoint(2, [2; 32]).unwrap();
        vault.reopen();
        vault.close();
        fs::write(vault.keyring(), &stopped).unwrap();
        if installed {
            vault.root = new;
        }
        vault.reopen();
        assert!(all.iter().all(|(id, keys)| vault.read(id).as_ref() == Some(keys)));
        assert_eq!(epochs(&vault).iter().flatten().count(), 1, "the copy under the other root key stayed");
        vault.shred(&[]);
    }
}

fn passphrase(text: &str) -> SecretString {
    SecretString::from(text.to_owned())
}

#[test]
fn the_root_file_tells_a_wrong_passphrase_from_damage() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/root");
    let key = root::create(&path, &passphrase("correct horse"), VAULT).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(root::vault(&path).unwrap(), VAULT);
    let again = root::open(&path, &passphrase("correct horse")).unwrap();
    assert_eq!(again.secret().bytes(), key.secret().bytes());
    assert!(matches!(root::open(&path, &passphrase("correct horsf")), Err(KeysError::WrongPassphrase)));
    assert!(matches!(root::create(&path, &passphrase("x"), VAULT), Err(KeysError::Root("create", _))));
    let whole = fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(root::parse(&flipped), Err(KeysError::Damaged)), "bit {bit}");
    }
    for length in 0..whole.len() {
        assert!(matches!(root::parse(&whole[..length]), Err(KeysError::Damaged)));
    }
    mode(&path, 0o644);
    assert!(matches!(root::open(&path, &passphrase("correct horse")), Err(KeysError::TooOpen(_))));
}

#[test]
fn weak_or_monstrous_argon2_parameters_are_refused_before_any_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/root");
    root::create(&path, &passphrase("p"), VAULT).unwrap();
    let whole = fs::read(&path).unwrap();
    let with = |at: usize, value: u32| {
        let mut bytes = whole.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let sum = crate::digest::sha256(&[&bytes[..bytes.len() - 32]]);
        let end = bytes.len() - 32;
        bytes[end..].copy_from_slice(&sum);
        root::parse(&bytes).map(drop)
    };
    assert!(with(12, 64 * 1024).is_ok());
    for (at, value) in [(12, 64 * 1024 - 1), (12, 0), (16, 2), (20, 3), (20, 0)] {
        assert!(matches!(with(at, value), Err(KeysError::Weak(_))), "{value} at {at}");
    }
    for (at, value) in [(12, u32::MAX), (16, 65), (20, 65)] {
        assert!(matches!(with(at, value), Err(KeysError::Damaged)), "{value} at {at}");
    }
}

#[test]
fn a_root_key_is_staged_beside_the_old_one_and_takes_its_place_in_one_step() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("keys/root");
    let old = root::create(&path, &passphrase("old"), VAULT).unwrap();
    fs::write(directory.path().join("keys/root.new"), b"left by a crash").unwrap();
    let new = root::stage(&path, &passphrase("new"), VAULT).unwrap();
    assert_ne!(new.secret().bytes(), old.secret().bytes(), "the same root key under another passphrase");
    assert_eq!(root::open(&path, &passphrase("old")).unwrap().secret().bytes(), old.secret().bytes());
    root::install(&path).unwrap();
    assert!(matches!(root::open(&path, &passphrase("old")), Err(KeysError::WrongPassphrase)));
    assert_eq!(root::open(&path, &passphrase("new")).unwrap().secret().bytes(), new.secret().bytes());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}
