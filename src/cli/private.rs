//! Files that hold a secret: written whole or not at all, readable by their owner alone.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::failure::Failure;

/// Writes a file of mode 0600 beside its place, syncs it and renames it there.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, 0o600)
}

/// The same for what everybody may read (mode 0644), such as a public key or a certificate of erasure.
pub(crate) fn write_public(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace(path, bytes, 0o644)
}

/// Makes a folder of mode 0700, and those above it; an existing one is left as it is.
pub(crate) fn folder(path: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|e| Failure::file("make the folder", path, &e))
}

/// The first line of a secret file of at most 4 KiB, without its line end. Refused when others may read it.
pub(crate) fn read_line(path: &Path) -> Result<String, Failure> {
    let file = File::open(path).map_err(|e| Failure::file("open", path, &e))?;
    let meta = file.metadata().map_err(|e| Failure::file("look at", path, &e))?;
    // A pipe, a terminal or a descriptor is nobody else's to read; a regular file may be.
    if meta.is_file() && meta.mode() & 0o077 != 0 {
        return Err(Failure::new(format!("{} may be read by others (mode {:03o})", path.display(), meta.mode() & 0o777))
            .remedy(format!("chmod 600 {}, and change the secret if somebody may have read it", path.display())));
    }
    first_line(file, path)
}

/// The first line of what `file` holds, at most 4 KiB.
pub(crate) fn first_line(file: impl Read, path: &Path) -> Result<String, Failure> {
    let mut text = String::with_capacity(4096);
    file.take(4096).read_to_string(&mut text).map_err(|e| Failure::file("read", path, &e))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(Failure::new(format!("{} is empty", path.display())).remedy("put the secret on its first line"));
    }
    Ok(line.to_owned())
}

fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let fresh = beside(path);
    // A leftover of an earlier, interrupted write may have other permissions: it goes first.
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Failure::file("remove", &fresh, &e)),
        _ => {}
    }
    let written = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh).and_then(|mut file| {
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| std::fs::rename(&fresh, path)).map_err(|e| Failure::file("write", path, &e))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".new");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(dir.path().join("token.new"), "leftover").unwrap();
        write(&path, b"secret\n").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_line(&path).unwrap(), "secret");
        assert!(!dir.path().join("token.new").exists());
    }

    #[test]
    fn a_secret_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_public(&path, b"secret\n").unwrap();
        let refused = read_line(&path).unwrap_err().to_string();
        assert!(refused.contains("mode 644") && !refused.contains("secret\n"), "{refused}");
    }

    #[test]
    fn an_empty_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write(&path, b"\n").unwrap();
        assert!(read_line(&path).unwrap_err().to_string().contains("is empty"));
    }
}
