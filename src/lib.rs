//! Oubliette: a personal-data vault that can forget, and prove it.

pub mod config;
pub mod audit;
pub mod model;
pub mod store;
pub mod policy;
pub mod tenant;
pub mod server;
pub mod telemetry;
pub mod vault;
