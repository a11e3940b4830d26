//! The rows of a vault that is not running, as [`crate::audit::verify`] compares them with the trail.

use crate::audit::row_hash;
use crate::store::layout::RowKey;
use crate::store::{Store, StoreError};

/// Rows read at a time.
const PAGE: usize = 500;

/// Every row that the trail answers for, with its name and hash, in the order of the keys.
pub struct Rows<'a> {
    store: &'a dyn Store,
    page: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    after: Option<Vec<u8>>,
    /// Set when the store failed on the way; the iterator then ends early.
    pub failed: Option<StoreError>,
}

impl<'a> Rows<'a> {
    /// The rows of `store`.
    pub fn of(store: &'a dyn Store) -> Self {
        Self { store, page: Vec::new().into_iter(), after: None, failed: None }
    }
}

impl Iterator for Rows<'_> {
    type Item = (String, [u8; 32]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            for (key, value) in self.page.by_ref() {
                // The vault's own marks change with every batch; a wrong one is refused at the next start.
                if matches!(RowKey::parse(&key), Some(RowKey::Meta(_) | RowKey::Mark)) {
                    continue;
                }
                return Some((name(&key), row_hash(&key, &value)));
            }
            match self.store.scan(b"", self.after.as_deref(), PAGE) {
                Ok(page) => {
                    self.after = Some(page.last()?.0.clone());
                    self.page = page.into_iter();
                }
                Err(error) => {
                    self.failed = Some(error);
                    return None;
                }
            }
        }
    }
}

/// What an officer can find a row by: its kind and the ids in its key.
fn name(key: &[u8]) -> String {
    match RowKey::parse(key) {
        Some(key) => format!("{key:?}"),
        None => format!("of no known kind, with a key of {} bytes", key.len()),
    }
}
