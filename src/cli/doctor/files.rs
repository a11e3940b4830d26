//! Permissions, the file system under the keyring, free space.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::Finding;

/// Files that hold secrets: owner alone, mode 0600. The last is optional.
const SECRET_FILES: [(&str, bool); 5] =
    [("keys/keyring", true), ("keys/root", true), ("tls/key.pem", true), ("passphrase", false), ("demo.json", false)];

/// Below this the vault cannot take a transition and its trail for long.
const LITTLE_ROOM: u64 = 1 << 30;
const NO_ROOM: u64 = 64 << 20;

/// One finding for the folder of keys and each file with a secret.
pub(super) fn permissions(dir: &Path) -> Vec<Finding> {
    let mut findings = vec![folder(dir)];
    for (name, needed) in SECRET_FILES {
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

/// Whether overwriting a slot in place destroys the old epoch key (docs/ERASURE.md says how the file systems fare).
pub(super) fn overwriting(dir: &Path) -> Finding {
    const CHECK: &str = "keyring";
    const REMEDY: &str = "keep keys/ on ext4 (data=ordered) or xfs: erasures here are certified as best effort";
    let keys = std::fs::canonicalize(dir.join("keys")).or_else(|_| std::fs::canonicalize(dir));
    let mounts = std::fs::read_to_string("/proc/self/mountinfo");
    let (Ok(keys), Ok(mounts)) = (keys, mounts) else {
        return Finding::warning(CHECK, "the file system cannot be told", REMEDY);
    };
    match mount_of(&keys, &mounts) {
        Some((kind, options)) if kind == "xfs" || (kind == "ext4" && !options.contains("data=journal")) => {
            Finding::good(CHECK, format!("lies on {kind}, which overwrites in place: destroy assurance `file`"))
        }
        Some((kind, _)) => Finding::warning(CHECK, format!("lies on {kind}, which may keep old copies of a slot"), REMEDY),
        None => Finding::warning(CHECK, "the file system cannot be told", REMEDY),
    }
}

/// File system type and options of the mount with the longest prefix; the later of equals hides the earlier (proc(5)).
fn mount_of(path: &Path, mounts: &str) -> Option<(String, String)> {
    let mut best: Option<(usize, String, String)> = None;
    for line in mounts.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let Some(point) = left.split(' ').nth(4) else { continue };
        let point = point.replace("\\040", " ");
        let mut words = right.split(' ');
        let (Some(kind), Some(options)) = (words.next(), words.nth(1)) else { continue };
        if path.starts_with(&point) && best.as_ref().is_none_or(|(length, ..)| point.len() >= *length) {
            best = Some((point.len(), kind.to_owned(), options.to_owned()));
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
    fn a_keyring_that_others_may_read_is_bad() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("keys");
        std::fs::create_dir(&keys).unwrap();
        std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::fs::write(keys.join("keyring"), "x").unwrap();
        std::fs::set_permissions(keys.join("keyring"), std::fs::Permissions::from_mode(0o640)).unwrap();
        let findings = permissions(dir.path());
        let of = |name: &str| findings.iter().find(|f| f.found.starts_with(name)).unwrap();
        assert_eq!(of("keys/ ").level, Level::Good);
        assert_eq!(of("keys/keyring").level, Level::Bad);
        assert!(of("keys/keyring").found.contains("640"));
        assert_eq!(of("keys/root").check, "files");
    }
}
