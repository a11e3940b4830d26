//! The key hierarchy of Oubliette.

pub mod secret;
