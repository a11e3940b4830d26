//! Oubliette: a personal-data vault that can forget, and prove it.

pub mod audit;
pub mod model;
pub mod vault;
