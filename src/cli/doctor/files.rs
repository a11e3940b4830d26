//! Permissions, the file system under the keyring, free space.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::super::engine;
use super::Finding;
use crate::config::{Config, NamedPath};

/// Files that hold secrets: owner alone, mode 0600. The last is optional.
const SECRET_FILES: [(&str, bool); 5] =
    [("keys/keyring", true), ("keys/root", true), ("tls/key.pem", true), ("passphrase", false), ("demo.json", false)];

/// Below this the vault cannot take a transition and its trail for long.
const LITTLE_ROOM: u64 = 1 << 30;
const NO_ROOM: u64 = 64 << 20;
/// Files that a vault makes in a busy week: pieces of the store and the trail, letters, backups.
const FEW_FILES: u64 = 1_000;

/// One finding for the folder of keys and each file with a secret.
pub(super) fn permissions(dir: &Path, config: &Config) -> Vec<Finding> {
    let mut findings = vec![folder(dir)];
    for (name, needed) in SECRET_FILES {
        let needed = needed && (name != "keys/keyring" || engine::has_plain_place(dir));
        // A key that lies elsewhere is looked at there.
        let needed = needed && (name != "tls/key.pem" || config.tls.key.is_none());
        let path = dir.join(name);
        match std::fs::metadata(&path) {
            Ok(meta) if meta.mode() & 0o077 != 0 => findings.push(Finding::bad(
                "permissions",
                format!("{name} may be read by others (mode {:03o})", meta.mode() & 0o777),
                format!("chmod 600 {}; treat the secret as known if somebody may have read it", path.display()),
            )),
            Ok(meta) if meta.uid() != me() && me() != 0 => findings.push(Finding::bad(
                "permissions",
                format!("{name} belongs to another account (uid {})", meta.uid()),
                format!("chown it to the account that runs the vault: {}", path.display()),
            )),
            Ok(_) => findings.push(Finding::good("permissions", format!("{name} is its owner's alone"))),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && !needed => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => findings.push(Finding::bad(
                "files",
                format!("{name} is missing"),
                "is this a vault's folder? If so, restore the file from its copy: without it no record opens",
            )),
            Err(e) => findings.push(Finding::bad("files", format!("{name}: {e}"), "run this as the vault's own account")),
        }
    }
    if dir.join("passphrase").exists() {
        findings.push(Finding::warning(
            "passphrase",
            "the passphrase lies beside the keys that it protects",
            "fine for a demo; elsewhere keep it in another place",
        ));
    }
    findings
}

fn folder(dir: &Path) -> Finding {
    match std::fs::metadata(dir.join("keys")) {
        Ok(meta) if meta.mode() & 0o077 != 0 => Finding::bad(
            "permissions",
            format!("keys/ is open to others (mode {:03o})", meta.mode() & 0o777),
            format!("chmod 700 {}", dir.join("keys").display()),
        ),
        Ok(_) => Finding::good("permissions", "keys/ is its owner's alone"),
        Err(_) => Finding::bad("files", "keys/ is missing", "is this the folder of a vault?"),
    }
}

/// How settings that name the file of a secret end.
const SECRETS: [&str; 5] = ["pin_file", "password_file", "credentials_file", "token_file", "secret_id_file"];

/// Secrets that the configuration names and that lie elsewhere.
pub(super) fn named_secrets(config: &Config) -> Vec<Finding> {
    let is_secret = |named: &&NamedPath| {
        (named.section == "tls" && named.setting == "key") || SECRETS.iter().any(|end| named.setting.ends_with(end))
    };
    let mut findings = Vec::new();
    for named in config.paths.iter().filter(is_secret) {
        let (setting, file) = (format!("{}.{}", named.section, named.setting), &named.path);
        match std::fs::metadata(file) {
            Ok(meta) if meta.mode() & 0o007 != 0 => findings.push(Finding::bad(
                "permissions",
                format!("the file of {setting} may be read by everybody (mode {:03o})", meta.mode() & 0o777),
                format!("chmod 600 {}, and change the secret if somebody may have read it", file.display()),
            )),
            Ok(_) => {}
            Err(e) => findings.push(Finding::bad(
                "files",
                format!("the file of {setting}: {e}"),
                format!("put it there, or correct {setting} in config.toml: {}", file.display()),
            )),
        }
    }
    findings
}

/// Whose the vault is. The account that runs it can do all that the vault can, so it should be able to do nothing else.
pub(super) fn account(dir: &Path) -> Vec<Finding> {
    let owner = std::fs::metadata(dir.join("keys")).map(|meta| meta.uid());
    if owner.is_ok_and(|uid| uid == 0) {
        return vec![Finding::warning(
            "account",
            "keys/ belongs to root: a fault in the vault is a fault of the whole machine",
            "give the vault an account of its own; docs/oubliette.service shows how systemd does it",
        )];
    }
    Vec::new()
}

/// Whether overwriting a slot in place destroys the old epoch key (docs/ERASURE.md says how the file systems fare).
pub(super) fn overwriting(dir: &Path) -> Finding {
    const CHECK: &str = "keyring";
    const REMEDY: &str = "keep keys/ on ext4 (data=ordered) or xfs: erasures here are certified as best effort";
    match mount_under(&dir.join("keys")) {
        Some((kind, options)) if kind == "xfs" || (kind == "ext4" && !options.contains("data=journal")) => {
            Finding::good(CHECK, format!("lies on {kind}, which overwrites in place: destroy assurance `file`"))
        }
        Some((kind, _)) => Finding::warning(CHECK, format!("lies on {kind}, which may keep old copies of a slot"), REMEDY),
        None => Finding::warning(CHECK, "the file system cannot be told", REMEDY),
    }
}

/// Whether what is synced to the file system stays: for the keys and for the data.
pub(super) fn mounts(dir: &Path) -> Vec<Finding> {
    ["keys", "data"].iter().filter_map(|part| Some(mounted(part, &mount_under(&dir.join(part))?))).collect()
}

fn mounted(part: &str, (kind, options): &(String, String)) -> Finding {
    const CHECK: &str = "mount";
    let has = |option: &str| options.split(',').any(|known| known == option);
    match kind.as_str() {
        _ if has("ro") => Finding::bad(
            CHECK,
            format!("{part}/ lies on a file system that is mounted read-only"),
            "mount it for writing (mount -o remount,rw), after looking why it is not: dmesg may say that the disk fails",
        ),
        "tmpfs" | "ramfs" => Finding::bad(
            CHECK,
            format!("{part}/ lies in memory ({kind}): it is gone when the machine stops"),
            "move the vault to a disk; a demo may stay",
        ),
        _ if has("nobarrier") || has("barrier=0") => Finding::bad(
            CHECK,
            format!("{part}/ is mounted without write barriers: a power cut loses what was acknowledged"),
            "take nobarrier (barrier=0) out of the mount options",
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "9p" | "overlay" | "aufs" => Finding::warning(
            CHECK,
            format!("{part}/ lies on {kind}, whose syncs and locks are not those of a disk"),
            "use a local ext4 or xfs; in a container, a volume",
        ),
        kind if kind.starts_with("fuse") => Finding::warning(
            CHECK,
            format!("{part}/ lies on {kind}, whose syncs and locks are not those of a disk"),
            "use a local ext4 or xfs",
        ),
        kind => Finding::good(CHECK, format!("{part}/ lies on {kind}, for writing")),
    }
}

/// Kind and options of the mount that a folder lies on; `None` when they cannot be told.
fn mount_under(folder: &Path) -> Option<(String, String)> {
    let folder = std::fs::canonicalize(folder).or_else(|_| std::fs::canonicalize(folder.parent().unwrap_or(folder))).ok()?;
    mount_of(&folder, &std::fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// File system type and options of the mount with the longest prefix; the later of equals hides the earlier (proc(5)).
fn mount_of(path: &Path, mounts: &str) -> Option<(String, String)> {
    let mut best: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let mut fields = left.split(' ').skip(4);
        let (Some(point), Some(own)) = (fields.next(), fields.next()) else { continue };
        let point = point.replace("\\040", " ");
        let mut words = right.split(' ');
        let (Some(kind), Some(options)) = (words.next(), words.nth(1)) else { continue };
        if path.starts_with(&point) && best.as_ref().is_none_or(|(length, ..)| point.len() >= *length) {
            best = Some((point.len(), kind.to_owned(), format!("{own},{options}")));
        }
    }
    best.map(|(_, kind, options)| (kind, options))
}

/// Free space for the store and the trail.
pub(super) fn room(dir: &Path) -> Finding {
    const CHECK: &str = "free space";
    const REMEDY: &str = "make room before it is full: the vault answers 507 then, and refuses what it cannot keep";
    match rustix::fs::statvfs(dir) {
        Ok(room) => {
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            // A file system that counts none makes them as it goes.
            if room.f_files > 0 && room.f_favail < FEW_FILES {
                let found = format!("room for {} more files only", room.f_favail);
                return Finding::warning(CHECK, found, "remove files, or make the file system anew with more inodes (df -i)");
            }
            let found = format!("{} MiB", free >> 20);
            match free {
                0..NO_ROOM => Finding::bad(CHECK, found, REMEDY),
                NO_ROOM..LITTLE_ROOM => Finding::warning(CHECK, found, REMEDY),
                _ => Finding::good(CHECK, found),
            }
        }
        Err(e) => Finding::warning(CHECK, format!("cannot be told: {e}"), "look with df"),
    }
}

fn me() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::Level;
    use super::*;

    const MOUNTS: &str = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,data=ordered\n\
        30 22 8:2 / /srv rw,noatime - ext4 /dev/sda2 rw,data=journal\n\
        31 22 0:40 / /tmp rw - tmpfs tmpfs rw\n\
        32 30 8:3 / /srv/my\\040vault rw - xfs /dev/sda3 rw,attr2\n";

    #[test]
    fn the_innermost_mount_decides_over_the_assurance() {
        let kind = |path: &str| mount_of(Path::new(path), MOUNTS).unwrap().0;
        assert_eq!(kind("/home/vault/keys"), "ext4");
        assert_eq!(kind("/tmp/vault/keys"), "tmpfs");
        assert_eq!(kind("/srv/my vault/keys"), "xfs");
        assert_eq!(kind("/srvother"), "ext4");
        assert!(mount_of(Path::new("/srv/keys"), MOUNTS).unwrap().1.contains("data=journal"));
    }

    #[test]
    fn a_mount_that_loses_what_was_synced_is_bad() {
        let level = |kind: &str, options: &str| mounted("data", &(kind.to_owned(), options.to_owned())).level;
        assert_eq!(level("ext4", "rw,relatime,data=ordered"), Level::Good);
        assert_eq!(level("ext4", "rw,nobarrier"), Level::Bad);
        assert_eq!(level("xfs", "ro,relatime"), Level::Bad);
        assert_eq!(level("ext4", "rw,errors=remount-ro"), Level::Good);
        assert_eq!(level("tmpfs", "rw"), Level::Bad);
        assert_eq!(level("nfs4", "rw"), Level::Warning);
        assert_eq!(level("fuse.sshfs", "rw"), Level::Warning);
        let read_only = MOUNTS.replace("/srv rw,noatime", "/srv ro,noatime");
        assert_eq!(mounted("keys", &mount_of(Path::new("/srv/keys"), &read_only).unwrap()).level, Level::Bad);
    }

    #[test]
    fn a_keyring_that_others_may_read_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(keys.join("keyring"), "x").unwrap();
        std::fs::set_permissions(keys.join("keyring"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let findings = permissions(dir.path(), &Config::default());
        let of = |name: &str| findings.iter().find(|f| f.found.starts_with(name)).unwrap();
        assert_eq!(of("keys/ ").level, Level::Good);
        assert_eq!(of("keys/keyring").level, Level::Bad);
        assert!(of("keys/keyring").found.contains("640"));
        assert_eq!(of("keys/root").check, "files");
    }
}
