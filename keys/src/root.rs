//! The root key, and the file that keeps it under a passphrase.
//!
//! ```text
//!   0  8  "PVROOTF1"    8  2  version = 1    10  2  method = 1 (Argon2id 1.3, RFC 9106)
//!  12  4  memory KiB   16  4  passes         20  4  lanes        24 16  vault       40 32  salt
//!  72 124  W1 of kind 4: the root key under Argon2id(passphrase, salt); ext = bytes 0..72
//! 196 32  SHA-256 of bytes 0..196                                integers big-endian; 228 bytes in all
//! ```
//!
//! The SHA-256 tells damage from a wrong passphrase: a file that is whole but does not open was given another passphrase. W1's commitment
//! is what keeps a made-up file from testing many passphrases with one try (Len and others, USENIX Security 2021).

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};

use crate::context::Id;
use crate::digest;
use crate::error::KeysError;
use crate::random;
use crate::secret::{ExposeSecret, Secret32, SecretString};
use crate::strict::{self, Fault};
use crate::wrap::{self, KeyId, kind};

/// The key above every epoch key. It opens nothing without the keyring.
pub struct RootKey(Secret32);

impl RootKey {
    /// A fresh random key, kept nowhere.
    pub(crate) fn random() -> Result<Self, KeysError> {
        Secret32::random().map(Self)
    }

    /// A second copy, for a test that opens a vault twice.
    #[cfg(test)]
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.duplicate())
    }

    pub(crate) fn secret(&self) -> &Secret32 {
        &self.0
    }
}

const MAGIC: &[u8; 8] = b"PVROOTF1";
const VERSION: u16 = 1;
const ARGON2ID: u16 = 1;
const DESCRIPTION: usize = 72;
const WRAPPED: usize = 32 + wrap::OVERHEAD;
const CHECKED: usize = DESCRIPTION + WRAPPED;
const LENGTH: usize = CHECKED + 32;
const ID: KeyId = KeyId { kind: kind::ROOT_KEY, map: 0, level: 0, index: 0, epoch: 0 };

/// The second choice of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes. Nothing weaker is opened.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// And nothing that would exhaust the machine: 4 GiB, 64 passes, 64 lanes.
const MOST: (u32, u32, u32) = (4 * 1024 * 1024, 64, 64);

/// Makes the file with a fresh root key (mode 0600; its directory, mode 0700, when that is missing). Durable when it returns.
///
/// # Errors
/// [`KeysError::Root`] when it exists or cannot be written, [`KeysError::TooOpen`] when its directory is open to others.
pub fn create(path: &Path, passphrase: &SecretString, vault: Id) -> Result<RootKey, KeysError> {
    let key = RootKey::random()?;
    write_new(path, &seal(&key, passphrase, vault)?)?;
    Ok(key)
}

/// Opens the root key. Takes some 100 ms and 64 MiB.
///
/// # Errors
/// [`KeysError::WrongPassphrase`], [`KeysError::Damaged`], [`KeysError::Weak`], [`KeysError::TooOpen`], [`KeysError::Root`].
pub fn open(path: &Path, passphrase: &SecretString) -> Result<RootKey, KeysError> {
    parse(&read(path)?)?.open(passphrase)
}

/// The vault that the root key belongs to, without a passphrase.
///
/// # Errors
/// As [`open`], the passphrase aside.
pub fn vault(path: &Path) -> Result<Id, KeysError> {
    Ok(parse(&read(path)?)?.vault())
}

/// Puts the same root key under another passphrase: a new file beside the old one, then renamed over it.
///
/// The blocks of the old file may survive on the medium, and then open with the old passphrase. If that passphrase became known, change the
/// root key itself with [`Hierarchy::rotate_root`](crate::Hierarchy::rotate_root).
///
/// # Errors
/// As [`open`] and [`create`]; the old file is whole until the new one has taken its place.
pub fn change_passphrase(path: &Path, old: &SecretString, new: &SecretString) -> Result<(), KeysError> {
    let file = parse(&read(path)?)?;
    let bytes = seal(&file.open(old)?, new, file.vault())?;
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(KeysError::Root("remove a leftover", error)),
        _ => {} // left by a change that was interrupted
    }
    write_new(&beside, &bytes)?;
    install(&beside, path)
}

/// Renames a root key file over another, durably: the last step of changing the root key, after
/// [`Hierarchy::rotate_root`](crate::Hierarchy::rotate_root).
///
/// # Errors
/// [`KeysError::Root`]; one of the two files is at `path`, whole, in any case.
pub fn install(from: &Path, path: &Path) -> Result<(), KeysError> {
    fs::rename(from, path).map_err(|error| KeysError::Root("rename", error))?;
    strict::sync_directory_of(path).map_err(Fault::root)
}

/// A well-formed root key file, not yet opened.
pub struct RootFile {
    bytes: [u8; LENGTH],
    cost: Params,
}

/// Reads a root key file. Never panics, whatever the bytes.
///
/// # Errors
/// [`KeysError::Damaged`] when the bytes are not such a file, whole; [`KeysError::Weak`] when its parameters are below the floor.
pub fn parse(bytes: &[u8]) -> Result<RootFile, KeysError> {
    let bytes: [u8; LENGTH] = bytes.try_into().map_err(|_| KeysError::Damaged)?;
    let (checked, sum) = bytes.split_at(CHECKED);
    if !checked.starts_with(MAGIC) || !digest::same(&digest::sha256(&[checked]), sum) {
        return Err(KeysError::Damaged);
    }
    let [_, _, _, _, _, _, _, _, v0, v1, k0, k1, ..] = bytes;
    if u16::from_be_bytes([v0, v1]) != VERSION || u16::from_be_bytes([k0, k1]) != ARGON2ID {
        return Err(KeysError::Damaged);
    }
    let number = |from: usize| bytes[from..from + 4].iter().fold(0, |sum, byte| (sum << 8) | u32::from(*byte));
    let (memory, passes, lanes) = (number(12), number(16), number(20));
    if memory < MEMORY || passes < PASSES || lanes < LANES {
        return Err(KeysError::Weak("Argon2id parameters below the second choice of RFC 9106"));
    }
    if memory > MOST.0 || passes > MOST.1 || lanes > MOST.2 {
        return Err(KeysError::Damaged);
    }
    let cost = Params::new(memory, passes, lanes, Some(32)).map_err(|_| KeysError::Damaged)?;
    Ok(RootFile { bytes, cost })
}

impl RootFile {
    /// The vault that the root key belongs to.
    pub fn vault(&self) -> Id {
        let mut vault = [0; 16];
        vault.copy_from_slice(&self.bytes[24..40]);
        vault
    }

    fn open(&self, passphrase: &SecretString) -> Result<RootKey, KeysError> {
        let (description, wrapped) = self.bytes[..CHECKED].split_at(DESCRIPTION);
        let under = stretch(passphrase, &description[40..], self.cost.clone())?;
        // The file is whole: only the passphrase can be wrong.
        let plain = wrap::unwrap_with(&under, &ID, &self.vault(), description, wrapped);
        Secret32::from_slice(plain.map_err(|_| KeysError::WrongPassphrase)?.bytes()).map(RootKey)
    }
}

/// The bytes of a file that holds `key`.
fn seal(key: &RootKey, passphrase: &SecretString, vault: Id) -> Result<Vec<u8>, KeysError> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&ARGON2ID.to_be_bytes());
    for cost in [MEMORY, PASSES, LANES] {
        bytes.extend_from_slice(&cost.to_be_bytes());
    }
    bytes.extend_from_slice(&vault);
    let salt = random::bytes::<32>()?;
    bytes.extend_from_slice(&salt);
    let cost = Params::new(MEMORY, PASSES, LANES, Some(32)).map_err(|_| KeysError::Misuse("Argon2 parameters"))?;
    let under = stretch(passphrase, &salt, cost)?;
    let wrapped = wrap::wrap(&under, &ID, &vault, &bytes, key.0.bytes())?;
    bytes.extend_from_slice(&wrapped);
    let sum = digest::sha256(&[&bytes]);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
}

/// `Argon2id(passphrase, salt; cost)`, 32 bytes (RFC 9106).
fn stretch(passphrase: &SecretString, salt: &[u8], cost: Params) -> Result<Secret32, KeysError> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    Secret32::build(|place| {
        let stretched = argon.hash_password_into(passphrase.expose_secret().as_bytes(), salt, place);
        stretched.map_err(|_| KeysError::Misuse("passphrase too long"))
    })
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), KeysError> {
    let mut file = strict::create(path).map_err(Fault::root)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    written.map_err(|error| KeysError::Root("write", error))?;
    strict::sync_directory_of(path).map_err(Fault::root)
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    let file: File = strict::open(path, false).map_err(Fault::root)?;
    let mut bytes = Vec::with_capacity(LENGTH + 1);
    // One byte more than the file may have, so that a longer one is seen and a huge one is not read.
    file.take(LENGTH as u64 + 1).read_to_end(&mut bytes).map_err(|error| KeysError::Root("read", error))?;
    Ok(bytes)
}
