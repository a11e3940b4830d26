//! What the process forbids itself before it holds a key: core dumps, onlookers, swap, files and calls that it never needs.
//!
//! None of it is a promise: a kernel without a measure leaves it out, and says so. What is `required` in the configuration and cannot
//! be had keeps the vault from starting.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use serde::Serialize;

use super::super::failure::Failure;
use crate::config::{Config, Measure};

mod calls;
mod files;
mod memory;

/// What came of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::cli) enum Outcome {
    /// It is in force.
    On,
    /// The kernel knows a part of it.
    Partly,
    /// The configuration wants it so.
    Off,
    /// The machine does not have it, or does not allow it.
    Unavailable,
}

/// What is in force in this process.
#[derive(Debug, Clone, Copy, Serialize)]
pub(in crate::cli) struct Hardened {
    /// Pages that are used stay out of swap.
    memory: Outcome,
    /// Files outside of what the vault needs are out of reach (Landlock).
    files: Outcome,
    /// System calls that the vault never makes are refused (seccomp).
    calls: Outcome,
}

/// Core dumps of this process would hold keys: the limit is 0, and other processes of the account cannot look inside. Comes before
/// the first secret.
pub(in crate::cli) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if setrlimit(Resource::Core, none).is_err() || set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err() {
        tracing::warn!("core dumps of this process could not be turned off");
    }
}

pub(in crate::cli) use files::is_there as landlock;

/// The rest of it for a server, as it is configured. Comes before the first thread: some of it holds for threads made later alone.
///
/// # Errors
/// When something is required and cannot be had.
pub(super) fn confine(config: &Config) -> Result<Hardened, Failure> {
    let section = &config.hardening;
    if section.inspectable {
        tracing::warn!("hardening.inspectable is on: other processes of this account can read the keys");
        let _ = set_dumpable_behavior(DumpableBehavior::Dumpable);
    }
    let memory = taken("memory", section.memory, memory::lock)?;
    let files = taken("files", section.files, || files::confine(config))?;
    // The last: it would refuse what the others need.
    let calls = taken("calls", section.calls, calls::refuse)?;
    Ok(Hardened { memory, files, calls })
}

/// Carries out one measure, or says why it is not there.
fn taken(name: &str, wanted: Measure, measure: impl FnOnce() -> Result<Outcome, String>) -> Result<Outcome, Failure> {
    if wanted == Measure::Off {
        return Ok(Outcome::Off);
    }
    let (outcome, why) = match measure() {
        Ok(Outcome::Unavailable) => (Outcome::Unavailable, "this kernel does not have it".to_owned()),
        Ok(outcome) => return Ok(outcome),
        Err(why) => (Outcome::Unavailable, why),
    };
    if wanted == Measure::Required {
        return Err(Failure::new(format!("hardening.{name} is required and cannot be had: {why}")).remedy(format!(
            "make it possible, or set {name} = \"auto\" under [hardening]; docs/OPERATIONS.md says what it takes"
        )));
    }
    tracing::info!(measure = name, %why, "a measure of hardening is left out");
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_and_cannot_be_had_ends_the_start_and_what_is_wished_for_does_not() {
        let missing = || Err("no".to_owned());
        assert!(taken("files", Measure::Required, missing).unwrap_err().to_string().contains("hardening.files"));
        assert!(taken("files", Measure::Required, || Ok(Outcome::Unavailable)).is_err());
        assert_eq!(taken("files", Measure::Auto, missing).unwrap(), Outcome::Unavailable);
        assert_eq!(taken("files", Measure::Required, || Ok(Outcome::Partly)).unwrap(), Outcome::Partly);
        assert_eq!(taken("files", Measure::Off, || panic!("it is off")).unwrap(), Outcome::Off);
    }
}
