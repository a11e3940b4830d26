//! R1, the format of one version of a record: fields that can be decrypted one by one, bound to everything they belong to.
//!
//! ```text
//!  0  4 "PVR1"   4  1 suite = 1   5  4 generation = 0   9  8 version   17  4 schema     (integers big-endian)
//! 21 24 salt    45 32 commitment  77  2 number of fields
//! 79    then for each field, in strictly increasing order of its number:
//!       number 2 ‖ length 4 ‖ ciphertext ‖ tag 16                      79 bytes a version and 22 a field more than the plaintext
//!
//! CTX   = vault 16 ‖ tenant 16 ‖ subject 16 ‖ groups 4 ‖ record 16 ‖ version 8 ‖ schema 4 ‖ suite 1 ‖ generation 4 ‖ label 32
//! IDS   = SHA-256(number 2 ‖ number 2 ‖ …) over the fields present
//! okm   = HKDF-Expand-SHA256(PRK = record key, info = "pv1/R1" ‖ CTX ‖ IDS ‖ salt, L = 64)                             RFC 5869
//! key   = okm[0..32],  commitment = okm[32..64],  one AES-256-GCM key for this version only                        SP 800-38D
//! field : nonce = 0^10 ‖ number,  AAD = "pv1/F1" ‖ CTX ‖ IDS ‖ number
//! salt  = HMAC-SHA256(record key, "pv1/hedge" ‖ 32 fresh random bytes ‖ SHA-256(all fields))[0..24]
//! ```
//!
//! `IDS` is in the key as well as in the associated data: even a reader that asks for a field that is not there, or for none,
//! learns from the commitment that none was dropped.

use zeroize::Zeroizing;

use crate::aead::{COMMITMENT, OneUse, SALT, TAG, hedged_salt};
use crate::context::{CONTEXT, Group, GroupSet, Id, RecordContext};
use crate::digest;
use crate::error::KeysError;
use crate::permit::{Instance, Permit};
use crate::secret::{Plaintext, Secret32, traceless};

/// Bytes of an envelope without its fields.
pub const ENVELOPE_OVERHEAD: usize = 79;
/// Bytes of a field in an envelope, besides its plaintext.
pub const FIELD_OVERHEAD: usize = 6 + TAG;

const MAGIC: &[u8; 4] = b"PVR1";
const SUITE: u8 = 1;
/// A record has one key for life. The place is kept for a second one.
const GENERATION: u32 = 0;
const FIELD_AAD: usize = 6 + CONTEXT + 32 + 2;

/// The key of one record, opened. It encrypts new versions; it decrypts only for a [`Permit`].
///
/// ```
/// fn with_a_permit(key: &keys::RecordKey, permit: &keys::Permit, context: &keys::RecordContext, envelope: &[u8]) {
///     let _ = key.decrypt(permit, context, envelope, None);
/// }
/// ```
/// ```compile_fail
/// fn without_a_permit(key: &keys::RecordKey, context: &keys::RecordContext, envelope: &[u8]) {
///     let _ = key.decrypt(context, envelope, None);
/// }
/// ```
pub struct RecordKey {
    key: Secret32,
    instance: Instance,
    subject: Id,
    record: Id,
    through: Through,
}

/// Which group keys a record key may be used for when it decrypts.
#[derive(Clone, Copy)]
pub(crate) enum Through {
    /// It was opened for a permit, through the key of its group.
    Reading(GroupSet),
    /// It was opened for a new version; these groups of the record have a living key.
    Writing(GroupSet),
}

impl RecordKey {
    pub(crate) fn new(key: Secret32, instance: Instance, subject: Id, record: Id, through: Through) -> Self {
        Self { key, instance, subject, record, through }
    }

    /// The envelope (R1) of one version: every field encrypted, with a fresh salt and so a fresh key.
    ///
    /// # Errors
    /// `Misuse` when the context is of another subject or record, or when the field numbers do not strictly increase; `Random`.
    pub fn encrypt(&self, c: &RecordContext, fields: &[(u16, &[u8])]) -> Result<Vec<u8>, KeysError> {
        traceless(|| self.close(c, fields))
    }

    fn close(&self, c: &RecordContext, fields: &[(u16, &[u8])]) -> Result<Vec<u8>, KeysError> {
        if c.subject != self.subject || c.record != self.record {
            return Err(KeysError::Misuse("a record key encrypts its own record only"));
        }
        if !fields.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(KeysError::Misuse("field numbers must strictly increase"));
        }
        let count = u16::try_from(fields.len()).map_err(|_| KeysError::Misuse("too many fields"))?;
        let salt = hedged_salt(&self.key, &digest_of(fields))?;
        let ids = digest::sha256_of(|hash| fields.iter().for_each(|(number, _)| hash(&number.to_be_bytes())));
        let bound = Bound::new(c, ids);
        let one_use = bound.derive(&self.key, &salt);
        let cipher = one_use.cipher();

        let length = fields.iter().map(|(_, plain)| plain.len() + FIELD_OVERHEAD).sum::<usize>();
        let mut out = Vec::with_capacity(ENVELOPE_OVERHEAD + length);
        out.extend_from_slice(MAGIC);
        out.push(SUITE);
        out.extend_from_slice(&GENERATION.to_be_bytes());
        out.extend_from_slice(&c.version.to_be_bytes());
        out.extend_from_slice(&c.schema.to_be_bytes());
        out.extend_from_slice(&salt);
        out.extend_from_slice(one_use.commitment());
        out.extend_from_slice(&count.to_be_bytes());
        for (number, plain) in fields {
            let length = u32::try_from(plain.len()).map_err(|_| KeysError::Misuse("field too long"))?;
            out.extend_from_slice(&number.to_be_bytes());
            out.extend_from_slice(&length.to_be_bytes());
            let start = out.len();
            out.extend_from_slice(plain);
            let tag = cipher.encrypt(&nonce(*number), &bound.aad(*number), &mut out[start..])?;
            out.extend_from_slice(&tag);
        }
        Ok(out)
    }

    /// The fields asked for (`None`: all) that the permit allows and the envelope has, in order of their numbers. Nothing else
    /// is decrypted.
    ///
    /// # Errors
    /// `NotPermitted` when the permit is of another hierarchy, subject or group, or a field asked for by number is not among
    /// its fields; `Destroyed` when the key of the permit's group is gone; `Damaged` when anything does not fit or open.
    pub fn decrypt(
        &self,
        p: &Permit,
        c: &RecordContext,
        envelope: &[u8],
        fields: Option<&[u16]>,
    ) -> Result<Vec<(u16, Plaintext)>, KeysError> {
        self.check(p, c.groups)?;
        if fields.is_some_and(|asked| asked.iter().any(|number| !p.allows(*number))) {
            return Err(KeysError::NotPermitted);
        }
        self.open(c, envelope, |number| fields.map_or_else(|| p.allows(number), |asked| asked.contains(&number)))
    }

    /// The same version under another key of its record. No plaintext comes out, so it takes no permit.
    pub(crate) fn moved(&self, to: &Self, c: &RecordContext, envelope: &[u8]) -> Result<Vec<u8>, KeysError> {
        let fields = self.open(c, envelope, |_| true)?;
        let fields: Vec<(u16, &[u8])> = fields.iter().map(|(number, plain)| (*number, plain.bytes())).collect();
        to.encrypt(c, &fields)
    }

    fn open(&self, c: &RecordContext, envelope: &[u8], wanted: impl Fn(u16) -> bool) -> Result<Vec<(u16, Plaintext)>, KeysError> {
        traceless(|| self.disclose(c, envelope, wanted))
    }

    fn disclose(
        &self,
        c: &RecordContext,
        envelope: &[u8],
        wanted: impl Fn(u16) -> bool,
    ) -> Result<Vec<(u16, Plaintext)>, KeysError> {
        let envelope = Envelope::parse(envelope)?;
        if envelope.version != c.version || envelope.schema != c.schema {
            return Err(KeysError::Damaged);
        }
        let ids = digest::sha256_of(|hash| envelope.fields().for_each(|field| hash(&field.number.to_be_bytes())));
        let bound = Bound::new(c, ids);
        let cipher = bound.derive(&self.key, envelope.salt).committed(envelope.commitment)?;

        let mut out = Vec::with_capacity(envelope.fields().filter(|field| wanted(field.number)).count());
        for field in envelope.fields().filter(|field| wanted(field.number)) {
            let mut plain = Zeroizing::new(field.text.to_vec());
            cipher.decrypt(&nonce(field.number), &bound.aad(field.number), &mut plain, field.tag)?;
            out.push((field.number, Plaintext::new(plain)));
        }
        Ok(out)
    }

    fn check(&self, p: &Permit, groups: GroupSet) -> Result<(), KeysError> {
        p.check(self.instance, &self.subject)?;
        if !groups.contains(p.group()) && p.group() != Group::HOLD {
            return Err(KeysError::NotPermitted);
        }
        match self.through {
            Through::Reading(open) if !open.contains(p.group()) => Err(KeysError::NotPermitted),
            Through::Writing(living) if !living.contains(p.group()) => Err(KeysError::Destroyed),
            Through::Reading(_) | Through::Writing(_) => Ok(()),
        }
    }
}

/// The numbers of the fields in an envelope, as it claims: without the key nothing is proven.
///
/// # Errors
/// `Damaged` when the bytes are not exactly one envelope.
pub fn envelope_fields(envelope: &[u8]) -> Result<Vec<u16>, KeysError> {
    Ok(Envelope::parse(envelope)?.fields().map(|field| field.number).collect())
}

/// The version of the record and of the field catalogue in an envelope, as it claims: without the key nothing is proven.
///
/// # Errors
/// `Damaged` when the bytes are not exactly one envelope.
pub fn envelope_version(envelope: &[u8]) -> Result<(u64, u32), KeysError> {
    Envelope::parse(envelope).map(|envelope| (envelope.version, envelope.schema))
}

/// An envelope whose shape was checked to the last byte; nothing in it is proven.
struct Envelope<'a> {
    version: u64,
    schema: u32,
    salt: &'a [u8; SALT],
    commitment: &'a [u8; COMMITMENT],
    fields: &'a [u8],
}

struct Field<'a> {
    number: u16,
    text: &'a [u8],
    tag: &'a [u8; TAG],
}

impl<'a> Envelope<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, KeysError> {
        let (magic, rest) = take::<4>(bytes)?;
        let (suite, rest) = take::<1>(rest)?;
        let (generation, rest) = take::<4>(rest)?;
        if magic != MAGIC || *suite != [SUITE] || u32::from_be_bytes(*generation) != GENERATION {
            return Err(KeysError::Damaged);
        }
        let (version, rest) = take::<8>(rest)?;
        let (schema, rest) = take::<4>(rest)?;
        let (salt, rest) = take::<SALT>(rest)?;
        let (commitment, rest) = take::<COMMITMENT>(rest)?;
        let (count, fields) = take::<2>(rest)?;

        let mut rest = fields;
        let mut last = None;
        for _ in 0..u16::from_be_bytes(*count) {
            let (field, after) = split_field(rest)?;
            if last.is_some_and(|last| field.number <= last) {
                return Err(KeysError::Damaged);
            }
            last = Some(field.number);
            rest = after;
        }
        if !rest.is_empty() {
            return Err(KeysError::Damaged);
        }
        let (version, schema) = (u64::from_be_bytes(*version), u32::from_be_bytes(*schema));
        Ok(Self { version, schema, salt, commitment, fields })
    }

    fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (field, after) = split_field(rest).ok()?;
            rest = after;
            Some(field)
        })
    }
}

fn split_field(bytes: &[u8]) -> Result<(Field<'_>, &[u8]), KeysError> {
    let (number, rest) = take::<2>(bytes)?;
    let (length, rest) = take::<4>(rest)?;
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| KeysError::Damaged)?;
    let (text, rest) = rest.split_at_checked(length).ok_or(KeysError::Damaged)?;
    let (tag, rest) = take::<TAG>(rest)?;
    Ok((Field { number: u16::from_be_bytes(*number), text, tag }, rest))
}

fn take<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), KeysError> {
    bytes.split_first_chunk().ok_or(KeysError::Damaged)
}

/// What the key and every field of one version are bound to: the associated data, ready but for the field's number.
struct Bound([u8; FIELD_AAD]);

impl Bound {
    fn new(c: &RecordContext, ids: [u8; 32]) -> Self {
        let mut aad = [0; FIELD_AAD];
        aad[..6].copy_from_slice(b"pv1/F1");
        aad[6..6 + CONTEXT].copy_from_slice(&c.encode(SUITE, GENERATION));
        aad[6 + CONTEXT..FIELD_AAD - 2].copy_from_slice(&ids);
        Self(aad)
    }

    fn derive(&self, key: &Secret32, salt: &[u8; SALT]) -> OneUse {
        OneUse::derive(key, &[b"pv1/R1", &self.0[6..FIELD_AAD - 2], salt])
    }

    fn aad(&self, number: u16) -> [u8; FIELD_AAD] {
        let mut aad = self.0;
        aad[FIELD_AAD - 2..].copy_from_slice(&number.to_be_bytes());
        aad
    }
}

fn nonce(number: u16) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[10..].copy_from_slice(&number.to_be_bytes());
    nonce
}

/// SHA-256 over the fields with their numbers and lengths, so that no two lists of fields meet.
fn digest_of(fields: &[(u16, &[u8])]) -> [u8; 32] {
    digest::sha256_of(|hash| {
        for (number, plain) in fields {
            hash(&number.to_be_bytes());
            hash(&(plain.len() as u64).to_be_bytes());
            hash(plain);
        }
    })
}

#[cfg(test)]
mod tests;
