//! Oubliette: a personal-data vault that can forget, and prove it.

pub mod model;
pub mod store;
pub mod policy;
pub mod tenant;
pub mod vault;
