//! Plain words of the vault: ids, bodies, purposes, callers, time. No I/O, no keys, no decisions.

pub mod caller;
pub mod code;
pub mod ids;
pub mod time;
pub mod wire;
