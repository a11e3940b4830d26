//! The root key under a key of the transit engine of Vault or OpenBao, which never leaves it.
//!
//! ```text
//!   0  8  "PVROOTT1"    8  2  version = 1    10  2  method = 1 (encrypt with associated data)    12 16  vault
//!  28  4  version of the key
//!  32  2  n             34 n  mount and name of the key, as "transit/oubliette"
//!   …  2  m              … m  the ciphertext, as the engine writes it ("vault:v3:…"), of the key that W1 wraps under
//! ```
//!
//! Associated data are `oubliette/root-key/` and the vault in hexadecimal digits. Where `trim` is set, the key is this vault's alone: every
//! new file is made under a new version of it (`rotate`), and once the old file is replaced all versions before are destroyed (`config`, `trim`).
//! What the engine's storage backend and the backups of Vault keep of a trimmed version is not known here.

use std::path::PathBuf;

use super::{Custody, Provider, Retired, RootFile, Way};
use crate::context::Id;
use crate::error::KeysError;
use crate::secret::Secret32;

#[cfg(feature = "transit")]
mod service;

pub(super) const MAGIC: &[u8; 8] = b"PVROOTT1";
const VERSION: u16 = 1;
const ASSOCIATED: u16 = 1;
const FIXED: usize = 28;
const LONGEST: (usize, usize) = (512, 1024);

/// Which key it is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransitSettings {
    /// `https://…` of the server.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// The name of the key: `aes256-gcm96` or `chacha20-poly1305`, not derived.
    pub key: String,
    /// The namespace, where there are any.
    pub namespace: Option<String>,
    /// Authorities in PEM that may vouch for the server; the system's unless told.
    pub authorities: Option<PathBuf>,
    /// A file (mode 0600) with a token, read anew for every call so that an agent may keep it fresh; or
    pub token: Option<PathBuf>,
    /// the id of a role (AppRole), and
    pub role: Option<String>,
    /// a file (mode 0600) with its secret id.
    pub secret: Option<PathBuf>,
    /// Whether the key is this vault's alone, so that its old versions may be destroyed.
    pub trim: bool,
}

/// Vault or OpenBao, with one key of its transit engine.
pub struct Transit {
    #[cfg_attr(not(feature = "transit"), expect(dead_code, reason = "only the feature speaks to it"))]
    settings: TransitSettings,
    /// The token that AppRole gave.
    #[cfg(feature = "transit")]
    token: std::sync::Mutex<Option<zeroize::Zeroizing<String>>>,
    #[cfg(feature = "transit")]
    line: std::sync::OnceLock<super::line::Line>,
}

/// What the description of a file says: the key with its mount and version, and what it encrypted.
#[cfg_attr(not(feature = "transit"), expect(dead_code, reason = "only the feature reads them"))]
pub(crate) struct Kept {
    key: String,
    version: u32,
    encrypted: String,
}

impl Kept {
    /// Reads version, key and ciphertext, which are all of `bytes`.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (version, rest) = bytes.split_first_chunk::<4>().ok_or(KeysError::Damaged)?;
        let (key, rest) = super::part(rest, LONGEST.0)?;
        let (encrypted, rest) = super::part(rest, LONGEST.1)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| KeysError::Damaged);
        let kept = Self { key: text(key)?, version: u32::from_be_bytes(*version), encrypted: text(encrypted)? };
        // The key becomes part of an address.
        if !rest.is_empty() || !kept.key.split('/').all(is_name) || kept.key.split('/').count() < 2 {
            return Err(KeysError::Damaged);
        }
        Ok(kept)
    }

    /// The other way round.
    #[cfg(feature = "transit")]
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) -> Result<(), KeysError> {
        bytes.extend_from_slice(&self.version.to_be_bytes());
        super::put_part(bytes, self.key.as_bytes(), LONGEST.0)?;
        super::put_part(bytes, self.encrypted.as_bytes(), LONGEST.1)
    }

    /// Mount and name.
    #[cfg(feature = "transit")]
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The version that encrypted.
    #[cfg(feature = "transit")]
    pub(crate) fn version(&self) -> u32 {
        self.version
    }
}

impl Transit {
    /// The key, not yet asked for.
    pub fn new(settings: TransitSettings) -> Self {
        Self {
            settings,
            #[cfg(feature = "transit")]
            token: std::sync::Mutex::new(None),
            #[cfg(feature = "transit")]
            line: std::sync::OnceLock::new(),
        }
    }
}

/// Reads the description of such a file.
pub(super) fn parse(bytes: &[u8]) -> Result<(Id, Way), KeysError> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(KeysError::Damaged)?;
    if fixed[8..12] != [VERSION.to_be_bytes(), ASSOCIATED.to_be_bytes()].concat() {
        return Err(KeysError::Damaged);
    }
    let mut vault = [0; 16];
    vault.copy_from_slice(&fixed[12..]);
    Ok((vault, Way::Transit(Kept::read(rest)?)))
}

/// Whether this may be one step of a path at the server.
fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    !matches!(text, "" | "." | "..") && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

#[cfg(feature = "transit")]
fn describe(vault: Id, kept: &Kept) -> Result<Vec<u8>, KeysError> {
    let mut bytes = Vec::with_capacity(FIXED + 4 + kept.key.len() + kept.encrypted.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&ASSOCIATED.to_be_bytes());
    bytes.extend_from_slice(&vault);
    kept.write(&mut bytes)?;
    Ok(bytes)
}

impl Custody for Transit {
    fn provider(&self) -> Provider {
        Provider::Transit
    }

    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        #[cfg(feature = "transit")]
        return {
            let key = Secret32::random()?;
            let path = self.path()?;
            if self.settings.trim {
                self.rotate(&path)?;
            }
            let kept = self.encrypt(path, &associated(vault), key.bytes())?;
            Ok((describe(vault, &kept)?, key))
        };
        #[cfg(not(feature = "transit"))]
        return Err(without(vault));
    }

    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError> {
        let Way::Transit(kept) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        #[cfg(feature = "transit")]
        return self.decrypt(kept, &associated(file.vault));
        #[cfg(not(feature = "transit"))]
        return Err(without(kept));
    }

    fn retire(&self, file: &RootFile) -> Result<Retired, KeysError> {
        let Way::Transit(kept) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        #[cfg(feature = "transit")]
        return if self.settings.trim {
            self.trim(&kept.key, kept.version).map(|()| Retired::Destroyed)
        } else {
            Ok(Retired::Kept)
        };
        #[cfg(not(feature = "transit"))]
        return Err(without(kept));
    }
}

#[cfg(feature = "transit")]
fn associated(vault: Id) -> String {
    format!("oubliette/root-key/{}", super::line::hex(&vault))
}

#[cfg(not(feature = "transit"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    KeysError::Holder(Provider::Transit, crate::error::Obstacle::Unusable, "this program was built without the feature transit")
}

#[cfg(all(test, feature = "transit"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kept(key: &str) -> Kept {
        Kept { key: key.into(), version: 7, encrypted: "vault:v7:AAAA".into() }
    }

    #[test]
    fn a_description_is_read_as_it_was_written_and_not_with_a_byte_more_or_less() {
        let bytes = describe([7; 16], &kept("a/b/oubliette")).unwrap();
        let (vault, Way::Transit(found)) = parse(&bytes).unwrap() else { panic!() };
        assert_eq!(
            (vault, found.key.as_str(), found.version, found.encrypted.as_str()),
            ([7; 16], "a/b/oubliette", 7, "vault:v7:AAAA")
        );
        assert!(parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(parse(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_file_cannot_send_the_vault_to_another_place_of_the_server() {
        for key in ["transit/../sys/seal", "transit", "/transit/key", "transit/", "transit/key?x", "transit/a%2fb", "transit/ä"]
        {
            assert!(parse(&describe([7; 16], &kept(key)).unwrap()).is_err(), "{key}");
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&[&MAGIC[..], &[0, 1, 0, 1], &bytes].concat());
        }
    }
}
