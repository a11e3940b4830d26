//! What is said about each address, by who calls it.

mod oversight;
mod people;
mod records;
mod rights;

use serde_json::{Value, json};

use super::described::Described;

pub(super) use oversight::{Health, pages};

/// Every address of the table of routes.
pub(super) fn all() -> Vec<Described> {
    [people::all(), records::all(), rights::all(), oversight::all()].into_iter().flatten().collect()
}

const TIME: &str = "2026-11-23T10:00:00Z";
const LATER: &str = "2026-12-23T10:00:00Z";
const TAG: &str = "9f2c4e6a8b0d1f3e5a7c9b1d3f5e7a90";
const SHA256: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";

/// An id of that kind.
fn id(prefix: &str) -> String {
    format!("{prefix}4h7k2m9p3q8r5s1t6v0w7x2y4z")
}

fn notice() -> Value {
    json!({"policy_version": "current", "language": "de", "channel": "web", "shown_at": TIME})
}
