//! The root key, and who holds it: a [`Custody`] for each provider, one file each.
//!
//! The file of the root key has the same frame whoever holds it; its first eight bytes name the provider, and so the file alone
//! decides how it is opened:
//!
//! ```text
//!   0  n    description: 8 bytes that name the provider, 2 of its version, then what the provider needs, the vault among it
//!   n 124   W1 of kind 4: the root key under the key that the provider unlocks; ext = the description
//!   … 32    SHA-256 of everything before
//! ```
//!
//! The SHA-256 tells damage from a credential that does not fit. Handing the root key from one provider to another, new shares and a new
//! passphrase are all one thing: a fresh root key in a file beside the old one ([`stage`]), [`Hierarchy::rotate_root`](crate::Hierarchy::rotate_root),
//! and the rename ([`install`]) in the middle of it. So whatever opened the old file opens nothing afterwards.

use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use argon2::Params;

use crate::context::Id;
use crate::digest;
use crate::error::KeysError;
use crate::secret::{Secret32, SecretString};
use crate::strict::{self, Fault};
use crate::wrap::{self, KeyId, kind};

pub(crate) mod calendar;
#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod json;
mod kms;
#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod line;
mod passphrase;
mod pkcs11;
mod shares;
mod transit;

pub use kms::{Kms, KmsSettings};
#[cfg(feature = "pkcs11")]
pub(crate) use pkcs11::token;
pub use pkcs11::{Pkcs11, Pkcs11Settings};
pub use shares::{MOST_SHARES, Share, Shares};
#[cfg(feature = "transit")]
pub(crate) use transit::Kept as TransitKept;
pub use transit::{Transit, TransitSettings};

#[cfg(any(feature = "aws-kms", feature = "transit"))]
pub(crate) use line::hex;

/// Whether this is what is said of a token that has lost the key.
pub(crate) fn token_without_key(step: &str) -> bool {
    step == pkcs11::GONE
}

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

/// Who can hold the root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// Whoever knows a passphrase.
    Passphrase,
    /// Several people, of whom some number together.
    Shares,
    /// A token that speaks PKCS#11.
    Pkcs11,
    /// A key of AWS KMS.
    Kms,
    /// A key of the transit engine of Vault or OpenBao.
    Transit,
}

impl Provider {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Passphrase, Self::Shares, Self::Pkcs11, Self::Kms, Self::Transit];

    /// The word for it in settings, commands and answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passphrase => "passphrase",
            Self::Shares => "shares",
            Self::Pkcs11 => "pkcs11",
            Self::Kms => "aws-kms",
            Self::Transit => "transit",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Someone or something that holds the root key, with whatever it takes to ask them: a passphrase, enough shares, a token's PIN.
pub trait Custody: Send + Sync {
    /// Which provider this is.
    fn provider(&self) -> Provider;

    /// A key to wrap a fresh root key under, and the description from which [`unlock`](Self::unlock) finds it again.
    ///
    /// # Errors
    /// [`KeysError::Token`] and the like, when the provider cannot be used now.
    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError>;

    /// The key that the root key of `file` is wrapped under.
    ///
    /// # Errors
    /// [`KeysError::OtherCustody`] when the file is another provider's; else why the provider does not give it.
    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError>;

    /// Destroys at the provider what opened `file`, once another file has taken its place.
    ///
    /// # Errors
    /// Why that could not be. The old file opens nothing any more in any case: its root key is gone from the keyring.
    fn retire(&self, file: &RootFile) -> Result<Retired, KeysError> {
        let _nothing_is_kept_elsewhere = file;
        Ok(Retired::Nothing)
    }
}

/// What became of the key at the provider that opened a file, once another file had taken its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retired {
    /// There never was one.
    Nothing,
    /// It is destroyed.
    Destroyed,
    /// It is where it was, because it is not this vault's alone: its owner deletes it, or keeps it.
    Kept,
}

impl Retired {
    /// The word for it in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Nothing => "none",
            Self::Destroyed => "destroyed",
            Self::Kept => "kept",
        }
    }
}

const WRAPPED: usize = 32 + wrap::OVERHEAD;
const FRAME: usize = WRAPPED + 32;
/// No provider needs more.
const LONGEST: usize = 4096;
const ID: KeyId = KeyId { kind: kind::ROOT_KEY, map: 0, level: 0, index: 0, epoch: 0 };

/// Makes the file with a fresh root key (mode 0600; its directory, mode 0700, when that is missing). Durable when it returns.
///
/// # Errors
/// [`KeysError::Root`] when it exists or cannot be written, [`KeysError::TooOpen`] when its directory is open to others, and what the provider says.
pub fn create(path: &Path, custody: &dyn Custody, vault: Id) -> Result<RootKey, KeysError> {
    let key = RootKey::random()?;
    write_new(path, &seal(&key, custody, vault)?)?;
    Ok(key)
}

/// Opens the root key.
///
/// # Errors
/// [`KeysError::WrongPassphrase`], [`KeysError::Damaged`], [`KeysError::Weak`], [`KeysError::TooOpen`], [`KeysError::Root`], and what the provider says.
pub fn open(path: &Path, custody: &dyn Custody) -> Result<RootKey, KeysError> {
    look(path)?.open(custody)
}

/// The file as it lies there, without opening the root key.
///
/// # Errors
/// As [`open`], the provider aside.
pub fn look(path: &Path) -> Result<RootFile, KeysError> {
    parse(&read(path)?)
}

/// The vault that the root key belongs to, without opening it.
///
/// # Errors
/// As [`look`].
pub fn vault(path: &Path) -> Result<Id, KeysError> {
    Ok(look(path)?.vault())
}

/// Makes a fresh root key in a file beside `path`, for [`install`] to put in its place. One that an interrupted change left there goes.
///
/// # Errors
/// As [`create`].
pub fn stage(path: &Path, custody: &dyn Custody, vault: Id) -> Result<RootKey, KeysError> {
    let beside = beside(path);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(KeysError::Root("remove a leftover", error)),
        _ => {}
    }
    create(&beside, custody, vault)
}

/// Puts the [staged](stage) file in the place of the one at `path`, durably: the one instant at which the way into the vault changes.
///
/// The blocks of the old file may survive on the medium. They open nothing: the root key in them opens no slot of the keyring any more.
///
/// # Errors
/// [`KeysError::Root`]; one of the two files is at `path`, whole, in any case.
pub fn install(path: &Path) -> Result<(), KeysError> {
    fs::rename(beside(path), path).map_err(|error| KeysError::Root("rename", error))?;
    strict::sync_directory_of(path).map_err(Fault::root)
}

/// What a description says beside the vault.
enum Way {
    Passphrase(Params),
    Shares(shares::Deal),
    Pkcs11(pkcs11::Kept),
    Kms(kms::Kept),
    Transit(transit::Kept),
}

/// A well-formed root key file, not yet opened.
pub struct RootFile {
    bytes: Vec<u8>,
    vault: Id,
    way: Way,
}

/// Reads a root key file. Never panics, whatever the bytes.
///
/// # Errors
/// [`KeysError::Damaged`] when the bytes are not such a file, whole; [`KeysError::Weak`] when its parameters are below the floor.
pub fn parse(bytes: &[u8]) -> Result<RootFile, KeysError> {
    let described = bytes.len().checked_sub(FRAME).filter(|_| bytes.len() <= LONGEST).ok_or(KeysError::Damaged)?;
    let (checked, sum) = bytes.split_at(described + WRAPPED);
    if !digest::same(&digest::sha256(&[checked]), sum) {
        return Err(KeysError::Damaged);
    }
    let description = &bytes[..described];
    let (vault, way) = match description.first_chunk::<8>() {
        Some(passphrase::MAGIC) => passphrase::parse(description)?,
        Some(shares::MAGIC) => shares::parse(description)?,
        Some(pkcs11::MAGIC) => pkcs11::parse(description)?,
        Some(kms::MAGIC) => kms::parse(description)?,
        Some(transit::MAGIC) => transit::parse(description)?,
        _ => return Err(KeysError::Damaged),
    };
    Ok(RootFile { bytes: bytes.to_vec(), vault, way })
}

impl RootFile {
    /// The vault that the root key belongs to.
    pub fn vault(&self) -> Id {
        self.vault
    }

    /// Who holds the root key.
    pub fn provider(&self) -> Provider {
        match self.way {
            Way::Passphrase(_) => Provider::Passphrase,
            Way::Shares(_) => Provider::Shares,
            Way::Pkcs11(_) => Provider::Pkcs11,
            Way::Kms(_) => Provider::Kms,
            Way::Transit(_) => Provider::Transit,
        }
    }

    /// Whether it is the same file, to the byte.
    pub fn is(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }

    fn description(&self) -> &[u8] {
        &self.bytes[..self.bytes.len() - FRAME]
    }

    fn open(&self, custody: &dyn Custody) -> Result<RootKey, KeysError> {
        let under = custody.unlock(self)?;
        let (checked, _) = self.bytes.split_at(self.bytes.len() - 32);
        let (description, wrapped) = checked.split_at(checked.len() - WRAPPED);
        let plain = wrap::unwrap_with(&under, &ID, &self.vault, description, wrapped);
        // The file is whole: only what a person typed can be wrong.
        let plain = plain.map_err(|wrong| match self.way {
            Way::Passphrase(_) => KeysError::WrongPassphrase,
            _ => wrong,
        })?;
        Secret32::from_slice(plain.bytes()).map(RootKey)
    }
}

/// Takes two bytes of length and as many bytes from the front.
pub(crate) fn part(bytes: &[u8], longest: usize) -> Result<(&[u8], &[u8]), KeysError> {
    let (length, rest) = bytes.split_first_chunk::<2>().ok_or(KeysError::Damaged)?;
    let length = usize::from(u16::from_be_bytes(*length));
    rest.split_at_checked(length).filter(|_| length <= longest).ok_or(KeysError::Damaged)
}

/// The other way round.
#[cfg(any(feature = "aws-kms", feature = "transit"))]
pub(crate) fn put_part(bytes: &mut Vec<u8>, part: &[u8], longest: usize) -> Result<(), KeysError> {
    let length = u16::try_from(part.len()).ok().filter(|_| part.len() <= longest);
    let length = length.ok_or(KeysError::Full("a description of the root key"))?;
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(part);
    Ok(())
}

/// The bytes of a file that holds `key`.
fn seal(key: &RootKey, custody: &dyn Custody, vault: Id) -> Result<Vec<u8>, KeysError> {
    let (mut bytes, under) = custody.lock(vault)?;
    let wrapped = wrap::wrap(&under, &ID, &vault, &bytes, key.0.bytes())?;
    bytes.extend_from_slice(&wrapped);
    let sum = digest::sha256(&[&bytes]);
    bytes.extend_from_slice(&sum);
    Ok(bytes)
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

/// The text of a small file that is its owner's alone, such as one with a PIN.
///
/// # Errors
/// [`KeysError::TooOpen`] when others may read it, [`KeysError::Root`].
pub fn read_owned(path: &Path, most: u64) -> Result<SecretString, KeysError> {
    let file = strict::open_file(path).map_err(Fault::root)?;
    let mut text = String::with_capacity(usize::try_from(most).unwrap_or(0));
    file.take(most).read_to_string(&mut text).map_err(|error| KeysError::Root("read", error))?;
    Ok(text.into())
}

fn read(path: &Path) -> Result<Vec<u8>, KeysError> {
    let file: File = strict::open(path, false).map_err(Fault::root)?;
    let mut bytes = Vec::with_capacity(LONGEST + 1);
    // One byte more than the file may have, so that a longer one is seen and a huge one is not read.
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| KeysError::Root("read", error))?;
    Ok(bytes)
}
