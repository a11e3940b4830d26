//! Tests of the trail as a whole, on real files.

mod appending;
mod certificates;
mod recovery;
mod replay;
mod verification;
