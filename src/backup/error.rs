//! Why a backup could not be made or used. An error names a file of the target, never a value.

use crate::audit::TrailError;
use crate::store::StoreError;

/// Why a backup could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// None is configured.
    #[error("no backup target is configured")]
    NoTarget,
    /// A file or folder of the target could not be read or written.
    #[error("the backup's {0}: {1}")]
    File(String, #[source] std::io::Error),
    /// A file is missing.
    #[error("the backup's {0} is missing")]
    Missing(String),
    /// A file ends too early.
    #[error("the backup's {0} was cut off")]
    CutOff(String),
    /// A file is not as it was written.
    #[error("the backup's {0} is damaged")]
    Damaged(String),
    /// A file is of another vault.
    #[error("the backup's {0} is of another vault")]
    Foreign(String),
    /// A manifest is not signed by the vault.
    #[error("the backup's {0} is not signed by this vault's key")]
    Unsigned(String),
    /// Batches are missing between two files.
    #[error("batch {0} is missing from the backup's log: what came after it cannot be played")]
    Gap(u64),
    /// The target has seen more than this vault.
    #[error(
        "the backup target is ahead of this vault (batch {0}): is this an old copy of it? Restore from the target, or name an empty one"
    )]
    Ahead(u64),
    /// Another process writes to the target.
    #[error("another process writes to the backup target")]
    InUse,
    /// There is no backup.
    #[error("there is no backup in the target")]
    None,
    /// There is no such backup.
    #[error("there is no backup {0} in the target")]
    NoSuch(u64),
    /// It was told to stop; what was done so far is gone on with.
    #[error("the backup was stopped; the next one goes on where it was")]
    Stopped,
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] StoreError),
    /// The trail.
    #[error("the trail: {0}")]
    Trail(#[from] TrailError),
}

impl BackupError {
    /// For `map_err` on a file of the target.
    pub(crate) fn at(name: &str) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| Self::File(name.to_owned(), error)
    }
}
