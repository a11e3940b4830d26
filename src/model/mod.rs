//! Plain words of the vault: ids, bodies, fields, purposes, callers, time. No I/O, no keys, no decisions.

pub mod caller;
pub mod case;
pub mod code;
pub mod field;
pub mod ids;
mod named;
pub mod promises;
pub mod purpose;
pub mod rules;
pub mod schema;
pub mod standing;
pub mod states;
pub mod time;
pub mod wire;
