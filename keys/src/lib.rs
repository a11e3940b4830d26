//! The key hierarchy of Oubliette.

mod aead;
mod context;
pub mod digest;
mod error;
mod index;
mod password;
mod permit;
pub mod random;
mod record;
pub mod secret;
pub mod sign;
mod subject;
#[cfg(test)]
mod vectors;
pub mod wrap;

pub use context::{Group, GroupSet, Id, RecordContext};
pub use error::{KeysError, RowsError};
pub use permit::{Gate, Permit};
pub use record::{ENVELOPE_OVERHEAD, FIELD_OVERHEAD, RecordKey, envelope_fields, envelope_version};
pub use subject::SubjectKeys;
pub use wrap::KeyId;
