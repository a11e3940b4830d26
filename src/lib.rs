//! Oubliette: a personal-data vault that can forget, and prove it.

pub mod cli;
pub mod demo;
pub mod model;
pub mod vault;
