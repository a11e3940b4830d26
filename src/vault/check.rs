//! Checking a vault that is not running: its trail against its public key, and its rows against its trail.

use crate::audit::{self, Report, TrailError, Trusted, row_hash};
use crate::store::layout::{Meta, RowKey};
use crate::store::{Store, StoreError};

use super::lifecycle::{VaultConfig, open_store};

/// Rows read at a time.
const PAGE: usize = 500;

/// Why a vault could not be checked. What is wrong *in* it stands in the report.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// The trail could not be read.
    #[error("cannot read the trail: {0}")]
    Trail(#[from] TrailError),
    /// The store could not be opened or read.
    #[error("cannot read the store: {0}")]
    Store(#[from] StoreError),
}

/// Walks the trail of a vault that nobody has open, and compares every row of its store with what the trail says was
/// written. Needs no key but the public one.
pub fn check(config: &VaultConfig, trusted: &impl Trusted) -> Result<Report, CheckError> {
    let store = open_store(config)?;
    let mut rows = Rows::of(&store);
    let report = audit::verify(&config.trail(), trusted, Some(&mut rows))?;
    match rows.failed {
        Some(error) => Err(error.into()),
        None => Ok(report),
    }
}

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
                match RowKey::parse(&key) {
                    Some(RowKey::Meta(Meta::KeyAges)) => {}
                    Some(RowKey::Meta(_) | RowKey::Mark) => continue,
                    _ => {}
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
