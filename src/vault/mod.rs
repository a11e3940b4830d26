//! The operations of the vault, one noun a file: the only place where policy, trail, keys and store meet.

mod budget;
pub mod call;

mod callers;
pub mod check;
mod children;
mod closures;
mod committer;
mod config;
mod consents;
mod contracts;
mod core;
mod disclosures;
mod erasure;
mod explain;
pub mod factors;
mod guardians;
mod holds;
mod housekeeping;
mod idempotency;
mod keys;
mod lifecycle;
mod lookup;
mod masks;
mod merge;
mod notices;
mod policies;
mod preferences;
mod queries;
mod reading;
mod receipts;
mod records;
mod recovery;
mod requests;
mod required;
mod restrictions;
mod rows;
mod secrets;
mod standing;
mod stats;
mod subjects;
mod sweeper;
mod tenants;
#[cfg(test)]
mod tests;
mod trail;
mod verified;

pub use config::Wanted;
pub use disclosures::DisclosureQuery;
pub use lifecycle::{OpenError, UnsealError, Vault, VaultConfig};
pub use sweeper::Swept;
pub use trail::{AuditQuery, CheckpointQuery};
