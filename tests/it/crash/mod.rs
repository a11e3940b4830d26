//! What must hold whatever happens to the process, the machine or the disk: nobody brings the erased back, and nothing
//! acknowledged is lost.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these tests take long: they say their seed and what they saw")]

mod backups;
mod forget;
mod house;
pub(crate) mod kill;
mod ledger;
mod load;
mod power;
mod resources;
mod rotations;
mod scan;
mod served;
