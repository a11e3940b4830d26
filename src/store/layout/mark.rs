//! The mark that every batch carries, so that the next start knows which entries of the trail came true.
//!
//! ```text
//!  0  4  "OBJ1"        4  8  number of the batch        12  8  entries of the trail that this batch settles, as a count from 0
//! ```
//!
//! An entry is durable before its batch. After a crash the trail may therefore be longer than the mark says: those
//! entries announce something that did not happen, and the vault adds an entry that says so.

use super::super::StoreError;

/// The version of the layout that this code writes, kept under [`Meta::Format`](super::Meta::Format).
pub const FORMAT: u32 = 1;

/// The value of the mark row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CommitMark {
    /// Batches committed so far, this one included.
    pub number: u64,
    /// Entries of the trail up to which every announced write was committed.
    pub entries: u64,
}

impl CommitMark {
    const MAGIC: [u8; 4] = *b"OBJ1";

    /// The stored bytes.
    pub fn bytes(&self) -> Vec<u8> {
        [Self::MAGIC.as_slice(), &self.number.to_be_bytes(), &self.entries.to_be_bytes()].concat()
    }

    /// Reads a mark; any other bytes are [`StoreError::Corrupt`].
    pub fn parse(value: &[u8]) -> Result<Self, StoreError> {
        let parsed = || {
            let (magic, rest) = value.split_first_chunk::<4>()?;
            let (number, rest) = rest.split_first_chunk::<8>()?;
            let entries = <[u8; 8]>::try_from(rest).ok()?;
            let mark = Self { number: u64::from_be_bytes(*number), entries: u64::from_be_bytes(entries) };
            (*magic == Self::MAGIC).then_some(mark)
        };
        parsed().ok_or(StoreError::Corrupt("reading the commit mark"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_its_bytes_and_nothing_else_does() {
        let mark = CommitMark { number: 1, entries: u64::MAX };
        let bytes = mark.bytes();
        assert_eq!(bytes.len(), 20);
        assert_eq!(CommitMark::parse(&bytes), Ok(mark));
        for length in 0..bytes.len() {
            assert!(CommitMark::parse(&bytes[..length]).is_err());
        }
        assert!(CommitMark::parse(&[bytes.as_slice(), &[0]].concat()).is_err());
        assert!(CommitMark::parse(&[b"OBJ2".as_slice(), &bytes[4..]].concat()).is_err());
    }
}
