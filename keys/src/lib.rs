//! The key hierarchy of Oubliette.

mod aead;
mod assurance;
mod bucket;
mod context;
pub mod digest;
mod error;
mod hierarchy;
mod index;
pub mod keyring;
mod node;
mod opened;
mod password;
mod permit;
mod place;
pub mod random;
mod record;
pub mod root;
mod rows;
pub mod secret;
pub mod sign;
mod staging;
mod strict;
mod subject;
mod system;
#[cfg(test)]
mod tests;
mod transition;
mod tree;
#[cfg(test)]
mod vectors;
pub mod wrap;

pub use assurance::Assurance;
pub use context::{Group, GroupSet, Id, RecordContext};
pub use error::{KeysError, RowsError};
pub use hierarchy::Hierarchy;
pub use keyring::Keyring;
pub use permit::{Gate, Permit};
pub use record::{ENVELOPE_OVERHEAD, FIELD_OVERHEAD, RecordKey, envelope_fields, envelope_version};
pub use root::RootKey;
pub use rows::{RowWrite, Rows};
pub use staging::{Inserts, NewSubject, Staged};
pub use subject::SubjectKeys;
pub use transition::{Sealed, Shred, Transition};
pub use wrap::KeyId;
