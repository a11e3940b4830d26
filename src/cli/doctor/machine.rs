//! Swap, core dumps and the clock: where keys and times could go astray on the machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::model::time::Clock;

/// Swap may carry a page with a key to a disk.
pub(super) fn swap() -> Finding {
    const REMEDY: &str = "turn swap off or encrypt it with a key that dies at shutdown; a plain swap may keep a key";
    match std::fs::read_to_string("/proc/swaps") {
        Ok(text) => match text.lines().skip(1).count() {
            0 => Finding::good("swap", "there is none"),
            areas => Finding::warning("swap", format!("{areas} area(s) in use"), REMEDY),
        },
        Err(e) => Finding::warning("swap", format!("cannot be told: {e}"), REMEDY),
    }
}

/// A core dump of the running vault holds its keys. The server forbids its own; the machine should as well.
pub(super) fn core_dumps() -> Finding {
    let limit = getrlimit(Resource::Core);
    match limit.current {
        Some(0) => Finding::good("core dumps", "are off in this session"),
        _ => Finding::warning(
            "core dumps",
            "are on in this session; the server turns its own off",
            "set LimitCORE=0 for the service (ulimit -c 0 in a shell)",
        ),
    }
}

/// A wrong clock ends tokens, retention and certificates at the wrong time.
pub(super) fn clock(dir: &Path, clock: &Clock) -> Finding {
    const REMEDY: &str = "correct the clock (chrony, systemd-timesyncd) before the vault starts";
    let now = clock.now();
    // 2026-11-01: before this program was written.
    if now.as_second() < 1_793_491_200 {
        return Finding::bad("clock", format!("{now} is before this program was written"), REMEDY);
    }
    let newest = ["keys/keyring", "data/trail", "data/db/db", "config.toml"]
        .iter()
        .filter_map(|name| std::fs::metadata(dir.join(name)).ok())
        .map(|meta| meta.mtime())
        .max();
    match newest.map(Timestamp::from_second) {
        // A minute of grace for a network file system's own clock.
        Some(Ok(newest)) if newest.as_second() > now.as_second() + 60 => {
            Finding::bad("clock", format!("{now}, but the vault wrote a file at {newest}"), REMEDY)
        }
        _ => Finding::good("clock", format!("{now:.0}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_clock_behind_the_vaults_own_files_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), "").unwrap();
        let written = std::fs::metadata(dir.path().join("config.toml")).unwrap().mtime();
        let at = |second: i64| clock(dir.path(), &Clock::set_to(Timestamp::from_second(second).unwrap())).level;
        let later = written.max(1_800_000_000);
        assert_eq!(at(later), Level::Good);
        assert_eq!(at(0), Level::Bad);
        let file = std::fs::File::open(dir.path().join("config.toml")).unwrap();
        let tomorrow = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_900_000_000);
        file.set_modified(tomorrow).unwrap();
        assert_eq!(at(1_800_000_000), Level::Bad);
    }
}
