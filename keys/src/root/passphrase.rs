//! The root key under a passphrase: the provider of a new vault unless another is chosen.
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

use argon2::{Algorithm, Argon2, Params, Version};

use super::{Custody, Provider, RootFile, Way};
use crate::context::Id;
use crate::error::KeysError;
use crate::random;
use crate::secret::{ExposeSecret, Secret32, SecretString};

pub(super) const MAGIC: &[u8; 8] = b"PVROOTF1";
const VERSION: u16 = 1;
const ARGON2ID: u16 = 1;
const DESCRIPTION: usize = 72;

/// The second choice of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes. Nothing weaker is opened.
const MEMORY: u32 = 64 * 1024;
const PASSES: u32 = 3;
const LANES: u32 = 4;
/// And nothing that would exhaust the machine: 4 GiB, 64 passes, 64 lanes.
const MOST: (u32, u32, u32) = (4 * 1024 * 1024, 64, 64);

/// A passphrase is all that this provider needs. Takes some 100 ms and 64 MiB.
impl Custody for SecretString {
    fn provider(&self) -> Provider {
        Provider::Passphrase
    }

    fn lock(&self, vault: Id) -> Result<(Vec<u8>, Secret32), KeysError> {
        let mut bytes = Vec::with_capacity(DESCRIPTION);
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
        Ok((bytes, stretch(self, &salt, cost)?))
    }

    fn unlock(&self, file: &RootFile) -> Result<Secret32, KeysError> {
        match &file.way {
            Way::Passphrase(cost) => stretch(self, &file.description()[40..], cost.clone()),
            _ => Err(KeysError::OtherCustody(file.provider())),
        }
    }
}

/// Reads the description of such a file: the vault and what the passphrase is stretched with.
pub(super) fn parse(bytes: &[u8]) -> Result<(Id, Way), KeysError> {
    let bytes: &[u8; DESCRIPTION] = bytes.try_into().map_err(|_| KeysError::Damaged)?;
    let [_, _, _, _, _, _, _, _, v0, v1, k0, k1, ..] = *bytes;
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
    let mut vault = [0; 16];
    vault.copy_from_slice(&bytes[24..40]);
    Ok((vault, Way::Passphrase(cost)))
}

/// `Argon2id(passphrase, salt; cost)`, 32 bytes (RFC 9106).
fn stretch(passphrase: &SecretString, salt: &[u8], cost: Params) -> Result<Secret32, KeysError> {
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    Secret32::build(|place| {
        let stretched = argon.hash_password_into(passphrase.expose_secret().as_bytes(), salt, place);
        stretched.map_err(|_| KeysError::Misuse("passphrase too long"))
    })
}
