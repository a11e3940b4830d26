//! What single functions cost: keys, decision, trail, store. `cargo bench --bench functions`, and a name to run some of them.
//!
//! The trees have 10,000 and 100,000 subjects. Files go below the target directory, because a sync into memory costs nothing.
#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

mod forest;
mod keys;
mod rest;

fn main() {
    divan::main();
}
