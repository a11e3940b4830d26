//! The operations of the vault, one noun a file: the only place where policy, trail, keys and store meet.

pub mod call;

mod callers;
pub mod check;
mod committer;
mod contracts;
mod core;
mod erasure;
mod explain;
mod housekeeping;
mod idempotency;
mod keys;
mod lifecycle;
mod lookup;
mod merge;
mod reading;
mod records;
mod recovery;
mod rows;
mod subjects;
#[cfg(test)]
mod tests;
mod trail;

pub use lifecycle::{OpenError, UnsealError, Vault, VaultConfig};
pub use trail::{AuditQuery, CheckpointQuery};
