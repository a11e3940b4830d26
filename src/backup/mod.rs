//! Backups: what a backup target holds, and how it is written and read. The vault goes on meanwhile.
//!
//! ```text
//! TARGET/vault.pub                      the vault's public key
//! TARGET/public/                        config.toml, ca.pem, cert.pem: what is no secret and a restored vault may want
//! TARGET/base-<number>/rows-<part>      every row, read while the vault served; `number` is of the first batch not surely in it
//! TARGET/log/log-<number>               every batch from that one on, in order
//! TARGET/trail/trail-<index>            every entry of the trail
//! TARGET/manifest-<number>.json         a backup: the files that it needs, with length and check, signed by the vault
//! ```
//!
//! **A base alone is of no moment, a base with its log is.** The rows of a base are read page after page while batches go in.
//! All batches since the reading began are in the log, and each says what a row is from then on; so the base with the log
//! played over it is the vault after the last batch of the log, to the byte.
//!
//! **The log is the way back for people.** The key trees change in batches like everything else, so whoever plays the log to its
//! end has the newest tree rows, which are what today's keyring opens, and with them everything that was erased is erased
//! again: rows and aliases gone, tombstones and erasures there. A batch that closes an epoch is durable at the target before it
//! is committed in the vault (`ship.rs`).
//!
//! Only ciphertext, row keys and the trail leave the vault: never the keyring, never the root key file. All files of a target
//! are those of one vault, and one process writes.

mod base;
mod error;
pub(crate) mod frame;
mod manifest;
mod progress;
pub(crate) mod replay;
mod ship;
mod targets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use error::BackupError;
pub use manifest::{FileOf, Kept, Manifest, list, public_key_of, public_keys_of};
pub use progress::{Progress, Step};
pub use ship::{Made, Origin, Public, Standing};
pub use targets::Backups;

/// When the key of an epoch may die.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SealPolicy {
    /// At once; whether the target holds the new tree rows stands in the certificate.
    #[default]
    Immediate,
    /// Once the targets hold the new tree rows. Without as many as are needed that do, nothing is erased.
    AfterBackup,
}

/// Where backups go and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The targets' folders.
    pub targets: Vec<PathBuf>,
    /// Time between two backups that the vault makes by itself; none, and it makes none.
    pub every: Option<std::time::Duration>,
    /// Bases that are kept.
    pub keep: usize,
    /// When the key of an epoch may die.
    pub seal: SealPolicy,
    /// Targets that must hold the new tree rows first, with `after-backup`; 0 is all of them.
    pub needed: usize,
    /// Bytes of a base in a second at the most; 0 is no limit.
    pub bytes_per_second: u64,
}
