//! Bytes and batches: what keeps the rows. It cannot decrypt, and it knows nothing of what a row means.
//!
//! [`Store`] has two implementations: [`sled::SledStore`] on disk and [`memory::MemoryStore`], which can be made to
//! fail at any commit and to lose what was not synced. [`layout`] draws every row key and every value that is not
//! ciphertext.
//!
//! Removing a row is housekeeping, never confidentiality: every store keeps old bytes for an unknown time.

#[cfg(test)]
mod conformance;
mod error;
pub mod layout;
pub mod memory;
mod room;
pub mod sled;

use std::sync::Arc;

pub use error::StoreError;

/// The longest value of a row, in bytes. Larger ones could end in files that sled never syncs.
pub const MAX_VALUE: usize = 6_000;

/// The longest row key, in bytes.
pub const MAX_KEY: usize = 128;

/// A row: its key and its value.
pub type Row = (Vec<u8>, Vec<u8>);

/// What is called, with the failed step, when a store can no longer promise anything. The server leaves the process.
pub type OnFatal = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Rows under keys, in the order of the keys' bytes.
///
/// A reader may see the rows of a batch a moment before the batch is durable, but never half of a batch in one
/// [`row`](Store::row) or [`scan`](Store::scan).
pub trait Store: Send + Sync {
    /// The value under `key`.
    fn row(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `limit` rows in order whose key starts with `prefix` and comes after `after`: rows of one moment. No
    /// batch is applied meanwhile, so whoever walks many rows asks for some hundred at a time.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Applies the batch, all of it or nothing. When this returns `Ok`, the batch survives a power cut.
    ///
    /// [`StoreError::TooLarge`] and [`StoreError::Full`] leave everything as it was. After any other error nobody
    /// knows whether the batch will be there at the next start, and the store answers [`StoreError::Poisoned`].
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Bytes that commits may still use before they are refused as [`StoreError::Full`].
    fn room(&self) -> Result<u64, StoreError>;

    /// Bytes that the store takes on the medium.
    fn size_on_disk(&self) -> Result<u64, StoreError>;
}

/// Writes that happen together. A later write of the same key wins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Each key with its new value; `None` removes the row.
    pub writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Writes a row.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), Some(value.into())));
    }

    /// Removes a row, if it is there.
    pub fn remove(&mut self, key: impl Into<Vec<u8>>) {
        self.writes.push((key.into(), None));
    }

    /// Adds the writes of another batch after these.
    pub fn append(&mut self, other: Batch) {
        self.writes.extend(other.writes);
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Checks every size, so that a store can refuse the batch before it applies any of it.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let fits = |(key, value): &(Vec<u8>, Option<Vec<u8>>)| {
            !key.is_empty() && key.len() <= MAX_KEY && value.as_ref().is_none_or(|value| value.len() <= MAX_VALUE)
        };
        if self.writes.iter().all(fits) { Ok(()) } else { Err(StoreError::TooLarge) }
    }

    /// Whether this batch serves forgetting: it removes rows, closes an epoch, or moves an erasure on. Such a batch
    /// may use a part of the reserve, because a full disk must not keep anybody from being forgotten.
    pub(crate) fn forgets(&self) -> bool {
        self.writes.iter().any(|(key, value)| value.is_none() || layout::serves_forgetting(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_knows_what_is_too_large() {
        let mut batch = Batch::default();
        batch.put(vec![1; MAX_KEY], vec![0; MAX_VALUE]);
        batch.remove(vec![1; MAX_KEY]);
        assert_eq!(batch.check(), Ok(()));
        for (key, value) in [(vec![1; MAX_KEY + 1], vec![]), (vec![1], vec![0; MAX_VALUE + 1]), (vec![], vec![])] {
            let mut worse = batch.clone();
            worse.put(key, value);
            assert_eq!(worse.check(), Err(StoreError::TooLarge));
        }
    }

    #[test]
    fn removals_tombstones_erasures_and_the_root_row_serve_forgetting() {
        let with = |key: &[u8], value: Option<Vec<u8>>| Batch { writes: vec![(key.to_vec(), value)] }.forgets();
        assert!(with(b"r-any", None));
        assert!(with(b"x0123456789abcdef", Some(vec![])));
        assert!(with(b"e0123456789abcdef", Some(vec![])));
        assert!(with(b"n\xff\0\0\0\0\0", Some(vec![])));
        assert!(!with(b"n\0\0\0\0\0\0", Some(vec![])));
        assert!(!with(b"r-any", Some(vec![])));
    }
}
