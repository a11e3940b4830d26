//! Pages that the process uses are not swapped out.
//!
//! The whole process is locked as it is used (`MCL_ONFAULT`), not only its keys: derived keys, key schedules and plaintext lie on
//! stacks and all over the heap (docs/adr/0044). That takes a limit on locked memory that is no limit; with a smaller one, a later
//! allocation would fail in the middle of a call, so nothing is locked then.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Outcome;

/// Locks what is there and what comes, each page once it is touched.
pub(super) fn lock() -> Result<Outcome, String> {
    // Root may raise its limit; anybody else up to the hard one.
    let hard = getrlimit(Resource::Memlock).maximum;
    let _ = setrlimit(Resource::Memlock, Rlimit { current: None, maximum: None })
        .or_else(|_| setrlimit(Resource::Memlock, Rlimit { current: hard, maximum: hard }));
    if let Some(bytes) = getrlimit(Resource::Memlock).current.filter(|_| !is_above_the_limit()) {
        return Err(format!("at most {} KiB of memory may be locked (LimitMEMLOCK=infinity lifts that)", bytes >> 10));
    }
    let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    mlockall(all).map(|()| Outcome::On).map_err(|error| format!("mlockall: {error}"))
}

/// Whether this process has CAP_IPC_LOCK (capabilities(7)), for which the limit does not count.
fn is_above_the_limit() -> bool {
    const IPC_LOCK: u32 = 14;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|word| u64::from_str_radix(word.trim(), 16).ok()).is_some_and(|bits| bits >> IPC_LOCK & 1 == 1)
}
