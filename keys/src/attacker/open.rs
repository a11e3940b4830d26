//! The formats once more, written from their drawings and from nothing else of this crate: a mistake that the crate makes in writing and in
//! reading alike does not hide from somebody who reads with other code.

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit as _};
use argon2::{Algorithm, Argon2, Params, Version};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub(super) type Key = [u8; 32];

const HEAD: usize = 20 + 24 + 32;
const TAG: usize = 16;
/// No row is longer, so no text is.
const LONGEST: usize = 6_000;

pub(super) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().into()
}

pub(super) fn hmac(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn expand(key: &Key, info: &[&[u8]]) -> [u8; 64] {
    let mut out = [0; 64];
    let done = Hkdf::<Sha256>::from_prk(key).map(|hkdf| hkdf.expand_multi_info(info, &mut out));
    if matches!(done, Ok(Ok(()))) { out } else { [0; 64] }
}

fn decrypt(key: &[u8], nonce: &[u8; 12], aad: &[u8], text: &[u8], tag: &[u8]) -> Option<Vec<u8>> {
    let key: &Key = key.try_into().ok()?;
    let tag: &[u8; TAG] = tag.try_into().ok()?;
    let mut plain = text.to_vec();
    Aes256Gcm::new(key.into()).decrypt_inout_detached(nonce.into(), aad, plain.as_mut_slice().into(), tag.into()).ok()?;
    Some(plain)
}

/// The header of a wrap, as it claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) map: u8,
    pub(super) level: u8,
    pub(super) index: u32,
}

pub(super) fn header(bytes: &[u8]) -> Option<Header> {
    let head = bytes.get(..HEAD)?;
    let index = u32::from_be_bytes(head.get(8..12)?.try_into().ok()?);
    head.starts_with(b"PVW1\x01").then(|| Header { kind: head[5], map: head[6], level: head[7], index })
}

/// Opens a W1 whose end is not known: the commitment tells whether the key is right, the tag where the text ends.
pub(super) fn wrap(key: &Key, vault: &[u8; 16], ext: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    header(bytes)?;
    let (head, rest) = bytes.split_at_checked(20)?;
    let (salt, rest) = rest.split_at_checked(24)?;
    let (commitment, rest) = rest.split_at_checked(32)?;
    let okm = expand(key, &[b"pv1/W1", head, vault, salt, &sha256(&[ext])]);
    if okm[32..] != *commitment {
        return None;
    }
    let aad = [head, vault, ext].concat();
    let end = rest.len().checked_sub(TAG)?;
    // The whole first: what stands alone in a row ends with it.
    std::iter::once(end).chain(0..end.min(LONGEST)).find_map(|length| {
        let (text, tag) = rest.split_at_checked(length)?;
        decrypt(&okm[..32], &[0; 12], &aad, text, tag.get(..TAG)?)
    })
}

/// What a record is bound to.
pub(super) struct Bound<'a> {
    pub(super) vault: &'a [u8; 16],
    pub(super) tenant: &'a [u8; 16],
    pub(super) subject: &'a [u8; 16],
    pub(super) record: &'a [u8; 16],
    pub(super) groups: u32,
    pub(super) label: &'a [u8; 32],
}

/// The fields of an R1 envelope: their numbers and their plaintexts.
pub(super) fn envelope(key: &Key, bound: &Bound<'_>, bytes: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    if !bytes.starts_with(b"PVR1\x01") {
        return None;
    }
    let (generation, version, schema) = (bytes.get(5..9)?, bytes.get(9..17)?, bytes.get(17..21)?);
    let (salt, commitment) = (bytes.get(21..45)?, bytes.get(45..77)?);
    let count = u16::from_be_bytes(bytes.get(77..79)?.try_into().ok()?);
    let mut rest = bytes.get(79..)?;
    let mut fields = Vec::new();
    let mut numbers = Vec::new();
    for _ in 0..count {
        let number = u16::from_be_bytes(rest.get(..2)?.try_into().ok()?);
        let length = u32::from_be_bytes(rest.get(2..6)?.try_into().ok()?) as usize;
        let (text, after) = rest.get(6..)?.split_at_checked(length)?;
        let (tag, after) = after.split_at_checked(TAG)?;
        fields.push((number, text, tag));
        numbers.extend(number.to_be_bytes());
        rest = after;
    }
    let ids = sha256(&[&numbers]);
    let groups = bound.groups.to_be_bytes();
    let context: Vec<u8> = [
        bound.vault.as_slice(),
        bound.tenant,
        bound.subject,
        &groups,
        bound.record,
        version,
        schema,
        &[1],
        generation,
        bound.label,
    ]
    .concat();
    let okm = expand(key, &[b"pv1/R1", &context, &ids, salt]);
    if okm[32..] != *commitment {
        return None;
    }
    let open = |(number, text, tag): (u16, &[u8], &[u8])| {
        let mut nonce = [0; 12];
        nonce[10..].copy_from_slice(&number.to_be_bytes());
        let aad = [b"pv1/F1".as_slice(), &context, &ids, &number.to_be_bytes()].concat();
        Some((number, decrypt(&okm[..32], &nonce, &aad, text, tag)?))
    };
    fields.into_iter().map(open).collect()
}

/// The root key of a root key file.
pub(super) fn root_key(file: &[u8], passphrase: &str) -> Option<Key> {
    let number = |from: usize| Some(u32::from_be_bytes(file.get(from..from + 4)?.try_into().ok()?));
    let cost = Params::new(number(12)?, number(16)?, number(20)?, Some(32)).ok()?;
    let mut under = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
    argon.hash_password_into(passphrase.as_bytes(), file.get(40..72)?, &mut under).ok()?;
    let vault: [u8; 16] = file.get(24..40)?.try_into().ok()?;
    wrap(&under, &vault, file.get(..72)?, file.get(72..196)?)?.try_into().ok()
}

/// The epoch key in a slot of a keyring. The secret of its epoch comes from what encloses the place, if that still gives it.
pub(super) fn epoch_key(root: &Key, slot: &[u8], secret: impl Fn(&[u8]) -> Option<Key>) -> Option<Key> {
    let vault: [u8; 16] = slot.get(24..40)?.try_into().ok()?;
    let ext = [slot.get(16..24)?, slot.get(164..204)?].concat();
    if slot.starts_with(b"PVEPOCH1") {
        return wrap(root, &vault, &ext, slot.get(40..164)?)?.try_into().ok();
    }
    if !slot.starts_with(b"PVEPOCH2") {
        return None;
    }
    let places = 205 + 42 * usize::from(*slot.get(204)?);
    let length = usize::from(u16::from_be_bytes(slot.get(places..places + 2)?.try_into().ok()?));
    let enclosed = slot.get(places + 2..places + 2 + length)?;
    let under = match enclosed {
        [] => *root,
        enclosed => hmac(root, &[b"pv1/enclosure", &secret(enclosed)?]),
    };
    let ext = [ext.as_slice(), &sha256(&[slot.get(204..places + 2 + length)?])].concat();
    wrap(&under, &vault, &ext, slot.get(40..164)?)?.try_into().ok()
}
