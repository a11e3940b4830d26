//! Whether there is a backup, and how old it is.

use std::path::Path;

use super::super::engine;
use super::{Finding, Level};
use crate::model::time::Clock;

const CREATE: &str = "`oubliette backup create` makes one; the vault's log says why it did not";

/// The age of the newest backup at each target: the finding at the target where it is worst. One that is older than twice the
/// time between two of them is bad.
pub(super) fn age(dir: &Path, clock: &Clock) -> Finding {
    let (targets, every) = match engine::backup_targets(dir) {
        Ok(found) => found,
        Err(why) => return Finding::bad("backup", why.to_string(), "correct config.toml"),
    };
    let worse = |level: Level| match level {
        Level::Good => 0,
        Level::Warning => 1,
        Level::Bad => 2,
    };
    let findings = targets.iter().map(|target| at(dir, target, every, clock));
    findings.max_by_key(|finding| worse(finding.level)).unwrap_or_else(|| {
        Finding::warning(
            "backup",
            "no backup target is configured: a lost disk is a lost vault",
            "name a folder on another machine's disk as [backup] target in config.toml",
        )
    })
}

fn at(dir: &Path, target: &Path, every: u64, clock: &Clock) -> Finding {
    if target.starts_with(dir) {
        return Finding::bad("backup", "the target lies in the vault's own folder", "name a folder on another disk");
    }
    let newest = match engine::newest_backup(target) {
        Ok(newest) => newest,
        Err(why) => return Finding::bad("backup", format!("{}: {why}", target.display()), CREATE),
    };
    let age = clock.now().duration_since(newest.made_at).as_secs();
    let (hours, minutes) = (age / 3_600, age % 3_600 / 60);
    let found = format!("the newest in {}, {}, is {hours} h {minutes} min old", target.display(), newest.number);
    if every > 0 && age > 2 * i64::try_from(every).unwrap_or(i64::MAX / 2) {
        return Finding::bad("backup", found, CREATE);
    }
    if every == 0 && age > 7 * 86_400 {
        return Finding::warning("backup", found, CREATE);
    }
    Finding::good("backup", found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vault_without_a_backup_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let finding = age(dir.path(), &Clock::system());
        assert_eq!(finding.level, Level::Warning);
        let target = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), format!("[backup]\ntarget = {:?}\n", target.path())).unwrap();
        let finding = age(dir.path(), &Clock::system());
        assert_eq!(finding.level, Level::Bad, "{finding:?}");
        let inside = dir.path().join("backups");
        std::fs::write(dir.path().join("config.toml"), format!("[backup]\ntarget = {inside:?}\n")).unwrap();
        assert!(age(dir.path(), &Clock::system()).found.contains("own folder"));
    }
}
