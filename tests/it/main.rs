//! Integration tests in one binary.

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod crash;
#[cfg(test)]
#[path = "../crash/recorder.rs"]
mod recorder;
#[cfg(test)]
mod store;

#[cfg(test)]
mod auth;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod conventions;
#[cfg(test)]
mod custody;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod erasures;
#[cfg(test)]
mod executable;
#[cfg(test)]
mod forensics;
#[cfg(test)]
mod house;
#[cfg(test)]
mod https;
#[cfg(test)]
mod idempotency;
#[cfg(test)]
mod leak;
#[cfg(test)]
mod ocsf;
#[cfg(test)]
mod post;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod runbook;
#[cfg(test)]
mod stand_in;
#[cfg(test)]
mod states;
#[cfg(test)]
mod tamper;
