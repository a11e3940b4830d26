//! Buckets: the leaves of the trees, many entries packed under one key.
//!
//! ```text
//! plaintext: count 2 | entries, sorted, none twice
//! subject entry 72:  subject 16 | class 2 | generation 4 | state 1 (1 = active) | flags 1 (0) | made in epoch 8 | key 32 | reserved 8 (0)
//! alias entry   40:  tag 24 | subject 16
//! ```
//!
//! Class 0 is the tag key of the subject, class g the key of purpose group g. One row a key was tried first and was 10 to 190 times slower to
//! shred in bulk.

use zeroize::Zeroizing;

use crate::context::Id;
use crate::error::KeysError;
use crate::secret::Secret32;
use crate::wrap;

/// A bucket with more entries than this is split.
const MOST: usize = 64;
/// No row is longer than this, whatever is in it: the store's limit of 6,000 B a value, with some room.
const LONGEST: usize = 5_900 - wrap::OVERHEAD;
const COUNT: usize = 2;

/// An entry of a bucket.
pub(crate) trait Entry: Sized {
    /// Bytes of an entry.
    const SIZE: usize;
    /// Bytes of an entry of the form before; 0 where there was none.
    const EARLIER: usize = 0;
    /// What entries are sorted by, and what no two share.
    type Order: Ord;
    /// Reads exactly [`Self::SIZE`] bytes, or [`Self::EARLIER`].
    fn read(bytes: &[u8]) -> Result<Self, KeysError>;
    /// Appends exactly [`Self::SIZE`] bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// The order of this entry.
    fn order(&self) -> Self::Order;
}

/// One key of a subject.
pub(crate) struct SubjectEntry {
    pub(crate) subject: Id,
    /// 0 for the tag key, else the number of a purpose group.
    pub(crate) class: u16,
    /// Counts the keys that this class of this subject has had.
    pub(crate) generation: u32,
    /// The epoch in which the key was made.
    pub(crate) made: u64,
    pub(crate) key: Secret32,
}

const ACTIVE: u8 = 1;

impl Entry for SubjectEntry {
    const SIZE: usize = 72;
    type Order = (Id, u16);

    fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (subject, rest) = bytes.split_first_chunk::<16>().ok_or(KeysError::Damaged)?;
        let (class, rest) = rest.split_first_chunk::<2>().ok_or(KeysError::Damaged)?;
        let (generation, rest) = rest.split_first_chunk::<4>().ok_or(KeysError::Damaged)?;
        let (marks, rest) = rest.split_first_chunk::<2>().ok_or(KeysError::Damaged)?;
        let (made, rest) = rest.split_first_chunk::<8>().ok_or(KeysError::Damaged)?;
        let (key, reserved) = rest.split_first_chunk::<32>().ok_or(KeysError::Damaged)?;
        let class = u16::from_be_bytes(*class);
        if *marks != [ACTIVE, 0] || reserved != [0; 8] || class > 31 {
            return Err(KeysError::Damaged);
        }
        Ok(Self {
            subject: *subject,
            class,
            generation: u32::from_be_bytes(*generation),
            made: u64::from_be_bytes(*made),
            key: Secret32::from_slice(key)?,
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.subject);
        out.extend_from_slice(&self.class.to_be_bytes());
        out.extend_from_slice(&self.generation.to_be_bytes());
        out.extend_from_slice(&[ACTIVE, 0]);
        out.extend_from_slice(&self.made.to_be_bytes());
        out.extend_from_slice(self.key.bytes());
        out.extend_from_slice(&[0; 8]);
    }

    fn order(&self) -> Self::Order {
        (self.subject, self.class)
    }
}

/// One alias of a subject.
#[derive(Clone, Copy)]
pub(crate) struct AliasEntry {
    pub(crate) tag: [u8; 24],
    pub(crate) subject: Id,
}

impl Entry for AliasEntry {
    const SIZE: usize = 40;
    type Order = ([u8; 24], Id);

    fn read(bytes: &[u8]) -> Result<Self, KeysError> {
        let (tag, subject) = bytes.split_first_chunk::<24>().ok_or(KeysError::Damaged)?;
        Ok(Self { tag: *tag, subject: subject.try_into().map_err(|_| KeysError::Damaged)? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.tag);
        out.extend_from_slice(&self.subject);
    }

    fn order(&self) -> Self::Order {
        (self.tag, self.subject)
    }
}

/// The entries of one place.
pub(crate) struct Bucket<E> {
    entries: Vec<E>,
}

impl<E: Entry> Bucket<E> {
    /// A bucket without entries.
    pub(crate) const fn empty() -> Self {
        Self { entries: Vec::new() }
    }

    /// Reads the plaintext of a bucket. Never panics, whatever the bytes.
    pub(crate) fn parse(plain: &[u8]) -> Result<Self, KeysError> {
        let (count, rest) = plain.split_first_chunk::<COUNT>().ok_or(KeysError::Damaged)?;
        let count = usize::from(u16::from_be_bytes(*count));
        let earlier = E::EARLIER != 0 && count != 0 && rest.len() == count * E::EARLIER;
        let size = if earlier { E::EARLIER } else { E::SIZE };
        if rest.len() != count * size {
            return Err(KeysError::Damaged);
        }
        let entries = rest.chunks_exact(size).map(E::read).collect::<Result<Vec<_>, _>>()?;
        if entries.windows(2).any(|pair| pair[0].order() >= pair[1].order()) {
            return Err(KeysError::Damaged);
        }
        Ok(Self { entries })
    }

    /// The plaintext, in a buffer that never grew.
    pub(crate) fn encode(&self) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let count = u16::try_from(self.entries.len()).map_err(|_| KeysError::Full("a bucket"))?;
        let mut out = Zeroizing::new(Vec::with_capacity(COUNT + self.entries.len() * E::SIZE));
        out.extend_from_slice(&count.to_be_bytes());
        for entry in &self.entries {
            entry.write(&mut out);
        }
        Ok(out)
    }

    /// The entries, sorted.
    pub(crate) fn entries(&self) -> &[E] {
        &self.entries
    }

    /// The entries, to be taken apart.
    pub(crate) fn into_entries(self) -> Vec<E> {
        self.entries
    }

    /// Adds an entry in its place; `false` when one of that order is there already.
    pub(crate) fn insert(&mut self, entry: E) -> bool {
        match self.entries.binary_search_by_key(&entry.order(), E::order) {
            Ok(_) => false,
            Err(place) => {
                self.entries.insert(place, entry);
                true
            }
        }
    }

    /// Removes every entry for which `keep` does not hold.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&E) -> bool) {
        self.entries.retain(keep);
    }

    /// Whether it must be split.
    pub(crate) fn is_over(&self) -> bool {
        self.entries.len() > MOST || !self.fits_a_row()
    }

    /// Whether it can be written as one row at all.
    pub(crate) fn fits_a_row(&self) -> bool {
        COUNT + self.entries.len() * E::SIZE <= LONGEST
    }
}
