//! Secrets in memory.

pub use secrecy::{ExposeSecret, SecretBox, SecretString};
