//! The value of a record's row, and how a large one is spread over several.
//!
//! ```text
//!  0  4  "OBR1"
//!  4  8  version            u64, 1 at first
//! 12  4  schema             u32, the version of the field catalogue
//! 16  4  groups             u32, bit g = purpose group g (1 to 31): what the envelope is bound to
//! 20  8  updated at         i64, microseconds since 1970
//! 28  1  count of wraps     at most 31
//! 29  –  wraps              each: group u8 | W1 of the record key under that group, 124; groups increasing, all in the bitmap but 31, of holds
//!     2  length of label    u16
//!     –  label              sealed, opaque here
//!     2  count of chunks    u16; 0: the envelope follows
//!     –  envelope           R1, opaque here; empty when there are chunks
//! ```
//!
//! A row that would be longer than 6,000 B keeps everything but the envelope, which goes in pieces of 5,900 B (the last
//! one may be shorter) into the overflow rows of this version. So one scan over the records of a subject reads every
//! record that is small, and a large one costs one more scan.

use super::super::{MAX_VALUE, Row, StoreError};
use super::key::RowKey;
use crate::model::ids::{RecordId, SubjectId};

/// Bytes of an envelope in one overflow row.
pub const CHUNK: usize = 5_900;

/// Bytes of one wrapped record key: 92 of W1 and the key.
pub const WRAP: usize = 124;

/// Purpose groups are 1 to 31.
pub const GROUPS: std::ops::RangeInclusive<u8> = 1..=31;

const MAGIC: [u8; 4] = *b"OBR1";

/// Bytes before the wraps.
const WRAPS: usize = 29;

/// A record key, wrapped under one purpose group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrap {
    /// The group, 1 to 31.
    pub group: u8,
    /// W1, kind 8.
    pub bytes: [u8; WRAP],
}

/// A record's newest version as it is stored: ciphertext and what it is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Counts from 1.
    pub version: u64,
    /// The version of the field catalogue.
    pub schema: u32,
    /// The purpose groups that the envelope is bound to, bit g = group g.
    pub groups: u32,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// The record key under every group that may use it, in increasing order of the groups.
    pub wraps: Vec<Wrap>,
    /// The sealed policy label.
    pub label: Vec<u8>,
    /// The R1 envelope.
    pub envelope: Vec<u8>,
}

/// The value of a record's own row, read in place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordHead<'a> {
    /// Counts from 1.
    pub version: u64,
    /// The version of the field catalogue.
    pub schema: u32,
    /// The purpose groups that the envelope is bound to, bit g = group g.
    pub groups: u32,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// The record key under every group that may use it.
    pub wraps: Vec<Wrap>,
    /// The sealed policy label.
    pub label: &'a [u8],
    /// Where the envelope is.
    pub envelope: Envelope<'a>,
}

/// Where the envelope of a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Envelope<'a> {
    /// In the record's own row.
    Inline(&'a [u8]),
    /// In so many overflow rows, at least one.
    Chunks(u16),
}

/// The rows of a record: its own first, then the pieces of its envelope when it is large.
///
/// [`StoreError::TooLarge`] when wraps and label alone do not fit, or the envelope needs more than 65,535 pieces;
/// [`StoreError::Corrupt`] when the wraps are not in order or not among the groups.
pub fn split(subject: &SubjectId, record: &RecordId, row: &RecordRow) -> Result<Vec<Row>, StoreError> {
    check_groups(row.groups, &row.wraps).ok_or(StoreError::Corrupt("writing a record's groups"))?;
    let key = RowKey::Record(*subject, *record).bytes();
    let mut head = head(row)?;
    if head.len() + 2 + row.envelope.len() <= MAX_VALUE {
        head.extend([0, 0]);
        head.extend(&row.envelope);
        return Ok(vec![(key, head)]);
    }
    let chunks = u16::try_from(row.envelope.len().div_ceil(CHUNK)).map_err(|_| StoreError::TooLarge)?;
    head.extend(chunks.to_be_bytes());
    if head.len() > MAX_VALUE || chunks == 0 {
        return Err(StoreError::TooLarge);
    }
    let pieces = row.envelope.chunks(CHUNK).zip(0u16..).map(|(piece, chunk)| {
        let key = RowKey::Overflow { subject: *subject, record: *record, version: row.version, chunk };
        (key.bytes(), piece.to_vec())
    });
    Ok(std::iter::once((key, head)).chain(pieces).collect())
}

/// Puts a record together from its own row's value and the overflow rows of its version, in order.
pub fn join(subject: &SubjectId, record: &RecordId, value: &[u8], overflow: &[Row]) -> Result<RecordRow, StoreError> {
    let head = RecordHead::parse(value)?;
    let envelope = match head.envelope {
        Envelope::Inline(envelope) if overflow.is_empty() => envelope.to_vec(),
        Envelope::Chunks(count) if overflow.len() == usize::from(count) => {
            collect(subject, record, head.version, overflow).ok_or(StoreError::Corrupt("joining a record's pieces"))?
        }
        _ => return Err(StoreError::Corrupt("counting a record's pieces")),
    };
    let RecordHead { version, schema, groups, updated_at, wraps, label, .. } = head;
    Ok(RecordRow { version, schema, groups, updated_at, wraps, label: label.to_vec(), envelope })
}

/// The keys of all rows of a record, from its own row's value.
pub fn keys_of(subject: &SubjectId, record: &RecordId, value: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
    let head = RecordHead::parse(value)?;
    let count = if let Envelope::Chunks(count) = head.envelope { count } else { 0 };
    let pieces = (0..count).map(|chunk| RowKey::Overflow { subject: *subject, record: *record, version: head.version, chunk });
    Ok(std::iter::once(RowKey::Record(*subject, *record)).chain(pieces).map(|key| key.bytes()).collect())
}

/// The value of a record's own row with other wraps of the same groups: everything else stays, overflow rows too.
///
/// [`StoreError::Corrupt`] when the value is none, or the wraps are not of its groups, in their order.
pub fn with_wraps(value: &[u8], wraps: &[Wrap]) -> Result<Vec<u8>, StoreError> {
    let head = RecordHead::parse(value)?;
    if !head.wraps.iter().map(|wrap| wrap.group).eq(wraps.iter().map(|wrap| wrap.group)) {
        return Err(StoreError::Corrupt("changing a record's wraps"));
    }
    let mut bytes = value.to_vec();
    for (place, wrap) in bytes[WRAPS..].chunks_exact_mut(1 + WRAP).zip(wraps) {
        place[1..].copy_from_slice(&wrap.bytes);
    }
    Ok(bytes)
}

impl<'a> RecordHead<'a> {
    /// Reads the value of a record's own row. Any bytes that [`split`] does not write are [`StoreError::Corrupt`].
    pub fn parse(value: &'a [u8]) -> Result<Self, StoreError> {
        parse(value).ok_or(StoreError::Corrupt("reading a record's row"))
    }
}

fn head(row: &RecordRow) -> Result<Vec<u8>, StoreError> {
    let label = u16::try_from(row.label.len()).map_err(|_| StoreError::TooLarge)?;
    let mut bytes = Vec::with_capacity(MAX_VALUE);
    bytes.extend(MAGIC);
    bytes.extend(row.version.to_be_bytes());
    bytes.extend(row.schema.to_be_bytes());
    bytes.extend(row.groups.to_be_bytes());
    bytes.extend(row.updated_at.to_be_bytes());
    bytes.push(row.wraps.len() as u8);
    for wrap in &row.wraps {
        bytes.push(wrap.group);
        bytes.extend(wrap.bytes);
    }
    bytes.extend(label.to_be_bytes());
    bytes.extend(&row.label);
    Ok(bytes)
}

fn parse(value: &[u8]) -> Option<RecordHead<'_>> {
    let mut rest = value;
    if take::<4>(&mut rest)? != MAGIC || value.len() > MAX_VALUE {
        return None;
    }
    let version = u64::from_be_bytes(take(&mut rest)?);
    let schema = u32::from_be_bytes(take(&mut rest)?);
    let groups = u32::from_be_bytes(take(&mut rest)?);
    let updated_at = i64::from_be_bytes(take(&mut rest)?);
    let [count] = take(&mut rest)?;
    let mut wraps = Vec::with_capacity(usize::from(count.min(*GROUPS.end())));
    for _ in 0..count {
        let [group] = take(&mut rest)?;
        wraps.push(Wrap { group, bytes: take(&mut rest)? });
    }
    check_groups(groups, &wraps)?;
    let length = u16::from_be_bytes(take(&mut rest)?);
    let label;
    (label, rest) = rest.split_at_checked(usize::from(length))?;
    let envelope = match u16::from_be_bytes(take(&mut rest)?) {
        0 => Envelope::Inline(rest),
        chunks if rest.is_empty() => Envelope::Chunks(chunks),
        _ => return None,
    };
    Some(RecordHead { version, schema, groups, updated_at, wraps, label, envelope })
}

/// Groups 1 to 31, strictly increasing, each of them in the bitmap or the group of holds, and no bit 0.
fn check_groups(groups: u32, wraps: &[Wrap]) -> Option<()> {
    let bound = |group: u8| group == *GROUPS.end() || groups & (1 << group) != 0;
    let known = wraps.iter().all(|wrap| GROUPS.contains(&wrap.group) && bound(wrap.group));
    let ordered = wraps.is_sorted_by(|a, b| a.group < b.group);
    (known && ordered && groups & 1 == 0).then_some(())
}

fn collect(subject: &SubjectId, record: &RecordId, version: u64, overflow: &[Row]) -> Option<Vec<u8>> {
    let last = overflow.len().checked_sub(1)?;
    let mut envelope = Vec::with_capacity(overflow.len() * CHUNK);
    for (place, (key, piece)) in overflow.iter().enumerate() {
        let chunk = u16::try_from(place).ok()?;
        let expected = RowKey::Overflow { subject: *subject, record: *record, version, chunk };
        let whole = if place == last { !piece.is_empty() && piece.len() <= CHUNK } else { piece.len() == CHUNK };
        if RowKey::parse(key) != Some(expected) || !whole {
            return None;
        }
        envelope.extend(piece);
    }
    Some(envelope)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (part, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*part)
}

#[cfg(test)]
mod tests;
