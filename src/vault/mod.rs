//! The operations of the vault, one noun a file: the only place where policy, trail, keys and store meet.

pub mod call;
