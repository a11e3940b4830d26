//! The keyring: the only place that ever holds an epoch key, small enough to be overwritten.
//!
//! One file of two slots, 4 KiB each. Every slot is written **in place** with `O_DSYNC` and read back; nothing is ever written beside
//! and renamed, because a renamed-over file leaves its blocks behind (200 of 200 old secrets on ext4; in place, none).
//!
//! ```text
//!    0   8  "PVEPOCH1"      8   8  epoch         16   8  sequence of writes      24  16  vault
//!   40 124  W1 of kind 7: the epoch key under the root key; ext = sequence ‖ trail size ‖ trail head
//!  164   8  trail size    172  32  trail head
//!  204      random fill  4064  32  SHA-256 of bytes 0..4064                      integers big-endian
//! ```
//!
//! A free slot holds random bytes. At rest one slot holds the epoch, or both do, after a [checkpoint](crate::Hierarchy::checkpoint):
//! a new slot never overwrites the newest copy of the living epoch, so a torn write costs nothing. The keyring is never part of a backup.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::assurance::Assurance;
use crate::context::Id;
use crate::digest;
use crate::error::KeysError;
use crate::random;
use crate::secret::Secret32;
use crate::strict::{self, Fault};
use crate::wrap::{self, KeyId, kind};

/// Bytes of a slot: one block of the usual file systems and devices.
pub const SLOT: usize = 4096;
const SLOTS: usize = 2;
const MAGIC: &[u8; 8] = b"PVEPOCH1";
const WRAPPED: usize = 32 + wrap::OVERHEAD;
const CHECKED: usize = SLOT - 32;
const FILL: usize = 204;

/// What a slot holds. The epoch key in it is wrapped.
#[derive(Clone, PartialEq, Eq)]
pub struct Slot {
    /// The epoch whose key this is.
    pub epoch: u64,
    /// Grows with every write of a slot, so the newest of two copies is known.
    pub sequence: u64,
    /// The vault this belongs to.
    pub vault: Id,
    /// The number of entries in the trail at the last checkpoint.
    pub trail_size: u64,
    /// The root hash of the trail at the last checkpoint.
    pub trail_head: [u8; 32],
    wrapped: [u8; WRAPPED],
}

/// Reads a slot: `None` when it is free, torn or damaged, which look the same.
pub fn parse_slot(bytes: &[u8]) -> Option<Slot> {
    let bytes: &[u8; SLOT] = bytes.try_into().ok()?;
    let (checked, sum) = bytes.split_at(CHECKED);
    if checked.get(..8)? != MAGIC || !digest::same(&digest::sha256(&[checked]), sum) {
        return None;
    }
    Some(Slot {
        epoch: u64::from_be_bytes(part(bytes, 8)?),
        sequence: u64::from_be_bytes(part(bytes, 16)?),
        vault: part(bytes, 24)?,
        wrapped: part(bytes, 40)?,
        trail_size: u64::from_be_bytes(part(bytes, 164)?),
        trail_head: part(bytes, 172)?,
    })
}

fn part<const N: usize>(bytes: &[u8], from: usize) -> Option<[u8; N]> {
    bytes.get(from..from + N)?.try_into().ok()
}

impl Slot {
    /// Wraps an epoch key for a slot.
    pub(crate) fn seal(
        root: &Secret32,
        vault: Id,
        (epoch, key): (u64, &Secret32),
        sequence: u64,
        (trail_size, trail_head): (u64, [u8; 32]),
    ) -> Result<Self, KeysError> {
        let ext = ext(sequence, trail_size, &trail_head);
        let bytes = wrap::wrap(root, &key_id(epoch), &vault, &ext, key.bytes())?;
        let wrapped = bytes.as_slice().try_into().map_err(|_| KeysError::Damaged)?;
        Ok(Self { epoch, sequence, vault, trail_size, trail_head, wrapped })
    }

    /// Opens the epoch key, which also proves that the checkpoint beside it was written by this vault.
    pub(crate) fn open(&self, root: &Secret32) -> Result<Secret32, KeysError> {
        let ext = ext(self.sequence, self.trail_size, &self.trail_head);
        let plain = wrap::unwrap_with(root, &key_id(self.epoch), &self.vault, &ext, &self.wrapped)?;
        Secret32::from_slice(plain.bytes())
    }

    fn encode(&self) -> Result<[u8; SLOT], KeysError> {
        let mut bytes = random::bytes::<SLOT>()?;
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[24..40].copy_from_slice(&self.vault);
        bytes[40..164].copy_from_slice(&self.wrapped);
        bytes[164..172].copy_from_slice(&self.trail_size.to_be_bytes());
        bytes[172..FILL].copy_from_slice(&self.trail_head);
        let sum = digest::sha256(&[&bytes[..CHECKED]]);
        bytes[CHECKED..].copy_from_slice(&sum);
        Ok(bytes)
    }
}

const fn key_id(epoch: u64) -> KeyId {
    KeyId { kind: kind::EPOCH_KEY, map: 0, level: 0, index: 0, epoch }
}

fn ext(sequence: u64, trail_size: u64, trail_head: &[u8; 32]) -> [u8; 48] {
    let mut ext = [0; 48];
    ext[..8].copy_from_slice(&sequence.to_be_bytes());
    ext[8..16].copy_from_slice(&trail_size.to_be_bytes());
    ext[16..].copy_from_slice(trail_head);
    ext
}

/// An open keyring, held by this process alone until it is dropped.
pub struct Keyring {
    file: File,
    vault: Id,
    slots: [Option<Slot>; SLOTS],
    assurance: Assurance,
    /// Whether this is a look only, which never writes.
    looks: bool,
}

impl Keyring {
    /// Makes the file (mode 0600, both slots free) and its directory (mode 0700) if that is missing.
    ///
    /// # Errors
    /// [`KeysError::Keyring`] when it exists or cannot be written, [`KeysError::TooOpen`] when its directory is open to others.
    pub fn create(path: &Path, vault: Id) -> Result<Self, KeysError> {
        let file = strict::create(path).map_err(Fault::keyring)?;
        lock(&file)?;
        file.write_all_at(&random::bytes::<{ SLOT * SLOTS }>()?, 0).map_err(|error| KeysError::Keyring("fill", error))?;
        file.sync_all().map_err(|error| KeysError::Keyring("sync", error))?;
        strict::sync_directory_of(path).map_err(Fault::keyring)?;
        let assurance = Assurance::of(&file);
        Ok(Self { file, vault, slots: [None, None], assurance, looks: false })
    }

    /// Opens the file, and locks it against every other process.
    ///
    /// # Errors
    /// [`KeysError::TooOpen`], [`KeysError::Locked`], [`KeysError::Keyring`]; [`KeysError::Damaged`] when no slot is whole.
    pub fn open(path: &Path) -> Result<Self, KeysError> {
        let file = strict::open(path, true).map_err(Fault::keyring)?;
        lock(&file)?;
        Self::read(file, false)
    }

    /// Looks at the file without locking it and without ever writing to it, so that a backup can be tried while the vault runs. What is
    /// opened with it can read; a transition fails.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for [`KeysError::Locked`].
    pub fn look(path: &Path) -> Result<Self, KeysError> {
        Self::read(strict::open(path, false).map_err(Fault::keyring)?, true)
    }

    fn read(file: File, looks: bool) -> Result<Self, KeysError> {
        let length = file.metadata().map_err(|error| KeysError::Keyring("measure", error))?.len();
        if length != (SLOT * SLOTS) as u64 {
            return Err(KeysError::Damaged);
        }
        let mut slots = [None, None];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = parse_slot(&read(&file, index)?);
        }
        let mut vaults = slots.iter().flatten().map(|slot: &Slot| slot.vault);
        let vault = vaults.next().ok_or(KeysError::Damaged)?;
        if vaults.any(|other| other != vault) {
            return Err(KeysError::Damaged);
        }
        let assurance = Assurance::of(&file);
        Ok(Self { file, vault, slots, assurance, looks })
    }

    /// The vault this belongs to.
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// How surely a slot that was overwritten is gone.
    pub fn assurance(&self) -> Assurance {
        self.assurance
    }

    /// The epoch key and the checkpoint of the newest copy of an epoch that this root key opens; during a rotation of the root key the
    /// two copies are under two of them.
    pub(crate) fn open_newest(&self, epoch: u64, root: &Secret32) -> Result<(Secret32, (u64, [u8; 32])), KeysError> {
        let mut copies: Vec<&Slot> = self.slots.iter().flatten().filter(|slot| slot.epoch == epoch).collect();
        copies.sort_by_key(|slot| std::cmp::Reverse(slot.sequence));
        if copies.is_empty() {
            return Err(KeysError::RolledBack);
        }
        let opened = copies.iter().find_map(|slot| Some((slot.open(root).ok()?, (slot.trail_size, slot.trail_head))));
        opened.ok_or(KeysError::Damaged)
    }

    /// The newest copy of an epoch.
    fn newest(&self, epoch: u64) -> Option<&Slot> {
        self.slots.iter().flatten().filter(|slot| slot.epoch == epoch).max_by_key(|slot| slot.sequence)
    }

    /// The epochs that any slot holds.
    pub(crate) fn epochs(&self) -> impl Iterator<Item = u64> {
        self.slots.iter().flatten().map(|slot| slot.epoch)
    }

    /// The number for the next write.
    pub(crate) fn next_sequence(&self) -> u64 {
        self.slots.iter().flatten().map(|slot| slot.sequence).max().map_or(1, |last| last.saturating_add(1))
    }

    /// Writes a slot anywhere but over the newest copy of the epoch `living`.
    pub(crate) fn put(&mut self, slot: Slot, living: u64) -> Result<(), KeysError> {
        if self.looks {
            return Err(KeysError::Misuse("the keyring was opened for looking only"));
        }
        let kept = self.newest(living).map(|newest| newest.sequence);
        let free = self.slots.iter().position(|slot| slot.as_ref().is_none_or(|slot| Some(slot.sequence) != kept));
        let index = free.ok_or(KeysError::Damaged)?;
        let bytes = slot.encode()?;
        self.slots[index] = None; // until the write is known to be whole
        self.overwrite(index, &bytes)?;
        self.slots[index] = Some(slot);
        Ok(())
    }

    /// Overwrites every slot but those for which `keep` holds with random bytes. What they held is gone when this returns.
    pub(crate) fn erase_unless(&mut self, keep: impl Fn(&Slot) -> bool) -> Result<(), KeysError> {
        for index in 0..SLOTS {
            if self.slots[index].as_ref().is_some_and(&keep) {
                continue;
            }
            if self.looks {
                self.slots[index] = None;
                continue;
            }
            let bytes = random::bytes::<SLOT>()?;
            self.overwrite(index, &bytes)?;
            self.slots[index] = None;
        }
        Ok(())
    }

    fn overwrite(&self, index: usize, bytes: &[u8; SLOT]) -> Result<(), KeysError> {
        self.file.write_all_at(bytes, offset(index)).map_err(|error| KeysError::Keyring("write a slot", error))?;
        if read(&self.file, index)? != *bytes {
            return Err(KeysError::Keyring("read a slot back", Error::from(ErrorKind::InvalidData)));
        }
        Ok(())
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
