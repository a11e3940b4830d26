//! W1, the format of every wrapped key and every small sealed row.
//!
//! ```text
//!  0  4  "PVW1"        4  1  suite = 1      5  1  kind      6  1  map      7  1  level
//!  8  4  index        12  8  epoch          (kind, map, level, index, epoch = the key's id; integers big-endian)
//! 20 24  salt         44 32  commitment    76  n  ciphertext             76+n 16  tag        92 bytes more than the plaintext
//!
//! okm   = HKDF-Expand-SHA256(PRK = parent, info = "pv1/W1" ‖ bytes 0..20 ‖ vault ‖ salt ‖ SHA-256(ext), L = 64)    RFC 5869
//! key   = okm[0..32],  commitment = okm[32..64],  nonce = 0^12,  AAD = bytes 0..20 ‖ vault ‖ ext                  SP 800-38D
//! salt  = HMAC-SHA256(parent, "pv1/hedge" ‖ 32 fresh random bytes ‖ SHA-256(plaintext))[0..24]
//! open  = header as expected, then the commitment in constant time, then GCM; any failure is the one error `Damaged`
//! ```
//!
//! `ext` says what the row is (kinds 5, 8, 9) or describes the slot (kinds 4, 7); it is empty for the nodes of the trees.

use zeroize::Zeroizing;

use crate::aead::{COMMITMENT, OneUse, SALT, TAG, hedged_salt};
use crate::context::Id;
use crate::digest;
use crate::error::KeysError;
use crate::secret::{Plaintext, Secret32, traceless};

/// What a wrap holds: byte 5 of its header. A number is never given a second meaning.
pub mod kind {
    /// The root node of the trees, under the epoch key.
    pub const ROOT_NODE: u8 = 1;
    /// An interior node, under its parent's key for it.
    pub const INTERIOR: u8 = 2;
    /// A bucket of entries, under its parent's key for it.
    pub const BUCKET: u8 = 3;
    /// The root key under a passphrase.
    pub const ROOT_KEY: u8 = 4;
    /// A row of the vault's own, under the row key.
    pub const SYSTEM_ROW: u8 = 5;
    /// An epoch key in a slot, under the root key.
    pub const EPOCH_KEY: u8 = 7;
    /// A record key under one group key.
    pub const RECORD_KEY: u8 = 8;
    /// A row about one subject, under its tag key.
    pub const SUBJECT_ROW: u8 = 9;
}

/// Bytes that a wrap is longer than what it holds.
pub const OVERHEAD: usize = HEADER + SALT + COMMITMENT + TAG;

const MAGIC: &[u8; 4] = b"PVW1";
const SUITE: u8 = 1;
const HEADER: usize = 20;
const TEXT: usize = HEADER + SALT + COMMITMENT;
/// The key is used once, so one nonce is enough.
const NONCE: [u8; 12] = [0; 12];

/// Which key a wrap holds: the part of its header that is not the same for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct KeyId {
    /// One of [`kind`].
    pub kind: u8,
    /// The tree, for nodes and buckets.
    pub map: u8,
    /// The depth, for nodes and buckets; the group, for record keys.
    pub level: u8,
    /// The place within the level; the generation of the group key, for record keys.
    pub index: u32,
    /// The epoch in which the key was made.
    pub epoch: u64,
}

impl KeyId {
    /// The id that a wrap claims to have. Nothing is proven before the wrap is opened.
    ///
    /// # Errors
    /// [`KeysError::Damaged`] when the bytes are too short, or not of this format and suite.
    pub fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(KeysError::Damaged)?;
        if rest.len() < OVERHEAD - HEADER {
            return Err(KeysError::Damaged);
        }
        let [m0, m1, m2, m3, suite, kind, map, level, i0, i1, i2, i3, epoch @ ..] = *header;
        if [m0, m1, m2, m3] != *MAGIC || suite != SUITE {
            return Err(KeysError::Damaged);
        }
        Ok(Self { kind, map, level, index: u32::from_be_bytes([i0, i1, i2, i3]), epoch: u64::from_be_bytes(epoch) })
    }

    fn header(&self) -> [u8; HEADER] {
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(MAGIC);
        header[4..8].copy_from_slice(&[SUITE, self.kind, self.map, self.level]);
        header[8..12].copy_from_slice(&self.index.to_be_bytes());
        header[12..].copy_from_slice(&self.epoch.to_be_bytes());
        header
    }
}

/// Wraps `plain` under `parent`; the result is [`OVERHEAD`] bytes longer.
pub(crate) fn wrap(parent: &Secret32, id: &KeyId, vault: &Id, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
    traceless(|| close(parent, id, vault, ext, plain))
}

fn close(parent: &Secret32, id: &KeyId, vault: &Id, ext: &[u8], plain: &[u8]) -> Result<Vec<u8>, KeysError> {
    let header = id.header();
    let salt = hedged_salt(parent, &digest::sha256(&[plain]))?;
    let one_use = derive(parent, &header, vault, &salt, ext);

    let mut out = Vec::with_capacity(OVERHEAD + plain.len());
    out.extend_from_slice(&header);
    out.extend_from_slice(&salt);
    out.extend_from_slice(one_use.commitment());
    out.extend_from_slice(plain);
    let tag = with_aad(&header, vault, ext, |aad| one_use.cipher().encrypt(&NONCE, aad, &mut out[TEXT..]))?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// Opens a wrap that must have exactly the id `expected`.
pub(crate) fn unwrap_with(
    parent: &Secret32,
    expected: &KeyId,
    vault: &Id,
    ext: &[u8],
    bytes: &[u8],
) -> Result<Plaintext, KeysError> {
    traceless(|| open(parent, expected, vault, ext, bytes))
}

fn open(parent: &Secret32, expected: &KeyId, vault: &Id, ext: &[u8], bytes: &[u8]) -> Result<Plaintext, KeysError> {
    if KeyId::read(bytes)? != *expected {
        return Err(KeysError::Damaged);
    }
    let (header, rest) = bytes.split_first_chunk::<HEADER>().ok_or(KeysError::Damaged)?;
    let (salt, rest) = rest.split_first_chunk::<SALT>().ok_or(KeysError::Damaged)?;
    let (commitment, rest) = rest.split_first_chunk::<COMMITMENT>().ok_or(KeysError::Damaged)?;
    let (text, tag) = rest.split_last_chunk::<TAG>().ok_or(KeysError::Damaged)?;

    let cipher = derive(parent, header, vault, salt, ext).committed(commitment)?;
    let mut plain = Zeroizing::new(text.to_vec());
    with_aad(header, vault, ext, |aad| cipher.decrypt(&NONCE, aad, &mut plain, tag))?;
    Ok(Plaintext::new(plain))
}

fn derive(parent: &Secret32, header: &[u8; HEADER], vault: &Id, salt: &[u8; SALT], ext: &[u8]) -> OneUse {
    OneUse::derive(parent, &[b"pv1/W1", header, vault, salt, &digest::sha256(&[ext])])
}

/// The associated data, on the stack for the usual short `ext`.
fn with_aad<T>(header: &[u8; HEADER], vault: &Id, ext: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
    const FIXED: usize = HEADER + 16;
    let mut short = [0; 256];
    match short.get_mut(..FIXED + ext.len()) {
        Some(aad) => {
            aad[..HEADER].copy_from_slice(header);
            aad[HEADER..FIXED].copy_from_slice(vault);
            aad[FIXED..].copy_from_slice(ext);
            work(aad)
        }
        None => work(&[header.as_slice(), vault, ext].concat()),
    }
}

#[cfg(test)]
mod tests;
