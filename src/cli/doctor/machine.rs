//! Swap, core dumps, limits and the clock: where keys and times could go astray on the machine.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use rustix::process::{Resource, getrlimit};

use super::super::engine;
use super::Finding;
use crate::config::{Config, Measure};
use crate::model::time::Clock;

/// Swap may carry a page with a key to a disk.
pub(super) fn swap() -> Finding {
    const CHECK: &str = "swap";
    const REMEDY: &str = "turn swap off (swapoff -a), encrypt it with a key that dies at shutdown, or let the service lock its memory (LimitMEMLOCK=infinity)";
    let text = match std::fs::read_to_string("/proc/swaps") {
        Ok(text) => text,
        Err(e) => return Finding::warning(CHECK, format!("cannot be told: {e}"), REMEDY),
    };
    let areas: Vec<&str> = text.lines().skip(1).filter_map(|line| line.split_ascii_whitespace().next()).collect();
    let plain: Vec<&str> = areas.iter().copied().filter(|area| !keeps_nothing(area)).collect();
    match (areas.len(), plain.len()) {
        (0, _) => Finding::good(CHECK, "there is none"),
        (_, 0) => Finding::good(CHECK, "is encrypted or in memory"),
        _ => Finding::warning(CHECK, format!("may write memory to {} as it is", plain.join(", ")), REMEDY),
    }
}

/// Whether a swap area is compressed memory, or a device-mapper target of dm-crypt.
fn keeps_nothing(area: &str) -> bool {
    let Some(name) = Path::new(area).file_name().and_then(|name| name.to_str()) else { return false };
    let uuid = || std::fs::read_to_string(format!("/sys/class/block/{name}/dm/uuid"));
    name.starts_with("zram") || uuid().is_ok_and(|uuid| uuid.starts_with("CRYPT-"))
}

/// How much memory may be kept out of swap. It matters where there is swap.
pub(super) fn memory_locks() -> Finding {
    const CHECK: &str = "memory locks";
    match getrlimit(Resource::Memlock).current {
        None => Finding::good(CHECK, "have no limit in this session"),
        Some(bytes) => Finding::warning(
            CHECK,
            format!("end at {} KiB in this session: a vault started from it does not lock its memory", bytes >> 10),
            "set LimitMEMLOCK=infinity for the service (ulimit -l unlimited in a shell); without swap it may stay",
        ),
    }
}

/// Whether connections, the store and the trail have enough file descriptors.
pub(super) fn open_files(config: &Config) -> Finding {
    const CHECK: &str = "open files";
    // One for each connection; the store, the trail, letters and backups take some dozens.
    let wanted = config.limits.connections as u64 + 128;
    match getrlimit(Resource::Nofile).current {
        Some(limit) if limit < wanted => Finding::bad(
            CHECK,
            format!("end at {limit} in this session, and {} connections need {wanted}", config.limits.connections),
            format!("set LimitNOFILE={wanted} for the service (ulimit -n in a shell), or limits.connections lower"),
        ),
        Some(limit) => Finding::good(CHECK, format!("up to {limit}")),
        None => Finding::good(CHECK, "have no limit"),
    }
}

/// What the process can forbid itself here, and what the configuration waives.
pub(super) fn confinement(config: &Config) -> Vec<Finding> {
    const CHECK: &str = "hardening";
    let section = &config.hardening;
    let mut findings = Vec::new();
    if section.inspectable {
        findings.push(Finding::bad(
            CHECK,
            "hardening.inspectable is on: every process of the account can read the keys",
            "take it out of config.toml; it is for a debugger alone",
        ));
    }
    let measures = [("memory", section.memory), ("files", section.files), ("calls", section.calls)];
    let off: Vec<&str> = measures.iter().filter(|(_, measure)| *measure == Measure::Off).map(|(name, _)| *name).collect();
    if !off.is_empty() {
        findings.push(Finding::warning(
            CHECK,
            format!("is turned off for: {}", off.join(", ")),
            "take it out of config.toml, or name what it kept you from under [hardening] readable and writable",
        ));
    }
    const KERNEL: &str =
        "use a kernel that has it (Landlock: Linux 5.13 with `landlock` among lsm=; seccomp: CONFIG_SECCOMP_FILTER)";
    if section.files != Measure::Off && !engine::landlock() {
        findings.push(Finding::warning(
            CHECK,
            "this kernel has no Landlock: the server reaches every file of its account",
            KERNEL,
        ));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if section.calls != Measure::Off && !status.lines().any(|line| line.starts_with("Seccomp:")) {
        findings.push(Finding::warning(CHECK, "this kernel has no seccomp: no system call is refused", KERNEL));
    }
    if config.metrics.listen.is_some_and(|address| !address.ip().is_loopback()) {
        findings.push(Finding::warning(
            "metrics",
            "are told to other machines, without TLS and without credentials",
            "listen on 127.0.0.1, or keep the port for the machines that ask (a firewall, a private network)",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::good(CHECK, "files and system calls can be confined here"));
    }
    findings
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
    fn what_the_configuration_waives_is_said() {
        let level = |change: fn(&mut Config)| {
            let mut config = Config::default();
            change(&mut config);
            let findings = confinement(&config);
            let worst = findings.iter().map(|finding| finding.level).max_by_key(|level| *level as u8);
            (worst.unwrap(), findings.into_iter().map(|finding| finding.found).collect::<String>())
        };
        assert_eq!(level(|config| config.hardening.inspectable = true).0, Level::Bad);
        let (worst, found) = level(|config| config.hardening.calls = Measure::Off);
        assert!(worst == Level::Warning && found.contains("calls"), "{found}");
        let (worst, found) = level(|config| config.metrics.listen = Some(([0, 0, 0, 0], 9464).into()));
        assert!(worst == Level::Warning && found.contains("other machines"), "{found}");
    }

    #[test]
    fn compressed_memory_is_no_disk() {
        assert!(keeps_nothing("/dev/zram0") && !keeps_nothing("/swapfile") && !keeps_nothing("/dev/sda3"));
    }

    #[test]
    fn more_connections_than_files_is_bad() {
        let mut config = Config::default();
        config.limits.connections = usize::MAX >> 1;
        // A session without any limit has room for all.
        let limited = getrlimit(Resource::Nofile).current.is_some();
        assert_eq!(open_files(&config).level == Level::Bad, limited);
        config.limits.connections = 1;
        assert_eq!(open_files(&config).level, Level::Good);
    }

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
