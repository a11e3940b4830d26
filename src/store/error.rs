//! What can go wrong with a store. An error names the step, never a key or a value.

/// Why the store did not do what was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum StoreError {
    /// The commit would use the last free space. Nothing was applied.
    #[error("the file system is nearly full; free some space, nothing was written")]
    Full,
    /// The operating system or another process stood in the way.
    #[error("the store is unavailable ({0}); check that the disk works, has space, and that no other process has the vault open")]
    Unavailable(&'static str),
    /// The store's own bytes are damaged.
    #[error(
        "the store is damaged ({0}); stop, keep a copy of the data directory, restore the newest backup and run `audit verify`"
    )]
    Corrupt(&'static str),
    /// A key or a value is longer than a row may be. Nothing was applied.
    #[error("a row is larger than the store takes")]
    TooLarge,
    /// An earlier commit failed half-way: what it wrote may or may not be there after the next start.
    #[error("an earlier commit failed; the process must be started again")]
    Poisoned,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_says_what_to_do_or_that_nothing_happened() {
        assert!(StoreError::Full.to_string().contains("nothing was written"));
        assert!(StoreError::Corrupt("open").to_string().contains("restore"));
        assert!(StoreError::Unavailable("open").to_string().contains("open"));
    }
}
