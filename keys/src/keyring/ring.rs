//! One file of two slots.

use std::fs::{self, File, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::assurance::Assurance;
use crate::context::Id;
use crate::error::KeysError;
use crate::random;
use crate::strict::{self, Fault};

use super::{SLOT, Slot, parse_slot};

const SLOTS: usize = 2;

/// An open file of slots; locked against every other process, unless it is only looked at.
pub(super) struct Ring {
    path: PathBuf,
    file: File,
    pub(super) slots: [Option<Slot>; SLOTS],
}

impl Ring {
    /// Makes the file (mode 0600, both slots free), and its directory (mode 0700) when that is missing.
    pub(super) fn create(path: &Path) -> Result<Self, KeysError> {
        let file = strict::create(path).map_err(Fault::keyring)?;
        lock(&file)?;
        file.write_all_at(&random::bytes::<{ SLOT * SLOTS }>()?, 0).map_err(|error| KeysError::Keyring("fill", error))?;
        file.sync_all().map_err(|error| KeysError::Keyring("sync", error))?;
        strict::sync_directory_of(path).map_err(Fault::keyring)?;
        Ok(Self { path: path.to_owned(), file, slots: [None, None] })
    }

    /// Opens the file and reads the slots, of which any number may be whole; with `looks`, without a lock and never to be written.
    pub(super) fn open(path: &Path, looks: bool) -> Result<Self, KeysError> {
        let file = strict::open(path, !looks).map_err(Fault::keyring)?;
        if !looks {
            lock(&file)?;
        }
        let length = file.metadata().map_err(|error| KeysError::Keyring("measure", error))?.len();
        if length != (SLOT * SLOTS) as u64 {
            return Err(KeysError::Damaged);
        }
        let mut slots = [None, None];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = parse_slot(&read(&file, index)?);
        }
        Ok(Self { path: path.to_owned(), file, slots })
    }

    pub(super) fn assurance(&self) -> Assurance {
        Assurance::of(&self.file)
    }

    /// The vault of its whole slots; `Damaged` when there is none, or when they are of two.
    pub(super) fn vault(&self) -> Result<Id, KeysError> {
        let mut vaults = self.whole().map(|slot| slot.vault);
        let vault = vaults.next().ok_or(KeysError::Damaged)?;
        if vaults.any(|other| other != vault) {
            return Err(KeysError::Damaged);
        }
        Ok(vault)
    }

    pub(super) fn whole(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter().flatten()
    }

    /// Writes a slot anywhere but over the newest copy of the epoch `living`; returns where.
    pub(super) fn put(&mut self, slot: Slot, living: u64) -> Result<usize, KeysError> {
        let sequence = |index: &usize| self.slots[*index].as_ref().filter(|slot| slot.epoch == living).map(|slot| slot.sequence);
        let kept = (0..SLOTS).filter(|index| sequence(index).is_some()).max_by_key(sequence);
        let index = (0..SLOTS).find(|index| Some(*index) != kept).ok_or(KeysError::Damaged)?;
        let bytes = slot.encode()?;
        self.slots[index] = None; // until the write is known to be whole
        self.overwrite(index, &bytes)?;
        self.slots[index] = Some(slot);
        Ok(index)
    }

    /// Overwrites every slot but those that are kept with random bytes. What they held is gone when this returns.
    pub(super) fn erase_but(&mut self, kept: [bool; SLOTS]) -> Result<(), KeysError> {
        for (index, kept) in kept.into_iter().enumerate() {
            if kept && self.slots[index].is_some() {
                continue;
            }
            let bytes = random::bytes::<SLOT>()?;
            self.overwrite(index, &bytes)?;
            self.slots[index] = None;
        }
        Ok(())
    }

    /// Which slots are whole and such.
    pub(super) fn those(&self, such: impl Fn(&Slot) -> bool) -> [bool; SLOTS] {
        std::array::from_fn(|index| self.slots[index].as_ref().is_some_and(&such))
    }

    /// Takes the file away, once its slots were overwritten.
    pub(super) fn remove(self) -> Result<(), KeysError> {
        fs::remove_file(&self.path).map_err(|error| KeysError::Keyring("remove the file", error))?;
        strict::sync_directory_of(&self.path).map_err(Fault::keyring)
    }

    fn overwrite(&self, index: usize, bytes: &[u8; SLOT]) -> Result<(), KeysError> {
        self.is_still_there()?;
        self.file.write_all_at(bytes, offset(index)).map_err(|error| KeysError::Keyring("write a slot", error))?;
        if read(&self.file, index)? != *bytes {
            return Err(KeysError::Keyring("read a slot back", Error::from(ErrorKind::InvalidData)));
        }
        Ok(())
    }

    /// A file that lost its name, or a disk that was taken off under it, would take every write and keep none of them.
    fn is_still_there(&self) -> Result<(), KeysError> {
        let named = fs::symlink_metadata(&self.path).map_err(|error| KeysError::Keyring("find the file again", error))?;
        let open = self.file.metadata().map_err(|error| KeysError::Keyring("look at the file", error))?;
        if (named.dev(), named.ino()) == (open.dev(), open.ino()) {
            return Ok(());
        }
        Err(KeysError::Keyring("find the file again: another one has its name", Error::from(ErrorKind::NotFound)))
    }
}

const fn offset(index: usize) -> u64 {
    (index * SLOT) as u64
}

fn read(file: &File, index: usize) -> Result<[u8; SLOT], KeysError> {
    let mut bytes = [0; SLOT];
    file.read_exact_at(&mut bytes, offset(index)).map_err(|error| KeysError::Keyring("read a slot", error))?;
    Ok(bytes)
}

fn lock(file: &File) -> Result<(), KeysError> {
    file.try_lock().map_err(|error| match error {
        TryLockError::WouldBlock => KeysError::Locked,
        TryLockError::Error(error) => KeysError::Keyring("lock", error),
    })
}
