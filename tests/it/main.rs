//! Integration tests in one binary.

#[cfg(test)]
mod arrows;
#[cfg(test)]
#[path = "../crash/recorder.rs"]
mod recorder;
#[cfg(test)]
mod store;
