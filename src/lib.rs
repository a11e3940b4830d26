//! Oubliette: a personal-data vault that can forget, and prove it.
//!
//! A request goes down once and comes back once: [`server`] → [`auth`] → [`vault`] → [`policy`] and [`audit`] → `keys` →
//! [`store`]. docs/ARCHITECTURE.md has the map and walks along it.

pub mod audit;
pub mod auth;
pub mod backup;
pub mod cli;
pub mod config;
pub mod demo;
pub mod model;
pub mod policy;
pub mod post;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod tenant;
pub mod vault;
