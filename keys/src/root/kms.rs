//! The root key under a key of AWS KMS, which never leaves it.
//!
//! ```text
//!   0  8  "PVROOTK1"    8  2  version = 1    10  2  method = 1 (Encrypt, SYMMETRIC_DEFAULT)    12 16  vault
//!  28  2  n             30 n  the ARN of the key, as KMS answered it
//!   …  2  m              … m  what KMS made of the key that W1 wraps under; encryption context = vault and use
//! ```
//!
//! The encryption context `{"oubliette:use": "root-key", "oubliette:vault": <hexadecimal>}` is authenticated by KMS and written in CloudTrail,
//! so a policy can hold the key to one vault. Three calls are made: Encrypt, Decrypt, and DescribeKey to tell why a key is not usable.
//! A key of KMS is never deleted at once: it waits 7 to 30 days, in which it opens nothing and its deletion can be taken back.

use std::path::PathBuf;

use super::{Custody, Provider, Retired, RootFile, Way};
use crate::context::Id;
use crate::error::KeysError;
use crate::secret::Secret32;

#[cfg(feature = "aws-kms")]
mod credentials;
#[cfg(feature = "aws-kms")]
mod service;
#[cfg(feature = "aws-kms")]
mod sign4;

pub(super) const MAGIC: &[u8; 8] = b"PVROOTK1";
const VERSION: u16 = 1;
const SYMMETRIC: u16 = 1;
const FIXED: usize = 28;
/// The longest ARN, and the longest answer to Encrypt of 32 bytes (6,144 bytes is for the longest plaintext).
const LONGEST: (usize, usize) = (2048, 1024);

/// Which key it is, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KmsSettings {
    /// Key id, ARN, or `alias/…` of a symmetric key.
    pub key: String,
    /// Its region; that of the ARN or of `AWS_REGION` unless told.
    pub region: Option<String>,
    /// Where KMS answers, such as a VPC endpoint; the region's own unless told.
    pub endpoint: Option<String>,
    /// Authorities in PEM that may vouch for it; the system's unless told.
    pub authorities: Option<PathBuf>,
    /// A file of credentials (mode 0600) in the form of `~/.aws/credentials`; else the environment, the container or the machine has them.
    pub credentials: Option<PathBuf>,
    /// The profile in that file; `default` unless told.
    pub profile: Option<String>,
}

/// AWS KMS, with one key of it.
pub struct Kms {
    settings: KmsSettings,
    #[cfg(feature = "aws-kms")]
    known: std::sync::Mutex<Option<credentials::Credentials>>,
    #[cfg(feature = "aws-kms")]
    line: std::sync::OnceLock<super::line::Line>,
}

/// What the description of a file says: the key's ARN, and what KMS encrypted.
#[cfg_attr(not(feature = "aws-kms"), expect(dead_code, reason = "only the feature reads them"))]
pub(super) struct Kept {
    key: String,
    encrypted: Vec<u8>,
}

impl Kms {
    /// The key, not yet asked for.
    pub fn new(settings: KmsSettings) -> Self {
        Self {
            settings,
            #[cfg(feature = "aws-kms")]
            known: std::sync::Mutex::new(None),
            #[cfg(feature = "aws-kms")]
            line: std::sync::OnceLock::new(),
        }
    }

    /// Which key new files are made under.
    pub fn settings(&self) -> &KmsSettings {
        &self.settings
    }
}

/// Reads the description of such a file.
pub(super) fn parse(bytes: &[u8]) -> Result<(Id, Way), KeysError> {
    let (fixed, rest) = bytes.split_first_chunk::<FIXED>().ok_or(KeysError::Damaged)?;
    if fixed[8..12] != [VERSION.to_be_bytes(), SYMMETRIC.to_be_bytes()].concat() {
        return Err(KeysError::Damaged);
    }
    let mut vault = [0; 16];
    vault.copy_from_slice(&fixed[12..]);
    let (key, rest) = super::part(rest, LONGEST.0)?;
    let (encrypted, rest) = super::part(rest, LONGEST.1)?;
    let key = String::from_utf8(key.to_vec()).map_err(|_| KeysError::Damaged)?;
    if !rest.is_empty() {
        return Err(KeysError::Damaged);
    }
    Ok((vault, Way::Kms(Kept { key, encrypted: encrypted.to_vec() })))
}

#[cfg(feature = "aws-kms")]
fn describe(vault: Id, key: &str, encrypted: &[u8]) -> Result<Vec<u8>, KeysError> {
    let mut bytes = Vec::with_capacity(FIXED + 4 + key.len() + encrypted.len());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&SYMMETRIC.to_be_bytes());
    bytes.extend_from_slice(&vault);
    super::put_part(&mut bytes, key.as_bytes(), LONGEST.0)?;
    super::put_part(&mut bytes, encrypted, LONGEST.1)?;
    Ok(bytes)
}

impl Custody for Kms {
    fn provider(&self) -> Provider {
        Provider::Kms
    }

    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        #[cfg(feature = "aws-kms")]
        return {
            if self.settings.key.is_empty() {
                const NONE: &str = "[custody] of config.toml names no kms_key";
                return Err(KeysError::Holder(Provider::Kms, crate::error::Obstacle::Unusable, NONE));
            }
            let key = Secret32::random()?;
            let (arn, encrypted) = self.encrypt(&self.settings.key, &context(vault), key.bytes())?;
            Ok((describe(vault, &arn, &encrypted)?, key))
        };
        #[cfg(not(feature = "aws-kms"))]
        return Err(without(vault));
    }

    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError> {
        let Way::Kms(kept) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        #[cfg(feature = "aws-kms")]
        return self.decrypt(&kept.key, &context(file.vault), &kept.encrypted);
        #[cfg(not(feature = "aws-kms"))]
        return Err(without(kept));
    }

    fn retire(&self, file: &RootFile) -> Result<Retired, KeysError> {
        let Way::Kms(_) = &file.way else { return Err(KeysError::OtherCustody(file.provider())) };
        // The key is its owner's, and may hold other things. Deleting it takes days and is not this program's to decide.
        Ok(Retired::Kept)
    }
}

#[cfg(feature = "aws-kms")]
fn context(vault: Id) -> [(&'static str, String); 2] {
    [("oubliette:use", "root-key".to_owned()), ("oubliette:vault", super::line::hex(&vault))]
}

#[cfg(not(feature = "aws-kms"))]
fn without<T>(_nothing_to_do_with: T) -> KeysError {
    KeysError::Holder(Provider::Kms, crate::error::Obstacle::Unusable, "this program was built without the feature aws-kms")
}

#[cfg(all(test, feature = "aws-kms"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_description_is_read_as_it_was_written_and_not_with_a_byte_more_or_less() {
        let bytes = describe([7; 16], "arn:aws:kms:eu-central-1:1:key/2", &[9; 200]).unwrap();
        let (vault, Way::Kms(kept)) = parse(&bytes).unwrap() else { panic!() };
        assert_eq!((vault, kept.key.as_str(), kept.encrypted), ([7; 16], "arn:aws:kms:eu-central-1:1:key/2", vec![9; 200]));
        assert!(parse(&bytes[..bytes.len() - 1]).is_err());
        assert!(parse(&[&bytes[..], &[0]].concat()).is_err());
        assert!(describe([7; 16], &"k".repeat(2049), &[]).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = parse(&[&MAGIC[..], &[0, 1, 0, 1], &bytes].concat());
        }
    }
}
