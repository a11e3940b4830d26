//! The key hierarchy of Oubliette.

mod aead;
mod context;
pub mod digest;
mod error;
mod password;
pub mod random;
pub mod secret;
#[cfg(test)]
mod vectors;
pub mod wrap;

pub use context::{Group, GroupSet, Id, RecordContext};
pub use error::{KeysError, RowsError};
pub use wrap::KeyId;
