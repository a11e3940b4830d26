//! Whether there is a backup, and how old it is.

use std::path::Path;

use super::super::engine;
use super::Finding;
use crate::model::time::Clock;

/// The age of the newest backup. One that is older than twice the time between two of them is bad.
pub(super) fn age(dir: &Path, clock: &Clock) -> Finding {
    const CREATE: &str = "`oubliette backup create` makes one; the vault's log says why it did not";
    let (target, every) = match engine::backup_target(dir) {
        Ok(Some(found)) => found,
        Ok(None) => {
            return Finding::warning(
                "backup",
                "no backup target is configured: a lost disk is a lost vault",
                "name a folder on another machine's disk as [backup] target in config.toml",
            );
        }
        Err(why) => return Finding::bad("backup", why.to_string(), "correct config.toml"),
    };
    if target.starts_with(dir) {
        return Finding::bad("backup", "the target lies in the vault's own folder", "name a folder on another disk");
    }
    let newest = match engine::newest_backup(&target) {
        Ok(newest) => newest,
        Err(why) => return Finding::bad("backup", why.to_string(), CREATE),
    };
    let age = clock.now().duration_since(newest.made_at).as_secs();
    let found = format!("the newest, {}, is {} h {} min old", newest.number, age / 3_600, age % 3_600 / 60);
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
    use super::super::Level;
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
