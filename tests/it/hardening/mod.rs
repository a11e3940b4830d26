//! The process and its machine, through the built binary: what a dump of a sealed vault holds, what a server cannot reach, what it says
//! about itself, and what `doctor` finds.

mod confined;
mod doctor;
mod machine;
mod memory;
mod metrics;
