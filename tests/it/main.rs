//! Integration tests in one binary.

#[cfg(test)]
mod api;
#[cfg(test)]
mod arrows;
#[cfg(test)]
mod asvs;
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
mod backups;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod bodies;
#[cfg(test)]
mod bundles;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod comparisons;
#[cfg(test)]
mod conventions;
#[cfg(test)]
mod custody;
#[cfg(test)]
mod decisions;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod erasures;
#[cfg(test)]
mod executable;
#[cfg(test)]
mod forensics;
#[cfg(test)]
mod hardening;
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
mod own_keys;
#[cfg(test)]
mod post;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod rotations;
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
